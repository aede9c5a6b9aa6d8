"""What Dagster loads: one graph, one partitions definition, and names that must not change."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import dagster as dg

from roster_pipeline import checks
from roster_pipeline.definitions import build_defs, defs
from roster_pipeline.providers import KINDS

GRAPH = {
    "raw/powerschool": ("raw", set()),
    "raw/classlink": ("raw", set()),
    "raw/oneroster": ("raw", set()),
    "raw/oneroster_csv": ("raw", set()),
    "raw/directory": ("raw", set()),
    "current_sessions": (
        "current",
        {"raw/powerschool", "raw/classlink", "raw/oneroster", "raw/oneroster_csv"},
    ),
    "current_enrolments": ("current", {"current_sessions"}),
    "merged_identities": ("identities", {"current_enrolments", "raw/directory"}),
    "published_rosters": ("rosters", {"merged_identities"}),
}


def test_the_definitions_load() -> None:
    dg.Definitions.validate_loadable(defs)


def test_the_graph_is_the_one_that_the_pages_draw() -> None:
    """History, alerts and links hang on these names: whoever changes one loses what is known under it."""
    found = {
        spec.key.to_user_string(): (spec.group_name, {dep.asset_key.to_user_string() for dep in spec.deps})
        for spec in defs.resolve_all_asset_specs()
    }
    assert found == GRAPH


def test_the_other_names_are_the_ones_that_operators_know() -> None:
    repository = defs.get_repository_def()
    jobs = {job.name for job in repository.get_all_jobs() if not job.name.startswith("__")}
    assert jobs == {"sync_tenant", "decide_holds", "upkeep_of_records"}
    assert {schedule.name for schedule in repository.schedule_defs} == {
        "nightly_us",
        "nightly_au",
        "nightly_nz",
        "nightly_uk",
        "daily_upkeep",
    }
    assert {sensor.name for sensor in repository.sensor_defs} >= {"tenant_registry", "night_watch"}
    assert {key.name for key in repository.asset_graph.asset_check_keys} == {
        "schools_are_complete",
        "schools_have_students",
        "schools_have_teachers",
        "schools_have_classes",
        "classes_have_teachers",
        "classes_have_students",
        "students_are_in_classes",
        "people_have_merge_keys",
        "schools_have_current_sessions",
        "references_lead_somewhere",
        "identities_are_readable",
        "grades_do_not_vanish",
        "extracts_are_complete",
        "removals_do_not_wait",
    }


def test_every_kind_of_provider_has_its_raw_asset() -> None:
    kinds = {key.path[1] for key in defs.resolve_asset_graph().get_all_asset_keys() if key.path[0] == "raw"}
    assert kinds == set(KINDS)


def test_everything_is_partitioned_by_the_one_list_of_tenants() -> None:
    """One job and one run hold the whole chain only if it is the same definition everywhere."""
    graph = defs.resolve_asset_graph()
    found = [graph.get(key).partitions_def for key in graph.get_all_asset_keys()]
    assert {
        found_def.name for found_def in found if isinstance(found_def, dg.DynamicPartitionsDefinition)
    } == {"tenants"}
    assert all(isinstance(found_def, dg.DynamicPartitionsDefinition) for found_def in found)


def test_checks_are_partitioned_and_never_stop_a_run() -> None:
    """Without partitions a check would show whichever tenant came last. A preview: may go any time."""
    specs = checks.specs("published_rosters")
    assert len(specs) == len(checks.CHECKS)
    assert all(isinstance(spec.partitions_def, dg.DynamicPartitionsDefinition) for spec in specs)
    assert not any(spec.blocking for spec in specs)


def _shown() -> list[tuple[str, Any]]:
    """Everything that the UI lists, but for checks: a name and the definition."""
    repository = defs.get_repository_def()
    jobs = [job for job in repository.get_all_jobs() if not job.name.startswith("__")]
    others: list[Any] = [*jobs, *repository.schedule_defs, *repository.sensor_defs]
    return [
        *((spec.key.to_user_string(), spec) for spec in defs.resolve_all_asset_specs()),
        *((one.name, one) for one in others),
    ]


def test_everything_says_in_the_ui_what_it_is_and_who_answers_for_it() -> None:
    """Checks have no owners and no tags in Dagster; they have the asset's, and a description."""
    assert len(_shown()) == len(GRAPH) + 3 + 5 + 3
    for name, one in _shown():
        assert len(one.description or "") > 80, name
        assert list(one.owners) == ["team:rosters"], name
        assert any(tag.startswith("roster/") for tag in one.tags), name
    for check in checks.specs("published_rosters"):
        assert len(check.description or "") > 80, check.name
        assert not hasattr(check, "owners"), "Dagster has owners of checks now: say them"
        assert not hasattr(check, "tags"), "Dagster has tags of checks now: say them"


def test_every_asset_says_what_it_is_made_of() -> None:
    """Three at most: the UI shows no more of them on an asset's card."""
    for spec in defs.resolve_all_asset_specs():
        assert 1 <= len(spec.kinds) <= 3, spec.key
        assert spec.tags["roster/layer"] == spec.group_name, spec.key


def test_tags_are_facts_that_any_list_may_show() -> None:
    """A job's tags become those of its runs: nothing personal, no count, nothing that only one run has."""
    for name, one in _shown():
        for tag, value in one.tags.items():
            assert re.fullmatch(r"(roster|dagster)/[a-z_]+(/[a-z]+)?", tag), (name, tag)
            assert re.fullmatch(r"[A-Za-z_-]*[0-9]{0,2}", value), (name, tag)


def test_the_ui_s_materialize_takes_one_process_like_the_job() -> None:
    assert defs.resolve_implicit_global_asset_job_def().executor_def.name == "in_process"
    assert defs.resolve_job_def("sync_tenant").executor_def.name == "in_process"


def test_a_part_can_be_replaced() -> None:
    assert build_defs(schedules=[]).get_repository_def().schedule_defs == []


def test_loading_warns_of_nothing() -> None:
    """A preview that we chose is not announced in every process, to people who cannot act on it."""
    code = (
        "import dagster, warnings; warnings.simplefilter('error');"
        "from roster_pipeline.definitions import defs; defs.resolve_job_def('sync_tenant')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
