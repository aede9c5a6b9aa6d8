"""The jobs: `sync_tenant`, and what a run of it is told; `decide_holds`.

One run is one sync of one tenant, its partition. What the steps do is in `assets`.
"""

# No `from __future__ import annotations`: Dagster reads the type of an op's config at run time.

import os
from collections.abc import Collection
from datetime import UTC, date, datetime
from enum import Enum
from typing import Final

import dagster as dg

from roster_pipeline import tags
from roster_pipeline.assets import ASSETS
from roster_pipeline.assets.raw import RAW
from roster_pipeline.codes import CodedError
from roster_pipeline.decisions import decide
from roster_pipeline.metadata import table
from roster_pipeline.nights.limits import time_limit
from roster_pipeline.partitions import TENANTS
from roster_pipeline.providers import KINDS
from roster_pipeline.tenants.document import Tenant

SYNC_TENANT: Final = dg.define_asset_job(
    "sync_tenant",
    selection=[asset.key for asset in ASSETS],
    # A step is a second's work; a process for each would cost several times that.
    executor_def=dg.in_process_executor,
    description="One sync of one tenant: read, filter, merge, check, publish.",
)


class Decision(Enum):
    """What is decided of what waits."""

    approve = "approved"
    reject = "rejected"


class Deciding(dg.Config):
    """Approve or reject the removals of the tenant that wait; what they are, `roster-pipeline holds` lists.

    Dagster keeps what is entered here: name no pupil and nobody of a school.
    """

    decision: Decision
    school: str = ""  # its id, identifier or name; empty: every school of the tenant
    who: str  # who decides
    why: str = ""


@dg.op(name="decide", description="Approves what waits, for one sync, or keeps it until the source changes.")
def _decide(context: dg.OpExecutionContext, config: Deciding) -> None:
    try:
        found = decide(
            os.environ,
            context.partition_key,
            config.decision.value,
            school=config.school or None,
            who=config.who,
            why=config.why,
            now=datetime.now(UTC),
        )
    except CodedError as error:
        raise dg.Failure(f"{error.code}: {error.message}", allow_retries=False) from None
    shown = [
        {"school": one.name or "no school", "rows": one.kind, "count": one.count, "of": one.total}
        for one in found
    ]
    context.add_output_metadata({config.decision.value: table(shown)})


@dg.job(
    partitions_def=TENANTS,
    executor_def=dg.in_process_executor,
    description=(
        "Decides what becomes of a tenant's removals that wait: choose the tenant's partition, and `approve` "
        "or `reject`. An approval lets exactly what waits now go at the next sync, once."
    ),
)
def decide_holds() -> None:
    """The same as `roster-pipeline approve` and `reject`."""
    _decide()


def selected(kinds: Collection[str]) -> list[dg.AssetKey]:
    """The assets that a sync of these kinds of sources needs: the raw ones, and all that follow."""
    raw = [dg.AssetKey([RAW, kind]) for kind in KINDS if kind in kinds]
    return [*raw, *(asset.key for asset in ASSETS if asset.key.path[0] != RAW)]


def selection(tenant: Tenant) -> list[dg.AssetKey]:
    """The assets that a sync of this tenant needs."""
    return selected(
        {source.kind for source in tenant.providers} | ({"directory"} if tenant.directories else set())
    )


def run_tags(
    tenant: str,
    region: str,
    trigger: str,
    *,
    hosts: Collection[str] = (),
    seconds: float | None = None,
    as_of: date | None = None,
    dry_run: bool = False,
) -> dict[str, str]:
    """The tags of a run that syncs a tenant.

    Args:
        tenant: Its name.
        region: Its region.
        trigger: Who asks for it.
        hosts: The hosts that it will read.
        seconds: What its syncs usually take: its time limit follows.
        as_of: `--as-of`.
        dry_run: Everything but publishing.
    """
    told = {
        tags.PARTITION: tenant,
        tags.TENANT: tenant,
        tags.REGION: region,
        tags.TRIGGER: trigger,
        tags.MAX_RUNTIME: str(int(time_limit(seconds).total_seconds())),
        **tags.of_hosts(hosts),
    }
    if as_of is not None:
        told[tags.AS_OF] = as_of.isoformat()
    if dry_run:
        told[tags.DRY_RUN] = "true"
    return told
