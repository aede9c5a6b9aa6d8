"""The picture of the last syncs: what it says, also without colour, and how small it is."""

from __future__ import annotations

import base64
import datetime as dt
import re
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roster_pipeline.charts import as_image, in_words, people_chart

STATUSES = ("successful", "partial", "failed", "interrupted")
SVG = "{http://www.w3.org/2000/svg}"


def sync(day: str, status: str = "successful", people: int | None = 800) -> dict[str, Any]:
    return {"as_of": f"2025-{day}", "status": status, "people": people}


def words(svg: str) -> list[str]:
    return [node.text or "" for node in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def heights(svg: str) -> list[int]:
    """Of all bars, by status and in time."""
    return [int(found) for found in re.findall(r"v-(\d+)h\d+v\d+z", svg)]


def test_every_bar_has_its_number_and_its_day() -> None:
    said = words(people_chart([sync("10-14", people=800), sync("10-15", people=812)]))
    assert {"800", "812", "14", "15", "Oct"} <= set(said)
    assert said.count("Oct") == 1


def test_bars_are_as_high_as_there_are_people() -> None:
    few, many, none = heights(
        people_chart([sync("10-13", people=400), sync("10-14", people=800), sync("10-15", people=0)])
    )
    assert (few * 2, none) == (many, 1)


def test_without_colour_a_partial_sync_is_hatched_and_a_failed_one_a_cross() -> None:
    svg = people_chart([sync("10-13"), sync("10-14", "partial"), sync("10-15", "failed", None)])
    assert "url(#p)" in svg
    assert words(svg).count("×") == 2, "at its place and in the legend"
    assert {"partial", "failed"} <= set(words(svg))
    assert "–" not in words(svg)


def test_a_sync_that_published_nothing_has_no_bar_whatever_it_counted() -> None:
    assert heights(people_chart([sync("10-14", "failed", 800), sync("10-15", "interrupted")])) == []


@pytest.mark.parametrize(
    "days, missed", [(["10-14", "10-15"], ""), (["10-12", "10-15"], "2"), (["10-15", "10-15"], "")]
)
def test_nights_without_a_sync_are_counted_and_not_drawn_over(days: list[str], missed: str) -> None:
    svg = people_chart([sync(day) for day in days])
    assert ("nights missed" in words(svg)) == bool(missed)
    if missed:
        assert missed in words(svg)


def test_a_month_is_named_where_it_begins() -> None:
    said = words(people_chart([sync("09-29"), sync("09-30"), sync("10-01"), sync("10-02")]))
    assert (said.count("Sep"), said.count("Oct")) == (1, 1)


def test_where_nothing_was_synced_there_is_no_picture() -> None:
    assert (people_chart([]), in_words([])) == ("", "")


def test_words_say_what_the_picture_does() -> None:
    assert in_words([sync("10-14"), sync("10-15", "partial", 640)]) == (
        "The last 2 syncs; the newest, for 2025-10-15, was partial: 640 people."
    )
    assert in_words([sync("10-15", "failed", None)]).endswith("was failed: nobody.")


@pytest.mark.parametrize(
    "people, said",
    [(0, "0"), (9999, "9999"), (10000, "10k"), (99999, "99.9k"), (999999, "999k"), (1234567, "1.2M")],
)
def test_numbers_stay_short(people: int, said: str) -> None:
    assert said in words(people_chart([sync("10-15", people=people)]))


@given(
    st.lists(
        st.tuples(
            st.integers(0, 900), st.sampled_from(STATUSES), st.one_of(st.none(), st.integers(0, 2_000_000))
        ),
        min_size=1,
        max_size=14,
    )
)
def test_whatever_happened_the_picture_is_small_and_well_formed(
    found: list[tuple[int, str, int | None]],
) -> None:
    """It is stored with every event: fourteen bars, gaps between all of them, every sign in the legend."""
    day, syncs = dt.date(2025, 10, 15), []
    for after, status, people in found:
        day += dt.timedelta(days=after)
        syncs.append({"as_of": day.isoformat(), "status": status, "people": people})
    svg = people_chart(syncs)
    assert svg == people_chart(syncs)
    ElementTree.fromstring(svg)
    image = as_image(svg, in_words(syncs))
    assert len(image) < 4608
    head, _, data = image.partition("](data:image/svg+xml;base64,")
    assert head == f"![{in_words(syncs)}"
    assert base64.b64decode(data.removesuffix(")")).decode() == svg


@pytest.mark.parametrize("statuses", [["partial"], ["successful", "partial", "failed", "interrupted"]])
@pytest.mark.parametrize("nights", [1, 3])
def test_of_a_tenant_that_is_synced_nightly_it_takes_less_than_four_kilobytes(
    statuses: list[str], nights: int
) -> None:
    syncs = [
        {
            "as_of": (dt.date(2025, 9, 24) + dt.timedelta(days=nights * place)).isoformat(),
            "status": statuses[place % len(statuses)],
            "people": 99_999,
        }
        for place in range(14)
    ]
    assert len(as_image(people_chart(syncs), in_words(syncs))) < 4096
