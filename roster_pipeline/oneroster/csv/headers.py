"""The header of each file: its columns by version, which must be there, and what is wrong with others.

The names that a package is written with are in `writing`; what stands below them is in `reading`.
"""

from __future__ import annotations

from typing import Final

from roster_pipeline.codes import CodedError
from roster_pipeline.oneroster.collections import COLUMNS

_NAMES: Final[dict[str, dict[str, str]]] = {
    "orgs": {"parent": "parentSourcedId"},
    "academicSessions": {"parent": "parentSourcedId"},
    "courses": {"schoolYear": "schoolYearSourcedId", "org": "orgSourcedId"},
    "classes": {"course": "courseSourcedId", "school": "schoolSourcedId", "terms": "termSourcedIds"},
    "users": {
        "agents": "agentSourcedIds",
        "preferredFirstName": "preferredGivenName",
        "preferredLastName": "preferredFamilyName",
    },
    "enrollments": {"user": "userSourcedId", "class": "classSourcedId", "school": "schoolSourcedId"},
}
"""Where a file's name of a column is not the canonical one."""

ROLE_FILE: Final = ("sourcedId", "status", "userSourcedId", "role", "beginDate", "endDate", "orgSourcedId")

REQUIRED: Final[dict[str, tuple[str, ...]]] = {
    "orgs": ("sourcedId", "name", "type"),
    "academicSessions": ("sourcedId", "title", "type", "startDate", "endDate", "schoolYear"),
    "courses": ("sourcedId", "title", "orgSourcedId"),
    "classes": ("sourcedId", "title", "courseSourcedId", "classType", "schoolSourcedId", "termSourcedIds"),
    "users": (
        "sourcedId", "enabledUser", "orgSourcedIds", "role", "username", "givenName", "familyName",
        "email", "agentSourcedIds",
    ),
    "enrollments": (
        "sourcedId", "classSourcedId", "schoolSourcedId", "userSourcedId", "role", "beginDate", "endDate",
    ),
    "roles": ("sourcedId", "userSourcedId", "role", "beginDate", "endDate", "orgSourcedId"),
}  # fmt: skip
"""Columns without which a file is refused: those whose values the specification requires, and those
whose absence would read as an answer (no e-mail, no guardians, no dates). Other columns may be missing."""

ONLY_1_1: Final = ("orgSourcedIds", "role")
"""Columns of users.csv that 1.2 moved to roles.csv."""

_ONLY_1_0: Final[dict[str, dict[str, str]]] = {
    "courses": {"grade": "grades", "schoolYearId": "schoolYearSourcedId"},
    "classes": {"grade": "grades"},
    "users": {"userId": "userIds", "agents": "agentSourcedIds"},
}
"""Columns by which an export of OneRoster 1.0 is known, with today's name of each."""

_OLDER: Final[dict[str, dict[str, str]]] = {
    "classes": {"termSourcedIds": "termSourcedId", "subjectCodes": "SubjectCodes"},
    "courses": {"subjectCodes": "SubjectCodes"},
}
"""Spellings of the first 1.1 exports."""


def wire(collection: str, column: str) -> str:
    """The file's name of a canonical column."""
    return _NAMES.get(collection, {}).get(column, column)


def kept(collection: str) -> tuple[str, ...]:
    """The columns of a file that are read, by the file's names."""
    if collection == "roles":
        return ROLE_FILE
    names = tuple(wire(collection, column) for column in COLUMNS[collection])
    return tuple(name for name in names if name != "roles") + (ONLY_1_1 if collection == "users" else ())


def spellings(collection: str, header: tuple[str, ...]) -> dict[str, str]:
    """The file's own name of each column that is read and that it has."""
    older = _OLDER.get(collection, {})
    found = {}
    for name in kept(collection):
        if name in header:
            found[name] = name
        elif older.get(name) in header:
            found[name] = older[name]
    return found


def older_columns(collection: str, header: tuple[str, ...]) -> str:
    """By which columns a file is known as one of OneRoster 1.0, as half a sentence; "" if it is none."""
    told = [
        f"{name} in place of {today}"
        for name, today in _ONLY_1_0.get(collection, {}).items()
        if name in header and today not in header
    ]
    return f"{collection}.csv has {' and '.join(told)}" if told else ""


def check_header(collection: str, header: tuple[str, ...], required: tuple[str, ...]) -> None:
    """Raises RS-FILE-03; names columns of the specification only: a first line may hold anything."""
    file = f"{collection}.csv"
    found = spellings(collection, header)
    missing = [name for name in required if name not in found]
    old = older_columns(collection, header)
    if old:
        raise CodedError("RS-FILE-03", f"OneRoster 1.0 is not read, and {old}; 1.1 and 1.2 are.")
    folded = {name.lower() for name in header}
    cased = [name for name in kept(collection) if name not in found and name.lower() in folded]
    if cased:
        raise CodedError(
            "RS-FILE-03",
            f"{file}, line 1: letter case counts in a header; it must be written {', '.join(cased)}.",
        )
    if missing:
        moved = collection == "users" and set(missing) <= set(ONLY_1_1)
        hint = "; they are in roles.csv only in OneRoster 1.2, which the manifest must name" if moved else ""
        raise CodedError("RS-FILE-03", f"{file}, line 1: the header lacks {', '.join(missing)}{hint}.")
    twice = [name for name in found.values() if header.count(name) > 1]
    if twice:
        raise CodedError("RS-FILE-03", f"{file}, line 1: the header has {', '.join(twice)} more than once.")
