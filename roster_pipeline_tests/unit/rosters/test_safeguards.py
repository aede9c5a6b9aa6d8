"""When removals wait: every limit of product.md from both of its sides."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roster_pipeline.rosters.safeguards import waits_in_class, waits_in_school
from roster_pipeline.tenants.document import Safeguards

DEFAULT = Safeguards()


@pytest.mark.parametrize(
    "going, total, code",
    [
        pytest.param(0, 10, None, id="nothing goes"),
        pytest.param(0, 0, None, id="nothing was there"),
        pytest.param(4, 8, None, id="half of a small school, but fewer than five"),
        pytest.param(5, 8, "RS-SAFE-01", id="five of eight are more than half"),
        pytest.param(5, 10, "RS-SAFE-01", id="five of ten are exactly half"),
        pytest.param(5, 11, None, id="five of eleven are less than half"),
        pytest.param(24, 48, "RS-SAFE-01", id="twenty-four are exactly half of forty-eight"),
        pytest.param(24, 49, None, id="twenty-four are less than half of forty-nine"),
        pytest.param(24, 120, None, id="twenty-four are exactly a fifth, and fewer than twenty-five"),
        pytest.param(25, 125, "RS-SAFE-01", id="twenty-five are exactly a fifth"),
        pytest.param(25, 126, None, id="twenty-five are less than a fifth"),
        pytest.param(200, 1000, "RS-SAFE-01", id="two hundred are exactly a fifth"),
        pytest.param(199, 1000, None, id="one less than a fifth"),
        pytest.param(499, 10_000, None, id="499 of many"),
        pytest.param(500, 10_000, "RS-SAFE-01", id="500 wait however many there are"),
        pytest.param(1, 1, "RS-SAFE-03", id="the only row of a kind"),
        pytest.param(4, 4, "RS-SAFE-03", id="all four of a small school"),
        pytest.param(600, 600, "RS-SAFE-03", id="all of a large school"),
    ],
)
def test_in_a_school(going: int, total: int, code: str | None):
    assert waits_in_school(going, total, 0, DEFAULT) == code


@pytest.mark.parametrize(
    "going, total, settled, code",
    [
        pytest.param(2, 10, 8, "RS-SAFE-03", id="with those who leave by dates, nobody would be left"),
        pytest.param(2, 10, 7, None, id="one stays"),
        pytest.param(0, 10, 10, None, id="all leave by their dates"),
        pytest.param(4, 10, 5, None, id="those who leave by their dates are not counted"),
    ],
)
def test_explained_removals_are_not_counted(going: int, total: int, settled: int, code: str | None):
    assert waits_in_school(going, total, settled, DEFAULT) == code


@pytest.mark.parametrize(
    "going, total, code",
    [
        pytest.param(4, 5, None, id="four, though most of the class"),
        pytest.param(5, 10, "RS-SAFE-02", id="five of ten are exactly half"),
        pytest.param(5, 11, None, id="five of eleven are less than half"),
        pytest.param(6, 11, "RS-SAFE-02", id="six of eleven"),
        pytest.param(5, 5, "RS-SAFE-02", id="all five"),
        pytest.param(0, 0, None, id="nobody"),
    ],
)
def test_in_a_class(going: int, total: int, code: str | None):
    assert waits_in_class(going, total, DEFAULT) == code


@pytest.mark.parametrize(
    "limits, going, total, waits",
    [
        (Safeguards(small=2), 2, 4, True),
        (Safeguards(small=2), 1, 4, False),
        (Safeguards(rows=10), 10, 40, True),
        (Safeguards(rows=10), 9, 40, False),
        (Safeguards(share=0.5), 25, 100, False),
        (Safeguards(share=0.5), 50, 100, True),
        (Safeguards(many=30), 30, 1000, True),
        (Safeguards(many=30), 29, 1000, False),
    ],
)
def test_the_limits_of_a_school_are_settings(limits: Safeguards, going: int, total: int, waits: bool):
    assert (waits_in_school(going, total, 0, limits) is not None) == waits


@pytest.mark.parametrize(
    "limits, going, total, waits",
    [
        (Safeguards(class_rows=2), 2, 4, True),
        (Safeguards(class_rows=2), 1, 4, False),
        (Safeguards(class_share=0.9), 8, 10, False),
        (Safeguards(class_share=0.9), 9, 10, True),
    ],
)
def test_the_limits_of_a_class_are_settings(limits: Safeguards, going: int, total: int, waits: bool):
    assert (waits_in_class(going, total, limits) is not None) == waits


def _by_walking(total: int) -> int:
    """The smallest number of rows that waits, found as a reader of the page would find it."""
    for going in range(1, total + 1):
        enough = going >= 5 and (going >= 25 or Fraction(going, total) >= Fraction(1, 2))
        if going == total or (enough and (Fraction(going, total) >= Fraction(1, 5) or going >= 500)):
            return going
    raise AssertionError("all rows always wait")


def test_the_smallest_removal_that_waits_is_the_pages_for_every_size_of_school():
    for total in [*range(1, 300), 499, 500, 501, 2499, 2500, 2501, 2600, 9999]:
        least = _by_walking(total)
        assert waits_in_school(least, total, 0, DEFAULT), total
        assert not waits_in_school(least - 1, total, 0, DEFAULT), total


@settings(max_examples=100)
@given(total=st.integers(1, 3000), going=st.integers(0, 3000), more=st.integers(0, 100))
def test_a_larger_removal_never_goes_where_a_smaller_one_waits(total: int, going: int, more: int):
    going, larger = min(going, total), min(going + more, total)
    if waits_in_school(going, total, 0, DEFAULT):
        assert waits_in_school(larger, total, 0, DEFAULT)
    if waits_in_class(going, total, DEFAULT):
        assert waits_in_class(larger, total, DEFAULT)
