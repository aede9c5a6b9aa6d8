"""What a first page tells: whom a sync would match, and what looks wrong."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pandas as pd
import pytest

from roster_pipeline.rosters.rehearsal import Known, Rehearsal, known_people, rehearse, remarks
from roster_pipeline.rosters.source import Published
from roster_pipeline.tenants.document import Merge
from roster_pipeline.tenants.document import Provider as Options
from roster_pipeline_tests.rosters import Provider

HERE, ELSEWHERE, LOGINS = 1, 2, 3
AS_OF = date(2025, 10, 15)


def options(**given: Any) -> Options:
    return Options(name="sis", kind="oneroster_csv", path="/nowhere", **given)


def published(*people: dict[str, Any]) -> Published:
    """People by their id; `links` are [provider_id, source_id, e-mail as that source told it]."""
    sources = [
        {"provider_id": who, "source_id": source, "person_id": person["id"],
         "removed": person.get("unlinked", ""), "seen": json.dumps({"email": email})}
        for person in people
        for who, source, email in person.get("links", [])
    ]  # fmt: skip
    rows = [
        {"person_id": person["id"], "given_name": f"Given-{person['id']}",
         "family_name": f"Family-{person['id']}", "email": f"{person['id']}@north.example",
         "roles": '[{"role": "student", "school_id": "north"}]', "removed": "", "inactive_since": "",
         "merged_into": "", **{name: value for name, value in person.items() if name != "links"}}
        for person in people
    ]  # fmt: skip
    empty = pd.DataFrame()
    return Published(
        empty,
        empty,
        empty,
        _frame(rows, ["person_id"]),
        _frame(sources, ["person_id"]),
        empty,
        empty,
        empty,
        empty,
        empty,
    )


def _frame(rows: list[dict[str, Any]], columns: list[str]) -> pd.DataFrame:
    return (
        pd.DataFrame(rows)
        if rows
        else pd.DataFrame(columns=[*columns, "removed", "inactive_since", "merged_into"])
    )


def directory(*people: tuple[str, str]) -> pd.DataFrame:
    rows = [
        {"id": who, "email": email, "given_name": "", "family_name": "", "role": ""} for who, email in people
    ]
    return pd.DataFrame(rows)


def known(*people: dict[str, Any], logins: pd.DataFrame | None = None) -> Known:
    return known_people(published(*people), {} if logins is None else {LOGINS: logins})


def counted(found: Rehearsal, *names: str) -> tuple[int, ...]:
    assert found.users == found.by_link + found.by_key + found.ambiguous + found.new
    return tuple(getattr(found, name) for name in names)


def page(provider: Provider) -> pd.DataFrame:
    return provider.frames()["users"]


def test_users_are_known_by_their_link_then_by_the_key_and_else_new() -> None:
    people = known(
        {"id": "s1", "links": [(HERE, "s1", "s1@north.example")]},
        {"id": "s2", "links": [(ELSEWHERE, "x", "")]},
    )
    found = rehearse(page(Provider().users("s1..s3")), HERE, options(), people)
    assert counted(found, "users", "by_link", "by_key", "new", "near_misses") == (3, 1, 1, 1, 0)


def test_links_and_people_that_are_gone_match_nobody() -> None:
    people = known(
        {"id": "s1", "removed": "true", "links": [(HERE, "s1", "")]},
        {"id": "s2", "inactive_since": "2025-10-14"},
        {"id": "s3", "unlinked": "true", "links": [(HERE, "s3", "")], "email": ""},
    )
    assert counted(rehearse(page(Provider().users("s1..s3")), HERE, options(), people), "new") == (3,)


def test_letter_case_alone_is_a_near_miss_and_no_match() -> None:
    people = known({"id": "s1", "email": "S1@North.example"}, {"id": "s2"})
    found = rehearse(page(Provider().users("s1..s3")), HERE, options(), people)
    assert counted(found, "by_key", "new", "near_misses") == (1, 2, 1)


def test_a_near_miss_to_somebody_of_the_same_provider_is_none() -> None:
    people = known({"id": "s9", "email": "S1@north.example", "links": [(HERE, "s9", "")]})
    assert counted(rehearse(page(Provider().users("s1")), HERE, options(), people), "new", "near_misses") == (
        1,
        0,
    )


def test_a_key_that_users_share_and_a_missing_one_are_no_key() -> None:
    users = (
        Provider()
        .users("s1 s2", email="s1@north.example")
        .users("s3", email="")
        .users("s4", email="****@x.org")
    )
    found = rehearse(page(users), HERE, options(), known({"id": "s1"}))
    assert counted(found, "by_key", "new", "without_key") == (0, 4, 4)


def test_several_people_with_one_key_are_ambiguous() -> None:
    people = known({"id": "s1"}, {"id": "s7", "email": "s1@north.example"})
    assert counted(rehearse(page(Provider().users("s1")), HERE, options(), people), "ambiguous") == (1,)


@pytest.mark.parametrize(
    "user, ambiguous",
    [({}, 0), ({"family": "Somebody"}, 1), ({"role": "teacher"}, 1)],
    ids=["the same", "another family name", "an adult"],
)
def test_without_the_domain_names_and_roles_must_not_contradict(user: dict[str, str], ambiguous: int) -> None:
    merge = Merge(key="email_without_domain")
    people = known({"id": "s1", "email": "s1@elsewhere.example"})
    found = rehearse(page(Provider().users("s1", **user)), HERE, options(merge=merge), people)
    assert counted(found, "by_key", "ambiguous") == (1 - ambiguous, ambiguous)


def test_a_source_s_own_address_of_a_person_counts_too() -> None:
    people = known({"id": "p", "email": "p@north.example", "links": [(ELSEWHERE, "x", "s1@north.example")]})
    assert counted(rehearse(page(Provider().users("s1")), HERE, options(), people), "by_key") == (1,)


def test_people_of_a_directory_are_known_once() -> None:
    people = known(
        {"id": "s1"},
        {"id": "s4", "email": "old@north.example", "links": [(LOGINS, "l4", "old@north.example")]},
        logins=directory(("l1", "s1@north.example"), ("l2", "s2@north.example"), ("l4", "s4@north.example")),
    )  # fmt: skip
    assert len(people) == 3
    found = rehearse(page(Provider().users("s1..s4")), HERE, options(), people)
    assert counted(found, "by_key", "ambiguous", "new") == (3, 0, 1)


def test_people_on_the_page_of_one_provider_are_known_to_the_next() -> None:
    people = known({"id": "s1"})
    first = page(Provider().users("s1 s2 g1").users("s3", family="*****").users("s4", email=""))
    assert counted(rehearse(first, ELSEWHERE, options(), people), "by_key", "new") == (1, 3)
    assert len(people) == 4
    users = Provider().users("s1..s5").users("s6", email="s2@north.example")
    found = rehearse(page(users), HERE, options(), people)
    assert counted(found, "by_key", "new", "without_key") == (2, 4, 2)  # s2's address is borne by two


def test_whom_a_provider_would_not_create_is_not_known_to_the_next() -> None:
    people = known()
    attach = options(merge=Merge(attach_to_existing_users_only=True))
    assert counted(rehearse(page(Provider().users("s1")), ELSEWHERE, attach, people), "new") == (1,)
    assert counted(rehearse(page(Provider().users("s1")), HERE, options(), people), "new") == (1,)


def test_what_the_options_or_the_row_itself_take_out_is_counted_apart() -> None:
    users = Provider().users("s1 g1 p1").users("s2", status="tobedeleted")
    users.again("users", "s1")
    found = rehearse(page(users), HERE, options(), known())
    assert counted(found, "users", "left_out") == (1, 4)
    wanted = options(sync_parent_data=True, relationship_type="guardian")
    assert counted(rehearse(page(users), HERE, wanted, known()), "users", "left_out") == (2, 3)


def test_an_empty_page_is_nobody() -> None:
    assert rehearse(page(Provider()), HERE, options(), known()) == Rehearsal()


# ------------------------------------------------------------------------------------------ remarks


def codes(provider: Provider, *, whole: bool = True, as_of: date = AS_OF, **given: Any) -> list[str]:
    frames = provider.frames()
    told = remarks(
        frames,
        whole=frozenset(frames) if whole else frozenset(),
        options=options(**given),
        as_of=as_of,
        between_sessions_days=120,
    )
    return [issue.code for issue in told]


def school() -> Provider:
    return (
        Provider()
        .org("north")
        .session("year", "2025-08-18..2026-06-12")
        .users("t1 s1..s3")
        .teaches("c", "t1 s1..s3")
    )


def test_a_school_in_order_has_no_remarks() -> None:
    assert codes(school()) == []


@pytest.mark.parametrize(
    "changed, code",
    [
        (school().users("s1", sourcedId=""), "RS-ROW-01"),
        (school().users("s1", role="dance coach"), "RS-ROW-02"),
        (school().session("year", "soon..later"), "RS-ROW-03"),
        (school().session("year", "2026-06-12..2025-08-18"), "RS-ROW-04"),
        (school().users("s1 s2", email="family@north.example"), "RS-IDN-02"),
        (school().users("t1 s1..s3", given="***", family="***"), "RS-SAFE-09"),
        (Provider(), "RS-PRV-05"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_looks_wrong_has_its_code(changed: Provider, code: str) -> None:
    assert code in codes(changed)


def test_outdated_sessions_are_told_only_where_all_of_them_were_seen() -> None:
    assert codes(school(), as_of=date(2026, 10, 10)) == []
    assert codes(school(), as_of=date(2026, 10, 11)) == ["RS-SES-01"]
    assert codes(school(), as_of=date(2026, 10, 11), whole=False) == []


def test_missing_sessions_matter_to_whoever_wants_the_current_classes() -> None:
    assert codes(school().empty("academicSessions")) == []
    wanted: dict[str, Any] = {"respect_academic_sessions": True}
    assert codes(school().empty("academicSessions"), **wanted) == ["RS-SES-05", "RS-PRV-06"]
    assert codes(school().empty("academicSessions"), whole=False, **wanted) == []


def test_compatibility_mode_is_advised_where_no_class_has_a_session_and_only_current_ones_are_wanted() -> (
    None
):
    def taught(*, members: str = "t1 s1..s3", **fields: object) -> Provider:
        return school().course("maths", school_year="").teaches("c", members, **fields)

    wanted: dict[str, Any] = {"respect_academic_sessions": True}
    assert codes(taught(terms=[]), **wanted) == ["RS-PRV-06"]
    assert codes(taught(terms=["nowhere"]), **wanted) == ["RS-PRV-06"]
    assert codes(taught(terms=[])) == []
    assert codes(taught(terms=[]), compatibility_mode=True, **wanted) == []
    assert codes(taught(terms=["year"]), **wanted) == []
    assert codes(taught(terms=[], members="t1 s1[2025-09-01..]"), **wanted) == []
    assert codes(taught(terms=[]).course("maths", school_year="year"), **wanted) == []


def test_in_compatibility_mode_missing_sessions_are_told_only_where_the_rule_is_on() -> None:
    compatible: dict[str, Any] = {"compatibility_mode": True}
    assert codes(school().empty("academicSessions"), **compatible) == []
    assert codes(school().empty("academicSessions"), respect_academic_sessions=True, **compatible) == [
        "RS-SES-05"
    ]
