"""OneRoster's JSON: finding the rows in an answer, and rows as the canonical all-string columns.

Both versions, and the ways in which servers differ from them: off-spec wrappers, references without
`href` or as bare strings, one value where a list belongs, booleans and numbers for strings, null.
What a row says is taken as it came (trimmed); what it means is `vocabulary`'s, how pages follow each
other is `paging`'s. Nothing here calls a function per row unless a column holds off-spec values:
this is where a sync's CPU goes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from roster_pipeline.codes import CodedError
from roster_pipeline.oneroster.collections import COLUMNS, LISTS
from roster_pipeline.oneroster.fields import may_be_too_long

Row = dict[str, Any]


class SourceError(CodedError):
    """A failure that is the provider's: a reader turns it into a state and an issue.

    `status` is the HTTP status behind it, if there is one.
    """

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        super().__init__(code, message)
        self.status = status
        self.midway = False
        """Whether pages of the same reading had come before: what was there is not missing."""
        self.in_compatibility_mode = ""
        """Why the server would answer in compatibility mode, where that was found out; else ""."""


# ------------------------------------------------------------------------------ the rows in an answer

BARE: Final = "(bare array)"

_MINOR: Final = frozenset({
    "fullsuccess", "invalid_filter_field", "invalid_selection_field", "invalid_sort_field", "invaliddata",
    "invalid_data", "unauthorisedrequest", "unauthorizedrequest", "forbidden", "server_busy", "unknownobject",
    "internal_server_error", "deletefailure", "unsupported", "invalid_token", "invalid_request",
    "invalid_client", "invalid_scope", "insufficient_scope", "unauthorized_client", "access_denied",
    "server_error", "temporarily_unavailable",
})  # fmt: skip


def rows_of(
    document: Any, collection: str, endpoint: str, wrapper: str | None = None, *, lenient: bool = False
) -> tuple[list[Any], str]:
    """The rows that an answer to `endpoint` holds, and the member that held them.

    Accepted, in this order: the collection's key, the endpoint's last path segment, a bare array, the
    only array among the members. The last two only where every row looks like the collection, or
    where an earlier page of the same reading (`wrapper`) came the same way: an answer like
    `{"warnings": []}` must never read as "no rows". `lenient` also takes, without rows or among several
    arrays, the one whose name is the collection's or the endpoint's in other letters or in the singular.

    Raises:
        SourceError: RS-PAGE-03 for an error inside an answer that says success, RS-PAGE-04 if there are no
            rows to be found, RS-PAGE-05 if they are another collection's.
    """
    if isinstance(document, dict):
        told = refusal(document)
        if told is not None:
            raise SourceError("RS-PAGE-03", f"/{endpoint} answered with success, but carries an error{told}.")
        for key in (collection, endpoint):
            rows = document.get(key)
            if type(rows) is list:
                _refuse_other(rows, collection, endpoint)
                return rows, key
        arrays = [key for key, value in document.items() if type(value) is list]
        akin = [key for key in arrays if _is_akin(key, collection, endpoint)] if lenient else []
        if len(akin) == 1:
            _refuse_other(document[akin[0]], collection, endpoint)
            return document[akin[0]], akin[0]
        if len(arrays) != 1:
            raise SourceError(
                "RS-PAGE-04", f"/{endpoint} answered with JSON that has no member {collection}."
            )
        key, rows = arrays[0], document[arrays[0]]
    elif isinstance(document, list):
        key, rows = BARE, document
    else:
        raise SourceError(
            "RS-PAGE-04", f"/{endpoint} answered with JSON that is neither an object nor an array."
        )
    if rows and all(type(row) is dict and _looks_like(collection, row) for row in rows):
        return rows, key
    if (key in COLUMNS and key != collection) or _others(rows, collection):
        raise _of_another(endpoint)
    if rows or key != wrapper:
        raise SourceError(
            "RS-PAGE-04", f"/{endpoint} answered with rows that cannot be told to be {collection}."
        )
    return rows, key


def _is_akin(key: str, *names: str) -> bool:
    """Whether a member is called as one of `names`, but for letter case, separators and number."""
    plain = _PLAIN.sub("", key).lower()
    return any(plain in (name, _singular(name)) for name in map(str.lower, names))


def _singular(name: str) -> str:
    return name.removesuffix("es") if name == "classes" else name.removesuffix("s")


_PLAIN: Final = re.compile(r"[\s_-]+")


def refusal(document: Row) -> str | None:
    """What an error envelope tells, as the end of a sentence; None if the answer is not one."""
    told = document.get("statusInfoSet") or document.get("statusInfo")
    entries = [document, *(told if isinstance(told, list) else [told])]
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        major, severity = entry.get("imsx_codeMajor"), entry.get("imsx_severity")
        failed = isinstance(major, str) and major.strip().lower() in {"failure", "processing", "unsupported"}
        if failed or (isinstance(severity, str) and severity.strip().lower() == "error"):
            return _told(_minor(entry))
    # OAuth's shape, also from data endpoints; `errors` is GraphQL's and some gateways'.
    if document.get("error") or document.get("errors"):
        return _told(document.get("error"))
    return None


def _minor(entry: Row) -> Any:
    found = entry.get("imsx_CodeMinor") or entry.get("imsx_codeMinor")
    if isinstance(found, dict):
        found = found.get("imsx_codeMinorField")
    if isinstance(found, list) and found:
        found = found[0]
    return found.get("imsx_codeMinorFieldValue") if isinstance(found, dict) else found


def _told(word: Any) -> str:
    # Only words of the specifications: error texts echo input, and rows are children's data.
    return f" ({word.lower()})" if isinstance(word, str) and word.lower() in _MINOR else ""


SIGN: Final = {
    "orgs": "name",
    "academicSessions": "startDate",
    "courses": "courseCode",
    "classes": "course",
    "users": "familyName",
    "enrollments": "user",
}
"""A field that rows of the collection have by specification and rows of the others have not."""


def _looks_like(collection: str, row: Row) -> bool:
    match collection:
        case "orgs":
            return "name" in row and not _looks_like("users", row)
        case "academicSessions":
            return "title" in row and not row.keys().isdisjoint({"startDate", "endDate"})
        case "courses":
            return "title" in row and "courseCode" in row and not _looks_like("classes", row)
        case "classes":
            return "title" in row and not row.keys().isdisjoint({"school", "course", "terms", "classCode"})
        case "users":
            return not row.keys().isdisjoint({"givenName", "familyName", "username", "enabledUser", "roles"})
        case _:
            return "user" in row and "class" in row


def _others(rows: list[Any], collection: str) -> bool:
    return any(
        type(row) is dict
        and not _looks_like(collection, row)
        and any(_looks_like(other, row) for other in COLUMNS if other != collection)
        for row in rows
    )


def _refuse_other(rows: list[Any], collection: str, endpoint: str) -> None:
    sign = SIGN[collection]
    try:
        suspects = [row for row in rows if sign not in row]
    except TypeError:  # numbers and nulls among the rows
        suspects = rows
    if suspects and _others(suspects, collection):
        raise _of_another(endpoint)


def _of_another(endpoint: str) -> SourceError:
    return SourceError("RS-PAGE-05", f"/{endpoint} answered with rows of another collection.")


def without_nul(document: Any, depth: int = 12) -> Any:
    """The same JSON with NUL characters taken out of its strings: no database stores them.

    What is nested deeper than `depth` holds nothing that is kept, and becomes None.
    """
    if isinstance(document, str):
        return document.replace("\0", "")
    if isinstance(document, list | dict):
        if not depth:
            return None
        if isinstance(document, list):
            return [without_nul(value, depth - 1) for value in document]
        return {key.replace("\0", ""): without_nul(value, depth - 1) for key, value in document.items()}
    return document


# ------------------------------------------------------------------------------------- rows as columns


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows as an all-string table with exactly the collection's columns, one row each.

    `ids` are their `sourcedId`s, "" where a row has none: as the JSON has them, which is good for telling
    rows apart; the table's are trimmed. `wrapper` is the member of the answer that held them.
    """

    table: pa.Table
    ids: list[str]
    short: bool
    """Whether no value is longer than the smallest limit of `fields`."""
    wrapper: str = ""


