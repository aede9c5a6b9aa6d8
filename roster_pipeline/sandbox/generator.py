"""Plausible school districts of any size, the same for the same seed, as rows and not as a server.

Here belongs what a district looks like: schools, a year of two semesters, courses, classes, staff,
students, families. Rows are as `source` describes them. What nobody would find in a healthy district
(dangling references, bad dates, unknown roles) is for tests to put in.
"""

from __future__ import annotations

import hashlib
import random
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import accumulate
from typing import Final

from roster_pipeline.sandbox.names import DISTRICTS, FAMILY_NAMES, GIVEN, PLACES
from roster_pipeline.sandbox.source import FAMILY, TABLES, Row, Tables

DAY: Final = date(2026, 10, 15)
GRADES: Final = ("KG", *(f"{grade:02}" for grade in range(1, 13)))
STUDENTS_A_SCHOOL: Final = 600
CLASS_SIZE: Final = 25
CLASSES_A_TEACHER: Final = 6

# Subject, code, when it is taught. With the homeroom a student has eight classes a year.
_SUBJECTS: Final = (
    ("English", "01001", "year"),
    ("Mathematics", "02051", "year"),
    ("Science", "03001", "year"),
    ("Social Studies", "04001", "year"),
    ("Physical Education", "08001", "year"),
    ("Art", "05154", "first"),
    ("Music", "05101", "second"),
)
_CORE: Final = frozenset({"English", "Mathematics", "Science", "Social Studies"})
_MAIL: Final = ("mail.example", "post.example", "inbox.example", "letters.example")


@dataclass(frozen=True, slots=True)
class SchoolYear:
    """A school year of two semesters without a gap between them; `end` is its last day."""

    start: date
    second_semester: date
    end: date

    @property
    def label(self) -> str:
        """OneRoster's `schoolYear`: the calendar year in which it ends."""
        return str(self.end.year)

    @property
    def title(self) -> str:
        """For people: `2026-2027`, or one year."""
        return self.label if self.start.year == self.end.year else f"{self.start.year}-{self.end.year}"


def school_year_around(day: date) -> SchoolYear:
    """A school year that `day` lies in: August to June, or February to December where that is a holiday."""
    start_year = day.year if day >= date(day.year, 8, 17) else day.year - 1
    northern = SchoolYear(date(start_year, 8, 17), date(start_year + 1, 1, 25), date(start_year + 1, 6, 18))
    if northern.start <= day <= northern.end:
        return northern
    return SchoolYear(date(day.year, 2, 1), date(day.year, 7, 6), date(day.year, 12, 15))


@dataclass(frozen=True, slots=True)
class District:
    """A district's rows; `left` are the students whose enrolments have all ended by `day`."""

    name: str
    domain: str
    day: date
    year: SchoolYear
    tables: Tables
    left: frozenset[str] = frozenset()

    @property
    def rows(self) -> int:
        """How many rows there are, demographics included."""
        return sum(map(len, self.tables.values()))


def generate(
    students: int, *, seed: int = 1, day: date = DAY, guardians: bool = True, left: float = 0.01
) -> District:
    """Make a district of exactly this many students whose school year contains `day`.

    About one school per 600 students, eight enrolments a student (the homeroom and seven classes of at
    most 25), about one guardian a student, 2 % of the people without e-mail; `left` is the share of
    students who left before `day`. Raises ValueError for fewer than one student.
    """
    if students < 1:
        raise ValueError("a district has at least one student")
    return _Builder(students, _rng(seed), day, guardians, left).district()


