"""Pages that are as the standard has them: only what is kept of a row becomes an object.

That is much quicker than making objects of everything, but knows fewer ways of saying a thing. So
`Regular.read` gives back None for whatever is not plain, and `wire` reads the page, or says what is wrong
with it. What both can read they read alike: what the fields are is said once, in `collections` and `wire`,
and a test gives both the same pages.

They differ in one thing: orjson refuses numbers that no double can hold and what is nested a thousand deep;
in fields that nobody keeps, such JSON is passed over here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Final

import msgspec
import orjson
import pyarrow as pa
from msgspec import UNSET, UnsetType

from roster_pipeline.oneroster.collections import COLUMNS
from roster_pipeline.oneroster.wire import (
    OFF_SPEC,
    ORG_OF_COURSE,
    REF,
    REFS,
    ROLES,
    SHAPES,
    SIGN,
    TEXT,
    TEXTS,
    USER_IDS,
    Known,
    Rows,
    Shape,
    dated_roles,
    in_arrow,
    refusal,
    role_with_orgs,
)

_ENOUGH: Final = 3
"""Pages that are not regular, one after the other: the next ones will not be either."""


class Regular:
    """Reads the pages of one endpoint, for one thread.

    Args:
        collection: Whose columns the rows become.
        endpoint: Which endpoint lists them.
        most: How many rows a page may have.
    """

    def __init__(self, collection: str, endpoint: str, most: int) -> None:
        self._collection, self._endpoint, self._most = collection, endpoint, most
        self._in_vain = 0

    def read(self, body: bytes) -> Rows | None:
        """The rows of an answer; None for whatever is not as the standard has it."""
        if self._in_vain >= _ENOUGH:
            return None
        try:
            found = self._read(body)
        except (*OFF_SPEC, msgspec.MsgspecError, RecursionError):
            found = None
        self._in_vain = 0 if found else self._in_vain + 1
        return found

    def came_again(self) -> None:
        """Told of a regular page that need not be read, because it was before."""
        self._in_vain = 0

    def _read(self, body: bytes) -> Rows | None:
        if not _is_utf8(body) or (b"\\" in body and b"\\u0000" in body):
            return None
        reader = _reader(self._collection, self._endpoint)
        page = reader.decoder.decode(body)
        told = {key: value for key in _TOLD if (value := getattr(page, key)) is not UNSET}
        if told and refusal(told) is not None:
            return None
        for wrapper in reader.wrappers:
            rows = getattr(page, wrapper)
            if rows is not UNSET:
                return reader.read(rows, wrapper) if len(rows) <= self._most else None
        return None


def _is_utf8(body: bytes) -> bool:
    """What is passed over is not looked at by msgspec; JSON that is not UTF-8 is none."""
    if body.isascii():
        return True
    ends = pa.py_buffer(struct.pack("=ii", 0, len(body)))
    try:
        pa.Array.from_buffers(pa.string(), 1, [None, ends, pa.py_buffer(body)]).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


# ------------------------------------------------------------------------------------- what a row may be


class _Ref(msgspec.Struct, gc=False, rename="camel"):
    sourced_id: str | None


class _Named(msgspec.Struct, gc=False, rename="camel"):
    sourced_id: str


class _UserId(msgspec.Struct, gc=False):
    type: str
    identifier: str


class _Role(msgspec.Struct, gc=False, rename="camel"):
    role: str | None
    org: _Ref
    begin_date: str | None = None
    end_date: str | None = None


_Number = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""What orjson takes for a whole number, too."""
_Text = str | bool | _Number | None
_Texts = list[str | _Number | None] | str | _Number | None


@dataclass(frozen=True, slots=True)
class _Field:
    """How a column's values are held and taken: `type` is msgspec's, `{}` in `taken` the row's attribute.

    `as_texts` makes texts of what was taken, and raises one of `OFF_SPEC` for what it does not know.
    """

    type: Any
    taken: str = "{}"
    as_texts: Callable[[list[Any]], Sequence[Any]] | None = None


def _texts(values: list[Any]) -> Sequence[Any]:
    try:
        return TEXTS.fast(values)
    except OFF_SPEC:
        return [TEXTS.slow({"": value}, "") for value in values]


def _ids(values: list[Any]) -> list[Any]:
    return [
        orjson.dumps(found).decode()
        if value and (found := [one for ref in value if (one := ref.sourced_id.strip())])
        else ""
        for value in values
    ]  # fmt: skip


def _user_ids(values: list[Any]) -> list[Any]:
    return [
        orjson.dumps(found).decode()
        if value and (found := [[one.type.strip(), to] for one in value if (to := one.identifier.strip())])
        else ""
        for value in values
    ]  # fmt: skip


