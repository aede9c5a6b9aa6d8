"""What the ledger says of how tenants are doing, and what was told of it.

Reads by sets and only what ended since the last look, so that a look each minute costs little with thousands
of tenants. What is worth telling is decided in `alerts.conditions`; messages wait in `outbox`.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, func, insert, select, update

from roster_pipeline.alerts.conditions import Condition, Known, Problem, condition_of
from roster_pipeline.nights import windows
from roster_pipeline.oneroster.addresses import host_of
from roster_pipeline.rosters.statuses import FAILED, MAKE_PARTIAL, PARTIAL, SUCCESSFUL
from roster_pipeline.store import nights
from roster_pipeline.store.database import (
    alert_conditions,
    alert_marks,
    missed_nights,
    night_ends,
    sync_issues,
    sync_schools,
    syncs,
    tenants,
)
from roster_pipeline.store.instants import aware, naive
from roster_pipeline.store.ledger import INTERRUPTED, REAL, RUNNING

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from roster_pipeline.tenants.document import Region

LOOKS_BACK: Final = dt.timedelta(days=14)
"""How old a sync may be that says how a tenant is doing, when one looks for the first time."""
OVERLAP: Final = dt.timedelta(hours=6)
"""Of two looks: what ended then may be written down later, or by a machine whose clock is slow."""
HANGS: Final = dt.timedelta(days=1)
"""A sync that is called running for longer is not waited for."""
LEDGER: Final = "ledger"
"""The mark that says how far the ledger was read."""
_CHUNK: Final = 500
_ENDED: Final = (SUCCESSFUL, PARTIAL, FAILED, INTERRUPTED)
_BAD_ENOUGH: Final = ("sync failed", "school kept back")


@dataclass(frozen=True, slots=True)
class Found:
    """What is new of a tenant; no condition where tonight will repeat what failed."""

    tenant: str
    condition: Condition | None
    seen: str


@dataclass(frozen=True, slots=True)
class _Newest:
    sync_id: int
    status: str
    finished_at: dt.datetime
    seen: str


# ------------------------------------------------------------------------------- what the ledger says


def registered(connection: Connection) -> dict[str, Region]:
    """Tenant → region, of all that are registered."""
    return {row.tenant: row.region for row in connection.execute(select(tenants.c.tenant, tenants.c.region))}


def find(
    connection: Connection,
    known: Mapping[str, Known],
    regions: Mapping[str, Region],
    repeated: Collection[Region],
    now: dt.datetime,
) -> list[Found]:
    """What syncs and missed nights say of tenants that is not known yet.

    Args:
        connection: In a transaction.
        known: What is known by now, by tenant.
        regions: The tenants that are registered.
        repeated: The regions in whose windows a failed sync is repeated.
        now: Aware.
    """
    mark = marked(connection, LEDGER)
    oldest = now - LOOKS_BACK
    floor = naive(max(mark - OVERLAP, oldest) if mark else oldest)
    ended = {
        row.tenant: row
        for row in connection.execute(
            select(syncs.c.tenant, syncs.c.sync_id, syncs.c.status, syncs.c.finished_at)
            .where(syncs.c.finished_at >= floor, syncs.c.status.in_(_ENDED), *REAL)
            .order_by(syncs.c.sync_id)
        )
    }
    on_night = (missed_nights.c.region == night_ends.c.region) & (missed_nights.c.start == night_ends.c.start)
    missed = set(
        connection.scalars(
            select(missed_nights.c.tenant).join(night_ends, on_night).where(night_ends.c.recorded_at >= floor)
        )
    )
    waiting = {one.tenant for one in known.values() if one.waits}
    asked = []
    for tenant in sorted((ended.keys() | missed | waiting) & regions.keys()):
        row, mine = ended.get(tenant), known.get(tenant)
        if row is not None and tenant not in missed and tenant not in waiting:
            if mine is None and row.status == SUCCESSFUL:
                continue  # as nearly all of them
            if mine is not None and mine.seen == _seen(row):
                continue
        asked.append(tenant)
    return list(_judged(connection, asked, known, regions, repeated, now))


def _judged(
    connection: Connection,
    asked: Sequence[str],
    known: Mapping[str, Known],
    regions: Mapping[str, Region],
    repeated: Collection[Region],
    now: dt.datetime,
) -> Iterator[Found]:
    newest, missed = _newest(connection, asked, now), _last_missed(connection, asked, now)
    last: dict[str, _Newest] = {}
    for tenant in asked:
        one = newest.get(tenant)
        if one == RUNNING:
            continue  # judged when that ends
        start = missed.get(tenant)
        if start is not None and (one is None or start > one[1]):
            seen = f"missed {start.isoformat()}"
            if tenant not in known or known[tenant].seen != seen or known[tenant].waits:
                yield Found(tenant, Condition("missed", (Problem(nights.MISSED),)), seen)
        elif one is not None and (
            tenant not in known or known[tenant].seen != one[0].seen or known[tenant].waits
        ):
            last[tenant] = one[0]
    repeats = _repeated(connection, last, regions, repeated, now)
    bad = [one for tenant, one in last.items() if one.status != SUCCESSFUL and tenant not in repeats]
    problems = _problems(connection, [one.sync_id for one in bad])
    for tenant, one in last.items():
        if tenant in repeats:
            yield Found(tenant, None, one.seen)
        else:
            yield Found(tenant, condition_of(one.status, problems.get(one.sync_id, ())), one.seen)


def _newest(connection: Connection, asked: Sequence[str], now: dt.datetime) -> dict[str, Any]:
    """Tenant → its newest sync that says how it is doing and when that began, or RUNNING."""
    columns = (syncs.c.tenant, syncs.c.sync_id, syncs.c.status, syncs.c.started_at, syncs.c.finished_at)
    rows: dict[str, list[Any]] = defaultdict(list)
    for chunk in _chunks(asked):
        query = (
            select(*columns)
            .where(syncs.c.tenant.in_(chunk), syncs.c.started_at >= naive(now - LOOKS_BACK), *REAL)
            .order_by(syncs.c.sync_id.desc())
        )
        for row in connection.execute(query):
            rows[row.tenant].append(row)
    cut_off = [row.sync_id for mine in rows.values() for row in mine if row.status == INTERRUPTED]
    told = {
        sync_id
        for chunk in _chunks(cut_off)
        for sync_id in connection.scalars(
            select(sync_issues.c.sync_id).where(sync_issues.c.sync_id.in_(chunk))
        )
    }
    found: dict[str, Any] = {}
    for tenant, mine in rows.items():
        for row in mine:
            if row.status == RUNNING:
                if row.started_at < naive(now - HANGS):
                    continue
                found[tenant] = RUNNING
                break
            if row.status == INTERRUPTED and row.sync_id not in told:
                continue  # not all of its assets were asked for: nothing went wrong
            found[tenant] = (
                _Newest(row.sync_id, row.status, row.finished_at, _seen(row)),
                row.started_at,
            )
            break
    return found


def _seen(row: Any) -> str:
    # A run that is executed again ends its sync a second time.
    return f"sync {row.sync_id} {row.finished_at.isoformat()}"


def _last_missed(connection: Connection, asked: Sequence[str], now: dt.datetime) -> dict[str, dt.datetime]:
    found: dict[str, dt.datetime] = {}
    for chunk in _chunks(asked):
        query = (
            select(missed_nights.c.tenant, func.max(missed_nights.c.start))
            .where(missed_nights.c.tenant.in_(chunk), missed_nights.c.start >= naive(now - LOOKS_BACK))
            .group_by(missed_nights.c.tenant)
        )
        found.update((tenant, start) for tenant, start in connection.execute(query))
    return found


def _repeated(
    connection: Connection,
    last: Mapping[str, _Newest],
    regions: Mapping[str, Region],
    repeated: Collection[Region],
    now: dt.datetime,
) -> set[str]:
    """Those whose last sync failed, and will be repeated by a tick of tonight."""
    found = set()
    for region in repeated:
        window = windows.window(region, now)
        if window is None:
            continue
        mine = {
            tenant
            for tenant, one in last.items()
            if regions[tenant] == region
            and one.status in (FAILED, INTERRUPTED)
            and naive(window.start) <= one.finished_at < naive(window.end)
        }
        if not mine:
            continue
        for one in nights.read(connection, window, of=mine).candidates:
            if one.tenant in mine and one.is_due(window.end - dt.timedelta.resolution):
                found.add(one.tenant)
    return found


def _problems(connection: Connection, sync_ids: Sequence[int]) -> dict[int, list[Problem]]:
    """sync_id → what made it not successful, the worst first."""
    ids: dict[tuple[int, str], list[tuple[str, str | None]]] = defaultdict(list)
    issues: dict[int, list[Any]] = defaultdict(list)
    for chunk in _chunks(sync_ids):
        columns = (sync_schools.c.sync_id, sync_schools.c.school_id, sync_schools.c.name, sync_schools.c.code)
        of_schools = select(*columns).where(
            sync_schools.c.sync_id.in_(chunk), sync_schools.c.code.is_not(None)
        )
        for school in connection.execute(of_schools.order_by(sync_schools.c.school_id)):
            ids[school.sync_id, school.name].append((school.school_id, school.code))
        told = (sync_issues.c.sync_id, sync_issues.c.code, sync_issues.c.severity, sync_issues.c.provider,
                sync_issues.c.school)  # fmt: skip
        of_issues = select(*told).where(sync_issues.c.sync_id.in_(chunk))
        for row in connection.execute(of_issues.order_by(sync_issues.c.sync_id, sync_issues.c.place)):
            issues[row.sync_id].append(row)
    found = {}
    for sync_id, mine in issues.items():
        weighty = [row for row in mine if row.severity in _BAD_ENOUGH or row.code in MAKE_PARTIAL]
        found[sync_id] = [
            Problem(row.code, row.provider or "", school_id, row.school or "")
            for row in weighty or mine[:1]
            for school_id in [
                school_id for school_id, code in ids.get((sync_id, row.school), ()) if code == row.code
            ]
            or [""]
        ]
    return found


def hosts_of(connection: Connection, names: Collection[str]) -> dict[str, dict[str, str]]:
    """Tenant → provider → the host that it is read from."""
    found = {}
    for chunk in _chunks(sorted(names)):
        query = select(tenants.c.tenant, tenants.c.document).where(tenants.c.tenant.in_(chunk))
        for tenant, text in connection.execute(query):
            found[tenant] = {
                one["name"]: host
                for one in json.loads(text)["providers"]
                if (host := host_of(one.get("endpoint_url")))
            }
    return found


# ------------------------------------------------------------------------------------ what was told


def known(connection: Connection) -> dict[str, Known]:
    """What is known of the tenants that are not well or were not lately, by name."""
    # On a bad night thousands have one and the same condition.
    conditions: dict[tuple[Any, str], Condition] = {}

    def condition(state: Any, problems: str) -> Condition:
        if (state, problems) not in conditions:
            read = tuple(Problem(*one) for one in json.loads(problems))
            conditions[state, problems] = Condition(state, read)
        return conditions[state, problems]

    return {
        row.tenant: Known(
            row.tenant,
            condition(row.state, row.problems),
            since=_aware(row.since),
            seen=row.seen,
            waits=row.waits,
            changes=tuple(dt.datetime.fromisoformat(one) for one in row.changes.split()),
            unsteady=row.unsteady,
            told=condition(row.told_state, row.told_problems),
            told_at=_aware(row.told_at),
            reach=row.reach,
        )
        for row in connection.execute(select(alert_conditions).order_by(alert_conditions.c.tenant))
    }


def keep(
    connection: Connection, before: Mapping[str, Known], after: Mapping[str, Known], now: dt.datetime
) -> None:
    """Writes down what is known after a look, in place of what was known before it."""
    kept = {tenant: one for tenant, one in after.items() if not one.is_forgettable(now)}
    changed = [tenant for tenant, one in kept.items() if before.get(tenant) != one]
    gone = [tenant for tenant in before if tenant not in kept]
    for chunk in _chunks([*gone, *(tenant for tenant in changed if tenant in before)]):
        connection.execute(delete(alert_conditions).where(alert_conditions.c.tenant.in_(chunk)))
    if changed:
        connection.execute(insert(alert_conditions), [_row(kept[tenant]) for tenant in changed])


def _row(one: Known) -> dict[str, Any]:
    return {
        "tenant": one.tenant,
        "state": one.now.state,
        "problems": _written(one.now.problems),
        "since": naive(one.since) if one.since else None,
        "seen": one.seen,
        "waits": one.waits,
        "changes": " ".join(change.isoformat() for change in one.changes),
        "unsteady": one.unsteady,
        "told_state": one.told.state,
        "told_problems": _written(one.told.problems),
        "told_at": naive(one.told_at) if one.told_at else None,
        "reach": one.reach,
    }


def _written(problems: Iterable[Problem]) -> str:
    rows = [[one.code, one.provider, one.school_id, one.school] for one in problems]
    return json.dumps(rows, ensure_ascii=False)


# -------------------------------------------------------------------------------------------- marks


def alone(connection: Connection, now: dt.datetime) -> None:
    """Waits for another look that is going on, and keeps others waiting until this transaction ends."""
    row = connection.execute(
        select(alert_marks.c.at).where(alert_marks.c.name == _LOOK).with_for_update()
    ).first()
    if row is None:
        # Of two first looks, one fails here and is repeated.
        connection.execute(insert(alert_marks).values(name=_LOOK, at=naive(now)))
    else:
        mark(connection, _LOOK, now)


_LOOK: Final = "look"


def marked(connection: Connection, name: str) -> dt.datetime | None:
    """The instant of a mark."""
    return _aware(connection.scalar(select(alert_marks.c.at).where(alert_marks.c.name == name)))


def mark(connection: Connection, name: str, at: dt.datetime) -> None:
    """Sets a mark."""
    found = connection.execute(update(alert_marks).where(alert_marks.c.name == name).values(at=naive(at)))
    if not found.rowcount:
        connection.execute(insert(alert_marks).values(name=name, at=naive(at)))


def looked_at(connection: Connection) -> dt.datetime | None:
    """When the ledger was last looked at for alerts."""
    return marked(connection, _LOOK)


# ------------------------------------------------------------------------------------ nights that end


@dataclass(frozen=True, slots=True)
class NightEnd:
    """How a night ended, by the ledger; instants are aware."""

    region: Region
    start: dt.datetime
    tenants: int
    published: int
    failed: int
    missed: int
    over_at: dt.datetime | None


def last_night(connection: Connection, region: Region) -> NightEnd | None:
    """The newest night of a region whose end is in the ledger."""
    row = connection.execute(
        select(night_ends).where(night_ends.c.region == region).order_by(night_ends.c.start.desc()).limit(1)
    ).first()
    if row is None:
        return None
    over_at = connection.scalar(
        select(func.max(syncs.c.finished_at)).where(
            syncs.c.region == region,
            syncs.c.started_at >= row.start,
            syncs.c.started_at < row.start + windows.LENGTH,
            *REAL,
        )
    )
    return NightEnd(
        region, row.start.replace(tzinfo=dt.UTC), row.tenants, row.published, row.failed, row.missed,
        _aware(over_at),
    )  # fmt: skip


def _chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for first in range(0, len(values), _CHUNK):
        yield values[first : first + _CHUNK]


def _aware(instant: dt.datetime | None) -> dt.datetime | None:
    return aware(instant) if instant else None
