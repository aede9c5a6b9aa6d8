"""The report says what was measured, whether the targets are met, and what is missing; and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.report import Figures, growth, page, targets, write
from benchmarks.rounds import NIGHTS, STAGES

STUDENTS = {"1k": 1_000, "10k": 10_000, "100k": 100_000, "1M": 1_000_000}
SVG = "{http://www.w3.org/2000/svg}"


def unit(name: str, **figures: Any) -> dict[str, Any]:
    return {"unit": name, "ok": True, "fingerprint": "f", "at": 1_795_000_000, **figures}


def night(size: str, name: str, seconds: float, repeat: int = 1, peak: int = 900) -> dict[str, Any]:
    stage = {"wall_s": seconds / 7, "cpu_s": 0.1, "database_cpu_s": 0.0, "peak_mib": peak / 3}
    return unit(
        f"night/{size}/postgres/{repeat}/{name}", wall_s=seconds, cpu_s=seconds / 2, database_cpu_s=0.5,
        peak_mib=peak, read=STUDENTS[size] * 10, stages=dict.fromkeys(STAGES, stage),
    )  # fmt: skip


def measured(sizes: Sequence[str] = tuple(STUDENTS), *, first: float = 1.9) -> list[dict[str, Any]]:
    """A first sync of `first` times the floor, which takes a millisecond a student."""
    found = []
    for size in sizes:
        floor = STUDENTS[size] / 1000
        found.append(unit(f"floor/{size}/1", wall_s=floor / 2, cpu_s=floor / 4, peak_mib=60, rows=1))
        found.append(unit(f"load/{size}/postgres/1", wall_s=floor / 2, cpu_s=0.1, database_cpu_s=1.0, rows=1))
        seconds = {"first": first * floor, "again": floor, "unchanged": 0.6 * floor, "changed": 0.7 * floor}
        found += [night(size, name, seconds[name]) for name in NIGHTS]
    return found


def reading(name: str, seconds: float, at_once: int) -> dict[str, Any]:
    return unit(name, wall_s=seconds, cpu_s=seconds, peak_mib=80, rows=94_000, concurrency=at_once)


READINGS = [
    reading("peer/10k/oneroster/1000/0/1", 1.0, 1),
    reading("peer/10k/timeback-oneroster/1000/0/1", 3.0, 1),
    reading("extraction/10k/1000/0/4/1", 0.9, 4),
    reading("peer/10k/oneroster/100/50/1", 60.0, 1),
    reading("extraction/10k/100/50/4/1", 15.0, 4),
    reading("extraction/10k/100/50/16/1", 5.0, 16),
]


def told(results: list[dict[str, Any]]) -> dict[str, tuple[str, bool | None]]:
    """What the targets come to, by the first words of their measure."""
    return {
        re.split(r"[,:(]", one.measure)[0].strip(): (one.told, one.met)
        for one in targets(Figures(results))
        if "peer" not in one.measure
    }


def test_figures_are_beside_the_floor_of_the_largest_size() -> None:
    found = told(measured())
    assert found["first sync"] == ("1.90 times; CPU 3.79 times", True)
    assert found["unchanged night"] == ("1.20 times; CPU 1.20 times", True)
    assert found["night with 1 % changes"] == ("1.17 times; CPU 1.17 times", True)
    assert found["growth of a first sync's time"] == ("1.00", True)


def test_a_target_that_is_not_met_says_so() -> None:
    results = measured(first=2.3)
    assert told(results)["first sync"] == ("2.30 times; CPU 4.58 times", False)
    text = page(Figures(results), targets(Figures(results)), 1_795_000_000, chart=True)
    assert re.search(r"\| first sync .*\| 2.30 times; CPU 4.58 times \| \*\*no\*\* \|", text)


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    assert {met for _, met in told([unit("machine", packages={})]).values()} == {None}


@pytest.mark.parametrize("peak, of_first, met", [(3072, "3.00", True), (4608, "4.50", False)])
def test_memory_is_that_of_a_first_sync_and_the_largest_is_told(peak: int, of_first: str, met: bool) -> None:
    results = measured(["10k"])
    results.append(night("1M", "first", 100, peak=peak))
    results.append(night("1M", "changed", 100, peak=5120))
    assert told(results)["the same"] == (f"{of_first} GiB; of all nights 5.00 GiB", met)


@pytest.mark.parametrize("more, met", [(16, True), (17, False)])
def test_extraction_may_take_more_for_ids_only(more: int, met: bool) -> None:
    small, large = night("10k", "first", 1), night("1M", "first", 1)
    for one, base in ((small, 0), (large, more * (large["read"] - small["read"]))):
        one["stages"] = {"extraction": {**one["stages"]["extraction"], "peak_mib": 200 + base / 2**20}}
    assert told([small, large])["extraction's peak memory"] == (f"{more:.2f} bytes", met)


def test_extraction_is_beside_the_fastest_peer_and_says_how_many_requests_it_has_at_once() -> None:
    at_once, slow = (one for one in targets(Figures(READINGS)) if "peer" in one.measure)
    assert (at_once.told, at_once.met) == (
        "1.11 times oneroster's rows a second, with at most 4 requests at once",
        True,
    )
    assert (slow.told, slow.met) == (
        "12.00 times oneroster's rows a second, with at most 16 requests at once",
        True,
    )


def test_the_small_tenant_is_beside_the_checkout_before() -> None:
    def both(now: float, before: float, repeat: int) -> dict[str, Any]:
        nights = {
            who: {name: {"wall_s": seconds, "cpu_s": seconds} for name in ("first", "again", "unchanged")}
            for who, seconds in (("now", now), ("before", before))
        }
        return unit(f"small/{repeat}/abc1234", **nights)

    results = [both(2.0, 2.5, 1), both(9.0, 2.4, 2), both(2.1, 2.6, 3)]
    measure = "small tenant"
    assert told(results)[measure] == ("0.84 times: 2.10 s, before 2.50 s", True)
    assert "before (abc1234)" in page(Figures(results), [], 1_795_000_000, chart=False)


def test_figures_are_medians_of_their_repetitions() -> None:
    results = [night("10k", "first", seconds, repeat) for repeat, seconds in ((1, 10), (2, 90), (3, 12))]
    figures = Figures(results)
    assert figures.number("night/10k/postgres/first", "wall_s") == 12
    assert figures.number("night/10k/postgres/first", "stages", "extraction", "wall_s") == pytest.approx(
        12 / 7
    )
    assert figures.repeats == {"night/10k/postgres/first": 3}


@pytest.mark.parametrize("exponent", [0.9, 1.0, 1.3])
def test_growth_is_the_exponent_from_10k_on(exponent: float) -> None:
    results = [night(size, "first", 3e-4 * students**exponent) for size, students in STUDENTS.items()]
    results[0]["wall_s"] = 1e6  # 1k: below it, starting is nearly all
    assert growth(Figures(results), "first") == pytest.approx(exponent)


def test_what_failed_is_on_the_page_with_its_reason(tmp_path: Path) -> None:
    failed = {"unit": "night/1M/postgres/1/first", "ok": False, "why": "killed | by\nthe kernel",
              "fingerprint": "f", "at": 1}  # fmt: skip
    write([*measured(["10k"]), failed], tmp_path)
    text = (tmp_path / "performance.md").read_text(encoding="utf-8")
    assert "| `night/1M/postgres/1/first` | killed \\| by the kernel |" in text
    assert "(10k students)" in text


def test_the_page_its_data_and_its_picture_belong_together(tmp_path: Path) -> None:
    write([*measured(), *READINGS], tmp_path)
    text = (tmp_path / "performance.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!\.\.)([^)]+)\)", text):
        assert (tmp_path / link).exists(), link
    document = json.loads((tmp_path / "performance.json").read_text(encoding="utf-8"))
    assert document["medians"]["night/1M/postgres/first"]["wall_s"] == 1900
    assert len(document["units"]) == len(measured()) + len(READINGS)
    for line in re.findall(r"(?m)^\|.*$", text):
        assert line.count(" | ") >= 1


def test_the_picture_has_a_line_for_each_night_and_the_floor(tmp_path: Path) -> None:
    write(measured(), tmp_path)
    svg = ElementTree.parse(tmp_path / "images" / "performance.svg").getroot()
    words = [node.text or "" for node in svg.iter(f"{SVG}text")]
    assert {"first sync", "1 % changes", "unchanged", "1k", "10k", "100k", "1M", "students"} <= set(words)
    heights = {node.text: float(node.get("y", "0")) for node in svg.iter(f"{SVG}text") if node.text in words}
    assert heights["first sync"] < heights["1 % changes"] < heights["unchanged"], "the longest is on top"
    assert svg.find(f"{SVG}rect") is not None, "a card of its own, for dark pages"


def test_with_one_size_there_is_a_picture_and_no_growth(tmp_path: Path) -> None:
    write(measured(["1k"]), tmp_path)
    ElementTree.parse(tmp_path / "images" / "performance.svg")
    assert told(measured(["1k"]))["growth of a first sync's time"] == ("not measured", None)
