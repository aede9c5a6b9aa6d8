"""The lake: extracts and the tables between assets, as Parquet, per tenant and sync.

    tenants/<tenant>/extracts/<provider_id>/<sync_id>/<collection>-<part>.parquet
    tenants/<tenant>/extracts/<provider_id>/<sync_id>/<collection>.json             the parts of what was read
    tenants/<tenant>/extracts/<provider_id>/<sync_id>/<collection>.unfinished.json  how far a reading has come
    tenants/<tenant>/extracts/<provider_id>/complete.json      the last complete one of each collection
    tenants/<tenant>/syncs/<sync_id>/<asset>/<table>.parquet
    tenants/<tenant>/latest/<asset>.json                       the newest finished one of each asset
    tenants/<tenant>/ground.json                               what nights on which nothing moved stand on

A JSON file is the last thing written of what it points to, under a temporary name first: whoever
reads a pointer finds the whole thing behind it, also after a kill. Files of an unfinished sync are
never read. Folders are for their owner only: they hold children's data.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import secrets
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from roster_pipeline.codes import CodedError
from roster_pipeline.oneroster.collections import COLUMNS, DIRECTORY_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import pandas as pd


def schema_of(collection: str) -> pa.Schema:
    """The Arrow schema of an extract's collection (`people` is a directory's): all strings."""
    columns = DIRECTORY_COLUMNS if collection == "people" else COLUMNS[collection]
    return pa.schema([(name, pa.string()) for name in columns])


PART_ROWS: Final = 100_000
PART_SECONDS: Final = 15.0
"""When a part is closed: a reading that is killed loses no more than it. Small collections have one."""

_GROUP_ROWS: Final = 20_000
_GROUP_BYTES: Final = 16 << 20
"""When the pages that came are written: a page each would be dear to write and to read."""

_FEW_VALUES: Final = frozenset({
    "status", "type", "schoolYear", "course", "terms", "grades", "subjects", "subjectCodes", "periods",
    "classType", "enabledUser", "roles", "school", "role", "primary", "beginDate", "endDate",
})  # fmt: skip
"""Columns in which many rows share a value: a dictionary makes them small, and quick to compare."""

_CODED: Final = {
    "enrollments": (
        "status",
        "dateLastModified",
        "user",
        "class",
        "school",
        "role",
        "primary",
        "beginDate",
        "endDate",
    ),
}
"""Columns that rules read by their values, of which a tenant's whole would not fit as texts: of enrolments
there are nine for each user, and all but their ids come again and again."""

GOES_ON_FOR: Final = dt.timedelta(hours=6)
"""How old the oldest row of an interrupted reading may be: half of a night's window. What was interrupted in
the evening serves until the early morning, and what was read on one day never stands for the next one."""

REMEMBERED_FOR: Final = dt.timedelta(days=6, hours=12)
"""How old rows may be that stand for a page's JSON: within a week of nights, each is made anew, as each rule
runs within a week (`rosters.unmoved`)."""

_OFTEN_ENOUGH: Final = 8
"""Row groups that are read once more for pages that come in another order: after so many, reading JSON is
cheaper."""

_UNFINISHED: Final = ".unfinished.json"

COMPLETE: Final = "complete.json"


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What an earlier reading of a collection left: its parts, and where it stood after the last of them."""

    folder: Path
    parts: tuple[str, ...]
    bookmark: dict[str, Any]
    """As it was given to `append`, with the last page."""
    began_at: dt.datetime
    finished: bool

    def head(self, rows: int) -> pa.Table:
        """The first rows, at most those of the first part."""
        return self._table(self.parts[:1]).slice(0, rows)

    def tail(self, rows: int) -> pa.Table:
        """The last rows, at most those of the last two parts: a page begins with the last row of another."""
        table = self._table(self.parts[-2:])
        return table.slice(max(0, table.num_rows - rows))

    def ids(self) -> Iterator[list[str]]:
        """Every row's id, in their order, a part's at a time.

        Raises:
            CodedError: RS-DB-03 if a part is not there or not whole.
        """
        for part in self.parts:
            yield self._table((part,), ["sourcedId"])["sourcedId"].to_pylist()

    def _table(self, parts: tuple[str, ...], columns: list[str] | None = None) -> pa.Table:
        return pa.concat_tables(list(_parts(self.folder, parts, columns)))


