"""`current_sessions` and `current_enrolments`: what counts on the date that the sync is for."""

import dagster as dg

from roster_pipeline.assets.layers import of_layer
from roster_pipeline.assets.raw import RAW
from roster_pipeline.metadata import of_step
from roster_pipeline.providers import KINDS
from roster_pipeline.resources import Rosters


@dg.asset(
    **of_layer("current", {"pandas", "parquet"}),
    deps=[[RAW, kind] for kind in KINDS if kind != "directory"],
)
def current_sessions(
    context: dg.AssetExecutionContext, rosters: dg.ResourceParam[Rosters]
) -> dg.MaterializeResult[None]:
    """Schools in scope, the sessions that are current on `as_of`, and the current classes with their dates.

    The table `classes` says how many classes each provider sent, how many of them count, and why the others
    do not. Without any current class look at `as_of` first, then at the school's sessions: a new school year
    that is not set up in the SIS shows here.
    """
    with rosters.step(context) as sync:
        metadata = of_step(sync.current_sessions())
    return dg.MaterializeResult(metadata=metadata)


@dg.asset(
    **of_layer("current", {"pandas", "parquet"}),
    deps=[current_sessions],
)
def current_enrolments(
    context: dg.AssetExecutionContext, rosters: dg.ResourceParam[Rosters]
) -> dg.MaterializeResult[None]:
    """The memberships that count on `as_of`, and the people whom they keep.

    The tables `users` and `enrolments` say how many rows each provider sent, how many of them count, and why
    the others do not. Rows that refer to nothing are told with a code.
    """
    with rosters.step(context) as sync:
        metadata = of_step(sync.current_enrolments())
    return dg.MaterializeResult(metadata=metadata)
