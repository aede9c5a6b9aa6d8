"""The pipeline and a second telling of the rules agree, on tenants made up at random, night after night.

What is compared, and the rules once more: `roster_pipeline_tests/oracle`. Here always the same tenants;
new ones, as many as wanted: `python -m roster_pipeline_tests.oracle --tenants 3000 --first 1000000`.
"""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roster_pipeline.rosters.source import State
from roster_pipeline_tests.oracle.comparing import Run, compare
from roster_pipeline_tests.rosters import Directory, Provider, labels, provider, story

# Numbers of tenants cannot be shrunk: a smaller number is another tenant, not a smaller one.
PHASES = (hypothesis.Phase.explicit, hypothesis.Phase.reuse, hypothesis.Phase.generate)


@pytest.mark.slow
@settings(max_examples=20, deadline=None, phases=PHASES, derandomize=True)
@given(number=st.integers(0, 2**40))
def test_the_pipeline_says_what_the_page_says(number: int):
    run = Run()
    compare(number, 3, run)
    assert not run.differences, "\n".join(run.differences)
    hypothesis.event("the page is silent" if run.silent else "compared whole")


# ------------------------------------------------------------------------------------------ what it found


@pytest.mark.parametrize("state", ["failed", "unproven"])
def test_a_link_that_another_provider_may_still_say_stays_until_that_one_is_read(state: State):
    sis, cl = family("sis"), family("cl")
    tenant = story(sis, cl)
    assert tenant.night().links == {"s1 g1", "s2 g1", "s3 g2", "s4 g2"}
    sis.users("s1", agents=["g2"])
    cl.state(state).users("s1", agents=[])
    night = tenant.night().check()
    assert night.links == {"s1 g1", "s1 g2", "s2 g1", "s3 g2", "s4 g2"}
    cl.state("ok").users("s1", agents=["g2"])
    assert tenant.night().check().links == {"s1 g2", "s2 g1", "s3 g2", "s4 g2"}


def family(name: str) -> Provider:
    made = provider(name, "t1 s1..s4 g1 g2", sync_parent_data=True, relationship_type="guardian")
    made.users("s1..s2", agents=["g1"]).users("s3..s4", agents=["g2"])
    return made.teaches(f"{name}-1", "t1 s1..s4")


def test_whom_only_enrolments_of_an_outdated_school_name_waits_with_the_school():
    sis = provider("sis", "t1 s1", respect_academic_sessions=True).teaches("c1", "t1 s1")
    sis.org("south").session("old", "2024-08-19..2025-05-30")
    sis.users("t2 s2", orgs="south").users("s3", orgs="nowhere")
    sis.teaches("c2", "t2 s2 s3", school="south", terms=["old"])
    night = story(sis).night().check()
    assert night.schools == {"North School": "published", "South School": "kept"}
    assert night.people == {"t1", "s1"}
    assert night.dropped("users") == {"school_kept_back": 3}


def test_a_school_that_the_provider_excludes_places_nobody_who_has_another():
    sis = provider("sis", "s1 s2", exclude_schools=["south"]).teaches("c1", "s1 s2")
    sis.org("south").users("s1", orgs="north south")
    cl = provider("cl").org("south").users("t3 s3", orgs="south").teaches("c2", "t3 s3", school="south")
    night = story(sis, cl).night().check()
    assert night.schools == {"North School": "kept", "South School": "published"}
    assert night.people == {"cl/t3", "cl/s3"}  # not s1, with no role at all
    assert night.dropped("users") == {"school_kept_back": 2}


@pytest.mark.parametrize("rosters", ["keep", "remove"])
def test_an_unread_provider_keeps_the_school_that_another_one_excludes(rosters: str):
    sis = provider("sis", "t1 s1..s9").teaches("c1", "t1 s1..s9")
    cl = provider("cl", "t1 s1").teaches("d1", "t1 s1")
    cl.org("south").users("t20 s20", orgs="south").teaches("d2", "t20 s20", school="south")
    tenant = story(sis, cl)
    before = tenant.night().check()
    sis.state("failed")
    cl.option(exclude_schools=["NORTH"], excluded_rosters=rosters)
    night = tenant.night().check()
    assert night.status == "partial"
    assert night.schools == {"North School": "kept", "South School": "published"}
    assert {row["name"] for row in night.table("schools")} == {"North School", "South School"}
    assert night.people == before.people
    sis.state("ok").gone("s2..s7")
    held = tenant.night().check()  # not "included again": what goes now waits
    assert held.status == "partial"
    assert held.people == before.people


def test_when_only_what_was_not_read_or_is_excluded_is_there_the_sync_has_failed():
    sis = provider("sis", "t1 s1 s2").teaches("c1", "t1 s1 s2")
    cl = provider("cl", "t1 s1").teaches("d1", "t1 s1")
    tenant = story(sis, cl)
    tenant.night().check()
    sis.state("failed")
    cl.option(exclude_schools=["NORTH"])
    assert tenant.night().check().status == "failed"


