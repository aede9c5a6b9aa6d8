"""One human in several guises, and one address of several humans: who is one person, and who stays two."""

from __future__ import annotations

from typing import Any

import pytest

from roster_pipeline_tests.rosters import Directory, Night, begun, labels, provider, school_of, story

PARENTS: dict[str, Any] = {"sync_parent_data": True, "relationship_type": "guardian"}
STUDENT, TEACHER, GUARDIAN = (["student", "north", "", ""], ["teacher", "north", "", ""],
                              ["guardian", "north", "", ""])  # fmt: skip

# ------------------------------------------------------------------------------------------ several guises


@pytest.mark.parametrize(
    "merge, outcome",
    [
        pytest.param({}, "matched by key", id="e-mail"),
        pytest.param({"key": "email_without_domain"}, "unmatched by student_and_adult", id="without domain"),
        pytest.param({"attach_to_existing_users_only": True}, "matched by key", id="attaching"),
    ],
)
def test_a_student_here_who_is_a_guardian_there(merge: dict[str, Any], outcome: str):
    cl = provider("cl", "s2", **PARENTS, merge=merge).users("s2", agents=["g1"])
    cl.users("g1", given="Given-s1", family="Family-s1", email="s1@north.example")
    night = story(school_of("t1 s1 s2"), cl).night().check()
    assert night.outcome("cl/g1") == outcome
    assert ("s2 s1" in night.links) is outcome.startswith("matched")
    if outcome.startswith("matched"):
        assert night.roles("s1") == ["guardian at north", "student at north"]


def test_a_student_who_is_a_guardian_too_in_one_row_has_both_roles_and_the_links():
    sis = school_of("t1 s2", **PARENTS).users("s1", roles=[STUDENT, GUARDIAN]).enrol("c1", "s1")
    night = story(sis.users("g1", roles=[GUARDIAN]).users("s2", agents=["g1"])).night().check()
    assert night.roles("s1") == ["guardian at north", "student at north"]
    assert night.members("c1") == labels("t1 s1 s2")
    assert night.links == {"s2 g1"}


def test_a_teacher_of_two_schools_is_one_person_with_both_roles_and_classes():
    sis = provider("sis", "s1").org("south").users("t1", orgs="north south").users("s2", orgs="south")
    sis.teaches("c1", "t1 s1").teaches("c2", "t1 s2", school="south")
    night = story(sis).night().check()
    assert night.roles("t1") == ["teacher at north", "teacher at south"]
    assert "t1" in night.members("c1") & night.members("c2")
    assert night.counts["people"] == 3


def test_a_teacher_of_two_schools_of_two_providers_is_one_person_and_outlives_one_of_them():
    sis = school_of("t1 s1")
    cl = provider("cl").org("north", "South School", identifier="S").users("t1 s2").teaches("c2", "t1 s2")
    told = begun(sis, cl)
    first = told.nights[0]
    assert first.same("t1", "cl/t1")
    assert first.roles("t1") == ["teacher at cl/north", "teacher at north"]
    assert first.told("cl")["matched_teachers"] == 1
    told.providers[1].gone("t1").users("t5").enrol("c2", "t5")
    second = told.night().check()
    assert second.roles("t1") == ["teacher at north"]
    assert second.members("cl/c2") == {"cl/t5", "cl/s2"}
    assert second.inactive == set()


def test_one_human_as_two_rows_of_two_schools_leaves_one_school_alone():
    sis = provider("sis", "t1 s3", respect_enrolment_date=True).org("south").users("t2", orgs="south")
    same = {"given": "Ada", "family": "Archer", "identifier": "77"}
    sis.users("s1", email="ada@north.example", **same).users(
        "s2", orgs="south", email="ada@s.example", **same
    )
    sis.teaches("c1", "t1 s3 s1[..2025-10-15]").teaches("c2", "t2 s2", school="south")
    told = story(sis)
    first, second = told.night("2025-10-15").check(), told.night("2025-10-16").check()
    assert first.same("s1", "s2")
    assert first.roles("s1") == ["student at north", "student at south"]
    assert first.counts["students"] == 2
    assert second.person("s2") == first.person("s1")
    assert second.roles("s2") == ["student at south"]
    assert second.members("c1") == {"t1", "s3"}
    assert second.status == "successful"


def test_one_human_as_two_rows_of_one_class_is_one_member():
    sis = provider("sis", "t1 s1 s2").users("s1 s2", master="m1").teaches("c1", "t1 s1 s2")
    night = story(sis).night().check()
    assert night.counts["memberships"] == 2
    assert night.told()["outcomes"]["created"] == 2


# ------------------------------------------------------------------------------------------ one key


SAME = {"given": "Ada", "family": "Archer"}


