"""Schools that an undo set back: what waits, what is no change of a source, and what ends the waiting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest

from roster_pipeline.rosters import undone
from roster_pipeline.rosters.holds import REMEMBERED
from roster_pipeline_tests.rosters import Directory, Provider, Story, begun, provider, school_of, story

PEOPLE = "t1 t2 s1..s6"


def two_schools() -> Provider:
    """Each with a teacher, six students and two classes; the head belongs to none."""
    sis = school_of("t1 s1..s6").org("south").teaches("c2", "t1 s1..s6")
    sis.users("t2 s7..s12", orgs="south")
    for name in ("c3", "c4"):
        sis.teaches(name, "t2 s7..s12", school="south")
    return sis.users("d1", role="administrator", orgs="")


def set_back(tenant: Story, *schools: str, nights: int = 1) -> None:
    """Publishes what was published before the last nights once more; these schools ("" for none) wait."""
    then, now = tenant.nights[-nights].before, tenant.published
    every = [*now.schools.to_dict("records"), *then.schools.to_dict("records")]
    ids = {row["name"]: row["school_id"] for row in every}
    where = [ids[name] if name else "" for name in schools]
    memory = {name: getattr(now, name) for name in ("school_sources", "enrolled", "left")}
    given = tenant.given()
    found = undone.fingerprints(given.sources, now, where)
    holds = pd.DataFrame(
        [("schools", one, "", "1", "Set back.", found[one], "waiting", "") for one in where],
        columns=REMEMBERED, dtype="str",
    )  # fmt: skip
    tenant.published = replace(then, **memory, holds=holds)


def busy(tenant: Story) -> None:
    """A night on which both schools and the head change."""
    sis = tenant.providers[0]
    sis.users("s1 s7 d1", givenName="Other").gone("s2", "s8").users("s13").users("s14", orgs="south")
    sis.enrol("c1", "s13").enrol("c3", "s14").teaches("c2", title="Other")
    tenant.night()


def test_what_was_set_back_stays_and_all_else_goes_on():
    tenant = begun(two_schools())
    busy(tenant)
    set_back(tenant, "North School")
    night = tenant.night()
    assert (night.status, night.codes) == ("partial", ["RS-SAFE-20"])
    assert night.schools == {"North School": "kept", "South School": "published"}
    assert {"s2", "s8"} - night.inactive == {"s2"}
    assert (night.has("s13"), night.has("s14")) == (False, True)
    assert night.who("s1")["given_name"] != "Other" == night.who("s7")["given_name"]
    assert tenant.night().quiet


def test_a_school_that_the_undo_removed_is_told_by_its_name():
    tenant = begun(school_of("t1 s1..s6"))
    tenant.providers[0].org("south").users("t2 s7..s12", orgs="south")
    tenant.providers[0].teaches("c3", "t2 s7..s12", school="south")
    tenant.night()
    set_back(tenant, "South School")
    night = tenant.night()
    assert "South School" not in {row["name"] for row in night.table("schools")}
    assert [(one["code"], one["school"]) for one in night.report["issues"]] == [
        ("RS-SAFE-20", "South School")
    ]


def test_when_everybody_waits_nothing_changes_and_nothing_has_failed():
    tenant = begun(two_schools())
    busy(tenant)
    set_back(tenant, "North School", "South School", "")
    night = tenant.night()
    assert (night.status, night.quiet) == ("partial", True)
    assert night.codes == ["RS-SAFE-20"] * 3


@pytest.mark.parametrize(
    "change, released",
    [
        (lambda sis: sis.users("s3", givenName="New"), True),
        (lambda sis: sis.org("north", "Another name"), True),
        (lambda sis: sis.session("year", "2025-08-18..2026-06-20"), True),
        (lambda sis: sis.enrol("c1", "s4", primary="true"), True),
        (lambda sis: sis.gone("c1"), True),
        (lambda sis: sis.users("s3", dateLastModified="2025-10-16T00:00:00Z"), False),
        (lambda sis: sis.users("s99", status="tobedeleted"), False),
        (lambda sis: sis.users("s9", givenName="New"), False),
        (lambda sis: sis.course("maths", title="More maths"), False),
        (lambda sis: sis.users("s3", givenName="New").state("unproven", "users"), False),
        (lambda sis: sis.users("s3", givenName="New").state("stale", "classes"), False),
        (lambda sis: sis.state("failed", "enrollments"), False),
    ],
    ids=[
        "a user", "the org", "a session of its classes", "an enrolment", "a class", "only the date",
        "a deleted row", "another school", "a course", "an unproven extract", "a stale one",
        "an unreadable one",
    ],
)  # fmt: skip
def test_only_other_rows_of_the_school_in_a_proven_extract_end_the_waiting(
    change: Callable[[Provider], object], released: bool
):
    tenant = begun(two_schools())
    busy(tenant)
    set_back(tenant, "North School")
    change(tenant.providers[0])
    night = tenant.night()
    assert ("RS-SAFE-20" in night.codes) == (not released)
    assert ("schools" in set(tenant.published.holds["kind"])) != released


def test_the_order_of_rows_is_no_change():
    tenant = begun(two_schools())
    busy(tenant)
    set_back(tenant, "North School")
    tenant.shuffle = list.reverse
    assert tenant.night().codes == ["RS-SAFE-20"]


@pytest.mark.parametrize("read", ["ok", "unproven"])
def test_an_approval_ends_it_once_and_expires(read: str):
    tenant = begun(two_schools())
    busy(tenant)
    set_back(tenant, "North School", "")
    tenant.decide("approved", expires_on="2025-01-01")
    assert tenant.night().codes == ["RS-SAFE-20"] * 2
    tenant.decide("approved")
    tenant.providers[0].state(read, "users")  # type: ignore[arg-type]
    night = tenant.night()
    assert "RS-SAFE-20" not in night.codes
    assert night.who("s1")["given_name"] == "Other" == night.who("d1")["given_name"]
    assert tenant.published.holds.empty


def test_a_rejection_stays_until_the_source_changes():
    tenant = begun(two_schools())
    busy(tenant)
    set_back(tenant, "North School")
    tenant.decide("rejected")
    night = tenant.night()
    assert "as was decided" in next(one.message for one in night.issues if one.code == "RS-SAFE-20")
    tenant.providers[0].users("s3", givenName="New")
    assert tenant.night().status == "successful"


def test_people_who_were_parted_are_not_joined_again_while_they_wait():
    sis = school_of(PEOPLE, merge={"priority": 100})
    cl = provider("cl", "s1", merge={"priority": 50}, sync_classroom_data=False)
    cl.users("s1", email="other@x", givenName="Ada", familyName="Archer")
    sis.users("s1", email="ada@x", givenName="Ada", familyName="Archer")
    tenant = begun(sis, cl)
    assert not tenant.nights[-1].same("s1", "cl/s1")
    tenant.providers[1].users("s1", email="ada@x")
    assert tenant.night().same("s1", "cl/s1")
    set_back(tenant, "North School")
    night = tenant.night()
    assert (night.same("s1", "cl/s1"), night.quiet) == (False, True)
    tenant.decide("approved")
    assert tenant.night().same("s1", "cl/s1")


def test_what_a_retired_provider_brought_waits_when_that_is_undone():
    sis = school_of("t1 s1..s6", merge={"priority": 100})
    cl = provider("cl", "", merge={"priority": 50}).org("south").users("t9 s9..s12", orgs="south")
    cl.teaches("c9", "t9 s9..s12", school="south")
    tenant = begun(sis, cl)
    tenant.retire(tenant.providers[1])
    tenant.night()
    set_back(tenant, "South School")
    night = tenant.night()
    assert (night.status, night.quiet) == ("partial", True)
    assert night.schools["South School"] == "kept"
    tenant.decide("approved")
    assert "c9" not in {name.partition("/")[2] or name for name in tenant.night().classes}


def test_what_an_exclusion_took_out_waits_when_that_is_undone():
    tenant = begun(two_schools())
    tenant.providers[0].option(exclude_schools=["South School"], excluded_rosters="remove")
    tenant.night()
    set_back(tenant, "South School")
    night = tenant.night()
    assert (night.status, night.quiet) == ("partial", True)
    tenant.decide("approved")
    assert tenant.night().classes == {"c1", "c2"}


def test_an_excluded_school_that_is_left_as_it_is_is_excluded_and_waits_on():
    tenant = begun(two_schools())
    busy(tenant)
    set_back(tenant, "South School")
    tenant.providers[0].option(exclude_schools=["South School"])
    night = tenant.night()
    assert (night.status, night.schools["South School"]) == ("successful", "excluded")
    tenant.providers[0].option(exclude_schools=[])
    assert tenant.night().codes == ["RS-SAFE-20"]


def test_a_directory_changes_nobody_who_waits():
    logins = Directory("logins", {})
    tenant = story(two_schools(), directories=[logins])
    tenant.night()
    email = tenant.nights[-1].who("s1")["email"]
    logins.people["l1"] = {"email": email, "given_name": "", "family_name": ""}
    tenant.night()
    logins.people["l1"] |= {"email": "new@login.example"}
    tenant.night()
    set_back(tenant, "North School", nights=2)
    night = tenant.night()
    assert (night.who("s1")["email"], night.quiet) == (email, True)
