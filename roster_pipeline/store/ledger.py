"""The ledger: what every sync was, found and told. Kept for good, also when Dagster's log is pruned."""

from __future__ import annotations

import datetime as dt
import json
import statistics
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, insert, select, update

from roster_pipeline.codes import Issue
from roster_pipeline.nights.limits import LATE, time_limit
from roster_pipeline.rosters.statuses import FAILED, GUIDE_COUNTS, PARTIAL, SUCCESSFUL
from roster_pipeline.store.database import durations, sync_issues, sync_providers, sync_schools, syncs
from roster_pipeline.store.instants import naive

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

RUNNING, INTERRUPTED = "running", "interrupted"
DRY_RUN = "dry run"
"""The trigger of a sync that was only tried out."""
ENDED: Final = Issue("RS-RUN-02", "The process of this sync was ended.")
"""Why a sync was interrupted whose process is gone."""
LAST: Final = 7
"""How many syncs tell how long the next one takes."""
UNDO = "undo"
"""The trigger of what set a roster back: published like a sync, but nothing was read."""
REAL: Final = (syncs.c.trigger.is_distinct_from(DRY_RUN), syncs.c.trigger.is_distinct_from(UNDO))
"""What holds of syncs that read their sources and were to publish."""


def begin(
    connection: Connection,
    *,
    tenant: str,
    region: str,
    run_id: str,
    trigger: str,
    as_of: dt.date,
    as_of_given: bool,
    now: dt.datetime,
) -> tuple[int, dt.date, bool]:
    """(sync_id, as_of, whether `--as-of` gave it) of the sync that belongs to a root run.

    A run that is executed again goes on with the same sync and date. Syncs that are still called
    running were interrupted: whoever calls this holds the tenant's lease.
    """
    left = connection.scalars(
        select(syncs.c.sync_id).where(
            syncs.c.tenant == tenant, syncs.c.status == RUNNING, syncs.c.run_id != run_id
        )
    ).all()
    for sync_id in left:
        interrupt(connection, sync_id, now, ENDED)
    row = connection.execute(select(syncs).where(syncs.c.run_id == run_id)).one_or_none()
    if row is not None:
        connection.execute(
            update(syncs).where(syncs.c.sync_id == row.sync_id).values(status=RUNNING, finished_at=None)
        )
        connection.execute(delete(sync_issues).where(sync_issues.c.sync_id == row.sync_id))
        return row.sync_id, row.as_of, bool(row.as_of_given)
    result = connection.execute(
        insert(syncs).values(
            tenant=tenant,
            region=region,
            run_id=run_id,
            trigger=trigger,
            status=RUNNING,
            as_of=as_of,
            as_of_given=as_of_given,
            started_at=naive(now),
        )
    )
    (sync_id,) = result.inserted_primary_key or (0,)
    return int(sync_id), as_of, as_of_given


def finish(connection: Connection, sync_id: int, report: dict[str, Any], now: dt.datetime) -> dict[str, Any]:
    """Records how a sync ended; returns its document, with the members that the ledger knows."""
    row = connection.execute(select(syncs).where(syncs.c.sync_id == sync_id)).one()
    document = {
        "sync_id": sync_id,
        "tenant": row.tenant,
        "region": row.region,
        "status": report["status"],
        "as_of": report.get("as_of") or row.as_of.isoformat(),
        "started_at": _told(row.started_at),
        "finished_at": _told(naive(now)),
        "run_id": row.run_id,
        **{key: value for key, value in report.items() if key not in ("status", "as_of")},
    }
    connection.execute(
        update(syncs)
        .where(syncs.c.sync_id == sync_id)
        .values(
            status=document["status"],
            as_of=dt.date.fromisoformat(document["as_of"]),
            finished_at=naive(now),
            report=json.dumps(document),
        )
    )
    if document["status"] in (SUCCESSFUL, PARTIAL) and row.trigger not in (DRY_RUN, UNDO):
        _measure(connection, row.tenant, now)
    for table in (sync_providers, sync_schools, sync_issues):
        connection.execute(delete(table).where(table.c.sync_id == sync_id))
    _insert(
        connection,
        sync_providers,
        [
            {
                "sync_id": sync_id,
                "provider": entry["name"],
                "kind": entry["kind"],
                "status": entry["status"],
                **{name: entry[name] for name in GUIDE_COUNTS},
                "details": json.dumps({key: entry[key] for key in ("collections", "outcomes", "duration_s")}),
            }
            for entry in document["providers"]
        ],
    )
    _insert(
        connection,
        sync_schools,
        [
            {
                "sync_id": sync_id,
                **{name: entry[name] for name in ("school_id", "name", "state", "code")},
                "details": json.dumps(entry),
            }
            for entry in document["schools"]
        ],
    )
    _insert(
        connection,
        sync_issues,
        [
            {"sync_id": sync_id, "place": place, **_told_of(entry)}
            for place, entry in enumerate(document["issues"])
        ],
    )
    return document


