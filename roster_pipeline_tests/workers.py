"""Runs on two Celery workers, one of which loses its power: every sync ends right, and within minutes.

`python -m roster_pipeline_tests.workers`, as root: each worker has a host name of its own, so that what dies
is known to be dead by its silence alone. Workers share PostgreSQL, the lake and Redis. Takes five minutes,
most of them waiting for the silence to be long enough.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import dagster as dg
import yaml
from dagster._core.launcher import WorkerStatus
from sqlalchemy import select

from roster_pipeline import tags
from roster_pipeline.assets import ASSETS
from roster_pipeline.providers import KINDS
from roster_pipeline.runs import NOT_OVER
from roster_pipeline.store.database import leases, syncs
from roster_pipeline.store.lease import SILENCE
from roster_pipeline_tests.production import Production, production, sandbox, webserver
from roster_pipeline_tests.syncing import roster

HOST_NAME: Final = 'hostname "$1"; shift; exec "$@"'
WORKERS: Final = {
    name: ("unshare", "--uts", "sh", "-c", HOST_NAME, "sh", name) for name in ("worker-a", "worker-b")
}
SELECTED: Final = [f"raw/{kind}" for kind in KINDS if kind == "oneroster"] + [
    asset.key.to_user_string() for asset in ASSETS if asset.key.path[0] != "raw"
]
ENDED: Final = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


def prove(tenants: int, students: int) -> None:
    """Raises with what does not hold."""
    folder = Path(tempfile.mkdtemp(prefix="roster-workers-"))
    secret = {"ROSTER_SANDBOX_CLIENT_SECRET": secrets.token_hex(12), "SANDBOX_ID": "sandbox"}
    try:
        with (
            production(folder, at_once=4, workers=WORKERS, processes=2, settings=secret) as made,
            webserver(made) as ui,
            made.instance() as instance,
        ):
            names = _apply(made, sandbox(made, "sandbox", "--students", str(students)), tenants)
            made.until(
                lambda: set(ui.partitions("published_rosters")) >= set(names) or None, 120, "the partitions"
            )
            for name in names:
                ui.materialise(name, *SELECTED)
            killed, lost = _kill(made, instance)
            print(f"killed worker-b in the middle of {len(lost)} runs, of {sorted(killed)}", flush=True)
            begun = time.monotonic()
            believed = {
                run.run_id: instance.run_launcher.check_run_worker_health(run).status
                for run in instance.get_runs(filters=dg.RunsFilter(run_ids=list(lost)))
            }
            assert set(believed.values()) == {WorkerStatus.RUNNING}, believed
            made.until(lambda: _over(instance), 600, "the syncs")
            print(f"all is over {time.monotonic() - begun:.0f} s later", flush=True)
            for wrong in _wrong(made, instance, names, killed, lost):
                raise AssertionError(wrong)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{tenants} passed, 0 failed")


def _apply(made: Production, box: dict[str, str], tenants: int) -> list[str]:
    names = [f"tenant-{number:02}" for number in range(tenants)]
    provider = {
        "name": "sis", "kind": "oneroster", "endpoint_url": box["endpoint_url"],
        "client_id": "env:SANDBOX_ID", "client_secret": "env:ROSTER_SANDBOX_CLIENT_SECRET",
    } | ({"token_url": box["token_url"]} if box.get("token_url") else {})  # fmt: skip
    files = []
    for name in names:
        files.append(made.folder / f"{name}.yaml")
        document = {"tenant": name, "region": "UK", "providers": [provider]}
        files[-1].write_text(yaml.safe_dump(document), encoding="utf-8")
    made.command("tenants", "apply", "--yes", *map(str, files))
    return names


def _kill(made: Production, instance: dg.DagsterInstance) -> tuple[set[str], set[str]]:
    """Kills worker-b while it works; the tenants that it worked on, and their runs."""
    engine = made.stores().database

    def held() -> dict[str, str]:
        with engine.connect() as connection:
            rows = connection.execute(select(leases)).all()
        return {row.owner: row.tenant for row in rows if row.process.startswith("worker-b|")}

    made.until(lambda: len(held()) == 2 or None, 120, "two syncs on worker-b")
    made.kill("worker-b")
    left = held()
    engine.dispose()
    going = instance.get_runs(filters=dg.RunsFilter(run_ids=list(left), statuses=NOT_OVER)) if left else []
    lost = {run.run_id for run in going}
    assert lost, "worker-b had ended its syncs before it was killed; try again"
    return {left[run_id] for run_id in lost}, lost


def _over(instance: dg.DagsterInstance) -> bool | None:
    """Whether nothing goes on, and nobody is about to start anything again."""
    runs = instance.get_runs()
    if any(run.status not in ENDED for run in runs):
        return None
    again = Counter(run.root_run_id for run in runs if run.root_run_id)
    failed = [run.run_id for run in runs if run.status == dg.DagsterRunStatus.FAILURE and not run.root_run_id]
    return all(again[run_id] for run_id in failed) or None


def _wrong(
    made: Production, instance: dg.DagsterInstance, names: list[str], killed: set[str], lost: set[str]
) -> Iterator[str]:
    engine = made.stores().database
    with engine.connect() as connection:
        told: list[Any] = list(connection.execute(select(syncs)).mappings())
        if connection.execute(select(leases)).first():
            yield "a lease is left"
    by_tenant = {name: [one["status"] for one in told if one["tenant"] == name] for name in names}
    for name, found in by_tenant.items():
        if found.count("successful") != 1:
            yield f"{name}: {found}"
    for run_id in lost:
        run = instance.get_run_by_id(run_id)
        if run is None or run.status != dg.DagsterRunStatus.FAILURE:
            yield f"the run {run_id} that was killed is not a failure"
        elif run.tags[tags.ERROR_CODE] != "RS-RUN-02":
            yield f"the run {run_id} says {run.tags[tags.ERROR_CODE]}"
    first = roster(engine, names[0])
    if not all(rows for table, rows in first.items() if table != "guardian_links"):
        yield "a table of the roster is empty"
    for name in names[1:]:
        if roster(engine, name) != first:
            yield f"{name} has another roster than {names[0]}, from one source"
    engine.dispose()


def main() -> int:
    """Two workers, and the death of one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenants", type=int, default=12)
    parser.add_argument("--students", type=int, default=400)
    given = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("Run it as root: a worker gets a host name of its own (unshare --uts).")
    print(f"A lease may be silent for {SILENCE.total_seconds():.0f} s.", flush=True)
    prove(given.tenants, given.students)
    return 0


if __name__ == "__main__":
    sys.exit(main())
