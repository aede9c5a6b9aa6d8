"""One CSV file as batches of text, in flat memory; and what is wrong with it, by file and line.

Quoting is RFC 4180's; UTF-8, with or without a byte-order mark; CRLF, LF or CR. A row is never padded,
and nothing of it is lost: a file with a row of another width is malformed (but for empty cells beyond
the header's), and one that ends inside a row is cut off. Nothing is converted: `03100500`, `Null` and
`NA` are text like any other; only blanks around a cell go. What the columns mean is no business of this
file.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from roster_pipeline.codes import CodedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BLOCK: Final = 1 << 21
"""Bytes read at a time: about 20,000 rows of a roster."""

LONGEST_ROW: Final = 4 * BLOCK
MOST_COLUMNS: Final = 1000
LARGEST: Final = 4 << 30
"""Bytes of a whole file."""

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class Rows:
    """The rows of one CSV file, read once from front to back.

    Attributes:
        header: The names in the first line, blanks around them trimmed.

    Raises:
        CodedError: Here and while reading: RS-FILE-06 (cut off or malformed), RS-FILE-08 (not UTF-8),
            RS-FILE-01 (unreadable), RS-FILE-05 (larger than any real one). The message names file and line,
            never what stands there.
    """

    def __init__(self, stream: BinaryIO, name: str, block: int = BLOCK) -> None:
        self._stream, self._name, self._block_size = stream, name, block
        self._line = 1  # of the first byte that was not yet handed out
        self._carry, self._ended, self._complete_lines = b"", False, True
        self._bytes = 0
        first = self._block()
        if first is None:
            raise CodedError("RS-FILE-06", f"{name} is empty: it has not even a header.")
        first = first.removeprefix(_BYTE_ORDER_MARK)
        end = first.find(b"\n") + 1 or first.find(b"\r") + 1 or len(first)
        if first.count(b",", 0, end) >= MOST_COLUMNS:
            raise CodedError("RS-FILE-05", f"{name}, line 1: there are more than {MOST_COLUMNS} columns.")
        try:
            cells = next(csv.reader([self._text(first[:end])], strict=True), [])
        except csv.Error:
            raise self._broken_quotes(1) from None
        self.header = tuple(cell.strip() for cell in cells)
        self._line = 2
        self._rest = first[end:]

    def batches(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The rows as all-string tables of exactly these columns of the header, trimmed, never null."""
        wanted = [self.header.index(column) for column in columns]
        block: bytes | None = self._rest
        self._rest = b""
        while block is not None:
            if block:
                text = self._text(block)
                table = None if '"' in text else self._plain(block, wanted, columns)
                if table is None:
                    yield from self._quoted(text, wanted, columns)
                else:
                    self._line += _lines(block)
                    if table.num_rows:
                        yield table
            block = self._block()

    # -------------------------------------------------------------------------------- the two ways to read

    def _plain(self, block: bytes, wanted: list[int], columns: Sequence[str]) -> pa.Table | None:
        """A block without quotes, read by Arrow; None if it is malformed (`_quoted` finds out where)."""
        names = [str(place) for place in range(len(self.header))]
        options = pyarrow.csv.ConvertOptions(
            check_utf8=False,  # `_text` did
            include_columns=[names[place] for place in wanted],
            column_types=dict.fromkeys(names, pa.string()),
            strings_can_be_null=False,
        )
        try:
            table = pyarrow.csv.read_csv(
                pa.BufferReader(block),
                read_options=pyarrow.csv.ReadOptions(
                    column_names=names, use_threads=False, block_size=len(block) + 1
                ),
                parse_options=pyarrow.csv.ParseOptions(quote_char=False),
                convert_options=options,
            )
        except pa.ArrowInvalid:
            return None
        return _trimmed([column.combine_chunks() for column in table.columns], columns)

    def _quoted(self, text: str, wanted: list[int], columns: Sequence[str]) -> Iterator[pa.Table]:
        """A block with quotes, and of the next ones what its last row still needs."""
        lines = _Lines(text, self)
        reader = csv.reader(lines, strict=True)
        start, first, width = self._line, 1, len(self.header)
        rows: list[list[str]] = []
        while not lines.at_end():
            try:
                row = next(reader)
            except StopIteration:
                break
            except csv.Error:
                raise self._broken_quotes(start + first - 1) from None
            if len(row) == width or (len(row) > width and not any(map(str.strip, row[width:]))):
                rows.append(row)  # commas after the last cell hide nothing; exports by hand have them
            elif row:  # an empty line is no row
                raise self._wrong_width(len(row), start + first - 1, lines.at_end())
            first, lines.given = reader.line_num + 1, 0
            if len(rows) >= 20_000:
                yield _table(rows, wanted, columns)
                rows = []
        self._line = start + reader.line_num
        if rows:
            yield _table(rows, wanted, columns)

    # -------------------------------------------------------------------------------------------- bytes

    def _block(self) -> bytes | None:
        """The next bytes, whole lines unless the file ends without a newline; None at the end."""
        while not self._ended:
            try:
                data = self._stream.read(self._block_size)
            except OSError as error:
                what = error.strerror or type(error).__name__
                raise CodedError("RS-FILE-01", f"{self._name} could not be read on ({what}).") from error
            if not data:
                self._ended = True
                self._complete_lines = not self._carry
                return self._carry or None
            self._bytes += len(data)
            if self._bytes > LARGEST:
                raise CodedError("RS-FILE-05", f"{self._name} is larger than {LARGEST} bytes.")
            data = self._carry + data
            # \r only where there is no \n at all: the two together are one line end.
            cut = data.rfind(b"\n") + 1 or (data.rfind(b"\r", 0, len(data) - 1) + 1)
            self._carry = data[cut:]
            if cut:
                return data[:cut]
            if len(data) > LONGEST_ROW:
                raise CodedError(
                    "RS-FILE-06",
                    f"{self._name}, line {self._line}: the line has no end within {len(data)} bytes.",
                )
        return None

    def _next_text(self) -> str | None:
        block = self._block()
        return None if block is None else self._text(block)

    def _text(self, block: bytes) -> str:
        try:
            text = block.decode("utf-8")
        except UnicodeDecodeError as error:
            line = self._line + _lines(block[: error.start])
            raise CodedError("RS-FILE-08", f"{self._name}, line {line}: the text is not UTF-8.") from None
        if "\0" in text:
            line = self._line + _lines(block[: block.index(b"\0")])
            raise CodedError("RS-FILE-06", f"{self._name}, line {line}: the line holds a NUL byte.")
        return text

    # ------------------------------------------------------------------------------------------- errors

    def _wrong_width(self, cells: int, line: int, last: bool) -> CodedError:
        width = len(self.header)
        if last and self._ended and not self._complete_lines and cells < width:
            what = f"{self._name} is cut off: its last line, {line}, has {cells} of {width} columns."
        else:
            what = f"{self._name}, line {line}: the row has {cells} columns, the header {width}."
        return CodedError("RS-FILE-06", what)

    def row_without_end(self) -> CodedError:
        """What to raise for a row that goes on over line after line."""
        return CodedError(
            "RS-FILE-06",
            f"{self._name}: a row after line {self._line} has no end within {LONGEST_ROW} characters.",
        )

    def _broken_quotes(self, line: int) -> CodedError:
        return CodedError(
            "RS-FILE-06",
            f"{self._name}, line {line}: a quoted cell is not closed, is longer than "
            f"{csv.field_size_limit()} characters, or is followed by more than a comma.",
        )


