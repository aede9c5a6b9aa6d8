"""Processes of their own that sync a tenant, and kill themselves at a moment that is told.

The code of a sync knows nothing of this: in the child, functions that it calls are wrapped by ones
that count. They are forked from a process that has imported what takes long and runs no threads.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from datetime import date
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

PROCESSES: Final = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        "pytest", "pyarrow.parquet", "psycopg", "sqlalchemy", "roster_pipeline_tests.syncing",
        # What a command that syncs would load first, for a second and a half (`terminal`).
        "roster_pipeline.cli.sync", "roster_pipeline.definitions", "roster_pipeline.instance.sqlite",
        "roster_pipeline.providers.oneroster_csv", "upath.implementations.local",
    ]
)  # fmt: skip

COMMIT: Final = "commit"


def die(*_: object) -> None:
    """The end of this process, at once: nothing is closed, flushed or rolled back by it."""
    os.kill(os.getpid(), signal.SIGKILL)


def killed_after_steps(folder: Path, url: str, tenant: str, as_of: date, steps: int) -> BaseProcess:
    """A process that begins a sync and dies after so many of its steps."""
    return _started(_run_steps, folder, url, tenant, as_of, steps)


def killed_at_call(
    folder: Path, url: str, tenant: str, as_of: date, function: str, number: int, *, afterwards: bool = False
) -> BaseProcess:
    """A process that syncs, and dies as `function` (`module:name`) is called for the `number`th time.

    With `afterwards`, it dies when that call has returned. `commit` instead of a function stands for
    the moment before a publishing transaction is committed.
    """
    return _started(_run_until_call, folder, url, tenant, as_of, function, number, afterwards)


def _started(target: Callable[..., None], *given: Any) -> BaseProcess:
    process = PROCESSES.Process(target=target, args=given, daemon=True)
    process.start()
    return process


def _run_steps(folder: Path, url: str, tenant: str, as_of: date, steps: int) -> None:
    from roster_pipeline_tests.syncing import STEPS, deployment

    with deployment(folder, url, upgrade=False) as here:
        sync = here.begin(tenant, as_of)
        for step in list(STEPS.values())[:steps]:
            step(sync)
        die()


def _run_until_call(
    folder: Path, url: str, tenant: str, as_of: date, function: str, number: int, afterwards: bool
) -> None:
    from roster_pipeline_tests.syncing import deployment

    with deployment(folder, url, upgrade=False) as here:
        if function == COMMIT:
            _die_before_commit(here.stores.database)
        else:
            die_at(function, number, afterwards=afterwards)
        here.sync(tenant, as_of)


def _die_before_commit(engine: Any) -> None:
    from sqlalchemy import event

    written: list[str] = []

    def look(_: Any, __: Any, statement: str, *___: Any) -> None:
        # Of all transactions of a sync, only the publishing one moves the register.
        written.append(statement)

    def commit(_: Any) -> None:
        if any("registers" in statement and not statement.startswith("SELECT") for statement in written):
            die()
        written.clear()

    event.listen(engine, "before_cursor_execute", look)
    event.listen(engine, "commit", commit)


def die_at(function: str, number: int, *, afterwards: bool = False) -> None:
    """Lets this process die as `function` is called, wherever the call looks it up."""
    module_name, _, path = function.partition(":")
    owner: Any = importlib.import_module(module_name)
    *holders, name = path.split(".")
    for holder in holders:
        owner = getattr(owner, holder)
    original, calls = getattr(owner, name), 0

    def counted(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number and not afterwards:
            die()
        result = original(*given, **named)
        if calls == number:
            die()
        return result

    setattr(owner, name, counted)
