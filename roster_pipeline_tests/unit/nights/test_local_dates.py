"""`as_of` where a tenant's own date and UTC's differ, and on the nights on which clocks change."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from roster_pipeline.nights.windows import as_of, window
from roster_pipeline.tenants.document import Provider, Region, Tenant


def tenant(region: Region, zone: str | None) -> Tenant:
    files = Provider(name="sis", kind="oneroster_csv", path="/x")
    return Tenant(tenant="t", region=region, time_zone=zone, providers=(files,))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "region, zone, started, day",
    [
        # In the window, when UTC's date is not yet, or no longer, the school day that the night serves.
        ("US", None, "2025-10-14 23:30", date(2025, 10, 15)),
        ("US", "America/Los_Angeles", "2025-10-14 23:30", date(2025, 10, 15)),
        ("AU", None, "2025-10-14 10:30", date(2025, 10, 15)),
        ("AU", "Australia/Sydney", "2025-10-14 21:30", date(2025, 10, 15)),
        ("NZ", None, "2025-10-14 06:30", date(2025, 10, 15)),
        ("NZ", "Pacific/Auckland", "2025-10-14 17:30", date(2025, 10, 15)),
        ("UK", None, "2025-10-14 18:30", date(2025, 10, 15)),
        ("UK", "Europe/London", "2025-10-14 23:30", date(2025, 10, 15)),
        # By day and by hand, when it is already, or still, another date there than in UTC.
        ("US", "Pacific/Honolulu", "2025-10-15 22:00", date(2025, 10, 15)),
        ("AU", None, "2025-10-14 22:30", date(2025, 10, 15)),
        ("AU", "Australia/Sydney", "2025-10-14 22:30", date(2025, 10, 15)),
        ("NZ", None, "2025-10-14 18:30", date(2025, 10, 15)),
        ("NZ", "Pacific/Chatham", "2025-10-14 22:30", date(2025, 10, 15)),
        ("UK", "Pacific/Auckland", "2025-10-14 12:30", date(2025, 10, 15)),
    ],
)
def test_where_utc_has_another_date_the_tenants_own_counts(
    region: Region, zone: str | None, started: str, day: date
):
    assert as_of(tenant(region, zone), at(started)) == day


# Region, zone, the date of the change, and the instant at which clocks change.
CHANGES: list[tuple[Region, str, date, str]] = [
    ("US", "America/Chicago", date(2025, 3, 9), "2025-03-09 08:00"),
    ("US", "America/Chicago", date(2025, 11, 2), "2025-11-02 07:00"),
    ("AU", "Australia/Sydney", date(2025, 10, 5), "2025-10-04 16:00"),
    ("AU", "Australia/Sydney", date(2025, 4, 6), "2025-04-05 16:00"),
    ("NZ", "Pacific/Auckland", date(2025, 9, 28), "2025-09-27 14:00"),
    ("NZ", "Pacific/Auckland", date(2025, 4, 6), "2025-04-05 14:00"),
    ("UK", "Europe/London", date(2025, 3, 30), "2025-03-30 01:00"),
    ("UK", "Europe/London", date(2025, 10, 26), "2025-10-26 01:00"),
]


@pytest.mark.parametrize("own_zone", [True, False], ids=["time zone set", "fixed offset"])
@pytest.mark.parametrize("region, zone, day, change", CHANGES)
def test_on_a_night_on_which_clocks_change_all_starts_serve_one_day(
    region: Region, zone: str, day: date, change: str, own_zone: bool
):
    here = tenant(region, zone if own_zone else None)
    night = window(region, at(change))
    assert night is not None, "clocks change inside the window, at the dead of night"
    instants = [night.start, at(change) - timedelta(seconds=1), at(change), night.end - timedelta(seconds=1)]
    assert {as_of(here, instant) for instant in instants} == {day}


@pytest.mark.parametrize("region, zone, day, change", CHANGES)
def test_the_nights_before_and_after_serve_the_days_before_and_after(
    region: Region, zone: str, day: date, change: str
):
    for days in (-1, 1):
        assert as_of(tenant(region, zone), at(change) + timedelta(days=days)) == day + timedelta(days=days)


@pytest.mark.parametrize(
    "zone, started, day",
    [
        # 23:30 UTC: in London it is 00:30 of the next day in summer, and 23:30 in winter. Both are in the
        # window, whose end decides.
        ("Europe/London", "2025-07-15 23:30", date(2025, 7, 16)),
        ("Europe/London", "2025-12-15 23:30", date(2025, 12, 16)),
        # 11:30 UTC is by day in the UK's region: there, the zone's own midnight decides.
        ("Pacific/Auckland", "2025-07-15 11:30", date(2025, 7, 15)),
        ("Pacific/Auckland", "2025-12-15 11:30", date(2025, 12, 16)),
    ],
)
def test_by_day_summer_time_moves_midnight_and_in_the_window_nothing(zone: str, started: str, day: date):
    assert as_of(tenant("UK", zone), at(started)) == day
