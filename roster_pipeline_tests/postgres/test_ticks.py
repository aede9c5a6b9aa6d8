"""A tick for ten thousand tenants with two weeks of nights behind them, on PostgreSQL."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import text

from roster_pipeline.definitions import defs
from roster_pipeline.nights.asking import AT_ONCE
from roster_pipeline.schedules import SCHEDULES
from roster_pipeline_tests.syncing import deployment

pytestmark = pytest.mark.postgres

EVENING = datetime(2026, 1, 10, 18, tzinfo=UTC)
TENANTS = 10_000
LONGEST = 5.0
"""Seconds that a tick may take."""

_ADD = """
INSERT INTO tenants (tenant, region, document, applied_at, added_at)
SELECT 'school-' || number, 'UK', replace(:document, 'NUMBER', number::text), :long_ago, :long_ago
FROM generate_series(1, :tenants) AS number
"""
_LASTED = """
INSERT INTO durations SELECT 'school-' || number, number * 0.005, :evening
FROM generate_series(1, :tenants) AS number
"""
_SYNCED = """
INSERT INTO syncs (tenant, region, run_id, trigger, status, as_of, as_of_given, started_at, finished_at)
SELECT 'school-' || number, 'UK', 'run-' || number || '-' || night, 'schedule', 'successful',
       CAST(:evening AS date) - night + 1, false,
       CAST(:evening AS timestamp) - night * INTERVAL '1 day' + number * INTERVAL '1 second',
       CAST(:evening AS timestamp) - night * INTERVAL '1 day' + number * INTERVAL '1.005 second'
FROM generate_series(1, :tenants) AS number, generate_series(1, 14) AS night
"""


def test_a_tick_for_ten_thousand_tenants_is_far_from_dagsters_limit(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = {"name": "sis", "kind": "oneroster", "endpoint_url": "https://sis-NUMBER.example/api/",
                "client_id": "env:A", "client_secret": "env:B", "respect_enrolment_date": True}  # fmt: skip
    document = {"tenant": "school-NUMBER", "region": "UK", "providers": [provider], "directories": []}
    folder = tmp_path / "dagster"
    folder.mkdir()
    with deployment(tmp_path, postgres_url) as here, dg.DagsterInstance.local_temp(str(folder)) as instance:
        monkeypatch.setenv("ROSTER_DATABASE_URL", postgres_url)
        with here.stores.database.begin() as connection:
            long_ago = EVENING.replace(tzinfo=None) - timedelta(days=99)
            connection.execute(
                text(_ADD), {"document": json.dumps(document), "long_ago": long_ago, "tenants": TENANTS}
            )
            evening = EVENING.replace(tzinfo=None)
            connection.execute(text(_SYNCED), {"evening": evening, "tenants": TENANTS})
            connection.execute(text(_LASTED), {"evening": evening, "tenants": TENANTS})
            connection.execute(text("ANALYZE"))
        instance.add_dynamic_partitions("tenants", [f"school-{number}" for number in range(1, TENANTS + 1)])
        (schedule,) = (one for one in SCHEDULES if one.name == "nightly_uk")
        with dg.build_schedule_context(
            instance=instance, scheduled_execution_time=EVENING, repository_def=defs.get_repository_def()
        ) as context:
            took = []
            for _ in range(3):  # the best of them: beside other tests it is slower, never faster
                began = time.monotonic()
                asked = schedule.evaluate_tick(context).run_requests or []
                took.append(time.monotonic() - began)
    longest = [f"school-{number}" for number in range(TENANTS, 0, -1)]  # whose number says how long it takes
    assert [one.tags["roster/tenant"] for one in asked] == longest[: len(asked)]
    assert 10 < len(asked) <= AT_ONCE
    assert min(took) < LONGEST
