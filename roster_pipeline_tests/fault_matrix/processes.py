"""The matrix in several processes, each with its own deployments and servers.

A module of its own, because what is called by another process must not stand in `__main__`.
"""

from __future__ import annotations

import faulthandler
import fnmatch
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from roster_pipeline.store import database
from roster_pipeline_tests.fault_matrix import combinations
from roster_pipeline_tests.fault_matrix.cases import SYNCS
from roster_pipeline_tests.fault_matrix.running import Ground, Result, ground, run
from roster_pipeline_tests.postgres_server import find_programs, running

HANGS_AFTER: Final = 180
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
