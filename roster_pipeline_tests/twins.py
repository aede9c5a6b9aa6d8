"""Twins: two deployments with the same nights, of which one runs every rule every night. They stay the same.

`python -m roster_pipeline_tests.twins --worlds 20`, or `make twins`. A world is a made-up tenant
(`oracle.tenants`) whose providers leave CSV files. On most nights nothing moves but the date; on the others
rows change, files are missing, the document is applied anew, a sync is undone, tried out, done again, set to
an earlier date or cut into pieces, somebody is forgotten, what waits is approved. After every night both
databases must hold the same in every table, both documents and the tables of both lakes must be the same.
"""

from __future__ import annotations

import argparse
import copy
import datetime as dt
import json
import multiprocessing
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from unittest import mock

import pandas as pd
from sqlalchemy import select

from roster_pipeline import forgetting
from roster_pipeline.codes import CodedError
from roster_pipeline.store import database, holds
from roster_pipeline.syncs import Sync
from roster_pipeline.undo import undo
from roster_pipeline_tests import syncing
from roster_pipeline_tests.every_day import days_of, moved_unseen
from roster_pipeline_tests.oracle.changes import change
from roster_pipeline_tests.oracle.tenants import Made, make
from roster_pipeline_tests.rosters import Story
from roster_pipeline_tests.sixty_nights import exports
from roster_pipeline_tests.sixty_nights.exports import Fault
from roster_pipeline_tests.sixty_nights.worlds import databases
from roster_pipeline_tests.syncing import Deployment, Document, deployment

TENANT: Final = "oak"
NOON: Final = dt.datetime(2025, 10, 15, 17, 0, tzinfo=dt.UTC)
ASSETS: Final = ("current_sessions", "current_enrolments", "merged_identities")
_OF_CHANCE: Final = ("salt", "digest", "run_id")
"""Columns of random numbers."""
_NOT_OF_SYNCS: Final = ("leases", "tenants", "providers")


class DifferentError(AssertionError):
    """What differs between the twins."""


@dataclass
class Twin:
    """One of the two; `documents` and `metadata` are what the last night told."""

    here: Deployment
    runs_every_rule: bool
    now: dt.datetime = NOON
    unmoved: int = 0
    told: list[Any] = field(default_factory=list)

    def clock(self) -> dt.datetime:
        return self.now

    def begin(self, as_of: dt.date, run_id: str, *, dry_run: bool = False) -> Sync:
        world = replace(self.here.world(), clock=self.clock, runs_every_rule=self.runs_every_rule)
        return Sync.open(
            self.here.stores, TENANT, run_id=run_id, trigger="manual", as_of=as_of, dry_run=dry_run,
            world=world,
        )  # fmt: skip

    def sync(
        self, as_of: dt.date, run_id: str, *, dry_run: bool = False, in_pieces: bool = False
    ) -> Document:
        """A whole sync; in pieces, every step is done by a process that knows nothing of the others."""
        self.told, sync = [], self.begin(as_of, run_id, dry_run=dry_run)
        try:
            for step in syncing.STEPS.values():
                self.told.append(step(sync))
                if in_pieces and step is not Sync.publish:
                    sync.close()
                    sync = self.begin(as_of, run_id, dry_run=dry_run)
        except CodedError as error:
            self.told.append(sync.fail(error))
        finally:
            sync.close()
        self.unmoved += sync.unmoved_since is not None
        document: Document = json.loads(json.dumps(self.told[-1]))
        return document

    def everything(self) -> dict[str, Any]:
        """All that a night leaves, without what is random in every run."""
        out: dict[str, Any] = {}
        with self.here.stores.database.connect() as connection:
            for table in database.metadata.sorted_tables:
                if table.name not in _NOT_OF_SYNCS:
                    found = connection.execute(select(table)).mappings()
                    out[table.name] = sorted(
                        json.dumps(_plain(dict(row)), sort_keys=True, default=str) for row in found
                    )
        lake = self.here.stores.lake
        for asset in ASSETS:
            facts = lake.facts(TENANT, asset) or {}
            tables = lake.read(TENANT, asset, facts) if facts else {}
            out[asset] = {name: _records(frame) for name, frame in tables.items()}
            left_out = ("made", "same", "saw", "proposal", "told")
            out[f"facts of {asset}"] = {name: value for name, value in facts.items() if name not in left_out}
        out["told"] = [_without(told, "unmoved_since_sync", "run_id") for told in self.told]
        return out


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    for name in _OF_CHANCE:
        row.pop(name, None)
    if row.get("proposal"):
        row["proposal"] = "undo" if row["proposal"].startswith("undo") else row["proposal"].split("-")[0]
    if row.get("report"):
        row["report"] = _without(json.loads(row["report"]), "run_id")
    return row