class _Lines:
    """Lines of a block for `csv.reader`; goes on with the file's next blocks while a row needs them."""

    def __init__(self, text: str, rows: Rows) -> None:
        self._rows = rows
        self.given = 0
        """Characters since this was last set to 0: those of one row."""
        self._lines = self._split(text)
        self._next = next(self._lines, None)

    @staticmethod
    def _split(text: str) -> Iterator[str]:
        # str.splitlines would split at form feeds and at U+2028 as well.
        return iter(io.StringIO(text, newline=""))

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._next
        if line is None:  # the block is over in the middle of a row
            more = self._rows._next_text()
            if more is None:
                raise StopIteration
            self._lines = self._split(more)
            line = next(self._lines)
        self._next = next(self._lines, None)
        self.given += len(line)
        if self.given > LONGEST_ROW:  # each cell is short and quoted, and there are ever more of them
            raise self._rows.row_without_end()
        return line

    def at_end(self) -> bool:
        """Whether the lines at hand are used up; between two rows, that is a good place to stop."""
        return self._next is None


def _lines(block: bytes) -> int:
    return block.count(b"\n") or block.count(b"\r")


def _table(rows: list[list[str]], wanted: list[int], columns: Sequence[str]) -> pa.Table:
    return _trimmed([pa.array([row[place] for row in rows], pa.string()) for place in wanted], columns)


def _trimmed(arrays: list[Any], columns: Sequence[str]) -> pa.Table:
    return pa.table([pc.utf8_trim_whitespace(array) for array in arrays], names=list(columns))
