"""The folders that the providers of a world leave every night, and what can be wrong with one.

A fault is real: a file that is missing, a row without an id, an empty file. What the pipeline has to make
of it, `ok`, `unproven`, `stale` or `failed`, is told here once more (product.md, "The order of things").
"""

from __future__ import annotations

import copy
import csv
import datetime as dt
import random
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from roster_pipeline.oneroster.collections import COLLECTIONS, COLUMNS, LISTS
from roster_pipeline.tenants.document import Provider as Options
from roster_pipeline_tests.oracle.tonight import Feed, Row
from roster_pipeline_tests.rosters import Directory, Provider

STALE_DAYS: Final = 7
MASK: Final = "*****"
_HEADERS: Final[dict[str, dict[str, str]]] = {  # OneRoster 1.1's column → ours
    "orgs": {"parentSourcedId": "parent"},
    "academicSessions": {"parentSourcedId": "parent"},
    "courses": {"schoolYearSourcedId": "schoolYear", "orgSourcedId": "org"},
    "classes": {"courseSourcedId": "course", "schoolSourcedId": "school", "termSourcedIds": "terms"},
    "users": {"orgSourcedIds": "orgs", "agentSourcedIds": "agents"},
    "enrollments": {"classSourcedId": "class", "schoolSourcedId": "school", "userSourcedId": "user"},
}
_LEFT_OUT: Final = ("roles", "userMasterIdentifier", "preferredFirstName", "preferredLastName")


@dataclass(frozen=True)
class Fault:
    """What is wrong with a provider's export: `what` with its collections, or a school."""

    what: str  # unreadable, missing, without-id, empty, lost-school, masked
    where: tuple[str, ...] = ()

    def __str__(self) -> str:
        """`missing users`."""
        return " ".join((self.what, *self.where))


def draw(rng: random.Random, one: Provider) -> Fault:
    """A fault that this provider can have."""
    what = rng.choice(("unreadable", "missing", "missing", "without-id", "empty", "lost-school", "masked"))
    if what == "missing":
        return Fault(what, (rng.choice(("orgs", "academicSessions", "classes", "users", "enrollments")),))
    if what == "without-id":
        return Fault(what, (rng.choice(("classes", "users", "enrollments")),))
    if what == "empty":
        return Fault(
            what, rng.choice((("users", "enrollments"), ("enrollments",), ("classes",), COLLECTIONS))
        )
    if what in ("lost-school", "masked"):
        return Fault(what, (rng.choice(list(one.rows["orgs"])),))
    return Fault(what)


def spoilt(one: Provider, fault: Fault | None) -> Provider:
    """The provider as it is exported tonight."""
    if fault is None:
        return one
    out = one.copy()
    if fault.what == "empty":
        out.empty(*fault.where)
    elif fault.what == "without-id":
        (name,) = fault.where
        first = next(iter(out.rows[name].values()), None)
        if first:
            out.rows[name][""] = {**first, "sourcedId": ""}
    elif fault.what in ("lost-school", "masked"):
        (school,) = fault.where
        mine = [who for who, row in out.rows["users"].items() if row["orgs"].split() == [school]]
        if fault.what == "lost-school":
            out.gone(*mine, *(name for name, row in out.rows["classes"].items() if row["school"] == school))
        for who in mine if fault.what == "masked" else ():
            out.rows["users"][who] |= {"givenName": MASK, "familyName": MASK, "email": MASK, "phone": ""}
    return out


@dataclass
class Complete:
    """The last complete extract of each collection of each provider, and its day."""

    of: dict[tuple[str, str], tuple[dt.date, list[Row]]] = field(default_factory=dict)


def feed(
    one: Provider, fault: Fault | None, options: Options, complete: Complete, as_of: dt.date
) -> tuple[Feed, Complete]:
    """What the oracle gets of an export, and what is complete afterwards: "ok (proven complete); unproven
    (its rows add and update, and remove nothing); stale (unreadable now; the last complete one, at most 7
    days old, is used under today's dates and removes nothing); or failed"."""
    export = spoilt(one, fault)
    now = Complete(dict(complete.of))
    rows: dict[str, list[Row]] = {}
    states = {}
    for name in COLLECTIONS:
        sent = [_canonical(name, row) for row in export.records(name)]
        last = complete.of.get((one.name, name))
        if fault and (fault.what == "unreadable" or (fault.what == "missing" and name in fault.where)):
            fresh = last is not None and (as_of - last[0]).days <= STALE_DAYS
            states[name], rows[name] = ("stale", last[1]) if last and fresh else ("failed", [])
            continue
        # "A collection that had rows and is empty now removes nothing (its state is unproven)."
        vanished = not sent and last is not None and bool(last[1])
        nameless = any(not row["sourcedId"] for row in sent)
        states[name], rows[name] = "unproven" if vanished or nameless else "ok", sent
        if states[name] == "ok":
            now.of[one.name, name] = as_of, sent
    return Feed(options, rows, states), now


def _canonical(name: str, row: Row) -> Row:
    lists = LISTS.get(name, frozenset())
    return {key: copy.deepcopy(row.get(key)) or ([] if key in lists else "") for key in COLUMNS[name]}


def write(folder: Path, one: Provider, fault: Fault | None) -> None:
    """Leaves tonight's files in `folder`, and nothing of last night's."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    export = spoilt(one, fault)
    modes = [("manifest.version", "1.0"), ("oneroster.version", "1.1")]
    _table(
        folder / "manifest.csv",
        ("propertyName", "value"),
        modes + [(f"file.{n}", "bulk") for n in COLLECTIONS],
    )
    if fault and fault.what == "unreadable":
        (folder / "manifest.csv").write_bytes(b"\xff\xfe\x00what is this\x00")
        (folder / "users.csv").write_bytes(b"\x00\x01\x02")
        return
    for name in COLLECTIONS:
        if fault and fault.what == "missing" and name in fault.where:
            continue
        wire = {ours: theirs for theirs, ours in _HEADERS[name].items()}
        columns = [column for column in COLUMNS[name] if column not in _LEFT_OUT]
        columns += ["role", "orgs"] if name == "users" else []
        header = [wire.get(column, column) for column in columns]
        _table(folder / f"{name}.csv", header, (_cells(row, columns) for row in export.records(name)))


def write_directory(path: Path, one: Directory) -> None:
    """Leaves the directory's file."""
    columns = ("id", "email", "given_name", "family_name", "role")
    rows = [{"id": who, **row} for who, row in one.people.items()]
    _table(path, columns, ([row.get(column, "") for column in columns] for row in rows))


def _cells(row: dict[str, Any], columns: Iterable[str]) -> list[str]:
    out = []
    for column in columns:
        value = row.get(column) or ""
        if column == "orgs":
            value = value.split()
        out.append(",".join(value) if isinstance(value, list) else value)
    return out


def _table(path: Path, header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow(header)
        csv.writer(file).writerows(rows)
