"""A table as JSON, row by row, made once: a page is a join of such pieces.

A server that costs as little as this one does not hide what the client costs.
"""

from __future__ import annotations

from collections.abc import Sequence

from roster_pipeline.sandbox.endpoints import Endpoint
from roster_pipeline.sandbox.queries import Query, chosen
from roster_pipeline.sandbox.rows import Writer
from roster_pipeline.sandbox.source import Row


class Shelf:
    """One table as JSON, row by row, and the answers to the queries put to it so far."""

    def __init__(self, table: str, rows: Sequence[Row], writer: Writer) -> None:
        self._table = table
        self._writer = writer
        self.rows = rows
        self._json = [writer.bytes_of(table, row) for row in rows]
        self._place_of: dict[str, int] | None = None
        self._chosen: dict[tuple[str, str, str, bool], Sequence[int]] = {}
        self._projected: dict[tuple[str, ...], dict[int, bytes]] = {}

    def places(self, endpoint: Endpoint, query: Query) -> Sequence[int]:
        """Which rows answer the query, in order. Kept: the pages of one pull ask the same question."""
        key = (endpoint.name, query.filter, query.sort, query.descending)
        known = self._chosen.get(key)
        if known is None:
            every: Sequence[int] = range(len(self.rows))
            if endpoint.shows:
                every = [place for place in every if endpoint.shows(self.rows[place])]
            known = chosen(self.rows, every, query, self._writer.version, self._table)
            if len(self._chosen) >= 64:
                self._chosen.clear()
            self._chosen[key] = known
        return known

    def json(self, places: Sequence[int], fields: tuple[str, ...] = ()) -> list[bytes]:
        """Rows as JSON, with all members or some."""
        if not fields:
            if isinstance(places, range):
                return self._json[places.start : places.stop]
            return [self._json[place] for place in places]
        if len(self._projected) >= 8 and fields not in self._projected:
            self._projected.clear()
        made = self._projected.setdefault(fields, {})
        for place in places:
            if place not in made:
                made[place] = self._writer.bytes_of_fields(self._table, self.rows[place], fields)
        return [made[place] for place in places]

    def place(self, source_id: str) -> int | None:
        """Where the row with this id is."""
        if self._place_of is None:
            self._place_of = {str(row.get("sourcedId", "")): place for place, row in enumerate(self.rows)}
        return self._place_of.get(source_id)
