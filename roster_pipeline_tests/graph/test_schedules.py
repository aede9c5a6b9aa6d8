"""The four nightly schedules, tick by tick, in winter and in summer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._utils.schedules import schedule_execution_time_iterator

from roster_pipeline.codes import Issue
from roster_pipeline.definitions import defs
from roster_pipeline.nights import windows
from roster_pipeline.schedules import SCHEDULES
from roster_pipeline.store import ledger
from roster_pipeline_tests.graph.conftest import Site

IN_UTC = {"nightly_us": 23, "nightly_au": 10, "nightly_nz": 6, "nightly_uk": 18}
DOWNSTREAM = ["current_sessions", "current_enrolments", "merged_identities", "published_rosters"]
EVENING = datetime(2026, 1, 10, 18, tzinfo=UTC)
"""When a window of the UK begins."""


def _schedule(name: str) -> dg.ScheduleDefinition:
    return next(schedule for schedule in SCHEDULES if schedule.name == name)


def _tick(site: Site, name: str, at: datetime) -> list[dg.RunRequest]:
    context = dg.build_schedule_context(
        instance=site.instance, scheduled_execution_time=at, repository_def=defs.get_repository_def()
    )
    return list(_schedule(name).evaluate_tick(context).run_requests or [])


@pytest.mark.parametrize("month", [1, 7], ids=["January", "July"])
@pytest.mark.parametrize("name", IN_UTC)
def test_a_night_has_the_same_ticks_all_year(name: str, month: int) -> None:
    """Every five minutes of the 12 hours from 18:00 at the region's fixed offset."""
    ticks = schedule_execution_time_iterator(
        datetime(2026, month, 10, IN_UTC[name], tzinfo=UTC).timestamp(),
        str(_schedule(name).cron_schedule),
        _schedule(name).execution_timezone,
    )
    found = [next(ticks).astimezone(UTC) for _ in range(145)]
    begin = datetime(2026, month, 10, IN_UTC[name], tzinfo=UTC)
    assert found[:144] == [begin + timedelta(minutes=5 * number) for number in range(144)]
    assert found[144] == begin + timedelta(days=1)


def test_a_tick_asks_for_one_run_of_each_tenant_of_its_region(stored_site: Site) -> None:
    stored_site.apply("ash", region="UK")
    stored_site.apply("birch", region="UK")
    stored_site.apply("cedar", region="NZ")
    found = _tick(stored_site, "nightly_uk", EVENING)
    assert [request.tags["roster/tenant"] for request in found] == ["ash", "birch"]
    assert found[0].tags == {
        "dagster/partition": "ash",
        "dagster/priority": "-1",
        "dagster/max_runtime": "21600",
        "roster/tenant": "ash",
        "roster/region": "UK",
        "roster/trigger": "schedule",
    } | {name: value for name, value in found[0].tags.items() if name.startswith("dagster/schedule")}
    assert found[0].partition_key is None  # it would cost a look-up for each run


def _synced(site: Site, tenant: str, started: datetime, seconds: float, status: str = "successful") -> None:
    """A sync in the ledger, by a schedule."""
    with site.here.stores.database.begin() as connection:
        sync_id, _, _ = ledger.begin(
            connection, tenant=tenant, region="UK", run_id=f"{tenant} {started}", trigger="schedule",
            as_of=windows.date_at(started + windows.LENGTH, "UK", None), as_of_given=False, now=started,
        )  # fmt: skip
        report = ledger.failure([] if status != "failed" else [Issue("RS-NET-01", "...")])
        ledger.finish(connection, sync_id, report | {"status": status}, started + timedelta(seconds=seconds))


def test_the_longest_are_asked_for_first_each_with_its_time_limit(
    stored_site: Site,
) -> None:
    for tenant in ("ash", "birch", "cedar"):
        stored_site.apply(tenant, region="UK")
    _synced(stored_site, "birch", EVENING - timedelta(days=1), 60)
    _synced(stored_site, "cedar", EVENING - timedelta(days=1), 900)
    found = _tick(stored_site, "nightly_uk", EVENING)
    limits = {request.tags["roster/tenant"]: request.tags["dagster/max_runtime"] for request in found}
    assert list(limits.items()) == [("cedar", "4500"), ("birch", "3600"), ("ash", "21600")]


