"""Which schools are complete enough to be published, and why the others are kept back.

One school is judged by itself; all other schools are published (product.md, "Schools"). The asset
checks report what is decided here.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from roster_pipeline.codes import Issue
from roster_pipeline.rosters import rows
from roster_pipeline.rosters.current import Current
from roster_pipeline.rosters.schools import Schools
from roster_pipeline.rosters.sessions import Sessions
from roster_pipeline.rosters.source import Published, Source, Tonight

COLUMNS = ["school_id", "name", "identifier", "provider_id", "source_id", "state", "code"]
PUBLISHED, KEPT, EXCLUDED, SILENT, RETIRED = "published", "kept", "excluded", "silent", "retired"

UNUSABLE = frozenset({rows.NO_ID, rows.DUPLICATE, rows.DELETED})
LIMITED = ("role_not_admitted", "school_not_admitted", "grade_not_admitted", "excluded_school")
"""Users whom the settings took out are there all the same: their school is not incomplete."""

_GRADE = 10
_SHARE = 0.5
_SEVERAL = 5

_CODES = {
    "sessions_outdated": "RS-SES-01",
    "no_students": "RS-SAFE-07",
    "no_teachers": "RS-SAFE-08",
    "masked": "RS-SAFE-09",
    "dangling": "RS-REF-05",
    "grade_vanished": "RS-SAFE-10",
}


@dataclass(slots=True)
class Completeness:
    """What becomes of each school.

    Attributes:
        schools: `COLUMNS`. `state` is `published`, `kept`, `excluded`, `silent` (none of its
            providers could speak: it stays as it is) or `retired` (all its providers are).
    """

    schools: pd.DataFrame
    issues: list[Issue] = field(default_factory=list)

    def with_state(self, *states: str) -> set[str]:
        """The school_ids in any of these states."""
        return set(self.schools.loc[self.schools["state"].isin(states), "school_id"])


def judge_schools(
    sources: Sequence[Source],
    schools: Schools,
    sessions: Sessions,
    current: Current,
    published: Published,
    tonight: Tonight,
) -> Completeness:
    """The state of every school that any provider has, or that is published."""
    facts = _Facts(sources, schools, sessions, current, published, tonight)
    excluded = schools.wholly_excluded()
    found = Completeness(pd.DataFrame())
    out = []
    for school in facts.schools():
        state, code = PUBLISHED, ""
        if school.school_id in excluded:
            state = EXCLUDED
        elif school.providers and school.providers <= tonight.retired:
            state = RETIRED
        elif not school.providers & facts.speaking:
            state = SILENT
        elif school.school_id not in facts.with_rows:
            if not school.was_published:
                found.issues.append(Issue("RS-SAFE-12", "An org has no rows.", school=school.name))
                continue
            state, code = KEPT, "RS-SAFE-11"
            found.issues.append(Issue(code, "All rows of the school vanished.", school=school.name))
        else:
            for what, count, message in facts.flaws(school.school_id):
                found.issues.append(Issue(_CODES[what], message, school=school.name, count=count))
                if what in tonight.keeps_back and state == PUBLISHED:
                    state, code = KEPT, _CODES[what]
        out.append((school.school_id, school.name, school.identifier, school.provider_id,
                    school.source_id, state, code))  # fmt: skip
    found.schools = pd.DataFrame(out, columns=COLUMNS).astype(
        {name: "int64" if name == "provider_id" else "str" for name in COLUMNS}
    )
    return found


@dataclass(slots=True)
class _School:
    school_id: str
    name: str
    identifier: str
    provider_id: int
    source_id: str
    providers: set[int]
    was_published: bool


class _Facts:
    """What the rows say of each school; counted once for all schools."""

    def __init__(
        self,
        sources: Sequence[Source],
        schools: Schools,
        sessions: Sessions,
        current: Current,
        published: Published,
        tonight: Tonight,
    ) -> None:
        self.sources, self.orgs, self.published, self.tonight = sources, schools.orgs, published, tonight
        self.speaking = {source.provider_id for source in sources if source.usable}
        self.calendars = {row.school_id: row for row in rows.each(sessions.calendars)}
        classes = sessions.classes[~rows.among(sessions.classes["reason"], UNUSABLE)]
        self.with_classes = set(classes.loc[classes["reason"] != "classroom_data_off", "school_id"])
        users = current.users[rows.among(current.users["reason"], {"", *LIMITED})]
        self.people: dict[str, Counter[str]] = defaultdict(Counter)
        self._count_people(users)
        self._count_enrolments(current.enrolments)
        self.with_rows = set(classes["school_id"].tolist()) | {
            school for school, counted in self.people.items() if counted["rows"]
        }
        self._count_left(current.users)
        self.grades = self._vanished_grades(current.users)

    def schools(self) -> Iterator[_School]:
        """Every school of tonight and every published one, named by its strongest provider."""
        strength = {source.provider_id: source.strength for source in self.sources}
        orgs = self.orgs[self.orgs["school_id"] != ""]
        order = orgs["provider_id"].map(strength)
        mine: dict[str, list[Any]] = defaultdict(list)
        for row in orgs.assign(order=order).sort_values(["order", "source_id"]).itertuples():
            mine[row.school_id].append(row)
        links: dict[str, set[int]] = defaultdict(set)
        for row in rows.each(self.published.school_sources):
            links[row.school_id].add(int(row.provider_id))
        old = {row.school_id: row for row in rows.each(self.published.schools)}
        for school_id in [*mine, *(key for key in old if key not in mine)]:
            here = mine.get(school_id)
            first: Any = here[0] if here else old[school_id]
            named = {r.provider_id for r in here or []}
            yield _School(
                school_id,
                first.name,
                next((r.identifier for r in here or [first] if r.identifier), ""),
                int(first.provider_id),
                first.source_id,
                named | links[school_id],
                school_id in old,
            )

    def flaws(self, school_id: str) -> Iterator[tuple[str, int, str]]:
        """(what, count, message) of everything that is wrong with a school's data."""
        calendar = self.calendars.get(school_id)
        counted = self.people[school_id]
        if calendar is not None:
            age = (self.tonight.as_of - dt.date.fromisoformat(calendar.newest_end)).days
            if age > self.tonight.between_sessions_days:
                yield (
                    "sessions_outdated",
                    1,
                    f"The newest session ended {age} days before {self.tonight.day}.",
                )
        if school_id in self.with_classes and calendar is not None and calendar.current == "true":
            if not counted["student"]:
                yield "no_students", 1, "The school has no students."
            if not counted["teacher"]:
                yield "no_teachers", 1, "The school has no teachers."
        masked = max(counted["masked"], counted["nameless"])
        alike = max(counted["same name"], counted["same e-mail"])
        if masked >= 2 and masked >= _SHARE * counted["rows"]:
            yield "masked", masked, f"{masked} of {counted['rows']} people have masked names or e-mails."
        elif alike >= _SEVERAL and alike >= _SHARE * counted["rows"]:
            yield "masked", alike, f"{alike} of {counted['rows']} people share one name or one e-mail."
        if counted["dangling"] * 10 > counted["enrolments"]:
            yield (
                "dangling",
                counted["dangling"],
                f"{counted['dangling']} of {counted['enrolments']} enrolments refer to nothing.",
            )
        for grade, count in self.grades.get(school_id, ()):
            yield "grade_vanished", count, f"All {count} students of grade {grade} vanished at once."

    def _providers(self, school_id: str) -> set[int]:
        return set(self.orgs.loc[self.orgs["school_id"] == school_id, "provider_id"])

    def _count_people(self, users: pd.DataFrame) -> None:
        combined = pd.DataFrame(
            {
                "schools": users["schools"],
                "roles": users["roles"],
                "masked": users["masked"] == "true",
                "nameless": (users["given_name"] == "") & (users["family_name"] == ""),
            }
        )
        for (schools, roles, masked, nameless), count in combined.value_counts().items():
            held = {role for role, _ in rows.parse_list(roles)}
            for school in rows.parse_list(schools):
                counted = self.people[school]
                counted["rows"] += count
                counted["masked"] += count * masked
                counted["nameless"] += count * nameless
                for role in held & {"student", "teacher"}:
                    counted[role] += count
        for column, what in ((["given_name", "family_name"], "same name"), (["email"], "same e-mail")):
            known = users[(users[column] != "").all(axis=1)]
            for (schools, *_), count in known.value_counts(["schools", *column]).items():
                for school in rows.parse_list(schools):
                    self.people[school][what] = max(self.people[school][what], count)

    def _count_enrolments(self, enrolments: pd.DataFrame) -> None:
        # Rows of different nights refer past each other: that says nothing of the school.
        mixed = {
            source.provider_id
            for source in self.sources
            if "stale" in {source.states[name] for name in ("users", "classes", "enrollments")}
        }
        active = enrolments[~rows.among(enrolments["reason"], UNUSABLE)]
        dangling = (active["dangling"] == "true") & ~rows.among(active["provider_id"], mixed)
        active = active.assign(dangling=dangling.map({True: "true", False: ""}))
        for (school, dangling), count in active.value_counts(["school_id", "dangling"]).items():
            self.people[school]["enrolments"] += count
            self.people[school]["dangling"] += count * (dangling == "true")
        # Somebody who teaches a class is a teacher, whatever the user row says.
        teaching = active[(active["role"] == "teacher") & rows.among(active["reason"], {"", "user_dropped"})]
        for school, count in teaching["school_id"].value_counts().items():
            self.people[str(school)]["teacher"] += count

    def _count_left(self, users: pd.DataFrame) -> None:
        """A school all of whose students have left still has rows."""
        left = users[users["reason"] == "left"]
        for schools in left["schools"].unique():
            self.with_rows.update(rows.parse_list(schools))

    def _vanished_grades(self, users: pd.DataFrame) -> dict[str, list[tuple[str, int]]]:
        """school_id → (grade, students) of grades all of whose published students are gone.

        Gone is who has no row any more, neither under the id nor under the same e-mail and names.
        """
        people = self.published.people
        students = people[
            (people["removed"] != "true") & (people["inactive_since"] == "") & (people["grades"] != "")
        ]
        if students.empty:
            return {}
        proven = {source.provider_id for source in self.sources if source.proven("users")}
        rows_now = users[~rows.among(users["reason"], UNUSABLE)]
        present = set(rows.keys(rows_now, "provider_id", "source_id"))
        known_as = set(rows.keys(rows_now, "email", "given_name", "family_name"))
        links = self.published.person_sources
        links = links[links["removed"] != "true"]
        here = pd.Series(
            [key in present or key[0] not in proven for key in rows.keys(links, "provider_id", "source_id")],
            index=links.index,
            dtype=bool,
        )
        staying = set(links.loc[here, "person_id"].tolist())
        total: Counter[tuple[str, str]] = Counter()
        gone: Counter[tuple[str, str]] = Counter()
        for row in rows.each(students):
            is_gone = row.person_id not in staying and (
                (row.email, row.given_name, row.family_name) not in known_as
            )
            for role in rows.parse_list(row.roles):
                if role["role"] == "student" and role["school_id"]:
                    for grade in rows.parse_list(row.grades):
                        total[role["school_id"], grade] += 1
                        gone[role["school_id"], grade] += is_gone
        out: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for (school, grade), count in sorted(total.items()):
            if count >= _GRADE and gone[school, grade] == count:
                out[school].append((grade, count))
        return out
