"""Rows of every collection: doubles, statuses, dates, spans and what lies within them."""

from __future__ import annotations

import datetime as dt
import itertools

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roster_pipeline.rosters import rows

DAY = dt.date(2025, 10, 15)


def frame(*records: tuple[str, str, str]) -> pd.DataFrame:
    """sourcedId, status, dateLastModified and a name that differs for every record."""
    named = [(*record, f"name {place}") for place, record in enumerate(records)]
    return pd.DataFrame(named, columns=["sourcedId", "status", "dateLastModified", "name"], dtype="str")


def series(*values: str) -> pd.Series:
    return pd.Series(list(values), dtype="str")


# ------------------------------------------------------------------------------------------ doubles


def test_of_two_rows_with_one_id_the_newest_counts():
    found = frame(
        ("s1", "active", "2025-09-01T00:00:00Z"),
        ("s1", "active", "2025-10-01T00:00:00Z"),
        ("s1", "active", "2025-09-15T00:00:00Z"),
    )
    assert rows.reasons(found).tolist() == ["duplicate", "", "duplicate"]


def test_a_dated_row_is_newer_than_one_without_a_date():
    found = frame(("s1", "active", ""), ("s1", "active", "2020-01-01T00:00:00Z"))
    assert rows.reasons(found).tolist() == ["duplicate", ""]


def test_the_order_of_rows_does_not_decide_which_of_equally_new_ones_counts():
    records = [("s1", "active", ""), ("s1", "active", ""), ("s1", "active", ""), ("s2", "active", "")]
    found = frame(*records)
    survivors = set()
    for order in itertools.permutations(range(4)):
        shuffled = found.iloc[list(order)].reset_index(drop=True)
        kept = shuffled[rows.reasons(shuffled) == ""]
        survivors.add(tuple(sorted(kept["name"])))
    assert len(survivors) == 1


def test_a_newest_row_that_is_deleted_takes_the_older_ones_with_it():
    found = frame(("s1", "active", "2025-01-01"), ("s1", "tobedeleted", "2025-02-01"))
    assert rows.reasons(found).tolist() == ["duplicate", "deleted"]


def test_a_newest_row_that_is_active_revives_a_deleted_one():
    found = frame(("s1", "tobedeleted", "2025-01-01"), ("s1", "active", "2025-02-01"))
    assert rows.reasons(found).tolist() == ["duplicate", ""]


def test_ids_differ_by_letter_case():
    assert rows.reasons(frame(("S1", "active", ""), ("s1", "active", ""))).tolist() == ["", ""]


def test_rows_without_an_id_are_no_doubles_of_each_other():
    found = frame(("", "active", ""), ("", "active", ""), ("", "tobedeleted", ""))
    assert rows.reasons(found).tolist() == ["no_id"] * 3


@pytest.mark.parametrize(
    "status, reason",
    [
        ("active", ""),
        ("ACTIVE", ""),
        ("", ""),
        ("whatever", ""),
        ("tobedeleted", "deleted"),
        ("toBeDeleted", "deleted"),
        ("TOBEDELETED", "deleted"),
        ("inactive", "deleted"),
        ("Inactive", "deleted"),
    ],
)
def test_only_rows_to_be_deleted_and_inactive_ones_are_deleted(status: str, reason: str):
    assert rows.reasons(frame(("s1", status, ""))).tolist() == [reason]


def test_an_empty_frame_has_no_reasons():
    assert rows.reasons(frame()).tolist() == []


# ------------------------------------------------------------------------------------------ dates


@pytest.mark.parametrize(
    "text, date, unread",
    [
        ("2025-10-15", "2025-10-15", 0),
        ("2025-10-15T23:59:59.000Z", "2025-10-15", 0),
        ("", "", 0),
        ("15.10.2025", "", 1),
        ("2025-02-30", "", 1),
        ("soon", "", 1),
        ("20251015", "", 1),
    ],
)
def test_a_date_is_its_first_ten_characters_or_none(text: str, date: str, unread: int):
    found, count = rows.dates(series(text))
    assert (found.tolist(), count) == ([date], unread)


