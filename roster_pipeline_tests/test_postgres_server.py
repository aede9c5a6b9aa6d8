"""The tests' own PostgreSQL: what the fixtures promise to those who use them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import create_engine, text

from roster_pipeline_tests.postgres_server import PostgresServer

pytestmark = pytest.mark.postgres


def test_each_database_is_fresh(new_postgres_database: Callable[[], str]) -> None:
    first, second = (create_engine(new_postgres_database()) for _ in range(2))
    with first.begin() as connection:
        connection.execute(text("CREATE TABLE seen (x int)"))
    with second.connect() as connection:
        assert connection.execute(text("SELECT to_regclass('seen')")).scalar() is None
    first.dispose()
    second.dispose()


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_both_drivers_connect(postgres_server: PostgresServer, postgres_url: str, driver: str) -> None:
    database = postgres_url.rpartition("/")[2]
    engine = create_engine(postgres_server.url(database, driver))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT current_database()")).scalar() == database
        assert connection.execute(text("SHOW server_encoding")).scalar() == "UTF8"
    engine.dispose()


def test_the_server_wants_its_password(postgres_server: PostgresServer, postgres_url: str) -> None:
    """Others on the machine can reach the port."""
    engine = create_engine(postgres_url.replace(postgres_server.password, "guessed"))
    with pytest.raises(Exception, match="password authentication failed"):
        engine.connect()
    engine.dispose()
