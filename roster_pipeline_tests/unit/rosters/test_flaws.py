"""Every flaw of a school's data: where it holds, where it does not, and what is no flaw at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from roster_pipeline.codes import CATALOGUE, Issue
from roster_pipeline.rosters.flaws import CODES
from roster_pipeline.tenants.document import KEEPS_BACK, KeepsBack
from roster_pipeline_tests.rosters import (
    Directory,
    Night,
    Provider,
    Story,
    begun,
    one_night,
    provider,
    school_of,
)

NO_CLASSES, NO_TEACHER, NO_STUDENT, IN_NO_CLASS = "RS-SAFE-13", "RS-SAFE-14", "RS-SAFE-15", "RS-SAFE-16"
NO_KEY, NO_SESSION, SOME_DANGLING, VANISHED = "RS-IDN-09", "RS-SES-06", "RS-SAFE-17", "RS-SAFE-18"

Change = Callable[[Provider], Any]


def told(night: Night) -> dict[str, Issue]:
    """Code → issue, of all flaws of North School; one line each."""
    found = [issue for issue in night.issues if issue.school == "North School"]
    assert len({issue.code for issue in found}) == len(found), "two lines for one flaw of one school"
    return {issue.code: issue for issue in found}


def flaws(*providers: Provider, as_of: str = "", **options: Any) -> dict[str, int]:
    """Code → count, of North School after a first night."""
    night = one_night(*providers, as_of=as_of, **options).check()
    return {code: issue.count for code, issue in told(night).items()}


def later(told_story: Story, as_of: str = "") -> dict[str, int]:
    """Code → count, of North School after one more night."""
    return {code: issue.count for code, issue in told(told_story.night(as_of).check()).items()}


def test_a_complete_school_has_none() -> None:
    assert flaws(school_of("t1 s1..s9")) == {}


def test_the_words_of_the_setting_are_the_flaws() -> None:
    assert set(get_args(KeepsBack)) == set(CODES)


def test_by_default_those_keep_a_school_back_that_the_page_names() -> None:
    assert set(KEEPS_BACK) == {
        "no_students", "no_teachers", "masked", "dangling", "grade_vanished", "sessions_outdated",
    }  # fmt: skip


# ------------------------------------------------------------------------------------------ no classes


@pytest.mark.parametrize(
    "change, count",
    [
        pytest.param(lambda sis: sis, 2, id="students"),
        pytest.param(lambda sis: sis.gone("s1 s2"), 0, id="staff alone need none"),
        pytest.param(lambda sis: sis.option(sync_classroom_data=False), 0, id="people alone are wanted"),
        pytest.param(lambda sis: sis.option(limit_to={"roles": ["teacher"]}), 0, id="students not wanted"),
        pytest.param(lambda sis: sis.session("year", "2025-02-03..2025-10-14"), 0, id="after the year"),
        pytest.param(lambda sis: sis.session("year", "2025-10-16..2026-06-12"), 0, id="before the year"),
        pytest.param(lambda sis: sis.session("year", "2025-10-15..2025-10-15"), 2, id="the only day"),
        pytest.param(lambda sis: sis.empty("academicSessions"), 2, id="no sessions, no holidays"),
        pytest.param(lambda sis: sis.state("unproven", "classes"), 0, id="classes may be missing"),
        pytest.param(lambda sis: sis.state("unproven", "academicSessions"), 0, id="sessions may be missing"),
        pytest.param(lambda sis: sis.teaches("c1", "t1"), 0, id="one class will do"),
        pytest.param(lambda sis: sis.org("south").teaches("c1", "t1 s1", school="south"), 2, id="not here"),
    ],
)  # fmt: skip
def test_no_classes(change: Change, count: int) -> None:
    sis = provider("sis", "t1 s1 s2")
    change(sis)
    assert flaws(sis).get(NO_CLASSES, 0) == count


def test_a_school_without_classes_is_published_and_the_sync_successful() -> None:
    night = one_night(provider("sis", "t1 s1 s2")).check()
    assert (night.status, night.schools) == ("successful", {"North School": "published"})
    assert told(night)[NO_CLASSES].severity == "warning"


def test_a_school_whose_year_begins_another_day_may_have_no_classes_yet() -> None:
    """Nobody knows the calendar of a school without classes: where calendars differ, nothing is said."""
    sis = provider("sis", "t1 s1").org("south").users("t2 s2", orgs="south")
    assert NO_CLASSES in flaws(sis.teaches("c2", "t2 s2", school="south"))
    sis.session("late", "2025-11-03..2026-06-12").org("east").users("t3 s3", orgs="east")
    assert NO_CLASSES not in flaws(sis.teaches("c3", "t3 s3", school="east", terms=["late"]))


def test_another_provider_may_bring_the_classes() -> None:
    cl = school_of("t1 s1 s2", name="cl")
    assert NO_CLASSES not in flaws(provider("sis", "t1 s1 s2"), cl)
    assert NO_CLASSES not in flaws(cl, provider("sis", "t1 s1 s2"))


def test_a_provider_that_cannot_speak_may_have_brought_the_classes() -> None:
    tale = begun(provider("sis", "t1 s1 s2"), school_of("t1 s1 s2", name="cl"))
    tale.providers[1].state("failed", "classes")
    assert NO_CLASSES not in later(tale)


def test_a_provider_that_failed_may_have_brought_the_teachers() -> None:
    """Unknown is not empty: they are published still, and the school's other provider is heard."""
    cl = provider("cl", "t1 s1").teaches("c2", "t1")
    tale = begun(school_of("s1 s2"), cl, keeps_back=KEEPS_BACK)
    assert tale.nights[-1].schools == {"North School": "published"}
    sis, cl = tale.providers
    cl.state("failed", "enrollments")
    sis.users("s3").enrol("c1", "s3")
    night = tale.night().check()
    assert "RS-SAFE-08" not in told(night)
    assert "s3" in night.people


