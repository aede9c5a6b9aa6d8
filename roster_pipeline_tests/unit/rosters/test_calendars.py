"""Whole nights around the dates that matter: last days, holidays, hemispheres, leaving and coming back."""

from __future__ import annotations

from typing import Any

import pytest

from roster_pipeline.rosters.source import State
from roster_pipeline_tests.rosters import Night, Provider, Story, begun, labels, provider, school_of, story

BOTH: dict[str, Any] = {"respect_enrolment_date": True, "respect_academic_sessions": True}

# ------------------------------------------------------------------------------------------ last days


@pytest.mark.parametrize(
    "end_dates, day, there",
    [
        ("inclusive", "2025-11-13", True),
        ("inclusive", "2025-11-14", True),
        ("inclusive", "2025-11-15", False),
        ("exclusive", "2025-11-13", True),
        ("exclusive", "2025-11-14", False),
    ],
)
def test_on_the_last_day_of_an_enrolment_a_student(end_dates: str, day: str, there: bool):
    sis = school_of("t1 s1 s2", **BOTH, end_dates=end_dates).teaches("c1", "t1 s1 s2[..2025-11-14]")
    told = story(sis)
    told.night("2025-11-12")
    night = told.night(day).check()
    assert ("s2" in night.people) is there
    assert ("s2" in night.members("c1")) is there
    assert night.inactive == set()
    assert night.status == "successful"


@pytest.mark.parametrize(
    "end_dates, day, there",
    [
        ("inclusive", "2025-11-14", True),
        ("inclusive", "2025-11-15", False),
        ("exclusive", "2025-11-13", True),
        ("exclusive", "2025-11-14", False),
    ],
)
@pytest.mark.parametrize("sent", [True, False], ids=["still sent", "no longer sent"])
def test_on_the_last_day_of_its_session_a_class(end_dates: str, day: str, there: bool, sent: bool):
    sis = school_of("t1 s1 s2", respect_academic_sessions=True, end_dates=end_dates)
    sis.session("autumn", "2025-08-18..2025-11-14").teaches("c2", "t1 s1 s2", terms=["autumn"])
    told = story(sis)
    told.night("2025-11-12")
    if not sent:
        sis.gone("c2")
    night = told.night(day).check()
    if sent or not there:
        assert ("c2" in night.classes) is there
        assert ("RS-SES-04" in night.codes) is not there
    else:  # removed before its end: no end of term, and counted like any removal
        assert "RS-SES-04" not in night.codes
    assert "RS-SAFE-03" not in night.codes


@pytest.mark.parametrize("state", ["stale", "unproven"])
def test_sessions_that_were_not_read_whole_end_no_class_and_take_nobody(state: State):
    sis = school_of("t1 s1..s9", **BOTH).users("s20").session("autumn", "2025-08-18..2025-10-20")
    tenant = begun(sis.teaches("c2", "t1 s1..s3 s20", terms=["autumn"]))
    sis = tenant.providers[0].state(state, "academicSessions")
    for _ in range(2):
        night = tenant.night("2025-10-22").check()
        assert (night.status, night.classes) == ("partial", {"c1", "c2"})
        assert night.members("c2") == labels("t1 s1..s3 s20")
        assert "s20" in night.people
    assert night.quiet
    sis.state("ok")
    night = tenant.night("2025-10-22").check()
    assert (night.status, night.classes, night.codes) == ("successful", {"c1"}, ["RS-SES-04"])
    assert "s20" not in night.people


@pytest.mark.parametrize("how", ["shortened", "vanished"])
def test_nobody_leaves_by_a_session_that_is_not_an_end(how: str):
    sis = school_of("t1 s1..s9", **BOTH).users("s20").session("autumn", "2025-08-18..2025-12-20")
    tenant = begun(sis.teaches("c2", "t1 s1..s3 s20", terms=["autumn"]))
    if how == "shortened":
        tenant.providers[0].session("autumn", "2025-08-18..2025-10-10")
    else:
        tenant.providers[0].gone("autumn")
    night = tenant.night().check()
    assert (night.status, night.classes) == ("partial", {"c1", "c2"})
    assert "RS-SES-02" in night.codes
    assert (night.members("c2"), "s20" in night.people) == (labels("t1 s1..s3 s20"), True)


@pytest.mark.parametrize("on", [True, False])
def test_an_enrolment_to_come_makes_a_member_on_its_first_day_or_at_once(on: bool):
    sis = school_of("t1 s1 s2", respect_enrolment_date=on).enrol("c1", "s3[2025-11-03..]").users("s3")
    told = story(sis)
    before, first = told.night("2025-11-02").check(), told.night("2025-11-03").check()
    assert ("s3" in before.people) is not on
    assert first.members("c1") == labels("t1 s1 s2 s3")
    assert before.status == first.status == "successful"


def test_whoever_is_enrolled_again_after_leaving_is_the_same_person():
    sis = school_of("t1 s1 s2", **BOTH).teaches("c1", "t1 s1 s2[..2025-10-15]")
    told = story(sis)
    first = told.night("2025-10-15").check()
    assert told.night("2025-10-16").check().people == {"t1", "s1"}
    assert told.night("2026-01-11").people == {"t1", "s1"}
    sis.enrol("c1", "s2[2026-01-12..]")
    again = told.night("2026-01-12").check()
    assert again.person("s2") == first.person("s2")
    assert "s2" in again.members("c1")
    assert again.who("s2")["inactive_since"] == ""


