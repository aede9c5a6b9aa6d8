"""What a provider may cost: the limits of answers, collections and files, each with its code."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import orjson
import pytest

from roster_pipeline.codes import CodedError
from roster_pipeline.oneroster.client import Limits, _objects
from roster_pipeline.oneroster.csv.opening import ExportFile
from roster_pipeline.oneroster.csv.package import open_package
from roster_pipeline.oneroster.csv.reading import open_export
from roster_pipeline.oneroster.csv.rows import Rows
from roster_pipeline.oneroster.paging import Bounds
from roster_pipeline.providers import KINDS, files
from roster_pipeline.tenants.document import Directory, Provider
from roster_pipeline_tests.csv_packages import V1P1, V1P2, write_folder, write_zip
from roster_pipeline_tests.unit.oneroster.server import Pages, Reply, School, provider, reading
from roster_pipeline_tests.unit.oneroster.test_paging import pull, refusal, users, whole

MIB = 1 << 20


class Endless(School):
    """Pages without end, each with ids that no page had before."""

    id: str = "u{}"

    def __call__(self, request: Any) -> Reply:
        many = range(request.offset, request.offset + 10)
        return Reply({"users": [{"sourcedId": self.id.format(n), "familyName": "X" * 100} for n in many]})


@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize("bounds", [Bounds(rows={"users": 95}), Bounds(size=20_000)], ids=["rows", "size"])
def test_rows_without_end_are_given_up(bounds: Bounds, width: int) -> None:
    error = refusal(Endless(), bounds=bounds, width=width)
    assert error.code == "RS-PAGE-12"
    assert error.midway


def test_the_hours_are_those_of_the_provider_and_not_of_each_collection() -> None:
    """A server that drips would otherwise keep a sync for six times as long."""

    class Slow(School):
        def __call__(self, request: Any) -> Reply:
            clock.sleep(200)
            return super().__call__(request)

    from roster_pipeline.providers import rest
    from roster_pipeline.providers.classlink import DIALECT
    from roster_pipeline_tests.unit.oneroster.server import Clock, Signed, serving

    clock = Clock()
    with serving(Slow(access=Signed(), cap=4)) as server:
        source = provider(server.url, "classlink", page_size=4, concurrency=1)
        found = rest.read(source, Pages(), reading(clock), DIALECT, bounds=Bounds(seconds=2000))
        asked = {request.endpoint for request in server.requests}
    assert [entry.state for entry in found] == ["ok"] * 4 + ["failed"] * 2
    assert {issue.code for entry in found[4:] for issue in entry.issues} == {"RS-PAGE-10"}
    assert "enrollments" not in asked  # the time was over


def test_answers_that_are_too_large_to_have_several_are_fetched_one_by_one() -> None:
    in_order = {
        "users": [row | {"sourcedId": f"u{place:03}"} for place, row in enumerate(users(100)["users"])]
    }
    school = School(in_order)
    read = pull(school, width=4, limits=Limits(ahead=4000))  # a page of ten is about 3,000 bytes
    assert whole(read, school)
    assert read.server.most_under_way <= 4
    far = pull(School(in_order), width=4)
    # Those that had to be fetched again, alone; where all fit, no page is asked for twice.
    assert len(set(far.server.asked("users"))) == len(far.server.requests)
    assert len(read.server.requests) > len(far.server.requests)


@pytest.mark.parametrize("piece", [b"{}", b"[]", b'{"":0}', b"[[]]"], ids=str)
def test_values_that_are_tiny_on_the_wire_alone_are_not_parsed(piece: bytes) -> None:
    body = b'{"users":[' + b",".join([piece] * (5 * MIB // len(piece))) + b"]}"

    class Tiny(School):
        def __call__(self, request: Any) -> Reply:
            return Reply(body)

    assert refusal(Tiny(), limits=Limits(objects=64 * MIB)).code == "RS-NET-08"
    few = b"[" + b",".join([piece] * 1000) + b"]"
    assert _objects(few) >= _held(few)


def test_more_rows_than_any_page_has_are_not_made_into_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    school = School(users(30), ignores_limit=True)
    assert whole(pull(school), school)
    monkeypatch.setattr("roster_pipeline.oneroster.paging.MOST_IN_A_PAGE", 29)
    assert refusal(school).code == "RS-NET-08"


def _held(body: bytes) -> int:
    """The bytes that Python needs for a document, as it tells them."""
    held, todo = 0, [orjson.loads(body)]
    while todo:
        value = todo.pop()
        held += sys.getsizeof(value)
        todo += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return held


def test_a_bomb_of_gzip_is_given_up_and_never_unpacked_whole() -> None:
    """64 MiB of blanks are 64 KiB on the wire, which httpx would unpack at once."""
    code = """
import resource, zlib
from roster_pipeline.oneroster.client import Limits
from roster_pipeline_tests.unit.oneroster.server import Reply, School
from roster_pipeline_tests.unit.oneroster.test_paging import refusal

packer = zlib.compressobj(6, zlib.DEFLATED, 31)
blanks = b" " * (1 << 20)
bomb = b"".join([packer.compress(blanks) for _ in range(64)]) + packer.flush()

class Bomb(School):
    def __call__(self, request):
        return Reply(bomb, headers={"Content-Encoding": "gzip"})

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(refusal(Bomb(), limits=Limits(answer=1 << 20)).code)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    refused, grown = told.stdout.split()
    assert refused == "RS-NET-08"
    assert int(grown) < 24  # MiB


# ------------------------------------------------------------------------------------------------ files


def refused(run: Any) -> str:
    with pytest.raises(CodedError) as caught:
        run()
    return caught.value.code


def test_a_header_of_very_many_columns_is_refused() -> None:
    assert refused(lambda: Rows(BytesIO(b"a," * 2000 + b"b\n"), "users.csv")) == "RS-FILE-05"


