"""Many rows at once, on both databases, without a Python object a row where the database can do without.

On Postgres rows travel as CSV, through COPY in both directions, written and read by Arrow; on SQLite as the
driver's tuples, made column by column. Either way some thousand rows at a time: no table is held as a text.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import repeat
from selectors import EVENT_READ, DefaultSelector
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Boolean, Integer, Table, or_, select

from roster_pipeline.rosters.columns import as_arrow

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

ROWS_AT_ONCE: Final = 20_000
BYTES_AT_ONCE: Final = 8 * 2**20


def stamp_of(instant: dt.datetime) -> str:
    """An aware instant as `removed_at` has it."""
    return instant.astimezone(dt.UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")


# ------------------------------------------------------------------------------ into the database


def has_rows(connection: Connection, table: Table, tenant: str) -> bool:
    """Whether the table holds anything of the tenant."""
    mine = select(1).where(table.c.tenant == tenant)
    # In the order of the key, so that Postgres asks the key's index and goes through nobody else's rows.
    return connection.execute(mine.order_by(*table.primary_key.columns).limit(1)).first() is not None


def insert(connection: Connection, table: Table, frame: pd.DataFrame, fixed: Mapping[str, Any]) -> None:
    """Adds rows of which none is there yet.

    Args:
        connection: In a transaction.
        table: The table.
        frame: Its columns; "" becomes null where the table allows it, "true" and "false" what they say.
        fixed: Columns that are the same in every row, and their values.
    """
    with _cursor(connection) as cursor:
        _fill(connection, cursor, table.name, table, frame, fixed)


def upsert(
    connection: Connection,
    table: Table,
    frame: pd.DataFrame,
    fixed: Mapping[str, Any],
    *,
    keep: Sequence[str] = (),
) -> None:
    """Inserts rows, or replaces those with the same key; columns in `keep` stay as they were.

    Args: as of `insert`.
    """
    if frame.empty:
        return
    with staged(connection, table, list(frame.columns), frame) as stage:
        merge(connection, table, list(frame.columns), stage, fixed, keep=keep)


@contextmanager
def staged(
    connection: Connection, table: Table, names: Sequence[str], *frames: pd.DataFrame
) -> Iterator[str]:
    """Puts some columns of a table, as `insert` takes them, into a temporary one; gives its name."""
    stage, listed = f"stage_{table.name}", ", ".join(names)
    is_sqlite = connection.dialect.name == "sqlite"
    until = "" if is_sqlite else " ON COMMIT DROP"
    with _cursor(connection) as cursor:
        cursor.execute(f"CREATE TEMP TABLE {stage}{until} AS SELECT {listed} FROM {table.name} WHERE false")
        for frame in frames:
            _fill(connection, cursor, stage, table, frame[list(names)], {})
        if not is_sqlite:
            cursor.execute(f"ANALYZE {stage}")
        yield stage
        cursor.execute(f"DROP TABLE {stage}")


def merge(
    connection: Connection,
    table: Table,
    names: Sequence[str],
    stage: str,
    fixed: Mapping[str, Any],
    *,
    keep: Sequence[str] = (),
) -> None:
    """Inserts the staged rows, or replaces those with the same key."""
    key = [column.name for column in table.primary_key]
    columns = [*fixed, *names]
    changed = [name for name in columns if name not in key and name not in keep]
    action = (
        "DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in changed)
        if changed
        else "DO NOTHING"
    )
    place = "?" if connection.dialect.name == "sqlite" else "%s"
    selected = ", ".join([*(place for _ in fixed), *names])
    with _cursor(connection) as cursor:
        # Without a WHERE, SQLite would read ON CONFLICT as the condition of a join.
        cursor.execute(
            f"INSERT INTO {table.name} ({', '.join(columns)}) SELECT {selected} FROM {stage} WHERE true"
            f" ON CONFLICT ({', '.join(key)}) {action}",
            tuple(fixed.values()),
        )


def update(
    connection: Connection,
    table: Table,
    tenant: str,
    key: Sequence[str],
    stage: str,
    fixed: Mapping[str, Any],
    *,
    take: Sequence[str] = (),
) -> None:
    """Sets columns of the tenant's rows whose `key` is staged: to a value, or to what is staged with it."""
    place = "?" if connection.dialect.name == "sqlite" else "%s"
    setting = ", ".join([*(f"{name} = {place}" for name in fixed), *(f"{name} = s.{name}" for name in take)])
    same = " AND ".join(f"t.{name} = s.{name}" for name in key)
    with _cursor(connection) as cursor:
        cursor.execute(
            f"UPDATE {table.name} AS t SET {setting} FROM {stage} AS s WHERE t.tenant = {place} AND {same}",
            (*fixed.values(), tenant),
        )


