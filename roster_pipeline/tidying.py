"""Tidying up: what is older than it is kept goes, and what `forget` left open is done; of one tenant or all.

The same for the command `tidy` and for the daily job. A tenant that is being synced is left out: its own
sync tidies up after itself.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from roster_pipeline import forgetting
from roster_pipeline.codes import CodedError
from roster_pipeline.store import retention
from roster_pipeline.store.home import Home
from roster_pipeline.store.retention import Retention, Tidied
from roster_pipeline.tenants import registry

if TYPE_CHECKING:
    from roster_pipeline.store.home import Stores


def tidy_one(
    stores: Stores, tenant: str, keep: Retention, clock: Callable[[], dt.datetime]
) -> tuple[Tidied, list[int]]:
    """What was freed of one tenant, and the receipts that were completed.

    Raises:
        CodedError: RS-RUN-06 while it is being synced, RS-CFG-08 for one of whom nothing was ever known.
    """
    with forgetting.alone_with(stores, tenant, clock):
        completed = forgetting.finish(stores, tenant)
        with stores.database.connect() as connection:
            is_synced = registry.find(connection, tenant) is not None
        return retention.tidy(stores, tenant, keep, clock(), is_synced=is_synced), completed


def tidy_all(environ: Mapping[str, str], clock: Callable[[], dt.datetime]) -> tuple[Tidied, int]:
    """What was freed of all tenants together, and how many were left out because they were being synced.

    Raises:
        CodedError: RS-CFG-13 for a setting that cannot be read, RS-DB-01 for a database that cannot.
    """
    keep = retention.retention(environ)
    stores = Home.find(environ).stores()
    freed, busy = Tidied(0, 0, 0), 0
    try:
        for tenant in retention.every_tenant(stores):
            try:
                one, _ = tidy_one(stores, tenant, keep, clock)
            except CodedError as error:
                if error.code != "RS-RUN-06":
                    raise
                busy += 1
            else:
                freed = Tidied(
                    freed.extracts + one.extracts, freed.tables + one.tables, freed.history + one.history
                )
    finally:
        stores.database.dispose()
    return freed, busy
