"""Undo from the terminal: the difference first, nothing without --yes, and what waits said in words."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from roster_pipeline.cli import main
from roster_pipeline_tests.syncing import deployment
from roster_pipeline_tests.undoing import TENANT, District, Nights


@pytest.fixture
def nights(tmp_path: Path) -> Iterator[Nights]:
    """A school that lost a student and renamed another on the second night."""
    with deployment(Path(os.environ["ROSTER_HOME"])) as place:
        found = Nights(place, District(tmp_path / "files").school("north"))
        found.apply()
        found.sync()
        found.district.rows["users"]["north-s2"]["givenName"] = "Bea"
        found.district.drop_class("north-c3")
        found.sync()
        yield found


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def test_the_difference_is_shown_first_and_done_with_yes(nights: Nights):
    before = nights.published()
    told = run("undo", TENANT, "--sync", "2")
    assert told.exit_code == 2
    assert "RS-CFG-10" in told.stderr
    assert "nothing is changed yet" in told.stderr
    lines = told.stdout.splitlines()
    assert " ".join(lines[0].split()) == "SCHOOL ROWS ADDED BACK CHANGED BACK REMOVED AGAIN"
    assert ["North", "School", "classes", "1"] in [line.split() for line in lines]
    assert ["North", "School", "memberships", "9"] in [line.split() for line in lines]
    assert "Will wait: North School" in lines
    assert "Ada" not in told.stdout
    assert nights.published() == before
    rows = json.loads(run("undo", TENANT, "--sync", "2", "--rows", "--json").stdout)["rows"]
    assert {"kind": "people", "what": "updated", "row": "Bea Of north-s2"} in rows

    done = run("undo", TENANT, "--sync", "2", "--yes", "--by", "ann", "--why", "a mistake")
    assert done.exit_code == 0
    assert f"roster-pipeline undo {TENANT} --sync 3 takes it back" in done.stdout
    assert nights.published() == nights.after[1]
    held = run("holds", TENANT).stdout
    assert "all of it, set back by an undo" in held
    assert "Set back to before sync 2 by an undo (sync 3)." in held
    assert "follows its source again" in run("approve", TENANT).stdout
    assert [line.split()[0] for line in run("syncs", TENANT).stdout.splitlines()[1:]] == ["3", "2", "1"]


def test_json_is_one_document_with_what_was_done(nights: Nights):
    told = run("undo", TENANT, "--sync", "2", "--school", "North School", "--yes", "--json")
    document = json.loads(told.stdout)
    school = nights.id_of("schools", "north")
    assert (document["waits"], document["follows"]) == ([{"school_id": school, "school": "North School"}], [])
    assert document["undo"]["undo"]["school_id"] == school
    changes = {kind: found for kind, found in document["undo"]["changes"].items() if any(found.values())}
    assert changes["classes"] == {"added": 1, "updated": 0, "removed": 0}


@pytest.mark.parametrize("words, code", [(("--sync", "9"), "RS-RUN-11"), ((), "RS-CFG-12")])
def test_what_cannot_be_undone_is_refused_with_a_code(nights: Nights, words: tuple[str, ...], code: str):
    told = run("undo", TENANT, *words)
    assert (told.exit_code, code in told.stderr) == (2, True)
