"""Coded columns say the same as columns of text: each function of `rows`, and whole nights."""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter
from dataclasses import replace

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from roster_pipeline.rosters import rows
from roster_pipeline.rosters.source import Source
from roster_pipeline_tests.rosters import Story
from roster_pipeline_tests.unit.rosters.test_order import ADULTS_AND_STUDENTS, Muddle, assert_same

TEXTS = st.lists(
    st.sampled_from(["", "a", "b", "2025-09-01", "2025-09-02", "2025-13-01", "deleted"]), max_size=8
)


def text(values: list[str]) -> pd.Series:
    return pd.Series(values, dtype="str", name="one")


def code(values: list[str]) -> pd.Series:
    """As another frame may have left it: with a value that no row has any more."""
    return rows.as_coded(text([*values, "gone"])).iloc[: len(values)]


@given(TEXTS)
def test_one_column(values: list[str]):
    one, other = text(values), code(values)
    assert other.tolist() == rows.as_coded(one).tolist() == values
    assert rows.mapped(other, str.upper).tolist() == rows.mapped(one, str.upper).tolist()
    assert rows.among(other, {"a", "gone"}).tolist() == rows.among(one, {"a", "gone"}).tolist()
    assert rows.holds(other, str.isalpha).tolist() == [value.isalpha() for value in values]
    assert [found.tolist() if isinstance(found, pd.Series) else found for found in rows.dates(other)] == [
        found.tolist() if isinstance(found, pd.Series) else found for found in rows.dates(one)
    ]
    mask = (one == "a").to_numpy()
    assert rows.mapped_where(other, mask, "new").tolist() == rows.mapped_where(one, mask, "new").tolist()


@given(TEXTS, st.dates(dt.date(2025, 8, 31), dt.date(2025, 9, 3)), st.booleans())
def test_dates_of_two_columns(values: list[str], day: dt.date, exclusive: bool):
    told = []
    for made in (text, code):
        begin, end = made(values), made(values[::-1])
        first, last, unread, turned = rows.span(begin, end)
        within = rows.within(first, last, day, exclusive=exclusive)
        told.append((first.tolist(), last.tolist(), unread, turned, within.tolist()))
    assert told[0] == told[1]
    expected = [
        rows.day_within(begin, end, day, exclusive=exclusive) for begin, end in zip(*told[0][:2], strict=True)
    ]
    assert told[0][4] == expected


@given(TEXTS, TEXTS)
def test_several_columns(values: list[str], others: list[str]):
    size = min(len(values), len(others))
    pairs = list(zip(values[:size], others[:size], strict=True))
    for one in (text, code):
        for other in (text, code):
            frame = pd.DataFrame({"x": one(values[:size]).array, "y": other(others[:size]).array})
            assert dict(rows.counted(frame, "x", "y")) == Counter(pairs)
            assert list(dict(rows.counted(frame, "x", "y"))) == list(dict.fromkeys(pairs))
            number = rows.numbered(frame, "x", "y")
            assert len(set(number.tolist())) == len(set(pairs))
            half = frame.iloc[: size // 2]
            known = set(pairs[: size // 2])
            assert rows.are_in(frame, half, "x", "y").tolist() == [pair in known for pair in pairs]
            below = rows.stacked([frame, half], ["x", "y"])
            assert list(rows.keys(below, "x", "y")) == [*pairs, *pairs[: size // 2]]


def test_more_values_than_fit_into_a_byte_can_be_counted_on_from():
    codes, different = rows.coded(code([str(number) for number in range(120)]))
    assert (codes + len(different)).max() == 119 + 121


def test_the_rows_of_a_frame_are_gone_through_in_pieces():
    frame = pd.DataFrame({"x": pd.array(list(map(str, range(120_001))), dtype="str")})
    assert [value for (value,) in rows.keys(frame, "x")] == frame["x"].tolist()


class Coded(Story):
    """A tenant whose enrolments are coded, as they come from the lake, and whose memberships are, too."""

    def sources(self, tenant) -> list[Source]:
        memberships = self.published.memberships
        if len(memberships):
            self.published = replace(self.published, memberships=every_coded(memberships))
        return [
            replace(
                source, frames={**source.frames, "enrollments": every_coded(source.frames["enrollments"])}
            )
            for source in super().sources(tenant)
        ]


def every_coded(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            name: frame[name] if name in ("sourcedId", "provider_id") else rows.as_coded(frame[name])
            for name in frame.columns
        }
    )


def test_whole_nights():
    muddle = Muddle(random.Random(1), 12, ADULTS_AND_STUDENTS)
    tenant = muddle.tenant()
    for _ in range(3):
        muddle.next_night(tenant)
        other = Coded(**{name: getattr(tenant, name) for name in Story.__dataclass_fields__})
        other.nights = list(tenant.nights)
        assert_same(tenant.night().check(), other.night().check())