def _fill(
    connection: Connection,
    cursor: Any,
    name: str,
    table: Table,
    frame: pd.DataFrame,
    fixed: Mapping[str, Any],
) -> None:
    """Writes rows into `name`, which has columns of `table`."""
    listed = ", ".join([*fixed, *frame.columns])
    if connection.dialect.name == "sqlite":
        places = ", ".join("?" * (len(fixed) + len(frame.columns)))
        constant = [repeat(value) for value in fixed.values()]
        statement = f"INSERT INTO {name} ({listed}) VALUES ({places})"
        for part in _parts(table, frame):
            cursor.executemany(statement, zip(*constant, *(column.to_pylist() for column in part)))  # noqa: B905
        return
    from pyarrow.csv import WriteOptions, write_csv

    options = WriteOptions(include_header=False, quoting_style="all_valid")
    with cursor.copy(f"COPY {name} ({listed}) FROM STDIN (FORMAT csv, ENCODING 'UTF8')") as copy:
        for part in _parts(table, frame):
            constant = [pa.repeat(pa.scalar(value), len(part[0])) for value in fixed.values()]
            sink = pa.BufferOutputStream()
            arrays = [*constant, *part]
            write_csv(pa.record_batch(arrays, names=[str(n) for n in range(len(arrays))]), sink, options)
            copy.write(sink.getvalue())


def _parts(table: Table, frame: pd.DataFrame) -> Iterator[list[Any]]:
    """The frame's columns as the database has them, some thousand rows at a time."""
    columns = {name: as_arrow(frame[name]) for name in frame.columns}
    for start in range(0, len(frame), ROWS_AT_ONCE):
        yield [
            _stored(table.columns[name], _plain(values.slice(start, ROWS_AT_ONCE)))
            for name, values in columns.items()
        ]


def _plain(values: Any) -> Any:
    """One array without a dictionary."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def _stored(column: Any, values: Any) -> Any:
    """The texts of rules as what the column holds."""
    if pa.types.is_integer(values.type):
        return values
    if isinstance(column.type, Boolean):
        is_true = pc.equal(values, "true")
        return pc.if_else(pc.or_(is_true, pc.equal(values, "false")), is_true, None)
    if isinstance(column.type, Integer) or column.nullable:
        values = pc.if_else(pc.equal(values, ""), None, values)
    return values.cast(pa.int64()) if isinstance(column.type, Integer) else values


@contextmanager
def _cursor(connection: Connection) -> Iterator[Any]:
    """The driver's own: hundreds of thousands of rows, and no row objects."""
    cursor = connection.connection.cursor()
    try:
        yield cursor
    finally:
        cursor.close()


# ------------------------------------------------------------------------------ out of the database


def is_alone(connection: Connection, table: Table, tenant: str) -> bool:
    """Whether a table of SQLite holds nothing of anybody else; on Postgres never asked, and false."""
    if connection.dialect.name != "sqlite":
        return False
    others = (select(1).where(side).exists() for side in (table.c.tenant < tenant, table.c.tenant > tenant))
    return not connection.execute(select(or_(*others))).scalar()


