"""Dagster's storage in PostgreSQL, with one connection of a process kept open.

Dagster makes a new connection for every statement and closes it again. A run has some five hundred; for each
PostgreSQL started a process and checked a password, and knew no table yet.
"""

from __future__ import annotations

from typing import Any, Final, Self

from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.run_storage import PostgresRunStorage
from dagster_postgres.schedule_storage import PostgresScheduleStorage
from dagster_postgres.storage import DagsterPostgresStorage
from dagster_postgres.utils import create_pg_engine, get_token_provider_from_config, pg_url_from_config

RECYCLED: Final = 1800
"""Seconds after which a connection is made anew: a firewall between forgets those that are idle for long."""


class Events(PostgresEventLogStorage):
    """What happened in each run."""

    def dispose(self) -> None:
        """Closes the connection; an instance disposes of its events last."""
        super().dispose()
        self._engine.dispose()


class Storage(DagsterPostgresStorage):
    """Runs, events and ticks in the tables of Dagster's own `postgres`, over one connection."""

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,
        inst_data: Any = None,
        token_provider: Any = None,
    ) -> None:
        given: tuple[Any, ...] = (postgres_url, should_autocreate_tables, None, token_provider)
        self.postgres_url = postgres_url
        self.should_autocreate_tables = should_autocreate_tables
        self._inst_data = inst_data
        self._run_storage = PostgresRunStorage(*given)
        self._event_log_storage = Events(*given)
        self._schedule_storage = PostgresScheduleStorage(*given)
        # One stays open; whoever comes while it is in use gets one that is closed afterwards. It is asked
        # whether it still works before each use: that PostgreSQL was started again fails no run.
        kept = create_pg_engine(
            postgres_url,
            token_provider,
            isolation_level="AUTOCOMMIT",
            pool_size=1,
            max_overflow=-1,
            pool_recycle=RECYCLED,
            pool_pre_ping=True,
        )
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            storage._engine = kept
        # Not the parent's, which would make the three once more.
        super(DagsterPostgresStorage, self).__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> Self:
        """What `dagster.yaml` configures, as for Dagster's own `postgres`."""
        return cls(
            pg_url_from_config(config_value),
            config_value.get("should_autocreate_tables", True),
            inst_data,
            get_token_provider_from_config(config_value),
        )
