"""`syncs`, `export` and `db`: what the commands make of the stores."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from roster_pipeline.cli import main
from roster_pipeline.store import database
from roster_pipeline_tests.graph.school import School
from roster_pipeline_tests.syncing import Deployment, csv_provider, deployment

FIRST, SECOND = date(2025, 10, 15), date(2025, 10, 16)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Deployment]:
    with deployment(Path(os.environ["ROSTER_HOME"])) as found:
        found.apply("tiny", csv_provider(School(tmp_path / "school").write().folder, name="files"))
        yield found


def _run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


# ---------------------------------------------------------------------------------- syncs


def test_past_syncs_are_listed_with_the_guides_counts_the_newest_first(here: Deployment) -> None:
    here.sync("tiny", FIRST)
    here.sync("tiny", SECOND)
    told = _run("syncs", "tiny")
    assert told.exit_code == 0
    header, newest, first = told.stdout.splitlines()
    assert "UNMATCHED USERS  MATCHED STUDENTS  MATCHED TEACHERS  IMPORTED CLASSES" in header
    assert newest.split()[3:] == ["successful", "2025-10-16", "0", "6", "2", "2"]
    assert first.split()[3:] == ["successful", "2025-10-15", "0", "0", "0", "2"]


def test_the_codes_of_a_sync_stand_beside_it(here: Deployment, tmp_path: Path) -> None:
    for file in (tmp_path / "school").iterdir():
        file.unlink()
    document = here.sync("tiny", FIRST)
    (line,) = _run("syncs", "tiny").stdout.splitlines()[1:]
    assert document["issues"][0]["code"] in line
    assert "failed" in line


def test_the_documents_are_those_that_the_syncs_printed(here: Deployment) -> None:
    documents = [here.sync("tiny", FIRST), here.sync("tiny", SECOND)]
    told = _run("syncs", "tiny", "--json")
    assert [json.loads(line) for line in told.stdout.splitlines()] == documents[::-1]
    last = _run("syncs", "tiny", "--json", "--last", "1")
    assert [json.loads(line) for line in last.stdout.splitlines()] == documents[1:]


def test_a_sync_that_is_going_on_is_listed_without_counts(here: Deployment) -> None:
    sync = here.begin("tiny", FIRST)
    try:
        (line,) = _run("syncs", "tiny").stdout.splitlines()[1:]
    finally:
        sync.close()
    assert line.split()[3:] == ["running", "2025-10-15"]


def test_a_tenant_that_was_never_synced_has_no_syncs(here: Deployment) -> None:
    told = _run("syncs", "tiny")
    assert (told.exit_code, told.stdout) == (0, "")
    assert "roster-pipeline sync tiny" in told.stderr


# ---------------------------------------------------------------------------------- export


def test_the_published_roster_is_written_as_a_package(here: Deployment, tmp_path: Path) -> None:
    here.sync("tiny", FIRST)
    told = _run("export", "tiny", "--format", "oneroster-1.2", "--out", str(tmp_path / "out.zip"))
    assert told.exit_code == 0
    assert "8 users" in told.stderr
    with zipfile.ZipFile(tmp_path / "out.zip") as package:
        assert {"manifest.csv", "users.csv", "enrollments.csv"} <= set(package.namelist())
        assert len(package.read("users.csv").splitlines()) == 1 + 8


def test_a_tenant_without_a_roster_is_not_exported_as_an_empty_one(here: Deployment, tmp_path: Path) -> None:
    told = _run("export", "tiny", "--out", str(tmp_path / "out.zip"))
    assert told.exit_code == 2
    assert told.stderr.startswith("RS-RUN-09: ")
    assert not (tmp_path / "out.zip").exists()


def test_an_unknown_tenant_is_not_exported(here: Deployment, tmp_path: Path) -> None:
    told = _run("export", "nobody", "--out", str(tmp_path / "out.zip"))
    assert told.exit_code == 2
    assert told.stderr.startswith("RS-CFG-08: ")


@pytest.mark.parametrize("name", ["out.csv", "no-folder/out.zip"])
def test_a_name_that_cannot_be_a_package_is_refused(here: Deployment, tmp_path: Path, name: str) -> None:
    here.sync("tiny", FIRST)
    told = _run("export", "tiny", "--out", str(tmp_path / name))
    assert told.exit_code == 2
    assert "--out" in told.stderr


# ---------------------------------------------------------------------------------- db


def test_upgrading_makes_the_schema_and_says_so_once_more() -> None:
    first, second = _run("db", "upgrade"), _run("db", "upgrade")
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert f"to {database.SCHEMA_VERSION}" in first.stdout
    assert "already" in second.stdout
    with deployment(Path(os.environ["ROSTER_HOME"])) as here:
        assert database.current_version(here.stores.database) == database.SCHEMA_VERSION


def test_a_schema_of_a_newer_release_is_left_alone(here: Deployment) -> None:
    with here.stores.database.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    told = _run("db", "upgrade")
    assert told.exit_code == 2
    assert told.stderr.startswith("RS-DB-02: ")
    assert database.current_version(here.stores.database) == "9999"


@pytest.mark.postgres
def test_postgres_is_upgraded_by_the_command_only(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROSTER_DATABASE_URL", postgres_url)
    before = _run("syncs", "tiny")
    assert (before.exit_code, before.stderr[:8]) == (2, "RS-DB-02")
    told = _run("db", "upgrade")
    assert told.exit_code == 0, told.output
    assert "postgres:postgres" not in told.output
    assert _run("syncs", "tiny").stderr.startswith("RS-CFG-08: ")