def test_a_provider_that_failed_did_not_bring_the_teachers_if_it_never_had_any() -> None:
    tale = begun(school_of("t1 s1 s2"), provider("cl", "s1"))
    sis, cl = tale.providers
    cl.state("failed", "enrollments")
    sis.gone("t1")
    assert "RS-SAFE-08" in later(tale)


# ------------------------------------------------------------------------------------------ classes


@pytest.mark.parametrize(
    "change, counts",
    [
        pytest.param(lambda sis: sis.teaches("c2", "s1"), {NO_TEACHER: 1}, id="no teacher"),
        pytest.param(lambda sis: sis.teaches("c2", "t1"), {NO_STUDENT: 1}, id="no student"),
        pytest.param(lambda sis: sis.teaches("c2", ""), {NO_TEACHER: 1, NO_STUDENT: 1}, id="nobody"),
        pytest.param(
            lambda sis: sis.teaches("c2", "s1").users("a1").enrol("c2", "a1", role="aide"),
            {NO_TEACHER: 1},
            id="an aide is no teacher",
        ),
        pytest.param(
            lambda sis: sis.teaches("c2", "s1").users("a1").enrol("c2", "a1", role="teacher"),
            {},
            id="whoever teaches is a teacher",
        ),
        pytest.param(
            lambda sis: sis.teaches("c2", "s1 t2").users("t2", status="tobedeleted"),
            {NO_TEACHER: 1},
            id="a deleted teacher",
        ),
        pytest.param(
            lambda sis: sis.teaches("c2", "t1 s1").option(limit_to={"roles": ["teacher"]}),
            {},
            id="students whom a limit took out are in it",
        ),
        pytest.param(
            lambda sis: (
                sis.teaches("c2", "t1 s8[..2025-10-14]")
                .users("s8")
                .enrol("c1", "s8")
                .option(respect_enrolment_date=True)
            ),
            {NO_STUDENT: 1},
            id="the only one has left it",
        ),
        pytest.param(
            lambda sis: sis.teaches("c2", "t1", terms=["old"]).session("old", "2024-08-19..2025-06-12"),
            {},
            id="a class of last year",
        ),
        pytest.param(
            lambda sis: sis.teaches("c2", "t1", terms=["next"]).session("next", "2025-11-03..2026-06-12"),
            {},
            id="a class that has not begun",
        ),
        pytest.param(
            lambda sis: sis.teaches("c2", "t1").session("year", "2025-02-03..2025-10-14"), {}, id="holidays"
        ),
        pytest.param(lambda sis: sis.teaches("c2", "t1").state("unproven", "enrollments"), {}, id="unproven"),
        pytest.param(lambda sis: sis.teaches("c2", "t1").option(sync_classroom_data=False), {}, id="off"),
        pytest.param(
            lambda sis: sis.teaches("c2", "t1").empty("academicSessions").option(compatibility_mode=True),
            {NO_STUDENT: 1},
            id="also where no session is known",
        ),
    ],
)
def test_classes_without_anybody(change: Change, counts: dict[str, int]) -> None:
    sis = school_of("t1 s1..s3")
    change(sis)
    assert flaws(sis) == counts


