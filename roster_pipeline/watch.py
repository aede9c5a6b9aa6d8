"""The watch over syncs and nights: whose worker has died, and how each night ended.

A sync that cannot say so itself is told here, in the ledger, with a code: one whose worker is silent
(`RS-RUN-02`), one that went on for too long (`RS-RUN-03`), one that was never started in its night
(`RS-RUN-01`). Called by a sensor each minute; a call that finds nothing changes nothing.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from roster_pipeline.nights import windows
from roster_pipeline.nights.asking import AHEAD, INTERVAL, missed
from roster_pipeline.store import lease, ledger, nights
from roster_pipeline.store.database import syncs
from roster_pipeline.store.instants import aware

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.engine import Connection

    from roster_pipeline.codes import Issue
    from roster_pipeline.nights.windows import Window
    from roster_pipeline.tenants.document import Region


@dataclass(frozen=True, slots=True)
class CutOff:
    """A sync that its worker left; `run_id` is of its root run."""

    tenant: str
    run_id: str
    why: Issue


@dataclass(frozen=True, slots=True)
class Ended:
    """A night that is over: how many tenants it had, and the names of those that were not started."""

    window: Window
    tenants: int
    missed: tuple[str, ...]


def end_silent_syncs(connection: Connection, now: dt.datetime) -> list[CutOff]:
    """Frees the leases of silent workers and writes down why their syncs ended.

    Args:
        connection: In a transaction that writes.
        now: Aware.
    """
    found = []
    for tenant, owner in lease.silent(connection, now):
        lease.take_away(connection, tenant, owner)
        row = connection.execute(
            select(syncs.c.sync_id, syncs.c.started_at, syncs.c.status).where(syncs.c.run_id == owner)
        ).one_or_none()
        if row is None or row.status != ledger.RUNNING:
            continue  # an undo or an erasure, which ends by itself or not at all
        why = ledger.why_ended(connection, tenant, now - aware(row.started_at))
        ledger.interrupt(connection, row.sync_id, now, why)
        found.append(CutOff(tenant, owner, why))
    return found


def end_nights(connection: Connection, regions: Iterable[Region], now: dt.datetime) -> list[Ended]:
    """Writes down how the newest night of each of these regions ended, once its window is over.

    Args:
        connection: In a transaction that writes.
        regions: Those that are synced by night.
        now: Aware.
    """
    found = []
    for region in regions:
        window = windows.newest_window(region, now)
        # The last tick's runs may still be starting.
        if now < window.end + INTERVAL or nights.ended(connection, window):
            continue
        # Who came when the last ticks were over is not owed a sync.
        night = nights.read(connection, window, added_before=window.end - AHEAD)
        names = missed(night.candidates, night.started)
        nights.end(connection, night, names, now)
        found.append(Ended(window, len(night.candidates), tuple(names)))
    return found
