"""A row that goes while another comes, between two pages, costs no third one: whole syncs, each flavour."""

from __future__ import annotations

from pathlib import Path

import pytest

from roster_pipeline.sandbox.generator import DAY, generate
from roster_pipeline.sandbox.misbehaviour import Misbehaviour
from roster_pipeline_tests.syncing import deployment, removed, rest_provider, serving

TENANT = "town"


@pytest.mark.parametrize("counts", [True, False], ids=["totals", "no totals"])
@pytest.mark.parametrize("flavour", ["powerschool", "classlink", "oneroster-1.1", "oneroster-1.2"])
def test_nobody_is_removed_who_was_there(tmp_path: Path, flavour: str, counts: bool) -> None:
    tables = generate(20).tables
    ids = sorted(row["sourcedId"] for row in tables["enrollments"])
    with serving(tables, flavour) as served, deployment(tmp_path) as here:
        here.apply(TENANT, rest_provider(served, page_size=20, concurrency=1))
        silent = () if counts else (Misbehaviour("no-counts"),)
        served.sandbox.misbehave(*silent)
        assert here.sync(TENANT, DAY)["status"] == "successful"
        before = here.roster(TENANT)["memberships"]
        served.sandbox.misbehave(
            *silent,
            Misbehaviour("rows-removed", 1, endpoint="enrollments", after=3),
            Misbehaviour("rows-added", -1, endpoint="enrollments", after=3),
        )
        sync = here.begin(TENANT, DAY)
        try:
            told = sync.extract(str(rest_provider(served)["kind"]))["tables"]["collections"]
            frame = here.stores.lake.read_extract(TENANT, 1, sync.sync_id, "enrollments")
        finally:
            sync.close()
        states = {row["collection"]: row["state"] for row in told}
        assert states["enrollments"] == "ok"
        assert sorted(frame["sourcedId"]) == [*ids[1:], "~-added-1"]
        told = here.sync(TENANT, DAY)
    assert removed(told).get("memberships", 0) <= 1
    assert before
