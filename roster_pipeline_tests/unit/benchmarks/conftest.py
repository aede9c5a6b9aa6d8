"""A prepared district that is made once: small, and of three parts, as a million students are of twenty."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.districts import prepare


@pytest.fixture(scope="session")
def district(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("districts"), 700, part=300)
