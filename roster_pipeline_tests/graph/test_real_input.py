"""Rosters that others wrote, read every way there is: the same roster comes out, and twice the same."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any, Final

import pytest

from roster_pipeline.sandbox.source import load
from roster_pipeline_tests.graph.killing import PROCESSES
from roster_pipeline_tests.syncing import (
    Deployment,
    Document,
    Roster,
    changed,
    codes,
    csv_provider,
    deployment,
    environment,
    removed,
    rest_provider,
    serving,
)

SATURDAY = date(2026, 11, 21)
BOTH: Final[dict[str, Any]] = {"respect_enrolment_date": True, "respect_academic_sessions": True}
WAYS = ("csv", "powerschool", "classlink", "oneroster-1.1", "oneroster-1.2")
EVERY_WAY = (*WAYS, "terminal")
PROJECT = Path(__file__).parents[2]

Told = tuple[Document, Document, Roster]
"""The first sync, the second one, and what is published after them."""


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Deployment]:
    with deployment(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def every_way(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """The large district by each way of reading; two of them at a time, in processes of their own."""
    district = shared_data / "merge-labs-district" / "district-large.zip"
    with ProcessPoolExecutor(2, mp_context=PROCESSES) as pool:
        begun = {way: pool.submit(_by, way, district, tmp_path_factory.mktemp("way")) for way in EVERY_WAY}
        return {way: told.result(timeout=300) for way, told in begun.items()}


def _by(way: str, district: Path, folder: Path) -> Told:
    """Both syncs of a tenant that reads the district in this way, and its roster after them."""
    with deployment(folder) as here, ExitStack() as stack:
        if way in ("csv", "terminal"):
            provider = csv_provider(district, **BOTH)
        else:
            provider = rest_provider(stack.enter_context(serving(load(district), way)), **BOTH)
        here.apply("district", provider)
        first = _run(here) if way == "terminal" else here.sync("district", SATURDAY)
        return first, here.sync("district", SATURDAY), here.roster("district")


def _run(here: Deployment) -> Document:
    """A sync as an operator starts it: a run of the job in the deployment's Dagster instance."""
    done = subprocess.run(
        [sys.executable, "-c", "from roster_pipeline.cli import main; main()",
         "sync", "district", "--as-of", SATURDAY.isoformat(), "--json"],
        env=environment(ROSTER_HOME=str(here.home.folder), PYTHONPATH=str(PROJECT)),
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    document: Document = json.loads(done.stdout)
    return document


@pytest.mark.parametrize("way", EVERY_WAY)
def test_the_large_district_is_published_whole(every_way: dict[str, Told], way: str) -> None:
    first, _, roster = every_way[way]
    assert (first["status"], first["issues"]) == ("successful", [])
    assert {name: len(rows) for name, rows in roster.items()} == {
        "schools": 20,
        "academic_sessions": 2,
        "classes": 1470,
        "people": 4441,
        "memberships": 31045,
        "guardian_links": 0,
    }
    roles: Counter[str] = Counter()
    for row in roster["people"]:
        roles.update(
            role for role in ("student", "teacher", "site_administrator") if role in dict(row)["roles"]
        )
    assert roles == {"student": 4225, "teacher": 195, "site_administrator": 21}
    counts = first["counts"]
    assert (counts["schools_published"], counts["imported_classes"]) == (20, 1470)
    assert (counts["students"], counts["teachers"], counts["memberships"]) == (4225, 195, 31045)
    assert (counts["created_users"], counts["matched_students"], counts["unmatched_users"]) == (4441, 0, 0)


@pytest.mark.parametrize("way", EVERY_WAY[1:])
def test_every_way_gives_one_roster(every_way: dict[str, Told], way: str) -> None:
    of_files, of_way = every_way["csv"][2], every_way[way][2]
    for name, rows in of_files.items():
        assert of_way[name] ^ rows == set(), name


@pytest.mark.parametrize("way", EVERY_WAY)
def test_the_second_sync_of_the_large_district_changes_nothing(every_way: dict[str, Told], way: str) -> None:
    second = every_way[way][1]
    assert (second["status"], changed(second)) == ("successful", {})
    counts = second["counts"]
    assert (counts["matched_students"], counts["matched_teachers"], counts["created_users"]) == (4225, 195, 0)


@pytest.mark.parametrize("way", EVERY_WAY)
def test_every_row_that_was_read_is_accounted_for(every_way: dict[str, Told], way: str) -> None:
    for document in every_way[way][:2]:
        (provider,) = document["providers"]
        for name, found in provider["collections"].items():
            assert found["read"] == found["kept"] + sum(found["dropped"].values()), name
        read = {name: found["read"] for name, found in provider["collections"].items()}
        assert read == {
            "orgs": 21, "academicSessions": 2, "courses": 91, "classes": 1470, "users": 4441,
            "enrollments": 31045,
        }  # fmt: skip
        assert {found["state"] for found in provider["collections"].values()} == {"ok"}


# ------------------------------------------------------------------------------------- Grand Bend


def _grand_bend(here: Deployment, shared_data: Path, tenant: str, **options: Any) -> None:
    here.apply(tenant, csv_provider(shared_data / "edfi-grand-bend" / "v1p1", **options))


def _values(roster: Roster, table: str, column: str) -> set[Any]:
    return {dict(row)[column] for row in roster[table]}


def test_grand_bend_in_its_second_semester_has_the_memberships_of_that_day(
    here: Deployment, shared_data: Path
) -> None:
    _grand_bend(here, shared_data, "both-on", **BOTH)
    told = here.sync("both-on", date(2021, 2, 1))
    assert told["status"] == "successful"
    roster = here.roster("both-on")
    assert (len(roster["people"]), len(roster["classes"]), len(roster["memberships"])) == (10, 2, 12)
    assert told["providers"][0]["collections"]["enrollments"]["kept"] == 12


def test_grand_bend_with_both_options_off_has_one_membership_of_two_enrolments(
    here: Deployment, shared_data: Path
) -> None:
    _grand_bend(here, shared_data, "both-off")
    told = here.sync("both-off", date(2021, 2, 1))
    assert told["status"] == "successful"
    # 24 enrolments: each of 12 people twice in one class, once a semester.
    assert told["providers"][0]["collections"]["enrollments"]["read"] == 24
    assert len(here.roster("both-off")["memberships"]) == 12


@pytest.mark.parametrize("options", [BOTH, {}], ids=["both-on", "both-off"])
def test_leading_zeros_of_grand_bend_survive(
    here: Deployment, shared_data: Path, options: dict[str, bool]
) -> None:
    _grand_bend(here, shared_data, "zeros", **options)
    here.sync("zeros", date(2021, 2, 1))
    roster = here.roster("zeros")
    assert _values(roster, "classes", "subject_codes") == {'["01001"]', '["02052"]'}
    assert _values(roster, "people", "grades") - {None, "[]"} == {'["09"]'}


def test_grand_bend_years_later_is_not_published_as_if_everybody_had_left(
    here: Deployment, shared_data: Path
) -> None:
    _grand_bend(here, shared_data, "later", **BOTH)
    here.sync("later", date(2021, 2, 1))
    before = here.roster("later")
    told = here.sync("later", SATURDAY)
    assert told["status"] in ("partial", "failed")
    assert "RS-SES-01" in codes(told)
    assert removed(told) == {}
    after = here.roster("later")
    for name in ("people", "classes", "memberships"):
        assert after[name] == before[name]


def test_grand_bend_years_later_publishes_nothing_at_a_first_sync(
    here: Deployment, shared_data: Path
) -> None:
    _grand_bend(here, shared_data, "outdated", **BOTH)
    told = here.sync("outdated", SATURDAY)
    assert told["status"] == "failed"
    assert "RS-SES-01" in codes(told)
    assert not any(here.roster("outdated").values())


def test_a_folder_of_version_1_0_is_refused_with_a_code(here: Deployment, shared_data: Path) -> None:
    here.apply("old", csv_provider(shared_data / "edfi-grand-bend" / "v1p0"))
    told = here.sync("old", date(2021, 2, 1))
    assert told["status"] == "failed"
    assert any(code.startswith("RS-FILE-") for code in codes(told))


# --------------------------------------------------------------------------------- header rows only


def test_an_export_of_header_rows_removes_nobody(here: Deployment, shared_data: Path, tmp_path: Path) -> None:
    export = tmp_path / "export"  # a link that tonight's export moves on, as a school's would
    export.symlink_to(shared_data / "edfi-grand-bend" / "v1p1")
    here.apply("mocked", csv_provider(export, **BOTH))
    here.sync("mocked", date(2021, 2, 1))
    before = here.roster("mocked")
    export.unlink()
    export.symlink_to(shared_data / "nicelion-mocker" / "header-only")
    told = here.sync("mocked", date(2021, 2, 2))
    assert told["status"] in ("partial", "failed")
    assert "RS-SAFE-04" in codes(told)
    assert removed(told) == {}
    after = here.roster("mocked")
    for name in ("people", "classes", "memberships"):
        assert after[name] == before[name]
