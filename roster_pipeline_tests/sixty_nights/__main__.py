"""`python -m roster_pipeline_tests.sixty_nights --worlds 2 --first 1`: worlds through sixty nights each.

A world is told by its number: `--first 7 --worlds 1` makes the same one again. Exit code 1 if anything
differs from the page, an invariant does not hold, or the worlds together saw no fault, no undo, or nothing
that waits and is decided on."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed

from roster_pipeline_tests.sixty_nights.nights import Tally, lacking
from roster_pipeline_tests.sixty_nights.worlds import databases, world


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=2)
    parser.add_argument("--nights", type=int, default=60)
    parser.add_argument("--first", type=int, default=1, help="the number of the first world")
    parser.add_argument("--jobs", type=int, default=2, help="processes (2)")
    parser.add_argument("--postgres", action="store_true", help="keep the rosters in PostgreSQL, not SQLite")
    given = parser.parse_args()
    seeds = range(given.first, given.first + given.worlds)
    context = multiprocessing.get_context("spawn")
    passed: list[Tally] = []
    with (
        databases(given.postgres, given.worlds) as urls,
        ProcessPoolExecutor(given.jobs, mp_context=context) as pool,
    ):
        waiting = [pool.submit(world, seed, given.nights, url) for seed, url in zip(seeds, urls, strict=True)]
        for done in as_completed(waiting):
            tally, text = done.result()
            print(text, flush=True)
            passed += [tally] if tally else []
    nights = sum(tally.nights for tally in passed)
    print(f"{len(passed)} of {given.worlds} worlds passed, {nights} nights in them")
    if missing := lacking(passed):
        print(f"No world saw {', '.join(missing)}: these nights prove too little.")
    return 0 if len(passed) == given.worlds and not missing else 1


if __name__ == "__main__":
    sys.exit(main())
