"""Whole syncs of a minimum implementation: nothing is missed in compatibility mode, which is else advised."""

from __future__ import annotations

import copy
import json
from datetime import timedelta
from typing import Any, Final

import pytest
from click.testing import CliRunner

from roster_pipeline.cli import main
from roster_pipeline.codes import CATALOGUE
from roster_pipeline.sandbox.generator import DAY, generate
from roster_pipeline.sandbox.misbehaviour import Misbehaviour
from roster_pipeline.sandbox.source import Tables, without_sessions
from roster_pipeline_tests.syncing import (
    Deployment,
    Document,
    Roster,
    changed,
    codes,
    removed,
    rest_provider,
    serving,
)

DISTRICT = generate(140, seed=9, left=0.05)
ADVICE = "RS-PRV-06"
ON: Final[dict[str, Any]] = {"compatibility_mode": True}
BOTH: Final[dict[str, Any]] = {"respect_enrolment_date": True, "respect_academic_sessions": True}
KEPT: Final = ("classes", "people", "memberships")
GUARDIANS: Final[dict[str, Any]] = {"sync_parent_data": True, "relationship_type": "guardian"}


@pytest.fixture
def tables() -> Tables:
    return copy.deepcopy(DISTRICT.tables)


def some_are_to_go(tables: Tables) -> dict[str, set[str]]:
    """Some rows of each kind get a status under which they are served and do not count; their ids."""
    gone = {}
    for name in ("courses", "classes", "users", "enrollments"):
        every = tables[name][7::40]
        for row in every:
            row["status"] = "tobedeleted"
        gone[name] = {row["sourcedId"] for row in every}
        assert gone[name]
    return gone


def source_ids(roster: Roster, table: str) -> set[str]:
    """The ids at the provider of all rows of a table; people have theirs under `person_id`."""
    key = {"people": "person_id", "classes": "class_id"}[table]
    return {dict(row)[key].removeprefix("sis/") for row in roster[table]}


def inactive(roster: Roster) -> set[str]:
    """The identifiers of those who are inactive: their links have ended."""
    return {dict(row)["identifier"] for row in roster["people"] if dict(row)["inactive_since"]}


def without_dates(tables: Tables) -> Tables:
    """The same, but that no enrolment tells when it begins or ends: nothing dates the classes."""
    dates = {"beginDate", "endDate"}
    bare = [{name: row[name] for name in row if name not in dates} for row in tables["enrollments"]]
    return {**without_sessions(tables), "enrollments": bare}


def adds_up(document: Document) -> bool:
    return all(
        found["read"] == found["kept"] + sum(found["dropped"].values())
        for provider in document["providers"]
        for found in provider["collections"].values()
    )


@pytest.mark.parametrize("signed", [False, True], ids=["tokens", "signatures"])
def test_with_the_mode_on_all_who_are_active_are_published_and_the_second_sync_changes_nothing(
    here: Deployment, tables: Tables, signed: bool
) -> None:
    """The same roster comes out as from a server that follows the specification, but for the sessions."""
    gone = some_are_to_go(tables)
    with serving(tables, "minimum") as least, serving(without_sessions(tables), "oneroster-1.1") as good:
        given = rest_provider(least, **ON, **GUARDIANS)
        if signed:
            del given["token_url"]
        here.apply("least", given)
        here.apply("good", rest_provider(good, **GUARDIANS))
        first, second = here.sync("least", DAY), here.sync("least", DAY)
        compared = here.sync("good", DAY)
    assert (first["status"], second["status"], compared["status"]) == ("successful",) * 3
    assert ADVICE not in codes(first)
    assert changed(second) == {}
    assert adds_up(first)
    found, wanted = here.roster("least"), here.roster("good")
    for name, rows in wanted.items():
        assert found[name] ^ rows == set(), name
    assert found["guardian_links"]
    assert source_ids(found, "people").isdisjoint(gone["users"])
    assert source_ids(found, "classes").isdisjoint(gone["classes"])
    read = first["providers"][0]["collections"]
    assert read["users"]["dropped"]["deleted"] == len(gone["users"])
    assert {found["state"] for found in read.values()} == {"ok"}


