"""Prepared districts: the same for the same seed, one tenant however many parts, and a page at any offset."""

from __future__ import annotations

import filecmp
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.districts import COLLECTIONS, MODIFIED, Rows, facts_of, prepare

Row = dict[str, Any]


def page(rows: Rows, offset: int, limit: int) -> list[Row]:
    found: list[Row] = orjson.loads(b"[" + b",".join(rows.page(offset, limit)) + b"]")
    return found


def all_of(district: Path, name: str, *, changed: bool = False) -> dict[str, Row]:
    rows = Rows(district, name, changed=changed)
    return {row["sourcedId"]: row for row in page(rows, 0, len(rows))}


@pytest.mark.parametrize("changed", [False, True])
@pytest.mark.parametrize("name", COLLECTIONS)
def test_the_rows_are_all_there_in_the_order_of_their_ids(district: Path, name: str, changed: bool) -> None:
    rows = Rows(district, name, changed=changed)
    ids = [row["sourcedId"] for row in page(rows, 0, len(rows))]
    assert len(ids) == len(rows) > 0
    assert all(one < next_one for one, next_one in pairwise(ids))


@given(offset=st.integers(0, 6000), limit=st.integers(1, 3000), changed=st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_page_is_what_stands_there_in_the_whole(
    district: Path, offset: int, limit: int, changed: bool
) -> None:
    rows = Rows(district, "enrollments", changed=changed)
    whole = page(rows, 0, len(rows))
    assert page(rows, offset, limit) == whole[offset : offset + limit]


def test_behind_the_end_there_is_nothing(district: Path) -> None:
    rows = Rows(district, "users")
    assert rows.page(len(rows), 10) == []
    assert len(page(rows, len(rows) - 1, 10)) == 1


def test_what_a_person_or_school_is_called_belongs_to_one_of_them_only(district: Path) -> None:
    users, orgs = all_of(district, "users").values(), all_of(district, "orgs").values()
    for name in ("username", "identifier"):
        assert len({user[name] for user in users}) == len(users), name
    mails = [user["email"] for user in users if "email" in user]
    assert len(set(mails)) == len(mails)
    assert len({org["name"] for org in orgs}) == len({org["identifier"] for org in orgs}) == len(orgs)
    assert [org["type"] for org in orgs].count("district") == 1


def test_every_reference_leads_to_a_row(district: Path) -> None:
    there = {name: all_of(district, name).keys() for name in COLLECTIONS}
    for row in all_of(district, "classes").values():
        assert row["school"]["sourcedId"] in there["orgs"]
        assert row["course"]["sourcedId"] in there["courses"]
        assert {term["sourcedId"] for term in row["terms"]} <= there["academicSessions"]
    for changed in (False, True):
        for row in all_of(district, "enrollments", changed=changed).values():
            assert row["user"]["sourcedId"] in there["users"]
            assert row["class"]["sourcedId"] in there["classes"]
            assert row["school"]["sourcedId"] in there["orgs"]


def test_there_are_about_eight_enrolments_a_student(district: Path) -> None:
    facts = facts_of(district)
    assert facts["rows"]["enrollments"] / facts["students"] == pytest.approx(8.4, abs=0.3)


def test_one_in_a_hundred_is_different_in_the_second_state_as_it_is_counted(district: Path) -> None:
    facts = facts_of(district)
    users, later_users = (all_of(district, "users", changed=changed) for changed in (False, True))
    assert users.keys() == later_users.keys()
    other = [one for one in users if users[one] != later_users[one]]
    assert len(other) == facts["changes"]["users renamed"] + facts["changes"]["users moved"]
    assert len(other) == pytest.approx(len(users) / 100, rel=0.3)
    assert all(later_users[one]["dateLastModified"] == MODIFIED for one in other)

    before, after = (all_of(district, "enrollments", changed=changed) for changed in (False, True))
    gone, new = before.keys() - after.keys(), after.keys() - before.keys()
    different = [one for one in before.keys() & after.keys() if before[one] != after[one]]
    counts = {name: facts["changes"][f"enrollments {name}"] for name in ("gone", "new", "different")}
    assert counts == {"gone": len(gone), "new": len(new), "different": len(different)}
    assert sum(counts.values()) == pytest.approx(len(before) / 100, rel=0.3)


def test_a_student_is_in_no_class_twice_after_the_changes(district: Path) -> None:
    rows = all_of(district, "enrollments", changed=True).values()
    pairs = [(row["user"]["sourcedId"], row["class"]["sourcedId"]) for row in rows]
    assert len(set(pairs)) == len(pairs)


def test_who_moved_is_in_classes_of_the_new_school_only(tmp_path: Path) -> None:
    folder = prepare(tmp_path, 4000)
    assert facts_of(folder)["changes"]["users moved"] > 0
    users, later = (all_of(folder, "users", changed=changed) for changed in (False, True))
    moved = {one for one in users if users[one]["orgs"] != later[one]["orgs"]}
    assert len(moved) == facts_of(folder)["changes"]["users moved"]
    for row in all_of(folder, "enrollments", changed=True).values():
        if row["user"]["sourcedId"] in moved:
            assert [row["school"]["sourcedId"]] == [
                org["sourcedId"] for org in later[row["user"]["sourcedId"]]["orgs"]
            ]


def test_prepared_twice_it_is_the_same(district: Path, tmp_path: Path) -> None:
    again = prepare(tmp_path, 700, part=300)
    names = [file.name for file in district.iterdir()]
    same, *others = filecmp.cmpfiles(district, again, names, shallow=False)
    assert (sorted(same), others) == (sorted(names), [[], []])


def test_what_is_there_is_not_made_again_and_what_was_interrupted_is(tmp_path: Path) -> None:
    told: list[str] = []
    folder = prepare(tmp_path, 60, told=told.append)
    assert prepare(tmp_path, 60, told=told.append) == folder
    assert len(told) == 1
    (folder / "district.json").unlink()  # as it is until everything is written
    prepare(tmp_path, 60, told=told.append)
    assert len(told) == 2
