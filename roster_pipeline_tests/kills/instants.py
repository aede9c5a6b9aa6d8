"""Syncs that are killed at random instants, each followed at once by the next one, in processes of their own.

A lane is one kind of provider on one database, for first syncs or for later ones; it does one after the
other, and two lanes go at once. A first sync is always another tenant's. A later one changes every row of
its tenant's roster: tonight's to last night's, and back; each of the two is known to the byte.
"""

from __future__ import annotations

import json
import random
import signal
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

from roster_pipeline.sandbox.generator import DAY
from roster_pipeline.sandbox.source import Tables, write_csv
from roster_pipeline.store import ledger
from roster_pipeline_tests.graph.killing import PROCESSES
from roster_pipeline_tests.kills.nights import TONIGHT, last_night, tonight
from roster_pipeline_tests.kills.readers import Answers, Seen, look, readers
from roster_pipeline_tests.syncing import (
    STEPS,
    Deployment,
    Document,
    Roster,
    changed,
    csv_provider,
    deployment,
    rest_provider,
    serving,
)

PHASES: Final = ("begin", "extract", "rules", "plan", "transaction", "commit", "after")
"""Where a sync is: taking the lease, reading, deciding, comparing, writing, committing, and past that."""

IN_TRANSACTION: Final = 0.3
"""The share of the instants that are drawn from the publishing transaction alone, not from all of a sync."""

PATIENCE: Final = 300.0
"""Seconds after which a sync that is still running hangs."""


# ------------------------------------------------------------------------------------------ a sync to kill


def _phase(step: str) -> str:
    return "plan" if step == "publish" else "extract" if step.startswith("extract") else "rules"


def _sync(folder: Path, url: str, tenant: str, as_of: date, told: Connection) -> None:
    """A whole sync that says into a pipe what it comes to, and when."""
    phase = ""

    def enter(next_phase: str) -> None:
        nonlocal phase
        phase = next_phase
        told.send((phase, time.monotonic()))

    enter("begin")
    with deployment(folder, url, upgrade=False) as here:
        _tell_of_publishing(here, lambda: phase, enter)
        sync = here.begin(tenant, as_of)
        try:
            for name, step in STEPS.items():
                if phase != _phase(name):
                    enter(_phase(name))
                document = step(sync)
        finally:
            sync.close()
    told.send((json.loads(json.dumps(document)), time.monotonic()))


def _tell_of_publishing(here: Deployment, phase: Callable[[], str], enter: Callable[[str], None]) -> None:
    """Of the steps only the last one writes: its transaction, the moment before its commit, and after it."""
    from sqlalchemy import Connection as Database
    from sqlalchemy import event

    def begin(connection: Database) -> None:
        if phase() == "plan" and connection.get_execution_options().get("immediate"):
            enter("transaction")

    def follows(now: str, next_phase: str) -> Callable[..., None]:
        return lambda *_: enter(next_phase) if phase() == now else None

    engine = here.stores.database
    event.listen(engine, "begin", begin)
    event.listen(engine, "commit", follows("transaction", "commit"))
    event.listen(engine, "checkin", follows("commit", "after"))


@dataclass
class Syncing:
    """A sync in a process of its own, seen from outside."""

    process: BaseProcess
    pipe: Connection
    entered: dict[str, float] = field(default_factory=dict)
    document: Document | None = None

    @classmethod
    def begun(cls, *given: Any) -> Syncing:
        """A process that syncs, and is past its start."""
        ours, theirs = PROCESSES.Pipe(duplex=False)
        process = PROCESSES.Process(target=_sync, args=(*given, theirs), daemon=True)
        process.start()
        theirs.close()
        syncing = cls(process, ours)
        syncing.until("begin")
        return syncing

    def until(self, phase: str = "") -> None:
        """Listens until it enters the phase, or until it has ended."""
        try:
            while phase not in self.entered:
                if not self.pipe.poll(PATIENCE):
                    self.process.kill()
                    raise AssertionError(f"a sync hangs after {list(self.entered)}")
                told, at = self.pipe.recv()
                if isinstance(told, str):
                    self.entered[told] = at
                else:
                    self.document, self.entered["over"] = told, at
        except EOFError:
            self.process.join()

    def kill(self) -> bool:
        """SIGKILL; whether it was still alive."""
        self.process.kill()
        self.until()
        return self.process.exitcode == -signal.SIGKILL

    @property
    def phase(self) -> str:
        """The last one that it told of."""
        return next(reversed(self.entered))


