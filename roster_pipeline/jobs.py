"""The jobs: `sync_tenant`, and what a run of it is told; `decide_holds`.

One run is one sync of one tenant, its partition. What the steps do is in `assets`.
"""

# No `from __future__ import annotations`: Dagster reads the type of an op's config at run time.

import os
import time
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
from roster_pipeline.owners import OWNERS
from roster_pipeline.partitions import TENANTS
from roster_pipeline.providers import KINDS
from roster_pipeline.tenants.document import Tenant

SYNC_TENANT: Final = dg.define_asset_job(
    "sync_tenant",
    selection=[asset.key for asset in ASSETS],
    # A step is a second's work; a process for each would cost several times that.
    executor_def=dg.in_process_executor,
    description=(
        "One sync of one tenant: read its providers, keep what counts on the day, merge the records of one "
        "human, check each school, publish. The schedules run it each night. To sync a tenant by hand, "
        "choose its partition. The run fails only if nothing could be published; how it went stands in the "
        "tags `roster/outcome` and `roster/error_code`, and in full on the asset `published_rosters`."
    ),
    owners=OWNERS,
    tags={tags.TASK: "sync"},
)


EVENT_DAYS: Final = 2
RUN_DAYS: Final = 30
UPKEEP_SECONDS: Final = 1800.0
"""How long one upkeep may go on; what is left is for the next one."""


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
        "or `reject`. An approval lets exactly what waits now go at the next sync, once; a rejection keeps "
        "it until the source changes. Look first: `roster-pipeline holds` lists what waits."
    ),
    owners=OWNERS,
    tags={tags.TASK: "decision"},
)
def decide_holds() -> None:
    """The same as `roster-pipeline approve` and `reject`."""
    _decide()


class Keeping(dg.Config):
    """For how many days Dagster's own records are kept; the ledger is kept for good."""

    event_days: int = EVENT_DAYS  # all that a successful run tells; after that its page is short
    run_days: int = RUN_DAYS  # a run at all; each tenant's newest for longer


@dg.op(
    name="prune",
    description="Deletes old runs, and of younger ones the events that only their own page shows.",
)
def _prune(context: dg.OpExecutionContext, config: Keeping) -> None:
    from roster_pipeline import upkeep

    until = time.monotonic() + UPKEEP_SECONDS
    freed = upkeep.prune(
        context.instance,
        datetime.now(UTC),
        event_days=config.event_days,
        run_days=config.run_days,
        go_on=lambda: time.monotonic() < until,
    )
    context.add_output_metadata({"event_rows": freed.events, "runs": freed.runs})


@dg.op(
    name="tidy",
    ins={"after": dg.In(dg.Nothing)},
    description="Removes extracts, tables and history that are older than they are kept, of every tenant.",
)
def _tidy(context: dg.OpExecutionContext) -> None:
    from roster_pipeline.tidying import tidy_all

    try:
        freed, busy = tidy_all(os.environ, lambda: datetime.now(UTC))
    except CodedError as error:
        raise dg.Failure(f"{error.code}: {error.message}", allow_retries=False) from None
    context.add_output_metadata(
        {
            "extracts": freed.extracts,
            "tables": freed.tables,
            "history_rows": freed.history,
            "alerts": freed.alerts,
            "tenants_left_out": busy,  # they were being synced: their own sync tidies up
        }
    )


@dg.job(
    executor_def=dg.in_process_executor,
    description=(
        "Removes what is older than it is kept: Dagster's events and runs, extracts and tables in the "
        "lake, and the history that an undo needs. The ledger of syncs stays. Says what it freed."
    ),
    owners=OWNERS,
    tags={tags.PRIORITY: "-10", tags.TASK: "upkeep"},
)
def upkeep_of_records() -> None:
    """Once a day, by the schedule `daily_upkeep`; also by hand."""
    _tidy(after=_prune())


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
