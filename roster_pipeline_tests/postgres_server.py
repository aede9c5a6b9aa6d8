"""A PostgreSQL server of the tests' own: a new cluster in a temporary folder, on a free port of loopback.

Only starting and stopping it belongs here; the fixtures are in `conftest.py`.
"""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

# Durability is for data that outlive a test; nothing here does.
SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "log_min_messages": "warning",
}
NEEDED: Final = ("initdb", "pg_ctl", "postgres")


def find_programs() -> Path | None:
    """The folder of the newest PostgreSQL's programs; None where they are not all there."""
    folders = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"),  # Debian keeps them out of the PATH
        key=lambda folder: int(folder.parent.name) if folder.parent.name.isdecimal() else 0,
        reverse=True,
    )
    if pg_config := shutil.which("pg_config"):
        asked = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False)
        if asked.returncode == 0:
            folders.append(Path(asked.stdout.strip()))
    if found := shutil.which("pg_ctl"):
        folders.append(Path(found).resolve().parent)
    return next((folder for folder in folders if all((folder / name).exists() for name in NEEDED)), None)


@dataclass
class PostgresServer:
    """A running server; `host`, `port`, `user` and `password` are for whoever makes URLs of another kind."""

    port: int
    password: str
    pid: int
    host: str = "127.0.0.1"
    user: str = "postgres"
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def new_database(self, template: str = "template1") -> str:
        """The name of a database that nobody has used: empty, or a copy of one without connections."""
        name = f"test_{next(self._numbers)}"
        with self._connect() as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                    sql.Identifier(name), sql.Identifier(template)
                )
            )
        return name

    def drop_database(self, name: str) -> None:
        """Takes a database away, also under connections that a pool still holds."""
        with self._connect() as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )

    def url(self, database: str, driver: str = "psycopg") -> str:
        """The SQLAlchemy URL of a database; Dagster's own storage wants the driver `psycopg2`."""
        return f"postgresql+{driver}://{self.user}:{self.password}@{self.host}:{self.port}/{database}"

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname="postgres",
            autocommit=True,
        )


@contextmanager
def running(programs: Path, settings: Mapping[str, str] = {}) -> Iterator[PostgresServer]:
    """A server that runs until the end of the block; `settings` go before the tests' own.

    PostgreSQL refuses to run as root; there it runs as the user that Debian's package makes.
    """
    user = "postgres" if os.geteuid() == 0 else None
    # Not below pytest's own folder: that one is closed to other users, and too long for a socket's path.
    folder = Path(tempfile.mkdtemp(prefix="roster-pg-"))
    password = secrets.token_hex(12)
    try:
        (folder / "password").write_text(password, encoding="ascii")
        if user:
            shutil.chown(folder, user)
            shutil.chown(folder / "password", user)
        data = folder / "data"
        _run(
            [programs / "initdb", "--pgdata", data, "--username", "postgres", "--pwfile", folder / "password",
             "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"],
            folder, user,
        )  # fmt: skip
        port = _start(programs, data, folder, user, SETTINGS | dict(settings))
        try:
            pid = int((data / "postmaster.pid").read_text(encoding="ascii").split()[0])
            yield PostgresServer(port=port, password=password, pid=pid)
        finally:
            # Whatever still hangs on it is of no use any more.
            _run([programs / "pg_ctl", "stop", "-D", data, "-m", "immediate", "-w"], folder, user)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(programs: Path, data: Path, folder: Path, user: str | None, settings: Mapping[str, str]) -> int:
    """Starts the server on a free port and gives the port back once it answers."""
    settings = {**settings, "unix_socket_directories": str(folder)}
    for attempt in range(3):  # between asking for a free port and taking it, somebody else may
        port = free_port()
        options = " ".join(f"-c {name}={value}" for name, value in ({**settings, "port": str(port)}).items())
        start: list[str | Path] = [programs / "pg_ctl", "start", "-w", "-t", "60", "-D", data]
        try:
            _run([*start, "-l", folder / "log", "-o", options], folder, user)
        except subprocess.CalledProcessError as error:
            if attempt == 2:
                log = (folder / "log").read_text(encoding="utf-8", errors="replace")
                raise RuntimeError(f"PostgreSQL did not start: {error.stdout}\n{log}") from error
        else:
            return port
    raise AssertionError("unreachable")


def _run(command: Sequence[str | Path], folder: Path, user: str | None) -> None:
    with (folder / "output").open("a+", encoding="utf-8") as output:
        # To a file: the server inherits it, and a pipe would stay open as long as the server runs.
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            user=user,
            group=user,
            extra_groups=[] if user else None,
            check=False,
        )
        if done.returncode:
            output.seek(0)
            raise subprocess.CalledProcessError(
                done.returncode, [str(part) for part in command], output.read()
            )


def free_port() -> int:
    """A port of loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
