"""Flaws and outcomes are counted by columns; here they are counted again, a row at a time.

What a flaw is, the neighbours ask in words. Worlds here are rows at random, of few values, so that every
combination is met; `COUNTING_SEEDS=0:500` runs more of them.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

import pandas as pd
import pytest

from roster_pipeline.rosters import outcome, rows
from roster_pipeline.rosters.current import ENROLMENT_COLUMNS, USER_COLUMNS, Current
from roster_pipeline.rosters.flaws import Facts
from roster_pipeline.rosters.identities import OUTCOME_COLUMNS
from roster_pipeline.rosters.outcome import OUTCOMES
from roster_pipeline.rosters.schools import find_schools
from roster_pipeline.rosters.sessions import CLASS_COLUMNS, find_sessions
from roster_pipeline.rosters.source import Published, Source
from roster_pipeline_tests.rosters import Night, one_night, provider, school_of, story

SEEDS: Final = range(*map(int, os.environ.get("COUNTING_SEEDS", "0:25").split(":")))
SCHOOLS: Final = ("north", "south", "west")
LIMITED: Final = ("role_not_admitted", "school_not_admitted", "excluded_school")

Row = dict[str, Any]
Told = dict[str, Counter[str]]


def frame(records: Iterable[Row], columns: Iterable[str], *, coded: bool = False) -> pd.DataFrame:
    """The records, "" for what they do not say; a row a (provider_id, source_id) unless it says otherwise."""
    told = [{name: record.get(name, "") for name in columns} for record in records]
    made = pd.DataFrame(told, columns=list(columns))
    made = made.astype({name: "int64" if name == "provider_id" else "str" for name in columns})
    for name in columns:
        if coded and name not in ("provider_id", "source_id"):
            made[name] = rows.as_coded(made[name])
    return made


class World:
    """Two providers' rows of one night and what is published, at random."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        told = story(
            school_of("t1 s1", name="sis"), provider("cl", "s1", merge={"key": "email_without_domain"})
        )
        given = told.given()
        self.tonight = given.tonight
        self.sources = [self.source(one) for one in given.sources]
        self.schools = find_schools(self.sources, given.published, self.tonight)
        self.users = [self.user(f"u{number}") for number in range(60)]
        self.classes = [self.class_(f"c{number}") for number in range(14)]
        self.enrolments = [self.enrolment(f"e{number}") for number in range(70)]
        self.people = [self.person(f"p{number}") for number in range(25)]
        links = {(link["provider_id"], link["source_id"]): link for link in map(self.link, range(50))}
        self.links = list(links.values())
        self.published: Published = replace(
            given.published,
            people=frame(self.people, given.published.people.columns),
            person_sources=frame(self.links, given.published.person_sources.columns),
        )
        sessions = find_sessions(self.sources, self.schools, given.published, self.tonight)
        self.sessions = replace(sessions, classes=frame(self.classes, CLASS_COLUMNS))
        self.current = Current(
            frame(self.users, USER_COLUMNS), frame(self.enrolments, ENROLMENT_COLUMNS, coded=True)
        )

    def source(self, one: Source) -> Source:
        name = self.dice.choice(("users", "classes", "enrollments"))
        return replace(one, states={**one.states, name: "stale"}) if self.dice.random() < 0.2 else one

    def one_of(self, *values: str) -> str:
        return self.dice.choice(values)

    def some(self) -> list[str]:
        return sorted(self.dice.sample(SCHOOLS, self.dice.choice((0, 1, 1, 1, 2))))

    def user(self, source_id: str) -> Row:
        schools = self.some()
        roles = [[self.one_of("student", "student", "teacher", "aide"), school] for school in schools]
        return {
            "provider_id": self.dice.choice((1, 2)),
            "source_id": source_id,
            "reason": self.one_of(*[""] * 9, "left", "deleted", "duplicate", "forgotten", *LIMITED),
            "given_name": self.one_of("", "Ada"),
            "family_name": self.one_of("", "Hill", "Hill"),
            "email": self.one_of("", "a@x", "a@x", "a@y", "@x"),
            "master": self.one_of("", "m", source_id),
            "identifier": self.one_of("", "m", "m", "a@x"),
            "enabled": self.one_of("true", "true", "false", ""),
            "roles": rows.as_list(roles),
            "schools": rows.as_list(schools),
            **{name: self.one_of("", "", "true") for name in ("family", "masked")},
            "student": "true" if ["student"] in [role[:1] for role in roles] else "",
        }

    def class_(self, class_id: str) -> Row:
        return {
            "provider_id": self.dice.choice((1, 2)),
            "source_id": class_id,
            "class_id": class_id,
            "school_id": self.one_of(*SCHOOLS),
            "reason": self.one_of("", "", "", "deleted", "excluded_school", "classroom_data_off"),
            "fate": self.one_of("current", "current", "current", "ended"),
            "start_date": self.one_of("", "2025-08-01", "2025-11-01"),
            "end_date": self.one_of("", "2026-06-01", "2025-09-01"),
        }

    def enrolment(self, source_id: str) -> Row:
        user = self.dice.choice([*self.users, {"provider_id": self.dice.choice((1, 2)), "source_id": "u0"}])
        return {
            "provider_id": user["provider_id"],
            "source_id": source_id,
            "reason": self.one_of(
                "", "", "", "user_dropped", "user_dropped", "class_dropped", "class_dropped", "class_dropped",
                "class_of_weaker_source", "forgotten", "deleted", "refers_to_nothing",
            ),
            "class_id": f"c{self.dice.randrange(15)}",
            "user_ref": user["source_id"],
            "school_id": self.one_of(*SCHOOLS),
            "role": self.one_of("student", "teacher", "aide"),
            "dangling": self.one_of("", "", "true"),
        }  # fmt: skip

    def person(self, person_id: str) -> Row:
        return {
            "person_id": person_id,
            "removed": self.one_of("", "", "true"),
            "inactive_since": self.one_of("", "", "2025-10-01"),
            "grades": '["09"]',
            "roles": json.dumps([{"role": "student", "school_id": "north"}]),
            "email": self.one_of("a@x", "c@x"),
            "given_name": "Ada",
            "family_name": "Hill",
        }

    def link(self, _: int) -> Row:
        names = self.dice.sample(("email", "given_name", "family_name", "username"), 2)
        return {
            "provider_id": self.dice.choice((1, 2)),
            "source_id": f"u{self.dice.randrange(62)}",
            "person_id": f"p{self.dice.randrange(25)}",
            "removed": self.one_of("", "", "true"),
            "seen": self.dice.choice(("", json.dumps(dict.fromkeys(names, "was")), '{"email": ""}')),
        }


