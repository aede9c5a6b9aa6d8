"""Reading one collection to its end, and the proof that it was the end.

Servers clamp `limit` silently, send no counts, wrong counts or counts that change, ignore `offset`,
and repeat pages past the end. So the offset advances by the rows received, and only four things
prove an end: as many different rows as the server counts, an empty page, everything in one page
that is larger than what was asked for, or a last row that, asked for alone, is alone.

None of them tells that nothing moved meanwhile: a row that goes while another comes leaves the total as it
was, and takes a third one from the next page to a page that was read. So where rows come in the order of
their ids, pages overlap by one: each page begins with the last row of the one before. If that row still
stands there, as many rows came before it as went, and all that were behind it still are.

A page whose bytes are those of an earlier one holds the same rows: they are not made of its JSON again, but
taken from where they were kept. All that is said here of pages holds for these as for others; what the
server's headers tell is always tonight's.

Where a server lets us wait, pages are fetched ahead if their offsets can be guessed; a guess that turns
out wrong costs a request and nothing else, because pages are only ever used at the offset that the rows
so far give.
"""

from __future__ import annotations

import gc
import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from typing import Any, Final, Protocol

import pyarrow as pa

from roster_pipeline.codes import CodedError
from roster_pipeline.oneroster.client import Answer, Client, date_of
from roster_pipeline.oneroster.collections import MOST_BYTES, MOST_ROWS
from roster_pipeline.oneroster.fields import LONGEST_TEXT, bounded, without_controls
from roster_pipeline.oneroster.regular import Regular
from roster_pipeline.oneroster.resuming import LEAST_PAGES, ORDERS, Bookmark, Order, Resumption, orders_of
from roster_pipeline.oneroster.seen import Ids
from roster_pipeline.oneroster.wire import Rows, SourceError, decode, rows_of

MOST_IN_A_PAGE: Final = 500_000
"""Rows: each takes some hundred bytes while it becomes columns, however little it holds."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page, decoded: the rows received, their ids ("" for none), and what the headers told.

    Where it was asked for `behind` a row and begins with it, it `follows`: that row is neither in `ids` nor
    in `table`, which then have one less than `rows`.
    """

    rows: int
    ids: list[str]
    table: pa.Table
    total: int | None
    revision: str | None
    left_out: int = 0
    """Values that were too long."""
    offset: int = 0
    behind: str = ""
    follows: bool = False
    fingerprint: str = ""
    """What `Remembered` may know `table` by; "" where it says more than the table and its ids do."""
    again: bool = False
    """Whether `table` is not made of the JSON, but remembered."""


class Remembered(Protocol):
    """The rows of pages that were read before, as this release reads them."""

    def rows(self, fingerprint: str) -> pa.Table | None:
        """The table of the page with this fingerprint; None if there was none."""


def fingerprint_of(body: bytes, behind: str) -> str:
    """What tells a page, asked for `behind` a row, from all others: 128 bits in hexadecimal."""
    found = hashlib.sha256(body)
    found.update(b"\0" + behind.encode())  # no JSON has a NUL
    return found.hexdigest()[:32]


