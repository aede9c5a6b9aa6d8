"""A small district of which we know who is who, and what happens to its people from night to night.

Here belongs the world (`Churn`): humans, the rows by which three providers and a directory know them, and
events that change both. Tenants are filled from it by `Churn.fill`; what must hold is in `known_truth`.

What the world leaves out, because then nothing could tell the truth: an address that two humans bear in
two sources on one night, unless both are linked with their people already; an address or a sourcedId that
passes to a namesake; and a sourcedId that passes to somebody of whom not everything is different.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from roster_pipeline_tests.known_truth import Key, Rules, User
from roster_pipeline_tests.rosters import Directory, Provider, Row, Story, story

GIVEN: Final = ("Ada", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hal", "Ida", "Jon", "Kim", "Leo")
FAMILY: Final = (
    "Archer", "Baker", "Carter", "Dyer", "Ellis", "Fuller", "Glover", "Hooper", "Iger", "Joiner",
    "Keeler", "Lister", "Mason",
)  # fmt: skip
SCHOOLS: Final = ("north", "south", "west")
SOURCES: Final = ("logins", "sis", "cl", "tp")
"""The directory and the providers, the strongest first."""


@dataclass
class Churn:
    """Who is there tonight, in which source, and by which values.

    Attributes:
        faces: Human → the values that everybody knows, but for what lags.
        ids: (source, human) → the sourcedId, also of those who have left.
        here: Who has a row where.
        blank: Rows without their e-mail.
        behind: Rows that still have the values of before.
        linked: Rows that were linked after the last night; set by whoever runs the nights.
    """

    rng: random.Random
    faces: dict[str, User] = field(default_factory=dict)
    ids: dict[tuple[str, str], str] = field(default_factory=dict)
    here: set[tuple[str, str]] = field(default_factory=set)
    blank: set[tuple[str, str]] = field(default_factory=set)
    behind: dict[tuple[str, str], User] = field(default_factory=dict)
    by_dates: set[str] = field(default_factory=set)
    linked: set[Key] = field(default_factory=set)
    busy: dict[str, int] = field(default_factory=dict)
    later: dict[int, list[Callable[[], None]]] = field(default_factory=lambda: defaultdict(list))
    night: int = 1
    count: int = 0
    given_away: set[str] = field(default_factory=set)
    happened: Counter[str] = field(default_factory=Counter)

    @classmethod
    def begin(cls, seed: int, people: int = 80) -> Churn:
        """The district on its first night."""
        world = cls(random.Random(seed))
        for _ in range(people):
            world._arrive(world.new_human(), spread=0)
        for school in SCHOOLS:
            for _ in range(3):
                world._arrive(world.new_human(role="teacher", school=school), spread=0)
        world.busy.clear()
        return world

    # ------------------------------------------------------------------ tonight's rows

    def rows(self) -> dict[Key, User]:
        """Every row that counts, and who it is."""
        return {
            (source, self.ids[source, human]): self.row(source, human)
            for source, human in sorted(self.here)
            if source != "sis" or human not in self.by_dates
        }

    def row(self, source: str, human: str) -> User:
        """How a source knows somebody tonight."""
        user = self.behind.get((source, human), self.faces[human])
        local, _, domain = user.email.rpartition("@")
        if source == "cl" and int(human[1:]) % 2:
            domain = "pupils.example"
        email = "" if (source, human) in self.blank else f"{local}@{domain}"
        return replace(user, email=email, identifier=f"{source}-{user.identifier}")

    def fill(self, tenant: Story) -> None:
        """Puts tonight's rows into a tenant made by `tenant_of`."""
        for one in tenant.providers:
            users: dict[str, Row] = {}
            enrolments: dict[str, Row] = {}
            for source, human in sorted(self.here):
                if source != one.name:
                    continue
                key, user = self.ids[source, human], self.row(source, human)
                users[key] = {
                    "sourcedId": key, "givenName": user.given, "familyName": user.family,
                    "email": user.email, "identifier": user.identifier, "enabledUser": "true",
                    "grades": [user.grade] if user.role == "student" else [],
                    "role": user.role, "orgs": user.school,
                }  # fmt: skip
                if source == "sis":
                    end = "2025-10-01" if human in self.by_dates else ""
                    enrolments[f"{user.school}-{key}"] = {
                        "sourcedId": f"{user.school}-{key}", "user": key, "class": f"class-{user.school}",
                        "endDate": end,
                    }  # fmt: skip
            one.rows |= {"users": users, "enrollments": enrolments}
        for directory in tenant.directories:
            directory.people = {}
            for source, human in sorted(self.here):
                if source == directory.name:
                    user = self.row(source, human)
                    directory.people[self.ids[source, human]] = {
                        "email": user.email, "given_name": user.given, "family_name": user.family,
                        "role": user.role,
                    }  # fmt: skip

    # ------------------------------------------------------------------ what happens

    def next_night(self, events: int) -> int:
        """Goes on by a night; gives the number of things that happened."""
        self.night += 1
        due = self.later.pop(self.night, [])
        for apply in due:
            apply()
        happened = len(due)
        for _ in range(events):
            event = self.rng.choice(EVENTS)
            if event(self):
                self.happened[event.__name__] += 1
                happened += 1
        return happened

    def _present(self, human: str) -> list[str]:
        return [source for source in SOURCES if (source, human) in self.here]

    def _some(self, suits: Callable[[str], bool] = lambda _: True) -> str | None:
        """Somebody who is there and to whom nothing else is happening."""
        found = [
            human
            for human in self.faces
            if self._present(human) and self.busy.get(human, 0) < self.night and suits(human)
        ]
        return self.rng.choice(found) if found else None

    def _left(self, suits: Callable[[str], bool] = lambda _: True) -> str | None:
        found = [
            human
            for human in self.faces
            if not self._present(human) and self.busy.get(human, 0) < self.night and suits(human)
        ]
        return self.rng.choice(found) if found else None

    def _settled(self, human: str) -> bool:
        """Whether all rows of somebody have an e-mail and are linked with their person."""
        return (
            all(
                (source, human) not in self.blank and (source, self.ids[source, human]) in self.linked
                for source in self._present(human)
            )
            and human not in self.by_dates
        )

    def _at(self, nights: int, human: str, apply: Callable[[], None]) -> None:
        if nights <= 0:
            apply()
        else:
            self.later[self.night + nights].append(apply)
            self.busy[human] = max(self.busy.get(human, 0), self.night + nights)

    def new_human(self, *, role: str = "student", school: str = "") -> str:
        """Somebody who has not been there; with an address of their own."""
        self.count += 1
        human = f"h{self.count}"
        pick = self.rng.choice
        self.faces[human] = User(
            human, pick(GIVEN), pick(FAMILY), f"{human}@north.example", role, school or pick(SCHOOLS),
            str(self.count), pick(["08", "09", "10"]),
        )  # fmt: skip
        return human

    def new_id(self, source: str, human: str) -> str:
        """A sourcedId that nobody had."""
        self.count += 1
        self.ids[source, human] = f"{source}-{self.count}"
        return self.ids[source, human]

    def _arrive(self, human: str, *, spread: int, again: bool = False) -> None:
        """Comes to some sources, to each on its own night; `again` under the ids of before."""
        wanted = [
            source for source in SOURCES if self.rng.random() < {"sis": 0.97, "tp": 0.5}.get(source, 0.7)
        ]
        for source in wanted or ["sis"]:
            if not (again and (source, human) in self.ids):
                self.new_id(source, human)
            if self.night > 1 and self.rng.random() < 0.15:
                self.blank.add((source, human))
            self._at(self.rng.randint(0, spread), human, partial(self.here.add, (source, human)))

    def _go(self, human: str, *, spread: int = 0) -> None:
        self.by_dates.discard(human)
        for source in self._present(human):
            self._at(self.rng.randint(0, spread), human, partial(self._gone, source, human))

    def _gone(self, source: str, human: str) -> None:
        self.here.discard((source, human))
        self.blank.discard((source, human))
        self.behind.pop((source, human), None)

    def _changes(self, human: str, **fields: Any) -> None:
        """New values, in all sources at once or in one of them later."""
        old = self.faces[human]
        self.faces[human] = replace(old, **fields)
        present = self._present(human)
        if present and self.rng.random() < 0.5:
            late = self.rng.choice(present)
            self.behind[late, human] = old
            self._at(self.rng.choice([1, 1, 2]), human, partial(self._catches_up, late, human))

    def _catches_up(self, source: str, human: str) -> None:
        self.behind.pop((source, human), None)


