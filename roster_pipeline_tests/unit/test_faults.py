"""Where an error arose, as it may be told."""

from __future__ import annotations

import json

import pytest

from roster_pipeline.faults import place_of
from roster_pipeline.nights.windows import zone_of


def test_the_place_is_the_innermost_of_ours() -> None:
    with pytest.raises(AttributeError) as raised:
        zone_of(None)  # type: ignore[arg-type]
    assert place_of(raised.value).startswith("nights/windows.py:")


def test_of_an_error_that_never_came_through_our_code_it_is_the_place_where_it_arose() -> None:
    with pytest.raises(json.JSONDecodeError) as raised:
        json.loads("{")
    assert "decoder.py:" in place_of(raised.value)


def test_an_error_that_was_never_raised_has_no_place() -> None:
    assert place_of(ValueError()) == "an unknown place"
