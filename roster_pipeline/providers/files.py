"""What the kinds that read files have in common: bounds, and a probe as a reading whose rows are not kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from roster_pipeline.codes import CodedError, Issue
from roster_pipeline.oneroster.collections import MOST_BYTES, MOST_ROWS
from roster_pipeline.oneroster.fields import LONGEST_TEXT, bounded, without_controls
from roster_pipeline.providers.reading import CollectionRead, Probed, Sink

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(slots=True)
class Within:
    """Pages of a file, within the bounds of its collection; `rows` and `left_out` count what was given."""

    collection: str
    file: str
    rows: int = 0
    size: int = 0
    left_out: int = 0

    def pages(self, pages: Iterator[pa.Table]) -> Iterator[pa.Table]:
        """The pages without values that are too long.

        Raises:
            CodedError: RS-FILE-05 beyond what any real collection is.
        """
        for page in pages:
            page, left_out = bounded(without_controls(page))
            self.rows += page.num_rows
            self.size += page.nbytes
            self.left_out += left_out
            if self.rows > MOST_ROWS[self.collection]:
                raise CodedError(
                    "RS-FILE-05", f"{self.file} has more than {MOST_ROWS[self.collection]} rows."
                )
            if self.size > MOST_BYTES:
                raise CodedError("RS-FILE-05", f"{self.file} holds more than {MOST_BYTES} bytes of values.")
            yield page

    def end(self, proof: str, provider: str) -> CollectionRead:
        """How a reading to the end of the file ended; `proof` holds if nothing was left out."""
        if not self.left_out:
            return CollectionRead(self.collection, "ok", self.rows, proof)
        told = (
            f"{self.left_out} values of {self.file} were too long for an id, a list or a text"
            f" of {LONGEST_TEXT} bytes, and were left out."
        )
        issue = Issue("RS-ROW-06", told, provider, count=self.left_out)
        return CollectionRead(self.collection, "unproven", self.rows, told, (issue,))


def probed(read_into: Callable[[Sink], list[CollectionRead]]) -> list[Probed]:
    """What a reading finds: the first page of each collection, and its rows counted to the last."""
    first = _FirstPages({})
    return [
        Probed(
            name=found.name,
            state=found.state,
            rows=first.pages[found.name].num_rows if found.name in first.pages else 0,
            proof=found.proof,
            issues=found.issues,
            total=None if found.state == "failed" else found.rows,
            page=first.pages.get(found.name),
        )
        for found in read_into(first)
    ]


@dataclass(frozen=True, slots=True)
class _FirstPages:
    pages: dict[str, pa.Table]

    def append(self, collection: str, page: pa.Table) -> None:
        self.pages.setdefault(collection, page)

    def restart(self, collection: str) -> None:
        self.pages.pop(collection, None)
