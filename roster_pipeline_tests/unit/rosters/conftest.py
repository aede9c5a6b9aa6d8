"""What the tests of the rules share."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import pytest


@pytest.fixture(scope="module", autouse=True)
def _plain_strings() -> Iterator[None]:
    """Strings as Python objects: of a few rows they are a third faster, and hundreds of nights are run here.

    The tests of whole syncs run the same rules on Arrow's strings, as they are read from the lake.
    """
    with pd.option_context("mode.string_storage", "python"):
        yield
