"""A deployment as in production, on loopback: PostgreSQL, code server, daemon; for Celery Redis and workers.

Its parts are processes of their own, started as `deploy/` starts them, from `deploy/postgres/dagster.yaml`.
Here belongs how they are started, ended and asked what they cost; what becomes of the syncs, whoever uses it
says.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import dagster as dg
import httpx
import yaml

from roster_pipeline.store import database
from roster_pipeline.store.home import Home, Stores
from roster_pipeline_tests.graph.ui import Ui
from roster_pipeline_tests.postgres_server import PostgresServer, find_programs, free_port, running
from roster_pipeline_tests.syncing import environment

T = TypeVar("T")

PROJECT: Final = Path(__file__).parents[1]
DEPLOY: Final = PROJECT / "deploy"
_TICK: Final = os.sysconf("SC_CLK_TCK")
DURABLE: Final = {
    "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "shared_buffers": "128MB",
}  # fmt: skip
"""PostgreSQL's own defaults, where a measurement is to be of a server that keeps what it was given."""


@dataclass
class Production:
    """What runs, by name, and how to reach it."""

    folder: Path
    environ: dict[str, str]
    server: PostgresServer
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def command(self, *words: str, patience: float = 600) -> str:
        """A `roster-pipeline` command's output; raises if it fails for a reason of its own."""
        program = str(Path(sys.executable).with_name("roster-pipeline"))
        return self._run([program, *words], patience)

    def dagster(self, *words: str) -> str:
        """A `dagster` command's output."""
        return self._run([sys.executable, "-m", "dagster", *words], 120)

    def _run(self, words: Sequence[str], patience: float) -> str:
        done = subprocess.run(
            words, cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=patience,
            check=False,
        )  # fmt: skip
        if done.returncode not in (0, 3):
            raise RuntimeError(f"{' '.join(words[:4])} ended with {done.returncode}:\n{done.stderr[-3000:]}")
        return done.stdout

    def start(self, name: str, words: Sequence[str], *, prefix: Sequence[str] = (), **more: str) -> None:
        """Starts a process in a session of its own, with its log in the folder."""
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [*prefix, *words], cwd=self.folder, env=self.environ | more, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def kill(self, name: str) -> None:
        """Ends a process and all that it started, at once: as a machine that loses its power."""
        os.killpg(self.processes[name].pid, signal.SIGKILL)
        self.processes.pop(name).wait()

    def log(self, name: str) -> str:
        """The end of a process's log."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")[-4000:]

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """Dagster's instance, as a process of its own would open it."""
        kept = {
            name: os.environ.get(name) for name in self.environ if name.startswith(("ROSTER_", "DAGSTER_"))
        }
        os.environ.update({name: self.environ[name] for name in kept})
        try:
            with dg.DagsterInstance.from_config(self.environ["DAGSTER_HOME"]) as instance:
                yield instance
        finally:
            for name, value in kept.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})

    def stores(self) -> Stores:
        """The stores; whoever calls this closes the database."""
        return Home.find(self.environ).stores()

    def until(self, look: Callable[[], T | None], patience: float, what: str) -> T:
        """What `look` gives, once it is something; each process must live."""
        deadline = time.monotonic() + patience
        while (found := look()) is None:
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{name} ended with {process.returncode}:\n{self.log(name)}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: nothing came of it in {patience} s")
            time.sleep(0.2)
        return found

    def cpu(self) -> dict[str, float]:
        """CPU seconds of each process until now, with all that it started."""
        return {name: cpu_of(process.pid) for name, process in self.processes.items()} | {
            "postgres": cpu_of(self.server.pid)
        }


@contextmanager
def production(
    folder: Path,
    *,
    at_once: int = 4,
    workers: Mapping[str, Sequence[str]] = {},
    processes: int = 2,
    postgres: Mapping[str, str] = {},
    settings: Mapping[str, str] = {},
) -> Iterator[Production]:
    """All of it, until the end of the block.

    Args:
        folder: For everything that it writes.
        at_once: Runs at once.
        workers: Celery workers by name, each with the words that its command begins with; none: runs are
            processes that the code server starts.
        processes: How many runs a worker has at once.
        postgres: Settings of the server that differ from the tests' own.
        settings: More environment.
    """
    programs = find_programs()
    if programs is None:
        raise RuntimeError("PostgreSQL's programs are not installed: apt-get install postgresql")
    with running(programs, postgres) as server, ExitStack() as ended:
        made = Production(folder, _environment(folder, server, settings), server)
        ended.callback(_end, made)
        engine = database.connect(made.environ["ROSTER_DATABASE_URL"])
        database.upgrade(engine)
        engine.dispose()
        _configure(made, at_once, with_workers=bool(workers))
        if workers:
            _redis(made)
        port = free_port()
        made.environ["ROSTER_CODE_PORT"] = str(port)
        made.start(
            "code server",
            [sys.executable, "-m", "dagster", "code-server", "start", "--module-name",
             "roster_pipeline.definitions", "--location-name", "roster_pipeline",
             "--host", "127.0.0.1", "--port", str(port)],
        )  # fmt: skip
        made.until(lambda: _answers(port), 60, "the code server")
        for name, prefix in workers.items():
            start_worker(made, name, processes, prefix)
        made.start(
            "daemon",
            [sys.executable, "-m", "dagster._daemon", "run", "--workspace", str(DEPLOY / "workspace.yaml")],
        )
        yield made


