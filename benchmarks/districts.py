"""Generated districts on disk, as a server hands them out: rows of JSON in order, and where each begins.

A district of any size is made of parts of at most `PART` students, each from the sandbox's generator with a
seed of its own, so that a million students need no more memory than one part. Of each collection there is

    NAME.json          the rows' JSON, sorted by sourcedId, joined by commas
    NAME.offsets.npy   int64: where each row begins, and one past the comma behind the last

and for the second state, in which one in a hundred rows has moved, of the collections that changed

    NAME.changed.json, NAME.changed.npy    the rows that are new or different, in the same form
    NAME.places.npy    int64, a row each: its number in NAME.json, or -1 - its number in NAME.changed.json

A page at any offset is then one slice of a file, or in the second state some twenty.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import random
import shutil
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from roster_pipeline.sandbox import generator, names, rows
from roster_pipeline.sandbox.flavours import Version
from roster_pipeline.sandbox.rows import Writer
from roster_pipeline.sandbox.source import Row, Tables

SIZES: Final = {"1k": 1_000, "10k": 10_000, "100k": 100_000, "1M": 1_000_000}
"""Students by the name of a size."""
COLLECTIONS: Final = ("orgs", "academicSessions", "courses", "classes", "users", "enrollments")
PART: Final = 50_000
"""Students that are generated at once."""
SEED: Final = 6
DAY: Final = date(2026, 10, 15)
"""The day that the districts are for; the first night."""
CHANGES: Final = 0.01
"""The share of users, and of enrolments, that the second state changes."""
MOVED: Final = 0.1
"""The share of the users that change who are students that change schools; the others get another name."""
MODIFIED: Final = "2026-10-19T18:00:00.000Z"
"""`dateLastModified` of what is new or different in the second state."""
BASE: Final = {"1.1": "/ims/oneroster/v1p1", "1.2": "/ims/oneroster/rostering/v1p2"}
HOST: Final = "https://sis.example"
"""What references point to; nobody follows them."""

Offsets = npt.NDArray[np.int64]


# ---------------------------------------------------------------------------------------------- reading


class Rows:
    """One collection of a prepared district; for several threads.

    Args:
        folder: Where the files are.
        name: The collection.
        changed: Whether it is the second state's.
    """

    def __init__(self, folder: Path, name: str, *, changed: bool = False) -> None:
        self._json, self._offsets = _opened(folder / f"{name}.json", folder / f"{name}.offsets.npy")
        self._places: Offsets | None = None
        if changed and (folder / f"{name}.places.npy").exists():
            self._places = np.load(folder / f"{name}.places.npy", mmap_mode="r")
            self._more, self._more_offsets = _opened(
                folder / f"{name}.changed.json", folder / f"{name}.changed.npy"
            )

    def __len__(self) -> int:
        return len(self._offsets) - 1 if self._places is None else len(self._places)

    def page(self, offset: int, limit: int) -> list[memoryview]:
        """The JSON of at most `limit` rows from `offset` on, in pieces between which commas belong."""
        end = min(offset + limit, len(self))
        if offset >= end:
            return []
        if self._places is None:
            return [_piece(self._json, self._offsets, offset, end)]
        places = self._places[offset:end]
        breaks = [0, *(np.flatnonzero(np.diff(places) != 1) + 1).tolist(), len(places)]
        pieces = []
        for first, last in pairwise(breaks):
            start = int(places[first])
            if start >= 0:
                pieces.append(_piece(self._json, self._offsets, start, start + last - first))
            else:  # the numbers of rows beside each other go down, so each is a run of its own
                pieces.append(_piece(self._more, self._more_offsets, -1 - start, -start))
        return pieces


def _opened(json_file: Path, offsets_file: Path) -> tuple[memoryview, Offsets]:
    offsets: Offsets = np.load(offsets_file, mmap_mode="r")
    if not json_file.stat().st_size:
        return memoryview(b""), offsets
    with json_file.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)), offsets


def _piece(text: memoryview, offsets: Offsets, first: int, end: int) -> memoryview:
    return text[int(offsets[first]) : int(offsets[end]) - 1]


# ---------------------------------------------------------------------------------------------- preparing


def folder_of(root: Path, students: int, version: Version = "1.1") -> Path:
    """Where a district is, or will be; another one after whatever makes districts has changed."""
    made_by = (generator, names, rows)
    texts = [Path(str(module.__file__)).read_bytes() for module in made_by]
    digest = hashlib.sha256(b"\0".join([*texts, Path(__file__).read_bytes()])).hexdigest()
    return root / f"{students}-{version}-{digest[:10]}"


def prepare(
    root: Path,
    students: int,
    *,
    version: Version = "1.1",
    part: int = PART,
    told: Callable[[str], None] = lambda _: None,
) -> Path:
    """Makes a district, unless it is there already; gives its folder, with the figures in `district.json`."""
    folder = folder_of(root, students, version)
    if (folder / "district.json").exists():
        return folder
    making = folder.with_suffix(".part")
    for older in root.glob(f"{students}-{version}-*"):
        shutil.rmtree(older)
    making.mkdir(parents=True)
    sizes = [part] * (students // part) + ([students % part] if students % part else [])
    changes: dict[str, int] = {}
    with ExitStack() as stack:
        files = {name: stack.enter_context(_Files(making, name)) for name in COLLECTIONS}
        for number, size in enumerate(sizes):
            for what, count in _add_part(files, number, size, version).items():
                changes[what] = changes.get(what, 0) + count
            told(f"{sum(sizes[: number + 1]):,} of {students:,} students")
        counts = {name: len(file.offsets) - 1 for name, file in files.items()}
    facts = {"students": students, "version": version, "rows": counts, "changes": changes}
    (making / "district.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")
    making.rename(folder)
    return folder


def facts_of(folder: Path) -> dict[str, Any]:
    """`students`, `version`, `rows` of each collection, and `changes`: how many of what kind."""
    found: dict[str, Any] = json.loads((folder / "district.json").read_text(encoding="utf-8"))
    return found


def _add_part(files: Mapping[str, _Files], number: int, students: int, version: Version) -> dict[str, int]:
    seed = SEED * 1000 + number
    district = generator.generate(students, seed=seed, day=DAY, guardians=False)
    tables = _in_one_district(district.tables, number)
    if version == "1.2":
        _for_the_peer(tables)
    for table in COLLECTIONS:
        tables[table].sort(key=lambda row: str(row["sourcedId"]))
    change = _Change(tables, random.Random(seed))
    writer = Writer(version, HOST + BASE[version])
    for table, file in files.items():
        file.add(table, tables[table], writer, change)
    return change.counts


_OWN_IDS: Final = {
    "orgs": ("sourcedId",),
    "classes": ("sourcedId", "school"),
    "users": ("sourcedId",),
    "enrollments": ("sourcedId", "user", "class", "school"),
}


def _in_one_district(tables: Tables, number: int) -> Tables:
    """The part's rows as those of one large district: nothing in it is called as something of another part.

    The parts share one district, its sessions and its courses, which are the first part's.
    """
    mark = f"p{number:02}-"
    out: Tables = {table: list(tables[table]) for table in COLLECTIONS}
    if number:
        out["academicSessions"], out["courses"] = [], []
        out["orgs"] = [row for row in out["orgs"] if row["type"] == "school"]
    for table, own in _OWN_IDS.items():
        for row in out[table]:
            if row.get("type") != "district":
                row.update({name: mark + row[name] for name in own})
    for row in out["orgs"]:
        if row["type"] == "school":
            row["identifier"] = f"{number + 1:02}{row['identifier']}"
            row["name"] = f"{row['name']} {number + 1}"
    for row in out["users"]:
        row["roles"] = [[role, mark + org, begin, end] for role, org, begin, end in row["roles"]]
        row["identifier"] = f"{number + 1:02}{row['identifier']}"
        row["username"] = f"{row['username']}.{number:02}"
        if "email" in row:
            local, _, domain = row["email"].partition("@")
            row["email"] = f"{local}.{number:02}@{domain}"
        if "userIds" in row:
            row["userIds"] = [[kind, f"{number + 1:02}{value}"] for kind, value in row["userIds"]]
    return out


def _for_the_peer(tables: Tables) -> None:
    """Makes of 1.2's rows what the peer that speaks 1.2 takes.

    It refuses grades that are no numbers, and the standard's `siteAdministrator`: here the role stays what it
    is in 1.1.
    """
    for row in tables["users"]:
        row["grades"] = ["0" if grade == "KG" else grade for grade in row.get("grades", [])]


@dataclass
class _Files:
    """The files of one collection while they are written."""

    folder: Path
    name: str
    offsets: array[int] = field(default_factory=lambda: array("q", [0]))
    changed: array[int] = field(default_factory=lambda: array("q", [0]))
    places: list[array[int]] = field(default_factory=list)
    last: str = ""
    _open: list[BinaryIO] = field(default_factory=list)

    def __enter__(self) -> _Files:
        self._open = [(self.folder / f"{self.name}{end}").open("wb") for end in (".json", ".changed.json")]
        return self

    def __exit__(self, error: object, *_: object) -> None:
        for file in self._open:
            file.close()
        if error is None:
            self._close()

    def _close(self) -> None:
        np.save(self.folder / f"{self.name}.offsets.npy", np.frombuffer(self.offsets, np.int64))
        if len(self.changed) == 1 and sum(map(len, self.places)) == len(self.offsets) - 1:
            (self.folder / f"{self.name}.changed.json").unlink()
            return
        np.save(self.folder / f"{self.name}.changed.npy", np.frombuffer(self.changed, np.int64))
        places = [np.frombuffer(one, np.int64) for one in self.places if one]
        np.save(self.folder / f"{self.name}.places.npy", np.concatenate(places))

    def add(self, table: str, given: Sequence[Row], writer: Writer, change: _Change) -> None:
        """A part's rows, sorted, and what becomes of them in the second state."""
        before = len(self.offsets) - 1
        ids = [str(row["sourcedId"]) for row in given]
        if ids and not self.last < ids[0]:
            raise ValueError(f"{self.name}: {ids[0]} comes behind {self.last}")
        self.last = ids[-1] if ids else self.last
        _write(self._open[0], self.offsets, (writer.bytes_of(table, row) for row in given))
        gone, others = change.gone.get(table, set()), change.others.get(table, {})
        order = [(one, before + place) for place, one in enumerate(ids) if one not in gone]
        if others:
            order = [pair for pair in order if pair[0] not in others]
            order += [(one, -len(self.changed) - place) for place, one in enumerate(sorted(others))]
            order.sort()
            _write(
                self._open[1], self.changed, (writer.bytes_of(table, others[one]) for one in sorted(others))
            )
        self.places.append(array("q", [place for _, place in order]))