def test_a_tenant_that_is_synced_or_in_the_queue_is_not_asked_for_again(stored_site: Site) -> None:
    for tenant in ("ash", "birch", "cedar", "elm"):
        stored_site.apply(tenant, region="UK")
    _synced(stored_site, "ash", EVENING + timedelta(minutes=1), 60)
    _synced(stored_site, "elm", EVENING + timedelta(minutes=1), 60, "failed")
    stored_site.instance.create_run_for_job(
        defs.resolve_job_def("sync_tenant"), status=dg.DagsterRunStatus.QUEUED,
        tags={"dagster/partition": "birch"},
        remote_job_origin=RemoteJobOrigin(
            RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("roster_pipeline"), "__repository__"),
            "sync_tenant",
        ),
    )  # fmt: skip
    found = _tick(stored_site, "nightly_uk", EVENING + timedelta(minutes=5))
    assert [request.tags["roster/tenant"] for request in found] == ["cedar"]
    later = _tick(stored_site, "nightly_uk", EVENING + timedelta(minutes=35))
    assert [request.run_key for request in later] == ["cedar 2026-01-10T18:00Z 0", "elm 2026-01-10T18:00Z 1"]


def test_a_late_daemon_catches_up(stored_site: Site) -> None:
    stored_site.apply("ash", region="UK")
    assert len(_tick(stored_site, "nightly_uk", EVENING + timedelta(hours=11, minutes=55))) == 1
    assert _tick(stored_site, "nightly_uk", EVENING + timedelta(hours=12)) == []


def test_a_tick_whose_ledger_cannot_be_read_asks_for_nothing(
    stored_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored_site.apply("ash", region="UK")
    monkeypatch.setenv("ROSTER_DATABASE_URL", f"sqlite:///{tmp_path / 'no' / 'such.db'}")
    assert _tick(stored_site, "nightly_uk", EVENING) == []


def test_a_run_is_of_the_tenant_s_own_kinds_and_of_all_that_follows(stored_site: Site) -> None:
    logins = {"name": "logins", "kind": "csv", "path": "logins.csv"}
    stored_site.apply("ash", region="UK")
    stored_site.apply("birch", region="UK", directories=[logins])
    found = _tick(stored_site, "nightly_uk", EVENING)
    chosen = {
        request.tags["roster/tenant"]: [key.to_user_string() for key in request.asset_selection or ()]
        for request in found
    }
    assert chosen == {
        "ash": ["raw/oneroster_csv", *DOWNSTREAM],
        "birch": ["raw/oneroster_csv", "raw/directory", *DOWNSTREAM],
    }


def test_a_run_that_a_tick_asked_for_syncs_its_tenant(stored_site: Site) -> None:
    """With the tag in the partition's place Dagster checks nothing beforehand: so it is run here."""
    stored_site.apply("ash", region="UK")
    stored_site.instance.delete_dynamic_partition("tenants", "ash")
    (request,) = _tick(stored_site, "nightly_uk", EVENING)
    assert stored_site.instance.get_dynamic_partitions("tenants") == ["ash"]
    run = defs.resolve_job_def("sync_tenant").execute_in_process(
        instance=stored_site.instance,
        tags=dict(request.tags) | {"roster/as_of": "2025-10-15"},
        asset_selection=list(request.asset_selection or ()),
        raise_on_error=False,
    )
    assert run.success
    assert len(stored_site.roster("ash")["people"]) == 8
    made = run.get_asset_materialization_events()
    assert {event.partition for event in made} == {"ash"}


def test_a_region_without_tenants_is_left_alone(stored_site: Site) -> None:
    stored_site.apply("ash", region="UK")
    assert _tick(stored_site, "nightly_nz", datetime(2026, 1, 10, 6, tzinfo=UTC)) == []


def test_the_schedules_wait_until_somebody_starts_them() -> None:
    for schedule in SCHEDULES:
        assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
