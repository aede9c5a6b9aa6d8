"""Where a sandbox's rows come from, as rows: OneRoster CSV in (1.1 and 1.2, folder or zip) and out.

A row is a plain dict with the canonical names of `oneroster.collections`; lists are Python lists,
`roles` is a list of `[role, org, beginDate, endDate]` and `userIds` of `[type, identifier]`. A missing
name and "" mean "not there". Names that are not canonical (`password`, `metadata`) are served as
they stand, so that a test can see that nobody keeps them. Tests edit rows in place or copy them.

The CSV code is deliberately not that of `oneroster`: it stands on the other side of the wire. It
reads what a friendly exporter writes and does not defend itself against hostile archives.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from roster_pipeline.codes import CodedError
from roster_pipeline.sandbox.flavours import Version

Row = dict[str, Any]
Tables = dict[str, list[Row]]

TABLES: Final = ("orgs", "academicSessions", "courses", "classes", "users", "enrollments", "demographics")
FAMILY: Final = frozenset({"parent", "guardian", "relative"})

# Column on file -> canonical name, where they differ.
_RENAMED: Final[dict[str, dict[str, str]]] = {
    "orgs": {"parentSourcedId": "parent"},
    "academicSessions": {"parentSourcedId": "parent"},
    "courses": {"schoolYearSourcedId": "schoolYear", "orgSourcedId": "org"},
    "classes": {
        "courseSourcedId": "course",
        "schoolSourcedId": "school",
        "termSourcedIds": "terms",
        "termSourcedId": "terms",
        "SubjectCodes": "subjectCodes",
    },
    "users": {
        "agentSourcedIds": "agents",
        "preferredGivenName": "preferredFirstName",
        "preferredFamilyName": "preferredLastName",
    },
    "enrollments": {"classSourcedId": "class", "schoolSourcedId": "school", "userSourcedId": "user"},
    "demographics": {"userSourcedId": "sourcedId"},
}
_LISTS: Final[dict[str, frozenset[str]]] = {
    "courses": frozenset({"grades", "subjects", "subjectCodes"}),
    "classes": frozenset({"terms", "grades", "subjects", "subjectCodes", "periods"}),
    "users": frozenset({"agents", "grades"}),
}
# Columns that have no place in a JSON row under that name.
_UNSERVED: Final = frozenset({"role", "orgSourcedIds", "primaryOrgSourcedId", "resourceSourcedIds"})

_COMMON = ("sourcedId", "status", "dateLastModified")
_PUBLISHED: Final[dict[str, tuple[str, ...]]] = {
    "academicSessions": ("title", "type", "startDate", "endDate", "parentSourcedId", "schoolYear"),
    "orgs": ("name", "type", "identifier", "parentSourcedId"),
    "courses": (
        "schoolYearSourcedId", "title", "courseCode", "grades", "orgSourcedId", "subjects", "subjectCodes",
    ),
    "classes": (
        "title", "grades", "courseSourcedId", "classCode", "classType", "location", "schoolSourcedId",
        "termSourcedIds", "subjects", "subjectCodes", "periods",
    ),
    "enrollments": (
        "classSourcedId", "schoolSourcedId", "userSourcedId", "role", "primary", "beginDate", "endDate",
    ),
    "demographics": (
        "birthDate", "sex", "americanIndianOrAlaskaNative", "asian", "blackOrAfricanAmerican",
        "nativeHawaiianOrOtherPacificIslander", "white", "demographicRaceTwoOrMoreRaces",
        "hispanicOrLatinoEthnicity", "countryOfBirthCode", "stateOfBirthAbbreviation", "cityOfBirth",
        "publicSchoolResidenceStatus",
    ),
}  # fmt: skip
_PUBLISHED_USERS: Final[dict[Version, tuple[str, ...]]] = {
    "1.1": (
        "enabledUser", "orgSourcedIds", "role", "username", "userIds", "givenName", "familyName",
        "middleName", "identifier", "email", "sms", "phone", "agentSourcedIds", "grades", "password",
    ),
    "1.2": (
        "enabledUser", "username", "userIds", "givenName", "familyName", "middleName", "identifier", "email",
        "sms", "phone", "agentSourcedIds", "grades", "password", "userMasterIdentifier", "preferredGivenName",
        "preferredMiddleName", "preferredFamilyName", "primaryOrgSourcedId", "pronouns",
    ),
}  # fmt: skip
_PUBLISHED_ROLES: Final = (
    "userSourcedId", "roleType", "role", "beginDate", "endDate", "orgSourcedId", "userProfileSourcedId",
)  # fmt: skip
_FILES_11: Final = (
    "academicSessions", "categories", "classes", "classResources", "courses", "courseResources",
    "demographics", "enrollments", "lineItems", "orgs", "resources", "results", "users",
)  # fmt: skip
_FILES_12: Final = (
    *_FILES_11, "lineItemLearningObjectiveIds", "lineItemScoreScales", "resultLearningObjectiveIds",
    "resultScoreScales", "roles", "scoreScales", "userProfiles", "userResources",
)  # fmt: skip

_USER_ID = re.compile(r"\{([^:{}]*):([^{}]*)\}")


def load(path: Path) -> Tables:
    """The rows of a OneRoster CSV folder or zip, 1.1 or 1.2; a file that is not there is an empty table.

    Raises CodedError RS-FILE-01 where there is no such folder or zip, RS-FILE-08 where a file is not UTF-8.
    """
    if path.is_dir():
        members = {file.stem: file.read_bytes for file in path.glob("*.csv")}
        return _tables(members)
    try:
        with zipfile.ZipFile(path) as archive:
            names = {Path(name).stem: name for name in archive.namelist() if name.endswith(".csv")}
            return _tables({stem: _member(archive, name) for stem, name in names.items()})
    except (OSError, zipfile.BadZipFile) as error:
        raise CodedError(
            "RS-FILE-01", f"no CSV folder or zip could be read at {path}: {type(error).__name__}"
        ) from error


def _member(archive: zipfile.ZipFile, name: str) -> Callable[[], bytes]:
    return lambda: archive.read(name)


def _tables(members: Mapping[str, Callable[[], bytes]]) -> Tables:
    tables: Tables = {}
    for name in TABLES:
        lists = _LISTS.get(name, frozenset())
        renamed = _RENAMED[name]
        rows = []
        for given in _records(name, members):
            row: Row = {}
            metadata = {}
            for column, value in given.items():
                if not value:
                    continue
                if column.startswith("metadata."):
                    metadata[column[9:]] = value
                    continue
                canonical = renamed.get(column, column)
                row[canonical] = _list(value) if canonical in lists else value
            if metadata:
                row["metadata"] = metadata
            rows.append(row)
        tables[name] = rows
    _read_roles(tables["users"], _records("roles", members))
    return tables


def _records(name: str, members: Mapping[str, Callable[[], bytes]]) -> Iterable[dict[str, str]]:
    if name not in members:
        return
    try:
        text = members[name]().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CodedError("RS-FILE-08", f"{name}.csv is not UTF-8 at byte {error.start}") from error
    reader = csv.reader(io.StringIO(text, newline=""))
    header = [column.strip() for column in next(reader, [])]
    for cells in reader:
        if cells:
            yield dict(zip(header, [cell.strip() for cell in cells], strict=False))


def _list(value: str) -> list[str]:
    return [part for part in (piece.strip() for piece in value.split(",")) if part]


def _read_roles(users: list[Row], roles: Iterable[dict[str, str]]) -> None:
    """Turn 1.1's `role` and `orgSourcedIds`, or 1.2's roles.csv, into `roles`; and `userIds` into pairs."""
    held: dict[str, list[list[str]]] = {}
    for role in roles:
        entry = [
            role.get("role", ""),
            role.get("orgSourcedId", ""),
            role.get("beginDate", ""),
            role.get("endDate", ""),
        ]
        mine = held.setdefault(role.get("userSourcedId", ""), [])
        if role.get("roleType") == "primary":
            mine.insert(0, entry)
        else:
            mine.append(entry)
    for user in users:
        orgs = _list(user.pop("orgSourcedIds", "")) or [""]
        role_11 = user.pop("role", "")
        user["roles"] = held.get(user.get("sourcedId", ""), []) or (
            [[role_11, org, "", ""] for org in orgs] if role_11 else []
        )
        if "userIds" in user:
            text = user["userIds"]
            pairs = [list(found.groups()) for found in _USER_ID.finditer(text)]
            user["userIds"] = pairs or [["", part] for part in _list(text)]
        for name in _UNSERVED:
            user.pop(name, None)


# ---------------------------------------------------------------- what the two versions can say

_TO_11: Final = {
    "siteadministrator": "administrator",
    "districtadministrator": "administrator",
    "systemadministrator": "administrator",
    "principal": "administrator",
    "counselor": "aide",
}


def for_version(tables: Mapping[str, list[Row]], version: Version) -> Tables:
    """The same rows in what the version can express; the rows given are not changed.

    1.1 has one role a user: somebody with several becomes several rows (`<id>-<role>` after the first)
    with the same identifier, as 1.1 suppliers do it, and references follow. 1.2 has no plain
    `administrator`: it becomes `siteAdministrator`.
    """
    out: Tables = {name: list(tables.get(name, ())) for name in TABLES}
    if version == "1.2":
        out["users"] = [_with_roles(user, {"administrator": "siteAdministrator"}) for user in out["users"]]
        return out
    users: list[Row] = []
    alias: dict[tuple[str, str], str] = {}
    several: set[str] = set()
    for given in out["users"]:
        user = _with_roles(given, _TO_11)
        names = list(dict.fromkeys(entry[0] for entry in user.get("roles", ())))
        if len(names) < 2:
            users.append(user)
            continue
        source_id = user.get("sourcedId", "")
        several.add(source_id)
        for place, name in enumerate(names):
            own_id = source_id if place == 0 else f"{source_id}-{name}"
            alias[source_id, name] = own_id
            row = {
                **user,
                "sourcedId": own_id,
                "roles": [entry for entry in user["roles"] if entry[0] == name],
            }
            if name not in FAMILY:
                row.pop("agents", None)
            users.append(row)
    out["users"] = users
    if several:
        family = {i: new for (i, name), new in alias.items() if name in FAMILY}
        out["users"] = [
            {**user, "agents": [family.get(agent, agent) for agent in user["agents"]]}
            if user.get("agents") and not several.isdisjoint(user["agents"])
            else user
            for user in users
        ]
        out["enrollments"] = [
            {**row, "user": alias.get((row["user"], row.get("role", "")), row["user"])}
            if row.get("user") in several
            else row
            for row in out["enrollments"]
        ]
    return out


def _with_roles(user: Row, names: Mapping[str, str]) -> Row:
    roles = user.get("roles")
    if not isinstance(roles, list) or not any(str(entry[0]).lower() in names for entry in roles):
        return user
    return {**user, "roles": [[names.get(str(entry[0]).lower(), entry[0]), *entry[1:]] for entry in roles]}


def without_guardians(tables: Mapping[str, list[Row]]) -> Tables:
    """The same rows without family members and links to them, as PowerSchool hands them out."""
    out: Tables = {name: list(tables.get(name, ())) for name in TABLES}
    users = []
    for user in out["users"]:
        roles = user.get("roles") or []
        others = [entry for entry in roles if str(entry[0]).lower() not in FAMILY]
        if roles and not others:
            continue
        if "agents" in user or len(others) < len(roles):
            user = {**user, "roles": others}
            user.pop("agents", None)
        users.append(user)
    out["users"] = users
    return out


def without_sessions(tables: Mapping[str, list[Row]]) -> Tables:
    """The same rows without academic sessions and references to them, as the smallest servers have them."""
    out: Tables = {name: list(tables.get(name, ())) for name in TABLES}
    out["academicSessions"] = []
    for name, reference in (("courses", "schoolYear"), ("classes", "terms")):
        out[name] = [{key: value for key, value in row.items() if key != reference} for row in out[name]]
    return out


# ---------------------------------------------------------------- out again


def write_csv(tables: Mapping[str, list[Row]], folder: Path, version: Version = "1.1") -> None:
    """Write OneRoster bulk CSV with a manifest into `folder`, which is made if need be.

    Rows about to be deleted keep their status. Demographics are written only if there are any.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = for_version(tables, version)
    published = {**_PUBLISHED, "users": _PUBLISHED_USERS[version]}
    written = [name for name in TABLES if name != "demographics" or tables[name]]
    for name in written:
        columns = (*_COMMON, *published[name])
        renamed = _RENAMED[name]
        names = [renamed.get(column, column) for column in columns]
        cells = _user_cells if name == "users" else _cells
        _write(folder / f"{name}.csv", columns, (cells(row, names) for row in tables[name]))
    if version == "1.2":
        _write(folder / "roles.csv", (*_COMMON, *_PUBLISHED_ROLES), _role_cells(tables["users"]))
        written.append("roles")
    files = _FILES_12 if version == "1.2" else _FILES_11
    manifest = [("manifest.version", "1.0"), ("oneroster.version", version)]
    manifest += [(f"file.{name}", "bulk" if name in written else "absent") for name in files]
    manifest += [("source.systemName", "roster-pipeline sandbox"), ("source.systemCode", "sandbox")]
    _write(folder / "manifest.csv", ("propertyName", "value"), manifest)