@contextmanager
def webserver(made: Production) -> Iterator[Ui]:
    """The UI of the deployment."""
    port = free_port()
    made.start(
        "webserver",
        [sys.executable, "-m", "dagster_webserver", "--workspace", str(DEPLOY / "workspace.yaml"),
         "--host", "127.0.0.1", "--port", str(port)],
    )  # fmt: skip
    fresh = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, limits=fresh) as client:
        made.until(lambda: _answers(port), 60, "the webserver")
        yield Ui(client)


def start_worker(made: Production, name: str, processes: int, prefix: Sequence[str] = ()) -> None:
    """Starts a Celery worker as `deploy/celery/README.md` says it."""
    made.start(
        name,
        [sys.executable, "-m", "celery", "-A", "dagster_celery.app", "worker",
         "--hostname", f"{name}@%h", "--concurrency", str(processes)],
        prefix=prefix,
        PYTHONPATH=os.pathsep.join([str(DEPLOY / "celery"), str(PROJECT)]),
    )  # fmt: skip


def _environment(folder: Path, server: PostgresServer, settings: Mapping[str, str]) -> dict[str, str]:
    home = folder / "home"
    (home / "dagster").mkdir(parents=True)
    given = environment(
        ROSTER_HOME=str(home),
        ROSTER_DATABASE_URL=server.url(server.new_database()),
        DAGSTER_HOME=str(home / "dagster"),
        DAGSTER_POSTGRES_HOST=server.host,
        DAGSTER_POSTGRES_PORT=str(server.port),
        DAGSTER_POSTGRES_DB=server.new_database(),
        DAGSTER_POSTGRES_USER=server.user,
        DAGSTER_POSTGRES_PASSWORD=server.password,
        PYTHONPATH=str(PROJECT),
        **settings,
    )
    del given["PYTHONDONTWRITEBYTECODE"]  # an installed program is compiled once, and not by each run
    return given


def _configure(made: Production, at_once: int, *, with_workers: bool) -> None:
    """Dagster's configuration, as an operator makes it from `deploy/`."""
    text = (DEPLOY / "postgres" / "dagster.yaml").read_text(encoding="utf-8")
    if with_workers:
        text += (DEPLOY / "celery" / "run_launcher.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    found["concurrency"]["runs"]["max_concurrent_runs"] = at_once
    Path(made.environ["DAGSTER_HOME"], "dagster.yaml").write_text(yaml.safe_dump(found), encoding="utf-8")


def _redis(made: Production) -> None:
    program = shutil.which("redis-server")
    if program is None:
        raise RuntimeError("Redis is not installed: apt-get install redis-server")
    port, password = free_port(), secrets.token_hex(12)
    made.environ["ROSTER_BROKER_URL"] = f"redis://:{password}@127.0.0.1:{port}/0"
    made.start(
        "redis",
        [program, "--bind", "127.0.0.1", "--port", str(port), "--requirepass", password, "--save", "",
         "--dir", str(made.folder)],
    )  # fmt: skip
    made.until(lambda: _answers(port), 20, "Redis")


def _end(made: Production) -> None:
    """Ends what runs, those that start others first."""
    for process in reversed(made.processes.values()):
        process.send_signal(signal.SIGTERM)
    for process in reversed(made.processes.values()):
        with suppress(subprocess.TimeoutExpired):
            process.wait(15)
        try:
            os.killpg(process.pid, signal.SIGKILL)  # what it has left behind
        except ProcessLookupError:
            continue
        process.wait()


def _answers(port: int) -> bool | None:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0 or None


def cpu_of(pid: int) -> float:
    """User and system seconds of a process, of its ended children and of those that live."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        children = [
            int(child)
            for thread in Path(f"/proc/{pid}/task").iterdir()
            for child in (thread / "children").read_text(encoding="utf-8").split()
        ]
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(map(int, fields[11:15])) / _TICK + sum(cpu_of(child) for child in children)


def sandbox(made: Production, name: str, *words: str) -> dict[str, str]:
    """A sandbox server as a process of the deployment; its addresses."""
    made.start(name, [sys.executable, "-m", "roster_pipeline.sandbox", *words, "--json"])
    log = made.folder / f"{name}.log"

    def told() -> dict[str, str] | None:
        for line in log.read_text(encoding="utf-8").splitlines():
            if line.startswith("{"):
                found: dict[str, str] = json.loads(line)
                return found
        return None

    return made.until(told, 120, name)
