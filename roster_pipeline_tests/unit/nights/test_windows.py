"""Windows, nights and `as_of`, in January and July, in all regions and across daylight saving."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roster_pipeline.nights.windows import (
    LENGTH,
    OFFSETS,
    SCHEDULE_ZONES,
    Night,
    as_of,
    newest_window,
    night,
    window,
    zone_of,
)
from roster_pipeline.tenants.document import Provider, Region, Tenant

REGIONS: list[Region] = ["US", "AU", "NZ", "UK"]
ZONES = [
    None,
    "America/Chicago",
    "Pacific/Honolulu",
    "Australia/Sydney",
    "Pacific/Auckland",
    "Pacific/Kiritimati",
    "Europe/London",
    "Asia/Kathmandu",
]


def tenant(region: Region, zone: str | None = None) -> Tenant:
    return Tenant(
        tenant="t",
        region=region,
        time_zone=zone,
        providers=(Provider(name="sis", kind="oneroster_csv", path="/x"),),
    )


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# Starts of the windows that serve 16 January and 16 July, in UTC.
STARTS = [
    ("US", "2025-01-15 23:00", date(2025, 1, 16)),
    ("US", "2025-07-15 23:00", date(2025, 7, 16)),
    ("AU", "2025-01-15 10:00", date(2025, 1, 16)),
    ("AU", "2025-07-15 10:00", date(2025, 7, 16)),
    ("NZ", "2025-01-15 06:00", date(2025, 1, 16)),
    ("NZ", "2025-07-15 06:00", date(2025, 7, 16)),
    ("UK", "2025-01-15 18:00", date(2025, 1, 16)),
    ("UK", "2025-07-15 18:00", date(2025, 7, 16)),
]


@pytest.mark.parametrize("region, start, day", STARTS)
def test_a_window_begins_at_18_on_the_regions_fixed_offset_all_year_and_lasts_12_hours(region, start, day):
    begin, instant = at(start), timedelta(microseconds=1)
    found = window(region, begin)
    assert found is not None
    assert (found.start, found.end) == (begin, begin + timedelta(hours=12))
    assert window(region, begin - instant) is None
    assert window(region, begin + LENGTH - instant) == found
    assert window(region, begin + LENGTH) is None


@pytest.mark.parametrize("region, start, day", STARTS)
def test_as_of_is_the_school_day_that_the_night_serves_wherever_in_the_queue(region, start, day):
    begin = at(start)
    for later in (timedelta(0), timedelta(hours=5), timedelta(hours=12) - timedelta(microseconds=1)):
        assert as_of(tenant(region), begin + later) == day
    assert as_of(tenant(region), begin - timedelta(microseconds=1)) == day - timedelta(days=1)
    assert as_of(tenant(region), begin + LENGTH) == day


@pytest.mark.parametrize(
    "region, zone, started, day",
    [
        # In the window: the local date at its end, 11:00 UTC for US.
        ("US", "America/Chicago", "2025-01-15 23:30", date(2025, 1, 16)),
        ("US", "America/Chicago", "2025-07-16 10:59", date(2025, 7, 16)),
        ("US", "Pacific/Honolulu", "2025-01-16 05:00", date(2025, 1, 16)),
        # By day: the local date at the start.
        ("US", "Pacific/Honolulu", "2025-01-16 11:00", date(2025, 1, 16)),
        ("US", "America/Los_Angeles", "2025-01-15 22:59", date(2025, 1, 15)),
        ("AU", "Australia/Sydney", "2025-01-15 10:00", date(2025, 1, 16)),
        ("AU", "Australia/Sydney", "2025-07-15 21:59", date(2025, 7, 16)),
        # 23:30 UTC is the next day's morning in Sydney: 10:30 in January, 09:30 in July.
        ("AU", "Australia/Sydney", "2025-01-15 23:30", date(2025, 1, 16)),
        ("NZ", "Pacific/Auckland", "2025-01-15 06:00", date(2025, 1, 16)),
        ("NZ", "Pacific/Auckland", "2025-07-15 05:59", date(2025, 7, 15)),
        # 11:30 UTC: past midnight in Auckland's summer, and before it in winter; both inside the window.
        ("NZ", "Pacific/Auckland", "2025-01-15 11:30", date(2025, 1, 16)),
        ("NZ", "Pacific/Auckland", "2025-07-15 11:30", date(2025, 7, 16)),
        ("UK", "Europe/London", "2025-07-15 17:59", date(2025, 7, 15)),
        ("UK", "Europe/London", "2025-07-15 18:00", date(2025, 7, 16)),
        # Nights on which clocks change.
        ("UK", "Europe/London", "2025-03-29 18:00", date(2025, 3, 30)),
        ("UK", "Europe/London", "2025-10-25 23:00", date(2025, 10, 26)),
        ("US", "America/Chicago", "2025-03-09 01:00", date(2025, 3, 9)),
        ("NZ", "Pacific/Auckland", "2025-09-27 08:00", date(2025, 9, 28)),
    ],
)
def test_as_of_is_the_tenants_local_date(region, zone, started, day):
    assert as_of(tenant(region, zone), at(started)) == day


instants = st.datetimes(datetime(2000, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(st.sampled_from(REGIONS), instants)
def test_every_instant_is_in_one_window_or_in_the_12_hours_after_one(region, instant):
    newest = newest_window(region, instant)
    assert newest.start <= instant < newest.start + timedelta(days=1)
    assert window(region, instant) == (newest if instant < newest.end else None)
    assert newest.start.astimezone(ZoneInfo(SCHEDULE_ZONES[region])).hour == 18
    assert newest.start.utcoffset() == timedelta(0)


@given(st.sampled_from(REGIONS), st.sampled_from(ZONES), instants)
def test_as_of_is_the_same_for_the_whole_window_and_never_goes_back_with_time(region, zone, instant):
    here = tenant(region, zone)
    newest = newest_window(region, instant)
    inside = {as_of(here, newest.start), as_of(here, newest.end - timedelta(microseconds=1))}
    assert inside == {newest.end.astimezone(zone_of(here)).date()}
    assert as_of(here, instant) <= as_of(here, max(instant, newest.end))


@given(st.sampled_from(REGIONS), instants, st.integers(-14, 14))
def test_the_zone_in_which_an_instant_is_told_changes_nothing(region, instant, hours):
    told = instant.astimezone(timezone(timedelta(hours=hours)))
    assert as_of(tenant(region), told) == as_of(tenant(region), instant)
    assert window(region, told) == window(region, instant)


def test_a_night_is_the_tenant_the_region_and_the_windows_start():
    assert night(tenant("US"), at("2025-01-16 03:00")) == Night("t", "US", at("2025-01-15 23:00"))
    assert night(tenant("US"), at("2025-01-16 12:00")) is None


def test_the_names_for_schedules_are_the_fixed_offsets():
    for region, offset in OFFSETS.items():
        for month in (1, 7):
            zone = ZoneInfo(SCHEDULE_ZONES[region])
            assert datetime(2025, month, 1, tzinfo=zone).utcoffset() == offset


def test_an_instant_without_a_zone_is_refused_and_not_guessed():
    with pytest.raises(ValueError, match="aware"):
        as_of(tenant("US"), datetime(2025, 1, 1))  # noqa: DTZ001
