"""What is wrong with a tenant document, and how it is told: file, line, field, words, code.

The wording of single rules stays with the rules. Values of secrets never come here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from roster_pipeline.codes import CodedError

LONGEST_SHOWN: Final = 60

Place = tuple[str | int, ...]
"""Where in a document: keys and list positions from its top, e.g. ("providers", 0, "merge", "key")."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: `text` says what, and what to write instead."""

    code: str
    place: Place
    text: str


class DocumentRefused(CodedError):  # noqa: N818 - what happened, not that it is an error
    """A document that is refused whole.

    `message` has one line for each problem, `file:line: field: what is wrong; what to write instead`;
    the code is the first problem's.
    """

    def __init__(self, lines: Sequence[tuple[str, str]]) -> None:
        """Takes (code, line of text) pairs, at least one, in the order of the document."""
        super().__init__(lines[0][0], "\n".join(f"{text} [{code}]" for code, text in lines))
        self.lines = tuple(lines)

    @classmethod
    def together(cls, refused: Sequence[DocumentRefused]) -> DocumentRefused:
        """One refusal with the problems of several, at least one."""
        return cls([line for one in refused for line in one.lines])


def shown(text: str) -> str:
    """What a message may show of something written: its beginning, without signs that a terminal obeys."""
    text = text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…"
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in text)


def near(word: str, offered: Iterable[str]) -> list[str]:
    """The spellings among `offered` that look like `word`, the nearest first, at most two."""
    by_folded = {option.casefold(): option for option in offered}
    return [
        by_folded[match] for match in difflib.get_close_matches(word.casefold(), by_folded, n=2, cutoff=0.6)
    ]


def or_list(words: Sequence[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
