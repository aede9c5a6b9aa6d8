"""SIGKILL at random instants: `python -m roster_pipeline_tests.kills --instants 200 --database both`.

`--instants` are on each database. Prints what was killed where and how many answers readers got; exit
code 1 if one of them was a mixture, or a sync that followed was not as if nothing had happened.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from roster_pipeline_tests.kills import commands, instants
from roster_pipeline_tests.postgres_server import PostgresServer, find_programs, running


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instants", type=int, default=200, help="syncs killed on each database")
    parser.add_argument("--commands", type=int, default=10, help="commands killed, on all databases together")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--database", choices=["sqlite", "postgres", "both"], default="both")
    given = parser.parse_args()
    databases = ["sqlite", "postgres"] if given.database == "both" else [given.database]
    print(f"seed {given.seed}", flush=True)
    started, results = time.monotonic(), []
    for place, database in enumerate(databases):
        count = given.commands // len(databases) + (place < given.commands % len(databases))
        with _places(database) as (folder, urls):
            for found in _results(folder, urls, given.instants, count, given.seed):
                print(_told(found), flush=True)
                results.append(found)
    failures = [text for found in results for text in found.failures]
    print("\n".join(failures), end="\n" if failures else "")
    print(
        f"{sum(found.killed for found in results)} syncs killed, "
        f"{sum(found.reads.total() for found in results):,} reads, {len(failures)} failures, "
        f"{time.monotonic() - started:.0f} s"
    )
    return 1 if failures else 0


@contextmanager
def _places(database: str) -> Iterator[tuple[Path, list[str]]]:
    """A folder, and the URLs of two databases; "" for SQLite, which has one in each home."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="roster-kills-")))
        if database == "sqlite":
            yield folder, ["", ""]
            return
        programs = find_programs()
        if programs is None:
            sys.exit("PostgreSQL's programs (initdb, pg_ctl) are not installed: apt-get install postgresql")
        server: PostgresServer = stack.enter_context(running(programs))
        yield folder, [server.url(server.new_database()) for _ in range(2)]


def _results(
    folder: Path, urls: list[str], syncs: int, processes: int, seed: int
) -> Iterator[instants.Result]:
    yield from instants.run(folder / "syncs", urls[0], instants=syncs, seed=seed)
    if processes:
        yield commands.run(folder / "commands", urls[1], instants=processes, seed=seed)


def _told(found: instants.Result) -> str:
    places = [
        name for name in (*instants.PHASES[:1], *commands.PLACES, *instants.PHASES[1:]) if found.phases[name]
    ]
    phases = ", ".join(f"{name} {found.phases[name]}" for name in places)
    reads = ", ".join(f"{count:,} by {kind}" for kind, count in found.reads.items())
    return (
        f"{found.lane}: {found.killed} killed of {found.length:.1f} s ({found.drawn['transaction']} aimed at "
        f"the transaction): {phases}; {found.published} had published; {found.too_late} were too late; "
        f"reads {reads}; {len(found.failures)} failures; {found.seconds:.0f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
