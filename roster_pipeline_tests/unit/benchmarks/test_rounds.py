"""A round of real syncs over loopback, and the rows of its first one put into a new database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, func, select

from benchmarks.districts import facts_of, prepare
from benchmarks.load import TABLES, dump, load
from benchmarks.results import UnitError
from benchmarks.rounds import NIGHTS, STAGES, Deployment
from benchmarks.server import Serving, served
from roster_pipeline.store.database import connect


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("tiny"), 400)


@pytest.fixture(scope="module")
def serving(folder: Path) -> Iterator[Serving]:
    with served(folder) as found:
        yield found


@pytest.fixture(scope="module")
def round_(tmp_path_factory: pytest.TempPathFactory, serving: Serving) -> tuple[Deployment, dict[str, Any]]:
    """A home after its first sync and the night with changes, and the figures of both."""
    made = Deployment.make(tmp_path_factory.mktemp("round") / "home", serving)
    serving.show(changed=False)
    first = made.night("first")
    serving.show(changed=True)
    changed = made.night("changed")
    serving.show(changed=False)
    return made, {"first": first, "changed": changed}


@pytest.mark.slow
def test_a_night_is_measured_whole_and_by_stage(
    round_: tuple[Deployment, dict[str, Any]], folder: Path
) -> None:
    first = round_[1]["first"]
    assert (first["status"], first["proven"]) == ("successful", True)
    assert first["read"] == sum(facts_of(folder)["rows"].values())
    assert first["stages"].keys() == set(STAGES)
    parts = [first["stages"][stage] for stage in STAGES]
    # What lies between the steps is in no part; on a busy machine it grows with the rest.
    for figure in ("wall_s", "cpu_s"):
        missing = first[figure] - sum(part[figure] for part in parts)
        assert -0.5 <= missing <= max(0.5, 0.15 * first[figure])
    assert max(part["peak_mib"] for part in parts) <= first["peak_mib"]


@pytest.mark.slow
def test_the_second_state_changes_what_is_published(round_: tuple[Deployment, dict[str, Any]]) -> None:
    changed = round_[1]["changed"]
    assert changed["status"] == "successful"
    assert all(changed["changes"].values()), "added, updated and removed"


@pytest.mark.slow
def test_a_sync_that_fails_is_no_figure(round_: tuple[Deployment, dict[str, Any]]) -> None:
    made = round_[0]
    unknown = Deployment(made.folder, made.environment | {"BENCH_SECRET": "wrong"}, made.command)
    with pytest.raises(UnitError, match="ended with 4"):
        unknown.sync(NIGHTS["again"])


def counts(url: str) -> dict[str, int]:
    engine = connect(url)
    try:
        with engine.connect() as connection:
            return {table.name: _count(connection, table) for table in TABLES}
    finally:
        engine.dispose()


def _count(connection: Any, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def rows(url: str) -> dict[str, list[Any]]:
    engine = connect(url)
    try:
        with engine.connect() as connection:
            return {
                table.name: sorted(map(repr, connection.execute(select(table)).all())) for table in TABLES
            }
    finally:
        engine.dispose()


@pytest.mark.slow
def test_the_rows_of_a_sync_are_the_same_after_a_bulk_load(
    round_: tuple[Deployment, dict[str, Any]], tmp_path: Path
) -> None:
    published = f"sqlite:///{round_[0].folder / 'roster.db'}"
    written = dump(published, tmp_path / "rows")
    assert written == sum(counts(published).values())
    loaded = f"sqlite:///{tmp_path / 'loaded.db'}"
    found = load(loaded, tmp_path / "rows")
    assert found["rows"] == written
    assert found["wall_s"] > 0
    assert rows(loaded) == rows(published)


@pytest.mark.slow
@pytest.mark.postgres
def test_postgres_takes_and_gives_the_same_rows(
    round_: tuple[Deployment, dict[str, Any]], serving: Serving, new_postgres_database: Any, tmp_path: Path
) -> None:
    published, loaded = new_postgres_database(), new_postgres_database()
    made = Deployment.make(tmp_path / "home", serving, database_url=published)
    made.sync(NIGHTS["first"])
    written = dump(published, tmp_path / "rows")
    assert load(loaded, tmp_path / "rows")["rows"] == written
    assert rows(loaded) == rows(published)
