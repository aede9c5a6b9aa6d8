"""What is wrong with exports of files, what a sync does then, and what exactly it tells; as in `servers`."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any, Final

from roster_pipeline.sandbox.misbehaviour import parse
from roster_pipeline.sandbox.source import Tables
from roster_pipeline_tests.fault_matrix.cases import (
    EXPORTS,
    NEW_IDS,
    NOTHING,
    PACKAGES,
    STALE,
    SYNCS,
    WELL,
    Case,
    Files,
    both,
    unread,
)

Spoils = Callable[[Files, Tables], Files]


def _case(name: str, does: str, told: dict[str, str], spoils: Spoils | None = None, **more: Any) -> Case:
    ways: dict[str, Any] = {"kinds": EXPORTS, "shapes": PACKAGES}
    return Case(name, does, told, spoils=spoils, **(ways | more))


def _variant(name: str, does: str, told: dict[str, str], spoils: Spoils | None = None, **more: Any) -> Case:
    """In one of the two packages only, in SQLite only."""
    package = PACKAGES[len(name) % len(PACKAGES)]
    return _case(name, does, told, spoils, shapes=(package,), stores=("sqlite",), **more)


def _cut(files: Files, _: Tables) -> Files:
    content = files["enrollments.csv"]
    # In the middle of a row, where nothing is quoted: before the row's second comma.
    half = content.index(b"\r\n", len(content) // 2) + 2
    return files | {"enrollments.csv": content[: content.index(b",", half) + 1]}


def _rows_cut(files: Files, _: Tables) -> Files:
    content = files["enrollments.csv"]
    return files | {"enrollments.csv": content[: content.index(b"\r\n", len(content) // 2) + 2]}


def _quote_left_open(files: Files, _: Tables) -> Files:
    content = files["users.csv"]
    row = content.index(b"\r\n", len(content) // 2) + 2
    return files | {"users.csv": content[:row] + b'"' + content[row:]}


def _encoded(name: str, encoding: str) -> Spoils:
    return lambda files, _: files | {name: files[name].decode().encode(encoding)}


def _header(change: Callable[[list[str]], list[str]], name: str = "users.csv") -> Spoils:
    def spoil(files: Files, _: Tables) -> Files:
        rows = list(csv.reader(io.StringIO(files[name].decode(), newline="")))
        kept = change(rows[0])
        out = io.StringIO(newline="")
        csv.writer(out).writerows(
            [
                kept,
                *(
                    [dict(zip(rows[0], row, strict=True)).get(column, "x") for column in kept]
                    for row in rows[1:]
                ),
            ]
        )
        return files | {name: out.getvalue().encode()}

    return spoil


def _renamed(files: Files, _: Tables) -> Files:
    return files | {"users.csv": files["users.csv"].replace(b"familyName", b"surname", 1)}


def _only_header(files: Files, _: Tables) -> Files:
    return files | {"users.csv": files["users.csv"].partition(b"\r\n")[0] + b"\r\n"}


def _huge_cell(files: Files, _: Tables) -> Files:
    return files | {"users.csv": files["users.csv"].replace(b"Archer", b"A" * 3_000_000, 1)}


def _bomb(files: Files, _: Tables) -> Files:
    return files | {"users.csv": files["users.csv"] + b"\r\n" * 8_000_000}


def _manifest(old: bytes, new: bytes) -> Spoils:
    def spoil(files: Files, _: Tables) -> Files:
        assert old in files["manifest.csv"]
        return files | {"manifest.csv": files["manifest.csv"].replace(old, new)}

    return spoil


def _without(name: str) -> Spoils:
    return lambda files, _: {file: content for file, content in files.items() if file != name}


def _years_old(files: Files, _: Tables) -> Files:
    def back(content: bytes) -> bytes:
        return content.replace(b"2026-", b"2024-").replace(b"2027", b"2025")

    return {name: back(content) for name, content in files.items()}


def _nothing(files: Files, _: Tables) -> Files:
    return {}


CASES: Final = (
    _case("file-cut-off", STALE, unread("RS-FILE-06", "enrollments"), _cut),
    _case(
        "rows-cut",
        "Nothing shows that rows are missing: at first the others are published, later removals wait.",
        {
            "first": "successful RS-SAFE-14 RS-SAFE-15 RS-SAFE-16",
            "later": "partial RS-SAFE-02 RS-SAFE-03 RS-SAFE-14 RS-SAFE-15 RS-SAFE-16",
        },
        _rows_cut,
    ),
    _variant("quote-left-open", STALE, unread("RS-FILE-06", "users"), _quote_left_open),
    _case("half-written-zip", NOTHING, unread("RS-FILE-01"), shapes=("zip",)),
    _case(
        "latin-1",
        f"Nothing is guessed. {STALE}",
        unread("RS-FILE-08", "users"),
        _encoded("users.csv", "latin-1"),
    ),
    _variant(
        "utf-16",
        f"Nothing is guessed. {STALE}",
        unread("RS-FILE-08", "users"),
        _encoded("users.csv", "utf-16"),
    ),
    _variant("byte-order-mark", "The mark is left out.", WELL, _encoded("users.csv", "utf-8-sig")),
    _case(
        "column-missing",
        f"A column that is not there is not an empty one. {STALE}",
        unread("RS-FILE-03", "users"),
        _header(lambda names: [name for name in names if name != "email"]),
    ),
    _variant("column-renamed", STALE, unread("RS-FILE-03", "users"), _renamed),
    _variant("column-added", "It is not looked at.", WELL, _header(lambda names: [*names, "shoeSize"])),
    _case("file-empty", STALE, unread("RS-FILE-06", "users"), lambda files, _: files | {"users.csv": b""}),
    _variant(
        "rows-all-gone",
        "Every school is kept back. What was published stays.",
        {
            "first": "failed RS-PRV-04 RS-REF-01 RS-REF-05 RS-SAFE-07 RS-SAFE-08",
            "later": "failed RS-PRV-04 RS-REF-01 RS-REF-05 RS-SAFE-04 RS-SAFE-07 RS-SAFE-08 unproven=users",
        },
        _only_header,
    ),
    _case("file-missing", STALE, unread("RS-FILE-02", "users"), _without("users.csv")),
    _variant("export-missing", NOTHING, unread("RS-FILE-01"), _nothing),
    _case(
        "huge-cell",
        "What is longer than any real value is left out, and nothing is removed.",
        both("partial RS-ROW-06 unproven=users"),
        _huge_cell,
    ),
    _case(
        "zip-bomb",
        f"It is given up when more comes out than could be a roster. {NOTHING}",
        unread("RS-FILE-05"),
        _bomb,
        shapes=("zip",),
    ),
    _variant(
        "manifest-missing",
        "The files are read as OneRoster 1.1 bulk, if their headers are.",
        {
            **both("successful RS-FILE-07"),
            **{f"{sync} csv-1.2": told for sync, told in unread("RS-FILE-03").items()},
        },
        _without("manifest.csv"),
    ),
    _case(
        "manifest-says-absent",
        f"Users must not be absent. {STALE}",
        unread("RS-FILE-09", "users"),
        _manifest(b"file.users,bulk", b"file.users,absent"),
    ),
    _variant(
        "manifest-says-delta",
        f"Changes alone are not a roster. {STALE}",
        unread("RS-FILE-09", "users"),
        _manifest(b"file.users,bulk", b"file.users,delta"),
    ),
    _variant(
        "manifest-other-version",
        NOTHING,
        unread("RS-FILE-09"),
        _manifest(b"oneroster.version,1", b"oneroster.version,3"),
    ),
    _case(
        "years-old-export",
        "Every school is kept back: its last session ended too long ago. What was published stays.",
        both("failed RS-PRV-04 RS-SES-01"),
        _years_old,
    ),
    _case(
        "school-lost",
        "The school is kept back, all others are published.",
        {"first": "successful", "later": "partial RS-SAFE-11"},
        faults=(parse("lose-school"),),
    ),
    _case(
        "ids-new",
        "People, classes and memberships are recognised, and keep our ids.",
        {"first": "successful", "later": "successful RS-SAFE-19"},
        after=NEW_IDS,
        faults=(parse("re-key"),),
    ),
    _case(
        "masked",
        "Every school is kept back. What was published stays.",
        both("failed RS-PRV-04 RS-SAFE-09"),
        faults=(parse("mask"),),
    ),
    _variant(
        "withheld",
        "Every school is kept back. What was published stays.",
        {
            **both("failed RS-GRD-01 RS-PRV-04 RS-SAFE-09"),
            **{f"{sync} csv-1.2": "failed RS-PRV-04 RS-SAFE-09" for sync in SYNCS},
        },
        faults=(parse("withhold"),),
    ),
    _variant(
        "e-mails-masked",
        "Every school is kept back. What was published stays.",
        both("failed RS-PRV-04 RS-SAFE-09"),
        faults=(parse("mask=email"),),
    ),
)
