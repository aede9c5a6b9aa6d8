"""What the kinds that read files have in common: a probe is a reading whose rows are not kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from roster_pipeline.providers.reading import CollectionRead, Probed, Sink

if TYPE_CHECKING:
    import pyarrow as pa


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
