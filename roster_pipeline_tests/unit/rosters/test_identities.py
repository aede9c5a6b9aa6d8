"""Who is who: each piece of evidence, every refusal, joins, directories, attach-only and folding."""

from __future__ import annotations

import json
from typing import Any

import pytest

from roster_pipeline_tests.rosters import (
    Directory,
    Night,
    Provider,
    Story,
    begun,
    labels,
    provider,
    school_of,
    story,
)

# ------------------------------------------------------------------------------------------ one key
# A night of two providers in which each user of `cl` is a case of its own: fields of the user of `sis`
# (None: there is none), fields of that of `cl`, and the outcome. They have the case's name as e-mail.

A, B = {"given": "Ada", "family": "Archer"}, {"given": "Ben", "family": "Baker"}
EMAIL_CASES: dict[str, tuple[dict | None, dict, str]] = {
    "same-email": (A, A, "matched by key"),
    "same-email-other-names": (A, B, "matched by key"),
    "same-email-no-names": (A, {"given": "", "family": ""}, "matched by key"),
    "nobody-has-it": (None, A, "created by new"),
    "other-letter-case": (
        {**A, "email": "case@x.example"},
        {**A, "email": "Case@x.example"},
        "created by new",
    ),
    "other-domain": ({**A, "email": "dom@x.example"}, {**A, "email": "dom@y.example"}, "created by new"),
    "no-email-here": (A, {**A, "email": ""}, "created by new"),
    "no-email-there": ({**A, "email": ""}, A, "created by new"),
    "masked-email": ({**A, "email": "****@x.example"}, {**A, "email": "****@x.example"}, "created by new"),
    "student-and-teacher": ({**A, "role": "teacher"}, A, "matched by key"),
    "one-identifier-is-no-key": (
        {**A, "email": "", "identifier": "77"},
        {**A, "identifier": "77"},
        "created by new",
    ),
    "one-master-id-is-no-key": ({**A, "email": "", "master": "m1"}, {**A, "master": "m1"}, "created by new"),
}
LOCAL_CASES: dict[str, tuple[dict | None, dict, str]] = {
    "same-local-part": (A, {**A, "email": "same-local-part@y.example"}, "matched by key"),
    "same-address": (A, A, "matched by key"),
    "local-part-in-other-case": (A, {**A, "email": "LOCAL-part-in-other-case@y.example"}, "created by new"),
    "last-at-counts": (
        {**A, "email": "a@b@x.example"}, {**A, "email": "a@b@y.example"}, "matched by key",
    ),
    "not-the-first-at": ({**A, "email": "q@b@x.example"}, {**A, "email": "q@y.example"}, "created by new"),
    "other-given-name": (A, {"given": "Zoe", "family": "Archer"}, "matched by key"),
    "other-family-name": (A, {"given": "Ada", "family": "Baker"}, "unmatched by other_family_name"),
    "family-name-unknown-here": (A, {"given": "Ada", "family": ""}, "matched by key"),
    "family-name-unknown-there": ({"given": "Ada", "family": ""}, A, "matched by key"),
    "student-and-teacher": ({**A, "role": "teacher"}, A, "unmatched by student_and_adult"),
    "two-adults": ({**A, "role": "teacher"}, {**A, "role": "administrator"}, "matched by key"),
    "teacher-and-student-there": (
        {**A, "roles": [["teacher", "north", "", ""], ["student", "north", "", ""]]}, A, "matched by key",
    ),
    "nobody-has-it": (None, A, "created by new"),
}  # fmt: skip


def pairs(cases: dict[str, tuple[dict | None, dict, str]], **options: Any) -> Night:
    sis, cl = provider("sis", "t1"), provider("cl", "", **options)
    for name, (one, other, _) in cases.items():
        for made, fields in ((sis, one), (cl, other)):
            if fields is not None:
                made.users(name, **{"role": "student", "email": f"{name}@x.example", **fields})
    # People of one name would be masked data otherwise.
    return story(sis, cl, keeps_back=()).night().check()


