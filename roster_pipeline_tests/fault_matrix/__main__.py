"""Runs the matrix, or a part of it, in as many processes as there are to be."""

from __future__ import annotations

import argparse
import faulthandler
import fnmatch
import itertools
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roster_pipeline.store import database
from roster_pipeline_tests.fault_matrix import combinations
from roster_pipeline_tests.fault_matrix.cases import SYNCS
from roster_pipeline_tests.fault_matrix.running import Ground, Result, ground, run
from roster_pipeline_tests.postgres_server import find_programs, running

HANGS_AFTER = 180
"""Seconds after which a pair of syncs counts as one that does not end; its process is given up."""


@dataclass(frozen=True)
class Pair:
    """A case with one provider and one database: its first sync, its later one, or both."""

    case: str
    kind: str
    shape: str
    store: str
    syncs: tuple[str, ...]

    @property
    def only(self) -> str:
        """How to run it again."""
        sync = self.syncs[0] if len(self.syncs) == 1 else "*"
        return f"{self.case}/{self.kind}/{sync}/{self.shape}/{self.store}"


def chosen(only: list[str]) -> list[Pair]:
    """The pairs that have a combination that fits a pattern (or holds it); all of them without any."""
    patterns = [pattern if "*" in pattern else f"*{pattern}*" for pattern in only] or ["*"]
    syncs: dict[tuple[str, str, str, str], list[str]] = {}
    for one, _ in combinations.every():
        if any(fnmatch.fnmatchcase(str(one), pattern) for pattern in patterns):
            syncs.setdefault((one.case, one.kind, one.shape, one.store), []).append(one.sync)
    return [Pair(*key, tuple(sync for sync in SYNCS if sync in found)) for key, found in syncs.items()]


_here: Ground


def _begin(folder: str, urls: Any) -> None:
    """Makes this process's ground; it lasts as long as the process."""
    global _here
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
    stack = ExitStack()
    own = Path(tempfile.mkdtemp(dir=folder))
    _here = stack.enter_context(ground(own, urls.get()))


def _run(pair: Pair) -> list[Result]:
    faulthandler.dump_traceback_later(HANGS_AFTER, exit=True)
    try:
        case = next(case for case in combinations.CASES if case.name == pair.case)
        return run(_here, case, pair.kind, pair.shape, pair.store, pair.syncs)
    finally:
        faulthandler.cancel_dump_traceback_later()


def results(pairs: list[Pair], jobs: int) -> Iterator[tuple[Pair, list[Result] | str]]:
    """Each pair with what came of it, or with why nothing did, as they end."""
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="fault-matrix-"))
        urls = context.Manager().Queue()
        server = None
        if any(pair.store == "postgres" for pair in pairs):
            programs = find_programs()
            if programs is None:
                sys.exit("PostgreSQL's programs are not installed: apt-get install postgresql")
            server = stack.enter_context(running(programs))
        for _ in range(jobs):
            url = server.url(server.new_database()) if server else ""
            if url:
                engine = database.connect(url)
                database.upgrade(engine)
                engine.dispose()
            urls.put(url)
        pool = stack.enter_context(
            ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(folder, urls))
        )
        waiting = {pool.submit(_run, pair): pair for pair in pairs}
        for future in as_completed(waiting):
            try:
                yield waiting[future], future.result()
            except BrokenProcessPool:
                yield waiting[future], "its process was given up, or another one's was"
            except Exception as error:
                yield waiting[future], f"{type(error).__name__}: {error}"


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
    print(f"FAILED {which}: {why}\n  again: {again}")


if __name__ == "__main__":
    sys.exit(main())