def test_the_message_says_how_many_of_how_many() -> None:
    sis = school_of("t1 s1..s3").teaches("c2", "t1 s1").teaches("c3", "t1")
    assert told(one_night(sis))[NO_STUDENT].message == "1 of 3 classes have no students."


def test_a_school_without_any_teacher_is_not_told_so_twice() -> None:
    assert set(flaws(school_of("s1 s2"))) == {"RS-SAFE-08"}


def test_where_no_calendar_is_known_a_class_without_a_teacher_is_told_of() -> None:
    sis = school_of("s1 s2", compatibility_mode=True).empty("academicSessions")
    assert flaws(sis) == {NO_TEACHER: 1}


def test_classes_of_rows_of_different_nights_are_not_judged() -> None:
    tale = begun(school_of("t1 s1 s2"))
    tale.providers[0].teaches("c2", "t1 s1").state("stale", "enrollments")
    assert later(tale) == {}


# ------------------------------------------------------------------------------------------ in no class


@pytest.mark.parametrize(
    "change, count",
    [
        pytest.param(lambda sis: sis, 1, id="a student without an enrolment"),
        pytest.param(lambda sis: sis.enrol("c1", "s3"), 0, id="one class is enough"),
        pytest.param(lambda sis: sis.enrol("lost", "s3"), 1, id="dangling"),
        pytest.param(lambda sis: sis.users("s3", enabled="false"), 0, id="an account that is switched off"),
        pytest.param(lambda sis: sis.state("unproven", "enrollments"), 0, id="unproven"),
        pytest.param(lambda sis: sis.session("year", "2025-02-03..2025-10-14"), 0, id="holidays"),
        pytest.param(lambda sis: sis.option(sync_classroom_data=False), 0, id="off"),
        pytest.param(
            lambda sis: sis.org("south").teaches("c2", "t1 s3", school="south"), 0, id="a class elsewhere"
        ),
        pytest.param(
            lambda sis: sis.org("south").teaches("c2", "t1 s3", school="south").option(
                exclude_schools=["South School"]
            ),
            0,
            id="a class of an excluded school",
        ),
        pytest.param(
            lambda sis: sis.org("south").users("s9", orgs="south").teaches("c2", "s3 s9", school="south"),
            0,
            id="a class of a school that is kept back",
        ),
        pytest.param(
            lambda sis: sis.session("old", "2024-08-19..2025-06-12").teaches("c2", "t1 s3", terms=["old"])
            .option(respect_academic_sessions=True),
            1,
            id="a class of last year",
        ),
    ],
)  # fmt: skip
def test_students_in_no_class(change: Change, count: int) -> None:
    sis = provider("sis", "t1 s1..s3").teaches("c1", "t1 s1 s2")
    change(sis)
    assert flaws(sis).get(IN_NO_CLASS, 0) == count


def test_a_student_in_no_class_is_a_note_with_counts() -> None:
    night = one_night(provider("sis", "t1 s1..s3").teaches("c1", "t1 s1 s2"))
    issue = told(night)[IN_NO_CLASS]
    assert (issue.message, issue.severity) == ("1 of 3 students are in no class.", "note")
    assert night.status == "successful"


def test_students_of_a_provider_without_classes_may_be_in_those_of_another() -> None:
    """Before people are merged nobody knows whether they are."""
    assert IN_NO_CLASS not in flaws(school_of("t1 s1 s2"), provider("cl", "s1 s2"))


