"""The lake: extracts and the tables between assets, as Parquet, per tenant and sync.

    tenants/<tenant>/extracts/<provider_id>/<sync_id>/<collection>.parquet
    tenants/<tenant>/extracts/<provider_id>/complete.json      the last complete one of each collection
    tenants/<tenant>/syncs/<sync_id>/<asset>/<table>.parquet
    tenants/<tenant>/latest/<asset>.json                       the newest finished one of each asset

A JSON file is the last thing written of what it points to, under a temporary name first: whoever
reads a pointer finds the whole thing behind it, also after a kill. Files of an unfinished sync are
never read. Folders are for their owner only: they hold children's data.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from roster_pipeline.codes import CodedError
from roster_pipeline.oneroster.collections import COLUMNS, DIRECTORY_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd


def schema_of(collection: str) -> pa.Schema:
    """The Arrow schema of an extract's collection (`people` is a directory's): all strings."""
    columns = DIRECTORY_COLUMNS if collection == "people" else COLUMNS[collection]
    return pa.schema([(name, pa.string()) for name in columns])


@dataclass(slots=True)
class ExtractFiles:
    """Where one provider's pages of one sync go: a `Sink` for readers, one file a collection."""

    folder: Path
    _writers: dict[str, tuple[pq.ParquetWriter, Any]] = field(default_factory=dict)

    def append(self, collection: str, page: pa.Table) -> None:
        """Adds a page: an all-string table with exactly the collection's columns."""
        if collection not in self._writers:
            file = (self.folder / f"{collection}.parquet").open("wb")
            self._writers[collection] = _writer(file, collection), file
        self._writers[collection][0].write_table(page)

    def restart(self, collection: str) -> None:
        """Closes the file: what is appended next begins it anew."""
        writer, file = self._writers.pop(collection, (None, None))
        if writer is not None and file is not None:
            writer.close()
            file.close()

    def finish(self, collections: tuple[str, ...]) -> None:
        """Closes the files; a collection without a page becomes an empty table."""
        for collection in collections:
            if collection not in self._writers:
                self.append(collection, schema_of(collection).empty_table())
        for collection in list(self._writers):
            self.restart(collection)


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
        self, tenant: str, provider_id: int, sync_id: int, collections: tuple[str, ...]
    ) -> Iterator[ExtractFiles]:
        """A sink for one provider's pages; the files are complete when the block ends."""
        folder = self._tenant(tenant) / "extracts" / str(provider_id) / str(sync_id)
        with _coded():
            _make(folder)
            files = ExtractFiles(folder)
            yield files
            files.finish(collections)

    def read_extract(self, tenant: str, provider_id: int, sync_id: int, collection: str) -> pd.DataFrame:
        """A collection as a DataFrame: all columns str, never null."""
        folder = self._tenant(tenant) / "extracts" / str(provider_id) / str(sync_id)
        return _frame(folder / f"{collection}.parquet")

    def has_rows_without_id(self, tenant: str, provider_id: int, sync_id: int, collection: str) -> bool:
        """Whether an extract's collection has rows that cannot be told apart."""
        path = self._tenant(tenant) / "extracts" / str(provider_id) / str(sync_id) / f"{collection}.parquet"
        with _coded(), path.open("rb") as file:
            ids = pq.ParquetFile(file).read(columns=["sourcedId"])["sourcedId"]
        return bool(pc.any(pc.equal(ids, "")).as_py())

    def complete(self, tenant: str, provider_id: int) -> dict[str, dict[str, Any]]:
        """The last complete extract of each collection: `{collection: {sync_id, rows, as_of}}`."""
        path = self._tenant(tenant) / "extracts" / str(provider_id) / "complete.json"
        return _read_json(path) or {}

    def set_complete(self, tenant: str, provider_id: int, complete: dict[str, dict[str, Any]]) -> None:
        """Remembers which extracts were complete."""
        _write_json(self._tenant(tenant) / "extracts" / str(provider_id) / "complete.json", complete)

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
                    pq.write_table(table, file)
            _write_json(folder / "facts.json", {**facts, "sync_id": sync_id, "tables": list(tables)})
            _write_json(self._tenant(tenant) / "latest" / f"{asset}.json", {"sync_id": sync_id})

    def facts(self, tenant: str, asset: str, sync_id: int | None = None) -> dict[str, Any] | None:
        """The facts of an asset's tables, of the newest finished ones unless a sync is named."""
        if sync_id is None:
            pointer = _read_json(self._tenant(tenant) / "latest" / f"{asset}.json")
            if pointer is None:
                return None
            sync_id = pointer["sync_id"]
        return _read_json(self._tenant(tenant) / "syncs" / str(sync_id) / asset / "facts.json")

    def read(self, tenant: str, asset: str, facts: dict[str, Any]) -> dict[str, pd.DataFrame]:
        """The tables behind `facts`, by name."""
        folder = self._tenant(tenant) / "syncs" / str(facts["sync_id"]) / asset
        with _coded():
            return {name: _frame(folder / f"{name}.parquet") for name in facts["tables"]}

    # -------------------------------------------------------------------------- retention

    def prune(self, tenant: str) -> None:
        """Removes extracts that are not the last complete ones, and tables that nothing newer reads."""
        folder = self._tenant(tenant)
        used: set[str] = set()
        for path in folder.glob("latest/*.json"):
            facts = self.facts(tenant, path.stem) or {}
            used |= {str(number) for number in [facts.get("sync_id"), *facts.get("reads", {}).values()]}
            raw = facts.get("raw", facts).get("providers", {})
            used |= {
                str(found["sync_id"]) for entry in raw.values() for found in entry["collections"].values()
            }
        for old in folder.glob("syncs/*"):
            if old.name not in used:
                _remove(old)
        for provider in folder.glob("extracts/*"):
            complete = _read_json(provider / "complete.json") or {}
            last = {str(entry["sync_id"]) for entry in complete.values()}
            for old in provider.iterdir():
                if old.is_dir() and old.name not in last | used:
                    _remove(old)


def _writer(file: Any, collection: str) -> pq.ParquetWriter:
    # Ids hardly repeat, and nobody looks for a value: a dictionary and statistics would only cost.
    return pq.ParquetWriter(
        file, schema_of(collection), use_dictionary=False, write_statistics=False, compression="lz4"
    )


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
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise CodedError("RS-DB-03", f"A file of the lake could not be read or written: {why}.") from error
