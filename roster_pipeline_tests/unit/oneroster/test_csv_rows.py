import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roster_pipeline.codes import CodedError
from roster_pipeline.oneroster.csv.rows import Rows


def read(data: bytes, columns=("a", "b"), block: int = 1 << 20) -> list[tuple[str, ...]]:
    rows = Rows(io.BytesIO(data), "file.csv", block)
    return [
        tuple(row[name] for name in columns) for page in rows.batches(columns) for row in page.to_pylist()
    ]


def refused(data: bytes, block: int = 1 << 20) -> CodedError:
    with pytest.raises(CodedError) as raised:
        read(data, block=block)
    return raised.value


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_any_line_end_is_read_with_and_without_a_byte_order_mark(end, mark):
    assert read(mark + f"a,b{end}1,2{end}3,4{end}".encode()) == [("1", "2"), ("3", "4")]


def test_the_last_line_needs_no_newline():
    assert read(b"a,b\n1,2\n3,4") == [("1", "2"), ("3", "4")]


def test_a_header_alone_is_a_file_without_rows():
    assert read(b"a,b") == []
    assert read(b'"a","b"\r\n') == []


@pytest.mark.parametrize(
    "value", ["03100500", "Null", "NA", "nan", "09", "1.0", "TRUE", "2026-11-21", "#N/A", "-0"]
)
@pytest.mark.parametrize("quote", ["", '"'])
def test_no_value_is_converted(value, quote):
    assert read(f"a,b\n{quote}{value}{quote},x\n".encode()) == [(value, "x")]


def test_columns_are_found_by_name_and_others_ignored():
    assert read(b"metadata.x,b,c,a\n9,2,3,1\n") == [("1", "2")]


def test_blanks_around_cells_and_names_go():
    assert read("\ufeffa , b\n  1\u00a0,\t2 \n".encode()) == [("1", "2")]


def test_a_quoted_cell_may_hold_commas_quotes_and_line_ends():
    assert read(b'a,b\n"1,1","say ""hi"""\n"two\r\nlines",4\n') == [
        ("1,1", 'say "hi"'),
        ("two\r\nlines", "4"),
    ]


def test_empty_cells_beyond_the_header_are_nothing():
    assert read(b"a,b\n1,2,\n3,4,,\n") == [("1", "2"), ("3", "4")]


def test_empty_lines_are_no_rows():
    assert read(b"a,b\r\n\r\n1,2\r\n\r\n") == [("1", "2")]


def test_a_file_of_nothing_is_refused():
    assert refused(b"").code == "RS-FILE-06"


@pytest.mark.parametrize(
    "data, line",
    [
        (b"a,b\n1,2\n3\n5,6\n", 3),
        (b"a,b\n1,2\n3,4,5\n", 3),
        (b'a,b\n"1\n1",2\n3\n5,6\n', 4),
        (b'a,b\n"1",2\n"3"x,4\n', 3),
        (b'a,b\n1,2\n\n\n"3",4,5\n', 5),
        (b"a,b\n1,2\n3,\0\n", 3),
        (b"a,b\n1,2\n \n", 3),
    ],
)
def test_a_malformed_row_is_refused_by_its_line(data, line):
    for block in (1, 5, 1 << 20):
        error = refused(data, block)
        assert error.code == "RS-FILE-06"
        assert f"file.csv, line {line}:" in error.message


@pytest.mark.parametrize("data", [b"a,b\n1,2\nsec", b'a,b\n"1",2\nsec', b"a,b\r\n1,2\r\nsec"])
def test_a_last_line_with_too_few_columns_is_called_cut_off(data):
    error = refused(data)
    assert error.code == "RS-FILE-06"
    assert "file.csv is cut off: its last line, 3, has 1 of 2 columns" in error.message


@pytest.mark.parametrize("data", [b'a,b\n1,2\n3,"secret', b'a,b\n1,2\n3,"secret\n5,6\n7,8\n'])
def test_a_quote_that_is_never_closed_swallows_no_rows(data):
    for block in (1, 7, 1 << 20):
        error = refused(data, block)
        assert (error.code, "line 3" in error.message) == ("RS-FILE-06", True)


@pytest.mark.parametrize(
    "data", [b"a,b\n1,2\n3,M\xfcller\n", "a,b\n1,2\n".encode("utf-16"), b"a,b\n1,2\n3,\xc3"]
)
def test_what_is_not_utf_8_is_refused(data):
    assert refused(data).code == "RS-FILE-08"
    assert refused(data, 3).code == "RS-FILE-08"


def test_the_line_that_is_not_utf_8_is_named():
    for block in (1, 6, 1 << 20):
        assert "file.csv, line 3:" in refused(b"a,b\n1,2\n3,M\xfcller\n", block).message


def test_no_error_repeats_what_stands_in_the_file():
    for data in (
        b"a,b\nAnna,Secret,x\n",
        b'a,b\n"Anna"Secret,2\n',
        b"a,b\nAnna\0Secret,\n",
        b"a,b\nAnnaSecret\xff,2\n",
    ):
        message = refused(data).message
        assert "Anna" not in message
        assert "Secret" not in message


def test_a_line_without_end_is_refused_before_it_fills_the_memory():
    class Endless(io.RawIOBase):
        given = 0

        def read(self, size: int = -1) -> bytes:
            self.given += size
            return (b"a,b\n" if self.given == size else b"") + b"x" * size

    stream = Endless()
    with pytest.raises(CodedError, match="RS-FILE-06"):
        list(Rows(stream, "file.csv").batches(["a"]))  # type: ignore[arg-type]
    assert stream.given < 1 << 25


def test_memory_stays_flat_however_many_rows_there_are():
    line = b"0123456789,abcdefghij\n"

    class Many(io.RawIOBase):
        left = 400_000

        def read(self, size: int = -1) -> bytes:
            if self.left == 400_000:
                self.left -= 1
                return b"a,b\n"
            count = min(self.left, size // len(line))
            self.left -= count
            return line * count

    sizes = [page.num_rows for page in Rows(Many(), "file.csv").batches(["a", "b"])]  # type: ignore[arg-type]
    assert sum(sizes) == 399_999
    assert max(sizes) < 110_000


def test_a_fault_of_the_disk_is_told_with_a_code():
    class Broken(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(CodedError, match="RS-FILE-01"):
        Rows(Broken(), "file.csv")  # type: ignore[arg-type]


@given(st.text(alphabet='a," \n\r', max_size=40), st.integers(min_value=1, max_value=12))
def test_every_text_is_read_as_rfc_4180_says_or_refused(text, block):
    expected: list[tuple[str, ...]] | None = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), strict=True):
            if row and (len(row) < 2 or any(cell.strip() for cell in row[2:])):
                expected = None
                break
            if row and expected is not None:
                expected.append((row[0].strip(), row[1].strip()))
    except csv.Error:
        expected = None
    data = b"a,b\n" + text.encode()
    if expected is None:
        assert refused(data, block).code == "RS-FILE-06"
    else:
        assert read(data, block=block) == expected


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=8), st.integers(1, 50), st.booleans())
def test_whatever_is_written_by_the_rules_is_read_back(cells, block, everything_quoted):
    # A lone NUL is refused, blanks around go; all else comes back, whatever the alphabet.
    rows = [[cell.replace("\0", "") for cell in row] for row in cells]
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL if everything_quoted else csv.QUOTE_MINIMAL).writerows(
        [["a", "b"], *rows]
    )
    back = read(text.getvalue().encode(), block=block)
    assert [[cell.strip() for cell in row] for row in back] == [
        [cell.strip() for cell in row] for row in rows
    ]
