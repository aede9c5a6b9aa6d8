"""The units of work of `make bench`, and how they are done one after the other.

A unit is skipped if it was done, or failed, for the same sources. The nights of a round build on one another:
of a round that was interrupted, the nights are synced again from the first one, and those that are measured
already keep their figures.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from benchmarks import districts, load, peers
from benchmarks.processes import ROOT
from benchmarks.results import Results, UnitError, tell
from benchmarks.rounds import CONCURRENCY, NIGHTS, PAGE_SIZE, Deployment
from benchmarks.server import Serving, served
from roster_pipeline.sandbox.flavours import Version
from roster_pipeline_tests.postgres_server import PostgresServer, find_programs, running

PARTS: Final = ("nights", "small", "peers")
DATABASES = ("postgres", "sqlite")
ONLY_POSTGRES: Final = "1M"
SMALL: Final = 800
"""Students of the small tenant."""
SMALL_REPEATS: Final = 7
PEERS_SIZE: Final = "10k"
PAGE_SIZES: Final = (1000, 100)
LATENCIES: Final = {0: (CONCURRENCY,), 50: (CONCURRENCY, 8, 16)}
"""Milliseconds before each page → how many requests our extraction has under way at once."""
POSTGRES: Final = {
    "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "shared_buffers": "128MB",
}  # fmt: skip
"""PostgreSQL as it comes: a server that keeps what it was given."""
PACKAGES: Final = (
    "dagster", "pandas", "pyarrow", "numpy", "httpx", "msgspec", "orjson", "SQLAlchemy", "psycopg",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be measured; `before` is a checkout that the small tenant is synced with, too."""

    sizes: Sequence[str]
    repeats: int
    parts: Sequence[str]
    before: Path | None = None


def prepared(build: Path, size: str, version: Version = "1.1") -> Path:
    """A size's district on disk; made if it is not there."""
    told = f"district of {size} students, OneRoster {version}"
    return districts.prepare(
        build / "districts", districts.SIZES[size], version=version, told=lambda done: tell(f"{told}: {done}")
    )


