"""Rows of JSON as canonical columns, and finding them in an answer."""

from __future__ import annotations

from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roster_pipeline.codes import CodedError
from roster_pipeline.oneroster.collections import COLLECTIONS, COLUMNS
from roster_pipeline.oneroster.wire import SourceError, decode, in_arrow, rows_of, without_nul
from roster_pipeline_tests.unit.oneroster.server import district, ref


def table_from_rows(collection: str, rows: list, *, implied_role: str = "") -> pa.Table:
    return decode(collection, rows, implied_role=implied_role).table


def one(collection: str, row: object) -> dict[str, str]:
    return table_from_rows(collection, [row]).to_pylist()[0]


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_a_table_has_exactly_the_columns_of_its_collection_and_nothing_else(collection: str) -> None:
    table = table_from_rows(collection, district()[collection])
    assert table.column_names == list(COLUMNS[collection])
    assert set(table.schema.types) == {pa.string()}
    assert "hunter2" not in str(table.to_pylist())


def test_references_become_the_ids_that_they_name() -> None:
    row = one("enrollments", district()["enrollments"][0])
    assert (row["user"], row["class"], row["school"]) == ("user-0", "class-0", "org-1")


@pytest.mark.parametrize(
    "value", [" org-9 ", {"sourcedId": "org-9 "}, [{"sourcedId": "org-9"}], {"sourcedId": ["org-9"]}]
)
def test_a_reference_may_be_bare_or_without_href_or_in_a_list(value: object) -> None:
    assert one("classes", {"sourcedId": "c", "school": value})["school"] == "org-9"
    assert one("orgs", {"sourcedId": "o", "parent": value})["parent"] == "org-9"


@pytest.mark.parametrize(
    "value", [None, "", {}, [], {"sourcedId": None}, {"href": "https://sis.example.org/orgs/9"}]
)
def test_a_reference_to_nothing_is_empty(value: object) -> None:
    assert one("enrollments", {"sourcedId": "e", "school": value})["school"] == ""


def test_a_course_may_have_a_list_of_orgs_in_place_of_its_org() -> None:
    assert one("courses", {"sourcedId": "c", "orgs": [ref("org", 4)]})["org"] == "org-4"


@pytest.mark.parametrize(
    "value, text",
    [
        (True, "true"),
        (False, "false"),
        (1, "1"),
        (0, "0"),
        ("true", "true"),
        (None, ""),
        (" False ", "False"),
        ({}, ""),
    ],
)
def test_booleans_and_numbers_become_the_text_that_they_stand_for(value: object, text: str) -> None:
    assert one("users", {"sourcedId": "u", "enabledUser": value})["enabledUser"] == text


def test_numbers_keep_no_point_that_they_do_not_need() -> None:
    assert one("academicSessions", {"sourcedId": "s", "schoolYear": 2027})["schoolYear"] == "2027"
    assert one("academicSessions", {"sourcedId": "s", "schoolYear": 2027.0})["schoolYear"] == "2027"


def test_blanks_around_values_and_ids_are_taken_off_also_inside_lists() -> None:
    row = {
        "sourcedId": "  u1 ",
        "email": "\ta@example.org\n",
        "role": " student ",
        "orgs": [{"sourcedId": " org-1 "}],
        "agents": [{"sourcedId": " u2 "}],
        "grades": [" 09 "],
        "userIds": [{"type": " LDAP ", "identifier": " x "}],
    }
    found = one("users", row)
    assert found["sourcedId"] == "u1"
    assert found["email"] == "a@example.org"
    assert orjson.loads(found["roles"]) == [["student", "org-1", "", ""]]
    assert orjson.loads(found["agents"]) == ["u2"]
    assert orjson.loads(found["grades"]) == ["09"]
    assert orjson.loads(found["userIds"]) == [["LDAP", "x"]]


@pytest.mark.parametrize(
    "value, texts",
    [
        (["09", "10"], ["09", "10"]),
        ("09", ["09"]),
        ("10,11", ["10,11"]),
        (9, ["9"]),
        ([9, "10", None, ""], ["9", "10"]),
        ([], []),
        (None, []),
        ("", []),
        ({}, []),
    ],
)
def test_a_list_may_be_one_value_and_a_value_may_be_a_number(value: object, texts: list[str]) -> None:
    found = one("users", {"sourcedId": "u", "grades": value})["grades"]
    assert (orjson.loads(found) if found else []) == texts


