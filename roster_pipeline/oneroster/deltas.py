"""Reading only what changed: what is asked for, how it joins an earlier extract, and whether that was right.

A server that filters by `dateLastModified` gives the rows that were changed since a moment. Joined with an
earlier extract by their ids they are the whole collection, if the server tells of every change. Servers do
not: rows go without a tombstone, changes leave the date as it was, clocks and time zones differ, exports lag
behind. So changes are asked for from well before the newest that is known, twice given rows are harmless, and
`drift` counts what a full reading shows that the joined rows do not.

Everything here goes through the rows in the order of their ids, some at a time. A collection whose rows do
not stand in such an order has no deltas; that they do also means that each has an id of its own. Rows that
were blanked (`rosters.forgotten`) have ids that begin with a blank, as none from outside does: they stay
behind the row that they stood behind.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import chain
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from roster_pipeline.oneroster import vocabulary
from roster_pipeline.oneroster.resuming import ORDERS, Order, orders_of

OVERLAP: Final = dt.timedelta(hours=24)
"""From how long before the newest known change on is asked: more than any two time zones are apart, so that
servers which tell local time for UTC, or compare days alone, leave nothing out."""

LOOKED_AT: Final = ("sourcedId", "status", "dateLastModified")
"""The columns from which a `Survey` is made."""

Groups = Callable[[tuple[str, ...] | None], Iterator[pa.Table]]
"""Gives an extract's rows, some at a time: these columns, or all."""


# ------------------------------------------------------------------------------------------------ times


def as_filter(since: dt.datetime) -> str:
    """The filter for what changed since `since` (aware): UTC, with milliseconds and Z."""
    since = since.astimezone(dt.UTC)
    return f"dateLastModified>='{since:%Y-%m-%dT%H:%M:%S}.{since.microsecond // 1000:03}Z'"


def moment(text: str) -> dt.datetime | None:
    """A `dateLastModified` to the second, taken for UTC whatever zone it names; None if it is none."""
    try:
        return dt.datetime.fromisoformat(text.strip()[:19]).replace(tzinfo=dt.UTC)
    except ValueError:
        return None


def cursor(newest: str, clock: dt.datetime | None) -> dt.datetime | None:
    """How far the changes are known: by the newest row, but never later than the source's clock.

    The clock alone would not do: where the source is itself an export, changes come with dates that are
    older than it. None if `newest` is no time.
    """
    by_rows = moment(newest)
    return min(by_rows, clock) if by_rows and clock else by_rows


def honours(changes: pa.Table, asked: dt.datetime) -> bool:
    """Whether all rows are of the day that was asked for or later, a day more for local time."""
    oldest = pc.min(pc.utf8_slice_codeunits(changes["dateLastModified"], 0, 10)).as_py()
    return oldest is None or oldest >= (asked - dt.timedelta(days=1)).date().isoformat()


# --------------------------------------------------------------------------------------- what is there


@dataclass(slots=True)
class Survey:
    """What must be known of rows before anything is joined with them."""

    rows: int = 0
    orders: tuple[Order, ...] = ORDERS
    """All orders in which each id stands behind the one before it."""
    newest: str = ""
    """The greatest `dateLastModified`, as text to the second."""
    undated: int = 0
    """Rows without a `dateLastModified`."""
    deleted: int = 0
    """Tombstones."""
    again: int = 0
    """Rows whose ids are among those to find again."""

    @classmethod
    def of(cls, groups: Iterable[pa.Table], ids: pa.Array | None = None) -> Survey:
        """Looks through rows, of which the columns `LOOKED_AT` are needed; `ids` are those to find again."""
        found, last = cls(), ""
        for group in groups:
            found.rows += group.num_rows
            speaking = _speaking(group)
            if not speaking.num_rows:
                continue
            names = speaking["sourcedId"].to_pylist()
            if not last and not names[0]:
                found.orders = ()  # "" stands behind nothing: whose row it is cannot be told
            found.orders = orders_of([last, *names] if last else names, found.orders)
            last = names[-1]
            dates = pc.utf8_slice_codeunits(speaking["dateLastModified"], 0, 19)
            found.newest = max(found.newest, pc.max(dates).as_py())
            found.undated += pc.sum(pc.equal(dates, "")).as_py()
            found.deleted += pc.sum(_deleted(speaking)).as_py()
            if ids is not None:
                found.again += pc.sum(pc.is_in(speaking["sourcedId"], value_set=ids)).as_py()
        return found


