"""Going on with an interrupted reading: whatever its source does meanwhile, no row that stayed is missed."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roster_pipeline.oneroster.paging import Finding
from roster_pipeline.oneroster.resuming import Bookmark, ascending, orders_of
from roster_pipeline.store import lake
from roster_pipeline.store.lake import Lake
from roster_pipeline_tests.unit.oneroster.server import Reply, serving
from roster_pipeline_tests.unit.oneroster.source import LIMIT, Reader, Source

CHANGES = st.lists(
    st.tuples(st.sampled_from(["add", "remove", "rename", "move"]), st.integers(0, 200), st.integers(0, 999)),
    max_size=4,
)
NIGHTS = st.lists(st.tuples(st.integers(1, 11), CHANGES), min_size=1, max_size=3)
"""After how many requests a reading is interrupted, and what happens to the source then."""


def _read_on(folder: str, source: Source, nights: list[tuple[int, Any]]) -> tuple[Finding, Reader]:
    """Reads until it is not interrupted any more."""
    with serving(source) as server:
        reader = Reader(Lake(folder), server)
        for after, changes in nights:
            source.faults = {"users": [None] * after + [Reply(status=503)]}
            finding = reader.read()
            if finding is not None:
                return finding, reader
            for change in changes:
                source.change(*change)
        source.faults = {}
        finding = reader.read()
        assert finding is not None
        return finding, reader


@settings(max_examples=30)
@given(
    ids=st.sets(st.integers(0, 999), min_size=16, max_size=32),
    nights=NIGHTS,
    counts=st.booleans(),
    revisions=st.booleans(),
    past=st.sampled_from(["empty", "404", "last"]),
)
def test_no_row_that_stayed_is_missed_and_none_is_made_up(
    ids: set[int], nights: list[tuple[int, Any]], counts: bool, revisions: bool, past: str
) -> None:
    people = [(f"{number:03}", f"Family {number}") for number in sorted(ids)]
    source = Source(people=people, counts=counts, revisions=revisions, past_the_end=past)
    source.past.append(set(people))
    with tempfile.TemporaryDirectory() as folder:
        finding, reader = _read_on(folder, source, nights)
        rows = reader.rows
    if not finding.complete:  # the last request of all was refused, and nobody knows whether rows follow
        assert [code for code, _, _ in finding.doubts] == ["RS-PAGE-08"]
        return
    assert len({one for one, _ in rows}) == len(rows)
    assert [one for one, _ in rows] == sorted(one for one, _ in rows)
    stayed = set.intersection(*({one for one, _ in then} for then in source.past))
    assert stayed <= {one for one, _ in rows}
    assert set(rows) <= set.union(*source.past)
    if revisions or not finding.taken_over:
        assert set(rows) == source.past[-1]


@settings(max_examples=15)
@given(
    ids=st.sets(st.integers(100, 999), min_size=16, max_size=32),
    nights=NIGHTS,
    counts=st.booleans(),
    shuffled=st.booleans(),
    seed=st.integers(0, 5),
)
def test_a_server_that_does_not_sort_is_read_from_the_start_whatever_its_rows_look_like(
    ids: set[int], nights: list[tuple[int, Any]], counts: bool, shuffled: bool, seed: int
) -> None:
    people = [(f"{number:03}", f"Family {number}") for number in sorted(ids)]
    if shuffled:
        random.Random(seed).shuffle(people)
    source = Source(people=people, sorts=False, counts=counts)
    source.past.append(set(people))
    with tempfile.TemporaryDirectory() as folder:
        finding, reader = _read_on(folder, source, nights)
        assert finding.complete
        assert finding.taken_over == 0
        assert set(reader.rows) == source.past[-1]


def test_readings_do_go_on_where_nothing_changed() -> None:
    """What the properties above would not notice: that nothing is ever gone on with."""
    people = [(f"{number:03}", "Family") for number in range(45)]
    with tempfile.TemporaryDirectory() as folder:
        finding, reader = _read_on(folder, Source(people=people), [(7, []), (8, [])])
        assert (finding.complete, finding.taken_over) == (True, 25)  # of eight, three proved what was there
        assert reader.rows == people


@pytest.mark.parametrize(
    "ids, known",
    [
        (["1", "2", "10"], True),
        (["1", "10", "2"], True),
        (["A1", "a2", "B3"], True),
        (["a", "B", "C"], True),
        (["a-1", "a-2"], True),
        (["2", "1"], False),
        (["1", "1"], False),
        (["b", "a", "c"], False),
        (["007", "7"], True),
        (["7", "007"], False),
    ],
)
def test_orders_that_servers_have(ids: list[str], known: bool) -> None:
    orders = orders_of(ids)
    assert bool(orders) == known
    for order in orders:
        assert ascending(ids, order)
        assert not ascending(reversed(ids), order)


def test_what_another_release_wrote_is_no_bookmark() -> None:
    mark = Bookmark("a", "users", 10, 40, 4, 10, 10, None, "7")
    assert Bookmark.of(mark.as_json()) == mark
    assert Bookmark.of({**mark.as_json(), "more": 1}) is None
    assert Bookmark.of({"endpoint": "users"}) is None


@pytest.mark.parametrize("place", [1, 4])
def test_a_reading_whose_values_are_not_whole_is_none_to_go_on_with(
    place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its ids and its last page are whole: a checksum alone tells, when some of it is taken over already."""
    monkeypatch.setattr(lake, "PART_ROWS", LIMIT)
    people = [(f"{number:03}", f"Family {number}") for number in range(45)]
    source = Source(people=people)
    with tempfile.TemporaryDirectory() as folder, serving(source) as server:
        reader = Reader(Lake(folder), server)
        source.faults = {"users": [None] * 15 + [Reply(status=503)]}
        assert reader.read() is None
        parts = sorted(Path(folder).rglob("users-*.parquet"))
        assert len(parts) > 6
        content = bytearray(parts[place].read_bytes())
        content[content.index(b"Family") + 5] ^= 1
        parts[place].write_bytes(content)
        source.faults = {}
        finding = reader.read()
        assert finding is not None
        assert (finding.complete, finding.taken_over) == (True, 0)
        assert reader.rows == people
