"""Whatever bytes a page, an export, a directory or a tenant document is made of: rows, or a coded error.

A sample of what `fuzzing` does for longer; what must hold is in `examining`.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roster_pipeline.cli import main
from roster_pipeline.codes import CATALOGUE, CodedError
from roster_pipeline.oneroster.collections import COLLECTIONS, COLUMNS
from roster_pipeline_tests.examining import (
    DOCUMENT,
    FILES,
    TARGETS,
    documents,
    examine_document,
    examine_error,
    examine_export,
    examine_page,
    exports,
    pages,
)
from roster_pipeline_tests.mangling import sync_mangled
from roster_pipeline_tests.unit.oneroster.server import Reply, School
from roster_pipeline_tests.unit.oneroster.test_paging import pull, users

few = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@pytest.mark.parametrize("target", TARGETS)
def test_what_fuzzing_begins_with_is_examined(target: str) -> None:
    examine, seeds = TARGETS[target]
    for seed in seeds():
        examine(seed)


@st.composite
def altered(draw: st.DrawFn, whole: list[bytes]) -> bytes:
    """Bytes of one of these with some pieces cut, doubled or replaced."""
    data = draw(st.sampled_from(whole))
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(1, max(1, len(data))))
        end = begin + draw(st.integers(0, 30))
        data = data[:begin] + draw(st.binary(max_size=8) | st.just(data[begin:end] * 2)) + data[end:]
    return data


_TEXT = st.text(max_size=6) | st.sampled_from(["x" * 300, "x" * 5000, "\0", "\x1b[2J", "student", "user-1"])
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(_TEXT | st.just("sourcedId"), inner, max_size=4)
    ),
    max_leaves=12,
)


@st.composite
def made_up_pages(draw: st.DrawFn) -> bytes:
    """A page whose rows have the collection's fields, each with any JSON."""
    place = draw(st.integers(0, 5))
    name = COLLECTIONS[place]
    row = st.dictionaries(st.sampled_from(COLUMNS[name]) | _TEXT, _JSON, max_size=8)
    document = {draw(st.sampled_from([name, "rows"])): draw(st.lists(row | _JSON, max_size=4))}
    flags = draw(st.sampled_from([0, 0x40, 0x80]))
    # Of 1.2's six, 64 is the fourth: the flag moves the collection, which is as good as any.
    return bytes([place | flags]) + json.dumps(document).encode()


@few
@given(made_up_pages() | altered(pages()))
def test_any_page_is_rows_or_a_coded_error(data: bytes) -> None:
    examine_page(data)


@few
@given(altered(exports()))
def test_any_export_or_directory_is_rows_or_a_coded_error(data: bytes) -> None:
    examine_export(data)


@few
@given(
    st.sampled_from(range(8)),
    st.lists(st.lists(_TEXT | st.sampled_from('",\r\n'), max_size=6), max_size=6),
    st.sampled_from([",", '","', "\t"]),
)
def test_any_rows_below_any_header_are_rows_or_a_coded_error(
    place: int, cells: list[list[str]], comma: str
) -> None:
    header = exports()[min(place, len(FILES) - 2)][1:].splitlines()[0]
    body = "\n".join(comma.join(row) for row in cells).encode("utf-8", "replace")
    examine_export(bytes([place]) + header + b"\n" + body)


@few
@given(altered(documents()))
def test_any_document_is_a_tenant_or_a_refusal_that_can_be_shown(data: bytes) -> None:
    examine_document(data)


@settings(few, max_examples=10)
@given(altered([DOCUMENT.encode()]))
def test_the_command_tells_every_document_s_faults_with_a_code(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "tenant.yaml"
        file.write_bytes(data)
        told = CliRunner(env={"ROSTER_HOME": folder}).invoke(main, ["tenants", "apply", str(file), "--yes"])
        assert told.exit_code in (0, 2), told.output
        assert "RS-RUN-99" not in told.output
        assert "Traceback" not in told.output
        assert told.exit_code == 0 or any(code in told.output for code in CATALOGUE)


_HEADER = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=40
)
_HEADERS = ["Retry-After", "Date", "Content-Type", "X-Total-Count", "x-perm-rev", "Content-Encoding"]
_DATES = st.builds(
    "{}, {} {} {} {}:00:00 {}".format,
    st.sampled_from(["Mon", "Xyz", ""]), st.integers(-1, 40), st.sampled_from(["Jan", "Dec", "Foo"]),
    st.integers(-1, 99999), st.integers(0, 30),
    st.sampled_from(["GMT", "+2359", "-2359", "+" + "9" * 20, "", "é"]),
)  # fmt: skip


@settings(few, max_examples=15)
@given(
    st.sampled_from([200, 401, 429, 503]),
    st.dictionaries(st.sampled_from(_HEADERS), _HEADER | _DATES | st.integers().map(str)),
)  # fmt: skip
def test_any_headers_are_borne(status: int, headers: dict[str, str]) -> None:
    class Odd(School):
        def __call__(self, request: object) -> Reply:
            return Reply({"users": users(1)["users"] if request.offset == 0 else []}, status, headers)  # type: ignore[attr-defined]

    try:
        pull(Odd(users(1)))
    except CodedError as error:
        told = error
    else:
        return
    examine_error(told.code, told.message, b"")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_sync_of_a_mangled_roster_ends_as_a_sync_does(seed: int) -> None:
    assert sync_mangled(seed).wrong == ""
