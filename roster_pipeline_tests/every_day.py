"""Every rule on every day on which nothing moves, and what it would have been to stand on an earlier one.

Here are the days of a tenant in memory, and the one question that is asked of them: did anything that the
rules find change while the ground of an earlier day still carried? Which dates are needed for that is in
`unit.rosters.test_unmoved`; `twins` asks it of many made-up tenants.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from roster_pipeline.rosters import unmoved
from roster_pipeline.rosters.outcome import Found
from roster_pipeline.rosters.source import Published, Tonight
from roster_pipeline_tests.rosters import Night, Story

LONG: Final = 500
"""Days; a ground ends by its dates alone."""


@dataclass
class Day:
    """What the rules were given and found on a day, and whether that was settled."""

    found: Found
    published: Published
    tonight: Tonight
    result: dict[str, Any]
    settled: bool

    def until(self, longest: int = LONG) -> dt.date:
        """When its ground ends."""
        return unmoved.until(
            unmoved.turning_days(self.found, self.published, self.tonight), self.tonight.as_of, longest
        )


def days_of(tenant: Story, count: int) -> list[Day]:
    """So many days, one after the other; what each finds is published for the next."""
    out = []
    for _ in range(count):
        night = tenant.night()
        learned = any(
            not getattr(night.before, name).equals(getattr(night.published, name))
            for name in ("school_sources", "enrolled", "left")
        )
        settled = not learned and unmoved.is_settled(night.report, night.found, night.changed, night.before)
        out.append(Day(night.found, night.before, night.tonight, _result(night), settled))
    return out


def _result(night: Night) -> dict[str, Any]:
    """All that the rules found, but for the date of the schools' states and what is new since yesterday."""
    found = night.found
    parts = (found.schools, found.sessions, found.current, found.completeness, found.identities, found.roster)
    out: dict[str, Any] = {"report": {**night.report, "changes": {}}}
    for part in parts:
        for name in part.__dataclass_fields__:
            value = getattr(part, name)
            out[f"{type(part).__name__}.{name}"] = (
                _records(value) if isinstance(value, pd.DataFrame) else str(value)
            )
    out["Roster.tables"] = {
        name: _records(table.drop(columns=[c for c in ("state_as_of",) if c in table]))
        for name, table in found.roster.tables.items()
    }
    return out


def _records(frame: pd.DataFrame) -> list[str]:
    return sorted(map(str, frame.to_dict("records")))


def moved_unseen(days: list[Day]) -> list[str]:
    """The days on which a rule found something else although the ground still carried."""
    wrong = []
    for place, day in enumerate(days):
        if not day.settled:
            continue
        until = day.until()
        for later in days[place + 1 :]:
            if later.tonight.as_of >= until:
                break
            if later.result != day.result:
                what = [name for name in day.result if day.result[name] != later.result[name]]
                wrong.append(f"{day.tonight.day} carried until {until}; on {later.tonight.day} {what} moved")
                break
    return wrong
