"""Writes a tenant's changes: one upsert a table, in the caller's one transaction.

Removal is an update too: the row stays under its key and gets `removed_at`. What was there before goes
into `history` first.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd
from sqlalchemy import Table, bindparam, update

from roster_pipeline.rosters import rows
from roster_pipeline.rosters.changes import KEYS
from roster_pipeline.store import database, history
from roster_pipeline.store.copying import records_of, stamp_of, upsert
from roster_pipeline.store.published import columns_of

if TYPE_CHECKING:
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
    stamp = stamp_of(now)
    for table in database.PUBLISHED:
        change = changes.get(table.name)
        if change is None:
            continue
        names = columns_of(table)
        history.record(
            connection,
            table,
            tenant,
            sync_id,
            changed={
                *_keys(table, change.updated),
                *_keys(table, change.removed),
                *(((one,) for one in merged) if table is database.people else ()),
            },
            added=_keys(table, change.added),
        )
        live = pd.concat([change.added, change.updated]) if len(change.updated) else change.added
        upsert(
            connection,
            table,
            [
                *records_of(table, names, live, (tenant, sync_id, sync_id, None)),
                *records_of(table, names, change.removed, (tenant, sync_id, sync_id, stamp)),
            ],
            ["tenant", "created_sync", "changed_sync", "removed_at", *names],
            keep=("created_sync",),
        )
    _point(connection, tenant, sync_id, merged)


def _keys(table: Table, frame: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    return rows.keys(frame, *KEYS[table.name]) if len(frame) else iter(())


def _point(connection: Connection, tenant: str, sync_id: int, merged: dict[str, str]) -> None:
    """People who turned out to be somebody else name them: also whom nobody had brought for long.

    A person who was made and joined on one night was never published; there is no row to change.
    """
    if merged:
        table = database.people
        connection.execute(
            update(table)
            .where(table.c.tenant == tenant, table.c.person_id == bindparam("younger"))
            .values(merged_into=bindparam("older"), changed_sync=sync_id),
            [{"younger": younger, "older": older} for younger, older in merged.items()],
        )


def remember(connection: Connection, table: Table, tenant: str, frame: pd.DataFrame) -> None:
    """Adds or replaces rows of a memory table (`school_sources`, `enrolled_sources`, `sync_outcomes`)."""
    names = list(frame.columns)
    upsert(connection, table, list(records_of(table, names, frame, (tenant,))), ["tenant", *names])
