"""A run of the graph is a sync: what it publishes, what Dagster shows of it, and how it fails."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from roster_pipeline.checks import CHECKS
from roster_pipeline.syncs import Sync
from roster_pipeline_tests.graph.conftest import AS_OF, PUBLISHED, Site, materialised, metadata_of, why
from roster_pipeline_tests.graph.school import School
from roster_pipeline_tests.syncing import changed, codes, csv_provider

DAY = date.fromisoformat(AS_OF)
EVERYTHING = [
    "raw/powerschool",
    "raw/classlink",
    "raw/oneroster",
    "raw/oneroster_csv",
    "raw/directory",
    "current_sessions",
    "current_enrolments",
    "merged_identities",
    "published_rosters",
]
DOWNSTREAM = EVERYTHING[5:]
EVERY_CHECK = {check.name for check in CHECKS}


def _published(run: dg.ExecuteInProcessResult) -> dict[str, Any]:
    return metadata_of(
        [
            event.materialization
            for event in run.get_asset_materialization_events()
            if event.asset_key == PUBLISHED
        ]
    )


def _observed(run: dg.ExecuteInProcessResult) -> dict[str, Any]:
    return metadata_of(
        [event.asset_observation_data.asset_observation for event in run.get_asset_observation_events()]
    )


def test_a_run_publishes_the_roster(site: Site) -> None:
    site.apply()
    run = site.run()
    assert run.success
    assert sorted(materialised(run)) == sorted(EVERYTHING)
    roster = site.roster()
    assert len(roster["people"]) == 8
    assert len(roster["memberships"]) == 14


def test_the_ui_shows_what_the_ledger_has(site: Site) -> None:
    """The guides' counts stand under their names, so that Dagster can plot them."""
    site.apply()
    run = site.run()
    (document,) = site.documents()
    told = _published(run)
    assert {name: told[name] for name in document["counts"]} == document["counts"]
    assert document["counts"]["created_students"] == 6
    assert (told["status"], told["as_of"], told["sync_id"]) == ("successful", AS_OF, document["sync_id"])
    assert told["dagster/partition_row_count"] == 8 + 2 + 14
    assert told["changes"] == [{"kind": kind, **found} for kind, found in document["changes"].items()]
    assert [row["name"] for row in told["providers"]] == ["files"]
    assert [(row["name"], row["state"]) for row in told["schools"]] == [("North School", "published")]
    assert {row["collection"]: row["kept"] for row in told["collections"]}["enrollments"] == 14
    # The guides' Sync Details: the tenant, its providers, and (in `schools`) its schools.
    details = {row["of"]: row for row in told["sync_details"]}
    assert list(details) == ["the tenant", "files"]
    for row in (*details.values(), told["schools"][0]):
        assert (row["Unmatched Users"], row["Matched Students"], row["Matched Teachers"]) == (0, 0, 0)
        assert (row["Created Students"], row["Imported Classes"]) == (6, 2)


def test_the_last_syncs_stand_beside_the_newest(site: Site) -> None:
    """What failed and what was interrupted is among them, what was only tried out is not."""
    site.apply()
    site.run()
    site.run(dry_run="true")
    site.run(assets=["raw/oneroster_csv", "current_sessions"])
    told = _published(site.run())
    rows = [(row["status"], row["People"], row["Matched Students"]) for row in told["last_syncs"]]
    assert rows == [("successful", 8, 6), ("interrupted", "", ""), ("successful", 8, 0)]
    assert told["last_syncs"][0]["sync_id"] == told["sync_id"]
    assert told["last_syncs_chart"].startswith("![The last 3 syncs; the newest")
    assert "](data:image/svg+xml;base64," in told["last_syncs_chart"]


