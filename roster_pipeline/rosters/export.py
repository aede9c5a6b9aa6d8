"""A published roster as the rows of a OneRoster 1.2 bulk package. Pure; no pandas, no database.

Ids are the published ones. Dates are as the source gave them: the specification reads an end date as
exclusive, our sources and this package mostly mean the last day itself; read back with the same
`end_dates`, the package gives the same roster.

What the specification demands and a roster may lack is filled in, so that a strict reader takes the
package, and so that our own reader can take it out again (`NOTHING`, a username equal to the id):

- A course for each title and code of a school's classes; a term for a class without a session.
- The tenant as a district: the org of those who are of no school.
- Roles that 1.2 does not admit are written `ext:<role>`, as in `ext:aide` of an enrolment.
- As many subjects as subject codes: the shorter list is filled up.
- The dates of a session that lacks one: those of its school year, August to July.

Left out, and counted, is what refers to nothing that is published. Inactive people are left out: who
is not in a bulk package is gone, and who is in it is not.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from roster_pipeline.oneroster import vocabulary
from roster_pipeline.oneroster.csv.writing import NOTHING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    Row = Mapping[str, Any]

_NAMESPACE: Final = uuid.UUID("0d6f8a0e-2f5e-5b53-9a39-5f1f6d0d7c52")
_SOURCED_ID: Final = re.compile(r"[0-9A-Za-z./@_-]{1,255}")
_NOT_IN_TOKEN: Final = re.compile(r"[^A-Za-z0-9.\-_]+")
_YEARS: Final = re.compile(r"(\d{4})(?:\s*[-–/]\s*(\d{4}|\d{2})\b)?")

_ROLES: Final = {
    name: name for name in vocabulary.KNOWN_ROLES if "_" not in name
} | {
    "site_administrator": "siteAdministrator",
    "district_administrator": "districtAdministrator",
    "system_administrator": "systemAdministrator",
}  # fmt: skip
_ENROLMENT_ROLES: Final = {
    "student": "student",
    "teacher": "teacher",
    "proctor": "proctor",
    "site_administrator": "administrator",
}
_SESSION_KINDS: Final = {
    "term": "term",
    "semester": "semester",
    "schoolyear": "schoolYear",
    "gradingperiod": "gradingPeriod",
}
_CLASS_KINDS: Final = {"homeroom": "homeroom", "scheduled": "scheduled"}

_BULK: Final = ("", "")
"""`status` and `dateLastModified`: blank in bulk files."""


@dataclass(slots=True)
class Bulk:
    """The rows of a package, in the columns of `oneroster.csv.writing.PUBLISHED`.

    Made of the tables that are small; people and memberships are passed through one by one.

    Args:
        tenant: The district's name.
        schools, sessions, classes: Rows of `current_schools`, `current_academic_sessions` and
            `current_classes`.
        people: The ids of the active people.
        guardian_links: Rows of `current_guardian_links`.
    """

    tenant: str
    schools: Sequence[Row]
    sessions: Sequence[Row]
    classes: Iterable[Row]
    people: set[str]
    guardian_links: Iterable[Row]
    left_out: Counter[str] = field(default_factory=Counter)
    _school_ids: dict[str, str] = field(default_factory=dict)
    _days: dict[str, str] = field(default_factory=dict)
    _session_rows: dict[str, list[str]] = field(default_factory=dict)
    _course_rows: dict[str, list[str]] = field(default_factory=dict)
    _class_rows: list[list[str]] = field(default_factory=list)
    _school_of_class: dict[str, str] = field(default_factory=dict)
    _agents: dict[str, list[str]] = field(default_factory=dict)
    _relationships: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for school in self.schools:
            day = _day(school["state_as_of"])
            if school["state"] == "published" or day:  # else it never had a roster
                self._school_ids[school["school_id"]] = sourced_id(school["school_id"])
                self._days[school["school_id"]] = day
        spans = {session["session_id"]: _session_span(session) for session in self.sessions}
        for session in self.sessions:
            self._add_session(session, spans)
        for row in self.classes:
            self._add_class(row)
        for link in self.guardian_links:
            self._add_link(link)

    # -------------------------------------------------------------------------------------------- the files

    @property
    def district(self) -> str:
        """The sourcedId of the tenant as an org."""
        return _made(self.tenant, "district")

    def orgs(self) -> Iterator[list[str]]:
        """The district, then its schools."""
        yield [self.district, *_BULK, self.tenant, "district", "", ""]
        for school in self.schools:
            if school["school_id"] in self._school_ids:
                yield [
                    self._school_ids[school["school_id"]], *_BULK, school["name"] or NOTHING, "school",
                    school["identifier"] or "", self.district,
                ]  # fmt: skip

    def academic_sessions(self) -> Iterator[list[str]]:
        """The sessions, and the terms that had to be made for classes without one."""
        return iter(self._session_rows.values())

    def courses(self) -> Iterator[list[str]]:
        """One course for each title and code of a school's classes."""
        return iter(self._course_rows.values())

    def class_rows(self) -> Iterator[list[str]]:
        """The classes of the schools that are written."""
        return iter(self._class_rows)

    def users(self, people: Iterable[Row]) -> Iterator[list[str]]:
        """Active people among the rows of `current_people`."""
        for person in people:
            if person["person_id"] in self.people:
                user = sourced_id(person["person_id"])
                yield [
                    user, *_BULK,
                    "false" if person["enabled"] is not None and not person["enabled"] else "true",
                    person["username"] or user, "",
                    person["given_name"] or NOTHING, person["family_name"] or NOTHING,
                    person["middle_name"] or "", person["identifier"] or "", person["email"] or "",
                    person["sms"] or "", person["phone"] or "",
                    ",".join(self._agents.get(person["person_id"], ())),
                    ",".join(_items(person["grades"])),
                    "", "", person["preferred_given_name"] or "", "", person["preferred_family_name"] or "",
                    "", "",
                ]  # fmt: skip

    def roles(self, people: Iterable[Row]) -> Iterator[list[str]]:
        """Every role of the active people; at each org the first one is the primary role."""
        for person in people:
            if person["person_id"] not in self.people:
                continue
            user = sourced_id(person["person_id"])
            orgs: set[str] = set()
            for role, org in self._roles_of(person):
                kind = "secondary" if org in orgs else "primary"
                orgs.add(org)
                yield [_made(user, role, org), *_BULK, user, kind, role, "", "", org, ""]

    def enrollments(self, memberships: Iterable[Row]) -> Iterator[list[str]]:
        """Rows of `current_memberships`; only teachers may be primary."""
        for row in memberships:
            school = self._school_of_class.get(row["class_id"])
            if school is None or row["person_id"] not in self.people:
                self.left_out["enrollments"] += 1
                continue
            class_, user, name = sourced_id(row["class_id"]), sourced_id(row["person_id"]), row["role"] or ""
            role = _ENROLMENT_ROLES.get(name) or _extension(_ROLES.get(name, name))
            primary = "" if row["is_primary"] is None else "true" if row["is_primary"] else "false"
            if primary == "true" and role != "teacher":
                primary = ""
            yield [
                _made(class_, user, name), *_BULK, class_, school, user, role, primary,
                *_span(row["begin_date"], row["end_date"]),
            ]  # fmt: skip

    # -------------------------------------------------------------------------------------------- the parts

    def _add_session(self, session: Row, spans: dict[str, tuple[str, str] | None]) -> None:
        found = spans[session["session_id"]]
        if found is None:
            self.left_out["academicSessions"] += 1
            return
        start, end = found
        parent = session["parent_id"]
        self._session_rows[session["session_id"]] = [
            sourced_id(session["session_id"]), *_BULK, session["title"] or NOTHING,
            _word(session["kind"], _SESSION_KINDS, "term"), start, end,
            sourced_id(parent) if parent and spans.get(parent) else "",
            _school_year(session["school_year"], end),
        ]  # fmt: skip

    def _add_class(self, row: Row) -> None:
        school = self._school_ids.get(row["school_id"])
        terms = [
            self._session_rows[session][0]
            for session in _strings(row["session_ids"])
            if session in self._session_rows
        ]
        if school is not None and not terms:
            terms = self._make_term(row)
        if school is None or not terms:
            self.left_out["classes"] += 1
            return
        self._school_of_class[row["class_id"]] = school
        subjects, codes = _pairs(_items(row["subjects"]), _items(row["subject_codes"]))
        self._class_rows.append([
            sourced_id(row["class_id"]), *_BULK, row["title"] or NOTHING, ",".join(_items(row["grades"])),
            self._course(school, row["course_title"] or "", row["course_code"] or ""),
            row["class_code"] or "", _word(row["class_kind"], _CLASS_KINDS, "scheduled"),
            row["location"] or "", school, ",".join(dict.fromkeys(terms)),
            ",".join(subjects), ",".join(codes), ",".join(_items(row["periods"])),
        ])  # fmt: skip

    def _make_term(self, row: Row) -> list[str]:
        """A term for a class without a session: its own dates, else the school year of its last roster."""
        start, end = _day(row["start_date"]), _day(row["end_date"])
        if not (start and end and start <= end):
            day = start or end or self._days.get(row["school_id"], "")
            if not day:
                return []
            start, end = _around(day)
        key = _made(self.tenant, "term", start, end)
        self._session_rows.setdefault(
            key, [key, *_BULK, f"{start} – {end}", "term", start, end, "", _school_year("", end)]
        )
        return [key]

    def _course(self, school: str, title: str, code: str) -> str:
        key = _made(self.tenant, "course", school, title, code)
        self._course_rows.setdefault(key, [key, *_BULK, "", title or NOTHING, code, "", school, "", ""])
        return key

    def _add_link(self, link: Row) -> None:
        student, guardian = link["student_id"], link["guardian_id"]
        if student not in self.people or guardian not in self.people:
            self.left_out["agents"] += 1
            return
        self._agents.setdefault(student, []).append(sourced_id(guardian))
        self._relationships.setdefault(guardian, vocabulary.family(link["relationship"] or "") or "guardian")

    def _roles_of(self, person: Row) -> list[tuple[str, str]]:
        """(role, org) of a person, at least one: the specification knows nobody without a role."""
        entries = json.loads(person["roles"]) if person["roles"] else []
        found = [
            (entry["role"] or "", self._school_ids.get(entry["school_id"] or "", self.district))
            for entry in entries
        ]
        relationship = self._relationships.get(person["person_id"])
        if relationship and not any(vocabulary.is_family(name) for name, _ in found):
            found.append((relationship, self.district))
        if not found:
            found = [("", self.district)]
        return list(dict.fromkeys((_ROLES.get(name) or _extension(name), org) for name, org in found))