def test_a_span_that_begins_after_it_ends_has_no_dates():
    begin, end, unread, turned = rows.span(
        series("2025-10-02", "2025-10-01", "2025-10-01", "", "x"),
        series("2025-10-01", "2025-10-01", "2025-10-02", "2025-10-01", "2025-10-01"),
    )
    assert begin.tolist() == ["", "2025-10-01", "2025-10-01", "", ""]
    assert end.tolist() == ["", "2025-10-01", "2025-10-02", "2025-10-01", "2025-10-01"]
    assert (unread, turned) == (1, 1)


@pytest.mark.parametrize(
    "begin, end, inclusive, exclusive",
    [
        ("", "", True, True),
        ("2025-10-15", "", True, True),
        ("2025-10-16", "", False, False),
        ("", "2025-10-16", True, True),
        ("", "2025-10-15", True, False),
        ("", "2025-10-14", False, False),
        ("2025-10-15", "2025-10-15", True, False),
        ("2025-10-15", "2025-10-16", True, True),
        ("2025-10-16", "2025-10-20", False, False),
        ("2024-10-16", "2024-10-20", False, False),
    ],
)
def test_a_day_lies_within_from_the_first_day_to_the_last(
    begin: str, end: str, inclusive: bool, exclusive: bool
):
    for mode, expected in ((False, inclusive), (True, exclusive)):
        assert rows.day_within(begin, end, DAY, exclusive=mode) is expected
        assert rows.within(series(begin), series(end), DAY, exclusive=mode).tolist() == [expected]


@settings(max_examples=60)
@given(
    begin=st.none() | st.dates(dt.date(2025, 10, 13), dt.date(2025, 10, 17)),
    end=st.none() | st.dates(dt.date(2025, 10, 13), dt.date(2025, 10, 17)),
    exclusive=st.booleans(),
)
def test_the_days_within_are_those_that_counting_finds(
    begin: dt.date | None, end: dt.date | None, exclusive: bool
):
    # The oracle walks through the days of the span, one by one.
    first, last = begin or dt.date(2025, 10, 1), end or dt.date(2025, 10, 31)
    days = {first + dt.timedelta(days=n) for n in range(60) if first + dt.timedelta(days=n) <= last}
    if exclusive and end:
        days.discard(end)
    texts = begin.isoformat() if begin else "", end.isoformat() if end else ""
    assert rows.day_within(*texts, DAY, exclusive=exclusive) == (DAY in days)


# ------------------------------------------------------------------------------------------ frames


def test_a_list_survives_being_a_columns_value():
    assert rows.parse_list(rows.as_list(["07", "été", 'a "b"'])) == ["07", "été", 'a "b"']
    assert rows.as_list([]) == ""
    assert rows.parse_list("") == []


def test_mapping_calls_the_function_once_for_each_different_value():
    asked = []

    def shout(text: str) -> str:
        asked.append(text)
        return text.upper()

    assert rows.mapped(series("a", "b", "a"), shout).tolist() == ["A", "B", "A"]
    assert sorted(asked) == ["a", "b"]


def test_rows_are_left_out_by_several_columns_together():
    found = frame(("s1", "x", ""), ("s1", "y", ""), ("s2", "x", ""))
    left = found[~rows.are_in(found, frame(("s1", "x", ""), ("s2", "y", "")), "sourcedId", "status")]
    assert list(rows.keys(left, "sourcedId", "status")) == [("s1", "y"), ("s2", "x")]


@pytest.mark.parametrize("function", [rows.records, rows.each])
def test_an_empty_frame_has_no_rows(function):
    assert list(function(frame())) == []
    assert rows.among(frame()["sourcedId"], {"s1"}).tolist() == []
    assert rows.among(frame()["sourcedId"], set()).tolist() == []
    assert len(rows.are_in(frame(), frame(("s1", "", "")), "sourcedId")) == 0
