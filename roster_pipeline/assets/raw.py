"""`raw/<kind>`: what the providers of a kind sent, one asset a kind of the registry `providers.KINDS`."""

from typing import Final

import dagster as dg

from roster_pipeline import tags
from roster_pipeline.assets.layers import of_layer
from roster_pipeline.metadata import of_step
from roster_pipeline.providers import KINDS
from roster_pipeline.resources import Rosters

RAW: Final = "raw"

_READ: Final = {
    "powerschool": "the tenant's PowerSchool servers",
    "classlink": "the tenant's ClassLink servers",
    "oneroster": "the tenant's other OneRoster servers, 1.1 and 1.2",
    "oneroster_csv": "the tenant's OneRoster CSV exports",
    "directory": "the tenant's directories: people whom the platform knows already",
}

_KINDS: Final = {"oneroster_csv": {"oneroster", "csv"}, "oneroster": {"oneroster"}, "directory": {"csv"}}
"""What a kind of provider speaks where that is not the kind's own dialect of OneRoster."""

_DESCRIPTION: Final = """Reads {what}, and keeps every collection with its state and the proof of it.

- `ok`: read, and proven complete.
- `unproven`: read, but nothing proves that it is all. Its rows add and update, and remove nothing.
- `stale`: not readable now. The last complete one, at most 7 days old, stands in and removes nothing.
- `failed`: not readable, and nothing stands in.

This asset is made also when everything failed, and where the tenant has no such provider (`configured` is
then false): a provider that is down never stops the others. Why a collection is not `ok` stands in the
table `issues`, with a code and a cure. To read again, materialise this asset and all that follow it.
"""


def raw_asset(kind: str) -> dg.AssetsDefinition:
    """The asset that extracts all providers of `kind`."""

    @dg.asset(
        key=[RAW, kind],
        **of_layer(RAW, {"parquet"} | _KINDS.get(kind, {kind, "oneroster"}), **{tags.PROVIDER_KIND: kind}),
        description=_DESCRIPTION.format(what=_READ.get(kind, f"the tenant's providers of the kind {kind}")),
    )
    def extract(
        context: dg.AssetExecutionContext, rosters: dg.ResourceParam[Rosters]
    ) -> dg.MaterializeResult[None]:
        with rosters.step(context) as sync:
            metadata = of_step(sync.extract(kind))
        return dg.MaterializeResult(metadata=metadata)

    return extract


RAW_ASSETS: Final = [raw_asset(kind) for kind in KINDS]