def decode(collection: str, rows: list[Any], *, implied_role: str = "") -> Rows:
    """Rows of JSON as columns.

    `implied_role` is the role of users whose row tells none (rows of `/students` and `/teachers`).
    """
    if set(map(type, rows)) - {dict}:
        # What is no object has no id either: it stays a row, and the rules count it as one without.
        rows = [row if type(row) is dict else {} for row in rows]
    if implied_role:
        rows = [row if row.get("role") or row.get("roles") else {**row, "role": implied_role} for row in rows]
    names = COLUMNS[collection]
    shapes = [SHAPES.get((collection, name), TEXT) for name in names]
    raw = _raw(rows, names)
    columns = [_values(rows, raw[name], name, shape) for name, shape in zip(names, shapes, strict=True)]
    return in_arrow(
        names,
        columns,
        lambda place, _: [shapes[place].slow(row, names[place]) for row in rows],
    )


def in_arrow(
    names: tuple[str, ...],
    columns: Sequence[Sequence[Any]],
    mended: Callable[[int, Sequence[Any]], Sequence[Any]],
) -> Rows:
    """Columns of texts, nulls for nothing, as `Rows`; `mended` makes texts of one that holds other things."""
    columns = list(columns)
    texts = []
    for place, values in enumerate(columns):
        text = _joined(values)
        if text is None:
            columns[place] = values = mended(place, values)
        texts.append(_joined(values) or "" if text is None else text)
    count = len(columns[0])
    # All columns in one: each call of Arrow's gives way to the threads that fetch, and waiting for
    # one's turn again costs more than the work.
    array = _apart("\0".join(texts), count * len(names))
    if array is None:
        try:
            array = pa.array(list(chain.from_iterable(columns)), _STRING)
        except OFF_SPEC:
            columns = [
                values if _is_text(values) else mended(place, values) for place, values in enumerate(columns)
            ]
            array = pa.array(list(chain.from_iterable(columns)), _STRING)
        array = pc.utf8_trim_whitespace(pc.fill_null(array, "") if array.null_count else array)
    arrays = [array.slice(number * count, count) for number in range(len(names))]
    table = pa.Table.from_arrays(arrays, names=list(names))
    return Rows(table, [value or "" for value in columns[0]], not may_be_too_long(array))