def _without(told: Any, *names: str) -> Any:
    return {name: value for name, value in told.items() if name not in names}


def _records(frame: pd.DataFrame) -> list[str]:
    return sorted(map(str, frame.to_dict("records")))


@dataclass
class Twins:
    """The twins, a world, and what has happened in it."""

    seed: int
    quick: Twin
    slow: Twin
    folder: Path
    tally: Counter[str] = field(default_factory=Counter)
    happened: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(f"twins {self.seed}")
        self.made = make(random.Random(self.seed))
        self.applied = False
        self.syncs = 0
        self.run_id = ""
        self.ran_as_of = self.made.as_of

    @property
    def both(self) -> tuple[Twin, Twin]:
        return self.quick, self.slow

    def run(self, nights: int) -> Counter[str]:
        """So many nights; raises `DifferentError` after the first that differs."""
        for number in range(nights):
            for twin in self.both:
                twin.now = NOON + dt.timedelta(days=number)
            self._night(first=number == 0)
        return self.tally

    def _night(self, *, first: bool) -> None:
        rng = self.rng
        if first:
            self._leave_files()
        elif rng.random() < 0.22:
            before = copy.deepcopy(self.made)
            change(self.made)
            self.happened.append("change")
            if not self._leave_files():  # a document that is refused: the night before stays
                self.made = before
                self._leave_files()
        else:
            self.made.as_of += dt.timedelta(days=rng.choice((0, 1, 1, 1, 1, 1, 2, 5)))
            for one in self.made.providers:
                if one.states:  # what could not be read last night can be read again
                    one.states.clear()
                    self._leave_files()
            self.happened.append("quiet")
        if not first:
            self._meddle()
        as_of = self.made.as_of
        if not first and rng.random() < 0.06:
            as_of -= dt.timedelta(days=rng.choice((1, 3, 20)))
            self.happened.append("back")
        self.syncs += 1
        self.run_id, self.ran_as_of = f"run-{self.syncs}", as_of
        self._sync(self.run_id, as_of, in_pieces=rng.random() < 0.1)

    def _sync(self, run_id: str, as_of: dt.date, **how: Any) -> None:
        told = [twin.sync(as_of, run_id, **how) for twin in self.both]
        self.tally["syncs"] += 1
        self.tally[told[0]["status"]] += 1
        self._compare()

    def _compare(self) -> None:
        one, other = (twin.everything() for twin in self.both)
        for name in one:
            if one[name] != other[name]:
                raise DifferentError(f"{name} differs: {_difference(one[name], other[name])[:1500]}")

    # ------------------------------------------------------------------ what people do

    def _meddle(self) -> None:
        """Perhaps something between two nights, in both the same."""
        what = self.rng.choices(
            ("nothing", "again", "dry run", "undo", "forget", "approve", "rename", "only rules"),
            (70, 4, 5, 5, 3, 8, 2, 4),
        )[0]
        if what == "nothing":
            return
        self.happened.append(what)
        self.tally[what] += 1
        if what == "again":  # the last run, executed again from its beginning: it belongs to the same sync
            self._sync(self.run_id, self.ran_as_of)
        elif what == "dry run":
            self.syncs += 1
            self._sync(f"run-{self.syncs}", self.made.as_of, dry_run=True)
        elif what == "rename":
            self.made.settings["name"] = f"Oak {self.syncs}"
            self._leave_files()
        elif what == "only rules":  # some assets of a run of their own, which never comes to publish
            self.syncs += 1
            for twin in self.both:
                sync = twin.begin(self.made.as_of, f"run-{self.syncs}")
                try:
                    sync.current_sessions()
                    sync.current_enrolments()
                finally:
                    sync.close()
        else:
            self._as_a_person(what)

    def _as_a_person(self, what: str) -> None:
        chosen, ends = self.rng.random(), []
        for twin in self.both:
            stores = twin.here.stores
            try:
                if what == "undo":
                    undo(stores, TENANT, self.syncs_of(twin)[int(-1 - 9 * chosen)], school=None,
                         who="ann", why="", clock=twin.clock)  # fmt: skip
                elif what == "approve":
                    with stores.database.begin() as connection:
                        holds.decide(
                            connection, TENANT, "approved", school=None, who="ann", why="",
                            now=twin.now, day=self.made.as_of,
                        )  # fmt: skip
                else:
                    self._forget(twin, chosen)
                ends.append("done")
            except (CodedError, IndexError) as error:
                ends.append(f"refused: {error}")
        self.tally[f"{what} {ends[0].partition(':')[0]}"] += 1
        if ends[0] != ends[1]:
            raise DifferentError(f"{what}: {ends}")

    def syncs_of(self, twin: Twin) -> list[int]:
        with twin.here.stores.database.connect() as connection:
            return list(
                connection.scalars(select(database.syncs.c.sync_id).order_by(database.syncs.c.sync_id))
            )

    def _forget(self, twin: Twin, chosen: float) -> None:
        table = database.people
        with twin.here.stores.database.connect() as connection:
            people = list(connection.scalars(select(table.c.person_id).order_by(table.c.person_id)))
        stores, who = twin.here.stores, people[int(chosen * len(people))]
        same_salt = mock.patch("roster_pipeline.forgetting.secrets.token_hex", lambda size: "5a" * size)
        with same_salt, forgetting.alone_with(stores, TENANT, twin.clock) as lease:
            meant = forgetting.find(stores, TENANT, who)
            forgetting.forget(stores, TENANT, meant, lease, who="ann", why="", now=twin.now)

    # ------------------------------------------------------------------ the sources

    def _leave_files(self) -> bool:
        """Tonight's files and tonight's document; whether the document was taken."""
        made = self.made
        for one in made.providers:
            exports.write(self.folder / one.name, one, _fault(one.states))
        for directory in made.directories:
            exports.write_directory(self.folder / f"{directory.name}.csv", directory)
        try:
            for twin in self.both:
                _apply(twin.here, self.folder, made)
        except CodedError as error:
            self.happened.append(f"refused ({error.code})")
            self.tally["documents refused"] += 1
            return False
        return True