def test_a_class_of_a_weaker_provider_is_a_class_too() -> None:
    cl = provider("cl", "t1 s1 s9").teaches("c2", "t1 s1 s9")
    assert IN_NO_CLASS not in flaws(school_of("t1 s1 s2"), cl)


# ------------------------------------------------------------------------------------------ merge keys


def keyless(*providers: Provider, **options: Any) -> int:
    return flaws(*providers, **options).get(NO_KEY, 0)


def test_a_lone_provider_needs_no_key() -> None:
    assert keyless(school_of("t1 s1..s4").users("s1", email="")) == 0


@pytest.mark.parametrize(
    "change, count",
    [
        pytest.param(lambda sis: sis, 0, id="everybody has one"),
        pytest.param(lambda sis: sis.users("s1", email=""), 1, id="a student without"),
        pytest.param(lambda sis: sis.users("t1", email=""), 1, id="a teacher without"),
        pytest.param(lambda sis: sis.users("s1", email="****"), 1, id="a masked one is none"),
        pytest.param(lambda sis: sis.users("s1 s2", email="home@x.example"), 2, id="siblings"),
        pytest.param(
            lambda sis: sis.users("s1 s2", email="x@x.example", master="m"), 0, id="two rows of one human"
        ),
        pytest.param(
            lambda sis: sis.users("s1", email="a@x.example").users("s2", email="a@y.example"), 0, id="domains"
        ),
        pytest.param(
            lambda sis: sis.users("s1", email="a@x.example").users("s2", email="a@y.example").option(
                merge={"key": "email_without_domain"}
            ),
            2,
            id="domains do not count",
        ),
        pytest.param(
            lambda sis: sis.users("g1", phone="1", email="", agents=["s1"]).option(
                sync_parent_data=True, relationship_type="guardian"
            ),
            0,
            id="guardians come with their students",
        ),
    ],
)  # fmt: skip
def test_people_without_a_key(change: Change, count: int) -> None:
    sis = school_of("t1 s1..s8")
    change(sis)
    assert keyless(sis, provider("cl", "t1 s7")) == count


def test_a_directory_is_a_source_too() -> None:
    found = one_night(school_of("t1 s1 s2").users("s1", email=""), directories=[Directory("ad", {"x": {}})])
    assert told(found)[NO_KEY].message == (
        "1 of 3 rows of students and staff have no e-mail address that could join them with another source: "
        "1 have none."
    )


def test_whom_an_earlier_link_joins_needs_no_key_any_more() -> None:
    tale = begun(school_of("t1 s1..s4"), provider("cl", "s1"))
    sis, _ = tale.providers
    sis.users("s1 s2", email="")
    assert later(tale)[NO_KEY] == 1


# ------------------------------------------------------------------------------------------ sessions


@pytest.mark.parametrize(
    "change, count",
    [
        pytest.param(lambda sis: sis.teaches("c1", terms=["lost"]), 1, id="a term that is not there"),
        pytest.param(lambda sis: sis.empty("academicSessions"), 1, id="no sessions at all"),
        pytest.param(lambda sis: sis.teaches("c1", terms=["lost"]).teaches("c2", "t1 s1"), 0, id="one has"),
        pytest.param(
            lambda sis: sis.teaches("c1", terms=["lost"]).option(compatibility_mode=True), 0, id="minimum"
        ),
        pytest.param(
            lambda sis: sis.teaches("c1", terms=["lost"]).state("unproven", "academicSessions"),
            0,
            id="unproven",
        ),
        pytest.param(
            lambda sis: sis.empty("academicSessions").state("failed", "academicSessions"), 0, id="unreadable"
        ),
        pytest.param(lambda sis: sis.session("year", "2025-02-03..2025-10-14"), 0, id="holidays"),
        pytest.param(
            lambda sis: sis.teaches("c1", terms=["lost"]).option(sync_classroom_data=False), 0, id="off"
        ),
    ],
)  # fmt: skip
def test_no_session_that_could_be_found(change: Change, count: int) -> None:
    sis = school_of("t1 s1 s2")
    change(sis)
    assert flaws(sis).get(NO_SESSION, 0) == count


# ------------------------------------------------------------------------------------------ references


