"""What an operator does in the UI is what `roster-pipeline sync` does: real processes, through GraphQL."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from roster_pipeline.store import ledger
from roster_pipeline_tests.graph.school import School
from roster_pipeline_tests.graph.terminal import Command
from roster_pipeline_tests.graph.ui import PROJECT, Ui, dagster_dev
from roster_pipeline_tests.syncing import Deployment, changed, codes, csv_provider, deployment, environment

pytestmark = pytest.mark.slow

AS_OF = "2025-10-15"
RAW = ("raw/powerschool", "raw/classlink", "raw/oneroster", "raw/oneroster_csv", "raw/directory")
DOWNSTREAM = ("current_sessions", "current_enrolments", "merged_identities", "published_rosters")
TENANTS = ("by-hand", "in-parts", "refused", "failing", "terminal")


@dataclass
class Site:
    """A running UI, its deployment, and a school that all tenants read."""

    ui: Ui
    here: Deployment
    school: School
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def newest(self, tenant: str) -> dict[str, Any]:
        with self.here.stores.database.connect() as connection:
            return ledger.past(connection, tenant)[0]

    def sync(self, tenant: str) -> tuple[int, dict[str, Any]]:
        """The command, in the same home: its exit code and its document."""
        home = self.here.home.folder
        done = Command.begun(
            "sync", tenant, "--as-of", AS_OF, "--json", folder=home,
            settings=environment(ROSTER_HOME=str(home), PYTHONPATH=str(PROJECT)),
            told=home.parent / "told" / str(next(self._numbers)),
        ).done()  # fmt: skip
        assert done.stderr == ""
        return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("ui")
    school = School(root / "school").write()
    with deployment(root / "home") as here:
        for tenant in TENANTS:
            here.apply(tenant, csv_provider(school.folder, name="files"))
        with dagster_dev(here.home.folder) as ui:
            yield Site(ui, here, school)


def test_materialising_all_assets_of_a_tenant_is_a_sync(site: Site) -> None:
    """The partitions are there without anybody's help: the sensor has made them of the registry."""
    assert set(site.ui.partitions("published_rosters")) == set(TENANTS)
    run = site.ui.ended(site.ui.materialise("by-hand", *RAW, *DOWNSTREAM, as_of=AS_OF))
    assert run.status == "SUCCESS"
    assert sorted(run.made) == sorted([*RAW, *DOWNSTREAM])
    assert (run.tags["outcome"], run.tags["tenant"]) == ("successful", "by-hand")
    code, document = site.sync("terminal")
    assert code == 0
    assert site.here.roster("by-hand") == site.here.roster("terminal")
    assert len(site.here.roster("by-hand")["people"]) == 8
    by_hand = site.newest("by-hand")
    assert (by_hand["counts"], by_hand["changes"]) == (document["counts"], document["changes"])
    shown = site.ui.metadata("published_rosters", "by-hand")
    assert {name: shown[name] for name in by_hand["counts"]} == by_hand["counts"]


def test_the_command_after_the_ui_changes_nothing_and_the_other_way_round(site: Site) -> None:
    for _ in range(2):
        code, document = site.sync("by-hand")
        assert (code, changed(document)) == (0, {})
    run = site.ui.ended(site.ui.materialise("by-hand", *RAW, *DOWNSTREAM, as_of=AS_OF))
    assert run.status == "SUCCESS"
    assert changed(site.newest("by-hand")) == {}


def test_materialising_some_assets_and_then_the_others_is_a_sync(site: Site) -> None:
    first = site.ui.ended(site.ui.materialise("in-parts", "raw/oneroster_csv", as_of=AS_OF))
    assert (first.status, first.tags["outcome"]) == ("SUCCESS", "interrupted")
    assert not site.here.roster("in-parts")["people"]
    alone = site.ui.ended(site.ui.materialise("in-parts", "published_rosters", as_of=AS_OF))
    assert (alone.status, alone.tags["error_code"]) == ("FAILURE", "RS-RUN-08")
    rest = site.ui.ended(site.ui.materialise("in-parts", *DOWNSTREAM, as_of=AS_OF))
    assert rest.status == "SUCCESS"
    assert len(site.here.roster("in-parts")["people"]) == 8
    alone = site.ui.ended(site.ui.materialise("in-parts", "published_rosters", as_of=AS_OF))
    assert alone.status == "SUCCESS"
    assert changed(site.newest("in-parts")) == {}


def test_a_run_that_met_another_sync_goes_on_from_its_failure(site: Site) -> None:
    """A re-execution belongs to the sync of the first run, and takes its date."""
    other = site.here.begin("refused", date.fromisoformat(AS_OF))
    try:
        run = site.ui.ended(site.ui.materialise("refused", *RAW, *DOWNSTREAM, as_of=AS_OF))
        assert (run.status, run.tags["error_code"]) == ("FAILURE", "RS-RUN-06")
        assert run.made == []
        # The other way round: the terminal against a sync that somebody else has begun.
        code, document = site.sync("refused")
        assert (code, document["status"], codes(document)) == (4, "failed", ["RS-RUN-06"])
    finally:
        other.close()
    again = site.ui.ended(site.ui.again(run.run_id))
    assert again.status == "SUCCESS"
    assert (again.tags["outcome"], again.tags["error_code"]) == ("successful", "")
    document = site.newest("refused")
    assert (document["run_id"], document["as_of"], document["status"]) == (run.run_id, AS_OF, "successful")
    assert site.here.roster("refused") == site.here.roster("by-hand")


def test_a_failure_in_the_middle_goes_on_where_it_was(site: Site) -> None:
    assert (
        site.ui.ended(
            site.ui.materialise("failing", "raw/oneroster_csv", "current_sessions", as_of=AS_OF)
        ).status
        == "SUCCESS"
    )
    (facts,) = Path(site.here.home.lake_url).glob("tenants/failing/syncs/*/current_sessions/facts.json")
    sound = facts.read_text(encoding="utf-8")
    facts.write_text("{}", encoding="utf-8")
    run = site.ui.ended(site.ui.materialise("failing", *DOWNSTREAM[1:], as_of=AS_OF))
    assert (run.status, run.tags["outcome"], run.tags["error_code"]) == ("FAILURE", "failed", "RS-RUN-99")
    facts.write_text(sound, encoding="utf-8")
    again = site.ui.ended(site.ui.again(run.run_id))
    assert again.status == "SUCCESS"
    assert again.root == run.run_id
    assert sorted(again.made) == sorted(DOWNSTREAM[1:])
    document = site.newest("failing")
    assert (document["run_id"], document["status"]) == (run.run_id, "successful")
    assert site.here.roster("failing") == site.here.roster("by-hand")


def test_a_run_of_the_command_can_be_executed_again_in_the_ui(site: Site) -> None:
    site.school.without("users", "enrollments", "classes", "orgs")
    try:
        code, document = site.sync("terminal")
    finally:
        site.school.write()
    assert code in (3, 4)
    again = site.ui.ended(site.ui.again(document["run_id"], "ALL_STEPS"))
    assert (again.status, again.tags["outcome"]) == ("SUCCESS", "successful")
    assert site.newest("terminal")["run_id"] == document["run_id"]
