"""Dagster's runs that are not over: what the queue holds, and those whose worker has died."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import dagster as dg
from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME

from roster_pipeline import tags
from roster_pipeline.codes import Issue
from roster_pipeline.nights.asking import Queue
from roster_pipeline.store.lease import SILENCE, is_dead
from roster_pipeline.store.ledger import ENDED

QUEUED: Final = [dg.DagsterRunStatus.QUEUED]
BEGUN: Final = [
    dg.DagsterRunStatus.NOT_STARTED,  # a command makes its run and starts it a moment later
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]
NOT_OVER: Final = [*QUEUED, *BEGUN, dg.DagsterRunStatus.CANCELING]

SYNCING: Final = ("sync_tenant", IMPLICIT_ASSET_JOB_NAME)
"""The jobs whose runs are syncs: ours, and the one of the UI's Materialize."""

HOST_SLOTS: Final = 4
"""Syncs that read one host at once, where the instance sets no limit for the tag `roster/host`."""
NO_LIMIT: Final = 64
"""Runs at once that the nights are planned for where the instance has no limit."""


def queue_of(instance: dg.DagsterInstance) -> tuple[Queue, dict[str, datetime]]:
    """What runs and waits, and since when what runs does; by tenant, of all regions.

    Reads the instance's own limits: `max_concurrent_runs`, and the one for the tag `roster/host`.
    """
    waiting, begun = set(), {}
    for record in instance.get_run_records(filters=dg.RunsFilter(statuses=NOT_OVER)):
        run = record.dagster_run
        tenant = run.tags.get(tags.PARTITION) or run.tags.get(tags.TENANT)
        if not tenant:
            continue
        if run.status in QUEUED:
            waiting.add(tenant)
        else:
            begun[tenant] = datetime.fromtimestamp(
                record.start_time or record.create_timestamp.timestamp(), UTC
            )
    slots, host_slots = _limits(instance)
    queue = Queue(slots, host_slots, frozenset(begun), frozenset(waiting - begun.keys()))
    return queue, begun


def _limits(instance: dg.DagsterInstance) -> tuple[int, int]:
    config = instance.get_concurrency_config().run_queue_config
    if config is None:
        return NO_LIMIT, HOST_SLOTS
    by_tag: list[Mapping[str, Any]] = list(config.tag_concurrency_limits)
    found = [one["limit"] for one in by_tag if one["key"] == tags.HOST and isinstance(one.get("value"), dict)]
    most = config.max_concurrent_runs
    return most if most > 0 else NO_LIMIT, found[0] if found else HOST_SLOTS


def end_dead_runs(instance: dg.DagsterInstance, tenant: str | None = None) -> list[str]:
    """Reports runs as failed whose process is known to have died on this machine; gives back their ids.

    A command that was killed cannot say so itself, and its run would keep the tenant's place in the
    queue until the time limit of a run is over.
    """
    filters = dg.RunsFilter(statuses=BEGUN, tags={tags.PARTITION: tenant} if tenant else None)
    ended = []
    for run in instance.get_runs(filters=filters):
        process = tags.process_of(run.tags, run.run_id)
        if process and is_dead(process):
            _end(instance, run, ENDED)
            ended.append(run.run_id)
    return ended


def end_left_runs(instance: dg.DagsterInstance, holders: Collection[str], now: datetime) -> list[str]:
    """Reports runs as failed that have started and that no worker works on; gives back their ids.

    A run of a sync takes its tenant's lease as its first step begins and gives it back as it ends; one that
    had time to and has none was killed before or after. Nobody else notices: to Celery it is running.

    Args:
        instance: Dagster's.
        holders: The owners of all leases, root runs.
        now: Aware.
    """
    filters = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED], updated_before=now - SILENCE)
    ended = []
    for run in instance.get_runs(filters=filters):
        if run.job_name in SYNCING and (run.root_run_id or run.run_id) not in holders:
            _end(instance, run, ENDED)
            ended.append(run.run_id)
    return ended


def end_runs_of(instance: dg.DagsterInstance, root_run_id: str, why: Issue) -> None:
    """Reports the runs of a sync as failed that nobody works on any more; the daemon may start it again."""
    found = {run.run_id: run for run in instance.get_runs(filters=dg.RunsFilter(run_ids=[root_run_id]))}
    again = dg.RunsFilter(tags={"dagster/root_run_id": root_run_id}, statuses=BEGUN)
    found |= {run.run_id: run for run in instance.get_runs(filters=again)}
    for run in found.values():
        if run.status in BEGUN:
            _end(instance, run, why)


def _end(instance: dg.DagsterInstance, run: dg.DagsterRun, why: Issue) -> None:
    instance.report_run_failed(run, f"{why.code}: {why.message}")
    instance.add_run_tags(run.run_id, {tags.OUTCOME: "interrupted", tags.ERROR_CODE: why.code})