def test_one_odd_row_does_not_change_how_its_neighbours_are_read() -> None:
    rows = [{"sourcedId": "a", "grades": ["09"]}, {"sourcedId": "b", "grades": "10"}, {"sourcedId": "c"}]
    assert table_from_rows("users", rows)["grades"].to_pylist() == ['["09"]', '["10"]', ""]


def test_roles_of_1_1_become_one_entry_for_each_org() -> None:
    row = {"sourcedId": "u", "role": "teacher", "orgs": [ref("org", 1), ref("org", 2)]}
    assert orjson.loads(one("users", row)["roles"]) == [
        ["teacher", "org-1", "", ""],
        ["teacher", "org-2", "", ""],
    ]


@pytest.mark.parametrize("orgs", [[], None, [{}], "absent"])
def test_a_user_of_no_org_has_one_entry_without_org(orgs: object) -> None:
    row = {"sourcedId": "u", "role": "teacher"} | ({} if orgs == "absent" else {"orgs": orgs})
    assert orjson.loads(one("users", row)["roles"]) == [["teacher", "", "", ""]]


def test_roles_of_1_2_keep_their_dates() -> None:
    entries = [
        {
            "roleType": "primary",
            "role": "student",
            "org": ref("org", 1),
            "beginDate": "2026-08-01",
            "endDate": None,
        },
        {"roleType": "secondary", "role": "aide", "org": ref("org", 2), "endDate": "2027-01-31"},
    ]
    found = orjson.loads(one("users", {"sourcedId": "u", "roles": entries})["roles"])
    assert found == [["student", "org-1", "2026-08-01", ""], ["aide", "org-2", "", "2027-01-31"]]


def test_a_user_without_roles_of_1_2_falls_back_to_the_role_of_1_1() -> None:
    row = {"sourcedId": "u", "roles": [], "role": "student", "orgs": ["org-1"]}
    assert orjson.loads(one("users", row)["roles"]) == [["student", "org-1", "", ""]]


def test_a_role_is_implied_only_where_a_row_tells_none() -> None:
    rows = [{"sourcedId": "a", "orgs": [ref("org", 1)]}, {"sourcedId": "b", "role": "aide", "orgs": []}]
    found = table_from_rows("users", rows, implied_role="teacher")["roles"].to_pylist()
    assert [orjson.loads(value)[0][0] for value in found] == ["teacher", "aide"]


@pytest.mark.parametrize(
    "value, pairs",
    [
        ([{"type": "LDAP", "identifier": "x"}], [["LDAP", "x"]]),
        ([{"identifier": 7}], [["", "7"]]),
        (["bare"], [["", "bare"]]),
        ("", []),
        ([], []),
        ([{"type": "LDAP", "identifier": ""}], []),
    ],
)
def test_user_ids_come_as_pairs_or_bare(value: object, pairs: list[list[str]]) -> None:
    found = one("users", {"sourcedId": "u", "userIds": value})["userIds"]
    assert (orjson.loads(found) if found else []) == pairs


def test_what_is_no_object_stays_a_row_without_an_id() -> None:
    assert table_from_rows("orgs", [None, 3, "x", {"sourcedId": "o"}])["sourcedId"].to_pylist() == [
        "",
        "",
        "",
        "o",
    ]