def test_a_few_enrolments_that_refer_to_nothing_only_warn() -> None:
    night = one_night(school_of("t1 s1..s8").enrol("c1", "s99")).check()
    issue = told(night)[SOME_DANGLING]
    assert (issue.message, issue.severity) == ("1 of 10 enrolments refer to nothing.", "warning")
    assert (night.status, night.schools["North School"]) == ("successful", "published")


def test_many_are_not_told_twice() -> None:
    assert SOME_DANGLING not in flaws(school_of("t1 s1..s8").enrol("c1", "s98 s99"))


# ------------------------------------------------------------------------------------------ values


@pytest.mark.parametrize(
    "people, lost, field, count",
    [
        pytest.param(2, 2, "email", 2, id="all of two"),
        pytest.param(2, 1, "email", 0, id="one of two"),
        pytest.param(20, 5, "email", 0, id="five"),
        pytest.param(20, 6, "email", 6, id="more than five and 5 %"),
        pytest.param(20, 6, "given", 6, id="given names"),
        pytest.param(20, 6, "family", 6, id="family names"),
        pytest.param(20, 6, "phone", 0, id="other fields are not who somebody is"),
    ],
)
def test_values_that_vanish(people: int, lost: int, field: str, count: int) -> None:
    tale = begun(school_of(f"s1..s{people} t1").users("t1", email="").users(f"s1..s{people}", phone="1"))
    tale.providers[0].users(f"s1..s{lost}", **{field: ""})
    assert later(tale).get(VANISHED, 0) == count


def test_what_is_lost_is_told_on_every_night_until_it_is_back() -> None:
    """RS-SAFE-06 keeps the old values; the check must not turn green because of that."""
    tale = begun(school_of("s1..s9 t1"))
    tale.providers[0].users("s1..s9 t1", email="")
    assert (later(tale)[VANISHED], later(tale)[VANISHED]) == (10, 10)
    night = tale.nights[-1]
    assert (night.status, night.who("s1")["email"]) == ("successful", "s1@north.example")
    tale.providers[0].users("s1..s9", email="x@north.example").users("t1", email="t1@north.example")
    assert VANISHED not in told(tale.night())


def test_a_school_that_loses_its_own_is_named_also_where_the_provider_hardly_notices() -> None:
    """RS-SAFE-06 looks at providers: two of a hundred are nothing to it, and all that a small school has."""
    sis = school_of("t1 s1..s60").org("south", "South School").users("t2 s70", orgs="south")
    tale = begun(sis.teaches("c2", "t2 s70", school="south"))
    tale.providers[0].users("t2 s70", email="")
    found = {(issue.school, issue.code): issue.count for issue in tale.night().issues if issue.school}
    assert found == {("South School", VANISHED): 2}


def test_a_school_that_never_had_addresses_is_complete() -> None:
    sis = school_of("t1 s1..s9").users("s1..s9", email="")
    assert flaws(sis) == {}
    tale = begun(sis)
    assert later(tale) == {}


def test_masked_values_are_told_as_masked_alone() -> None:
    tale = begun(school_of("t1 s1..s9"))
    tale.providers[0].users("s1..s9", email="*****")
    assert set(later(tale)) == {"RS-SAFE-09"}


def test_several_grades_that_vanish_are_one_line() -> None:
    sis = school_of("t1 s1..s30").users("s1..s10", grades=["07"]).users("s11..s20", grades=["08"])
    tale = begun(sis)
    tale.providers[0].gone("s1..s20")
    issue = told(tale.night())["RS-SAFE-10"]
    assert (issue.count, issue.message) == (20, "All 20 students of grades 07, 08 vanished at once.")


# ------------------------------------------------------------------------------------------ the setting

