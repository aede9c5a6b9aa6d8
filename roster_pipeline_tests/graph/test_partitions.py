"""How partitions follow the registry: as a pure function, and as ticks of the sensor `tenant_registry`."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roster_pipeline.partitions import partition_changes
from roster_pipeline.sensors import tenant_registry
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


def test_the_sensor_is_on_from_the_start() -> None:
    """Else a new tenant could not be materialised before somebody thought of switching it on."""
    assert tenant_registry.default_status == dg.DefaultSensorStatus.RUNNING
