"""`make night`: a real night of many small tenants through the schedule, the queue, and what it costs.

PostgreSQL with its own defaults, code server, daemon, sandbox servers of every flavour, all on this machine.
The schedule of a region whose window is open now is started, and its ticks do the rest. Prints one JSON
document.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import dagster as dg
import yaml
from sqlalchemy import Connection, make_url, text

from roster_pipeline import upkeep
from roster_pipeline.jobs import SYNC_TENANT
from roster_pipeline.nights import windows
from roster_pipeline.runs import NOT_OVER
from roster_pipeline.store import database, ledger
from roster_pipeline.tenants.document import Region
from roster_pipeline_tests.production import DEPLOY, DURABLE, Production, cpu_of, production, sandbox

FLAVOURS: Final = {
    "powerschool": "powerschool", "classlink": "classlink",
    "oneroster-1.1": "oneroster", "oneroster-1.2": "oneroster",
}  # fmt: skip
"""Flavour of a sandbox → kind of provider."""
RUNS: Final = dg.RunsFilter(job_name=SYNC_TENANT.name)
GOING: Final = dg.RunsFilter(job_name=SYNC_TENANT.name, statuses=NOT_OVER)
DAGSTER: Final = (
    "import roster_pipeline.definitions, roster_pipeline.instance.postgres, dagster._cli, dagster._grpc.impl"
)
SYNCS: Final = """
import roster_pipeline.syncs, roster_pipeline.providers.powerschool, psycopg, pyarrow
pyarrow.array([''])  # imports pandas' parts
"""


def night(tenants: int, students: int, at_once: int, workers: int) -> dict[str, Any]:
    """Syncs so many tenants; what it took.

    Raises:
        AssertionError: if a tenant is not synced once, successfully and in the window, or not as the others
            of its source are.
    """
    now = datetime.now(UTC)
    region = max(windows.OFFSETS, key=lambda one: left(one, now))
    secret = {"ROSTER_SANDBOX_CLIENT_SECRET": secrets.token_hex(12), "SANDBOX_ID": "sandbox"}
    names = {f"worker-{number + 1}": () for number in range(workers)}
    with (
        tempfile.TemporaryDirectory(prefix="roster-night-") as folder,
        production(
            Path(folder),
            at_once=at_once,
            workers=names,
            processes=at_once // max(workers, 1),
            postgres=DURABLE,
            settings=secret,
        ) as made,
    ):
        documents = dict(_documents(made, tenants, students, region))
        files = [str(_written(made, document)) for document in documents.values()]
        for first in range(0, len(files), 100):
            made.command("tenants", "apply", "--yes", *files[first : first + 100])
        with made.instance() as instance:
            made.until(
                lambda: len(instance.get_dynamic_partitions("tenants")) >= tenants or None, 300, "partitions"
            )
            made.dagster(
                "schedule",
                "start",
                "--workspace",
                str(DEPLOY / "workspace.yaml"),
                f"nightly_{region.lower()}",
            )
            made.until(lambda: instance.get_runs_count(RUNS) or None, 400, "the first tick")
            begun, before = time.monotonic(), made.cpu()
            ended = _until_over(made, instance, tenants, begun)
            after = made.cpu()
            told = _costs(before, after, tenants, ended - begun)
            told |= _checked(made, region, documents)
            told |= _events(made, instance, tenants)
            told |= _parts(made, documents, "NZ" if region != "NZ" else "US")
    return {
        "tenants": tenants, "students": students, "runs_at_once": at_once, "celery_workers": workers,
        "cores": os.cpu_count(), **told,
    }  # fmt: skip


def left(region: Region, now: datetime) -> float:
    """Seconds until the region's window closes; less than zero where none is open."""
    window = windows.window(region, now)
    return (window.end - now).total_seconds() if window else -1.0


def _documents(
    made: Production, tenants: int, students: int, region: Region
) -> Iterator[tuple[str, dict[str, Any]]]:
    boxes = {
        flavour: sandbox(made, f"sandbox {flavour}", "--students", str(students), "--flavour", flavour)
        for flavour in FLAVOURS
    }
    for number in range(tenants):
        flavour = list(FLAVOURS)[number % len(FLAVOURS)]
        name = f"{flavour.replace('.', '-')}-{number:05}"
        yield name, _document(name, region, flavour, boxes[flavour])


def _document(name: str, region: Region, flavour: str, box: Mapping[str, str]) -> dict[str, Any]:
    provider = {
        "name": "sis", "kind": FLAVOURS[flavour], "endpoint_url": box["endpoint_url"],
        "client_id": "env:SANDBOX_ID", "client_secret": "env:ROSTER_SANDBOX_CLIENT_SECRET",
        "respect_enrolment_date": True, "respect_academic_sessions": True,
    }  # fmt: skip
    if box.get("token_url"):
        provider["token_url"] = box["token_url"]
    return {"tenant": name, "region": region, "providers": [provider]}


def _written(made: Production, document: Mapping[str, Any]) -> Path:
    path = made.folder / f"{document['tenant']}.yaml"
    path.write_text(yaml.safe_dump(dict(document)), encoding="utf-8")
    return path


def _until_over(made: Production, instance: dg.DagsterInstance, tenants: int, begun: float) -> float:
    """The moment at which the last sync was over; tells how far it is meanwhile."""
    told = 0

    def over() -> float | None:
        nonlocal told
        time.sleep(2)
        runs, going = instance.get_runs_count(RUNS), instance.get_runs_count(GOING)
        if (runs - going) // 50 > told:
            told = (runs - going) // 50
            minutes = (time.monotonic() - begun) / 60
            sys.stderr.write(f"{runs - going} of {tenants} after {minutes:.1f} min\n")
        return time.monotonic() if runs >= tenants and not going else None

    return made.until(over, 4 * 3600, "the night")


