"""Successive nights of one tenant, each a `roster-pipeline sync` in a process of its own.

A round begins with nothing known and syncs a district four times, on growing days: a first sync, twice the
same data again, and once with one change in a hundred rows. It is watched from outside, by `processes`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

from benchmarks.processes import ROOT, Watched, watch
from benchmarks.results import UnitError
from benchmarks.server import Serving

TENANT: Final = """\
tenant: bench
region: UK
providers:
  - name: sis
    kind: {kind}
    endpoint_url: {endpoint_url}
    token_url: {token_url}
    client_id: env:BENCH_ID
    client_secret: env:BENCH_SECRET
    page_size: {page_size}
    concurrency: {concurrency}
    respect_enrolment_date: true
    respect_academic_sessions: true
"""
PAGE_SIZE: Final = 1000
CONCURRENCY: Final = 4
NIGHTS: Final = {
    "first": date(2026, 10, 15),
    "again": date(2026, 10, 16),
    "unchanged": date(2026, 10, 19),
    "changed": date(2026, 10, 20),
}
"""Night → the school day that it is for. Of `changed`, the server shows the second state."""
STAGES: Final = ("start", "extraction", "sessions", "enrolments", "identities", "publishing", "end")


@dataclass(frozen=True, slots=True)
class Deployment:
    """A home with a tenant that reads a server.

    Args:
        folder: Its home; the roster database too, where that is SQLite.
        environment: What commands are started with.
        command: The program `roster-pipeline` as words.
        database: The id of the database server's first process, where there is one.
    """

    folder: Path
    environment: dict[str, str]
    command: tuple[str, ...]
    database: int | None = None

    @classmethod
    def make(
        cls,
        folder: Path,
        serving: Serving,
        *,
        database_url: str = "",
        database: int | None = None,
        checkout: Path = ROOT,
        kind: str = "powerschool",
        page_size: int = PAGE_SIZE,
        concurrency: int = CONCURRENCY,
    ) -> Deployment:
        """A new home in an empty folder; the code is that of `checkout`."""
        folder.mkdir(parents=True)
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("ROSTER_", "DAGSTER_"))
        }
        environment = kept | {
            "ROSTER_HOME": str(folder),
            "BENCH_ID": serving.client_id,
            "BENCH_SECRET": serving.client_secret,
            "PYTHONPATH": str(checkout),
            "COLUMNS": "200",
        }
        if database_url:
            environment["ROSTER_DATABASE_URL"] = database_url
        program = "import sys; from roster_pipeline.cli import main; sys.argv[0] = 'roster-pipeline'; main()"
        # -P: the code is that of the checkout, not of the folder in which the command happens to be started.
        made = cls(folder, environment, (sys.executable, "-P", "-c", program), database)
        document = folder / "bench.yaml"
        document.write_text(
            TENANT.format(
                kind=kind,
                endpoint_url=serving.base_url,
                token_url=serving.token_url,
                page_size=page_size,
                concurrency=concurrency,
            ),
            encoding="utf-8",
        )
        if database_url:
            made.run("db", "upgrade")
        made.run("tenants", "apply", str(document), "--yes")
        return made

    def run(self, *words: str) -> str:
        """A command's output.

        Raises:
            UnitError: if it fails.
        """
        return _run([*self.command, *words], self.environment)

    def sync(self, day: date) -> tuple[Watched, dict[str, Any]]:
        """One sync, watched; and what it told.

        Raises:
            UnitError: if it ended otherwise than with a roster published.
        """
        words = [*self.command, "sync", "bench", "--as-of", day.isoformat(), "--json"]
        watched = watch(words, self.environment, database=self.database)
        if watched.code not in (0, 3):
            how = (
                "was killed, as when memory runs out" if watched.code == -9 else f"ended with {watched.code}"
            )
            told = f"{watched.output[-600:]} {watched.errors[-600:]}".strip()
            raise UnitError(f"the sync {how} after {watched.wall_s:.0f} s, {watched.peak_mib} MiB: {told}")
        return watched, json.loads(watched.output)

    def night(self, name: str) -> dict[str, Any]:
        """A night's figures, whole and by stage.

        Raises:
            UnitError: if it failed.
        """
        watched, document = self.sync(NIGHTS[name])
        environment = self.environment | {"DAGSTER_HOME": str(self.folder / "dagster")}
        told = _run([sys.executable, "-m", "benchmarks.stages"], environment)
        return figures(watched, document, json.loads(told))


def figures(
    watched: Watched, document: Mapping[str, Any], moments: Mapping[str, tuple[float, float]]
) -> dict[str, Any]:
    """What a sync cost, and what it did.

    `start` is what lies before the first stage (the interpreter, imports, Dagster), `end` what lies behind
    the last one.
    """
    first, last = watched.looks[0].at, watched.looks[-1].at
    spans = {"start": (first, min(begin for begin, _ in moments.values()))}
    spans |= {stage: moments[stage] for stage in STAGES if stage in moments}
    spans["end"] = max(end for _, end in moments.values()), last
    states = {
        name: found["state"]
        for provider in document["providers"]
        for name, found in provider["collections"].items()
    }
    return {
        "wall_s": watched.wall_s,
        "cpu_s": watched.cpu_s,
        "database_cpu_s": watched.database_cpu_s,
        "peak_mib": watched.peak_mib,
        "stages": {name: watched.between(*span) for name, span in spans.items()},
        "status": document["status"],
        "proven": all(state == "ok" for state in states.values()),
        "read": sum(
            found["read"] for provider in document["providers"] for found in provider["collections"].values()
        ),
        "people": document["counts"]["people"],
        "memberships": document["counts"]["memberships"],
        "changes": {
            how: sum(kind[how] for kind in document["changes"].values())
            for how in ("added", "updated", "removed")
        },
        "issues": sorted({issue["code"] for issue in document["issues"]}),
    }


def _run(command: list[str], environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env=dict(environment), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UnitError(f"{' '.join(command[-3:])} ended with {done.returncode}: {done.stderr[-1000:]}")
    return done.stdout
