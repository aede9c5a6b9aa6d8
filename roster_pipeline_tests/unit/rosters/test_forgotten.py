"""Who is recognised as somebody who was forgotten, who is not, and what is left of a row."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from roster_pipeline.oneroster.collections import COLUMNS, DIRECTORY_COLUMNS
from roster_pipeline.rosters import rows
from roster_pipeline.rosters.forgotten import (
    Forgotten,
    digest,
    mark_of_person,
    mark_of_user,
    marks_to_forget,
)
from roster_pipeline_tests.rosters import Provider, story

SALT = "5a" * 32
ANN = {"email": "ann@home.example", "given": "Ann", "family": "Lee", "identifier": "4711", "master": "M1"}


def forgotten(linked: frozenset[tuple[int, str]] = frozenset(), **values: str) -> Forgotten:
    """Ann, who was user `s1` of provider 1, is forgotten by receipt 7."""
    marks = [mark_of_user((1, "s1")), mark_of_person("ann-id"), *marks_to_forget(1, **(ANN | values))]
    return Forgotten(SALT, {digest(SALT, mark): 7 for mark in marks}, linked)


def page(collection: str, *records: dict[str, Any]) -> pa.Table:
    names = DIRECTORY_COLUMNS if collection == "people" else COLUMNS[collection]
    return pa.table({name: pa.array([row.get(name, "") for row in records], pa.string()) for name in names})


def user(source_id: str, **values: str) -> dict[str, str]:
    return {"sourcedId": source_id, "givenName": "Ben", "familyName": "Ray", "email": f"{source_id}@b.test",
            "roles": '[["student","north","2025-08-01",""]]', **values}  # fmt: skip


ANN_AGAIN = {"givenName": "Ann", "familyName": "Lee", "email": "ann@home.example"}


@pytest.mark.parametrize(
    "provider_id, row",
    [
        pytest.param(1, user("s1"), id="the sourcedId alone, whatever it says now"),
        pytest.param(1, user("s9", **ANN_AGAIN), id="a new sourcedId with the address and both names"),
        pytest.param(2, user("x", **ANN_AGAIN), id="another source with the address and both names"),
        pytest.param(2, user("x", email="ANN@home.example", givenName=" ann", familyName="LEE"), id="case"),
        pytest.param(
            2, user("x", email="ann@home.example", givenName="", familyName=""), id="no names at all"
        ),
        pytest.param(1, user("s9", identifier="4711", givenName="Ann", familyName="Lee"), id="the number"),
        pytest.param(1, user("s9", userMasterIdentifier="M1"), id="the master identifier"),
    ],
)
def test_whose_row_it_is_is_recognised(provider_id: int, row: dict[str, str]) -> None:
    found = forgotten().blanked(provider_id, "users", page("users", user("s5"), row))
    first, second = found.to_pylist()
    assert first == page("users", user("s5")).to_pylist()[0]
    assert second["status"] == rows.BLANKED
    assert json.loads(second["roles"]) == [["student", "north", "", ""]]
    assert {name for name, value in second.items() if value} == {"sourcedId", "status", "roles"}
    assert second["sourcedId"] != row["sourcedId"]


@pytest.mark.parametrize(
    "provider_id, row",
    [
        pytest.param(2, user("s1"), id="the same sourcedId in another source"),
        pytest.param(1, user("s9", email="ann@home.example"), id="an address that was passed on"),
        pytest.param(
            1, user("s9", email="ann@home.example", givenName="Ida", familyName="Lee"), id="a sibling"
        ),
        pytest.param(1, user("s9", givenName="Ann", familyName="Lee"), id="a namesake"),
        pytest.param(1, user("s9", identifier="4711"), id="a number that was given again"),
        pytest.param(
            2, user("s9", identifier="4711", givenName="Ann", familyName="Lee"), id="another's number"
        ),
        pytest.param(2, user("s9", userMasterIdentifier="M1"), id="another source's master identifier"),
    ],
)
def test_whose_row_it_is_not_stays(provider_id: int, row: dict[str, str]) -> None:
    before = page("users", row)
    assert forgotten().blanked(provider_id, "users", before) is before


def test_whoever_stands_behind_somebody_else_is_named_by_an_id_alone() -> None:
    """Two rows of one source are two people, also with one address and one name."""
    before = page("users", user("s9", **ANN_AGAIN))
    assert forgotten(linked=frozenset({(1, "s9")})).blanked(1, "users", before) is before


def test_a_masked_address_names_nobody() -> None:
    before = page("users", user("s9", givenName="Ann", familyName="Lee", email="*****"))
    assert forgotten(email="*****", identifier="", master="").blanked(1, "users", before) is before


def test_their_enrolments_go_and_nobody_is_their_family() -> None:
    ann = forgotten()
    enrolments = page(
        "enrollments",
        {"sourcedId": "e1", "user": "s1", "class": "maths", "role": "student", "beginDate": "2025-08-18"},
        {"sourcedId": "e2", "user": "s2", "class": "maths", "role": "student"},
    )
    first, second = ann.blanked(1, "enrollments", enrolments).to_pylist()
    assert (first["user"], first["class"], first["role"], first["beginDate"]) == ("", "maths", "student", "")
    assert second == enrolments.to_pylist()[1]
    (guardian,) = ann.blanked(1, "users", page("users", user("g1", agents='["s1","s2"]'))).to_pylist()
    assert guardian["agents"] == '["s2"]'


def test_who_came_under_a_new_id_is_known_by_it_from_then_on() -> None:
    """So their enrolments are theirs, too, and a corrected name does not bring them back."""
    told: dict[str, int] = {}
    ann = forgotten()
    ann.newly = told.update
    ann.blanked(2, "users", page("users", user("x", **ANN_AGAIN)))
    assert told == {digest(SALT, mark_of_user((2, "x"))): 7}
    enrolments = page("enrollments", {"sourcedId": "e1", "user": "x", "class": "maths", "role": "student"})
    assert ann.blanked(2, "enrollments", enrolments).to_pylist()[0]["user"] == ""


def test_a_directory_s_row_goes_too() -> None:
    people = page(
        "people",
        {"id": "l1", "email": "ann@home.example"},
        {"id": "l2", "email": "ann@home.example", "given_name": "Ann", "family_name": "Lee"},
        {"id": "l3", "email": "ann@home.example", "given_name": "Ida", "family_name": "Lee"},
    )
    found = forgotten().blanked(9, "people", people)
    assert found["id"].to_pylist() == ["", "", "l3"]
    assert found["email"].to_pylist() == ["", "", "ann@home.example"]


def test_blank_rows_are_counted_by_ids_of_their_own() -> None:
    """What proves a collection complete counts ids: none of them may become another."""
    ann = forgotten()
    ann.digests[digest(SALT, mark_of_user((1, "s2")))] = 8
    ids = ann.blanked(1, "users", page("users", user("s1"), user("s2"), user("s3")))["sourcedId"].to_pylist()
    assert len(set(ids)) == 3
    assert ids[2] == "s3"


def test_another_tenant_s_digest_of_the_same_child_is_another() -> None:
    assert digest(SALT, mark_of_user((1, "s1"))) != digest("00" * 32, mark_of_user((1, "s1")))


@dataclass
class Forgetful(Provider):
    """A provider of whose users some are forgotten: the rules get its rows as they are written then."""

    forget: str = ""

    def frames(self) -> dict[str, pd.DataFrame]:
        marks = [mark_of_user((1, who)) for who in self.forget.split()]
        found = Forgotten(SALT, {digest(SALT, mark): 7 for mark in marks})
        tables = {name: pa.Table.from_pandas(frame) for name, frame in super().frames().items()}
        return {name: found.blanked(1, name, table).to_pandas() for name, table in tables.items()}


def test_the_rules_drop_blank_rows_and_miss_nobody_for_it() -> None:
    """The school is not without teachers because its only one is forgotten, nor do enrolments dangle."""
    school = Forgetful(forget="t1 s1")
    school.org("north").course("maths").session("year", "2025-08-18..2026-06-12", kind="schoolYear")
    school.users("t1 s1 s2 s3").teaches("c1", "t1 s1 s2 s3")
    night = story(school).night()
    assert night.status == "successful"
    assert night.codes == ["RS-IDN-11"]
    assert night.dropped("users") == {"forgotten": 2}
    assert night.dropped("enrollments") == {"forgotten": 2}
    assert len(night.people) == 2