def _speaking(table: pa.Table) -> pa.Table:
    """The rows that were not blanked."""
    blank = pc.starts_with(table["sourcedId"], " ")
    return table.filter(pc.invert(blank)) if pc.any(blank).as_py() else table


def _deleted(table: pa.Table) -> Any:
    met = [status for status in pc.unique(table["status"]).to_pylist() if vocabulary.is_deleted(status)]
    return pc.is_in(table["status"], value_set=pa.array(met, pa.string()))


# -------------------------------------------------------------------------------------------- joining


@dataclass(slots=True)
class Joined:
    """An earlier extract with the rows that changed since, in the order in which a full reading has them.

    Attributes:
        rows: How many there are.
        order: By what they are sorted.
        newest: The greatest `dateLastModified` among them, as text to the second.
        new: How many of the rows given had not been there; known when `pages` is through, as is `other`.
        other: How many had said something else.
    """

    rows: int
    order: Order
    newest: str
    _earlier: Groups
    _changes: pa.Table
    _without_deleted: bool = False
    new: int = field(default=0, init=False)
    other: int = field(default=0, init=False)

    def pages(self) -> Iterator[pa.Table]:
        """The rows, some at a time; each time from the start."""
        self.new = self.other = 0
        keys, at = self.order(self._changes["sourcedId"].to_pylist()), 0
        for group in self._earlier(None):
            ids = group["sourcedId"].to_pylist() if at < len(keys) else []
            last = next((one for one in reversed(ids) if not one.startswith(" ")), "")
            end = bisect_right(keys, self.order([last])[0], at) if last else at
            yield from self._page(self._with(group, ids, keys, at, end) if end > at else group)
            at = end
        self.new += len(keys) - at
        yield from self._page(self._changes.slice(at))

    def _with(self, group: pa.Table, ids: list[str], keys: Sequence[Any], at: int, end: int) -> pa.Table:
        """A group with the changes from `at` to `end` in it."""
        changes = self._changes.slice(at, end - at)
        speaking = [place for place, one in enumerate(ids) if not one.startswith(" ")]
        there = self.order([ids[place] for place in speaking])
        places = np.arange(len(ids))
        fresh: list[tuple[int, int]] = []
        again: list[tuple[int, int]] = []
        for number, (key, one) in enumerate(zip(keys[at:end], changes["sourcedId"].to_pylist(), strict=True)):
            # There is always one: the last id of the group is not before any of these.
            place = speaking[bisect_left(there, key)]
            # An order may take two ids for one: without capitals, or as numbers.
            (again if ids[place] == one else fresh).append((place, number))
        if again:
            rows, others = zip(*again, strict=True)
            self.other += _differing(group.take(rows), changes.take(others))
            places[list(rows)] = np.add(others, len(ids))
        if fresh:
            before, others = zip(*fresh, strict=True)
            self.new += len(fresh)
            places = np.insert(places, before, np.add(others, len(ids)))
        return pa.concat_tables([group, changes]).take(pa.array(places)).combine_chunks()

    def _page(self, page: pa.Table) -> Iterator[pa.Table]:
        if self._without_deleted:
            page = page.filter(pc.invert(_deleted(page)))
        if page.num_rows:
            yield page