def _joined(values: Sequence[Any]) -> str | None:
    """Texts with a NUL between them, "" for null; None if anything else is among them."""
    try:
        return "\0".join(values)
    except TypeError:
        try:
            return "\0".join(["" if one is None else one for one in values])
        except TypeError:
            return None


def _apart(joined: str, count: int) -> pa.StringArray | None:
    """So many texts with a NUL between them, trimmed; None if any holds a control character.

    Half of what Arrow takes for a list of texts, which it asks one by one.
    """
    try:
        data = joined.encode()
    except UnicodeEncodeError:
        return None
    signs = np.frombuffer(data, np.uint8)
    low = np.flatnonzero(signs <= _BLANK)
    is_blank = signs[low] == _BLANK
    between = low[~is_blank]
    if len(between) != count - 1:
        return None
    ends = np.empty(count + 1, np.int32)
    ends[0], ends[-1] = 0, len(data) - len(between)
    np.subtract(between, np.arange(count - 1), out=ends[1:-1], casting="unsafe")
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(data.translate(None, b"\0"))]
    array = pa.Array.from_buffers(_STRING, count, buffers)
    beside = (np.diff(low) == 1) & (is_blank[1:] != is_blank[:-1])
    if joined.isascii() and not beside.any() and joined == joined.strip(" "):
        return array
    return pc.utf8_trim_whitespace(array)


