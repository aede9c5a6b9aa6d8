"""The sensor `night_watch`, tick by tick: runs and syncs whose worker has died, nights that are over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
)
from sqlalchemy import insert, select

from roster_pipeline import tags
from roster_pipeline.definitions import defs
from roster_pipeline.sensors import look, night_watch
from roster_pipeline.store import ledger
from roster_pipeline.store.database import leases, missed_nights, tenants
from roster_pipeline.store.lease import this_process
from roster_pipeline_tests.graph.conftest import Site


@pytest.fixture
def site(stored_site: Site) -> Site:
    """With an instance on disk: one in memory knows of no schedules."""
    return stored_site


def _tick(site: Site) -> str:
    told = night_watch(dg.build_sensor_context(instance=site.instance))
    assert isinstance(told, dg.SkipReason)
    return str(told.skip_message).removeprefix("The watch: ")


def _going(site: Site, status: dg.DagsterRunStatus, **given: str) -> dg.DagsterRun:
    return site.instance.create_run_for_job(
        defs.resolve_job_def("sync_tenant"), status=status, tags={"dagster/partition": "ash"} | given
    )


def _worked_on(site: Site, process: str, *, run_id: str | None = None) -> str:
    """A run that has started, and whose tag says that `process` works on it."""
    run = _going(site, dg.DagsterRunStatus.STARTED)
    site.instance.add_run_tags(run.run_id, {tags.PROCESS: tags.of_process(process, run_id or run.run_id)})
    return run.run_id


def test_a_tick_ends_runs_whose_process_has_died(site: Site) -> None:
    """A command that was killed would keep the tenant's place in the queue for hours."""
    site.apply("ash")
    host, pid, _ = this_process().split("|")
    ended = f"{host}|{pid}|another start"
    dead = _worked_on(site, ended)
    alive = _worked_on(site, this_process())
    elsewhere = _worked_on(site, "another-host|1|1")
    unknown = _going(site, dg.DagsterRunStatus.STARTED).run_id
    # A re-execution has the tags of the run before it until its first step; its own process is alive.
    again = _worked_on(site, ended, run_id=dead)
    assert _tick(site) == "1 runs of dead processes"
    found = {run.run_id: run for run in site.instance.get_runs()}
    assert found[dead].status == dg.DagsterRunStatus.FAILURE
    assert found[dead].tags["roster/error_code"] == "RS-RUN-02"
    for run_id in (alive, elsewhere, unknown, again):
        assert found[run_id].status == dg.DagsterRunStatus.STARTED


def test_a_sync_whose_worker_elsewhere_is_silent_is_ended_so_that_it_can_be_started_again(
    site: Site,
) -> None:
    site.apply("ash")
    run = _going(site, dg.DagsterRunStatus.STARTED)
    again = _going(site, dg.DagsterRunStatus.STARTED, **{"dagster/root_run_id": run.run_id})
    other = _going(site, dg.DagsterRunStatus.STARTED)
    now = datetime.now(UTC)
    with site.here.stores.database.begin() as connection:
        ledger.begin(
            connection, tenant="ash", region="US", run_id=run.run_id, trigger="schedule", as_of=now.date(),
            as_of_given=False, now=now - timedelta(minutes=9),
        )  # fmt: skip
        heard = (now - timedelta(minutes=3)).replace(tzinfo=None)
        connection.execute(
            insert(leases).values(tenant="ash", owner=run.run_id, process="far|1|1", heartbeat_at=heard)
        )
    assert _tick(site) == "ash: RS-RUN-02"
    found = {one.run_id: one for one in site.instance.get_runs()}
    for run_id in (run.run_id, again.run_id):
        assert found[run_id].status == dg.DagsterRunStatus.FAILURE
        assert found[run_id].tags["roster/error_code"] == "RS-RUN-02"
    assert found[other.run_id].status == dg.DagsterRunStatus.STARTED
    (document,) = site.documents("ash")
    assert (document["status"], [one["code"] for one in document["issues"]]) == ("interrupted", ["RS-RUN-02"])
    assert _tick(site) == "All is as it should be."


