"""A CSV package, 1.1 or 1.2, as the six collections in canonical columns.

Columns are found by name; a file whose header is not the published one is refused whole, and so is
whatever the manifest does not call bulk. Values stay as they are, apart from lists, which become JSON.
How bytes become cells is in `rows`, what a package is in `package`, what a header must be in `headers`;
which rows count is in `rosters`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from roster_pipeline.codes import CodedError
from roster_pipeline.oneroster import vocabulary
from roster_pipeline.oneroster.collections import COLLECTIONS, COLUMNS, LISTS
from roster_pipeline.oneroster.csv.headers import (
    ONLY_1_1,
    REQUIRED,
    ROLE_FILE,
    check_header,
    older_columns,
    spellings,
    wire,
)
from roster_pipeline.oneroster.csv.package import FILES, MODES, Manifest, Package, open_package, read_manifest
from roster_pipeline.oneroster.csv.rows import Rows
from roster_pipeline.oneroster.csv.writing import NOTHING, SYSTEM_CODE
from roster_pipeline.oneroster.fields import LONGEST_LIST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MOST_ROLES: Final = 512 << 20
"""Characters of what roles.csv says, all users together: five million users with a role each have less."""

# ------------------------------------------------------------------------------------------------- export


@dataclass(slots=True)
class Export:
    """A package, looked through: what can be read of it, and why the rest cannot.

    Attributes:
        version: "1.1" or "1.2".
        refused: Why a collection cannot be read; known before its rows are.
        left_out: Collections that the manifest calls absent, and that may be.
        has_manifest: Without one, the files were taken for 1.1 bulk (RS-FILE-07).
    """

    package: Package
    version: str
    refused: dict[str, CodedError] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()
    has_manifest: bool = True
    own: bool = False
    _roles_in_file: bool = False

    def batches(self, collection: str) -> Iterator[pa.Table]:
        """A collection's rows, some 20,000 at a time: all-string tables of exactly its columns.

        Raises:
            CodedError: What `refused` says, or what is wrong with the rows, when it is met.
        """
        if collection in self.refused:
            raise self.refused[collection]
        if collection in self.left_out:
            return
        roles = self._roles() if collection == "users" and self._roles_in_file else None
        with self.package.open(f"{collection}.csv") as stream:
            rows = Rows(stream, f"{collection}.csv")
            found = spellings(collection, rows.header)
            for table in rows.batches(list(found.values())):
                yield _canonical(collection, table.rename_columns(list(found)), roles, own=self.own)

    def _roles(self) -> dict[str, str]:
        """Each user's roles as the column's JSON. Held whole: users.csv is in no order of roles.csv."""
        held: dict[str, str] = {}
        texts: dict[str, str] = {}
        size = 0
        with self.package.open("roles.csv") as stream:
            rows = Rows(stream, "roles.csv")
            columns = [name for name in ROLE_FILE if name in rows.header]
            for table in rows.batches(columns):
                for row in table.to_pylist():
                    if vocabulary.is_deleted(row.get("status", "")):
                        continue
                    entry = _json([row["role"], row["orgSourcedId"], row["beginDate"], row["endDate"]])
                    entry = texts.setdefault(entry, entry)  # one text for the many who have the same
                    user, before = row["userSourcedId"], held.get(row["userSourcedId"])
                    if before is not None and len(before) > LONGEST_LIST:
                        continue  # left out as too long, where it is looked at
                    held[user] = f"[{entry}]" if before is None else f"{before[:-1]},{entry}]"
                    size += len(user) + len(entry)
                    if size > MOST_ROLES:
                        raise CodedError(
                            "RS-FILE-05", f"roles.csv holds more than {MOST_ROLES} characters of roles."
                        )
        return held


def open_export(package: Package, *, compatibility_mode: bool = False) -> Export:
    """Looks at the manifest and at all headers.

    In compatibility mode, sessions and courses may be absent where the manifest says so.

    Raises:
        CodedError: where nothing can be read: RS-FILE-09 for a manifest that cannot be used; without one, the
            code of what keeps the files from being 1.1's. What concerns one collection is in `refused`.
    """
    manifest = read_manifest(package)
    if manifest is None:
        return _without_manifest(package)
    refused: dict[str, CodedError] = {}
    may_be_absent = {"academicSessions", "courses"} if compatibility_mode else set()
    left_out = frozenset(
        name
        for name in may_be_absent
        if manifest.modes.get(name) == "absent" and f"{name}.csv" not in package.names
    )
    version = manifest.version or _version_by_header(package)
    # 1.2 without roles.csv: some exporters only wrote another number into the manifest.
    in_file = version == "1.2" and ("roles.csv" in package.names or not _has_1_1_users(package))
    for collection in (*COLLECTIONS, *(("roles",) if in_file else ())):
        if collection in left_out:
            continue
        required = REQUIRED[collection]
        if collection == "users" and in_file:
            required = tuple(name for name in required if name not in ONLY_1_1)
        try:
            _check_file(package, manifest, collection, required)
        except CodedError as error:
            refused.setdefault("users" if collection == "roles" else collection, error)
    return Export(
        package, version, refused, left_out, own=manifest.source == SYSTEM_CODE, _roles_in_file=in_file
    )


def read_tables(path: Path) -> dict[str, pa.Table]:
    """All six collections of a folder or zip at once, for those who serve or compare them.

    Raises:
        CodedError: If any of them cannot be read.
    """
    with open_package(path) as package:
        export = open_export(package)
        return {name: _concat(name, list(export.batches(name))) for name in COLLECTIONS}


def _concat(collection: str, tables: list[pa.Table]) -> pa.Table:
    empty = pa.schema([(name, pa.string()) for name in COLUMNS[collection]]).empty_table()
    return pa.concat_tables([empty, *tables])


def _check_file(package: Package, manifest: Manifest, name: str, required: tuple[str, ...]) -> None:
    file = f"{name}.csv"
    mode = manifest.modes.get(name)
    if mode is not None and mode not in MODES:
        raise CodedError("RS-FILE-09", f"manifest.csv says neither absent nor bulk nor delta of {file}.")
    if mode == "delta":
        raise CodedError("RS-FILE-09", f"manifest.csv calls {file} delta; only bulk files are read.")
    if mode == "absent" and file in package.names:
        # It may be left over from an older export: nothing says that it is today's.
        raise CodedError("RS-FILE-09", f"manifest.csv calls {file} absent, but it is there.")
    _check_columns(package, name, required)


def _check_columns(package: Package, name: str, required: tuple[str, ...]) -> None:
    file = f"{name}.csv"
    if file not in package.names:
        near = any(other.lower() == file.lower() for other in package.names)
        hint = "; there is one whose name differs in letter case" if near else ""
        raise CodedError("RS-FILE-02", f"{file} is not in {package.title}{hint}.")
    check_header(name, _header(package, file), required)


def _header(package: Package, file: str) -> tuple[str, ...]:
    with package.open(file) as stream:
        return Rows(stream, file, block=1 << 16).header


def _has_1_1_users(package: Package) -> bool:
    if "users.csv" not in package.names:
        return False
    try:
        return set(ONLY_1_1) <= set(_header(package, "users.csv"))
    except CodedError:
        return False  # told where the file is checked


def _version_by_header(package: Package) -> str:
    return "1.2" if "roles.csv" in package.names and not _has_1_1_users(package) else "1.1"


def _without_manifest(package: Package) -> Export:
    faults: dict[str, CodedError] = {}
    for name in FILES:
        try:
            _check_columns(package, name, REQUIRED[name])
        except CodedError as error:
            faults[name] = error
    if not faults:
        return Export(package, "1.1", has_manifest=False)
    absent = {name for name in FILES if f"{name}.csv" not in package.names}
    found = {name: error for name, error in faults.items() if name not in absent}
    old = [told for name in found if (told := older_columns(name, _header_or_none(package, f"{name}.csv")))]
    if old:  # what else is wrong with them follows from that
        raise CodedError(
            "RS-FILE-03",
            f"The files in {package.title} are of OneRoster 1.0, which is not read: {'; '.join(old)}.",
        )
    sentences = [error.message for error in found.values()]
    if absent:
        count = f"{len(absent)} of the six files" if len(absent) > 1 else "One of the six files"
        names = ", ".join(f"{name}.csv" for name in FILES if name in absent)
        sentences.append(f"{count} {'are' if len(absent) > 1 else 'is'} missing: {names}.")
        sentences += [
            f"There is a {other}, but letter case counts in a file's name."
            for other in sorted(package.names)
            if other.lower() in {f"{name}.csv".lower() for name in absent}
        ]
    codes = [error.code for error in (*found.values(), *faults.values())]
    raise CodedError(
        "RS-FILE-03" if "RS-FILE-03" in codes else codes[0],
        f"There is no manifest.csv in {package.title}; then it must hold all six files of OneRoster 1.1. "
        + " ".join(sentences),
    )


def _header_or_none(package: Package, file: str) -> tuple[str, ...]:
    try:
        return _header(package, file)
    except CodedError:
        return ()


# ------------------------------------------------------------------------------------------------- values


def _canonical(collection: str, table: pa.Table, roles: dict[str, str] | None, *, own: bool) -> pa.Table:
    columns = [
        _user_roles(table, roles)
        if column == "roles"
        else _column(table, wire(collection, column), column, collection, own=own)
        for column in COLUMNS[collection]
    ]
    return pa.table(columns, names=list(COLUMNS[collection]))


def _column(table: pa.Table, wire: str, column: str, collection: str, *, own: bool) -> Any:
    if wire not in table.column_names:
        return pa.repeat(pa.scalar(""), table.num_rows)
    values = table[wire]
    if own and column not in LISTS.get(collection, ()):
        empty = pc.equal(values, NOTHING)
        if column == "username":
            empty = pc.or_(empty, pc.equal(values, table["sourcedId"]))
        values = pc.if_else(empty, "", values)
    if column == "userIds":
        return _mapped(values, user_ids)
    if column in LISTS.get(collection, ()):
        return _mapped(values, _own_list if own else _list)
    return values


def _user_roles(table: pa.Table, roles: dict[str, str] | None) -> Any:
    if roles is not None:
        return pa.array([roles.get(user, "") for user in table["sourcedId"].to_pylist()], pa.string())
    return _mapped(pc.binary_join_element_wise(table["role"], table["orgSourcedIds"], "\x1f"), _roles_1_1)


def _roles_1_1(text: str) -> str:
    role, _, orgs = text.partition("\x1f")
    entries = [[role, org, "", ""] for org in split_list(orgs) or ([""] if role else [])]
    return _json(entries) if entries else ""


def _mapped(values: Any, function: Callable[[str], str]) -> Any:
    """`function` of each value, called once for each different one of the batch."""
    encoded = pc.dictionary_encode(values)
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    texts = pa.array([function(value) for value in encoded.dictionary.to_pylist()], pa.string())
    return texts.take(encoded.indices)


def split_list(cell: str) -> list[str]:
    """The items of a list cell, each trimmed, without empty ones; single quotes around them go.

    An item cannot hold a comma: the binding has no way to write one.
    """
    cell = cell.strip()
    if len(cell) > 1 and cell[0] == cell[-1] == "'" and cell.count("'") == 2:
        cell = cell[1:-1]
    items = (item.strip() for item in cell.split(","))
    return [
        item[1:-1].strip() if len(item) > 1 and item[0] == item[-1] == "'" else item for item in items if item
    ]


def _list(cell: str) -> str:
    items = split_list(cell)
    return _json(items) if items else ""


def _own_list(cell: str) -> str:
    items = [item for item in split_list(cell) if item != NOTHING]
    return _json(items) if items else ""


_USER_ID: Final = re.compile(r"\{([^{}]*)\}|([^,{}]+)")


def user_ids(cell: str) -> str:
    """`{Type:Id},{Type:Id}` as JSON `[[type, id], …]`; a comma inside braces belongs to the id.

    What stands there without braces has the type "".
    """
    pairs = []
    for braced, bare in _USER_ID.findall(cell):
        kind, colon, identifier = braced.partition(":")
        if bare or not colon:
            kind, identifier = "", bare or braced
        if identifier.strip():
            pairs.append([kind.strip(), identifier.strip()])
    return _json(pairs) if pairs else ""


def _json(value: list[Any]) -> str:
    return orjson.dumps(value).decode()
