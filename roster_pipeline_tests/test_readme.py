"""What the README shows is what the program takes: its document, its SQL and its Python are run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text

from roster_pipeline.store.database import connect, open_database, upgrade
from roster_pipeline.tenants.document import parse

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def _examples(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path / 'roster.db'}")
    yield engine
    engine.dispose()


@pytest.fixture
def on_postgres(postgres_url: str) -> Iterator[Engine]:
    engine = connect(postgres_url)
    upgrade(engine)
    yield engine
    engine.dispose()


def _read_with_sql(engine: Engine) -> int:
    """Runs the statements one by one, as a person would type them; gives back how many there were."""
    (example,) = _examples("sql")
    code = "\n".join(line.partition("--")[0] for line in example.splitlines())
    statements = [statement.strip() for statement in code.split(";") if statement.strip()]
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in statements:
            if engine.dialect.name == "sqlite" and statement.startswith("BEGIN"):
                continue  # the example says that this line is PostgreSQL's
            if engine.dialect.name == "sqlite" and statement == "COMMIT":
                continue
            connection.exec_driver_sql(statement)
    return len(statements)


def _read_with_python(engine: Engine) -> None:
    (example,) = _examples("python")
    url = engine.url.render_as_string(hide_password=False)
    names: dict[str, Any] = {"create_engine": create_engine, "text": text, "url": url}
    try:
        exec(compile(example, "README.md", "exec"), names)
    finally:
        names["engine"].dispose()


def test_the_sql_for_readers_runs_on_sqlite(on_sqlite: Engine) -> None:
    assert _read_with_sql(on_sqlite) == 5


@pytest.mark.postgres
def test_the_sql_for_readers_runs_on_postgres(on_postgres: Engine) -> None:
    assert _read_with_sql(on_postgres) == 5


def test_the_python_for_readers_runs_on_sqlite(on_sqlite: Engine) -> None:
    _read_with_python(on_sqlite)


@pytest.mark.postgres
def test_the_python_for_readers_runs_on_postgres(on_postgres: Engine) -> None:
    _read_with_python(on_postgres)


def test_the_tenant_document_is_one(tmp_path: Path) -> None:
    (example,) = _examples("yaml")
    tenant = parse(example, file=tmp_path / "riverbend.yaml")
    assert tenant.tenant == "riverbend"
    assert [provider.name for provider in tenant.strongest_first] == ["sis", "annexe-files"]
    assert [directory.name for directory in tenant.directories] == ["logins"]


def test_every_view_that_readers_are_sent_to_is_there(on_sqlite: Engine) -> None:
    with on_sqlite.connect() as connection:
        views = set(connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'view'")).scalars())
    named = set(re.findall(r"`(current_[a-z_]+)`", README)) - {"current_sessions", "current_enrolments"}
    assert named
    assert named <= views
