"""What happens to rows happens to all that refers to them, and leaves the rows that were given alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from roster_pipeline.sandbox.generator import District, generate
from roster_pipeline.sandbox.misbehaviour import Misbehaviour, What
from roster_pipeline.sandbox.mishaps import MASKED, MISHAPS, happened
from roster_pipeline.sandbox.source import Row, Tables, for_version
from roster_pipeline_tests.unit.sandbox.conftest import Start


@pytest.fixture(scope="module")
def two_schools() -> Tables:
    return for_version(generate(900, seed=3).tables, "1.1")


def after(tables: Tables, what: What, value: Any = None, table: str = "users", seed: int = 1) -> Tables:
    return happened(tables, [Misbehaviour(what, value)], table, seed)


def ids(rows: list[Row]) -> list[str]:
    return [row["sourcedId"] for row in rows]


def dangling(tables: Tables) -> list[Any]:
    users, classes, orgs = (set(ids(tables[name])) for name in ("users", "classes", "orgs"))
    return [
        *(row for row in tables["enrollments"] if row["user"] not in users or row["class"] not in classes),
        *(row for row in tables["classes"] if row["school"] not in orgs),
        *(row for row in tables["users"] if not {entry[1] for entry in row["roles"]} <= orgs),
        *(row for row in tables["users"] if not users.issuperset(row.get("agents", ()))),
    ]


@pytest.mark.parametrize("what", MISHAPS)
def test_the_rows_given_stay_as_they_are_and_the_seed_decides(two_schools: Tables, what: What) -> None:
    before = copy.deepcopy(two_schools)
    first, second = (after(two_schools, what, seed=5) for _ in range(2))
    assert two_schools == before
    assert first == second
    assert first != before


def test_rows_that_come_are_the_first_and_refer_to_what_is_there(two_schools: Tables) -> None:
    for table in ("users", "enrollments", "classes", "orgs"):
        found = after(two_schools, "rows-added", 3, table)
        assert len(found[table]) == len(two_schools[table]) + 3
        assert sorted(ids(found[table]))[:3] == ["0-added-1", "0-added-2", "0-added-3"]
        assert dangling(found) == []
    pairs = [
        (row["user"], row["class"])
        for row in after(two_schools, "rows-added", 9, "enrollments")["enrollments"]
    ]
    assert len(set(pairs)) == len(pairs)


def test_rows_that_come_may_be_the_last(two_schools: Tables) -> None:
    found = after(two_schools, "rows-added", -2, "enrollments")
    assert sorted(ids(found["enrollments"])) == [
        *sorted(ids(two_schools["enrollments"])),
        "~-added-1",
        "~-added-2",
    ]
    assert dangling(found) == []


def test_rows_that_go_are_the_first_ones(two_schools: Tables) -> None:
    found = after(two_schools, "rows-removed", 2, "classes")
    assert set(ids(two_schools["classes"])) - set(ids(found["classes"])) == set(
        sorted(ids(two_schools["classes"]))[:2]
    )


def test_rows_that_change_keep_their_ids(two_schools: Tables) -> None:
    for table in ("users", "enrollments", "classes", "academicSessions"):
        found = after(two_schools, "rows-changed", 2, table)
        assert ids(found[table]) == ids(two_schools[table])
        assert sum(one != other for one, other in zip(found[table], two_schools[table], strict=True)) == 2


def test_of_a_lost_school_nothing_is_left_and_nothing_refers_to_it(two_schools: Tables) -> None:
    schools = [row["sourcedId"] for row in two_schools["orgs"] if row["type"] == "school"]
    assert len(schools) == 2
    for value, lost in ((None, schools[1]), (schools[0], schools[0])):
        found = after(two_schools, "lose-school", value)
        assert lost not in str([rows for name, rows in found.items() if name != "demographics"])
        assert dangling(found) == []
        others = {row["sourcedId"] for row in two_schools["classes"] if row["school"] != lost}
        assert set(ids(found["classes"])) == others


def test_new_ids_are_followed_by_everything_that_refers_to_them(two_schools: Tables) -> None:
    found = after(two_schools, "re-key")
    for name, rows in two_schools.items():
        assert len(found[name]) == len(rows)
        assert not set(ids(rows)) & set(ids(found[name]))
        assert len(set(ids(found[name]))) == len(rows)
    assert dangling(found) == []
    only = after(two_schools, "re-key", "classes")
    assert only["users"] == two_schools["users"]
    assert dangling(only) == []


def test_fields_are_masked_or_withheld(two_schools: Tables) -> None:
    masked, withheld = after(two_schools, "mask"), after(two_schools, "withhold", "email+phone")
    assert {row["familyName"] for row in masked["users"]} == {MASKED}
    assert {row["email"] for row in masked["users"] if "email" in row} == {MASKED}
    assert any("email" not in row for row in masked["users"])
    assert not any({"email", "phone"} & row.keys() for row in withheld["users"])
    assert [row["familyName"] for row in withheld["users"]] == [
        row["familyName"] for row in two_schools["users"]
    ]


def test_a_server_shows_what_happened_between_two_pages(start: Start, district: District) -> None:
    fault = Misbehaviour("rows-removed", 2, endpoint="users", after=1)
    client = start("classlink", misbehaviour=fault)
    first, second = (client.get("users", limit=10, offset=offset, sort="sourcedId") for offset in (0, 10))
    assert int(first.headers["x-total-count"]) - int(second.headers["x-total-count"]) == 2
    assert first.headers["x-perm-rev"] != second.headers["x-perm-rev"]
    every = sorted(ids(for_version(district.tables, "1.1")["users"]))
    assert ids(first.json()["users"]) == every[:10]
    assert ids(second.json()["users"]) == every[12:22]
    client.sandbox.misbehave()
    assert client.get("users", limit=1).headers["x-total-count"] == first.headers["x-total-count"]


@pytest.mark.parametrize("what", ["rows-added", "rows-changed", "lose-school", "re-key", "mask", "withhold"])
def test_a_server_shows_every_mishap(start: Start, what: What) -> None:
    calm = start("oneroster-1.2").rows("users", limit=5, sort="sourcedId")
    client = start("oneroster-1.2", misbehaviour=Misbehaviour(what, 500 if what == "rows-changed" else None))
    assert client.rows("users", limit=5, sort="sourcedId") != calm
