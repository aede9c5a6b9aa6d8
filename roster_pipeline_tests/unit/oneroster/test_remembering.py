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

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roster_pipeline.oneroster.paging import fingerprint_of
from roster_pipeline.oneroster.regular import Regular
from roster_pipeline.rosters.forgotten import Forgotten, digest, mark_of_user
from roster_pipeline.store import lake as lake_module
from roster_pipeline.store.erasing import erase_files
from roster_pipeline.store.lake import Lake
from roster_pipeline_tests.unit.oneroster.server import Reply, serving
from roster_pipeline_tests.unit.oneroster.source import LIMIT, TENANT, Reader, Source

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
    group=st.sampled_from([1, 4, 1000]),
)
def test_every_night_is_as_if_all_its_pages_had_been_made_of_their_json(
    ids: set[int], nights: list[tuple[Any, int | None]], counts: bool, sorts: bool, blanks: bool, group: int
) -> None:
    people = [(f"{number:03}" + " " * (blanks and number % 7 == 0), f"F {number}") for number in sorted(ids)]
    source = Source(people=people, counts=counts, sorts=sorts)
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
                findings.append(reader.read())
            assert findings[0] == findings[1]
            if findings[0] is None:
                continue
            assert plain.rows == remembering.rows
            place = TENANT, 1, len(plain.syncs), "users"
            assert plain.lake.digest(*place) == remembering.lake.digest(*place)


# ---------------------------------------------------------------------------------- what is remembered


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The pages of which rows are made."""
    found: list[bytes] = []
    read = Regular.read

    def counted(self: Regular, body: bytes) -> Any:
        found.append(body)
        return read(self, body)

    monkeypatch.setattr(Regular, "read", counted)
    return found


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
    night.reader.read()
    night.source.total = lambda endpoint, count, offset: count + 1
    finding = night.reader.read()
    assert finding is not None
    assert not finding.complete
    assert [code for code, _, _ in finding.doubts] == ["RS-PAGE-07"]


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


def _no_pointer(night: Nights) -> None:
    night.reader.lake.set_complete(TENANT, 1, {})


def _too_old(night: Nights) -> None:
    night.reader.lake.set_complete(TENANT, 1, {"users": {"sync_id": None}})


@pytest.mark.parametrize(
    "spoil",
    [
        _another_release, _nothing_noted, _torn_note, _part_gone, _part_cut, _one_bit, _no_pointer, _too_old,
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
    for _ in range(3):
        night.decoded.clear()
        finding = night.reader.read()
        assert finding is not None
        assert [(code, count) for code, _, count in finding.doubts] == [("RS-ROW-06", 1)]
        assert night.decoded


def test_pages_in_another_order_are_none_that_were_kept(night: Nights, tmp_path: Path) -> None:
    """The lake is read forwards: what stands further up is made of its JSON."""
    pages = [PEOPLE[first : first + LIMIT] for first in range(0, len(PEOPLE), LIMIT)]
    source = night.source
    source.sorts = False
    source.people = [one for page in pages[1::2] + pages[::2] for one in page]
    night()
    source.people = [one for page in pages[::2] + pages[1::2] for one in page]
    assert night() > 0
    assert night() == 0


def test_nothing_is_remembered_where_nobody_says_what_makes_the_rows(night: Nights) -> None:
    night.reader.release = ""
    night()
    assert "pages" not in json.loads(night.note.read_text())
    assert night() == EVERY


def test_a_page_with_somebody_forgotten_is_none_that_came(night: Nights) -> None:
    night()
    mark = mark_of_user((1, "011"))
    night.reader.forgotten = forgotten = Forgotten("5a17", {digest("5a17", mark): 1})
    kept = json.loads(night.note.read_text())
    assert kept["pages"]
    assert erase_files(night.reader.lake, TENANT, forgotten)["extracts"] == 1
    assert not {"digest", "pages"} & {*json.loads(night.note.read_text())}
    for made in (EVERY, 1, 1):
        night.decoded.clear()
        finding = night.reader.read()
        assert finding is not None
        assert finding.complete
        assert len(night.decoded) == made
        assert [row for row in night.reader.rows if row not in PEOPLE] == [(mock.ANY, "")]


_JSON = st.text('{}[]"a1', max_size=3).map(str.encode)


@given(pages=st.sets(st.tuples(_JSON, st.text("{a1", max_size=2))))
def test_a_fingerprint_is_of_the_bytes_and_of_what_they_were_asked_behind(
    pages: set[tuple[bytes, str]],
) -> None:
    found = {fingerprint_of(*page) for page in pages}
    assert len(found) == len(pages)
    assert {len(bytes.fromhex(one)) for one in found} <= {16}