@pytest.fixture(scope="module")
def by_email() -> Night:
    return pairs(EMAIL_CASES)


@pytest.fixture(scope="module")
def attaching() -> Night:
    return pairs(EMAIL_CASES, merge={"attach_to_existing_users_only": True})


@pytest.fixture(scope="module")
def by_local_part() -> Night:
    return pairs(LOCAL_CASES, merge={"key": "email_without_domain"})


@pytest.fixture(scope="module")
def without_names() -> Night:
    return pairs(LOCAL_CASES, merge={"key": "email_without_domain", "check_names": False})


@pytest.mark.parametrize("name", EMAIL_CASES)
def test_by_email(name: str, by_email: Night):
    assert by_email.outcome(f"cl/{name}") == EMAIL_CASES[name][2]
    if EMAIL_CASES[name][2] == "matched by key":
        assert by_email.same(name, f"cl/{name}")


@pytest.mark.parametrize("name", EMAIL_CASES)
def test_by_email_and_only_to_existing_users(name: str, attaching: Night):
    told, expected = attaching.outcome(f"cl/{name}"), EMAIL_CASES[name][2]
    if expected == "matched by key":
        assert told == expected
    else:
        missing = name in ("no-email-here", "masked-email")
        assert told == f"unmatched by {'no_key' if missing else 'nobody_matches'}"
        assert not attaching.has(f"cl/{name}")


@pytest.mark.parametrize("name", LOCAL_CASES)
def test_by_email_without_the_domain(name: str, by_local_part: Night):
    assert by_local_part.outcome(f"cl/{name}") == LOCAL_CASES[name][2]
    assert by_local_part.has(f"cl/{name}") is not LOCAL_CASES[name][2].startswith("unmatched")


@pytest.mark.parametrize("name", LOCAL_CASES)
def test_by_email_without_the_domain_and_without_names(name: str, without_names: Night):
    expected = LOCAL_CASES[name][2].replace("unmatched by other_family_name", "matched by key")
    assert without_names.outcome(f"cl/{name}") == expected


def test_names_are_checked_with_whole_addresses_where_the_option_says_so():
    told = pairs(EMAIL_CASES, merge={"check_names": True})
    assert told.outcome("cl/same-email-other-names") == "unmatched by other_family_name"
    assert told.outcome("cl/same-email") == "matched by key"
    assert told.outcome("cl/same-email-no-names") == "matched by key"


def test_every_provider_person_has_one_outcome(by_email: Night):
    assert by_email.told("sis")["outcomes"] == {"matched": 0, "created": 12, "unmatched": {}}
    matched = sum(expected == "matched by key" for _, _, expected in EMAIL_CASES.values())
    assert by_email.told("cl")["outcomes"] == {"matched": matched, "created": 12 - matched, "unmatched": {}}


# ------------------------------------------------------------------------------------------ shared keys


def shared(**options: Any) -> Night:
    sis = provider("sis", "s1 s2 s3").users("s1 s2", email="home@x.example")
    sis.users("s4 s5", email="kids@x.example", given="Kid", family="Kin")
    cl = provider("cl", "s1..s3", **options)
    cl.users("s1", email="home@x.example").users("s8 s9", email="s3@north.example").users(
        "s3", email="kids@x.example"
    )
    return story(sis, cl).night().check()


def test_an_email_of_two_rows_is_no_key_and_of_two_people_ambiguous():
    told = shared()
    assert told.outcome("cl/s1") == "unmatched by ambiguous"
    assert told.outcome("cl/s3") == "unmatched by ambiguous"
    assert told.outcome("cl/s8") == told.outcome("cl/s9") == "created by new"
    assert len({told.person(who) for who in ("s1", "s2", "s3", "s4", "s5", "cl/s8", "cl/s9")}) == 7
    assert told.status == "successful"
    assert {"RS-IDN-01", "RS-IDN-02"} <= set(told.codes)


