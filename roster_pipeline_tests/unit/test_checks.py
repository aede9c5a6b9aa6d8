"""The checks, as functions of what a sync tells."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from roster_pipeline.checks import CHECKS, WAITING, results
from roster_pipeline.codes import CATALOGUE, Issue, Severity
from roster_pipeline.rosters.flaws import CODES

_SOUND: dict[str, Any] = {"flaws": {}}


def _document(**parts: Any) -> dict[str, Any]:
    return {"schools": [], "providers": [], "issues": []} | parts


def _found(document: dict[str, Any]) -> dict[str, dg.AssetCheckResult]:
    return {str(found.check_name): found for found in results(document)}


def _rows(found: dg.AssetCheckResult, table: str) -> list[Any]:
    shown = (found.metadata or {})[table]
    assert isinstance(shown, dg.TableMetadataValue)
    return [record.data for record in shown.records]


def test_where_nothing_speaks_against_it_every_check_holds() -> None:
    school = {"school_id": "1", "name": "North", "state": "published", "code": None} | _SOUND
    provider = {"name": "sis", "collections": {"orgs": {"state": "ok"}}}
    issue = {"code": "RS-REF-01", "provider": "sis", "school": None, "count": 2, "message": "..."}
    found = _found(_document(schools=[school], providers=[provider], issues=[issue]))
    assert {name: result.passed for name, result in found.items()} == {check.name: True for check in CHECKS}


def test_a_school_that_was_kept_back_is_a_row_with_its_code() -> None:
    states = {"1": "published", "2": "kept", "3": "excluded"}
    schools = [
        {"school_id": key, "name": f"School {key}", "state": state, "code": "RS-SAFE-07", "flaws": {}}
        for key, state in states.items()
    ]
    found = _found(_document(schools=schools))["schools_are_complete"]
    assert not found.passed
    assert _rows(found, "schools") == [{"school_id": "2", "name": "School 2", "code": "RS-SAFE-07"}]


def test_every_collection_that_is_not_proven_complete_is_a_row() -> None:
    states = {"orgs": "ok", "users": "unproven", "classes": "stale", "enrollments": "failed"}
    provider = {"name": "sis", "collections": {name: {"state": state} for name, state in states.items()}}
    found = _found(_document(providers=[provider]))["extracts_are_complete"]
    assert not found.passed
    assert [row["state"] for row in _rows(found, "collections")] == ["unproven", "stale", "failed"]


def test_every_removal_that_waits_is_a_row() -> None:
    issues = [
        {"code": code, "provider": "sis", "school": "North", "count": 30, "message": "..."}
        for code in (*sorted(WAITING), "RS-SES-04")
    ]
    found = _found(_document(issues=issues))["removals_do_not_wait"]
    assert not found.passed
    assert [row["code"] for row in _rows(found, "removals")] == sorted(WAITING)


def test_the_codes_of_waiting_removals_are_those_that_the_catalogue_calls_so() -> None:
    assert {
        code for code, entry in CATALOGUE.items() if entry.happened.startswith("Removals wait")
    } == WAITING


def test_a_check_only_warns() -> None:
    school = {"school_id": "1", "name": "North", "state": "kept", "code": "RS-SAFE-07", "flaws": {}}
    assert {found.severity for found in results(_document(schools=[school]))} == {dg.AssetCheckSeverity.WARN}


# ------------------------------------------------------------------------------------------ flaws

CODE_OF = {
    "schools_have_students": ["RS-SAFE-07"],
    "schools_have_teachers": ["RS-SAFE-08"],
    "schools_have_classes": ["RS-SAFE-13"],
    "classes_have_teachers": ["RS-SAFE-14"],
    "classes_have_students": ["RS-SAFE-15"],
    "students_are_in_classes": ["RS-SAFE-16"],
    "people_have_merge_keys": ["RS-IDN-09"],
    "schools_have_current_sessions": ["RS-SES-01", "RS-SES-06"],
    "references_lead_somewhere": ["RS-REF-05", "RS-SAFE-17"],
    "identities_are_readable": ["RS-SAFE-09", "RS-SAFE-18"],
    "grades_do_not_vanish": ["RS-SAFE-10"],
}


def _flawed(code: str, *, state: str = "published", judged: Severity | None = None) -> dict[str, Any]:
    school = {"school_id": "1", "name": "North", "state": state, "code": None, "flaws": {code: 3}}
    issue = Issue(code, "3 of 9.", school="North", count=3, school_id="1", judged=judged)
    good = {"school_id": "2", "name": "South", "state": "published", "code": None} | _SOUND
    return _document(schools=[school, good], issues=[issue.as_json()])


@pytest.mark.parametrize("check, code", [(name, code) for name, all_ in CODE_OF.items() for code in all_])
def test_a_flaw_is_a_row_of_its_own_check_alone(check: str, code: str) -> None:
    found = _found(_flawed(code))
    assert {name for name, result in found.items() if not result.passed} == {check}
    assert _rows(found[check], "schools") == [
        {
            "school_id": "1",
            "name": "North",
            "code": code,
            "count": 3,
            "message": "3 of 9.",
            "kept_back": False,
            "cure": CATALOGUE[code].cure,
        }
    ]


def test_every_flaw_has_a_check() -> None:
    assert {code for codes in CODE_OF.values() for code in codes} == set(CODES.values())


def test_a_row_says_whether_the_flaw_kept_the_school_back() -> None:
    """A school may have several flaws, of which one keeps it back and the others only warn."""
    cases: list[tuple[Severity, bool]] = [("warning", False), ("school kept back", True)]
    for judged, kept in cases:
        document = _flawed("RS-SAFE-14", state="kept", judged=judged)
        (row,) = _rows(_found(document)["classes_have_teachers"], "schools")
        assert row["kept_back"] is kept
