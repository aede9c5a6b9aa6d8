"""A tenant at its largest: four providers, each with options of its own, and two directories."""

from __future__ import annotations

import itertools

import pytest

from roster_pipeline_tests.rosters import Directory, Night, Story, labels, provider, school_of, story


def group() -> Story:
    """A student system, its launchpad, an annexe's files and a list of guardians; logins and badges.

    Everybody is called alike everywhere: s1 is s1@north.example, but for the launchpad, where the domain
    is another one.
    """
    sis = school_of("t1 s1..s6", respect_enrolment_date=True, respect_academic_sessions=True)
    sis.option(merge={"priority": 100}).users("s1", phone="", sms="1").users("t1", phone="sis")
    sis.teaches("c1", "t1 s1..s5 s6[..2025-10-14]")
    sis.session("old", "2024-08-19..2025-06-13").teaches("c-old", "t1 s1", terms=["old"])

    pad = school_of("t1 s1 s2 s6 s7", name="pad", share_classes=True)
    pad.option(merge={"priority": 50, "key": "email_without_domain", "attach_to_existing_users_only": True})
    for who in ("t1", "s1", "s2", "s6", "s7"):
        pad.users(who, email=f"{who}@pad.example", phone="pad", middle="Mid")

    annexe = provider("annexe", "", merge={"priority": 30}, limit_to={"grades": ["09"]})
    annexe.org("annexe", "Annexe School", identifier="ANNEXE").gone("north")
    annexe.users("t9 s1 s21 s22").users("s22", grades=["10"]).users("s1", phone="annexe")
    annexe.teaches("c9", "t9 s1 s21 s22")

    homes = provider("homes", "s1 s2 g1 p1", merge={"priority": 10}, sync_classroom_data=False)
    homes.option(sync_parent_data=True, relationship_type="guardian")
    homes.users("s1 s2", agents=["g1", "p1"]).users("g1", phone="home")

    logins = Directory("logins", {
        "d1": {"email": "s1@north.example", "given_name": "Ada"},
        "d2": {"email": "s2@north.example"},
        "dg": {"email": "g1@north.example", "given_name": "Greta"},
        "dx": {"email": "nobody@north.example"},
    })  # fmt: skip
    badges = Directory("badges", {"b1": {"email": "s1@north.example"}, "b3": {"email": "s3@north.example"}})
    told = story(sis, pad, annexe, homes, directories=[logins, badges])
    for source in told.providers:
        told.id_of(source)  # the registry's ids, whatever the order of the document
    return told


@pytest.fixture(scope="module")
def night() -> Night:
    return group().night().check()


def test_everybody_is_there_once(night: Night):
    # s6 has left by the dates of the one system that has them, and an attach-only link keeps nobody.
    assert night.people == labels("t1 s1..s5") | {"annexe/t9", "annexe/s21", "homes/g1"}
    assert night.same("s1", "pad/s1", "annexe/s1", "homes/s1", "logins/d1", "badges/b1")
    assert night.same("s2", "pad/s2", "homes/s2", "logins/d2")
    assert night.same("s3", "badges/b3")
    assert night.same("homes/g1", "logins/dg")


@pytest.mark.parametrize(
    "name, outcomes",
    [
        ("sis", {"matched": 3, "created": 3, "unmatched": {}}),  # s1 to s3 were known by their logins
        ("pad", {"matched": 3, "created": 0, "unmatched": {"nobody_matches": 2}}),
        ("annexe", {"matched": 1, "created": 2, "unmatched": {}}),
        ("homes", {"matched": 3, "created": 0, "unmatched": {}}),
    ],
)
def test_each_provider_lives_by_its_own_options(name: str, outcomes: dict[str, object], night: Night):
    assert night.told(name)["outcomes"] == outcomes


def test_the_strongest_value_of_each_field_is_published(night: Night):
    one = night.who("s1")
    assert (one["email"], one["phone"], one["sms"], one["middle_name"]) == (
        "s1@north.example",
        "pad",
        "1",
        "Mid",
    )
    assert one["given_name"] == "Given-s1"  # a directory gives a name only where no provider has one
    assert night.who("t1")["phone"] == "sis"
    assert night.who("homes/g1")["phone"] == "home"


def test_roles_are_the_union_of_all_providers(night: Night):
    assert night.roles("s1") == ["student at annexe/annexe", "student at north"]
    assert night.roles("homes/g1") == ["guardian at north"]


def test_classes_are_those_of_the_stronger_the_shared_and_the_own_school_s(night: Night):
    assert night.classes == {"c1", "pad/c1", "annexe/c9"}
    assert night.members("c1") == labels("t1 s1..s5")
    assert night.members("pad/c1") == labels("t1 s1 s2")
    assert night.members("annexe/c9") == {"annexe/t9", "s1", "annexe/s21"}


def test_guardians_are_those_of_the_one_provider_that_has_them(night: Night):
    assert night.links == {"s1 homes/g1", "s2 homes/g1"}
    assert night.reason("users", "homes/p1") == "other_relationship"


def test_its_schools_are_two_and_it_is_successful(night: Night):
    assert night.schools == {"North School": "published", "Annexe School": "published"}
    assert night.status == "successful"


def test_the_next_night_changes_nothing():
    told = group()
    told.night()
    assert told.night().check().quiet


def test_the_order_of_providers_in_the_document_changes_nothing(night: Night):
    for order in list(itertools.permutations(range(4)))[5::6]:
        told = group()
        told.providers = [told.providers[place] for place in order]
        again = told.night().check()
        for name in ("people", "classes", "memberships", "guardian_links"):
            assert sorted(map(str, again.table(name))) == sorted(map(str, night.table(name))), name


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_directories_the_first_in_the_document_gives_the_login(turned: bool):
    logins = Directory("logins", {"d1": {"email": "s1@north.example"}})
    badges = Directory("badges", {"b1": {"email": "s1@north.example"}})
    told = story(provider("sis", "s1 t1"), directories=[badges, logins] if turned else [logins, badges])
    told.night()
    logins.people["d1"]["email"], badges.people["b1"]["email"] = "s1@login.example", "s1@badge.example"
    night = told.night().check()
    assert night.same("s1", "logins/d1", "badges/b1")
    assert night.who("s1")["email"] == ("s1@badge.example" if turned else "s1@login.example")


def test_a_provider_that_is_retired_leaves_the_others_as_they_are():
    told = group()
    first = told.night()
    told.retire(told.providers[2])
    second = told.night().check()
    assert second.classes == {"c1", "pad/c1"}
    assert second.people == first.people - {"annexe/t9", "annexe/s21"}
    assert len(second.inactive) == 2
    assert second.who("s1")["phone"] == "pad"
    assert second.status == "successful"
