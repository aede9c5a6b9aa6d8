"""What the published roster becomes: what goes, what stays for which reason, and what waits."""

from __future__ import annotations

import pytest

from roster_pipeline_tests.rosters import Night, Provider, Story, begun, labels, provider, school_of, story

ALL = ("orgs", "academicSessions", "courses", "classes", "users", "enrollments")
HOLDS = {"RS-SAFE-01", "RS-SAFE-02", "RS-SAFE-03"}


def nights(sis: Provider, change, *others: Provider, **settings: object) -> tuple[Night, Night]:
    told = begun(sis, *others, **settings)
    change(told.providers[0])
    return told.nights[0], told.night().check()


# ------------------------------------------------------------------------------------------ holds in a school
# Several schools in one night, each a case: students who go, students there are; whether they wait.

WAITING = {
    "four-of-six": (4, 6, False),
    "five-of-nine": (5, 9, True),
    "five-of-eleven": (5, 11, False),
    "all-three": (3, 3, True),
    "one-of-two": (1, 2, False),
}


@pytest.fixture(scope="module")
def held() -> tuple[Night, Night]:
    sis = provider("sis", "")
    for name, (_, total, _) in WAITING.items():
        sis.org(name).users(" ".join(f"s-{name}-{n}" for n in range(total)), orgs=name)
    told = story(sis, keeps_back=())
    first = told.night().check()
    for name, (going, total, _) in WAITING.items():
        sis.gone(*(f"s-{name}-{n}" for n in range(going)))
        if going == total:  # somebody new: the school's rows have not all vanished
            sis.users(f"s-{name}-new", orgs=name)
    return first, told.night().check()


@pytest.mark.parametrize("name", WAITING)
def test_people_of_a_school_wait_or_go(name: str, held: tuple[Night, Night]):
    going, _, waits = WAITING[name]
    inactive = {who for who in held[1].inactive if f"-{name}-" in who}
    assert len(inactive) == (0 if waits else going)


def test_what_waits_is_told_once_for_each_school_and_kind(held: tuple[Night, Night]):
    told = [(issue.code, issue.school, issue.count) for issue in held[1].issues]
    assert sorted(one for one in told if one[0] in HOLDS and one[1] != "North School") == [
        ("RS-SAFE-01", "Five-of-nine School", 5),
        ("RS-SAFE-03", "All-three School", 3),
    ]
    assert held[1].status == "partial"


def test_people_of_no_school_are_a_group_of_their_own():
    sis = provider("sis", "t1 s1").users("a1..a8", orgs="")
    _, second = nights(sis, lambda sis: sis.gone("a1..a5"))
    assert second.inactive == set()
    assert second.codes[0] == "RS-SAFE-01"


def test_a_person_of_two_schools_waits_if_either_of_them_holds():
    sis = provider("sis", "t1 s1..s9").org("south").users("t2 s21..s40", orgs="south")
    sis.users("s1", orgs="north south")
    _, second = nights(sis, lambda sis: sis.gone("s1..s6"))  # 6 of 10 in the north, 1 of 22 in the south
    assert second.inactive == set()
    assert second.has("s1")


def test_what_waits_goes_on_waiting_until_it_comes_back():
    sis = school_of("t1 s1..s9")
    told = begun(sis)
    (sis,) = told.providers
    sis.gone("s1..s6")
    assert told.night().check().status == "partial"
    third = told.night().check()
    assert (third.status, third.quiet) == ("partial", True)
    sis.users("s1..s6").enrol("c1", "s1..s6")
    fourth = told.night().check()
    assert (fourth.status, fourth.quiet) == ("successful", True)


def test_the_memberships_of_people_who_wait_wait_with_them():
    sis = school_of("t1 s1..s9").teaches("c2", "t1 s1..s9")
    _, second = nights(sis, lambda sis: sis.gone("s1..s6"))
    assert second.members("c1") == second.members("c2") == labels("t1 s1..s9")


def test_what_the_limits_are_is_a_setting():
    sis = school_of("t1 s1..s9")
    _, second = nights(
        sis,
        lambda sis: sis.gone("s1 s2"),
        safeguards={"small": 2, "rows": 2, "class_rows": 2, "class_share": 0.1},
    )
    assert second.inactive == set()
    assert second.members("c1") == labels("t1 s1..s9")


