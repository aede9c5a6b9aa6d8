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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pandas as pd

from roster_pipeline.store import holds
from roster_pipeline.store.published import StoredRoster
from roster_pipeline.tenants import registry
from roster_pipeline_tests import rosters, syncing
from roster_pipeline_tests.oracle import publishing
from roster_pipeline_tests.oracle.comparing import Names, differences
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
    redrawn: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    decisions: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        """One line."""

        def some(counter: Counter[str]) -> str:
            return ", ".join(f"{count} {name}" for name, count in sorted(counter.items())) or "none"

        return (
            f"{self.nights} nights, {self.syncs} syncs ({some(self.statuses)}); faults: {some(self.faults)}; "
            f"decisions: {some(self.decisions)}; {self.redrawn} nights drawn anew; codes: {some(self.codes)}"
        )


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


@dataclass
class Plan:
    """A night as it was drawn: the world, what is decided before it, and what the oracle makes of it."""

    world: World
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
        self._apply()
        self.neighbour = self._settle_neighbour()

    def run(self, nights: int) -> None:
        """So many nights; raises AssertionError with what is wrong on the first that is."""
        for _ in range(nights):
            plan = self._draw()
            try:
                self._night(plan)
            except AssertionError as error:
                error.add_note(
                    f"night {self.tally.nights + 1}, {plan.world.as_of}: {'; '.join(plan.world.told)}"
                )
                raise
            self.tally.nights += 1

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
        for attempt in range(_ATTEMPTS):
            world, roster = copy.deepcopy(self.world), copy.deepcopy(self.roster)
            if self.roster.people:
                go_on(world, self.rng, quiet=attempt > _ATTEMPTS * 0.9)
            decision = self._decision(roster)
            if decision:
                roster.decide(decision[0], self.world.as_of, decision[1])
            try:
                return self._told(world, roster, decision)
            except Silent:
                self.tally.redrawn += 1
        raise AssertionError("the page is silent about every night that was drawn")

    def _decision(self, roster: Roster) -> tuple[str, School | None] | None:
        if not roster.holds or self.rng.random() < 0.7:
            return None
        schools = sorted({school for _, school, _ in roster.holds if school})
        where = self.rng.choice([None, None, *schools])
        return self.rng.choice(("approved", "approved", "rejected")), where

    def _told(self, world: World, roster: Roster, decision: tuple[str, School | None] | None) -> Plan:
        tenant, complete = self.registered.tenant, self.complete
        feeds = []
        for options in tenant.strongest_first:
            one = world.one(options.name)
            found, complete = exports.feed(one, world.fault(one), options, complete, world.as_of)
            feeds.append(found)
        people = world.directory.people.items()
        directories = {world.directory.name: [{"id": who, **row} for who, row in people]}
        told = publishing.night(tenant, copy.deepcopy(feeds), directories, roster, world.as_of)
        return Plan(world, decision, told, feeds, complete)

    # ------------------------------------------------------------------ a night

    def _night(self, plan: Plan) -> None:
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
        wrong = differences(cast("rosters.Night", self._read(document)), plan.told, self.names)
        wrong += invariants.everything(night)
        wrong += self._nobody_else(plan.told)
        if document["status"] == "failed":
            wrong += [
                f"a failed sync changed {name}"
                for name in before
                if name != "schools" and before[name] != after[name]
            ]
        again, _ = self._sync()
        if changes := syncing.changed(again):
            wrong.append(f"the same night again changed {changes}")
        if invariants.snapshot(self.here, TENANT) != after:
            wrong.append("the same night again changed rows")
        if again["status"] != document["status"]:
            wrong.append(f"the same night again was {again['status']}, not {document['status']}")
        if invariants.snapshot(self.here, NEIGHBOUR) != self.neighbour:
            wrong.append("the other tenant was touched")
        assert not wrong, "\n".join(wrong)
        self.roster, self.complete = plan.told.roster, plan.complete

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
        sync = self.here.begin(TENANT, self.world.as_of)
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
            now = dt.datetime.now(dt.UTC)
            found = holds.decide(
                connection, TENANT, decision, school=name, who="a test", why="", now=now, day=self.world.as_of
            )
        ours = sum(school in (None, place[1]) for place in self.roster.holds)
        assert len(found) == ours, f"{len(found)} decided on, {ours} wait by the page"
        assert invariants.snapshot(self.here, TENANT) == before, "a decision changed what is published"
        self.roster.decide(decision, self.world.as_of, school)
        self.tally.decisions[decision] += 1


def run(seed: int, nights: int, folder: Path) -> Tally:
    """A world of this seed through so many nights; raises AssertionError with what is wrong."""
    with syncing.deployment(folder) as here:
        found = Nights(seed, here)
        try:
            found.run(nights)
        except AssertionError as error:
            error.add_note(f"world {seed}: {found.tally}")
            raise
        return found.tally