def _costs(
    before: Mapping[str, float], after: Mapping[str, float], tenants: int, seconds: float
) -> dict[str, Any]:
    """CPU a tenant by process; the sandboxes play the schools' systems and do not count."""
    ours = {
        name: round((cpu - before.get(name, 0.0)) / tenants, 3)
        for name, cpu in after.items()
        if not name.startswith("sandbox")
    }
    return {
        "minutes": round(seconds / 60, 1),
        "tenants_per_hour": round(tenants / seconds * 3600),
        "cpu_s_per_tenant": round(sum(ours.values()), 2),
        "cpu_s_per_tenant_by_process": ours,
    }


def _checked(made: Production, region: Region, documents: Mapping[str, Any]) -> dict[str, Any]:
    """Every tenant once, successfully, in the window, and as all that read the same source."""
    window = windows.newest_window(region, datetime.now(UTC))
    told: dict[str, set[str]] = {}
    engine = made.stores().database
    with engine.connect() as connection:
        for name in documents:
            (one,) = ledger.past(connection, name, limit=10)
            assert one["status"] == "successful", one
            assert f"{window.start:%Y-%m-%dT%H:%M}" <= one["started_at"] < f"{window.end:%Y-%m-%dT%H:%M}", one
            told.setdefault(name.rpartition("-")[0], set()).add(json.dumps(one["counts"], sort_keys=True))
    engine.dispose()
    for flavour, found in told.items():
        assert len(found) == 1, f"{flavour}: one source, several rosters: {found}"
    kinds = ("students", "teachers", "imported_classes", "memberships")
    return {
        "published": {
            flavour: {kind: json.loads(next(iter(found)))[kind] for kind in kinds}
            for flavour, found in told.items()
        }
    }


def _events(made: Production, instance: dg.DagsterInstance, tenants: int) -> dict[str, Any]:
    """Rows and bytes of Dagster's events a sync, before and after the upkeep has been there."""
    url = make_url(made.server.url(made.environ["DAGSTER_POSTGRES_DB"]))
    engine = database.connect(url.render_as_string(hide_password=False))

    def measured(connection: Connection) -> dict[str, float]:
        rows, size = connection.execute(
            text(
                "SELECT count(*), coalesce(sum(pg_column_size(event_logs.*)), 0) FROM event_logs"
                " JOIN runs USING (run_id) WHERE pipeline_name = 'sync_tenant'"
            )
        ).one()
        whole = connection.scalar(text("SELECT pg_database_size(current_database())"))
        return {
            "rows": round(rows / tenants, 1), "bytes": round(size / tenants),
            "database_mib": round((whole or 0) / 2**20, 1),
        }  # fmt: skip

    with engine.connect() as connection:
        before = measured(connection)
    begun = time.monotonic()
    upkeep.prune(instance, datetime.now(UTC), event_days=0, run_days=30)
    seconds = time.monotonic() - begun
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM FULL"))
        after = measured(connection)
    engine.dispose()
    return {"events_per_sync": before, "events_per_sync_pruned": after, "pruning_s": round(seconds, 1)}


def _parts(made: Production, documents: Mapping[str, Any], region: Region) -> dict[str, Any]:
    """What a sync costs without Dagster in a process that has imported everything, and what importing costs.

    Its tenants are of a region whose schedule does not run.
    """
    alone, postgres = [], []
    for name in list(documents)[: len(FLAVOURS)]:
        document = {**documents[name], "tenant": f"alone-{name}", "region": region}
        made.command("tenants", "apply", "--yes", str(_written(made, document)))
        before = cpu_of(made.server.pid)
        told = _run(
            made, "-m", "benchmarks.steps", document["tenant"], document["providers"][0]["kind"],
            f"{datetime.now(UTC):%Y-%m-%d}",
        )  # fmt: skip
        postgres.append(cpu_of(made.server.pid) - before)
        found = json.loads(told[0])
        alone.append(sum(found[part]["cpu_s"] for part in ("extraction", "rules", "publishing")))
    nothing, dagster, everything = (
        min(_run(made, "-c", code)[1] for _ in range(3)) for code in ("pass", DAGSTER, f"{DAGSTER}\n{SYNCS}")
    )
    return {
        "sync_alone_cpu_s": round(sum(alone) / len(alone), 2),
        "sync_alone_postgres_cpu_s": round(sum(postgres) / len(postgres), 2),
        "interpreter_cpu_s": round(nothing, 2),
        "importing_dagster_cpu_s": round(dagster - nothing, 2),
        "importing_ours_cpu_s": round(everything - dagster, 2),
    }


def _run(made: Production, *words: str) -> tuple[str, float]:
    """A Python process's output, and its CPU seconds."""
    process = subprocess.Popen(
        [sys.executable, *words], cwd=DEPLOY.parent, env=made.environ, stdout=subprocess.PIPE, text=True
    )
    if process.stdout is None:
        raise RuntimeError("no output")
    told = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(words)[:80]} ended with {status}")
    return told, usage.ru_utime + usage.ru_stime


def main() -> None:
    """One night."""
    arguments = argparse.ArgumentParser(prog="make night", description=__doc__)
    arguments.add_argument("--tenants", type=int, default=500)
    arguments.add_argument("--students", type=int, default=800)
    arguments.add_argument("--at-once", type=int, default=4, help="runs at once")
    arguments.add_argument("--workers", type=int, default=0, help="Celery workers; 0: the default launcher")
    given = arguments.parse_args()
    told = night(given.tenants, given.students, given.at_once, given.workers)
    sys.stdout.write(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
