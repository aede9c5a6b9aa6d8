"""`merged_identities`: which records are one human, and which schools are complete."""

import dagster as dg

from roster_pipeline.assets.current import current_enrolments
from roster_pipeline.assets.layers import of_layer
from roster_pipeline.assets.raw import RAW
from roster_pipeline.metadata import of_step
from roster_pipeline.resources import Rosters


@dg.asset(
    **of_layer("identities", {"pandas", "parquet"}),
    deps=[current_enrolments, [RAW, "directory"]],
)
def merged_identities(
    context: dg.AssetExecutionContext, rosters: dg.ResourceParam[Rosters]
) -> dg.MaterializeResult[None]:
    """One row a person, one link a user of a provider, and for every user one outcome.

    The outcomes are matched, created and unmatched.

    The ids are proposals until `published_rosters` writes them. The table `schools` says which schools are
    complete and which are kept back, with the code of the reason. Many created after the first sync mean
    that ids or e-mail addresses have changed at the provider; many unmatched, that addresses are shared.
    """
    with rosters.step(context) as sync:
        metadata = of_step(sync.merged_identities())
    return dg.MaterializeResult(metadata=metadata)
