"""A small school as OneRoster 1.1 CSV (bulk) that changes from night to night, and its tenant document."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

HEADERS = {
    "orgs": "sourcedId,status,dateLastModified,name,type,identifier,parentSourcedId",
    "academicSessions": "sourcedId,status,dateLastModified,title,type,startDate,endDate,parentSourcedId,"
    "schoolYear",
    "courses": "sourcedId,status,dateLastModified,schoolYearSourcedId,title,courseCode,grades,orgSourcedId,"
    "subjects,subjectCodes",
    "classes": "sourcedId,status,dateLastModified,title,grades,courseSourcedId,classCode,classType,location,"
    "schoolSourcedId,termSourcedIds,subjects,subjectCodes,periods",
    "users": "sourcedId,status,dateLastModified,enabledUser,orgSourcedIds,role,username,userIds,givenName,"
    "familyName,middleName,identifier,email,sms,phone,agentSourcedIds,grades,password",
    "enrollments": "sourcedId,status,dateLastModified,classSourcedId,schoolSourcedId,userSourcedId,role,"
    "primary,beginDate,endDate",
}
NOT_SENT = (
    "categories",
    "classResources",
    "courseResources",
    "demographics",
    "lineItems",
    "resources",
    "results",
)


@dataclass(slots=True)
class School:
    """Classes `c1` and `c2` in the school year 2025/26, with two teachers and some students in both."""

    folder: Path
    students: list[str] = field(default_factory=lambda: [f"s{n}" for n in range(1, 7)])
    guardians: dict[str, str] = field(default_factory=dict)
    """Of each guardian the student."""
    given_name: str = "Ada"
    password: str = ""

    def write(self) -> School:
        """Writes all files anew."""
        self.folder.mkdir(parents=True, exist_ok=True)
        teachers = ["t1", "t2"]
        classes = ["c1", "c2"]
        self._file(
            "orgs", [{"sourcedId": "north", "name": "North School", "type": "school", "identifier": "N1"}]
        )
        self._file(
            "academicSessions",
            [{"sourcedId": "year", "title": "2025/26", "type": "schoolYear", "startDate": "2025-08-18",
              "endDate": "2026-06-12", "schoolYear": "2026"}],
        )  # fmt: skip
        self._file("courses", [{"sourcedId": "maths", "title": "Maths", "orgSourcedId": "north"}])
        self._file(
            "classes",
            [{"sourcedId": who, "title": f"Maths {who}", "courseSourcedId": "maths", "classType": "scheduled",
              "schoolSourcedId": "north", "termSourcedIds": "year"} for who in classes],
        )  # fmt: skip
        self._file(
            "users",
            [{"sourcedId": who, "enabledUser": "true", "orgSourcedIds": "north",
              "role": {"t": "teacher", "g": "guardian"}.get(who[0], "student"), "username": who,
              "agentSourcedIds": self.guardians.get(who, ""), "givenName": self.given_name,
              "familyName": f"Of{who}", "identifier": f"id-{who}", "email": f"{who}@north.example",
              "grades": "05" if who in self.students else "", "password": self.password}
             for who in [*teachers, *self.students, *self.guardians]],
        )  # fmt: skip
        members = [("c1", "t1", "teacher"), ("c2", "t2", "teacher")]
        members += [(class_id, who, "student") for class_id in classes for who in self.students]
        self._file(
            "enrollments",
            [{"sourcedId": f"{class_id}-{who}", "classSourcedId": class_id, "schoolSourcedId": "north",
              "userSourcedId": who, "role": role, "primary": "true" if role == "teacher" else "false"}
             for class_id, who, role in members],
        )  # fmt: skip
        manifest = [("manifest.version", "1.0"), ("oneroster.version", "1.1")]
        manifest += [(f"file.{name}", "bulk") for name in HEADERS] + [
            (f"file.{name}", "absent") for name in NOT_SENT
        ]
        with (self.folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("propertyName", "value"), *manifest])
        return self

    def without(self, *collections: str) -> School:
        """Takes files away: the next sync cannot read those collections."""
        for name in collections:
            (self.folder / f"{name}.csv").unlink()
        return self

    def _file(self, name: str, rows: Iterable[dict[str, str]]) -> None:
        with (self.folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, HEADERS[name].split(","), restval="")
            writer.writeheader()
            writer.writerows(rows)


def document(tenant: str, folder: Path, *, region: str = "UK", logins: Path | None = None) -> str:
    """The tenant's document, with `folder` as its only provider, and maybe a directory."""
    lines = [
        f"tenant: {tenant}",
        f"region: {region}",
        "providers:",
        "  - name: files",
        "    kind: oneroster_csv",
        f"    path: {folder}",
    ]
    if logins is not None:
        lines += ["directories:", "  - name: logins", "    kind: csv", f"    path: {logins}"]
    return "\n".join(lines) + "\n"
