"""Writes a tenant's changes: one upsert a table, in the caller's one transaction.

Bulk on both databases: COPY into a temporary table on Postgres, one `executemany` on SQLite.
Removal is an update too: the row stays under its key and gets `removed_at`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from sqlalchemy import Boolean, Integer, Table, bindparam, update

from roster_pipeline.store import database
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
        merged: person_id → merged_into, set on the people whom it names, whenever they were removed.
    """
    for table in database.PUBLISHED:
        change = changes[table.name]
        names = columns_of(table)
        live = pd.concat([change.added, change.updated]) if len(change.updated) else change.added
        stamp = now.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
        upsert(
            connection,
            table,
            [
                *_rows(table, names, live, (tenant, sync_id, sync_id, None)),
                *_rows(table, names, change.removed, (tenant, sync_id, sync_id, stamp)),
            ],
            ["tenant", "created_sync", "changed_sync", "removed_at", *names],
            keep=("created_sync",),
        )
    _point(connection, tenant, sync_id, merged)


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
    upsert(connection, table, list(_rows(table, names, frame, (tenant,))), ["tenant", *names])


def _rows(
    table: Table, names: list[str], frame: pd.DataFrame, head: tuple[Any, ...]
) -> Iterator[tuple[Any, ...]]:
    """Rows for the driver: "" becomes null, "true" and "false" what they say."""
    columns: list[list[Any]] = []
    for name in names:
        kind = table.columns[name].type
        values = frame[name].tolist()
        if isinstance(kind, Boolean):
            columns.append([{"true": True, "false": False}.get(value) for value in values])
        elif isinstance(kind, Integer):
            columns.append([int(value) if value != "" else None for value in values])
        elif table.columns[name].nullable:
            columns.append([value or None for value in values])
        else:
            columns.append(values)
    for row in zip(*columns, strict=True):
        yield (*head, *row)


def upsert(
    connection: Connection,
    table: Table,
    records: Sequence[tuple[Any, ...]],
    names: list[str],
    *,
    keep: tuple[str, ...] = (),
) -> None:
    """Inserts rows, or replaces those with the same key; columns in `keep` stay as they were."""
    if not records:
        return
    key = [column.name for column in table.primary_key]
    changed = [name for name in names if name not in key and name not in keep]
    action = (
        "DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in changed)
        if changed
        else "DO NOTHING"
    )
    conflict = f"ON CONFLICT ({', '.join(key)}) {action}"
    listed = ", ".join(names)
    cursor = connection.connection.cursor()
    try:
        if connection.dialect.name == "sqlite":
            places = ", ".join("?" * len(names))
            cursor.executemany(f"INSERT INTO {table.name} ({listed}) VALUES ({places}) {conflict}", records)
        else:
            stage = f"stage_{table.name}"
            cursor.execute(f"CREATE TEMP TABLE {stage} (LIKE {table.name}) ON COMMIT DROP")
            _drop_not_null(cursor, table, stage, names)
            _copy(cursor, stage, listed, records)
            cursor.execute(f"INSERT INTO {table.name} ({listed}) SELECT {listed} FROM {stage} {conflict}")
            cursor.execute(f"DROP TABLE {stage}")
    finally:
        cursor.close()


def _drop_not_null(cursor: Any, table: Table, stage: str, names: list[str]) -> None:
    for column in table.columns:
        if column.name not in names and not column.nullable:
            cursor.execute(f"ALTER TABLE {stage} ALTER COLUMN {column.name} DROP NOT NULL")


def _copy(cursor: Any, stage: str, listed: str, records: Iterable[tuple[Any, ...]]) -> None:
    with cursor.copy(f"COPY {stage} ({listed}) FROM STDIN") as copy:
        for record in records:
            copy.write_row(record)