def test_attaching_only_an_email_of_two_rows_attaches_neither():
    told = shared(merge={"attach_to_existing_users_only": True})
    assert told.outcome("cl/s8") == told.outcome("cl/s9") == "unmatched by shared_key"
    assert told.outcome("cl/s2") == "unmatched by nobody_matches"  # sis/s2 has another e-mail here


def test_a_local_part_that_two_rows_share_in_two_domains_is_no_key():
    cl = provider("cl", "", merge={"key": "email_without_domain"}).users("s1", family="Family-s1")
    cl.users("s9", email="s1@other.example", family="Family-s1")
    told = story(provider("sis", "s1"), cl).night()
    assert told.outcome("cl/s1") == told.outcome("cl/s9") == "created by new"


# ------------------------------------------------------------------------------------------ folding


def _folds() -> dict[str, tuple[dict, dict, bool]]:
    """Name → fields of two rows, and whether they are one person."""

    def ids(number: int, **other: Any) -> tuple[dict, dict]:
        return {**A, "identifier": str(number)}, {**A, "identifier": str(number), **other}

    def user_ids(kind: str, value: str, names: dict = A, also: tuple = ()) -> tuple[dict, dict]:
        one, other = ["LDAP", value], [kind, value]
        return {**A, "user_ids": [one]}, {**names, "user_ids": [*also, other]}

    nobody = {"given": "", "family": "", "identifier": "1004"}
    return {
        "one-master-id": ({**A, "master": "m1"}, {**B, "master": "m1"}, True),
        "one-identifier-and-names": (*ids(1001), True),
        "one-identifier-other-given-name": (*ids(1002, given="Zoe"), False),
        "one-identifier-other-family-name": (*ids(1003, family="Zed"), False),
        "one-identifier-without-names": (nobody, nobody, False),
        "one-identifier-like-an-email": (dict(A, identifier="a@x"), dict(A, identifier="a@x"), False),
        "one-user-id-of-one-type": (*user_ids("LDAP", "u1", also=(["SIS", "q"],)), True),
        "one-user-id-of-two-types": (*user_ids("SIS", "u2"), False),
        "one-user-id-other-names": (*user_ids("LDAP", "u3", B), False),
        "one-user-id-like-an-email": (*user_ids("LDAP", "u@x.example"), False),
        "one-email-and-names": ({**A, "email": "same@x.example"}, {**A, "email": "same@x.example"}, False),
        "one-username": ({**A, "username": "ada"}, {**A, "username": "ada"}, False),
        "nothing-in-common": (A, B, False),
    }


FOLDS = _folds()


@pytest.fixture(scope="module")
def folded() -> Night:
    sis = provider("sis", "t1")
    for name, (one, other, _) in FOLDS.items():
        sis.users(f"{name}-1", role="student", **one).users(f"{name}-2", role="student", **other)
    return story(sis, keeps_back=()).night().check()


@pytest.mark.parametrize("name", FOLDS)
def test_two_rows_of_one_provider_with(name: str, folded: Night):
    assert folded.same(f"{name}-1", f"{name}-2") is FOLDS[name][2]


def test_rows_that_are_one_person_are_counted_once(folded: Night):
    folds = sum(same for _, _, same in FOLDS.values())
    assert folded.told()["outcomes"]["created"] == 2 * len(FOLDS) - folds + 1


def test_rows_fold_through_one_another():
    sis = provider("sis").users("s1", master="m1", identifier="7", **A)
    sis.users("s2", master="m2", identifier="7", **A).users("s3", master="m2", **B)
    assert story(sis).night().same("s1", "s2", "s3")


def test_rows_that_fold_later_become_one_person_with_the_older_id():
    sis = provider("sis", "t1").users("s1", **A)
    told = story(sis)
    first = told.night()
    sis.users("s2", **A)
    told.night()
    sis.users("s1 s2", master="m1")
    third = told.night().check()
    assert third.same("s1", "s2")
    assert third.person("s1") == first.person("s1")
    assert third.changes("people")[2] == 1