# ------------------------------------------------------------------------------ counted a row at a time


def counted(world: World) -> Told:
    """What `Facts.people` should say, but for the largest number of people alike."""
    out: Told = defaultdict(Counter)
    for user in world.users:
        if user["reason"] in ("", "forgotten", *LIMITED):
            _count_user(user, out)
    mixed = {one.provider_id for one in world.sources if "stale" in one.states.values()}
    for row in world.enrolments:
        to = out[row["school_id"]]
        if row["reason"] == "deleted":
            continue
        if row["reason"] == "forgotten":
            to["teacher"] += row["role"] == "teacher"
            continue
        to["enrolments"] += 1
        to["dangling"] += row["dangling"] == "true" and row["provider_id"] not in mixed
        to["teacher"] += row["role"] == "teacher" and row["reason"] in ("", "user_dropped")
    _count_classes(world, out)
    _count_keyless(world, out)
    return out


def _count_user(user: Row, out: Told) -> None:
    held = json.loads(user["roles"] or "[]")
    for school in json.loads(user["schools"] or "[]"):
        out[school]["rows"] += 1
        if user["reason"] == "excluded_school":
            continue
        if user["reason"] != "forgotten":
            out[school]["people"] += 1
            out[school]["masked"] += user["masked"] == "true"
            out[school]["nameless"] += not user["given_name"] and not user["family_name"]
        out[school]["students to teach"] += not user["reason"] and ["student", school] in held
        for role in ("student", "teacher"):
            out[school][role] += any(name == role for name, _ in held)


