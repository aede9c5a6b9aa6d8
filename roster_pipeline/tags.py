"""The names of tags: what a run is for, and how it ended. Low-cardinality facts only, no counts.

Tags stand in Dagster's database and in its lists: no personal data, no secrets.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

PARTITION: Final = "dagster/partition"
"""Dagster's own; its value is the tenant. Asking for a partition by this tag costs no look-up."""

TENANT: Final = "roster/tenant"
REGION: Final = "roster/region"
TRIGGER: Final = "roster/trigger"
"""Who started it: `schedule`, or `manual`, which is also what a run without it is (the UI's)."""
HOST: Final = "roster/host"
"""A host that the run reads; the second and third have a number, as `roster/host_2`. The instance limits how
many runs of one value go on at once."""
PRIORITY: Final = "dagster/priority"
"""Dagster's own: what somebody waits for (0) comes before what a schedule asks for (below 0)."""
MAX_RUNTIME: Final = "dagster/max_runtime"
"""Dagster's own: seconds after which run monitoring ends the run."""
AS_OF: Final = "roster/as_of"
"""`--as-of`: a date as 2026-11-21."""
DRY_RUN: Final = "roster/dry_run"
"""`true`: everything but publishing."""
EVERY_RULE: Final = "roster/every_rule"
"""`true`: every page is read and every rule runs, whatever earlier nights found."""
PROCESS: Final = "roster/process"
"""Which process works on which run, as `of_process` writes it; set by the command that makes the run, and for
every other run when it took the tenant's lease."""
OUTCOME: Final = "roster/outcome"
"""`successful`, `partial` or `failed`; `interrupted` if the run ended without coming to publish."""
ERROR_CODE: Final = "roster/error_code"
"""The first code of a sync that was not successful; empty if it was."""

TASK: Final = "roster/task"
"""Of jobs, and so of their runs, of schedules and of sensors, what they are there for: `sync`, `decision`,
`upkeep`, `tenants`, `watch` or `alerts`. A sync that is started on an asset's page is no run of the job, and
has none."""
LAYER: Final = "roster/layer"
"""Of assets: `raw`, `current`, `identities` or `rosters`, as their group."""
PROVIDER_KIND: Final = "roster/provider_kind"
"""Of the raw assets: the kind that they read."""


def of_hosts(hosts: Collection[str]) -> dict[str, str]:
    """The tags for the hosts that a run reads, three at most."""
    return {
        HOST if place == 1 else f"{HOST}_{place}": host for place, host in enumerate(sorted(hosts)[:3], 1)
    }


def of_process(process: str, run_id: str) -> str:
    """The value of `PROCESS`. A re-execution inherits it, and must not be taken for the run before it."""
    return f"{process}|{run_id}"


def process_of(tags: Mapping[str, str], run_id: str) -> str | None:
    """The process that works on this very run, or None where that is not known."""
    process, _, of = tags.get(PROCESS, "").rpartition("|")
    return process if of == run_id else None