# ------------------------------------------------------------------------------------------ links


def two_nights(
    change, sis: Provider | None = None, *others: Provider, **settings: Any
) -> tuple[Night, Night]:
    """A night, a change of the rows, and the next night."""
    sis = sis or provider("sis", "t1 s1..s6").users("s6", identifier="1006")
    told = begun(sis, *others, **settings)
    change(*told.providers)
    return told.nights[0], told.night().check()


Z = {"given": "Zoe", "family": "Zed", "identifier": "z{0}", "email": "z{0}@x.example"}
REUSED: dict[str, tuple[dict, bool]] = {
    "all-four": (Z, True),
    "not-the-given-name": ({**Z, "given": None}, False),
    "not-the-family-name": ({**Z, "family": None}, False),
    "not-the-identifier": ({**Z, "identifier": None}, False),
    "not-the-email": ({**Z, "email": None}, False),
    "the-email-only-to-nothing": ({**Z, "email": ""}, False),
    "the-identifier-only-to-nothing": ({**Z, "identifier": ""}, False),
    "other-fields": ({"username": "zoe", "phone": "1", "grades": ["10"]}, False),
}


@pytest.fixture(scope="module")
def reused() -> tuple[Night, Night]:
    sis = provider("sis", "t1..t30")
    for name in REUSED:
        sis.users(name, role="student", identifier=f"id-{name}")
    told = story(sis)
    first = told.night()
    for place, (name, (changed, _)) in enumerate(REUSED.items()):
        fields = {key: value for key, value in changed.items() if value is not None}
        sis.users(name, **{k: v.format(place) if isinstance(v, str) else v for k, v in fields.items()})
    return first, told.night().check()


@pytest.mark.parametrize("name", REUSED)
def test_an_id_is_reused_if_given_name_family_name_identifier_and_email_all_change(
    name: str, reused: tuple[Night, Night]
):
    first, second = reused
    is_new = REUSED[name][1]
    assert (second.person(name) != first.person(name)) is is_new
    assert second.outcome(name) == ("created by new" if is_new else "matched by link")


def test_the_earlier_person_of_a_reused_id_counts_as_gone(reused: tuple[Night, Night]):
    first, second = reused
    inactive = [row["person_id"] for row in second.table("people") if row["inactive_since"]]
    assert inactive == [first.person("all-four")]
    assert second.count_of("RS-IDN-04") == 1


def test_a_changed_email_never_moves_a_link():
    first, second = two_nights(
        lambda sis, cl: cl.users("s1", email="s2@north.example"), None, provider("cl", "s1")
    )
    assert second.person("cl/s1") == first.person("s1")
    assert "RS-IDN-03" in second.codes
    assert second.outcome("cl/s1") == "matched by link"


def test_a_changed_email_that_points_nowhere_is_no_issue():
    _, second = two_nights(lambda sis: sis.users("s1", email="new@x.example"))
    assert "RS-IDN-03" not in second.codes
    assert second.who("s1")["email"] == "new@x.example"


# ------------------------------------------------------------------------------------------ returning


RETURNING: dict[str, tuple[dict[str, str], bool]] = {
    "the-email-and-both-names": ({}, True),
    "the-email-and-the-family-name": ({"given": "Zoe"}, False),
    "the-email-and-the-given-name": ({"family": "Zed"}, False),
    "both-names": ({"email": "new@x.example"}, False),
    "the-email-alone": ({"given": "", "family": ""}, False),
    "another-letter-case": ({"email": "ANOTHER-letter-case@north.example"}, False),
}


