"""How long extracts and history are kept, and what is known when they are gone."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import func, insert, select, update

from roster_pipeline.cli import main
from roster_pipeline.codes import CodedError
from roster_pipeline.store import database, history
from roster_pipeline.store.retention import Retention, retention
from roster_pipeline_tests.graph.school import School
from roster_pipeline_tests.syncing import Deployment, codes, csv_provider, deployment

DAY = dt.date(2025, 10, 15)
TENANT = "oak"


@pytest.mark.parametrize(
    "environ, keep",
    [
        ({}, Retention(30, 30)),
        ({"ROSTER_LAKE_DAYS": "8", "ROSTER_HISTORY_DAYS": " 365 "}, Retention(8, 365)),
        ({"ROSTER_LAKE_DAYS": ""}, Retention(30, 30)),
    ],
)
def test_a_deployment_says_how_long(environ: dict[str, str], keep: Retention) -> None:
    assert retention(environ) == keep


@pytest.mark.parametrize(
    "name, text",
    [
        ("ROSTER_LAKE_DAYS", "7"),  # a stale extract stands in for seven days
        ("ROSTER_LAKE_DAYS", "-30"),
        ("ROSTER_LAKE_DAYS", "a month"),
        ("ROSTER_LAKE_DAYS", "1e3"),
        ("ROSTER_LAKE_DAYS", "999999999"),
        ("ROSTER_HISTORY_DAYS", "0"),
        ("ROSTER_HISTORY_DAYS", "30.5"),
    ],
)
def test_what_is_no_number_of_days_or_too_few_is_refused(name: str, text: str) -> None:
    with pytest.raises(CodedError, match=name) as refused:
        retention({name: text})
    assert refused.value.code == "RS-CFG-13"


def run(place: Deployment, *words: str, **environ: str) -> Result:
    home = {"ROSTER_HOME": str(place.home.folder)}
    return CliRunner().invoke(main, list(words), env=home | environ, catch_exceptions=False)


def age(place: Deployment, days: int) -> None:
    """Makes every sync that there is so many days older."""
    syncs = database.syncs
    with place.stores.database.begin() as connection:
        for sync_id, started in connection.execute(select(syncs.c.sync_id, syncs.c.started_at)).all():
            older = started - dt.timedelta(days=days)
            connection.execute(update(syncs).where(syncs.c.sync_id == sync_id).values(started_at=older))


def files(place: Deployment) -> set[str]:
    """Everything of the tenant in the lake that holds rows."""
    root = place.home.folder / "lake" / "tenants" / TENANT
    return {str(path.relative_to(root)) for path in root.rglob("*.parquet")}


def test_the_lake_is_emptied_in_time_and_what_must_be_known_stays(tmp_path: Path) -> None:
    school = School(tmp_path / "files").write()
    with deployment(tmp_path / "home") as place:
        place.apply(TENANT, csv_provider(school.folder))
        assert place.sync(TENANT, DAY)["status"] == "successful"
        before = place.roster(TENANT)
        assert files(place)
        assert run(place, "tidy").stdout == "oak: nothing to remove\n"

        age(place, 31)
        assert run(place, "tidy", TENANT, ROSTER_LAKE_DAYS="40").stdout == "oak: nothing to remove\n"
        assert run(place, "tidy").stdout == "oak: 1 folders of extracts, 1 folders of tables\n"
        assert files(place) == set()
        (complete,) = (place.home.folder / "lake").rglob("complete.json")
        users = json.loads(complete.read_text(encoding="utf-8"))["users"]
        assert (users["rows"], users["sync_id"]) == (8, None)
        assert run(place, "explain", TENANT, "--person", "s1").exit_code == 0

        # The day is said, so the last complete extract is no day old: but it is no longer there.
        school.without("enrollments")
        unread = place.sync(TENANT, DAY)
        assert unread["status"] == "failed"
        assert "RS-SAFE-05" not in codes(unread)
        assert place.roster(TENANT) == before
        school.write()
        (school.folder / "users.csv").write_text(
            (school.folder / "users.csv").read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8"
        )
        assert "RS-SAFE-04" in codes(place.sync(TENANT, DAY)), "it is known that there were rows"
        assert place.roster(TENANT)["people"] == before["people"]
        school.write()
        assert place.sync(TENANT, DAY)["status"] == "successful"
        assert place.roster(TENANT) == before


def test_each_sync_tidies_for_its_tenant(tmp_path: Path) -> None:
    """A retired provider's last complete extract goes, too, though nothing ever replaces it."""
    one, other = School(tmp_path / "one").write(), School(tmp_path / "other").write()
    with deployment(tmp_path / "home") as place:
        place.apply(
            TENANT,
            csv_provider(one.folder, merge={"priority": 2}),
            csv_provider(other.folder, name="other", merge={"priority": 1}),
        )
        place.sync(TENANT, DAY)
        place.apply(TENANT, csv_provider(one.folder, merge={"priority": 2}), retired=["other"])
        place.sync(TENANT, DAY)
        assert {name.split("/")[1] for name in files(place) if name.startswith("extracts")} == {"1", "2"}
        age(place, 31)
        place.sync(TENANT, DAY)
        assert {name.split("/")[1] for name in files(place) if name.startswith("extracts")} == {"1"}


