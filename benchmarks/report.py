"""What was measured, as `performance.json`, as a page with tables, and as a chart. Nothing in them is typed.

A figure is the median of its repetitions. What was not measured, or failed, is said and left out.
"""

from __future__ import annotations

import json
import math
import statistics
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.chart import times
from benchmarks.districts import SIZES
from benchmarks.rounds import NIGHTS, STAGES

Result = Mapping[str, Any]

DATABASES: Final = {"postgres": "PostgreSQL", "sqlite": "SQLite"}
GIB: Final = 1024
"""In MiB."""


class Figures:
    """The medians of the units that went well: `floor/10k`, `night/10k/postgres/first`, …"""

    def __init__(self, results: Iterable[Result]) -> None:
        groups: dict[str, list[Result]] = {}
        self.failed: dict[str, str] = {}
        for one in results:
            if one["ok"]:
                groups.setdefault(group_of(one["unit"]), []).append(one)
            else:
                self.failed[one["unit"]] = one["why"]
        self.repeats = {name: len(members) for name, members in groups.items()}
        self.medians = {name: median_of(members) for name, members in groups.items()}

    def get(self, *parts: str) -> Any:
        """A group's median figures, or None."""
        return self.medians.get("/".join(parts))

    def number(self, name: str, *keys: str) -> float | None:
        """One figure, or None where it was not measured."""
        found: Any = self.medians.get(name)
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        return None if found is None else float(found)

    @property
    def sizes(self) -> list[str]:
        """The sizes with a first sync on either database, the smallest first."""
        return [size for size in SIZES if any(self.get("night", size, one, "first") for one in DATABASES)]


def group_of(unit: str) -> str:
    """A unit's name without the number of its repetition."""
    parts = unit.split("/")
    place = {"floor": 2, "night": 3, "load": 3, "small": 1, "peer": 5, "extraction": 5}.get(parts[0])
    return unit if place is None else "/".join(parts[:place] + parts[place + 1 :])


def median_of(members: Sequence[Any]) -> Any:
    """The median of numbers, the same of each key of dictionaries, and of anything else the first."""
    first = members[0]
    if isinstance(first, bool) or not isinstance(first, int | float | dict):
        return first
    if isinstance(first, dict):
        keys = [key for key in first if key not in ("unit", "fingerprint", "at", "ok")]
        return {key: median_of([one[key] for one in members if key in one]) for key in keys}
    return statistics.median(members)


# ---------------------------------------------------------------------------------------------- targets


@dataclass(frozen=True, slots=True)
class Target:
    """One line of what was aimed at: the figure is None where it was not measured."""

    measure: str
    wanted: str
    figure: float | None
    met: bool | None
    told: str


def targets(figures: Figures) -> list[Target]:
    """What the figures come to, beside what was aimed at."""
    measured = [size for size in SIZES if figures.get("night", size, "postgres", "first")]
    largest = measured[-1] if measured else ""
    night = {name: figures.get("night", largest, "postgres", name) for name in NIGHTS}
    floor, load = figures.get("floor", largest), figures.get("load", largest, "postgres")
    of = f" ({largest} students)" if largest else ""
    peak = _largest(one["peak_mib"] for one in night.values() if one)
    return [
        _at_most_times(f"first sync{of}, PostgreSQL, against the floor: download, parse and bulk load",
                       2.0, night["first"], floor, load),
        _memory(f"the same, largest process of ours{of}", 4.0, night["first"], peak),
        _at_most("extraction's peak memory, growth a row from 10k on", 16, _a_row(figures), "bytes"),
        _at_most_times(f"unchanged night{of}, against download and parse alone",
                       1.3, night["unchanged"], floor),
        _at_most_times(f"night with 1 % changes{of}, against the unchanged night",
                       1.3, night["changed"], night["unchanged"]),
        _at_most(f"growth of a first sync's time, 10k to {largest or 'the largest'}: exponent", 1.05,
                 growth(figures, "first"), ""),
        *_beside_peers(figures),
        _small(figures),
    ]  # fmt: skip