@dataclass(frozen=True, slots=True)
class Earlier:
    """The last complete extract of a collection: of which sync, and what was noted with it."""

    sync_id: int
    cursor: dict[str, Any]
    folder: Path
    parts: tuple[str, ...]

    def groups(self, columns: tuple[str, ...] | None = None) -> Iterator[pa.Table]:
        """Its rows in their order, some at a time; these columns, or all.

        Raises:
            CodedError: RS-DB-03 if a part is not there or not whole.
        """
        for part in self.parts:
            yield from _groups(self.folder / part, columns)


class RememberedPages:
    """The pages of a complete extract's collection.

    Whoever asks has the page itself: so what is not there any more, or not whole, is not known, whatever is
    the matter with it. A row group is in memory at a time; each holds whole pages.

    Args:
        collection: Whose rows.
        folder: The extract's.
        note: What was noted of them, or nothing.
    """

    def __init__(self, collection: str, folder: Path, note: Mapping[str, Any]) -> None:
        self._schema, self._folder, self._note = schema_of(collection), folder, note
        self._pages: Mapping[str, Sequence[int]] = note.get("pages") or {}
        self._held: tuple[tuple[int, int], pa.Table] | None = None
        self._read: set[tuple[int, int]] = set()
        self._again = 0
        self.taken: str | None = None
        """When the oldest rows that were taken were made of their JSON; None where none were."""

    def rows(self, fingerprint: str) -> pa.Table | None:
        """The table of the page with this fingerprint; None if it is not known."""
        if fingerprint not in self._pages:
            return None
        try:
            found = self._rows(*self._pages[fingerprint])
        except Exception:
            found = None
        if found is None:
            self._pages = {}
        else:
            self.taken = self._note["pages_since"]
        return found

    def _rows(self, part: int, number: int, first: int, count: int) -> pa.Table | None:
        """So many rows of a part's row group."""
        group = part, number
        if self._held is None or self._held[0] != group:
            self._again += group in self._read
            if self._again > _OFTEN_ENOUGH:
                return None
            self._read.add(group)
            with (self._folder / self._note["parts"][part]).open("rb") as file:
                whole = pq.ParquetFile(file, page_checksum_verification=True)
                self._held = group, whole.read_row_group(number)
        table = self._held[1].slice(first, count)
        return table if table.num_rows == count and table.schema.equals(self._schema) else None


@dataclass(slots=True)
class Content:
    """What an extract's collection holds, without its rows: how many, and a digest of them.

    The digest is of every value and of the order of the rows, and of nothing else: pages, parts and row
    groups do not matter.
    """

    rows: int = 0
    without_id: int = 0
    """Rows whose first column, the id, is ""."""
    _values: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    """For each column what digests its values, one after the other, and what digests their lengths."""

    def add(self, table: pa.Table) -> None:
        """Takes in further rows: an all-string table without nulls."""
        for place, name in enumerate(table.column_names):
            if name not in self._values:
                # With today's processors the quickest that Python has, if not the newest.
                self._values[name] = hashlib.sha256(), hashlib.sha256()
            texts, lengths = self._values[name]
            for array in table[name].chunks:
                _, ends, data = array.buffers()
                between = np.frombuffer(ends, np.int32)[array.offset : array.offset + len(array) + 1]
                sizes = np.diff(between)
                lengths.update(sizes.astype("<i4", copy=False))
                if data is not None:
                    texts.update(data.slice(int(between[0]), int(between[-1] - between[0])))
                if not place:
                    self.without_id += int(len(sizes) - np.count_nonzero(sizes))
        self.rows += table.num_rows

    @property
    def digest(self) -> str:
        """128 bits in hexadecimal: two contents with the same digest are the same."""
        whole = hashlib.sha256()
        for name, (texts, lengths) in self._values.items():
            whole.update(f"{name}\0{texts.hexdigest()}{lengths.hexdigest()}\0".encode())
        return whole.hexdigest()[:32]


@dataclass(slots=True)
class _Open:
    """A collection that is being read: its closed parts, and the one that is written."""

    began_at: dt.datetime
    part_began: dt.datetime
    next_part: int
    parts: list[str] = field(default_factory=list)
    bookmark: dict[str, Any] | None = None
    writer: tuple[pq.ParquetWriter, Any] | None = None
    rows_in_part: int = 0
    groups_in_part: int = 0
    pages: list[tuple[pa.Table, str]] = field(default_factory=list)
    """What was appended and is not written yet, with the fingerprints: so many rows and bytes."""
    waiting: int = 0
    size: int = 0
    written: Content = field(default_factory=Content)
    remembered: dict[str, tuple[int, int, int, int]] = field(default_factory=dict)
    """Fingerprint → where the rows of the page are: part, row group, the first one in it, and how many."""