def usual(connection: Connection, tenant: str) -> float | None:
    """What the tenant's syncs usually take, in seconds: the median of the last that published, if any did."""
    return connection.execute(select(durations.c.seconds).where(durations.c.tenant == tenant)).scalar()


def why_ended(connection: Connection, tenant: str, lasted: dt.timedelta) -> Issue:
    """Why a sync was interrupted that something ended after so long: its limit, or its process's end."""
    return LATE if lasted >= time_limit(usual(connection, tenant)) else ENDED


def _measure(connection: Connection, tenant: str, now: dt.datetime) -> None:
    """Keeps what the tenant's syncs usually take: a tick for thousands must not look through all of them."""
    last = connection.execute(
        select(syncs.c.started_at, syncs.c.finished_at)
        .where(
            syncs.c.tenant == tenant,
            syncs.c.status.in_([SUCCESSFUL, PARTIAL]),
            syncs.c.finished_at.is_not(None),
            *REAL,
        )
        .order_by(syncs.c.sync_id.desc())
        .limit(LAST)
    ).all()
    seconds = statistics.median((end - begin).total_seconds() for begin, end in last)
    connection.execute(delete(durations).where(durations.c.tenant == tenant))
    connection.execute(insert(durations).values(tenant=tenant, seconds=seconds, measured_at=naive(now)))


def _told_of(issue: dict[str, Any]) -> dict[str, Any]:
    told = ("code", "severity", "provider", "school", "count", "message", "cure", "owner")
    return {name: issue[name] for name in told}


def _insert(connection: Connection, table: Any, records: list[dict[str, Any]]) -> None:
    if records:
        connection.execute(insert(table), records)


def failure(issues: list[Issue]) -> dict[str, Any]:
    """The report of a sync that ended before its rules did: nothing was published."""
    from roster_pipeline.rosters.changes import TOLD

    names = (*GUIDE_COUNTS, "people", "students", "teachers", "memberships", "guardians", "guardian_links",
             "schools_published", "schools_kept", "schools_excluded")  # fmt: skip
    return {
        "status": FAILED,
        "counts": dict.fromkeys(names, 0),
        "changes": {name: {"added": 0, "updated": 0, "removed": 0} for name in TOLD},
        "providers": [],
        "schools": [],
        "issues": [issue.as_json() for issue in issues],
    }


def interrupt(connection: Connection, sync_id: int, now: dt.datetime, why: Issue | None) -> bool:
    """A sync that ended without publishing: something ended it, or not all of its assets were asked for.

    Args:
        connection: In a transaction that writes.
        sync_id: The sync; one that is not running is left as it is.
        now: When that was noticed.
        why: What ended it; None where nobody did.

    Returns:
        Whether it was running until now.
    """
    found = connection.execute(
        update(syncs)
        .where(syncs.c.sync_id == sync_id, syncs.c.status == RUNNING)
        .values(status=INTERRUPTED, finished_at=naive(now))
    )
    if found.rowcount and why is not None:
        connection.execute(insert(sync_issues).values(sync_id=sync_id, place=0, **_told_of(why.as_json())))
    return bool(found.rowcount)


