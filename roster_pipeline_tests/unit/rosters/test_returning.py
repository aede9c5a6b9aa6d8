"""Whoever returns gets the same id, also where a directory knows them by a new login."""

from __future__ import annotations

from roster_pipeline_tests.rosters import Directory, Provider, Story, school_of, story


def login(given: str, family: str, email: str = "s1@north.example") -> dict[str, str]:
    return {"email": email, "given_name": given, "family_name": family, "role": "student"}


OURS = login("Given-s1", "Family-s1")


def gone(logins: Directory, *others: Provider) -> tuple[Story, str]:
    """A tenant that s1 has left, and their login with them; and which person they were."""
    tenant = story(school_of("t1 t2 s1..s9"), *others, directories=[logins])
    before = tenant.night().check().person("s1")
    tenant.providers[0].gone("s1")
    logins.people.clear()
    tenant.night().check()
    return tenant, before


def back(tenant: Story, who: str, given: str = "Given-s1") -> str:
    """The person of a new student under the old address."""
    sis = tenant.providers[0]
    sis.users(who, given=given, family="Family-s1", email="s1@north.example").enrol("c1", who)
    return tenant.night().check().person(who)


def test_somebody_who_returns_with_a_new_login_and_a_new_id_keeps_the_identity():
    logins = Directory("logins", {"d1": OURS})
    tenant, before = gone(logins)
    logins.people["d2"] = OURS
    assert back(tenant, "s1-new") == before
    assert tenant.nights[-1].person("logins/d2") == before


def test_somebody_who_returns_with_a_login_that_they_did_not_have_before_keeps_the_identity():
    logins = Directory("logins", {})
    tenant, before = gone(logins)
    logins.people["d1"] = OURS
    assert back(tenant, "s1-new") == before


def test_a_login_that_passes_to_somebody_of_another_name_gives_no_old_identity():
    logins = Directory("logins", {"d1": OURS})
    tenant, before = gone(logins)
    logins.people["d2"] = login("Zoe", "Family-s1")
    assert back(tenant, "s10", given="Zoe") != before


def test_an_attach_only_link_to_somebody_who_is_gone_gives_a_new_login_no_identity():
    logins = Directory("logins", {"d1": OURS})
    # The portal still has them, and their address.
    tenant, before = gone(logins, school_of("s1", name="cl", merge={"attach_to_existing_users_only": True}))
    logins.people["d2"] = login("Zoe", "Family-s1")
    assert back(tenant, "s10", given="Zoe") != before


def test_of_two_people_who_are_joined_the_first_directory_gives_the_login():
    # `one` knows them by cl's address, `two` by that of sis, until both providers have the same.
    sis, portal = school_of("t1 t2 s1..s9"), school_of("s1", name="cl", share_classes=True)
    portal.users("s1", email="s1@portal.example")
    one = Directory("one", {"d1": login("Given-s1", "Family-s1", "s1@portal.example")})
    two = Directory("two", {"d2": OURS})
    tenant = story(sis, portal, directories=[one, two])
    assert not tenant.night().check().same("s1", "cl/s1")
    portal.users("s1", email="s1@north.example")
    night = tenant.night().check()
    assert night.same("s1", "cl/s1", "one/d1", "two/d2")
    assert night.who("s1")["email"] == "s1@portal.example"
    assert tenant.night(night.as_of.isoformat()).check().quiet


def test_two_who_were_removed_and_return_as_one_point_to_the_older_id():
    # They were two while the portal had no address of theirs; then nobody brought them, and the grace ended.
    sis, portal = school_of("t1 t2 s1..s9"), school_of("s1", name="cl", share_classes=True)
    portal.users("s1", email="")
    tenant = story(sis, portal)
    first = tenant.night("2025-10-15").check()
    (older, younger) = (first.person("s1"), first.person("cl/s1"))
    assert older != younger
    sis.gone("s1")
    portal.gone("s1")
    tenant.night("2025-10-16").check()
    assert {"s1", "cl/s1"} & tenant.night("2025-10-30").check().inactive == set()
    sis.users("s1").enrol("c1", "s1")
    portal.users("s1").enrol("c1", "s1")
    back = tenant.night("2025-10-31").check()
    assert (back.person("s1"), back.person("cl/s1")) == (older, older)
    into = back.published.people.set_index("person_id")["merged_into"]
    assert (into[older], into[younger]) == ("", older)
    assert tenant.night("2025-10-31").check().quiet


def test_of_two_who_are_gone_nobody_can_tell_which_one_returns():
    # They were two while the portal had another address of theirs, though the login was one for both.
    sis, portal = school_of("t1 t2 s1..s9"), school_of("s1", name="cl", share_classes=True)
    portal.users("s1", email="s1@portal.example")
    logins = Directory("logins", {"d1": login("Given-s1", "Family-s1", "s1@portal.example")})
    tenant = story(sis, portal, directories=[logins])
    first = tenant.night().check()
    assert not first.same("s1", "cl/s1")
    logins.people["d1"] = OURS
    tenant.night().check()
    sis.gone("s1")
    portal.gone("s1")
    logins.people.clear()
    tenant.night().check()
    sis.users("s1-new", given="Given-s1", family="Family-s1", email="s1@north.example").enrol("c1", "s1-new")
    night = tenant.night().check()
    assert night.person("s1-new") not in {first.person("s1"), first.person("cl/s1")}
    assert night.became["s1-new"][:2] == ("created", "several_gone")


def test_an_attach_only_provider_attaches_at_once_to_whom_a_weaker_provider_creates():
    sis, files = school_of("t1 t2 s1..s5"), school_of("s6", name="files")
    portal = school_of("s6", name="cl", merge={"attach_to_existing_users_only": True})
    tenant = story(sis, portal, files)
    night = tenant.night().check()
    assert night.same("cl/s6", "files/s6")
    assert tenant.night(night.as_of.isoformat()).check().quiet


def test_who_goes_counts_as_gone_at_once_for_a_link_that_only_attaches():
    sis = school_of("t1 t2 s1..s9")
    portal = school_of("s1", name="cl", merge={"attach_to_existing_users_only": True}, share_classes=True)
    tenant = story(sis, portal)
    assert tenant.night().check().members("cl/c1") == {"s1"}
    sis.gone("s1")
    night = tenant.night().check()
    assert night.outcome("cl/s1") == "unmatched by person_is_gone"
    assert tenant.night(night.as_of.isoformat()).check().quiet


def test_values_that_vanished_stay_when_the_sync_is_repeated():
    sis = school_of("t1 t2 s1..s200", merge={"check_names": None})
    for n in range(1, 101):
        sis.users(f"s{n}", phone=str(n))
    tenant = story(sis)
    tenant.night().check()
    for n in range(1, 7):  # 6 of 100 turn empty, and 30 new users bring one
        sis.users(f"s{n}", phone="")
    for n in range(201, 231):
        sis.users(f"s{n}", phone=str(n)).enrol("c1", f"s{n}")
    night = tenant.night().check()
    assert tenant.night(night.as_of.isoformat()).check().quiet
