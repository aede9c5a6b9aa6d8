"""Pages that came before: their rows are taken from the lake, and nothing else is otherwise."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roster_pipeline.oneroster.paging import fingerprint_of
from roster_pipeline.rosters.forgotten import Forgotten, digest, mark_of_user
from roster_pipeline.store import lake as lake_module
from roster_pipeline.store.erasing import erase_files
from roster_pipeline.store.lake import Lake, RememberedPages
from roster_pipeline_tests.unit.oneroster.server import Reply, serving
from roster_pipeline_tests.unit.oneroster.source import LIMIT, TENANT, Reader, Source, made_of

NAMES = ("New", " New ", "\tNew\x85", "", "New" * 2000, "Zoë", "Null", '"\\"')
CHANGE = st.one_of(
    st.tuples(st.sampled_from(["add", "remove", "move"]), st.integers(0, 200), st.integers(0, 999)),
    st.tuples(st.sampled_from(NAMES), st.integers(0, 200), st.just(0)),
)
NIGHTS = st.lists(
    st.tuples(st.lists(CHANGE, max_size=3), st.one_of(st.none(), st.integers(1, 9))), min_size=2, max_size=5
)
"""What happens before a night, and after how many requests it is interrupted."""


@contextmanager
def lakes(*names: str) -> Iterator[list[Lake]]:
    with tempfile.TemporaryDirectory() as folder:
        yield [Lake(f"{folder}/{name}") for name in names]


def change(source: Source, how: str, where: int, number: int) -> None:
    if how in ("add", "remove", "move"):
        source.change(how, where, number)
    elif source.people:
        place = where % len(source.people)
        source.people[place] = source.people[place][0], how


@settings(max_examples=60)
@given(
    ids=st.sets(st.integers(0, 999), max_size=24),
    nights=NIGHTS,
    counts=st.booleans(),
    sorts=st.booleans(),
    blanks=st.booleans(),
    turned=st.booleans(),
    group=st.sampled_from([1, 4, 1000]),
)
def test_every_night_is_as_if_all_its_pages_had_been_made_of_their_json(
    ids: set[int],
    nights: list[tuple[Any, int | None]],
    counts: bool,
    sorts: bool,
    blanks: bool,
    turned: bool,
    group: int,
) -> None:
    people = [(f"{number:03}" + " " * (blanks and number % 7 == 0), f"F {number}") for number in sorted(ids)]
    source = Source(people=people, counts=counts, sorts=sorts)
    if turned:
        source.arranged = lambda endpoint, offset, rows: _turned(rows, offset)
    with (
        lakes("plain", "remembering") as found,
        serving(source) as server,
        pytest.MonkeyPatch.context() as on,
    ):
        on.setattr(lake_module, "_GROUP_ROWS", group)
        plain, remembering = Reader(found[0], server), Reader(found[1], server, release="this")
        for changes, after in nights:
            for one in changes:
                change(source, *one)
            findings = []
            for reader in (plain, remembering):
                source.faults = {"users": [None] * after + [Reply(status=503)]} if after else {}
                server.requests.clear()
                findings.append((reader.read(), [(one.path, one.query) for one in server.requests]))
            assert findings[0] == findings[1]
            if findings[0][0] is None:
                continue
            assert plain.rows == remembering.rows
            place = TENANT, 1, len(plain.syncs), "users"
            assert plain.lake.digest(*place) == remembering.lake.digest(*place)


def _turned(rows: list[Any], offset: int) -> list[Any]:
    """As of a server that turns each page but the first: no page begins with the row it was asked behind."""
    return rows[:offset] + rows[offset : offset + LIMIT][:: -1 if offset else 1] + rows[offset + LIMIT :]


# ---------------------------------------------------------------------------------- what is remembered


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The pages of which rows are made."""
    return made_of(monkeypatch)


PEOPLE = [(f"{number:03}", f"Family {number}") for number in range(30)]
EVERY = len(range(0, len(PEOPLE) - 1, LIMIT - 1))
"""How many pages they are: each shares a row with the one before."""


@dataclass
class Nights:
    """Complete readings of one source."""

    source: Source
    reader: Reader
    decoded: list[bytes]

    def __call__(self) -> int:
        """One night: of how many pages rows were made."""
        self.decoded.clear()
        finding = self.reader.read()
        assert finding is not None
        assert finding.complete
        assert sorted(self.reader.rows) == sorted(self.source.people)
        return len(self.decoded)

    @property
    def note(self) -> Path:
        """What was noted of the last extract."""
        root = self.reader.lake.root / "tenants" / TENANT / "extracts" / "1"
        return root / str(self.reader.syncs[-1]) / "users.json"

    @property
    def part(self) -> Path:
        """The last extract's file."""
        (found,) = self.note.parent.glob("users-*.parquet")
        return found


