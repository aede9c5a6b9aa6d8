"""How a step's figures and tables become Dagster's metadata.

Counts, codes, school ids and names only; what is personal never comes this far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import dagster as dg

from roster_pipeline.charts import as_image, in_words, people_chart

ROW_COUNT: Final = "dagster/partition_row_count"
MOST_ROWS: Final = 100
"""Rows of a table that are shown: they are stored with the event. The database has all of them."""

HEADINGS: Final = {
    "unmatched_users": "Unmatched Users",
    "matched_students": "Matched Students",
    "matched_teachers": "Matched Teachers",
    "imported_classes": "Imported Classes",
    "created_students": "Created Students",
    "created_teachers": "Created Teachers",
    "created_users": "Created Users",
    "memberships": "Memberships",
}
"""How a count is called in a table: as in the guides' Sync Details."""

Metadata = dict[str, Any]


def of_step(told: Mapping[str, Any]) -> Metadata:
    """The metadata of a step: its figures under their names, its row count, its tables."""
    figures = {name: value for name, value in told.items() if name not in ("row_count", "tables")}
    return {**figures, ROW_COUNT: told["row_count"], **tables(told.get("tables", {}))}


def of_document(document: Mapping[str, Any]) -> Metadata:
    """The metadata of a sync's end: status and counts, and a table each for what happened where.

    The row count is that of the published people, classes, memberships and guardian links.
    """
    counts = document["counts"]
    rows = sum(counts[name] for name in ("people", "imported_classes", "memberships", "guardian_links"))
    return {
        "status": document["status"],
        "as_of": document["as_of"],
        "sync_id": document["sync_id"],
        **counts,
        ROW_COUNT: rows,
        **tables(
            {
                "issues": document["issues"],
                "sync_details": [
                    {"of": "the tenant", "status": document["status"], **_headed(counts)},
                    *(
                        {"of": entry["name"], "status": entry["status"], **_headed(entry)}
                        for entry in document["providers"]
                    ),
                ],
                "providers": [
                    {name: value for name, value in _flat(entry).items() if name not in HEADINGS}
                    for entry in document["providers"]
                ],
                "collections": [
                    {"provider": entry["name"], "collection": name, **_flat(found)}
                    | {"dropped": sum(found["dropped"].values())}
                    for entry in document["providers"]
                    for name, found in entry["collections"].items()
                ],
                "dropped": [
                    {"provider": entry["name"], "collection": name, "reason": reason, "rows": count}
                    for entry in document["providers"]
                    for name, found in entry["collections"].items()
                    for reason, count in found["dropped"].items()
                ],
                "unmatched": [
                    {"provider": entry["name"], "reason": reason, "people": count}
                    for entry in document["providers"]
                    for reason, count in entry["outcomes"]["unmatched"].items()
                ],
                "schools": [
                    {name: entry[name] for name in ("name", "state", "code")}
                    | _headed(entry)
                    | {"school_id": entry["school_id"]}
                    for entry in document["schools"]
                ],
                "changes": [{"kind": kind, **found} for kind, found in document["changes"].items()],
            }
        ),
    }


def of_latest(syncs: Sequence[Mapping[str, Any]]) -> Metadata:
    """The last syncs, the newest first: as a small table, and as a chart."""
    if not syncs:
        return {}
    drawn = [
        {"as_of": sync["as_of"], "status": sync["status"], "people": sync["counts"].get("people")}
        for sync in reversed(syncs)
        if sync["status"] != "running"
    ]
    shown = [
        {
            **{name: sync[name] for name in ("sync_id", "as_of", "status", "code")},
            "People": sync["counts"].get("people"),
            **_headed(sync["counts"]),
        }
        for sync in syncs
    ]
    chart = dg.MetadataValue.md(as_image(people_chart(drawn), in_words(drawn)))
    return {"last_syncs": table(shown), "last_syncs_chart": chart}


def _headed(counts: Mapping[str, Any]) -> dict[str, Any]:
    """The guides' counts under the guides' headings; one that is not told is empty."""
    return {heading: counts.get(name) for name, heading in HEADINGS.items()}


def tables(records: Mapping[str, Sequence[Mapping[str, Any]]]) -> Metadata:
    """Each table that has rows; of a long one the first rows, and beside it how many there are."""
    told: Metadata = {}
    for name, found in records.items():
        if not found:
            continue
        told[name] = table(found[:MOST_ROWS])
        if len(found) > MOST_ROWS:
            told[f"{name}_in_all"] = len(found)
    return told


def table(records: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """One table; a cell that a record lacks is empty."""
    columns = list(dict.fromkeys(name for record in records for name in record))
    cells = [
        dg.TableRecord({name: "" if record.get(name) is None else record[name] for name in columns})
        for record in records
    ]
    schema = dg.TableSchema([dg.TableColumn(name, _type_of(name, records)) for name in columns])
    return dg.MetadataValue.table(cells, schema)


def _type_of(name: str, records: Sequence[Mapping[str, Any]]) -> str:
    kinds = {type(record[name]) for record in records if record.get(name) is not None}
    if kinds == {bool}:
        return "bool"
    if kinds == {int}:
        return "int"
    return "float" if kinds and kinds <= {int, float} else "string"


def _flat(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The scalars of an entry, and of a mapping of reasons what they sum up to."""
    flat = {}
    for name, value in entry.items():
        if not isinstance(value, Mapping):
            flat[name] = value
        elif value and all(isinstance(number, int) for number in value.values()):
            flat[name] = sum(value.values())
    return flat
