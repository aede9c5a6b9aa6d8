"""Between sessions all people of a school stay, and nobody who had left comes back for the holidays."""

from __future__ import annotations

from typing import Any

import pytest

from roster_pipeline_tests.rosters import Night, Provider, Story, labels, provider, school_of, story

BOTH: dict[str, Any] = {"respect_enrolment_date": True, "respect_academic_sessions": True}
IN_TERM, LEFT, LAST_DAY = "2025-10-15", "2025-10-21", "2025-12-19"
HOLIDAYS, LAST_HOLIDAY, FIRST_DAY = "2025-12-20", "2026-01-11", "2026-01-12"
STAYING = "t1 s1..s8"


def terms(*, name: str = "sis", **options: Any) -> Provider:
    """Two terms with holidays between them; s9 leaves on 2025-10-20, the others go on in spring."""
    sis = provider(name, "t1 s1..s9", **{**BOTH, **options}).gone("year")
    sis.session("autumn", "2025-08-18..2025-12-19").session("spring", "2026-01-12..2026-06-12")
    sis.teaches("a1", "t1 s1..s8 s9[..2025-10-20]", terms=["autumn"])
    return sis.teaches("b1", "t1 s1..s8", terms=["spring"])


def after_leaving(sis: Provider, **settings: Any) -> Story:
    """A tenant whose s9 left by the dates in October."""
    told = story(sis, **settings)
    assert "s9" in told.night(IN_TERM).check().people
    assert told.night(LEFT).check().people == labels(STAYING)
    told.night(LAST_DAY).check()
    return told


def is_gone_for_good(told: Story, *days: str) -> None:
    """Whether s9 is nobody's on all these days, and nothing happens twice."""
    for day in days or (HOLIDAYS, "2025-12-21", LAST_HOLIDAY, FIRST_DAY, "2026-01-13"):
        night = told.night(day).check()
        assert night.people == labels(STAYING)
        assert (night.inactive, night.status) == (set(), "successful")
        assert night.became["s9"] == ("dropped", "left", "")
        assert told.night(day).check().quiet


def test_who_left_in_term_does_not_come_back_for_the_holidays():
    is_gone_for_good(after_leaving(terms()))


def test_an_unchanged_night_of_the_holidays_changes_nothing_that_is_remembered():
    told = after_leaving(terms())
    told.night(HOLIDAYS)
    before = told.outcomes
    assert told.night().check().quiet
    assert told.outcomes.sort_values(["source_id"]).to_csv() == before.sort_values(["source_id"]).to_csv()


def test_in_the_holidays_nobody_who_had_not_left_goes():
    """A first sync remembers nobody: all people stay until the next session begins."""
    told = story(terms())
    assert told.night(HOLIDAYS).check().people == labels("t1 s1..s9")
    assert told.night(LAST_HOLIDAY).check().people == labels("t1 s1..s9")
    assert told.night(FIRST_DAY).check().people == labels(STAYING)


@pytest.mark.parametrize("who", ["s9[2026-01-12..]", "s9[2026-01-12..2026-06-12]", "s9"])
def test_who_is_entered_for_the_next_session_is_the_schools_again(who: str):
    sis = terms()
    told = after_leaving(sis)
    first = told.nights[0].person("s9")
    is_gone_for_good(told, HOLIDAYS)
    sis.enrol("b1", who)
    for day in ("2025-12-21", LAST_HOLIDAY, FIRST_DAY):
        night = told.night(day).check()
        assert night.person("s9") == first
        assert night.who("s9")["inactive_since"] == ""
        assert told.night(day).check().quiet
    assert "s9" in night.members("b1")


@pytest.mark.parametrize(
    "enrol",
    [
        pytest.param(lambda sis: sis.enrol("b1", "s9[..2025-12-01]"), id="which ended before"),
        pytest.param(lambda sis: sis.enrol("a1", "s9[2026-01-12..]"), id="in a class that is over by then"),
        pytest.param(lambda sis: sis.enrol("b1", "s9[2026-01-12..]", status="tobedeleted"), id="deleted"),
        pytest.param(
            lambda sis: sis.enrol("b1", "s9").teaches("b1", status="tobedeleted"), id="in a deleted class"
        ),
    ],
)
def test_an_enrolment_that_never_comes_brings_nobody_back(enrol: Any):
    sis = terms()
    sis.teaches("b2", "t1 s1..s8", terms=["spring"])
    told = after_leaving(sis)
    enrol(sis)
    is_gone_for_good(told, HOLIDAYS, LAST_HOLIDAY)


def test_whoever_returns_in_january_is_the_same_person():
    sis = terms()
    told = after_leaving(sis)
    is_gone_for_good(told, HOLIDAYS, LAST_HOLIDAY, FIRST_DAY)
    sis.enrol("b1", "s9")
    night = told.night("2026-01-20").check()
    assert night.person("s9") == told.nights[0].person("s9")
    assert "s9" in night.members("b1")