@dataclass(slots=True)
class ExtractFiles:
    """Where one provider's pages of one sync go: a `Sink` for readers.

    A part is a file that is closed; a JSON file is written after it, and names those that count. So nothing
    needs to be renamed or appended to, which object stores cannot, and a reading that is done again never
    touches what was read before until it is through.

    Args:
        folder: The sync's own.
        clock: Aware UTC.
        before: The folders of interrupted syncs whose readings may go on, the newest first.
        release: What makes rows of pages; those of another one are not remembered, and none for "".
        anew: Whether every page is read anew: what is noted of them serves the next readings.
    """

    folder: Path
    clock: Callable[[], dt.datetime]
    before: tuple[Path, ...] = ()
    release: str = ""
    anew: bool = False
    _open: dict[str, _Open] = field(default_factory=dict)
    _left: set[str] = field(default_factory=set)
    _closed: set[str] = field(default_factory=set)
    _remembered: dict[str, RememberedPages] = field(default_factory=dict)

    def append(
        self,
        collection: str,
        page: pa.Table,
        bookmark: dict[str, Any] | None = None,
        fingerprint: str = "",
    ) -> None:
        """Adds a page: an all-string table with exactly the collection's columns.

        Args:
            collection: Whose page.
            page: Its rows.
            bookmark: What a reading that goes on after this page must know, as JSON; None where none can.
            fingerprint: What tells, for `remembered`, that a page has exactly these rows; "" if nothing does.
        """
        state = self._state(collection)
        if not state.rows_in_part:
            state.part_began = self.clock()
        state.pages.append((page, fingerprint))
        state.rows_in_part += page.num_rows
        state.waiting += page.num_rows
        state.size += page.nbytes
        state.bookmark = bookmark
        if bookmark is not None and (
            state.rows_in_part >= PART_ROWS
            or (self.clock() - state.part_began).total_seconds() >= PART_SECONDS
        ):
            self._save(collection, state)
        elif state.waiting >= _GROUP_ROWS or state.size >= _GROUP_BYTES:
            self._write(collection, state)

    def restart(self, collection: str) -> None:
        """Forgets what was appended, or taken over: what is appended next begins the collection anew."""
        self._forget(collection)

    def _forget(self, collection: str, keep: tuple[str, ...] = ()) -> None:
        """Deletes the parts of an unfinished reading, but not those of a whole one, nor `keep`."""
        state = self._open.pop(collection, None)
        self._left.discard(collection)
        if state is not None and state.writer is not None:
            for file in state.writer:
                file.close()
        note = self.folder / f"{collection}{_UNFINISHED}"
        parts = {*(state.parts if state else ()), *_noted(note).get("parts", ())}
        note.unlink(missing_ok=True)
        for name in parts - {*_noted(self.folder / f"{collection}.json").get("parts", ()), *keep}:
            (self.folder / name).unlink(missing_ok=True)

    def interrupted(self, collection: str) -> Unfinished | None:
        """The newest unfinished reading of the collection that is young enough to go on."""
        for folder in (self.folder, *self.before):
            for name, finished in ((f"{collection}.json", True), (f"{collection}{_UNFINISHED}", False)):
                found = _noted(folder / name)
                if not found.get("bookmark") or not found.get("parts"):
                    continue
                began_at = dt.datetime.fromisoformat(found["began_at"])
                if self.clock() - began_at <= GOES_ON_FOR:
                    return Unfinished(folder, tuple(found["parts"]), found["bookmark"], began_at, finished)
        return None

    def go_on(self, collection: str, interrupted: Unfinished) -> None:
        """Makes an interrupted reading's rows the first ones of this sync's; all of them, or none.

        Raises:
            CodedError: RS-DB-03 if a part is not there or not whole.
        """
        self._forget(collection, interrupted.parts if interrupted.folder == self.folder else ())
        state = self._state(collection)
        state.began_at, state.bookmark = interrupted.began_at, interrupted.bookmark
        try:
            with _coded():
                self._take_over(collection, state, interrupted)
        except BaseException:
            self._forget(collection)
            raise
        self._save(collection, state)

    def _take_over(self, collection: str, state: _Open, interrupted: Unfinished) -> None:
        for part in interrupted.parts:
            name = part
            if interrupted.folder != self.folder:
                name = f"{collection}-{state.next_part:05}.parquet"
                with (interrupted.folder / part).open("rb") as old, (self.folder / name).open("wb") as new:
                    shutil.copyfileobj(old, new, 1 << 20)
                state.next_part += 1
            state.parts.append(name)
            for group in _groups(self.folder / name):
                state.written.add(group)

    def earlier(self, collection: str) -> Earlier | None:
        """The last complete extract of the collection, where something was noted to go on from."""
        entry = self._last_complete(collection)
        if not entry.get("sync_id") or not entry.get("cursor"):
            return None
        folder = self.folder.parent / str(entry["sync_id"])
        parts = _noted(folder / f"{collection}.json").get("parts", ())
        return Earlier(entry["sync_id"], entry["cursor"], folder, tuple(parts)) if parts else None

    def _last_complete(self, collection: str) -> dict[str, Any]:
        """What is known of the collection's last complete extract, as `Lake.complete` has it."""
        found: dict[str, Any] = (_read_json(self.folder.parent / COMPLETE) or {}).get(collection, {})
        return found

    def remembered(self, collection: str) -> RememberedPages | None:
        """The pages of the last complete extract of the collection; None where none are remembered."""
        if not self.release:
            return None
        found = RememberedPages(collection, self.folder, {})
        with suppress(Exception):  # whatever is the matter with it, the source has it all
            folder = self.folder.parent / str(self._last_complete(collection)["sync_id"])
            note = _read_json(folder / f"{collection}.json") or {}
            age = self.clock() - dt.datetime.fromisoformat(note["pages_since"])
            is_young = dt.timedelta() <= age <= REMEMBERED_FOR
            if note["release"] == self.release and is_young and not self.anew:
                found = RememberedPages(collection, folder, note)
        self._remembered[collection] = found
        return found

    def written(self, collection: str, columns: tuple[str, ...] | None = None) -> Iterator[pa.Table]:
        """The rows of a collection that is closed, some at a time; these columns, or all."""
        for part in _noted(self.folder / f"{collection}.json").get("parts", ()):
            yield from _groups(self.folder / part, columns)

    def close(self, collection: str) -> None:
        """The collection is read: from now on, this is what was read of it."""
        state = self._open.pop(collection, None)
        earlier = self._remembered.pop(collection, None)
        if state is None:
            note: dict[str, Any] = {"parts": [], **_counted(Content())}
        else:
            self._end_part(collection, state)
            note = {**_described(state), **_counted(state.written)}
            if state.remembered:
                since = earlier.taken if earlier else None
                note |= {
                    "release": self.release,
                    "pages_since": since or state.began_at.isoformat(),
                    "pages": state.remembered,
                }
        _write_json(self.folder / f"{collection}.json", note)
        (self.folder / f"{collection}{_UNFINISHED}").unlink(missing_ok=True)
        self._closed.add(collection)

    def leave(self, collection: str) -> None:
        """The collection could not be read to its end; a later reading may go on where this one stopped."""
        if collection in self._closed:
            return
        self._left.add(collection)
        state = self._open.pop(collection, None)
        path = self.folder / f"{collection}{_UNFINISHED}"
        if state is not None:
            self._save(collection, state)
        elif not path.exists():
            _write_json(path, {"parts": [], "bookmark": None})

    def leave_all(self, collections: tuple[str, ...]) -> None:
        """What is not closed could not be read to its end."""
        for collection in collections:
            self.leave(collection)

    def finish(self, collections: tuple[str, ...]) -> None:
        """Closes what is neither closed nor left; a collection without a page becomes an empty table."""
        for collection in collections:
            if collection not in self._left | self._closed:
                self.close(collection)

    def _state(self, collection: str) -> _Open:
        if collection not in self._open:
            self._left.discard(collection)
            self._closed.discard(collection)
            there = [path.stem for path in self.folder.glob(f"{collection}-*.parquet")]
            after = 1 + max((int(stem.rpartition("-")[2]) for stem in there), default=-1)
            now = self.clock()
            self._open[collection] = _Open(now, now, after)
        return self._open[collection]

    def _save(self, collection: str, state: _Open) -> None:
        self._end_part(collection, state)
        _write_json(self.folder / f"{collection}{_UNFINISHED}", _described(state))

    def _write(self, collection: str, state: _Open) -> None:
        """Writes the pages that came, as one row group."""
        if state.writer is None:
            name = f"{collection}-{state.next_part:05}.parquet"
            file = (self.folder / name).open("wb")
            state.writer = _writer(file, collection), file
            state.next_part += 1
            state.parts.append(name)
            state.groups_in_part = 0
        group = pa.concat_tables([page for page, _ in state.pages]).combine_chunks()
        first = 0
        for page, fingerprint in state.pages:
            if fingerprint:
                place = len(state.parts) - 1, state.groups_in_part
                state.remembered[fingerprint] = *place, first, page.num_rows
            first += page.num_rows
        state.groups_in_part += 1
        state.pages, state.waiting, state.size = [], 0, 0
        state.writer[0].write_table(group, row_group_size=max(1, group.num_rows))
        state.written.add(group)

    def _end_part(self, collection: str, state: _Open) -> None:
        if state.pages:
            self._write(collection, state)
        state.rows_in_part = 0
        if state.writer is not None:
            writer, file = state.writer
            state.writer = None
            writer.close()
            file.close()


