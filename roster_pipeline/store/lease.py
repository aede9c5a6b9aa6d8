"""One sync of a tenant at a time, whoever starts it: a row with an owner and a heartbeat.

The lease of a process that is known to be dead on this machine is free at once; that of a silent
process elsewhere after `SILENCE`.
"""

from __future__ import annotations

import datetime as dt
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, exc, insert, select, update

from roster_pipeline.codes import CodedError
from roster_pipeline.store.database import leases
from roster_pipeline.store.instants import naive

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.engine import Connection

BEAT: Final = dt.timedelta(seconds=15)
SILENCE: Final = dt.timedelta(seconds=120)
_ENDED: Final = ("Z", "X")  # the states in /proc of a process that only its parent still knows


@dataclass(slots=True)
class Lease:
    """A tenant's lease, held by `owner` (a run) until `release`; beats in a thread of its own."""

    engine: Engine
    tenant: str
    owner: str
    clock: Callable[[], dt.datetime]
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def take(self) -> None:
        """Takes the lease, or renews it where this owner has it already.

        Raises:
            CodedError: RS-RUN-06 if another living sync has it.
        """
        with self.engine.connect().execution_options(immediate=True) as connection, connection.begin():
            row = connection.execute(
                select(leases).where(leases.c.tenant == self.tenant).with_for_update()
            ).one_or_none()
            if row is None:
                try:
                    connection.execute(insert(leases).values(tenant=self.tenant, **self._mark()))
                except exc.IntegrityError as error:  # two first syncs at the same moment
                    raise self._taken() from error
            elif row.owner == self.owner or self._is_free(row.process, row.heartbeat_at):
                connection.execute(
                    update(leases).where(leases.c.tenant == self.tenant).values(**self._mark())
                )
            else:
                raise self._taken()
        if self._thread is None:
            self._thread = threading.Thread(target=self._beat, name=f"lease {self.tenant}", daemon=True)
            self._thread.start()

    def check(self, connection: Connection) -> None:
        """Refuses to go on, inside the publishing transaction, if the lease was lost meanwhile.

        Raises:
            CodedError: RS-RUN-06.
        """
        owner = connection.execute(
            select(leases.c.owner).where(leases.c.tenant == self.tenant).with_for_update()
        ).scalar()
        if owner != self.owner:
            raise self._taken()

    def release(self) -> None:
        """Gives the lease back."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with self.engine.begin() as connection:
            connection.execute(
                delete(leases).where(leases.c.tenant == self.tenant, leases.c.owner == self.owner)
            )

    def _mark(self) -> dict[str, object]:
        return {"owner": self.owner, "process": this_process(), "heartbeat_at": naive(self.clock())}

    def _is_free(self, process: str, heartbeat: dt.datetime) -> bool:
        return is_dead(process) or naive(self.clock()) - heartbeat > SILENCE

    def _taken(self) -> CodedError:
        return CodedError("RS-RUN-06", f"Another sync of {self.tenant} is running.")

    def _beat(self) -> None:
        while not self._stop.wait(BEAT.total_seconds()):
            try:
                with self.engine.begin() as connection:
                    connection.execute(
                        update(leases)
                        .where(leases.c.tenant == self.tenant, leases.c.owner == self.owner)
                        .values(heartbeat_at=naive(self.clock()))
                    )
            except exc.SQLAlchemyError:
                continue  # the next beat tries again; a lease that is lost is noticed when publishing


def silent(connection: Connection, now: dt.datetime) -> list[tuple[str, str]]:
    """(tenant, owner) of the leases whose process is dead, or has not been heard of for `SILENCE`."""
    found = connection.execute(select(leases)).all()
    return [
        (row.tenant, row.owner)
        for row in found
        if is_dead(row.process) or naive(now) - row.heartbeat_at > SILENCE
    ]


def holders(connection: Connection) -> set[str]:
    """The owners of all leases."""
    return set(connection.scalars(select(leases.c.owner)))


def take_away(connection: Connection, tenant: str, owner: str) -> None:
    """Frees a lease whose owner is silent; what it may still want to publish is refused."""
    connection.execute(delete(leases).where(leases.c.tenant == tenant, leases.c.owner == owner))


def this_process() -> str:
    """This process, as its leases name it: `is_dead` tells whether it still is."""
    return f"{socket.gethostname()}|{os.getpid()}|{_started(os.getpid())}"


def _started(pid: int) -> str:
    """When a process of this machine started, so that a pid that was given again is not mistaken.

    Nothing for one that has ended and for which nobody has waited yet: its pid is taken, and it is dead.
    """
    try:
        state, *told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return "" if state in _ENDED else told[18]
    except (OSError, IndexError, ValueError):
        return ""


def is_dead(process: str) -> bool:
    """Whether a process of this machine is known to have ended; of another machine that is never known."""
    host, pid, started = process.split("|")
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _started(int(pid)) != started
