"""Plain columns for the terminal: names are never cut, however narrow it is."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence


def columns(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Collection[int] = (), indent: int = 0
) -> Iterator[str]:
    """The lines of a table, its header first; `numbers` are the columns that end at the right."""
    every = [header, *rows]
    widths = [max(len(row[column]) for row in every) for column in range(len(header))]
    for row in every:
        cells = [
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield " " * indent + "  ".join(cells).rstrip()