def _count_classes(world: World, out: Told) -> None:
    whole = {one.provider_id for one in world.sources if one.proven("users", "classes", "enrollments")}
    timed = {one.provider_id for one in world.sources if one.proven("classes", "academicSessions")}
    day = world.tonight.day
    classes = [row for row in world.classes if row["reason"] != "deleted"]
    live = [
        row for row in classes
        if row["reason"] == "" and row["fate"] == "current" and row["provider_id"] in whole
        and row["start_date"] <= day and (not row["end_date"] or day <= row["end_date"])
    ]  # fmt: skip
    for row in classes:
        wanted = row["reason"] not in ("excluded_school", "classroom_data_off")
        out[row["school_id"]]["classes that should have sessions"] += wanted and row["provider_id"] in timed
    if not live:
        return
    users = {(user["provider_id"], user["source_id"]): user for user in world.users}
    excluded = {row["class_id"] for row in classes if row["reason"] == "excluded_school"}
    placed = set()
    inside: set[tuple[str, str]] = set()
    for row in world.enrolments:
        who = (row["provider_id"], row["user_ref"])
        why = users[who]["reason"] if who in users else ""
        left_out = row["reason"] == "user_dropped" and why in ("forgotten", *LIMITED)
        if row["reason"] in ("", "forgotten") or left_out:
            inside.add((row["class_id"], row["role"]))
            placed.add(who)
        if row["reason"] == "class_of_weaker_source":
            placed.add(who)
        if row["reason"] == "class_dropped" and row["class_id"] in excluded:
            placed.add(who)
    for row in live:
        to = out[row["school_id"]]
        to["classes"] += 1
        for role in ("teacher", "student"):
            to[f"classes without a {role}"] += (row["class_id"], role) not in inside
    bringing = {(row["provider_id"], row["school_id"]) for row in live}
    for who, user in users.items():
        if user["reason"] or user["student"] != "true" or user["enabled"] == "false":
            continue
        for school in {school for role, school in json.loads(user["roles"]) if role == "student"}:
            if (user["provider_id"], school) in bringing:
                out[school]["students of classes"] += 1
                out[school]["students in no class"] += who not in placed


def _count_keyless(world: World, out: Told) -> None:
    live = [link for link in world.links if link["removed"] != "true"]
    sources = defaultdict(set)
    for link in live:
        sources[link["person_id"]].add(link["provider_id"])
    joined = {
        (link["provider_id"], link["source_id"]) for link in live if len(sources[link["person_id"]]) > 1
    }
    keyed = [user for user in world.users if not user["reason"] and user["family"] != "true"]
    owners = defaultdict(set)
    for user in keyed:
        owners[user["provider_id"], _key(user)].add(_human(user))
    for user in keyed:
        what = "" if _key(user) else "no key"
        if not what and len(owners[user["provider_id"], _key(user)]) > 1:
            what = "shared key"
        for school in json.loads(user["schools"] or "[]"):
            out[school]["keyed"] += 1
            out[school][what] += (user["provider_id"], user["source_id"]) not in joined
        out[""][""] = 0
    for told in out.values():
        del told[""]


def _key(user: Row) -> str:
    email = str(user["email"])
    return email.rpartition("@")[0] or email if user["provider_id"] == 2 else email


def _human(user: Row) -> tuple[str, ...]:
    if user["master"]:
        return (user["master"],)
    if user["identifier"] and "@" not in user["identifier"]:
        return user["identifier"], user["given_name"], user["family_name"]
    return (user["source_id"],)


def _most_alike(world: World, *columns: str) -> dict[str, int]:
    """School → the most people of one list of schools with the same values there."""
    alike: Counter[tuple[str, ...]] = Counter()
    for user in world.users:
        if user["reason"] in ("", "forgotten", *LIMITED[:2]) and all(user[name] for name in columns):
            alike[user["schools"], *(user[name] for name in columns)] += 1
    out: dict[str, int] = {}
    for (schools, *_), count in alike.items():
        for school in json.loads(schools or "[]"):
            out[school] = max(out.get(school, 0), count)
    return out