def test_those_who_leave_by_their_dates_do_not_wait():
    sis = provider("sis", "t1 s1..s9", respect_enrolment_date=True)
    sis.teaches(
        "c1", "t1 s1..s4 s5[..2025-10-15] s6[..2025-10-15] s7[..2025-10-15] s8[..2025-10-15] s9[..2025-10-15]"
    )
    _, second = nights(sis, lambda sis: None)
    assert second.people == labels("t1 s1..s4")
    assert second.inactive == set()
    assert second.members("c1") == labels("t1 s1..s4")
    assert second.status == "successful"


def test_what_an_option_takes_out_does_not_wait():
    sis = school_of("t1 s1..s9").users("s2..s9", grades=["10"])
    _, second = nights(sis, lambda sis: sis.option(limit_to={"grades": ["09"]}))
    assert second.people == labels("t1 s1")
    assert second.status == "successful"


# ------------------------------------------------------------------------------------------ holds of classes


def test_half_of_a_class_waits_and_the_rest_of_the_school_goes_on():
    sis = provider("sis", "t1 s1..s30").teaches("c1", "t1 s1..s11").teaches("c2", "t1 s1..s30")
    _, second = nights(sis, lambda sis: sis.teaches("c1", "t1 s1..s5").teaches("c2", "t1 s1..s29"))
    assert second.members("c1") == labels("t1 s1..s11")
    assert second.members("c2") == labels("t1 s1..s29")
    assert HOLDS & set(second.codes) == {"RS-SAFE-02"}


def test_less_than_half_of_a_class_goes():
    sis = provider("sis", "t1 s1..s30").teaches("c1", "t1 s1..s11").teaches("c2", "t1 s1..s30")
    _, second = nights(sis, lambda sis: sis.teaches("c1", "t1 s1..s6"))
    assert second.members("c1") == labels("t1 s1..s6")
    assert second.status == "successful"


def test_a_schools_only_class_waits_with_its_members_and_another_goes():
    sis = school_of("t1 s1..s9").teaches("c2", "t1 s1").org("south").users("t2 s20", orgs="south")
    sis.teaches("c9", "t2 s20", school="south")
    _, second = nights(sis, lambda sis: sis.gone("c9 c2"))
    assert second.classes == {"c1", "c9"}
    assert second.members("c9") == {"t2", "s20"}
    assert HOLDS & set(second.codes) == {"RS-SAFE-03"}


def test_the_memberships_of_a_class_that_goes_are_counted_as_the_schools():
    sis = school_of("t1 s1..s4").teaches("c2", "t1 s1..s4").teaches("c3", "t1 s1..s4")
    _, second = nights(sis, lambda sis: sis.gone("c2 c3"))  # 2 of 3 classes go, 10 of 15 memberships wait
    assert second.classes == {"c1", "c2", "c3"}
    assert second.members("c2") == labels("t1 s1..s4")


def test_the_last_guardian_link_of_a_school_waits_and_keeps_its_guardian():
    sis = school_of("t1 s1..s3", sync_parent_data=True, relationship_type="guardian").users("g1")
    sis.users("s1", agents=["g1"])
    _, second = nights(sis, lambda sis: sis.users("s1", agents=[]))
    assert second.links == {"s1 g1"}
    assert second.people == labels("t1 s1..s3 g1")
    assert second.codes == ["RS-SAFE-03"]


# ------------------------------------------------------------------------------------------ nothing is proven


def changing() -> Provider:
    sis = school_of("t1 s1..s9").teaches("c2", "t1 s1").session("spare", "2025-09-01..2025-12-01")
    return (
        sis.option(sync_parent_data=True, relationship_type="guardian")
        .users("g1 g2")
        .users("s1 s2", agents=["g1", "g2"])
    )


def change_everything(sis: Provider) -> None:
    """Takes away a student, a class, a membership, a link and a session, and adds one of each."""
    sis.gone("s9 c2 spare").gone("c1-s8").users("s2", agents=["g1"]).users("s3", agents=["g2"])
    sis.users("s20").teaches("c3", "t1 s20").session("new", "2025-09-01..2025-12-01").users("s4", phone="1")


def test_a_complete_extract_takes_away_what_it_does_not_show():
    _, second = nights(changing(), change_everything)
    assert second.inactive == {"s9"}
    assert second.classes == {"c1", "c3"}
    assert second.members("c1") == labels("t1 s1..s7")
    assert second.links == {"s1 g1", "s1 g2", "s2 g1", "s3 g2"}
    assert {row["source_id"] for row in second.table("academic_sessions")} == {"year", "new"}
    assert second.status == "successful"


