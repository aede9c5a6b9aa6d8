"""A strict reader of OneRoster 1.2 bulk packages, for tests: what a picky consumer would refuse.

Written from the specification alone (oneroster.md §1 and §5). It shares nothing with the package's own
reader or writer, so that a mistake of theirs is not made here again.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

MANIFEST_NAMES = [
    "academicSessions", "categories", "classes", "classResources", "courses", "courseResources",
    "demographics", "enrollments", "lineItems", "orgs", "resources", "results", "users",
    "lineItemLearningObjectiveIds", "lineItemScoreScales", "resultLearningObjectiveIds", "resultScoreScales",
    "roles", "scoreScales", "userProfiles", "userResources",
]  # fmt: skip

# name, then its columns in the published order; `*` demands a value.
COLUMNS = {
    "academicSessions": "sourcedId* status dateLastModified title* type* startDate* endDate* parentSourcedId "
    "schoolYear*",
    "orgs": "sourcedId* status dateLastModified name* type* identifier parentSourcedId",
    "courses": "sourcedId* status dateLastModified schoolYearSourcedId title* courseCode grades "
    "orgSourcedId* subjects subjectCodes",
    "classes": "sourcedId* status dateLastModified title* grades courseSourcedId* classCode classType* "
    "location schoolSourcedId* termSourcedIds* subjects subjectCodes periods",
    "users": "sourcedId* status dateLastModified enabledUser* username* userIds givenName* familyName* "
    "middleName identifier email sms phone agentSourcedIds grades password userMasterIdentifier "
    "preferredGivenName preferredMiddleName preferredFamilyName primaryOrgSourcedId pronouns",
    "roles": "sourcedId* status dateLastModified userSourcedId* roleType* role* beginDate endDate "
    "orgSourcedId* userProfileSourcedId",
    "enrollments": "sourcedId* status dateLastModified classSourcedId* schoolSourcedId* userSourcedId* role* "
    "primary beginDate endDate",
}
REFERENCES = {
    ("academicSessions", "parentSourcedId"): "academicSessions",
    ("orgs", "parentSourcedId"): "orgs",
    ("courses", "schoolYearSourcedId"): "academicSessions",
    ("courses", "orgSourcedId"): "orgs",
    ("classes", "courseSourcedId"): "courses",
    ("classes", "schoolSourcedId"): "orgs",
    ("classes", "termSourcedIds"): "academicSessions",
    ("users", "agentSourcedIds"): "users",
    ("users", "primaryOrgSourcedId"): "orgs",
    ("roles", "userSourcedId"): "users",
    ("roles", "orgSourcedId"): "orgs",
    ("enrollments", "classSourcedId"): "classes",
    ("enrollments", "schoolSourcedId"): "orgs",
    ("enrollments", "userSourcedId"): "users",
}
ENUMERATIONS = {
    ("orgs", "type"): "department district local national school state",
    ("academicSessions", "type"): "gradingPeriod semester schoolYear term",
    ("classes", "classType"): "homeroom scheduled",
    ("roles", "roleType"): "primary secondary",
    ("roles", "role"): "aide counselor districtAdministrator guardian parent principal proctor relative "
    "siteAdministrator student systemAdministrator teacher",
    ("enrollments", "role"): "administrator proctor student teacher",
}
LISTS = {"grades", "subjects", "subjectCodes", "periods", "termSourcedIds", "agentSourcedIds", "userIds"}
DATES = {"startDate", "endDate", "beginDate"}
BOOLEANS = {"enabledUser", "primary"}


@dataclass
class Package:
    """The tables of a package, each a list of rows by column."""

    tables: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    modes: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def problems(path: Path) -> list[str]:
    """Everything that is wrong with the package; an empty list for a good one."""
    return load(path).problems


def load(path: Path) -> Package:
    """The package with everything that is wrong with it."""
    found = Package()
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if archive.testzip() is not None:
            found.problems.append("the archive is damaged")
        if names[:1] != ["manifest.csv"]:
            found.problems.append("manifest.csv is not the first file")
        if len(set(names)) != len(names) or any("/" in name or "\\" in name for name in names):
            found.problems.append("the names are not plain and different")
        files = {name.removesuffix(".csv"): archive.read(name) for name in names}
    _manifest(found, files)
    for name, data in files.items():
        if name != "manifest":
            _table(found, name, data)
    for name in found.tables:
        for place, row in enumerate(found.tables[name], 2):
            for problem in _row(found, name, row):
                found.problems.append(f"{name}.csv, row {place}: {problem}")
    _together(found)
    return found


def _cells(found: Package, name: str, data: bytes) -> list[list[str]]:
    if data.startswith(b"\xef\xbb\xbf"):
        found.problems.append(f"{name}.csv has a byte-order mark")
    if (
        not data.endswith(b"\r\n")
        or data.replace(b"\r\n", b"").count(b"\n")
        or data.count(b"\r") != data.count(b"\r\n")
    ):
        found.problems.append(f"{name}.csv: lines do not end in CRLF")
    rows = list(csv.reader(io.StringIO(data.decode("utf-8"), newline=""), strict=True))
    if len(rows) != data.count(b"\r\n"):
        found.problems.append(f"{name}.csv: a cell holds a line break, or a line is empty")
    if any(re.search(r"[\x00-\x1f\x7f]", cell) for row in rows for cell in row):
        found.problems.append(f"{name}.csv: a cell holds a control character")
    return rows


def _manifest(found: Package, files: dict[str, bytes]) -> None:
    rows = _cells(found, "manifest", files.get("manifest", b"\r\n"))
    if rows[0] != ["propertyName", "value"] or any(len(row) != 2 for row in rows):
        found.problems.append("manifest.csv: not propertyName,value")
        return
    values = dict(rows[1:])
    if len(values) != len(rows) - 1:
        found.problems.append("manifest.csv: a property stands there twice")
    if values.pop("manifest.version", None) != "1.0" or values.pop("oneroster.version", None) != "1.2":
        found.problems.append("manifest.csv: the versions are not 1.0 and 1.2")
    for name in ("source.systemName", "source.systemCode"):
        values.pop(name, None)
    if set(values) != {f"file.{name}" for name in MANIFEST_NAMES}:
        found.problems.append("manifest.csv: not exactly the files of 1.2")
    found.modes = {name.removeprefix("file."): mode for name, mode in values.items()}
    if not set(found.modes.values()) <= {"absent", "bulk"}:
        found.problems.append("manifest.csv: a file is neither absent nor bulk")
    present = {name for name, mode in found.modes.items() if mode != "absent"}
    if present != set(files) - {"manifest"}:
        found.problems.append("manifest.csv: what it says of files is not what is there")


def _table(found: Package, name: str, data: bytes) -> None:
    if name not in COLUMNS:
        found.problems.append(f"{name}.csv is not among the files that are checked here")
        return
    header, *rows = _cells(found, name, data)
    published = [column.rstrip("*") for column in COLUMNS[name].split()]
    if header[: len(published)] != published or not all(
        extra.startswith("metadata.") for extra in header[len(published) :]
    ):
        found.problems.append(f"{name}.csv: the columns are not the published ones in their order")
    if any(len(row) != len(header) for row in rows):
        found.problems.append(f"{name}.csv: a row has another number of cells than the header")
    found.tables[name] = [dict(zip(header, row, strict=False)) for row in rows]


def _row(found: Package, name: str, row: dict[str, str]) -> list[str]:
    wrong = []
    for column in COLUMNS[name].split():
        value = row.get(column.rstrip("*"), "")
        if column.endswith("*") and not value.strip():
            wrong.append(f"{column.rstrip('*')} has no value")
        if value != value.strip():
            wrong.append(f"{column} has blanks around it")
    if row.get("status") or row.get("dateLastModified"):
        wrong.append("status and dateLastModified must be blank in bulk files")
    for column, value in row.items():
        if not value:
            continue
        items = value.split(",") if column in LISTS else [value]
        if any(not item.strip() for item in items):
            wrong.append(f"{column} has an empty item")
        if column.endswith(("ourcedId", "ourcedIds")) and not all(
            re.fullmatch(r"[0-9A-Za-z./@_-]{1,255}", item) for item in items
        ):
            wrong.append(f"{column} has characters that an id may not have")
        if column in DATES and not _is_date(value):
            wrong.append(f"{column} is no date")
        if column in BOOLEANS and value not in ("true", "false"):
            wrong.append(f"{column} is neither true nor false")
        if column == "schoolYear" and not re.fullmatch(r"\d{4}", value):
            wrong.append("schoolYear is no year")
        if column == "userIds" and not all(re.fullmatch(r"\{[^:{}]+:[^{}]+\}", item) for item in items):
            wrong.append("userIds are not {type:id}")
        allowed = ENUMERATIONS.get((name, column))
        extends = re.fullmatch(r"ext:[A-Za-z0-9.\-_]+", value) and column != "roleType"
        if allowed and value not in allowed.split() and not extends:
            wrong.append(f"{column} is not of the vocabulary")
    if "subjects" in row and row["subjects"].count(",") + bool(row["subjects"]) != row["subjectCodes"].count(
        ","
    ) + bool(row["subjectCodes"]):
        wrong.append("subjects and subjectCodes are not equally many")
    for first, last in (("startDate", "endDate"), ("beginDate", "endDate")):
        if row.get(first) and row.get(last) and row[first] > row[last]:
            wrong.append("it begins after it ends")
    if row.get("primary") == "true" and row["role"] != "teacher":
        wrong.append("primary, but no teacher")
    return wrong


def _together(found: Package) -> None:
    tables = found.tables
    ids = {name: Counter(row["sourcedId"] for row in rows) for name, rows in tables.items()}
    for name, counted in ids.items():
        if any(count > 1 for count in counted.values()):
            found.problems.append(f"{name}.csv: a sourcedId stands there twice")
    for (name, column), target in REFERENCES.items():
        for row in tables.get(name, ()):
            for item in row.get(column, "").split(","):
                if item and item not in ids.get(target, ()):
                    found.problems.append(f"{name}.csv: {column} refers to nothing")
    types = {row["sourcedId"]: row["type"] for row in tables.get("orgs", ())}
    schools = {row["sourcedId"]: row["schoolSourcedId"] for row in tables.get("classes", ())}
    for name in ("classes", "enrollments"):
        if any(types.get(row["schoolSourcedId"]) != "school" for row in tables.get(name, ())):
            found.problems.append(f"{name}.csv: schoolSourcedId is no school")
    if any(
        schools.get(row["classSourcedId"]) != row["schoolSourcedId"] for row in tables.get("enrollments", ())
    ):
        found.problems.append("enrollments.csv: the school is not the class's")
    primary = Counter(
        (row["userSourcedId"], row["orgSourcedId"])
        for row in tables.get("roles", ())
        if row["roleType"] == "primary"
    )
    held = {(row["userSourcedId"], row["orgSourcedId"]) for row in tables.get("roles", ())}
    if set(primary) != held or any(count > 1 for count in primary.values()):
        found.problems.append("roles.csv: a user has not exactly one primary role at an org")
    if set(ids.get("users", ())) != {user for user, _ in held}:
        found.problems.append("roles.csv: a user has no role")


def _is_date(value: str) -> bool:
    try:
        return re.fullmatch(r"\d{4}-\d{2}-\d{2}", value) is not None and bool(dt.date.fromisoformat(value))
    except ValueError:
        return False
