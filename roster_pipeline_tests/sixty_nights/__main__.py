"""`python -m roster_pipeline_tests.sixty_nights --worlds 2 --first 1`: worlds through sixty nights each.

A world is told by its number: `--first 7 --worlds 1` makes the same one again. Exit code 1 if anything
differs from the page, or an invariant does not hold."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path

from roster_pipeline_tests.sixty_nights.nights import run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=2)
    parser.add_argument("--nights", type=int, default=60)
    parser.add_argument("--first", type=int, default=1, help="the number of the first world")
    given = parser.parse_args()
    passed = nights = 0
    for seed in range(given.first, given.first + given.worlds):
        started, used = time.monotonic(), time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            try:
                tally = run(seed, given.nights, Path(folder))
            except Exception as error:  # whatever ends it, the next world goes on
                if not isinstance(error, AssertionError):
                    traceback.print_exc()
                print(f"world {seed} FAILED: {error}", *getattr(error, "__notes__", ()), sep="\n", flush=True)
                continue
        passed += 1
        nights += tally.nights
        seconds, cpu = time.monotonic() - started, time.process_time() - used
        print(f"world {seed}: {tally}; {seconds:.0f} s, {cpu:.0f} s of a core", flush=True)
    print(f"{passed} of {given.worlds} worlds passed, {nights} nights in them")
    return 0 if passed == given.worlds else 1


if __name__ == "__main__":
    sys.exit(main())