@dataclass
class Lengths:
    """How long whole syncs and their publishing transactions took lately."""

    _of: dict[str, list[float]] = field(default_factory=lambda: {"begin": [], "transaction": []})

    def learn(self, entered: dict[str, float]) -> None:
        """What an uninterrupted sync took."""
        for since, until in (("begin", "over"), ("transaction", "after")):
            self._of[since].append(entered[until] - entered[since])

    def since(self, phase: str) -> float:
        """The median of the last few, from the beginning of a phase to the end of what it begins."""
        return statistics.median(self._of[phase][-5:])


# ------------------------------------------------------------------------------------------ a lane


@dataclass
class Result:
    """What became of one lane's instants."""

    lane: str
    phases: Counter[str] = field(default_factory=Counter)
    drawn: Counter[str] = field(default_factory=Counter)
    published: int = 0
    too_late: int = 0
    reads: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    length: float = 0.0
    failures: list[str] = field(default_factory=list)

    @property
    def killed(self) -> int:
        """Syncs that were killed, and did not end by themselves before."""
        return self.phases.total()


@dataclass
class Lane:
    """One kind of provider on one database, for first syncs or for later ones."""

    name: str
    here: Deployment
    url: str
    offer: Callable[[Tables], None]
    """Makes the provider's source export these tables from now on."""
    provider: dict[str, Any]
    later: bool
    rng: random.Random
    result: Result = field(init=False)
    lengths: Lengths = field(default_factory=Lengths)
    _rosters: tuple[Tables, Tables] = field(init=False)

    def __post_init__(self) -> None:
        self.result = Result(self.name)
        old = last_night()
        self._rosters = old, tonight(old)

    def run(self, instants: int) -> Result:
        """Kills so many syncs, and completes each with the next one."""
        started = time.monotonic()
        expected = self._expected()
        last = expected[0].document["sync_id"] if self.later else 0
        with readers(self.here.home.database_url) as watching:
            number = 0
            while self.result.killed < instants:
                number += 1
                tenant, night = self._tenant(number), number % 2 if self.later else 0
                self.offer(self._rosters[night])
                old = look(self.here.stores.database, tenant)
                watching.begin(tenant)
                killed, told = self._kill_and_complete(tenant)
                seen = watching.end()
                new = look(self.here.stores.database, tenant)
                wrong = [
                    *mixtures(seen, old, new),
                    *self._differences(tenant, told, bool(killed), last, expected[night]),
                ]
                last = told["sync_id"] if self.later else 0
                where = f"{self.name}, sync {number}" + (f", killed in {killed}" if killed else "")
                self.result.failures += [f"{where}: {text}" for text in wrong]
                self.result.reads.update({kind: one.reads for kind, one in seen.items()})
        self.result.failures += self._left_in_lake(tenant)
        self.result.seconds = time.monotonic() - started
        self.result.length = self.lengths.since("begin")
        return self.result

    # ---------------------------------------------------------------------- before

    def _tenant(self, number: int) -> str:
        if self.later:
            return self.name.replace(" ", "-")
        tenant = f"{self.name.replace(' ', '-')}-{number}"
        self._apply(tenant)
        return tenant

    def _apply(self, tenant: str) -> None:
        provider = self.provider | {"sync_parent_data": True, "relationship_type": "guardian"}
        self.here.apply(tenant, provider | {"respect_enrolment_date": True})

    def _expected(self) -> list[Expected]:
        """What uninterrupted syncs come to: of a first sync, or of both nights of later ones."""
        tenant = self._tenant(0)
        if not self.later:
            self.offer(self._rosters[0])
            return [self._uninterrupted(tenant)]
        self._apply(tenant)
        found = []
        for night in (0, 1, 0, 1, 0):  # who is gone on one of both is inactive there from the third on
            self.offer(self._rosters[night])
            found.append(self._uninterrupted(tenant))
        after, before = found[-2:]
        assert found[-3].answers == before.answers, "the nights do not alternate"
        for kind, answers in before.answers.items():
            assert set(answers).isdisjoint(after.answers[kind]), "the nights are alike"
        return [before, after]

    def _uninterrupted(self, tenant: str) -> Expected:
        told = self._completed(tenant)
        assert told["status"] == "successful", told["issues"]
        answers = look(self.here.stores.database, tenant)
        return Expected(told, answers if self.later else {}, self.here.roster(tenant))

    # ---------------------------------------------------------------------- one instant

    def _kill_and_complete(self, tenant: str) -> tuple[str, Document]:
        """Where a sync was killed, "" if it was faster; and what the one told that completed."""
        since = "transaction" if self.rng.random() < IN_TRANSACTION else "begin"
        delay = self.rng.random() * self.lengths.since(since)
        syncing = Syncing.begun(*self._given(tenant))
        syncing.until(since)
        if since in syncing.entered:
            time.sleep(max(0.0, syncing.entered[since] + delay - time.monotonic()))
        if not syncing.kill():
            self.result.too_late += 1
            assert syncing.document, f"a sync of {tenant} failed after {list(syncing.entered)}"
            return "", syncing.document
        phase = "after" if syncing.phase == "over" else syncing.phase
        self.result.drawn[since] += 1
        self.result.phases[phase] += 1
        return phase, self._completed(tenant)

    def _completed(self, tenant: str) -> Document:
        syncing = Syncing.begun(*self._given(tenant))
        syncing.until()
        assert syncing.document, f"a sync of {tenant} failed after {list(syncing.entered)}"
        self.lengths.learn(syncing.entered)
        return syncing.document

    def _given(self, tenant: str) -> tuple[Path, str, str, date]:
        return self.here.home.folder, self.url, tenant, TONIGHT if self.later else DAY

    # ---------------------------------------------------------------------- afterwards

    def _differences(
        self, tenant: str, told: Document, was_killed: bool, last: int, expected: Expected
    ) -> Iterator[str]:
        """What is not as if nothing had happened."""
        with self.here.stores.database.connect() as connection:
            past = [one for one in ledger.past(connection, tenant, limit=3) if one["sync_id"] > last]
        published = was_killed and len(past) == 2 and past[1]["status"] == "successful"
        self.result.published += published
        if told["status"] != "successful":
            yield f"the next sync was {told['status']}: {told['issues']}"
        if self.here.roster(tenant) != expected.roster:
            yield "the roster is not that of an uninterrupted sync"
        if self.later and look(self.here.stores.database, tenant) != expected.answers:
            yield "the roster is not that of an uninterrupted sync, byte for byte"
        if changed(told) != ({} if published else changed(expected.document)):
            yield f"the next sync changed {changed(told)}"
        if not published and told["counts"] != expected.document["counts"]:
            yield f"the next sync counted {told['counts']}"
        if past[0]["sync_id"] != told["sync_id"]:
            yield "the next sync is not the newest of the ledger"
        if [one["status"] for one in past[1:]] not in ([], ["interrupted"], ["successful"]):
            yield f"the ledger has {[one['status'] for one in past]}"

    def _left_in_lake(self, tenant: str) -> Iterator[str]:
        """Whatever killed syncs left is gone with the next one that publishes."""
        folder = Path(self.here.home.lake_url) / "tenants" / tenant
        extracts = [one for one in folder.glob("extracts/*/*") if one.is_dir()]
        tables = list(folder.glob("syncs/*"))
        if len(extracts) != 1 or len(tables) != 1:
            yield f"{self.name}: {len(extracts)} extracts and the tables of {len(tables)} syncs are left"


