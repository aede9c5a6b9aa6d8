"""The nightly schedules: one a region, from 18:00 on the region's fixed offset and for the next 12 hours.

Every few minutes a tick looks at the ledger and at the queue, and asks for what fits (`nights.asking`):
tenants that are not synced yet tonight, the longest first. So a scheduler that was away catches up, and no
tick comes near Dagster's 60 seconds. Which day a run is for follows from its start.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import dagster as dg

from roster_pipeline import tags
from roster_pipeline.codes import CodedError
from roster_pipeline.jobs import SYNC_TENANT, run_tags, selected, upkeep_of_records
from roster_pipeline.nights import windows
from roster_pipeline.nights.asking import INTERVAL, Candidate, ask, in_order
from roster_pipeline.nights.forecast import forecast
from roster_pipeline.nights.windows import Window
from roster_pipeline.owners import OWNERS
from roster_pipeline.partitions import NAME, partition_changes
from roster_pipeline.resources import registered_night
from roster_pipeline.runs import queue_of
from roster_pipeline.tenants.document import Region

_MINUTES: Final = int(INTERVAL.total_seconds() // 60)
_END: Final = windows.START.hour + int(windows.LENGTH.total_seconds() // 3600) - 24
# Two ranges, which the UI puts into few words; of a list of hours it names each.
_HOURS: Final = f"0-{_END - 1},{windows.START.hour}-23"


def _offset(region: Region) -> str:
    """As people write it; the sign of IANA's zone is the other way round."""
    hours = int(windows.OFFSETS[region].total_seconds() // 3600)
    return f"UTC{hours:+d}" if hours else "UTC"


def nightly(region: Region) -> dg.ScheduleDefinition:
    """The schedule of a region."""

    @dg.schedule(
        name=f"nightly_{region.lower()}",
        job=SYNC_TENANT,
        cron_schedule=f"*/{_MINUTES} {_HOURS} * * *",
        # A fixed offset: daylight saving does not move the window.
        execution_timezone=windows.SCHEDULE_ZONES[region],
        description=(
            f"Syncs each {region} tenant once a night, in the 12 hours from {windows.START:%H:%M} at "
            f"{_offset(region)}, all year. Each tick asks for what fits the queue: tenants that are not "
            "synced yet tonight, the longest first. A tick that is skipped says why, and how far the night "
            "is. Off until somebody starts it."
        ),
        owners=OWNERS,
        tags={tags.REGION: region, tags.TASK: "sync"},
        metadata={"window": f"12 hours from {windows.START:%H:%M} at {_offset(region)}"},
    )
    def tick(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        window = windows.window(region, context.scheduled_execution_time)
        if window is None:  # made up by hand, outside of the window
            return dg.SkipReason(f"The window is not open in the region {region}.")
        try:
            night = registered_night(window)
        except CodedError as error:
            return dg.SkipReason(f"{error}; the next tick tries again.")
        if not night.candidates:
            return dg.SkipReason(f"There is no tenant in the region {region}.")
        now = context.scheduled_execution_time
        queue, begun = queue_of(context.instance)
        ordered = in_order(night.candidates)
        asked = ask(ordered, queue, now)
        told = forecast(ordered, queue, begun, now, window.end)
        text = (
            f"{sum(one.done for one in night.candidates)} of {len(night.candidates)} tenants are synced, "
            f"{len(queue.running)} are being synced, {told.waiting} wait; "
            f"expected to be over at {told.finish:%H:%M} UTC."
        )
        context.log.info(text)
        if told.late:
            context.log.warning(f"RS-RUN-04: {len(told.late)} syncs will not start before the window ends.")
        if not asked:
            return dg.SkipReason(f"Nothing is to be asked for now: {text}")
        _partitions(context.instance, asked)
        return list(_requests(window, asked, night.kinds))

    return tick


def _partitions(instance: dg.DagsterInstance, asked: list[Candidate]) -> None:
    """A run needs its key; the sensor `tenant_registry` has not been there yet for a tenant of just now."""
    existing = instance.get_dynamic_partitions(NAME)
    add, _ = partition_changes([one.tenant for one in asked], existing, ())
    if add:
        instance.add_dynamic_partitions(NAME, add)


def _requests(
    window: Window, asked: list[Candidate], kinds: dict[str, frozenset[str]]
) -> Iterator[dg.RunRequest]:
    for one in asked:
        yield dg.RunRequest(
            # Dagster takes a key once a tick; which tenants are done is the ledger's to say.
            run_key=f"{one.tenant} {window.start:%Y-%m-%dT%H:%MZ} {one.tries}",
            tags=run_tags(one.tenant, window.region, "schedule", hosts=one.hosts, seconds=one.seconds)
            | {tags.PRIORITY: "-1"},  # whoever starts a sync by hand does not wait for the night
            asset_selection=selected(kinds[one.tenant]),
        )


UPKEEP: Final = dg.ScheduleDefinition(
    name="daily_upkeep",
    job=upkeep_of_records,
    cron_schedule="15 22 * * *",  # the one hour of the day in which no more than one region's window is open
    execution_timezone="UTC",
    # It removes only what is older than it is kept; without it the records grow until the disk is full.
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description=(
        "Once a day, and on from the start: old runs, events, extracts and history go, for half an hour at "
        "most; the run says what it freed. If it fails some days, nothing breaks, but the disk fills."
    ),
    owners=OWNERS,
    tags={tags.TASK: "upkeep"},
)

SCHEDULES: Final = [nightly(region) for region in windows.OFFSETS]
