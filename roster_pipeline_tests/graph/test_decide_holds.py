"""The job `decide_holds`: what waits is approved or rejected from Dagster's UI."""

from __future__ import annotations

from typing import Any

import dagster as dg

from roster_pipeline.definitions import build_defs
from roster_pipeline_tests.graph.conftest import Site, why


def decide(site: Site, **config: Any) -> dg.ExecuteInProcessResult:
    """A run as the launchpad starts it."""
    return (
        build_defs()
        .resolve_job_def("decide_holds")
        .execute_in_process(
            instance=site.instance,
            partition_key="tiny",
            run_config={
                "ops": {"decide": {"config": {"who": "the registrar", **config}}},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
            raise_on_error=False,
        )
    )


def waits(site: Site) -> dict[str, int]:
    """How the next sync of the same data ends, and how many people it removes or makes inactive."""
    run = site.run()
    assert run.success
    (document, *_) = site.documents()
    return {document["status"]: document["counts"]["people"]}


def held(site: Site) -> None:
    """All students of the tenant are others on the second night."""
    site.apply()
    assert waits(site) == {"successful": 8}
    site.school.students = [f"s{n}" for n in range(11, 17)]
    site.school.write()
    assert waits(site) == {"partial": 14}


def test_an_approval_lets_what_waits_go_at_the_next_sync(site: Site) -> None:
    held(site)
    run = decide(site, decision="approve", school="North School")
    assert run.success
    (told,) = [
        event.step_output_data.metadata["approved"]
        for event in run.all_events
        if event.is_successful_output and event.step_key == "decide"
    ]
    assert isinstance(told, dg.TableMetadataValue)
    rows = [record.data for record in told.records]
    assert {"school": "North School", "rows": "people", "count": 6, "of": 8} in rows
    assert waits(site) == {"successful": 8}


def test_a_rejection_keeps_what_waits(site: Site) -> None:
    held(site)
    assert decide(site, decision="reject").success
    assert waits(site) == {"partial": 14}


def test_where_nothing_waits_the_run_fails_with_the_code(site: Site) -> None:
    held(site)
    run = decide(site, decision="approve", school="Nroth School")
    assert not run.success
    assert why(run)[0].startswith("dagster._core.definitions.events.Failure: RS-RUN-10")
