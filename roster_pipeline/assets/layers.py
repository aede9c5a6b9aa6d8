"""What all assets of a layer have in common: a partition is a tenant, who answers, how the UI files them."""

from __future__ import annotations

from typing import TypedDict

import dagster as dg

from roster_pipeline import tags
from roster_pipeline.owners import OWNERS
from roster_pipeline.partitions import TENANTS


class Layer(TypedDict):
    """Arguments of `dg.asset`."""

    partitions_def: dg.DynamicPartitionsDefinition
    group_name: str
    owners: list[str]
    kinds: set[str]
    tags: dict[str, str]


def of_layer(layer: str, kinds: set[str], **tagged: str) -> Layer:
    """Those of an asset of this layer, which is made of these kinds of things; with the layer as a tag."""
    return {
        "partitions_def": TENANTS,
        "group_name": layer,
        "owners": OWNERS,
        "kinds": kinds,
        "tags": {tags.LAYER: layer, **tagged},
    }