class Bench:
    """Does the units of a plan.

    Args:
        build: The folder for all that is made on the way.
        results: What is done, and where it is kept.
    """

    def __init__(self, build: Path, results: Results) -> None:
        self._build, self._results = build, results
        self._work = build / "work"
        self._postgres: PostgresServer | None = None
        self._why_no_postgres = ""
        self._peers: dict[str, str] = {}

    def run(self, plan: Plan) -> None:
        """Does all units that are missing.

        Raises:
            SystemExit: if another benchmark is running in the same folder.
        """
        self._build.mkdir(parents=True, exist_ok=True)
        with (self._build / "lock").open("w", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                sys.exit(f"Another benchmark is running: it holds {self._build / 'lock'}.")
            self._run(plan)

    def _run(self, plan: Plan) -> None:
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir(parents=True)
        _end_leftover(self._build)
        with ExitStack() as stack:
            if "nights" in plan.parts and "postgres" in DATABASES:
                self._start_postgres(stack)
            self._results.once("machine", machine)
            # What takes hours comes last.
            small = [size for size in plan.sizes if districts.SIZES[size] < 100_000]
            large = [size for size in plan.sizes if size not in small]
            for size in small if "nights" in plan.parts else ():
                self._size(size, plan.repeats)
            if "small" in plan.parts:
                self._small(plan.before)
            if "peers" in plan.parts:
                self._beside_peers(plan.repeats)
            for size in large if "nights" in plan.parts else ():
                self._size(size, plan.repeats)
        shutil.rmtree(self._work, ignore_errors=True)

    def _missing(self, *names: str) -> bool:
        return any(name not in self._results for name in names)

    # ------------------------------------------------------------------------------------ nights

    def _size(self, size: str, repeats: int) -> None:
        databases = [one for one in DATABASES if one == "postgres" or size != ONLY_POSTGRES]
        for repeat in range(1, repeats + 1):
            floor = f"floor/{size}/{repeat}"
            nights = {one: [f"night/{size}/{one}/{repeat}/{night}" for night in NIGHTS] for one in databases}
            loads = {one: f"load/{size}/{one}/{repeat}" for one in databases}
            if not self._missing(
                floor, *loads.values(), *(name for names in nights.values() for name in names)
            ):
                continue
            folder = prepared(self._build, size)
            if self._missing(floor):
                with served(folder) as serving:
                    self._results.once(floor, partial(self._floor, serving))
            for one in databases:
                rows = self._build / "rows" / f"{size}-{one}"
                if self._missing(*nights[one]) or (self._missing(loads[one]) and not self._has_rows(rows)):
                    with served(folder) as serving:
                        self._round(serving, one, nights[one], rows)
                self._results.once(loads[one], partial(self._load, one, rows))

    def _floor(self, serving: Serving) -> dict[str, Any]:
        """The floor, with as many requests at once as a sync may have, and with one: the quicker."""
        found = (self._floor_of(serving, concurrency) for concurrency in (CONCURRENCY, 1))
        return min(found, key=lambda one: float(one["wall_s"]))

    def _floor_of(self, serving: Serving, concurrency: int) -> dict[str, Any]:
        before = serving.costs()
        command = [
            sys.executable, "benchmarks/floor.py", serving.base_url, serving.token_url,
            "--client-id", serving.client_id,
            "--page-size", str(PAGE_SIZE), "--concurrency", str(concurrency),
        ]  # fmt: skip
        environment = {**os.environ, "ROSTER_SANDBOX_CLIENT_SECRET": serving.client_secret}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UnitError(f"the floor ended with {done.returncode}: {done.stderr[-600:]}")
        after = serving.costs()
        pages = after["pages"] - before["pages"]
        server = (after["cpu_s"] - before["cpu_s"]) / pages * 1000
        told = {"concurrency": concurrency, "server_ms_a_page": round(server, 3)}
        return {**json.loads(done.stdout), **told}

    def _round(self, serving: Serving, kind: str, names: Sequence[str], rows: Path) -> None:
        """The nights of a round; keeps the rows that the first one published, if nobody has them."""
        with self._database(kind) as (url, process):
            home = self._work / "home"
            shutil.rmtree(home, ignore_errors=True)
            try:
                made = Deployment.make(home, serving, database_url=url, database=process)
            except UnitError as error:
                for name in names:
                    self._results.fail(name, str(error))
                return
            for name, night in zip(names, NIGHTS, strict=True):
                last = not self._missing(*names)
                if last and (night != "first" or self._has_rows(rows)):
                    break
                serving.show(changed=night == "changed")
                if not self._missing(name):
                    tell(f"{name}, once more: the next nights build on it")
                    made.sync(NIGHTS[night])
                elif not self._results.once(name, partial(made.night, night)):
                    for later in names[names.index(name) + 1 :]:
                        self._results.fail(later, f"the night before it failed: {name}")
                    break
                if night == "first" and not self._has_rows(rows):
                    self._keep_rows(url or f"sqlite:///{home / 'roster.db'}", rows)
            shutil.rmtree(home, ignore_errors=True)

    # ------------------------------------------------------------------------------------ loading

    def _has_rows(self, rows: Path) -> bool:
        mark = rows / "fingerprint"
        return mark.exists() and mark.read_text(encoding="utf-8") == self._results.fingerprint

    def _keep_rows(self, url: str, rows: Path) -> None:
        tell(f"keeping the rows in {rows.relative_to(self._build)}")
        shutil.rmtree(rows, ignore_errors=True)
        load.dump(url, rows)
        os.sync()  # so that the next night does not wait for this to reach the disk
        (rows / "fingerprint").write_text(self._results.fingerprint, encoding="utf-8")

    def _load(self, kind: str, rows: Path) -> dict[str, Any]:
        if not self._has_rows(rows):
            raise UnitError("there are no rows to load: no first sync came to its end")
        file = self._work / "load.db"
        with self._database(kind) as (url, process):
            command = [sys.executable, "-m", "benchmarks.load", str(rows)]
            command += ["--database", str(process)] if process else []
            environment = {**os.environ, "BENCH_DATABASE_URL": url or f"sqlite:///{file}"}
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
            )
        for one in self._work.glob("load.db*"):
            one.unlink()
        if done.returncode:
            raise UnitError(f"loading ended with {done.returncode}: {done.stderr[-600:]}")
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    # ------------------------------------------------------------------------------------ small tenant

    def _small(self, before: Path | None) -> None:
        """`roster-pipeline sync` of a small tenant, from its start to its end; in turns with `before`."""
        checkouts = {"now": ROOT}
        mark = ""
        if before is not None:
            commit = _commit(before)
            checkouts["before"], mark = before.resolve(), f"/{commit}"
        for repeat in range(1, SMALL_REPEATS + 1):
            # Who comes first has the machine as the others left it: each in its turn.
            self._results.once(f"small/{repeat}{mark}", partial(self._small_nights, checkouts))
            checkouts = dict(reversed(checkouts.items()))

    def _small_nights(self, checkouts: dict[str, Path]) -> dict[str, Any]:
        folder = districts.prepare(self._build / "districts", SMALL)
        found: dict[str, Any] = {}
        with served(folder) as serving:
            for name, checkout in checkouts.items():
                home = self._work / "small"
                shutil.rmtree(home, ignore_errors=True)
                made = Deployment.make(home, serving, checkout=checkout)
                nights = {}
                for night in ("first", "again", "unchanged"):
                    watched, _ = made.sync(NIGHTS[night])
                    nights[night] = {"wall_s": watched.wall_s, "cpu_s": watched.cpu_s}
                found[name] = nights
        return found

    # ------------------------------------------------------------------------------------ peers

    def _beside_peers(self, repeats: int) -> None:
        size = PEERS_SIZE
        every = [(page, latency) for page in PAGE_SIZES for latency in LATENCIES]
        names = [
            f"peer/{size}/{peer}/{page}/{latency}/{repeat}"
            for peer in peers.VERSIONS
            for page, latency in every
            for repeat in range(1, repeats + 1)
        ]
        if self._missing(*names):
            tell("installing the peers into build/peers, where they are not there yet")
            self._peers = peers.install()
            for peer, why in self._peers.items():
                if why:
                    tell(f"{peer} is left out: {why}")
            self._results.once("peers", peers.versions)
        for page, latency in every:
            for repeat in range(1, repeats + 1):
                self._readings(size, page, latency, repeat)

    def _readings(self, size: str, page: int, latency: int, repeat: int) -> None:
        for peer, version in peers.VERSIONS.items():
            name = f"peer/{size}/{peer}/{page}/{latency}/{repeat}"
            self._results.once(name, partial(self._peer, peer, version, size, page, latency))
        for concurrency in LATENCIES[latency]:
            name = f"extraction/{size}/{page}/{latency}/{concurrency}/{repeat}"
            self._results.once(name, partial(self._ours, size, page, latency, concurrency))

    def _peer(self, peer: str, version: Version, size: str, page: int, latency: int) -> dict[str, Any]:
        if self._peers[peer]:
            raise UnitError(self._peers[peer])
        folder = prepared(self._build, size, version)
        with served(folder, latency_ms=latency) as serving:
            return peers.read(peer, serving, page, folder)

    def _ours(self, size: str, page: int, latency: int, concurrency: int) -> dict[str, Any]:
        home = self._work / "extraction"
        shutil.rmtree(home, ignore_errors=True)
        with served(prepared(self._build, size), latency_ms=latency) as serving:
            return peers.ours(home, serving, page, concurrency)

    # ------------------------------------------------------------------------------------ databases

    def _start_postgres(self, stack: ExitStack) -> None:
        programs = find_programs()
        if programs is None:
            self._why_no_postgres = "PostgreSQL is not installed"
            return
        self._postgres = stack.enter_context(running(programs, POSTGRES))
        mark = self._build / "postgres.pid"
        mark.write_text(f"{self._postgres.pid} {_data_folder(self._postgres.pid)}", encoding="utf-8")
        stack.callback(mark.unlink)

    @contextmanager
    def _database(self, kind: str) -> Iterator[tuple[str, int | None]]:
        """A new database for one use: its URL ("" for SQLite in the home), and the server's first process."""
        if kind == "sqlite":
            yield "", None
            return
        if self._postgres is None:
            raise UnitError(self._why_no_postgres)
        name = self._postgres.new_database()
        try:
            yield self._postgres.url(name), self._postgres.pid
        finally:
            self._postgres.drop_database(name)