def _apply(here: Deployment, folder: Path, made: Made) -> None:
    providers = [
        syncing.csv_provider(folder / one.name, name=one.name, **one.options) for one in made.providers
    ]
    directories = [
        {"name": one.name, "kind": "csv", "path": str(folder / f"{one.name}.csv")} for one in made.directories
    ]
    settings: dict[str, Any] = {"directories": directories} if directories else {}
    here.apply(TENANT, *providers, **settings, **made.settings)


def _fault(states: dict[str, Any]) -> Fault | None:
    """The states that a night was given, as what is wrong with its files."""
    if "failed" in states.values():
        return Fault("unreadable")
    if "stale" in states.values():
        return Fault("missing", tuple(name for name, state in states.items() if state == "stale"))
    return Fault("without-id", ("users",)) if "unproven" in states.values() else None


def _difference(one: Any, other: Any) -> str:
    if isinstance(one, dict):
        names = [name for name in {*one, *other} if one.get(name) != other.get(name)]
        return "; ".join(f"{name}: {_difference(one.get(name), other.get(name))}" for name in sorted(names))
    if isinstance(one, list) and isinstance(other, list):
        mine, theirs = [row for row in one if row not in other], [row for row in other if row not in one]
        return f"quick {mine[:2]} ({len(one)}), slow {theirs[:2]} ({len(other)})"
    return f"quick {one!r}, slow {other!r}"


