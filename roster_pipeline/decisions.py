"""What people decide of removals that wait: one way for the terminal and for Dagster's UI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Row


def decide(
    environ: Mapping[str, str],
    tenant: str,
    decision: str,
    *,
    school: str | None,
    who: str,
    why: str,
    now: datetime,
) -> Sequence[Row[Any]]:
    """Approves or rejects what waits now, in the deployment of `environ`; arguments as `store.holds.decide`.

    Raises:
        CodedError: RS-CFG-08 for an unknown tenant, RS-RUN-10 if nothing waits there.
    """
    from roster_pipeline.nights import windows
    from roster_pipeline.store import holds
    from roster_pipeline.store.home import Home
    from roster_pipeline.tenants import registry

    stores = Home.find(environ).stores()
    try:
        with stores.database.connect().execution_options(immediate=True) as connection, connection.begin():
            day = windows.as_of(registry.get(connection, tenant).tenant, now)
            return holds.decide(
                connection, tenant, decision, school=school, who=who, why=why, now=now, day=day
            )
    finally:
        stores.database.dispose()
