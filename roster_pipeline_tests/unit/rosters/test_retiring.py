"""What only a retired provider brought goes with it, also a school that another provider lists."""

from __future__ import annotations

from typing import Any

import pytest

from roster_pipeline_tests.rosters import Provider, Story, labels, school_of, story

NORTH = {"North School": "published"}


def annexe() -> Provider:
    """A provider of the annexe alone; s1 is known to the other one, too."""
    cl = Provider("cl").org("annexe").course("maths").users("t5 s5 s6 s1")
    return cl.session("year", "2025-08-18..2026-06-12").teaches("c5", "t5 s5 s6 s1")


def retired(sis: Provider, cl: Provider, **settings: Any) -> Story:
    """A tenant after its first night, whose second provider is retired since."""
    told = story(sis, cl, **settings)
    assert told.night().check().schools["Annexe School"] == "published"
    told.retire(cl)
    return told


@pytest.mark.parametrize("there", ["listed", "excluded", "no longer listed", "never there"])
def test_a_school_that_only_a_retired_provider_filled_goes_with_it(there: str):
    sis = school_of("t1 s1 s2")
    if there != "never there":
        sis.org("annexe")
    if there == "excluded":
        sis.option(exclude_schools=["Annexe School"])
    told = retired(sis, annexe())
    if there == "no longer listed":
        sis.gone("annexe")
    for day in ("", "2025-10-16", "2025-10-17", "2025-10-23"):
        night = told.night(day).check()
        assert night.people == labels("t1 s1 s2")
        assert len(night.inactive) == 3
        assert night.classes == {"c1"}
        assert {row["name"] for row in night.table("schools")} == {"North School"}
        assert night.schools | {"Annexe School": ""} == {**NORTH, "Annexe School": ""}, night.schools
        assert night.status == "successful"
        assert set(night.codes) <= {"RS-SAFE-12"}
    assert told.night("2025-10-24").check().inactive == set()
    last = told.night().check()
    assert last.quiet
    assert last.status == "successful"


@pytest.mark.parametrize("what", ["a class", "a teacher"])
def test_a_school_of_which_a_provider_that_is_left_brought_rows_is_kept_back_when_they_vanish(what: str):
    sis = school_of("t1 s1 s2").org("annexe")
    if what == "a class":
        sis.teaches("c9", "t1 s1", school="annexe")
    else:
        sis.users("t9", orgs="annexe")
    told = retired(sis, annexe().option(share_classes=True))
    sis.gone("c9" if what == "a class" else "t9")
    for _ in range(10):
        night = told.night().check()
        assert night.schools == {**NORTH, "Annexe School": "kept"}
        assert night.status == "partial"
        assert "RS-SAFE-11" in night.codes


def test_a_school_that_is_excluded_and_was_published_of_that_provider_stays():
    sis = school_of("t1 s1 s2").org("annexe").users("t9 s9", orgs="annexe")
    told = retired(sis, annexe())
    sis.option(exclude_schools=["Annexe School"])
    for _ in range(2):
        night = told.night().check()
        assert night.schools == {**NORTH, "Annexe School": "excluded"}
        assert night.people == labels("t1 s1 s2 t9 s9")


def test_while_the_provider_that_is_left_cannot_be_read_the_school_stays():
    sis = school_of("t1 s1 s2").org("annexe")
    told = retired(sis, annexe())
    sis.state("failed", "users")
    night = told.night().check()
    assert "Annexe School" in {row["name"] for row in night.table("schools")}
    sis.state("ok")
    assert {row["name"] for row in told.night().check().table("schools")} == {"North School"}


def test_a_school_that_a_provider_fills_when_the_other_is_retired_keeps_its_id():
    sis = school_of("t1 s1 s2").org("annexe")
    told = retired(sis, annexe())
    before = told.nights[-1].table("schools")
    told.night().check()
    sis.users("t9 s9", orgs="annexe").teaches("c9", "t9 s9", school="annexe")
    night = told.night().check()
    assert night.schools == {**NORTH, "Annexe School": "published"}
    assert {row["school_id"] for row in night.table("schools")} == {row["school_id"] for row in before}