def joins(world: Churn) -> bool:
    world._arrive(world.new_human(), spread=world.rng.choice([0, 0, 2]))
    return True


def leaves(world: Churn) -> bool:
    human = world._some(lambda who: world.faces[who].role == "student")
    if human is None:
        return False
    world._go(human, spread=world.rng.choice([0, 0, 1, 2]))
    return True


def leaves_by_dates(world: Churn) -> bool:
    """The row stays, the enrolment is over."""
    human = world._some(
        lambda who: world.faces[who].role == "student" and ("sis", who) in world.here and world._settled(who)
    )
    if human is None:
        return False
    world.by_dates.add(human)
    return True


def enrols_again(world: Churn) -> bool:
    if not world.by_dates:
        return False
    world.by_dates.discard(world.rng.choice(sorted(world.by_dates)))
    return True


def returns(world: Churn) -> bool:
    human = world._left()
    if human is None:
        return False
    if human in world.given_away:  # the address is somebody else's by now
        world.faces[human] = replace(world.faces[human], email=f"{human}.{world.count}@north.example")
        world.given_away.discard(human)
    if world.rng.random() < 0.15:
        world.faces[human] = replace(world.faces[human], family=f"{world.rng.choice(FAMILY)}-{human}")
    world._arrive(human, spread=world.rng.choice([0, 0, 1]), again=world.rng.random() < 0.6)
    return True


