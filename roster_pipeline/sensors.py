"""The sensors: partitions follow the registry, what died is ended, and changes are told to operators."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorType

from roster_pipeline import tags
from roster_pipeline.codes import CodedError
from roster_pipeline.nights import windows
from roster_pipeline.owners import OWNERS
from roster_pipeline.partitions import NAME, TENANTS, partition_changes
from roster_pipeline.resources import ledger_open, registered_names
from roster_pipeline.runs import NOT_OVER, end_dead_runs, end_left_runs, end_runs_of
from roster_pipeline.store.home import Home
from roster_pipeline.tenants.document import Region

AT_ONCE = 20_000
"""Keys that one tick changes; Dagster admits 25,000."""


@dg.sensor(
    name="tenant_registry",
    minimum_interval_seconds=60,
    # It starts nothing, and without it a new tenant would not be there to be materialised.
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Makes a partition of every tenant of the registry, and takes those away that it has no more, "
        "once none of their runs is going on. A tenant that is missing in the UI a minute after `tenants "
        "apply`: is this sensor running?"
    ),
    owners=OWNERS,
    tags={tags.TASK: "tenants"},
)
def tenant_registry(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """One tick: what changed since the last one, or why nothing could be told."""
    instance = context.instance
    try:
        wanted = registered_names()
    except CodedError as error:
        # A registry that cannot be read is not an empty one.
        return dg.SkipReason(f"{error}; no partition was changed.")
    existing = instance.get_dynamic_partitions(NAME)
    going = instance.get_runs(filters=dg.RunsFilter(statuses=NOT_OVER)) if set(existing) - set(wanted) else []
    in_flight = {run.tags.get(tags.PARTITION, "") for run in going}
    add, delete = (keys[:AT_ONCE] for keys in partition_changes(wanted, existing, in_flight))
    if not add and not delete:
        return dg.SkipReason("The partitions are the tenants of the registry.")
    requests: list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest] = [
        *([TENANTS.build_add_request(add)] if add else []),
        *([TENANTS.build_delete_request(delete)] if delete else []),
    ]
    return dg.SensorResult(dynamic_partitions_requests=requests)


@dg.sensor(
    name="night_watch",
    minimum_interval_seconds=60,
    # It starts nothing, and without it a sync whose worker died would be called running for ever.
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Ends syncs whose worker has not been heard of for two minutes, so that they can be started "
        "again, and writes down how each night ended and which tenants it missed. It starts no run: each "
        "tick is skipped, and says what it did."
    ),
    owners=OWNERS,
    tags={tags.TASK: "watch"},
)
def night_watch(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """One tick; it asks for no run, so what it did is told as the reason for skipping."""
    return dg.SkipReason(f"The watch: {look(context.instance, datetime.now(UTC))}")


def look(instance: dg.DagsterInstance, now: datetime) -> str:
    """Ends what is to be ended at this instant (aware), and says what that was."""
    from roster_pipeline import watch
    from roster_pipeline.store import lease

    ended = len(end_dead_runs(instance))
    try:
        with ledger_open(to_write=True) as connection:
            cut_off = watch.end_silent_syncs(connection, now)
            holders = lease.holders(connection)
            nights = watch.end_nights(connection, _by_night(instance), now)
    except CodedError as error:
        return f"{error}; the next tick tries again."
    for one in cut_off:
        end_runs_of(instance, one.run_id, one.why)
    left = len(end_left_runs(instance, holders, now))
    told = [f"{one.tenant}: {one.why.code}" for one in cut_off]
    told += [
        f"{one.window.region}: of {one.tenants} tenants {len(one.missed)} were not started in the window"
        for one in nights
    ]
    told += [f"{ended} runs of dead processes"] if ended else []
    told += [f"{left} runs that their workers left"] if left else []
    return "; ".join(told[:20]) or "All is as it should be."


@dg.sensor(
    name="alerts",
    minimum_interval_seconds=60,
    # Nothing is sent without the operator's alerts.yaml, so it may run from the start.
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Tells operators what changed: tenants whose syncs failed, were published in part, wait for a "
        "decision or were missed by a night, and those that are well again. Few messages, through the "
        "channels of alerts.yaml (docs/alerts.md). Without that file it sends nothing. Each tick says here "
        "what it told and which channel does not work."
    ),
    owners=OWNERS,
    tags={tags.TASK: "alerts"},
)
def alerts(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """One tick; what was told is in the roster database, and the cursor shows only how far it has come."""
    now = datetime.now(UTC)
    told = tell(context.instance)
    return dg.SensorResult(skip_reason=dg.SkipReason(f"Alerts: {told}"), cursor=f"{now:%Y-%m-%dT%H:%M:%SZ}")


def tell(instance: dg.DagsterInstance) -> str:
    """One round of alerts in this deployment, and what it did."""
    from sqlalchemy import exc

    from roster_pipeline.alerts import rounds, settings

    home = Home.find(os.environ)
    try:
        wanted = settings.load(os.environ, home.folder)
        if wanted is None:
            return f"Nobody is alerted: there is no {settings.FILE} in {home.folder} (docs/alerts.md)."
        stores = home.stores()
        try:
            done = rounds.go(stores.database, wanted, _by_night(instance), rounds.World.real(os.environ))
        finally:
            stores.database.dispose()
    except CodedError as error:
        return f"{error}; the next tick tries again."
    except exc.SQLAlchemyError as error:
        return f"RS-DB-01: The roster database could not be used ({type(error).__name__}); nothing is lost."
    told = [f"{channel} does not work: {why}" for channel, why in done.failed.items()]
    told += [f"changes told: {done.changes}"] if done.changes else []
    told += [f"digests: {done.digests}"] if done.digests else []
    told += [f"messages sent to {channel}: {count}" for channel, count in done.sent.items()]
    return "; ".join(told) or "Nothing changed that is to be told."


def _by_night(instance: dg.DagsterInstance) -> list[Region]:
    """The regions whose schedule somebody started, also where it is stopped by now: that may be a mistake."""
    known = {state.name for state in instance.all_instigator_state(instigator_type=InstigatorType.SCHEDULE)}
    return [region for region in windows.OFFSETS if f"nightly_{region.lower()}" in known]
