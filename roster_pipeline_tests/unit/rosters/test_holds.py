"""Removals that wait, from night to night: until the source changes, or somebody decides."""

from __future__ import annotations

import pytest

from roster_pipeline.rosters.holds import hold
from roster_pipeline_tests.rosters import Provider, Story, begun, names, school_of, story


def classes(count: int, start: int = 1) -> list[str]:
    return names(f"c{start}..c{start + count - 1}")


def school(count: int) -> Provider:
    """A school of so many classes, each of two people."""
    sis = school_of("t1 s1..s9")
    for name in classes(count):
        sis.teaches(name, "t1 s1..s9")
    return sis


def rekeyed(count: int) -> Story:
    """A tenant whose classes have all come back under other ids, and wait."""
    tenant = begun(school(count))
    sis = tenant.providers[0]
    sis.gone(*classes(count))
    for name in classes(count, 101):
        sis.teaches(name, "t1 s1..s9")
    return tenant


def waiting(tenant: Story) -> dict[str, int]:
    """Kind of row → how many wait after the last night."""
    out: dict[str, int] = {}
    for one in tenant.nights[-1].found.roster.held:
        out[one.kind] = out.get(one.kind, 0) + one.count
    return out


def test_what_waits_goes_on_waiting_when_the_sync_is_repeated():
    tenant = rekeyed(4)
    night = tenant.night().check()
    assert (waiting(tenant)["classes"], len(night.classes)) == (4, 8)
    again = tenant.night(night.as_of.isoformat()).check()
    assert (waiting(tenant)["classes"], again.quiet) == (4, True)


def test_what_waits_goes_on_waiting_however_much_is_added_meanwhile():
    tenant = rekeyed(4)
    tenant.night()
    for n in range(40):
        tenant.providers[0].teaches(f"new{n}", "t1 s1..s9")
    night = tenant.night().check()
    assert (waiting(tenant)["classes"], set(classes(4)) < set(night.classes)) == (4, True)


def test_what_comes_back_waits_no_more():
    tenant = begun(school(10))
    gone = tenant.providers[0]
    before = gone.copy()
    gone.gone(*classes(9))
    tenant.night().check()
    assert waiting(tenant)["classes"] == 9
    before.gone("c1")
    tenant.providers[0].rows = before.rows
    night = tenant.night().check()
    assert (waiting(tenant), night.classes) == ({}, set(classes(9, 2)))


def test_an_approval_lets_what_waits_through_with_all_that_hangs_on_it():
    tenant = rekeyed(4)
    tenant.night()
    tenant.decide("approved")
    night = tenant.night().check()
    assert (night.status, waiting(tenant), night.classes) == ("successful", {}, set(classes(4, 101)))
    assert night.report["changes"]["classes"] == {"added": 0, "updated": 0, "removed": 4}
    assert tenant.published.holds.empty


def test_an_approval_of_people_takes_their_memberships_along():
    tenant = begun(school_of("t1 t2 s1..s9"))
    tenant.providers[0].gone("s1..s9").users("s11..s19").enrol("c1", "s11..s19")
    tenant.night().check()
    assert waiting(tenant)["people"] == 9
    tenant.decide("approved", "people")
    night = tenant.night().check()
    assert waiting(tenant) == {}
    assert night.inactive == set(names("s1..s9"))
    assert night.members("c1") == {"t1", "t2", *names("s11..s19")}


def test_those_who_leave_by_their_dates_are_not_counted_where_their_class_has_gone():
    sis = school_of("t1 t2 s1..s20", respect_enrolment_date=True)
    for name in classes(3, 2):
        sis.teaches(name, "t1 s1..s8")
    tenant = begun(sis)
    sis = tenant.providers[0].gone(*classes(3, 2))
    for who in names("s1..s8"):
        sis.rows["enrollments"][f"c1-{who}"]["endDate"] = "2025-10-15"
    night = tenant.night().check()
    assert (night.status, waiting(tenant), night.classes) == ("successful", {}, {"c1"})


def test_an_approval_is_used_once():
    tenant = rekeyed(4)
    tenant.night()
    tenant.decide("approved")
    tenant.night().check()
    tenant.providers[0].gone(*classes(4, 101))
    for name in classes(4):
        tenant.providers[0].teaches(name, "t1 s1..s9")
    tenant.night().check()
    assert waiting(tenant)["classes"] == 4


