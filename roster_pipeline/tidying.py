"""Tidying up: what is older than it is kept goes, and what `forget` left open is done; of one tenant or all.

The same for the command `tidy` and for the daily job. A tenant that is being synced is left out: its own
sync tidies up after itself.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from roster_pipeline import forgetting
from roster_pipeline.alerts import settings
from roster_pipeline.codes import CodedError
from roster_pipeline.store import outbox, retention
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


def tidy_alerts(
    stores: Stores, home: Home, environ: Mapping[str, str], keep: Retention, now: dt.datetime
) -> int:
    """Removes alerts that were sent as long ago as history is kept; says how many.

    What waits for a channel that is in `alerts.yaml` no more goes at that age, too. Where that cannot be
    read, nobody knows which channels there are, and what waits stays.
    """
    channels: tuple[str, ...] | None
    try:
        wanted = settings.load(environ, home.folder)
    except CodedError:  # told by the sensor and by `roster-pipeline alerts`
        channels = None
    else:
        channels = wanted.names if wanted else ()
    rows, before = 0, now - dt.timedelta(days=keep.history_days)
    while True:
        with stores.database.connect().execution_options(immediate=True) as connection, connection.begin():
            removed = outbox.prune(connection, before, channels)
        if not removed:
            return rows
        rows += removed


def tidy_all(environ: Mapping[str, str], clock: Callable[[], dt.datetime]) -> tuple[Tidied, int]:
    """What was freed of all tenants together, and how many were left out because they were being synced.

    Raises:
        CodedError: RS-CFG-13 for a setting that cannot be read, RS-DB-01 for a database that cannot.
    """
    keep = retention.retention(environ)
    home = Home.find(environ)
    stores = home.stores()
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
        freed = replace(freed, alerts=tidy_alerts(stores, home, environ, keep, clock()))
    finally:
        stores.database.dispose()
    return freed, busy
