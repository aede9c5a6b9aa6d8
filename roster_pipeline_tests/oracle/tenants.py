"""Small tenants made up at random; what happens in them from night to night is in `changes`.

A tenant has one to four providers with one to three schools, random options, and a few kinds of flaws
(`FLAWS`), so that each flaw is seen alone and with others. What the page does not decide is not made where
it can be told beforehand; the rest is `Silent`. Everything follows from the one `random.Random`.
"""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import dataclass, field
from typing import Any, Final

from roster_pipeline_tests.rosters import FIRST_NIGHT, Directory, Provider

NAMES: Final = ("sis", "cl", "tp", "annexe")
SCHOOLS: Final = ("north", "south", "east", "west")
FLAWS: Final = (
    "duplicate", "deleted", "dangling", "dangling-many", "orphan-org", "staff", "masked", "shared",
    "no-email", "letter-case", "equal-names", "no-terms", "odd-role", "no-teachers", "no-students",
    "outdated", "between", "dates", "two-rows", "teacher-guardian", "two-schools", "bad-session", "by-name",
    "all-masked", "namesake", "extra-class", "dated-roles",
    "no-enrolment",
)  # fmt: skip


@dataclass
class Human:
    """Somebody in a school; `sid` of each provider that knows them."""

    number: int
    role: str
    school: str
    sids: dict[str, str] = field(default_factory=dict)

    @property
    def local(self) -> str:
        return f"h{self.number}"


@dataclass
class Made:
    """A tenant, its flaws, and what has happened so far (to tell a failure)."""

    rng: random.Random
    providers: list[Provider] = field(default_factory=list)
    directories: list[Directory] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    flaws: set[str] = field(default_factory=set)
    humans: list[Human] = field(default_factory=list)
    as_of: dt.date = FIRST_NIGHT
    away: dict[tuple[str, str], tuple[dict[str, Any], dict[str, dict[str, Any]]]] = field(
        default_factory=dict
    )
    hidden: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)  # rows to come back tomorrow
    told: list[str] = field(default_factory=list)

    @property
    def happened(self) -> str:
        """The flaws, and the changes of each night."""
        return f"flaws {' '.join(sorted(self.flaws))}; nights {' '.join(self.told)}"

    def one(self, name: str) -> Provider:
        return next(one for one in self.providers if one.name == name)

    def maybe(self, chance: float) -> bool:
        return self.rng.random() < chance


def make(rng: random.Random) -> Made:
    """A tenant as it is on its first night."""
    made = Made(rng)
    made.flaws = {flaw for flaw in FLAWS if rng.random() < 0.15}
    for place in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        made.providers.append(_provider(made, place))
    made.settings = {}
    if made.maybe(0.4):
        made.settings["grace_days"] = rng.choice((0, 1, 1, 2))
    if made.maybe(0.3):
        made.settings["keeps_back"] = tuple(
            one for one in ("no_students", "no_teachers", "dangling", "sessions_outdated") if made.maybe(0.5)
        )
    elif not made.flaws & {"all-masked"}:
        made.settings["keeps_back"] = (
            "no_students",
            "no_teachers",
            "dangling",
            "sessions_outdated",
            "grade_vanished",
        )
    else:
        made.flaws -= {"masked", "shared", "no-email"}
    if made.settings.get("keeps_back") is not None:
        made.flaws -= {"all-masked"}
    _schools(made)
    for one in made.providers:
        _spoil(made, one)
    for name in ("logins", "staff")[: rng.choice((0, 0, 0, 1, 2))]:
        made.directories.append(_directory(made, name))
    return made