def test_an_approval_of_other_rows_lets_nothing_through():
    tenant = rekeyed(12)
    tenant.night()
    tenant.decide("approved")
    tenant.providers[0].teaches("c1", "t1 s1..s9")  # one fewer would go now
    night = tenant.night().check()
    assert waiting(tenant)["classes"] == 11
    assert any("what was decided before was about other rows" in one.message for one in night.issues)
    assert set(tenant.published.holds["state"]) == {"waiting"}


@pytest.mark.parametrize("expires_on, counts", [("2025-10-16", False), ("2025-10-17", True)])
def test_an_approval_counts_until_its_last_day(expires_on: str, counts: bool):
    tenant = rekeyed(4)
    tenant.night("2025-10-16")
    tenant.decide("approved", expires_on=expires_on)
    tenant.night("2025-10-17").check()
    assert (waiting(tenant) == {}) == counts


def test_what_was_rejected_stays_and_says_so_until_the_source_changes():
    tenant = rekeyed(4)
    tenant.night()
    tenant.decide("rejected")
    for _ in range(3):
        night = tenant.night().check()
        assert (night.status, waiting(tenant)["classes"]) == ("partial", 4)
        assert any("as was decided, until the source changes" in one.message for one in night.issues)
    for name in classes(4):
        tenant.providers[0].teaches(name, "t1 s1..s9")
    assert (tenant.night().check().status, waiting(tenant)) == ("successful", {})


@pytest.mark.parametrize("collection", ["classes", "users", "enrollments", "orgs"])
@pytest.mark.parametrize("state", ["unproven", "failed"])
def test_a_night_that_proves_nothing_forgets_no_hold(collection: str, state: str):
    tenant = rekeyed(4)
    tenant.night()
    tenant.decide("rejected")
    tenant.providers[0].state(state, collection)  # type: ignore[arg-type]
    tenant.night().check()
    tenant.providers[0].state("ok")
    tenant.night().check()
    assert waiting(tenant)["classes"] == 4
    assert "rejected" in set(tenant.published.holds["state"])


def test_a_school_that_is_kept_back_forgets_no_hold():
    tenant = rekeyed(4)
    tenant.night()
    tenant.decide("rejected")
    tenant.providers[0].gone("t1").users("t9", orgs="")
    assert tenant.night().check().schools == {"North School": "kept"}
    assert "rejected" in set(tenant.published.holds["state"])


def test_a_fingerprint_is_of_the_rows_and_the_place_and_not_of_their_order():
    place = ("classes", "north", "")
    one = hold(place, "RS-SAFE-01", [("a",), ("b",)], 9)
    assert one.fingerprint == hold(place, "RS-SAFE-03", [("b",), ("a",)], 2).fingerprint
    others = [
        hold(place, "RS-SAFE-01", [("a",), ("c",)], 9),
        hold(place, "RS-SAFE-01", [("a",)], 9),
        hold(place, "RS-SAFE-01", [("a", "b")], 9),
        hold(("classes", "south", ""), "RS-SAFE-01", [("a",), ("b",)], 9),
        hold(("people", "north", ""), "RS-SAFE-01", [("a",), ("b",)], 9),
    ]
    assert one.fingerprint not in {other.fingerprint for other in others}


def test_two_schools_are_decided_apart():
    sis = school_of("t1 s1..s9").org("south").users("t2 s11..s19", orgs="south")
    for n in range(1, 6):
        sis.teaches(f"n{n}", "t1 s1..s9").teaches(f"s{n}0", "t2 s11..s19", school="south")
    tenant = story(sis)
    tenant.night().check()
    sis.gone(*(f"n{n}" for n in range(1, 6)), *(f"s{n}0" for n in range(1, 6)))
    sis.teaches("x", "t2 s11..s19", school="south").teaches("y", "t1 s1..s9")
    tenant.night().check()
    assert waiting(tenant)["classes"] == 10
    held = tenant.published.holds
    one = held["school_id"] == held["school_id"].iat[0]
    held.loc[one, ["state", "expires_on"]] = ["approved", "9999-12-31"]
    tenant.night().check()
    assert waiting(tenant)["classes"] == 5


def test_no_more_are_told_to_go_than_there_are():
    # One waits, being all of the school's; then others come, and one of those would go as well.
    sis = school_of("t1 s1..s9").org("south").users("s11", orgs="south")
    tenant = story(sis)
    tenant.night().check()
    sis.gone("s11").users("s12..s15", orgs="south")
    tenant.night().check()
    sis.gone("s12")
    night = tenant.night().check()
    (issue,) = [one for one in night.issues if one.code == "RS-SAFE-03"]
    assert issue.message.startswith("2 of 2 people of South School")
    assert night.people >= {"s11", "s12"}
