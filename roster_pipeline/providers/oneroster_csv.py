"""The kind `oneroster_csv`: a folder or zip of OneRoster CSV files, 1.1 or 1.2.

A file that was read to its end is complete: what proves a collection is that its file is bulk and
whole. How files are read is in `oneroster.csv`.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from roster_pipeline.codes import CodedError, Issue
from roster_pipeline.oneroster.collections import COLLECTIONS
from roster_pipeline.oneroster.csv.package import open_package
from roster_pipeline.oneroster.csv.reading import Export, open_export
from roster_pipeline.providers.files import Within, probed
from roster_pipeline.providers.reading import CollectionRead, Probed, Reading, Sink

if TYPE_CHECKING:
    from roster_pipeline.tenants.document import Provider


def read(provider: Provider, sink: Sink, reading: Reading) -> list[CollectionRead]:
    """Reads all six collections into `sink`; what cannot be read whole is `failed` and leaves no rows."""
    with ExitStack() as stack:
        try:
            package = stack.enter_context(open_package(Path(provider.path or "")))
            export = open_export(package, compatibility_mode=provider.compatibility_mode)
        except CodedError as error:
            return [_failed(collection, error, provider) for collection in COLLECTIONS]
        reads = [_collection(export, collection, provider, sink, reading) for collection in COLLECTIONS]
    if not export.has_manifest:
        # Told once, with the first collection: it concerns the folder.
        told = Issue(
            "RS-FILE-07",
            f"There is no manifest.csv in {package.title}; its files were read as OneRoster 1.1 bulk.",
            provider=provider.name,
        )
        first = reads[0]
        reads[0] = replace(first, issues=(told, *first.issues))
    return reads


def probe(provider: Provider, reading: Reading) -> list[Probed]:
    """What `read` would find: the first page of each collection, and its rows counted to the last."""
    return probed(lambda sink: read(provider, sink, reading))


def _collection(
    export: Export, collection: str, provider: Provider, sink: Sink, reading: Reading
) -> CollectionRead:
    if collection in export.left_out:
        proof = f"manifest.csv calls {collection}.csv absent, which compatibility mode admits."
        return CollectionRead(collection, "ok", 0, proof)
    within = Within(collection, f"{collection}.csv")
    pages = within.pages(export.batches(collection))
    while True:
        try:
            page = next(pages, None)
        except CodedError as error:  # the file's; what the sink raises is ours
            sink.restart(collection)
            return _failed(collection, error, provider)
        if page is None:
            break
        sink.append(collection, page)
        reading.progress(collection, within.rows, None)
    proof = f"{collection}.csv is a bulk file of OneRoster {export.version} and was read to its end."
    return within.end(proof, provider.name)


def _failed(collection: str, error: CodedError, provider: Provider) -> CollectionRead:
    issue = Issue(error.code, error.message, provider=provider.name)
    return CollectionRead(collection, "failed", 0, error.message, (issue,))
