"""A CSV package as it lies there: a folder or a zip, opened safely, and what its manifest says.

Nothing is ever unpacked to disk, only plain names are read, and what is unpacked is counted while it
streams. The columns of the files are in `reading`.
"""

from __future__ import annotations

import io
import re
import stat
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol, Self

from roster_pipeline.codes import CodedError
from roster_pipeline.oneroster.csv.opening import ExportFile
from roster_pipeline.oneroster.csv.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from _typeshed import WriteableBuffer

FILES: Final = ("orgs", "academicSessions", "courses", "classes", "users", "enrollments")
"""The six files of a roster, without `.csv`; named as the collections."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may cost.

    Attributes:
        entries: How many files it may list.
        unpacked: How many bytes may come out of it.
        ratio: How many times its own size may come out of it ...
        free: ... once more than this many bytes have.
    """

    entries: int = 1000
    unpacked: int = 4 << 30
    ratio: int = 100
    free: int = 10 << 20


class Package(Protocol):
    """A folder or an archive with CSV files; closed when the `with` block is left."""

    title: str
    """What messages call it."""

    @property
    def names(self) -> frozenset[str]:
        """The plain names of its files."""
        ...

    def open(self, name: str) -> BinaryIO:
        """A file's bytes, unpacked. Raises CodedError, also while it is read."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_package(path: Path, limits: Limits | None = None) -> Package:
    """The folder or zip at `path`.

    Raises:
        CodedError: RS-FILE-01 (not there, not readable, not a zip, encrypted), RS-FILE-04 (a name that leads
            out of it, or comes twice), RS-FILE-05 (larger than `limits`). While it is read also RS-FILE-10.
    """
    try:
        if path.is_dir():
            return _Folder(path)
        if not path.exists():
            raise CodedError("RS-FILE-01", f"{path.name} is not there: neither a folder nor a zip.")
        if not path.is_file():
            raise CodedError("RS-FILE-01", f"{path.name} is neither a folder nor a file.")
        return _Archive(path, limits or Limits())
    except OSError as error:
        raise CodedError("RS-FILE-01", f"{path.name} could not be opened ({_reason(error)}).") from error


# ------------------------------------------------------------------------------------------------- folder


class _Folder:
    def __init__(self, path: Path) -> None:
        self.title = f"the folder {path.name}"
        self._path = path.resolve()
        self.names = frozenset(entry.name for entry in self._path.iterdir() if entry.is_file())

    def open(self, name: str) -> BinaryIO:
        file = self._path / name
        if not file.resolve().is_relative_to(self._path):  # a link: it may point to anybody's file
            raise CodedError("RS-FILE-04", f"{name} in {self.title} is a link that leads out of it.")
        try:
            return io.BufferedReader(ExportFile(file, f"{name} in {self.title}"), 1 << 16)
        except OSError as error:
            raise CodedError(
                "RS-FILE-01", f"{name} in {self.title} could not be opened ({_reason(error)})."
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


# ---------------------------------------------------------------------------------------------------- zip


class _Archive:
    def __init__(self, path: Path, limits: Limits) -> None:
        self.title = path.name
        self.limits = limits
        self.size = path.stat().st_size
        self.unpacked: dict[str, int] = {}
        self._file = ExportFile(path, path.name)
        try:
            self._zip = zipfile.ZipFile(self._file)
            self._entries = self._admit()
        except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError):
            self._file.close()
            raise CodedError("RS-FILE-01", f"{path.name} is not a zip, or is damaged.") from None
        except BaseException:
            self._file.close()
            raise
        self.names = frozenset(self._entries)

    def _admit(self) -> dict[str, zipfile.ZipInfo]:
        """The files that may be read, by plain name; refuses the archive for what no export holds."""
        entries = self._zip.infolist()
        if len(entries) > self.limits.entries:
            raise CodedError(
                "RS-FILE-05", f"{self.title} lists {len(entries)} files; the limit is {self.limits.entries}."
            )
        seen: set[str] = set()
        for entry in entries:
            if _leads_out(entry):
                raise CodedError(
                    "RS-FILE-04", f"{self.title} holds a file whose name leads out of the archive."
                )
            if entry.filename in seen:
                raise CodedError("RS-FILE-04", f"{self.title} holds two files of one name.")
            seen.add(entry.filename)
        files = [entry for entry in entries if not entry.is_dir()]
        self.check_size(sum(entry.file_size for entry in files), "says that it holds")
        found = _in_one_folder(files)
        if any(entry.flag_bits & 0x1 for entry in found.values()):
            raise CodedError("RS-FILE-01", f"{self.title} is encrypted; a roster's zip must not be.")
        return found

    def check_size(self, unpacked: int, how: str) -> None:
        limits = self.limits
        if unpacked > limits.unpacked:
            raise CodedError(
                "RS-FILE-05", f"{self.title} {how} {unpacked} bytes unpacked; the limit is {limits.unpacked}."
            )
        if unpacked > limits.free and unpacked > limits.ratio * self.size:
            raise CodedError(
                "RS-FILE-05",
                f"{self.title} {how} {unpacked} bytes unpacked, more than {limits.ratio} times its own size.",
            )

    def open(self, name: str) -> BinaryIO:
        try:
            return io.BufferedReader(_Unpacking(self, name, self._zip.open(self._entries[name])), 1 << 16)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as error:
            raise CodedError("RS-FILE-01", f"{name} in {self.title} cannot be unpacked.") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()
        self._file.close()

    def check_unchanged(self) -> None:
        self._file.check_unchanged()


class _Unpacking(io.RawIOBase):
    """An entry's bytes, counted as they come out: an archive's own figures may lie."""

    def __init__(self, archive: _Archive, name: str, stream: object) -> None:
        self._archive, self._name, self._stream, self._count = archive, name, stream, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer)
        try:
            data: bytes = self._stream.read(len(view))  # type: ignore[attr-defined]
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError):
            raise CodedError(
                "RS-FILE-06", f"{self._name} in {self._archive.title} is damaged or cut off."
            ) from None
        if not data:
            self._archive.check_unchanged()
        view[: len(data)] = data
        self._count += len(data)
        unpacked = self._archive.unpacked
        unpacked[self._name] = max(unpacked.get(self._name, 0), self._count)
        self._archive.check_size(sum(unpacked.values()), "holds more than")
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()  # type: ignore[attr-defined]
        super().close()


def _leads_out(entry: zipfile.ZipInfo) -> bool:
    # zipfile cuts names at a NUL byte; what was written is in orig_filename.
    name = entry.orig_filename
    return (
        "\\" in name
        or "\0" in name
        or name.startswith("/")
        or re.match(r"[A-Za-z]:", name) is not None
        or ".." in PurePosixPath(name).parts
        or stat.S_ISLNK(entry.external_attr >> 16)
    )


def _in_one_folder(files: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """The files of the root, or of the one folder that somebody zipped instead of its files."""
    folders: dict[str, dict[str, zipfile.ZipInfo]] = {}
    for entry in files:
        folder, _, name = entry.filename.rpartition("/")
        folders.setdefault(folder, {})[name] = entry
    ours = {"manifest.csv", *(f"{name}.csv" for name in FILES)}
    holding = [
        folder for folder, content in folders.items() if ours & content.keys() and "__MACOSX" not in folder
    ]
    if len(holding) == 1 and "/" not in holding[0]:
        return folders[holding[0]]
    return folders.get("", {})


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


# ----------------------------------------------------------------------------------------------- manifest

MODES: Final = ("absent", "bulk", "delta")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `manifest.csv` says.

    Attributes:
        version: "1.1" or "1.2"; None where it does not say.
        modes: `absent`, `bulk` or `delta` by file name without `.csv`; other words as they came.
        source: `source.systemCode`, or "".
    """

    version: str | None
    modes: Mapping[str, str] = field(default_factory=dict)
    source: str = ""


