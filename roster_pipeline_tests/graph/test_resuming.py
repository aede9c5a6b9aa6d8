"""A deploy in the middle of an extract: when its run is executed again, the same sync goes on."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import dagster as dg
import pytest

from roster_pipeline.definitions import build_defs
from roster_pipeline.sandbox.generator import generate
from roster_pipeline.sandbox.misbehaviour import Misbehaviour
from roster_pipeline.sandbox.server import Asked
from roster_pipeline_tests.graph.conftest import metadata_of
from roster_pipeline_tests.graph.terminal import DAY, Terminal
from roster_pipeline_tests.syncing import deployment, rest_provider, serving

PAGE: Final = 10
SECRET: Final = "secret of the tests"


def sync_job() -> dg.JobDefinition:
    return build_defs().resolve_job_def("sync_tenant")


def test_a_run_that_was_ended_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "ROSTER_HOME": str(tmp_path / "home"),
        "DAGSTER_HOME": str(tmp_path / "home" / "dagster"),
        "CLIENT_ID": "tests",
        "CLIENT_SECRET": SECRET,
    }.items():
        monkeypatch.setenv(name, value)
    failing = Misbehaviour("server-error", 503, endpoint="enrollments", after=8)
    with (
        deployment(tmp_path / "home") as here,
        serving(
            generate(20, day=DAY).tables, "powerschool", client_id="tests", client_secret=SECRET
        ) as there,
        serving(generate(1, day=DAY).tables, "classlink", client_id="tests", client_secret=SECRET) as small,
    ):
        terminal = Terminal(here, tmp_path)
        options: dict[str, Any] = {
            "client_id": "env:CLIENT_ID",
            "client_secret": "env:CLIENT_SECRET",
            "page_size": PAGE,
            "concurrency": 1,  # else it hangs on the machine how many pages came before the refusal
        }
        here.apply(
            "town",
            rest_provider(there, **options, merge={"priority": 2}),
            rest_provider(small, name="annexe", **options, merge={"priority": 1}),
        )
        there.sandbox.misbehave(failing)
        process = terminal.begun("town")
        _wait_for(lambda: _tried_again(there.sandbox.asked))
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 130
        there.sandbox.misbehave()
        there.sandbox.asked.clear()
        asked_of_small = len(small.sandbox.asked)
        with dg.DagsterInstance.get() as instance:
            (ended,) = instance.get_runs()
            again = dg.execute_job(
                dg.reconstructable(sync_job),
                instance,
                tags=dict(ended.tags),  # as the UI hands them on: the partition is one of them
                reexecution_options=dg.ReexecutionOptions.from_failure(ended.run_id, instance),
            )
            failures = [event.step_failure_data.error for event in again.all_events if event.is_step_failure]
            assert [error.message for error in failures if error] == []
            told = [getattr(event.event_specific_data, "materialization", None) for event in again.all_events]
        made = {one.asset_key.to_user_string(): one for one in told if one is not None}
        (document,) = terminal.ledger("town")
    assert document["status"] == "successful"
    assert "published_rosters" in made
    assert "raw/classlink" not in made  # it had succeeded
    assert len(small.sandbox.asked) == asked_of_small
    offsets = [int(one.query["offset"]) for one in there.sandbox.asked if one.endpoint == "enrollments"]
    read = 1 + 8 * (PAGE - 1)  # eight pages were there, which overlap by a row
    again_asked = sorted({offset for offset in offsets if offset < read - 1})
    assert again_asked[0] == 0
    assert len(again_asked) == 2  # the first page and the last
    shown = metadata_of([made["raw/powerschool"]])
    assert "RS-PAGE-11" in [row["code"] for row in shown["issues"]]
    assert {row["state"] for row in shown["collections"]} == {"ok"}


def _tried_again(asked: Iterable[Asked]) -> bool:
    """Whether a page was asked for again that was refused: by then all pages before it are kept."""
    refused = [one.query["offset"] for one in list(asked) if one.status == 503]
    return len(refused) > len(set(refused))


def _wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come so far")
