"""SIGKILL at any moment: readers see the old roster or the new one, and the next sync succeeds at once.

Old and new differ in every name and every title, in who there is and in who is where; so a roster of
which one row is the other night's would be seen as what it is.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Connection, Engine, text

from roster_pipeline.sandbox.generator import DAY
from roster_pipeline.sandbox.source import write_csv
from roster_pipeline.store import database, ledger
from roster_pipeline_tests.graph.killing import COMMIT, killed_after_steps, killed_at_call
from roster_pipeline_tests.kills import instants
from roster_pipeline_tests.kills.nights import TONIGHT, last_night, tonight
from roster_pipeline_tests.postgres_server import PostgresServer
from roster_pipeline_tests.syncing import (
    STEPS,
    Deployment,
    Document,
    Roster,
    changed,
    csv_provider,
    deployment,
)

TENANT: Final = "town"

# Both directions: from the memberships to what they name, and from people and classes to memberships.
_FROM_MEMBERSHIPS: Final = """
    SELECT p.family_name, c.title, m.role FROM current_memberships m
    LEFT JOIN current_people p ON p.tenant = m.tenant AND p.person_id = m.person_id
    LEFT JOIN current_classes c ON c.tenant = m.tenant AND c.class_id = m.class_id
    WHERE m.tenant = :tenant"""
_FROM_PEOPLE: Final = """
    SELECT p.given_name, p.family_name, c.title FROM current_people p
    LEFT JOIN current_memberships m ON m.tenant = p.tenant AND m.person_id = p.person_id
    LEFT JOIN current_classes c ON c.tenant = m.tenant AND c.class_id = m.class_id
    WHERE p.tenant = :tenant"""
_FROM_CLASSES: Final = """
    SELECT c.title, p.given_name, p.family_name FROM current_classes c
    LEFT JOIN current_memberships m ON m.tenant = c.tenant AND m.class_id = c.class_id
    LEFT JOIN current_people p ON p.tenant = m.tenant AND p.person_id = m.person_id
    WHERE c.tenant = :tenant"""
JOINS: Final = (_FROM_MEMBERSHIPS, _FROM_PEOPLE, _FROM_CLASSES)

Seen = tuple[tuple[str, ...], ...]


def _join(connection: Connection, join: str) -> Seen:
    return tuple(sorted(tuple(map(str, row)) for row in connection.execute(text(join), {"tenant": TENANT})))


def read(engine: Engine) -> tuple[Seen, ...]:
    """All joins in one transaction, as the README tells readers to do it."""
    isolation = {} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
    with engine.connect().execution_options(**isolation) as connection, connection.begin():
        return tuple(_join(connection, join) for join in JOINS)


@dataclass
class Readers:
    """Two threads that read until the end: one statement at a time, and whole transactions."""

    old: tuple[Seen, ...]
    new: tuple[Seen, ...]
    reads: int = 0
    mixtures: list[str] = field(default_factory=list)

    @contextmanager
    def reading(self, url: str) -> Iterator[None]:
        over = threading.Event()
        threads = [
            threading.Thread(target=self._loop, args=(url, over, look), daemon=True)
            for look in (self._statements, self._transaction)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def _loop(self, url: str, over: threading.Event, look: Callable[[Engine], None]) -> None:
        engine = database.connect(url)
        try:
            while True:
                last = over.wait(0.02)
                look(engine)
                self.reads += 1
                if last:  # read once more after all is over
                    return
        except Exception as error:
            self.mixtures.append(repr(error))
        finally:
            engine.dispose()

    def _statements(self, engine: Engine) -> None:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for place, join in enumerate(JOINS):
                if _join(connection, join) not in (self.old[place], self.new[place]):
                    self.mixtures.append(join)

    def _transaction(self, engine: Engine) -> None:
        if read(engine) not in (self.old, self.new):
            self.mixtures.append("a transaction")


# ------------------------------------------------------------------------------------------ nights


@dataclass
class Evening:
    """A deployment with last night's roster and tonight's export, to be copied; and what is to come of it."""

    folder: Path
    new_database: Callable[[], str]
    """The URL of a database in the same state; "" for the one in the folder."""
    old: tuple[Seen, ...]
    new: tuple[Seen, ...]
    roster: Roster
    document: Document


def _prepared(
    folder: Path, url: str, new_database: Callable[[], str], copied_url: Callable[[], str]
) -> Evening:
    tables = last_night(guardians=False)
    export = folder / "export"
    with deployment(folder / "home", url) as here:
        here.apply(TENANT, csv_provider(export, respect_enrolment_date=True))
        write_csv(tables, export)
        assert here.sync(TENANT, DAY)["status"] == "successful"
        old = read(here.stores.database)
        write_csv(tonight(tables), export)
    shutil.copytree(folder / "home", folder / "reference")
    with deployment(folder / "reference", copied_url(), upgrade=False) as here:
        document = here.sync(TENANT, TONIGHT)
        new, published = read(here.stores.database), here.roster(TENANT)
    assert document["status"] == "successful"
    assert set(changed(document)) == {"schools", "academic_sessions", "classes", "people", "memberships"}
    assert all(set(before).isdisjoint(after) for before, after in zip(old, new, strict=True))
    return Evening(folder / "home", new_database, old, new, published, document)


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Evening:
    return _prepared(tmp_path_factory.mktemp("sqlite"), "", lambda: "", lambda: "")


@pytest.fixture(scope="module")
def on_postgres(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer
) -> Iterator[Evening]:
    with ExitStack() as stack:

        def made(template: str = "template1") -> str:
            name = postgres_server.new_database(template)
            stack.callback(postgres_server.drop_database, name)
            return name

        origin = made()

        def copied() -> str:
            return postgres_server.url(made(origin))

        yield _prepared(tmp_path_factory.mktemp("postgres"), postgres_server.url(origin), copied, copied)


Kill = Callable[[Path, str], BaseProcess]


def _steps(count: int) -> Kill:
    return lambda folder, url: killed_after_steps(folder, url, TENANT, TONIGHT, count)


def _call(function: str, number: int, *, afterwards: bool = False) -> Kill:
    return lambda folder, url: killed_at_call(
        folder, url, TENANT, TONIGHT, function, number, afterwards=afterwards
    )


_TABLE: Final = "roster_pipeline.store.publish:_write"
_WRITE: Final = "roster_pipeline.syncs:write_changes"
_NAMES: Final = list(STEPS)
_AFTER: Final = {
    "nothing": 0,
    **{
        name: place
        for place, name in enumerate(_NAMES, 1)
        if not name.startswith("extract") or name == "extract oneroster_csv"
    },
}
_MOMENTS: Final[dict[str, Kill]] = {
    **{f"after {name}": _steps(count) for name, count in _AFTER.items()},
    "in the second page": _call("roster_pipeline.store.lake:ExtractFiles.append", 2),
    "before an extract is called complete": _call("roster_pipeline.store.lake:Lake.set_complete", 1),
    "in the middle of a step's tables": _call("pyarrow.parquet:write_table", 4),
    "before a step's pointer moves": _call("roster_pipeline.store.lake:_write_json", 5),
    **{f"at table {number} of publishing": _call(_TABLE, number) for number in (1, 3, 5, 7)},
    "between a table's history and its rows": _call("roster_pipeline.store.publish:merge", 2),
    "between the history of what goes and its going": _call("roster_pipeline.store.publish:update", 1),
    "after the last table of publishing": _call(_WRITE, 1, afterwards=True),
    "before the commit": _call(COMMIT, 1),
    "after the commit": _call("roster_pipeline.syncs:Sync._commit", 1, afterwards=True),
    "while old files go": _call("roster_pipeline.store.lake:_remove", 1),
    "before the lease is given back": _call("roster_pipeline.store.lease:Lease.release", 1),
}  # fmt: skip
_ON_POSTGRES: Final = (
    "after nothing", "after merged identities", "at table 1 of publishing", "at table 3 of publishing",
    "at table 7 of publishing", "between a table's history and its rows",
    "between the history of what goes and its going", "after the last table of publishing",
    "before the commit", "after the commit", "before the lease is given back",
)  # fmt: skip
_PUBLISHED: Final = (
    "after publish",
    "after the commit",
    "while old files go",
    "before the lease is given back",
)


def _kill_and_sync_again(evening: Evening, folder: Path, moment: str) -> None:
    url = evening.new_database()
    shutil.copytree(evening.folder, folder)
    readers = Readers(evening.old, evening.new)
    with deployment(folder, url, upgrade=False) as here, readers.reading(here.home.database_url):
        process = _MOMENTS[moment](folder, url)
        process.join(60)
        assert process.exitcode == -9, "it was not killed there"
        found = read(here.stores.database)
        assert found == (evening.new if moment in _PUBLISHED else evening.old)
        told = here.sync(TENANT, TONIGHT)
        _is_as_if_nothing_had_happened(here, evening, told, moment)
    assert readers.mixtures == []
    assert readers.reads > 2


def _is_as_if_nothing_had_happened(here: Deployment, evening: Evening, told: Document, moment: str) -> None:
    assert told["status"] == "successful"
    assert here.roster(TENANT) == evening.roster
    if moment in _PUBLISHED:
        assert changed(told) == {}
    else:
        assert told["changes"] == evening.document["changes"]
        assert told["counts"] == evening.document["counts"]
    with here.stores.database.connect() as connection:
        newest, killed, _ = ledger.past(connection, TENANT)
    assert newest["sync_id"] == told["sync_id"]
    assert killed["status"] == ("successful" if moment in _PUBLISHED else "interrupted")


@pytest.mark.parametrize("moment", _MOMENTS)
def test_a_kill_leaves_the_old_roster_or_the_new_one(on_sqlite: Evening, tmp_path: Path, moment: str) -> None:
    _kill_and_sync_again(on_sqlite, tmp_path / "home", moment)


@pytest.mark.postgres
@pytest.mark.parametrize("moment", _ON_POSTGRES)
def test_a_kill_leaves_the_old_roster_or_the_new_one_on_postgres(
    on_postgres: Evening, tmp_path: Path, moment: str
) -> None:
    _kill_and_sync_again(on_postgres, tmp_path / "home", moment)


def test_a_kill_at_a_random_instant_leaves_the_old_roster_or_the_new_one(tmp_path: Path) -> None:
    """A sample of what `python -m roster_pipeline_tests.kills` does with hundreds."""
    with instants.lanes(tmp_path, "", seed=1) as every:
        found = every[-1].run(2)  # later syncs of a REST server
    assert found.failures == []
    assert found.killed == 2
    assert min(found.reads.values()) > 0


def test_both_databases_come_to_the_same(on_sqlite: Evening, on_postgres: Evening) -> None:
    assert on_postgres.roster == on_sqlite.roster
    assert (on_postgres.old, on_postgres.new) == (on_sqlite.old, on_sqlite.new)


def test_readers_who_mix_two_rosters_would_be_noticed(on_sqlite: Evening, tmp_path: Path) -> None:
    """What all of this rests on: a roster with one row of the other night is neither of the two."""
    shutil.copytree(on_sqlite.folder, tmp_path / "home")
    with deployment(tmp_path / "home") as here:
        with here.stores.database.begin() as connection:
            one = "(SELECT min(class_id) FROM classes)"
            connection.execute(text(f"UPDATE classes SET title = title || ' II' WHERE class_id = {one}"))
        readers = Readers(on_sqlite.old, on_sqlite.new)
        with readers.reading(here.home.database_url):
            pass
    assert {*readers.mixtures} == {*JOINS, "a transaction"}