def past(connection: Connection, tenant: str, *, limit: int = 50) -> list[dict[str, Any]]:
    """The documents of the tenant's syncs, the newest first; unfinished ones in short."""
    found = connection.execute(
        select(syncs).where(syncs.c.tenant == tenant).order_by(syncs.c.sync_id.desc()).limit(limit)
    ).all()
    cut_off = _issues_of(connection, [row.sync_id for row in found if row.status == INTERRUPTED])
    return [
        json.loads(row.report)
        if row.report and row.status not in (RUNNING, INTERRUPTED)
        else {
            "sync_id": row.sync_id,
            "tenant": row.tenant,
            "region": row.region,
            "status": row.status,
            "as_of": row.as_of.isoformat(),
            "started_at": _told(row.started_at),
            "finished_at": None,
            "run_id": row.run_id,
            "issues": cut_off.get(row.sync_id, []),
        }
        for row in found
    ]


def _issues_of(connection: Connection, sync_ids: list[int]) -> dict[int, list[dict[str, Any]]]:
    """sync_id → why it was interrupted, as documents have it."""
    found: dict[int, list[dict[str, Any]]] = {}
    query = select(sync_issues).where(sync_issues.c.sync_id.in_(sync_ids)).order_by(sync_issues.c.place)
    for row in connection.execute(query) if sync_ids else ():
        found.setdefault(row.sync_id, []).append(_told_of(dict(row._mapping)))
    return found


def latest(connection: Connection, tenant: str, *, limit: int) -> list[dict[str, Any]]:
    """The tenant's last syncs in short, the newest first; what was only tried out is none.

    Each has `sync_id`, `as_of`, `status`, `code` (the first issue's of one that was not successful, or
    "") and `counts`, which is empty for a sync that has not ended by itself.
    """
    found = connection.execute(
        select(syncs.c.sync_id, syncs.c.as_of, syncs.c.status, syncs.c.report)
        .where(syncs.c.tenant == tenant, syncs.c.trigger.is_distinct_from(DRY_RUN))
        .order_by(syncs.c.sync_id.desc())
        .limit(limit)
    )
    rows = found.all()
    cut_off = _issues_of(connection, [row.sync_id for row in rows if row.status == INTERRUPTED])
    out = []
    for row in rows:
        ended = row.report and row.status not in (RUNNING, INTERRUPTED)
        document = json.loads(row.report) if ended else {"counts": {}, "issues": cut_off.get(row.sync_id, [])}
        why = [] if row.status == SUCCESSFUL else [issue["code"] for issue in document["issues"]]
        out.append(
            {
                "sync_id": row.sync_id,
                "as_of": row.as_of.isoformat(),
                "status": row.status,
                "code": "".join(why[:1]),
                "counts": document["counts"],
            }
        )
    return out


def earlier(connection: Connection, tenant: str, sync_id: int, *, limit: int = 50) -> list[tuple[int, str]]:
    """sync_id and status of the tenant's syncs before this one, newest first, but those only tried out."""
    found = connection.execute(
        select(syncs.c.sync_id, syncs.c.status)
        .where(
            syncs.c.tenant == tenant,
            syncs.c.sync_id < sync_id,
            syncs.c.trigger.is_distinct_from(DRY_RUN),
        )
        .order_by(syncs.c.sync_id.desc())
        .limit(limit)
    )
    return [(row.sync_id, row.status) for row in found]


def newest(connection: Connection, tenant: str) -> dict[str, Any] | None:
    """The document of the tenant's newest sync that ended, an undo left out; None if there was none."""
    report = connection.execute(
        select(syncs.c.report)
        .where(
            syncs.c.tenant == tenant,
            syncs.c.report.is_not(None),
            syncs.c.status.not_in([RUNNING, INTERRUPTED]),
            syncs.c.trigger.is_distinct_from(UNDO),
        )
        .order_by(syncs.c.sync_id.desc())
        .limit(1)
    ).scalar()
    return json.loads(report) if report else None


def days(connection: Connection, tenant: str) -> dict[int, str]:
    """sync_id → as_of, ISO, of all syncs of the tenant."""
    found = connection.execute(select(syncs.c.sync_id, syncs.c.as_of).where(syncs.c.tenant == tenant))
    return {row.sync_id: row.as_of.isoformat() for row in found}


def of_run(connection: Connection, run_id: str) -> dict[str, Any] | None:
    """The document of the sync that belongs to a root run; None before it ended."""
    report = connection.execute(select(syncs.c.report).where(syncs.c.run_id == run_id)).scalar()
    return json.loads(report) if report else None


def _told(instant: dt.datetime) -> str:
    return instant.isoformat(timespec="seconds") + "Z"
