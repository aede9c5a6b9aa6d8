"""Reads the roster as it is published, for the rules: DataFrames of strings.

Dates come as ISO texts, truth as "true" or "false", null as "". Writing is in `publish`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
from sqlalchemy import Boolean, Date, Integer, Table

from roster_pipeline.rosters.holds import REMEMBERED
from roster_pipeline.rosters.source import Published
from roster_pipeline.store import database
from roster_pipeline.store.copying import is_alone, read

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from sqlalchemy import Engine
    from sqlalchemy.engine import Connection

BOOKKEEPING = ("tenant", "created_sync", "changed_sync", "removed_at")


def columns_of(table: Table) -> list[str]:
    """A published table's own columns, without the tenant and the bookkeeping of syncs."""
    return [column.name for column in table.columns if column.name not in BOOKKEEPING]


_ALL: dict[str, str] = {}


class StoredRoster(Published):
    """The tenant's roster; a table is read when a rule first asks for it.

    The tables are of one state as long as the register's version is the same before the first and
    after the last reading: the publishing transaction checks that.
    """

    def __init__(self, engine: Engine, tenant: str) -> None:
        """Reads nothing yet."""
        self.__dict__.update(engine=engine, tenant=tenant)

    def __getattr__(self, name: str) -> pd.DataFrame:
        """Reads the table `name`, once."""
        if name not in _EXTRA:
            raise AttributeError(name)
        table = _MEMORY[name] if name in _MEMORY else database.metadata.tables[name]
        part = _PART.get(name, {})
        with self.__dict__["engine"].connect() as connection:
            frame = read_table(connection, table, self.__dict__["tenant"], _EXTRA[name], **part)
        self.__dict__[name] = frame
        return frame


# What is remembered besides the published tables, and where.
_MEMORY = {"enrolled": database.enrolled_sources, "left": database.sync_outcomes, "holds": database.holds}
# Of which no more is read than these columns of these rows; `categories` are coded ones (`rows.coded`).
_PART: dict[str, Any] = {
    "memberships": {
        "categories": {
            "class_id",
            "person_id",
            "role",
            "is_primary",
            "begin_date",
            "end_date",
            "provider",
        },
    },
    "left": {"names": ("provider_id", "source_id"), "where": "outcome = 'dropped' AND reason = 'left'"},
    "holds": {"names": REMEMBERED},
}

_REMOVED = "CASE WHEN removed_at IS NULL THEN '' ELSE 'true' END"

# What is read of each table besides its columns; None: nothing, and only the live rows.
_EXTRA: dict[str, dict[str, str] | None] = {
    "schools": None,
    "academic_sessions": None,
    "classes": None,
    "people": {"removed": _REMOVED, "created_sync": "CAST(created_sync AS TEXT)"},
    "person_sources": {"removed": _REMOVED},
    "memberships": None,
    "guardian_links": None,
    "school_sources": {},
    "enrolled": {},
    "left": {},
    "holds": {},
}


def read_table(
    connection: Connection,
    table: Table,
    tenant: str,
    extra: dict[str, str] | None = _ALL,
    *,
    names: Sequence[str] = (),
    where: str = "",
    categories: Container[str] = (),
) -> pd.DataFrame:
    """The rows of a tenant, with `extra` columns (name → SQL); None: only the live rows.

    `names` are the columns, all of the table's own by default; `where` is a further condition in SQL.
    Those in `categories` come as such: memberships, which name each class and person many times, take a
    fifth of the memory then.
    """
    names = names or columns_of(table)
    selected = [as_text(table, name) for name in names] + list((extra or {}).values())
    conditions = ["removed_at IS NULL"] if extra is None else []
    conditions += [where] if where else []
    further = "".join(f" AND {condition}" for condition in conditions)
    # SQLite would go through the key's index to each row: three times as much as to go through the rows.
    mine = "+tenant" if is_alone(connection, table, tenant) else "tenant"
    query = f"SELECT {', '.join(selected)} FROM {table.name} WHERE {mine} = {{tenant}}{further}"
    return read(connection, query, tenant, [*names, *(extra or {})], categories)


def frame_of(names: list[str], records: Sequence[Sequence[Any]]) -> pd.DataFrame:
    """A DataFrame of str columns; `provider_id` is int64."""
    values = list(zip(*records, strict=True)) if records else [()] * len(names)
    return pd.DataFrame(
        {
            name: pd.array(list(column), dtype="int64" if name == "provider_id" else "str")
            for name, column in zip(names, values, strict=True)
        }
    )


def as_text(table: Table, name: str, prefix: str = "") -> str:
    """The SQL that reads a column as the text that the rules have of it; `provider_id` stays a number."""
    kind = table.columns[name].type
    name = prefix + name
    if name == prefix + "provider_id":
        return name
    if isinstance(kind, Boolean):
        return f"CASE WHEN {name} THEN 'true' WHEN NOT {name} THEN 'false' ELSE '' END"
    if isinstance(kind, (Date, Integer)):
        return f"COALESCE(CAST({name} AS TEXT), '')"
    return f"COALESCE({name}, '')"
