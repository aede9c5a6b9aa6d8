"""Dagster's storage in SQLite, with its databases kept open.

Dagster opens a database anew for every statement and closes it again: each time a connection that knows no
statement yet, and SQLite writes its log back and deletes it. A run has some five hundred statements and spent
more on that than the sync took.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Self

from dagster._core.storage.event_log import SqliteEventLogStorage, SqlPollingEventWatcher
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import (
    DagsterSqliteStorage,
    _event_logs_directory,
    _runs_directory,
    _schedule_directory,
)
from sqlalchemy import Connection, Engine, create_engine

if TYPE_CHECKING:
    from dagster._core.event_api import EventHandlerFn

KEPT: Final = 4
"""Databases of events that a process keeps open: every run has its own, and the UI reads those of many."""


def _engine(address: str, **how: Any) -> Engine:
    """One connection stays open; whoever comes while it is in use gets one that is closed afterwards."""
    return create_engine(address, pool_size=1, max_overflow=-1, **how)


class Runs(SqliteRunStorage):
    """The runs and their tags."""

    def __init__(self, conn_string: str, inst_data: Any = None) -> None:
        super().__init__(conn_string, inst_data)
        self._engine = _engine(conn_string)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection in a transaction."""
        with self._engine.begin() as connection:
            yield connection

    def dispose(self) -> None:
        """Closes the database."""
        self._engine.dispose()
        super().dispose()


class Events(SqliteEventLogStorage):
    """What happened in each run, in a database of its own, and an index of all of them."""

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        self._engines: dict[str, Engine] = {}
        self._tables: set[str] = set()
        super().__init__(base_dir, inst_data)
        self._watcher = SqlPollingEventWatcher(self)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._opened(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.begin() as connection:
                yield connection

    def _opened(self, shard: str) -> Engine:
        engine = self._engines.pop(shard, None) or _engine(
            self.conn_string_for_shard(shard), connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}
        )
        self._engines[shard] = engine  # the last one: the first is the one that nobody wanted for longest
        if len(self._engines) > KEPT:
            self._engines.pop(next(iter(self._engines))).dispose()
        return engine

    def has_table(self, table_name: str) -> bool:
        """Whether the index has a table. Asked fifty times a run, and none that was there ever goes."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def watch(self, run_id: str, cursor: str | None, callback: EventHandlerFn) -> None:
        """Calls back with each event of a run after the cursor, until `end_watch`: for the page of a run.

        Looks into the database from time to time, as Dagster does on PostgreSQL. Its own way on SQLite waits
        for the file to change, which happens as the last connection is closed, and here one stays open.
        """
        self._watcher.watch_run(run_id, cursor, callback)

    def end_watch(self, run_id: str, handler: EventHandlerFn) -> None:
        """Calls this one back no more."""
        self._watcher.unwatch_run(run_id, handler)

    def wipe(self) -> None:
        """Deletes all of it."""
        self._close()
        super().wipe()

    def dispose(self) -> None:
        """Closes the databases, once nobody looks into them any more."""
        self._watcher.close()
        self._close()
        super().dispose()

    def _close(self) -> None:
        with self._db_lock:
            while self._engines:
                self._engines.popitem()[1].dispose()


class Storage(DagsterSqliteStorage):
    """Runs, events and ticks, each where Dagster's own `sqlite` has them below `base_dir`."""

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        self.base_dir = base_dir
        self._run_storage = Runs.from_local(_runs_directory(base_dir))
        self._event_log_storage = Events(_event_logs_directory(base_dir))
        self._schedule_storage = SqliteScheduleStorage.from_local(_schedule_directory(base_dir))
        self._inst_data = inst_data
        # Not the parent's, which would open the same three once more.
        super(DagsterSqliteStorage, self).__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> Self:
        """What `dagster.yaml` configures."""
        return cls.from_local(inst_data=inst_data, **config_value)