@pytest.fixture(scope="module")
def returning() -> tuple[Night, Night]:
    sis = provider("sis", "t1..t30")
    for name in RETURNING:
        sis.users(name, role="student")
    told = story(sis)
    first = told.night()
    for name, (fields, _) in RETURNING.items():
        sis.gone(name)
        same = {"email": f"{name}@north.example", "given": f"Given-{name}", "family": f"Family-{name}"}
        sis.users(f"{name}-2", role="student", **{**same, **fields})
    return first, told.night().check()


@pytest.mark.parametrize("name", RETURNING)
def test_somebody_gone_tonight_returns_under_a_new_id_by(name: str, returning: tuple[Night, Night]):
    first, second = returning
    returns = RETURNING[name][1]
    assert (second.person(f"{name}-2") == first.person(name)) is returns
    assert second.outcome(f"{name}-2") == ("matched by returned" if returns else "created by new")


def test_only_those_who_did_not_return_are_inactive(returning: tuple[Night, Night]):
    assert len(returning[1].inactive) == len(RETURNING) - 1


def test_somebody_removed_long_ago_returns_with_the_same_id():
    sis = provider("sis", "t1 s1..s6")
    told = story(sis)
    first = told.night()
    sis.gone("s6")
    told.night()
    assert told.night("2025-11-14").check().changes("people") == (0, 0, 1)
    sis.users("s60", email="s6@north.example", given="Given-s6", family="Family-s6")
    last = told.night("2025-11-15").check()
    assert last.person("s60") == first.person("s6")
    assert last.people >= labels("s1..s5")


def test_two_gone_people_of_one_email_and_name_are_ambiguous_and_neither_returns():
    same = {"email": "twin@x.example", "given": "Ada", "family": "Archer"}
    sis = provider("sis", "t1 s1..s9").users("s8 s9", **same)
    first, second = two_nights(lambda sis: sis.gone("s8 s9").users("s90", **same), sis)
    assert second.person("s90") not in (first.person("s8"), first.person("s9"))
    assert second.outcome("s90") == "created by new"


# ------------------------------------------------------------------------------------------ attach-only


def test_an_attach_only_link_keeps_nobody_alive():
    cl = provider("cl", "s1 s6", merge={"attach_to_existing_users_only": True})
    first, second = two_nights(lambda sis, cl: sis.gone("s6"), None, cl)
    assert first.same("s6", "cl/s6")
    assert second.people == labels("t1 s1..s5")
    assert len(second.inactive) == 1


def test_attaching_only_nobody_returns_by_key():
    cl = provider("cl", "s1", merge={"attach_to_existing_users_only": True})
    _, second = two_nights(lambda sis, cl: (sis.gone("s6"), cl.users("s6")), None, cl)
    assert second.outcome("cl/s6") == "unmatched by nobody_matches"


def test_another_provider_that_has_a_person_keeps_them_alive():
    first, second = two_nights(lambda sis, cl: sis.gone("s6"), None, provider("cl", "s1 s6"))
    assert second.inactive == set()
    assert second.person("cl/s6") == first.person("s6")


# ---------------------------------------------------------------------------------------- stronger and weaker


def test_no_weaker_provider_creates_anybody_while_a_stronger_one_was_never_complete():
    sis, cl = provider("sis", "t1 s1").state("unproven", "users"), provider("cl", "s1 s9")
    told = story(sis, cl)
    first = told.night().check()
    assert first.outcome("cl/s1") == "matched by key"
    assert first.outcome("cl/s9") == "unmatched by stronger_never_complete"
    assert "RS-IDN-06" in first.codes
    sis.state("ok")
    assert told.night().check().outcome("cl/s9") == "created by new"
    sis.state("unproven", "users")
    cl.users("s10")
    assert told.night().outcome("cl/s10") == "created by new"  # once complete is enough


def test_the_strongest_value_of_each_field_wins_and_roles_are_the_union():
    sis = provider("sis", "t1", merge={"priority": 10}).users(
        "t1", given="Ada", phone="", sms="1", middle="M"
    )
    cl = provider("cl", "", merge={"priority": 90}).users(
        "a1", email="t1@north.example", given="Adah", phone="2", sms="", middle="***"
    )
    told = story(sis, cl).night()
    row = told.who("t1")
    assert (row["given_name"], row["phone"], row["sms"], row["middle_name"]) == ("Adah", "2", "1", "M")
    assert told.roles("t1") == ["site_administrator at cl/north", "teacher at cl/north"]


