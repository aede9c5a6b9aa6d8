"""One sync of a tenant at a time: of two, one works, and the other ends with RS-RUN-06."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, Final

import pytest

from roster_pipeline.codes import CodedError
from roster_pipeline.sandbox.generator import DAY, generate
from roster_pipeline.sandbox.source import write_csv
from roster_pipeline.store import ledger
from roster_pipeline_tests.graph.killing import PROCESSES
from roster_pipeline_tests.syncing import (
    STEPS,
    Deployment,
    changed,
    codes,
    csv_provider,
    deployment,
)

TENANT: Final = "town"
ROUNDS: Final = 3


@pytest.fixture(params=["sqlite", "postgres"])
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""
    write_csv(generate(30, seed=5, guardians=False).tables, tmp_path / "export")
    with deployment(tmp_path / "home", url) as found:
        found.apply(TENANT, csv_provider(tmp_path / "export"))
        yield found


def _sync(folder: Path, url: str, as_of: date, met: Barrier, told: Queue[Any]) -> None:
    """One of two processes: both begin at one moment, and whoever works waits until the other has ended."""
    with deployment(folder, url, upgrade=False) as here:
        for _ in range(ROUNDS):
            met.wait(60)
            try:
                sync = here.begin(TENANT, as_of)
            except CodedError as error:
                told.put((error.code, None))
                met.wait(60)
                met.wait(60)
                continue
            met.wait(60)
            for step in STEPS.values():
                document = step(sync)
            sync.close()
            told.put((document["status"], document["sync_id"]))
            met.wait(60)


def test_of_two_processes_one_works_and_the_other_ends_with_a_code(here: Deployment) -> None:
    url = here.home.database_url if here.stores.database.dialect.name == "postgresql" else ""
    met, told = PROCESSES.Barrier(2), PROCESSES.Queue()
    processes = [
        PROCESSES.Process(target=_sync, args=(here.home.folder, url, DAY, met, told), daemon=True)
        for _ in range(2)
    ]
    for process in processes:
        process.start()
    found = [told.get(timeout=60) for _ in range(2 * ROUNDS)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert sorted(code for code, _ in found) == ["RS-RUN-06"] * ROUNDS + ["successful"] * ROUNDS
    with here.stores.database.connect() as connection:
        past = ledger.past(connection, TENANT)
    # Whoever was refused has left nothing, and the second and third round had nothing to change.
    assert [document["sync_id"] for document in past] == sorted(
        (sync_id for _, sync_id in found if sync_id), reverse=True
    )
    assert [bool(changed(document)) for document in past] == [False, False, True]


def test_a_sync_refuses_to_publish_once_another_has_taken_its_place(here: Deployment) -> None:
    """A process that slept for minutes, on another machine perhaps, must not overwrite a newer roster."""
    slow = here.begin(TENANT, DAY)
    *before, publish = STEPS.values()
    for step in before:
        step(slow)
    slow._lease._stop.set()  # its machine is asleep: no heartbeat comes
    late = replace(slow._world, clock=lambda: datetime.now(UTC) + timedelta(minutes=5))
    other = here.begin(TENANT, DAY + timedelta(days=1), world=late)
    for step in STEPS.values():
        told = step(other)
    assert told["status"] == "successful"
    published = here.roster(TENANT)
    with pytest.raises(CodedError, match="RS-RUN-06"):
        publish(slow)
    slow.close()
    assert here.roster(TENANT) == published
    other.close()
    assert changed(here.sync(TENANT, DAY + timedelta(days=1))) == {}


def test_a_living_sync_keeps_its_lease_however_long_it_takes(here: Deployment) -> None:
    sync = here.begin(TENANT, DAY)
    with pytest.raises(CodedError, match="RS-RUN-06"):
        here.begin(TENANT, DAY)
    sync.close()
    assert codes(here.sync(TENANT, DAY)) == []


def test_tenants_do_not_wait_for_each_other(here: Deployment, tmp_path: Path) -> None:
    here.apply("city", csv_provider(tmp_path / "export"))
    sync = here.begin(TENANT, DAY)
    assert here.sync("city", DAY)["status"] == "successful"
    sync.close()
