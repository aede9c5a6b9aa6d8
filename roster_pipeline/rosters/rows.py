"""What holds of the rows of every collection: one row an id, none that is deleted, dates read.

Rules about particular collections are in `current`.
"""

from __future__ import annotations

import datetime as dt
from collections import namedtuple
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any

import orjson
import pandas as pd

from roster_pipeline.oneroster import vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

NO_ID, DUPLICATE, DELETED, FORGOTTEN = "no_id", "duplicate", "deleted", "forgotten"

BLANKED = " forgotten"
"""The status of a row that says nothing any more, because whose it was is forgotten. No source can send it:
what is read is trimmed."""

NAMELESS = frozenset({NO_ID, DUPLICATE, FORGOTTEN})
"""The reasons of rows that stand for nobody: they have no id that is theirs alone."""


def reasons(frame: pd.DataFrame) -> pd.Series:
    """Why each row cannot be used: `no_id`, `duplicate`, `deleted`, `forgotten`, or "".

    Of rows with one sourcedId the newest counts (oneroster.md §2.2); equally new ones are ordered
    by their content, so that the order in which rows arrive decides nothing.
    """
    reason = pd.Series("", index=frame.index, dtype="str")
    status = frame["status"]
    met = status.unique().tolist()
    deleted = {value for value in met if vocabulary.is_deleted(value)}
    if deleted:
        reason[status.isin(deleted)] = DELETED
    ids = frame["sourcedId"]
    if not ids.is_unique:
        repeated = frame[ids.duplicated(keep=False)]
        order = repeated.sort_values(
            ["dateLastModified", *[name for name in frame.columns if name != "dateLastModified"]],
            ascending=False,
        )
        reason[order.index[order["sourcedId"].duplicated(keep="first")]] = DUPLICATE
    reason[ids == ""] = NO_ID
    if BLANKED in met:
        reason[status == BLANKED] = FORGOTTEN
    return reason


def mapped(values: pd.Series, function: Callable[[str], str]) -> pd.Series:
    """`function` of each value, called once for each different one."""
    codes, different = pd.factorize(values)
    table = pd.array([function(value) for value in different.tolist()], dtype="str")
    return pd.Series(table.take(codes), index=values.index, name=values.name)


def dates(values: pd.Series) -> tuple[pd.Series, int]:
    """The ISO dates of `values` ("" where there is none), and how many could not be read."""
    read = mapped(values, vocabulary.date)
    return read, int(((read == "") & (values != "")).sum())


def span(begin: pd.Series, end: pd.Series) -> tuple[pd.Series, pd.Series, int, int]:
    """Begin and end as ISO dates, with the numbers of unreadable and of reversed ones.

    Where begin is after end, both are ignored (product.md, "Holidays and leaving").
    """
    first, bad_first = dates(begin)
    last, bad_last = dates(end)
    reversed_ = (first != "") & (last != "") & (first > last)
    return first.mask(reversed_, ""), last.mask(reversed_, ""), bad_first + bad_last, int(reversed_.sum())


def within(begin: pd.Series, end: pd.Series, as_of: dt.date, *, exclusive: bool) -> pd.Series:
    """Whether `as_of` lies between the dates; a missing one does not limit (oneroster.md §7.3)."""
    day = as_of.isoformat()
    after = (end != "") & ((end <= day) if exclusive else (end < day))
    return ((begin == "") | (begin <= day)) & ~after


def day_within(begin: str, end: str, as_of: dt.date, *, exclusive: bool) -> bool:
    """`within`, for one pair of ISO dates."""
    day = as_of.isoformat()
    return not (begin and begin > day) and not (end and (end <= day if exclusive else end < day))


def parse_list(text: str) -> list[Any]:
    """A list column's value; "" is the empty list."""
    return orjson.loads(text) if text else []


def as_list(values: list[Any]) -> str:
    """A list as a column's value."""
    return orjson.dumps(values).decode() if values else ""


# Going through a frame row by row. A string column gives its values ten times faster as one list
# than one by one, and `Series.isin` builds an Arrow table of what it is given: with hundreds of
# thousands of rows, these are most of what the rules cost.


def stacked(frames: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    """The frames below each other, with these columns; an empty frame of them where there is none."""
    if not frames:
        return pd.DataFrame(
            {name: pd.Series(dtype="int64" if name == "provider_id" else "str") for name in columns}
        )
    return pd.concat(frames, ignore_index=True)[columns]


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with str columns; `provider_id` is int64."""
    types = {name: "int64" if name == "provider_id" else "str" for name in frame.columns}
    # Most have their type already, and each that is cast is copied.
    other = {name: kind for name, kind in types.items() if frame[name].dtype != kind}
    return frame.astype(other) if other else frame


_AT_ONCE = 50_000
"""How many rows are Python objects at one time, while a frame is gone through."""


def keys(frame: pd.DataFrame, *columns: str) -> Iterator[tuple[Any, ...]]:
    """The values of some columns, a tuple a row."""
    if len(frame) <= _AT_ONCE:
        return zip(*(frame[name].tolist() for name in columns), strict=True)
    chosen = [frame[name] for name in columns]
    return chain.from_iterable(
        zip(*(values.iloc[first : first + _AT_ONCE].tolist() for values in chosen), strict=True)
        for first in range(0, len(frame), _AT_ONCE)
    )


def each(frame: pd.DataFrame) -> Iterator[Any]:
    """The rows, with the columns as attributes."""
    return map(_row(*frame.columns)._make, keys(frame, *frame.columns))


@cache  # making a class takes longer than going through a small school's rows
def _row(*columns: str) -> Any:
    return namedtuple("row", columns)


def records(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The rows as mappings of column to value."""
    names = list(frame.columns)
    return (dict(zip(names, values, strict=True)) for values in keys(frame, *names))


def among(values: pd.Series, wanted: Container[Any]) -> pd.Series:
    """Whether each value is one of `wanted` (a set or a mapping)."""
    return pd.Series([value in wanted for value in values.tolist()], index=values.index, dtype=bool)


def without(frame: pd.DataFrame, known: Container[Any], *columns: str) -> pd.DataFrame:
    """The rows whose values of `columns`, as a tuple, are not in `known`."""
    return frame[
        pd.Series([key not in known for key in keys(frame, *columns)], index=frame.index, dtype=bool)
    ]