def _counted(content: Content) -> dict[str, Any]:
    return {"rows": content.rows, "without_id": content.without_id, "digest": content.digest}


def _described(state: _Open) -> dict[str, Any]:
    return {
        "parts": state.parts,
        "rows": state.written.rows,
        "bookmark": state.bookmark,
        "began_at": state.began_at.isoformat(),
    }


@dataclass(frozen=True, slots=True)
class Lake:
    """The lake at `url`: a local folder, or any address that universal_pathlib knows."""

    url: str

    @property
    def root(self) -> Path:
        """The folder that everything is in."""
        if "://" not in self.url:
            return Path(self.url)
        from upath import UPath  # only a remote lake pays for the import

        protocol = self.url.partition("://")[0]
        try:
            found = UPath(self.url)
            found.fs  # noqa: B018 - what it needs is imported here, and not at the first file
        except ImportError as error:
            text = f"A lake at {protocol}:// needs a package that is not installed."
            raise CodedError("RS-DB-03", text) from error
        except ValueError as error:
            raise CodedError("RS-DB-03", f"No kind of lake is known by {protocol}://.") from error
        return cast("Path", found)  # it has a Path's methods

    def _tenant(self, tenant: str) -> Path:
        return self.root / "tenants" / tenant

    # -------------------------------------------------------------------------- extracts

    @contextmanager
    def extract(
        self,
        tenant: str,
        provider_id: int,
        sync_id: int,
        collections: tuple[str, ...],
        *,
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        interrupted: Sequence[int] = (),
        release: str = "",
        anew: bool = False,
    ) -> Iterator[ExtractFiles]:
        """A sink for one provider's pages; the files are complete when the block ends.

        Whatever ends the block early (SIGTERM comes as an exception, too) leaves what was read for the next.

        Args:
            tenant: Whose extract.
            provider_id: Of which provider or directory.
            sync_id: Of which sync.
            collections: All that it has.
            clock: Aware UTC.
            interrupted: The syncs whose readings may go on in this one, the newest first.
            release: As `ExtractFiles` gets it.
            anew: The same.
        """
        before = tuple(self._extract(tenant, provider_id, other) for other in interrupted)
        with _coded():
            folder = self._extract(tenant, provider_id, sync_id)
            _make(folder)
            files = ExtractFiles(folder, clock, before, release, anew)
            try:
                yield files
            except BaseException:
                with suppress(Exception):  # the first error is the one
                    files.leave_all(collections)
                raise
            files.finish(collections)

    def is_unfinished(self, tenant: str, provider_id: int, sync_id: int) -> bool:
        """Whether a collection of this extract was not read to its end."""
        return any(self._extract(tenant, provider_id, sync_id).glob(f"*{_UNFINISHED}"))

    def read_extract(self, tenant: str, provider_id: int, sync_id: int, collection: str) -> pd.DataFrame:
        """A collection as a DataFrame: all columns str, never null.

        Those of `_CODED` are coded (`rows.coded`): a small integer a row, and each value once.
        """
        few = _CODED.get(collection, ())
        if not few:
            return self._collection(tenant, provider_id, sync_id, collection).to_pandas()
        return _with_codes(
            self._tables(tenant, provider_id, sync_id, collection, few=few), schema_of(collection).names, few
        )

    def has_rows_without_id(self, tenant: str, provider_id: int, sync_id: int, collection: str) -> bool:
        """Whether an extract's collection has rows that cannot be told apart."""
        noted = _read_json(self._extract(tenant, provider_id, sync_id) / f"{collection}.json") or {}
        if "without_id" in noted:
            return bool(noted["without_id"])
        ids = self._collection(tenant, provider_id, sync_id, collection, ["sourcedId"])["sourcedId"]
        return bool(pc.any(pc.equal(ids, "")).as_py())

    def digest(self, tenant: str, provider_id: int, sync_id: int, collection: str) -> str | None:
        """What tells whether two extracts of a collection hold the same rows in the same order.

        None where it is not known, as of an extract of an earlier release.
        """
        noted = _read_json(self._extract(tenant, provider_id, sync_id) / f"{collection}.json") or {}
        found: str | None = noted.get("digest")
        return found

    def _extract(self, tenant: str, provider_id: int, sync_id: int) -> Path:
        return self._tenant(tenant) / "extracts" / str(provider_id) / str(sync_id)

    def _collection(
        self, tenant: str, provider_id: int, sync_id: int, collection: str, columns: list[str] | None = None
    ) -> pa.Table:
        none = schema_of(collection).empty_table().select(columns or schema_of(collection).names)
        return pa.concat_tables(
            list(self._tables(tenant, provider_id, sync_id, collection, columns)) or [none]
        )

    def _tables(
        self,
        tenant: str,
        provider_id: int,
        sync_id: int,
        collection: str,
        columns: list[str] | None = None,
        few: Sequence[str] = (),
    ) -> Iterator[pa.Table]:
        """What was read, part by part, with these columns or all; those of `few` as dictionaries."""
        folder = self._extract(tenant, provider_id, sync_id)
        read = _read_json(folder / f"{collection}.json")
        # Without, it is of an earlier release, or not there.
        return _parts(folder, (f"{collection}.parquet",) if read is None else read["parts"], columns, few)

    def complete(self, tenant: str, provider_id: int) -> dict[str, dict[str, Any]]:
        """The last complete extract of each collection: `{collection: {sync_id, rows, as_of}}`.

        `sync_id` is None for one that is too old to be kept. Where only what changed may be read from then
        on, `cursor` is what must be known for that: it moves with the extract that it is of, or not at all.
        """
        path = self._tenant(tenant) / "extracts" / str(provider_id) / COMPLETE
        return _read_json(path) or {}

    def set_complete(self, tenant: str, provider_id: int, complete: dict[str, dict[str, Any]]) -> None:
        """Remembers which extracts were complete."""
        _write_json(self._tenant(tenant) / "extracts" / str(provider_id) / COMPLETE, complete)

    # -------------------------------------------------------------------------- tables between assets

    def write(
        self, tenant: str, sync_id: int, asset: str, tables: dict[str, pd.DataFrame], facts: dict[str, Any]
    ) -> None:
        """Stores an asset's tables and makes them the tenant's newest of that asset.

        Args:
            facts: What must be known of them later, as JSON; gets `sync_id`.
        """
        folder = self._tenant(tenant) / "syncs" / str(sync_id) / asset
        with _coded():
            _make(folder)
            for name, frame in tables.items():
                table = pa.Table.from_pandas(frame, preserve_index=False)
                with (folder / f"{name}.parquet").open("wb") as file:
                    pq.write_table(table, file, write_statistics=False)  # nobody looks for a value
        made = {"sync_id": sync_id, "made": secrets.token_hex(8)}
        self._finish(tenant, asset, {**facts, **made, "tables": list(tables)})

    def write_same(
        self, tenant: str, sync_id: int, asset: str, same: dict[str, Any], facts: dict[str, Any]
    ) -> None:
        """Makes an earlier sync's tables a later one's, too: they are pointed to, not written.

        Args:
            same: Where they are, as `place_of` gives it.
            facts: What is known otherwise than of the earlier ones, as JSON.
        """
        self._finish(tenant, asset, {**facts, "sync_id": sync_id, "same": same})

    def _finish(self, tenant: str, asset: str, facts: dict[str, Any]) -> None:
        _write_json(self._facts(tenant, asset, facts["sync_id"]), facts)
        _write_json(self._tenant(tenant) / "latest" / f"{asset}.json", {"sync_id": facts["sync_id"]})

    def _facts(self, tenant: str, asset: str, sync_id: int) -> Path:
        return self._tenant(tenant) / "syncs" / str(sync_id) / asset / "facts.json"

    def facts(self, tenant: str, asset: str, sync_id: int | None = None) -> dict[str, Any] | None:
        """The facts of an asset's tables, of the newest finished ones unless a sync is named.

        Where a sync points to an earlier one's tables, what it does not know otherwise is that one's. None
        where there are none, and where those that are pointed to have been made anew since.
        """
        if sync_id is None:
            pointer = _read_json(self._tenant(tenant) / "latest" / f"{asset}.json")
            if pointer is None:
                return None
            sync_id = pointer["sync_id"]
        own = _read_json(self._facts(tenant, asset, sync_id))
        if own is None or "same" not in own:
            return own
        before = _read_json(self._facts(tenant, asset, own["same"]["sync_id"]))
        return {**before, **own} if before and before.get("made") == own["same"]["made"] else None

    def read(self, tenant: str, asset: str, facts: dict[str, Any]) -> dict[str, pd.DataFrame]:
        """The tables behind `facts`, by name."""
        folder = self._facts(tenant, asset, place_of(facts)["sync_id"]).parent
        with _coded():
            return {name: _frame(folder / f"{name}.parquet") for name in facts["tables"]}

    def ground(self, tenant: str) -> dict[str, Any] | None:
        """What the tenant's nights may stand on, as `set_ground` got it."""
        return _read_json(self._tenant(tenant) / "ground.json")

    def set_ground(self, tenant: str, ground: dict[str, Any] | None) -> None:
        """Keeps what the next nights may stand on; None: they stand on nothing."""
        path = self._tenant(tenant) / "ground.json"
        if ground is not None:
            _write_json(path, ground)
        else:
            with _coded():
                path.unlink(missing_ok=True)

    # -------------------------------------------------------------------------- retention

    def prune(self, tenant: str, up_to: int = 0, now: dt.datetime | None = None) -> tuple[int, int]:
        """Removes extracts that are not the last complete ones, and tables that nothing newer reads.

        Of the syncs `up_to` this one also the last complete extracts go, and all tables, unless a newer sync
        uses them: they are too old to be kept. That they were complete, and how many rows they had, stays
        in `complete.json`, with null for the sync. What may yet go on, by the time `now`, stays as well;
        without a time there is no such thing.

        Returns:
            How many folders of extracts went, and how many of tables.
        """
        folder = self._tenant(tenant)
        used: set[str] = set()
        pointed: set[str] = set()  # of which only the tables serve
        extracts = tables = 0
        for path in folder.glob("latest/*.json"):
            sync_id = (_read_json(path) or {}).get("sync_id", 0)
            if sync_id <= up_to:
                continue
            facts = _read_json(self._facts(tenant, path.stem, sync_id)) or {}
            for asset, number in {path.stem: sync_id, **facts.get("reads", {})}.items():
                own = _read_json(self._facts(tenant, asset, number)) or {}
                used.add(str(number))
                pointed.add(str(own.get("same", {}).get("sync_id", number)))
            raw = facts.get("raw", facts).get("providers", {})
            used |= {
                str(found["sync_id"]) for entry in raw.values() for found in entry["collections"].values()
            }
        for old in folder.glob("syncs/*"):
            if old.name not in used | pointed:
                _remove(old)
                tables += 1
        for provider in folder.glob("extracts/*"):
            complete = _read_json(provider / COMPLETE) or {}
            kept = {
                name: entry
                if (entry["sync_id"] or 0) > up_to or str(entry["sync_id"]) in used
                else {**entry, "sync_id": None}
                for name, entry in complete.items()
            }
            if kept != complete:  # before the files go: what is pointed to is there
                self.set_complete(tenant, int(provider.name), kept)
            last = {str(entry["sync_id"]) for entry in kept.values()}
            for old in provider.iterdir():
                if old.is_dir() and old.name not in last | used and not (now and _goes_on(old, now)):
                    _remove(old)
                    extracts += 1
        return extracts, tables