@pytest.mark.parametrize("state", ["unproven", "stale"])
@pytest.mark.parametrize("collection", ALL)
def test_unless_a_collection_is_complete_it_takes_nothing_away(collection: str, state: str):
    def change(sis: Provider) -> None:
        change_everything(sis)
        sis.state(state, collection)  # type: ignore[arg-type]

    _, second = nights(changing(), change)
    proof = {"users": {"users", "enrollments"}, "classes": {"classes"}, "sessions": {"academicSessions"},
             "memberships": {"classes", "users", "enrollments"}, "links": {"users"}}  # fmt: skip
    assert ("s9" in second.people) is (collection in proof["users"])
    # A class goes only where its end, or its absence, is proven.
    if collection in proof["classes"]:
        assert "c2" in second.classes
    if collection in proof["memberships"]:
        assert "s8" in second.members("c1")
    if collection in proof["links"]:
        assert "s2 g2" in second.links
    if collection in proof["sessions"]:
        assert "spare" in {row["source_id"] for row in second.table("academic_sessions")}
    assert second.status == "partial"
    if state == "unproven":  # what came is added and updated all the same
        assert {"s20"} <= second.people
        assert second.who("s4")["phone"] == "1"
        assert {"s1 g1", "s3 g2"} <= second.links
        assert "c3" in second.classes


@pytest.mark.parametrize("collection", ["orgs", "classes", "users", "enrollments"])
def test_a_provider_without_a_required_collection_changes_nothing(collection: str):
    def change(sis: Provider) -> None:
        change_everything(sis)
        sis.state("failed", collection)

    _, second = nights(changing(), change, provider("cl", "s1"))
    assert second.quiet
    assert second.codes == []  # what was unreadable is told by whoever read it
    assert second.status == "partial"


def test_courses_that_cannot_be_read_make_nothing_worse():
    _, second = nights(school_of("t1 s1"), lambda sis: sis.users("s1", phone="1").state("failed", "courses"))
    assert second.who("s1")["phone"] == "1"
    assert second.status == "partial"


# ------------------------------------------------------------------------------------------ schools kept back


def two_schools() -> Provider:
    sis = school_of("t1 s1 s2").org("south").users("t2 s3 s4", orgs="south")
    return (
        sis.teaches("c2", "t2 s3 s4", school="south")
        .users("s9", orgs="north south")
        .enrol("c1", "s9")
        .enrol("c2", "s9")
    )


@pytest.fixture(scope="module")
def kept() -> tuple[Night, Night, Night]:
    sis = two_schools()
    told = begun(sis)
    (sis,), (first,) = told.providers, told.nights
    sis.gone("t2 s4").users("s3 s9 s1", email="new@x.example").users("s1", email="n1@x.example")
    sis.users("s3", email="n3@x.example").users("s9", email="n9@x.example").org(
        "south", "Southern School", identifier="SOUTH"
    )
    sis.teaches("c2", title="New title").teaches("c3", "s3", school="south").users("s5", orgs="south").enrol(
        "c2", "s5"
    )
    second = told.night().check()
    sis.users("t2", orgs="south").enrol("c2", "t2")
    return first, second, told.night().check()


def test_a_school_that_is_kept_back_keeps_its_row_classes_and_memberships(kept: tuple[Night, Night, Night]):
    first, second, _ = kept
    assert second.schools == {"North School": "published", "Southern School": "kept"}
    assert second.last_good == {"North School": "2025-10-16", "South School": "2025-10-15"}
    assert second.classes == {"c1", "c2"}
    assert second.class_("c2")["title"] == "Class c2"
    assert second.members("c2") == first.members("c2") == labels("t2 s3 s4 s9")
    assert second.status == "partial"


def test_a_person_is_frozen_if_all_their_schools_are_kept_back(kept: tuple[Night, Night, Night]):
    _, second, third = kept
    assert second.who("s3")["email"] == "s3@north.example"
    assert third.who("s3")["email"] == "n3@x.example"


def test_a_person_is_updated_if_any_of_their_schools_is_published(kept: tuple[Night, Night, Night]):
    _, second, _ = kept
    assert second.who("s9")["email"] == "n9@x.example"
    assert second.who("s1")["email"] == "n1@x.example"
    assert second.roles("s9") == ["student at north", "student at south"]


def test_nobody_is_removed_while_one_of_their_schools_is_kept_back(kept: tuple[Night, Night, Night]):
    _, second, _ = kept
    assert {"t2", "s4"} <= second.people
    assert second.inactive == set()