def _at_most_times(measure: str, most: float, one: Any, *beside: Any) -> Target:
    """By the clock; what it comes to in CPU is told, too: other work on the machine is not in that."""
    if not one or not all(beside):
        return _at_most(measure, most, None, "times")
    found = _at_most(measure, most, one["wall_s"] / sum(each["wall_s"] for each in beside), "times")
    return replace(found, told=f"{found.told}; CPU {_cpu(one) / sum(map(_cpu, beside)):.2f} times")


def _cpu(one: Mapping[str, Any]) -> float:
    """Seconds, ours and the database's."""
    return float(one["cpu_s"] + one.get("database_cpu_s", 0.0))


def _at_most(measure: str, most: float, figure: float | None, unit: str) -> Target:
    told = "not measured" if figure is None else f"{figure:.2f} {unit}".strip()
    met = None if figure is None else round(figure, 2) <= most
    return Target(measure, f"≤ {most:g} {unit}".strip(), figure, met, told)


def _ratio(value: float | None, beside: float | None) -> float | None:
    return None if value is None or not beside else value / beside


def _largest(values: Iterable[float]) -> float | None:
    return max(values, default=None)


def _memory(measure: str, most: float, first: Any, peak: float | None) -> Target:
    """Of the first sync; what the night that takes most of it does is told, too."""
    if not first or peak is None:
        return _at_most(measure, most, None, "GiB")
    found = _at_most(measure, most, first["peak_mib"] / GIB, "GiB")
    return replace(found, told=f"{found.told}; of all nights {peak / GIB:.2f} GiB")


def _a_row(figures: Figures) -> float | None:
    """How many bytes more extracting the largest size takes than 10k, for each row that it has more.

    Sixteen are what ids may take that were seen already; but for them, extraction is to be flat.
    """
    found = []
    for size in SIZES:
        name = f"night/{size}/postgres/first"
        peak, rows = figures.number(name, "stages", "extraction", "peak_mib"), figures.number(name, "read")
        if peak is not None and rows is not None and SIZES[size] >= SIZES["10k"]:
            found.append((peak, rows))
    if len(found) < 2:
        return None
    (small, few), (large, many) = found[0], found[-1]
    return (large - small) * 2**20 / (many - few)


def growth(figures: Figures, night: str, database: str = "postgres") -> float | None:
    """The exponent of a night's time by students from 10k on: the slope of both logarithms, least squares."""
    points = [
        (math.log(students), math.log(seconds))
        for size, students in SIZES.items()
        if students >= SIZES["10k"]
        and (seconds := figures.number(f"night/{size}/{database}/{night}", "wall_s"))
    ]
    return statistics.linear_regression(*zip(*points, strict=True)).slope if len(points) > 1 else None


def _beside_peers(figures: Figures) -> Iterator[Target]:
    for page_size, latency, least in ((1000, 0, 1.0), (100, 50, 6.0)):
        peers = _rates(figures, page_size, latency, ours=False)
        ours = _rates(figures, page_size, latency, ours=True)
        measure = f"extraction against the fastest peer, page {page_size:,}, {latency} ms of latency"
        wanted = f"≥ {least:g} times"
        if not peers or not ours:
            yield Target(measure, wanted, None, None, "not measured")
            continue
        peer, best = max(peers, key=lambda one: peers[one]), max(ours, key=lambda one: ours[one])
        ratio = ours[best] / peers[peer]
        told = f"{ratio:.2f} times {peer}'s rows a second, with at most {best} requests at once"
        yield Target(measure, wanted, ratio, round(ratio, 2) >= least, told)


def _rates(figures: Figures, page_size: int, latency: int, *, ours: bool) -> dict[str, float]:
    """Rows a second, by peer, or by the requests that extraction has under way at once."""
    return {
        who.strip(): one["rows"] / one["wall_s"]
        for *asked, who, one in _every_reading(figures)
        if asked == [latency, -page_size, ours]
    }


