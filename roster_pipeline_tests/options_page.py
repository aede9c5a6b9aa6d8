"""`docs/options.md` as data: its options with their defaults and proofs, and its quotes of the guides.

Read by the test that keeps the page true, and by `ignoring`, which shows that its proofs prove something.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from roster_pipeline.tenants.document import (
    Directory,
    KeepsBack,
    LimitTo,
    Merge,
    Provider,
    Safeguards,
    Tenant,
)

PAGE: Final = Path(__file__).parents[1] / "docs" / "options.md"
TESTS: Final = Path(__file__).parent

MODELS: Final[dict[str, dict[str, type[BaseModel]]]] = {
    "Options of a provider": {"": Provider, "merge": Merge, "limit_to": LimitTo},
    "Settings of a tenant": {"": Tenant, "safeguards": Safeguards},
    "Options of a directory": {"": Directory},
}
"""Heading → the model of the options below it, and of those that stand in a mapping of their own."""

OPTIONS_HEAD: Final = ["option", "in the guides", "what it does", "default", "proof"]
PROMISES_HEAD: Final = ["the guides say", "where it is kept", "proof"]
OTHERS_HEAD: Final = ["the guides say", "why it does not apply here"]
FLAWS_HEAD: Final = ["name", "flaw", "code"]

_CODE: Final = re.compile(r"`([^`]+)`")
_QUOTE: Final = re.compile(r"“([^”]+)”")


@dataclass(frozen=True)
class Option:
    """A row of the page: `field` of `model`, and the tests (node ids below the tests) that prove it."""

    section: str
    name: str
    model: type[BaseModel]
    field: str
    default: str
    proofs: tuple[str, ...]

    @property
    def info(self) -> FieldInfo:
        """The field in the code."""
        return self.model.model_fields[self.field]

    @property
    def label(self) -> str:
        """How the option is told apart from one of the same name."""
        return f"{self.model.__name__}.{self.field}"


@dataclass(frozen=True)
class Promise:
    """What the guides say, and the tests that prove it; none where it does not apply."""

    quotes: tuple[str, ...]
    proofs: tuple[str, ...]
    applies: bool


def tables(text: str) -> list[tuple[str, list[str], list[list[str]]]]:
    """(heading above, head, rows) of each table, cells as written."""
    found: list[tuple[str, list[str], list[list[str]]]] = []
    heading, inside = "", False
    for line in text.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            inside = False
        elif not inside:
            found.append((heading, cells, []))
            inside = True
        elif set("".join(cells)) != {"-"}:
            found[-1][2].append(cells)
    return found


def options(text: str) -> list[Option]:
    """Every row of the tables of options; a row that names no field of the code is an error."""
    found = []
    for heading, head, rows in tables(text):
        if head != OPTIONS_HEAD:
            continue
        for cells in rows:
            (name,) = _CODE.findall(cells[0])
            part, _, field = name.rpartition(".")
            model = MODELS[heading][part]
            assert field in model.model_fields, f"{model.__name__} has no {field}"
            found.append(Option(heading, name, model, field, cells[3], tuple(_CODE.findall(cells[4]))))
    return found


def promises(text: str) -> list[Promise]:
    """Every row of the tables of what the guides say."""
    found = []
    for _, head, rows in tables(text):
        if head in (PROMISES_HEAD, OTHERS_HEAD):
            applies = head == PROMISES_HEAD
            for cells in rows:
                proofs = tuple(_CODE.findall(cells[2])) if applies else ()
                found.append(Promise(tuple(_QUOTE.findall(cells[0])), proofs, applies))
    return found


def flaws(text: str) -> list[str]:
    """The names of what may keep a school back."""
    rows = [cells for _, head, found in tables(text) if head == FLAWS_HEAD for cells in found]
    return [_CODE.findall(cells[0])[0] for cells in rows]


def default_of(info: FieldInfo) -> Any:
    """The default in the code; `PydanticUndefined` where the field is required."""
    return info.get_default(call_default_factory=True)


def spoken(info: FieldInfo) -> str:
    """The default as the page says it."""
    value = default_of(info)
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple):
        return "all" if value == get_args(KeepsBack) else ", ".join(map(str, value))
    return str(value)


def is_required(option: Option) -> bool:
    """Whether to ignore it makes no sense: no document, or no provider of some kind, is without it."""
    return option.default.startswith("required") or option.field in _NEEDED


_NEEDED: Final = {"endpoint_url", "client_id", "client_secret", "path"}
"""Required by kinds: the models cannot say it, the rules of documents do."""
