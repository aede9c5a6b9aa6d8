"""A terminal in a deployment of the test's own: `roster-pipeline sync` as a process.

The processes are forked from one that has loaded what the command needs, which takes longer than a sync.
That it starts without, and what it loads by then, is `test_house`'s; `COMMAND` is for who wants all of it.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import dagster as dg

from roster_pipeline.store import ledger
from roster_pipeline_tests.graph.killing import PROCESSES
from roster_pipeline_tests.graph.school import School
from roster_pipeline_tests.syncing import Deployment, csv_provider, environment

AS_OF = "2025-10-15"
DAY = date.fromisoformat(AS_OF)
PROJECT = Path(__file__).parents[2]
PROGRAM = "from roster_pipeline.cli import main; main()"
COMMAND = [sys.executable, "-c", PROGRAM]


def _run(
    program: str, words: tuple[str, ...], folder: Path, settings: dict[str, str], out: Path, err: Path
) -> None:
    """The command in this process: what it writes goes into these files."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(settings)
    for descriptor, file in enumerate((Path(os.devnull), out, err)):
        opened = os.open(file, os.O_RDWR | os.O_CREAT)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.argv = ["-c", *words]
    exec(program, {"__name__": "__main__"})


@dataclass
class Command:
    """A command as a process, as `subprocess.Popen` has it."""

    process: BaseProcess
    told: Path

    @classmethod
    def begun(
        cls, *words: str, folder: Path, settings: dict[str, str], told: Path, program: str = PROGRAM
    ) -> Command:
        """Starts it in a folder, with these settings as its environment; `told` is for what it writes."""
        told.mkdir(parents=True)
        given = program, words, folder, settings, told / "out", told / "err"
        process = PROCESSES.Process(target=_run, args=given, daemon=True)
        process.start()
        return cls(process, told)

    def send_signal(self, number: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.process.kill()

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def communicate(self, timeout: float = 300) -> tuple[bytes, bytes]:
        """What it wrote, once it has ended."""
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.process.kill()
            raise subprocess.TimeoutExpired("roster-pipeline", timeout)
        return (self.told / "out").read_bytes(), (self.told / "err").read_bytes()

    def done(self) -> subprocess.CompletedProcess[str]:
        """How it has ended, as `subprocess.run` tells it."""
        out, err = self.communicate()
        assert self.returncode is not None
        return subprocess.CompletedProcess("roster-pipeline", self.returncode, out.decode(), err.decode())


@dataclass
class Terminal:
    """A deployment in the working directory of a terminal."""

    here: Deployment
    root: Path
    _numbers: Iterator[int] = field(default_factory=itertools.count)

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
        return self._begun("sync", *words, "--as-of", AS_OF, **more).done()

    def documents(self, *words: str, **more: str) -> tuple[int, list[dict[str, Any]]]:
        """The exit code and what `--json` printed; whatever else came makes it fail."""
        done = self.sync(*words, "--json", **more)
        assert done.stderr == ""
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]

    def begun(self, *words: str) -> Command:
        return self._begun("sync", *words, "--as-of", AS_OF, "--json")

    def _begun(self, *words: str, **more: str) -> Command:
        told = self.root / "told" / str(next(self._numbers))
        return Command.begun(*words, folder=self.root, settings=self.settings(**more), told=told)

    def ledger(self, tenant: str) -> list[dict[str, Any]]:
        with self.here.stores.database.connect() as connection:
            return ledger.past(connection, tenant)

    def runs(self) -> list[dg.DagsterRun]:
        with dg.DagsterInstance.get() as instance:
            return list(instance.get_runs())
