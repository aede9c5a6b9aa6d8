"""Times by size as a picture: an SVG with both axes logarithmic.

It is on a card of its own, so that it reads in the dark, too; lines are told apart by their dashes and signs,
not by colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

WIDTH: Final = 720
HEIGHT: Final = 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 190, 58, 48
_INK, _FAINT, _LINE = "#223344", "#566677", "#d5dde5"
_STYLES: Final = (  # colour, dashes
    ("#1f5fa8", ""),
    ("#b4530a", "7 4"),
    ("#2a7d4f", "2 3"),
    ("#8a3a86", "9 3 2 3"),
    ("#566677", "1 4"),
)

Points = Sequence[tuple[float, float]]


def times(title: str, lines: Mapping[str, Points], names: Mapping[float, str]) -> str:
    """A line for each of `lines`; "" where no line has a point.

    Args:
        title: What the picture is of.
        lines: What a line shows → (students, seconds).
        names: What to write below so many students.
    """
    shown = {name: sorted(points) for name, points in lines.items() if points}
    if not shown:
        return ""
    xs = [x for points in shown.values() for x, _ in points]
    ys = [y for points in shown.values() for _, y in points]
    low, high = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)))
    across, up = (
        _scale(min(xs), max(xs), _LEFT, WIDTH - _RIGHT),
        _scale(10**low, 10**high, HEIGHT - _BOTTOM, _TOP),
    )
    drawn = [
        _text(_LEFT - 8, up(10**power) + 4, _seconds(10**power), "end", _FAINT)
        + f'<path stroke="{_LINE}" d="M{_LEFT} {up(10**power):.1f}H{WIDTH - _RIGHT}"/>'
        for power in range(low, high + 1)
    ]
    drawn += [
        _text(across(x), HEIGHT - _BOTTOM + 18, name, "middle", _FAINT)
        for x, name in names.items()
        if min(xs) <= x <= max(xs)
    ]
    drawn.append(_text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - _BOTTOM + 36, "students", "middle", _FAINT))
    ends = _apart({name: up(points[-1][1]) for name, points in shown.items()})
    for number, (name, points) in enumerate(shown.items()):
        colour, dashes = _STYLES[number % len(_STYLES)]
        places = [(across(x), up(y)) for x, y in points]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        drawn.append(
            f'<path fill="none" stroke="{colour}" stroke-width="2"'
            + (f' stroke-dasharray="{dashes}"' if dashes else "")
            + f' d="M{path}"/>'
        )
        drawn += [_sign(number, x, y, colour) for x, y in places]
        end = places[-1][0]
        lead = f"M{end + 5:.1f} {places[-1][1]:.1f}L{end + 14:.1f} {ends[name]:.1f}"
        drawn.append(f'<path stroke="{colour}" d="{lead}"/>')
        drawn.append(_text(end + 18, ends[name] + 4, name, "start", colour))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}"'
        f' font-family="sans-serif" font-size="12" role="img"><title>{_escaped(title)}</title>'
        f'<rect x=".5" y=".5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="8" fill="#ffffff"'
        f' stroke="{_LINE}"/>{_text(20, 30, title, "start", _INK, size=15)}{"".join(drawn)}</svg>\n'
    )


def _scale(least: float, most: float, first: float, last: float) -> Callable[[float], float]:
    """From a value to a place, by its logarithm."""
    low, high = math.log10(least), math.log10(most)
    step = (last - first) / ((high - low) or 1)
    return lambda value: first + (math.log10(value) - low) * step


def _apart(places: Mapping[str, float], least: float = 16) -> dict[str, float]:
    """The heights of words that would else lie upon each other."""
    found: dict[str, float] = {}
    for name, place in sorted(places.items(), key=lambda pair: pair[1]):
        found[name] = max(place, max(found.values(), default=-math.inf) + least)
    return found


def _sign(number: int, x: float, y: float, colour: str) -> str:
    if number % 3 == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>'
    if number % 3 == 1:
        return f'<path fill="{colour}" d="M{x - 3.5:.1f} {y - 3.5:.1f}h7v7h-7z"/>'
    return f'<path fill="{colour}" d="M{x:.1f} {y - 4.5:.1f}l4.5 8h-9z"/>'


def _text(x: float, y: float, text: str, anchor: str, colour: str, *, size: int = 12) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}">'
        f"{_escaped(text)}</text>"
    )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _seconds(value: float) -> str:
    return f"{value:g} s"
