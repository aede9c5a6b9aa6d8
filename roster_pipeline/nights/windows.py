"""Windows: when each region is synced, and the one date that all rules of a sync use.

Fixed offsets all year, as the guides tell them: daylight saving moves a tenant's local clock, never
a region's window. Pure functions of instants that are passed in; nothing here looks at a clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from roster_pipeline.tenants.document import Region, Tenant

OFFSETS: Final[dict[Region, timedelta]] = {
    "US": timedelta(hours=-5),
    "AU": timedelta(hours=8),
    "NZ": timedelta(hours=12),
    "UK": timedelta(0),
}
SCHEDULE_ZONES: Final[dict[Region, str]] = {
    "US": "Etc/GMT+5",
    "AU": "Etc/GMT-8",
    "NZ": "Etc/GMT-12",
    "UK": "UTC",
}
"""The same offsets as IANA names, for whoever schedules by name; their signs are the other way round."""

START: Final = time(18)
LENGTH: Final = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class Window:
    """A region's 12 hours: `start` counts, `end` does not; both aware, in UTC."""

    region: Region
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Night:
    """What a nightly sync is for."""

    tenant: str
    region: Region
    start: datetime


def window(region: Region, instant: datetime) -> Window | None:
    """The region's window that `instant` (aware) lies in, or None in the region's day."""
    newest = newest_window(region, instant)
    return newest if instant < newest.end else None


def newest_window(region: Region, instant: datetime) -> Window:
    """The region's window that began last, at `instant` or before; it may be over."""
    if instant.tzinfo is None:  # it would silently be read in this machine's zone
        raise ValueError("an aware instant is needed")
    zone = timezone(OFFSETS[region])
    local = instant.astimezone(zone)
    begun = local.date() if local.time() >= START else local.date() - timedelta(days=1)
    start = datetime.combine(begun, START, zone).astimezone(UTC)
    return Window(region, start, start + LENGTH)


def night(tenant: Tenant, instant: datetime) -> Night | None:
    """The tenant's night that a sync at `instant` serves, or None by day."""
    now = window(tenant.region, instant)
    return Night(tenant.tenant, now.region, now.start) if now else None


def as_of(tenant: Tenant, started_at: datetime) -> date:
    """The date that all rules of a sync use.

    Started inside its region's window: the tenant's local date at the window's end, the school day
    that it serves, so that the place in the queue changes nothing. Otherwise the local date at its start.
    """
    now = window(tenant.region, started_at)
    return date_at(now.end if now else started_at, tenant.region, tenant.time_zone)


def date_at(instant: datetime, region: Region, time_zone: str | None) -> date:
    """The local date of a tenant of this region, with this `time_zone` if it has one."""
    return instant.astimezone(_zone(region, time_zone)).date()


def zone_of(tenant: Tenant) -> tzinfo:
    """The tenant's `time_zone`, or its region's fixed offset."""
    return _zone(tenant.region, tenant.time_zone)


def _zone(region: Region, time_zone: str | None) -> tzinfo:
    return ZoneInfo(time_zone) if time_zone else timezone(OFFSETS[region])