def test_teachers_come_to_and_leave_a_class_by_their_dates_and_stay_people():
    sis = school_of("t1 t2 s1", **BOTH).teaches("c1", "t1[..2025-10-15] t2[2025-10-16..] s1")
    told = story(sis)
    first, second = told.night("2025-10-15").check(), told.night("2025-10-16").check()
    assert (first.members("c1"), second.members("c1")) == (labels("t1 s1"), labels("t2 s1"))
    assert first.people == second.people == labels("t1 t2 s1")


# ------------------------------------------------------------------------------------------ between terms


def terms() -> Provider:
    """Two terms with holidays between them; classes and enrolments are of one of them each."""
    sis = provider("sis", "t1 s1..s9", **BOTH).gone("year")
    sis.session("autumn", "2025-08-18..2025-12-19").session("spring", "2026-01-12..2026-06-12")
    dates = ("2025-08-18..2025-12-19", "2026-01-12..2026-06-12")
    sis.teaches("a1", f"t1 {enrolled('s1..s9', dates[0])}", terms=["autumn"])
    return sis.teaches("b1", f"t1 {enrolled('s1..s8', dates[1])}", terms=["spring"])


def enrolled(who: str, when: str) -> str:
    return " ".join(f"{name}[{when}]" for name in sorted(labels(who)))


@pytest.fixture(scope="module")
def year() -> dict[str, Night]:
    told, found = story(terms()), {}
    for day in ("2025-12-19", "2025-12-20", "2026-01-11", "2026-01-12", "2026-06-12", "2026-06-13"):
        if day == "2026-06-12":
            told.providers[0].gone("s9")
        found[day] = told.night(day).check()
    return found


@pytest.mark.parametrize(
    "day, classes, people",
    [
        ("2025-12-19", "a1", "t1 s1..s9"),
        ("2025-12-20", "", "t1 s1..s9"),
        ("2026-01-11", "", "t1 s1..s9"),
        ("2026-01-12", "b1", "t1 s1..s8"),
        ("2026-06-12", "b1", "t1 s1..s8"),
        ("2026-06-13", "", "t1 s1..s8"),
    ],
)
def test_through_terms_and_holidays(day: str, classes: str, people: str, year: dict[str, Night]):
    assert year[day].classes == labels(classes)
    assert year[day].people == labels(people)
    assert year[day].inactive == set()
    assert year[day].status == "successful"
    assert set(year[day].codes) <= {"RS-SES-04"}
    assert year[day].schools == {"North School": "published"}


def test_in_the_holidays_only_the_summers_length_makes_a_source_outdated():
    told = story(terms().gone("s9"))
    told.night("2026-06-12")
    assert told.night("2026-10-10").check().status == "successful"  # 120 days
    late = told.night("2026-10-11").check()
    assert late.schools == {"North School": "kept"}
    assert late.people == labels("t1 s1..s8")


# ------------------------------------------------------------------------------------------ two hemispheres


def hemispheres(**options: object) -> Provider:
    """A northern and a southern school of one tenant; of each, one student left in its own third week."""
    sis = provider("sis", "t1 s1 s2", **{**BOTH, **options}).org("south")
    sis.users("t2 s11 s12", orgs="south").session("year", "2025-08-18..2026-06-12", kind="schoolYear")
    sis.session("2025", "2025-01-28..2025-12-12", kind="schoolYear")
    sis.session("2026", "2026-01-27..2026-12-11", kind="schoolYear")
    sis.teaches("n", "t1 s1 s2[..2025-09-05]", terms=["year"])
    sis.teaches("o", "t2 s11 s12", school="south", terms=["2025"])
    return sis.teaches("p", "t2 s11 s12[..2026-02-13]", school="south", terms=["2026"])


@pytest.mark.parametrize(
    "day, people, classes",
    [
        pytest.param("2025-06-20", "t1 s1 s2 t2 s11 s12", "o", id="the north has not begun"),
        pytest.param("2025-09-05", "t1 s1 s2 t2 s11 s12", "n o", id="both are in session"),
        pytest.param("2025-09-06", "t1 s1 t2 s11 s12", "n o", id="somebody left the north"),
        pytest.param("2025-12-20", "t1 s1 t2 s11 s12", "n", id="summer in the south"),
        pytest.param("2026-02-14", "t1 s1 t2 s11", "n p", id="somebody left the south"),
        pytest.param("2026-07-05", "t1 s1 s2 t2 s11", "p", id="summer in the north"),
    ],
)
def test_each_school_lives_by_its_own_year(day: str, people: str, classes: str):
    night = story(hemispheres()).night(day).check()
    assert night.people == labels(people)
    assert night.classes == labels(classes)
    assert night.schools == {"North School": "published", "South School": "published"}
    assert night.status == "successful"


def test_each_provider_reads_end_dates_its_own_way():
    sis = school_of("t1 s1 s2", respect_enrolment_date=True).teaches("c1", "t1 s1 s2[..2025-10-15]")
    cl = provider("cl", "t9 s8 s9", respect_enrolment_date=True, end_dates="exclusive").org("south")
    cl.users("t9 s8 s9", orgs="south").teaches("c9", "t9 s8 s9[..2025-10-15]", school="south")
    night = story(sis, cl).night("2025-10-15").check()
    assert night.people == {"t1", "s1", "s2", "cl/t9", "cl/s8"}


def test_somebody_who_left_by_the_dates_of_one_provider_stays_by_the_other():
    sis = school_of("t1 s1 s2", respect_enrolment_date=True).teaches("c1", "t1 s1 s2[..2025-10-15]")
    told: Story = story(sis, provider("cl", "s2"))
    first, second = told.night("2025-10-15").check(), told.night("2025-10-16").check()
    assert "cl/s2" in second.people
    assert second.person("cl/s2") == first.person("s2")
    assert second.members("c1") == {"t1", "s1"}