def place_of(facts: dict[str, Any]) -> dict[str, Any]:
    """Where the tables behind facts are: the sync that made them, and which making of its it was."""
    same: dict[str, Any] | None = facts.get("same")
    return same or {"sync_id": facts["sync_id"], "made": facts.get("made")}


def _writer(file: Any, collection: str) -> pq.ParquetWriter:
    # Ids hardly repeat, and nobody looks for a value: a dictionary of all, and statistics, would only cost.
    schema = schema_of(collection)
    few = [name for name in schema.names if name in _FEW_VALUES]
    # With a checksum for each page of the file: a night may take rows over from the one before.
    return pq.ParquetWriter(
        file,
        schema,
        use_dictionary=few,
        write_statistics=False,
        write_page_checksum=True,
        compression="lz4",
    )


def _noted(path: Path) -> dict[str, Any]:
    """What is noted of a reading; nothing where the note is not whole: that cannot be gone on from."""
    try:
        return _read_json(path) or {}
    except ValueError:
        return {}


def _goes_on(folder: Path, now: dt.datetime) -> bool:
    """Whether an extract was interrupted, and can still go on."""
    unfinished = list(folder.glob(f"*{_UNFINISHED}"))
    told = [_noted(path) for path in folder.glob("*.json")] if unfinished else []
    began = [dt.datetime.fromisoformat(one["began_at"]) for one in told if one.get("began_at")]
    return any(now - one <= GOES_ON_FOR for one in began)