# ------------------------------------------------------------------------------------------ joins


def test_two_people_who_turn_out_to_be_one_get_the_older_id():
    sis, cl = school_of("t1 s1 s2 s3"), provider("cl", "s2").users("s9", email="old@x.example")
    cl.users("s9", given="Given-s1", family="Family-s1")
    told = story(sis, cl)
    first = told.night()
    assert not first.same("s1", "cl/s9")
    cl.users("s9", email="s1@north.example")
    second = told.night().check()
    assert second.same("s1", "cl/s9")
    assert second.person("cl/s9") == first.person("s1")
    assert second.status == "successful"
    assert "RS-IDN-03" in second.codes
    assert second.found.roster.merged == {first.person("cl/s9"): first.person("s1")}
    merged = second.published.people.set_index("person_id").loc[first.person("cl/s9")]
    assert (merged["removed"], merged["merged_into"]) == ("true", first.person("s1"))
    assert told.night().check().quiet


@pytest.mark.parametrize(
    "fields",
    [{"given": "Zoe"}, {"family": "Zed"}, {"given": "", "family": ""}],
    ids=["given", "family", "none"],
)
def test_two_people_of_one_email_and_other_names_both_stay(fields: dict[str, str]):
    cl = provider("cl", "s2").users(
        "s9", **{"given": "Given-s1", "family": "Family-s1", "email": "o@x.example", **fields}
    )
    first, second = two_nights(lambda sis, cl: cl.users("s9", email="s1@north.example"), None, cl)
    assert not second.same("s1", "cl/s9")
    assert (second.person("s1"), second.person("cl/s9")) == (first.person("s1"), first.person("cl/s9"))
    assert "RS-IDN-03" in second.codes


def test_two_people_of_one_provider_are_never_joined_through_another():
    sis, cl = provider("sis", "t1 s1"), provider("cl", "s1").users("s9", given="Given-s1", family="Family-s1")
    _, second = two_nights(lambda sis, cl: cl.users("s9", email="s1@north.example"), sis, cl)
    assert second.same("s1", "cl/s1")
    assert not second.same("s1", "cl/s9")


# ------------------------------------------------------------------------------------------ vanished values


# Field → how many users have a value, how many of them turn empty, whether the old ones stay.
EMPTIED: dict[str, dict[str, tuple[str, int, int, bool]]] = {
    "sis": {
        "the-only-one": ("phone", 1, 1, False),
        "both": ("sms", 2, 2, True),
        "one-of-two": ("middle", 2, 1, False),
        "all-five": ("preferred_given", 5, 5, True),
        "five-of-ten": ("preferred_family", 10, 5, False),
    },
    "cl": {
        "six-of-ten": ("phone", 10, 6, True),
        "six-of-120-are-exactly-a-twentieth": ("sms", 120, 6, True),
        "six-of-121-are-less": ("middle", 121, 6, False),
        "none": ("preferred_given", 10, 0, False),
    },
}
_COLUMNS = {"middle": "middle_name", "preferred_given": "preferred_given_name",
            "preferred_family": "preferred_family_name"}  # fmt: skip


@pytest.fixture(scope="module")
def emptied() -> tuple[Night, Night]:
    sis, cl = provider("sis", "s1..s10"), provider("cl", "")
    cl.users("s201..s321")
    told = story(sis, cl)
    firsts = {"sis": (sis, 1), "cl": (cl, 201)}
    for name, cases in EMPTIED.items():
        made, start = firsts[name]
        for field, total, _, _ in cases.values():
            made.users(f"s{start}..s{start + total - 1}", **{field: "555"})
    first = told.night()
    for name, cases in EMPTIED.items():
        made, start = firsts[name]
        for field, _, gone, _ in cases.values():
            if gone:
                made.users(f"s{start}..s{start + gone - 1}", **{field: ""})
    return first, told.night().check()