def test_a_row_that_goes_on_over_line_after_line_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each cell is short and quoted, and the row has ever more of them: no line is ever too long."""
    monkeypatch.setattr("roster_pipeline.oneroster.csv.rows.LONGEST_ROW", MIB)

    class Endless(BytesIO):
        given = 0

        def read(self, size: int | None = -1) -> bytes:
            self.given += MIB
            return b"a,b\n" if self.given == MIB else b'"x\n",' * (MIB // 5)

    stream = Endless()
    assert refused(lambda: list(Rows(stream, "users.csv").batches(["a"]))) == "RS-FILE-06"
    assert stream.given < 6 * MIB


def test_a_quoted_cell_that_is_never_closed_is_refused() -> None:
    body = b'a,b\n"' + b"x\n" * MIB
    assert refused(lambda: list(Rows(BytesIO(body), "users.csv").batches(["a"]))) == "RS-FILE-06"


def test_a_file_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roster_pipeline.oneroster.csv.rows.LARGEST", 100)
    body = b"a,b\n" + b"1,2\n" * 100
    assert refused(lambda: list(Rows(BytesIO(body), "users.csv", block=8).batches(["a"]))) == "RS-FILE-05"


def test_a_file_of_more_rows_or_bytes_than_any_real_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "logins.csv"
    file.write_text("id,email\n" + "1,a@x.example\n" * 30)
    directory = Directory(name="logins", kind="csv", path=str(file))
    for limit in ("MOST_ROWS", "MOST_BYTES"):
        with monkeypatch.context() as patched:
            patched.setattr(files, limit, {"people": 29} if limit == "MOST_ROWS" else 100)
            pages = Pages()
            (found,) = KINDS["directory"](directory, pages, reading())
        assert (found.state, [issue.code for issue in found.issues]) == ("failed", ["RS-FILE-05"])
        assert pages.ids("people") == []


def test_roles_of_one_user_without_end_are_left_out_in_little_time(tmp_path: Path) -> None:
    header, *_ = V1P2["roles"].splitlines()
    many = "".join(f"r{n},,,s1,primary,aide,,,o{n},\n" for n in range(8_000))
    folder = write_folder(
        tmp_path / "export", V1P2 | {"roles": f"{header}\n{many}r,,,g1,primary,aide,,,d,\n"}
    )
    source = Provider(name="files", kind="oneroster_csv", path=str(folder))
    pages = Pages()
    found = {entry.name: entry for entry in KINDS["oneroster_csv"](source, pages, reading())}
    assert [(issue.code, issue.count) for issue in found["users"].issues] == [("RS-ROW-06", 1)]
    assert pages.tables["users"][0]["roles"].to_pylist() == ["", '[["aide","d","",""]]']


def test_roles_of_many_users_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roster_pipeline.oneroster.csv.reading.MOST_ROLES", 20)
    with open_package(write_folder(tmp_path / "export", V1P2)) as package:
        assert refused(lambda: list(open_export(package).batches("users"))) == "RS-FILE-05"


@pytest.mark.parametrize("late", ["grows", "is written again"])
def test_a_file_that_changes_while_it_is_read_is_not_taken_for_whole(tmp_path: Path, late: str) -> None:
    """The upload is still going on, and what is there yet ends with a whole line."""
    file = write_folder(tmp_path / "export", V1P1) / "users.csv"
    with open_package(file.parent) as package:
        batches = open_export(package).batches("users")
        with package.open("users.csv") as stream:
            rows = Rows(stream, "users.csv", block=64).batches(["sourcedId"])
            next(rows)
            if late == "grows":
                with file.open("a") as more:
                    more.write("s9,,,true,north,student,s9,,Ned,Nine,,,s9@x.example,,,,09,pw\r\n")
            else:
                file.write_bytes(file.read_bytes())
                os.utime(file, ns=(1, 1))
            assert refused(lambda: list(rows)) == "RS-FILE-10"
        assert len(list(batches)) == 1  # opened after the change, it is whole


def test_an_archive_that_changes_while_it_is_read_is_not_taken_for_whole(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "export.zip", V1P1)
    with open_package(path) as package:
        with package.open("orgs.csv") as stream:
            assert stream.read()
        os.utime(path, ns=(1, 1))
        with package.open("users.csv") as stream:
            assert refused(stream.read) == "RS-FILE-10"


def test_a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "users.csv")
    assert refused(lambda: ExportFile(tmp_path / "users.csv", "users.csv")) == "RS-FILE-01"
    assert refused(lambda: ExportFile(Path("/dev/zero"), "users.csv")) == "RS-FILE-01"
    folder = write_folder(tmp_path / "export", {**V1P1, "users": None})
    os.mkfifo(folder / "users.csv")
    with open_package(folder) as package:
        assert refused(lambda: list(open_export(package).batches("users"))) == "RS-FILE-02"


def test_a_zip_that_lists_millions_of_files_is_refused_before_the_list_is_read(tmp_path: Path) -> None:
    path = tmp_path / "export.zip"
    entry = (
        struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", 20, 3, 20, 0, *(0,) * 4, 0, 0, 0, 1, *(0,) * 4, 0, 0)
        + b"a"
    )
    many = 200_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, many * len(entry), 0, 0)
    path.write_bytes(entry * many + end)
    assert refused(lambda: open_package(path)) == "RS-FILE-05"


def test_a_zip_in_a_zip_is_no_package(tmp_path: Path) -> None:
    inner = write_zip(tmp_path / "inner.zip", V1P1)
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        archive.write(inner, "export.zip")
    with open_package(tmp_path / "outer.zip") as package:
        assert refused(lambda: open_export(package)) == "RS-FILE-02"
