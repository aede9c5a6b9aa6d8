"""Columns as Arrow has them: how whole tables are compared and loaded without a Python object a cell.

A large tenant has millions of memberships; a tuple for each costs more than everything else that is done with
them. A column may be str, categorical or of integers; what is told of rows here is the same for all three.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

_LARGEST: Final = 2**62
"""How large a number may grow that stands for several columns' values."""


def as_arrow(values: pd.Series) -> Any:
    """The column as Arrow has it, not copied where pandas keeps it there; categories as a dictionary."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        codes = values.cat.codes.to_numpy()
        names = _one(pa.array(values.cat.categories.array, from_pandas=True))
        return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), names)
    return pa.array(values.array, from_pandas=True)


def as_text(values: pd.Series) -> Any:
    """The column as Arrow has it, of text and in one piece."""
    return _one(as_arrow(values).cast(pa.large_string()))


def numbered(frames: Sequence[pd.DataFrame], names: Sequence[str]) -> list[np.ndarray]:
    """A number for every row of every frame, int64: equal where the values of all of `names` are.

    Two numbers say nothing but whether rows are equal: they are made anew each time.
    """
    found, count = [np.zeros(len(frame), dtype=np.int64) for frame in frames], 1
    for name in names:
        more, different = _numbered([frame[name] for frame in frames])
        if count * different > _LARGEST:
            met, every = np.unique(np.concatenate(found), return_inverse=True)
            found, count = _split(every, found), len(met)
        for part, codes in zip(found, more, strict=True):
            part *= different
            part += codes
        count *= different
    return found


def are_different(numbers: np.ndarray) -> bool:
    """Whether no two of the integers are the same."""
    ordered = np.sort(numbers)  # takes a third of the time in which they are hashed
    return bool((ordered[1:] != ordered[:-1]).all())


def _numbered(columns: Sequence[pd.Series]) -> tuple[list[np.ndarray], int]:
    """The values of each column as numbers from 0, the same for the same; and below what they all are."""
    if all(pd.api.types.is_integer_dtype(column.dtype) for column in columns):
        codes, met = pd.factorize(np.concatenate([column.to_numpy() for column in columns]))
        return _split(codes, columns), len(met) or 1
    if not any(isinstance(column.dtype, pd.CategoricalDtype) for column in columns):
        # All at once: the values of one column need not be looked for among those of another.
        codes, met = _encoded(pd.concat(columns) if len(columns) > 1 else columns[0])
        return _split(codes, columns), len(met) or 1
    parts, known = [], pa.array([], pa.large_string())
    for column in columns:
        codes, met = _encoded(column)
        if not len(known):  # the first column's numbers are those of its own values
            known = met
            parts.append(codes)
            continue
        place = pc.index_in(met, known)
        new = np.asarray(place.is_null())
        places = np.asarray(place.fill_null(0)).astype(np.int64)
        places[new] = len(known) + np.arange(np.count_nonzero(new))
        known = pa.concat_arrays([known, met.filter(pa.array(new))])
        parts.append(places[codes] if len(places) else codes)
    return parts, len(known) or 1


def _split(values: np.ndarray, like: Sequence[Any]) -> list[np.ndarray]:
    """The values in pieces, as long as these are."""
    return np.split(values, np.cumsum([len(part) for part in like])[:-1])


def _encoded(column: pd.Series) -> tuple[np.ndarray, Any]:
    """The column's different values, and of each row which of them it has."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes = column.cat.codes.to_numpy()
        if codes.min(initial=0) >= 0:
            return codes, _one(pa.array(column.cat.categories.array, from_pandas=True)).cast(
                pa.large_string()
            )
    found = as_arrow(column)
    if not pa.types.is_dictionary(found.type):
        found = found.dictionary_encode(null_encoding="encode")
    elif found.null_count:
        found = found.dictionary_decode().dictionary_encode(null_encoding="encode")
    chunks = found.chunks if isinstance(found, pa.ChunkedArray) else [found]
    if not chunks:
        return np.zeros(0, dtype=np.int64), pa.array([], pa.large_string())
    codes = np.concatenate([np.asarray(chunk.indices) for chunk in chunks])
    return codes, chunks[-1].dictionary.cast(pa.large_string())


def _one(values: Any) -> Any:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def differ(one: pd.Series, other: pd.Series) -> np.ndarray:
    """Whether the two columns differ, row by row."""
    if isinstance(one.dtype, pd.CategoricalDtype) or isinstance(other.dtype, pd.CategoricalDtype):
        (left, right), _ = _numbered([one, other])
        return np.asarray(left != right)
    return np.asarray(one.array != other.array, dtype=bool)