class Listing:
    """The pages of one endpoint. Fetching is for several threads, decoding for the one that reads.

    One thread decodes because that is nearly all of the CPU: several would only take turns, each
    with a page's objects in memory.

    Args:
        client: Where from.
        collection: Whose columns the rows become.
        endpoint: Which endpoint lists them; mostly of the collection's name.
        compatible: Whether the server is taken for a minimum implementation: then it is not asked for the
            order of `sourcedId`, and its wrappers are read leniently.
        implied_role: See `wire.decode`.
        where: A filter; "" for none. Who sends one must not believe that the server honours it.
        remembered: What knows the collection's pages by their fingerprint; None where pages get none.
    """

    def __init__(
        self,
        client: Client,
        collection: str,
        endpoint: str,
        *,
        compatible: bool,
        implied_role: str = "",
        where: str = "",
        remembered: Remembered | None = None,
    ) -> None:
        self.collection, self.endpoint = collection, endpoint
        # Of its own endpoint alone: rows of another one may be changed before they are a collection's.
        self._remembered = remembered if endpoint == collection and not implied_role else None
        self._client, self._implied_role = client, implied_role
        # `fields` is never sent, and `filter` for what changed alone. A server may ignore a filter, or
        # count without it: then its total proves nothing. The rules filter for themselves.
        self._filter = {"filter": where} if where else {}
        self._sort = {} if compatible else {"sort": "sourcedId"}
        self.sorts = bool(self._sort)
        """Whether an order is asked for."""
        self._lenient = compatible
        self._wrapper: str | None = None
        # Where a role is implied, rows are changed before they are read.
        self._regular = None if implied_role else Regular(collection, endpoint, MOST_IN_A_PAGE)

    def fetch(
        self,
        offset: int,
        limit: int,
        *,
        tries: int | None = None,
        hasty: bool = False,
        among: int = 0,
        abandoned: threading.Event | None = None,
        order: str = "asc",
    ) -> Answer:
        """The page at `offset` as it came; for several threads. See `Client.fetch` and `Transport.send`.

        Raises:
            SourceError: with the code of what went wrong.
        """
        query = {"limit": str(limit), "offset": str(offset), **self._filter, **self._sort}
        if self._sort:
            query["orderBy"] = order
        what = self._what(offset)
        return self._client.fetch(
            self.endpoint, query, what=what, tries=tries, hasty=hasty, among=among, abandoned=abandoned
        )

    def page(
        self,
        offset: int,
        limit: int,
        *,
        behind: str = "",
        fetched: Answer | None = None,
        tries: int | None = None,
        hasty: bool = False,
    ) -> Page:
        """The page at `offset`, decoded; `fetched` is what an earlier `fetch` of it gave.

        A first row with the id `behind` is left out; "" for none.

        Raises:
            SourceError: with the code of what went wrong.
        """
        answer = fetched or self.fetch(offset, limit, tries=tries, hasty=hasty)
        try:
            return self._decoded(answer, offset, behind)
        except SourceError as error:
            if error.code != "RS-PAGE-02":
                raise
        # Complete for HTTP and yet no JSON: a gateway's hiccup, or for good. Once more tells.
        return self._decoded(self.fetch(offset, limit, tries=tries, hasty=hasty), offset, behind)

    def greatest(self) -> str | None:
        """The id that comes first when the rows are asked for downwards; None where no order is asked for.

        Raises:
            SourceError: with the code of what went wrong.
        """
        if not self._sort:
            return None
        page = self._decoded(self.fetch(0, 1, order="desc"), 0)
        return page.ids[0] if page.ids else None

    def look(self) -> tuple[int | None, datetime | None]:
        """How many rows the server counts, and what time it is there; None for what it does not tell.

        Raises:
            SourceError: with the code of what went wrong.
        """
        answer = self.fetch(0, 1)
        return self.page(0, 1, fetched=answer).total, date_of(answer)

    def _what(self, offset: int) -> str:
        return f"GET /{self.endpoint} (offset {offset})"

    def _decoded(self, answer: Answer, offset: int, behind: str = "") -> Page:
        fingerprint = ""
        if self._remembered is not None:
            fingerprint = fingerprint_of(answer.body, behind)
            table = self._remembered.rows(fingerprint)
            if table is not None:
                return self._again(answer, offset, behind, fingerprint, table)
        with _without_collections():
            document = self._client.document(
                answer, self._what(offset), self._regular.read if self._regular else None
            )
            total, revision = document.total, document.revision
            found = document.content
            if not isinstance(found, Rows):
                found = self._taken_apart(found, offset)
            if found.ids:
                self._wrapper = found.wrapper
            table, ids, rows = found.table, found.ids, len(found.ids)
            follows = bool(behind) and ids[:1] == [behind]
            if follows:
                table, ids = table.slice(1), ids[1:]
            if document.may_hold_controls:
                table = without_controls(table)
            table, left_out = (table, 0) if found.short else bounded(table)
            says_more = (
                not isinstance(document.content, Rows)  # which may hang on the pages before it
                or follows != bool(behind)
                or bool(left_out)
            )
            del document, found
        if fingerprint and (says_more or not ids or table["sourcedId"].to_pylist() != ids):
            fingerprint = ""
        return Page(rows, ids, table, total, revision, left_out, offset, behind, follows, fingerprint)

    def _again(self, answer: Answer, offset: int, behind: str, fingerprint: str, table: pa.Table) -> Page:
        """A page whose rows were read before: `table`."""
        document = self._client.document(answer, self._what(offset), lambda _: table)
        self._wrapper = self.collection  # as on all regular pages
        if self._regular is not None:
            self._regular.came_again()
        ids = table["sourcedId"].to_pylist()
        follows = bool(behind)
        rows = len(ids) + follows
        return Page(
            rows, ids, table, document.total, document.revision, 0, offset, behind, follows, fingerprint,
            again=True,
        )  # fmt: skip

    def _taken_apart(self, content: Any, offset: int) -> Rows:
        """The rows in a document of any shape."""
        rows, wrapper = rows_of(content, self.collection, self.endpoint, self._wrapper, lenient=self._lenient)
        if len(rows) > MOST_IN_A_PAGE:
            told = f"{self._what(offset)}: the answer has {len(rows)} rows; the limit is {MOST_IN_A_PAGE}."
            raise SourceError("RS-NET-08", told)
        return replace(decode(self.collection, rows, implied_role=self._implied_role), wrapper=wrapper)