@pytest.mark.parametrize("name, case", [(name, case) for name, cases in EMPTIED.items() for case in cases])
def test_values_of_a_field_that_turn_empty(name: str, case: str, emptied: tuple[Night, Night]):
    field, _, gone, stay = EMPTIED[name][case]
    who = "s1" if name == "sis" else "cl/s201"
    expected = "555" if stay or not gone else ""
    assert emptied[1].who(who)[_COLUMNS.get(field, field)] == expected


def test_vanished_values_are_counted_and_leave_the_sync_successful(emptied: tuple[Night, Night]):
    stay = sum(gone for cases in EMPTIED.values() for _, _, gone, stay in cases.values() if stay)
    assert emptied[1].count_of("RS-SAFE-06") == stay
    assert emptied[1].status == "successful"  # a warning: no removal is held


def test_values_that_were_masked_tonight_have_turned_empty():
    _, second = two_nights(
        lambda sis: sis.users("s1..s6", email="*****"), provider("sis", "t1 s1..s6 t2..t9")
    )
    assert second.who("s1")["email"] == "s1@north.example"
    assert "RS-SAFE-06" in second.codes


def test_users_who_are_gone_have_not_turned_empty():
    sis = provider("sis", "t1 s1..s9").users("s1 s2", phone="555")
    _, second = two_nights(lambda sis: sis.gone("s1").users("s2", phone=""), sis)
    assert second.who("s2")["phone"] == ""


def test_each_provider_is_counted_by_itself():
    cl = provider("cl", "s1..s6").users("s1..s6", phone="777")
    _, second = two_nights(lambda sis, cl: cl.users("s1", phone=""), None, cl)
    assert second.who("s1")["phone"] == ""
    assert second.who("s2")["phone"] == "777"


# ------------------------------------------------------------------------------------------ directories


def with_logins(sis: Provider, people: dict[str, dict[str, str]], *others: Provider) -> Story:
    return story(sis, *others, directories=[Directory("logins", people)])


def test_a_directory_gives_the_identity_and_the_login_email():
    people = {
        "d1": {"email": "s1@login.example", "given_name": "Adelaide"},
        "d9": {"email": "nobody@login.example"},
    }
    told = (
        with_logins(provider("sis", "s1 t1", merge={"key": "email_without_domain"}), people).night().check()
    )
    assert told.same("s1", "logins/d1")
    assert told.outcome("s1") == "matched by key"
    assert (told.who("s1")["email"], told.who("s1")["given_name"]) == ("s1@login.example", "Given-s1")
    assert told.people == {"s1", "t1"}


def test_a_directory_gives_names_where_no_provider_has_one():
    people = {"d1": {"email": "s1@north.example", "given_name": "Ada", "family_name": "Archer"}}
    sis = provider("sis", "s1 t1").users("s1", given="", family="")
    row = with_logins(sis, people).night().who("s1")
    assert (row["given_name"], row["family_name"]) == ("Ada", "Archer")


def test_people_who_leave_the_providers_turn_inactive_though_a_directory_has_them():
    sis = provider("sis", "t1 s1..s6")
    told = with_logins(sis, {"d6": {"email": "s6@north.example"}})
    assert told.night().same("s6", "logins/d6")
    sis.gone("s6")
    assert len(told.night().check().inactive) == 1


def test_a_user_of_an_attach_only_provider_attaches_to_somebody_of_a_directory():
    sis = provider("sis", "s1 s2", merge={"attach_to_existing_users_only": True})
    told = with_logins(sis, {"d1": {"email": "s1@north.example"}}).night().check()
    assert told.outcome("s1") == "matched by key"
    assert told.outcome("s2") == "unmatched by nobody_matches"


