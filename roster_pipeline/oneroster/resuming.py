"""Going on with a reading that was interrupted: what must be known of it, and why no row is missed.

Pages are asked for by offset, so a row is missed if it moves from behind the place where the reading stopped
to before it. It cannot where the server sorts by `sourcedId`, which never changes, and the row before that
place still stands there: whatever came or went before it is then as many, and whatever was behind it still
is. That the server sorts is seen from the ids themselves, and from the last one being first when they are
asked for downwards; an order that only looks like one (of insertion) does not turn round.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, Protocol

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Bookmark:
    """Where a reading stood after a page, all of whose rows so far were different and had ids.

    `first` and `last` are the rows of the first page and of that page, `total` and `revision` what the
    server told with both. `source` is whom it asked, and how.
    """

    source: str
    endpoint: str
    limit: int
    offset: int
    pages: int
    first: int
    last: int
    total: int | None
    revision: str | None

    def as_json(self) -> dict[str, Any]:
        """For `of`."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of(cls, told: dict[str, Any]) -> Bookmark | None:
        """The bookmark that was written down; None if another release wrote something else."""
        return cls(**told) if set(told) == {field.name for field in fields(cls)} else None


class Unfinished(Protocol):
    """What an earlier reading left. Its methods raise `CodedError` where that is damaged."""

    @property
    def bookmark(self) -> dict[str, Any]:
        """As JSON."""

    @property
    def began_at(self) -> datetime:
        """When its first row was read."""

    @property
    def finished(self) -> bool:
        """Whether it had come to the end of the collection."""

    def head(self, rows: int) -> pa.Table:
        """Its first rows."""

    def tail(self, rows: int) -> pa.Table:
        """Its last rows."""

    def ids(self) -> Iterator[list[str]]:
        """All ids, in their order, some at a time."""


@dataclass(frozen=True, slots=True)
class Resumption:
    """An interrupted reading, and what makes its rows this one's first."""

    interrupted: Unfinished
    bookmark: Bookmark
    go_on: Callable[[], None]


LEAST_PAGES: Final = 4
"""Going on asks for up to three pages again: with fewer than these, reading anew is as quick."""

Order = Callable[[list[str]], Sequence[Any]]
"""Gives for each id what it is sorted by; raises ValueError for ids that it cannot sort."""


def ascending(ids: Iterable[str], order: Order) -> bool:
    """Whether each id stands behind the one before it."""
    try:
        keys = order(list(ids))
    except ValueError:
        return False
    return all(map(operator.lt, keys, keys[1:]))


def _as_they_are(ids: list[str]) -> Sequence[str]:
    return ids


def _without_capitals(ids: list[str]) -> Sequence[str]:
    joined = "\0".join(ids)  # one call for all: this is asked of every page
    whole = joined.casefold()
    if whole == joined:
        return ids
    folded = whole.split("\0")
    return folded if len(folded) == len(ids) else [one.casefold() for one in ids]


def _as_numbers(ids: list[str]) -> Sequence[int]:
    text = "".join(ids)
    if ids and not (text.isascii() and text.isdigit()):
        raise ValueError
    return list(map(int, ids))


ORDERS: Final[tuple[Order, ...]] = (_as_they_are, _without_capitals, _as_numbers)
"""Servers' databases differ in what they think of capitals, and some sort numbers as numbers."""


def orders_of(ids: Sequence[str], among: tuple[Order, ...] = ORDERS) -> tuple[Order, ...]:
    """All orders that these ids are in, each behind the one before it."""
    return tuple(order for order in among if ascending(ids, order))
