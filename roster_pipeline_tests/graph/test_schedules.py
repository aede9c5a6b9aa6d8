"""The four nightly schedules, tick by tick, in winter and in summer."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import dagster as dg
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from roster_pipeline.definitions import defs
from roster_pipeline.schedules import SCHEDULES
from roster_pipeline.tenants import registry
from roster_pipeline.tenants.document import Tenant, parse
from roster_pipeline_tests.graph.conftest import Site

IN_UTC = {"nightly_us": 23, "nightly_au": 10, "nightly_nz": 6, "nightly_uk": 18}
DOWNSTREAM = ["current_sessions", "current_enrolments", "merged_identities", "published_rosters"]
TICK_LIMIT = 60
"""Seconds that Dagster gives a tick."""


def _schedule(name: str) -> dg.ScheduleDefinition:
    return next(schedule for schedule in SCHEDULES if schedule.name == name)


def _tick(site: Site, name: str, at: datetime) -> list[dg.RunRequest]:
    context = dg.build_schedule_context(
        instance=site.instance, scheduled_execution_time=at, repository_def=defs.get_repository_def()
    )
    return list(_schedule(name).evaluate_tick(context).run_requests or [])


@pytest.mark.parametrize("month", [1, 7], ids=["January", "July"])
@pytest.mark.parametrize("name", IN_UTC)
def test_a_night_begins_at_one_instant_all_year(name: str, month: int) -> None:
    ticks = _schedule(name).cron_schedule, _schedule(name).execution_timezone
    assert ticks[0] == "0 18 * * *"
    after = datetime(2026, month, 10, tzinfo=UTC)
    first = next(schedule_execution_time_iterator(after.timestamp(), *ticks))
    assert first.astimezone(UTC) == datetime(2026, month, 10, IN_UTC[name], tzinfo=UTC)


def test_a_tick_asks_for_one_run_of_each_tenant_of_its_region(stored_site: Site) -> None:
    stored_site.apply("ash", region="UK")
    stored_site.apply("birch", region="UK")
    stored_site.apply("cedar", region="NZ")
    found = _tick(stored_site, "nightly_uk", datetime(2026, 1, 10, 18, tzinfo=UTC))
    assert [request.tags["roster/tenant"] for request in found] == ["ash", "birch"]
    assert found[0].tags == {
        "dagster/partition": "ash",
        "roster/tenant": "ash",
        "roster/region": "UK",
        "roster/trigger": "schedule",
    } | {name: value for name, value in found[0].tags.items() if name.startswith("dagster/schedule")}
    assert found[0].partition_key is None  # it would cost a look-up for each run


def test_a_tenant_and_a_night_make_one_run_key(stored_site: Site) -> None:
    stored_site.apply("ash", region="US")
    stored_site.apply("birch", region="US")
    tonight = _tick(stored_site, "nightly_us", datetime(2026, 7, 10, 23, tzinfo=UTC))
    again = _tick(stored_site, "nightly_us", datetime(2026, 7, 11, 1, 30, tzinfo=UTC))
    tomorrow = _tick(stored_site, "nightly_us", datetime(2026, 7, 11, 23, tzinfo=UTC))
    keys = [[request.run_key for request in found] for found in (tonight, again, tomorrow)]
    assert keys[0] == keys[1] == ["ash 2026-07-10T23:00Z", "birch 2026-07-10T23:00Z"]
    assert not set(keys[0]) & set(keys[2])


def test_a_run_is_of_the_tenant_s_own_kinds_and_of_all_that_follows(stored_site: Site) -> None:
    logins = {"name": "logins", "kind": "csv", "path": "logins.csv"}
    stored_site.apply("ash", region="UK")
    stored_site.apply("birch", region="UK", directories=[logins])
    found = _tick(stored_site, "nightly_uk", datetime(2026, 1, 10, 18, tzinfo=UTC))
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
    (request,) = _tick(stored_site, "nightly_uk", datetime(2026, 1, 10, 18, tzinfo=UTC))
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


def test_500_tenants_are_well_within_a_tick_s_time(stored_site: Site) -> None:
    def tenant(number: int) -> Tenant:
        providers = "[{name: files, kind: oneroster_csv, path: x}]"
        text = f"tenant: school-{number:03}\nregion: UK\nproviders: {providers}\n"
        return parse(text, file=stored_site.here.home.folder / "school.yaml")

    database = stored_site.here.stores.database
    with database.connect().execution_options(immediate=True) as connection, connection.begin():
        for number in range(500):
            registry.apply(connection, tenant(number), stored_site.now)
    started = time.monotonic()
    found = _tick(stored_site, "nightly_uk", datetime(2026, 1, 10, 18, tzinfo=UTC))
    took = time.monotonic() - started
    assert len({request.run_key for request in found}) == 500
    assert len(stored_site.instance.get_dynamic_partitions("tenants")) == 500
    assert took < TICK_LIMIT / 2  # a tenth of it is usual; this notices a look-up for each tenant


def test_the_schedules_wait_until_somebody_starts_them() -> None:
    for schedule in SCHEDULES:
        assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