def test_with_both_rules_on_classes_without_dates_stay_and_students_leave_by_their_dates(
    here: Deployment, tables: Tables
) -> None:
    undated = tables["classes"][0]["sourcedId"]
    for row in tables["enrollments"]:
        if row["class"] == undated:
            row["beginDate"] = row["endDate"] = ""
    with serving(tables, "minimum") as served:
        here.apply("least", rest_provider(served, **ON, **BOTH))
        first, second = here.sync("least", DAY), here.sync("least", DAY)
    assert (first["status"], codes(first)) == ("successful", ["RS-SES-05"])
    assert changed(second) == {}
    roster = here.roster("least")
    assert {dict(row)["session_ids"] for row in roster["classes"]} == {"[]"}
    collections = first["providers"][0]["collections"]
    assert "undated" not in collections["classes"]["dropped"]
    assert undated in source_ids(roster, "classes")
    today = DAY.isoformat()
    ended = {row["user"] for row in tables["enrollments"] if (row.get("endDate") or "9") < today}
    current = {row["user"] for row in tables["enrollments"] if (row.get("endDate") or "9") >= today}
    left = ended - current
    assert left
    assert collections["users"]["dropped"]["left"] == len(left)
    assert source_ids(roster, "people").isdisjoint(left)


def test_who_leaves_a_minimum_implementation_turns_inactive_and_is_removed_after_the_grace(
    here: Deployment, tables: Tables
) -> None:
    """No counts are sent; that a page came empty is what proves the extract whole."""
    some = [row for row in tables["users"] if row["roles"][0][0] == "student"][3]
    who = some["sourcedId"]
    with serving(tables, "minimum") as served:
        here.apply("least", rest_provider(served, **ON))
        here.sync("least", DAY)
        assert who in source_ids(here.roster("least"), "people")
        rest = {
            **tables,
            "users": [row for row in tables["users"] if row["sourcedId"] != who],
            "enrollments": [row for row in tables["enrollments"] if row["user"] != who],
        }
        served.sandbox.replace(rest)
        second = here.sync("least", DAY + timedelta(1))
        assert inactive(here.roster("least")) == {some["identifier"]}
        third = here.sync("least", DAY + timedelta(1 + 7))
        assert inactive(here.roster("least")) == {some["identifier"]}
        fourth = here.sync("least", DAY + timedelta(2 + 7))
    assert [told["status"] for told in (second, third, fourth)] == ["successful"] * 3
    assert removed(third) == {}
    assert removed(fourth) == {"people": 1}
    assert inactive(here.roster("least")) == set()
    assert who not in source_ids(here.roster("least"), "people")


def test_a_minimum_implementation_that_stops_half_way_removes_nobody(
    here: Deployment, tables: Tables
) -> None:
    with serving(tables, "minimum") as served:
        here.apply("least", rest_provider(served, **ON))
        here.sync("least", DAY)
        before = here.roster("least")
        for fault in ("server-error", "empty", "no-collection", "truncated"):
            served.sandbox.misbehave(Misbehaviour(fault, endpoint="users", after=1))
            told = here.sync("least", DAY + timedelta(1))
            # An empty page where rows were is what no client can tell from an end: then the schools are
            # found to be incomplete.
            assert ("RS-PRV-04" if fault == "empty" else "RS-SAFE-05") in codes(told)
            assert told["status"] == ("failed" if fault == "empty" else "partial")
            assert changed(told).keys() <= {"schools"}
            after = here.roster("least")
            assert {name: after[name] for name in KEPT} == {name: before[name] for name in KEPT}


def test_with_the_mode_off_the_sync_fails_and_says_once_that_it_would_help(
    here: Deployment, tables: Tables
) -> None:
    with serving(tables, "minimum") as served:
        here.apply("least", rest_provider(served, **ON))
        here.sync("least", DAY)
        before = here.roster("least")
        here.apply("least", rest_provider(served))
        told = here.sync("least", DAY + timedelta(1))
        here.apply("new", rest_provider(served))
        first = here.sync("new", DAY)
    assert (told["status"], first["status"]) == ("failed", "failed")
    assert "RS-SAFE-05" in codes(told)
    for document in (told, first):
        (advice,) = [issue for issue in document["issues"] if issue["code"] == ADVICE]
        assert advice["message"] == "`compatibility_mode: true` would help: the server refuses to sort."
        assert (advice["provider"], advice["severity"]) == ("sis", "warning")
        assert "compatibility_mode: true" in advice["cure"]
    assert removed(told) == {}
    assert here.roster("least") == before
    assert not any(here.roster("new").values())