def test_a_sync_whose_past_cannot_be_shown_is_published_all_the_same(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("what nobody may read")

    site.apply()
    monkeypatch.setattr("roster_pipeline.store.ledger.latest", broken)
    run = site.run()
    assert run.success
    assert site.documents()[0]["status"] == "successful"
    assert "last_syncs" not in _published(run)


def test_the_same_run_again_changes_nothing(site: Site) -> None:
    site.apply()
    site.run()
    before = site.roster()
    run = site.run()
    assert run.success
    assert changed(site.documents()[0]) == {}
    assert site.roster() == before
    assert _published(run)["matched_students"] == 6


def test_every_raw_asset_is_made_also_for_kinds_that_the_tenant_has_not(site: Site) -> None:
    """One that stayed silent would let Dagster skip everything that follows."""
    site.apply()
    run = site.run(assets=[name for name in EVERYTHING if name.startswith("raw/")])
    told = {
        event.asset_key.to_user_string(): metadata_of([event.materialization])
        for event in run.get_asset_materialization_events()
        if event.asset_key
    }
    assert {name: found["configured"] for name, found in told.items()} == {
        "raw/powerschool": False,
        "raw/classlink": False,
        "raw/oneroster": False,
        "raw/oneroster_csv": True,
        "raw/directory": False,
    }
    assert told["raw/oneroster_csv"]["dagster/partition_row_count"] == 1 + 1 + 1 + 2 + 8 + 14
    states = {row["collection"]: row["state"] for row in told["raw/oneroster_csv"]["collections"]}
    assert set(states.values()) == {"ok"}


def test_one_provider_that_is_down_does_not_stop_the_other(site: Site, tmp_path: Path) -> None:
    site.apply(
        providers=[
            csv_provider(site.school.folder, name="files", merge={"priority": 2}),
            csv_provider(tmp_path / "not-there", name="annexe", merge={"priority": 1}),
        ]
    )
    run = site.run()
    assert run.success
    assert sorted(materialised(run)) == sorted(EVERYTHING)
    assert site.documents()[0]["status"] == "partial"
    assert "RS-FILE-01" in codes(site.documents()[0])
    assert len(site.roster()["people"]) == 8
    assert site.tags(run)["outcome"] == "partial"
    assert site.tags(run)["error_code"] == codes(site.documents()[0])[0]


def test_when_all_providers_are_down_the_run_fails_and_nothing_changes(site: Site) -> None:
    site.apply()
    site.run()
    before = site.roster()
    shutil.rmtree(site.school.folder)
    for entry in Path(site.here.home.lake_url).glob("tenants/tiny/extracts/*/complete.json"):
        entry.unlink()  # or the last complete extract would stand in
    run = site.run()
    assert not run.success
    assert sorted(materialised(run)) == sorted(set(EVERYTHING) - {"published_rosters"})
    assert site.roster() == before
    assert site.tags(run)["outcome"] == "failed"


def test_a_failed_sync_still_shows_its_counts_and_why(site: Site) -> None:
    """No materialisation, because nothing was made: an observation, and the codes as the run's failure."""
    shutil.rmtree(site.school.folder)
    site.apply()
    run = site.run()
    (document,) = site.documents()
    assert not run.success
    assert document["status"] == "failed"
    told = _observed(run)
    assert told["status"] == "failed"
    assert [row["code"] for row in told["issues"]] == codes(document)
    assert {name: told[name] for name in document["counts"]} == document["counts"]
    (error,) = why(run)
    assert f"{document['issues'][0]['code']}: {document['issues'][0]['message']}" in error
    assert site.tags(run)["error_code"] == codes(document)[0]


def test_the_checks_say_what_the_sync_says(site: Site) -> None:
    site.apply()
    evaluations = {found.check_name: found for found in site.run().get_asset_check_evaluations()}
    assert {name: found.passed for name, found in evaluations.items()} == dict.fromkeys(EVERY_CHECK, True)
    assert {found.partition for found in evaluations.values()} == {"tiny"}
    site.school.without("enrollments")
    run = site.run()
    assert run.success
    found = {found.check_name: found for found in run.get_asset_check_evaluations()}["extracts_are_complete"]
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert metadata_of([found])["collections"] == [
        {"provider": "files", "collection": "enrollments", "state": "stale"}
    ]


def test_one_tenant_s_checks_never_hide_another_s(site: Site, tmp_path: Path) -> None:
    """Each tenant's newest result stays where it is, whoever syncs after it."""
    bad = School(tmp_path / "bad", students=["s1"])
    bad.write()
    rows = (bad.folder / "enrollments.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [row for row in rows if not row.startswith("c2-s1,")]
    (bad.folder / "enrollments.csv").write_text("".join(kept), encoding="utf-8")
    site.apply("bad", providers=[csv_provider(bad.folder, name="files")])
    site.apply("good")
    runs = [site.run("bad"), site.run("good")]
    assert all(run.success for run in runs)
    key = dg.AssetCheckKey(PUBLISHED, "classes_have_students")
    passed = {
        found.partition: found.passed
        for run in runs
        for found in run.get_asset_check_evaluations()
        if found.check_name == key.name
    }
    assert passed == {"bad": False, "good": True}
    states = site.instance.event_log_storage.get_asset_check_partition_info([key])
    shown = {info.partition_key: info.latest_execution_status for info in states}
    assert {name: str(status).rpartition(".")[2] for name, status in shown.items()} == {
        "bad": "FAILED",
        "good": "SUCCEEDED",
    }
    (evaluation,) = [e for e in runs[0].get_asset_check_evaluations() if e.check_name == key.name]
    (row,) = metadata_of([evaluation])["schools"]
    assert (row["name"], row["code"], row["count"]) == ("North School", "RS-SAFE-15", 1)
    assert row["message"] == "1 of 2 classes have no students."


def test_a_failed_sync_evaluates_its_checks_too(site: Site) -> None:
    shutil.rmtree(site.school.folder)
    site.apply()
    found = {found.check_name: found.passed for found in site.run().get_asset_check_evaluations()}
    assert found["extracts_are_complete"] is False
    assert set(found) == EVERY_CHECK


def test_a_run_is_found_by_its_tags(site: Site) -> None:
    """A run of the UI has its partition only; with these it is found beside all others."""
    site.apply(region="NZ")
    told = site.tags(site.run())
    assert (told["tenant"], told["region"], told["outcome"]) == ("tiny", "NZ", "successful")
    assert not told.get("error_code")


def test_a_dry_run_publishes_nothing_and_makes_nothing(site: Site) -> None:
    site.apply()
    run = site.run(dry_run="true")
    assert run.success
    assert "published_rosters" not in materialised(run)
    assert _observed(run)["changes"][3] == {"kind": "people", "added": 8, "updated": 0, "removed": 0}
    assert not site.roster()["people"]


def test_a_run_of_some_assets_reads_the_newest_of_the_others(site: Site) -> None:
    site.apply()
    assert site.run(assets=["raw/oneroster_csv"]).success
    assert site.documents()[0]["status"] == "interrupted"
    assert site.run(assets=DOWNSTREAM).success
    assert len(site.roster()["people"]) == 8
    assert site.documents()[0]["status"] == "successful"


def test_a_run_that_does_not_come_to_publish_says_so(site: Site) -> None:
    site.apply()
    run = site.run(assets=["raw/oneroster_csv", "current_sessions"])
    assert run.success
    assert site.tags(run)["outcome"] == "interrupted"
    assert not site.roster()["people"]


def test_an_asset_whose_upstream_was_never_made_says_so(site: Site) -> None:
    site.apply()
    run = site.run(assets=["published_rosters"])
    assert not run.success
    assert "RS-RUN-08" in why(run)[0]
    assert site.tags(run)["error_code"] == "RS-RUN-08"
    assert codes(site.documents()[0]) == ["RS-RUN-08"]


def test_publishing_alone_once_more_changes_nothing(site: Site) -> None:
    site.apply()
    site.run()
    before = site.roster()
    assert site.run(assets=["published_rosters"]).success
    assert site.roster() == before
    assert changed(site.documents()[0]) == {}


def test_while_another_sync_runs_this_one_ends_with_a_code(site: Site) -> None:
    site.apply()
    heard: list[dict[str, Any]] = []
    other = site.here.begin("tiny", DAY, run_id="another")
    try:
        run = site.run(hears=heard.append)
    finally:
        other.close()
    assert not run.success
    # Whoever is refused is refused once, and not by every raw asset for itself.
    assert [document["issues"][0]["code"] for document in heard] == ["RS-RUN-06"]
    assert set(why(run)) == {why(run)[0]}
    assert "RS-RUN-06" in why(run)[0]
    assert (site.tags(run)["outcome"], site.tags(run)["error_code"]) == ("failed", "RS-RUN-06")
    assert [document["run_id"] for document in site.documents()] == ["another"]
    assert site.run().success


def test_a_run_gives_the_lease_back_also_when_it_fails(site: Site) -> None:
    site.apply()
    assert not site.run(assets=["published_rosters"]).success
    other = site.here.begin("tiny", DAY, run_id="another")
    assert isinstance(other, Sync)
    other.close()


def test_a_tenant_that_is_not_in_the_registry_fails_with_its_code(site: Site) -> None:
    site.instance.add_dynamic_partitions("tenants", ["gone"])
    run = site.run("gone")
    assert not run.success
    assert "RS-CFG-08" in why(run)[0]
    assert site.documents("gone") == []


def test_a_date_that_is_none_is_refused(site: Site) -> None:
    site.apply()
    run = site.run(as_of="yesterday")
    assert not run.success
    assert "RS-CFG-02" in why(run)[0]


def test_the_date_of_a_run_is_the_one_of_its_tag(site: Site) -> None:
    site.apply()
    site.run(as_of="2026-01-08")
    assert site.documents()[0]["as_of"] == "2026-01-08"


def _everything_stored(instance: dg.DagsterInstance) -> str:
    stored = []
    for record in instance.get_run_records():
        run = record.dagster_run
        stored.append(json.dumps([run.tags, run.run_config], default=str))
        stored += [dg.serialize_value(event) for event in instance.all_logs(run.run_id)]
    return "\n".join(stored)


def test_a_fault_of_ours_tells_its_kind_and_its_place_and_nothing_of_the_rows(site: Site) -> None:
    """The text of an error that is not ours may hold a name: pandas and Python quote what they choke on."""
    site.apply()
    site.run(assets=EVERYTHING[:6])
    lake = Path(site.here.home.lake_url)
    (facts,) = lake.glob("tenants/tiny/syncs/*/current_sessions/facts.json")
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"as_of": "Canary Quillfeather"}))
    run = site.run(assets=["current_enrolments", "merged_identities"])
    assert not run.success
    (error,) = why(run)
    assert "RS-RUN-99" in error
    assert "ValueError" in error
    assert "syncs.py:" in error
    assert codes(site.documents()[0]) == ["RS-RUN-99"]
    assert "Quillfeather" not in _everything_stored(site.instance)
    assert "Quillfeather" not in json.dumps(site.documents())


def test_names_addresses_and_passwords_are_not_in_dagster_s_storage(site: Site) -> None:
    site.school.given_name, site.school.password = "Quillfeather", "hunter2-canary"
    site.school.write()
    site.apply()
    assert site.run().success
    stored = _everything_stored(site.instance)
    assert "published_rosters" in stored
    for canary in ("Quillfeather", "hunter2-canary", "s1@north.example", "Ofs1"):
        assert canary not in stored


def test_two_tenants_have_nothing_in_common(site: Site) -> None:
    for tenant in ("one", "two"):
        site.apply(tenant)
        assert site.run(tenant).success
    one, two = site.roster("one"), site.roster("two")
    assert one == two
    site.school.students.pop()
    site.school.write()
    site.run("one")
    assert site.roster("two") == two
    assert site.roster("one") != one
