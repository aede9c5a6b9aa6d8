"""Joining what changed with an earlier extract, and counting what that would have missed: the pure part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from roster_pipeline.oneroster import deltas
from roster_pipeline.oneroster.deltas import Drift, Groups, Joined, Survey, as_filter, cursor, drift, joined
from roster_pipeline.oneroster.resuming import ORDERS, orders_of

COLUMNS: Final = ("sourcedId", "status", "dateLastModified", "role")
Row = tuple[str, str, str, str]
OLD: Final = "2026-08-01T00:00:00.000Z"
NEW: Final = "2026-11-20T10:00:00.000Z"


def row(one: str, says: str = "student", when: str = OLD, status: str = "active") -> Row:
    return one, status, when, says


def table(rows: list[Row]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(COLUMNS)
    return pa.table(
        {name: pa.array(values, pa.string()) for name, values in zip(COLUMNS, columns, strict=True)}
    )


def grouped(rows: list[Row], size: int = 3) -> Groups:
    whole = table(rows)

    def groups(columns: tuple[str, ...] | None = None) -> Iterator[pa.Table]:
        for start in range(0, whole.num_rows, size):
            group = whole.slice(start, size)
            yield group.select(columns) if columns else group

    return groups


def rows_of(found: Joined) -> list[Row]:
    pages = list(found.pages())
    assert all(page.num_rows for page in pages)
    return [tuple(one.values()) for page in pages for one in page.to_pylist()]


def join(earlier: list[Row], changes: list[Row], total: int = -1, size: int = 3) -> Joined:
    found = joined(grouped(earlier, size), table(changes), total)
    assert isinstance(found, Joined), found
    return found


# ------------------------------------------------------------------------------------------------ times


@pytest.mark.parametrize(
    "when, text",
    [
        (datetime(2026, 11, 29, 9, 30, tzinfo=UTC), "2026-11-29T09:30:00.000Z"),
        (datetime(2026, 11, 29, 9, 30, 0, 7_999, tzinfo=UTC), "2026-11-29T09:30:00.007Z"),
        (datetime(2026, 11, 29, 9, 30, tzinfo=timezone(timedelta(hours=11))), "2026-11-28T22:30:00.000Z"),
    ],
)
def test_it_is_asked_in_utc_with_milliseconds_and_z(when: datetime, text: str) -> None:
    assert as_filter(when) == f"dateLastModified>='{text}'"


@pytest.mark.parametrize(
    "text, when",
    [
        ("2026-11-29T09:30:15.123Z", datetime(2026, 11, 29, 9, 30, 15, tzinfo=UTC)),
        ("2026-11-29 09:30:15", datetime(2026, 11, 29, 9, 30, 15, tzinfo=UTC)),
        ("2026-11-29T09:30", datetime(2026, 11, 29, 9, 30, tzinfo=UTC)),
        ("2026-11-29", datetime(2026, 11, 29, tzinfo=UTC)),
        ("2026-11-29T09:30:15+11:00", datetime(2026, 11, 29, 9, 30, 15, tzinfo=UTC)),
        ("29/11/2026", None),
        ("n/a", None),
        ("", None),
    ],
)
def test_a_date_is_read_to_the_second_and_its_zone_is_left_to_the_overlap(
    text: str, when: datetime | None
) -> None:
    assert deltas.moment(text) == when


def test_the_cursor_is_the_newest_row_and_never_later_than_the_sources_clock() -> None:
    clock = datetime(2026, 11, 29, tzinfo=UTC)
    assert cursor("2026-11-20T10:00:00", clock) == datetime(2026, 11, 20, 10, tzinfo=UTC)
    assert cursor("2199-01-01", clock) == clock
    assert cursor("2026-11-20", None) == datetime(2026, 11, 20, tzinfo=UTC)
    assert cursor("n/a", clock) is None
    assert cursor("", None) is None


@pytest.mark.parametrize(
    "date, is_honoured",
    [
        ("2026-11-28T09:30:00.000Z", True),
        ("2026-11-28T00:00:00.000Z", True),  # compares days
        ("2026-11-27T23:00:00.000Z", True),  # tells local time
        ("2026-11-26T23:59:59.000Z", False),
        ("", False),
    ],
)
def test_rows_from_long_before_show_that_the_filter_is_ignored(date: str, is_honoured: bool) -> None:
    asked = datetime(2026, 11, 28, 9, 30, tzinfo=UTC)
    changes = table([row("a", when=NEW.replace("-20T", "-29T")), row("b", when=date)])
    assert deltas.honours(changes, asked) is is_honoured
    assert deltas.honours(table([]), asked)


# -------------------------------------------------------------------------------------------- joining


def test_changed_rows_take_the_places_of_what_they_were_and_new_ones_their_own() -> None:
    earlier = [row(one) for one in ("b", "d", "f", "h", "k")]
    changes = [row(one, "teacher", NEW) for one in ("a", "d", "e", "g", "k", "z")]
    found = join(earlier, changes)
    assert found.rows == 9
    assert [one[0] for one in rows_of(found)] == ["a", "b", "d", "e", "f", "g", "h", "k", "z"]
    assert [one[0] for one in rows_of(found) if one[3] == "teacher"] == ["a", "d", "e", "g", "k", "z"]
    assert (found.new, found.other) == (4, 2)
    assert found.newest == NEW[:19]


def test_rows_that_are_given_again_as_they_were_are_neither_new_nor_others() -> None:
    earlier = [row(one) for one in "abcdefg"]
    found = join(earlier, [row("c"), row("d")])
    assert rows_of(found) == earlier
    assert (found.new, found.other) == (0, 0)


def test_nothing_changed() -> None:
    earlier = [row(one) for one in "abcdefg"]
    assert rows_of(join(earlier, [])) == earlier


@pytest.mark.parametrize(
    "earlier, changes, why",
    [
        ("bac", "", "Its rows"),
        ("aab", "", "Its rows"),
        (["a", "", "b"], "", "Its rows"),
        (["", "b"], "", "Its rows"),
        ("abc", "ed", "The rows that changed"),
        ("abc", "dd", "The rows that changed"),
        ("abc", ["", "d"], "The rows that changed"),
        (["1", "2", "10"], ["a"], "Its rows"),
    ],
)
def test_without_an_order_nothing_is_joined(earlier: list[str], changes: list[str], why: str) -> None:
    told = joined(grouped([row(one) for one in earlier]), table([row(one) for one in changes]), 0)
    assert isinstance(told, str)
    assert told.startswith(why)


@pytest.mark.parametrize(
    "earlier, changes, whole",
    [
        (["1", "2", "10"], ["3", "11"], ["1", "2", "3", "10", "11"]),
        (["a", "B", "c"], ["b2", "D"], ["a", "B", "b2", "c", "D"]),
        (["B", "a", "c"], ["Z", "b"], ["B", "Z", "a", "b", "c"]),
    ],
)
def test_the_order_is_the_sources(earlier: list[str], changes: list[str], whole: list[str]) -> None:
    found = join([row(one) for one in earlier], [row(one) for one in changes])
    assert [one[0] for one in rows_of(found)] == whole


def test_tombstones_are_kept_where_the_extract_has_some_or_the_count_has_them() -> None:
    earlier = [row(one) for one in "abcd"]
    changes = [row("b", when=NEW, status="tobedeleted"), row("e", when=NEW)]
    assert rows_of(join(earlier, changes, 5)) == [row("a"), changes[0], row("c"), row("d"), changes[1]]
    without = join(earlier, changes, 4)
    assert without.rows == 4
    assert [one[0] for one in rows_of(without)] == ["a", "c", "d", "e"]
    with_one = [row("a", status="tobedeleted"), *earlier[1:]]
    assert len(rows_of(join(with_one, changes, 4))) == 5
    again = [row("a", when=NEW, status="tobedeleted"), changes[0]]
    assert join(with_one, again, 2).rows == 4  # the earlier extract has one, although it is given again


def test_blanked_rows_stay_where_they_are() -> None:
    blank = (" 9f", " forgotten", "", "")
    earlier = [row("a"), blank, row("c"), (" 1a", *blank[1:]), row("f")]
    assert Survey.of(grouped(earlier)(None)).undated == 0
    found = join(
        earlier, [row("b", "teacher", NEW), row("c", "teacher", NEW), row("g", "teacher", NEW)], size=2
    )
    assert [one[0] for one in rows_of(found)] == ["a", " 9f", "b", "c", " 1a", "f", "g"]
    assert found.rows == 7
    assert drift(found.pages(), grouped(rows_of(found), 4)(None), found.order, None) == Drift()


# ---------------------------------------------------------------------------------------------- drift


def measured(ours: list[Row], full: list[Row], until: datetime | None = None, size: int = 3) -> Drift:
    return drift(grouped(ours, 2)(None), grouped(full, size)(None), ORDERS[0], until)


def test_drift_is_counted_by_kind() -> None:
    ours = [row(one) for one in "abdefh"]
    full = [row("a"), row("b", "teacher"), row("c"), row("d"), row("f"), row("h"), row("z")]
    assert measured(ours, full) == Drift(missing=2, extra=1, different=1)
    assert str(measured(ours, full)) == "2 missing, 1 too many, 1 different"
    assert measured(ours, full).rows == 4


def test_what_changed_after_it_was_asked_is_no_drift() -> None:
    until = datetime(2026, 11, 20, 9, 59, 59, tzinfo=UTC)
    ours = [row(one) for one in "abc"]
    full = [row("a", "teacher", NEW), row("b"), row("c", "teacher"), row("d", when=NEW)]
    assert measured(ours, full, until) == Drift(different=1)
    assert measured(ours, full, until + timedelta(minutes=1)) == Drift(missing=1, different=2)
    assert measured(ours, full) == Drift(missing=1, different=2)


def test_a_tombstone_that_was_cleared_away_is_no_drift() -> None:
    ours = [row("a"), row("b", status="tobedeleted"), row("c", status="Inactive")]
    assert measured(ours, [row("a")]) == Drift()
    assert measured([row("a")], ours) == Drift(missing=2)


@pytest.mark.parametrize(
    "ours, full, found", [("", "abc", Drift(3)), ("abcdefg", "", Drift(0, 7)), ("", "", Drift())]
)
def test_either_side_may_be_empty(ours: str, full: str, found: Drift) -> None:
    assert measured([row(one) for one in ours], [row(one) for one in full]) == found


# ---------------------------------------------------------------------------------- random histories

IDS: Final = st.text("abcXYZ019-", min_size=1, max_size=4)
HISTORY: Final = st.dictionaries(IDS, st.sampled_from(["student", "teacher", "aide"]), max_size=30)
SORTED_BY: Final = st.sampled_from([str, str.casefold])
"""How the server's database sorts."""


