"""The same rows under new ids: a system that gave its classes or users new sourcedIds is recognised.

Else every class would be deleted and made anew, and whoever has no e-mail address would be somebody else.
Only what is the same in everything that we know, and the only one of its kind before and now, is taken
for the same; and only where most of what was there went at once: a single row that goes while another
comes is two rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final, TypeVar

Old = TypeVar("Old")
New = TypeVar("New")
Traits = tuple[str, ...]

_FEWEST: Final = 5
"""How many rows must have gone: of fewer nobody can say that it was all of them."""
_WENT: Final = 2
"""One of how many rows must have gone: fewer are no new ids for all."""
_FOUND: Final = 0.8
"""Which share of those that went must be there under another id."""


def twins(
    before: Mapping[Old, Traits],
    gone: Mapping[Old, Traits],
    new: Mapping[New, Traits],
    *,
    fewest: int = _FEWEST,
    stay: int = 0,
) -> dict[New, Old]:
    """Which of `new` are those of `gone` under other ids; empty unless most of `before` went and is there.

    Args:
        before: Everything that was there, of one provider and, of classes, one school.
        gone: Those of it whose ids are not there any more.
        new: Rows whose ids were never there.
        fewest: How many must have gone.
        stay: How many more were there that are there still, and have nothing in common with any of these.
    """
    if len(gone) < fewest or len(gone) * _WENT < len(before) + stay:
        return {}
    # What several have in common tells nobody apart: also where one of them is still there.
    often = Counter(before.values())
    owner = {traits: old for old, traits in gone.items() if traits and often[traits] == 1}
    bearers = Counter(new.values())
    found = {one: owner[traits] for one, traits in new.items() if traits in owner and bearers[traits] == 1}
    return found if len(found) >= _FOUND * len(gone) else {}
