"""Every option switched between two nights: what it takes out of scope goes at once, and comes back.

So much goes that all of it would wait, were it not the settings that take it out (product.md,
"Changing the settings").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from roster_pipeline_tests.rosters import Night, Provider, Story, begun, labels, provider, school_of, story

# ------------------------------------------------------------------------------------------ one option

PEOPLE = "t1 t2 a1 s1..s9 s11..s19 g1"


@dataclass(frozen=True)
class Switch:
    """Options that are set for `two_schools`, and what they leave of it."""

    options: dict[str, Any]
    people: str = PEOPLE
    classes: str = "c1 c2 past"
    links: str = "s1 g1/s2 g1"


SWITCHES = {
    "respect_enrolment_date": Switch({"respect_enrolment_date": True}, "t1 t2 a1 s1..s3 s11..s19 g1"),
    "respect_academic_sessions": Switch({"respect_academic_sessions": True}, classes="c1 c2"),
    "sync_classroom_data": Switch({"sync_classroom_data": False}, classes=""),
    "sync_parent_data": Switch(
        {"sync_parent_data": False, "relationship_type": None}, "t1 t2 a1 s1..s9 s11..s19", links=""
    ),
    "relationship_type": Switch({"relationship_type": "parent"}, "t1 t2 a1 s1..s9 s11..s19", links=""),
    "limit_to.roles": Switch({"limit_to": {"roles": ["student", "guardian"]}}, "s1..s9 s11..s19 g1"),
    "limit_to.schools": Switch({"limit_to": {"schools": ["North School"]}}, "t1 a1 s1..s9 g1"),
    "limit_to.grades": Switch({"limit_to": {"grades": ["10"]}}, "t1 t2 a1 s11..s19", links=""),
    "exclude_schools": Switch(
        {"exclude_schools": ["South School"], "excluded_rosters": "remove"}, "t1 a1 s1..s9 g1", "c1 past"
    ),
}
PARENTS: dict[str, Any] = {"sync_parent_data": True, "relationship_type": "guardian"}
BACK = PARENTS | {
    "respect_enrolment_date": False, "respect_academic_sessions": False, "sync_classroom_data": True,
    "limit_to": {}, "exclude_schools": [], "excluded_rosters": "keep",
}  # fmt: skip


def two_schools() -> Provider:
    """Students s4 to s9 have left; the class `past` is over since September."""
    sis = provider("sis", "t1 a1 s1..s9", **PARENTS).org("south")
    sis.users("t2 s11..s19", orgs="south").users("s11..s19", grades=["10"])
    sis.session("summer", "2025-08-18..2025-09-30", parent="year")
    sis.teaches("c1", "t1 s1..s3").teaches("c2", "t2 s11..s19", school="south")
    sis.teaches("past", "t1", terms=["summer"]).enrol("c1", "s4[..2025-09-30]")
    for n in range(5, 10):
        sis.enrol("c1", f"s{n}[2025-08-18..2025-09-30]")
    return sis.users("g1").users("s1 s2", agents=["g1"])


def is_what_is_left(told: Night, switch: Switch) -> bool:
    """Whether it all went, at once and without a hold."""
    assert told.people == labels(switch.people)
    assert told.inactive == set()
    assert told.classes == labels(switch.classes)
    assert told.links == {link for link in switch.links.split("/") if link}
    assert not [code for code in told.codes if code.startswith("RS-SAFE")]
    return told.status == "successful"


@pytest.mark.parametrize("name", SWITCHES)
def test_what_an_option_takes_out_goes_at_once_and_comes_back_with_it(name: str):
    switch, told = SWITCHES[name], begun(two_schools())
    (sis,), (first,) = told.providers, told.nights
    assert first.people == labels(PEOPLE)
    sis.option(**switch.options)
    assert is_what_is_left(told.night().check(), switch)
    sis.option(**{option: BACK[option] for option in switch.options})
    third = told.night().check()
    assert third.people == first.people
    assert third.classes == first.classes
    assert third.links == first.links
    assert {who: third.person(who) for who in third.people} == {
        who: first.person(who) for who in first.people
    }
    assert third.status == "successful"


@pytest.mark.parametrize("name", SWITCHES)
def test_until_a_sync_is_complete_an_option_takes_nobody_out(name: str):
    switch, told = SWITCHES[name], begun(two_schools())
    (sis,), (first,) = told.providers, told.nights
    sis.option(**switch.options).state("unproven", "users", "classes", "enrollments")
    second = told.night().check()
    assert (second.people, second.classes) == (first.people, first.classes)
    sis.state("ok")
    assert is_what_is_left(told.night().check(), switch)


def test_a_class_between_its_terms_goes_though_the_sync_that_turned_the_rule_on_was_not_complete():
    sis = school_of("t1 s1").session("one", "2025-08-18..2025-09-30").session("two", "2025-11-03..2025-12-19")
    told = begun(sis.teaches("c2", "t1 s1", terms=["one", "two"]))
    (sis,) = told.providers
    sis.option(respect_academic_sessions=True).state("unproven", "classes")
    assert told.night().check().classes == {"c1", "c2"}
    sis.state("ok")
    assert told.night().check().classes == {"c1"}


def test_a_first_sync_that_was_not_complete_has_published_by_its_options():
    sis = school_of("t1 s1", respect_academic_sessions=True).session("one", "2025-08-18..2025-12-19")
    told = story(sis.teaches("c2", "t1 s1", terms=["one"]).state("unproven", "classes"))
    told.night()
    sis.state("ok").gone("one")  # complete, and the session is gone: that is no end of the class
    night = told.night().check()
    assert night.classes == {"c1", "c2"}
    assert "RS-SES-02" in night.codes


def test_end_dates_that_turn_exclusive_take_the_last_day_away():
    sis = two_schools().option(respect_academic_sessions=True, respect_enrolment_date=True)
    told = story(sis)
    first = told.night("2025-09-30").check()
    assert (first.people, first.classes) == (labels(PEOPLE), labels("c1 c2 past"))
    sis.option(end_dates="exclusive")
    second = told.night("2025-09-30").check()
    assert (second.people, second.classes) == (labels("t1 t2 a1 s1..s3 s11..s19 g1"), labels("c1 c2"))
    assert second.status == "successful"


def test_what_was_kept_of_an_excluded_school_goes_when_it_shall_be_removed_and_returns_when_included():
    told = begun(two_schools())
    (sis,), (first,) = told.providers, told.nights
    sis.option(exclude_schools=["South School"])
    assert told.night().check().quiet
    sis.option(excluded_rosters="remove")
    assert is_what_is_left(told.night().check(), SWITCHES["exclude_schools"])
    sis.option(exclude_schools=[])
    last = told.night().check()
    assert (last.people, last.classes) == (first.people, first.classes)
    assert last.person("s11") == first.person("s11")
    assert last.status == "successful"


def test_a_school_that_is_included_again_is_replaced_by_the_first_sync_that_is_complete_and_once():
    told = begun(two_schools())
    (sis,) = told.providers
    sis.option(exclude_schools=["South School"])
    told.night()
    sis.option(exclude_schools=[]).gone("s15..s19").state("unproven", "users")
    assert labels("s11..s19") <= told.night().check().people
    sis.state("ok")
    replaced = told.night().check()
    assert replaced.inactive == labels("s15..s19")
    assert replaced.status == "successful"
    # From now on, removals wait as anywhere.
    sis.gone("t2 s11..s14").users("t3 s20", orgs="south").enrol("c2", "t3 s20")
    assert told.night().check().status == "partial"


# ------------------------------------------------------------------------------------------ merging


def with_launchpad(**options: Any) -> Story:
    """Two providers: the second has s1 too, ten students of its own and a class."""
    cl = provider("cl", "t9 s1 s21..s30", **options).users("s1", phone="2")
    cl.teaches("c9", "t9 s21..s30")
    return story(school_of("t1 s1..s9").users("s1", phone="1"), cl)


def test_attaching_only_takes_out_whom_nobody_else_has_at_once():
    told = with_launchpad()
    first = told.night().check()
    assert {"cl/s21", "cl/s30", "cl/t9"} <= first.people
    told.providers[1].option(merge={"attach_to_existing_users_only": True})
    second = told.night().check()
    assert second.people == labels("t1 s1..s9")
    assert second.inactive == set()
    assert second.person("cl/s1") == first.person("s1")
    assert second.status == "successful"
    told.providers[1].option(merge={})
    third = told.night().check()
    assert third.people == first.people
    assert third.person("cl/s21") == first.person("cl/s21")


@pytest.mark.parametrize(
    "merge",
    [
        {"key": "email_without_domain"},
        {"check_names": True},
        {"key": "email_without_domain", "check_names": False},
    ],
)
def test_another_key_moves_nobody_who_is_linked(merge: dict[str, Any]):
    told = with_launchpad()
    first = told.night().check()
    told.providers[1].option(merge=merge)
    second = told.night().check()
    assert second.quiet
    assert second.person("cl/s1") == first.person("s1")


def test_priorities_that_are_swapped_swap_the_values_and_the_classes():
    told = with_launchpad()
    first = told.night().check()
    assert (first.who("s1")["phone"], first.classes) == ("1", {"c1"})
    sis, cl = told.providers
    sis.option(merge={"priority": 10})
    cl.option(merge={"priority": 20})
    second = told.night().check()
    assert (second.who("s1")["phone"], second.classes) == ("2", {"cl/c9"})
    assert second.people == first.people
    assert second.status == "successful"


def test_however_many_people_a_retired_provider_had_none_of_them_waits():
    told = with_launchpad()
    first = told.night().check()
    told.retire(told.providers[1])
    second = told.night().check()
    assert second.people == labels("t1 s1..s9")
    assert len(second.inactive) == len(first.people) - len(second.people) == 11
    assert second.status == "successful"


def test_shared_classes_come_and_go_with_the_option():
    told = with_launchpad()
    first = told.night().check()
    told.providers[1].option(share_classes=True)
    second = told.night().check()
    assert second.classes == {"c1", "cl/c9"}
    assert second.members("cl/c9") == labels("cl/t9") | {f"cl/s{n}" for n in range(21, 31)}
    told.providers[1].option(share_classes=False)
    third = told.night().check()
    assert third.classes == {"c1"}
    assert third.people == first.people
    assert third.status == "successful"


def test_compatibility_mode_that_is_turned_off_takes_classes_without_dates_with_it():
    sis = school_of("t1 s1..s9", respect_academic_sessions=True, compatibility_mode=True)
    sis.teaches("c2", "t1 s1..s9", terms=["nowhere"])
    told = begun(sis)
    assert told.nights[0].classes == {"c1", "c2"}
    (sis,) = told.providers
    sis.option(compatibility_mode=False)
    second = told.night().check()
    assert second.classes == {"c1"}
    assert second.people == told.nights[0].people
    sis.option(compatibility_mode=True)
    assert told.night().check().classes == {"c1", "c2"}


# ------------------------------------------------------------------------------------------ the tenant's


def test_a_shorter_grace_is_counted_from_the_day_on_which_somebody_went():
    told = begun(school_of("t1 s1..s9"))
    (sis,) = told.providers
    sis.gone("s9")
    assert told.night("2025-10-16").inactive == {"s9"}
    told.settings["grace_days"] = 2
    assert told.night("2025-10-18").check().inactive == {"s9"}
    assert told.night("2025-10-19").check().inactive == set()


def test_no_grace_removes_on_the_next_day():
    told = story(school_of("t1 s1..s9"), grace_days=0)
    told.night("2025-10-15")
    told.providers[0].gone("s9")
    assert told.night("2025-10-16").check().inactive == {"s9"}
    assert told.night("2025-10-17").check().inactive == set()


def test_a_longer_gap_between_sessions_gives_a_kept_school_back():
    sis = school_of("t1 s1", respect_academic_sessions=True).session("year", "2024-08-19..2025-06-06")
    told = story(sis)
    assert told.night().check().schools == {"North School": "kept"}
    told.settings["between_sessions_days"] = 200
    assert told.night().check().schools == {"North School": "published"}


def test_a_flaw_that_no_longer_keeps_back_lets_the_school_go_on():
    told = begun(school_of("t1 s1..s9"))
    told.providers[0].gone("t1")
    assert told.night().check().schools == {"North School": "kept"}
    told.settings["keeps_back"] = ()
    third = told.night().check()
    assert third.schools == {"North School": "published"}
    assert "RS-SAFE-08" in third.codes
