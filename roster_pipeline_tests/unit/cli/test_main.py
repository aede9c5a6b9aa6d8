"""The command line as a whole: what it offers, and how it tells what went wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from roster_pipeline import __version__
from roster_pipeline.cli import COMMANDS, main
from roster_pipeline.codes import CATALOGUE
from roster_pipeline_tests.graph.school import School
from roster_pipeline_tests.syncing import Deployment, csv_provider, deployment, environment


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Deployment]:
    with deployment(Path(os.environ["ROSTER_HOME"])) as found:
        found.apply("tiny", csv_provider(School(tmp_path / "school").write().folder))
        yield found


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_names_every_command_with_what_it_does(flag: str) -> None:
    told = CliRunner().invoke(main, [flag])
    assert told.exit_code == 0
    for name in COMMANDS:
        (line,) = [line for line in told.output.splitlines() if line.startswith(f"  {name} ")]
        assert len(line.split()) > 2, line


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    told = CliRunner().invoke(main, [name, "--help"])
    assert told.exit_code == 0, told.output
    assert told.output.startswith("Usage:")


def test_the_version_is_told() -> None:
    assert __version__ in CliRunner().invoke(main, ["--version"]).output


@pytest.mark.parametrize(
    "words", [["publish"], ["--tenant"], ["sync"], ["sync", "tiny", "--as-of", "tomorrow"], ["syncs"]]
)
def test_wrong_usage_ends_with_2(words: list[str]) -> None:
    told = CliRunner().invoke(main, words)
    assert told.exit_code == 2
    assert told.stdout == ""
    assert "Usage:" in told.stderr
    assert "RS-CFG-12: " in told.stderr


def test_an_error_is_told_with_its_code_and_its_cure(here: Deployment) -> None:
    told = CliRunner().invoke(main, ["syncs", "tinyy"])
    assert told.exit_code == 2
    assert told.stdout == ""
    assert told.stderr.splitlines() == [
        'RS-CFG-08: There is no tenant "tinyy"; did you mean tiny?',
        f"  {CATALOGUE['RS-CFG-08'].cure}",
    ]


@pytest.fixture
def broken(here: Deployment) -> Deployment:
    """A ledger with a value that no code of ours has written, and that the driver's error quotes."""
    here.sync("tiny", date(2025, 10, 15))
    with here.stores.database.begin() as connection:
        connection.execute(text("UPDATE syncs SET started_at = 'Canary Quillfeather'"))
    return here


def test_a_fault_of_ours_says_which_kind_and_where_and_quotes_nothing(broken: Deployment) -> None:
    told = CliRunner().invoke(main, ["syncs", "tiny"])
    assert told.exit_code == 1
    assert told.stderr.startswith("RS-RUN-99: ValueError in ")
    assert "store/ledger.py:" in told.stderr
    assert "Quillfeather" not in told.output


def test_whoever_asks_for_it_sees_the_whole_error(
    broken: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without this the test above would pass also if the error had nothing to quote."""
    monkeypatch.setenv("ROSTER_DEBUG", "1")
    told = CliRunner().invoke(main, ["syncs", "tiny"])
    assert told.exit_code == 1
    assert "Quillfeather" in told.stderr
    assert told.stdout == ""


def test_a_reader_that_goes_away_is_no_fault_of_ours() -> None:
    command = f'"{sys.executable}" -c "from roster_pipeline.cli import main; main()" codes | true'
    done = subprocess.run(
        ["bash", "-c", command], env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert "RS-RUN-99" not in done.stderr


def test_a_database_that_is_not_there_is_told_as_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROSTER_DATABASE_URL", f"sqlite:///{tmp_path / 'no' / 'such.db'}")
    told = CliRunner().invoke(main, ["syncs", "tiny"])
    assert (told.exit_code, told.stderr[:10]) == (2, "RS-DB-01: ")
