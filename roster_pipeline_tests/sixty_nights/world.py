"""A small tenant made up at random, and what happens in its schools from night to night.

Two or three providers and a directory: `sis` with everything, `cl` with some of its people and a school of
its own, `tp` that only attaches. The names, addresses and numbers in it occur nowhere else (`CANARIES`), so
that they can be looked for where no personal data may be.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from roster_pipeline_tests.oracle.tonight import User
from roster_pipeline_tests.rosters import FIRST_NIGHT, Directory, Provider, Row
from roster_pipeline_tests.sixty_nights.exports import Fault, draw

CANARIES: Final = ("Quillon", "Zarabeth", "canary.example", "070990")
LESSONS: Final = ("all", "t1", "t2", "art", "music", "latin")
_TERMS: Final = {"t1": "t1", "t2": "t2"}


@dataclass
class World:
    """The tenant tonight; copied before a night is tried."""

    providers: list[Provider]
    directory: Directory
    settings: dict[str, Any]
    as_of: dt.date = FIRST_NIGHT
    count: int = 0
    humans: dict[User, int] = field(default_factory=dict)  # who is behind each row that ever was
    lessons: dict[User, str] = field(default_factory=dict)  # which class each class row that ever was is
    away: dict[User, tuple[Row, list[Row]]] = field(default_factory=dict)
    arriving: list[tuple[str, str, Row, str]] = field(default_factory=list)  # provider, id, row, school
    faults: dict[str, tuple[Fault, int]] = field(default_factory=dict)  # with the nights that they last
    told: list[str] = field(default_factory=list)

    def one(self, name: str) -> Provider:
        """A provider."""
        return next(one for one in self.providers if one.name == name)

    def fault(self, one: Provider) -> Fault | None:
        """What is wrong with a provider's export tonight."""
        return self.faults[one.name][0] if one.name in self.faults else None

    # ------------------------------------------------------------------ people and classes

    def somebody(self) -> int:
        """The number of a new human."""
        self.count += 1
        return self.count

    def enter(self, one: Provider, human: int, role: str, school: str) -> str:
        """A row for somebody, with enrolments in the classes of the school; gives its id."""
        sid = f"{role}{human}-{one.name}"
        one.users(
            sid, orgs=school, given=f"Quillon{human}", family=f"Zarabeth{human}",
            email=f"q{human}@canary.example", identifier=str(5000 + human), username=f"user-{human}",
            phone=f"070990{human}" if (human % 3 == 0 and one.name == "sis") or human % 4 == 1 else "",
            grades=[("09", "10")[human % 2]] if role == "s" else [],
        )  # fmt: skip
        self.humans[one.name, sid] = human
        if role != "g":
            self.enrol(one, sid, school)
        return sid

    def enrol(self, one: Provider, sid: str, school: str) -> None:
        """Enrolments of somebody in the classes of a school."""
        human = self.humans[one.name, sid]
        for place, name in enumerate(self.classes(one, school)):
            if place == 0 or (human + place) % 3 == 0:
                one.enrol(name, sid)

    def classes(self, one: Provider, school: str) -> list[str]:
        """The ids of the classes of a school, the one of everybody first."""
        return [name for name, row in one.rows["classes"].items() if row["school"] == school]

    def open(self, one: Provider, school: str, lessons: tuple[str, ...] = LESSONS) -> None:
        """A school with its classes."""
        one.org(school)
        for lesson in lessons:
            self.lesson(one, school, lesson)

    def lesson(self, one: Provider, school: str, lesson: str) -> str:
        """A class; gives its id."""
        name = f"{school}-{lesson}"
        one.teaches(
            name, school=school, terms=[_TERMS.get(lesson, "year")], title=f"{lesson.upper()} of {school}",
            code=f"{lesson}-{school}",
        )  # fmt: skip
        self.lessons[one.name, name] = f"{one.name} {name}"
        return name

    def people(self, one: Provider, school: str = "", role: str = "") -> list[str]:
        """The ids of a school's people."""
        return [
            sid
            for sid, row in one.rows["users"].items()
            if sid.startswith(role) and school in ("", *row["orgs"].split())
        ]

    def leave(self, one: Provider, sid: str) -> None:
        """Takes somebody's row and enrolments away, to come back perhaps."""
        row = one.rows["users"][sid]
        mine = [row for row in one.rows["enrollments"].values() if row["user"] == sid]
        self.away[one.name, sid] = row, mine
        one.gone(sid)

    def back(self, one: Provider, sid: str, new_id: str = "") -> None:
        """Puts somebody's row and enrolments back."""
        row, mine = self.away.pop((one.name, sid))
        now = new_id or sid
        self.humans[one.name, now] = self.humans[one.name, sid]
        one.rows["users"][now] = {**row, "sourcedId": now}
        for enrolment in mine:
            if enrolment["class"] in one.rows["classes"]:
                one.enrol(enrolment["class"], now)
        if not mine and not now.startswith("g"):
            self.enrol(one, now, row["orgs"].split()[0])

    def has(self, one: Provider, human: int) -> bool:
        """Whether a provider has a row of somebody, or will have one."""
        here = any(self.humans[one.name, sid] == human for sid in one.rows["users"])
        return here or any(
            (name, self.humans[name, sid]) == (one.name, human) for name, sid, *_ in self.arriving
        )


