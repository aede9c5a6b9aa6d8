"""How partitions follow the registry: as a pure function, and as ticks of the sensor `tenant_registry`."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roster_pipeline import tags
from roster_pipeline.partitions import partition_changes
from roster_pipeline.sensors import tenant_registry
from roster_pipeline.store.lease import this_process
from roster_pipeline.tenants import registry
from roster_pipeline_tests.graph.conftest import Site

names = st.sets(st.sampled_from(["ash", "birch", "cedar", "elm", "fir"]))


def test_what_is_new_is_added_and_what_is_gone_is_deleted() -> None:
    assert partition_changes({"ash", "birch"}, {"birch", "cedar"}, set()) == (["ash"], ["cedar"])


def test_what_a_run_works_on_is_not_deleted() -> None:
    assert partition_changes(set(), {"cedar", "elm"}, {"cedar"}) == ([], ["elm"])


@given(wanted=names, existing=names, in_flight=names)
def test_once_no_run_is_going_the_partitions_are_the_registry(
    wanted: set[str], existing: set[str], in_flight: set[str]
) -> None:
    add, delete = partition_changes(wanted, existing, in_flight)
    after = (existing | set(add)) - set(delete)
    assert wanted <= after
    assert after - wanted <= in_flight
    add, delete = partition_changes(wanted, after, set())
    assert (after | set(add)) - set(delete) == wanted


def _tick(site: Site) -> dg.SensorResult | dg.SkipReason:
    context = dg.build_sensor_context(instance=site.instance)
    told = tenant_registry(context)
    assert isinstance(told, dg.SensorResult | dg.SkipReason)
    for request in (told.dynamic_partitions_requests or []) if isinstance(told, dg.SensorResult) else []:
        # What the daemon does with them.
        if isinstance(request, dg.AddDynamicPartitionsRequest):
            site.instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
        else:
            for key in request.partition_keys:
                site.instance.delete_dynamic_partition(request.partitions_def_name, key)
    return told


def _partitions(site: Site) -> set[str]:
    return set(site.instance.get_dynamic_partitions("tenants"))


def _remove(site: Site, tenant: str) -> None:
    database = site.here.stores.database
    with database.connect().execution_options(immediate=True) as connection, connection.begin():
        registry.remove(connection, tenant, site.now)


def _going(site: Site, tenant: str, status: dg.DagsterRunStatus) -> dg.DagsterRun:
    from roster_pipeline.definitions import defs

    return site.instance.create_run_for_job(
        defs.resolve_job_def("sync_tenant"),
        status=status,
        tags={"dagster/partition": tenant},
    )


def _worked_on(site: Site, process: str, *, run_id: str | None = None) -> str:
    """A run that has started, and whose tag says that `process` works on it."""
    run = _going(site, "ash", dg.DagsterRunStatus.STARTED)
    site.instance.add_run_tags(run.run_id, {tags.PROCESS: tags.of_process(process, run_id or run.run_id)})
    return run.run_id


def test_a_tick_makes_a_partition_of_every_tenant(site: Site) -> None:
    site.here.apply("ash", *site.providers)
    site.here.apply("birch", *site.providers)
    _tick(site)
    assert _partitions(site) == {"ash", "birch"}
    assert isinstance(_tick(site), dg.SkipReason)


def test_a_tick_takes_away_what_the_registry_has_no_more(site: Site) -> None:
    site.apply("ash")
    site.apply("birch")
    _remove(site, "ash")
    _tick(site)
    assert _partitions(site) == {"birch"}


def test_a_tenant_with_a_run_that_is_to_start_keeps_its_partition_until_it_is_over(site: Site) -> None:
    site.apply("ash")
    _remove(site, "ash")
    run = _going(site, "ash", dg.DagsterRunStatus.NOT_STARTED)
    _tick(site)
    assert _partitions(site) == {"ash"}
    site.instance.report_run_canceled(run)
    _tick(site)
    assert _partitions(site) == set()


def test_a_registry_that_cannot_be_read_deletes_nothing(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.apply("ash")
    monkeypatch.setenv("ROSTER_DATABASE_URL", f"sqlite:///{tmp_path / 'no' / 'such.db'}")
    told = _tick(site)
    assert isinstance(told, dg.SkipReason)
    assert "RS-DB-01" in str(told.skip_message)
    assert _partitions(site) == {"ash"}


def test_a_tick_ends_runs_whose_process_has_died(site: Site) -> None:
    """A command that was killed would keep the tenant's place in the queue for hours."""
    site.apply("ash")
    host, pid, _ = this_process().split("|")
    ended = f"{host}|{pid}|another start"
    dead = _worked_on(site, ended)
    alive = _worked_on(site, this_process())
    elsewhere = _worked_on(site, "another-host|1|1")
    unknown = _going(site, "ash", dg.DagsterRunStatus.STARTED).run_id
    # A re-execution has the tags of the run before it until its first step; its own process is alive.
    again = _worked_on(site, ended, run_id=dead)
    _tick(site)
    found = {run.run_id: run for run in site.instance.get_runs()}
    assert found[dead].status == dg.DagsterRunStatus.FAILURE
    assert found[dead].tags["roster/error_code"] == "RS-RUN-02"
    for run_id in (alive, elsewhere, unknown, again):
        assert found[run_id].status == dg.DagsterRunStatus.STARTED


def test_the_sensor_is_on_from_the_start() -> None:
    """Else a new tenant could not be materialised before somebody thought of switching it on."""
    assert tenant_registry.default_status == dg.DefaultSensorStatus.RUNNING
