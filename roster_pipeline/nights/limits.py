"""How long a sync may take before it is ended: it hangs, and others wait for its place."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from roster_pipeline.codes import Issue

FIRST: Final = timedelta(hours=6)
LEAST: Final = timedelta(hours=1)
TIMES: Final = 5

LATE: Final = Issue("RS-RUN-03", "The sync went on for longer than its time limit and was ended.")


def time_limit(seconds: float | None) -> timedelta:
    """The limit of a sync whose tenant's syncs usually take so many seconds; None before its first one."""
    return FIRST if seconds is None else max(LEAST, timedelta(seconds=TIMES * seconds))
