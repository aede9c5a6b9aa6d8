"""A collection read by what changed in it, where its source has proved that it tells: docs/deltas.md.

Nothing is believed. What changed is asked for on nights of full readings, too, and joined with the earlier
extract it must be what the full reading shows. After `PROOFS` such nights it stands for a full reading, as
long as the source counts as many rows as there are then, and until the next full reading is due. Whatever
goes wrong on the way, the collection is read in full in the same sync.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from roster_pipeline.codes import CodedError, Issue
from roster_pipeline.oneroster.collections import COLUMNS
from roster_pipeline.oneroster.deltas import (
    LOOKED_AT,
    OVERLAP,
    Joined,
    Survey,
    as_filter,
    cursor,
    drift,
    honours,
    joined,
)
from roster_pipeline.oneroster.wire import SourceError
from roster_pipeline.providers.reading import CollectionRead

if TYPE_CHECKING:
    from roster_pipeline.oneroster.paging import Finding, Listing, Page
    from roster_pipeline.providers.reading import Earlier, LastingSink

PROOFS: Final = 2
"""How many full readings must have shown the changes to be all, before these stand for one."""

_FEW: Final = 1_000
_MANY: Final = 250_000
_SIZE: Final = 256 << 20
"""Changes are held in memory: so many, or a quarter of the rows, and so many bytes. Beyond that, reading all
is hardly dearer."""

_PASSING: Final = frozenset({
    "RS-AUTH-03", "RS-DB-03", "RS-NET-01", "RS-NET-02", "RS-NET-04", "RS-NET-05", "RS-NET-06", "RS-PAGE-01",
    "RS-PAGE-02", "RS-PAGE-13",
})  # fmt: skip
"""What says nothing against the changes of another night."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """What is remembered with a complete extract.

    Attributes:
        source: Who was asked, and how.
        since: How far its changes are known, in ISO 8601.
        full_on: The day of the last full reading; "" where one is due whatever the day.
        proofs: How many full readings running have shown the changes to be all.
    """

    source: str
    since: str
    full_on: str
    proofs: int

    @classmethod
    def of(cls, told: dict[str, Any]) -> Cursor | None:
        """The cursor that was remembered; None if another release remembered something else."""
        return cls(**told) if set(told) == {one.name for one in fields(cls)} else None


@dataclass(slots=True)
class Delta:
    """One collection in one sync: `read` before it is read in full, `compared` after that.

    Attributes:
        name: The collection.
        provider: Its name, for issues.
        every: After how many days it is read in full in any case.
        as_of: The day that the sync is for.
        source: Who is asked, and how.
        sink: Where the rows go.
        listing: The collection's pages under a filter, "" for none.
        pulled: Reads a listing to its end; gets what takes a page, what forgets all of them, and what is told
            how many came and how many there are said to be.
        progress: As `Reading.progress`.
    """

    name: str
    provider: str
    every: int
    as_of: dt.date
    source: str
    sink: LastingSink
    listing: Callable[[str], Listing]
    pulled: Callable[
        [Listing, Callable[[Page, Any], None], Callable[[], None], Callable[[int, int | None], None]],
        Finding,
    ]
    progress: Callable[[str, int, int | None], None]
    _total: int | None = None
    _clock: dt.datetime | None = None
    _given: int = 0
    _joined: Joined | None = None
    _proofs: int = 0
    _why: str = ""
    _asked_since: dt.datetime | None = None

    def read(self) -> CollectionRead | None:
        """The collection by its changes; None where it must be read in full."""
        try:
            self._total, self._clock = self.listing("").look()
            return self._read()
        except CodedError as error:
            if error.code not in _PASSING:
                self._proofs = 0
            self._why = error.message
            return None

    def _read(self) -> CollectionRead | None:
        earlier = self.sink.earlier(self.name)
        before = Cursor.of(earlier.cursor) if earlier else None
        if earlier is None or before is None or before.source != self.source:
            return None
        self._proofs = before.proofs
        if self._total is None:
            raise SourceError("RS-PAGE-13", "The source does not count its rows.")
        found = joined(earlier.groups, self._changes(before), self._total)
        if isinstance(found, str):
            raise SourceError("RS-PAGE-13", found)
        self._joined = found
        if found.rows != self._total:
            told = f"With what changed there would be {found.rows} rows, and the source counts {self._total}."
            raise SourceError("RS-PAGE-13", told)
        if self._proofs < PROOFS or not before.full_on:
            return None
        if not 0 <= (self.as_of - dt.date.fromisoformat(before.full_on)).days < self.every:
            return None
        return self._appended(found, earlier, before)

    def _changes(self, before: Cursor) -> pa.Table:
        """What the source says has changed since the earlier extract, and it says all of it."""
        self._asked_since = asked = dt.datetime.fromisoformat(before.since) - OVERLAP
        taken: list[pa.Table] = []
        most = max(_FEW, min((self._total or 0) // 4, _MANY))
        many = f"More than {most} rows, or very large ones, are said to have changed."

        def take(page: Page, _: Any) -> None:
            if not honours(page.table, asked):
                self._proofs = 0
                raise SourceError("RS-PAGE-13", f"The source sent rows from before {asked:%Y-%m-%d}, too.")
            taken.append(page.table)
            if sum(one.nbytes for one in taken) > _SIZE:
                raise SourceError("RS-PAGE-13", many)

        def told(rows: int, total: int | None) -> None:
            if max(rows, total or 0) > most:
                raise SourceError("RS-PAGE-13", many)

        finding = self.pulled(self.listing(as_filter(asked)), take, taken.clear, told)
        if not finding.complete:
            raise SourceError("RS-PAGE-13", f"What changed was perhaps not all: {finding.proof}")
        self._given = finding.rows
        nothing = pa.table({column: pa.array([], pa.string()) for column in COLUMNS[self.name]})
        return pa.concat_tables([nothing, *taken])

    def _appended(self, found: Joined, earlier: Earlier, before: Cursor) -> CollectionRead:
        rows = 0
        try:
            for page in found.pages():
                self.sink.append(self.name, page)
                rows += page.num_rows
                self.progress(self.name, rows, found.rows)
            if rows != found.rows:
                raise SourceError("RS-PAGE-13", f"{rows} rows came of joining, in place of {found.rows}.")
        except CodedError:
            self.sink.restart(self.name)
            raise
        since = cursor(found.newest, self._clock)
        proof = (
            f"{self._told_of_changes(found)}; the others are those of sync {earlier.sync_id}."
            f" The source counts {rows} rows, and so do we."
        )
        after = replace(before, since=since.isoformat()) if since else None
        return CollectionRead(
            self.name, "ok", rows, proof, how="delta", cursor=asdict(after) if after else None
        )

    def _told_of_changes(self, found: Joined) -> str:
        return (
            f"{self._given} rows were given as changed since {self._asked_since:%Y-%m-%d %H:%M} UTC,"
            f" {found.new} new ones and {found.other} that say something else than before"
        )

    # ------------------------------------------------------------------------- beside a full reading

    def compared(self, read: CollectionRead) -> CollectionRead:
        """What was read in full, with what the changes came to beside it, and the cursor for next time."""
        if read.how == "delta" or not read.rows:
            return read
        found = read
        if read.state == "ok":
            try:
                found = self._judged(read)
            except CodedError as error:  # of the earlier extract: what was read in full is whole
                self._why = error.message
        if self._why and not any(issue.code == "RS-PAGE-14" for issue in found.issues):
            told = Issue("RS-PAGE-13", f"{self.name} was read in full. {self._why}", self.provider)
            found = replace(found, issues=(*found.issues, told))
        return found

    def _judged(self, read: CollectionRead) -> CollectionRead:
        survey = Survey.of(self.sink.written(self.name, LOOKED_AT))
        since = cursor(survey.newest, self._clock)
        if self._total is None:
            self._why = "The source does not count its rows."
        elif not survey.orders:
            self._why = "Its rows do not come in the order of their ids."
        elif survey.undated:
            self._why = f"{survey.undated} of its rows have no dateLastModified."
        elif since is None:
            self._why = "Not every dateLastModified is a time."
        if self._total is None or not survey.orders or survey.undated or since is None:
            return read
        # Rows of an interrupted reading may have changed before it went on: they are older than they seem.
        went_on = [issue for issue in read.issues if issue.code == "RS-PAGE-11"]
        found = self._joined
        if found is not None and not went_on and found.order in survey.orders:
            read = self._measured(read, found)
        after = Cursor(self.source, since.isoformat(), self.as_of.isoformat(), self._proofs)
        return replace(read, cursor=asdict(after))

    def _measured(self, read: CollectionRead, found: Joined) -> CollectionRead:
        """The reading with the drift between it and what the changes came to."""
        drifted = drift(found.pages(), self.sink.written(self.name), found.order, self._clock)
        if drifted.rows:
            self._proofs = 0
            told = (
                f"{self.name}: by its changes it would have been wrong in {drifted.rows} rows ({drifted})."
                f" It was read in full. {self._why}"
            )
            issue = Issue("RS-PAGE-14", told.strip(), self.provider, count=drifted.rows)
            return replace(read, issues=(*read.issues, issue))
        # Where nothing changed, nothing was proved.
        if found.rows == self._total and found.new + found.other:
            self._proofs += 1
        told = f"{self._told_of_changes(found)}: none was missing ({self._proofs} of {PROOFS} proofs)."
        return replace(read, proof=f"{read.proof} {told}")
