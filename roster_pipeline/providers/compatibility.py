"""When to advise compatibility mode: what a server's refusals say of it, with the mode off.

The advice is given where the mode would mend what went wrong, and not to a server that is only down or at
another address. What the mode changes belongs to `rest`; how classes without sessions are told, to `rosters`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from roster_pipeline.codes import Issue
from roster_pipeline.oneroster.wire import SourceError

if TYPE_CHECKING:
    from roster_pipeline.providers.reading import CollectionRead

NOT_OFFERED: Final = frozenset({"RS-PAGE-09", "RS-NET-07"})
"""How servers answer at an endpoint that they do not have: with 404, 405, 410 or 501, or with 400."""

MAY_BE_HOW_WE_ASK: Final = {
    "RS-NET-07": "refuses to sort",
    "RS-PAGE-03": "refuses to sort",
    "RS-PAGE-04": "wraps its rows in its own way",
}
"""What a server may answer to a request that is more than it understands, and what to say of it."""

_DISPENSABLE: Final = {"academicSessions": "academic sessions", "courses": "courses"}
"""What a sync can do without, in compatibility mode at least."""


def refuses_all(error: SourceError) -> bool:
    """Whether it was found out that only compatibility mode gets an answer, whatever the collection."""
    return bool(error.in_compatibility_mode) and error.code != "RS-PAGE-04"


def told(error: SourceError, provider: str) -> tuple[Issue, ...]:
    """The advice that belongs to a failure whose reason was found out."""
    return (_would_help(provider, error.in_compatibility_mode),) if error.in_compatibility_mode else ()


def advice(
    provider: str,
    found: Sequence[CollectionRead],
    refused: Mapping[str, SourceError],
    answers: Callable[[str, str], bool],
) -> dict[str, Issue]:
    """By collection, the advice where the mode's stand-ins would mend a failure: at most one.

    None where nothing else was read, because then the address may be wrong.

    Args:
        provider: Its name.
        found: What became of each collection.
        refused: Why those failed that were asked for.
        answers: Whether a collection can be had from an endpoint, asked as the mode asks.
    """
    others = any(one.state != "failed" for one in found if one.name not in _DISPENSABLE)
    if not others or any(error.in_compatibility_mode for error in refused.values()):
        return {}
    for name in ("orgs", *_DISPENSABLE):
        error = refused.get(name)
        if error is None or error.code not in NOT_OFFERED or error.midway or answers(name, name):
            continue
        if name != "orgs":
            return {name: _would_help(provider, f"offers no {_DISPENSABLE[name]}")}
        if answers(name, "schools"):
            return {name: _would_help(provider, "offers /schools in place of /orgs")}
    return {}


def _would_help(provider: str, why: str) -> Issue:
    return Issue("RS-PRV-06", f"`compatibility_mode: true` would help: the server {why}.", provider)
