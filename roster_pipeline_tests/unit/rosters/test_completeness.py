"""Which schools are complete, every flaw from both sides of its limit, and what keeps a school back."""

from __future__ import annotations

from typing import Any

import pytest

from roster_pipeline.rosters.completeness import Completeness, judge_schools
from roster_pipeline.rosters.current import find_current
from roster_pipeline.rosters.schools import find_schools
from roster_pipeline.rosters.sessions import find_sessions
from roster_pipeline_tests.rosters import Provider, Story, begun, provider, school_of, story


def judge(told: Story, as_of: str = "") -> Completeness:
    given = told.given(as_of)
    rest = given.published, given.tonight
    schools = find_schools(given.sources, *rest)
    sessions = find_sessions(given.sources, schools, *rest)
    current = find_current(given.sources, schools, sessions, *rest)
    return judge_schools(given.sources, schools, sessions, current, *rest)


def states(found: Completeness) -> dict[str, tuple[str, str]]:
    """Name → state and code."""
    rows = found.schools[["name", "state", "code"]].to_numpy().tolist()
    return {name: (state, code) for name, state, code in rows}


def north(sis: Provider, as_of: str = "", **settings: Any) -> tuple[str, str]:
    return states(judge(story(sis, **settings), as_of))["North School"]


GOOD = ("published", "")

# ------------------------------------------------------------------------------------------ people


@pytest.mark.parametrize(
    "people, options, expected",
    [
        pytest.param("t1 s1", {}, GOOD, id="one of each is enough"),
        pytest.param("t1", {}, ("kept", "RS-SAFE-07"), id="no students"),
        pytest.param("s1", {}, ("kept", "RS-SAFE-08"), id="no teachers"),
        pytest.param("a1", {}, ("kept", "RS-SAFE-07"), id="neither"),
        pytest.param("s1", {"sync_classroom_data": False}, GOOD, id="no teachers, without classroom data"),
        pytest.param("t1", {"sync_classroom_data": False}, GOOD, id="no students, without classroom data"),
        pytest.param(
            "t1 s1", {"limit_to": {"roles": ["teacher"]}}, GOOD, id="students whom a limit took out"
        ),
        pytest.param(
            "t1 s1", {"limit_to": {"roles": ["student"]}}, GOOD, id="teachers whom a limit took out"
        ),
        pytest.param("t1 s1", {"limit_to": {"grades": ["12"]}}, GOOD, id="students of other grades"),
    ],
)
def test_a_school_with(people: str, options: dict[str, Any], expected: tuple[str, str]):
    assert north(school_of(people, **options)) == expected


@pytest.mark.parametrize("when", ["2025-02-03..2025-10-14", "2025-11-01..2026-06-12"])
@pytest.mark.parametrize("people", ["t1", "s1"])
def test_between_sessions_nobody_is_missed(people: str, when: str):
    assert north(school_of(people).session("year", when)) == GOOD


def test_a_school_without_classes_is_not_asked_for_teachers():
    assert north(provider("sis", "s1")) == GOOD


def test_whoever_teaches_a_class_is_a_teacher_whatever_the_user_row_says():
    sis = provider("sis", "a1 s1").teaches("c1", "s1").enrol("c1", "a1", role="teacher")
    assert north(sis) == GOOD


def test_a_teacher_of_another_school_who_teaches_here_is_a_teacher_here():
    sis = provider("sis", "s1").org("south").users("t1", orgs="south").teaches("c1", "s1 t1")
    assert north(sis) == GOOD


# ------------------------------------------------------------------------------------------ sessions


@pytest.mark.parametrize(
    "when, days, expected",
    [
        ("2024-08-19..2025-06-17", 120, GOOD),
        ("2024-08-19..2025-06-16", 120, ("kept", "RS-SES-01")),
        ("2024-08-19..2025-10-05", 10, GOOD),
        ("2024-08-19..2025-10-04", 10, ("kept", "RS-SES-01")),
        ("2024-08-19..2025-10-15", 0, GOOD),
        ("2024-08-19..2025-10-14", 0, ("kept", "RS-SES-01")),
        ("2024-08-19..", 0, GOOD),
        ("2026-08-19..2027-06-11", 0, GOOD),
    ],
)
def test_a_newest_session_that(when: str, days: int, expected: tuple[str, str]):
    sis = school_of("t1 s1", respect_academic_sessions=True).session("year", when)
    assert north(sis, between_sessions_days=days) == expected