def test_who_never_was_published_is_not_published_for_the_holidays():
    told = story(terms())
    is_gone_for_good(told, LEFT, HOLIDAYS, FIRST_DAY)


def test_without_the_date_rule_everybody_is_there_in_the_holidays_too():
    sis = terms()
    told = after_leaving(sis)
    sis.option(respect_enrolment_date=False)
    assert told.night(HOLIDAYS).check().people == labels("t1 s1..s9")
    sis.option(respect_enrolment_date=True)  # had left, came back by the settings: one of its people
    assert told.night().check().people == labels("t1 s1..s9")
    assert told.night(FIRST_DAY).check().people == labels(STAYING)


@pytest.mark.parametrize("state", ["unproven", "stale"])
def test_an_extract_that_proves_nothing_brings_nobody_back(state: Any):
    sis = terms()
    told = after_leaving(sis)
    sis.state(state, "users", "enrollments")
    assert told.night(HOLIDAYS).check().people == labels(STAYING)
    sis.state("ok")
    is_gone_for_good(told, "2025-12-21")


def test_who_is_missing_from_an_extract_that_proves_nothing_has_left_all_the_same():
    sis = terms()
    told = after_leaving(sis)
    whole = sis.copy()
    sis.gone("s9").state("unproven", "users")
    assert told.night(HOLIDAYS).check().people == labels(STAYING)
    sis.rows, sis.states = whole.rows, {}
    is_gone_for_good(told, "2025-12-21", FIRST_DAY)


@pytest.mark.parametrize("state", ["unproven", "stale"])
def test_whom_nothing_proved_to_have_left_stays_through_the_holidays(state: Any):
    sis = terms()
    told = story(sis)
    told.night(IN_TERM)
    sis.state(state, "users", "enrollments")
    assert told.night(LEFT).check().people == labels("t1 s1..s9")
    sis.state("ok")
    for day in (HOLIDAYS, LAST_HOLIDAY):
        assert told.night(day).check().people == labels("t1 s1..s9")
        assert told.night(day).check().quiet
    assert told.night(FIRST_DAY).check().people == labels(STAYING)


def test_whose_removal_waits_stays_through_the_holidays():
    sis = terms().teaches("a1", "t1 s1..s9").teaches("b1", "t1")
    told = story(sis)
    told.night(IN_TERM)
    sis.teaches("a1", "t1 s1 s2")  # seven of nine are not sent any more
    assert told.night(LEFT).check().people == labels("t1 s1..s9")
    assert told.nights[-1].status == "partial"
    assert told.night(HOLIDAYS).check().people == labels("t1 s1..s9")
    assert told.night(HOLIDAYS).check().quiet


def test_whose_enrolments_vanished_goes_after_the_grace_also_in_the_holidays():
    sis = terms()
    told = story(sis)
    told.night(IN_TERM)
    sis.teaches("a1", "t1 s1..s8")
    night = told.night("2025-12-18").check()
    assert (night.people, night.inactive) == (labels(STAYING), {"s9"})
    for day, inactive in ((HOLIDAYS, {"s9"}), ("2025-12-25", {"s9"}), ("2025-12-26", set())):
        night = told.night(day).check()
        assert (night.people, night.inactive, night.status) == (labels(STAYING), inactive, "successful")
        assert told.night(day).check().quiet


def test_a_failed_sync_remembers_nobody_as_having_left():
    sis = terms()
    told = story(sis)
    told.night(IN_TERM)
    sis.state("failed")
    assert told.night(LEFT).status == "failed"
    sis.state("ok")
    assert told.night(HOLIDAYS).check().people == labels("t1 s1..s9")


def test_who_left_one_provider_stays_with_the_other_and_does_not_come_back_to_the_first():
    sis = terms()
    told = story(sis, school_of("s9", name="cl", share_classes=True))
    told.night(IN_TERM)
    for day in (LEFT, HOLIDAYS, FIRST_DAY):
        night = told.night(day).check()
        assert night.became["s9"] == ("dropped", "left", "")
        assert night.became["cl/s9"][0] == "matched"
        assert "cl/s9" in night.people


def test_a_role_that_ended_brings_nobody_back_for_a_class_without_dates():
    sis = terms().teaches("a1", "t1 s1..s9").enrol("b1", "s9")
    sis.users("s9", roles=[["student", "north", "", "2025-10-20"]])
    told = story(sis)
    told.night(IN_TERM)
    is_gone_for_good(told, LEFT, HOLIDAYS, FIRST_DAY)


def test_a_school_of_another_calendar_judges_by_its_own():
    """s9 left the north in its term; the south begins only in January, and has them in its books."""
    sis = terms().org("south")
    told = after_leaving(sis)
    sis.users("s9", orgs="south")
    is_gone_for_good(told, HOLIDAYS)
    sis.teaches("z", "s9", school="south", terms=["spring"])
    night: Night = told.night(LAST_HOLIDAY).check()
    assert night.people == labels(STAYING) | {"s9"}
