"""What differs between the roster as published and as planned: added, updated, removed rows.

First sync, changed sync and unchanged sync are all this one comparison.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pandas as pd

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
        return {"added": len(self.added), "updated": len(self.updated), "removed": len(self.removed)}


def compare(name: str, before: pd.DataFrame, after: pd.DataFrame) -> Changes:
    """What turns `before` (live rows) into `after`; columns of `after` decide what is compared."""
    old_keys, new_keys = _index(before, KEYS[name]), _index(after, KEYS[name])
    place = old_keys.get_indexer(new_keys)
    is_new = place < 0
    differs = pd.Series(False, index=after.index)
    known = after[~is_new]
    matching = before.iloc[place[~is_new]]
    for column in after.columns:
        differs.loc[known.index] |= known[column].to_numpy() != matching[column].to_numpy()
    return Changes(
        added=after[is_new],
        updated=after[differs],
        removed=before[~old_keys.isin(new_keys)],
    )


def _index(frame: pd.DataFrame, keys: list[str]) -> pd.Index:
    if len(keys) == 1:
        return pd.Index(frame[keys[0]])
    joined = frame[keys[0]].astype("str")
    for key in keys[1:]:
        joined = joined + "\x1f" + frame[key]
    return pd.Index(joined)
