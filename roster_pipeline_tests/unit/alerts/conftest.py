"""A roster database of the test's own, a receiver, and a deployment that tells it what changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from roster_pipeline_tests.empty_databases import declared
from roster_pipeline_tests.unit.alerts.receivers import Desk, desk
from roster_pipeline_tests.unit.alerts.site import Site


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with declared(tmp_path / "roster.db") as engine:
        yield engine


@pytest.fixture
def here() -> Iterator[Desk]:
    with desk() as receiver:
        yield receiver


@pytest.fixture
def site(engine: Engine, here: Desk) -> Site:
    made = Site(engine)
    made.uses(desk=here)
    return made