def _parts(
    folder: Path, parts: Sequence[str], columns: list[str] | None = None, few: Sequence[str] = ()
) -> Iterator[pa.Table]:
    for name in parts:
        with _coded(), (folder / name).open("rb") as file:
            # Not `read_table`, as in `_frame`.
            table = pq.ParquetFile(file, read_dictionary=few).read(columns=columns)
        yield table


def _with_codes(tables: Iterable[pa.Table], names: Sequence[str], few: Sequence[str]) -> pd.DataFrame:
    """The tables as one DataFrame, of which the columns of `few` are coded.

    A part is forgotten before the next one is read: as one table, a large tenant's would be gigabytes.
    """
    import pandas as pd

    from roster_pipeline.rosters.rows import decoded

    known: dict[str, dict[str, int]] = {name: {} for name in few}
    codes: dict[str, list[np.ndarray]] = {name: [] for name in few}
    others: dict[str, list[pa.Array]] = {name: [] for name in names if name not in few}
    count = 0
    for table in tables:
        count += len(table)
        for name, found in others.items():
            found += table[name].chunks
        for name, place in known.items():
            for chunk in table[name].chunks:
                values = chunk.dictionary.to_pylist()
                places = np.array([place.setdefault(value, len(place)) for value in values], dtype="int32")
                codes[name].append(places[chunk.indices.to_numpy(zero_copy_only=False)])
    index, frame = pd.RangeIndex(count), {}
    for name in names:
        if name in known:
            whole = np.concatenate([np.zeros(0, dtype="int32"), *codes.pop(name)])
            frame[name] = decoded(whole, list(known.pop(name)), index)
        else:
            chunks = pa.chunked_array(others.pop(name), pa.string())
            frame[name] = pd.Series(pd.array(chunks.cast(pa.large_string()), dtype="str"), index=index)
    return pd.DataFrame(frame)


