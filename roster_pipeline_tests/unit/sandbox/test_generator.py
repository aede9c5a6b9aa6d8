"""Generated districts are plausible, whole, and the same for the same seed."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roster_pipeline.oneroster.collections import COLUMNS
from roster_pipeline.sandbox.generator import (
    District,
    as_second_provider,
    generate,
    school_year_around,
    with_unfinished_school,
)
from roster_pipeline.sandbox.source import FAMILY, Row


@pytest.fixture(scope="module")
def large() -> District:
    return generate(2000, seed=3)


def in_role(district: District, *roles: str) -> list[Row]:
    return [row for row in district.tables["users"] if {entry[0] for entry in row["roles"]} & set(roles)]


def dangling(district: District) -> Counter[str]:
    """How many references of each kind lead nowhere."""
    ids = {name: {row["sourcedId"] for row in rows} for name, rows in district.tables.items()}
    found: Counter[str] = Counter()
    refs = {
        "orgs": {"parent": "orgs"},
        "academicSessions": {"parent": "academicSessions"},
        "courses": {"org": "orgs", "schoolYear": "academicSessions"},
        "classes": {"course": "courses", "school": "orgs"},
        "enrollments": {"user": "users", "class": "classes", "school": "orgs"},
    }
    for name, fields in refs.items():
        for row in district.tables[name]:
            for field, target in fields.items():
                found[f"{name}.{field}"] += bool(row[field]) and row[field] not in ids[target]
    for row in district.tables["classes"]:
        found["classes.terms"] += len(set(row["terms"]) - ids["academicSessions"])
    for row in district.tables["users"]:
        found["users.agents"] += len(set(row.get("agents", ())) - ids["users"])
        found["users.roles"] += len({entry[1] for entry in row["roles"]} - ids["orgs"])
    return +found


@settings(max_examples=25)
@given(students=st.integers(1, 1500), seed=st.integers(0, 10_000))
def test_a_district_of_any_size_is_whole(students: int, seed: int) -> None:
    district = generate(students, seed=seed)
    assert len(in_role(district, "student")) == students
    assert not dangling(district)
    for name, rows in district.tables.items():
        ids = [row["sourcedId"] for row in rows]
        assert len(set(ids)) == len(ids), name
    schools = {row["sourcedId"] for row in district.tables["orgs"] if row["type"] == "school"}
    for role in ("student", "teacher"):
        assert {
            entry[1] for row in in_role(district, role) for entry in row["roles"] if entry[0] == role
        } == schools


def test_the_same_seed_makes_the_same_district_and_another_one_another() -> None:
    assert generate(200, seed=5).tables == generate(200, seed=5).tables
    assert generate(200, seed=5).tables != generate(200, seed=6).tables


def test_it_has_the_proportions_of_a_district(large: District) -> None:
    tables = large.tables
    assert sum(org["type"] == "school" for org in tables["orgs"]) == 3
    of_students = [row for row in tables["enrollments"] if row["role"] == "student"]
    assert 7.8 * 2000 < len(of_students) <= 8 * 2000
    sizes = Counter(row["class"] for row in of_students)
    assert max(sizes.values()) <= 25
    assert len(sizes) == len(tables["classes"])
    without_email = sum("email" not in row for row in tables["users"])
    assert 0.01 < without_email / len(tables["users"]) < 0.03
    assert 0.5 < len(in_role(large, *FAMILY)) / 2000 < 2


def test_every_class_has_one_primary_teacher(large: District) -> None:
    teachers = Counter(row["class"] for row in large.tables["enrollments"] if row["role"] == "teacher")
    assert set(teachers.values()) == {1}
    assert len(teachers) == len(large.tables["classes"])


def test_nobody_shares_the_local_part_of_an_address(large: District) -> None:
    local = Counter(row["email"].partition("@")[0] for row in large.tables["users"] if "email" in row)
    assert max(local.values()) == 1
    assert all(part.isascii() for part in local)


def test_siblings_share_their_guardians(large: District) -> None:
    children_of: dict[str, set[str]] = {}
    for row in large.tables["users"]:
        mine = row["roles"][0][0] == "student"
        for agent in row.get("agents", ()):
            adult, child = (agent, row["sourcedId"]) if mine else (row["sourcedId"], agent)
            children_of.setdefault(adult, set()).add(child)
    assert sum(len(children) > 1 for children in children_of.values()) > 100
    assert set(children_of) == {row["sourcedId"] for row in in_role(large, *FAMILY)}


def test_links_stand_on_the_student_or_on_the_adult_or_on_both(large: District) -> None:
    by_id = {row["sourcedId"]: row for row in large.tables["users"]}
    pairs = {(row["sourcedId"], agent) for row in by_id.values() for agent in row.get("agents", ())}
    both = sum((agent, user) in pairs for user, agent in pairs)
    on_student = sum(by_id[user]["roles"][0][0] == "student" for user, _ in pairs)
    assert both > 0
    assert on_student > len(pairs) / 2
    assert on_student < len(pairs)


def test_some_teachers_are_parents_of_students(large: District) -> None:
    assert [row for row in in_role(large, "teacher") if len({entry[0] for entry in row["roles"]}) == 2]


def test_students_who_left_have_no_enrolment_today(large: District) -> None:
    assert large.left
    today = large.day.isoformat()
    for row in large.tables["enrollments"]:
        if row["user"] in large.left:
            assert row["endDate"] < today
        elif row["role"] == "student":
            assert row["endDate"] >= today
    assert {row["user"] for row in large.tables["enrollments"]} >= large.left


def test_guardians_can_be_left_out() -> None:
    district = generate(100, guardians=False)
    assert not in_role(district, *FAMILY)
    assert not any("agents" in row for row in district.tables["users"])


def test_rows_use_the_canonical_names_but_for_what_nobody_may_keep(large: District) -> None:
    for name, columns in COLUMNS.items():
        names = {key for row in large.tables[name] for key in row}
        assert names - set(columns) <= {"password", "metadata"}
    assert any("password" in row for row in large.tables["users"])


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)))
def test_every_day_lies_in_a_school_year_without_a_gap(day: date) -> None:
    year = school_year_around(day)
    assert year.start <= day <= year.end
    assert year.start < year.second_semester < year.end
    assert year.end - year.start < timedelta(days=366)
    assert year.end.year in (day.year, day.year + 1)


def test_a_district_is_in_session_on_its_day() -> None:
    district = generate(60, day=date(2027, 7, 12))
    today = "2027-07-12"
    sessions = {row["sourcedId"]: row for row in district.tables["academicSessions"]}
    current = {key for key, row in sessions.items() if row["startDate"] <= today <= row["endDate"]}
    kinds = {sessions[key]["type"] for key in current}
    assert kinds == {"schoolYear", "semester"}
    assert any(set(row["terms"]) & current for row in district.tables["classes"])


def test_no_student_is_too_few() -> None:
    with pytest.raises(ValueError, match="at least one"):
        generate(0)


# ---------------------------------------------------------------- the second provider


def test_a_second_provider_has_the_same_people_under_other_ids(large: District) -> None:
    second = as_second_provider(large)
    assert not dangling(second)
    ids = {row["sourcedId"] for rows in large.tables.values() for row in rows}
    assert ids.isdisjoint(row["sourcedId"] for rows in second.tables.values() for row in rows)

    def local(district: District) -> set[str]:
        return {row["username"] for row in district.tables["users"]}

    assert 0.95 < len(local(large) & local(second)) / len(local(large)) < 1
    assert set(local(second) - local(large)) == {f"guest.pupil{n}" for n in range(1, 21)}


def test_a_second_provider_writes_some_addresses_at_another_domain(large: District) -> None:
    second = as_second_provider(large, own=0)
    before = {row["username"]: row.get("email", "") for row in large.tables["users"]}
    moved = same = 0
    for row in second.tables["users"]:
        old, new = before[row["username"]], row.get("email", "")
        assert old.partition("@")[0] == new.partition("@")[0]
        moved += old != new
        same += old == new
        if row["roles"][0][0] in FAMILY:
            assert old == new
    assert moved > 500
    assert same > moved


def test_a_second_provider_leaves_the_first_as_it_was() -> None:
    district, untouched = generate(80, seed=9), generate(80, seed=9)
    as_second_provider(district)
    assert district.tables == untouched.tables


def test_a_school_can_be_left_unfinished_without_its_teachers() -> None:
    district = generate(1500, seed=3)
    unfinished = with_unfinished_school(district)
    schools = [row["sourcedId"] for row in district.tables["orgs"] if row["type"] == "school"]

    def teachers(found: District) -> Counter[str]:
        rows = found.tables["users"]
        return Counter(org for row in rows for role, org, *_ in row["roles"] if role == "teacher")

    before, after = teachers(district), teachers(unfinished)
    assert after == {school: before[school] for school in schools[:-1]}
    assert before[schools[-1]] > 0
    known = {row["sourcedId"] for row in unfinished.tables["users"]}
    assert {row["user"] for row in unfinished.tables["enrollments"]} <= known
    assert {agent for row in unfinished.tables["users"] for agent in row.get("agents", ())} <= known
    assert unfinished.tables["classes"] == district.tables["classes"]
