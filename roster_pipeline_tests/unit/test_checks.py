"""The checks, as functions of what a sync tells."""

from __future__ import annotations

from typing import Any

import dagster as dg

from roster_pipeline.checks import WAITING, results
from roster_pipeline.codes import CATALOGUE


def _document(**parts: Any) -> dict[str, Any]:
    return {"schools": [], "providers": [], "issues": []} | parts


def _found(document: dict[str, Any]) -> dict[str, dg.AssetCheckResult]:
    return {str(found.check_name): found for found in results(document)}


def _rows(found: dg.AssetCheckResult, table: str) -> list[Any]:
    shown = (found.metadata or {})[table]
    assert isinstance(shown, dg.TableMetadataValue)
    return [record.data for record in shown.records]


def test_where_nothing_speaks_against_it_every_check_holds() -> None:
    school = {"school_id": "1", "name": "North", "state": "published", "code": None}
    provider = {"name": "sis", "collections": {"orgs": {"state": "ok"}}}
    issue = {"code": "RS-REF-01", "provider": "sis", "school": None, "count": 2, "message": "..."}
    found = _found(_document(schools=[school], providers=[provider], issues=[issue]))
    assert {name: result.passed for name, result in found.items()} == {
        "schools_are_complete": True,
        "extracts_are_complete": True,
        "removals_do_not_wait": True,
    }


def test_a_school_that_was_kept_back_is_a_row_with_its_code() -> None:
    states = {"1": "published", "2": "kept", "3": "excluded"}
    schools = [
        {"school_id": key, "name": f"School {key}", "state": state, "code": "RS-SAFE-07"}
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
    school = {"school_id": "1", "name": "North", "state": "kept", "code": "RS-SAFE-07"}
    assert {found.severity for found in results(_document(schools=[school]))} == {dg.AssetCheckSeverity.WARN}