def rows_as_shown(rows: Iterable[Row], key: Callable[[str], str]) -> list[Row]:
    return sorted(rows, key=lambda one: key(one[0]))


def same_order(found: Joined, full: list[Row]) -> bool:
    """Whether the order that was taken for the source's is one: it may look like several."""
    return found.order in orders_of([one[0] for one in full])


@given(before=HISTORY, after=HISTORY, again=st.sets(IDS), size=st.integers(1, 8), key=SORTED_BY)
def test_whatever_happens_the_joined_rows_are_the_sources_or_the_drift_says_how_they_are_not(
    before: dict[str, str], after: dict[str, str], again: set[str], size: int, key: Callable[[str], str]
) -> None:
    """Rows are added and changed with a new date; some are given again; others go without a tombstone."""
    full = rows_as_shown(
        (row(one, says, OLD if before.get(one) == says else NEW) for one, says in after.items()), key
    )
    changes = [one for one in full if one[2] == NEW or one[0] in again]
    found = join(rows_as_shown((row(*one) for one in before.items()), key), changes, len(full), size)
    gone = before.keys() - after.keys()
    assert found.rows == len(full) + len(gone) == len(rows_of(found))
    if same_order(found, full):
        assert gone or rows_of(found) == full
        assert drift(found.pages(), grouped(full, 4)(None), found.order, None) == Drift(extra=len(gone))
    assert sorted(one for one in rows_of(found) if one[0] not in gone) == sorted(full)
    assert found.new == len(after.keys() - before.keys())
    assert found.other == sum(before[one] != after[one] for one in before.keys() & after.keys())


@given(before=HISTORY, after=HISTORY, told=st.sets(IDS), size=st.integers(1, 8), key=SORTED_BY)
def test_what_the_source_does_not_tell_is_counted_exactly(
    before: dict[str, str], after: dict[str, str], told: set[str], size: int, key: Callable[[str], str]
) -> None:
    """Of what changed, only some is `told`; all the rest leaves the date as it was."""
    full = rows_as_shown((row(*one) for one in after.items()), key)
    changes = [one for one in full if one[0] in told]
    found = join(rows_as_shown((row(*one) for one in before.items()), key), changes, len(after), size)
    assume(same_order(found, full))
    expected = {**before, **{one: after[one] for one in told & after.keys()}}
    assert drift(found.pages(), grouped(full, size)(None), found.order, None) == Drift(
        missing=len(after.keys() - expected.keys()),
        extra=len(expected.keys() - after.keys()),
        different=sum(expected[one] != after[one] for one in expected.keys() & after.keys()),
    )