@contextmanager
def _without_collections() -> Iterator[None]:
    """Spares a page's objects the search for cycles: JSON has none, and all of them are freed at the end.

    The search would go through each page several times, and costs more than parsing it.
    """
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


@dataclass(frozen=True, slots=True)
class Bounds:
    """What no real collection needs, for one reading of it; `seconds` are for all of a provider's."""

    pages: int = 100_000
    rows: Mapping[str, int] = field(default_factory=lambda: MOST_ROWS)
    size: int = MOST_BYTES
    """Bytes of all values that are kept."""
    seconds: float = 4 * 3600.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What a reading came to.

    `proof` says why nothing is missing, or why that is not known; `doubts` are codes with messages
    and how many rows they concern. `limit` is the page size that worked. Of the rows, the first
    `taken_over` are those of a reading that was interrupted, and `as_before` are remembered ones.
    """

    complete: bool
    rows: int
    proof: str
    doubts: tuple[tuple[str, str, int], ...]
    limit: int
    taken_over: int = 0
    as_before: int = field(default=0, compare=False)  # the same is found, whichever way rows are made


_AT_ONCE: Final = 0.003
"""Seconds that may be waited for a page, on average, of a server that is near: threads that fetch would only
take turns with the one that decodes, and cost a fifth more."""
_SPARE: Final = 0.02
"""Seconds that may be waited at first: a first page that lets wait longer tells enough."""
_MOST_SPARE: Final = 0.25
"""Seconds that quick pages leave for slower ones, at most."""


class _Ahead:
    """Fetches pages before they are asked for, at most `width` at once; none while hardly any lets us wait.

    From the first time that too much was waited for until the end of the listing: how long pages would take
    alone cannot be told from those that are fetched ahead.
    """

    def __init__(
        self, listing: Listing, pool: Executor | None, width: int, clock: Callable[[], datetime]
    ) -> None:
        self._listing, self._pool, self._width, self._clock = listing, pool, width, clock
        self._futures: dict[int, Future[Answer]] = {}
        self._abandoned = threading.Event()
        self._spare = _SPARE
        """Seconds that may still be waited before pages are fetched ahead."""

    def alone(self, offset: int, limit: int, *, behind: str = "", hasty: bool = False) -> Page:
        """The page at `offset`, fetched now that it is asked for."""
        began, worked = self._clock(), time.thread_time()
        fetched = self._listing.fetch(offset, limit, hasty=hasty)
        worked = time.thread_time() - worked
        waited = (self._clock() - began).total_seconds() - worked
        self._spare = min(self._spare + _AT_ONCE - waited, _MOST_SPARE)
        return self._listing.page(offset, limit, behind=behind, fetched=fetched, hasty=hasty)

    def page(self, offset: int, limit: int, step: int, until: int | None, behind: str) -> Page:
        """The page at `offset`; the next ones are expected `step` rows apart (0: unknown), before `until`."""
        pool = self._pool
        if pool is None or not step or (until is not None and offset >= until):
            self.drop()
            return self.alone(offset, limit, behind=behind)
        if not self._futures and self._spare >= 0:
            return self.alone(offset, limit, behind=behind)
        if offset not in self._futures:
            self.drop()
        guess = offset
        while len(self._futures) < self._width and (until is None or guess < until):
            if guess not in self._futures:
                self._futures[guess] = pool.submit(
                    self._listing.fetch, guess, limit, among=self._width, abandoned=self._abandoned
                )
            guess += step
        try:
            fetched = self._futures.pop(offset).result()
        except SourceError as error:
            if error.code != "RS-NET-08":
                raise
            # Too large to have several at once in memory; not yet too large for one.
            self._pool = None
            self.drop()
            return self.alone(offset, limit, behind=behind)
        return self._listing.page(offset, limit, behind=behind, fetched=fetched)

    def drop(self) -> None:
        """Forgets what was fetched ahead, failures included; what is under way is not tried again."""
        self._abandoned.set()
        self._abandoned = threading.Event()
        for future in self._futures.values():
            future.cancel()
        self._futures.clear()


@dataclass(slots=True)
class _Pass:
    """One reading from offset 0: what came so far, and how it ended."""

    seen: Ids = field(default_factory=Ids)
    anonymous: int = 0
    offset: int = 0
    """Where the rows begin that were not read yet."""
    received: int = 0
    """Rows handed on: all but pages that only repeated others."""
    pages: int = 0
    """Those that were handed on."""
    first: int = 0
    """The rows of the first page."""
    largest: int = 0
    """The rows of the largest page."""
    previous: Page | None = None
    """The last page that was handed on."""
    step: int = 0
    """How many rows apart pages are expected; 0 while that is not known."""
    steady: bool = True
    pending: int = 0
    """Rows of a page that held nothing else than repetitions: double, unless the next page repeats, too."""
    overlaps: int = 0
    """Rows that an earlier page had already: something moved while it was read, or is double."""
    total: int | None = None
    revision: str | None = None
    taken_over: int = 0
    """Rows of an interrupted reading, where this one goes on."""
    orders: tuple[Order, ...] = ()
    """All orders that the rows are in so far; none also where no order is asked for."""
    ordered: bool = False
    """Whether they must go on so: some were taken over because of it."""
    last_id: str = ""
    overlapped: bool = False
    """Whether a page was asked for one row earlier: all behind it begin elsewhere than they would."""
    alone: bool = False
    """Whether the last row, asked for with those after it, came alone."""
    changed: str = ""
    proof: str = ""
    guess: str = ""
    """Why the end is only likely."""
    size: int = 0
    """Bytes of the rows handed on."""
    left_out: int = 0
    """Values that were too long."""
    as_before: int = 0
    """Rows that are remembered."""

    @property
    def shared(self) -> int:
        """How many rows the next page has in common with what was read: one, where that tells something.

        Pages of single rows would hold nothing else.
        """
        return int(bool(self.orders) and self.largest > 1 and not self.alone)

    @property
    def distinct(self) -> int:
        return len(self.seen) + self.anonymous

    def same_ids_as(self, before: _Pass) -> bool:
        """Whether both readings brought the same ids."""
        return self.seen.mark == before.seen.mark


_TOO_LARGE: Final = frozenset({"RS-NET-04", "RS-NET-05", "RS-NET-07", "RS-NET-08"})
_PAST_THE_END: Final = frozenset({204, 400, 404, 416, 422})
_NOT_WHOLE: Final = frozenset({"RS-DB-03"})
_LARGEST: Final = 10_000


class Pull:
    """Reads one listing to its end.

    Args:
        listing: What is read.
        append: Gets each page, in order, from the thread that called `read`; and with it where a reading that
            is interrupted after this page can go on, if it can.
        restart: Told that everything is read again from the start.
        told: Gets the rows so far and the total told, after each page.
        limits: The page sizes to try for the first page, the largest first.
        pool: Where pages are fetched ahead; None for one request at a time.
        width: How many requests may be under way at once.
        clock: Aware UTC.
        bounds: When to give up.
        began: When the provider's first collection was begun, as a timestamp; None for now.
        source: Who is asked, and how, for bookmarks.
        resumption: An earlier reading to go on with, if the source has not changed meanwhile.
    """

    def __init__(
        self,
        listing: Listing,
        *,
        append: Callable[[Page, Bookmark | None], None],
        restart: Callable[[], None],
        told: Callable[[int, int | None], None],
        limits: tuple[int, ...],
        pool: Executor | None,
        width: int,
        clock: Callable[[], datetime],
        bounds: Bounds,
        began: float | None = None,
        source: str = "",
        resumption: Resumption | None = None,
    ) -> None:
        self._source, self._resumption = source, resumption
        self._listing, self._append, self._restart, self._told = listing, append, restart, told
        self._limits, self._limit = limits, limits[0]
        self._clock, self._bounds = clock, bounds
        self._ahead = _Ahead(listing, pool, width, clock)
        self._counts = True
        """Whether what the server calls a total can be one."""
        self._began = clock().timestamp() if began is None else began
        self._has_pages = False
        self._overlaps = listing.sorts

    def read(self) -> Finding:
        """Reads everything; twice, if the first time leaves a doubt that a second may settle.

        What goes on where an earlier reading stopped, and leaves a doubt, is read from the start.

        Raises:
            SourceError: if a page could not be read, the pages repeat (RS-PAGE-06), there is no end of
                them (RS-PAGE-10), or of rows (RS-PAGE-12). What was appended is then worth nothing but to
                go on from.
        """
        try:
            return self._read()
        except SourceError as error:
            error.midway = self._has_pages
            raise

    def _read(self) -> Finding:
        try:
            found = self._went_on()
            if found is None:
                found = self._pass(last=False)
            doubt = self._doubt(found, None)
            if doubt:
                self._restart()
                found.seen.forget()
                before, found = found, self._pass(last=True)
                doubt = self._doubt(found, before)
        finally:
            self._ahead.drop()
        doubts = [doubt] if doubt else []
        if found.guess:
            doubts.append(("RS-PAGE-08", found.guess, 1))
        if found.left_out:
            doubts.append(("RS-ROW-06", self._told_of_left_out(found.left_out), found.left_out))
        complete = not doubts
        if not self._counts:
            told = f"The total told for {self._listing.endpoint} is smaller than the number of its rows."
            doubts.append(("RS-PAGE-07", told, 1))
        proof = found.proof if complete else doubts[0][1]
        return Finding(
            complete, found.received, proof, tuple(doubts), self._limit, found.taken_over, found.as_before
        )

    # ------------------------------------------------------------------------------------- going on

    def _went_on(self) -> _Pass | None:
        """The rest, read on from an earlier reading; None if it must be read from the start."""
        if self._resumption is None:
            return None
        try:
            found = self._proven(self._resumption)
        except CodedError as error:
            # A page that has grown too large for the server, or a part of the lake that is not whole.
            if error.code not in _TOO_LARGE | _NOT_WHOLE:
                raise
            found = None
        if found is None:
            return None
        try:
            found = self._on(found, None, last=False)
            doubtful = self._doubt(found, None) is not None or bool(found.guess) or not self._counts
        except SourceError as error:
            if error.code != "RS-PAGE-06" and error.status not in _PAST_THE_END:
                raise
            doubtful = True
        if not doubtful:
            return found
        self._ahead.drop()
        self._restart()
        self._counts, self._has_pages = True, False
        return None

    def _proven(self, resumption: Resumption) -> _Pass | None:
        """What an earlier reading had, where the source shows itself unchanged; the rest goes behind it.

        See `resuming` for why that is enough. A collection that was read whole, and counted, needs no
        order: nothing is behind its end.
        """
        interrupted, mark = resumption.interrupted, resumption.bookmark
        if mark.pages < LEAST_PAGES:
            return None
        first = self._listing.page(0, mark.limit, hasty=True)
        last = self._listing.page(mark.offset - mark.last, mark.limit)
        for page, rows in ((first, interrupted.head(mark.first)), (last, interrupted.tail(mark.last))):
            if (page.total, page.revision) != (mark.total, mark.revision) or not page.table.equals(rows):
                return None
        seen, last_id = Ids(), ""
        for ids in interrupted.ids():
            fresh, _ = seen.add(ids)
            if fresh < len(ids):
                return None
            last_id = ids[-1] if ids else last_id
        if len(seen) != mark.offset:
            return None
        orders = seen.orders if self._listing.sorts else ()
        ordered = not interrupted.finished or mark.total is None
        if ordered:
            greatest = self._listing.greatest() if orders else None
            if not greatest or not (greatest == seen.last or orders_of((seen.last, greatest), orders)):
                return None
        resumption.go_on()
        self._limit, self._has_pages = mark.limit, True
        steady = mark.first == mark.last
        self._told(mark.offset, mark.total)
        return _Pass(
            seen,
            offset=mark.offset,
            received=mark.offset,
            pages=mark.pages,
            first=mark.first,
            largest=max(mark.first, mark.last),
            previous=last,
            step=mark.last if steady else 0,
            steady=steady,
            total=mark.total,
            revision=mark.revision,
            taken_over=mark.offset,
            orders=orders,
            ordered=ordered,
            last_id=last_id,
        )

    def _bookmark(self, so_far: _Pass, page: Page) -> Bookmark | None:
        """Where to go on after `page`, the newest in `so_far`; None where anything is odd already."""
        reached = so_far.offset + len(page.ids)
        if not self._counts or so_far.anonymous or not reached == so_far.received == len(so_far.seen):
            return None
        return Bookmark(
            source=self._source,
            endpoint=self._listing.endpoint,
            limit=self._limit,
            offset=reached,
            pages=so_far.pages,
            first=so_far.first,
            last=page.rows,
            total=so_far.total,
            revision=so_far.revision,
        )

    # ------------------------------------------------------------------------------------- one pass

    def _told_of_left_out(self, values: int) -> str:
        return (
            f"{values} values of /{self._listing.endpoint} were too long for an id, a list or a text"
            f" of {LONGEST_TEXT} bytes, and were left out."
        )

    def _pass(self, *, last: bool) -> _Pass:
        # Should two ids share a hash, then not twice.
        so_far = _Pass(Ids("again" if last else ""), orders=ORDERS if self._overlaps else ())
        self._check_bounds(so_far)
        try:
            return self._on(so_far, self._first(last=last), last=last)
        except SourceError as error:
            if error.status not in _PAST_THE_END or not so_far.overlapped:
                raise
        # Some read no further than to a row that pages without an overlap reach exactly.
        self._overlaps = False
        self._ahead.drop()
        self._restart()
        return self._pass(last=last)

    def _on(self, so_far: _Pass, page: Page | None, *, last: bool) -> _Pass:
        """Reads on behind `so_far`, to the end; `page` is the next one, if it is there already."""
        while True:
            if page is not None:
                ended = self._take(so_far, page, last=last)
                if ended is not None:
                    return ended
            page = self._next(so_far, last=last)
            if page is None:
                return so_far

    def _take(self, so_far: _Pass, page: Page, *, last: bool) -> _Pass | None:
        """Takes in a page; gives back how the reading ended, if this page ends it."""
        previous = so_far.previous or page
        fresh = self._add(so_far, page, previous)
        self._check_bounds(so_far)
        self._count(so_far, page, fresh=fresh)
        if so_far.changed and not last:
            return so_far
        if not page.rows:
            doubtful = bool(so_far.overlaps + so_far.pending)
            proven = so_far.total is not None or so_far.alone or not so_far.pages or doubtful
            if not proven and self._has_more(so_far):
                so_far.changed = "A page was empty, and rows follow it."
            so_far.proof = f"It was read to an empty page: {so_far.received} rows."
            return so_far
        if not fresh:
            if so_far.alone and so_far.total is None:
                so_far.proof = _LAST_ROW
                return so_far
            if so_far.pending or so_far.distinct == so_far.total:
                return self._repeated(so_far, previous)
            so_far.pending = len(page.ids)
            so_far.step, so_far.steady, so_far.orders = 0, False, ()
        else:
            so_far.overlaps += so_far.pending
            so_far.pending, so_far.alone = 0, False
            so_far.pages += 1
            so_far.received += len(page.ids)
            so_far.size += page.table.nbytes
            so_far.left_out += page.left_out
            so_far.as_before += len(page.ids) if page.again else 0
            so_far.largest = max(so_far.largest, page.rows)
            if so_far.pages == 1:
                so_far.first = page.rows
                # Without a total, a page that is not full is probably the last one.
                so_far.step = page.rows if so_far.total is not None or page.rows >= self._limit else 0
            elif page.rows != previous.rows:
                so_far.step, so_far.steady = 0, False
            elif so_far.steady:
                so_far.step = page.rows
            so_far.previous = page
            self._append(page, None if last else self._bookmark(so_far, page))
            self._has_pages = True
            self._told(so_far.received, so_far.total)
        so_far.offset += len(page.ids)
        return None

    def _next(self, so_far: _Pass, *, last: bool) -> Page | None:
        """The next page; None if there is none, and `so_far` has the proof, or what changed."""
        shared = so_far.shared
        so_far.overlapped |= bool(shared)
        page = self._asked(so_far)
        if page is None or not shared or (page.follows and page.ids):
            return page
        if page.follows:
            so_far.alone = True
        else:
            if not self._is_habit(so_far, page):
                so_far.changed = "The rows moved while they were read."
                if not last:
                    return None
            so_far.orders = ()
        return self._next(so_far, last=last)

    def _is_habit(self, so_far: _Pass, page: Page) -> bool:
        """Whether the server shows other rows behind the last page although nothing moves.

        Some sort the rows of a page alone, or send whole pages only. An empty page is nobody's habit
        where a row was.
        """
        if so_far.previous is None or not page.rows:
            return False
        self._ahead.drop()
        again = (
            self._listing.page(one.offset, self._limit, behind=one.behind) for one in (so_far.previous, page)
        )
        return all(one.ids == then.ids for one, then in zip(again, (so_far.previous, page), strict=True))

    def _asked(self, so_far: _Pass) -> Page | None:
        """The page behind what was read, one row earlier if it shares one; None as `_next`."""
        shared = so_far.shared
        behind = so_far.last_id if shared else ""
        if so_far.total is not None and so_far.offset >= so_far.total == so_far.distinct:
            # Some servers count the page instead of the collection, and some count no further than to
            # a round number. If the last page may not be the last, one more request tells.
            full = so_far.previous is not None and so_far.previous.rows >= so_far.largest
            more = self._beyond(so_far) if full else None
            if more is None:
                so_far.proof = f"All {so_far.total} rows that the server counts were read."
            return more
        try:
            until = None if so_far.total is None else so_far.total - shared
            step = max(0, so_far.step - shared)
            return self._ahead.page(so_far.offset - shared, self._limit, step, until, behind)
        except SourceError as error:
            if not self._ends_with(error, so_far):
                raise
            so_far.proof = _LAST_ROW
            return None

    def _first(self, *, last: bool) -> Page:
        """Page one, at the largest page size that the server can do."""
        if last:
            return self._ahead.alone(0, self._limit)
        for limit in self._limits[:-1]:
            try:
                page = self._ahead.alone(0, limit, hasty=True)
            except SourceError as error:
                if error.code not in _TOO_LARGE or error.status in (408, 429, 503):
                    raise
            else:
                self._limit = limit
                return page
        self._limit = self._limits[-1]
        return self._ahead.alone(0, self._limit)

    def _check_bounds(self, so_far: _Pass) -> None:
        hours = self._bounds.seconds / 3600
        most = self._bounds.rows[self._listing.collection]
        if so_far.distinct > most:
            raise SourceError("RS-PAGE-12", f"/{self._listing.endpoint} has more than {most} rows.")
        if so_far.size > self._bounds.size:
            raise SourceError(
                "RS-PAGE-12",
                f"/{self._listing.endpoint} is larger than any real one after {so_far.received} rows.",
            )
        if so_far.pages >= self._bounds.pages:
            raise SourceError(
                "RS-PAGE-10", f"/{self._listing.endpoint} has no end after {self._bounds.pages} pages."
            )
        if self._clock().timestamp() - self._began > self._bounds.seconds:
            raise SourceError(
                "RS-PAGE-10", f"/{self._listing.endpoint} was not read to its end: {hours:g} hours are over."
            )

    def _count(self, so_far: _Pass, page: Page, *, fresh: bool) -> None:
        """Takes in what the page's headers tell; `fresh` if it brought rows that were not there."""
        if page.revision is not None:
            if so_far.revision not in (None, page.revision):
                so_far.changed = "The server's revision of the data changed while it was read."
            so_far.revision = page.revision
        if fresh:
            if so_far.orders and not (all(page.ids) and {*so_far.orders} <= {*so_far.seen.orders}):
                before = [so_far.last_id] if so_far.pages else []
                # Equal ids beside each other are a row that is double: that is no disorder.
                ids = [one for one, _ in groupby([*before, *page.ids])]
                so_far.orders = orders_of(ids, so_far.orders) if all(ids) else ()
            if so_far.ordered and not so_far.orders:
                so_far.changed = "The rows did not go on in the order of those that were taken over."
            so_far.last_id = page.ids[-1]
        if page.total is None or not self._counts:
            return
        if fresh and page.total < so_far.offset + len(page.ids) and so_far.total in (None, page.total):
            # Rows exist where by this number there are none: it counts something else.
            self._counts, so_far.total = False, None
        elif so_far.total is None:
            so_far.total = page.total
        elif so_far.total != page.total:
            so_far.changed = f"The total told changed from {so_far.total} to {page.total} while it was read."

    def _add(self, so_far: _Pass, page: Page, previous: Page) -> bool:
        """Takes in the page's ids; False if it only repeats rows, or has none."""
        ids = page.ids
        fresh, again = so_far.seen.add(ids)
        blank = ids.count("")
        if fresh + blank < len(ids):
            if not fresh and blank < len(ids):
                return False
            so_far.overlaps += again
        elif not ids:
            return False
        elif not fresh and page is not previous and page.table.equals(previous.table):
            return False  # no row has an id, and all are as on the page before
        so_far.anonymous += blank
        return True

    def _beyond(self, so_far: _Pass) -> Page | None:
        """The page after one that seems to be the last; None if there is none, as it should be."""
        shared = so_far.shared
        behind = so_far.last_id if shared else ""
        try:
            page = self._listing.page(so_far.offset - shared, self._limit, tries=1, behind=behind)
        except SourceError:
            # As a rule, it does not matter what asking too far fails with. But behind a page as large as
            # can be, and a total that ends with it, something may be that the server does not hand out.
            full = so_far.pages > 1 or so_far.largest >= self._limit
            if full and not self._is_surely_last(so_far):
                so_far.guess = (
                    f"The server counts {so_far.total} rows, and refuses to tell whether others follow them."
                )
            return None
        return None if so_far.seen.holds_all(page.ids) else page

    def _is_surely_last(self, so_far: _Pass) -> bool:
        try:
            return self._is_last_row(so_far, so_far.offset)
        except SourceError:
            return False

    def _has_more(self, so_far: _Pass) -> bool:
        """Whether rows follow the last one although the page behind it was empty."""
        try:
            page = self._listing.page(so_far.offset - 1, max(self._limit, 2))
        except SourceError as error:
            if error.status not in _PAST_THE_END:
                raise
            return False
        return not so_far.seen.holds_all([one for one in page.ids if one])

    # ------------------------------------------------------------------------------------ odd ends

    def _ends_with(self, error: SourceError, so_far: _Pass) -> bool:
        """Whether a failure means that there are no more rows: some servers refuse offsets past the end."""
        if error.status not in _PAST_THE_END:
            return False
        if so_far.total is not None:
            return so_far.offset >= so_far.total
        return so_far.alone or self._is_last_row(so_far, so_far.offset)

    def _is_last_row(self, so_far: _Pass, end: int) -> bool:
        """Whether the last row before `end`, asked for with those after it, comes alone."""
        page = self._listing.page(end - 1, max(self._limit, 2))
        return page.rows == 1 and so_far.seen.holds_all(page.ids)

    def _repeated(self, so_far: _Pass, before: Page) -> _Pass:
        """Pages hold nothing new after `before`: either all was there, or the rest cannot be read."""
        if so_far.distinct == so_far.total:
            so_far.proof = f"All {so_far.total} rows that the server counts were read."
            return so_far
        end, so_far.pending = so_far.offset - so_far.pending, 0
        if so_far.pages == 1 and before.rows > self._limit:
            so_far.proof = f"The server sent all {before.rows} rows at once, more than were asked for."
            return so_far
        if so_far.total is None and self._is_last_row(so_far, end):
            so_far.proof = _LAST_ROW
            return so_far
        if so_far.pages == 1 and before.rows == self._limit < _LARGEST:
            return self._at_once(before)
        raise self._repeats(so_far)

    def _at_once(self, first: Page) -> _Pass:
        """Asks a server that ignores `offset` for everything in one page."""
        limit = min(self._limit * 10, _LARGEST)
        page = self._listing.page(0, limit)
        so_far = _Pass(pages=1, largest=page.rows)
        fresh = self._add(so_far, page, page)
        self._count(so_far, page, fresh=fresh)
        whole = so_far.distinct == so_far.total or page.rows > limit
        likely = so_far.total is None and first.rows < page.rows < limit
        if not whole and not likely:
            raise self._repeats(so_far)
        self._restart()
        self._append(page, None)
        so_far.received, so_far.left_out = page.rows, page.left_out
        so_far.as_before = page.rows if page.again else 0
        self._told(page.rows, so_far.total)
        if whole:
            so_far.proof = f"The server sent all {page.rows} rows at once."
        else:
            so_far.guess = (
                f"The server ignores offset and sent {page.rows} rows where {limit} were asked for;"
                " nothing proves that they are all."
            )
        return so_far

    def _repeats(self, so_far: _Pass) -> SourceError:
        told = f" of {so_far.total} told" if so_far.total is not None else ""
        return SourceError(
            "RS-PAGE-06",
            f"/{self._listing.endpoint} repeats its rows: only {so_far.distinct}{told} could be read.",
        )

    def _doubt(self, found: _Pass, before: _Pass | None) -> tuple[str, str, int] | None:
        """Why `found` may not be all; `before` is the reading before it, if this is the second."""
        if found.changed:
            return "RS-PAGE-07", found.changed, 1
        if found.total is not None and found.distinct < found.total:
            told = f"The server counts {found.total} rows, and {found.distinct} different ones were read."
            return "RS-PAGE-07", told, found.total - found.distinct
        double = found.overlaps + found.pending
        if found.total is None and double:
            # In an order that changes between pages, each row that comes twice hides one that never
            # comes. The same rows twice running show that they are simply double.
            if before and found.received == before.received and found.same_ids_as(before):
                return None
            told = f"{double} rows came on several pages and no total is told; others may be missing."
            return "RS-PAGE-08", told, double
        return None


_LAST_ROW: Final = "The last row, asked for with those after it, came alone."
