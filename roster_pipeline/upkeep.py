"""Upkeep of Dagster's own records: they grow with every sync, and nothing but this ever shortens them.

Whatever must be known later about a sync is in the ledger. What people look at in the UI stays for some
days: materialisations, checks and how a run ended; the rest of a successful run's events goes first. In
small batches, so that no tick and no run waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import dagster as dg
from dagster import DagsterEventType as Event
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite import SqliteEventLogStorage
from dagster._core.storage.runs.schema import RunsTable
from sqlalchemy import and_, delete, func, or_, select

from roster_pipeline import tags

BATCH: Final = 5_000
"""Rows of events in one transaction."""
AT_ONCE: Final = 200
"""Runs looked at between two questions whether to go on."""

KEPT: Final = (
    Event.ASSET_MATERIALIZATION, Event.ASSET_CHECK_EVALUATION, Event.RUN_START, Event.RUN_SUCCESS,
    Event.RUN_FAILURE, Event.RUN_CANCELED, Event.STEP_FAILURE,
)  # fmt: skip
"""The events of a run that stay with it."""

EVENTS, RUNS = SqlEventLogStorageTable, RunsTable

_THINNED: Final = "roster_pipeline/thinned_up_to"
_OVER: Final = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


@dataclass(frozen=True, slots=True)
class Freed:
    """What was freed: rows of events of runs that are kept, and runs with all of theirs."""

    events: int
    runs: int


def prune(
    instance: dg.DagsterInstance,
    now: datetime,
    *,
    event_days: int,
    run_days: int,
    go_on: Callable[[], bool] = lambda: True,
) -> Freed:
    """Removes what is older than it is kept.

    Args:
        instance: Whose records these are.
        now: Aware.
        event_days: For how many days a successful run keeps all of its events.
        run_days: For how many days a run is kept.
        go_on: Asked before each batch: what is left is for the next time.
    """
    gone = _delete_runs(instance, now - timedelta(days=run_days), go_on)
    return Freed(_thin(instance, now - timedelta(days=event_days), go_on), gone)


def _thin(instance: dg.DagsterInstance, before: datetime, go_on: Callable[[], bool]) -> int:
    """Takes from successful runs the events that only their own page shows.

    In SQLite every run has a database of its own, which goes with it.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage) or isinstance(storage, SqliteEventLogStorage):
        return 0
    last = int(instance.daemon_cursor_storage.get_cursor_values({_THINNED}).get(_THINNED, "0"))
    naive = before.replace(tzinfo=None)
    over = select(RUNS.c.run_id).where(RUNS.c.status == dg.DagsterRunStatus.SUCCESS.value)
    noise = or_(
        EVENTS.c.dagster_event_type.is_(None),
        EVENTS.c.dagster_event_type.not_in([one.value for one in KEPT]),
    )
    freed = 0
    while go_on():
        with storage.index_connection() as connection:
            # Ids follow time: only what a run that goes on for days wrote early stays until it goes.
            span = select(EVENTS.c.id).where(EVENTS.c.id > last, EVENTS.c.timestamp < naive)
            batch = span.order_by(EVENTS.c.id).limit(BATCH).subquery()
            upto = connection.execute(select(func.max(batch.c.id))).scalar()
            if upto is None:
                break
            found = connection.execute(
                delete(EVENTS).where(
                    and_(EVENTS.c.id > last, EVENTS.c.id <= upto, noise, EVENTS.c.run_id.in_(over))
                )
            )
        freed += found.rowcount
        last = upto
        instance.daemon_cursor_storage.set_cursor_values({_THINNED: str(last)})
    return freed


def _delete_runs(instance: dg.DagsterInstance, before: datetime, go_on: Callable[[], bool]) -> int:
    """Deletes runs that ended before, but each tenant's newest: it says when the tenant was synced last."""
    old = instance.get_run_ids(filters=dg.RunsFilter(statuses=_OVER, updated_before=before))
    gone = 0
    for first in range(0, len(old), AT_ONCE):
        if not go_on():
            break
        wanted = dg.RunsFilter(run_ids=list(old[first : first + AT_ONCE]))
        for run in instance.get_runs(filters=wanted):
            if not _is_newest(instance, run):
                _delete(instance, run.run_id)
                gone += 1
    return gone


def _is_newest(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    tenant = run.tags.get(tags.PARTITION)
    if not tenant:
        return False
    newest = instance.get_run_records(filters=dg.RunsFilter(tags={tags.PARTITION: tenant}), limit=1)
    return bool(newest) and newest[0].dagster_run.run_id == run.run_id


def _delete(instance: dg.DagsterInstance, run_id: str) -> None:
    instance.delete_run(run_id)
    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):  # it leaves the empty database behind
        from pathlib import Path

        for path in Path(storage.path_for_shard(run_id)).parent.glob(f"{run_id}.db*"):
            path.unlink(missing_ok=True)
