"""How many people the last syncs published, as a small picture: an SVG that a page can hold in itself.

It says what it says without colour, too, stands on a card of its own so that it reads in the dark, and
holds dates, numbers and statuses only.
"""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

_WIDTH, _HEIGHT, _MARGIN = 560, 156, 16
_TOP, _GROUND = 52, 122
_INK, _FAINT, _LINE = "#234", "#678", "#cdd"
_DIM: Final = f'fill="{_FAINT}"'
_COLOURS: Final = {"successful": "#285", "partial": "#b60", "failed": "#c33", "interrupted": _FAINT}
_SIGNS: Final = {"failed": "×", "interrupted": "–"}
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_GAP = 0.6  # of a bar's room

_Words = dict[tuple[str, int], list[str]]  # (style, line) -> what is said there


def people_chart(syncs: Sequence[Mapping[str, Any]]) -> str:
    """An SVG with a bar a sync, the oldest first; "" where there is none.

    A partial sync's bar is hatched, a failed one is a cross, an interrupted one a dash: they published
    nobody. A dotted line stands for nights without any sync, with their number.

    Args:
        syncs: `as_of` (an ISO date), `status`, and `people`, which is None where nothing was published.
    """
    if not syncs:
        return ""
    days = [dt.date.fromisoformat(sync["as_of"]) for sync in syncs]
    missed = [0, *(max((later - day).days - 1, 0) for day, later in pairwise(days))]
    room = (_WIDTH - 2 * _MARGIN) / max(len(syncs) + _GAP * sum(map(bool, missed)), 7)
    most = max((sync["people"] or 0 for sync in syncs), default=0) or 1
    bars: dict[str, list[str]] = {}
    words: _Words = {}
    gaps: list[str] = []
    x = float(_MARGIN)
    for place, (sync, day, gap) in enumerate(zip(syncs, days, missed, strict=True)):
        if gap:
            middle = x + _GAP * room / 2
            gaps.append(f"M{middle:.0f} {_TOP + 36}V{_GROUND}")
            _say(words, _DIM, middle, str(gap), line=_TOP + 32)
            x += _GAP * room
        middle, status = x + room / 2, sync["status"]
        people = None if status in _SIGNS else sync["people"] or 0
        if people is None:
            style = f'fill="{_COLOURS[status]}" font-size="16"'
            _say(words, style, middle, _SIGNS[status], line=_GROUND - 4)
        else:
            height = max(round((_GROUND - _TOP) * people / most), 1)
            wide = round(min(room * 0.66, 30))
            bars.setdefault(status, []).append(
                f"M{middle - wide / 2:.0f} {_GROUND}v-{height}h{wide}v{height}z"
            )
            _say(words, f'fill="{_INK}"', middle, _short(people), y=_GROUND - height - 4)
        if place == 0 or day != days[place - 1]:
            _say(words, _DIM, middle, str(day.day), line=_GROUND + 13)
        if place == 0 or day.month != days[place - 1].month:
            _say(words, _DIM, middle, _MONTHS[day.month - 1], line=_GROUND + 25)
        x += room
    shown = [
        f'<path fill="{_fill(status)}" stroke="{_COLOURS[status]}" d="{"".join(bars[status])}"/>'
        for status in _COLOURS
        if status in bars
    ]
    if gaps:
        shown.append(f'<path stroke="{_FAINT}" stroke-dasharray="1 3" d="{"".join(gaps)}"/>')
    shown += [
        f'<g {style} transform="translate(0 {line})">{"".join(said)}</g>'
        for (style, line), said in sorted(words.items())
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}"'
        f' font-family="sans-serif" font-size="10" text-anchor="middle">'
        f'<pattern id="p" width="5" height="5" patternUnits="userSpaceOnUse">'
        f'<path stroke="{_COLOURS["partial"]}" stroke-width="1.5" d="M0 5 5 0"/></pattern>'
        f'<rect x=".5" y=".5" width="{_WIDTH - 1}" height="{_HEIGHT - 1}" rx="8" fill="#fff"'
        f' stroke="{_LINE}"/><text x="{_MARGIN}" y="23" font-size="12" text-anchor="start"'
        f' fill="{_INK}">People published</text>{_legend([sync["status"] for sync in syncs], any(missed))}'
        f'<path stroke="{_LINE}" d="M{_MARGIN} {_GROUND + 0.5}H{_WIDTH - _MARGIN}"/>{"".join(shown)}</svg>'
    )


def as_image(svg: str, alt: str) -> str:
    """An SVG as a picture in Markdown, without a file or a server; `alt` is what it says in words."""
    return f"![{alt}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"


def in_words(syncs: Sequence[Mapping[str, Any]]) -> str:
    """What the picture says, for whoever does not see it."""
    if not syncs:
        return ""
    last = syncs[-1]
    count = "nobody" if last["people"] is None else f"{last['people']} people"
    return f"The last {len(syncs)} syncs; the newest, for {last['as_of']}, was {last['status']}: {count}."


def _say(words: _Words, style: str, x: float, text: str, *, line: int = 0, y: int = 0) -> None:
    """A word on a line that many share, or at a height of its own."""
    at = f' y="{y}"' if y else ""
    words.setdefault((style, line), []).append(f'<text x="{x:.0f}"{at}>{text}</text>')


def _fill(status: str) -> str:
    return "url(#p)" if status == "partial" else _COLOURS[status]


def _legend(statuses: Sequence[str], gaps: bool) -> str:
    """The signs that are there, and what they mean."""
    x, out = _WIDTH - _MARGIN, []
    for status in [*(["nights missed"] if gaps else []), *reversed(_COLOURS)]:
        if status in _COLOURS and status not in statuses:
            continue
        out.append(f'<text x="{x}" y="23" text-anchor="end" fill="{_FAINT}">{status}</text>')
        x -= 6 + round(5.2 * len(status))
        if status in _SIGNS:
            out.append(
                f'<text x="{x - 3}" y="23" font-size="13" fill="{_COLOURS[status]}">{_SIGNS[status]}</text>'
            )
        elif status in _COLOURS:
            out.append(f'<path fill="{_fill(status)}" stroke="{_COLOURS[status]}" d="M{x - 8} 15h8v8h-8z"/>')
        else:
            out.append(f'<path stroke="{_FAINT}" stroke-dasharray="1 3" d="M{x - 3} 14v10"/>')
        x -= 22
    return "".join(out)


def _short(count: int) -> str:
    """A number in at most five signs, cut off and not rounded."""
    if count < 10_000:
        return str(count)
    unit, of = ("k", 1_000) if count < 1_000_000 else ("M", 1_000_000)
    tenths = count * 10 // of
    return f"{tenths / 10:g}{unit}" if tenths < 1000 else f"{tenths // 10}{unit}"