def _groups(path: Path, columns: tuple[str, ...] | None = None) -> Iterator[pa.Table]:
    """A part's rows, some at a time."""
    with _coded(), path.open("rb") as file:
        part = pq.ParquetFile(file, page_checksum_verification=True)
        for number in range(part.num_row_groups):
            yield part.read_row_group(number, columns=list(columns) if columns else None)


def _frame(path: Path) -> pd.DataFrame:
    with _coded(), path.open("rb") as file:
        # Not `read_table`, which makes a data set of the file first: most of the time that a small one takes.
        return pq.ParquetFile(file).read().to_pandas()


def _make(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def _remove(folder: Path) -> None:
    if type(folder).__module__.startswith("pathlib"):
        shutil.rmtree(folder, ignore_errors=True)
    else:
        folder.rmdir(recursive=True)  # type: ignore[call-arg]  # UPath's signature


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    value: dict[str, Any] = json.loads(content)
    return value


def _write_json(path: Path, value: dict[str, Any]) -> None:
    with _coded():
        _make(path.parent)
        if type(path).__module__.startswith("pathlib"):
            temporary = path.with_name(f".{path.name}.{os.getpid()}")
            temporary.write_text(json.dumps(value), encoding="utf-8")
            temporary.replace(path)
        else:
            path.write_text(json.dumps(value), encoding="utf-8")  # object stores write whole objects


@contextmanager
def _coded() -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowInvalid) as error:  # the second for a file that is not whole
        why = getattr(error, "strerror", None) or type(error).__name__
        raise CodedError("RS-DB-03", f"A file of the lake could not be read or written: {why}.") from error
