"""One world in a process of its own, and the databases that worlds get."""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from roster_pipeline_tests.postgres_server import find_programs, running
from roster_pipeline_tests.sixty_nights.nights import Tally, run


def world(seed: int, nights: int, url: str = "") -> tuple[Tally | None, str]:
    """What a world went through, None if anything was wrong, and what to print of it."""
    started, used = time.monotonic(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        try:
            tally = run(seed, nights, Path(folder), url)
        except Exception as error:  # whatever ends it, the next world goes on
            trace = "" if isinstance(error, AssertionError) else traceback.format_exc()
            return None, "\n".join([f"{trace}world {seed} FAILED: {error}", *getattr(error, "__notes__", ())])
    seconds, cpu = time.monotonic() - started, time.process_time() - used
    return tally, f"world {seed}: {tally}; {seconds:.0f} s, {cpu:.0f} s of a core"


@contextmanager
def databases(wanted: bool, many: int) -> Iterator[list[str]]:
    """The URL of an empty PostgreSQL database for each world, or of none: SQLite's are files."""
    if not wanted:
        yield [""] * many
        return
    programs = find_programs()
    if programs is None:
        raise SystemExit("--postgres needs PostgreSQL's programs (initdb, pg_ctl), and there are none.")
    with running(programs) as server:
        yield [server.url(server.new_database()) for _ in range(many)]
