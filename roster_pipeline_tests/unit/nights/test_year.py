"""A year of nights in seconds: each tenant is synced once a night or reported, whatever happens."""

from __future__ import annotations

from datetime import date

import pytest

from roster_pipeline.tenants.document import Region
from roster_pipeline_tests.simulated_year import REGIONS, year


@pytest.mark.parametrize("region", REGIONS)
def test_a_leap_year_of_nights(region: Region) -> None:
    told = year(region, 60, 366, seed=1, slots=2, first=date(2028, 1, 1))
    assert told["nights"] == 366
    assert told["outages"]
    assert told["failed"]


def test_nights_that_are_too_short_report_whom_they_missed() -> None:
    told = year("US", 2500, 3, seed=3, slots=1, first=date(2026, 3, 7))
    assert told["reported"] > 100
