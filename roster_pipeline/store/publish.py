"""Writes a tenant's changes by whole tables, in the caller's one transaction.

What a tenant has nothing of yet goes straight into the table; anything else into a temporary one first, and
from there, one statement each, into `history` and into the table. Removal is an update too: the row stays
under its key and gets `removed_at`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from roster_pipeline.rosters.changes import KEYS
from roster_pipeline.store import database, history
from roster_pipeline.store.copying import has_rows, insert, merge, staged, stamp_of, update, upsert
from roster_pipeline.store.published import columns_of, frame_of

if TYPE_CHECKING:
    import datetime as dt

    import pandas as pd
    from sqlalchemy import Table
    from sqlalchemy.engine import Connection

    from roster_pipeline.rosters.changes import Changes


def write_changes(
    connection: Connection,
    tenant: str,
    sync_id: int,
    now: dt.datetime,
    changes: dict[str, Changes],
    merged: dict[str, str],
) -> None:
    """Applies the changes of all published tables.

    Args:
        changes: Published table → its changes; one that is not named does not change.
        merged: person_id → merged_into, set on the people whom it names, whenever they were removed.
    """
    for table in database.PUBLISHED:
        if table.name in changes:
            _write(connection, table, tenant, sync_id, now, changes[table.name])
    if merged:
        _point(connection, tenant, sync_id, merged)


def _write(
    connection: Connection, table: Table, tenant: str, sync_id: int, now: dt.datetime, change: Changes
) -> None:
    names, key = columns_of(table), KEYS[table.name]
    made = {"tenant": tenant, "created_sync": sync_id, "changed_sync": sync_id}
    if len(change.added) or len(change.updated):
        if not len(change.updated) and not has_rows(connection, table, tenant):
            insert(connection, table, change.added[names], made)
        else:
            with staged(connection, table, names, change.added, change.updated) as stage:
                history.record(connection, table, tenant, sync_id, stage)
                live = {**made, "removed_at": None}
                merge(connection, table, names, stage, live, keep=("created_sync",))
    if len(change.removed):
        with staged(connection, table, key, change.removed) as stage:
            history.record(connection, table, tenant, sync_id, stage)
            gone = {"changed_sync": sync_id, "removed_at": stamp_of(now)}
            update(connection, table, tenant, key, stage, gone)


def _point(connection: Connection, tenant: str, sync_id: int, merged: dict[str, str]) -> None:
    """People who turned out to be somebody else name them: also whom nobody had brought for long.

    A person who was made and joined on one night was never published; there is no row to change.
    """
    table, key = database.people, KEYS[database.people.name]
    frame = frame_of([*key, "merged_into"], list(merged.items()))
    with staged(connection, table, list(frame.columns), frame) as stage:
        history.record(connection, table, tenant, sync_id, stage)
        update(connection, table, tenant, key, stage, {"changed_sync": sync_id}, take=("merged_into",))


def remember(connection: Connection, table: Table, tenant: str, frame: pd.DataFrame) -> None:
    """Adds or replaces rows of a memory table (`school_sources`, `enrolled_sources`, `sync_outcomes`)."""
    if frame.empty:
        return
    fill = upsert if has_rows(connection, table, tenant) else insert
    fill(connection, table, frame, {"tenant": tenant})
