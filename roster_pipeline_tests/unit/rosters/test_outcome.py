"""What a sync tells: its status, counts that add up, and one line for each cause."""

from __future__ import annotations

import pytest

from roster_pipeline.codes import Issue
from roster_pipeline.rosters.outcome import ordered, report
from roster_pipeline_tests.rosters import (
    Directory,
    Night,
    Provider,
    begun,
    one_night,
    provider,
    school_of,
    story,
)

ALL = ("orgs", "academicSessions", "courses", "classes", "users", "enrollments")

# ------------------------------------------------------------------------------------------ status


@pytest.mark.parametrize("collection", ALL)
@pytest.mark.parametrize("state", ["unproven", "stale"])
def test_a_collection_that_is_not_complete_makes_the_sync_partial(state: str, collection: str):
    sis = school_of("t1 s1")
    told = begun(sis)
    (sis,) = told.providers
    assert told.nights[0].status == "successful"
    sis.state(state, collection)  # type: ignore[arg-type]
    assert told.night().status == "partial"


def test_a_sync_without_any_readable_provider_has_failed():
    sis = school_of("t1 s1")
    told = begun(sis)
    (sis,) = told.providers
    sis.state("failed")
    second = told.night().check()
    assert (second.status, second.codes[0], second.quiet) == ("failed", "RS-PRV-01", True)


def test_what_did_not_fail_the_sync_is_no_failure_of_it():
    told = begun(school_of("t1 s1"), provider("cl", "s1"))
    unreachable = Issue("RS-NET-01", "cl.example could not be reached.", provider="cl")
    told.providers[1].state("failed")
    for failed, severity in ((False, "warning"), (True, "sync failed")):
        if failed:
            told.providers[0].state("failed")
        night = told.night()
        issues = report(night.found, night.changed, {}, [unreachable])["issues"]
        found = {issue["code"]: issue["severity"] for issue in issues}
        assert (night.status, found["RS-NET-01"]) == ("failed" if failed else "partial", severity)


@pytest.mark.parametrize("before", [True, False], ids=["after a good one", "the first"])
def test_a_failed_sync_has_published_no_school(before: bool):
    sis = school_of("t1 s1").org("south").users("t2 s2", orgs="south").teaches("c2", "t2 s2", school="south")
    told = story(sis)
    if before:
        assert told.night().counts["schools_published"] == 2
    sis.state("stale" if before else "failed")
    night = told.night()
    assert (night.status, night.counts["schools_published"]) == ("failed", 0)
    assert {school["code"] for school in night.report["schools"]} <= {"RS-PRV-01", "RS-PRV-02"}


def test_remembering_everything_is_not_reading():
    sis = school_of("t1 s1")
    told = begun(sis)
    (sis,) = told.providers
    sis.state("stale")
    assert told.night().status == "failed"


def test_one_readable_provider_of_two_is_enough():
    assert one_night(school_of("t1 s1"), provider("cl", "s1").state("failed")).status == "partial"


def test_a_sync_that_keeps_every_school_back_has_failed():
    told = one_night(school_of("s1"))
    assert (told.status, told.codes[0]) == ("failed", "RS-PRV-04")
    assert told.table("people") == []


def test_a_sync_that_publishes_one_school_and_keeps_another_back_is_partial():
    sis = school_of("t1 s1").org("south").users("s2", orgs="south").teaches("c2", "s2", school="south")
    assert one_night(sis).status == "partial"


def test_six_empty_collections_are_a_failure():
    told = one_night(Provider("sis"))
    assert (told.status, told.codes) == ("failed", ["RS-PRV-05"])


def test_unmatched_users_excluded_schools_and_warnings_leave_a_sync_successful():
    sis = school_of("t1 s1", exclude_schools=["south", "Nowhere"]).org("south").users("s2", orgs="south")
    cl = provider("cl", "s9", merge={"attach_to_existing_users_only": True})
    told = one_night(sis, cl).check()
    assert told.status == "successful"
    assert {"RS-REF-02", "RS-IDN-07"} <= set(told.codes)
    assert told.schools["South School"] == "excluded"


def test_a_directory_that_cannot_be_read_makes_the_sync_partial():
    told = story(school_of("t1 s1"), directories=[Directory("logins", {}, readable=False)])
    assert told.night().status == "partial"


