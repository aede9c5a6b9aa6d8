"""What waits, from the terminal: looked at, approved, rejected."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from roster_pipeline.cli import main
from roster_pipeline.store.database import decisions
from roster_pipeline_tests.graph.school import School
from roster_pipeline_tests.syncing import Deployment, csv_provider, deployment

DAY = date(2025, 10, 15)


@pytest.fixture
def school(tmp_path: Path) -> School:
    return School(tmp_path / "school").write()


@pytest.fixture
def here(school: School) -> Iterator[Deployment]:
    """A tenant all of whose students are others on the second night."""
    with deployment(Path(os.environ["ROSTER_HOME"])) as found:
        found.apply("tiny", csv_provider(school.folder))
        assert found.sync("tiny", DAY)["status"] == "successful"
        school.students = [f"s{n}" for n in range(11, 17)]
        school.write()
        assert found.sync("tiny", DAY)["status"] == "partial"
        yield found


def _run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def _listed(*words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(_run("holds", "tiny", "--json", *words).stdout)["holds"]
    return found


def test_what_waits_is_listed_with_school_numbers_and_rows(here: Deployment) -> None:
    people = next(one for one in _listed("--rows") if one["kind"] == "people")
    assert (people["school"], people["count"], people["total"]) == ("North School", 6, 8)
    assert (people["code"], people["since_sync"], people["state"]) == ("RS-SAFE-01", 2, "waiting")
    assert set(people["rows"]) == {f"Ada Ofs{n}" for n in range(1, 7)}
    text = _run("holds", "tiny").stdout
    assert "North School  people" in text
    assert "Ada" not in text
    assert "Ada Ofs1" in _run("holds", "tiny", "--rows").stdout


def test_an_approval_lets_it_go_once_and_is_kept_with_who_and_why(here: Deployment) -> None:
    told = _run("approve", "tiny", "--why", "a new year", "--by", "the registrar")
    assert (told.exit_code, "roster-pipeline sync tiny" in told.stdout) == (0, True)
    assert {one["state"] for one in _listed()} == {"approved"}
    document = here.sync("tiny", DAY)
    assert (document["status"], document["counts"]["people"]) == ("successful", 8)
    assert _listed() == []
    with here.stores.database.connect() as connection:
        kept = connection.execute(select(decisions)).all()
    assert {(row.who, row.why, row.decision, row.sync_id) for row in kept} == {
        ("the registrar", "a new year", "approved", document["sync_id"])
    }


def test_a_rejection_keeps_it(here: Deployment) -> None:
    assert _run("reject", "tiny", "--school", "N1").exit_code == 0
    document = here.sync("tiny", DAY)
    assert (document["status"], document["counts"]["people"]) == ("partial", 14)
    assert {one["state"] for one in _listed()} == {"rejected"}


@pytest.mark.parametrize(
    "words", [("approve", "tiny", "--school", "Nroth"), ("reject", "tiny", "--school", "X")]
)
def test_a_school_where_nothing_waits_is_refused(here: Deployment, words: tuple[str, ...]) -> None:
    told = _run(*words)
    assert (told.exit_code, "RS-RUN-10" in told.stderr) == (2, True)
    assert {one["state"] for one in _listed()} == {"waiting"}


def test_a_tenant_nothing_of_which_waits_says_so(tmp_path: Path) -> None:
    with deployment(Path(os.environ["ROSTER_HOME"])) as found:
        found.apply("tiny", csv_provider(School(tmp_path / "school").write().folder))
    told = _run("holds", "tiny")
    assert (told.exit_code, told.stdout, "Nothing of tiny waits" in told.stderr) == (0, "", True)
