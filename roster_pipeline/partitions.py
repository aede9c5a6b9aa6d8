"""The one partitions definition: a partition is a tenant.

Also how the stored keys follow the registry of tenants, as a pure function. A failed read of the
registry is not an empty registry: whoever cannot read it must not ask here.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import dagster as dg

NAME: Final = "tenants"
TENANTS: Final = dg.DynamicPartitionsDefinition(name=NAME)


def partition_changes(
    wanted: Collection[str], existing: Collection[str], in_flight: Collection[str]
) -> tuple[list[str], list[str]]:
    """Which keys to add and which to delete, so that the partitions are the tenants of the registry.

    Args:
        wanted: The tenants of the registry.
        existing: The keys of the partitions.
        in_flight: Tenants with a run that is not over. Theirs stay: a run whose key is gone works to
            its end and then fails to store what it made.

    Returns:
        (keys to add, keys to delete), each sorted; a later call finds what had to wait.
    """
    add = sorted(set(wanted) - set(existing))
    delete = sorted(set(existing) - set(wanted) - set(in_flight))
    return add, delete