def read(
    connection: Connection,
    query: str,
    tenant: str,
    names: Sequence[str],
    categories: Container[str] = (),
) -> pd.DataFrame:
    """What a query finds of a tenant: a DataFrame of str columns; `provider_id` is int64.

    Args:
        connection: Of which the query sees the transaction.
        query: SQL that gives texts, none of them null; `{tenant}` stands where the tenant's name belongs.
        tenant: The tenant.
        names: What to call the columns.
        categories: Those of them that are to be categorical: four bytes a row, and each value once.
    """
    types = {name: _type_of(name, categories) for name in names}
    columns: list[list[Any]] = [[] for _ in names]
    with _cursor(connection) as cursor:
        parts = _fetched if connection.dialect.name == "sqlite" else _copied
        for part in parts(cursor, query, tenant, types):
            for column, values in zip(columns, part, strict=True):
                column.append(values)
    found = {}
    for (name, kind), column in zip(types.items(), columns, strict=True):
        found[name] = _as_pandas(pa.chunked_array(column, kind))
        column.clear()
    return pd.DataFrame(found)


def _type_of(name: str, categories: Container[str]) -> Any:
    if name == "provider_id":
        return pa.int64()
    return pa.dictionary(pa.int32(), pa.large_string()) if name in categories else pa.large_string()


def _as_pandas(values: Any) -> Any:
    values = values.unify_dictionaries().combine_chunks()
    if pa.types.is_integer(values.type):
        return values.to_numpy(zero_copy_only=False, writable=True)
    if not pa.types.is_dictionary(values.type):
        return pd.array(values, dtype="str")
    met = pd.Index(pd.array(values.dictionary, dtype="str"))
    return pd.Categorical.from_codes(np.asarray(values.indices), categories=met)


def _fetched(cursor: Any, query: str, tenant: str, types: Mapping[str, Any]) -> Iterator[list[Any]]:
    cursor.execute(query.format(tenant="?"), (tenant,))
    while rows := cursor.fetchmany(ROWS_AT_ONCE):
        columns = zip(types.values(), zip(*rows, strict=True), strict=True)
        yield [pa.array(values, kind) for kind, values in columns]


def _copied(cursor: Any, query: str, tenant: str, types: Mapping[str, Any]) -> Iterator[list[Any]]:
    from pyarrow import csv

    reads = csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False)
    converts = csv.ConvertOptions(column_types=types)
    for block in _blocks(cursor, query, tenant):
        whole = csv.ReadOptions(
            column_names=list(types), skip_rows=1, block_size=len(block) + 1, use_threads=False
        )
        found = csv.read_csv(pa.BufferReader(block), whole, reads, converts)
        yield [column.combine_chunks() for column in found.columns]


# Arrow takes U+FEFF at the very beginning for a mark of the encoding; a row may begin with one, too.
_FIRST: Final = b"\n"


def _blocks(cursor: Any, query: str, tenant: str) -> Iterator[bytearray]:
    """The query's rows as CSV, some MiB at a time, none of them cut, after a first line that is none.

    Each row is a message of its own, and psycopg's `Copy` takes four times as long as libpq to hand it on:
    with millions of them, longer than everything else that is done to read a table.
    """
    from psycopg import errors, pq

    # This also begins the transaction, if nothing did.
    (quoted,) = cursor.execute("SELECT quote_literal(%s)", (tenant,)).fetchone()
    link = cursor.connection.pgconn
    statement = f"COPY ({query.format(tenant=quoted)}) TO STDOUT (FORMAT csv, ENCODING 'UTF8')"
    begun = link.exec_(statement.encode())
    if begun.status != pq.ExecStatus.COPY_OUT:
        raise errors.error_from_result(begun)
    block = bytearray(_FIRST)
    with DefaultSelector() as arrivals:
        arrivals.register(link.socket, EVENT_READ)
        while True:
            length, row = link.get_copy_data(1)
            if length > 0:
                block += row
                if len(block) >= BYTES_AT_ONCE:
                    yield block
                    block = bytearray(_FIRST)
            elif length == 0:  # nothing more has come yet
                arrivals.select()
                link.consume_input()
            else:
                break
    while ended := link.get_result():
        if ended.status != pq.ExecStatus.COMMAND_OK:
            raise errors.error_from_result(ended)
    if len(block) > len(_FIRST):
        yield block
