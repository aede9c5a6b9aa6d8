"""A directory of kind `csv`: people whom the platform already knows for a tenant.

Columns id, email, given_name, family_name and role, the last three optional, in any order; others are
ignored. Which of the people count is a rule's business.
"""

from __future__ import annotations

import io
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa

from roster_pipeline.codes import CodedError, Issue
from roster_pipeline.oneroster.collections import DIRECTORY_COLUMNS
from roster_pipeline.oneroster.csv.opening import ExportFile
from roster_pipeline.oneroster.csv.rows import Rows
from roster_pipeline.providers.files import Within, probed
from roster_pipeline.providers.reading import CollectionRead, Probed, Reading, Sink

if TYPE_CHECKING:
    from roster_pipeline.tenants.document import Directory

PEOPLE = "people"
_REQUIRED = ("id", "email")


def read(directory: Directory, sink: Sink, reading: Reading) -> list[CollectionRead]:
    """Reads the directory's only collection, `people`, into `sink`; failed, it leaves no rows."""
    return [_read(directory, sink, reading)]


def probe(directory: Directory, reading: Reading) -> list[Probed]:
    """What `read` would find: the first page, and the rows counted to the last."""
    return probed(lambda sink: read(directory, sink, reading))


def _read(directory: Directory, sink: Sink, reading: Reading) -> CollectionRead:
    path = Path(directory.path)
    within = Within(PEOPLE, path.name)
    with ExitStack() as stack:
        try:
            rows = Rows(stack.enter_context(_opened(path)), path.name)
            _check(rows.header, path.name)
        except CodedError as error:
            return _failed(directory, error)
        pages = within.pages(rows.batches([name for name in DIRECTORY_COLUMNS if name in rows.header]))
        while True:
            try:
                page = next(pages, None)
            except CodedError as error:  # the file's; what the sink raises is ours
                sink.restart(PEOPLE)
                return _failed(directory, error)
            if page is None:
                break
            sink.append(PEOPLE, _with_all_columns(page))
            reading.progress(PEOPLE, within.rows, None)
    return within.end(f"{path.name} was read to its end.", directory.name)


def _opened(path: Path) -> BinaryIO:
    try:
        return io.BufferedReader(ExportFile(path, path.name), 1 << 16)
    except OSError as error:
        what = error.strerror or type(error).__name__
        raise CodedError("RS-FILE-01", f"{path.name} could not be read ({what}).") from error


def _check(header: tuple[str, ...], file: str) -> None:
    missing = [name for name in _REQUIRED if name not in header]
    if missing:
        columns = ", ".join(DIRECTORY_COLUMNS)
        raise CodedError(
            "RS-FILE-03", f"{file}, line 1: the header lacks {', '.join(missing)}; the columns are {columns}."
        )
    twice = [name for name in DIRECTORY_COLUMNS if header.count(name) > 1]
    if twice:
        raise CodedError("RS-FILE-03", f"{file}, line 1: the header has {', '.join(twice)} more than once.")


def _with_all_columns(page: pa.Table) -> pa.Table:
    blank = pa.repeat(pa.scalar(""), page.num_rows)
    columns = [page[name] if name in page.column_names else blank for name in DIRECTORY_COLUMNS]
    return pa.table(columns, names=list(DIRECTORY_COLUMNS))


def _failed(directory: Directory, error: CodedError) -> CollectionRead:
    issue = Issue(error.code, error.message, provider=directory.name)
    return CollectionRead(PEOPLE, "failed", 0, error.message, (issue,))
