"""Which enrolments and users count on the day: every reason for dropping a row, and who has left."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from roster_pipeline.rosters.current import Current, find_current
from roster_pipeline.rosters.schools import find_schools
from roster_pipeline.rosters.sessions import find_sessions
from roster_pipeline_tests.rosters import Provider, Story, begun, provider, school_of, story

# The day is 2025-10-15.


def find(told: Story, as_of: str = "") -> Current:
    given = told.given(as_of)
    schools = find_schools(given.sources, given.published, given.tonight)
    sessions = find_sessions(given.sources, schools, given.published, given.tonight)
    return find_current(given.sources, schools, sessions, given.published, given.tonight)


def users(found: Current, column: str = "reason") -> dict[str, str]:
    return dict(zip(found.users["source_id"], found.users[column], strict=True))


def enrolments(found: Current, column: str = "reason") -> dict[str, str]:
    return dict(zip(found.enrolments["source_id"], found.enrolments[column], strict=True))


def codes(found: Current) -> Counter[str]:
    counted: Counter[str] = Counter()
    for issue in found.issues:
        counted[issue.code] += issue.count
    return counted


# ------------------------------------------------------------------------------------------ the date rule

# Student → the enrolments (class and dates), whether they stay under the date rule.
STUDENTS = {
    "open": ("c1:..", True),
    "ends-today": ("c1:..2025-10-15", True),
    "ended-yesterday": ("c1:..2025-10-14", False),
    "begins-today": ("c1:2025-10-15..", True),
    "begins-tomorrow": ("c1:2025-10-16..", False),
    "reversed": ("c1:2025-10-01..2025-09-01", True),
    "unreadable": ("c1:..soon", True),
    "ended-and-current": ("c1:..2025-09-01 c2:..", True),
    "ended-and-to-come": ("c1:..2025-09-01 c2:2025-11-01..", False),
    "returned-to-the-same-class": ("c1:2025-08-18..2025-09-01 c1:2025-10-01..", True),
    "only-in-an-ended-class": ("past:..", False),
    "in-an-ended-and-a-current-class": ("past:.. c1:..", True),
    "only-in-a-deleted-class": ("deleted:..", False),
    "in-no-class": ("", True),
    "only-in-an-excluded-class": ("south-class:..", True),
    "only-in-a-class-that-is-not-there": ("nowhere:..", True),
}


def dated(**options: object) -> Provider:
    sis = provider("sis", "t1 t2 a1", respect_enrolment_date=True, exclude_schools=["south"], **options)
    sis.option(respect_academic_sessions=True).org("south").session("old", "2025-01-13..2025-06-13")
    sis.teaches("c1").teaches("c2").teaches("past", terms=["old"]).teaches("south-class", school="south")
    sis.teaches("deleted", status="tobedeleted")
    for who, (said, _) in STUDENTS.items():
        sis.users(who, role="student", given="Given", family=who)
        for word in said.split():
            class_, _, dates = word.partition(":")
            sis.enrol(class_, f"{who}[{dates}]")
    return sis.enrol("c1", "t1[..2025-09-01] t2[2025-11-01..]")


@pytest.fixture(scope="module")
def strict() -> Current:
    return find(story(dated()))


@pytest.fixture(scope="module")
def lenient() -> Current:
    return find(story(dated().option(respect_enrolment_date=False)))


@pytest.mark.parametrize("who", STUDENTS)
def test_under_the_date_rule_a_student_stays_or_has_left(who: str, strict: Current):
    assert users(strict)[who] == ("" if STUDENTS[who][1] else "left")


@pytest.mark.parametrize("who", STUDENTS)
def test_without_the_date_rule_nobody_leaves(who: str, lenient: Current):
    assert users(lenient)[who] == ""


@pytest.mark.parametrize("who", ["t1", "t2", "a1"])
def test_teachers_and_staff_are_not_judged_by_enrolments(who: str, strict: Current):
    assert users(strict)[who] == ""
    assert users(strict, "left")[who] == ""


@pytest.mark.parametrize(
    "enrolment, reason",
    [
        ("c1-open", ""),
        ("c1-ended-yesterday", "not_current"),
        ("c1-begins-tomorrow", "not_current"),
        ("c1-t1", "not_current"),
        ("c1-t2", "not_current"),
        ("past-only-in-an-ended-class", "class_dropped"),
        ("past-in-an-ended-and-a-current-class", "class_dropped"),
        ("deleted-only-in-a-deleted-class", "class_dropped"),
        ("south-class-only-in-an-excluded-class", "class_dropped"),
        ("nowhere-only-in-a-class-that-is-not-there", "refers_to_nothing"),
        ("c1-returned-to-the-same-class", "not_current"),
        ("c1-returned-to-the-same-class-2", ""),
    ],
)
def test_why_an_enrolment_is_dropped(enrolment: str, reason: str, strict: Current):
    assert enrolments(strict)[enrolment] == reason


def test_bad_dates_and_references_are_counted(strict: Current):
    told = codes(strict)
    assert (told["RS-ROW-03"], told["RS-ROW-04"], told["RS-REF-01"], told["RS-IDN-08"]) == (1, 1, 1, 1)


def test_an_exclusive_end_date_of_today_no_longer_counts():
    found = find(story(dated(end_dates="exclusive")))
    assert users(found)["ends-today"] == "left"
    assert users(found)["ended-yesterday"] == "left"
    assert users(found)["open"] == ""


# ------------------------------------------------------------------------------------------ leaving


def test_between_sessions_everybody_stays():
    sis = provider("sis", "t1 s1 s2", respect_enrolment_date=True).session("year", "2025-02-03..2025-09-26")
    found = find(story(sis.teaches("c1", "t1 s1[..2025-09-26] s2[2026-01-01..]")))
    assert set(users(found).values()) == {""}


def test_each_student_is_judged_by_the_calendar_of_their_own_school():
    sis = provider("sis", "t1 s1", respect_enrolment_date=True).org("south").users("s2", orgs="south")
    sis.session("past", "2025-02-03..2025-09-26").teaches("c1", "t1 s1[..2025-09-26]")
    found = find(story(sis.teaches("c2", "s2[..2025-09-26]", school="south", terms=["past"])))
    assert users(found) == {"t1": "", "s1": "left", "s2": ""}


def test_a_student_of_two_schools_stays_while_one_of_them_is_between_sessions():
    sis = provider("sis", "t1 s1", respect_enrolment_date=True).org("south").users("s2", orgs="north south")
    sis.session("past", "2025-02-03..2025-09-26").teaches("c1", "t1 s1 s2[..2025-09-26]")
    found = find(story(sis.teaches("c2", "s2[..2025-09-26]", school="south", terms=["past"])))
    assert users(found)["s2"] == ""


def test_a_school_without_classes_says_nothing_about_who_has_left():
    sis = school_of("t1 s1", respect_enrolment_date=True).org("south").users("s2 s3", orgs="north south")
    sis.users("s4", orgs="south").enrol("c1", "s2[..2025-09-26] s3")
    assert users(find(story(sis))) == {"t1": "", "s1": "", "s2": "left", "s3": "", "s4": ""}


def test_a_student_without_an_org_is_judged_by_the_schools_of_the_enrolments():
    sis = school_of("t1", respect_enrolment_date=True).users("s1 s2", orgs="")
    found = find(story(sis.enrol("c1", "s1[..2025-09-26] s2")))
    assert users(found) == {"t1": "", "s1": "left", "s2": ""}


@pytest.mark.parametrize(
    "compatible, sessions, reason",
    [
        pytest.param(True, False, "left", id="the dates alone decide in compatibility mode"),
        pytest.param(False, False, "", id="nobody leaves without it"),
        pytest.param(True, True, "", id="nor where sessions are sent that no class names"),
    ],
)
def test_where_no_session_is_known(compatible: bool, sessions: bool, reason: str):
    sis = provider("sis", "t1 s1 s2", respect_enrolment_date=True, compatibility_mode=compatible)
    sis.teaches("c1", "t1 s1 s2[..2025-10-14]", terms=[])
    if not sessions:
        sis.gone("year")
    assert users(find(story(sis))) == {"t1": "", "s1": "", "s2": reason}


def later(before: str, after: str, state: str = "ok", **options: object) -> tuple[str, str]:
    """Reason and `left` of s1 on the second night, whose enrolments were `before` and are `after`."""
    sis = provider("sis", "t1 s1 s2", respect_enrolment_date=True, **options).teaches("c1", f"t1 s2 {before}")
    told = begun(sis)
    (sis,) = told.providers
    sis.teaches("c1", f"t1 s2 {after}")
    if state != "ok":
        sis.state(state, "enrollments")  # type: ignore[arg-type]
    found = find(told)
    return users(found)["s1"], users(found, "left")["s1"]


@pytest.mark.parametrize(
    "before, after, state, expected",
    [
        pytest.param("s1", "s1", "ok", ("", ""), id="the enrolment is still there"),
        pytest.param("s1", "", "ok", ("left", "vanished"), id="the enrolment is no longer sent"),
        pytest.param("s1[2025-11-01..]", "", "ok", ("left", "vanished"), id="one that was never current"),
        pytest.param("", "", "ok", ("", ""), id="there never was one"),
        pytest.param(
            "s1[..2025-10-15]", "s1[..2025-10-15]", "ok", ("left", "dates"), id="the last day passed"
        ),
        pytest.param("s1", "", "unproven", ("", ""), id="nothing proves that none is sent"),
        pytest.param(
            "s1[..2025-10-15]", "s1[..2025-10-15]", "stale", ("left", "dates"), id="of a stale extract"
        ),
    ],
)
def test_a_student_on_a_later_night(before: str, after: str, state: str, expected: tuple[str, str]):
    assert later(before, after, state) == expected


@pytest.mark.parametrize(
    "begin, end, reason",
    [
        ("", "", ""),
        ("2025-10-15", "", ""),
        ("2025-10-16", "", "left"),
        ("", "2025-10-15", ""),
        ("", "2025-10-14", "left"),
    ],
)
def test_a_dated_student_role_of_version_1_2_must_admit_the_day_too(begin: str, end: str, reason: str):
    sis = school_of("t1 s1", respect_enrolment_date=True)
    sis.users("s1", roles=[["student", "north", begin, end]])
    assert users(find(story(sis)))["s1"] == reason


def test_one_student_role_that_admits_the_day_is_enough():
    sis = school_of("t1 s1", respect_enrolment_date=True).org("south")
    sis.users("s1", roles=[["student", "south", "", "2025-01-01"], ["student", "north", "", ""]])
    assert users(find(story(sis)))["s1"] == ""


def test_a_student_who_left_and_also_teaches_stays_as_a_teacher():
    sis = school_of("t1", respect_enrolment_date=True)
    sis.users("s1", roles=[["student", "north", "", ""], ["teacher", "north", "", ""]])
    found = find(story(sis.enrol("c1", "s1[..2025-09-01]", role="student")))
    assert users(found)["s1"] == ""
    assert [role for role, _ in json.loads(users(found, "roles")["s1"])] == ["teacher"]


# ------------------------------------------------------------------------------------------ limits

# User → fields, and the reason for being dropped under all the limits below.
LIMITED: dict[str, tuple[dict[str, object], str]] = {
    "s1": ({}, ""),
    "s2": ({"grades": ["10"]}, "grade_not_admitted"),
    "s3": ({"grades": ["10", "09"]}, ""),
    "s4": ({"grades": []}, "grade_not_admitted"),
    "s5": ({"orgs": "south"}, "excluded_school"),
    "s6": ({"orgs": "north south"}, ""),
    "s7": ({"orgs": "east"}, "school_not_admitted"),
    "s8": ({"orgs": "east north"}, ""),
    "s9": ({"orgs": "south east"}, "school_not_admitted"),
    "t1": ({}, ""),
    "t2": ({"grades": ["10"]}, ""),
    "t3": ({"orgs": "south"}, "excluded_school"),
    "a1": ({}, "role_not_admitted"),
    "x1": ({"role": "Teacher"}, ""),
    "x2": ({"role": "ext:coach"}, "role_not_admitted"),
    "d1": ({"status": "tobedeleted"}, "deleted"),
    "g1": ({}, "parent_data_off"),
}


@pytest.fixture(scope="module")
def limited() -> Current:
    sis = provider("sis", "", exclude_schools=["south"]).org("south").org("east")
    sis.option(limit_to={"roles": ["student", "teacher"], "schools": ["north"], "grades": ["09"]})
    for who, (fields, _) in LIMITED.items():
        sis.users(who, **fields)
    return find(story(sis))


@pytest.mark.parametrize("who", LIMITED)
def test_under_limits_and_exclusions(who: str, limited: Current):
    assert users(limited)[who] == LIMITED[who][1]


def test_a_user_of_an_excluded_and_an_included_school_has_no_role_at_the_excluded_one(limited: Current):
    assert len(json.loads(users(limited, "roles")["s6"])) == 1
    assert len(json.loads(users(limited, "schools")["s6"])) == 1


@pytest.mark.parametrize("admitted", [["student"], ["teacher"], ["student", "aide"]])
def test_one_admitted_role_of_several_is_enough(admitted: list[str]):
    sis = provider("sis", "", limit_to={"roles": admitted})
    sis.users("x1", roles=[["student", "north", "", ""], ["teacher", "north", "", ""]])
    assert users(find(story(sis)))["x1"] == ""


def test_without_limits_everybody_stays():
    sis = provider("sis").users("s1 t1 a1").users("x1", role="ext:coach").users("a2", orgs="")
    assert set(users(find(story(sis))).values()) == {""}


def test_an_enrolment_brings_its_school_to_the_user():
    sis = provider("sis", "t1").org("south").teaches("c2", "t1", school="south")
    found = find(story(sis))
    assert len(json.loads(users(found, "schools")["t1"])) == 2


def test_enrolments_of_users_who_were_dropped_are_dropped():
    sis = school_of("t1 s1 s2", limit_to={"grades": ["09"]}).users("s2", grades=["10"])
    assert enrolments(find(story(sis)))["c1-s2"] == "user_dropped"


def test_enrolments_of_a_deleted_user_refer_to_somebody_who_is_there():
    found = find(story(school_of("t1 s1 s2").users("s2", status="tobedeleted")))
    assert enrolments(found)["c1-s2"] == "user_dropped"
    assert enrolments(found, "dangling")["c1-s2"] == ""


# ------------------------------------------------------------------------------------------ guardians


@pytest.mark.parametrize(
    "fields, wanted, reason",
    [
        pytest.param({}, "guardian", "", id="with an e-mail"),
        pytest.param({"email": ""}, "guardian", "guardian_without_contact", id="without any contact"),
        pytest.param({"email": "", "phone": "555 0101"}, "guardian", "", id="with a phone"),
        pytest.param({"email": "", "sms": "555 0101"}, "guardian", "", id="with a mobile phone"),
        pytest.param({}, "parent", "other_relationship", id="of another relationship"),
        pytest.param({}, None, "parent_data_off", id="where guardians are not wanted"),
    ],
)
def test_a_guardian(fields: dict[str, object], wanted: str | None, reason: str):
    options = {"sync_parent_data": True, "relationship_type": wanted} if wanted else {}
    sis = provider("sis", "s1 g1", **options).users("g1", **fields)
    assert users(find(story(sis)))["g1"] == reason


def test_a_user_without_any_role_and_contact_is_no_guardian():
    sis = provider("sis", "", sync_parent_data=True, relationship_type="guardian").users("x1", email="")
    assert users(find(story(sis.users("x1", roles=[]))), "reason") == {"x1": ""}


def test_a_teacher_who_is_a_guardian_too_stays_a_teacher_where_guardians_are_not_wanted():
    sis = provider("sis").users("t1", roles=[["teacher", "north", "", ""], ["guardian", "north", "", ""]])
    found = find(story(sis))
    assert users(found)["t1"] == ""
    assert [role for role, _ in json.loads(users(found, "roles")["t1"])] == ["teacher"]


def test_only_guardians_of_nothing_else_are_family():
    sis = provider("sis", "g1", sync_parent_data=True, relationship_type="guardian")
    sis.users("t1", roles=[["teacher", "north", "", ""], ["guardian", "north", "", ""]])
    assert users(find(story(sis)), "family") == {"g1": "true", "t1": ""}


# ------------------------------------------------------------------------------------------ values


@pytest.mark.parametrize("field, wire", [("given_name", "given"), ("family_name", "family"),
                                         ("email", "email"), ("middle_name", "middle")])  # fmt: skip
def test_a_masked_value_is_no_value(field: str, wire: str):
    found = find(story(provider("sis", "s1 s2").users("s1", **{wire: "*****"})))
    assert users(found, field)["s1"] == ""
    assert users(found, "masked") == {"s1": "true", "s2": ""}


@pytest.mark.parametrize("sent, enabled", [("true", "true"), ("1", "true"), ("false", "false"),
                                           ("0", "false"), ("", ""), ("maybe", "")])  # fmt: skip
def test_a_disabled_login_is_not_leaving(sent: str, enabled: str):
    found = find(story(school_of("t1 s1", respect_enrolment_date=True).users("s1", enabled=sent)))
    assert users(found, "enabled")["s1"] == enabled
    assert users(found)["s1"] == ""


def test_unknown_roles_and_orgs_are_told_once():
    sis = (
        provider("sis")
        .users("x1 x2", role="ext:coach")
        .users("x3", role="ext:nurse")
        .users("t1", orgs="lost")
    )
    told = codes(find(story(sis)))
    assert (told["RS-ROW-02"], told["RS-REF-04"]) == (2, 1)


def test_without_classroom_data_enrolments_still_decide_who_has_left():
    sis = school_of("t1 s1", respect_enrolment_date=True)
    sis.option(sync_classroom_data=False).users("s2").enrol("c1", "s2[..2025-09-01]")
    found = find(story(sis))
    assert users(found) == {"t1": "", "s1": "", "s2": "left"}
    assert enrolments(found)["c1-s1"] == "classroom_data_off"


def test_enrolments_in_a_weaker_providers_class_keep_their_student():
    sis, cl = school_of("t1 s1"), school_of("t1 s9", name="cl", respect_enrolment_date=True)
    found = find(story(sis, cl))
    assert enrolments(found)["c1-s9"] == "class_of_weaker_source"
    assert users(found)["s9"] == ""


def test_a_grade_that_nobody_has_is_told_with_those_that_are_there():
    """Compared as text, 9 is not 09: all of a grade would go without a word."""
    sis = school_of("t1 s1 s2", limit_to={"grades": ["9", "10"]}).users("s2", grades=["10"])
    told = [issue for issue in story(sis).night().check().issues if issue.code == "RS-REF-07"]
    assert [(issue.provider, issue.message) for issue in told] == [
        ("sis", "limit_to.grades names “9”, which nobody of sis has; grades met: 09, 10.")
    ]


def test_enrolments_of_an_extract_that_has_no_class_refer_to_nothing():
    found = find(story(school_of("s1 t1").empty("classes")))
    assert set(enrolments(found, "class_id").values()) == {""}
    assert set(enrolments(found).values()) == {"refers_to_nothing"}