def _write(file: Path, header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(header)
        writer.writerows(rows)


def _cells(row: Row, names: Iterable[str]) -> list[str]:
    deleted = row.get("status", "active") not in ("", "active")
    return [
        "" if name in ("status", "dateLastModified") and not deleted else _cell(row.get(name, ""))
        for name in names
    ]


def _cell(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _user_cells(row: Row, names: Iterable[str]) -> list[str]:
    roles = row.get("roles") or []
    orgs = [entry[1] for entry in roles if entry[1]]
    return _cells(
        {
            **row,
            "role": roles[0][0] if roles else "",
            "orgSourcedIds": orgs,
            "primaryOrgSourcedId": orgs[0] if orgs else "",
            "userIds": [f"{{{kind}:{value}}}" if kind else value for kind, value in row.get("userIds", ())],
        },
        names,
    )


def _role_cells(users: Iterable[Row]) -> Iterable[list[str]]:
    for user in users:
        seen: set[str] = set()
        for number, (role, org, begin, end) in enumerate(user.get("roles") or []):
            kind = "secondary" if org in seen else "primary"
            seen.add(org)
            yield [
                f"{user['sourcedId']}-r{number}",
                "",
                "",
                user["sourcedId"],
                kind,
                role,
                begin,
                end,
                org,
                "",
            ]