def read_manifest(package: Package) -> Manifest | None:
    """The package's manifest; None if there is none.

    Raises:
        CodedError: RS-FILE-09 for a manifest that is not one, that contradicts itself, or of a version other
            than 1.1 and 1.2; RS-FILE-06 and RS-FILE-08 as for any file.
    """
    if "manifest.csv" not in package.names:
        return None
    values: dict[str, str] = {}
    with package.open("manifest.csv") as stream:
        rows = Rows(stream, "manifest.csv")
        if not {"propertyName", "value"} <= set(rows.header):
            raise CodedError("RS-FILE-09", "manifest.csv, line 1: the header is not propertyName,value.")
        for table in rows.batches(("propertyName", "value")):
            for row in table.to_pylist():
                name, value = row["propertyName"], row["value"]
                if values.setdefault(name, value) != value:
                    raise CodedError("RS-FILE-09", "manifest.csv gives one property two values.")
    return Manifest(
        version=_version(values.get("oneroster.version", "")),
        modes={
            name.removeprefix("file."): value.lower()
            for name, value in values.items()
            if name.startswith("file.")
        },
        source=values.get("source.systemCode", ""),
    )


def _version(text: str) -> str | None:
    if not text:
        return None
    found = re.match(r"v?(\d+\.\d+)(?:\.\d+)*\Z", text, re.ASCII)
    version = found[1] if found else None
    if version not in ("1.1", "1.2"):
        named = version or "a version that is none"
        raise CodedError("RS-FILE-09", f"manifest.csv names OneRoster {named}; 1.1 and 1.2 are read.")
    return version
