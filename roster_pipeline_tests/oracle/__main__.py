"""The big comparison: `python -m roster_pipeline_tests.oracle --tenants 3000 --nights 3 --first 0`.

A tenant is told by its number: `--first 4711 --tenants 1` makes the same one again. Exit code 1 if any
differs."""

from __future__ import annotations

import argparse
import sys

import pandas as pd

from roster_pipeline_tests.oracle.comparing import Run, compare


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenants", type=int, default=1000)
    parser.add_argument("--nights", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the number of the first tenant")
    parser.add_argument(
        "--silent", action="store_true", help="tell each tenant that the page does not decide"
    )
    given = parser.parse_args()
    run = Run()
    pd.set_option("mode.string_storage", "python")  # of a few rows, a third faster than Arrow's
    for number in range(given.first, given.first + given.tenants):
        told = len(run.differences)
        compare(number, given.nights, run)
        for text in run.differences[told:]:
            print(text, flush=True)
        if given.silent and run.ended:
            print(f"tenant {number}: {run.ended}", flush=True)
        if (number - given.first) % 100 == 99:
            print(run.summary(), flush=True)
    print(run.summary())
    return 1 if run.differences else 0


if __name__ == "__main__":
    sys.exit(main())
