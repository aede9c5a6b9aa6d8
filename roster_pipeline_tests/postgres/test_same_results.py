"""The same nights on SQLite and on PostgreSQL leave the same rows, in every table."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import Engine, inspect, select

from roster_pipeline.codes import CodedError
from roster_pipeline.sandbox.generator import DAY, as_second_provider, generate
from roster_pipeline.sandbox.source import Row, Tables, write_csv
from roster_pipeline.store import database, export
from roster_pipeline_tests.syncing import Deployment, Document, csv_provider, deployment

pytestmark = pytest.mark.postgres

TENANT: Final = "town"
# What COPY, or a driver, could take for something of its own.
AWKWARD: Final = (
    "O'Brien\tTab", "Back\\slash", "\\N", "\\.", 'Quo"te', "Comma, Semicolon;", "Zoë Łukasz 李 🎒", "NULL",
    "%s ? :x",
)  # fmt: skip


def _students(tables: Tables) -> list[Row]:
    return [row for row in tables["users"] if row["roles"][0][0] == "student"]


def _first(tables: Tables) -> None:
    for row, name in zip(_students(tables), AWKWARD, strict=False):
        row["familyName"] = name
    for row, name in zip(tables["classes"], cycle(AWKWARD), strict=False):
        row["title"] = name


def _changed(tables: Tables) -> None:
    """New names, a class less, a student less and one more, an address more and one less."""
    _first(tables)
    people = _students(tables)
    for row in people[10:20]:
        row["givenName"] += " Maria"
    people[20]["email"] = ""
    people[21]["email"] = "new.address@town.example"
    closed = tables["classes"].pop()["sourcedId"]
    tables["enrollments"] = [row for row in tables["enrollments"] if row["class"] != closed]
    new = {
        **people[1],
        "sourcedId": "late",
        "givenName": "Late",
        "identifier": "late-1",
        "email": "late@x.org",
    }
    like = next(row for row in tables["enrollments"] if row["user"] == people[1]["sourcedId"])
    tables["users"].append(new)
    tables["enrollments"].append({**like, "sourcedId": "late-1", "user": "late"})
    _lose(tables, people[30]["identifier"])


def _lose(tables: Tables, identifier: str) -> None:
    (gone,) = [row for row in tables["users"] if row["identifier"] == identifier]
    tables["users"].remove(gone)
    tables["enrollments"] = [row for row in tables["enrollments"] if row["user"] != gone["sourcedId"]]


def _second(tables: Tables, sis: Tables) -> Tables:
    """The second provider's rows on a night: whoever is gone from the first is gone there, too."""
    found = copy.deepcopy(tables)
    identifiers = {row["identifier"] for row in sis["users"]}
    for row in _students(tables):
        if row["identifier"] not in identifiers and not row["identifier"].startswith("9"):
            _lose(found, row["identifier"])
    return found


CHANCE: Final = ("run_id", "report", "details", "proposal")

NIGHTS: Final[tuple[tuple[date, Callable[[Tables], None]], ...]] = (
    (DAY, _first),
    (DAY + timedelta(days=1), _changed),
    (DAY + timedelta(days=1), _changed),  # the same again
    (DAY + timedelta(days=9), _changed),  # the grace is over: whoever is gone is removed
    (DAY + timedelta(days=10), _first),  # everybody and everything is back
)


@dataclass
class Course:
    """What the nights came to on one database: each one's document, and each one's rows of every table."""

    documents: list[Document]
    tables: list[dict[str, list[dict[str, Any]]]]
    exported: bytes


