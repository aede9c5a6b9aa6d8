"""Who goes turns inactive first, who moves is never removed in between, and who returns is who they were."""

from __future__ import annotations

from typing import Any

import pytest

from roster_pipeline.rosters.source import State
from roster_pipeline_tests.rosters import Night, Provider, Story, begun, provider, story

GUARDIANS: dict[str, Any] = {"sync_parent_data": True, "relationship_type": "guardian"}


def two_schools(name: str = "sis", **options: Any) -> Provider:
    """A provider of North School with s1 to s9, in c1, and South School with s11 to s19, in c2."""
    made = provider(name, "t1 s1..s9", **options).org("south").users("t2 s11..s19", orgs="south")
    return made.teaches("c1", "t1 s1..s9").teaches("c2", "t2 s11..s19", school="south")


def two_providers(**options: Any) -> tuple[Provider, Provider]:
    """North School of `sis`, South School of `cl`."""
    sis = provider("sis", "t1 s1..s9", **options).teaches("c1", "t1 s1..s9")
    cl = Provider("cl", dict(options)).org("south").course("maths")
    cl.session("year", "2025-08-18..2026-06-12", kind="schoolYear").users("t2 s11..s19", orgs="south")
    return sis, cl.teaches("c2", "t2 s11..s19")


def leave(one: Provider, who: str = "s1") -> None:
    one.gone(who)


def arrive(one: Provider, who: str = "s1") -> None:
    """S1 as a student of South School, under their id or a new one."""
    told = {"given": "Given-s1", "family": "Family-s1", "email": "s1@north.example"}
    one.users(who, orgs="south", **told).enrol("c2", who)


def is_there(night: Night, person: str) -> str:
    """`active`, `inactive` or `removed`."""
    found = [row for row in night.table("people") if row["person_id"] == person]
    return "removed" if not found else "inactive" if found[0]["inactive_since"] else "active"


# ------------------------------------------------------------------------------------------ moving


@pytest.mark.parametrize(
    "several, between, new_id, dated",
    [
        pytest.param(False, False, "s1", True, id="one provider"),
        pytest.param(False, True, "s1", False, id="one provider, after a night"),
        pytest.param(False, True, "s1-new", True, id="one provider, after a night, under a new id"),
        pytest.param(True, False, "s1", False, id="another provider"),
        pytest.param(True, False, "s1-new", True, id="another provider, under a new id"),
        pytest.param(True, True, "s1-new", False, id="another provider, after a night, under a new id"),
    ],
)
def test_somebody_who_moves_to_another_school_is_the_same_and_never_removed(
    several: bool, between: bool, new_id: str, dated: bool
):
    made = two_providers if several else lambda **options: (two_schools(**options),)
    tenant = begun(*made(respect_enrolment_date=dated), grace_days=1)
    old, new = tenant.providers[0], tenant.providers[-1]
    person = tenant.nights[0].person("s1")
    leave(old)
    if between:
        assert is_there(tenant.night().check(), person) == "inactive"
    arrive(new, new_id)
    night = tenant.night().check()
    label = f"{'cl/' if several else ''}{new_id}"
    assert (night.person(label), is_there(night, person)) == (person, "active")
    assert night.who(label)["roles"].count("student") == 1
    assert person in {row["person_id"] for row in night.table("memberships")}
    assert night.inactive == set()
    assert tenant.night(night.as_of.isoformat()).check().quiet


@pytest.mark.parametrize("late", ["sis", "cl"])
@pytest.mark.parametrize("state", ["failed", "unproven"])
def test_somebody_who_moves_while_one_of_the_providers_is_not_read_is_never_removed(late: str, state: State):
    tenant = begun(*two_providers(), grace_days=0)
    sis, cl = tenant.providers
    person = tenant.nights[0].person("s1")
    leave(sis)
    arrive(cl)
    (sis if late == "sis" else cl).state(state)
    for _ in range(3):
        before = {row["person_id"] for row in tenant.nights[-1].table("people")}
        night = tenant.night().check()
        if late == "sis":
            assert is_there(night, person) == "active"
        assert person in before
        sis.state("ok")
        cl.state("ok")
    assert (night.person("cl/s1"), is_there(night, person)) == (person, "active")


