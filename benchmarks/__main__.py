"""`make bench`: measures what is not measured yet, and writes the report. `README.md` says what is measured.

    python -m benchmarks run [--sizes 1k,10k] [--repeats 3] [--parts nights,peers] [--before CHECKOUT]
    python -m benchmarks prepare [--sizes 1M]
    python -m benchmarks report

Each unit of work is kept in `build/bench/results.jsonl` when it is done. Whatever interrupts this, the next
run goes on with the first unit that is missing.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from benchmarks import districts, report, units
from benchmarks.results import ROOT, Results, fingerprint, newest_fingerprint, tell

BUILD: Final = ROOT / "build" / "bench"
RESULTS: Final = BUILD / "results.jsonl"


def main() -> None:
    """Reads what is asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("run", "prepare", "report"))
    parser.add_argument("--sizes", type=_names(districts.SIZES), default=tuple(districts.SIZES))
    parser.add_argument("--repeats", type=int, default=3, help="medians are of so many")
    parser.add_argument("--parts", type=_names(units.PARTS), default=units.PARTS)
    parser.add_argument(
        "--before", type=Path, default=None, help="a checkout that the small tenant is beside"
    )
    parser.add_argument("--retry", action="store_true", help="measure what failed once more")
    parser.add_argument("--into", type=Path, default=ROOT / "docs", help="where the report is written")
    given = parser.parse_args()
    # As Ctrl-C, so that what was started is ended.
    signal.signal(signal.SIGTERM, _interrupted)
    match given.command:
        case "prepare":
            for size in given.sizes:
                units.prepared(BUILD, size)
        case "run":
            results = Results(RESULTS, fingerprint({}), retry=given.retry)
            plan = units.Plan(given.sizes, given.repeats, given.parts, given.before)
            try:
                units.Bench(BUILD, results).run(plan)
            except KeyboardInterrupt:
                tell("interrupted; the same command goes on with the first unit that is missing")
                sys.exit(130)
        case "report":
            newest = newest_fingerprint(RESULTS)
            if not newest:
                sys.exit(f"Nothing was measured yet: {RESULTS} is not there, or empty. Type `make bench`.")
            report.write(Results(RESULTS, newest).all(), given.into)


def _interrupted(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _names(known: Iterable[str]) -> Callable[[str], tuple[str, ...]]:
    """Reads names with commas between them; all of them must be known."""

    def read(text: str) -> tuple[str, ...]:
        asked = tuple(filter(None, text.split(",")))
        if not asked or not set(asked) <= set(known):
            raise argparse.ArgumentTypeError(f"{text}: only {', '.join(known)} are known")
        return asked

    return read


if __name__ == "__main__":
    main()