@pytest.mark.parametrize("wanted", [False, True], ids=["all-classes", "current-classes"])
def test_where_sessions_are_an_empty_list_the_mode_is_advised_if_current_classes_are_wanted(
    here: Deployment, tables: Tables, wanted: bool
) -> None:
    with serving(without_dates(tables), "oneroster-1.1") as served:
        here.apply("off", rest_provider(served, respect_academic_sessions=wanted))
        here.apply("on", rest_provider(served, respect_academic_sessions=wanted, **ON))
        off, on = here.sync("off", DAY), here.sync("on", DAY)
    assert codes(off) == (["RS-SES-03", ADVICE, "RS-SES-06"] if wanted else ["RS-SES-06"])
    assert codes(on) == (["RS-SES-05"] if wanted else [])
    assert (off["status"], on["status"]) == ("successful", "successful")
    assert len(here.roster("on")["classes"]) == len(tables["classes"])
    assert len(here.roster("off")["classes"]) == (0 if wanted else len(tables["classes"]))


def test_sessions_that_were_there_yesterday_are_no_reason_to_advise_the_mode(
    here: Deployment, tables: Tables
) -> None:
    tables = {**tables, "enrollments": without_dates(tables)["enrollments"]}
    with serving(tables, "oneroster-1.1") as served:
        here.apply("town", rest_provider(served, **BOTH))
        assert codes(here.sync("town", DAY)) == []
        for fault in ("not-found", "empty"):
            served.sandbox.misbehave(Misbehaviour(fault, endpoint="academicSessions"))
            told = here.sync("town", DAY + timedelta(1))
            assert told["status"] == "partial"
            assert ADVICE not in codes(told), fault
            assert removed(told) == {}


# -------------------------------------------------------------------------------- check


def _checked(tenant: str) -> tuple[str, dict[str, Any]]:
    text = CliRunner().invoke(main, ["check", tenant]).stdout
    return text, json.loads(CliRunner().invoke(main, ["check", tenant, "--json"]).stdout)["providers"][0]


def _codes(source: dict[str, Any]) -> list[str]:
    return [issue["code"] for issue in source["issues"]]


def test_check_says_in_one_line_that_the_mode_would_help(here: Deployment, tables: Tables) -> None:
    with serving(tables, "minimum") as served:
        here.apply("least", rest_provider(served))
        text, off = _checked("least")
        here.apply("least", rest_provider(served, **ON, **BOTH))
        _, on = _checked("least")
    assert (off["state"], on["state"]) == ("unusable", "usable")
    assert _codes(off) == ["RS-NET-07", ADVICE]
    assert _codes(on) == ["RS-SES-05"]
    lines = [line for line in text.splitlines() if ADVICE in line]
    assert lines == [
        "  RS-PRV-06 (warning) `compatibility_mode: true` would help: the server refuses to sort."
    ]
    assert CATALOGUE[ADVICE].cure in text


def test_check_says_so_of_classes_without_sessions(here: Deployment, tables: Tables) -> None:
    with serving(without_dates(tables), "oneroster-1.1") as served:
        here.apply("town", rest_provider(served, **BOTH))
        _, wanted = _checked("town")
        here.apply("town", rest_provider(served, respect_enrolment_date=True))
        _, all_classes = _checked("town")
    assert ADVICE in _codes(wanted)
    assert ADVICE not in _codes(all_classes)


@pytest.mark.parametrize("flavour", ["powerschool", "classlink", "oneroster-1.1", "oneroster-1.2"])
def test_nothing_is_advised_of_a_good_server(here: Deployment, tables: Tables, flavour: str) -> None:
    with serving(tables, flavour) as served:
        for number, given in enumerate((BOTH, {**ON, **BOTH})):
            tenant = f"town-{number}"
            here.apply(tenant, rest_provider(served, **given))
            told = here.sync(tenant, DAY)
            assert told["status"] == "successful"
            assert ADVICE not in codes(told)
            assert ADVICE not in _codes(_checked(tenant)[1])
