"""The sensor `tenant_registry`: keeps Dagster's partitions equal to the registry of tenants."""

from __future__ import annotations

import dagster as dg

from roster_pipeline import tags
from roster_pipeline.codes import CodedError
from roster_pipeline.jobs import end_dead_runs
from roster_pipeline.partitions import NAME, TENANTS, partition_changes
from roster_pipeline.resources import registered_names

_NOT_OVER = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
AT_ONCE = 20_000
"""Keys that one tick changes; Dagster admits 25,000."""


@dg.sensor(
    name="tenant_registry",
    minimum_interval_seconds=60,
    # It starts nothing, and without it a new tenant would not be there to be materialised.
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Makes a partition of every tenant of the registry, and takes those away that it has no more, "
        "once none of their runs is going on. Also reports runs as failed whose process was killed."
    ),
)
def tenant_registry(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """One tick: what changed since the last one, or why nothing could be told."""
    instance = context.instance
    end_dead_runs(instance)
    try:
        wanted = registered_names()
    except CodedError as error:
        # A registry that cannot be read is not an empty one.
        return dg.SkipReason(f"{error}; no partition was changed.")
    existing = instance.get_dynamic_partitions(NAME)
    going = (
        instance.get_runs(filters=dg.RunsFilter(statuses=_NOT_OVER)) if set(existing) - set(wanted) else []
    )
    in_flight = {run.tags.get(tags.PARTITION, "") for run in going}
    add, delete = (keys[:AT_ONCE] for keys in partition_changes(wanted, existing, in_flight))
    if not add and not delete:
        return dg.SkipReason("The partitions are the tenants of the registry.")
    requests: list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest] = [
        *([TENANTS.build_add_request(add)] if add else []),
        *([TENANTS.build_delete_request(delete)] if delete else []),
    ]
    return dg.SensorResult(dynamic_partitions_requests=requests)