@dataclass(frozen=True, slots=True)
class Shape:
    """How a column's values are read.

    `fast` takes what all rows hold under the column's name, and may raise whatever values of other
    types make it raise; `slow` takes one row, and any JSON: it never raises. Both give "" or null
    for nothing. With `whole_rows`, `fast` gets the rows themselves.
    """

    fast: Callable[[Sequence[Any]], Sequence[Any]]
    slow: Callable[[Row, str], str]
    whole_rows: bool = False


_STRING: Final = pa.string()
_BLANK: Final = 0x20
OFF_SPEC: Final = (LookupError, TypeError, AttributeError, ValueError)  # Arrow's and orjson's are among them


def _raw(rows: list[Row], names: tuple[str, ...]) -> dict[str, Sequence[Any]]:
    """What the rows hold under each name, None for nothing.

    One pass over the rows, if all have what the first one has: they are far too many for the
    processor's cache, and a pass for each column would fetch them from memory again and again.
    """
    if not rows:
        return dict.fromkeys(names, ())
    here = [name for name in names if name in rows[0]]
    try:
        found = dict(zip(here, zip(*map(itemgetter(*here), rows), strict=True), strict=True))
    except OFF_SPEC:  # fewer than two names, or a row without one of them
        found = {}
    return {name: found[name] if name in found else [row.get(name) for row in rows] for name in names}


def _values(rows: list[Row], raw: Sequence[Any], name: str, shape: Shape) -> Sequence[Any]:
    try:
        return shape.fast(rows if shape.whole_rows else raw)
    except OFF_SPEC:
        return [shape.slow(row, name) for row in rows]


def _is_text(values: Sequence[Any]) -> bool:
    try:
        pa.array(values, _STRING)
    except OFF_SPEC:
        return False
    return True


def _json(values: Iterable[Any]) -> str:
    found = list(values)
    return orjson.dumps(found).decode() if found else ""


class Known(dict[Any, str]):
    """The JSON of each combination of values that a page holds: most rows share a few."""

    def __init__(self, make: Callable[[Any], str]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: Any) -> str:
        made = self[key] = self._make(key)
        return made


# --- one text


