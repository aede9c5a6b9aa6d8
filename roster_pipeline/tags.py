"""The names of run tags: what a run is for, and how it ended. Low-cardinality facts only, no counts.

Tags stand in Dagster's database and in its lists: no personal data, no secrets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PARTITION: Final = "dagster/partition"
"""Dagster's own; its value is the tenant. Asking for a partition by this tag costs no look-up."""

TENANT: Final = "roster/tenant"
REGION: Final = "roster/region"
TRIGGER: Final = "roster/trigger"
"""Who started it: `schedule`, or `manual`, which is also what a run without it is (the UI's)."""
AS_OF: Final = "roster/as_of"
"""`--as-of`: a date as 2026-11-21."""
DRY_RUN: Final = "roster/dry_run"
"""`true`: everything but publishing."""
PROCESS: Final = "roster/process"
"""Which process works on which run, as `of_process` writes it; set by the command that makes the run, and for
every other run when it took the tenant's lease."""
OUTCOME: Final = "roster/outcome"
"""`successful`, `partial` or `failed`; `interrupted` if the run ended without coming to publish."""
ERROR_CODE: Final = "roster/error_code"
"""The first code of a sync that was not successful; empty if it was."""


def of_process(process: str, run_id: str) -> str:
    """The value of `PROCESS`. A re-execution inherits it, and must not be taken for the run before it."""
    return f"{process}|{run_id}"


def process_of(tags: Mapping[str, str], run_id: str) -> str | None:
    """The process that works on this very run, or None where that is not known."""
    process, _, of = tags.get(PROCESS, "").rpartition("|")
    return process if of == run_id else None
