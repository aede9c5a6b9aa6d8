"""How figures and tables become Dagster's metadata."""

from __future__ import annotations

from typing import Any

import dagster as dg

from roster_pipeline.metadata import MOST_ROWS, of_latest, of_step, table, tables


def test_a_step_s_figures_stand_under_their_names_and_its_rows_under_dagster_s() -> None:
    told = of_step({"row_count": 3, "as_of": "2025-10-15", "matched": 2, "tables": {"issues": []}})
    assert told == {"dagster/partition_row_count": 3, "as_of": "2025-10-15", "matched": 2}


def test_a_table_has_a_column_for_whatever_any_of_its_rows_has() -> None:
    """Rows of issues leave out what they do not have; Dagster wants the same columns in all of them."""
    found = table(
        [{"code": "RS-REF-01", "count": 2}, {"code": "RS-SES-01", "school": "North", "count": None}]
    )
    assert [column.name for column in found.schema.columns] == ["code", "count", "school"]
    assert [record.data for record in found.records] == [
        {"code": "RS-REF-01", "count": 2, "school": ""},
        {"code": "RS-SES-01", "count": "", "school": "North"},
    ]


def test_the_columns_have_the_types_of_their_cells() -> None:
    found = table(
        [
            {"text": "a", "number": 1, "part": 0.5, "mixed": 1, "yes": True, "none": None},
            {"text": "b", "number": 2, "part": 1, "mixed": "b", "yes": False, "none": None},
        ]
    )
    assert {column.name: column.type for column in found.schema.columns} == {
        "text": "string",
        "number": "int",
        "part": "float",
        "mixed": "string",
        "yes": "bool",
        "none": "string",
    }


def test_a_long_table_shows_its_first_rows_and_says_how_many_there_are() -> None:
    """The rows are stored with every event: a district of 900 schools must not fill the database."""
    told = tables({"schools": [{"school_id": str(number)} for number in range(MOST_ROWS + 1)]})
    assert isinstance(told["schools"], dg.TableMetadataValue)
    assert len(told["schools"].records) == MOST_ROWS
    assert told["schools_in_all"] == MOST_ROWS + 1
    assert list(tables({"schools": [{"school_id": "1"}] * MOST_ROWS})) == ["schools"]


def _sync(number: int, status: str = "successful", **counts: int) -> dict[str, Any]:
    return {
        "sync_id": number,
        "as_of": f"2025-10-{number:02}",
        "status": status,
        "code": "",
        "counts": counts,
    }


def test_the_last_syncs_are_a_table_with_the_guides_headings_and_a_picture() -> None:
    told = of_latest([_sync(15, people=8, matched_students=6), _sync(14, "interrupted")])
    newest, before = (record.data for record in told["last_syncs"].records)
    assert (newest["sync_id"], newest["People"], newest["Matched Students"]) == (15, 8, 6)
    assert (before["status"], before["People"], before["Unmatched Users"]) == ("interrupted", "", "")
    assert isinstance(told["last_syncs_chart"], dg.MarkdownMetadataValue)
    assert of_latest([]) == {}