@pytest.fixture
def night(tmp_path: Path, decoded: list[bytes]) -> Iterator[Nights]:
    source = Source(people=[*PEOPLE])
    with serving(source) as server:
        yield Nights(source, Reader(Lake(str(tmp_path)), server, release="this"), decoded)


def test_rows_are_made_of_the_pages_that_changed(night: Nights) -> None:
    assert night() == EVERY
    assert night() == 0
    night.source.people[11] = "011", "Another"
    assert night() == 1
    assert night() == 0
    night.source.people[10] = "010", "Another"  # the last row of a page, and the first of the next
    assert night() == 2
    del night.source.people[20:22]  # behind these, the same pages stand elsewhere
    assert night() == 1
    del night.source.people[20:21]  # behind this, others
    assert night() >= len(range(20, len(PEOPLE) - 3, LIMIT - 1))


def test_headers_are_tonights_although_the_page_is_not(night: Nights) -> None:
    night()
    night.source.total = lambda endpoint, count, offset: count + 1
    night.decoded.clear()
    finding = night.reader.read()
    assert finding is not None
    assert not finding.complete
    assert [code for code, _, _ in finding.doubts] == ["RS-PAGE-07"]
    assert len(night.decoded) < EVERY


def _another_release(night: Nights) -> None:
    night.reader.release = "another"


def _nothing_noted(night: Nights) -> None:
    night.note.unlink()


def _torn_note(night: Nights) -> None:
    night.note.write_text('{"parts": ["users-000')


def _part_gone(night: Nights) -> None:
    night.part.unlink()


def _part_cut(night: Nights) -> None:
    night.part.write_bytes(night.part.read_bytes()[:-50])


def _one_bit(night: Nights) -> None:
    """In the values of a row, where nothing but a checksum tells."""
    content = bytearray(night.part.read_bytes())
    content[content.index(b"Family 0") + 7] ^= 1
    night.part.write_bytes(content)


def _another_column(night: Nights) -> None:
    table = pq.read_table(night.part)
    names = ["given_name" if name == "givenName" else name for name in table.column_names]
    pq.write_table(table.rename_columns(names), night.part)


def _a_row_less(night: Nights) -> None:
    pq.write_table(pq.read_table(night.part).slice(0, 2), night.part)


def _no_file(night: Nights) -> None:
    """Something that cannot be read as one."""
    night.note.unlink()
    night.note.mkdir()


def _note_of_something(night: Nights) -> None:
    night.note.write_text('"text"')


def _pages_of_something(night: Nights) -> None:
    found = json.loads(night.note.read_text())
    night.note.write_text(json.dumps(found | {"pages": dict.fromkeys(found["pages"])}))


def _no_pointer(night: Nights) -> None:
    night.reader.lake.set_complete(TENANT, 1, {})


def _too_old(night: Nights) -> None:
    night.reader.lake.set_complete(TENANT, 1, {"users": {"sync_id": None}})


@pytest.mark.parametrize(
    "spoil",
    [
        _another_release, _nothing_noted, _no_file, _torn_note, _note_of_something, _pages_of_something,
        _part_gone, _part_cut, _one_bit, _another_column, _a_row_less, _no_pointer, _too_old,
    ],
)  # fmt: skip
def test_what_cannot_be_trusted_is_read_anew(spoil: Callable[[Nights], None], night: Nights) -> None:
    night()
    spoil(night)
    assert night() == EVERY
    assert night() == 0


def test_pages_are_known_whatever_stood_between_the_nights(night: Nights) -> None:
    night()
    night.source.faults = {"users": [None] * 4 + [Reply(status=503)]}
    night.decoded.clear()
    assert night.reader.read() is None
    assert night.decoded == []
    proofs = 2  # the first page and the last one that was read, which is asked for alone
    assert night() <= proofs
    assert 0 < night() < EVERY  # of what was taken over nobody knows the pages
    assert night() == 0


def test_a_page_that_says_more_than_its_rows_is_made_of_its_json_each_time(night: Nights) -> None:
    night.source.people[11] = "011", "long" * 2000
    for made in (EVERY, 1, 1):
        night.decoded.clear()
        finding = night.reader.read()
        assert finding is not None
        assert [(code, count) for code, _, count in finding.doubts] == [("RS-ROW-06", 1)]
        assert len(night.decoded) == made
        # As after a sync that was done again in its own folder: what is pointed to is not what was complete.
        night.reader.lake.set_complete(TENANT, 1, {"users": {"sync_id": night.reader.syncs[-1]}})