@pytest.mark.parametrize("kept", ["the old school", "the new school", "both"])
@pytest.mark.parametrize("several", [False, True], ids=["one provider", "two providers"])
def test_somebody_who_moves_while_a_school_is_kept_back_is_never_removed(kept: str, several: bool):
    tenant = begun(*(two_providers() if several else (two_schools(),)), grace_days=0)
    old, new = tenant.providers[0], tenant.providers[-1]
    person = tenant.nights[0].person("s1")
    leave(old)
    arrive(new)
    teachers = {"the old school": ["t1"], "the new school": ["t2"], "both": ["t1", "t2"]}[kept]
    for teacher in teachers:
        (old if teacher == "t1" else new).gone(teacher)
    for _ in range(3):
        night = tenant.night().check()
        assert "kept" in night.schools.values()
        assert is_there(night, person) != "removed"
    assert is_there(night, person) == ("active" if kept != "the new school" else is_there(night, person))
    old.users("t1").enrol("c1", "t1")
    new.users("t2", orgs="south").enrol("c2", "t2")
    night = tenant.night().check()
    assert set(night.schools.values()) == {"published"}
    assert (night.person("cl/s1" if several else "s1"), is_there(night, person)) == (person, "active")


def test_who_has_left_by_dates_here_and_is_entered_there_stays():
    tenant = begun(*two_providers(respect_enrolment_date=True))
    sis, cl = tenant.providers
    person = tenant.nights[0].person("s1")
    sis.rows["enrollments"]["c1-s1"]["endDate"] = "2025-10-15"
    arrive(cl)
    night = tenant.night("2025-10-16").check()
    assert (night.person("cl/s1"), is_there(night, person)) == (person, "active")
    assert night.roles("cl/s1") == ["student at cl/south"]


# ------------------------------------------------------------------------------------------ going


def test_whoever_is_gone_is_inactive_first_and_whoever_has_left_by_dates_goes_at_once():
    tenant = begun(two_schools(respect_enrolment_date=True), grace_days=2)
    sis = tenant.providers[0]
    gone, left = (tenant.nights[0].person(who) for who in ("s1", "s2"))
    leave(sis)
    sis.rows["enrollments"]["c1-s2"]["endDate"] = "2025-10-15"
    states = []
    for day in ("2025-10-16", "2025-10-17", "2025-10-18", "2025-10-19"):
        night = tenant.night(day).check()
        states.append((is_there(night, gone), is_there(night, left)))
    assert states == [*[("inactive", "removed")] * 3, ("removed", "removed")]


# ------------------------------------------------------------------------------------------ returning


def family() -> Story:
    """A tenant whose s1 is in two classes and has a guardian, who has another student, too."""
    sis = two_schools(**GUARDIANS).users("g1 g2").teaches("c3", "t1 s1..s4")
    sis.users("s1", agents=["g1", "g2"]).users("s2", agents=["g2"])
    return begun(sis, grace_days=1)


@pytest.mark.parametrize("days", [1, 2, 30], ids=["in the grace", "on its last day", "long after it"])
@pytest.mark.parametrize("new_id", ["s1", "s1-new"])
def test_somebody_who_returns_gets_the_same_id_memberships_and_guardian_links(days: int, new_id: str):
    tenant = family()
    sis = tenant.providers[0]
    first = tenant.nights[0]
    pupil, guardian = first.person("s1"), first.person("g1")
    row = sis.rows["users"]["s1"]
    leave(sis)
    sis.gone("g1")
    tenant.night("2025-10-16").check()
    night = tenant.night(f"2025-{10 + (15 + days) // 31}-{(15 + days) % 31 + 1:02d}").check()
    assert is_there(night, pupil) == ("removed" if days > 1 else "inactive")
    sis.rows["users"][new_id] = {**row, "sourcedId": new_id}
    sis.users("g1").enrol("c1", new_id).enrol("c3", new_id)
    back = tenant.night().check()
    assert (back.person(new_id), back.person("g1")) == (pupil, guardian)
    assert back.links == {f"{new_id} g1", f"{new_id} g2", "s2 g2"}
    assert [name for name in ("c1", "c2", "c3") if new_id in back.members(name)] == ["c1", "c3"]
    assert (is_there(back, pupil), is_there(back, guardian), back.inactive) == ("active", "active", set())
    assert len({row["person_id"] for row in back.table("people")}) == len(first.table("people"))


