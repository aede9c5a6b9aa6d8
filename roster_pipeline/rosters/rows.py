"""What holds of the rows of every collection: one row an id, none that is deleted, dates read.

Rules about particular collections are in `current`.
"""

from __future__ import annotations

import datetime as dt
from collections import namedtuple
from functools import cache
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pandas.api.types import union_categoricals

from roster_pipeline.oneroster import vocabulary
from roster_pipeline.rosters import columns

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

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
    codes, names = reason_codes(frame)
    return pd.Series(pd.array(names, dtype="str").take(codes), index=frame.index)


def reason_codes(frame: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """`reasons` as places (int8) in a list of them, of which "" is the first."""
    names = ["", NO_ID, DUPLICATE, DELETED, FORGOTTEN]
    code = np.zeros(len(frame), dtype="int8")
    status, ids = frame["status"], frame["sourcedId"]
    met = status.unique().tolist()
    deleted = {value for value in met if vocabulary.is_deleted(value)}
    if deleted:
        code[among(status, deleted).to_numpy()] = names.index(DELETED)
    if not are_unique(ids):
        is_repeated = ids.duplicated(keep=False).to_numpy()
        places = np.flatnonzero(is_repeated)
        repeated = frame[is_repeated].astype("str").reset_index(drop=True)
        order = repeated.sort_values(
            ["dateLastModified", *[name for name in frame.columns if name != "dateLastModified"]],
            ascending=False,
        )
        older = order.index[order["sourcedId"].duplicated(keep="first")]
        code[places[older]] = names.index(DUPLICATE)
    code[(ids == "").to_numpy(dtype=bool)] = names.index(NO_ID)
    if BLANKED in met:
        code[(status == BLANKED).to_numpy(dtype=bool)] = names.index(FORGOTTEN)
    return code, names


def are_unique(ids: pd.Series) -> bool:
    """Whether no two are the same; of ids in order, as most servers send them, nothing is remembered."""
    told = pa.array(ids, type=pa.large_string()) if len(ids) else pa.array([], pa.large_string())
    if isinstance(told, pa.ChunkedArray):
        told = told.combine_chunks()
    if pc.all(pc.less(told.slice(0, max(len(told) - 1, 0)), told.slice(1))).as_py() is not False:
        return True
    return bool(ids.is_unique)


def mapped(values: pd.Series, function: Callable[[str], str]) -> pd.Series:
    """`function` of each value, called once for each different one; of a coded column a coded one."""
    codes, different = coded(values)
    results = [function(value) for value in different.tolist()]
    if isinstance(values.dtype, pd.CategoricalDtype):
        return decoded(codes, results, values.index, values.name)
    return pd.Series(pd.array(results, dtype="str").take(codes), index=values.index, name=values.name)


def dates(values: pd.Series) -> tuple[pd.Series, int]:
    """The ISO dates of `values` ("" where there is none), and how many could not be read."""
    codes, different = coded(values)
    unread = [value != "" and not vocabulary.date(value) for value in different.tolist()]
    count = int(taken(unread, codes).sum()) if any(unread) else 0
    return mapped(values, vocabulary.date), count


def span(begin: pd.Series, end: pd.Series) -> tuple[pd.Series, pd.Series, int, int]:
    """Begin and end as ISO dates, with the numbers of unreadable and of reversed ones.

    Where begin is after end, both are ignored (product.md, "Holidays and leaving").
    """
    first, bad_first = dates(begin)
    last, bad_last = dates(end)
    reversed_ = _is_reversed(first, last)
    turned = int(reversed_.sum())
    if turned:
        first, last = (mapped_where(one, reversed_, "") for one in (first, last))
    return first, last, bad_first + bad_last, turned


def _is_reversed(first: pd.Series, last: pd.Series) -> np.ndarray:
    """Whether a date is later than the one beside it; a missing one is neither."""
    (mine, firsts), (theirs, lasts) = coded(first), coded(last)
    one, other = firsts.tolist(), lasts.tolist()
    which, met = pd.factorize(mine.astype("int64") * max(len(other), 1) + theirs)
    turned = [
        bool(one[pair // len(other)] > other[pair % len(other)] != "") for pair in met.tolist()
    ]  # nothing is smaller than any date
    return taken(turned, which)


def within(begin: pd.Series, end: pd.Series, as_of: dt.date, *, exclusive: bool) -> pd.Series:
    """Whether `as_of` lies between the dates; a missing one does not limit (oneroster.md §7.3)."""
    has_begun = holds(begin, lambda first: day_within(first, "", as_of, exclusive=exclusive))
    has_not_ended = holds(end, lambda last: day_within("", last, as_of, exclusive=exclusive))
    return pd.Series(has_begun & has_not_ended, index=begin.index, dtype=bool)


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
    if len(frames) == 1:
        return frames[0][columns].reset_index(drop=True)
    are_coded = {
        name
        for frame in frames
        for name, kind in zip(frame.columns, frame.dtypes, strict=True)
        if isinstance(kind, pd.CategoricalDtype)
    }
    others = [name for name in columns if name not in are_coded]
    # All of these at once: for a few rows, pandas takes as long for one column as for a frame of them.
    out = pd.concat([frame[others] for frame in frames], ignore_index=True)
    if others == columns:
        return out
    found = {
        name: union_categoricals([as_coded(frame[name]).array for frame in frames])
        for name in columns
        if name in are_coded
    }
    return pd.DataFrame({name: found[name] if name in found else out[name] for name in columns})


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with str columns, coded or not; `provider_id` is int64."""
    # Most have their type already, and each that is cast is copied.
    other = {}
    for name, kind in zip(frame.columns, frame.dtypes, strict=True):
        wanted = "int64" if name == "provider_id" else "str"
        if kind != wanted and not isinstance(kind, pd.CategoricalDtype):
            other[name] = wanted
    return frame.astype(other) if other else frame


# Columns of few different values, of tables of many rows: a small integer a row, and each value once. pandas
# calls them categorical. The rules ask them for `==`, and else only what is here.


def coded(values: pd.Series) -> tuple[np.ndarray, pd.Index]:
    """A column as integers, the places of its values in the other one; not each need be there.

    They are int32: pandas keeps them as small as it can, and then one more may be too great for them.
    """
    if isinstance(values.dtype, pd.CategoricalDtype):
        return values.cat.codes.to_numpy().astype("int32", copy=False), values.cat.categories
    codes, different = pd.factorize(values)
    return codes.astype("int32", copy=False), different


def decoded(codes: np.ndarray, values: Sequence[str], index: pd.Index, name: Any = None) -> pd.Series:
    """A coded column of these values, of which several may be the same, at these places."""
    different = list(dict.fromkeys(values))
    if len(different) != len(values):
        place = {value: number for number, value in enumerate(different)}
        # pandas makes the integers small by itself.
        codes = np.array([place[value] for value in values], dtype="int32")[codes]
    names = pd.Index(different, dtype="str")
    return pd.Series(pd.Categorical.from_codes(codes, categories=names), index=index, name=name)


def as_coded(values: pd.Series) -> pd.Series:
    """The column, coded."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return values
    codes, different = coded(values)
    return decoded(codes, different.tolist(), values.index, values.name)


def holds(values: pd.Series, test: Callable[[str], bool]) -> np.ndarray:
    """Whether each value passes, asked once for each different one."""
    codes, different = coded(values)
    return taken([test(value) for value in different.tolist()], codes)


def taken(answers: Sequence[bool], codes: np.ndarray) -> np.ndarray:
    """The answer at each of these places; at -1, False."""
    found: np.ndarray = np.array([*answers, False], dtype=bool)[codes]
    return found


def mapped_where(values: pd.Series, mask: np.ndarray, value: str) -> pd.Series:
    """The column with one value where the mask is true."""
    if not isinstance(values.dtype, pd.CategoricalDtype):
        return values.mask(mask, value)
    if value not in values.cat.categories:
        values = values.cat.add_categories([value])
    codes = values.cat.codes.to_numpy(copy=True)
    codes[mask] = values.cat.categories.get_loc(value)
    return pd.Series(
        pd.Categorical.from_codes(codes, dtype=values.dtype), index=values.index, name=values.name
    )


def numbered(frame: pd.DataFrame, *names: str) -> np.ndarray:
    """A number (int64) for each row, the same where all these columns have the same values."""
    return columns.numbered([frame], names)[0]


def kinds(frame: pd.DataFrame, *names: str) -> tuple[np.ndarray, pd.DataFrame]:
    """Each combination of values that the columns have, once, in the order of the first; and where each
    row's is among them.
    """
    number, met = pd.factorize(numbered(frame, *names))
    first = np.empty(len(met), dtype="int64")
    first[number[::-1]] = np.arange(len(frame))[::-1]
    return number, frame[list(names)].iloc[first]


def counted(frame: pd.DataFrame, *names: str) -> Iterator[tuple[tuple[Any, ...], int]]:
    """Each combination of values that the columns have, in the order of the first, and its number of rows."""
    if not len(frame):
        return iter(())
    number, met = kinds(frame, *names)
    return zip(keys(met, *names), np.bincount(number, minlength=len(met)).tolist(), strict=True)


def are_in(frame: pd.DataFrame, other: pd.DataFrame, *names: str) -> np.ndarray:
    """Whether the values of these columns are, together, those of a row of the other frame."""
    if frame.empty or other.empty:
        return np.zeros(len(frame), dtype=bool)
    mine, theirs = columns.numbered([frame, other], names)
    found: np.ndarray = pd.Series(mine).isin(theirs).to_numpy()
    return found


def places_in(known: pd.DataFrame, wanted: pd.DataFrame) -> np.ndarray:
    """Where in `known` the row with the provider_id and source_id of each of `wanted` is; -1 for nowhere.

    No two rows of `known` have the same two.
    """
    out = np.full(len(wanted), -1)
    theirs, mine = known["provider_id"].to_numpy(), wanted["provider_id"].to_numpy()
    for who in np.unique(mine) if len(known) else ():
        at, of = np.flatnonzero(theirs == who), np.flatnonzero(mine == who)
        if len(at):
            found = places(known["source_id"].iloc[at], wanted["source_id"].iloc[of])
            out[of] = np.where(found >= 0, at[found], -1)
    return out


def places(known: pd.Series, wanted: pd.Series) -> np.ndarray:
    """Where each of `wanted` is among `known`, which are all different; -1 for nowhere."""
    found = pc.index_in(columns.as_text(wanted), columns.as_text(known))
    return np.asarray(found.fill_null(-1)).astype("int64")


_AT_ONCE = 50_000
"""How many rows are Python objects at one time, while a frame is gone through."""


def keys(frame: pd.DataFrame, *columns: str) -> Iterator[tuple[Any, ...]]:
    """The values of some columns, a tuple a row."""
    if not len(frame):  # on most nights, many a table is: no column is worth looking at
        return iter(())
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


def among(values: pd.Series, wanted: Collection[Any]) -> pd.Series:
    """Whether each value is one of `wanted` (a set or a mapping)."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return pd.Series(holds(values, wanted.__contains__), index=values.index, dtype=bool)
    # Most nights nobody waits, nobody is joined, and nothing is frozen.
    found = map(wanted.__contains__, values.tolist()) if wanted else repeat(False, len(values))
    return pd.Series(np.fromiter(found, bool, len(values)), index=values.index)


def where(frame: pd.DataFrame, mask: np.ndarray) -> pd.DataFrame:
    """`frame[mask]`; on most nights none of the rows or all of them, which costs nothing to take."""
    if mask.all():
        return frame
    return frame[mask] if mask.any() else frame.iloc[:0]
