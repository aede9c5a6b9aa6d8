"""Options together: every combination of the rules for dates, and pairs that could get in the way."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from roster_pipeline_tests.rosters import (
    Directory,
    Night,
    Provider,
    begun,
    labels,
    provider,
    school_of,
    story,
)

# ------------------------------------------------------------------------------------------ dates
# Every combination of the five options, against what the guides promise, said once more in `expected`.

FLAGS = ("respect_enrolment_date", "respect_academic_sessions", "exclusive", "compatibility_mode",
         "sync_classroom_data")  # fmt: skip
CLASSES = {
    "open": ["year"],
    "last-day": ["ends-today"],
    "over": ["ended"],
    "to-come": ["later"],
    "undated": ["?"],
}
ENROLMENTS = {"ever": "..", "last": "..2025-10-15", "left": "..2025-10-14", "soon": "2025-10-16.."}


def students() -> list[tuple[str, str, str]]:
    """(student, class, enrolment): in the class without dates, enrolments with dates would be its dates."""
    pairs = itertools.product(CLASSES, ENROLMENTS)
    return [(f"s-{c}-{e}", c, e) for c, e in pairs if c != "undated" or e == "ever"]


def school(on: dict[str, bool]) -> Provider:
    options: dict[str, Any] = {name: on[name] for name in FLAGS if name != "exclusive"}
    sis = provider("sis", "t1 s-none", end_dates="exclusive" if on["exclusive"] else "inclusive", **options)
    sis.session("ends-today", "2025-08-18..2025-10-15").session("ended", "2025-08-18..2025-10-14")
    sis.session("later", "2025-10-16..2026-02-01")
    for name, named in CLASSES.items():
        sis.teaches(name, "t1", terms=named)
    for who, class_, enrolment in students():
        sis.users(who).enrol(class_, f"{who}[{ENROLMENTS[enrolment]}]")
    return sis


def expected(on: dict[str, bool]) -> tuple[set[str], dict[str, set[str]]]:
    """The people, and the members of each class."""
    last_day = not on["exclusive"]
    takes_place = {"open": True, "last-day": last_day, "over": False, "to-come": False,
                   "undated": on["compatibility_mode"]}  # fmt: skip
    in_time = {"ever": True, "last": last_day, "left": False, "soon": False}
    classes = {name for name in CLASSES if takes_place[name] or not on["respect_academic_sessions"]}
    people, members = {"t1", "s-none"}, {name: {"t1"} for name in classes}
    for who, class_, enrolment in students():
        dated = in_time[enrolment] or not on["respect_enrolment_date"]
        if (class_ in classes and dated) or not on["respect_enrolment_date"]:
            people.add(who)
        if class_ in classes and dated:
            members[class_].add(who)
    return people, members if on["sync_classroom_data"] else {}


COMBINATIONS = [
    pytest.param(values, id="+".join(itertools.compress(FLAGS, values)) or "none")
    for values in itertools.product((False, True), repeat=len(FLAGS))
]


@pytest.mark.parametrize("values", COMBINATIONS)
def test_dates_sessions_and_classroom_data_in_every_combination(values: tuple[bool, ...]):
    on = dict(zip(FLAGS, values, strict=True))
    night = story(school(on)).night("2025-10-15").check()
    people, members = expected(on)
    assert night.people == people
    assert {name: night.members(name) for name in night.classes} == members
    assert night.status == "successful"


# ------------------------------------------------------------------------------------------ limits


ROLES, SCHOOLS, GRADES = {"roles": ["student"]}, {"schools": ["north"]}, {"grades": ["09"]}


@pytest.mark.parametrize(
    "limits, people",
    [
        pytest.param({}, "t1 s1 s2 t2 s11 s12", id="no limit"),
        pytest.param(ROLES, "s1 s2 s11 s12", id="roles"),
        pytest.param(SCHOOLS, "t1 s1 s2", id="schools"),
        pytest.param(GRADES, "t1 s1 t2 s11", id="grades, of students only"),
        pytest.param(ROLES | SCHOOLS, "s1 s2", id="roles and schools"),
        pytest.param(ROLES | GRADES, "s1 s11", id="roles and grades"),
        pytest.param(SCHOOLS | GRADES, "t1 s1", id="schools and grades"),
        pytest.param(ROLES | SCHOOLS | GRADES, "s1", id="all three"),
    ],
)
def test_limits_alone_and_together(limits: dict[str, Any], people: str):
    sis = provider("sis", "t1 s1 s2").org("south").users("t2 s11 s12", orgs="south")
    sis.users("s2 s12", grades=["10"]).teaches("c1", "t1 s1 s2").teaches("c2", "t2 s11 s12", school="south")
    night = story(sis.option(limit_to=limits)).night().check()
    assert night.people == labels(people)
    assert night.members("c1") == labels("t1 s1 s2") & night.people
    assert night.schools == {"North School": "published", "South School": "published"}


@pytest.mark.parametrize("limited", ["south", "north south"])
def test_an_excluded_school_that_a_limit_admits_is_excluded(limited: str):
    sis = provider("sis", "t1 s1").org("south").users("t2 s2", orgs="south")
    sis.option(exclude_schools=["south"], limit_to={"schools": limited.split()})
    night = story(sis).night().check()
    assert night.people == ({"t1", "s1"} if "north" in limited else set())
    assert night.reason("users", "s2") == "excluded_school"


def test_a_limit_to_grades_and_the_date_rule_both_take_out():
    sis = school_of("t1 s1 s2 s3", respect_enrolment_date=True, limit_to={"grades": ["09"]})
    sis.users("s2", grades=["10"]).teaches("c1", "t1 s1 s2 s3[..2025-10-14]")
    night = story(sis).night().check()
    assert (night.reason("users", "s2"), night.reason("users", "s3")) == ("grade_not_admitted", "left")
    assert night.people == {"t1", "s1"}


# ------------------------------------------------------------------------------------------ guardians


def family(**options: Any) -> Provider:
    sis = provider("sis", "t1 s1 s2", sync_parent_data=True, relationship_type="guardian", **options)
    sis.org("south").users("s2", orgs="south").users("g1 g2").users("s1", agents=["g1"])
    return sis.users("s2", agents=["g1", "g2"]).teaches("c1", "t1 s1")


@pytest.mark.parametrize(
    "options, links, guardians",
    [
        pytest.param({}, {"s1 g1", "s2 g1", "s2 g2"}, {"g1", "g2"}, id="alone"),
        pytest.param({"sync_classroom_data": False}, {"s1 g1", "s2 g1", "s2 g2"}, {"g1", "g2"},
                     id="without classroom data"),
        pytest.param({"limit_to": {"roles": ["student", "teacher"]}}, set(), set(), id="without their role"),
        pytest.param({"limit_to": {"roles": ["student", "guardian"]}}, {"s1 g1", "s2 g1", "s2 g2"},
                     {"g1", "g2"}, id="with their role"),
        pytest.param({"exclude_schools": ["south"]}, {"s1 g1"}, {"g1"}, id="whose students are excluded"),
        pytest.param({"limit_to": {"schools": ["north"]}}, {"s1 g1"}, {"g1"}, id="of students in limits"),
    ],
)  # fmt: skip
def test_guardians(options: dict[str, Any], links: set[str], guardians: set[str]):
    night = story(family(**options)).night().check()
    assert night.links == links
    assert night.people & {"g1", "g2"} == guardians


# ------------------------------------------------------------------------------------------ merging


def attached(**merge: Any) -> Night:
    """A provider that only attaches, and a directory that knows s1 and, under another family name, s3."""
    sis = school_of("t1 s1 s2 s3", merge={"attach_to_existing_users_only": True, **merge})
    people = {
        "d1": {"email": "s1@login.example" if merge else "s1@north.example", "family_name": "Family-s1"},
        "d3": {"email": "s3@login.example" if merge else "s3@north.example", "family_name": "Other"},
    }
    told = story(sis, directories=[Directory("logins", people)], keeps_back=())
    return told.night().check()


def test_attaching_only_to_a_directory_publishes_whom_it_knows():
    night = attached()
    assert night.people == {"s1", "s3"}
    assert night.members("c1") == {"s1", "s3"}
    assert night.told()["outcomes"] == {"matched": 2, "created": 0, "unmatched": {"nobody_matches": 2}}
    assert night.dropped("enrollments") == {"user_unmatched": 2}


def test_attaching_only_to_a_directory_without_the_domain_looks_at_names():
    night = attached(key="email_without_domain")
    assert night.people == {"s1"}
    assert night.outcome("s3") == "unmatched by other_family_name"
    assert night.who("s1")["email"] == "s1@login.example"


def test_attaching_only_to_a_directory_without_the_domain_and_without_looking_at_names():
    night = attached(key="email_without_domain", check_names=False)
    assert night.people == {"s1", "s3"}


def sharing(**options: Any) -> tuple[Provider, Provider]:
    cl = provider("cl", "t1 s1 s9", share_classes=True, **options).teaches("c9", "t1 s1 s9")
    return school_of("t1 s1 s2"), cl


def test_classes_of_a_school_that_their_provider_excludes_are_not_shared():
    sis, cl = sharing(exclude_schools=["north"])
    night = story(sis, cl).night().check()
    assert (night.classes, night.people) == ({"c1"}, labels("t1 s1 s2"))
    assert night.reason("classes", "cl/c9") == "excluded_school"
    assert night.schools == {"North School": "published"}


@pytest.mark.parametrize("rosters", ["keep", "remove"])
def test_shared_classes_of_a_school_that_one_provider_excludes_later(rosters: str):
    told = begun(*sharing(excluded_rosters=rosters))
    (_, cl), (first,) = told.providers, told.nights
    assert first.classes == {"c1", "cl/c9"}
    cl.option(exclude_schools=["north"])
    second = told.night().check()
    kept = rosters == "keep"
    assert second.classes == ({"c1", "cl/c9"} if kept else {"c1"})
    assert ("cl/s9" in second.people) is kept
    assert second.inactive == set()
    assert second.schools == {"North School": "published"}
    assert second.status == "successful"
    cl.option(exclude_schools=[])
    third = told.night().check()
    assert (third.classes, third.people) == (first.classes, first.people)
    assert third.status == "successful"


def test_classes_that_are_not_shared_give_way_only_where_classroom_data_are_on():
    sis, cl = sharing()
    cl.option(share_classes=False)
    assert story(sis, cl).night().check().classes == {"c1"}
    sis.option(sync_classroom_data=False)
    assert story(sis, cl).night().check().classes == {"cl/c9"}