# ------------------------------------------------------------------------------------------------- values


def sourced_id(identifier: str) -> str:
    """The published id where the specification admits it, else one made of it."""
    return identifier if _SOURCED_ID.fullmatch(identifier) else _made(identifier)


def _made(*parts: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, "\x1f".join(parts)))


def _strings(value: str | None) -> list[str]:
    return [str(item) for item in json.loads(value)] if value else []


def _items(value: str | None) -> list[str]:
    # The binding cannot write a comma inside an item.
    return [item.replace(",", ";") for item in _strings(value) if item]


def _pairs(subjects: list[str], codes: list[str]) -> tuple[list[str], list[str]]:
    count = max(len(subjects), len(codes))
    return (
        subjects + [NOTHING] * (count - len(subjects)),
        codes + [NOTHING] * (count - len(codes)),
    )


def _extension(name: str) -> str:
    return "ext:" + (_NOT_IN_TOKEN.sub("_", name.removeprefix("ext:")).strip("_") or "unknown")


def _word(value: str | None, known: dict[str, str], default: str) -> str:
    if not value:
        return default
    return known.get(value.lower()) or _extension(value)


def _day(value: Any) -> str:
    """A DATE, which SQLite gives as text and Postgres as a date."""
    return "" if value is None else vocabulary.date(str(value))


def _span(begin: Any, end: Any) -> tuple[str, str]:
    first, last = _day(begin), _day(end)
    return ("", "") if first and last and first > last else (first, last)


def _session_span(session: Row) -> tuple[str, str] | None:
    """Both dates; missing ones are those of the school year. None if nothing is known of either."""
    start, end = _span(session["start_date"], session["end_date"])
    if start and end:
        return start, end
    if start or end:
        first, last = _around(start or end)
        return start or first, end or last
    year = _year(session["school_year"])
    return (f"{int(year) - 1}-08-01", f"{year}-07-31") if year else None


def _around(day: str) -> tuple[str, str]:
    """The school year, August to July, that a day lies in."""
    found = dt.date.fromisoformat(day)
    year = found.year + (found.month >= 8)
    return f"{year - 1:04}-08-01", f"{year:04}-07-31"


def _year(text: str | None) -> str:
    """The year in which a school year ends, of `2027`, `2026-2027` or `2026-27`; "" of anything else."""
    found = _YEARS.search(text or "")
    if found is None:
        return ""
    first, second = found.groups()
    return (first[: 4 - len(second)] + second) if second else first


def _school_year(text: str | None, end: str) -> str:
    return _year(text) or _around(end)[1][:4]