def test_the_date_rule_alone_looks_at_the_newest_session_too():
    sis = school_of("t1 s1", respect_enrolment_date=True).session("year", "2024-08-19..2025-06-16")
    assert north(sis) == ("kept", "RS-SES-01")


def test_only_the_newest_session_of_a_school_is_looked_at():
    sis = school_of("t1 s1", respect_academic_sessions=True).session("old", "2023-08-19..2024-06-17")
    assert north(sis.teaches("c2", "t1 s1", terms=["old"])) == GOOD


def test_each_school_has_its_own_calendar():
    sis = (
        school_of("t1 s1", respect_academic_sessions=True)
        .org("south")
        .session("old", "2023-08-19..2024-06-17")
    )
    sis.users("t2 s2", orgs="south").teaches("c2", "t2 s2", school="south", terms=["old"])
    assert states(judge(story(sis))) == {"North School": GOOD, "South School": ("kept", "RS-SES-01")}


# ------------------------------------------------------------------------------------------ masking


@pytest.mark.parametrize(
    "masked, total, kept",
    [(1, 2, False), (2, 4, True), (2, 5, False), (3, 5, True), (1, 1, False)],
)
@pytest.mark.parametrize(
    "fields",
    [
        {"email": "*****"},
        {"given": "*****", "family": "*****"},
        {"given": "", "family": ""},
    ],
    ids=["e-mails", "names", "no names"],
)
def test_masked_people(masked: int, total: int, kept: bool, fields: dict[str, str]):
    sis = provider("sis", f"s1..s{total}")
    for n in range(1, masked + 1):
        sis.users(f"s{n}", **fields)
    assert north(sis) == (("kept", "RS-SAFE-09") if kept else GOOD)


@pytest.mark.parametrize("alike, total, kept", [(4, 6, False), (5, 10, True), (5, 11, False), (6, 11, True)])
def test_people_who_all_have_one_name_are_masked(alike: int, total: int, kept: bool):
    sis = provider("sis", f"s1..s{total}").users(f"s1..s{alike}", given="First", family="Last")
    assert north(sis) == (("kept", "RS-SAFE-09") if kept else GOOD)


# ------------------------------------------------------------------------------------------ references


@pytest.mark.parametrize("nowhere, there, kept", [(1, 9, False), (1, 8, True), (2, 18, False), (3, 20, True)])
def test_enrolments_that_refer_to_nothing(nowhere: int, there: int, kept: bool):
    people = f"t1 s1..s{there - 1}"
    sis = school_of(people).enrol("c1", f"s91..s{90 + nowhere}")
    assert north(sis) == (("kept", "RS-REF-05") if kept else GOOD)


def test_enrolments_of_a_class_that_is_not_there_count_for_the_school_that_they_name():
    sis = school_of("t1 s1 s2").enrol("lost", "s1 s2")
    assert north(sis) == ("kept", "RS-REF-05")


@pytest.mark.parametrize("options", [{"limit_to": {"grades": ["09"]}}, {"exclude_schools": ["south"]}])
def test_rows_of_users_whom_the_settings_took_out_refer_to_somebody(options: dict[str, Any]):
    sis = school_of("t1 s1", **options).org("south").users("s2 s3", grades=["10"], orgs="south")
    assert north(sis.enrol("c1", "s2 s3")) == GOOD


# ------------------------------------------------------------------------------------------ grades


@pytest.mark.parametrize(
    "grade, gone, change, kept",
    [
        pytest.param(10, 10, "gone", True, id="ten of ten"),
        pytest.param(9, 9, "gone", False, id="nine of nine"),
        pytest.param(11, 10, "gone", False, id="ten of eleven"),
        pytest.param(10, 10, "renamed", False, id="who have new ids"),
        pytest.param(10, 10, "promoted", False, id="who are in another grade by now"),
        pytest.param(10, 10, "moved", False, id="who are at another school by now"),
        pytest.param(10, 10, "unproven", False, id="while nothing proves it"),
    ],
)
def test_a_grade_that_vanishes(grade: int, gone: int, change: str, kept: bool):
    sis = school_of(f"t1 s1..s{grade}").org("south").users("s90", grades=["10"])
    told = begun(sis)
    (sis,) = told.providers
    who = f"s1..s{gone}"
    if change == "promoted":
        sis.users(who, grades=["10"])
    elif change == "moved":
        sis.users(who, orgs="south")
    else:
        sis.gone(who)
    if change == "renamed":
        for n in range(1, gone + 1):
            sis.users(f"s1{n:03}", given=f"Given-s{n}", family=f"Family-s{n}", email=f"s{n}@north.example")
    if change == "unproven":
        sis.state("unproven", "users")
    assert states(judge(told))["North School"] == (("kept", "RS-SAFE-10") if kept else GOOD)