def _lost(world: World) -> dict[str, tuple[int, str]]:
    """What `Facts.vanished` should say."""
    seen = {
        (link["provider_id"], link["source_id"]): json.loads(link["seen"] or "{}")
        for link in world.links
        if link["removed"] != "true"
    }
    linked = [
        (user, seen[user["provider_id"], user["source_id"]])
        for user in world.users
        if not user["reason"] and (user["provider_id"], user["source_id"]) in seen
    ]
    out: dict[str, tuple[int, str]] = {}
    for school in SCHOOLS:
        here = [(user, before) for user, before in linked if school in json.loads(user["schools"] or "[]")]
        for name, words in (
            ("email", "an e-mail address"), ("family_name", "a family name"), ("given_name", "a given name"),
        ):  # fmt: skip
            lost = sum(bool(before.get(name)) and not user[name] for user, before in here)
            had = lost + sum(bool(user[name]) for user, _ in here)
            many = (lost == had and lost >= 2) or (lost > 5 and lost >= had / 20)
            if many and lost > out.get(school, (0, ""))[0]:
                told = f"{lost} of {had} people had {words} at the last sync and have none now."
                out[school] = lost, told
    return out


@pytest.mark.parametrize("seed", SEEDS)
def test_a_schools_flaws_are_counted_by_columns_as_they_are_by_rows(seed: int) -> None:
    world = World(seed)
    facts = Facts(world.sources, world.schools, world.sessions, world.current, world.published, world.tonight)
    alike = {"same name": ("given_name", "family_name"), "same e-mail": ("email",)}
    found = {
        school: +Counter({what: count for what, count in told.items() if what not in alike})
        for school, told in facts.people.items()
    }
    expected = {school: +told for school, told in counted(world).items()}
    assert {school: told for school, told in found.items() if told} == {
        school: told for school, told in expected.items() if told
    }
    for what, columns in alike.items():
        for school, count in _most_alike(world, *columns).items():
            assert facts.people[school][what] == (count if count >= 5 else 0)
    assert facts.vanished == _lost(world)


def test_the_worlds_have_everything_that_is_counted() -> None:
    met: Counter[str] = Counter()
    for seed in range(25):
        world = World(seed)
        for told in counted(world).values():
            met += told
        met["vanished"] += bool(_lost(world))
        met["alike"] += max(_most_alike(world, "email").values()) >= 5
    assert {
        "masked", "nameless", "dangling", "teacher", "students to teach", "classes without a teacher",
        "classes without a student", "students in no class", "no key", "shared key", "vanished", "alike",
    } <= set(met)  # fmt: skip


# ------------------------------------------------------------------------------ what became of users


@pytest.fixture(scope="module")
def night() -> Night:
    return one_night(school_of("t1 s1"), provider("cl", "s1"))


@pytest.mark.parametrize("seed", SEEDS)
def test_collections_are_told_as_if_each_row_were_asked(seed: int, night: Night) -> None:
    world = World(seed)
    dice = world.dice
    late: dict[str, dict[tuple[int, str], str]] = {"users": {}, "classes": {}, "enrollments": {}}
    for name, records in (
        ("users", world.users),
        ("classes", world.classes),
        ("enrollments", world.enrolments),
    ):
        mine = [row for row in records if dice.random() < 0.4 and not row["reason"]]
        dice.shuffle(mine)
        late[name] = {(row["provider_id"], row["source_id"]): dice.choice(("a", "b", "left")) for row in mine}
        late[name][dice.choice((1, 2)), "nobody"] = "a"
    found = replace(
        night.found,
        sources=world.sources,
        current=world.current,
        sessions=world.sessions,
        roster=replace(night.found.roster, dropped=late),
        identities=replace(night.found.identities, outcomes=frame([], OUTCOME_COLUMNS)),
    )
    told = outcome.collections(found)
    for name, records in (
        ("users", world.users),
        ("classes", world.classes),
        ("enrollments", world.enrolments),
    ):
        expected: Counter[tuple[int, str]] = Counter()
        for row in records:
            who = row["provider_id"]
            expected[who, row["reason"] or late[name].get((who, row["source_id"]), "")] += 1
        for who in (1, 2):
            # Of two that are as frequent, the one that is met first.
            dropped = [(why, count) for (of, why), count in expected.most_common() if of == who and why]
            assert list(told[who][name]["dropped"].items()) == dropped
            assert told[who][name]["kept"] == expected[who, ""]
            assert told[who][name]["read"] == sum(n for (of, _), n in expected.items() if of == who)


