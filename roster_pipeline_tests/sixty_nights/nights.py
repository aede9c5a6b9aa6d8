"""Sixty nights of one world: the real sync on the real stores, the oracle, and what differs.

A night is drawn until the page decides it: what the oracle is silent about is drawn anew before the
pipeline is asked, so that silence hides no difference. Then what people decided is done, the providers
leave their files, the tenant is synced, the roster compared, the invariants checked, and the same night is
synced again, which must change nothing.
"""

from __future__ import annotations

import copy
import datetime as dt
import json
import random
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pandas as pd

from roster_pipeline.codes import CodedError
from roster_pipeline.store import holds
from roster_pipeline.store.published import StoredRoster
from roster_pipeline.tenants import registry
from roster_pipeline.undo import undo
from roster_pipeline_tests import rosters, syncing
from roster_pipeline_tests.oracle import publishing, set_back
from roster_pipeline_tests.oracle.comparing import (
    SET_BACK,
    Names,
    differences,
    no_school_waits,
    place_of,
    published_differences,
    school_ids,
)
from roster_pipeline_tests.oracle.register import Roster, Told
from roster_pipeline_tests.oracle.tonight import Feed, School, Silent
from roster_pipeline_tests.sixty_nights import exports, invariants
from roster_pipeline_tests.sixty_nights.exports import Complete
from roster_pipeline_tests.sixty_nights.invariants import Ids, Night
from roster_pipeline_tests.sixty_nights.world import World, go_on, make
from roster_pipeline_tests.syncing import Deployment, Document

TENANT, NEIGHBOUR = "oak", "elm"
_ATTEMPTS = 60


@dataclass
class Tally:
    """What a world went through."""

    nights: int = 0
    syncs: int = 0
    redrawn: Counter[str] = field(default_factory=Counter)  # by where the page was silent
    statuses: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    holds: Counter[str] = field(default_factory=Counter)  # each once, on the night when it began to wait
    decisions: Counter[str] = field(default_factory=Counter)
    undos: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        """One line."""

        def some(counter: Counter[str]) -> str:
            return ", ".join(f"{count} {name}" for name, count in sorted(counter.items())) or "none"

        return (
            f"{self.nights} nights, {self.syncs} syncs ({some(self.statuses)}); faults: {some(self.faults)}; "
            f"holds: {some(self.holds)}; decisions: {some(self.decisions)}; undos: {some(self.undos)}; "
            f"{self.redrawn.total()} nights drawn anew: {some(self.redrawn)}; codes: {some(self.codes)}"
        )


def lacking(tallies: Iterable[Tally]) -> list[str]:
    """What none of these worlds saw and their nights are there to prove."""
    seen = dict.fromkeys(("faults", "holds", "approvals", "rejections", "undos", "undos undone"), 0)
    for one in tallies:
        back = sum(count for what, count in one.undos.items() if "back" in what)
        seen["faults"] += one.faults.total()
        seen["holds"] += one.holds.total()
        seen["approvals"] += one.decisions["approved"]
        seen["rejections"] += one.decisions["rejected"]
        seen["undos"] += one.undos.total() - back
        seen["undos undone"] += back
    return [name for name, count in seen.items() if not count]


@dataclass
class Synced:
    """A real sync, read as `rosters.Night` is by the comparison."""

    document: Document
    published: StoredRoster
    outcomes: pd.DataFrame
    provider_ids: dict[str, int]

    @property
    def status(self) -> str:
        return str(self.document["status"])

    @property
    def report(self) -> Document:
        return self.document

    @property
    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = self.document["counts"]
        return counts

    @property
    def found(self) -> Synced:
        return self

    @property
    def identities(self) -> Synced:
        return self

    def told(self, provider: str) -> Document:
        found: Document = next(one for one in self.document["providers"] if one["name"] == provider)
        return found

    def table(self, name: str) -> list[dict[str, Any]]:
        frame = getattr(self.published, name)
        frame = frame[frame["removed"] != "true"] if "removed" in frame.columns else frame
        records: list[dict[str, Any]] = frame.to_dict("records")
        return records


@dataclass(frozen=True)
class Past:
    """A sync that published, and the oracle's roster before it."""

    sync_id: int
    before: Roster