def test_rows_of_a_kept_school_alone_have_no_outcome_and_no_id(kept: tuple[Night, Night, Night]):
    _, second, third = kept
    assert second.outcome("s5") == ""
    assert not second.has("s5")
    assert second.dropped("users") == {"school_kept_back": 1}
    assert second.dropped("classes") == {"school_kept_back": 1}
    assert third.outcome("s5") == "created by new"


def test_a_school_that_is_complete_again_is_published_as_it_is_now(kept: tuple[Night, Night, Night]):
    first, _, third = kept
    assert third.schools == {"North School": "published", "Southern School": "published"}
    assert third.person("t2") == first.person("t2")
    assert third.inactive == {"s4"}
    assert third.classes == {"c1", "c2", "c3"}
    assert third.status == "successful"


def test_a_kept_school_keeps_its_people_past_their_grace():
    sis = two_schools()
    told = begun(sis)
    (sis,) = told.providers
    sis.gone("t2 s9")
    told.night()
    late = told.night("2025-12-01").check()
    assert {"t2", "s9"} <= late.people


def test_keeping_back_wins_over_the_end_of_a_class():
    sis = two_schools().option(respect_academic_sessions=True).session("short", "2025-08-18..2025-10-15")
    sis.teaches("c3", "t2 s3", school="south", terms=["short"])
    _, second = nights(sis, lambda sis: sis.gone("t2"))
    assert second.schools["South School"] == "kept"
    assert "c3" in second.classes


# ------------------------------------------------------------------------------------------ excluded schools


@pytest.fixture(scope="module")
def excluded() -> tuple[Night, Night, Night]:
    sis = two_schools()
    told = begun(sis)
    (sis,), (first,) = told.providers, told.nights
    sis.option(exclude_schools=["South School"]).gone("t2 s4").users("s3", email="n3@x.example")
    second = told.night().check()
    sis.option(exclude_schools=[]).users("t3", orgs="south").teaches("c2", "t3 s3 s9")
    return first, second, told.night().check()


def test_what_was_published_of_an_excluded_school_stays_untouched(excluded: tuple[Night, Night, Night]):
    first, second, _ = excluded
    assert second.status == "successful"
    assert second.schools["South School"] == "excluded"
    assert second.last_good["South School"] == "2025-10-15"
    assert second.people == first.people
    assert second.members("c2") == first.members("c2")
    assert second.who("s3")["email"] == "s3@north.example"


def test_a_school_that_is_included_again_is_replaced_without_a_hold(excluded: tuple[Night, Night, Night]):
    _, _, third = excluded
    assert third.status == "successful"
    assert third.members("c2") == labels("t3 s3 s9")
    assert third.inactive == labels("t2 s4")
    assert third.who("s3")["email"] == "n3@x.example"
    assert third.last_good["South School"] == "2025-10-17"


def test_however_many_go_when_a_school_is_included_again_none_of_them_waits():
    sis = school_of("t1 s1").org("south").users("t2 s21..s40", orgs="south")
    told = begun(sis.teaches("c2", "t2 s21..s40", school="south"))
    (sis,) = told.providers
    sis.option(exclude_schools=["South School"])
    told.night()
    sis.option(exclude_schools=[]).gone("s23..s40")
    third = told.night().check()
    assert third.status == "successful"
    assert third.members("c2") == labels("t2 s21 s22")
    assert third.inactive == labels("s23..s40")


def test_an_excluded_school_can_be_removed():
    sis = two_schools()
    _, second = nights(sis, lambda sis: sis.option(exclude_schools=["south"], excluded_rosters="remove"))
    assert second.people == labels("t1 s1 s2 s9")
    assert second.classes == {"c1"}
    assert second.roles("s9") == ["student at north"]
    assert {row["name"] for row in second.table("schools")} == {"North School"}
    assert second.schools["South School"] == "excluded"
    assert second.status == "successful"


# ------------------------------------------------------------------------------------------ time


def test_grace_is_counted_in_days_and_its_last_day_is_still_within():
    sis = school_of("t1 s1..s9")
    told = story(sis, grace_days=3)
    told.night("2025-10-15")
    sis.gone("s9")
    assert told.night("2025-10-16").check().inactive == {"s9"}
    assert told.night("2025-10-19").check().inactive == {"s9"}
    last = told.night("2025-10-20").check()
    assert last.inactive == set()
    assert last.changes("people") == (0, 0, 1)


