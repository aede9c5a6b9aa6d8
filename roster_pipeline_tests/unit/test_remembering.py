"""Whole syncs that remember pages, beside syncs of the same nights that read every one anew: the same."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from roster_pipeline.codes import CodedError
from roster_pipeline.oneroster.collections import COLLECTIONS
from roster_pipeline.sandbox.generator import DAY, generate
from roster_pipeline.sandbox.misbehaviour import Misbehaviour
from roster_pipeline.sandbox.source import Tables
from roster_pipeline_tests.syncing import Deployment, Document, deployment, rest_provider, serving
from roster_pipeline_tests.unit.oneroster.source import made_of

TENANT = "town"
NIGHTS = 6


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The pages of which rows were made."""
    return made_of(monkeypatch)


def change(tables: Tables, rng: random.Random, night: int) -> None:
    """Nothing before the third night; then a user's name, and from the fifth one on who there is, too."""
    users, enrolments = tables["users"], tables["enrollments"]
    if night >= 2:
        rng.choice(users)["familyName"] = f"Night {night} "
    if night >= 4:
        gone = enrolments.pop(rng.randrange(len(enrolments)))
        enrolments.append({**gone, "sourcedId": f"{rng.choice('0z')}-{night}"})


def night(here: Deployment, number: int, *, anew: bool) -> tuple[Document, dict[str, Any], list[Any]]:
    document = here.sync(TENANT, DAY + timedelta(days=number), world=here.world(runs_every_rule=anew))
    assert document["status"] == "successful", document
    frames = [
        here.stores.lake.read_extract(TENANT, 1, document["sync_id"], name).astype("str").to_dict("list")
        for name in COLLECTIONS
    ]
    return document, here.roster(TENANT), frames


@contextmanager
def town(folder: Path, served: Any) -> Iterator[Deployment]:
    with deployment(folder) as here:
        here.apply(
            TENANT,
            rest_provider(served, page_size=20, compatibility_mode=served.sandbox.flavour.name == "minimum"),
        )
        yield here


@pytest.mark.parametrize("flavour", ["powerschool", "oneroster-1.2", "minimum"])
def test_every_night_is_as_if_every_page_had_been_read_anew(
    tmp_path: Path, flavour: str, read: list[bytes]
) -> None:
    tables, rng = generate(20).tables, random.Random(7)
    made: dict[str, list[int]] = {"remembering": [], "anew": []}
    with (
        serving(tables, flavour) as served,
        town(tmp_path / "remembering", served) as remembering,
        town(tmp_path / "anew", served) as anew,
    ):
        for number in range(NIGHTS):
            change(tables, rng, number)
            served.sandbox.replace(tables)
            found = []
            for name, here in (("remembering", remembering), ("anew", anew)):
                read.clear()
                found.append(night(here, number, anew=name == "anew"))
                made[name].append(len(read))
            assert found[0][1:] == found[1][1:]
            for told in ("status", "counts", "changes", "issues"):
                assert found[0][0][told] == found[1][0][told]
    first, again, *changed = made["remembering"]
    assert first == made["anew"][0] > 20
    if flavour == "minimum":  # its pages are not as the standard has them, so nothing of them is remembered
        assert again == first
        return
    assert again <= len(COLLECTIONS)  # at most the page that shows the end of each
    assert all(again < pages < first for pages in changed)
    assert min(made["anew"]) >= first


def test_a_night_that_reads_every_page_anew_is_remembered(tmp_path: Path, read: list[bytes]) -> None:
    tables = generate(20).tables
    with serving(tables, "oneroster-1.2") as served, town(tmp_path, served) as here:
        made = []
        for number, anew in enumerate((False, True, False)):
            read.clear()
            night(here, number, anew=anew)
            made.append(len(read))
    assert made[0] == made[1] > 20
    assert made[2] <= len(COLLECTIONS)


def extract(here: Deployment, number: int, *, anew: bool = False) -> list[dict[str, Any]]:
    """A night that reads everything and publishes nothing: how each collection was read."""
    sync = here.begin(TENANT, DAY + timedelta(days=number), world=here.world(runs_every_rule=anew))
    found: list[dict[str, Any]] = sync.extract("oneroster")["tables"]["collections"]
    sync.fail(CodedError("RS-RUN-08", "Nothing was to be published."))  # else the next would go on with it
    sync.close()
    return found


def as_before(told: list[dict[str, Any]]) -> dict[str, int]:
    return {row["collection"]: row["rows_as_before"] for row in told}


def test_whole_runs_tell_how_many_rows_came_on_pages_as_before(tmp_path: Path) -> None:
    tables = generate(20).tables
    tables["users"].sort(key=lambda row: str(row["sourcedId"]))
    with serving(tables, "oneroster-1.2") as served, town(tmp_path, served) as here:
        first = extract(here, 0)
        rows = {row["collection"]: row["rows"] for row in first}
        assert as_before(first) == dict.fromkeys(COLLECTIONS, 0)
        assert as_before(extract(here, 1)) == rows
        tables["users"][-1]["familyName"] = "Newname"
        served.sandbox.replace(tables)
        changed = as_before(extract(here, 2))
        assert 0 < rows["users"] - changed["users"] < 20  # the last page
        assert changed == rows | {"users": changed["users"]}
        assert as_before(extract(here, 3, anew=True)) == dict.fromkeys(COLLECTIONS, 0)


def test_rows_that_are_read_twice_are_counted_once(tmp_path: Path) -> None:
    with serving(generate(20).tables, "oneroster-1.2") as served, town(tmp_path, served) as here:
        extract(here, 0)
        served.sandbox.asked.clear()
        served.sandbox.misbehave(Misbehaviour("changing-total", endpoint="users"))
        (users,) = (row for row in extract(here, 1) if row["collection"] == "users")
        asked = [one.query["offset"] for one in served.sandbox.asked if one.endpoint == "users"]
        assert asked.count("0") == 2
        assert users["rows_as_before"] == users["rows"]