def _rng(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - repeatable on purpose; it protects nothing


@dataclass(slots=True)
class _Family:
    name: str
    children: list[Row]
    schools: list[str]
    teacher: Row | None = None


class _Builder:
    def __init__(self, students: int, rng: random.Random, day: date, guardians: bool, left: float) -> None:
        self.students = students
        self.rng = rng
        self.day = day
        self.with_guardians = guardians
        self.left_share = left
        self.year = school_year_around(day)
        name = rng.choice(DISTRICTS)
        self.name = f"{name} Unified School District"
        self.domain = f"{_ascii(name)}.example"
        self.slugs = {name: _ascii(name) for name in (*GIVEN, *FAMILY_NAMES)}
        self.taken: dict[str, int] = {}
        self.number = rng.randrange(1000, 9000)
        self.tables: Tables = {name: [] for name in TABLES}
        self.families: list[_Family] = []
        self.left: set[str] = set()
        self.enrolments = 1
        # Some surnames are common and most are not: shared surnames that mean nothing.
        self.family_weights = list(accumulate(1 / (place + 8) for place in range(len(FAMILY_NAMES))))

    def district(self) -> District:
        self._sessions()
        self._courses()
        district = self._org(self.name, "district", "", "0100")
        for place, (label, grades, counts) in enumerate(_schools(self.students)):
            name = self._school_name(label)
            school = self._org(name, "school", district, f"01{place + 1:02}")
            self._school(school, grades, counts)
        if self.with_guardians:
            self._guardians()
        return District(self.name, self.domain, self.day, self.year, self.tables, frozenset(self.left))

    # ------------------------------------------------------------ frame

    def _sessions(self) -> None:
        year = self.year
        rows = (
            ("year", f"{year.title} School Year", "schoolYear", year.start, year.end, ""),
            ("s1", "Semester 1", "semester", year.start, year.second_semester - timedelta(days=1), "year"),
            ("s2", "Semester 2", "semester", year.second_semester, year.end, "year"),
        )
        self.session_ids = {key: f"{year.label}-{key}" for key, *_ in rows}
        for key, title, kind, start, end, parent in rows:
            self.tables["academicSessions"].append(
                {
                    "sourcedId": self.session_ids[key],
                    "title": title,
                    "type": kind,
                    "startDate": start.isoformat(),
                    "endDate": end.isoformat(),
                    "schoolYear": year.label,
                    "parent": self.session_ids.get(parent, ""),
                }
            )
        first, second = self.session_ids["s1"], self.session_ids["s2"]
        half = year.second_semester
        self.terms = {
            "homeroom": ([self.session_ids["year"]], year.start.isoformat(), year.end.isoformat()),
            "year": ([first, second], year.start.isoformat(), year.end.isoformat()),
            "first": ([first], year.start.isoformat(), (half - timedelta(days=1)).isoformat()),
            "second": ([second], half.isoformat(), year.end.isoformat()),
        }

    def _courses(self) -> None:
        for grade in GRADES:
            for subject, code, _ in (("Homeroom", "22106", ""), *_SUBJECTS):
                self.tables["courses"].append(
                    {
                        "sourcedId": _course(subject, grade),
                        "title": f"{subject} {grade}",
                        "courseCode": f"{code[:2]}{grade}{code[2:]}",
                        "schoolYear": self.session_ids["year"],
                        "org": "o0100",
                        "grades": [grade],
                        "subjects": [subject],
                        "subjectCodes": [code],
                    }
                )

    def _school_name(self, label: str) -> str:
        """A name that no other school of the district has."""
        used = {org["name"] for org in self.tables["orgs"]}
        while (name := f"{' '.join(self.rng.sample(PLACES, 2))} {label}") in used:
            pass
        return name

    def _org(self, name: str, kind: str, parent: str, identifier: str) -> str:
        source_id = f"o{identifier}"
        self.tables["orgs"].append(
            {"sourcedId": source_id, "name": name, "type": kind, "identifier": identifier, "parent": parent}
        )
        return source_id

    # ------------------------------------------------------------ people

    def _person(
        self, given: str, family: str, role: str, orgs: Iterable[str], domain: str, prefix: str
    ) -> Row:
        self.number += 1
        source_id = f"{prefix}{self.number}"
        local = f"{self.slugs[given]}.{self.slugs[family]}"
        # One local part belongs to one person of the district, whatever domain they write from.
        count = self.taken[local] = self.taken.get(local, 0) + 1
        if count > 1:
            local = f"{local}{count}"
        row: Row = {
            "sourcedId": source_id,
            "enabledUser": "true",
            "username": local,
            "givenName": given,
            "familyName": family,
            "identifier": f"{self.number:07}",
            "roles": [[role, org, "", ""] for org in orgs],
            # Served as they are, so that a client must drop them.
            "metadata": {"locker": f"L{self.number % 900:03}"},
        }
        if self.rng.random() >= 0.02:
            row["email"] = f"{local}@{domain}"
        self.tables["users"].append(row)
        return row

    def _staff(self, school: str, role: str) -> Row:
        rng = self.rng
        family = rng.choices(FAMILY_NAMES, cum_weights=self.family_weights)[0]
        parent_of = None
        if self.with_guardians and role == "teacher" and rng.random() < 0.03:
            parent_of = rng.choice(self.families)
            if parent_of.teacher is None:
                family = parent_of.name
            else:
                parent_of = None
        person = self._person(
            rng.choice(GIVEN), family, role, [school], self.domain, "t" if role == "teacher" else "a"
        )
        person["phone"] = f"555-01{rng.randrange(100):02}"
        if parent_of:
            parent_of.teacher = person
        return person

    def _student(self, given: str, school: str, grade: str) -> Row:
        rng = self.rng
        families = self.families
        if families and rng.random() < 0.35:
            # Siblings are near in age and so, mostly, near in the list.
            family = families[-1 - int(len(families) * rng.random() * rng.random())]
            if len(family.children) >= 4:
                family = families[-1]
        else:
            family = _Family(rng.choices(FAMILY_NAMES, cum_weights=self.family_weights)[0], [], [])
            families.append(family)
        row = self._person(given, family.name, "student", [school], f"students.{self.domain}", "s")
        row["grades"] = [grade]
        row["userIds"] = [["StateID", f"00{self.number * 7}"]]
        if grade < "06" or grade == "KG":
            # Young children sign in with a badge; a careful client never stores this.
            row["password"] = f"badge-{self.number * 13 % 10007}"
        family.children.append(row)
        if school not in family.schools:
            family.schools.append(school)
        born = self.year.start.year - 5 - GRADES.index(grade)
        self.tables["demographics"].append(
            {
                "sourcedId": row["sourcedId"],
                "birthDate": f"{born}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}",
                "sex": "female" if self.number % 2 else "male",
            }
        )
        return row

    def _guardians(self) -> None:
        rng = self.rng
        for family in self.families:
            adults = [family.teacher] if family.teacher else []
            relation = rng.choices(("guardian", "parent", "relative"), weights=(80, 15, 5))[0]
            for adult in adults:
                adult["roles"] += [[relation, school, "", ""] for school in family.schools]
            for _ in range(len(adults), 1 if rng.random() < 0.4 else 2):
                # One in five adults has another surname than the children.
                name = family.name if rng.random() < 0.8 else rng.choice(FAMILY_NAMES)
                adult = self._person(
                    rng.choice(GIVEN), name, relation, family.schools, rng.choice(_MAIL), "g"
                )
                if rng.random() < 0.7:
                    adult["phone"] = f"555-01{rng.randrange(100):02}"
                adult["enabledUser"] = "true" if rng.random() < 0.6 else "false"
                adults.append(adult)
            how = rng.random()
            if how < 0.8:
                ids = [adult["sourcedId"] for adult in adults]
                for child in family.children:
                    child["agents"] = list(ids)
            if how >= 0.7:
                ids = [child["sourcedId"] for child in family.children]
                for adult in adults:
                    adult["agents"] = list(ids)

    # ------------------------------------------------------------ a school

    def _school(self, school: str, grades: Sequence[str], counts: Sequence[int]) -> None:
        rng = self.rng
        self._staff(school, "administrator")
        specialists: dict[str, tuple[str, int]] = {}
        begun = (self.day - self.year.start).days
        for grade, count in zip(grades, counts, strict=True):
            if not count:
                continue
            pupils = [
                self._student(given, school, grade)["sourcedId"] for given in rng.choices(GIVEN, k=count)
            ]
            gone = {
                pupil: (self.year.start + timedelta(days=rng.randrange(1, begun))).isoformat()
                for pupil in pupils
                if begun > 1 and rng.random() < self.left_share
            }
            self.left.update(gone)
            sections = -(-count // CLASS_SIZE)
            young = grade == "KG" or grade <= "05"
            own_teachers = (
                [self._staff(school, "teacher")["sourcedId"] for _ in range(sections)] if young else []
            )
            homeroom_teachers = own_teachers
            for period, (subject, code, when) in enumerate((*_SUBJECTS, ("Homeroom", "22106", "homeroom"))):
                if young and (subject in _CORE or subject == "Homeroom"):
                    teachers = own_teachers
                elif subject == "Homeroom":
                    teachers = homeroom_teachers
                else:
                    teachers = [self._specialist(school, subject, specialists) for _ in range(sections)]
                if subject == "English":
                    homeroom_teachers = teachers
                if not young and subject != "Homeroom":
                    # Older students meet other classmates in every subject.
                    pupils = pupils[:]
                    rng.shuffle(pupils)
                for section in range(sections):
                    self._class(
                        school,
                        grade,
                        (subject, code, when, str(period + 1) if subject != "Homeroom" else "0"),
                        section,
                        teachers[section],
                        pupils[section::sections],
                        gone,
                    )

    def _specialist(self, school: str, subject: str, known: dict[str, tuple[str, int]]) -> str:
        teacher, load = known.get(subject, ("", CLASSES_A_TEACHER))
        if load >= CLASSES_A_TEACHER:
            teacher, load = self._staff(school, "teacher")["sourcedId"], 0
        known[subject] = (teacher, load + 1)
        return teacher

    def _class(
        self,
        school: str,
        grade: str,
        course: tuple[str, str, str, str],
        section: int,
        teacher: str,
        pupils: Sequence[str],
        gone: dict[str, str],
    ) -> None:
        subject, code, when, period = course
        terms, begin, end = self.terms[when]
        letter = chr(65 + section) if section < 26 else f"S{section + 1}"
        source_id = f"c{school[1:]}-{code}-{grade}{letter}"
        self.tables["classes"].append(
            {
                "sourcedId": source_id,
                "title": f"{subject} {grade}{letter}",
                "classCode": f"{code[:2]}{grade}-{letter}",
                "classType": "homeroom" if when == "homeroom" else "scheduled",
                "location": f"Room {100 + len(self.tables['classes']) % 80}",
                "course": _course(subject, grade),
                "school": school,
                "terms": terms,
                "grades": [grade],
                "subjects": [subject],
                "subjectCodes": [code],
                "periods": [period],
            }
        )
        number = self.enrolments
        self.enrolments += 1 + len(pupils)
        rows: list[Row] = [
            {
                "sourcedId": f"e{number}",
                "user": pupil,
                "class": source_id,
                "school": school,
                "role": "student",
                "primary": "false",
                "beginDate": begin,
                "endDate": end,
            }
            for number, pupil in enumerate(pupils, number + 1)
        ]
        if gone and not gone.keys().isdisjoint(pupils):
            for row in rows:
                row["endDate"] = min(gone.get(row["user"], end), end)
            # Whoever left never began what starts later.
            rows = [row for row in rows if begin <= row["endDate"]]
        taught = {
            "sourcedId": f"e{number}",
            "user": teacher,
            "class": source_id,
            "school": school,
            "role": "teacher",
            "primary": "true",
            "beginDate": begin,
            "endDate": end,
        }
        self.tables["enrollments"] += [taught, *rows]


def _course(subject: str, grade: str) -> str:
    return f"k{subject.replace(' ', '')}-{grade}"


_PLAIN: Final = {ord("ø"): "o", ord("ł"): "l", ord("ı"): "i", ord("đ"): "d", ord("ß"): "ss"}


def _ascii(text: str) -> str:
    """Letters and digits only, as in an e-mail address."""
    replaced = text.lower().translate(_PLAIN)
    plain = unicodedata.normalize("NFKD", replaced).encode("ascii", "ignore").decode()
    return "".join(letter for letter in plain if letter.isalnum())


def _schools(students: int) -> list[tuple[str, tuple[str, ...], list[int]]]:
    """(kind of school, its grades, students of each grade) for every school; the students add up."""
    schools = max(1, round(students / STUDENTS_A_SCHOOL))
    if schools == 1:
        levels = [("School", GRADES, 1)]
    elif schools == 2:
        levels = [("Primary School", GRADES[:7], 1), ("High School", GRADES[7:], 1)]
    else:
        middle, high = max(1, round(schools * 3 / 13)), max(1, round(schools * 4 / 13))
        levels = [
            ("Elementary School", GRADES[:6], schools - middle - high),
            ("Middle School", GRADES[6:9], middle),
            ("High School", GRADES[9:], high),
        ]
    by_grade = dict(zip(GRADES, _shares(students, len(GRADES)), strict=True))
    found = []
    for label, grades, count in levels:
        shares = [_shares(by_grade[grade], count, number) for number, grade in enumerate(grades)]
        found += [(label, grades, [share[place] for share in shares]) for place in range(count)]
    return found


def _shares(total: int, parts: int, turn: int = 0) -> list[int]:
    """`total` in `parts` nearly equal whole parts; the larger ones begin at place `turn`."""
    least, over = divmod(total, parts)
    return [least + ((place - turn) % parts < over) for place in range(parts)]


# ---------------------------------------------------------------- the same people, seen elsewhere


def as_second_provider(
    district: District, *, seed: int = 1, other_domain: float = 0.3, missing: float = 0.02, own: float = 0.01
) -> District:
    """The same district as another system sees it: other ids everywhere, another e-mail domain for some.

    `other_domain` is the share of students and staff whose address has the same local part at another
    domain; `missing` the share of students whom it does not have (nor their enrolments); `own` the share
    of further students whom only it has, and who are in no class.
    """
    rng = _rng(seed)
    old = district.tables
    users = [row for row in old["users"] if not _is_student(row) or rng.random() >= missing]
    kept = {row["sourcedId"] for row in users}
    ids: dict[str, str] = {"": ""}

    def new(source_id: str) -> str:
        known = ids.get(source_id)
        if known is None:
            known = ids[source_id] = hashlib.blake2b(
                source_id.encode(), digest_size=12, key=b"second"
            ).hexdigest()
        return known

    tables: Tables = {"demographics": []}
    for name in ("orgs", "academicSessions"):
        tables[name] = [
            {**row, "sourcedId": new(row["sourcedId"]), "parent": new(row["parent"])} for row in old[name]
        ]
    tables["courses"] = [
        {
            **row,
            "sourcedId": new(row["sourcedId"]),
            "schoolYear": new(row["schoolYear"]),
            "org": new(row["org"]),
        }
        for row in old["courses"]
    ]
    tables["classes"] = [
        {
            **row,
            "sourcedId": new(row["sourcedId"]),
            "course": new(row["course"]),
            "school": new(row["school"]),
            "terms": [new(term) for term in row["terms"]],
        }
        for row in old["classes"]
    ]
    tables["enrollments"] = [
        {
            **row,
            "sourcedId": new(row["sourcedId"]),
            "user": new(row["user"]),
            "class": new(row["class"]),
            "school": new(row["school"]),
        }
        for row in old["enrollments"]
        if row["user"] in kept
    ]
    domain = f"launch.{district.domain}"
    tables["users"] = []
    for row in users:
        user = {
            **row,
            "sourcedId": new(row["sourcedId"]),
            "roles": [[role, new(org), begin, end] for role, org, begin, end in row["roles"]],
        }
        if "agents" in row:
            user["agents"] = [new(agent) for agent in row["agents"] if agent in kept]
        if "email" in row and row["roles"][0][0] not in FAMILY and rng.random() < other_domain:
            user["email"] = f"{row['email'].rpartition('@')[0]}@{domain}"
        tables["users"].append(user)
    pupils = [row for row in tables["users"] if _is_student(row)]
    for number in range(round(len(pupils) * own)):
        like = rng.choice(pupils)
        local = f"guest.pupil{number + 1}"
        tables["users"].append(
            {
                "sourcedId": new(local),
                "enabledUser": "true",
                "username": local,
                "givenName": rng.choice(GIVEN),
                "familyName": rng.choice(FAMILY_NAMES),
                "identifier": f"9{number:06}",
                "email": f"{local}@{domain}",
                "grades": like["grades"],
                "roles": like["roles"],
            }
        )
    return District(
        district.name,
        district.domain,
        district.day,
        district.year,
        tables,
        frozenset(new(one) for one in district.left if one in kept),
    )


def with_unfinished_school(district: District) -> District:
    """The same district, whose last school is not set up whole: it has its classes and no teachers yet."""
    old = district.tables
    school = [row for row in old["orgs"] if row["type"] == "school"][-1]["sourcedId"]
    here = {row["sourcedId"] for row in old["users"] if ["teacher", school] in [r[:2] for r in row["roles"]]}
    users = [
        {**row, "agents": [agent for agent in row["agents"] if agent not in here]} if "agents" in row else row
        for row in old["users"]
        if row["sourcedId"] not in here
    ]
    enrolments = [row for row in old["enrollments"] if row["user"] not in here]
    return replace(district, tables={**old, "users": users, "enrollments": enrolments})


def _is_student(row: Row) -> bool:
    return bool(row["roles"][0][0] == "student")
