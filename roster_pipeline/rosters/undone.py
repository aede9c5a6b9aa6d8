"""Schools that an undo set back: they wait until somebody approves, or until their source changes.

The next sync does not undo the undo. What an undo changes is in `undoing`; here is how a school's rows in
the sources are told from other ones, and which schools wait tonight.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

import pandas as pd

from roster_pipeline.codes import Issue
from roster_pipeline.oneroster.collections import COLUMNS
from roster_pipeline.rosters import rows
from roster_pipeline.rosters.holds import REJECTED, Memory, Place
from roster_pipeline.rosters.source import REQUIRED, Published, Source, Tonight

CODE: Final = "RS-SAFE-20"
KIND: Final = "schools"
"""The kind of row of such a hold's place; its school_id is "" for those of no school."""

_NEEDED: Final = (*REQUIRED, "academicSessions")


def place_of(school_id: str) -> Place:
    """Where a school waits that was set back."""
    return KIND, school_id, ""


def waiting(sources: Sequence[Source], published: Published, tonight: Tonight) -> dict[str, Issue]:
    """school_id ("" for those of no school) → why it waits tonight.

    A school follows its source again once that is approved, or once an extract that is proven complete
    has other rows of it than those that the undo took back.
    """
    memory = Memory(published.holds, tonight.as_of)
    held = {school for kind, school, _ in memory.places if kind == KIND}
    found = fingerprints(sources, published, held) if held else {}
    names = _names(sources, published) if held else {}
    out = {}
    for school in sorted(held):
        known = memory.at(place_of(school))
        changed = known.fingerprint and found[school] and found[school] != known.fingerprint
        if changed or memory.is_approved(place_of(school)):
            continue
        until = (
            "It stays so until its source changes, as was decided."
            if known.state == REJECTED
            else "It waits for an approval, or for its source to change."
        )
        message = f"{known.why} {until}".strip()
        out[school] = Issue(
            CODE, message, school=names.get(school), count=known.total, school_id=school or None
        )
    return out


def _names(sources: Sequence[Source], published: Published) -> dict[str, str]:
    """school_id → its name as published; a source's, of a school that the undo has removed."""
    school_of = published.schools_by_org()
    told = {
        school_of[source.provider_id, org]: name
        for source in sources
        for org, name in rows.keys(source.frames["orgs"], "sourcedId", "name")
        if (source.provider_id, org) in school_of
    }
    return told | dict(rows.keys(published.schools, "school_id", "name"))


def schools_in(issues: Iterable[Issue]) -> set[str]:
    """The schools that wait, by what was told of them."""
    return {issue.school_id or "" for issue in issues if issue.code == CODE}


def fingerprints(sources: Sequence[Source], published: Published, wanted: Collection[str]) -> dict[str, str]:
    """school_id → the same text for the same rows in the sources, whatever their order and age.

    "" where not every provider of the school was read completely: nobody knows all of its rows.
    """
    orgs = published.schools_by_org()
    lines: dict[str, list[str]] = {school: [] for school in wanted}
    unknown: set[str] = set()
    for source in sources:
        schools = {org: school for (who, org), school in orgs.items() if who == source.provider_id}
        mine = {*schools.values(), ""}
        if not source.proven(*_NEEDED):
            unknown |= mine
        elif not mine.isdisjoint(wanted):
            for school, line in _lines(source, schools):
                if school in lines:
                    lines[school].append(line)
    return {
        school: "" if school in unknown else hashlib.sha256("\x1e".join(sorted(told)).encode()).hexdigest()
        for school, told in lines.items()
    }


def _lines(source: Source, schools: dict[str, str]) -> Iterator[tuple[str, str]]:
    """(school_id, a row as a line), for each school that a row belongs to."""
    usable = {name: frame[rows.reasons(frame) == ""] for name in _NEEDED for frame in [source.frames[name]]}
    orgs, classes, users, enrolments, sessions = (
        usable[name] for name in ("orgs", "classes", "users", "enrollments", "academicSessions")
    )
    of_class = {
        class_: school
        for class_, org in rows.keys(classes, "sourcedId", "school")
        if (school := schools.get(org))
    }
    of_user: dict[str, set[str]] = defaultdict(set)
    for user, text in rows.keys(users, "sourcedId", "roles"):
        of_user[user].update(schools.get(org, "") for _, org, *_ in rows.parse_list(text))
    enrolled = []
    for user, class_, org in rows.keys(enrolments, "user", "class", "school"):
        school = of_class.get(class_) or schools.get(org, "")
        enrolled.append({school})
        of_user[user].add(school)
    of_session: dict[str, set[str]] = defaultdict(set)
    parents = dict(rows.keys(sessions, "sourcedId", "parent"))
    for class_, text in rows.keys(classes, "sourcedId", "terms"):
        for session in rows.parse_list(text):
            while session and of_class.get(class_, "") not in of_session[session]:
                of_session[session].add(of_class.get(class_, ""))
                session = parents.get(session, "")
    nobody = {""}
    for name, frame, of_row in (
        ("orgs", orgs, [{schools[org]} if org in schools else set() for org in orgs["sourcedId"].tolist()]),
        ("classes", classes, [{of_class.get(one, "")} for one in classes["sourcedId"].tolist()]),
        ("enrollments", enrolments, enrolled),
        ("users", users, [(of_user[one] - nobody) or nobody for one in users["sourcedId"].tolist()]),
        ("academicSessions", sessions, [of_session[one] or nobody for one in sessions["sourcedId"].tolist()]),
    ):
        for where, line in zip(of_row, _told(source, name, frame), strict=True):
            for school in where:
                yield school, line


def _told(source: Source, name: str, frame: pd.DataFrame) -> Iterator[str]:
    columns = [column for column in COLUMNS[name] if column != "dateLastModified"]
    head = f"{source.provider_id}\x1f{name}\x1f"
    return (head + "\x1f".join(values) for values in rows.keys(frame, *columns))
