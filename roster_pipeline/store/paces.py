"""The paces of hosts: what one sync learned of how a host wants to be asked, for all that follow."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import exc, insert, select, update

from roster_pipeline.oneroster.pacing import Pace
from roster_pipeline.store.database import hosts
from roster_pipeline.store.instants import naive

if TYPE_CHECKING:
    from sqlalchemy import Engine

FORGOTTEN: Final = dt.timedelta(days=7)
"""After that, a host is asked as if it were new."""


@dataclass(frozen=True, slots=True)
class StoredPaces:
    """`oneroster.pacing.Paces` in the roster database.

    A database that is down or busy keeps nobody from reading a roster: then nothing is known, or learned.
    """

    engine: Engine
    clock: Callable[[], dt.datetime]

    def recall(self, host: str) -> Pace:
        """What was learned of a host lately."""
        try:
            with self.engine.connect() as connection:
                row = connection.execute(select(hosts).where(hosts.c.host == host)).one_or_none()
        except exc.SQLAlchemyError:
            return Pace()
        if row is None or row.learned_at < naive(self.clock() - FORGOTTEN):
            return Pace()
        return Pace(row.space, row.held_until and row.held_until.replace(tzinfo=dt.UTC), row.usual)

    def learn(self, host: str, pace: Pace) -> None:
        """Keeps what was learned."""
        values = {
            "space": pace.space,
            "held_until": naive(pace.held_until) if pace.held_until else None,
            "usual": pace.usual,
            "learned_at": naive(self.clock()),
        }
        try:
            with self.engine.connect().execution_options(immediate=True) as connection, connection.begin():
                found = connection.execute(update(hosts).where(hosts.c.host == host).values(**values))
                if not found.rowcount:
                    connection.execute(insert(hosts).values(host=host, **values))
        except exc.SQLAlchemyError:  # also two first ones at the same moment: one of them has learned it
            return