def _provider(made: Made, place: int) -> Provider:
    rng = made.rng
    options: dict[str, Any] = {
        "respect_enrolment_date": made.maybe(0.5),
        "respect_academic_sessions": made.maybe(0.5),
        "sync_classroom_data": made.maybe(0.85),
        "end_dates": rng.choice(("inclusive", "exclusive")),
        "compatibility_mode": made.maybe(0.2),
        "merge": {
            "priority": (100, 50, 10, 5)[place],
            "key": rng.choice(("email", "email", "email_without_domain")),
            "attach_to_existing_users_only": place > 0 and made.maybe(0.3),
            "check_names": rng.choice((None, None, True, False)),
        },
    }
    # Whether the guardian of a student who matched nobody is current, the page does not say.
    if made.maybe(0.4) and not options["merge"]["attach_to_existing_users_only"]:
        options |= {
            "sync_parent_data": True,
            "relationship_type": rng.choice(("guardian", "guardian", "parent")),
        }
    return Provider(NAMES[place], options)


def _schools(made: Made) -> None:
    rng = made.rng
    schools = SCHOOLS[: rng.choice((1, 2, 3, 4))]
    shared = made.maybe(0.3)
    for one in made.providers:
        first = one is made.providers[0]
        mine = [school for school in schools if first or made.maybe(0.6)] or [schools[-1]]
        one.option(share_classes=shared)
        if "between" in made.flaws:  # where one's classes are over and another's are not, the page is silent
            one.option(respect_academic_sessions=made.providers[0].options["respect_academic_sessions"])
        for school in mine:
            identifier = school.upper() if "by-name" not in made.flaws or first or made.maybe(0.5) else ""
            one.org(school, identifier=identifier)
        if "staff" in made.flaws:
            one.org("district", "The District", type="district", identifier="")
        one.course("maths")
        for school in mine:
            _sessions(made, one, school)
            _people(made, one, school)
            _classes(made, one, school)
        if made.maybe(0.2):
            excluded = rng.choice(schools)
            one.option(
                exclude_schools=[rng.choice((excluded, excluded.upper(), f"{excluded.capitalize()} School"))]
            )
        kind = rng.choice(("", "", "", "grades", "schools", "roles"))
        if kind == "grades":
            one.option(limit_to={"grades": ["09"]})
        elif kind == "schools" and "staff" not in made.flaws and "orphan-org" not in made.flaws:
            one.option(limit_to={"schools": mine[:1]})
        elif kind == "roles" and not made.flaws & {"two-rows", "teacher-guardian", "odd-role"}:
            one.option(limit_to={"roles": ["student", "teacher"]})


def _sessions(made: Made, one: Provider, school: str) -> None:
    last = school == SCHOOLS[0] and len(made.providers[0].rows["orgs"]) > 1
    year = "2025-08-18..2026-06-12"
    if "between" in made.flaws and last:
        year = "2025-02-03..2025-09-26"
    elif "outdated" in made.flaws and last:
        year = "2024-08-19..2025-05-30"
    one.session(f"{school}-year", year, kind="schoolYear", schoolYear="2026")
    if year.endswith("06-12"):
        parent = {"parent": f"{school}-year"}
        one.session(f"{school}-t1", "2025-08-18..2025-10-10", **parent)
        one.session(f"{school}-t2", "2025-10-13..2025-12-19", **parent)
        one.session(f"{school}-sem", "2025-08-18..2026-01-16", kind="semester", **parent)
        one.session(f"{school}-gp", "2025-10-13..2025-11-07", kind="gradingPeriod", **parent)
        if "bad-session" in made.flaws:
            one.session(
                f"{school}-odd", made.rng.choice(("2025-12-01..2025-09-01", "..", "soon..never")), **parent
            )