def test_nobody_is_removed_after_their_grace_while_nothing_proves_them_gone():
    sis = school_of("t1 s1..s9")
    told = begun(sis)
    (sis,) = told.providers
    sis.gone("s9")
    told.night()
    sis.state("stale", "enrollments")
    assert told.night("2025-11-30").check().inactive == {"s9"}
    sis.state("ok")
    assert told.night("2025-12-01").check().inactive == set()


def test_somebody_inactive_who_comes_back_is_active_with_memberships():
    sis = school_of("t1 s1..s9")
    told = begun(sis)
    (sis,), (first,) = told.providers, told.nights
    sis.gone("s9")
    told.night()
    sis.users("s9").enrol("c1", "s9")
    third = told.night().check()
    assert third.person("s9") == first.person("s9")
    assert third.inactive == set()
    assert "s9" in third.members("c1")
    assert third.changes("people") == (0, 1, 0)


# ------------------------------------------------------------------------------------------ retired providers


def test_the_classes_of_a_retired_provider_go_now_and_its_people_after_the_grace():
    sis = school_of("t1 s1 s2")
    cl = Provider("cl").org("annexe").users("t5 s5 s1").teaches("c5", "t5 s5 s1", course="")
    told = story(sis, cl)
    first = told.night().check()
    assert first.classes == {"c1", "cl/c5"}
    told.retire(cl)
    second = told.night().check()
    assert second.classes == {"c1"}
    assert second.people == labels("t1 s1 s2")
    assert len(second.inactive) == 2
    assert second.status == "successful"
    assert len(told.night("2025-10-23").check().inactive) == 2
    assert told.night("2025-10-24").check().inactive == set()


def test_a_renamed_provider_keeps_everything():
    sis = school_of("t1 s1 s2")
    told = begun(sis)
    (sis,) = told.providers
    sis.name = "mis"
    second = told.night().check()
    assert second.changes("people") == (0, 0, 0)
    assert second.changes("memberships") == (0, 3, 0)  # `provider` is always the present name
    assert {row["provider"] for row in second.table("classes")} == {"mis"}


# ---------------------------------------------------------------------------------- classes and sessions


def test_a_class_ends_without_a_hold_though_it_was_the_schools_only_one():
    sis = school_of("t1 s1 s2", respect_academic_sessions=True).session("year", "2025-08-18..2025-10-15")
    _, second = nights(sis, lambda sis: None)
    assert second.classes == set()
    assert second.people == labels("t1 s1 s2")
    assert second.codes == ["RS-SES-04"]
    assert second.status == "successful"


@pytest.mark.parametrize("change", [lambda sis: sis.session("year", "2025-08-18..2025-10-10"),
                                    lambda sis: sis.gone("year")], ids=["shortened", "gone"])  # fmt: skip
def test_a_session_that_was_tampered_with_ends_no_class(change):
    sis = school_of("t1 s1 s2", respect_academic_sessions=True).session("other", "2025-08-18..2026-01-01")
    sis.teaches("c1", terms=["year"])
    _, second = nights(sis, change)
    assert second.classes == {"c1"}
    assert second.members("c1") == labels("t1 s1 s2")
    assert second.status == "partial"
    assert "RS-SES-02" in second.codes


def test_a_class_that_is_no_longer_sent_after_its_end_has_ended():
    sis = school_of("t1 s1 s2").session("year", "2025-08-18..2025-10-15")
    _, second = nights(sis, lambda sis: sis.gone("c1"))
    assert second.classes == set()
    assert second.codes == ["RS-SES-04"]


def test_a_session_that_is_no_longer_sent_stays_while_a_class_names_it():
    sis = school_of("t1 s1 s2", respect_academic_sessions=True).session("spare", "2025-09-01..2025-12-01")
    sis.teaches("c2", "t1 s1", terms=["spare"])
    _, second = nights(sis, lambda sis: sis.gone("spare"))
    assert {row["source_id"] for row in second.table("academic_sessions")} == {"year", "spare"}


def test_classroom_data_that_are_turned_off_take_the_classes_and_leave_the_people():
    sis = school_of("t1 s1 s2").teaches("c2", "t1")
    told = begun(sis)
    (sis,), (first,) = told.providers, told.nights
    sis.option(sync_classroom_data=False)
    second = told.night().check()
    assert second.classes == set()
    assert second.people == first.people
    assert second.table("academic_sessions") == []
    sis.option(sync_classroom_data=True)
    third = told.night().check()
    assert third.classes == {"c1", "c2"}
    assert {row["class_id"] for row in third.table("classes")} == {
        row["class_id"] for row in first.table("classes")
    }