def test_who_is_gone_from_a_school_that_is_taken_out_does_not_wait():
    sis = provider("sis", "t1 s1..s4").teaches("c1", "t1 s1..s4").org("south")
    sis.users("t2 s5", orgs="south").teaches("c2", "t2 s5", school="south")
    tenant = story(sis)
    tenant.night().check()
    sis.option(exclude_schools=["north"], excluded_rosters="remove").gone("s4")
    night = tenant.night().check()
    assert (night.status, night.people) == ("successful", {"t2", "s5"})
    assert night.inactive == {"s4"}


def test_masked_rows_of_a_provider_that_excludes_the_school_keep_it_from_nobody():
    sis = provider("sis", exclude_schools=["north"]).users("s1..s9", email="****", given="****")
    cl = provider("cl", "t1 s11").teaches("c1", "t1 s11")
    night = story(sis, cl).night().check()
    assert night.schools == {"North School": "published"}
    assert night.people == {"cl/t1", "cl/s11"}


@pytest.mark.parametrize("said", [True, False])
def test_a_link_is_never_removed_while_one_of_the_students_schools_is_kept_back(said: bool):
    sis = provider("sis", "t1 s1..s3 g2", sync_parent_data=True, relationship_type="guardian")
    sis.teaches("c1", "t1 s1..s3").users("s2 s3", agents=["g2"]).org("south")
    sis.users("s1", orgs="north south", agents=["g1"]).users("t2 s4 g1", orgs="south")
    sis.users("s4", agents=["g1"]).teaches("c2", "t2 s1 s4", school="south")
    tenant = story(sis)
    others = {"s2 g2", "s3 g2", "s4 g1"}
    assert tenant.night().links == {*others, "s1 g1"}
    sis.gone("t2").users("s1", agents=["g1"] if said else [])
    kept = tenant.night().check()
    assert kept.schools == {"North School": "published", "South School": "kept"}
    assert kept.links == {*others, "s1 g1"}
    sis.users("t2", orgs="south").enrol("c2", "t2")
    assert tenant.night().check().links == ({*others, "s1 g1"} if said else others)


def test_a_login_in_a_directory_keeps_no_grade_from_vanishing():
    sis = provider("sis", "t1 s1..s24").users("s13..s24", grades=["10"]).teaches("c1", "t1 s1..s24")
    logins = Directory("logins", {"d1": {"email": "s1@north.example"}})
    tenant = story(sis, directories=[logins])
    tenant.night().check()
    sis.gone("s1..s12")
    night = tenant.night().check()
    assert night.schools == {"North School": "kept"}
    assert "RS-SAFE-10" in night.codes


def test_a_row_that_is_gone_gives_no_role_while_another_of_the_same_human_is_kept_back():
    sis = (
        provider(
            "sis",
            "t1..t4 s1 s2",
        )
        .teaches("c1", "t1..t4 s1 s2")
        .org("south")
    )
    sis.users("t1", master="m").users("t5", orgs="south", master="m").users("t6 s3", orgs="south")
    sis.teaches("c2", "t5 t6 s3", school="south")
    tenant = story(sis)
    assert tenant.night().same("t1", "t5")
    sis.gone("t1 s3")
    night = tenant.night().check()
    assert night.schools == {"North School": "published", "South School": "kept"}
    assert night.same("t1", "t5")
    assert night.roles("t5") == ["teacher at south"]
    assert night.members("c1") == labels("t2..t4 s1 s2")
    assert night.members("c2") == labels("t5 t6 s3")


def test_all_rows_of_somebody_stay_while_all_their_schools_are_kept_back():
    sis = provider("sis", "t1 t2 s1 s2").teaches("c1", "t1 t2 s1 s2")
    sis.users("t1", master="m", phone="1").users("t3", master="m", phone="3")
    tenant = story(sis)
    assert tenant.night().who("t3")["phone"] == "1"
    night = (sis.gone("t1 s1 s2"), tenant.night().check())[1]
    assert night.schools == {"North School": "kept"}
    sis.org("south").users("t4 s4", orgs="south").teaches("c2", "t4 s4", school="south")
    night = tenant.night().check()
    assert night.schools == {"North School": "kept", "South School": "published"}
    assert night.who("t3")["phone"] == "1"