def make(seed: int) -> World:
    """The tenant of a seed on its first night."""
    rng = random.Random(seed)
    dated = {"respect_enrolment_date": True, "respect_academic_sessions": True}
    sis = Provider("sis", {**dated, "sync_parent_data": True, "relationship_type": "guardian"})
    cl = Provider("cl", {**dated, "respect_enrolment_date": seed % 3 != 0})
    tp = Provider("tp", {"sync_classroom_data": False})
    tp.option(merge={"priority": 10, "attach_to_existing_users_only": True})
    sis.option(merge={"priority": 100})
    cl.option(merge={"priority": 50})
    world = World([sis, cl, tp][: 2 + seed % 2], Directory("logins", {}), {"grace_days": 3})
    for one in world.providers:
        one.session("year", "2025-08-18..2026-06-12", kind="schoolYear", schoolYear="2026").course(
            "maths", org="north"
        )
        one.session("t1", "2025-08-18..2025-11-07", parent="year", schoolYear="2026")
        one.session("t2", "2025-11-10..2026-01-30", parent="year", schoolYear="2026")
    for school in ("north", "south"):
        world.open(sis, school)
    for school in ("south", "west"):
        world.open(cl, school)
    if len(world.providers) > 2:
        tp.org("north")
    for one, schools in ((sis, ("north", "south")), (cl, ("west",))):
        for school in schools:
            for role, count in (("t", 3), ("s", 10), ("g", 3 if one is sis else 0)):
                for _ in range(count):
                    human = world.somebody()
                    sid = world.enter(one, human, role, school)
                    for other in world.providers:
                        if (
                            other is not one
                            and school in other.rows["orgs"]
                            and role != "g"
                            and rng.random() < 0.6
                        ):
                            world.enter(other, human, role, school)
                    if role == "g":
                        students = world.people(sis, school, "s")
                        sis.users(sid, agents=sorted(rng.sample(students, 2)))
    for human in rng.sample(range(1, world.count), 4):
        row = next((row for (name, sid), n in world.humans.items() if n == human and name != "tp"
                    for row in [world.one(name).rows["users"][sid]]))  # fmt: skip
        if not row["sourcedId"].startswith("g"):
            world.directory.people[f"login-{human}"] = {
                "email": row["email"], "given_name": row["givenName"], "family_name": row["familyName"],
                "role": "student" if row["sourcedId"].startswith("s") else "teacher",
            }  # fmt: skip
    return world


# ------------------------------------------------------------------------------------------ a night