@pytest.mark.parametrize("elsewhere", [False, True], ids=["a lone provider", "one of two"])
def test_whom_no_complete_extract_shows_gone_keeps_their_guardian(elsewhere: bool):
    # The users are read whole without s1, but not the enrolments: nothing proves that s1 has gone.
    tenant = family()
    if elsewhere:
        tenant.providers.append(provider("cl", "s1", sync_classroom_data=False))
        tenant.night().check()
    sis = tenant.providers[0]
    before = tenant.nights[-1].links
    leave(sis)
    sis.state("unproven", "enrollments")
    night = tenant.night().check()
    assert (night.links, night.inactive) == (before, set())
    sis.state("ok")
    night = tenant.night().check()
    assert night.links == ({"s2 g2"} if elsewhere else before)


def test_somebody_who_returns_after_leaving_by_dates_gets_the_same_id_and_memberships():
    tenant = begun(two_schools(respect_enrolment_date=True))
    sis = tenant.providers[0]
    pupil = tenant.nights[0].person("s1")
    sis.rows["enrollments"]["c1-s1"]["endDate"] = "2025-10-15"
    assert is_there(tenant.night().check(), pupil) == "removed"
    sis.rows["enrollments"]["c1-s1"]["endDate"] = "2025-12-19"
    night = tenant.night().check()
    assert (night.person("s1"), is_there(night, pupil)) == (pupil, "active")
    assert "s1" in night.members("c1")


def test_somebody_who_returns_to_another_provider_after_the_grace_gets_the_same_id():
    tenant = begun(*two_providers(), grace_days=0)
    sis, cl = tenant.providers
    pupil = tenant.nights[0].person("s1")
    leave(sis)
    tenant.night().check()
    assert is_there(tenant.night().check(), pupil) == "removed"
    arrive(cl)
    night = tenant.night().check()
    assert (night.person("cl/s1"), is_there(night, pupil)) == (pupil, "active")
    assert "cl/s1" in night.members("cl/c2") or "s1" in night.members("cl/c2")


def test_a_move_of_many_waits_at_the_old_school_and_loses_nobody():
    tenant = story(two_schools(), grace_days=0)
    first = tenant.night().check()
    people = {who: first.person(who) for who in (f"s{n}" for n in range(1, 10))}
    sis = tenant.providers[0]
    for who in people:
        sis.users(who, orgs="south")
        del sis.rows["enrollments"][f"c1-{who}"]
        sis.enrol("c2", who)
    night = tenant.night().check()
    assert {who: night.person(who) for who in people} == people
    assert set(people) <= night.people
    assert set(people) <= night.members("c2")


@pytest.mark.parametrize("out", ["dates", "settings"])
def test_who_had_left_here_before_they_were_gone_there_is_inactive_first(out: str):
    cl = provider("cl", "s1 s2", respect_enrolment_date=True, sync_classroom_data=False)
    tenant = begun(two_schools(), cl.teaches("d1", "s1 s2"), grace_days=2)
    sis, cl = tenant.providers
    if out == "dates":
        cl.rows["enrollments"]["d1-s1"]["endDate"] = "2025-10-15"
    else:
        cl.users("s1", grades=["10"]).option(limit_to={"grades": ["09"]})
    person = tenant.night().check().person("s1")
    leave(sis)
    night = tenant.night().check()
    assert is_there(night, person) == "inactive"
    again = tenant.night(night.as_of.isoformat()).check()
    assert (again.quiet, is_there(again, person)) == (True, "inactive")
