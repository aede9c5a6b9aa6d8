"""What the ledger knows of a night: who is synced, who failed, how long syncs usually take, who was missed.

Reads by sets: a tick for thousands of tenants asks a handful of statements. What follows from it is
decided in `nights`.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import insert, select

from roster_pipeline.codes import CATALOGUE
from roster_pipeline.nights import windows
from roster_pipeline.nights.asking import Candidate
from roster_pipeline.oneroster.addresses import host_of
from roster_pipeline.rosters.statuses import FAILED, PARTIAL, SUCCESSFUL
from roster_pipeline.store.database import durations, missed_nights, night_ends, sync_issues, syncs, tenants
from roster_pipeline.store.instants import aware, naive
from roster_pipeline.store.ledger import INTERRUPTED, REAL

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Select
    from sqlalchemy.engine import Connection

    from roster_pipeline.nights.windows import Window

LOOKS_BACK: Final = dt.timedelta(days=14)
"""After that, a tenant's syncs tell nothing of how long the next one takes."""
LONGEST: Final = dt.timedelta(hours=12)
"""A sync that was started longer before a window cannot end in it."""

FEW: Final = 2000
"""Tenants that a statement may name; of more, all are read."""

MISSED: Final = "RS-RUN-01"


@dataclass(frozen=True, slots=True)
class Night:
    """A region's night, as the ledger has it.

    Attributes:
        candidates: Every tenant of the region.
        started: Tenants of which a sync was started in the window, or is tonight's.
        kinds: Tenant → the kinds of its sources, `directory` included.
    """

    window: Window
    candidates: tuple[Candidate, ...]
    started: frozenset[str]
    kinds: dict[str, frozenset[str]]


def read(
    connection: Connection,
    window: Window,
    *,
    added_before: dt.datetime | None = None,
    of: Collection[str] | None = None,
) -> Night:
    """The night of a window, of the tenants that are registered now, or of those that were there before.

    Args:
        connection: In a transaction.
        window: The night's.
        added_before: Leaves out who came later.
        of: Leaves out all others, where few are asked for; many are not told apart by the database.
    """
    wanted = tenants.c.region == window.region
    if of is not None and len(of) <= FEW:
        wanted &= tenants.c.tenant.in_(sorted(of))
    if added_before is not None:
        wanted &= tenants.c.added_at < naive(added_before)
    ours = select(tenants.c.tenant).where(wanted)
    documents = connection.execute(select(tenants.c.tenant, tenants.c.document).where(wanted)).all()
    columns = (syncs.c.sync_id, syncs.c.tenant, syncs.c.status, syncs.c.as_of,
               syncs.c.started_at, syncs.c.finished_at)  # fmt: skip
    past: dict[str, list[Any]] = defaultdict(list)
    for row in connection.execute(
        select(*columns)
        .where(
            syncs.c.tenant.in_(ours),
            syncs.c.started_at >= naive(window.start - LONGEST),
            *REAL,
        )
        .order_by(syncs.c.started_at)
    ):
        past[row.tenant].append(row)
    usual = _usual(connection, ours, window.start - LOOKS_BACK)
    begin, end = naive(window.start), naive(window.end)
    unpublished = [
        row.sync_id
        for rows in past.values()
        for row in rows
        if row.status in (FAILED, INTERRUPTED) and row.finished_at and begin <= row.finished_at < end
    ]
    codes = _first_codes(connection, unpublished)
    candidates, started, kinds = [], set(), {}
    for tenant, text in documents:
        document = json.loads(text)
        day = windows.date_at(window.end, window.region, document.get("time_zone"))
        mine = past.get(tenant, [])
        tried = [row for row in mine if row.sync_id in codes]
        last = tried[-1] if tried else None
        is_done = any(_is_of(row, begin, end, day) for row in mine)
        if is_done or any(begin <= row.started_at < end for row in mine):
            started.add(tenant)
        kinds[tenant] = frozenset(
            [*(one["kind"] for one in document["providers"])]
            + (["directory"] if document.get("directories") else [])
        )
        candidates.append(
            Candidate(
                tenant,
                _hosts(document),
                usual.get(tenant),
                done=is_done,
                tries=len(tried),
                tried_at=aware(last.finished_at) if last else None,
                retry=_helps(codes[last.sync_id]) if last else True,
            )
        )
    return Night(window, tuple(candidates), frozenset(started), kinds)


def _usual(connection: Connection, ours: Select[tuple[str]], since: dt.datetime) -> dict[str, float]:
    """Tenant → what its syncs usually take, in seconds; those left out that published nothing since."""
    query = select(durations.c.tenant, durations.c.seconds).where(
        durations.c.tenant.in_(ours), durations.c.measured_at >= naive(since)
    )
    return {row.tenant: row.seconds for row in connection.execute(query)}


def _is_of(row: Any, begin: dt.datetime, end: dt.datetime, day: dt.date) -> bool:
    """Whether a sync is the night's: it ended in the window with a roster for its day, whoever started it.

    One for an earlier day is not, though it ended in the window: the school day would be without a roster.
    """
    published = row.status in (SUCCESSFUL, PARTIAL) and row.finished_at is not None
    return bool(
        published and (begin <= row.finished_at < end or begin <= row.started_at < end) and row.as_of >= day
    )


def _helps(code: str) -> bool:
    return code not in CATALOGUE or CATALOGUE[code].retry


def _first_codes(connection: Connection, sync_ids: list[int]) -> dict[int, str]:
    """sync_id → the first code that the sync told, "" if none."""
    codes = dict.fromkeys(sync_ids, "")
    for first in range(0, len(sync_ids), 500):
        found = connection.execute(
            select(sync_issues.c.sync_id, sync_issues.c.code).where(
                sync_issues.c.sync_id.in_(sync_ids[first : first + 500]), sync_issues.c.place == 0
            )
        )
        codes.update((row.sync_id, row.code) for row in found)
    return codes


def _hosts(document: dict[str, Any]) -> frozenset[str]:
    return frozenset(filter(None, (host_of(one.get("endpoint_url")) for one in document["providers"])))


# ---------------------------------------------------------------------------------- the end of a night


def ended(connection: Connection, window: Window) -> bool:
    """Whether the end of this window is in the ledger."""
    query = select(night_ends.c.region).where(
        night_ends.c.region == window.region, night_ends.c.start == naive(window.start)
    )
    return connection.execute(query).first() is not None


def end(connection: Connection, night: Night, missed: Collection[str], now: dt.datetime) -> None:
    """Records how a night ended, and whom it missed (`RS-RUN-01`)."""
    start = naive(night.window.start)
    connection.execute(
        insert(night_ends).values(
            region=night.window.region,
            start=start,
            recorded_at=naive(now),
            tenants=len(night.candidates),
            published=sum(one.done for one in night.candidates),
            failed=sum(not one.done and one.tenant not in missed for one in night.candidates),
            missed=len(missed),
        )
    )
    if missed:
        connection.execute(
            insert(missed_nights),
            [
                {"tenant": tenant, "start": start, "region": night.window.region, "code": MISSED}
                for tenant in sorted(missed)
            ],
        )


def missed_in(connection: Connection, window: Window) -> list[str]:
    """The tenants that the night of this window missed, as it was written down; by name."""
    query = (
        select(missed_nights.c.tenant)
        .where(missed_nights.c.region == window.region, missed_nights.c.start == naive(window.start))
        .order_by(missed_nights.c.tenant)
    )
    return list(connection.scalars(query))
