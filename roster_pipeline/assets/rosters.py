"""`published_rosters`: the roster database, changed in one transaction, and what the sync tells."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import dagster as dg

from roster_pipeline import checks
from roster_pipeline.assets.identities import merged_identities
from roster_pipeline.assets.layers import of_layer
from roster_pipeline.metadata import Metadata, of_document, of_latest
from roster_pipeline.resources import Document, Rosters

if TYPE_CHECKING:
    from roster_pipeline.syncs import Sync

LAST_SYNCS: Final = 14


@dg.asset(
    # SQLite or PostgreSQL: which one is not known before something is opened.
    **of_layer("rosters", {"pandas", "sql"}),
    deps=[merged_identities],
    check_specs=checks.specs("published_rosters"),
    # A sync that published nothing has made nothing: a failed one, and one that was only tried out.
    output_required=False,
)
def published_rosters(
    context: dg.AssetExecutionContext, rosters: dg.ResourceParam[Rosters]
) -> Iterator[dg.AssetCheckResult | dg.AssetObservation | dg.MaterializeResult[None]]:
    """What the products read: schools, sessions, classes, people, memberships and guardian links.

    All changes of a tenant are published in one transaction, or none is.

    - `successful`: published; notes and unmatched users are no fault.
    - `partial`: published, but a collection was not read completely, a school was kept back, or a removal
      waits.
    - `failed`: nothing new was published. What was published stays, and the run is a failure.

    `sync_details` has the counts of the tenant and of each provider, `schools` those of each school, and
    `last_syncs` the fourteen newest syncs, with a chart beside it. `issues` says why, one line a cause,
    with a code, the cure and who has to act. `unmoved_since_sync` is there on a night on which nothing
    moved: that sync found all this, and only the date of the schools' states is new. `successful` and
    `partial` are materialisations; a failed sync, and one with the tag `roster/dry_run`, are observations.
    """
    with rosters.step(context) as sync:
        document = sync.publish()
    rosters.ended(context, document)
    metadata = of_document(document) | _unmoved(sync) | _latest(context, sync)
    yield from checks.results(document)
    if document["status"] == "failed":
        yield _observed(context, metadata)
        raise dg.Failure(_why(document), allow_retries=False)
    if document.get("dry_run"):
        yield _observed(context, metadata)
        return
    yield dg.MaterializeResult(metadata=metadata)


def _unmoved(sync: "Sync") -> Metadata:
    return {} if sync.unmoved_since is None else {"unmoved_since_sync": sync.unmoved_since}


def _latest(context: dg.AssetExecutionContext, sync: "Sync") -> Metadata:
    """The last syncs; a sync that has published does not fail because they cannot be shown."""
    try:
        return of_latest(sync.latest(LAST_SYNCS))
    except Exception as error:  # the text of an error that is not ours may hold anything
        context.log.warning(f"RS-RUN-99: The last syncs could not be shown ({type(error).__name__}).")
        return {}


def _observed(context: dg.AssetExecutionContext, metadata: Metadata) -> dg.AssetObservation:
    return dg.AssetObservation(context.asset_key, partition=context.partition_key, metadata=metadata)


def _why(document: Document) -> str:
    return "\n".join(f"{issue['code']}: {issue['message']}" for issue in document["issues"][:10])