def marries(world: Churn) -> bool:
    human = world._some()
    if human is None:
        return False
    fields = {"family": f"{world.rng.choice(FAMILY)}-{world.night}"}
    if world.rng.random() < 0.4:
        fields["email"] = f"{human}.{world.night}@north.example"
    world._changes(human, **fields)
    return True


def changes_school(world: Churn) -> bool:
    human = world._some(lambda who: world.faces[who].role == "student")
    if human is None:
        return False
    world._changes(human, school=world.rng.choice(SCHOOLS))
    return True


def swap_addresses(world: Churn) -> bool:
    """Two people get each other's address; a source may be late with both."""
    one = world._some(world._settled)
    other = world._some(lambda who: who != one and world._settled(who))
    if one is None or other is None:
        return False
    faces = world.faces[one], world.faces[other]
    late = world.rng.choice([None, None, *SOURCES])
    for human, old, new in ((one, faces[0], faces[1]), (other, faces[1], faces[0])):
        world.faces[human] = replace(old, email=new.email)
        if late and (late, human) in world.here:
            world.behind[late, human] = old
            world._at(1, human, partial(world._catches_up, late, human))
    return True


def takes_over_an_address(world: Churn) -> bool:
    """A newcomer, sometimes of the same family, gets the address of somebody who has left, or leaves now."""
    old = world._left(lambda who: who not in world.given_away)
    if old is None or world.rng.random() < 0.4:
        old = world._some(lambda who: world.faces[who].role == "student" and who not in world.by_dates)
        if old is None:
            return False
        world._go(old)
    new = world.new_human()
    face, was = world.faces[new], world.faces[old]
    if world.rng.random() < 0.4:
        face = replace(face, family=was.family)
    if face.given == was.given:
        face = replace(face, given=world.rng.choice([name for name in GIVEN if name != was.given]))
    world.faces[new] = replace(face, email=was.email)
    world.given_away.add(old)
    world._arrive(new, spread=world.rng.choice([0, 1]))
    return True