def test_a_setting_that_cannot_be_read_stops_a_sync_before_it_begins(tmp_path: Path) -> None:
    with deployment(tmp_path / "home") as place:
        place.apply(TENANT, csv_provider(School(tmp_path / "files").write().folder))
        place.environ["ROSTER_LAKE_DAYS"] = "never"
        with pytest.raises(CodedError) as refused:
            place.begin(TENANT, DAY)
        assert refused.value.code == "RS-CFG-13"
        with place.stores.database.connect() as connection:
            assert connection.execute(select(func.count()).select_from(database.leases)).scalar() == 0


def test_a_tenant_that_is_removed_leaves_no_rows_in_the_lake(tmp_path: Path) -> None:
    school = School(tmp_path / "files").write()
    with deployment(tmp_path / "home") as place:
        place.apply(TENANT, csv_provider(school.folder))
        place.sync(TENANT, DAY)
        before = place.roster(TENANT)
        refused = run(place, "tenants", "remove", TENANT)
        assert refused.exit_code == 2
        assert files(place)
        assert run(place, "tenants", "remove", TENANT, "--yes").exit_code == 0
        assert files(place) == set()
        assert place.roster(TENANT) == before
        assert run(place, "tidy").stdout == "oak: nothing to remove\n"
        place.apply(TENANT, csv_provider(school.folder))
        assert place.sync(TENANT, DAY)["status"] == "successful"
        assert place.roster(TENANT) == before


def test_history_goes_in_batches_by_the_age_of_its_sync(tmp_path: Path) -> None:
    with deployment(tmp_path / "home") as place:
        place.apply(TENANT, csv_provider(School(tmp_path / "files").write().folder))
        place.sync(TENANT, DAY)
        age(place, 31)
        place.sync(TENANT, DAY)
        entries = [
            {"tenant": tenant, "sync_id": sync, "kind": "people", "row_key": f'["{n}"]', "before": "{}"}
            for tenant in (TENANT, "elm")
            for sync in (1, 2)
            for n in range(12)
        ]
        table = database.history
        with place.stores.database.begin() as connection:
            connection.execute(insert(table), entries)
            before = dt.datetime.now(dt.UTC) - dt.timedelta(days=30)
            assert history.prune(connection, TENANT, before, limit=5) == 5
        assert "7 rows of history" in run(place, "tidy", TENANT).stdout
        with place.stores.database.connect() as connection:
            left = connection.execute(
                select(table.c.tenant, table.c.sync_id, func.count())
                .where(table.c.kind == "people")
                .group_by(table.c.tenant, table.c.sync_id)
            )
            assert {tuple(row) for row in left} == {(TENANT, 2, 12), ("elm", 1, 12), ("elm", 2, 12)}
            # So far back nothing can be undone any more; of the other tenant everything can.
            assert [history.reaches(connection, one) for one in (TENANT, "elm")] == [1, 0]
