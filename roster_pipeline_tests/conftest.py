"""What several test modules share: a clean environment, loopback only, shared data, PostgreSQL."""

from __future__ import annotations

import compileall
import gc
import ipaddress
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

import roster_pipeline
from roster_pipeline_tests.postgres_server import PostgresServer, find_programs, running

SHARED = Path(__file__).resolve().parents[2] / "shared"
OURS = ("ROSTER_", "DAGSTER_")

# No deadline: a shared machine is slow at times. In CI the same examples every time, so that a red build is
# about the change; on a laptop new ones, which is what finds things.
hypothesis.settings.register_profile("laptop", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "laptop")


def pytest_configure(config: pytest.Config) -> None:
    """Takes the caller's settings away before any fixture runs: tests never touch somebody's home."""
    # What is collected stays until the end, and a fifth of the time went into looking through it for rubbish.
    gc.disable()
    if not hasattr(config, "workerinput"):  # once, and not in each of xdist's workers
        # The processes that tests start write no bytecode, and without any each would compile the package.
        for package in (Path(roster_pipeline.__file__).parent, Path(__file__).parent):
            compileall.compile_dir(package, quiet=1, rx=re.compile(r"/test_[^/]*$"))
    for name in [name for name in os.environ if name.startswith(OURS)]:
        del os.environ[name]
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
    sys.addaudithook(_stay_on_loopback)


def _stay_on_loopback(event: str, args: tuple[Any, ...]) -> None:
    """Ends a test that connects to another machine: what passes here must not depend on a network."""
    if event != "socket.connect" or args[0].family not in (socket.AF_INET, socket.AF_INET6):
        return
    host = str(args[1][0]).partition("%")[0]
    try:
        inside = ipaddress.ip_address(host).is_loopback
    except ValueError:
        inside = host == "localhost"
    if not inside:
        raise RuntimeError(f"A test tried to connect to {host}; tests use loopback only.")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what needs the server, so that `-m "not postgres"` leaves out all of it and nothing else.

    Orders the files, so that no worker begins a long one when the others have nothing left to do: those with
    a slow test, then what lies high in the tree and runs whole syncs, then what tests one rule.
    """
    for item in items:
        if "postgres_server" in getattr(item, "fixturenames", ()):
            item.add_marker("postgres")
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, len(item.path.parts)))


def pytest_collection_finish() -> None:
    """What is there by now is no rubbish later either, and for new rubbish it is looked less often.

    At the usual 700 objects, looking took a fifth of the time of what works on many small tables.
    """
    gc.freeze()
    gc.set_threshold(20_000)
    gc.enable()


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What one test sets, the next does not see; whoever names no home gets one of the test's own."""
    for name in [name for name in os.environ if name.startswith(OURS)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")
    monkeypatch.setenv("ROSTER_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real rosters beside the checkout; skips where the checkout came without it."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("the shared rosters (../shared/data) are not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for all tests that are marked `postgres`; each takes a database of its own from it."""
    programs = find_programs()
    if programs is None:
        reason = "PostgreSQL's programs (initdb, pg_ctl) are not installed: apt-get install postgresql"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    with running(programs) as server:
        yield server


@pytest.fixture
def new_postgres_database(postgres_server: PostgresServer) -> Iterator[Callable[[], str]]:
    """Makes a fresh database at each call and gives its SQLAlchemy URL (`postgresql+psycopg://…`)."""
    made: list[str] = []

    def make() -> str:
        made.append(postgres_server.new_database())
        return postgres_server.url(made[-1])

    yield make
    for name in made:
        postgres_server.drop_database(name)


@pytest.fixture
def postgres_url(new_postgres_database: Callable[[], str]) -> str:
    """The SQLAlchemy URL (`postgresql+psycopg://…`) of one fresh database."""
    return new_postgres_database()