def go_on(world: World, rng: random.Random, *, quiet: bool = False) -> None:
    """What is different on the next night; if `quiet`, nothing but that faults end."""
    world.as_of += dt.timedelta(days=1)
    world.told.clear()
    world.faults = {name: (fault, left - 1) for name, (fault, left) in world.faults.items() if left > 1}
    for name, sid, row, school in world.arriving:
        one = world.one(name)
        one.rows["users"][sid] = row
        if not sid.startswith("g"):
            world.enrol(one, sid, school)
    world.arriving.clear()
    if quiet:
        world.faults.clear()
        return
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        event = rng.choice(EVENTS)
        one = rng.choice(world.providers)
        if what := event(world, rng, one):
            world.told.append(f"{one.name}: {what}")
    for one in world.providers:
        if one.name not in world.faults and rng.random() < 0.12:
            world.faults[one.name] = draw(rng, one), rng.choice((1, 1, 1, 2, 3, 10))
    world.told += [f"{name}: {fault}" for name, (fault, _) in world.faults.items()]


def _student(world: World, rng: random.Random, one: Provider) -> str:
    found = world.people(one, role="s")
    return rng.choice(found) if found else ""


def _school(world: World, rng: random.Random, one: Provider) -> str:
    return rng.choice(list(one.rows["orgs"]))


def joins(world: World, rng: random.Random, one: Provider) -> str:
    if one.name == "tp":
        return ""
    school, role = _school(world, rng, one), rng.choice("ssst")
    human = world.somebody()
    sid = world.enter(one, human, role, school)
    guardians = world.people(one, school, "g")
    if role == "s" and guardians and rng.random() < 0.5:
        one.rows["users"][guardians[0]].setdefault("agents", []).append(sid)
    return f"{role}{human} joins {school}"


def is_found_by_another_provider(world: World, rng: random.Random, one: Provider) -> str:
    sid = _student(world, rng, one)
    others = [other for other in world.providers if other is not one]
    other = rng.choice(others)
    school = one.rows["users"][sid]["orgs"].split()[0] if sid else ""
    human = world.humans.get((one.name, sid), 0)
    known = any(name == other.name and n == human for (name, _), n in world.humans.items())
    if not sid or school not in other.rows["orgs"] or known:
        return ""
    new = world.enter(other, human, "s", school)
    for key in ("givenName", "familyName", "email"):  # as this provider knows them
        other.rows["users"][new][key] = one.rows["users"][sid][key]
    return f"s{human} is known to {other.name}, too"


def leaves(world: World, rng: random.Random, one: Provider) -> str:
    sid = _student(world, rng, one)
    if not sid:
        return ""
    human = world.humans[one.name, sid]
    everywhere = rng.random() < 0.7
    for other in world.providers:
        for who in world.people(other):
            if world.humans[other.name, who] == human and (other is one or everywhere):
                world.leave(other, who)
    return f"s{human} leaves{'' if everywhere else ' this provider'}"


def returns(world: World, rng: random.Random, one: Provider) -> str:
    gone = [sid for name, sid in world.away if name == one.name]
    gone = [sid for sid in gone if not world.has(one, world.humans[one.name, sid])]
    if not gone:
        return ""
    sid = rng.choice(gone)
    new = f"{sid}n" if rng.random() < 0.25 else ""
    world.back(one, sid, new)
    return f"{sid} is back{' under a new id' if new else ''}"


def leaves_by_dates(world: World, rng: random.Random, one: Provider) -> str:
    sid = _student(world, rng, one)
    for row in one.rows["enrollments"].values():
        if row["user"] == sid:
            row["endDate"] = (world.as_of - dt.timedelta(days=1)).isoformat()
    return f"{sid} leaves by dates" if sid else ""


def is_enrolled_again(world: World, rng: random.Random, one: Provider) -> str:
    ended = sorted({row["user"] for row in one.rows["enrollments"].values() if row["endDate"]})
    if not ended:
        return ""
    sid = rng.choice(ended)
    for row in one.rows["enrollments"].values():
        if row["user"] == sid:
            row["endDate"] = ""
    return f"{sid} is enrolled again"