def _small_groups(figures: Figures) -> list[str]:
    """The groups of the small tenant, those beside another checkout first."""
    return sorted((name for name in figures.medians if name.split("/")[0] == "small"), key=len, reverse=True)


def _small(figures: Figures) -> Target:
    measure = "small tenant (800 students), `roster-pipeline sync`, start to end, against before"
    for name in _small_groups(figures):
        now = figures.number(name, "now", "unchanged", "wall_s")
        before = figures.number(name, "before", "unchanged", "wall_s")
        ratio = _ratio(now, before)
        if ratio is not None:
            told = f"{ratio:.2f} times: {now:.2f} s, before {before:.2f} s"
            return Target(measure, "≤ 1 times", ratio, round(ratio, 2) <= 1, told)
    return Target(measure, "≤ 1 times", None, None, "not measured")


# ---------------------------------------------------------------------------------------------- the page


def write(results: Sequence[Result], folder: Path) -> None:
    """Writes `performance.json`, `performance.md` and `images/performance.svg` below a folder."""
    figures = Figures(results)
    found = targets(figures)
    newest = max(one["at"] for one in results)
    document = {
        "measured_until": datetime.fromtimestamp(newest, UTC).isoformat(),
        "fingerprint": results[0]["fingerprint"],
        "machine": figures.get("machine") or {},
        "targets": [asdict(one) for one in found],
        "growth": {
            f"{database}/{night}": growth(figures, night, database)
            for database in DATABASES
            for night in NIGHTS
        },
        "repeats": figures.repeats,
        "failed": figures.failed,
    }
    (folder / "images").mkdir(parents=True, exist_ok=True)
    chart = drawn(figures)
    (folder / "images" / "performance.svg").write_text(chart, encoding="utf-8")
    text = json.dumps(document, indent=1, ensure_ascii=False)
    medians = [f"{json.dumps(name)}: {json.dumps(one)}" for name, one in figures.medians.items()]
    units = [json.dumps(one) for one in results]
    # A line a unit: there are hundreds.
    text = (
        text.removesuffix("\n}")
        + ',\n "medians": {\n  ' + ",\n  ".join(medians)
        + '\n },\n "units": [\n  ' + ",\n  ".join(units) + "\n ]\n}\n"
    )  # fmt: skip
    (folder / "performance.json").write_text(text, encoding="utf-8")
    (folder / "performance.md").write_text(page(figures, found, newest, chart=bool(chart)), encoding="utf-8")


def drawn(figures: Figures) -> str:
    """The chart: times on PostgreSQL by size."""
    lines: dict[str, list[tuple[float, float]]] = {
        "first sync": [], "1 % changes": [], "unchanged": [], "floor with bulk load": [], "floor without": [],
    }  # fmt: skip
    for size, students in SIZES.items():
        seconds = {name: figures.number(f"night/{size}/postgres/{name}", "wall_s") for name in NIGHTS}
        floor = figures.number(f"floor/{size}", "wall_s")
        load = figures.number(f"load/{size}/postgres", "wall_s")
        told = (
            seconds["first"], seconds["changed"], seconds["unchanged"],
            None if floor is None or load is None else floor + load, floor,
        )  # fmt: skip
        for points, value in zip(lines.values(), told, strict=True):
            if value:
                points.append((students, value))
    return times(
        "A sync of one district with PostgreSQL, start to end", lines, {n: size for size, n in SIZES.items()}
    )