# ------------------------------------------------------------------------------------------ whole schools


def two_schools() -> Provider:
    sis = school_of("t1 s1").org("south").users("t2 s2", orgs="south")
    return sis.teaches("c2", "t2 s2", school="south")


@pytest.mark.parametrize("org_too", [True, False], ids=["and the org", "but the org is there"])
def test_a_school_all_of_whose_rows_vanish_is_kept_back(org_too: bool):
    told = begun(two_schools())
    (sis,) = told.providers
    sis.gone("t2 s2 c2")
    if org_too:
        sis.gone("south")
    found = judge(told)
    assert states(found) == {"North School": GOOD, "South School": ("kept", "RS-SAFE-11")}
    (message,) = (issue.message for issue in found.issues if issue.code == "RS-SAFE-11")
    assert ("not listed any more" in message) == org_too
    assert ("still lists the school" in message) != org_too


def test_an_org_that_never_had_a_row_is_a_note_and_no_school():
    found = judge(story(school_of("t1 s1").org("east")))
    assert "East School" not in states(found)
    assert [issue.code for issue in found.issues] == ["RS-SAFE-12"]


def test_a_school_whose_only_students_left_by_their_dates_has_not_vanished():
    sis = two_schools().option(respect_enrolment_date=True).teaches("c2", "t2 s2[..2025-10-15]")
    told = begun(sis)
    (sis,) = told.providers
    sis.gone("t2")
    assert states(judge(told))["South School"] != ("kept", "RS-SAFE-11")


def test_an_excluded_school_is_not_judged():
    sis = two_schools().gone("t2").option(exclude_schools=["south"])
    assert states(judge(story(sis)))["South School"] == ("excluded", "")


def test_a_school_none_of_whose_providers_can_speak_is_silent():
    cl = provider("cl").org("north", "South School", identifier="S").users("t2 s2").teaches("c2", "t2 s2")
    told = begun(school_of("t1 s1"), cl)
    _, cl = told.providers
    cl.state("failed", "enrollments")
    assert states(judge(told)) == {"North School": GOOD, "South School": ("silent", "")}


def test_a_school_all_of_whose_providers_are_retired_is_retired():
    cl = provider("cl").org("north", "South School", identifier="S").users("t2 s2").teaches("c2", "t2 s2")
    told = begun(school_of("t1 s1"), cl)
    _, cl = told.providers
    told.retire(cl)
    assert states(judge(told)) == {"North School": GOOD, "South School": ("retired", "")}


@pytest.mark.parametrize(
    "flaw, change",
    [
        ("no_students", lambda sis: sis.gone("s1")),
        ("no_teachers", lambda sis: sis.gone("t1")),
        ("masked", lambda sis: sis.users("t1 s1", email="###")),
        ("dangling", lambda sis: sis.enrol("c1", "s8 s9")),
        (
            "sessions_outdated",
            lambda sis: sis.option(respect_academic_sessions=True).session("year", "2023-08-01..2024-06-01"),
        ),
    ],
)
def test_a_flaw_only_warns_where_the_settings_say_so(flaw: str, change):
    every = ("no_students", "no_teachers", "masked", "dangling", "grade_vanished", "sessions_outdated")
    sis = school_of("t1 s1")
    change(sis)
    assert north(sis)[0] == "kept"
    found = judge(story(sis, keeps_back=tuple(one for one in every if one != flaw)))
    assert states(found)["North School"] == GOOD
    assert found.issues, "it warns"


def test_the_first_flaw_gives_the_schools_code_and_every_one_is_told():
    sis = school_of("a1", respect_academic_sessions=True).enrol("c1", "s8 s9")
    found = judge(story(sis))
    assert states(found)["North School"] == ("kept", "RS-SAFE-07")
    assert [issue.code for issue in found.issues] == ["RS-SAFE-07", "RS-SAFE-08", "RS-REF-05"]


def test_a_school_of_two_providers_is_judged_by_the_rows_of_both():
    found = judge(story(school_of("t1"), provider("cl", "s1")))
    assert states(found) == {"North School": GOOD}