@contextmanager
def twins(seed: int, folder: Path, urls: tuple[str, str] = ("", "")) -> Iterator[Twins]:
    """A world that begins anew, in two databases: files of SQLite, or these of PostgreSQL."""
    with ExitStack() as stack:
        quick, slow = (
            stack.enter_context(deployment(folder / name, url))
            for name, url in zip(("quick", "slow"), urls, strict=True)
        )
        yield Twins(seed, Twin(quick, False), Twin(slow, True), folder / "files")


def world(seed: int, nights: int, urls: tuple[str, str] = ("", "")) -> tuple[Counter[str] | None, str]:
    """What a world went through, None if the twins differ, and what to print of it."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name, twins(seed, Path(name), urls) as pair:
        try:
            tally = pair.run(nights)
        except Exception as error:  # whatever ends it, the next world goes on
            trace = "" if isinstance(error, DifferentError) else traceback.format_exc()
            return None, f"{trace}world {seed} FAILED: {error}\n  after {' '.join(pair.happened)}"
        tally["unmoved"] = pair.quick.unmoved
        told = ", ".join(f"{count} {what}" for what, count in sorted(tally.items()))
        return tally, f"world {seed}: {told}; {time.monotonic() - started:.0f} s"


# ------------------------------------------------------------------------------ the command


def every_day(seed: int, days: int) -> tuple[bool, str]:
    """Whether every rule finds on each of so many days what a ground would have said; of a made-up tenant."""
    made = make(random.Random(seed))
    tenant = Story(made.providers, made.directories, made.settings)
    found = days_of(tenant, days)
    wrong = moved_unseen(found)
    settled = [day for day in found if day.settled]
    ends = len({day.until() for day in settled})
    told = f"tenant {seed}: {len(settled)} of {days} days settled, {ends} ends of grounds"
    return not wrong, "\n  ".join([told, *wrong])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=20)
    parser.add_argument("--nights", type=int, default=30)
    parser.add_argument("--first", type=int, default=1, help="the number of the first world")
    parser.add_argument("--jobs", type=int, default=2, help="processes (2)")
    parser.add_argument("--postgres", action="store_true", help="keep the rosters in PostgreSQL, not SQLite")
    parser.add_argument("--days", type=int, default=0, help="also run every rule on so many days, in memory")
    parser.add_argument(
        "--mutants", action="store_true", help="only see whether forgetting anything is noticed"
    )
    given = parser.parse_args()
    seeds = range(given.first, given.first + given.worlds)
    total: Counter[str] = Counter()
    passed = 0
    with (
        databases(given.postgres, 2 * given.worlds) as urls,
        ProcessPoolExecutor(given.jobs, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        pairs = zip(urls[::2], urls[1::2], strict=True)
        waiting = [
            pool.submit(world, seed, given.nights, pair) for seed, pair in zip(seeds, pairs, strict=True)
        ]
        every = [pool.submit(every_day, seed, given.days) for seed in seeds if given.days]
        for done in as_completed(waiting):
            tally, text = done.result()
            print(text, flush=True)
            passed += tally is not None
            total.update(tally or {})
        for right, text in (one.result() for one in every):
            print(text, flush=True)
            passed -= not right
    print(f"{passed} of {given.worlds} worlds passed; {total['unmoved']} of {total['syncs']} syncs stood")
    if not total["unmoved"]:
        print("No sync stood on an earlier one: these nights prove nothing.")
    return 0 if passed == given.worlds and total["unmoved"] else 1


if __name__ == "__main__":
    sys.exit(main())
