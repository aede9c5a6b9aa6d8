"""What stands in a page: which rows, their JSON and what is around them, also where that goes wrong.

Nothing here knows HTTP: `server` asks for a page's parts, with the faults that are due.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Final

import orjson

from roster_pipeline.sandbox.endpoints import Endpoint
from roster_pipeline.sandbox.misbehaviour import Misbehaviour
from roster_pipeline.sandbox.queries import Query
from roster_pipeline.sandbox.shelves import Shelf

Due = Mapping[str, Misbehaviour]


def number(due: Due, what: str, default: int) -> int:
    """The value of a fault that is due."""
    value = due[what].value
    return default if value is None else int(value)


# ---------------------------------------------------------------- which rows


def rows_of(
    shelf: Shelf, places: Sequence[int], query: Query, due: Due, seed: int, fields: tuple[str, ...]
) -> list[bytes]:
    """The rows of a page, as JSON; `places` are all rows that answer the query."""
    offset = 0 if "ignore-offset" in due else query.offset
    limit = max(len(places), 1) if "ignore-limit" in due else query.limit
    if "shuffle-pages" in due:
        # By the offset: the same page is the same when it is asked for again, and overlaps with others.
        order = list(places)
        random.Random(f"{seed}-{offset}").shuffle(order)  # noqa: S311 - repeatable on purpose
        places = order
    if offset and "shift-pages" in due:
        offset = max(0, offset + number(due, "shift-pages", 1))
    if offset and "repeat-pages" in due:
        offset = max(0, offset - limit)
    if "endless-pages" in due and places:
        rows = [_made_up(shelf, places, at, fields) for at in range(offset, offset + limit)]
    else:
        rows = shelf.json(places[offset : offset + limit], fields)
    if "no-source-ids" in due:
        every = number(due, "no-source-ids", 1)
        rows = [row if place % every else _without_source_id(row) for place, row in enumerate(rows)]
    if "huge-values" in due:
        rows = [_NAMES.sub(_longer(number(due, "huge-values", 64)), row) for row in rows]
    if "deep-nesting" in due and rows:
        levels = number(due, "deep-nesting", 100_000)
        rows = [b'{"nested":%b%b,%b' % (b"[" * levels, b"]" * levels, rows[0][1:]), *rows[1:]]
    return rows


def _made_up(shelf: Shelf, places: Sequence[int], at: int, fields: tuple[str, ...]) -> bytes:
    lap, place = divmod(at, len(places))
    row = shelf.json([places[place]], fields)[0]
    if not lap:
        return row
    members = orjson.loads(row)
    members["sourcedId"] = f"{members.get('sourcedId', '')}-{lap}"
    return orjson.dumps(members)


def _without_source_id(row: bytes) -> bytes:
    members = orjson.loads(row)
    members.pop("sourcedId", None)
    return orjson.dumps(members)


_NAMES: Final = re.compile(rb'("(?:givenName|familyName|title|name|role)":")')


def _longer(kib: int) -> bytes:
    return rb"\1" + b"x" * (1024 * kib)


# ---------------------------------------------------------------- the JSON around them


def body_of(rows: Sequence[bytes], endpoint: Endpoint, many: str, due: Due) -> bytes:
    """A page as bytes; `many` is the word for the rows."""
    if "own-wrapper" in due:
        many = str(due["own-wrapper"].value or endpoint.name)
    body = b"[%b]" % b",".join(rows)
    encoding = str(due["encoding"].value or "latin-1") if "encoding" in due else ""
    if encoding in _ESCAPES:
        body = _NAMES.sub(rb"\1" + _ESCAPES[encoding], body)
    if "bare-array" not in due:
        others = b',"warnings":[]' if "other-arrays" in due else b""
        language = _LANGUAGES.get(encoding, b"")
        body = b'{%b"%b":%b%b}' % (language, many.encode(), body, others)
    if encoding in ("utf-16", "utf-8-sig"):
        body = body.decode().encode(encoding)
    elif encoding == "latin-1":
        body = body.decode().encode("latin-1", "replace")
    if "truncated" in due:
        body = body[: len(body) // 2]
    return body


_ESCAPES: Final = {"surrogates": rb"\\ud800", "nul": rb"\\u0000"}
"""Before names, titles and roles; written for a substitution."""

_LANGUAGES: Final = {"latin-1": '"language":"Français",'.encode(), "invalid": b'"language":"\xff\xfe",'}
"""So that the page holds bytes that are no UTF-8, whatever its rows are."""


def total_of(count: int, query: Query, due: Due) -> int | None:
    """The total told where there are `count` rows; None for none."""
    if "no-counts" in due or "endless-pages" in due:
        return None
    if "wrong-total" in due:
        count += number(due, "wrong-total", 1)
    if "changing-total" in due:
        count += number(due, "changing-total", 1) * (query.offset // max(query.limit, 1))
    return max(count, 0)
