"""Two nights of one small district that differ in every row: a roster that mixes them is seen as mixed."""

from __future__ import annotations

import copy
from datetime import date, timedelta
from typing import Final

from roster_pipeline.sandbox.generator import DAY, generate
from roster_pipeline.sandbox.source import Tables

STUDENTS: Final = 30
TONIGHT: Final = DAY + timedelta(days=1)


def last_night(students: int = STUDENTS, *, guardians: bool = True) -> Tables:
    """A small district as its school exported it."""
    return generate(students, seed=5, guardians=guardians, left=0).tables


def tonight(tables: Tables) -> Tables:
    """Other names, titles and dates everywhere; a student is gone, one is new, and there is a class more."""
    new = copy.deepcopy(tables)
    gone = next(row for row in new["users"] if row["roles"][0][0] == "student")
    new["users"].remove(gone)
    new["enrollments"] = [row for row in new["enrollments"] if row["user"] != gone["sourcedId"]]
    for row in new["users"]:
        row["familyName"] += " II"
    for table, name in (("orgs", "name"), ("academicSessions", "title"), ("classes", "title")):
        for row in new[table]:
            row[name] += " II"
    for row in new["enrollments"]:
        row["endDate"] = (date.fromisoformat(row["endDate"]) - timedelta(days=1)).isoformat()
    new["users"].append(
        {**gone, "sourcedId": "new", "givenName": "Nova", "identifier": "n-1", "email": "n@x.org"}
    )
    new["classes"].append({**new["classes"][0], "sourcedId": "club", "title": "Club II"})
    like = new["enrollments"][0]
    new["enrollments"] += [
        {**like, "sourcedId": f"club-{row['sourcedId']}", "class": "club", "user": row["sourcedId"],
         "role": "student", "primary": "false"}
        for row in new["users"] if row["roles"][0][0] == "student"
    ]  # fmt: skip
    return new