def _data_folder(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return words[words.index(b"-D") + 1].decode()


def _end_leftover(build: Path) -> None:
    """Ends the PostgreSQL server of a benchmark that was killed, and takes away what it held."""
    mark = build / "postgres.pid"
    if not mark.exists():
        return
    pid, _, folder = mark.read_text(encoding="utf-8").partition(" ")
    with suppress(FileNotFoundError, ProcessLookupError, ValueError):
        if _data_folder(int(pid)) == folder:
            os.kill(int(pid), signal.SIGQUIT)
            while Path(f"/proc/{pid}").exists():
                time.sleep(0.1)
    shutil.rmtree(Path(folder).parent, ignore_errors=True)
    mark.unlink()


# ---------------------------------------------------------------------------------------------- machine


def machine() -> dict[str, Any]:
    """What the figures are of."""
    processor = next(
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith(("model name", "CPU part"))
    )
    memory = int(Path("/proc/meminfo").read_text(encoding="utf-8").split()[1])
    programs = find_programs()
    told = _said(programs / "postgres", "--version").split() if programs else []
    return {
        "processor": processor,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**20, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "postgres": told[2] if told else "",
        "sqlite": load.sqlite_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "commit": _commit(ROOT),
    }


def _commit(checkout: Path) -> str:
    """What is checked out; with a `+` where it has been changed since."""
    commit = _said("git", "-C", str(checkout), "rev-parse", "--short", "HEAD")
    changed = _said("git", "-C", str(checkout), "status", "--porcelain", "--untracked-files=no")
    return (commit or "no-commit") + ("+" if changed else "")


def _said(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