@pytest.mark.parametrize(
    "here, there, merge, outcome",
    [
        pytest.param("ada@n.example", "ada@n.example", {}, "matched by key", id="the same"),
        pytest.param("ada@n.example", "Ada@n.example", {}, "created by new", id="another letter case"),
        pytest.param("ada@n.example", "ada@N.example", {}, "created by new", id="of the domain alone"),
        pytest.param("ada@n.example", "", {}, "created by new", id="missing there"),
        pytest.param("", "ada@n.example", {}, "created by new", id="missing here"),
        pytest.param("", "", {}, "created by new", id="missing in both"),
        pytest.param("*****", "*****", {}, "created by new", id="masked in both"),
        pytest.param("ada@n.example", "ada@s.example", {}, "created by new", id="another domain"),
        pytest.param("ada@n.example", "ada@s.example", {"key": "email_without_domain"}, "matched by key",
                     id="another domain, without domains"),
        pytest.param("ada@n.example", "Ada@s.example", {"key": "email_without_domain"}, "created by new",
                     id="another letter case, without domains"),
        pytest.param("ada@n.example", "ada", {"key": "email_without_domain"}, "matched by key",
                     id="no domain at all, without domains"),
        pytest.param("@n.example", "@s.example", {"key": "email_without_domain"}, "created by new",
                     id="nothing before the @, without domains"),
    ],
)  # fmt: skip
def test_addresses_of_one_human(here: str, there: str, merge: dict[str, Any], outcome: str):
    sis = provider("sis", "t1..t5").users("s1", email=here, **SAME)
    cl = provider("cl", "", merge=merge).users("s1", email=there, **SAME)
    night = story(sis, cl, keeps_back=()).night().check()
    assert night.outcome("cl/s1") == outcome
    assert night.same("s1", "cl/s1") is (outcome == "matched by key")


def test_a_local_part_of_two_people_in_two_domains_is_ambiguous():
    sis = provider("sis", "t1").users("s1", email="ada@n.example", **SAME)
    sis.users("s2", email="ada@s.example", **SAME)
    cl = provider("cl", "", merge={"key": "email_without_domain"}).users("s9", email="ada@x.example", **SAME)
    night = story(sis, cl).night().check()
    assert night.outcome("cl/s9") == "unmatched by ambiguous"
    assert not night.same("s1", "s2")


def test_a_local_part_of_two_people_in_two_domains_is_two_whole_addresses():
    sis = provider("sis", "t1").users("s1", email="ada@n.example", **SAME)
    sis.users("s2", email="ada@s.example", **SAME)
    night = story(sis, provider("cl").users("s9", email="ada@s.example", **SAME)).night().check()
    assert night.same("s2", "cl/s9")
    assert not night.same("s1", "s2")


@pytest.mark.parametrize("where", ["sis", "cl"])
def test_siblings_who_share_an_address_are_two_people_everywhere(where: str):
    sis, cl = provider("sis", "t1 s1 s2"), provider("cl", "s1 s2")
    (sis if where == "sis" else cl).users("s1 s2", email="s1@north.example")
    night = story(sis, cl).night().check()
    # Whom the one who has the address alone fits, two fit: it is no key, and nobody is guessed.
    found = {night.outcome("cl/s1"), night.outcome("cl/s2")}
    assert found == {"unmatched by ambiguous", "created by new"} if where == "sis" else {"created by new"}
    assert not night.same("s1", "s2")


# ------------------------------------------------------------------------------------------ later nights


def later(change: Any, *others: str) -> tuple[Night, Night]:
    told = begun(provider("sis", "t1 s1..s6"), *(provider(name, "s1..s3") for name in others))
    change(*told.providers)
    return told.nights[0], told.night().check()


@pytest.mark.parametrize("both", [True, False])
def test_two_pupils_who_swap_their_addresses_stay_who_they_are(both: bool):
    def swap(*providers: Any) -> None:
        for one in providers if both else providers[:1]:
            one.users("s1", email="s2@north.example").users("s2", email="s1@north.example")

    first, second = later(swap, "cl")
    for who in ("s1", "s2"):
        assert second.person(who) == second.person(f"cl/{who}") == first.person(who)
    assert second.who("s1")["email"] == "s2@north.example"


@pytest.mark.parametrize("new_in", ["sis", "cl"])
def test_an_address_that_passes_to_somebody_new_does_not_make_them_the_one_who_had_it(new_in: str):
    def passes(sis: Any, cl: Any) -> None:
        sis.users("s1", email="ada@north.example")
        (sis if new_in == "sis" else cl).users("s9", email="s1@north.example")

    first, second = later(passes, "cl")
    new = "s9" if new_in == "sis" else "cl/s9"
    assert second.person("s1") == second.person("cl/s1") == first.person("s1")
    assert second.person(new) not in {first.person(who) for who in first.people}
    assert second.outcome(new) == "created by new"


@pytest.mark.parametrize("bare", ["", "sis", "cl"])
def test_a_student_and_an_adult_who_turn_out_alike_are_joined_unless_a_key_leaves_the_domain_out(bare: str):
    keys = {name: {"key": "email_without_domain" if name == bare else "email"} for name in ("sis", "cl")}
    sis = provider("sis", "t1 s1", merge=keys["sis"])
    cl = provider("cl", "", merge=keys["cl"]).users("t9", given="Given-s1", family="Family-s1")
    told = begun(sis, cl)
    told.providers[1].users("t9", email="s1@north.example")
    night = told.night().check()
    assert night.same("s1", "cl/t9") is (bare == "")


