"""The other half of the floor: the rows of a published roster, put into a new database as fast as it can.

`dump` writes the tables that a first sync fills as CSV files, which nobody measures. `python -m
benchmarks.load` then fills a new database from them, with the same tables and indexes (the package's own
migrations make them), and prints one JSON line: reading the files counts, making the tables and starting does
not. Postgres gets each file by COPY, SQLite by `executemany`; all in one transaction, as a sync publishes.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Table

from benchmarks.processes import cpu_of
from roster_pipeline.store.database import (
    PUBLISHED,
    connect,
    enrolled_sources,
    school_sources,
    sync_outcomes,
    upgrade,
)

TABLES: Final[tuple[Table, ...]] = (*PUBLISHED, school_sources, enrolled_sources, sync_outcomes)
NULL: Final = r"\N"
_PIECE: Final = 1 << 20


def sqlite_version() -> str:
    """Of the library that Python has."""
    return sqlite3.sqlite_version


def dump(url: str, folder: Path) -> int:
    """Writes each table as `NAME.csv`, without a header; gives how many rows there are."""
    folder.mkdir(parents=True, exist_ok=True)
    engine = connect(url)
    rows = 0
    try:
        with engine.begin() as connection:
            for table in TABLES:
                rows += _dumped(connection, table, folder / f"{table.name}.csv")
    finally:
        engine.dispose()
    return rows


def _dumped(connection: Connection, table: Table, file: Path) -> int:
    names = ", ".join(column.name for column in table.columns)
    cursor: Any = connection.connection.cursor()
    if connection.dialect.name == "sqlite":
        count = 0
        with file.open("w", encoding="utf-8", newline="") as text:
            writer = csv.writer(text)
            for row in cursor.execute(f"SELECT {names} FROM {table.name}"):
                writer.writerow([NULL if value is None else value for value in row])
                count += 1
        return count
    copying = f"COPY {table.name} ({names}) TO STDOUT (FORMAT csv, NULL '{NULL}')"
    with cursor.copy(copying) as copy, file.open("wb") as written:
        for piece in copy:
            written.write(piece)
    return int(cursor.rowcount)


def load(url: str, folder: Path, *, database: int | None = None) -> dict[str, float]:
    """Fills a new database; what it cost. `database` is the id of the server's first process."""
    engine = connect(url)
    upgrade(engine)
    own, before, began = os.getpid(), cpu_of(database) if database else 0.0, time.perf_counter()
    cpu = cpu_of(own)
    rows = 0
    with engine.begin() as connection:
        for table in TABLES:
            rows += _loaded(connection, table, folder / f"{table.name}.csv")
    engine.dispose()  # what a connection still has to do, its process does when it is left
    return {
        "rows": rows,
        "wall_s": round(time.perf_counter() - began, 2),
        "cpu_s": round(cpu_of(own) - cpu, 2),
        "database_cpu_s": round(cpu_of(database) - before, 2) if database else 0.0,
    }


def _loaded(connection: Connection, table: Table, file: Path) -> int:
    names = [column.name for column in table.columns]
    listed = ", ".join(names)
    cursor: Any = connection.connection.cursor()
    if connection.dialect.name == "sqlite":
        cursor.executemany(
            f"INSERT INTO {table.name} ({listed}) VALUES ({', '.join('?' * len(names))})", _records(file)
        )
    else:
        with (
            cursor.copy(f"COPY {table.name} ({listed}) FROM STDIN (FORMAT csv, NULL '{NULL}')") as copy,
            file.open("rb") as opened,
        ):
            while piece := opened.read(_PIECE):
                copy.write(piece)
    return max(int(cursor.rowcount), 0)


def _records(file: Path) -> Iterator[list[str | None]]:
    with file.open(encoding="utf-8", newline="") as opened:
        for row in csv.reader(opened):
            yield [None if value == NULL else value for value in row]


def main() -> None:
    """Loads once."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.load")
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--database", type=int, default=None)
    given = arguments.parse_args()
    found = load(os.environ["BENCH_DATABASE_URL"], given.folder, database=given.database)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