def loses_the_address(world: Churn) -> bool:
    human = world._some(lambda who: bool(world._present(who)))
    if human is None:
        return False
    world.blank.add((world.rng.choice(world._present(human)), human))
    return True


def regains_the_address(world: Churn) -> bool:
    if not world.blank:
        return False
    world.blank.discard(world.rng.choice(sorted(world.blank)))
    return True


def id_is_used_again(world: Churn) -> bool:
    """A newcomer gets the sourcedId of somebody who has left, or leaves on this night."""
    source = world.rng.choice(["sis", "cl"])
    old = world._left(lambda who: (source, who) in world.ids)
    if old is None or world.rng.random() < 0.5:
        old = world._some(lambda who: (source, who) in world.here and world._settled(who))
        if old is None or world.faces[old].role != "student":
            return False
        world._go(old)
    new = world.new_human()
    was = world.faces[old]
    world.faces[new] = replace(
        world.faces[new],
        given=world.rng.choice([name for name in GIVEN if name != was.given]),
        family=f"{world.rng.choice(FAMILY)}-{new}",
    )
    world._arrive(new, spread=0)
    world.ids[source, new] = world.ids.pop((source, old))
    world.here.add((source, new))
    world.blank.discard((source, new))  # with one thing unknown, the page takes them for the earlier one
    return True


def gets_a_new_id(world: Churn) -> bool:
    human = world._some()
    if human is None:
        return False
    world.new_id(world.rng.choice(world._present(human)), human)
    return True


def is_found_by_another_source(world: Churn) -> bool:
    human = world._some(lambda who: len(world._present(who)) < len(SOURCES))
    if human is None:
        return False
    source = world.rng.choice([source for source in SOURCES if (source, human) not in world.here])
    if (source, human) not in world.ids:
        world.new_id(source, human)
    world.here.add((source, human))
    return True


def is_lost_by_a_source(world: Churn) -> bool:
    human = world._some(lambda who: len(world._present(who)) > 1)
    if human is None:
        return False
    world._gone(world.rng.choice(world._present(human)), human)
    return True


EVENTS: Final[tuple[Callable[[Churn], bool], ...]] = (
    joins, joins, leaves, leaves, leaves_by_dates, enrols_again, returns, returns, returns, marries,
    changes_school, swap_addresses, swap_addresses, takes_over_an_address, loses_the_address,
    regains_the_address, id_is_used_again, gets_a_new_id, is_found_by_another_source, is_lost_by_a_source,
)  # fmt: skip


# ------------------------------------------------------------------------------------------ the tenant


def rules_of(seed: int) -> list[Rules]:
    """The options of a seed's tenant: whether `tp` creates anybody, and whether e-mail alone is enough."""
    return [
        Rules("logins", names_matter=True, directory=True),
        Rules("sis", names_matter=seed % 4 == 3),
        Rules("cl", without_domain=True),
        Rules("tp", attach_only=seed % 2 == 1),
    ]


def tenant_of(rules: list[Rules]) -> Story:
    """A tenant of the three providers and the directory, without people."""
    made = []
    for priority, one in zip((100, 50, 10), rules[1:], strict=True):
        merge = {
            "priority": priority,
            "key": "email_without_domain" if one.without_domain else "email",
            "attach_to_existing_users_only": one.attach_only,
            "check_names": one.names_matter,
        }
        provider = Provider(one.source, {"merge": merge, "sync_classroom_data": one.source == "sis"})
        for school in SCHOOLS:
            provider.org(school)
        provider.session("year", "2025-08-18..2027-06-12", kind="schoolYear").course("maths")
        if one.source == "sis":
            provider.option(respect_enrolment_date=True)
            for school in SCHOOLS:
                provider.teaches(f"class-{school}", school=school)
        made.append(provider)
    return story(*made, directories=[Directory("logins", {})])
