"""A roster database of the test's own, without a migration: the tables as they are declared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from roster_pipeline_tests.empty_databases import declared


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An empty SQLite roster database in a file."""
    with declared(tmp_path / "roster.db") as engine:
        yield engine
