"""A small district of two schools of which we know who is who.

Whoever has one sourcedId is one human; `HUMANS` says whose rows are, in 1.1 and in 1.2. Among them are
what tempts to merge wrongly: namesakes, siblings who share an address, people without one.
"""

from __future__ import annotations

from datetime import date
from typing import Final

from roster_pipeline.sandbox.source import TABLES, Row, Tables

DAY: Final = date(2026, 10, 15)
_GIVEN: Final = ("Ada", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hal", "Ida", "Jon", "Kim", "Léo")
_FAMILY: Final = ("Archer", "Baker", "Carter", "Dyer", "Ellis", "Fuller", "Glover", "Hooper")
_SUBJECTS: Final = ("English", "Mathematics", "Science")
_STUDENTS: Final = 18
"""Of each school."""


def district() -> Tables:
    """The rows, as a sandbox takes them: two schools with 18 students, 3 teachers and 6 classes each."""
    tables: Tables = {name: [] for name in TABLES}
    tables["orgs"] = [
        _org("o1", "Riverbend District", "district", "100", ""),
        _org("o2", "North School", "school", "102", "o1"),
        _org("o3", "South School", "school", "103", "o1"),
    ]
    tables["academicSessions"] = [
        _session("y", "School Year", "schoolYear", "2026-08-17", "2027-06-18", ""),
        _session("s1", "Semester 1", "semester", "2026-08-17", "2027-01-24", "y"),
        _session("s2", "Semester 2", "semester", "2027-01-25", "2027-06-18", "y"),
    ]
    tables["courses"] = [
        {
            "sourcedId": f"k{number}", "title": subject, "courseCode": f"C{number}", "schoolYear": "y",
            "org": "o1", "grades": ["07", "08"], "subjects": [subject], "subjectCodes": [f"0{number}001"],
        }
        for number, subject in enumerate(_SUBJECTS, 1)
    ]  # fmt: skip
    for school in ("o2", "o3"):
        _fill(tables, school)
    _guardians(tables)
    return tables


def _org(source_id: str, name: str, kind: str, identifier: str, parent: str) -> Row:
    return {"sourcedId": source_id, "name": name, "type": kind, "identifier": identifier, "parent": parent}


def _session(source_id: str, title: str, kind: str, start: str, end: str, parent: str) -> Row:
    return {
        "sourcedId": source_id, "title": title, "type": kind, "startDate": start, "endDate": end,
        "schoolYear": "2027", "parent": parent,
    }  # fmt: skip


def _user(source_id: str, number: int, role: str, school: str, given: str, family: str) -> Row:
    return {
        "sourcedId": source_id, "enabledUser": "true", "username": source_id, "givenName": given,
        "familyName": family, "identifier": f"{number:05}", "roles": [[role, school, "", ""]],
        "email": f"{source_id}@riverbend.example",
    }  # fmt: skip


def _fill(tables: Tables, school: str) -> None:
    letter = {"o2": "n", "o3": "s"}[school]
    base = 100 * int(school[1:])
    teachers = [
        _user(f"t{letter}{n}", base + 50 + n, "teacher", school, _GIVEN[-n], _FAMILY[n]) for n in range(1, 4)
    ]
    pupils = []
    for n in range(1, _STUDENTS + 1):
        row = _user(
            f"p{letter}{n:02}", base + n, "student", school, _GIVEN[n % 12], _FAMILY[(n * 3 + base) % 8]
        )
        row["grades"] = ["07" if n % 2 else "08"]
        pupils.append(row)
    # Namesakes in two schools, siblings with one address, and one without any.
    pupils[0] |= {"givenName": "Sam", "familyName": "Smith"}
    pupils[1] |= {"givenName": "Pat", "familyName": "Jones", "email": f"jones.{letter}@family.example"}
    pupils[2] |= {"givenName": "Max", "familyName": "Jones", "email": f"jones.{letter}@family.example"}
    del pupils[3]["email"]
    tables["users"] += [*teachers, *pupils]
    for n, subject in enumerate(_SUBJECTS, 1):
        for grade in ("07", "08"):
            class_id = f"c{letter}{n}{grade[1]}"
            tables["classes"].append(
                {
                    "sourcedId": class_id, "title": f"{subject} {grade} {letter.upper()}",
                    "classCode": f"{letter.upper()}{n}-{grade}", "classType": "scheduled",
                    "location": f"R{n}", "course": f"k{n}", "school": school,
                    "terms": ["s1", "s2"], "grades": [grade], "subjects": [subject],
                    "subjectCodes": [f"0{n}001"], "periods": [str(n)],
                }
            )  # fmt: skip
            members = [teachers[n - 1], *(row for row in pupils if row["grades"] == [grade])]
            tables["enrollments"] += [
                {
                    "sourcedId": f"e-{class_id}-{row['sourcedId']}", "user": row["sourcedId"],
                    "class": class_id, "school": school, "role": row["roles"][0][0],
                    "primary": "true" if row["roles"][0][0] == "teacher" else "false",
                    "beginDate": "2026-08-17", "endDate": "2027-06-18",
                }
                for row in members
            ]  # fmt: skip


def _guardians(tables: Tables) -> None:
    """Of every third student; one of them is a teacher as well, and so two rows in 1.1."""
    users = {row["sourcedId"]: row for row in tables["users"]}
    pupils = [row for row in tables["users"] if row["sourcedId"].startswith("p")]
    users["tn1"]["roles"].append(["guardian", "o2", "", ""])
    users["tn1"]["agents"] = ["pn05"]
    users["pn05"]["agents"] = ["tn1"]
    for number, pupil in enumerate(pupils[::3]):
        school = pupil["roles"][0][1]
        adult = _user(
            f"g{number}", 900 + number, "guardian", school, _GIVEN[number % 12], pupil["familyName"]
        )
        adult |= {"phone": f"555-01{number:02}", "agents": [pupil["sourcedId"]]}
        pupil["agents"] = [*pupil.get("agents", ()), adult["sourcedId"]]
        tables["users"].append(adult)


def human_of(source_id: str) -> str:
    """Who has a sourcedId: in 1.1 somebody with two roles has two."""
    return source_id.removesuffix("-guardian")
