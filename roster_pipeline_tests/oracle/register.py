"""What is published and remembered, and what a night tells."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Final

from roster_pipeline.tenants.document import Safeguards
from roster_pipeline_tests.oracle.matching import Decided
from roster_pipeline_tests.oracle.tonight import Row, School, Tonight, User

FIELDS: Final = {
    "given_name": "givenName", "family_name": "familyName", "email": "email", "identifier": "identifier",
    "phone": "phone", "username": "username", "grades": "grades",
}  # fmt: skip
Membership = tuple[User, int, str]  # class, person, role


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


@dataclass
class Roster:
    """What is published, and what the next night has to know."""

    people: dict[int, Person] = field(default_factory=dict)
    links: dict[User, int] = field(default_factory=dict)  # removed ones too
    live: set[User] = field(default_factory=set)
    rows: dict[User, Row] = field(default_factory=dict)  # as last used
    roles: dict[User, set[tuple[str, School | None]]] = field(default_factory=dict)
    schools: dict[School, dt.date] = field(default_factory=dict)  # the day of the last good roster
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
