"""Published rows as they were before each sync changed them, and how long they are kept."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select, tuple_

from roster_pipeline.store.database import history, syncs

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection


def prune(connection: Connection, tenant: str, before: dt.datetime, *, limit: int = 5_000) -> int:
    """Deletes at most so many entries of syncs that began before an instant; how many it deleted.

    Whoever calls this commits, and calls again until it deletes none.
    """
    instant = before.astimezone(dt.UTC).replace(tzinfo=None)
    last = connection.scalar(
        select(func.max(syncs.c.sync_id)).where(syncs.c.tenant == tenant, syncs.c.started_at < instant)
    )
    key = history.c.sync_id, history.c.kind, history.c.row_key
    old = select(*key).where(history.c.tenant == tenant, history.c.sync_id <= (last or 0)).limit(limit)
    mine = history.c.tenant == tenant, tuple_(*key).in_(old)
    return connection.execute(delete(history).where(*mine)).rowcount
