"""What reading a source means, whatever its kind: what a reader is given, and what it answers.

A reader never raises for a provider's fault: that is a state and an issue of the collections
concerned. Whether an empty collection may be empty, and whether an old extract still serves, is for
whoever compares with the last sync.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

import pyarrow as pa

from roster_pipeline.codes import Issue
from roster_pipeline.oneroster.addresses import Network
from roster_pipeline.oneroster.resuming import Unfinished

if TYPE_CHECKING:
    from roster_pipeline.oneroster.client import Limits
    from roster_pipeline.oneroster.pacing import Paces
    from roster_pipeline.oneroster.paging import Bounds, Remembered
    from roster_pipeline.tenants.document import Provider

State = Literal["ok", "unproven", "failed"]


class Sink(Protocol):
    """Where the rows go, page by page; called from one thread."""

    def append(self, collection: str, page: pa.Table) -> None:
        """Takes an all-string table with exactly the collection's columns."""

    def restart(self, collection: str) -> None:
        """Forgets what was appended to the collection: it is read again, or could not be read."""


class LastingSink(Sink, Protocol):
    """A sink from which a reading that was interrupted can go on: what the REST kinds want."""

    def append(
        self,
        collection: str,
        page: pa.Table,
        bookmark: dict[str, Any] | None = None,
        fingerprint: str = "",
    ) -> None:
        """Takes a page.

        `bookmark` is what a reading that goes on after it must know, as JSON; `fingerprint` what the page can
        be `remembered` by, "" for nothing.
        """

    def remembered(self, collection: str) -> Remembered | None:
        """The pages of the last complete extract; None where none should get a fingerprint."""

    def close(self, collection: str) -> None:
        """Told that the collection was read."""

    def leave(self, collection: str) -> None:
        """Told that the collection could not be read to its end; what was appended may be gone on from."""

    def interrupted(self, collection: str) -> Unfinished | None:
        """What an earlier reading left of the collection, if that is not too old."""

    def go_on(self, collection: str, interrupted: Any) -> None:
        """Told that the rows of an `interrupted` one are this reading's first."""

    def earlier(self, collection: str) -> Earlier | None:
        """The last complete extract, if a `CollectionRead.cursor` was remembered with it."""

    def written(self, collection: str, columns: tuple[str, ...] | None = None) -> Iterator[pa.Table]:
        """The rows of a collection that is closed, some at a time; these columns, or all."""


class Earlier(Protocol):
    """An extract to which what changed since can be added."""

    @property
    def sync_id(self) -> int:
        """Whose it is."""

    @property
    def cursor(self) -> dict[str, Any]:
        """As it was given back with it."""

    def groups(self, columns: tuple[str, ...] | None = None) -> Iterator[pa.Table]:
        """Its rows, some at a time; raises `CodedError` where it is damaged."""


@dataclass(frozen=True, slots=True)
class CollectionRead:
    """How the reading of one collection ended.

    `ok` is proven complete; the rows of `unproven` may be used, and nothing may be removed for what
    is not among them; `failed` has no rows. `proof` is one sentence: why nothing is missing, or why
    that is not known. `how` it was read: in full, or only what had changed. `cursor` is what must be
    known for the latter, next time, as JSON; None where that is out of the question. `rows_as_before` are
    those of pages that came before; None where no pages are remembered: files, what was read by its changes,
    what failed.
    """

    name: str
    state: State
    rows: int
    proof: str
    issues: tuple[Issue, ...] = ()
    how: Literal["full", "delta"] = "full"
    cursor: dict[str, Any] | None = None
    rows_as_before: int | None = None


@dataclass(frozen=True, slots=True)
class Probed(CollectionRead):
    """What the first page of a collection shows: for `check`, which reads no more.

    `rows` are those of the page, and `proof` says what a sync would use. `total` is what the source
    counts, or None.
    """

    total: int | None = None
    page: pa.Table | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader needs of the world."""

    secret: Callable[[str], str]
    """The secret behind a reference; raises `CodedError` RS-AUTH-05."""
    clock: Callable[[], datetime]
    """Aware UTC."""
    sleep: Callable[[float], None]
    """Seconds."""
    rng: random.Random
    progress: Callable[[str, int, int | None], None]
    """Gets collection, rows so far and the total told, after each page."""
    networks: tuple[Network, ...] = ()
    """The operator's own, where a provider may be besides the public internet."""
    limits: Limits | None = None
    """What one request to a server may cost; None for what is usual."""
    bounds: Bounds | None = None
    """What the reading of one collection from a server may cost; None for what is usual."""
    as_of: date | None = None
    """The day that the sync is for; None where everything is to be read in full."""
    paces: Paces | None = None
    """Where what is learned of hosts is kept; None: it is not."""


Reader = Callable[["Provider", Sink, Reading], list[CollectionRead]]
"""One entry a collection, always all six in their order (a directory: `people` alone)."""


def ignore_progress(collection: str, rows: int, total: int | None) -> Any:
    """For readings that nobody watches."""
