"""Whoever returns gets the same id, also where a directory knows them by a new login."""

from __future__ import annotations

from roster_pipeline_tests.rosters import Directory, school_of, story


def login(given: str, family: str, email: str = "s1@north.example") -> dict[str, str]:
    return {"email": email, "given_name": given, "family_name": family, "role": "student"}


OURS = login("Given-s1", "Family-s1")


def test_somebody_who_returns_with_a_new_login_and_a_new_id_keeps_the_identity():
    sis = school_of("t1 t2 s1..s9")
    logins = Directory("logins", {"d1": OURS})
    tenant = story(sis, directories=[logins])
    before = tenant.night().check().person("s1")
    sis.gone("s1")
    logins.people.clear()
    tenant.night().check()
    sis.users("s1-new", given="Given-s1", family="Family-s1", email="s1@north.example").enrol("c1", "s1-new")
    logins.people["d2"] = OURS
    back = tenant.night().check()
    assert (back.person("s1-new"), back.person("logins/d2")) == (before, before)


def test_somebody_who_returns_with_a_login_that_they_did_not_have_before_keeps_the_identity():
    sis = school_of("t1 t2 s1..s9")
    logins = Directory("logins", {})
    tenant = story(sis, directories=[logins])
    before = tenant.night().check().person("s1")
    sis.gone("s1")
    tenant.night().check()
    sis.users("s1-new", given="Given-s1", family="Family-s1", email="s1@north.example").enrol("c1", "s1-new")
    logins.people["d1"] = OURS
    assert tenant.night().check().person("s1-new") == before


def test_a_login_that_passes_to_somebody_of_another_name_gives_no_old_identity():
    sis = school_of("t1 t2 s1..s9")
    logins = Directory("logins", {"d1": OURS})
    tenant = story(sis, directories=[logins])
    before = tenant.night().check().person("s1")
    sis.gone("s1")
    logins.people.clear()
    tenant.night().check()
    sis.users("s10", given="Zoe", family="Family-s1", email="s1@north.example").enrol("c1", "s10")
    logins.people["d2"] = login("Zoe", "Family-s1")
    assert tenant.night().check().person("s10") != before


def test_an_attach_only_link_to_somebody_who_is_gone_gives_a_new_login_no_identity():
    sis = school_of("t1 t2 s1..s9")
    portal = school_of("s1", name="cl", merge={"attach_to_existing_users_only": True})
    logins = Directory("logins", {"d1": OURS})
    tenant = story(sis, portal, directories=[logins])
    before = tenant.night().check().person("s1")
    sis.gone("s1")  # the portal still has them, and their address
    logins.people.clear()
    tenant.night().check()
    sis.users("s10", given="Zoe", family="Family-s1", email="s1@north.example").enrol("c1", "s10")
    logins.people["d2"] = login("Zoe", "Family-s1")
    assert tenant.night().check().person("s10") != before
