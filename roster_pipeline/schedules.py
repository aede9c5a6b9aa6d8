"""The nightly schedules: one a region, at 18:00 on the region's fixed offset all year.

A tick asks for one run of each tenant of the region. Which day the run is for follows from its start.
"""

from __future__ import annotations

from typing import Final

import dagster as dg

from roster_pipeline.jobs import SYNC_TENANT, run_tags, selection
from roster_pipeline.partitions import NAME, partition_changes
from roster_pipeline.resources import registered_tenants
from roster_pipeline.tenants import nights
from roster_pipeline.tenants.document import Region


def nightly(region: Region) -> dg.ScheduleDefinition:
    """The schedule of a region."""

    @dg.schedule(
        name=f"nightly_{region.lower()}",
        job=SYNC_TENANT,
        cron_schedule=f"{nights.START.minute} {nights.START.hour} * * *",
        # A fixed offset: daylight saving does not move the window.
        execution_timezone=nights.SCHEDULE_ZONES[region],
        description=f"Asks for one sync of each {region} tenant, at the beginning of the region's 12 hours.",
    )
    def tick(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        tenants = [tenant for tenant in registered_tenants() if tenant.region == region]
        if not tenants:
            return dg.SkipReason(f"There is no tenant in the region {region}.")
        # A run needs its key. Those that are too many are the sensor's business.
        existing = context.instance.get_dynamic_partitions(NAME)
        add, _ = partition_changes([tenant.tenant for tenant in tenants], existing, ())
        context.instance.add_dynamic_partitions(NAME, add)
        night = nights.newest_window(region, context.scheduled_execution_time).start
        return [
            dg.RunRequest(
                run_key=f"{tenant.tenant} {night:%Y-%m-%dT%H:%MZ}",
                tags=run_tags(tenant, "schedule"),
                asset_selection=selection(tenant),
            )
            for tenant in tenants
        ]

    return tick


SCHEDULES: Final = [nightly(region) for region in nights.OFFSETS]
