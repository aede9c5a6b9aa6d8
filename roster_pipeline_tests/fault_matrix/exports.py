"""What is wrong with exports of files, what a sync does then, and what exactly it tells; as in `servers`."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any, Final

from roster_pipeline.sandbox.misbehaviour import parse
from roster_pipeline.sandbox.source import Tables
from roster_pipeline_tests.fault_matrix.cases import EXPORTS, PACKAGES, Case, Files

Spoils = Callable[[Files, Tables], Files]


def _case(name: str, does: str, told: dict[str, str], spoils: Spoils | None = None, **more: Any) -> Case:
    return Case(
        name,
        does,
        told,
        spoils=spoils,
        **({"kinds": EXPORTS, "shapes": PACKAGES, "stores": ("sqlite", "postgres")} | more),
    )


def _rows_case(fault: str, name: str, does: str, told: dict[str, str], **more: Any) -> Case:
    return _case(name, does, told, faults=(parse(fault),), **more)


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


def _last_years(files: Files, _: Tables) -> Files:
    def back(content: bytes) -> bytes:
        return content.replace(b"2026-", b"2025-").replace(b"2027", b"2026")

    return {name: back(content) for name, content in files.items()}


def _nothing(files: Files, _: Tables) -> Files:
    return {}


CASES: Final = (
    _case("file-cut-off", "", {}, _cut),
    _case("rows-cut", "", {}, _rows_cut),
    _case("quote-left-open", "", {}, _quote_left_open, stores=("sqlite",)),
    _case("half-written-zip", "", {}, shapes=("zip",)),
    _case("latin-1", "", {}, _encoded("users.csv", "latin-1")),
    _case("utf-16", "", {}, _encoded("users.csv", "utf-16"), stores=("sqlite",)),
    _case("byte-order-mark", "", {}, _encoded("users.csv", "utf-8-sig"), stores=("sqlite",)),
    _case("column-missing", "", {}, _header(lambda names: [name for name in names if name != "email"])),
    _case("column-renamed", "", {}, _renamed),
    _case("column-added", "", {}, _header(lambda names: [*names, "shoeSize"])),
    _case("file-empty", "", {}, lambda files, _: files | {"users.csv": b""}),
    _case("rows-all-gone", "", {}, _only_header),
    _case("file-missing", "", {}, _without("users.csv")),
    _case("export-missing", "", {}, _nothing),
    _case("huge-cell", "", {}, _huge_cell),
    _case("zip-bomb", "", {}, _bomb, shapes=("zip",)),
    _case("manifest-missing", "", {}, _without("manifest.csv"), stores=("sqlite",)),
    _case("manifest-says-absent", "", {}, _manifest(b"file.users,bulk", b"file.users,absent")),
    _case("manifest-says-delta", "", {}, _manifest(b"file.users,bulk", b"file.users,delta")),
    _case(
        "manifest-other-version",
        "",
        {},
        _manifest(b"oneroster.version,1", b"oneroster.version,3"),
        stores=("sqlite",),
    ),
    _case("last-years-export", "", {}, _last_years),
    _rows_case("lose-school", "school-lost", "", {}),
    _rows_case("re-key", "ids-new", "", {}),
    _rows_case("mask", "masked", "", {}),
    _rows_case("withhold", "withheld", "", {}),
    _rows_case("mask=email", "e-mails-masked", "", {}, stores=("sqlite",)),
)
