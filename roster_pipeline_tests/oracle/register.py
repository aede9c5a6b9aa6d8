"""What is published and remembered, and what a night tells."""

from __future__ import annotations

import datetime as dt
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from roster_pipeline.tenants.document import Safeguards
from roster_pipeline_tests.oracle.matching import Decided
from roster_pipeline_tests.oracle.tonight import Here, Row, School, Tonight, User

FIELDS: Final = {
    "given_name": "givenName", "family_name": "familyName", "email": "email", "identifier": "identifier",
    "phone": "phone", "username": "username", "grades": "grades",
}  # fmt: skip
APPROVED_FOR: Final = dt.timedelta(days=3)
Membership = tuple[User, int, str]  # class, person, role
Place = tuple[str, School | None, User | None]  # kind of row, school, class (of a class's members alone)


@dataclass
class Person:
    """Somebody; `state` is candidate (only in a directory), active, inactive, removed or merged."""

    state: str = "candidate"
    since: dt.date | None = None
    fields: dict[str, object] = field(default_factory=dict)
    roles: set[tuple[str, School | None]] = field(default_factory=set)


@dataclass
class Class:
    """A published class."""

    school: School
    start: dt.date | None
    end: dt.date | None
    title: str = ""
    code: str = ""


def called(here: Here, row: Row) -> tuple[str, str]:
    """Title and code of a class; one without a title is called as its course is."""
    course = here.rows["courses"].get(row["course"], {})
    return row.get("title") or course.get("title", ""), row.get("classCode", "")


@dataclass(frozen=True)
class Hold:
    """What waits at a place (docs/holds.md): exactly these rows, and of how many when they began to."""

    rows: frozenset[Hashable]
    total: int
    state: str = "waiting"  # or approved, rejected
    until: dt.date | None = None  # of an approval: the last day on which it counts

    def lets_go(self, rows: Iterable[Hashable], as_of: dt.date) -> bool:
        """ "An approval lets exactly these rows go ... of the same day or the three days after it"."""
        return self.state == "approved" and self.rows == frozenset(rows) and (self.until or as_of) >= as_of

    def renamed(self, names: Mapping[User, User]) -> Hold:
        """The same where classes have other ids."""
        rows = {names.get(row, row) for row in self.rows}  # type: ignore[call-overload]
        rows = {
            (names.get(row[0], row[0]), *row[1:]) if isinstance(row, tuple) and len(row) == 3 else row
            for row in rows
        }
        return replace(self, rows=frozenset(rows))


@dataclass(frozen=True)
class Undone:
    """A school that an undo set back: its rows in the sources then, None where they were not known."""

    rows: frozenset[str] | None
    state: str = "waiting"
    until: dt.date | None = None

    def is_approved(self, as_of: dt.date) -> bool:
        """Whether the school may follow its source again."""
        return self.state == "approved" and (self.until or as_of) >= as_of


@dataclass
class Roster:
    """What is published, and what the next night has to know."""

    people: dict[int, Person] = field(default_factory=dict)
    links: dict[User, int] = field(default_factory=dict)  # removed ones too
    live: set[User] = field(default_factory=set)
    rows: dict[User, Row] = field(default_factory=dict)  # as last used
    roles: dict[User, set[tuple[str, School | None]]] = field(default_factory=dict)
    schools: dict[School, dt.date] = field(default_factory=dict)  # the day of the last good roster
    named: dict[School, tuple[User, str]] = field(
        default_factory=dict
    )  # by which org, and how, it is published
    unsure: set[int] = field(default_factory=set)  # see `Told`, until they are there again
    again: set[School] = field(default_factory=set)  # excluded, and not replaced since they are included
    school_of: dict[User, School] = field(default_factory=dict)
    orgs: dict[User, Row] = field(default_factory=dict)  # as last read, of all in `school_of`
    classes: dict[User, Class] = field(default_factory=dict)
    memberships: dict[Membership, tuple[str, str, str]] = field(default_factory=dict)  # dates, is primary
    guardian_links: set[tuple[int, int]] = field(default_factory=set)
    said: dict[tuple[int, int], set[str]] = field(default_factory=dict)  # link → who said it last
    ever_said: dict[tuple[int, int], set[str]] = field(default_factory=dict)
    enrolled: set[User] = field(default_factory=set)
    left: set[User] = field(default_factory=set)  # users of whom it was last said that they have left
    complete: set[str] = field(default_factory=set)
    holds: dict[Place, Hold] = field(default_factory=dict)
    undone: dict[School, Undone] = field(default_factory=dict)

    def decide(self, state: str, day: dt.date, school: School | None = None) -> None:
        """Approves or rejects everything that waits, or what waits at a school."""
        until = day + APPROVED_FOR if state == "approved" else None
        for place, hold in self.holds.items():
            if school in (None, place[1]):
                self.holds[place] = replace(hold, state=state, until=until)
        for where, undone in self.undone.items():
            if school in (None, where):
                self.undone[where] = replace(undone, state=state, until=until)

    def belongs(self, number: int) -> set[School]:
        """ "A person [belongs] to the schools of their orgs and enrolments."""
        roles = {school for _, school in self.people[number].roles if school}
        return roles | {self.classes[c].school for c, person, _ in self.memberships if person == number}

    def away(self) -> set[User]:
        """Users who have left, and with whom nobody is published: whose removal waits is there still."""
        return {
            user
            for user in self.left
            if user not in self.live or self.people[self.links[user]].state != "active"
        }

    def grades(self) -> dict[School, dict[str, int]]:
        """Active students by school and grade."""
        out: dict[School, dict[str, int]] = {}
        for number, person in self.people.items():
            if person.state != "active" or not any(role == "student" for role, _ in person.roles):
                continue
            for school in self.belongs(number):
                for grade in person.fields.get("grades") or []:  # type: ignore[attr-defined]
                    of_school = out.setdefault(school, {})
                    of_school[grade] = of_school.get(grade, 0) + 1
        return out


@dataclass
class Told:
    """One night of the oracle."""

    status: str
    roster: Roster
    tonight: Tonight
    decided: Decided
    outcomes: dict[User, str]
    unsure: set[int] = field(default_factory=set)  # whether active or inactive, the page does not say
    reasons: set[str] = field(default_factory=set)
    directories: set[str] = field(default_factory=set)


def waits(n: int, total: int, limits: Safeguards) -> bool:
    """ "At least max(5, min(25, half of the school's rows of that kind)) and at least 20 % of them or 500;
    and always when they would take all of a school's rows of a kind." """
    if n == 0:
        return False
    many = n >= max(limits.small, min(limits.rows, total / 2))
    return n >= total or (many and (n >= limits.share * total or n >= limits.many))
