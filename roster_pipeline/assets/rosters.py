"""`published_rosters`: the roster database, changed in one transaction, and what the sync tells."""

from collections.abc import Iterator

import dagster as dg

from roster_pipeline import checks
from roster_pipeline.assets.identities import merged_identities
from roster_pipeline.metadata import Metadata, of_document
from roster_pipeline.partitions import TENANTS
from roster_pipeline.resources import Document, Rosters


@dg.asset(
    partitions_def=TENANTS,
    group_name="rosters",
    deps=[merged_identities],
    check_specs=checks.specs("published_rosters"),
    # A sync that published nothing has made nothing: a failed one, and one that was only tried out.
    output_required=False,
)
def published_rosters(
    context: dg.AssetExecutionContext, rosters: dg.ResourceParam[Rosters]
) -> Iterator[dg.AssetCheckResult | dg.AssetObservation | dg.MaterializeResult[None]]:
    """What the products read: schools, sessions, classes, people, memberships and guardian links.

    All of a tenant's changes in one transaction, or nothing does.

    - `successful`: published; notes and unmatched users are no fault.
    - `partial`: published, but a collection was not read completely, a school was kept back, or a removal
      waits.
    - `failed`: nothing new was published. What was published stays, and the run is a failure.

    The table `issues` says why, one line a cause, with a code, the cure and who has to act. `successful` and
    `partial` are materialisations; a failed sync, and one with the tag `roster/dry_run`, are observations.
    """
    with rosters.step(context) as sync:
        document = sync.publish()
    metadata = of_document(document)
    rosters.ended(context, document)
    yield from checks.results(document)
    if document["status"] == "failed":
        yield _observed(context, metadata)
        raise dg.Failure(_why(document), allow_retries=False)
    if document.get("dry_run"):
        yield _observed(context, metadata)
        return
    yield dg.MaterializeResult(metadata=metadata)


def _observed(context: dg.AssetExecutionContext, metadata: Metadata) -> dg.AssetObservation:
    return dg.AssetObservation(context.asset_key, partition=context.partition_key, metadata=metadata)


def _why(document: Document) -> str:
    return "\n".join(f"{issue['code']}: {issue['message']}" for issue in document["issues"][:10])
