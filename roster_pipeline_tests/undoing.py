"""Districts as files that change from night to night, for tests that set rosters back.

Here belong the district, its nights and what is published of it, in words that compare exactly; what an
undo must do stands in the tests.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select, text

from roster_pipeline.store import database
from roster_pipeline.undo import Undo, preview, undo
from roster_pipeline_tests.graph.school import HEADERS, NOT_SENT
from roster_pipeline_tests.syncing import Deployment, Document, csv_provider

DAY: Final = date(2025, 10, 15)
TENANT: Final = "oak"
VIEWS: Final = tuple(sorted(database.VIEWS))

Snapshot = dict[str, list[dict[str, Any]]]


@dataclass
class District:
    """Rows of OneRoster 1.1 files by sourcedId, of one provider."""

    folder: Path
    rows: dict[str, dict[str, dict[str, str]]] = field(default_factory=lambda: {name: {} for name in HEADERS})

    def school(self, name: str, students: int = 8, classes: int = 3) -> District:
        """A school with its classes, a teacher, and a guardian of two students; everybody in each class."""
        self._add("orgs", name, name=f"{name.title()} School", type="school", identifier=f"id-{name}")
        self._add("academicSessions", "year", title="2025/26", type="schoolYear", startDate="2025-08-18",
                  endDate="2026-06-12", schoolYear="2026")  # fmt: skip
        self._add("academicSessions", f"{name}-term", title=f"Term of {name}", type="term",
                  startDate="2025-08-18", endDate="2026-02-12", parentSourcedId="year",
                  schoolYear="2026")  # fmt: skip
        self.user(f"{name}-t1", name, role="teacher")
        for number in range(1, students + 1):
            self.user(f"{name}-s{number}", name, grades="05")
        self.user(f"{name}-g1", name, role="guardian")
        for related in (f"{name}-s1", f"{name}-s5"):
            self.rows["users"][related]["agentSourcedIds"] = f"{name}-g1"
        for number in range(1, classes + 1):
            self.class_(f"{name}-c{number}", name)
            self.enrol(f"{name}-c{number}", f"{name}-t1", role="teacher")
            for student in range(1, students + 1):
                self.enrol(f"{name}-c{number}", f"{name}-s{student}")
        return self

    def user(self, who: str, *schools: str, role: str = "student", **fields: str) -> None:
        """A user of schools."""
        local = fields.pop("email", who)
        self._add("users", who, enabledUser="true", orgSourcedIds=",".join(schools), role=role, username=who,
                  givenName=fields.pop("givenName", "Ada"), familyName=fields.pop("familyName", f"Of {who}"),
                  identifier=f"i-{who}", email=local and f"{local}@oak.example", **fields)  # fmt: skip

    def class_(self, name: str, school: str, **fields: str) -> None:
        """A class of a school in its own term."""
        self._add("classes", name, **{"title": f"Class {name}", "classType": "scheduled",
                  "schoolSourcedId": school, "termSourcedIds": f"{school}-term"} | fields)  # fmt: skip

    def enrol(self, class_: str, who: str, role: str = "student") -> None:
        """An enrolment."""
        school = self.rows["classes"][class_]["schoolSourcedId"]
        self._add("enrollments", f"{class_}/{who}", classSourcedId=class_, schoolSourcedId=school,
                  userSourcedId=who, role=role, primary="false")  # fmt: skip

    def drop(self, who: str) -> None:
        """Takes a user away, with what names them."""
        self.rows["users"].pop(who, None)
        self._forget("enrollments", "userSourcedId", who)

    def drop_class(self, name: str) -> None:
        """Takes a class away, with its enrolments."""
        self.rows["classes"].pop(name, None)
        self._forget("enrollments", "classSourcedId", name)

    def _forget(self, collection: str, column: str, value: str) -> None:
        mine = self.rows[collection]
        for key in [key for key, row in mine.items() if row.get(column) == value]:
            del mine[key]

    def _add(self, collection: str, key: str, **row: str) -> None:
        self.rows[collection][key] = {"sourcedId": key, **row}

    def write(self) -> None:
        """Writes all files anew."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, header in HEADERS.items():
            with (self.folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, header.split(","), restval="", extrasaction="raise")
                writer.writeheader()
                writer.writerows(self.rows[name].values())
        manifest = [("manifest.version", "1.0"), ("oneroster.version", "1.1")]
        manifest += [(f"file.{name}", "bulk") for name in HEADERS]
        manifest += [(f"file.{name}", "absent") for name in NOT_SENT]
        with (self.folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("propertyName", "value"), *manifest])