def test_nul_characters_are_taken_out() -> None:
    assert without_nul({"a\0": ["x\0y", {"b": "\0"}], "n": 1}) == {"a": ["xy", {"b": ""}], "n": 1}


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\ud800")
names = st.sampled_from(
    sorted({name for columns in COLUMNS.values() for name in columns} | {"role", "orgs", "org", "type"})
)
json = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["sourcedId", "type", "identifier", "role", "org", "beginDate"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
rows = st.lists(st.dictionaries(names, json, max_size=8) | json, max_size=5)


@given(collection=st.sampled_from(COLLECTIONS), rows=rows)
def test_any_json_becomes_trimmed_strings(collection: str, rows: list[object]) -> None:
    table = table_from_rows(collection, rows)
    assert table.num_rows == len(rows)
    assert table.column_names == list(COLUMNS[collection])
    for row in table.to_pylist():
        assert all(isinstance(value, str) and value == value.strip() for value in row.values())


@given(
    collection=st.sampled_from(COLLECTIONS),
    document=json | st.dictionaries(st.sampled_from([*COLLECTIONS, "error"]), rows),
)
def test_any_json_answer_is_rows_or_an_error_with_a_code(collection: str, document: object) -> None:
    found, code = None, None
    try:
        found, _ = rows_of(document, collection, collection)
    except CodedError as error:
        code = error.code
    assert isinstance(found, list) != (code in {"RS-PAGE-03", "RS-PAGE-04", "RS-PAGE-05"})


_SIGNS = st.sampled_from(
    [" ", "a", "B", "é", "\u00a0", "\u3000", "\0", "\n", "\t", "\x1c", "\x7f", "\x85", "😀"]
)
_TEXTS = st.none() | st.text(_SIGNS, max_size=4) | st.text(max_size=3)


@given(
    columns=st.integers(0, 5).flatmap(
        lambda count: st.lists(st.lists(_TEXTS, min_size=count, max_size=count), min_size=1, max_size=4)
    )
)
def test_texts_get_into_arrow_trimmed_and_otherwise_as_they_are(columns: list[list[str | None]]) -> None:
    found = in_arrow(tuple("abcd"[: len(columns)]), columns, lambda place, values: [""] * len(values))
    assert found.table.num_rows == len(columns[0])
    for values, name in zip(columns, found.table.column_names, strict=True):
        assert found.table[name].null_count == 0
        assert found.table[name].to_pylist() == [(value or "").strip() for value in values]
    found.table.validate(full=True)
    assert found.ids == [value or "" for value in columns[0]]


def test_only_columns_that_hold_something_else_than_texts_are_mended() -> None:
    places = []

    def mended(place: int, values: Any) -> list[str]:
        places.append(place)
        return [str(value) for value in values]

    found = in_arrow(tuple("abcd"), [["x", None], [True, "y"], [" z", b"b"], ["", ""]], mended)
    assert places == [1, 2]
    assert found.table.to_pydict() == {"a": ["x", ""], "b": ["True", "y"], "c": ["z", "b'b'"], "d": ["", ""]}


# ------------------------------------------------------------------------------ the rows in an answer

USERS = district()["users"]


@pytest.mark.parametrize(
    "document, endpoint",
    [
        ({"users": USERS}, "users"),
        ({"students": USERS}, "students"),
        (USERS, "users"),
        ({"data": USERS}, "users"),
        ({"users": USERS, "offset": 0, "total": 26, "links": []}, "users"),
        (
            {"statusInfoSet": [{"imsx_codeMajor": "success", "imsx_severity": "status"}], "users": USERS},
            "users",
        ),
    ],
)
def test_rows_are_found_in_every_wrapper_that_is_seen(document: object, endpoint: str) -> None:
    assert rows_of(document, "users", endpoint)[0] == USERS


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"users": None},
        {"users": {}},
        {"message": "ok"},
        {"warnings": []},
        [],
        {"data": [{"sourcedId": "x"}]},
        {"a": USERS, "b": USERS},
        None,
        "text",
        7,
        {"data": []},
        {"data": ["x"]},
    ],
)
def test_an_answer_without_the_collection_is_an_error_and_never_no_rows(document: object) -> None:
    with pytest.raises(SourceError) as caught:
        rows_of(document, "users", "users")
    assert caught.value.code == "RS-PAGE-04"


def test_an_empty_array_ends_a_reading_whose_pages_came_the_same_way() -> None:
    assert rows_of([], "users", "users", rows_of(USERS, "users", "users")[1])[0] == []
    assert rows_of({"data": []}, "users", "users", rows_of({"data": USERS}, "users", "users")[1])[0] == []
    with pytest.raises(SourceError, match="RS-PAGE-04"):
        rows_of({"messages": []}, "users", "users", "data")