def joined(earlier: Groups, changes: pa.Table, total: int) -> Joined | str:
    """An earlier extract with its changes, all in the order of their ids; a text that says why not.

    Whether tombstones are among a collection's rows differs: where the earlier extract has none, and the
    rows come to `total` without them, they are left out. Rows that come to another number are joined as
    well, for whoever counts the drift; whether they do is for the caller.
    """
    given = Survey.of([changes])
    if not given.orders:
        return "The rows that changed did not come in the order of their ids."
    held = Survey.of(earlier(LOOKED_AT), pa.array(changes["sourcedId"].to_pylist(), pa.string()))
    orders = orders_of(changes["sourcedId"].to_pylist(), held.orders)
    if not orders:
        return "Its rows do not stand in the order of their ids."
    rows, deleted = held.rows + given.rows - held.again, given.deleted
    without = not held.deleted and rows - deleted == total
    return Joined(
        rows - deleted if without else rows,
        orders[0],
        max(held.newest, given.newest),
        earlier,
        changes,
        without,
    )


def _differing(one: pa.Table, other: pa.Table) -> int:
    """How many of two tables' rows differ, beside each other."""
    unequal = (pc.not_equal(one[name], other[name]) for name in one.column_names)
    return int(pc.sum(reduce(pc.or_, unequal)).as_py() or 0)


# ---------------------------------------------------------------------------------------------- drift


@dataclass(frozen=True, slots=True)
class Drift:
    """How joined rows differ from those of a full reading: how many lack, are too many, or say otherwise."""

    missing: int = 0
    extra: int = 0
    different: int = 0

    @property
    def rows(self) -> int:
        """All of them."""
        return self.missing + self.extra + self.different

    def __str__(self) -> str:
        """For people."""
        told = (
            (self.missing, "missing"),
            (self.extra, "too many"),
            (self.different, "different"),
        )
        return ", ".join(f"{number} {what}" for number, what in told if number) or "none"


def drift(
    merged: Iterable[pa.Table], full: Iterable[pa.Table], order: Order, until: dt.datetime | None
) -> Drift:
    """Compares joined rows with a full reading's, both sorted by `order`.

    What the full reading shows to have changed from `until` on, when the changes were already asked for, is
    passed over, and so is a tombstone that was cleared away: it says nothing any more.
    """
    latest = f"{until:%Y-%m-%dT%H:%M:%S}" if until else "~"
    rest = _Rest(filter(len, map(_speaking, full)), order)
    missing = extra = different = 0
    for group in chain(filter(len, map(_speaking, merged)), [None]):
        window = rest.up_to(None if group is None else group["sourcedId"][-1].as_py())
        if group is not None and window is not None and window.equals(group):
            continue
        ours, theirs = _by_id(group), _by_id(window)
        for one, row in theirs.items():
            if row["dateLastModified"][:19].replace(" ", "T") >= latest:
                ours.pop(one, None)
            elif one not in ours:
                missing += 1
            elif ours.pop(one) != row:
                different += 1
        extra += sum(not vocabulary.is_deleted(row["status"]) for row in ours.values())
    return Drift(missing, extra, different)


def _by_id(table: pa.Table | None) -> dict[str, dict[str, str]]:
    return {row["sourcedId"]: row for row in table.to_pylist()} if table is not None else {}


class _Rest:
    """Sorted rows that come in groups, taken off from the front up to an id."""

    def __init__(self, groups: Iterable[pa.Table], order: Order) -> None:
        self._groups, self._order = iter(groups), order
        self._first: pa.Table | None = None

    def up_to(self, last: str | None) -> pa.Table | None:
        """The rows not behind `last` that were not taken yet, all of them for None; None for no rows."""
        taken: list[pa.Table] = []
        while True:
            if self._first is None:
                self._first = next(self._groups, None)
            if self._first is None:
                break
            end = self._first.num_rows
            if last is not None:
                keys = self._order([*self._first["sourcedId"].to_pylist(), last])
                end = bisect_right(keys, keys[-1], 0, end)
            taken.append(self._first.slice(0, end))
            if end < self._first.num_rows:
                self._first = self._first.slice(end)
                break
            self._first = None
        found = pa.concat_tables(taken) if taken else None
        return found if found is not None and found.num_rows else None