def test_an_email_of_two_people_of_a_directory_is_ambiguous():
    people = {name: {"email": "s1@north.example"} for name in ("d1", "d2")}
    told = with_logins(provider("sis", "s1 t1"), people).night().check()
    assert told.outcome("s1") == "unmatched by ambiguous"
    assert told.people == {"t1"}


def test_a_directory_that_cannot_be_read_changes_nobody():
    sis = provider("sis", "s1 t1", merge={"key": "email_without_domain"})
    told = with_logins(sis, {"d1": {"email": "s1@login.example"}})
    first = told.night()
    told.directories[0].readable = False
    second = told.night().check()
    assert second.person("s1") == first.person("s1")
    assert second.who("s1")["email"] == "s1@login.example"
    assert second.status == "partial"
    told.directories[0].readable = True
    assert told.night().check().quiet


def test_somebody_who_leaves_a_directory_keeps_the_id_and_gets_the_providers_email():
    sis = provider("sis", "s1 t1", merge={"key": "email_without_domain"})
    told = with_logins(sis, {"d1": {"email": "s1@login.example"}})
    first = told.night()
    told.directories[0].people.clear()
    second = told.night().check()
    assert second.person("s1") == first.person("s1")
    assert second.who("s1")["email"] == "s1@north.example"


def test_of_two_directories_the_first_one_gives_the_login_email():
    people = {"d1": {"email": "s1@north.example"}}, {"e1": {"email": "s1@north.example"}}
    told = story(
        provider("sis", "s1 t1"), directories=[Directory("logins", people[0]), Directory("badges", people[1])]
    )
    night = told.night().check()
    assert night.same("s1", "logins/d1", "badges/e1")
    told.directories[1].people["e1"]["email"] = "badge@x.example"
    assert told.night().who("s1")["email"] == "s1@north.example"


# ------------------------------------------------------------------------------------------ guardians


def family(**options: Any) -> Provider:
    made = school_of("t1 s1..s6", sync_parent_data=True, relationship_type="guardian", **options)
    return made.users("g1 g2").users("s1", agents=["g1"]).users("g2", agents=["s2"])


def test_links_go_from_student_to_guardian_whichever_of_them_names_the_other():
    sis = family().users("s3", agents=["s4", "g9", "t1", "g1"])
    told = story(sis).night().check()
    assert told.links == {"s1 g1", "s2 g2", "s3 g1"}
    assert told.count_of("RS-GRD-02") == 2  # a sibling and a teacher
    assert told.count_of("RS-REF-03") == 1


def test_a_guardian_whom_both_sides_name_has_one_link():
    assert story(family().users("g1", agents=["s1"])).night().links == {"s1 g1", "s2 g2"}


def test_a_guardian_without_a_student_is_dropped():
    told = story(family().users("g3")).night().check()
    assert not told.has("g3")
    assert told.dropped("users") == {"guardian_without_student": 1}
    assert told.outcome("g3") == ""


def test_links_of_two_providers_are_the_union():
    cl = provider("cl", "s1 g3", sync_parent_data=True, relationship_type="guardian").users(
        "s1", agents=["g3"]
    )
    assert story(family(), cl).night().check().links == {"s1 g1", "s2 g2", "s1 cl/g3"}


def test_siblings_are_the_guardians_students_each():
    told = story(family().users("s2 s3", agents=["g1"])).night().check()
    assert told.links == {"s1 g1", "s2 g1", "s3 g1", "s2 g2"}


def test_the_relationship_is_the_adults_own_role():
    told = story(family()).night()
    assert {row["relationship"] for row in told.table("guardian_links")} == {"guardian"}


def test_what_was_last_accepted_of_a_user_is_remembered_without_empty_values():
    told = story(provider("sis", "s1").users("s1", phone="")).night()
    (link,) = told.table("person_sources")
    seen = json.loads(link["seen"])
    assert seen["email"] == "s1@north.example"
    assert "phone" not in seen
