"""A night on which nothing moved, as Dagster shows it: the same, and since when. And the tag that ends it."""

from __future__ import annotations

from typing import Any

import dagster as dg

from roster_pipeline_tests.graph.conftest import PUBLISHED, Site, metadata_of

SINCE = "unmoved_since_sync"
OF_A_NIGHT = ("as_of", "sync_id", SINCE, "last_syncs", "last_syncs_chart", "changes", "providers")


def _shown(run: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """Asset → what stands there."""
    assert run.success
    return {
        event.asset_key.to_user_string(): metadata_of([event.materialization])
        for event in run.get_asset_materialization_events()
        if event.asset_key
    }


def _checks(run: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {found.check_name: found.passed for found in run.get_asset_check_evaluations()}


def test_a_run_shows_since_when_nothing_has_moved(site: Site) -> None:
    site.apply()
    nights = [site.run(as_of=f"2025-10-{day}") for day in (15, 16, 17)]
    second, third = (_shown(run) for run in nights[1:])
    layers = ["current_sessions", "current_enrolments", "merged_identities", "published_rosters"]
    assert {name: told.get(SINCE) for name, told in third.items() if SINCE in told} == dict.fromkeys(
        layers, 2
    )
    assert not any(SINCE in told for told in second.values())
    for name in layers:
        one, other = (
            {key: value for key, value in shown[name].items() if key not in OF_A_NIGHT}
            for shown in (second, third)
        )
        assert one == other
    assert _checks(nights[1]) == _checks(nights[2])
    assert len(_checks(nights[2])) == 14
    (newest, before, _) = site.documents()
    assert SINCE not in newest, "the document is what it would have been"
    own = ("sync_id", "as_of", "started_at", "finished_at", "run_id", "changes", "providers")
    assert {k: v for k, v in newest.items() if k not in own} == {
        k: v for k, v in before.items() if k not in own
    }


def test_the_tag_runs_every_rule(site: Site) -> None:
    site.apply()
    for day in (15, 16):
        site.run(as_of=f"2025-10-{day}")
    shown = _shown(site.run(as_of="2025-10-17", every_rule="true"))
    assert not any(SINCE in told for told in shown.values())
    assert _shown(site.run(as_of="2025-10-18"))[PUBLISHED.to_user_string()][SINCE] == 3
