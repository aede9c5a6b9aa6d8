"""Many rows at once, on both databases: COPY into a temporary table on Postgres, `executemany` on SQLite."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pandas as pd
from sqlalchemy import Boolean, Integer, Table

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection


def records_of(
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


def stamp_of(instant: dt.datetime) -> str:
    """An aware instant as `removed_at` has it."""
    return instant.astimezone(dt.UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")


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


@contextmanager
def staged(
    connection: Connection, table: Table, names: Sequence[str], keys: Collection[tuple[Any, ...]]
) -> Iterator[tuple[Any, str, str]]:
    """Puts keys of a table where they can be joined with it.

    Yields:
        A cursor of the driver's own, the name of the temporary table, and the condition that joins it as
        `s` with the table as `t`.
    """
    stage, listed = f"keys_of_{table.name}", ", ".join(names)
    kinds = ", ".join(
        f"{name} {'INTEGER' if isinstance(table.columns[name].type, Integer) else 'TEXT'} NOT NULL"
        for name in names
    )
    cursor = connection.connection.cursor()
    try:
        if connection.dialect.name == "sqlite":
            cursor.execute(f"CREATE TEMP TABLE {stage} ({kinds})")
            cursor.executemany(f"INSERT INTO {stage} VALUES ({', '.join('?' * len(names))})", list(keys))
        else:
            cursor.execute(f"CREATE TEMP TABLE {stage} ({kinds}) ON COMMIT DROP")
            _copy(cursor, stage, listed, keys)
            cursor.execute(f"ANALYZE {stage}")
        yield cursor, stage, " AND ".join(f"t.{name} = s.{name}" for name in names)
        cursor.execute(f"DROP TABLE {stage}")
    finally:
        cursor.close()