def page(figures: Figures, found: Sequence[Target], newest: float, *, chart: bool) -> str:
    """The whole page as Markdown."""
    day = datetime.fromtimestamp(newest, UTC).date().isoformat()
    aims = [(one.measure, one.wanted, one.told, _MET[one.met]) for one in found]
    parts = [
        "# Performance",
        "",
        *_prose(
            "Written by `make bench` from what it measured; nothing here is typed by hand. What is measured,"
            " and how, is in [benchmarks/README.md](../benchmarks/README.md); every single figure is in"
            " [performance.json](performance.json)."
        ),
        "",
        *_machine(figures, day),
        "",
        "## Targets",
        "",
        *_table(("measure", "target", "measured", "met"), aims),
        "",
        *([_CHART, ""] if chart else []),
    ]
    for database, title in DATABASES.items():
        parts += _nights(figures, database, title)
    parts += [*_stages(figures), *_readings(figures), *_small_table(figures)]
    if figures.failed:
        failed = [(f"`{unit}`", _one_line(why)) for unit, why in figures.failed.items()]
        parts += ["## What could not be measured", "", *_table(("unit", "why"), failed), ""]
    return "\n".join(parts).rstrip() + "\n"


_MET: Final = {True: "yes", False: "**no**", None: "–"}
_CHART: Final = "![Times by size: syncs and the floor, both axes logarithmic](images/performance.svg)"


def _prose(text: str) -> list[str]:
    return textwrap.wrap(text, 140, break_long_words=False, break_on_hyphens=False)


def _machine(figures: Figures, day: str) -> list[str]:
    machine = figures.get("machine")
    if not machine:
        return [f"Measured on {day}."]
    versions = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    repeats = sorted({count for name, count in figures.repeats.items() if name.startswith("night/")})
    medians = (
        f" Medians of {' to '.join(map(str, dict.fromkeys([repeats[0], repeats[-1]])))}." if repeats else ""
    )
    return _prose(
        f"Measured until {day} on {machine['cores']} cores of {machine['processor']} with"
        f" {machine['memory_gib']} GiB, Linux {machine['kernel']}, Python {machine['python']}, PostgreSQL"
        f" {machine['postgres'] or '(not there)'} as it comes, SQLite {machine['sqlite']}; {versions}; commit"
        f" {machine['commit']}.{medians}"
    )


_COLUMNS: Final = {
    "wall_s": "Clock",
    "cpu": "CPU, user and system, ours and the database's",
    "peak_mib": "Peak memory of the largest process of ours",
}


def _nights(figures: Figures, database: str, title: str) -> list[str]:
    sizes = [size for size in SIZES if figures.get("night", size, database, "first")]
    if not sizes:
        return []
    out = [
        f"## {title}",
        "",
        *_prose(
            "`roster-pipeline sync` from the start of its process to its end, each night on a later day. The"
            " floor downloads the same pages and parses them; bulk load puts the first sync's rows into"
            " a new database. *Again* and *unchanged* are the second and the third night of the same data."
        ),
        "",
    ]
    head = ("students", "rows", "floor", "bulk load", "first sync", "again", "unchanged", "1 % changes")
    for what, caption in _COLUMNS.items():
        rows = []
        for size in sizes:
            costs = [figures.get("floor", size), figures.get("load", size, database)]
            costs += [figures.get("night", size, database, night) for night in NIGHTS]
            read = figures.number(f"night/{size}/{database}/first", "read") or 0
            rows.append((size, f"{read:,.0f}", *(_value(one or {}, what) for one in costs)))
        out += [f"{caption}:", "", *_table(head, rows), ""]
    exponents = {night: growth(figures, night, database) for night in NIGHTS}
    told = [f"{night} {value:.2f}" for night, value in exponents.items() if value is not None]
    if told:
        out += _prose(
            f"From 10k to {sizes[-1]} students, time grows with their number to the power"
            f" of: {', '.join(told)}. Starting is in it, and makes the exponents smaller."
        )
        out.append("")
    return out


def _value(figures: Mapping[str, Any], what: str) -> str:
    if what == "cpu":
        return _seconds(_cpu(figures)) if figures else "–"
    if what not in figures:
        return "–"
    return _mib(figures[what]) if what == "peak_mib" else _seconds(figures[what])


def _seconds(value: float) -> str:
    if value >= 600:
        return f"{value / 60:.1f} min"
    return f"{value:.0f} s" if value >= 100 else f"{value:.1f} s" if value >= 1 else f"{value:.2f} s"


