"""What differs between the roster as published and as planned: added, updated, removed rows.

First sync, changed sync and unchanged sync are all this one comparison.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from roster_pipeline.rosters import rows

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
    """What turns `before` (live rows) into `after`; columns of `after` decide what is compared."""
    old_keys, new_keys = _index(before, KEYS[name]), _index(after, KEYS[name])
    place = old_keys.get_indexer(new_keys)
    is_new = place < 0
    known, matching = _where(after, ~is_new), before.iloc[place[~is_new]]
    differs = np.zeros(len(known), dtype=bool)
    for column in after.columns:
        differs |= np.asarray(known[column].array != matching[column].array, dtype=bool)
    return Changes(
        added=_where(after, is_new),
        updated=_where(known, differs),
        removed=_where(before, new_keys.get_indexer(old_keys) < 0),
    )


def _where(frame: pd.DataFrame, mask: np.ndarray) -> pd.DataFrame:
    """`frame[mask]`; on most nights none of the rows or all of them, which costs nothing to take."""
    if mask.all():
        return frame
    return frame[mask] if mask.any() else frame.iloc[:0]


def _index(frame: pd.DataFrame, keys: list[str]) -> pd.Index:
    """The rows' keys, hashable; as Python objects, which index faster than Arrow's strings."""
    values = frame[keys[0]].tolist() if len(keys) == 1 else list(rows.keys(frame, *keys))
    return pd.Index(values, dtype=object, tupleize_cols=False)
