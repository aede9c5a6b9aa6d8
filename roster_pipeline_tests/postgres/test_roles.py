"""What each role of `deploy/postgres/roles.sql` can read, and that it can read and change nothing else."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Engine, exc, make_url, text

from roster_pipeline.store import database
from roster_pipeline_tests.graph.school import School
from roster_pipeline_tests.syncing import csv_provider, deployment
from roster_pipeline_tests.unit.test_syncs import DAY

SQL: Final = (Path(__file__).parents[2] / "deploy" / "postgres" / "roles.sql").read_text(encoding="utf-8")
ROLES: Final = ("roster_filter", "roster_classroom", "roster_parents", "roster_sync", "roster_operator")
READERS: Final = ROLES[:3]

CONTACTS: Final = {"phone", "sms"}
NAMED: Final = {
    "tenant", "person_id", "given_name", "family_name", "preferred_given_name", "preferred_family_name",
    "email", "roles", "enabled", "inactive_since", "merged_into",
}  # fmt: skip
PEOPLE: Final = {
    "roster_filter": NAMED | {"username", "grades"},
    "roster_classroom": NAMED | {"username", "grades"},
    "roster_parents": NAMED | CONTACTS,
}
VIEWS: Final = {
    "roster_filter": {"current_schools", "current_memberships"},
    "roster_classroom": {
        "current_schools", "current_memberships", "current_classes", "current_academic_sessions",
    },
    "roster_parents": {"current_schools", "current_guardian_links"},
    "roster_operator": {
        "syncs", "sync_providers", "sync_schools", "sync_issues", "holds", "decisions", "providers",
        "current_schools", "night_ends", "missed_nights", "hosts", "durations", "alert_conditions",
        "alert_messages", "alert_channels",
    },
}  # fmt: skip


@dataclass
class Rosters:
    """A database with the roles, and a login for each of them."""

    owner: Engine
    logins: dict[str, str]

    def as_(self, role: str) -> Engine:
        """Connections of a program that has this role."""
        return database.connect(self.url(role))

    def url(self, role: str) -> str:
        url = make_url(str(self.owner.url)).set(username=self.logins[role], password="in the tests")
        return url.render_as_string(hide_password=False)


@pytest.fixture
def rosters(postgres_url: str) -> Iterator[Rosters]:
    owner = database.connect(postgres_url)
    database.upgrade(owner)
    mark = secrets.token_hex(4)  # roles are the server's, not the database's
    logins = {role: f"{role}_{mark}" for role in ROLES}
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for _ in range(2):  # run again, it changes nothing
            connection.connection.driver_connection.execute(SQL)  # type: ignore[union-attr]
        for role, login in logins.items():
            connection.exec_driver_sql(f"CREATE ROLE {login} LOGIN PASSWORD 'in the tests' IN ROLE {role}")
    yield Rosters(owner, logins)
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for name in (*logins.values(), *ROLES):
            connection.exec_driver_sql(f"DROP OWNED BY {name}")
            connection.exec_driver_sql(f"DROP ROLE {name}")
    owner.dispose()


def relations(engine: Engine) -> dict[str, list[str]]:
    """Every table and view, with its columns."""
    query = text(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
    )
    found: dict[str, list[str]] = {}
    with engine.connect() as connection:
        for table, column in connection.execute(query):
            found.setdefault(table, []).append(column)
    return found


def admits(engine: Engine, statement: str) -> bool:
    """Whether a statement is allowed; what it did is taken back."""
    with engine.connect() as connection:
        try:
            connection.exec_driver_sql(statement)
        except exc.ProgrammingError as error:
            if "permission denied" not in str(error):
                raise
            return False
        finally:
            connection.rollback()
    return True


@pytest.mark.parametrize("role", [*READERS, "roster_operator"])
def test_a_reader_reads_what_it_needs_and_nothing_else(rosters: Rosters, role: str) -> None:
    whole = VIEWS[role]
    parts = {"current_people": PEOPLE[role]} if role in PEOPLE else {}
    if role == "roster_operator":
        parts["receipts"] = {"receipt_id", "tenant", "at", "who", "why", "erased", "lifted_at"}
    engine = rosters.as_(role)
    every = relations(rosters.owner)
    assert {"people", "history", "forgotten", "leases", "tenants", "person_sources"} <= set(every)
    for name, columns in every.items():
        assert admits(engine, f"SELECT * FROM {name}") == (name in whole), name
        if name in whole or name not in parts:
            continue
        readable = {column for column in columns if admits(engine, f'SELECT "{column}" FROM {name}')}
        assert readable == parts[name], name
    engine.dispose()


@pytest.mark.parametrize("role", [*READERS, "roster_operator"])
def test_a_reader_changes_nothing(rosters: Rosters, role: str) -> None:
    engine = rosters.as_(role)
    every = relations(rosters.owner)
    for name, columns in every.items():
        assert not admits(engine, f"DELETE FROM {name}"), name
        assert not admits(engine, f'UPDATE {name} SET "{columns[0]}" = "{columns[0]}"'), name
        assert not admits(engine, f"INSERT INTO {name} DEFAULT VALUES"), name
    for statement in (
        "CREATE TABLE mine (x int)",
        "CREATE TEMP TABLE mine (x int)",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA mine",
        "TRUNCATE people",
    ):
        assert not admits(engine, statement), statement
    engine.dispose()


def test_the_pipeline_syncs_and_cannot_change_the_schema(rosters: Rosters, tmp_path: Path) -> None:
    school = School(tmp_path / "files").write()
    with deployment(tmp_path / "home", rosters.url("roster_sync"), upgrade=False) as place:
        place.apply("oak", csv_provider(school.folder))
        assert place.sync("oak", DAY)["status"] == "successful"
        assert place.sync("oak", DAY)["status"] == "successful"
        for statement in (
            "CREATE TABLE mine (x int)",
            "DROP VIEW current_people",
            "ALTER TABLE people ADD COLUMN x int",
            "UPDATE alembic_version SET version_num = '0000'",
        ):
            with (
                pytest.raises(exc.ProgrammingError, match=r"permission denied|must be owner"),
                place.stores.database.begin() as connection,
            ):
                connection.exec_driver_sql(statement)
    engine = rosters.as_("roster_filter")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(email) FROM current_people")).scalar() == 8
    engine.dispose()


def test_the_file_names_no_table_or_view_that_is_not_there(rosters: Rosters) -> None:
    """It is read by hand as well: what it speaks of is there."""
    named = set(re.findall(r"\bcurrent_[a-z_]+", SQL)) - {"current_database"}
    assert named - {"current_"} <= set(relations(rosters.owner))
