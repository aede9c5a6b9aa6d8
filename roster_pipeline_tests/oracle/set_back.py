"""Undo: the published roster as it was before a sync, and the schools that wait afterwards (issue 4).

"The next sync does not undo the undo: the schools concerned are held until an approval or until their
source changes."
"""

from __future__ import annotations

import copy
import datetime as dt
from dataclasses import replace
from typing import Any

from roster_pipeline.tenants.document import Tenant
from roster_pipeline_tests.oracle import tonight as rules
from roster_pipeline_tests.oracle.register import Person, Roster, Undone
from roster_pipeline_tests.oracle.tonight import Feed, School, Silent, Tonight, User

NEEDED = ("orgs", "academicSessions", "classes", "users", "enrollments")
_GONE = Person("removed")


def set_back(now: Roster, then: Roster) -> tuple[Roster, set[School]]:
    """The roster as it was `then`, and the schools at which something differs from `now`.

    What syncs remember besides what is published (who was ever enrolled, what was ever complete, which org
    is which school, what waits) stays as it is. Whoever came since is removed, and no id is forgotten.
    """
    out = copy.deepcopy(now)
    known = copy.deepcopy(then)
    for number, person in now.people.items():
        before = known.people.get(number, _GONE)
        if (before.state == "candidate") != (person.state == "candidate"):
            raise Silent  # what becomes of somebody who was only in a directory
        out.people[number] = before if before is not _GONE else replace(person, state="removed", since=None)
    for name in ("live", "classes", "memberships", "guardian_links", "schools", "named"):
        setattr(out, name, getattr(known, name))
    for name in ("links", "rows", "roles", "said", "ever_said"):
        setattr(out, name, {**getattr(out, name), **getattr(known, name)})
    if any(class_ and class_ not in out.classes for _, _, class_ in out.holds):
        raise Silent  # under which id the members of a class wait that had another one then
    return out, concerned(now, out)


def concerned(one: Roster, other: Roster) -> set[School]:
    """The schools to which what differs belongs: a class and its members to the class's, a person and their
    users to theirs, a guardian link to its student's.

    Users alone only of those who are active: as "the same sync run twice changes nothing the second time"
    (architecture.md, invariant 5), nothing that is published of somebody inactive changes by the nights that
    they go on to be so, while `live` is the oracle's memory of whose rows it used last.
    """
    out = {
        school
        for school in one.named.keys() | other.named.keys()
        if one.named.get(school) != other.named.get(school)
    }
    for class_ in one.classes.keys() | other.classes.keys():
        pair = one.classes.get(class_), other.classes.get(class_)
        out |= {known.school for known in pair if known} if pair[0] != pair[1] else set()
    for membership in one.memberships.keys() | other.memberships.keys():
        if one.memberships.get(membership) != other.memberships.get(membership):
            known = one.classes.get(membership[0]) or other.classes[membership[0]]
            out.add(known.school)
    changed = {
        number for number in one.people if _published(one.people[number]) != _published(other.people[number])
    }
    for number in changed:
        held = [_roles(roster.people[number]) for roster in (one, other)]
        values = [{**_published(roster.people[number]), "roles": ""} for roster in (one, other)]
        only_roles = values[0] == values[1]
        out |= _schools(held[0] ^ held[1] if only_roles else held[0] | held[1])
    for student, _ in one.guardian_links ^ other.guardian_links:
        out |= _schools(_roles(one.people[student]) | _roles(other.people[student]))
    for user in one.live ^ other.live:
        number = other.links.get(user, one.links.get(user, -1))
        people = one.people[number], other.people[number]
        if any(person.state == "active" for person in people):
            out |= _schools(_roles(people[0]) | _roles(people[1]))
    return out


def _published(person: Person) -> dict[str, Any]:
    there = person.state in ("active", "inactive")
    return (
        {"state": person.state, "since": person.since, **person.fields} | {"roles": person.roles}
        if there
        else {}
    )


def _roles(person: Person) -> set[tuple[str, School | None]]:
    return set(person.roles) if person.state in ("active", "inactive") else set()


def _schools(roles: set[tuple[str, School | None]]) -> set[School]:
    if any(school is None for _, school in roles):
        raise Silent  # people of no school
    return {school for _, school in roles if school}


# ------------------------------------------------------------------------------------------ what waits


def rows_of(tonight: Tonight, known: dict[User, School], school: School) -> frozenset[str] | None:
    """All rows of a school in the sources, whatever their age; None unless all that bring it are complete."""
    out = set()
    for here in tonight.feeds:
        orgs = {org for (name, org), one in known.items() if (name, one) == (here.name, school)}
        if not orgs:
            continue
        if any(here.feed.states[name] != "ok" for name in NEEDED):
            return None
        classes = {name for name, row in here.rows["classes"].items() if row["school"] in orgs}
        enrolments = [
            row
            for row in here.rows["enrollments"].values()
            if row["class"] in classes or (row["class"] not in here.rows["classes"] and row["school"] in orgs)
        ]
        users = {row["user"] for row in enrolments}
        users |= {
            name for name, row in here.rows["users"].items() if {org for _, org, *_ in row["roles"]} & orgs
        }
        sessions: set[str] = set()
        for name in classes:
            waiting = list(here.rows["classes"][name]["terms"])
            while waiting:
                session = waiting.pop()
                sessions.add(session)
                parent = here.rows["academicSessions"].get(session, {}).get("parent")
                waiting += [parent] if parent else []
        mine = [
            *(here.rows["orgs"][org] for org in orgs if org in here.rows["orgs"]),
            *(here.rows["classes"][name] for name in classes),
            *enrolments,
            *(here.rows["users"][name] for name in users if name in here.rows["users"]),
            *(here.rows["academicSessions"][n] for n in sessions if n in here.rows["academicSessions"]),
        ]
        out |= {
            f"{here.name} {sorted((key, str(value)) for key, value in row.items())}"
            for row in [{**row, "dateLastModified": ""} for row in mine]
        }
    return frozenset(out)


def undo(
    now: Roster, then: Roster, tenant: Tenant, feeds: list[Feed], as_of: dt.date
) -> tuple[Roster, set[School]]:
    """The roster after an undo, with what waits; `feeds` are those of the last sync."""
    out, schools = set_back(now, then)
    tonight = Tonight(tenant, as_of, [rules.read(feed) for feed in feeds])
    for school in schools:
        out.undone[school] = Undone(rows_of(tonight, out.school_of, school))
    return out, schools


def waiting(tonight: Tonight, before: Roster, rows: dict[School, frozenset[str] | None]) -> set[School]:
    """The schools that were set back and wait tonight: "until an approval or until their source changes"."""
    return {
        school
        for school, one in before.undone.items()
        if not one.is_approved(tonight.as_of)
        and not (one.rows is not None and rows[school] is not None and rows[school] != one.rows)
    }
