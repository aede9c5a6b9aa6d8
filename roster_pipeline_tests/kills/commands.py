"""`roster-pipeline sync` killed at random instants, as a process with Dagster, and the next command."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import dagster as dg
from sqlalchemy import select

from roster_pipeline.sandbox.source import write_csv
from roster_pipeline.store import ledger
from roster_pipeline.store.database import leases
from roster_pipeline_tests.graph.terminal import COMMAND, PROJECT
from roster_pipeline_tests.kills.instants import PATIENCE, Result, mixtures
from roster_pipeline_tests.kills.nights import TONIGHT, last_night, tonight
from roster_pipeline_tests.kills.readers import Answers, look, readers
from roster_pipeline_tests.syncing import Deployment, csv_provider, deployment, environment

TENANT: Final = "town"
IMPORTS: Final = 0.5
"""The share of the time until a command takes the lease that is left out: nothing but Python's imports."""

PLACES: Final = ("before the lease", "under the lease")
"""Where a command is before it has published: importing and opening Dagster, or syncing."""

_ENDED: Final = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}


def run(folder: Path, url: str, *, instants: int, seed: int) -> Result:
    """Kills so many commands, each followed at once by the next one; `url` is "" for SQLite."""
    name = f"{'postgres' if url else 'sqlite'} command"
    with deployment(folder / "home", url) as here:
        commands = Commands(here, folder / "export", random.Random(f"{seed} {name}"), Result(name))
        started = time.monotonic()
        commands.run(instants)
        commands.result.seconds = time.monotonic() - started
    return commands.result


@dataclass
class Commands:
    """A deployment whose tenant is synced by commands, from one night's export to the other's and back."""

    here: Deployment
    export: Path
    rng: random.Random
    result: Result
    _expected: dict[int, dict[str, Answers]] = field(default_factory=dict)
    _lease_after: float = 0.0

    def run(self, instants: int) -> None:
        """Kills so many, and completes each with the next one."""
        nights = last_night(guardians=False), tonight(last_night(guardians=False))
        self.here.apply(TENANT, csv_provider(self.export))
        for night in (0, 1, 0, 1, 0):  # as in `instants`: from the third on they alternate
            write_csv(nights[night], self.export)
            assert self.here.sync(TENANT, TONIGHT)["status"] == "successful"
            self._expected[night] = look(self.here.stores.database, TENANT)
        self._learn()
        night = 0
        with readers(self.here.home.database_url) as watching:
            while self.result.killed < instants:
                night = 1 - night
                write_csv(nights[night], self.export)
                watching.begin(TENANT)
                where = self._kill()
                with self._begun() as command:
                    told, errors = command.communicate(timeout=PATIENCE)
                seen = watching.end()
                wrong = [
                    *mixtures(seen, self._expected[1 - night], self._expected[night]),
                    *self._differences(command.returncode, told, errors, self._expected[night]),
                ]
                self.result.failures += [f"{self.result.lane}, killed {where}: {text}" for text in wrong]
                self.result.reads.update({kind: one.reads for kind, one in seen.items()})

    def _begun(self) -> subprocess.Popen[str]:
        given = {"ROSTER_HOME": str(self.here.home.folder), "PYTHONPATH": str(PROJECT)}
        return subprocess.Popen(
            [*COMMAND, "sync", TENANT, "--as-of", TONIGHT.isoformat(), "--json"],
            env=environment(**given, ROSTER_DATABASE_URL=self.here.home.database_url),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def _learn(self) -> None:
        """How long a command takes, and after how long it has the lease."""
        started = time.monotonic()
        with self._begun() as command:
            while not self._has_lease():
                assert command.poll() is None, command.communicate()
                time.sleep(0.01)
            self._lease_after = time.monotonic() - started
            assert command.wait(PATIENCE) == 0, command.communicate()
        self.result.length = time.monotonic() - started

    def _has_lease(self) -> bool:
        with self.here.stores.database.connect() as connection:
            return connection.execute(select(leases.c.owner)).first() is not None

    def _kill(self) -> str:
        """Where a command was killed."""
        with self.here.stores.database.connect() as connection:
            last = ledger.past(connection, TENANT, limit=1)[0]["sync_id"]
        with self._begun() as command:
            time.sleep(self.rng.uniform(IMPORTS * self._lease_after, self.result.length))
            held = self._has_lease()
            command.kill()
        if command.returncode == 0:
            self.result.too_late += 1
            return "too late"
        with self.here.stores.database.connect() as connection:
            newest = ledger.past(connection, TENANT, limit=1)[0]
        published = newest["sync_id"] > last and newest["status"] == "successful"
        where = "after" if published else PLACES[held]
        self.result.published += published
        self.result.phases[where] += 1
        self.result.drawn["begin"] += 1
        return where

    def _differences(self, code: int, told: str, errors: str, expected: dict[str, Answers]) -> Iterator[str]:
        """What is not as if nothing had happened."""
        if code or errors:
            yield f"the next command ended with {code}: {errors or told}"
            return
        if look(self.here.stores.database, TENANT) != expected:
            yield "the roster is not that of an uninterrupted sync, byte for byte"
        # Its settings name the folder by the environment; the commands find their own.
        os.environ["DAGSTER_HOME"] = str(self.here.home.folder / "dagster")
        with dg.DagsterInstance.get() as instance:
            runs = {run.run_id: run.status for run in instance.get_runs()}
        if runs[json.loads(told)["run_id"]] != dg.DagsterRunStatus.SUCCESS:
            yield "its run did not succeed"
        if open_ones := [status.value for status in runs.values() if status not in _ENDED]:
            yield f"runs are still {open_ones}"