def test_memberships_that_go_with_somebody_whose_grace_ends_do_not_wait():
    sis = provider("sis", "t1 t2 s1..s40").teaches("c1", "t1 s6..s40").teaches("c2", "t2 s1..s8")
    tenant = story(sis, grace_days=0)
    tenant.night().check()
    sis.gone("s1..s5")
    held = tenant.night().check()
    assert (held.status, held.inactive) == ("partial", labels("s1..s5"))
    assert held.members("c2") == labels("t2 s1..s8")
    night = tenant.night().check()
    assert (night.inactive, night.members("c2")) == (set(), labels("t2 s6..s8"))
    assert (night.status, night.codes) == ("successful", [])


def test_classes_are_published_where_the_limits_leave_nobody_of_a_school_that_is_not_kept_back():
    sis = provider("sis", "t1 s1", limit_to={"schools": ["north"]}).teaches("c1", "t1 s1").org("south")
    sis.users("t2 s2", orgs="south").teaches("c2", "t2 s2", school="south")
    sis.gone("t1")
    night = story(sis).night().check()
    assert night.schools == {"North School": "kept", "South School": "published"}
    assert (night.status, night.people, night.classes) == ("partial", set(), {"c2"})


def test_an_older_copy_of_a_class_does_not_speak_for_it():
    sis = provider("sis", "t1 s1 s2").teaches("c1", "t1 s1 s2", modified="2025-09-01").teaches("c2", "t1 s1")
    tenant = story(sis.again("classes", "c1", modified="2025-10-01"))
    assert tenant.night().check().classes == {"c1", "c2"}
    sis.option(sync_classroom_data=False)
    night = tenant.night().check()
    assert (night.status, night.classes) == ("successful", set())


def test_a_second_row_of_somebody_whose_school_is_kept_back_is_the_same_human():
    sis = provider("sis", "t1 t2 s1 s2").users("t1", master="m").teaches("c1", "t1 t2 s1 s2").org("south")
    sis.users("t3 s3", orgs="south").teaches("c2", "t3 s3", school="south")
    tenant = story(sis)
    tenant.night().check()
    sis.gone("s1 s2").users("t9", orgs="south", email="t9@x.example", master="m")
    night = tenant.night().check()
    assert night.schools == {"North School": "kept", "South School": "published"}
    assert night.same("t1", "t9")


def test_memberships_of_those_whose_dated_role_ends_at_one_provider_do_not_wait():
    sis = provider("sis", "t1 s1..s8", respect_enrolment_date=True).teaches("c1", "t1 s1..s8")
    sis.users("s1..s5", roles=[["student", "north", "", "2025-10-15"]])
    tenant = story(sis, provider("cl", "t1 s1..s8"))
    assert tenant.night().check().members("c1") == labels("t1 s1..s8")
    night = tenant.night().check()
    assert (night.status, night.people) == (
        "successful",
        labels("t1 s6..s8") | {f"cl/s{n}" for n in range(1, 6)},
    )
    assert night.members("c1") == labels("t1 s6..s8")


def test_a_link_goes_without_a_hold_where_a_limit_takes_the_student_out_at_who_says_it():
    cl = provider("cl", "t1 s1..s6 g1", sync_parent_data=True, relationship_type="guardian")
    cl.users("s1..s5", agents=["g1"], grades=["10"]).users("s6", agents=["g1"])
    tenant = story(provider("sis", "t1 s1..s6").teaches("c1", "t1 s1..s6"), cl)
    assert tenant.night().check().links == {f"s{n} cl/g1" for n in range(1, 7)}
    cl.option(limit_to={"grades": ["09"]})
    night = tenant.night().check()
    assert (night.status, night.links) == ("successful", {"s6 cl/g1"})


def test_classes_turned_off_on_a_night_that_proves_nothing_go_later_without_a_hold():
    sis = provider("sis", "t1 s1 s2").teaches("c1", "t1 s1 s2").teaches("c2", "t1 s1")
    tenant = story(sis)
    tenant.night().check()
    sis.option(sync_classroom_data=False).state("unproven")
    assert tenant.night().check().classes == {"c1", "c2"}
    sis.state("ok").gone("c1")
    night = tenant.night().check()
    assert (night.status, night.classes) == ("successful", set())


def test_an_unread_provider_gives_no_role_at_a_school_that_was_never_published():
    sis = provider("sis", "s1 s2").teaches("c1", "s1 s2").org("south").users("t3 s3", orgs="south")
    sis.users("s1", orgs="north south").teaches("c2", "t3 s1 s3", school="south")
    cl = provider("cl").org("east").users("t4 s4", orgs="east").teaches("c4", "t4 s4", school="east")
    cl.rows["orgs"].pop("north")
    tenant = story(sis, cl)
    first = tenant.night().check()
    assert first.schools["North School"] == "kept"
    assert first.roles("s1") == ["student at south"]
    sis.state("failed")
    night = tenant.night().check()
    assert night.roles("s1") == ["student at south"]
    sis.state("ok").users("t1").enrol("c1", "t1")
    assert tenant.night().check().roles("s1") == ["student at north", "student at south"]