def _people(made: Made, one: Provider, school: str) -> None:
    """Humans of this school: some whom a stronger provider has too, some of this one alone."""
    rng = made.rng
    known = [human for human in made.humans if human.school == school]
    first = not known
    mine = [human for human in known if made.maybe(0.6)]
    for role, count in (("t", rng.choice((2, 2, 3))), ("s", rng.choice((8, 9, 12))), ("g", 3)):
        for _ in range(count if first else rng.choice((0, 1, 2))):
            human = Human(len(made.humans), role, school)
            made.humans.append(human)
            mine.append(human)
    family = one.options.get("relationship_type", "guardian")
    students = [human for human in mine if human.role == "s"]
    for human in mine:
        human.sids[one.name] = f"{human.role}{human.number}" + (f"-{one.name}" if made.maybe(0.3) else "")
        fields: dict[str, Any] = {
            "orgs": school,
            "given": f"Given{human.number}",
            "family": f"Family{human.number}",
            "email": f"{human.local}@{domain_of(one)}",
            "identifier": str(1000 + human.number) if made.maybe(0.7) else "",
            "phone": f"555 {human.number}" if made.maybe(0.5) else "",
            "role": {"t": "teacher", "s": "student", "g": family if made.maybe(0.8) else "relative"}[
                human.role
            ],
            "grades": [rng.choice(("09", "09", "10"))] if human.role == "s" else [],
        }
        if human.role == "g" and students:
            fields["agents"] = [
                s.sids.get(one.name, "x") for s in rng.sample(students, min(2, len(students)))
            ]
            if made.maybe(0.2):
                fields |= {"email": "", "phone": ""}
        one.users(human.sids[one.name], **fields)
    for human in students:
        guardians = [h.sids[one.name] for h in mine if h.role == "g"]
        if made.maybe(0.4) and guardians:
            one.users(human.sids[one.name], agents=[rng.choice([*guardians, "nobody"])])


def domain_of(one: Provider) -> str:
    return "north.example" if one.options["merge"]["key"] == "email" else f"{one.name}.example"


def people_of(made: Made, one: Provider, school: str, role: str) -> list[str]:
    return [
        human.sids[one.name]
        for human in made.humans
        if human.school == school and human.role == role and human.sids.get(one.name) in one.rows["users"]
    ]


def _classes(made: Made, one: Provider, school: str) -> None:
    """A class of the whole year with everybody in it, and some of shorter sessions."""
    everybody = [*people_of(made, one, school, "t"), *people_of(made, one, school, "s")]
    year = [f"{school}-year"]
    one.teaches(f"{school}-all", " ".join(everybody), school=school, terms=year)
    terms = [name for name in one.rows["academicSessions"] if name.startswith(school)]
    for number in range(made.rng.choice((0, 1, 2, 3))):
        which = made.rng.choice(terms)
        term = [which]
        if "gp" not in which and made.maybe(0.3):
            term = sorted({which, *year})
        who = made.rng.sample(everybody, min(len(everybody), 4))
        one.teaches(f"{school}-{number}", " ".join(who), school=school, terms=term)


# ------------------------------------------------------------------------------------------ flaws


def _spoil(made: Made, one: Provider) -> None:
    """Each school has some of the tenant's flaws."""
    schools = [name for name, row in one.rows["orgs"].items() if row["type"] == "school"]
    for school in schools:
        _spoil_school(
            made, one, school, schools, {flaw for flaw in FLAWS if flaw in made.flaws and made.maybe(0.7)}
        )
    for row in one.rows["enrollments"].values():
        if made.maybe(0.1):
            row["primary"] = made.rng.choice(("true", "false"))
    if "duplicate" in made.flaws:
        for _ in range(3):
            collection = made.rng.choice(list(one.rows))
            if one.rows[collection]:
                _repeat(made, one, collection, made.rng.choice(list(one.rows[collection])))


def _repeat(made: Made, one: Provider, collection: str, name: str) -> None:
    """A row once more: the same, an older one, or a newer one, which both say something else."""
    row = one.rows[collection][name]
    row["dateLastModified"] = "2025-10-01T08:00:00.000Z"
    modified = made.rng.choice(("2025-10-01T08:00:00.000Z", "2025-09-30T08:00:00.000Z", "2025-10-02"))
    phone = {} if "two-rows" in made.flaws else {"phone": "555 again"}
    other: dict[str, Any] = {"users": phone, "enrollments": {"begin": "2025-08-19"}}.get(collection, {})
    one.again(collection, name, modified=modified, **(other if modified != row["dateLastModified"] else {}))