@pytest.mark.parametrize("seed", SEEDS)
def test_people_are_counted_for_each_school_as_if_each_were_asked(seed: int, night: Night) -> None:
    world = World(seed)
    dice = world.dice
    met = []
    for user in world.users:
        if user["reason"]:
            continue
        what = dice.choice(("matched", "created", "unmatched"))
        one = dice.choice((user["source_id"], f"g{dice.randrange(3)}"))  # whom several rows are of
        found_as = {} if what == "unmatched" else {"person_id": f"p{dice.randrange(12)}"}
        roles = json.dumps(dice.sample(("student", "teacher", "aide"), 2))
        met.append({**user, "outcome": what, "one_with": one, "roles": roles, "reason": "why", **found_as})
    agreed: dict[tuple[int, str], Row] = {}
    for row in met:  # the rows of one provider person agree
        first = agreed.setdefault((row["provider_id"], row["one_with"]), row)
        row |= {name: first.get(name, "") for name in ("outcome", "person_id", "roles")}
    ids = [*SCHOOLS, "nowhere"]
    found = replace(
        night.found,
        current=world.current,
        identities=replace(night.found.identities, outcomes=frame(met, OUTCOME_COLUMNS)),
    )
    people = outcome._people(found)
    place, at = outcome._schools_of(found, people, ids)
    by_school = outcome._counts(people.iloc[place], at, [7] * len(ids))
    first_of: dict[tuple[int, str], tuple[Row, set[str]]] = {}
    schools: dict[tuple[int, str], set[str]] = defaultdict(set)
    for row in met:
        schools[row["provider_id"], row["one_with"]] |= set(json.loads(row["schools"] or "[]"))
    for row in met:
        key = (row["provider_id"], row["person_id"] or f"user {row['one_with']}")
        first_of.setdefault(key, (row, schools[row["provider_id"], row["one_with"]]))
    for number, school in enumerate(ids):
        here = [row for row, held in first_of.values() if school in held]
        assert by_school[number] == _guide_counts(here, 7)
    assert outcome._of_all(people, 3) == _guide_counts([row for row, _ in first_of.values()], 3)


def _guide_counts(people: list[Row], classes: int) -> dict[str, int]:
    def different(what: str, test: Callable[[Row], bool]) -> int:
        return len({row["person_id"] for row in people if row["outcome"] == what and test(row)})

    return {
        "unmatched_users": sum(row["outcome"] == "unmatched" for row in people),
        "matched_students": different("matched", lambda row: "student" in row["roles"]),
        "matched_teachers": different("matched", lambda row: "teacher" in row["roles"]),
        "imported_classes": classes,
        "created_students": different("created", lambda row: "student" in row["roles"]),
        "created_teachers": different("created", lambda row: "teacher" in row["roles"]),
        "created_users": different("created", lambda _: True),
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_who_is_gone_is_told_as_if_each_were_asked(seed: int) -> None:
    world = World(seed)
    dice = world.dice
    before = [
        {
            "provider_id": dice.choice((1, 2, 3, 4)),
            "source_id": f"u{number}",
            "outcome": world.one_of("matched", "dropped", "gone"),
            "reason": world.one_of("left", "not_sent", "not_proven", "provider_retired"),
            "evidence": "link",
            "person_id": "p",
        }
        for number in range(40)
    ]
    now = frame(({**row, "outcome": "matched"} for row in before if dice.random() < 0.3), OUTCOMES)
    states = {one.provider_id: one.proven("users") for one in world.sources}
    here = set(rows.keys(now, "provider_id", "source_id"))
    expected = []
    for row in before:
        who = int(row["provider_id"])
        if (who, row["source_id"]) in here or who == 4:  # nobody knows the fourth, and the third is retired
            continue
        why = "provider_retired" if who == 3 else "not_sent" if states[who] else "not_proven"
        if row["outcome"] == "gone" and why in (row["reason"], "not_proven"):
            continue
        if row["outcome"] == "dropped" and row["reason"] == "left" and why == "not_proven":
            continue
        expected.append((who, row["source_id"], "gone", why, "", "p"))
    found = outcome.of_gone_users(frame(before, OUTCOMES), now, world.sources, {3})
    assert list(rows.keys(found, *OUTCOMES)) == expected
    assert found.dtypes.to_dict() == frame([], OUTCOMES).dtypes.to_dict()
