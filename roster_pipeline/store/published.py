"""Reads the roster as it is published, for the rules: DataFrames of strings.

Dates come as ISO texts, truth as "true" or "false", null as "". Writing is in `publish`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
from sqlalchemy import Boolean, Date, Integer, Table

from roster_pipeline.rosters.source import Published
from roster_pipeline.store import database

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Connection

BOOKKEEPING = ("tenant", "created_sync", "changed_sync", "removed_at")


def columns_of(table: Table) -> list[str]:
    """A published table's own columns, without the tenant and the bookkeeping of syncs."""
    return [column.name for column in table.columns if column.name not in BOOKKEEPING]


def read_published(connection: Connection, tenant: str) -> Published:
    """The tenant's roster: live rows, and of people and their sources the removed ones, too."""
    removed = "CASE WHEN removed_at IS NULL THEN '' ELSE 'true' END"
    return Published(
        schools=_read(connection, database.schools, tenant),
        academic_sessions=_read(connection, database.academic_sessions, tenant),
        classes=_read(connection, database.classes, tenant),
        people=_read(
            connection,
            database.people,
            tenant,
            {"removed": removed, "created_sync": "CAST(created_sync AS TEXT)"},
        ),
        person_sources=_read(connection, database.person_sources, tenant, {"removed": removed}),
        memberships=_read(connection, database.memberships, tenant),
        guardian_links=_read(connection, database.guardian_links, tenant),
        school_sources=_read(connection, database.school_sources, tenant, {}),
        enrolled=_read(connection, database.enrolled_sources, tenant, {}),
    )


def _read(
    connection: Connection, table: Table, tenant: str, extra: dict[str, str] | None = None
) -> pd.DataFrame:
    """The rows of a tenant; only live ones, unless `extra` columns are asked for."""
    names = columns_of(table)
    selected = [_as_text(table, name) for name in names] + list((extra or {}).values())
    live = " AND removed_at IS NULL" if extra is None else ""
    place = "?" if connection.dialect.name == "sqlite" else "%s"
    cursor = connection.connection.cursor()
    try:
        # The driver's own cursor: a roster has hundreds of thousands of rows, and no row objects.
        cursor.execute(
            f"SELECT {', '.join(selected)} FROM {table.name} WHERE tenant = {place}{live}", (tenant,)
        )
        return frame_of([*names, *(extra or {})], cursor.fetchall())
    finally:
        cursor.close()


def frame_of(names: list[str], records: Sequence[Sequence[Any]]) -> pd.DataFrame:
    """A DataFrame of str columns; `provider_id` is int64."""
    values = list(zip(*records, strict=True)) if records else [()] * len(names)
    return pd.DataFrame(
        {
            name: pd.Series(list(column), dtype="int64" if name == "provider_id" else "str")
            for name, column in zip(names, values, strict=True)
        }
    )


def _as_text(table: Table, name: str) -> str:
    kind = table.columns[name].type
    if name == "provider_id":
        return name
    if isinstance(kind, Boolean):
        return f"CASE WHEN {name} THEN 'true' WHEN NOT {name} THEN 'false' ELSE '' END"
    if isinstance(kind, (Date, Integer)):
        return f"COALESCE(CAST({name} AS TEXT), '')"
    return f"COALESCE({name}, '')"
