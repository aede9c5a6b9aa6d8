"""How long what a sync leaves is kept, and what is tidied away after each and by `roster-pipeline tidy`.

Extracts and tables of the lake go by the age of the sync that made them, the history of rows likewise. What
is published, the links and the ledger have no clock: whoever returns gets the same id, so their rows stay,
removed ones too, until somebody asks for them to be forgotten (`forgetting`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import func, select

from roster_pipeline.codes import CodedError
from roster_pipeline.store import history
from roster_pipeline.store.database import providers, syncs

if TYPE_CHECKING:
    from roster_pipeline.store.home import Stores

LAKE: Final = "ROSTER_LAKE_DAYS"
HISTORY: Final = "ROSTER_HISTORY_DAYS"
_LEAST: Final = {LAKE: 8, HISTORY: 1}
"""A last complete extract may stand in for seven days: it must be there on each of them."""
_DEFAULT: Final = 30


@dataclass(frozen=True, slots=True)
class Retention:
    """For how many days what a sync made is kept, counted from its start."""

    lake_days: int = _DEFAULT
    history_days: int = _DEFAULT


@dataclass(frozen=True, slots=True)
class Tidied:
    """What was freed: folders of syncs in the lake, rows of `history`, and alerts that were sent."""

    extracts: int
    tables: int
    history: int
    alerts: int = 0


def retention(environ: Mapping[str, str]) -> Retention:
    """What the deployment has set.

    Raises:
        CodedError: RS-CFG-13 for what is no number of days, or too few.
    """
    return Retention(_days(environ, LAKE), _days(environ, HISTORY))


def _days(environ: Mapping[str, str], name: str) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return _DEFAULT
    # Nobody means more than some thousands, and a date must come of it.
    days = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else -1
    if days < _LEAST[name]:
        raise CodedError("RS-CFG-13", f"{name} is no number of days from {_LEAST[name]} to 99999.")
    return days


def every_tenant(stores: Stores) -> list[str]:
    """Every tenant that anything may be kept of, also those that are out of the registry."""
    with stores.database.connect() as connection:
        return list(connection.scalars(select(providers.c.tenant).distinct().order_by(providers.c.tenant)))


def tidy(stores: Stores, tenant: str, keep: Retention, now: dt.datetime, *, is_synced: bool = True) -> Tidied:
    """Removes what is older than it is kept, and what nothing needs any more; for one tenant.

    Of one that is out of the registry no sync needs an extract again: all of them go. Whoever calls this
    holds the tenant's lease.
    """
    last = _last_before(stores, tenant, now, keep.lake_days if is_synced else 0)
    extracts, tables = stores.lake.prune(tenant, last, now)
    rows, before = 0, now - dt.timedelta(days=keep.history_days)
    while batch := _prune_history(stores, tenant, before):
        rows += batch
    return Tidied(extracts, tables, rows)


def _prune_history(stores: Stores, tenant: str, before: dt.datetime) -> int:
    """One batch in a transaction of its own: nobody waits for all of them."""
    with stores.database.connect().execution_options(immediate=True) as connection, connection.begin():
        return history.prune(connection, tenant, before)


def _last_before(stores: Stores, tenant: str, now: dt.datetime, days: int) -> int:
    """The newest sync of the tenant that began more than so many days ago; 0 if there is none."""
    query = select(func.max(syncs.c.sync_id)).where(
        syncs.c.tenant == tenant,
        syncs.c.started_at < now.astimezone(dt.UTC).replace(tzinfo=None) - dt.timedelta(days=days),
    )
    with stores.database.connect() as connection:
        return connection.execute(query).scalar() or 0