def _write(file: BinaryIO, offsets: array[int], texts: Iterable[bytes]) -> None:
    at = offsets[-1]
    pieces: list[bytes] = []
    for text in texts:
        pieces.append(text)
        at += len(text) + 1
        offsets.append(at)
    if pieces:
        pieces.append(b"")
        file.write(b",".join(pieces))


# ---------------------------------------------------------------------------------------------- changing


class _Change:
    """What the second state has otherwise: `gone` ids, and `others`, the rows that are new or different.

    One in a hundred users: nine in ten of them have another family name, and one in ten is a student who
    went to another school, with the classes of somebody there. One in a hundred enrolments: those of the
    students who went and came, and the rest in equal parts gone, new (a student joins one more class of the
    same school and grade), and different (it ends a week earlier).
    """

    def __init__(self, tables: Tables, rng: random.Random) -> None:
        self.gone: dict[str, set[str]] = {"enrollments": set()}
        self.others: dict[str, dict[str, Row]] = {"users": {}, "enrollments": {}}
        self.counts = dict.fromkeys(
            (
                "users renamed",
                "users moved",
                "enrollments gone",
                "enrollments new",
                "enrollments different",
            ),
            0,
        )
        self._rng = rng
        grade_of = {row["sourcedId"]: (row["school"], row["grades"][0]) for row in tables["classes"]}
        self._of: dict[str, list[Row]] = {}
        self._here: dict[tuple[str, str], list[Row]] = {}
        for row in tables["enrollments"]:
            if row["role"] == "student":
                self._of.setdefault(row["user"], []).append(row)
                self._here.setdefault(grade_of[row["class"]], []).append(row)
        self._grade_of = grade_of
        self._users(tables["users"])
        self._enrolments(tables["enrollments"])

    def _users(self, users: Sequence[Row]) -> None:
        for user in self._rng.sample(users, round(CHANGES * len(users))):
            if not (self._rng.random() < MOVED and self._moved(user)):
                known = [name for name in names.FAMILY_NAMES if name != user["familyName"]]
                self._other("users", {**user, "familyName": self._rng.choice(known)}, "users renamed")

    def _moved(self, user: Row) -> bool:
        """Sends a student to another school with the same grade; False where there is none, or no student."""
        mine = self._of.get(user["sourcedId"])
        if not mine:
            return False
        school, grade = self._grade_of[mine[0]["class"]]
        there = [key for key in self._here if key[1] == grade and key[0] != school]
        if not there:
            return False
        place = self._rng.choice(there)
        classmate = self._rng.choice(self._here[place])["user"]
        for row in mine:
            self._gone(row)
        for row in self._of[classmate]:
            self._new(row, user["sourcedId"])
        roles = [[role, place[0], begin, end] for role, _, begin, end in user["roles"]]
        self._other("users", {**user, "roles": roles}, "users moved")
        return True

    def _enrolments(self, enrolments: Sequence[Row]) -> None:
        left = max(0, round(CHANGES * len(enrolments)) - sum(self.counts[one] for one in _OF_ENROLMENTS))
        for turn, row in enumerate(self._picked(enrolments, left)):
            if turn % 3 == 0:
                self._gone(row)
            elif turn % 3 == 1:
                end = date.fromisoformat(row["endDate"]) - timedelta(days=7)
                self._other("enrollments", {**row, "endDate": end.isoformat()}, "enrollments different")
            else:
                self._joins(row)

    def _picked(self, enrolments: Sequence[Row], count: int) -> Iterator[Row]:
        """Students' rows that nothing has happened to."""
        while count:
            row = self._rng.choice(enrolments)
            one = row["sourcedId"]
            if row["role"] != "student" or row["user"] in self.others["users"] or row["endDate"] < _STAYS:
                continue
            if one not in self.gone["enrollments"] and one not in self.others["enrollments"]:
                count -= 1
                yield row

    def _joins(self, row: Row) -> None:
        classes = {mine["class"] for mine in self._of[row["user"]]}
        others = self._here[self._grade_of[row["class"]]]
        found = next(
            (one for one in self._rng.sample(others, len(others)) if one["class"] not in classes), None
        )
        if found is None:
            self._gone(row)
        else:
            self._new(found, row["user"])

    def _gone(self, row: Row) -> None:
        self.gone["enrollments"].add(row["sourcedId"])
        self.counts["enrollments gone"] += 1

    def _new(self, like: Row, user: str) -> None:
        """A row beside another one's in the order: new ones come anywhere."""
        one = f"{like['sourcedId']}-{user.rpartition('-')[2]}"
        self._other("enrollments", {**like, "sourcedId": one, "user": user}, "enrollments new")

    def _other(self, table: str, row: Row, what: str) -> None:
        if row["sourcedId"] not in self.others[table]:
            self.counts[what] += 1
        self.others[table][row["sourcedId"]] = {**row, "dateLastModified": MODIFIED}


_STAYS: Final = (DAY + timedelta(days=30)).isoformat()
"""Students whose enrolments have ended are left as they are."""
_OF_ENROLMENTS: Final = ("enrollments gone", "enrollments new", "enrollments different")
