"""Empty roster databases in SQLite, made once in a process and copied from then on.

Making one takes longer than many a test. Whoever tests how a database comes to be, or is upgraded, makes it
anew.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from sqlalchemy import Engine

from roster_pipeline.store import database


@cache
def migrated() -> bytes:
    """The file as a home makes it, by the migrations."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "roster.db"
        database.open_database(f"sqlite:///{file}").dispose()
        return file.read_bytes()


@cache
def _declared() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "roster.db"
        engine = database.connect(f"sqlite:///{file}")
        database.metadata.create_all(engine)
        engine.dispose()
        return file.read_bytes()


@contextmanager
def declared(file: Path) -> Iterator[Engine]:
    """A new database in this file, without a migration: the tables as they are declared."""
    file.write_bytes(_declared())
    engine = database.connect(f"sqlite:///{file}")
    try:
        yield engine
    finally:
        engine.dispose()