def _roles(rows: list[Any]) -> list[Any]:
    if rows and rows[0].roles is UNSET:
        known = Known(role_with_orgs)
        return [known[(row.role, *[org.sourced_id for org in row.orgs])] for row in rows]
    known = Known(dated_roles)
    return [
        known[tuple([(one.role, one.org.sourced_id, one.begin_date, one.end_date) for one in row.roles])]
        if row.roles else _no_roles(row)
        for row in rows
    ]  # fmt: skip


def _no_roles(row: Any) -> str:
    if row.roles is UNSET or not row.role is row.orgs is row.org is UNSET:
        raise ValueError  # what 1.1 calls a role may stand for them
    return ""


_FIELDS: Final[dict[Shape, _Field]] = {
    TEXT: _Field(_Text),
    REF: _Field(_Ref | None, "{0} and {0}.sourced_id"),
    # Without an org, there may be `orgs`.
    ORG_OF_COURSE: _Field(_Ref, "{}.sourced_id"),
    TEXTS: _Field(_Texts, as_texts=_texts),
    REFS: _Field(list[_Named] | None, as_texts=_ids),
    USER_IDS: _Field(list[_UserId] | None, as_texts=_user_ids),
    ROLES: _Field(list[_Role] | None | UnsetType, "row", as_texts=_roles),
}

_OF_ROLES: Final = [
    ("role", str | None | UnsetType, UNSET),
    ("orgs", list[_Named] | None | UnsetType, UNSET),
    ("org", msgspec.Raw | UnsetType, UNSET),
]
"""What roles are read from besides `roles`."""

_TOLD: Final = (
    "error", "errors", "statusInfoSet", "statusInfo", "imsx_codeMajor", "imsx_severity", "imsx_CodeMinor",
    "imsx_codeMinor",
)  # fmt: skip
"""The members that make an answer a refusal (`wire.refusal`)."""


# --------------------------------------------------------------------------------------- how it is read


@dataclass(frozen=True, slots=True)
class _Reader:
    decoder: Any
    wrappers: tuple[str, ...]
    """The members that may hold the rows, the first to look at first."""
    names: tuple[str, ...]
    take: Callable[[list[Any]], list[list[Any]]]
    """The columns of rows."""
    fields: tuple[_Field, ...]

    def read(self, rows: list[Any], wrapper: str) -> Rows:
        """The rows as columns; raises one of `OFF_SPEC` for what no field knows."""
        columns = [
            field.as_texts(values) if field.as_texts else values
            for field, values in zip(self.fields, self.take(rows), strict=True)
        ]
        texts = in_arrow(self.names, columns, self._mended)
        return Rows(texts.table, texts.ids, texts.short, wrapper)

    def _mended(self, place: int, values: Sequence[Any]) -> list[str]:
        if self.fields[place] is not _FIELDS[TEXT]:
            raise TypeError
        return [TEXT.slow({"": one}, "") for one in values]


@cache
def _reader(collection: str, endpoint: str) -> _Reader:
    names = COLUMNS[collection]
    shapes = [SHAPES.get((collection, name), TEXT) for name in names]
    attributes = ["roles" if shape is ROLES else f"_{place}" for place, shape in enumerate(shapes)]
    members: list[Any] = list(_OF_ROLES) if ROLES in shapes else []
    for name, attribute, shape in zip(names, attributes, shapes, strict=True):
        kind = _FIELDS[shape].type
        if name == SIGN[collection] or shape is ORG_OF_COURSE:
            members.append((attribute, kind))  # a row without it may be another collection's
        else:
            members.append((attribute, kind, UNSET if shape is ROLES else None))
    called = dict(zip(attributes, names, strict=True))
    row = msgspec.defstruct("_Row", members, kw_only=True, gc=False, rename=called)
    wrappers = tuple(dict.fromkeys((collection, endpoint)))
    members = [(name, Any, UNSET) for name in _TOLD]
    members += [(name, list[row] | UnsetType, UNSET) for name in wrappers]  # type: ignore[valid-type]
    page = msgspec.defstruct("_Page", members, gc=False)
    taken = (
        _FIELDS[shape].taken.format(f"row.{attribute}")
        for attribute, shape in zip(attributes, shapes, strict=True)
    )
    # Written out for the columns at hand, because what finds an attribute by its name takes three times as
    # long; of what comes from outside nothing is in it.
    take = eval(f"lambda rows: [{', '.join(f'[{one} for row in rows]' for one in taken)}]")  # noqa: S307
    return _Reader(
        msgspec.json.Decoder(page), wrappers, names, take, tuple(_FIELDS[shape] for shape in shapes)
    )