@dataclass
class Nights:
    """A tenant of a district, synced night after night, with what was published after each sync."""

    place: Deployment
    district: District
    day: date = DAY
    after: dict[int, Snapshot] = field(default_factory=dict)

    def apply(self, *others: dict[str, Any], **settings: Any) -> None:
        """Stores the tenant's document; the district is its strongest provider."""
        options: dict[str, Any] = {
            "sync_parent_data": True,
            "relationship_type": "guardian",
            "merge": {"priority": 100},
        }
        self.place.apply(TENANT, csv_provider(self.district.folder, **options), *others, **settings)

    def sync(self, days: int = 1) -> Document:
        """The next night."""
        self.district.write()
        told = self.place.sync(TENANT, self.day)
        self.day += timedelta(days=days)
        self.after[told["sync_id"]] = self.published()
        return told

    def undo(self, sync_id: int, school: str | None = None) -> Document:
        """Sets the roster back."""
        told = undo(
            self.place.stores, TENANT, sync_id, school=school, who="ann", why="a test", clock=self.clock
        )
        self.after[told["sync_id"]] = self.published()
        return told

    def preview(self, sync_id: int, school: str | None = None) -> Undo:
        """What an undo would do."""
        return preview(self.place.stores, TENANT, sync_id, school)

    @staticmethod
    def clock() -> datetime:
        """The time as it is."""
        return datetime.now(UTC)

    def published(self) -> Snapshot:
        """What readers see, every column of it."""
        return snapshot(self.place)

    def holds(self) -> dict[str, str]:
        """school_id → the state of the hold that an undo made."""
        holds = database.holds
        with self.place.stores.database.connect() as connection:
            found = connection.execute(select(holds).where(holds.c.kind == "schools")).all()
        return {row.school_id: row.state for row in found}

    def id_of(self, table: str, source_id: str) -> str:
        """Our id of a row of the source, live or removed."""
        column = {"person_sources": "person_id", "schools": "school_id", "classes": "class_id"}[table]
        query = text(f"SELECT {column} FROM {table} WHERE source_id = :source")
        with self.place.stores.database.connect() as connection:
            return str(connection.execute(query, {"source": source_id}).scalars().one())


def snapshot(place: Deployment, tenant: str = TENANT) -> Snapshot:
    """Every row of every view, in an order of its own."""
    out = {}
    with place.stores.database.connect() as connection:
        for view in VIEWS:
            query = text(f"SELECT * FROM {view} WHERE tenant = :tenant")
            found = [dict(row) for row in connection.execute(query, {"tenant": tenant}).mappings()]
            out[view] = sorted(found, key=repr)
    return out


def but(told: Snapshot, view: str, *columns: str) -> Snapshot:
    """The snapshot without some columns of a view."""
    kept = [{name: row[name] for name in row if name not in columns} for row in told[view]]
    return {**told, view: sorted(kept, key=repr)}


def differing(one: Snapshot, other: Snapshot) -> dict[str, list[Any]]:
    """The rows that are in one of two snapshots only, by view: nothing for equal ones, and short to read."""
    found = {view: [row for row in one[view] if row not in other[view]]
             + [("other", row) for row in other[view] if row not in one[view]] for view in VIEWS}  # fmt: skip
    return {view: rows for view, rows in found.items() if rows}
