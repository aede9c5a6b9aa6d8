"""A terminal in a deployment of the test's own: `roster-pipeline sync` as a process."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg

from roster_pipeline.store import ledger
from roster_pipeline_tests.graph.school import School
from roster_pipeline_tests.syncing import Deployment, csv_provider, environment

AS_OF = "2025-10-15"
DAY = date.fromisoformat(AS_OF)
PROJECT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from roster_pipeline.cli import main; main()"]


@dataclass
class Terminal:
    """A deployment in the working directory of a terminal."""

    here: Deployment
    root: Path

    def school(self, name: str = "school") -> School:
        """A school's folder of that name, written."""
        return School(self.root / name).write()

    def apply(self, *tenants: str, **options: Any) -> None:
        """Registers tenants, each with a school of its own."""
        for tenant in tenants:
            self.here.apply(tenant, csv_provider(self.school(tenant).folder, name="files", **options))

    def settings(self, **more: str) -> dict[str, str]:
        return environment(
            ROSTER_HOME=str(self.here.home.folder), PYTHONPATH=str(PROJECT),
            CLIENT_ID="tests", CLIENT_SECRET="secret of the tests", **more,
        )  # fmt: skip

    def sync(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, "sync", *words, "--as-of", AS_OF],
            cwd=self.root,
            env=self.settings(**more),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def documents(self, *words: str, **more: str) -> tuple[int, list[dict[str, Any]]]:
        """The exit code and what `--json` printed; whatever else came makes it fail."""
        done = self.sync(*words, "--json", **more)
        assert done.stderr == ""
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]

    def begun(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*COMMAND, "sync", *words, "--as-of", AS_OF, "--json"],
            cwd=self.root, env=self.settings(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def ledger(self, tenant: str) -> list[dict[str, Any]]:
        with self.here.stores.database.connect() as connection:
            return ledger.past(connection, tenant)

    def runs(self) -> list[dg.DagsterRun]:
        with dg.DagsterInstance.get() as instance:
            return list(instance.get_runs())
