"""Removals that wait together: a school's rows of a kind, or a class's members, that would go at once.

Whether they wait is for `safeguards`, what would go for `plan`. Here is what a hold is, how it is told
from another one, what is remembered of it from sync to sync, and what a decision on it means.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from roster_pipeline.rosters import rows

if TYPE_CHECKING:
    import pandas as pd

WAITING, APPROVED, REJECTED = "waiting", "approved", "rejected"

Place = tuple[str, str, str]
"""Where removals wait: kind of row, school_id ("" for no school), class_id ("" but for a class's members)."""

REMEMBERED: Final = [
    "kind", "school_id", "class_id", "total", "why", "fingerprint", "state", "expires_on",
]  # fmt: skip
"""What a sync needs to know of the holds before it."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Removals that wait together.

    Attributes:
        kind: The published table: `people`, `classes`, `memberships` or `guardian_links`.
        code: RS-SAFE-01 to -03.
        keys: The keys of the rows that would go, in order.
        total: How many rows of the kind were published where they are, when they began to wait.
        why: The pattern that they show, in a sentence; "" for none (`suspicions`).
    """

    kind: str
    school_id: str
    class_id: str
    code: str
    keys: tuple[tuple[str, ...], ...]
    total: int
    why: str = ""

    @property
    def place(self) -> Place:
        """Where the rows are; there is one hold at a place."""
        return self.kind, self.school_id, self.class_id

    @property
    def count(self) -> int:
        """How many rows would go."""
        return len(self.keys)

    @property
    def of(self) -> int:
        """Of how many rows that is told: some may have come since the others began to wait."""
        return max(self.total, self.count)

    @property
    def fingerprint(self) -> str:
        """The same for the same rows at the same place, whichever night, and for no others."""
        text = "\x1e".join(map("\x1f".join, (self.place, *self.keys)))
        return hashlib.sha256(text.encode()).hexdigest()


def hold(place: Place, code: str, keys: Iterable[tuple[str, ...]], total: int) -> Hold:
    """A hold of these rows, whatever their order."""
    kind, school_id, class_id = place
    return Hold(kind, school_id, class_id, code, tuple(sorted(keys)), total)


@dataclass(frozen=True, slots=True)
class Known:
    """A hold as the syncs before left it, and what was decided of it."""

    total: int
    why: str
    fingerprint: str
    state: str
    expires_on: str


class Memory:
    """The holds before this sync, and what was decided of them."""

    def __init__(self, frame: pd.DataFrame, as_of: dt.date) -> None:
        """Takes `REMEMBERED` columns, all str; an approval counts until its `expires_on`, inclusive."""
        self._day = as_of.isoformat()
        self._known = {
            (row.kind, row.school_id, row.class_id): Known(
                int(row.total), row.why, row.fingerprint, row.state, row.expires_on
            )
            for row in rows.each(frame)
        }

    @property
    def places(self) -> set[Place]:
        """Where something waited."""
        return set(self._known)

    def at(self, place: Place) -> Known:
        """What waited at a place of `places`."""
        return self._known[place]

    def is_approved(self, place: Place) -> bool:
        """Whether what waited there may go tonight, if it is the same."""
        known = self._known.get(place)
        return known is not None and known.state == APPROVED and known.expires_on >= self._day

    def total(self, place: Place, now: int) -> int:
        """Of how many rows those that would go are counted: never of more than when they began to wait.

        Else what was added meanwhile would make them fewer, and one night they would go by themselves.
        """
        known = self._known.get(place)
        return min(known.total, now) if known else now

    def approves(self, found: Hold) -> bool:
        """Whether exactly these removals were approved."""
        return self.is_approved(found.place) and self._known[found.place].fingerprint == found.fingerprint

    def why(self, found: Hold) -> str | None:
        """The pattern that these removals showed when they began to wait; None for new ones."""
        known = self._known.get(found.place)
        return known.why if known and known.fingerprint == found.fingerprint else None

    def decision(self, found: Hold) -> str:
        """`rejected`; `outdated` where something else was decided on than what waits now; else ""."""
        known = self._known.get(found.place)
        if known is None or known.state == WAITING:
            return ""
        if known.fingerprint != found.fingerprint:
            return "outdated"
        return REJECTED if known.state == REJECTED else "outdated"