def moves(world: World, rng: random.Random, one: Provider) -> str:
    """To another school: at once or after a night in which nobody has them, perhaps of another provider."""
    sid = _student(world, rng, one)
    other = rng.choice([other for other in world.providers if other.name != "tp"])
    if not sid or one.name == "tp":
        return ""
    row, human = one.rows["users"][sid], world.humans[one.name, sid]
    schools = [school for school in other.rows["orgs"] if school not in row["orgs"].split()]
    if not schools or (other is not one and world.has(other, human)):
        return ""
    school, new = rng.choice(schools), sid if other is one else f"s{human}-{other.name}"
    if other is not one and (other.name, new) in world.humans:
        return ""
    one.gone(sid)
    world.humans[other.name, new] = human
    moved = {**row, "sourcedId": new, "orgs": school}
    if rng.random() < 0.4:
        world.arriving.append((other.name, new, moved, school))
        return f"{sid} is on the way to {school} of {other.name}"
    other.rows["users"][new] = moved
    world.enrol(other, new, school)
    return f"{sid} moves to {school} of {other.name}"


def marries(world: World, rng: random.Random, one: Provider) -> str:
    sid = rng.choice(world.people(one) or [""])
    if not sid:
        return ""
    new = f"Zarabeth{world.humans[one.name, sid]}-{world.as_of:%m%d}"
    everywhere = rng.random() < 0.6
    for other in world.providers:
        for who in world.people(other):
            same = world.humans[other.name, who] == world.humans[one.name, sid]
            if same and (other is one or everywhere):
                other.rows["users"][who]["familyName"] = new
    return f"{sid} has another family name{'' if everywhere else ' here'}"


def has_another_address(world: World, rng: random.Random, one: Provider) -> str:
    sid = rng.choice(world.people(one) or [""])
    if not sid:
        return ""
    one.rows["users"][sid]["email"] = f"q{world.humans[one.name, sid]}.{world.as_of:%m%d}@canary.example"
    return f"{sid} has another e-mail here"


def has_another_number(world: World, rng: random.Random, one: Provider) -> str:
    sid = rng.choice(world.people(one) or [""])
    if sid:
        one.rows["users"][sid]["phone"] = rng.choice(
            ("", f"070990{world.humans[one.name, sid]}{world.as_of:%d}")
        )
    return f"{sid} has another number" if sid else ""


def gets_a_new_id(world: World, rng: random.Random, one: Provider) -> str:
    sid = _student(world, rng, one)
    if not sid:
        return ""
    world.leave(one, sid)
    world.back(one, sid, f"{sid}n")
    return f"{sid} has a new id"


def leaves_a_class(world: World, rng: random.Random, one: Provider) -> str:
    found = [key for key, row in one.rows["enrollments"].items() if not row["class"].endswith("-all")]
    if found:
        del one.rows["enrollments"][rng.choice(found)]
    return "somebody leaves a class" if found else ""


def a_class_goes(world: World, rng: random.Random, one: Provider) -> str:
    found = [name for name in one.rows["classes"] if "-all" not in name]
    if found:
        one.gone(name := rng.choice(found))
        return f"{name} is gone"
    return ""


def a_class_comes(world: World, rng: random.Random, one: Provider) -> str:
    if one.name == "tp":
        return ""
    school = _school(world, rng, one)
    name = world.lesson(one, school, f"new{world.as_of:%m%d}")
    for sid in [*world.people(one, school, "t")[:1], *world.people(one, school, "s")[:5]]:
        one.enrol(name, sid)
    return f"{name} is new"


