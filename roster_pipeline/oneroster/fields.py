"""How long the values of a row may be, and which signs they may hold.

What is longer than any real value is left out and counted, never cut: half an id would be another's. A
collection of which values were left out is not proven complete (`RS-ROW-06`). The limits keep a value from
filling memory, an index of the database (PostgreSQL refuses keys of more than 2,700 bytes) or a terminal.
"""

from __future__ import annotations

import re
import sys
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from roster_pipeline.oneroster.collections import LISTS

LONGEST_ID: Final = 255
"""Characters of an id, of a role, and of each entry of a list: what the CSV binding allows an id."""
LONGEST_TEXT: Final = 4096
"""Bytes of a name, a title, an address or any other text."""
LONGEST_LIST: Final = 131_072
"""Bytes of a whole list as JSON: somebody with a role at more than two thousand schools."""

_IDS: Final = frozenset({
    "sourcedId", "id", "parent", "org", "course", "school", "user", "class", "schoolYear", "role",
})  # fmt: skip
_LISTS: Final = frozenset().union(*LISTS.values())
_ESCAPED: Final = re.compile(rb"\\(?:u00[01789]|[bfnrt])")
_CONTROLS: Final = bytes([*range(0x20), 0x7F])


def may_be_too_long(values: pa.StringArray) -> bool:
    """Whether any value is longer than the smallest of the limits: hardly ever, and quickly told."""
    longest: int | None = pc.max(pc.binary_length(values)).as_py()
    return longest is not None and longest > LONGEST_ID


def bounded(table: pa.Table) -> tuple[pa.Table, int]:
    """An all-string table with "" in place of the values that are too long, and how many those were."""
    left_out, columns = 0, []
    for name, values in zip(table.column_names, table.columns, strict=True):
        if may_be_too_long(values):
            fits = _fits(name, values)
            left_out += len(values) - pc.sum(fits).as_py()
            values = pc.if_else(fits, values, "")
        columns.append(values)
    return (pa.table(columns, names=table.column_names) if left_out else table), left_out


def _fits(name: str, values: Any) -> Any:
    """Which values of a column are not too long; also of one that may be empty."""
    if name in _IDS:
        return pc.less_equal(pc.utf8_length(values), LONGEST_ID)
    if name not in _LISTS:
        return pc.less_equal(pc.binary_length(values), LONGEST_TEXT)
    lengths = pc.binary_length(values).to_pylist()
    return pa.array([
        length <= LONGEST_ID or (length <= LONGEST_LIST and _entries_fit(values[place].as_py()))
        for place, length in enumerate(lengths)
    ])  # fmt: skip


def _entries_fit(text: str) -> bool:
    entries = orjson.loads(text)
    return all(
        len(part) <= LONGEST_ID
        for entry in entries
        for part in (entry if isinstance(entry, list) else [entry])
    )


def may_hold_controls(json: bytes) -> bool:
    """Whether JSON may hold control characters: a quick look that misses none, and is wrong at times."""
    # The first costs next to nothing.
    escaped = b"\\" in json and _ESCAPED.search(json) is not None
    return escaped or b"\x7f" in json or b"\xc2" in json


def without_controls(table: pa.Table) -> pa.Table:
    """The table with a blank in place of control characters and line ends: a terminal would obey them."""
    columns = [
        # In a list they are JSON's escapes, and no terminal sees those.
        values if name in _LISTS or not _may_hold_controls(values) else _blanked(values)
        for name, values in zip(table.column_names, table.columns, strict=True)
    ]
    return pa.table(columns, names=table.column_names)


def _may_hold_controls(values: pa.ChunkedArray) -> bool:
    for chunk in values.chunks:
        text = _bytes_of(chunk)
        if b"\xc2" in text or len(text.translate(None, _CONTROLS)) < len(text):
            return True
    return False


def _bytes_of(values: pa.StringArray) -> bytes:
    """The values one after the other, without those of other columns that share the memory."""
    _, ends, data = values.buffers()
    if data is None or not len(values):
        return b""
    first, last = (
        int.from_bytes(ends.slice(4 * place, 4).to_pybytes(), sys.byteorder)
        for place in (values.offset, values.offset + len(values))
    )
    text: bytes = data.slice(first, last - first).to_pybytes()
    return text


def _blanked(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.utf8_trim_whitespace(pc.replace_substring_regex(values, r"\p{Cc}+", " "))
