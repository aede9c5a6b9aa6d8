"""What differs between the roster as published and as planned: added, updated, removed rows.

First sync, changed sync and unchanged sync are all this one comparison.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from roster_pipeline.rosters import columns, rows

KEYS: Final[dict[str, list[str]]] = {
    "schools": ["school_id"],
    "academic_sessions": ["session_id"],
    "classes": ["class_id"],
    "people": ["person_id"],
    "person_sources": ["provider_id", "source_id"],
    "memberships": ["class_id", "person_id", "role"],
    "guardian_links": ["student_id", "guardian_id"],
}

TOLD: Final = ("schools", "academic_sessions", "classes", "people", "memberships", "guardian_links")
"""The kinds whose changes a sync tells; links of users and people follow from them."""


@dataclass(frozen=True, slots=True)
class Changes:
    """The rows of one table that change; `removed` holds them as they were."""

    added: pd.DataFrame
    updated: pd.DataFrame
    removed: pd.DataFrame

    @property
    def counts(self) -> dict[str, int]:
        """How many rows of each."""
        return {"added": len(self.added), "updated": len(self.updated), "removed": len(self.removed)}


def compare(name: str, before: pd.DataFrame, after: pd.DataFrame) -> Changes:
    """What turns `before` (live rows) into `after`; columns of `after` decide what is compared.

    Columns may be str, categorical or of integers, and need not be alike on both sides.

    Raises:
        ValueError: A key comes twice on one side, and the other has rows.
    """
    if before.empty or after.empty:  # a first sync, or a table that a tenant does not use
        return Changes(added=after, updated=after.iloc[:0], removed=before)
    old, new = columns.numbered([before, after], KEYS[name])
    twice = ValueError(f"{name}: a key comes twice, and nobody can say which of the rows counts")
    if not columns.are_different(old):
        raise twice
    place = np.arange(len(old)) if np.array_equal(old, new) else pd.Index(old).get_indexer(new)
    is_new = place < 0
    known, place = rows.where(after, ~is_new), place[~is_new]
    gone = np.ones(len(before), dtype=bool)
    gone[place] = False
    # Where each key of before is met once, as many rows have met one as are not gone.
    if len(place) + np.count_nonzero(gone) != len(before) or not columns.are_different(new[is_new]):
        raise twice
    in_order = len(place) == len(before) and bool((place[:-1] < place[1:]).all())
    differs = np.zeros(len(known), dtype=bool)
    for column in after.columns.difference(KEYS[name]):  # one at a time: side by side would be all once more
        matching = before[column] if in_order else before[column].take(place)
        differs |= columns.differ(known[column], matching)
    return Changes(
        added=rows.where(after, is_new), updated=rows.where(known, differs), removed=rows.where(before, gone)
    )


def not_in(frame: pd.DataFrame, before: pd.DataFrame) -> pd.DataFrame:
    """The rows of `frame` that are not in `before`, each once; the columns of `frame` are compared."""
    if frame.empty:
        return frame
    old, new = columns.numbered([before, frame], list(frame.columns))
    return rows.where(frame, ~(pd.Series(new).duplicated().to_numpy() | pd.Index(new).isin(old)))