@pytest.mark.parametrize("wanted", COLLECTIONS)
@pytest.mark.parametrize("sent", COLLECTIONS)
@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_rows_of_another_collection_are_told_apart(wanted: str, sent: str, version: str) -> None:
    rows = district(version=version)[sent]
    for document in ({wanted: rows}, {sent: rows}, rows, {"data": rows}):
        if wanted == sent:
            assert rows_of(document, wanted, wanted)[0] == rows
        else:
            with pytest.raises(SourceError, match="RS-PAGE-05"):
                rows_of(document, wanted, wanted)


def test_one_row_of_another_collection_is_enough() -> None:
    with pytest.raises(SourceError, match="RS-PAGE-05"):
        rows_of({"users": [*USERS, district()["orgs"][0]]}, "users", "users")


MINOR = {
    "imsx_codeMinorField": [
        {"imsx_codeMinorFieldName": "TargetEndSystem", "imsx_codeMinorFieldValue": "server_busy"}
    ]
}


@pytest.mark.parametrize(
    "document, word",
    [
        (
            {"imsx_codeMajor": "failure", "imsx_description": "canary@example.org", "imsx_CodeMinor": MINOR},
            "server_busy",
        ),
        ({"statusInfoSet": [{"imsx_codeMajor": "failure", "imsx_codeMinor": MINOR}]}, "server_busy"),
        ({"statusInfoSet": {"imsx_codeMajor": "Failure"}}, ""),
        ({"imsx_codeMajor": "failure", "imsx_codeMinor": "invalid_data"}, "invalid_data"),
        ({"imsx_severity": "error"}, ""),
        ({"error": "invalid_token", "error_description": "canary@example.org"}, "invalid_token"),
        ({"error": "canary@example.org"}, ""),
        ({"error": {"code": 5}}, ""),
        ({"errors": [{"message": "canary@example.org"}]}, ""),
        ({"imsx_codeMajor": "failure", "users": []}, ""),
        ({"error": "invalid_token", "users": USERS}, "invalid_token"),
        ({"imsx_codeMajor": "processing", "users": []}, ""),
    ],
)
def test_an_error_inside_a_success_is_seen_and_only_words_of_the_specification_are_repeated(
    document: object, word: str
) -> None:
    with pytest.raises(SourceError) as caught:
        rows_of(document, "users", "users")
    assert caught.value.code == "RS-PAGE-03"
    assert word in caught.value.message
    assert "canary" not in str(caught.value)


# ------------------------------------------------------------------------------------------- lenient wrappers


@pytest.mark.parametrize(
    "collection, key",
    [
        ("academicSessions", "academicsessions"),
        ("academicSessions", "academicSession"),
        ("academicSessions", "academic_sessions"),
        ("classes", "class"),
        ("courses", "Course"),
        ("enrollments", "ENROLLMENT"),
        ("users", "user"),
        ("orgs", "Org"),
    ],
)
def test_read_leniently_a_wrapper_may_be_spelt_freely_and_hold_nothing(collection: str, key: str) -> None:
    rows = district()[collection]
    documents: list[dict[str, list[str]]] = [{key: []}, {key: [], "links": []}]
    for document in documents:
        with pytest.raises(SourceError, match="RS-PAGE-04"):
            rows_of(document, collection, collection)
        assert rows_of(document, collection, collection, lenient=True) == ([], key)
    assert rows_of({key: rows, "links": []}, collection, collection, lenient=True) == (rows, key)


@pytest.mark.parametrize(
    "document",
    [{}, {"warnings": []}, {"course": []}, {"user": [], "USERS": []}, {"user": {}}, {"user": None}, []],
    ids=str,
)
def test_read_leniently_nothing_is_taken_for_an_empty_collection(document: object) -> None:
    with pytest.raises(SourceError, match=r"RS-PAGE-0[45]"):
        rows_of(document, "users", "users", lenient=True)


def test_read_leniently_rows_of_another_collection_are_still_refused() -> None:
    with pytest.raises(SourceError, match="RS-PAGE-05"):
        rows_of({"user": district()["orgs"]}, "users", "users", lenient=True)


def test_read_leniently_an_error_is_still_an_error() -> None:
    document = {"imsx_codeMajor": "failure", "user": []}
    with pytest.raises(SourceError, match="RS-PAGE-03"):
        rows_of(document, "users", "users", lenient=True)