def _rows(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table; instants and what is made of chance are left out."""
    found = {}
    with engine.connect() as connection:
        for table in database.metadata.sorted_tables:
            if table.name in ("durations", "hosts"):
                continue  # what was measured
            columns = [
                column
                for column in table.columns
                if not column.name.endswith("_at") and column.name not in CHANCE
            ]
            gone = [table.c.removed_at.is_not(None).label("removed")] if "removed_at" in table.c else []
            rows = [dict(row) for row in connection.execute(select(*columns, *gone)).mappings()]
            for row in rows:
                if "removed" in row:
                    row["removed"] = bool(row["removed"])
                if (
                    table.name == "history" and row["before"]
                ):  # a row, with the instant since when it was gone
                    then = json.loads(row["before"])
                    row["before"] = then | {"removed_at": "removed_at" in then}
            found[table.name] = sorted(rows, key=str)
    return found


def _course(folder: Path, url: str, exports: list[Path]) -> Course:
    with deployment(folder, url) as here:
        documents, tables = [], []
        for (day, _), export_folder in zip(NIGHTS, exports, strict=True):
            _tell(here, export_folder)
            documents.append(here.sync(TENANT, day))
            tables.append(_rows(here.stores.database))
        with here.stores.database.connect() as connection:
            export.export(connection, TENANT, folder / "out.zip")
        return Course(documents, tables, (folder / "out.zip").read_bytes())


def _tell(here: Deployment, exports: Path) -> None:
    options: dict[str, Any] = {"respect_enrolment_date": True, "respect_academic_sessions": True}
    guardians: dict[str, Any] = {"sync_parent_data": True, "relationship_type": "guardian"}
    here.apply(
        TENANT,
        csv_provider(exports / "sis", **options, merge={"priority": 2}),
        csv_provider(
            exports / "second", name="second", **options, **guardians,
            merge={"priority": 1, "key": "email_without_domain"},
        ),
    )  # fmt: skip


@pytest.fixture(scope="module")
def courses(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: Any
) -> Iterator[tuple[Course, Course]]:
    folder = tmp_path_factory.mktemp("courses")
    district = generate(60, seed=11)
    second = as_second_provider(district, seed=11)
    exports = []
    for number, (_, edit) in enumerate(NIGHTS):
        tables = copy.deepcopy(district.tables)
        edit(tables)
        exports.append(folder / str(number))
        write_csv(tables, exports[-1] / "sis", "1.2")
        write_csv(_second(second.tables, tables), exports[-1] / "second")
    name = postgres_server.new_database()
    with ExitStack() as stack:
        stack.callback(postgres_server.drop_database, name)
        yield (
            _course(folder / "sqlite", "", exports),
            _course(folder / "postgres", postgres_server.url(name), exports),
        )


def test_the_nights_do_what_they_are_meant_to(courses: tuple[Course, Course]) -> None:
    """The comparison is worth something: rows were added, updated, removed and came back."""
    for course in courses:
        assert [document["status"] for document in course.documents] == ["successful"] * len(NIGHTS)
        first, second, same, third, back = (document["changes"] for document in course.documents)
        assert first["people"]["added"] > 100
        assert first["guardian_links"]["added"] > 0
        assert second["people"]["updated"] >= 10
        assert (second["classes"]["removed"], second["people"]["added"]) == (1, 1)
        assert second["memberships"]["removed"] > 0
        assert second["people"]["removed"] == 0
        assert not any(sum(found.values()) for found in same.values())
        assert third["people"]["removed"] >= 1
        assert third["guardian_links"]["removed"] >= 1
        assert back["people"]["added"] >= 1
        assert (back["classes"]["added"], back["memberships"]["added"] > 0) == (1, True)


def _without_times(document: Document) -> Document:
    kept = {
        name: value
        for name, value in document.items()
        if name not in ("started_at", "finished_at", "run_id", "providers")
    }
    kept["providers"] = [
        {name: value for name, value in entry.items() if name != "duration_s"}
        for entry in document["providers"]
    ]
    return kept


@pytest.mark.parametrize("night", range(len(NIGHTS)))
def test_every_table_has_the_same_rows_after_every_night(courses: tuple[Course, Course], night: int) -> None:
    on_sqlite, on_postgres = courses
    for name, rows in on_sqlite.tables[night].items():
        assert on_postgres.tables[night][name] == rows, name
    assert on_sqlite.tables[night]["people"]
    assert _without_times(on_postgres.documents[night]) == _without_times(on_sqlite.documents[night])


def test_awkward_names_come_through_as_they_are(courses: tuple[Course, Course]) -> None:
    for course in courses:
        family_names = {row["family_name"] for row in course.tables[0]["people"]}
        titles = {row["title"] for row in course.tables[0]["classes"]}
        # But for control characters, of which a reader makes blanks.
        expected = {name.replace("\t", " ") for name in AWKWARD}
        assert expected <= {name for name in family_names if name}
        assert expected <= {title for title in titles if title}


def test_the_export_is_the_same_file(courses: tuple[Course, Course]) -> None:
    assert courses[0].exported == courses[1].exported


def test_whoever_returns_has_the_id_of_before(courses: tuple[Course, Course]) -> None:
    for course in courses:
        before = {
            (row["provider"], row["source_id"]): row["person_id"]
            for row in course.tables[0]["person_sources"]
        }
        after = {
            (row["provider"], row["source_id"]): row["person_id"]
            for row in course.tables[-1]["person_sources"]
        }
        assert {key: after[key] for key in before} == before
        ids = {row["person_id"] for row in course.tables[0]["people"]}
        assert {row["person_id"] for row in course.tables[-1]["people"] if not row["removed"]} >= ids


# --------------------------------------------------------------------------------------- the schema


def test_a_database_that_was_not_upgraded_is_refused(postgres_url: str, tmp_path: Path) -> None:
    with pytest.raises(CodedError, match="RS-DB-02"), deployment(tmp_path, postgres_url, upgrade=False):
        pass


def test_both_databases_have_the_same_tables_columns_and_views(postgres_url: str, tmp_path: Path) -> None:
    found = []
    for url in (postgres_url, ""):
        with deployment(tmp_path / str(len(url)), url) as here:
            looked = inspect(here.stores.database)
            columns = {
                name: sorted((column["name"], column["nullable"]) for column in looked.get_columns(name))
                for name in looked.get_table_names()
            }
            keys = {name: looked.get_pk_constraint(name)["constrained_columns"] for name in columns}
            found.append((columns, keys, sorted(looked.get_view_names())))
            assert database.current_version(here.stores.database) == database.SCHEMA_VERSION
    assert found[0] == found[1]


def test_the_ledger_of_postgres_holds_json_that_can_be_read(courses: tuple[Course, Course]) -> None:
    for row in courses[1].tables[-1]["registers"]:
        assert json.loads(row["options"])