def _mib(value: float) -> str:
    return f"{value:,.0f} MiB"


def _stages(figures: Figures) -> list[str]:
    sizes = [size for size in SIZES if figures.get("night", size, "postgres", "first")]
    if not sizes:
        return []
    out = ["## Stages", ""]
    for night, title in (
        ("first", "First sync"),
        ("unchanged", "Unchanged night"),
        ("changed", "1 % changes"),
    ):
        median = figures.get("night", sizes[-1], "postgres", night)
        if not median:
            continue
        stages = {stage: median["stages"][stage] for stage in STAGES if stage in median["stages"]}
        rows = [
            (
                stage,
                *(_seconds(one[what]) for what in ("wall_s", "cpu_s", "database_cpu_s")),
                _mib(one["peak_mib"]),
            )
            for stage, one in stages.items()
        ]
        out += [f"{title}, {sizes[-1]} students, PostgreSQL:", ""]
        out += [*_table(("stage", "clock", "CPU, ours", "CPU, database", "peak memory"), rows), ""]
    peaks = {
        size: figures.number(f"night/{size}/postgres/first", "stages", "extraction", "peak_mib")
        for size in sizes
    }
    rows = [(size, _mib(peak)) for size, peak in peaks.items() if peak is not None]
    out += ["Peak memory until a first sync's extraction ends, by size:", ""]
    return [*out, *_table(("students", "peak memory"), rows), ""]


def _readings(figures: Figures) -> list[str]:
    rows = []
    for latency, page_size, ours, who, one in sorted(_every_reading(figures)):
        rate = f"{one['rows'] / one['wall_s']:,.0f}"
        shown = "extraction, proven, into Parquet" if ours else who
        rows.append(
            (f"{latency} ms", f"{-page_size:,}", shown, f"{one['concurrency']:.0f}", _seconds(one["wall_s"]),
             rate, _seconds(one["cpu_s"]))
        )  # fmt: skip
    if not rows:
        return []
    beside = figures.get("peers")
    versions = (
        f" The peers are on Python {beside['python']}: "
        + ", ".join(f"`{name}` {version}" for name, version in beside["packages"].items())
        + "."
        if beside
        else ""
    )
    head = ("latency", "page", "who", "at once", "clock", "rows a second", "CPU")
    return [
        "## Beside other clients",
        "",
        *_prose(
            "All users and all enrolments of 10k students, each reader in a process of its own, without its"
            " start. The peers ask for one page after the other and keep the rows in memory; our extraction"
            f" reads all six collections, proves that they are complete and writes Parquet.{versions}"
        ),
        "",
        *_table(head, rows),
        "",
    ]


def _every_reading(figures: Figures) -> Iterator[tuple[int, int, bool, str, Any]]:
    """Latency, the page size as a negative number, whether it is ours, who or how many at once, figures."""
    for name, one in figures.medians.items():
        match name.split("/"):
            case ["peer", _, peer, page_size, latency]:
                yield int(latency), -int(page_size), False, peer, one
            case ["extraction", _, page_size, latency, at_once]:
                yield int(latency), -int(page_size), True, at_once.rjust(2), one


def _small_table(figures: Figures) -> list[str]:
    groups = _small_groups(figures)
    if not groups:
        return []
    median, commit = figures.medians[groups[0]], groups[0].partition("/")[2]
    names = {"now": "now", "before": f"before ({commit})"}
    rows = [
        (
            told,
            *(
                f"{median[who][night][what]:.2f} s"
                for night in ("first", "unchanged")
                for what in ("wall_s", "cpu_s")
            ),
        )
        for who, told in names.items()
        if who in median
    ]
    return [
        "## A small tenant",
        "",
        f"800 students, SQLite, `roster-pipeline sync` from start to end; medians of"
        f" {figures.repeats[groups[0]]}{', in turns' if commit else ''}.",
        "",
        *_table(("", "first sync", "its CPU", "unchanged", "its CPU"), rows),
        "",
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _one_line(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())[:300]
