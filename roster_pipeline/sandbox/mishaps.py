"""What may happen to a school's rows: some come, go or change, a school is lost, ids are new, values hidden.

Pure: tables in (as `source` describes them), tables out, and those given are not changed. `happened` gives
the tables as a server shows them under the faults that are due; tests ask the same of the truth.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from roster_pipeline.sandbox.misbehaviour import Misbehaviour, What
from roster_pipeline.sandbox.source import TABLES, Row, Tables

_REFERENCES: Final[dict[str, dict[str, str]]] = {
    "orgs": {"parent": "orgs"},
    "academicSessions": {"parent": "academicSessions"},
    "courses": {"schoolYear": "academicSessions", "org": "orgs"},
    "classes": {"course": "courses", "school": "orgs", "terms": "academicSessions"},
    "users": {"agents": "users"},
    "enrollments": {"user": "users", "class": "classes", "school": "orgs"},
    "demographics": {"sourcedId": "users"},
}
"""Which table a reference is to."""

_IDENTITY: Final = ("email", "givenName", "familyName")
MASKED: Final = "*****"


def happened(
    tables: Mapping[str, list[Row]], faults: Iterable[Misbehaviour], table: str, seed: int
) -> Tables:
    """The tables after these faults, in their order; `table` is where single rows come, go or change."""
    out: Tables = {name: list(tables.get(name, ())) for name in TABLES}
    for fault in faults:
        if fault.what in MISHAPS:
            out = MISHAPS[fault.what](out, fault.value, table, seed)
    return out


# ---------------------------------------------------------------- single rows


def _added(tables: Tables, value: Any, table: str, seed: int) -> Tables:
    rows = tables[table]
    if not rows:
        return tables
    rng = _rng(seed)
    taken = {(row.get("user"), row.get("class")) for row in tables["enrollments"]}
    new: list[Row] = []
    behind = value is not None and int(value) < 0
    for number in range(abs(int(value)) if behind else _count(value)):
        row = {**rng.choice(rows), "sourcedId": f"{'~' if behind else '0'}-added-{number + 1}"}
        if table == "users":
            row |= {
                "givenName": "Newly",
                "familyName": f"Arrived{number + 1}",
                "username": f"newly.arrived{number + 1}",
                "email": f"newly.arrived{number + 1}@arrivals.example",
                "identifier": f"new-{number + 1}",
            }
            for name in ("agents", "userIds", "userMasterIdentifier", "password"):
                row.pop(name, None)
        elif table == "enrollments":
            free = [
                one for one in rows if one["role"] == row["role"] and (one["user"], row["class"]) not in taken
            ]
            if not free:
                continue
            row["user"] = rng.choice(free)["user"]
            taken.add((row["user"], row["class"]))
        else:
            name = "name" if table == "orgs" else "title"
            row[name] = f"{row.get(name, '')} (new {number + 1})"
            if table == "orgs":
                row["identifier"] = f"new-{number + 1}"
        new.append(row)
    return {**tables, table: [*new, *rows]}


def _removed(tables: Tables, value: Any, table: str, seed: int) -> Tables:
    rows = tables[table]
    first = sorted(str(row.get("sourcedId", "")) for row in rows)[: _count(value)]
    return {**tables, table: [row for row in rows if str(row.get("sourcedId", "")) not in first]}


def _changed(tables: Tables, value: Any, table: str, seed: int) -> Tables:
    rows = tables[table]
    which = set(_rng(seed).sample(range(len(rows)), min(len(rows), _count(value))))
    return {**tables, table: [_otherwise(table, row) if n in which else row for n, row in enumerate(rows)]}


def _otherwise(table: str, row: Row) -> Row:
    if table == "enrollments":
        return {**row, "primary": "false" if row.get("primary") == "true" else "true"}
    name = {"users": "username", "orgs": "name"}.get(table, "title")
    return {**row, name: f"{row.get(name, '')} changed".strip()}


# ---------------------------------------------------------------- whole schools, ids, fields


def _without_school(tables: Tables, value: Any, table: str, seed: int) -> Tables:
    schools = [row["sourcedId"] for row in tables["orgs"] if row.get("type") == "school"]
    lost = str(value) if value is not None else (schools[-1] if schools else "")
    classes = {row["sourcedId"] for row in tables["classes"] if row.get("school") == lost}
    users: list[Row] = []
    for row in tables["users"]:
        roles = row.get("roles") or []
        elsewhere = [entry for entry in roles if entry[1] != lost]
        if elsewhere or not roles:
            users.append({**row, "roles": elsewhere} if len(elsewhere) < len(roles) else row)
    here = {row["sourcedId"] for row in users}
    return {
        **tables,
        "orgs": [row for row in tables["orgs"] if row["sourcedId"] != lost],
        "classes": [row for row in tables["classes"] if row.get("school") != lost],
        "users": [
            {**row, "agents": [agent for agent in row["agents"] if agent in here]} if "agents" in row else row
            for row in users
        ],
        "enrollments": [
            row
            for row in tables["enrollments"]
            if row.get("school") != lost and row.get("class") not in classes and row.get("user") in here
        ],
        "demographics": [row for row in tables["demographics"] if row["sourcedId"] in here],
    }


def _re_keyed(tables: Tables, value: Any, table: str, seed: int) -> Tables:
    concerned = frozenset(TABLES) if value is None else {str(value)}

    def new(kind: str, source_id: Any) -> Any:
        if kind not in concerned or not source_id or not isinstance(source_id, str):
            return source_id
        # Two tables may use one id: the kind is part of what is hashed.
        told = hashlib.blake2b(f"{kind}/{source_id}".encode(), digest_size=8, key=str(seed).encode())
        return f"n{told.hexdigest()}"

    out: Tables = {}
    for name, rows in tables.items():
        references = {"sourcedId": name} | _REFERENCES[name]
        out[name] = []
        for row in rows:
            changed = dict(row)
            for reference, kind in references.items():
                if reference in row:
                    held = row[reference]
                    changed[reference] = (
                        [new(kind, one) for one in held] if isinstance(held, list) else new(kind, held)
                    )
            if row.get("roles"):
                changed["roles"] = [[role, new("orgs", org), *dates] for role, org, *dates in row["roles"]]
            out[name].append(changed)
    return out


def _masked(tables: Tables, value: Any, table: str, seed: int) -> Tables:
    fields = _fields(value)
    users = [
        {name: MASKED if name in fields and held else held for name, held in row.items()}
        for row in tables["users"]
    ]
    return {**tables, "users": users}


def _withheld(tables: Tables, value: Any, table: str, seed: int) -> Tables:
    fields = _fields(value)
    users = [{name: held for name, held in row.items() if name not in fields} for row in tables["users"]]
    return {**tables, "users": users}


MISHAPS: Final[dict[What, Callable[[Tables, Any, str, int], Tables]]] = {
    "rows-added": _added,
    "rows-removed": _removed,
    "rows-changed": _changed,
    "lose-school": _without_school,
    "re-key": _re_keyed,
    "mask": _masked,
    "withhold": _withheld,
}
"""The faults that are of rows: each gets tables, its value, the table concerned and a seed."""


def _count(value: Any) -> int:
    return 1 if value is None else int(value)


def _fields(value: Any) -> tuple[str, ...]:
    return _IDENTITY if value is None else tuple(str(value).split("+"))


def _rng(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - repeatable on purpose; it protects nothing