def _text(value: Any) -> str:
    """Any JSON value as trimmed text; "" for null, for objects, and for more than one value."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        # A lone surrogate is no text that could be stored.
        return (value if value.isascii() else value.encode("utf-8", "replace").decode()).strip()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value) if isinstance(value, int) else ""


# --- one reference


def _id(value: Any) -> str:
    """The id that a reference names: an object with a `sourcedId`, or the bare id."""
    if isinstance(value, list) and value:
        value = value[0]
    return _text(value.get("sourcedId") if isinstance(value, dict) else value)


def _org_of_course(row: Row, name: str) -> str:
    # Some servers send a list of `orgs` in place of `org`.
    return _id(row.get(name)) or _id(row.get("orgs"))


# --- lists of texts, and of references


def _listed(value: Any) -> list[Any]:
    """A list as it is; one value where a list belongs as a list of it."""
    if isinstance(value, list):
        return value
    return [] if value is None else [value]


def _stripped(values: tuple[str, ...]) -> str:
    # `str.strip` of what is no string raises, which sends the column the slow way.
    return _json(filter(None, map(str.strip, values)))


def _texts_fast(values: Sequence[Any]) -> list[Any]:
    if set(map(type, values)) - {list, type(None)}:
        raise TypeError  # a bare string would be taken apart into its letters
    known = Known(_stripped)
    return [known[tuple(value)] if value else "" for value in values]


def _ids_fast(values: Sequence[Any]) -> list[Any]:
    return [
        orjson.dumps(found).decode()
        if value and (found := [one for ref in value if (one := ref["sourcedId"].strip())])
        else ""
        for value in values
    ]


# --- userIds: [type, identifier]


def _user_ids_fast(values: Sequence[Any]) -> list[Any]:
    return [
        orjson.dumps(found).decode()
        if value
        and (found := [[pair["type"].strip(), one] for pair in value if (one := pair["identifier"].strip())])
        else ""
        for value in values
    ]


def _user_ids(row: Row, name: str) -> str:
    entries = [
        entry if isinstance(entry, dict) else {"identifier": entry} for entry in _listed(row.get(name))
    ]
    pairs = [[_text(entry.get("type")), _text(entry.get("identifier"))] for entry in entries]
    return _json(pair for pair in pairs if pair[1])


# --- roles: [role, org, beginDate, endDate], from 1.2's `roles` or from 1.1's `role` with each of `orgs`


def role_with_orgs(key: tuple[str, ...]) -> str:
    """`users.roles` of a role and the ids of its orgs; raises TypeError for what is no text."""
    role, *found = map(str.strip, key)
    orgs = list(filter(None, found)) or [""]
    return _json([role, org, "", ""] for org in orgs) if role or orgs != [""] else ""


def dated_roles(key: tuple[tuple[str | None, ...], ...]) -> str:
    """`users.roles` of role, org, beginDate and endDate each; raises AttributeError for what is no text."""
    return _json([(value or "").strip() for value in entry] for entry in key)


def _roles_fast(rows: Sequence[Row]) -> list[Any]:
    if rows and "roles" not in rows[0]:
        known = Known(role_with_orgs)
        return [known[(row["role"], *[org["sourcedId"] for org in row["orgs"]])] for row in rows]
    known = Known(dated_roles)
    return [
        known[
            tuple([
                (entry["role"], entry["org"]["sourcedId"], entry.get("beginDate"), entry.get("endDate"))
                for entry in row["roles"]
            ])
        ]
        if row["roles"]
        else _roles(row, "roles")
        for row in rows
    ]  # fmt: skip


def _roles(row: Row, name: str) -> str:
    orgs = [found for org in _listed(row.get("orgs") or row.get("org")) if (found := _id(org))]
    entries: list[list[str]] = []
    for entry in _listed(row.get(name)):
        if isinstance(entry, dict):
            role, org = _text(entry.get("role")), _id(entry.get("org"))
            entries.append([role, org, _text(entry.get("beginDate")), _text(entry.get("endDate"))])
        else:
            entries += [[_text(entry), org, "", ""] for org in orgs or [""]]
    entries = [entry for entry in entries if entry[0] or entry[1]]
    if not entries and (orgs or _text(row.get("role"))):
        entries = [[_text(row.get("role")), org, "", ""] for org in orgs or [""]]
    return _json(entries)


TEXT: Final = Shape(lambda values: values, lambda row, name: _text(row.get(name)))
REF: Final = Shape(
    lambda values: list(map(itemgetter("sourcedId"), values)), lambda row, name: _id(row.get(name))
)
TEXTS: Final = Shape(_texts_fast, lambda row, name: _json(filter(None, map(_text, _listed(row.get(name))))))
REFS: Final = Shape(_ids_fast, lambda row, name: _json(filter(None, map(_id, _listed(row.get(name))))))
ORG_OF_COURSE: Final = Shape(REF.fast, _org_of_course)
USER_IDS: Final = Shape(_user_ids_fast, _user_ids)
ROLES: Final = Shape(_roles_fast, _roles, whole_rows=True)

SHAPES: Final[dict[tuple[str, str], Shape]] = {
    ("orgs", "parent"): REF,
    ("academicSessions", "parent"): REF,
    ("courses", "schoolYear"): REF,
    ("courses", "org"): ORG_OF_COURSE,
    ("classes", "course"): REF,
    ("classes", "school"): REF,
    ("classes", "terms"): REFS,
    ("users", "agents"): REFS,
    ("users", "roles"): ROLES,
    ("users", "userIds"): USER_IDS,
    ("enrollments", "user"): REF,
    ("enrollments", "class"): REF,
    ("enrollments", "school"): REF,
    **dict.fromkeys(
        [
            (collection, name)
            for collection in LISTS
            for name in ("grades", "subjects", "subjectCodes", "periods")
        ],
        TEXTS,
    ),
}
"""What is not listed is one text."""
