"""Pages that overlap by a row: what moves while a collection is read is seen, whatever the total says."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roster_pipeline.oneroster.paging import Bounds
from roster_pipeline.oneroster.wire import SourceError
from roster_pipeline_tests.unit.oneroster.server import Reply, Request, School, district
from roster_pipeline_tests.unit.oneroster.test_paging import Read, pull, widths

TEMPLATE = district(1)["users"][1]


@dataclass
class Moving(School):
    """A server that sorts by `sourcedId`, whose rows change between its answers; and all ids it ever had."""

    people: list[str] = field(default_factory=list)
    change: Callable[[int, list[str]], list[str]] = lambda answered, people: people
    """How many answers were given, and the ids then, to those that the next answer is of."""
    answered: int = 0
    past: list[set[str]] = field(default_factory=list)

    def __call__(self, request: Request) -> Reply:
        with self.lock:
            self.people = sorted(self.change(self.answered, self.people))
            self.answered += 1
            self.past.append(set(self.people))
            self.rows = {"users": [{**TEMPLATE, "sourcedId": one} for one in self.people]}
        return super().__call__(request)

    def stayed(self) -> set[str]:
        return set.intersection(*self.past)


def numbered(count: int) -> list[str]:
    return [f"{number * 10:04}" for number in range(count)]


def once(after: int, gone: int, come: str) -> Callable[[int, list[str]], list[str]]:
    """After so many answers, the row at place `gone` goes and `come` comes."""

    def change(answered: int, people: list[str]) -> list[str]:
        return [*people[:gone], *people[gone + 1 :], come] if answered == after else people

    return change


def safe(read: Read, school: Moving) -> bool:
    """Whether every row that was there during the whole reading was read."""
    return school.stayed() <= set(read.ids)


# ------------------------------------------------------------------------- one goes, another comes


@widths
@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("after", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("gone, come", [(0, "0571"), (9, "0561")])
def test_a_row_that_goes_while_another_comes_hides_no_third_one(
    width: int, counts: bool, after: int, gone: int, come: str
) -> None:
    school = Moving(people=numbered(57), counts=counts, change=once(after, gone, come))
    read = pull(school, width=width)
    assert safe(read, school)
    assert read.finding.complete
    assert len(read.ids) == len(set(read.ids))
    if width == 1:
        assert read.pages.restarts == ["users"]
        assert set(read.ids) == school.past[-1]


@pytest.mark.parametrize("counts", [True, False])
def test_nor_where_the_row_before_the_next_page_is_the_one_that_goes(counts: bool) -> None:
    school = Moving(people=numbered(57), counts=counts, change=once(2, 18, "0181"))
    read = pull(school)
    assert read.finding.complete
    assert set(read.ids) == school.past[-1]
    assert read.pages.restarts == ["users"]


@pytest.mark.parametrize("counts", [True, False])
def test_nor_where_every_row_behind_it_moves_by_a_whole_page(counts: bool) -> None:
    def change(answered: int, people: list[str]) -> list[str]:
        return [*people[10:], *(f"9{number:03}" for number in range(10))] if answered == 2 else people

    school = Moving(people=numbered(57), counts=counts, change=change)
    read = pull(school)
    assert read.finding.complete
    assert set(read.ids) == school.past[-1]


@widths
@pytest.mark.parametrize("counts", [True, False])
def test_rows_that_keep_moving_are_unproven(width: int, counts: bool) -> None:
    def change(answered: int, people: list[str]) -> list[str]:
        return [*people[1:], f"9{answered:03}"]

    read = pull(Moving(people=numbered(57), counts=counts, change=change), width=width)
    assert not read.finding.complete
    assert read.codes[0] == "RS-PAGE-07"
    if counts:
        assert read.finding.proof == "The rows moved while they were read."
    assert read.pages.restarts == ["users"]


def test_what_goes_and_comes_behind_the_place_that_was_reached_is_no_disturbance() -> None:
    school = Moving(people=numbered(57), change=once(2, 40, "0431"))
    read = pull(school)
    assert read.finding.complete
    assert set(read.ids) == school.past[-1]
    assert read.pages.restarts == []


# -------------------------------------------------------------------------------- what is asked for


@pytest.mark.parametrize(
    "counts, count, asked",
    [
        (True, 35, [0, 9, 18, 27]),
        (True, 28, [0, 9, 18, 27]),  # the last page is full, and the last row comes alone
        (False, 35, [0, 9, 18, 27, 34, 35]),
        (False, 28, [0, 9, 18, 27, 28]),
        (False, 1, [0, 1, 0]),
    ],
)
def test_each_page_begins_with_the_last_row_of_the_one_before(
    counts: bool, count: int, asked: list[int]
) -> None:
    read = pull(Moving(people=numbered(count), counts=counts))
    assert read.server.asked("users") == asked
    assert read.ids == numbered(count)
    assert (read.finding.complete, read.finding.rows) == (True, count)
    told = [rows for rows, _ in read.told]
    assert told == [min(10 + 9 * page, count) for page in range(len(told))]


def test_a_row_on_two_pages_counts_once_for_the_bounds() -> None:
    rows = {"users": 50}
    assert pull(Moving(people=numbered(50)), bounds=Bounds(rows=rows)).finding.complete
    one = pull(Moving(people=numbered(10))).finding
    assert one.rows == 10


def test_the_last_row_alone_proves_the_end_where_a_server_repeats_or_refuses_what_is_behind_it() -> None:
    for past in ("last", "first", "404"):
        read = pull(Moving(people=numbered(35), counts=False, past_the_end=past))
        assert (read.finding.complete, read.ids) == (True, numbered(35))
        assert "came alone" in read.finding.proof
        assert read.server.asked("users") == [0, 9, 18, 27, 34, 35]


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("names", [lambda n: f"{n}", lambda n: "aB"[n % 2] + f"{n:03}", lambda n: f"u{n}"])
def test_orders_of_other_databases_are_orders(counts: bool, names: Callable[[int], str]) -> None:
    """As numbers, without regard to capitals, by characters."""
    every = [names(number) for number in range(57)]
    every.sort(key=int if every[0] == "0" else str.casefold)

    class Changing(School):
        def __call__(self, request: Request) -> Reply:
            if request.offset == 18 and self.rows["users"][0]["sourcedId"] == every[0]:
                self.rows["users"] = [*self.rows["users"][1:], {**TEMPLATE, "sourcedId": names(99)}]
            return super().__call__(request)

    school = Changing({"users": [{**TEMPLATE, "sourcedId": one} for one in every]}, counts=counts)
    read = pull(school)
    assert (read.finding.complete, read.ids) == (True, [*every[1:], names(99)])
    assert read.pages.restarts == ["users"]


# ------------------------------------------------------------------------------ servers that cannot


def _unsorted(offset: int, limit: int, rows: list[Any]) -> list[Any]:
    return random.Random(5).sample(rows, len(rows))[offset : offset + limit]


def _sorted_inside_a_page(offset: int, limit: int, rows: list[Any]) -> list[Any]:
    return sorted(_unsorted(offset, limit, rows), key=lambda row: str(row["sourcedId"]))


def _whole_pages(offset: int, limit: int, rows: list[Any]) -> list[Any]:
    begin = offset // limit * limit
    return rows[begin : begin + limit]


def _next_whole_pages(offset: int, limit: int, rows: list[Any]) -> list[Any]:
    begin = -(-offset // limit) * limit
    return rows[begin : begin + limit]


@widths
@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("count", [57, 60])
@pytest.mark.parametrize(
    "cut", [_unsorted, _sorted_inside_a_page, _whole_pages, _next_whole_pages], ids=lambda cut: cut.__name__
)
def test_servers_whose_pages_cannot_overlap_are_read_as_they_are(
    width: int, counts: bool, count: int, cut: Callable[[int, int, list[Any]], list[Any]]
) -> None:
    if cut is _whole_pages and count % 10 and not counts:
        return  # it sends its last page again and again: whether that is all cannot be told
    rows = [{**TEMPLATE, "sourcedId": one} for one in numbered(count)]

    def answer(request: Request) -> Reply:
        page = cut(request.offset, int(request.query["limit"]), rows)
        return Reply({"users": page}, headers={"X-Total-Count": str(count)} if counts else {})

    class Cutting(School):
        def __call__(self, request: Request) -> Reply:
            return answer(request)

    read = pull(Cutting(), width=width)
    assert sorted(read.ids) == numbered(count)
    assert read.finding.complete
    assert read.pages.restarts == []


def test_a_server_that_reads_no_further_than_whole_pages_reach_is_read_by_whole_pages() -> None:
    class Windowed(School):
        def __call__(self, request: Request) -> Reply:
            if request.offset + int(request.query["limit"]) > 40:
                return Reply({"imsx_codeMajor": "failure"}, 400)
            return super().__call__(request)

    school = Windowed({"users": [{**TEMPLATE, "sourcedId": one} for one in numbered(38)]})
    read = pull(school)
    assert (read.finding.complete, read.ids) == (True, numbered(38))


@pytest.mark.parametrize("counts", [True, False])
def test_an_empty_page_where_the_last_row_was_is_no_end(counts: bool) -> None:
    """As of a server that reads no further than to some row, and says nothing."""
    school = School(
        {"users": [{**TEMPLATE, "sourcedId": one} for one in numbered(57)]},
        counts=counts,
        total=lambda endpoint, count, offset: 30,
        arranged=lambda endpoint, offset, rows: [] if offset >= 27 else rows,
    )
    read = pull(school)
    assert not read.finding.complete
    assert read.codes == ["RS-PAGE-07"]


def test_a_page_of_one_row_is_no_end_where_a_server_sends_single_rows_at_times() -> None:
    class Sparing(Moving):
        def __call__(self, request: Request) -> Reply:
            self.cap = 1 if request.offset in (9, 18) else 10
            return super().__call__(request)

    school = Sparing(people=numbered(57), counts=False)
    read = pull(school)
    assert (read.finding.complete, read.ids) == (True, numbered(57))


# -------------------------------------------------------------------------------------------- always

CHANGES = st.dictionaries(
    st.integers(1, 14),
    st.lists(
        st.tuples(st.sampled_from(["add", "remove", "swap"]), st.integers(0, 200), st.integers(0, 999)),
        min_size=1,
        max_size=3,
    ),
    max_size=3,
)
"""After how many answers, which rows go and come."""


@settings(max_examples=60)
@given(
    ids=st.sets(st.integers(0, 999), max_size=40),
    changes=CHANGES,
    counts=st.booleans(),
    limit=st.integers(2, 9),
    cap=st.integers(2, 9),
    width=st.integers(1, 3),
    past=st.sampled_from(["empty", "last", "first"]),
)
def test_of_a_complete_reading_no_row_is_missing_that_was_there_all_the_time(
    ids: set[int],
    changes: dict[int, list[tuple[str, int, int]]],
    counts: bool,
    limit: int,
    cap: int,
    width: int,
    past: str,
) -> None:
    def change(answered: int, people: list[str]) -> list[str]:
        held = list(people)
        for how, where, number in changes.get(answered, []):
            if how != "add" and held:
                del held[where % len(held)]
            if how != "remove" and f"{number:03}" not in held:
                held.append(f"{number:03}")
        return held

    school = Moving(
        people=[f"{number:03}" for number in sorted(ids)],
        counts=counts,
        cap=cap,
        past_the_end=past,
        change=change,
    )
    try:
        read = pull(school, limit=limit, width=width)
    except SourceError:
        return  # rows came just when it repeated others
    if read.finding.complete:
        assert school.stayed() <= set(read.ids)
    assert set(read.ids) <= set.union(*school.past)
