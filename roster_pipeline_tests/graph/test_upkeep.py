"""The job `upkeep_of_records`: what is older than it is kept goes, and nothing else; on both databases."""

# No `from __future__ import annotations`: Dagster reads the type of an asset's context at run time.

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log.sqlite import SqliteEventLogStorage
from sqlalchemy import make_url

from roster_pipeline import upkeep
from roster_pipeline.definitions import defs
from roster_pipeline_tests.graph.conftest import Site

KEYS = ("ash", "birch")


@contextmanager
def _postgres_instance(folder: Path, url: str) -> Iterator[dg.DagsterInstance]:
    found = make_url(url)
    (folder / "dagster.yaml").write_text(
        "storage:\n  postgres:\n    postgres_db:\n      scheme: postgresql+psycopg2\n"
        f"      hostname: '{found.host}'\n      port: {found.port}\n      db_name: {found.database}\n"
        f"      username: {found.username}\n      password: '{found.password or ''}'\n"
        "telemetry: {enabled: false}\n"
    )
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        yield instance


def _synced(instance: dg.DagsterInstance, tenant: str) -> str:
    """A run that materialises one asset of a tenant, and logs a good deal."""

    @dg.asset(partitions_def=dg.DynamicPartitionsDefinition(name="tenants"))
    def published_rosters(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        for number in range(20):
            context.log.info(f"line {number}")
        return dg.MaterializeResult(metadata={"people": 3})

    job = dg.Definitions(assets=[published_rosters]).resolve_implicit_global_asset_job_def()
    instance.add_dynamic_partitions("tenants", [tenant])
    return job.execute_in_process(instance=instance, partition_key=tenant).run_id


def _events(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    records = instance.get_records_for_run(run_id).records
    events = [one.event_log_entry.dagster_event_type for one in records]
    return [event.value for event in events if event]


def _records(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether anything is kept of a run's events."""
    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        return Path(storage.path_for_shard(run_id)).exists()
    return bool(_events(instance, run_id))


def _prune(
    instance: dg.DagsterInstance, days: float, *, event_days: int = 2, run_days: int = 30
) -> upkeep.Freed:
    now = datetime.now(UTC) + timedelta(days=days)
    return upkeep.prune(instance, now, event_days=event_days, run_days=run_days)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def instance(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    if request.param == "sqlite":
        with dg.DagsterInstance.local_temp(str(tmp_path)) as found:
            yield found
        return
    new: Callable[[], str] = request.getfixturevalue("new_postgres_database")
    with _postgres_instance(tmp_path, new()) as found:
        yield found


def test_old_runs_go_but_for_the_newest_of_each_tenant(instance: dg.DagsterInstance) -> None:
    old = {tenant: [_synced(instance, tenant) for _ in range(3)] for tenant in KEYS}
    assert _prune(instance, 29).runs == 0
    assert _prune(instance, 31).runs == 4
    assert {run.run_id for run in instance.get_runs()} == {runs[-1] for runs in old.values()}
    for tenant in KEYS:
        assert not _records(instance, old[tenant][0])
        assert "ASSET_MATERIALIZATION" in _events(instance, old[tenant][-1])
    assert instance.get_materialized_partitions(dg.AssetKey("published_rosters")) == set(KEYS)
    assert _prune(instance, 31) == upkeep.Freed(0, 0)


def test_runs_that_go_on_stay_however_old(instance: dg.DagsterInstance) -> None:
    run = instance.create_run_for_job(
        defs.resolve_job_def("sync_tenant"), status=dg.DagsterRunStatus.STARTED,
        tags={"dagster/partition": "ash"},
    )  # fmt: skip
    assert _prune(instance, 400).runs == 0
    assert instance.get_run_by_id(run.run_id) is not None


def test_a_successful_run_keeps_what_it_made_and_how_it_ended(instance: dg.DagsterInstance) -> None:
    run_id = _synced(instance, "ash")
    before = len(instance.get_records_for_run(run_id).records)
    assert _prune(instance, 1).events == 0
    freed = _prune(instance, 3)
    after = instance.get_records_for_run(run_id).records
    if isinstance(instance.event_log_storage, SqliteEventLogStorage):
        assert freed.events == 0  # each run has a database of its own there
        return
    assert freed.events == before - len(after) > 20
    assert sorted(_events(instance, run_id)) == [
        "ASSET_MATERIALIZATION",
        "PIPELINE_START",
        "PIPELINE_SUCCESS",
    ]
    latest = instance.get_latest_materialization_event(dg.AssetKey("published_rosters"))
    assert latest
    assert latest.asset_materialization
    assert latest.asset_materialization.metadata["people"].value == 3
    assert _prune(instance, 3).events == 0
    younger = _synced(instance, "ash")
    assert _prune(instance, 3).events > 20
    assert len(_events(instance, younger)) == 3


def test_it_stops_when_it_is_told_to_and_goes_on_the_next_time(instance: dg.DagsterInstance) -> None:
    for _ in range(2):
        _synced(instance, "ash")
    now = datetime.now(UTC) + timedelta(days=40)
    nothing = upkeep.prune(instance, now, event_days=2, run_days=30, go_on=lambda: False)
    assert nothing == upkeep.Freed(0, 0)
    assert _prune(instance, 40).runs == 1


def test_the_job_says_what_it_freed(stored_site: Site) -> None:
    stored_site.apply("ash")
    run = stored_site.run("ash")
    assert run.success
    found = defs.resolve_job_def("upkeep_of_records").execute_in_process(
        instance=stored_site.instance,
        run_config={"ops": {"prune": {"config": {"run_days": 0, "event_days": 0}}}},
    )
    assert found.success
    told = {
        event.step_key: {name: value.value for name, value in event.event_specific_data.metadata.items()}  # type: ignore[union-attr]
        for event in found.filter_events(lambda event: event.is_successful_output)
    }
    assert told["prune"] == {"event_rows": 0, "runs": 0}  # the newest of its tenant
    assert set(told["tidy"]) == {"extracts", "tables", "history_rows", "alerts", "tenants_left_out"}
    assert len(stored_site.documents("ash")) == 1  # the ledger stays