def _spoil_school(made: Made, one: Provider, school: str, schools: list[str], flaws: set[str]) -> None:
    rng, users = made.rng, one.rows["users"]
    students, teachers = people_of(made, one, school, "s"), people_of(made, one, school, "t")
    if not students or not teachers:
        return
    some = rng.choice(students)
    if "dates" in flaws:
        _date_enrolments(made, one, school)
    if "staff" in flaws:
        one.users(
            f"a-{one.name}-{school}",
            orgs="district",
            role="administrator",
            email=f"a-{one.name}-{school}@d.example",
        )
    if "orphan-org" in flaws:
        one.users(
            f"s-orphan-{one.name}-{school}", orgs="nowhere", email=f"orphan-{one.name}-{school}@x.example"
        )
        if made.maybe(0.5):
            one.enrol(f"{school}-all", f"s-orphan-{one.name}-{school}")
    if "shared" in flaws:
        for who in rng.sample(students, min(2, len(students))):
            users[who]["email"] = f"home{school}@{domain_of(one)}"
    if "no-email" in flaws:
        users[rng.choice(students)]["email"] = ""
    if "masked" in flaws:
        users[rng.choice(students)]["email"] = "*****"
    if "letter-case" in flaws:
        users[some]["email"] = users[some]["email"].upper()
    if "equal-names" in flaws:
        for who in students[:2]:
            users[who] |= {"givenName": "Ada", "familyName": "Archer"}
    if "namesake" in flaws and len(students) > 1:
        number = rng.choice((f"7{school}", f"e@{school}"))
        users[students[0]] |= {"givenName": "Eve", "familyName": "East", "identifier": number}
        users[students[1]] |= {"givenName": "Eve", "familyName": "East", "identifier": number}
        if "@" not in number:
            for key in ("email", "phone", "grades"):
                users[students[1]][key] = users[students[0]][key]
    if "odd-role" in flaws:
        one.users(
            f"x-{one.name}-{school}", orgs=school, role="Librarian", email=f"x-{one.name}-{school}@x.example"
        )
    if "two-rows" in flaws:
        row = users[teachers[0]]
        row["userMasterIdentifier"] = f"m-{teachers[0]}"
        one.users(
            f"{teachers[0]}-again",
            **{**{k: v for k, v in row.items() if k != "sourcedId"}, "orgs": rng.choice(schools)},
        )
    if "teacher-guardian" in flaws and not made.flaws & {"two-rows"}:
        kind = one.options.get("relationship_type", "guardian")
        one.users(teachers[0], agents=[some], roles=[["teacher", school, "", ""], [kind, school, "", ""]])
    if "two-schools" in flaws and len(schools) > 1 and not flaws & {"between", "outdated"}:
        other = next(name for name in schools if name != school)
        users[some]["orgs"] = f"{school} {other}"
        if made.maybe(0.5):
            one.enrol(f"{other}-all", some)
    if "deleted" in flaws:
        users[students[-1]]["status"] = rng.choice(("tobedeleted", "inactive", "toBeDeleted"))
        for key in [key for key, row in one.rows["enrollments"].items() if row["user"] == students[-1]]:
            if made.maybe(0.8):
                del one.rows["enrollments"][key]
    if "extra-class" in flaws:
        one.teaches(
            f"{school}-deleted",
            rng.choice(teachers),
            school=school,
            terms=[f"{school}-year"],
            status="tobedeleted",
        )
    if "no-enrolment" in flaws:
        one.users(f"s-new-{one.name}-{school}", orgs=school, email=f"new-{one.name}-{school}@x.example")
    if "dated-roles" in flaws:
        for who in rng.sample(students, min(3, len(students))):
            begin, end = rng.choice(
                (("2025-08-18", "2025-10-14"), ("", "2025-10-15"), ("", "2025-10-16"), ("2025-10-16", ""),
                 ("2025-08-18", "2026-06-12"), ("2025-10-20", "2025-10-01"), ("2025-12-01", ""))
            )  # fmt: skip
            users[who]["roles"] = [["student", school, begin, end]]
    if "no-terms" in flaws:
        _undated(made, one, school, students, teachers)
    if "dangling" in flaws:
        one.enrol(f"{school}-all", "nobody1")
    if "dangling-many" in flaws:
        one.enrol(f"{school}-all", "nobody1..nobody4")
    if "no-teachers" in flaws and made.maybe(0.5):
        take_role(made, one, school, "t")
    if "no-students" in flaws and made.maybe(0.5):
        take_role(made, one, school, "s")
    if "all-masked" in flaws and made.maybe(0.5):
        for who, row in users.items():
            if row.get("orgs") == school:
                users[who] |= {
                    "givenName": "*****",
                    "familyName": "*****",
                    "email": "*****",
                    "identifier": "",
                }