@dataclass(frozen=True)
class Expected:
    """What an uninterrupted sync told and published."""

    document: Document
    answers: dict[str, Answers]
    roster: Roster


def mixtures(seen: dict[str, Seen], old: dict[str, Answers], new: dict[str, Answers]) -> list[str]:
    return [
        f"a mixed read by {kind}, {text}"
        for kind, one in seen.items()
        for text in one.mixed(old[kind], new[kind])
    ]


# ------------------------------------------------------------------------------------------ all lanes


@contextmanager
def lanes(folder: Path, url: str, seed: int) -> Iterator[list[Lane]]:
    """Both kinds of provider, for first syncs and for later ones; `url` is "" for SQLite."""
    database = "postgres" if url else "sqlite"
    with ExitStack() as stack:
        here = stack.enter_context(deployment(folder / "home", url))
        found = []
        for later in (False, True):
            for kind in ("csv", "rest"):
                name = f"{database} {kind} {'later' if later else 'first'}"
                if kind == "rest":
                    served = stack.enter_context(serving(last_night(), "classlink"))
                    provider, offer = rest_provider(served), served.sandbox.replace
                else:
                    export = folder / name
                    provider, offer = csv_provider(export), partial(write_csv, folder=export)
                found.append(Lane(name, here, url, offer, provider, later, random.Random(f"{seed} {name}")))
        yield found


def run(folder: Path, url: str, *, instants: int, seed: int) -> list[Result]:
    """Kills so many syncs in all, on one database; two lanes at once."""
    with lanes(folder, url, seed) as every, ThreadPoolExecutor(2) as pool:
        share, more = divmod(instants, len(every))
        counts = [share + (place < more) for place in range(len(every))]
        return list(pool.map(Lane.run, every, counts))