FLAWED: dict[str, Change] = {
    "no_classes": lambda sis: sis.gone("c1"),
    "classes_without_teachers": lambda sis: sis.teaches("c2", "s1"),
    "classes_without_students": lambda sis: sis.teaches("c2", "t1"),
    "students_in_no_class": lambda sis: sis.users("s10"),
    "no_merge_key": lambda sis: sis.users("s1", email=""),
    "no_current_session": lambda sis: sis.teaches("c1", terms=["lost"]),
    "some_dangling": lambda sis: sis.enrol("c1", "s99"),
    "no_students": lambda sis: sis.gone("s1..s9"),
    "no_teachers": lambda sis: sis.gone("t1"),
    "masked": lambda sis: sis.users("s1..s9", email="***"),
    "dangling": lambda sis: sis.enrol("c1", "s98 s99 s97"),
    "sessions_outdated": lambda sis: sis.session("year", "2023-08-01..2024-06-01"),
}  # fmt: skip
"""A change for every flaw that shows on a first night."""


def flawed(what: str, *more: str) -> list[Provider]:
    sis = school_of("t1 s1..s9").org("south").users("t18 s18", orgs="south")
    sis.teaches("c8", "t18 s18", school="south")
    for name in (what, *more):
        FLAWED[name](sis)
    return [sis, provider("cl")] if "no_merge_key" in (what, *more) else [sis]


@pytest.mark.parametrize("what", FLAWED)
def test_a_flaw_keeps_a_school_back_if_the_setting_says_so(what: str) -> None:
    night = one_night(*flawed(what), keeps_back=(what,)).check()
    assert night.school("North School")["state"] == "kept"
    assert night.school("North School")["code"] == CODES[what]
    assert told(night)[CODES[what]].severity == "school kept back"


@pytest.mark.parametrize("what", FLAWED)
def test_a_flaw_warns_if_the_setting_does_not_name_it(what: str) -> None:
    others = tuple(name for name in CODES if name != what and name not in ("dangling", "some_dangling"))
    night = one_night(*flawed(what), keeps_back=others if what != "no_students" else ()).check()
    assert night.school("North School")["state"] == "published"
    assert told(night)[CODES[what]].severity in ("note", "warning")
    assert (night.status, CODES[what] in night.codes) == ("successful", True)


@pytest.mark.parametrize("what", sorted(set(FLAWED) - set(KEEPS_BACK)))
def test_what_the_page_does_not_name_leaves_a_sync_successful(what: str) -> None:
    night = one_night(*flawed(what)).check()
    assert (night.status, night.schools["North School"]) == ("successful", "published")


def test_the_catalogue_says_of_each_what_happens_by_default() -> None:
    kept = {what for what, code in CODES.items() if CATALOGUE[code].severity == "school kept back"}
    assert kept == set(KEEPS_BACK)


def test_each_school_s_flaws_stand_with_it() -> None:
    night = one_night(*flawed("classes_without_students", "students_in_no_class"))
    assert night.school("North School")["flaws"] == {NO_STUDENT: 1, IN_NO_CLASS: 1}
    assert night.school("South School")["flaws"] == {}


def test_two_schools_of_one_name_are_two_lines() -> None:
    sis = school_of("t1 s1").org("south", "North School").users("t2 s2", orgs="south")
    sis.teaches("c2", "t2 s2", school="south").teaches("c3", "t1").teaches("c4", "t2", school="south")
    night = one_night(sis)
    assert [issue.count for issue in night.issues if issue.code == NO_STUDENT] == [1, 1]
    assert [school["flaws"] for school in night.report["schools"]] == [{NO_STUDENT: 1}] * 2


# ------------------------------------------------------------------------------------------ exclusions


@pytest.mark.parametrize("what", FLAWED)
def test_of_an_excluded_school_nothing_is_said(what: str) -> None:
    """Not even in the lines that tell of a provider as a whole."""
    providers = flawed(what)
    if what == "sessions_outdated":
        providers[0].session("now", "2025-08-18..2026-06-12").teaches("c8", terms=["now"])
    for one in providers:
        one.option(exclude_schools=["North School"])
    night = one_night(*providers).check()
    assert night.issues == []
    assert night.school("North School")["state"] == "excluded"
    assert night.school("North School")["flaws"] == {}
    assert night.status == "successful"


