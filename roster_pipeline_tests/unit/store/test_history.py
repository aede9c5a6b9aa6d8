"""History and going back, over random nights of random rosters: any sync, whole and for one school."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, insert, select

from roster_pipeline.rosters.changes import KEYS, compare
from roster_pipeline.rosters.undoing import Difference, set_back
from roster_pipeline.store import database, history
from roster_pipeline.store.publish import write_changes
from roster_pipeline.store.published import columns_of, frame_of

NOW = dt.datetime(2025, 10, 15, 23, 30, tzinfo=dt.UTC)
SCHOOLS = ("north", "south", "west")
CLASSES = {f"{school}-{number}": school for school in SCHOOLS for number in (1, 2)}
PEOPLE = [f"p{number}" for number in range(1, 10)]
GUARDIANS = PEOPLE[-2:]

Tables = dict[str, dict[tuple[Any, ...], dict[str, Any]]]
numbers = itertools.count(1)
"""Syncs of all tenants of a test run, as in a real ledger; every example is a tenant of its own."""


def as_roles(held: set[tuple[str, str]]) -> str:
    return json.dumps(
        [{"role": role, "school_id": school or None} for role, school in sorted(held)], separators=(",", ":")
    )


def schools_of(row: dict[str, Any]) -> set[str]:
    return {entry["school_id"] for entry in json.loads(row["roles"] or "[]") if entry["school_id"]}


def a_night(rng: random.Random, day: int, before: Tables) -> Tables:
    """A roster in which every row has a chance to be another than the night before, or to be gone."""

    def again(kind: str, key: tuple[Any, ...], new: dict[str, Any] | None) -> dict[str, Any] | None:
        return dict(before[kind][key]) if key in before[kind] and rng.random() < 0.6 else new

    def maybe(row: dict[str, Any], share: float = 0.75) -> dict[str, Any] | None:
        return row if rng.random() < share else None

    out: Tables = {kind: {} for kind in KEYS}
    for school in SCHOOLS:
        if rng.random() < 0.9:
            out["schools"][school,] = {
                "school_id": school, "name": rng.choice(["One", "Two"]), "provider_id": 1, "provider": "sis",
                "state": "published", "state_as_of": f"2025-10-{day:02}", "included_again": "false",
            }  # fmt: skip
    for session in ("year", "autumn", "spring"):
        parent = "" if session == "year" else "year"
        row = again("academic_sessions", (session,), maybe(
            {"session_id": session, "title": rng.choice("xyz"), "parent_id": parent,
             "provider_id": 1, "provider": "sis"}
        ))  # fmt: skip
        if row:
            out["academic_sessions"][session,] = row
    for class_id, school in CLASSES.items():
        row = again("classes", (class_id,), maybe(
            {"class_id": class_id, "school_id": school, "title": rng.choice("xyz"), "provider_id": 1,
             "provider": "sis"}
        ))  # fmt: skip
        if row and (school,) in out["schools"]:
            named = [one for one in ("autumn", "spring") if (one,) in out["academic_sessions"]]
            row["session_ids"] = json.dumps(rng.sample(named, min(len(named), 1)))
            out["classes"][class_id,] = row
    for person in PEOPLE:
        row = again("people", (person,), maybe(
            {"person_id": person, "email": rng.choice(["", "a@x", "b@x"]), "enabled": "true",
             "inactive_since": rng.choice(["", "", f"2025-10-{day:02}"])}
        ))  # fmt: skip
        if row is None:
            continue
        here = [one for one in SCHOOLS if (one,) in out["schools"]]
        held = {("teacher", one) for one in rng.sample(here, min(len(here), rng.choice([0, 0, 1])))}
        for class_id in rng.sample(sorted(CLASSES), rng.choice([0, 1, 1, 2])):
            if (class_id,) in out["classes"] and person not in GUARDIANS:
                held.add(("student", CLASSES[class_id]))
                key = class_id, person, "student"
                out["memberships"][key] = {**dict(zip(KEYS["memberships"], key, strict=True)),
                                           "is_primary": rng.choice(["true", "false", ""]),
                                           "provider_id": 1, "provider": "sis"}  # fmt: skip
        out["people"][person,] = {**row, "roles": as_roles(held), "merged_into": ""}
    for (person,), row in out["people"].items():
        owner = person if rng.random() < 0.8 else rng.choice(sorted(out["people"]))[0]
        out["person_sources"][1, f"u-{person}"] = {
            "provider_id": 1, "source_id": f"u-{person}", "provider": "sis", "person_id": owner,
            "linked_sync": "1", "linked_by": "created", "seen": row["email"],
        }  # fmt: skip
    for guardian in GUARDIANS:
        for student in PEOPLE[:4]:
            if {(guardian,), (student,)} <= out["people"].keys() and rng.random() < 0.4:
                out["guardian_links"][student, guardian] = {
                    "student_id": student, "guardian_id": guardian, "provider_id": 1, "provider": "sis",
                    "relationship": rng.choice(["parent", "guardian"]),
                }  # fmt: skip
    return out


def frame(kind: str, table: Tables) -> Any:
    names = columns_of(database.metadata.tables[kind])
    empty = {name: 0 if name == "provider_id" else "" for name in names}
    told = [
        {name: "" if value is None else value for name, value in row.items()} for row in table[kind].values()
    ]
    return frame_of(names, [tuple((empty | row)[name] for name in names) for row in told])


class World:
    """A tenant whose nights are random; what was live, and what all rows were, after each."""

    def __init__(self, engine: Engine, seed: int, nights: int) -> None:
        self.engine, self.rng, self.tenant = engine, random.Random(seed), f"t{next(numbers)}"
        self.syncs: list[int] = []
        self.live: list[Any] = [self.stored()]
        self.every: list[Any] = [self.stored(removed=True)]
        told: Tables = {kind: {} for kind in KEYS}
        for day in range(1, nights + 1):
            was, told = told, a_night(self.rng, day, told)
            gone = sorted(person for (person,) in was["people"].keys() - told["people"].keys())
            merged = {one: self.rng.choice(sorted(told["people"]))[0] for one in gone
                      if told["people"] and self.rng.random() < 0.5}  # fmt: skip
            changes = {kind: compare(kind, frame(kind, was), frame(kind, told)) for kind in KEYS}
            self.syncs.append(next(numbers))
            with engine.begin() as connection:
                write_changes(connection, self.tenant, self.syncs[-1], NOW, changes, merged)
            self.remember()

    def remember(self) -> None:
        self.live.append(self.stored())
        self.every.append(self.stored(removed=True))

    def stored(self, *, removed: bool = False) -> dict[str, dict[tuple[Any, ...], dict[str, Any]]]:
        """The rows by key; with removed ones, of which it is said that they are."""
        out: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}
        with self.engine.connect() as connection:
            for table in database.PUBLISHED:
                names = columns_of(table)
                found = connection.execute(select(table).where(table.c.tenant == self.tenant)).mappings()
                out[table.name] = {
                    tuple(row[name] for name in KEYS[table.name]): {name: row[name] for name in names}
                    | {"removed": row["removed_at"] is not None}
                    for row in found
                    if removed or row["removed_at"] is None
                }
        return out

    def undo(self, place: int, school: str | None = None) -> Difference:
        """Goes back to before the sync at a place, as one more sync."""
        number = next(numbers)
        with self.engine.begin() as connection:
            past = history.since(connection, self.tenant, self.syncs[place])
            found = set_back(history.tables(connection, self.tenant, past), past.steps, {1: "sis"}, school)
            history.go_back(connection, self.tenant, number, NOW, found)
        self.syncs.append(number)
        self.remember()
        return found


@pytest.fixture(scope="module")
def shared() -> Iterator[Engine]:
    """One database for all examples, in memory."""
    engine = database.connect("sqlite://")
    database.metadata.create_all(engine)
    yield engine
    engine.dispose()


RANDOM = given(seed=st.integers(0, 2**32), nights=st.integers(1, 5), data=st.data())


@settings(max_examples=8)
@RANDOM
def test_going_back_gives_what_was_before_any_sync_and_can_be_taken_back(
    shared: Engine, seed: int, nights: int, data: st.DataObject
):
    world = World(shared, seed, nights)
    place = data.draw(st.integers(0, nights - 1))
    world.undo(place)
    assert world.live[-1] == world.live[place]
    known = world.every[place]  # also rows that were removed already: who returns is known by their values
    assert {kind: {key: row for key, row in table.items() if key in known[kind]}
            for kind, table in world.every[-1].items()} == known  # fmt: skip
    world.undo(nights)  # the undo
    assert world.live[-1] == world.live[nights]
    assert {k: t for k, t in world.every[-1].items() if k != "people"} == {
        k: t for k, t in world.every[nights].items() if k != "people"
    }
    world.undo(data.draw(st.integers(0, nights + 1)))
    assert world.every[-1].keys() == world.every[-2].keys()


@settings(max_examples=12)
@RANDOM
def test_going_back_for_one_school_gives_its_slice_and_leaves_the_others(
    shared: Engine, seed: int, nights: int, data: st.DataObject
):
    world = World(shared, seed, nights)
    place, mine = data.draw(st.integers(0, nights - 1)), data.draw(st.sampled_from(SCHOOLS))
    world.undo(place, mine)
    then, now, after = world.live[place], world.live[nights], world.live[-1]

    def split(told: Any, kind: str, *, here: bool) -> Any:
        school = {"schools": lambda key: key[0]}.get(kind, lambda key: CLASSES[key[0]])
        return {key: row for key, row in told[kind].items() if (school(key) == mine) == here}

    for kind in ("schools", "classes", "memberships"):
        assert split(after, kind, here=True) == split(then, kind, here=True), kind
        assert split(after, kind, here=False) == split(now, kind, here=False), kind

    def at(told: Any, person: tuple[str]) -> set[str]:
        return schools_of(told["people"][person]) if person in told["people"] else set()

    for person in then["people"].keys() | now["people"].keys():
        schools = at(then, person) | at(now, person)
        related = any(person[0] in link for link in after["guardian_links"])
        if schools == {mine} and (person in then["people"] or not related):
            assert after["people"].get(person) == then["people"].get(person)
            continue
        if person in now["people"] and schools:  # somebody who has no school may be a guardian who goes
            assert person in after["people"]
        assert {one for one in at(after, person) if one != mine} == {
            one for one in at(now, person) if one != mine
        }
        assert (mine in at(after, person)) == (mine in at(then, person))
    for key in then["guardian_links"].keys() | now["guardian_links"].keys():
        schools = at(then, (key[0],)) | at(now, (key[0],))
        if schools == {mine}:
            assert after["guardian_links"].get(key) == then["guardian_links"].get(key)
        elif mine not in schools:
            assert after["guardian_links"].get(key) == now["guardian_links"].get(key)
    for class_id, person, _ in after["memberships"]:
        assert (class_id,) in after["classes"]
        assert (person,) in after["people"]
    for student, guardian in after["guardian_links"]:
        assert {(student,), (guardian,)} <= after["people"].keys()
    for row in after["classes"].values():
        if row["school_id"] == mine:
            assert all((one,) in after["academic_sessions"] for one in json.loads(row["session_ids"]))
    for key, row in now["academic_sessions"].items():
        if any(key[0] in one["session_ids"] for one in now["classes"].values() if one["school_id"] != mine):
            assert after["academic_sessions"][key] == row


def test_a_first_sync_has_no_history_and_a_changed_row_one_entry(engine: Engine):
    world = World(engine, 7, 1)
    with engine.connect() as connection:
        assert connection.execute(select(database.history)).all() == []
    assert any(world.live[1].values())
    with engine.begin() as connection:
        name = {"schools": compare("schools", frame("schools", {"schools": world.live[1]["schools"]}),
                                   frame("schools", {"schools": {}}))}  # fmt: skip
        nothing = {kind: compare(kind, frame(kind, {kind: {}}), frame(kind, {kind: {}})) for kind in KEYS}
        for _ in range(2):  # a run that is executed again publishes as the same sync
            write_changes(connection, world.tenant, next(numbers) if _ == 0 else world.syncs[-1], NOW,
                          nothing | name, {})  # fmt: skip
    with engine.connect() as connection:
        kinds = connection.scalars(select(database.history.c.kind)).all()
    assert set(kinds) == {"schools"}


def test_history_reaches_as_far_as_it_was_not_pruned(engine: Engine):
    world = World(engine, 3, 4)
    with engine.begin() as connection:
        for place, sync_id in enumerate(world.syncs):
            connection.execute(insert(database.syncs).values(
                sync_id=sync_id, tenant=world.tenant, run_id=str(sync_id), status="successful",
                started_at=dt.datetime(2025, 10, 1 + place, tzinfo=dt.UTC),
            ))  # fmt: skip
        assert history.reaches(connection, world.tenant) == 0
        assert history.prune(connection, world.tenant, dt.datetime(2025, 10, 1, tzinfo=dt.UTC)) == 0
        assert history.reaches(connection, world.tenant) == 0
        while history.prune(connection, world.tenant, dt.datetime(2025, 10, 3, tzinfo=dt.UTC), limit=3):
            pass
        assert history.reaches(connection, world.tenant) == world.syncs[1]
    world.undo(2)  # the first that is kept
    assert world.live[-1] == world.live[2]
