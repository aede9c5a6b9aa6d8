"""The whole graph on one page: what Dagster loads. Nothing is read or opened here.

    raw/powerschool ──┐
    raw/classlink ────┤
    raw/oneroster ────┼──▶ current_sessions ──▶ current_enrolments ──▶ merged_identities ──▶ published_rosters
    raw/oneroster_csv ┘                                                      ▲
    raw/directory ───────────────────────────────────────────────────────────┘

A partition is a tenant; a run of `sync_tenant` is one sync of one tenant.
"""

from __future__ import annotations

from typing import Any

import dagster as dg

from roster_pipeline.assets import ASSETS
from roster_pipeline.jobs import SYNC_TENANT, decide_holds, upkeep_of_records
from roster_pipeline.resources import rosters_resource
from roster_pipeline.schedules import SCHEDULES, UPKEEP
from roster_pipeline.sensors import alerts, night_watch, tenant_registry


def build_defs(**overrides: Any) -> dg.Definitions:
    """All definitions; a keyword replaces what `Definitions` is given under that name."""
    parts: dict[str, Any] = {
        "assets": ASSETS,
        "jobs": [SYNC_TENANT, decide_holds, upkeep_of_records],
        "schedules": [*SCHEDULES, UPKEEP],
        "sensors": [tenant_registry, night_watch, alerts],
        "resources": {"rosters": rosters_resource()},
        # For the UI's Materialize as well, which runs a job of its own.
        "executor": dg.in_process_executor,
    }
    return dg.Definitions(**(parts | overrides))


defs = build_defs()