def _date_enrolments(made: Made, one: Provider, school: str) -> None:
    """Dates on some enrolments: past, today, future, missing, reversed, unreadable."""
    spans = (
        ("2025-08-18", "2025-10-14"), ("", "2025-10-15"), ("", "2025-10-16"), ("2025-10-16", ""),
        ("2025-10-15", ""), ("2025-08-18", "2026-06-12"), ("2025-10-01", "2025-09-01"), ("", "soon"),
        ("31/12/2025", ""), ("", "2025-10-14T23:59:59.000Z"), ("2025-12-01", "2026-01-01"),
        ("2025-08-18", ""), ("2025-02-30", ""),
    )  # fmt: skip
    for row in one.rows["enrollments"].values():
        if row["class"].startswith(school) and made.maybe(0.25):
            row["beginDate"], row["endDate"] = made.rng.choice(spans)
    if made.maybe(0.3):
        key = made.rng.choice(list(one.rows["enrollments"]))
        row = one.rows["enrollments"][key]
        one.enrol(row["class"], f"{row['user']}[2025-10-01..]")


def _undated(made: Made, one: Provider, school: str, students: list[str], teachers: list[str]) -> None:
    """Classes whose terms are missing or known to nobody."""
    kind = made.rng.choice(("none", "unknown", "course", "enrolments", "also"))
    terms = {"none": [], "also": ["nowhere", f"{school}-year"]}.get(kind, ["nowhere"])
    people = " ".join([teachers[0], *students[:3]])
    if kind == "enrolments":
        people = " ".join(
            f"{who}[2025-08-18..{made.rng.choice(('2025-10-01', '2026-06-12'))}]" for who in people.split()
        )
    if kind == "course":
        one.course(f"{school}-course", school_year=f"{school}-year")
    course = f"{school}-course" if kind == "course" else "maths"
    one.teaches(f"{school}-undated", people, school=school, terms=terms, course=course)


def take_role(made: Made, one: Provider, school: str, role: str) -> None:
    """No teachers or no students in a school, of this provider."""
    for who in people_of(made, one, school, role):
        leave(made, one, who)


# ------------------------------------------------------------------------------------------ directories


def _directory(made: Made, name: str) -> Directory:
    people: dict[str, dict[str, Any]] = {}
    parity = 0 if name == "logins" else 1
    for human in made.humans:
        if human.number % 2 == parity and human.role != "g" and made.maybe(0.4):
            known = [one for one in made.providers if human.sids.get(one.name) in one.rows["users"]]
            if not known:
                continue
            row = known[0].rows["users"][human.sids[known[0].name]]
            people[f"d{human.number}"] = {
                "email": f"{human.local}@{domain_of(known[0])}",
                "given_name": row["givenName"] if made.maybe(0.7) else f"Login{human.number}",
                "family_name": row["familyName"],
                "role": "student" if human.role == "s" else "teacher",
            }
    people[f"only-{name}"] = {
        "email": f"only-{name}@login.example",
        "given_name": "O",
        "family_name": "Nly",
        "role": "teacher",
    }
    return Directory(name, people)


def leave(made: Made, one: Provider, who: str) -> None:
    """Takes a user and their enrolments away, to come back perhaps."""
    row = one.rows["users"][who]
    mine = {key: e for key, e in one.rows["enrollments"].items() if e["user"] == who}
    made.away[one.name, who] = (row, mine)
    one.gone(who)
    one.repeated = [(name, r) for name, r in one.repeated if r["sourcedId"] != who and r.get("user") != who]