@dataclass
class Plan:
    """A night as it was drawn: the world, what is undone and decided before, what the oracle makes of it."""

    world: World
    undone: Past | None
    decision: tuple[str, School | None] | None
    told: Told
    feeds: list[Feed]
    complete: Complete


class Nights:
    """One world, from night to night; `here` is a deployment of its own."""

    def __init__(self, seed: int, here: Deployment) -> None:
        self.rng = random.Random(f"nights {seed}")
        self.world, self.here, self.tally = make(seed), here, Tally()
        self.roster, self.complete, self.names, self.ids = Roster(), Complete(), Names(), Ids()
        self.folder = here.home.folder / "exports"
        self.past: list[Past] = []
        self.last: Plan | None = None
        self.began = dt.datetime.now(dt.UTC)
        self._apply()
        self.neighbour = self._settle_neighbour()

    def run(self, nights: int) -> None:
        """So many nights; raises AssertionError with what is wrong on the first that is."""
        for _ in range(nights):
            plan = self._draw()
            try:
                self._night(plan)
            except Exception as error:
                error.add_note(
                    f"night {self.tally.nights + 1}, {plan.world.as_of}: {'; '.join(plan.world.told)}"
                )
                raise
            self.tally.nights += 1

    def _clock(self) -> dt.datetime:
        """The time in the world: from noon on, outside the window of its region."""
        noon = dt.datetime.combine(self.world.as_of, dt.time(12), dt.UTC)
        return noon + (dt.datetime.now(dt.UTC) - self.began)

    # ------------------------------------------------------------------ the tenants

    def _apply(self) -> None:
        self.folder.mkdir(parents=True)
        providers = [
            syncing.csv_provider(self.folder / one.name, name=one.name, **one.options)
            for one in self.world.providers
        ]
        logins = {"name": "logins", "kind": "csv", "path": str(self.folder / "logins.csv")}
        self.here.apply(TENANT, *providers, directories=[logins], **self.world.settings)
        with self.here.stores.database.connect() as connection:
            self.registered = registry.get(connection, TENANT)

    def _settle_neighbour(self) -> invariants.Snapshot:
        """A second tenant of the deployment, synced once: whatever happens here, it stays as it is."""
        shutil.rmtree(self.folder / "neighbour", ignore_errors=True)
        exports.write(self.folder / "neighbour", self.world.one("sis"), None)
        self.here.apply(NEIGHBOUR, syncing.csv_provider(self.folder / "neighbour"))
        told = self.here.sync(NEIGHBOUR, self.world.as_of)
        assert told["status"] == "successful", told["issues"]
        return invariants.snapshot(self.here, NEIGHBOUR)

    # ------------------------------------------------------------------ drawing

    def _draw(self) -> Plan:
        silent: Counter[str] = Counter()
        for attempt in range(_ATTEMPTS):
            world, roster = copy.deepcopy(self.world), copy.deepcopy(self.roster)
            if self.roster.people:
                go_on(world, self.rng, quiet=attempt > _ATTEMPTS * 0.9)
            past = self.rng.choice(self.past) if self.past and self.rng.random() < 0.12 else None
            try:
                if past:
                    roster = self._set_back(past)[0]
                decision = self._decision(roster)
                if decision:
                    roster.decide(decision[0], self.world.as_of, decision[1])
                return self._told(world, roster, past, decision)
            except Silent as why:
                silent[place_of(why)] += 1
                self.tally.redrawn[place_of(why)] += 1
        raise AssertionError(f"the page is silent about every night that was drawn: {dict(silent)}")

    def _decision(self, roster: Roster) -> tuple[str, School | None] | None:
        if not (roster.holds or roster.undone) or self.rng.random() < 0.7:
            return None
        schools = sorted({school for _, school, _ in roster.holds if school} | set(roster.undone))
        where = self.rng.choice([None, None, *schools])
        return self.rng.choice(("approved", "approved", "rejected")), where

    def _set_back(self, past: Past) -> tuple[Roster, set[School]]:
        """The oracle's roster after an undo, and the schools that it concerns."""
        assert self.last
        feeds = copy.deepcopy(self.last.feeds)
        return set_back.undo(self.roster, past.before, self.registered.tenant, feeds, self.world.as_of)

    def _told(
        self, world: World, roster: Roster, past: Past | None, decision: tuple[str, School | None] | None
    ) -> Plan:
        tenant, complete = self.registered.tenant, self.complete
        feeds = []
        for options in tenant.strongest_first:
            one = world.one(options.name)
            found, complete = exports.feed(one, world.fault(one), options, complete, world.as_of)
            feeds.append(found)
        people = world.directory.people.items()
        directories = {world.directory.name: [{"id": who, **row} for who, row in people]}
        told = publishing.night(tenant, copy.deepcopy(feeds), directories, roster, world.as_of)
        return Plan(world, past, decision, told, feeds, complete)

    # ------------------------------------------------------------------ a night

    def _night(self, plan: Plan) -> None:
        if plan.undone:
            self._undo(plan.undone)
        elif self.past and self.rng.random() < 0.05:
            self._undo_and_back()
        if plan.decision:
            self._decide(*plan.decision)
        self.world = plan.world
        for one in self.world.providers:
            fault = self.world.fault(one)
            exports.write(self.folder / one.name, one, fault)
            self.tally.faults.update([fault.what] if fault else [])
        exports.write_directory(self.folder / "logins.csv", self.world.directory)
        before = invariants.snapshot(self.here, TENANT)
        document, told = self._sync()
        after = invariants.snapshot(self.here, TENANT)
        self.tally.codes.update({issue["code"] for issue in document["issues"]})
        feeds = {feed.name: feed for feed in plan.feeds}
        ids = self.registered.provider_ids
        night = Night(self.here, self.world, feeds, ids, before, after, document, told, self.ids)
        found = cast("rosters.Night", self._read(document))
        wrong = differences(found, plan.told, self.names)
        if plan.decision == ("approved", None) and document["status"] != "failed" and no_school_waits(found):
            wrong.append("what is of no school waits although everything was approved")
        wrong += invariants.everything(night)
        wrong += self._nobody_else(plan.told)
        if document["status"] == "failed":
            wrong += [
                f"a failed sync changed {name}"
                for name in before
                if name != "schools" and before[name] != after[name]
            ]
        again, _ = self._sync()
        self.last_document = again
        if changes := syncing.changed(again):
            wrong.append(f"the same night again changed {changes}")
        if invariants.snapshot(self.here, TENANT) != after:
            wrong.append("the same night again changed rows")
        if again["status"] != document["status"]:
            wrong.append(f"the same night again was {again['status']}, not {document['status']}")
        if invariants.snapshot(self.here, NEIGHBOUR) != self.neighbour:
            wrong.append("the other tenant was touched")
        assert not wrong, "\n".join(wrong)
        if document["status"] != "failed":
            self.past = [*self.past[-4:], Past(document["sync_id"], copy.deepcopy(self.roster))]
        new = plan.told.roster.holds.keys() - self.roster.holds.keys()
        self.tally.holds.update(f"{kind} of a class" if class_ else kind for kind, _, class_ in new)
        self.roster, self.complete, self.last = plan.told.roster, plan.complete, plan

    def wrong_with_what_is_published(self) -> list[str]:
        """How the roster differs from the oracle's now."""
        assert self.last
        found = self._read(self.last_document)
        told = replace(self.last.told, roster=self.roster)
        return published_differences(cast("rosters.Night", found), told, self.names)

    def _nobody_else(self, told: Told) -> list[str]:
        """4. An id of a person, once told, is theirs for ever."""
        several = Counter(self.names.person.values())
        merged = {n for n, one in told.roster.people.items() if one.state == "merged"}
        return [
            f"person_id {person} is several people's by the page"
            for number, person in self.names.person.items()
            if several[person] > 1 and number not in merged
        ]

    def _sync(self) -> tuple[Document, list[Any]]:
        world = replace(self.here.world(), clock=self._clock)
        sync = self.here.begin(TENANT, self.world.as_of, world=world)
        told = []
        try:
            for step in syncing.STEPS.values():
                told.append(step(sync))
        finally:
            sync.close()
        document: Document = json.loads(json.dumps(told[-1]))
        self.tally.syncs += 1
        self.tally.statuses[document["status"]] += 1
        return document, told

    def _read(self, document: Document) -> Synced:
        lake = self.here.stores.lake
        facts = lake.facts(TENANT, "merged_identities", document["sync_id"])
        assert facts is not None
        outcomes = lake.read(TENANT, "merged_identities", facts)["outcomes"]
        return Synced(
            document, StoredRoster(self.here.stores.database, TENANT), outcomes, self.registered.provider_ids
        )

    def _decide(self, decision: str, school: School | None) -> None:
        """As `approve` and `reject` do it; nothing that is published changes by that."""
        before = invariants.snapshot(self.here, TENANT)
        name = self.roster.orgs[school]["name"] if school else None
        with (
            self.here.stores.database.connect().execution_options(immediate=True) as connection,
            connection.begin(),
        ):
            now, day = self._clock(), self.world.as_of
            found = holds.decide(
                connection, TENANT, decision, school=name, who="a test", why="", now=now, day=day
            )
        places = [*(place[1] for place in self.roster.holds), *self.roster.undone]
        ours = sum(school in (None, place) for place in places)
        theirs = sum((one.kind, one.school_id) != (SET_BACK, "") for one in found)
        assert theirs == ours, f"{theirs} decided on, {ours} wait by the page"
        assert invariants.snapshot(self.here, TENANT) == before, "a decision changed what is published"
        self.roster.decide(decision, self.world.as_of, school)
        self.tally.decisions[decision] += 1

    # ------------------------------------------------------------------ undoing

    def _undone(self, sync_id: int, school: str | None = None) -> Document | None:
        """What an undo tells; None where nothing differs from what was published before that sync."""
        try:
            told = undo(
                self.here.stores, TENANT, sync_id, school=school, who="a test", why="", clock=self._clock
            )
        except CodedError as error:
            if error.code == "RS-RUN-11":
                return None
            raise
        return cast("Document", json.loads(json.dumps(told)))

    def _undo(self, past: Past) -> None:
        """The roster is as it was before a sync; the schools concerned wait."""
        assert self.last
        roster, schools = self._set_back(past)
        document = self._undone(past.sync_id)
        if document is None:
            assert not schools, f"nothing to undo, but by the page {schools} differ"
            return
        told = replace(self.last.told, roster=roster)
        found = self._read({**document, "sync_id": self.last_document["sync_id"]})
        wrong = published_differences(cast("rosters.Night", found), told, self.names)
        waits = {*document["undo"]["waits"], *document["undo"]["follows"]} - {""}  # as in `comparing`
        ids = school_ids(cast("rosters.Night", found), told)
        ours = {ids.get(school, "?") for school in schools}
        if waits != ours:
            wrong.append(f"the undo concerns {sorted(waits)}, by the page {sorted(ours)}")
        assert not wrong, "\n".join([f"after the undo of sync {past.sync_id}:", *wrong])
        self.roster, self.past = roster, []
        self.tally.undos["of a sync"] += 1

    def _undo_and_back(self) -> None:
        """An undo, of the whole tenant or of one school, that is undone leaves everything as it was."""
        past = self.rng.choice(self.past)
        schools = [None, *sorted(row["name"] for row in self.roster.orgs.values())]
        school = self.rng.choice(schools)
        before = self._live()
        document = self._undone(past.sync_id, school)
        if document is None:
            assert self._live() == before, "an undo that was refused changed something"
            return
        self._undone(document["sync_id"])
        after = self._live()
        wrong = [name for name in before if before[name] != after[name]]
        assert not wrong, f"undoing the undo of sync {past.sync_id} at {school} left other {wrong}"
        self.tally.undos["of a school and back" if school else "and back"] += 1

    def _live(self) -> dict[str, Any]:
        """What is published and what waits, without the bookkeeping of syncs."""
        found = invariants.snapshot(self.here, TENANT)
        out: dict[str, Any] = {
            name: {
                key: {n: value for n, value in row.items() if n not in ("created_sync", "changed_sync")}
                for key, row in invariants.live(table).items()
            }
            for name, table in found.items()
        }
        with self.here.stores.database.connect() as connection:
            out["holds"] = sorted(map(repr, holds.waiting(connection, TENANT)))
        return out


def run(seed: int, nights: int, folder: Path, url: str = "") -> Tally:
    """A world of this seed through so many nights; raises AssertionError with what is wrong.

    The rosters are in the database of this URL, or in a file of SQLite in `folder`.
    """
    with syncing.deployment(folder, url) as here:
        found = Nights(seed, here)
        try:
            found.run(nights)
        except Exception as error:
            error.add_note(f"world {seed}: {found.tally}")
            raise
        return found.tally