# ------------------------------------------------------------------------------------------ memberships


def test_several_enrolments_of_one_role_are_one_membership():
    sis = (
        provider("sis", "t1 s1 s2")
        .teaches("c1")
        .enrol("c1", "s1[2025-08-18..2025-09-30] s1[2025-09-15..2025-12-01]")
    )
    sis.enrol("c1", "s2[2025-09-01..2025-12-01] s2[2025-10-01..]")
    sis.enrol("c1", "t1", primary="false").enrol("c1", "t1", primary="true")
    told = story(sis).night().check()
    one, two = told.membership("c1", "s1"), told.membership("c1", "s2")
    assert (one["begin_date"], one["end_date"]) == ("2025-08-18", "2025-12-01")
    assert (two["begin_date"], two["end_date"]) == ("2025-09-01", "")
    assert told.membership("c1", "t1")["is_primary"] == "true"


def test_two_roles_in_one_class_are_two_memberships():
    sis = provider("sis", "t1").teaches("c1", "t1").enrol("c1", "t1", role="student")
    told = story(sis, keeps_back=()).night().check()
    assert {row["role"] for row in told.table("memberships")} == {"student", "teacher"}


def test_enrolments_of_unmatched_users_are_no_memberships():
    cl = school_of("s1 s9", name="cl", merge={"attach_to_existing_users_only": True}).org(
        "north", "South", identifier="S"
    )
    cl.users("t8").enrol("c1", "t8")
    told = story(provider("sis", "s1 t1"), cl, keeps_back=()).night().check()
    assert told.members("cl/c1") == {"s1"}
    assert told.dropped("enrollments", "cl") == {"user_unmatched": 2}


def test_whoever_teaches_at_a_school_has_a_role_there():
    sis = school_of("t1 s1").org("south").users("t2", orgs="south").enrol("c1", "t2")
    assert story(sis).night().check().roles("t2") == ["teacher at north", "teacher at south"]


# ------------------------------------------------------------------------------------------ guardians


def family() -> Provider:
    sis = school_of("t1 s1..s6", sync_parent_data=True, relationship_type="guardian").users("g1 g2")
    return sis.users("s1", agents=["g1"]).users("s2", agents=["g1", "g2"])


def test_a_guardian_turns_inactive_and_goes_with_the_last_student():
    sis = family()
    told = begun(sis)
    (sis,), (first,) = told.providers, told.nights
    sis.gone("s2")
    second = told.night().check()
    assert second.inactive == {"s2", "g2"}
    third = told.night("2025-10-24").check()
    assert third.people == labels("t1 s1 s3..s6 g1")
    assert third.inactive == set()
    assert third.links == {"s1 g1"}
    sis.users("s2", agents=["g2"]).enrol("c1", "s2")
    fourth = told.night("2025-10-25").check()
    assert (fourth.person("s2"), fourth.person("g2")) == (first.person("s2"), first.person("g2"))
    assert fourth.links == {"s1 g1", "s2 g2"}


def test_a_guardian_is_removed_at_once_with_a_student_who_left_by_dates():
    sis = family().option(respect_enrolment_date=True).teaches("c1", "t1 s1 s2[..2025-10-15] s3..s6")
    _, second = nights(sis, lambda sis: None)
    assert second.people == labels("t1 s1 s3..s6 g1")
    assert second.inactive == set()
    assert second.links == {"s1 g1"}
    assert second.status == "successful"


def test_guardians_that_are_turned_off_go_at_once():
    _, second = nights(family(), lambda sis: sis.option(sync_parent_data=False, relationship_type=None))
    assert second.people == labels("t1 s1..s6")
    assert second.inactive == set()
    assert second.links == set()
    assert second.status == "successful"


def test_a_guardian_who_also_teaches_stays_without_the_student():
    sis = (
        family()
        .option(respect_enrolment_date=True)
        .users("t2 g2", given="Tess", family="Teal", identifier="E7")
    )
    sis.teaches("c1", "t1 t2 s1 s2[..2025-10-15] s3..s6")
    first, second = nights(sis, lambda sis: None)
    assert first.same("t2", "g2")
    assert {"t2", "g2"} & second.people
    assert second.person("t2") == first.person("t2")
    assert second.roles("t2") == ["teacher at north"]


def test_a_night_without_changes_is_quiet_for_all_kinds():
    told: Story = story(family(), provider("cl", "s1 s2"))
    told.night()
    assert told.night().check().quiet
    assert told.night("2025-10-16").check().quiet