def test_a_run_that_started_and_holds_no_lease_is_left_by_its_worker(site: Site) -> None:
    """Killed on another machine before its first step or after its last: to Celery it runs for ever."""
    site.apply("ash")
    left = _going(site, dg.DagsterRunStatus.STARTED)
    again = _going(site, dg.DagsterRunStatus.STARTED, **{"dagster/root_run_id": left.run_id})
    starting = _going(site, dg.DagsterRunStatus.STARTING)
    deciding = site.instance.create_run_for_job(
        defs.resolve_job_def("decide_holds"),
        run_config={"ops": {"decide": {"config": {"decision": "approve", "who": "somebody"}}}},
        status=dg.DagsterRunStatus.STARTED,
        tags={"dagster/partition": "ash"},
    )
    works = _going(site, dg.DagsterRunStatus.STARTED)
    now = datetime.now(UTC)
    heard = (now + timedelta(minutes=2)).replace(tzinfo=None)
    with site.here.stores.database.begin() as connection:
        held = {"tenant": "ash", "owner": works.run_id, "process": "far|1|1", "heartbeat_at": heard}
        connection.execute(insert(leases).values(held))
    assert look(site.instance, now + timedelta(minutes=1)) == "All is as it should be."
    assert look(site.instance, now + timedelta(minutes=3)) == "2 runs that their workers left"
    found = {one.run_id: one for one in site.instance.get_runs()}
    for run_id in (left.run_id, again.run_id):
        assert found[run_id].status == dg.DagsterRunStatus.FAILURE
        assert found[run_id].tags["roster/error_code"] == "RS-RUN-02"
    assert found[starting.run_id].status == dg.DagsterRunStatus.STARTING
    for run_id in (works.run_id, deciding.run_id):
        assert found[run_id].status == dg.DagsterRunStatus.STARTED


def _add_long_ago(site: Site, tenant: str, region: str) -> None:
    site.apply(tenant, region=region)
    with site.here.stores.database.begin() as connection:
        connection.execute(tenants.update().values(added_at=datetime(2020, 1, 1)))  # noqa: DTZ001 - as stored


def _was_started(site: Site, schedule: str) -> None:
    """As somebody switches a schedule on in the UI."""
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("roster_pipeline"), "__repository__")
    site.instance.add_instigator_state(
        InstigatorState(
            RemoteInstigatorOrigin(repository, schedule),
            InstigatorType.SCHEDULE,
            InstigatorStatus.RUNNING,
            ScheduleInstigatorData("*/5 * * * *"),
        )
    )


def test_a_region_that_is_synced_by_night_hears_whom_its_last_night_missed(site: Site) -> None:
    for region in ("UK", "NZ"):
        _add_long_ago(site, f"ash-{region.lower()}", region)
    _was_started(site, "nightly_nz")
    noon = datetime(2026, 1, 10, 18, tzinfo=UTC)  # when NZ's window ends and the UK's begins
    assert look(site.instance, noon) == "All is as it should be."
    later = noon + timedelta(minutes=6)
    assert look(site.instance, later) == "NZ: of 1 tenants 1 were not started in the window"
    assert look(site.instance, later) == "All is as it should be."
    with site.here.stores.database.connect() as connection:
        assert connection.scalars(select(missed_nights.c.tenant)).all() == ["ash-nz"]


def test_a_roster_database_that_cannot_be_read_changes_nothing(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROSTER_DATABASE_URL", f"sqlite:///{tmp_path / 'no' / 'such.db'}")
    assert "RS-DB-01" in _tick(site)


def test_the_sensor_is_on_from_the_start() -> None:
    """Else a sync whose worker died would be called running for ever."""
    assert night_watch.default_status == dg.DefaultSensorStatus.RUNNING
