"""The parameters of a collection request: limit, offset, sort, orderBy, filter, fields.

`parse` reads and refuses them; `chosen` applies filter and sort to rows. Paging and answering are
the server's.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from roster_pipeline.sandbox.flavours import Version
from roster_pipeline.sandbox.misbehaviour import Misbehaviour
from roster_pipeline.sandbox.rows import MODIFIED, SHAPES
from roster_pipeline.sandbox.source import Row

DEFAULT_LIMIT: Final = 100


class RejectedError(Exception):
    """A parameter that the server does not accept: answered with 400 and `minor` as the minor code."""

    def __init__(self, minor: str, description: str) -> None:
        super().__init__(description)
        self.minor = minor
        self.description = description


@dataclass(frozen=True, slots=True)
class Query:
    """One request's parameters. `limit` is already clamped to the server's cap; `fields` empty means all."""

    limit: int
    offset: int
    filter: str
    sort: str
    descending: bool
    fields: tuple[str, ...]


_CLAUSE: Final = r"([A-Za-z][A-Za-z.]*)\s*(!=|>=|<=|=|>|<|~)\s*'([^']*)'"
_FILTER: Final = re.compile(rf"\s*{_CLAUSE}(?:\s+(AND|OR)\s+{_CLAUSE})?\s*", re.IGNORECASE)
_WHOLE: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_COMPARED: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


def parse(given: Sequence[tuple[str, str]], version: Version, collection: str, cap: int) -> Query:
    """Read a request's parameters. Unknown ones are ignored; bad ones raise RejectedError."""
    values: dict[str, str] = {}
    for name, value in given:
        if name in values:
            raise RejectedError("invalid_data", f"{name} was given twice")
        values[name] = value
    limit = _number(values, "limit", DEFAULT_LIMIT, 1)
    offset = _number(values, "offset", 0, 0)
    members = SHAPES[version][collection].members
    sort = values.get("sort", "")
    if sort and sort not in members:
        raise RejectedError("invalid_sort_field", "sort names no field of this collection")
    order = values.get("orderBy", "asc")
    if order not in ("asc", "desc"):
        raise RejectedError("invalid_data", "orderBy is neither asc nor desc")
    fields = tuple(name.strip() for name in values.get("fields", "").split(",") if name.strip())
    if not members.issuperset(fields):
        raise RejectedError("invalid_selection_field", "fields names no field of this collection")
    expression = values.get("filter", "")
    if expression:
        condition(expression, version, collection)
    return Query(min(limit, cap), offset, expression, sort, order == "desc", fields)


def _number(values: dict[str, str], name: str, default: int, least: int) -> int:
    text = values.get(name)
    if text is None:
        return default
    if not _WHOLE.fullmatch(text) or int(text) < least:
        raise RejectedError("invalid_data", f"{name} is not a whole number of at least {least}")
    return int(text)


def chosen(
    rows: Sequence[Row], places: Sequence[int], query: Query, version: Version, collection: str
) -> Sequence[int]:
    """Which of the rows (by place) a query's filter lets through, in its order."""
    if query.filter:
        passes = condition(query.filter, version, collection)
        places = [place for place in places if passes(rows[place])]
    if query.sort:
        value = reader(query.sort, version, collection)
        # One and the same order for every page: ties go by place.
        places = sorted(
            places, key=lambda place: (_text(value(rows[place])), place), reverse=query.descending
        )
    return places


def misread(expression: str, due: Mapping[str, Misbehaviour]) -> str:
    """A filter as a server takes it under the faults that are due."""
    found = _SINCE.fullmatch(expression)
    if not found:
        return expression
    before, when, after = found.groups()
    if "filter-in-local-time" in due:
        value = due["filter-in-local-time"].value
        hours = timedelta(hours=10 if value is None else int(value))
        when = f"{datetime.fromisoformat(when) + hours:%Y-%m-%dT%H:%M:%S.000Z}"
    return f"{before}{when[:10] if 'filter-by-day' in due else when}{after}"


_SINCE: Final = re.compile(r"(dateLastModified[<>=]+')(\d{4}-\d\d-\d\dT[^']*)(')")


def condition(expression: str, version: Version, collection: str) -> Callable[[Row], bool]:
    """The test that a filter means; raises RejectedError for bad grammar and unknown fields."""
    found = _FILTER.fullmatch(expression)
    if not found:
        raise RejectedError(
            "invalid_filter_field", "the filter is not <field><predicate>'<value>', once or twice"
        )
    first = _clause(found[1], found[2], found[3], version, collection)
    if not found[4]:
        return first
    second = _clause(found[5], found[6], found[7], version, collection)
    if found[4].upper() == "AND":
        return lambda row: first(row) and second(row)
    return lambda row: first(row) or second(row)


def _clause(
    field: str, predicate: str, wanted: str, version: Version, collection: str
) -> Callable[[Row], bool]:
    value = reader(field, version, collection)
    if predicate == "~":

        def contains(row: Row) -> bool:
            held = value(row)
            return wanted in held if isinstance(held, list) else wanted in str(held)

        return contains
    compared = _COMPARED[predicate]
    return lambda row: compared(_text(value(row)), wanted)


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def reader(field: str, version: Version, collection: str) -> Callable[[Row], Any]:
    """How to read a field (`name` or `reference.sourcedId`) off a row; raises RejectedError if unknown."""
    shape = SHAPES[version][collection]
    if collection == "users":
        own = _USER_FIELDS[version].get(field)
        if own:
            return own
    referring = {name for name, _ in (*shape.refs, *shape.ref_lists)}
    name = field.removesuffix(".sourcedId") if field.count(".") == 1 else field
    if name not in shape.members or (name != field and name not in referring):
        raise RejectedError("invalid_filter_field", "the filter names no field of this collection")
    if name == "status":
        return lambda row: row.get("status") or "active"
    if name == "dateLastModified":
        return lambda row: row.get("dateLastModified") or MODIFIED
    return lambda row: row.get(name, "")


_USER_FIELDS: Final[dict[Version, dict[str, Callable[[Row], Any]]]] = {
    "1.1": {
        "role": lambda row: row["roles"][0][0] if row.get("roles") else "",
        "orgs": lambda row: [entry[1] for entry in row.get("roles") or []],
        "orgs.sourcedId": lambda row: [entry[1] for entry in row.get("roles") or []],
        "enabledUser": lambda row: row.get("enabledUser") or "true",
    },
    "1.2": {
        "roles.role": lambda row: [entry[0] for entry in row.get("roles") or []],
        "roles.org.sourcedId": lambda row: [entry[1] for entry in row.get("roles") or []],
        "enabledUser": lambda row: row.get("enabledUser") or "true",
    },
}
