"""Runs the matrix, or a part of it, in as many processes as there are to be."""

from __future__ import annotations

import argparse
import itertools
import sys
import time

from roster_pipeline_tests.fault_matrix import combinations
from roster_pipeline_tests.fault_matrix.processes import chosen, results


def main() -> int:
    """Runs what was asked for; 0 if all of it passed."""
    parser = argparse.ArgumentParser(prog="python -m roster_pipeline_tests.fault_matrix", description=__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="processes (2)")
    parser.add_argument(
        "--only", action="append", default=[], metavar="PATTERN",
        help="combinations (case/kind/sync/shape/store) that hold this, or fit it with `*`; may be repeated",
    )  # fmt: skip
    parser.add_argument("--list", action="store_true", help="print the combinations and what they must tell")
    parser.add_argument(
        "--write", action="store_true", help="write the list and the tables of docs/faults.md"
    )
    given = parser.parse_args()
    if given.list:
        sys.stdout.write(combinations.listed())
        return 0
    if given.write:
        combinations.LIST.write_text(combinations.listed(), encoding="utf-8")
        text = combinations.PAGE.read_text(encoding="utf-8")
        combinations.PAGE.write_text(combinations.page(text), encoding="utf-8")
        return 0
    pairs = chosen(given.only)
    if not pairs:
        sys.exit("No combination fits. `--list` prints them.")
    begun, passed, failed = time.monotonic(), 0, 0
    slowest: list[tuple[float, str]] = []
    count = sum(len(pair.syncs) for pair in pairs)
    for done, (pair, found) in enumerate(results(pairs, given.jobs), 1):
        if isinstance(found, str):
            failed += len(pair.syncs)
            _tell(pair.only, found)
            continue
        for result in found:
            slowest.append((result.seconds, str(result.combination)))
            if result.wrong:
                failed += 1
                _tell(str(result.combination), "; ".join(result.wrong))
            else:
                passed += 1
        if done % 50 == 0:
            print(f"  {passed + failed} of {count} after {time.monotonic() - begun:.0f} s", file=sys.stderr)
    for seconds, name in itertools.islice(sorted(slowest, reverse=True), 3):
        print(f"  {seconds:.1f} s: {name}", file=sys.stderr)
    print(
        f"{passed + failed} combinations, {passed} passed, {failed} failed"
        f" ({time.monotonic() - begun:.0f} s, {given.jobs} processes)"
    )
    return 1 if failed else 0


def _tell(which: str, why: str) -> None:
    again = f"python -m roster_pipeline_tests.fault_matrix --jobs 1 --only '{which}'"
    print(f"FAILED {which}: {why}\n  again: {again}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