def test_an_address_that_passes_to_somebody_new_when_its_owner_has_gone_makes_somebody_new():
    first, second = later(lambda sis: sis.gone("s6").users("s9", email="s6@north.example"))
    assert second.person("s9") != first.person("s6")
    assert second.inactive == {"s6"}


def test_an_id_and_an_address_that_pass_on_at_once_are_somebody_new():
    new = {"given": "Zoe", "family": "Zed", "identifier": "z9"}
    told = begun(provider("sis", "t1 s1..s6").users("s6", identifier="s-6"))
    (sis,), (first,) = told.providers, told.nights
    sis.users("s6", email="zoe@north.example", **new).users("s9", email="s6@north.example")
    second = told.night().check()
    assert second.person("s6") != first.person("s6")
    assert second.person("s9") != first.person("s6")
    assert second.count_of("RS-IDN-04") == 1


# ------------------------------------------------------------------------------------------ fewer and more


def test_a_second_provider_that_knows_fewer_people_takes_nobody_away():
    told = story(school_of("t1 s1..s9"), provider("cl", "s1"))
    night = told.night().check()
    assert night.people == labels("t1 s1..s9")
    assert night.told("cl")["outcomes"] == {"matched": 1, "created": 0, "unmatched": {}}
    assert told.night().check().quiet


@pytest.mark.parametrize("attaching", [True, False])
def test_a_second_provider_that_knows_more_people_adds_them_or_counts_them(attaching: bool):
    cl = provider("cl", "s1..s3 s10..s12", merge={"attach_to_existing_users_only": attaching})
    night = story(school_of("t1 s1..s3"), cl).night().check()
    more = set() if attaching else {"cl/s10", "cl/s11", "cl/s12"}
    assert night.people == labels("t1 s1..s3") | more
    assert night.counts["unmatched_users"] == (3 if attaching else 0)
    assert night.told("cl")["matched_students"] == 3
    assert night.told("cl")["created_students"] == len(more)


def test_whom_one_provider_has_and_another_attaches_to_a_third_one_finds():
    attaching = provider("cl", "s1", merge={"attach_to_existing_users_only": True})
    night = story(provider("sis", "t1 s1 s2"), attaching, provider("tp", "s1")).night().check()
    assert night.outcome("tp/s1") == "matched by key"
    assert night.same("s1", "cl/s1", "tp/s1")


@pytest.mark.parametrize(
    "key, person, same",
    [
        pytest.param("email", {"email": "s1@north.example"}, True, id="the same address"),
        pytest.param("email", {"email": "s1@login.example"}, False, id="another domain"),
        pytest.param("email_without_domain", {"email": "s1@login.example"}, True, id="without domains"),
        pytest.param("email_without_domain", {"email": "s1@login.example", "family_name": "Other"}, False,
                     id="without domains, another family name"),
        pytest.param("email_without_domain", {"email": "s1@login.example", "role": "teacher"}, False,
                     id="without domains, an adult"),
    ],
)  # fmt: skip
def test_a_directory_that_comes_later_knows_people_by_the_key_of_their_providers(
    key: str, person: dict[str, str], same: bool
):
    told = begun(provider("sis", "t1 s1 s2", merge={"key": key}), provider("cl", "s1"))
    told.directories.append(Directory("logins", {"d1": person}))
    night = told.night().check()
    assert night.people == labels("t1 s1 s2")
    assert (night.has("logins/d1") and night.same("s1", "logins/d1")) is same
    assert night.who("s1")["email"] == (person["email"] if same else "s1@north.example")


# ------------------------------------------------------------------------------------------ agents


@pytest.mark.parametrize(
    "student, adult, links, dangling",
    [
        pytest.param(["g1"], [], {"s1 g1"}, 0, id="on the student"),
        pytest.param([], ["s1"], {"s1 g1"}, 0, id="on the adult"),
        pytest.param(["g1"], ["s1"], {"s1 g1"}, 0, id="on both"),
        pytest.param(["g1", "g1"], ["s1"], {"s1 g1"}, 0, id="twice"),
        pytest.param(["g1", "g9"], ["s1", "s9"], {"s1 g1"}, 2, id="and to nobody"),
        pytest.param([], ["t1"], set(), 0, id="on a teacher"),
        pytest.param([], [], set(), 0, id="nowhere"),
    ],
)
def test_agents(student: list[str], adult: list[str], links: set[str], dangling: int):
    sis = school_of("t1 s1", **PARENTS).users("g1", agents=adult).users("s1", agents=student)
    night = story(sis).night().check()
    assert night.links == links
    assert night.count_of("RS-REF-03") == dangling
    assert ("g1" in night.people) is bool(links)
