"""Filters follow the grammar, and what is outside it is refused rather than guessed."""

from __future__ import annotations

import pytest

from roster_pipeline.sandbox.flavours import Version
from roster_pipeline.sandbox.queries import RejectedError, chosen, condition, parse
from roster_pipeline.sandbox.source import Row

USERS: list[Row] = [
    {"sourcedId": "1", "familyName": "O", "roles": [["student", "n", "", ""]], "grades": ["01"]},
    {"sourcedId": "2", "familyName": "Ng", "status": "tobedeleted", "roles": [["teacher", "n", "", ""]]},
    {"sourcedId": "10", "familyName": "Le", "dateLastModified": "2027-01-01T00:00:00.000Z", "roles": []},
]


def found(expression: str, version: Version = "1.1", collection: str = "users") -> list[str]:
    passes = condition(expression, version, collection)
    return [row["sourcedId"] for row in USERS if passes(row)]


@pytest.mark.parametrize(
    "expression, ids",
    [
        ("status='active'", ["1", "10"]),
        ("status!='active'", ["2"]),
        ("role='student'", ["1"]),
        ("role='student' AND status='active'", ["1"]),
        ("role='student' OR role='teacher'", ["1", "2"]),
        ("familyName~'g'", ["2"]),
        ("dateLastModified>'2026-12-31'", ["10"]),
        ("dateLastModified<='2026-12-31'", ["1", "2"]),
        ("grades~'01'", ["1"]),
        ("orgs.sourcedId~'n'", ["1", "2"]),
        ("sourcedId >= '10' and sourcedId<'2'", ["10"]),
        ("enabledUser='true'", ["1", "2", "10"]),
    ],
)
def test_a_filter_lets_through_what_it_says(expression: str, ids: list[str]) -> None:
    assert found(expression) == ids


@pytest.mark.parametrize(
    "expression",
    [
        "status=active",
        "status='active",
        "status=='active'",
        "shoeSize='9'",
        "givenName.sourcedId='x'",
        "a='1' AND b='2' AND c='3'",
        "status='active' XOR role='student'",
        "roles.role='student'",
        "'active'=status",
    ],
)
def test_a_filter_outside_the_grammar_or_of_unknown_fields_is_refused(expression: str) -> None:
    with pytest.raises(RejectedError) as refused:
        found(expression)
    assert refused.value.minor == "invalid_filter_field"


def test_a_1_2_user_has_no_role_to_filter_by() -> None:
    with pytest.raises(RejectedError):
        found("role='student'", "1.2")
    assert found("roles.role~'student'", "1.2") == ["1"]


def test_limits_are_clamped_silently_and_default_to_a_hundred() -> None:
    assert parse([("limit", "5000")], "1.1", "users", 1000).limit == 1000
    assert parse([], "1.1", "users", 1000).limit == 100


@pytest.mark.parametrize(
    "parameter, value, minor",
    [
        ("limit", "0", "invalid_data"),
        ("limit", "1e3", "invalid_data"),
        ("limit", "", "invalid_data"),
        ("offset", "-1", "invalid_data"),
        ("orderBy", "acs", "invalid_data"),
        ("sort", "shoeSize", "invalid_sort_field"),
        ("fields", "sourcedId,shoeSize", "invalid_selection_field"),
        ("filter", "x", "invalid_filter_field"),
    ],
)
def test_a_bad_parameter_is_refused(parameter: str, value: str, minor: str) -> None:
    with pytest.raises(RejectedError) as refused:
        parse([(parameter, value)], "1.1", "users", 1000)
    assert refused.value.minor == minor


def test_a_parameter_given_twice_is_refused() -> None:
    with pytest.raises(RejectedError):
        parse([("limit", "1"), ("limit", "2")], "1.1", "users", 1000)


def test_rows_are_sorted_both_ways() -> None:
    def order(*given: tuple[str, str]) -> list[int]:
        query = parse(given, "1.1", "users", 1000)
        return list(chosen(USERS, range(3), query, "1.1", "users"))

    assert order(("sort", "sourcedId")) == [0, 2, 1]
    assert order(("sort", "familyName"), ("orderBy", "desc")) == [0, 1, 2]
    assert order(("sort", "sourcedId"), ("filter", "status='active'")) == [0, 2]
