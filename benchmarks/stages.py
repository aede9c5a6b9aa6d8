"""When each step of a home's last run began and ended, from Dagster's event log; prints one JSON line.

`python -m benchmarks.stages` is started after the run that is measured, in a process of its own.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Final

import dagster as dg

STAGES: Final = {
    "raw": "extraction",
    "current_sessions": "sessions",
    "current_enrolments": "enrolments",
    "merged_identities": "identities",
    "published_rosters": "publishing",
}
"""Asset (or its group) → what the stage is called."""


def stages(folder: str) -> dict[str, tuple[float, float]]:
    """The stages of the newest run in a Dagster home, as seconds since 1970."""
    found: dict[str, list[float]] = {}
    with dg.DagsterInstance.from_config(folder) as instance:
        run = instance.get_runs(limit=1)[0]
        for entry in instance.all_logs(run.run_id):
            event = entry.dagster_event
            if (
                event is not None
                and event.step_key
                and event.event_type_value in ("STEP_START", "STEP_SUCCESS")
            ):
                name = STAGES[event.step_key.split("__")[0]]
                found.setdefault(name, []).append(entry.timestamp)
    return {name: (min(moments), max(moments)) for name, moments in found.items()}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(stages(os.environ["DAGSTER_HOME"])) + "\n")