def test_pages_are_known_wherever_they_come(night: Nights) -> None:
    pages = [PEOPLE[first : first + LIMIT][::-1] for first in range(0, len(PEOPLE), LIMIT)]
    night.source.sorts = False
    night.source.people = [one for page in pages for one in page]
    empty = 1
    assert night() == len(pages) + empty
    # Backwards the ids descend: in no order that servers have, so pages are asked for as they were before.
    night.source.people = [one for page in pages[::-1] for one in page]
    assert night() == empty
    assert night() == empty


def test_pages_that_are_not_regular_do_not_give_up_those_that_came_before(night: Nights) -> None:
    for place in (2, 12, 22):  # of three such pages in a row it is taken that others follow
        night.source.people[place] = night.source.people[place][0], ["Family"]  # type: ignore[assignment]
    night.decoded.clear()
    assert night.reader.read() is not None
    odd = len([body for body in night.decoded if b'["Family"]' in body])
    assert odd > 3
    assert night.reader.read() is not None
    night.source.people[27] = "027", "Another"
    for made in (odd + 1, odd):
        night.decoded.clear()
        assert night.reader.read() is not None
        assert len(night.decoded) == made


def test_pages_that_come_in_any_order_are_not_looked_up_for_ever(
    night: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lake_module, "_GROUP_ROWS", 1)
    monkeypatch.setattr(lake_module, "_OFTEN_ENOUGH", 3)
    opened: list[int] = []
    read = pq.ParquetFile.read_row_group

    def counted(self: Any, number: int, *given: Any, **named: Any) -> Any:
        opened.append(number)
        return read(self, number, *given, **named)

    night()
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    assert night() == 0
    assert len(opened) == EVERY
    opened.clear()
    note = json.loads(night.note.read_text())
    known, two = RememberedPages("users", night.note.parent, note), [*note["pages"]][:2]
    found = [known.rows(two[place % 2]) for place in range(20)]
    assert [one is not None for one in found] == [True] * 5 + [False] * 15
    assert len(opened) == 5


def test_what_was_noted_in_the_future_is_not_young(night: Nights) -> None:
    night.reader.clock.sleep(365 * 24 * 3600)
    night()
    night.reader.clock.sleep(-365 * 24 * 3600)
    assert night() == EVERY
    assert night() == 0


def test_within_a_week_every_page_is_made_of_its_json(night: Nights) -> None:
    made = []
    for _ in range(15):
        made.append(night())
        night.reader.clock.sleep(24 * 3600)
    assert made == [EVERY, *[0] * 6, EVERY, *[0] * 6, EVERY]


def test_nothing_is_remembered_where_nobody_says_what_makes_the_rows(night: Nights) -> None:
    night.reader.release = ""
    night()
    assert "pages" not in json.loads(night.note.read_text())
    assert night() == EVERY


@pytest.mark.parametrize("place, pages", [(0, 2), (10, 2), (11, 2), (29, 1)])
def test_a_page_with_somebody_forgotten_is_none_that_came(night: Nights, place: int, pages: int) -> None:
    """Nor is the next one, which may begin with them, although they are a row of the page before."""
    night()
    someone = PEOPLE[place]
    night.reader.forgotten = forgotten = Forgotten("5a17", {digest("5a17", mark_of_user((1, someone[0]))): 1})
    assert json.loads(night.note.read_text())["pages"]
    assert erase_files(night.reader.lake, TENANT, forgotten)["extracts"] == 1
    assert not {"digest", "pages"} & {*json.loads(night.note.read_text())}
    for made in (EVERY, pages, pages):
        night.decoded.clear()
        finding = night.reader.read()
        assert finding is not None
        assert finding.complete
        assert len(night.decoded) == made
        assert [row for row in night.reader.rows if row not in PEOPLE] == [(mock.ANY, "")]
        known = json.loads(night.note.read_text())["pages"]
        assert len(known) == EVERY - pages


_JSON = st.text('{}[]"a1', max_size=3).map(str.encode)


@given(pages=st.sets(st.tuples(_JSON, st.text("{a1", max_size=2))))
def test_a_fingerprint_is_of_the_bytes_and_of_what_they_were_asked_behind(
    pages: set[tuple[bytes, str]],
) -> None:
    found = {fingerprint_of(*page) for page in pages}
    assert len(found) == len(pages)
    assert {len(bytes.fromhex(one)) for one in found} <= {16}