def test_the_worst_line_comes_first_and_lines_of_one_severity_keep_their_order():
    codes = ["RS-IDN-02", "RS-REF-01", "RS-SAFE-07", "RS-PRV-01", "RS-REF-04"]
    issues = [Issue(code, "…") for code in codes]
    assert [issue.code for issue in ordered(issues)] == [
        "RS-PRV-01", "RS-SAFE-07", "RS-REF-01", "RS-REF-04", "RS-IDN-02",
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------ counts


def district() -> tuple[Provider, Provider]:
    sis = school_of("t1 t2 s1..s4", sync_parent_data=True, relationship_type="guardian").users("g1 g2")
    sis.users("s1 s2", agents=["g1"]).users("a1", orgs="").users("x1", status="tobedeleted")
    sis.again("users", "s1", modified="2020-01-01").users("g9", email="")
    cl = provider("cl", "s1 s2 t1 s8", merge={"attach_to_existing_users_only": True})
    cl.users("s9", email="")
    return sis, cl


@pytest.fixture(scope="module")
def first_and_second() -> tuple[Night, Night]:
    told = story(*district())
    return told.night().check(), told.night().check()


def test_the_first_sync_creates_everybody_and_the_next_one_matches(first_and_second: tuple[Night, Night]):
    first, second = first_and_second
    asked = (
        "created_students",
        "created_teachers",
        "matched_students",
        "matched_teachers",
        "unmatched_users",
    )
    # cl matches two students and a teacher on the first night already.
    assert [first.counts[name] for name in asked] == [4, 2, 2, 1, 2]
    assert [second.counts[name] for name in asked] == [0, 0, 4, 2, 2]


def test_the_roster_is_counted_as_it_is(first_and_second: tuple[Night, Night]):
    for told in first_and_second:
        assert told.counts["people"] == len(told.people) == 8
        assert told.counts["students"] == 4
        assert told.counts["teachers"] == 2
        assert (told.counts["guardians"], told.counts["guardian_links"]) == (1, 2)
        assert told.counts["memberships"] == 6
        assert told.counts["imported_classes"] == 1
        assert (told.counts["schools_published"], told.counts["schools_kept"]) == (1, 0)


def test_counts_of_a_provider_are_its_own(first_and_second: tuple[Night, Night]):
    first, second = first_and_second
    cl = first.told("cl")
    assert (cl["matched_students"], cl["matched_teachers"], cl["unmatched_users"]) == (2, 1, 2)
    assert (cl["created_users"], cl["imported_classes"]) == (0, 0)
    assert cl["outcomes"] == {"matched": 3, "created": 0, "unmatched": {"nobody_matches": 1, "no_key": 1}}
    assert first.told("sis")["created_users"] == 8
    assert second.told("sis")["outcomes"] == {"matched": 8, "created": 0, "unmatched": {}}


def test_every_row_read_is_kept_or_dropped_for_a_reason(first_and_second: tuple[Night, Night]):
    first, _ = first_and_second
    users = first.told("sis")["collections"]["users"]
    assert users == {
        "state": "ok",
        "read": 12,
        "kept": 8,
        "dropped": {
            "deleted": 1,
            "duplicate": 1,
            "guardian_without_contact": 1,
            "guardian_without_student": 1,
        },
    }
    assert first.dropped("users", "cl") == {"unmatched": 2}


def test_two_rows_that_are_one_person_are_counted_as_one():
    told = one_night(school_of("t1 s1 s2").users("s1 s2", master="m1")).check()
    assert told.counts["created_students"] == 1
    assert told.told()["outcomes"]["created"] == 2


def test_one_person_of_two_providers_is_counted_once_in_the_whole():
    told = story(school_of("t1 s1 s2"), provider("cl", "s1 s2"), provider("tp", "s1"))
    told.night()
    second = told.night()
    assert second.counts["matched_students"] == 2
    assert [second.told(name)["matched_students"] for name in ("sis", "cl", "tp")] == [2, 2, 1]


def test_each_schools_counts_are_its_own():
    sis = school_of("t1 s1 s2").org("south").users("t2 s3", orgs="south").users("s9", orgs="north south")
    told = one_night(sis.teaches("c2", "t2 s3 s9", school="south"))
    north, south = told.school("North School"), told.school("South School")
    assert (north["created_students"], north["created_teachers"], north["imported_classes"]) == (3, 1, 1)
    assert (south["created_students"], south["created_teachers"], south["memberships"]) == (2, 1, 3)


def test_an_older_row_of_somebody_says_nothing_of_their_school():
    sis = school_of("t1 s1 s2").users("s1", modified="2025-01-01")
    told = one_night(sis.again("users", "s1", modified="2020-01-01")).check()
    assert told.school("North School")["created_students"] == told.counts["created_students"] == 2


def test_rows_of_a_provider_that_cannot_speak_are_dropped_for_that_reason():
    told = one_night(school_of("t1 s1"), provider("cl", "s1 s2").state("failed", "orgs")).check()
    cl = told.told("cl")
    assert cl["status"] == "failed"
    assert cl["collections"]["users"] == {
        "state": "ok", "read": 2, "kept": 0, "dropped": {"provider_not_usable": 2},
    }  # fmt: skip
    assert cl["collections"]["orgs"]["read"] == 0


def test_the_status_of_a_provider_is_its_own():
    sis = school_of("t1 s1")
    told = story(sis, provider("cl", "s1").state("unproven", "courses"))
    night = told.night()
    assert (night.told("sis")["status"], night.told("cl")["status"]) == ("successful", "partial")


def test_a_failed_sync_tells_the_roster_that_stays():
    sis = school_of("t1 s1 s2")
    told = begun(sis)
    (sis,) = told.providers
    sis.gone("t1")
    second = told.night().check()
    assert second.status == "failed"
    assert (second.counts["people"], second.counts["memberships"], second.counts["imported_classes"]) == (
        3,
        3,
        1,
    )
    assert all(
        second.changes(kind)[0] == second.changes(kind)[2] == 0
        for kind in ("people", "classes", "memberships")
    )
    assert second.schools == {"North School": "kept"}