def half_a_class_goes(world: World, rng: random.Random, one: Provider) -> str:
    names = [name for name in one.rows["classes"] if "-all" not in name]
    name = rng.choice(names) if names else ""
    mine = [key for key, row in one.rows["enrollments"].items() if row["class"] == name]
    if len(mine) < 5:
        return ""
    for key in mine[: max(5, len(mine) // 2)]:
        del one.rows["enrollments"][key]
    return f"half of {name} leave it"


def many_leave(world: World, rng: random.Random, one: Provider) -> str:
    school = _school(world, rng, one)
    students = world.people(one, school, "s")
    many = rng.sample(students, min(len(students), rng.choice((5, 6, 8))))
    for sid in many:
        world.leave(one, sid)
    return f"{len(many)} leave {school}"


def many_return(world: World, rng: random.Random, one: Provider) -> str:
    gone = [sid for name, sid in list(world.away) if name == one.name]
    gone = [sid for sid in gone if not world.has(one, world.humans[one.name, sid])]
    back: set[int] = set()
    for sid in gone:
        if world.humans[one.name, sid] not in back:
            back.add(world.humans[one.name, sid])
            world.back(one, sid)
    return f"{len(back)} are back" if back else ""


def teachers_go(world: World, rng: random.Random, one: Provider) -> str:
    if rng.random() < 0.6:
        return ""
    school = _school(world, rng, one)
    for sid in world.people(one, school, "t"):
        world.leave(one, sid)
    return f"no teachers at {school}"


def classes_have_new_ids(world: World, rng: random.Random, one: Provider) -> str:
    school = _school(world, rng, one)
    for name in world.classes(one, school):
        row, new = one.rows["classes"].pop(name), f"{name}~"
        one.rows["classes"][new] = {**row, "sourcedId": new}
        world.lessons[one.name, new] = world.lessons[one.name, name]
        for enrolment in one.rows["enrollments"].values():
            if enrolment["class"] == name:
                enrolment["class"] = new
    return f"the classes of {school} have new ids"


def users_have_new_ids(world: World, rng: random.Random, one: Provider) -> str:
    if rng.random() < 0.5:
        return ""
    names = {sid: f"{sid}k" for sid in one.rows["users"]}
    for old, new in names.items():
        world.humans[one.name, new] = world.humans[one.name, old]
    one.rows["users"] = {
        names[sid]: {
            **row,
            "sourcedId": names[sid],
            "agents": [names.get(a, a) for a in row.get("agents", [])],
        }
        for sid, row in one.rows["users"].items()
    }
    for enrolment in one.rows["enrollments"].values():
        enrolment["user"] = names.get(enrolment["user"], enrolment["user"])
    return "all users have new ids"


def a_school_appears(world: World, rng: random.Random, one: Provider) -> str:
    known = {school for other in world.providers for school in other.rows["orgs"]}
    new = [school for school in ("east", "hill") if school not in known]
    if one.name == "tp" or not new:
        return ""
    world.open(one, new[0], ("all", "art"))
    for role in "ttsssssss":
        world.enter(one, world.somebody(), role, new[0])
    return f"{new[0]} appears"


def numbers_vanish(world: World, rng: random.Random, one: Provider) -> str:
    if rng.random() < 0.5:
        return ""
    for row in one.rows["users"].values():
        row["phone"] = ""
    return "all numbers are empty"


def the_directory_changes(world: World, rng: random.Random, one: Provider) -> str:
    people = world.directory.people
    if people and rng.random() < 0.4:
        del people[who := rng.choice(sorted(people))]
        return f"{who} is not in the directory any more"
    sid = _student(world, rng, one)
    human = world.humans.get((one.name, sid), 0)
    if not sid or f"login-{human}" in people:
        return ""
    row = one.rows["users"][sid]
    people[f"login-{human}"] = {
        "email": row["email"], "given_name": row["givenName"], "family_name": row["familyName"],
        "role": "student",
    }  # fmt: skip
    return f"login-{human} is in the directory"


Event = Callable[[World, random.Random, Provider], str]
EVENTS: Final[tuple[Event, ...]] = (
    joins, joins, joins, is_found_by_another_provider, is_found_by_another_provider, leaves, leaves, returns,
    returns, returns, leaves_by_dates, leaves_by_dates, is_enrolled_again, is_enrolled_again, moves, moves,
    moves, marries, has_another_address, has_another_number, gets_a_new_id, leaves_a_class, a_class_goes,
    a_class_comes, half_a_class_goes, half_a_class_goes, many_leave, many_leave, many_return, many_return,
    many_return, teachers_go, classes_have_new_ids, users_have_new_ids, a_school_appears, numbers_vanish,
    the_directory_changes,
)  # fmt: skip
