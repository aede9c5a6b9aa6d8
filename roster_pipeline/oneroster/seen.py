"""Which ids came, as hashes of eight bytes: the memory of a reading hardly grows with its rows.

While ids ascend none of them can come twice, and the hashes are only put by for later. Once they do not, each
page is looked up among them.

Two ids may share a hash: among ten million, once in some hundred thousand readings. Where ids ascend nothing
comes of it; elsewhere a row seems to have come twice. There are then fewer different rows than the server
counts, or rows that came twice where it counts none: the collection is read again, with other hashes
(`salt`), so that both readings do not agree because of the same accident. What one accident could hide is a
single row behind the last one that the server counts, if its count is wrong: once in a million million such
readings.

The hash is Python's own of a text, whose key each process draws for itself: nobody can send ids that collide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from roster_pipeline.oneroster.resuming import ORDERS, Order, orders_of

Hashes = np.ndarray[Any, np.dtype[np.int64]]

_RECENT: Final = 65_536
"""Hashes that are kept apart until it is worth while to sort them in."""


class Ids:
    """A set of ids; "" is none, and is passed over. `salt` makes their hashes others."""

    def __init__(self, salt: str = "") -> None:
        self._salt = salt
        self.orders: tuple[Order, ...] = ORDERS
        """All orders in which each id so far stands behind the one that came before it."""
        self.last = ""
        """The one that came last, as long as there is such an order."""
        self.mark = 0
        """A number that tells one set of ids from another, whatever their order and the salt."""
        self._count = 0
        self._put_by: list[Hashes] = []
        self._sorted: Hashes = np.empty(0, np.int64)
        self._recent: set[int] = set()

    def __len__(self) -> int:
        return self._count

    def add(self, ids: Sequence[str]) -> tuple[int, int]:
        """Takes in a page's ids: how many different ones are new, and how many had come before."""
        ids = list(filter(None, ids))
        if not ids:
            return 0, 0
        marks = _hashes(ids)
        hashes = _hashes([self._salt + one for one in ids]) if self._salt else marks
        self.orders = self._still(ids)
        if self.orders:
            self.last = ids[-1]
            self._put_by.append(hashes)
            return self._took(marks), 0
        self._settle()
        different, places = np.unique(hashes, return_index=True)
        known = self._known(different)
        self._recent.update(different[~known].tolist())
        return self._took(marks[places[~known]]), int(np.count_nonzero(known))

    def holds_all(self, ids: Sequence[str]) -> bool:
        """Whether there is none among them that did not come; "" never came."""
        others = [one for one in ids if one != self.last or not one]
        if not others:
            return True
        if "" in others or self._still(others):
            return False
        self._settle()
        hashes = _hashes([self._salt + one for one in others])
        return bool(self._known(hashes).all())

    def forget(self) -> None:
        """Drops the ids, but for the mark and their number."""
        self._put_by, self._recent, self._sorted = [], set(), np.empty(0, np.int64)

    def _still(self, ids: list[str]) -> tuple[Order, ...]:
        """The orders in which these ids go on."""
        return orders_of([self.last, *ids] if self._count else ids, self.orders) if self.orders else ()

    def _took(self, marks: Hashes) -> int:
        self._count += len(marks)
        self.mark = (self.mark + int(marks.sum())) & (2**64 - 1)
        return len(marks)

    def _known(self, hashes: Hashes) -> Any:
        """Which of these are there."""
        recent = self._recent
        known = np.fromiter((one in recent for one in hashes.tolist()), np.bool_, len(hashes))
        if len(self._sorted):
            places = np.searchsorted(self._sorted, hashes)
            known |= self._sorted[np.minimum(places, len(self._sorted) - 1)] == hashes
        return known

    def _settle(self) -> None:
        """Sorts in what was put by, and what is recent if it is much."""
        if len(self._recent) >= _RECENT:
            self._put_by.append(np.fromiter(self._recent, np.int64, len(self._recent)))
            self._recent.clear()
        if self._put_by:
            # Twice the memory for a moment, which makes sixteen bytes an id.
            self._put_by.append(self._sorted)
            self._sorted = np.empty(0, np.int64)
            hashes = np.concatenate(self._put_by)
            self._put_by.clear()
            hashes.sort(kind="stable")  # quick where most of it is sorted
            self._sorted = hashes


def _hashes(ids: list[str]) -> Hashes:
    return np.fromiter(map(hash, ids), np.int64, len(ids))