@pytest.mark.parametrize("option", ["exclude_schools", "limit_to"])
@pytest.mark.parametrize(
    "written, near",
    [
        ("Nort School", "North School"),
        ("north school", "North School"),
        ("North  School", "North School"),
        ("NORHT", "NORTH"),
        ("nroth", "north"),
    ],
)
def test_a_name_that_fits_no_school_warns_with_near_spellings(option: str, written: str, near: str) -> None:
    given = [written, "South School"]
    sis = school_of("t1 s1 s2").org("south").users("t8 s8", orgs="south")
    sis.teaches("c8", "t8 s8", school="south")
    sis.option(**({option: given} if option == "exclude_schools" else {option: {"schools": given}}))
    found = [issue for issue in one_night(sis).issues if issue.code == "RS-REF-02"]
    assert len(found) == 1
    assert f"“{written}”" in found[0].message
    assert near.casefold() in found[0].message.partition("near spellings: ")[2].casefold()


def test_blanks_around_a_name_are_no_error() -> None:
    sis = school_of("t1 s1 s2").org("south").users("t8 s8", orgs="south")
    sis.teaches("c8", "t8 s8", school="south").option(exclude_schools=["  South School "])
    assert one_night(sis).schools == {"North School": "published", "South School": "excluded"}


# ------------------------------------------------------------------------------------------ one school alone


def rows_of_north(night: Night) -> dict[str, Any]:
    """Everything that is published of North School, but for what tells of the sync itself."""
    school = next(row["school_id"] for row in night.table("schools") if row["name"] == "North School")
    classes = {row["class_id"] for row in night.table("classes") if row["school_id"] == school}
    people = [row for row in night.table("people") if school in row["roles"]]
    return {
        "school": [row for row in night.table("schools") if row["school_id"] == school],
        "classes": [row for row in night.table("classes") if row["class_id"] in classes],
        "people": sorted((row["person_id"], str(row)) for row in people),
        "memberships": sorted(str(row) for row in night.table("memberships") if row["class_id"] in classes),
    }


SPOILT: dict[str, Change] = {
    "no students": lambda sis: sis.gone("s21..s32"),
    "no teachers": lambda sis: sis.gone("t2"),
    "masked": lambda sis: sis.users("s21..s32", email="***", given="***", family="***"),
    "dangling": lambda sis: sis.enrol("c2", "s91..s99"),
    "grade gone": lambda sis: (
        sis.gone("s21..s32").users("s40", orgs="south", grades=["07"]).enrol("c2", "s40")
    ),
    "outdated": lambda sis: sis.session("south", "2023-08-01..2024-06-01"),
    "all gone": lambda sis: sis.gone("s21..s32", "t2", "c2"),
    "no classes": lambda sis: sis.gone("c2"),
    "nobody in class": lambda sis: sis.teaches("c2", ""),
}  # fmt: skip
CHANGED: dict[str, Change] = {
    "nothing": lambda sis: sis,
    "somebody comes": lambda sis: sis.users("s9").enrol("c1", "s9"),
    "somebody goes": lambda sis: sis.gone("s1"),
    "somebody marries": lambda sis: sis.users("t1", family="Married"),
    "a class comes": lambda sis: sis.teaches("c9", "t1 s2"),
    "somebody changes class": lambda sis: sis.teaches("c3", "t1 s3"),
}


@settings(max_examples=12, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(
    spoilt=st.sampled_from(sorted(SPOILT)),
    changed=st.lists(st.sampled_from(sorted(CHANGED)), min_size=2, max_size=2, unique=True),
    every=st.booleans(),
)
def test_a_school_that_is_kept_back_never_changes_the_rows_of_another(
    spoilt: str, changed: list[str], every: bool
) -> None:
    sis = provider("sis", "t1 s1..s8").org("south").users("t2 s21..s32", orgs="south")
    sis.session("south", "2025-08-18..2026-06-12", kind="schoolYear")
    sis.teaches("c1", "t1 s1..s8").teaches("c2", "t2 s21..s32", school="south", terms=["south"])
    options: dict[str, Any] = {"keeps_back": tuple(CODES)} if every else {}
    good, bad = begun(sis, **options), begun(sis, **options)
    SPOILT[spoilt](bad.providers[0])
    for change in changed:
        for tale in (good, bad):
            CHANGED[change](tale.providers[0])
        one, other = good.night().check(), bad.night().check()
        assert one.schools["South School"] == "published"
        assert rows_of_north(one) == rows_of_north(other)
