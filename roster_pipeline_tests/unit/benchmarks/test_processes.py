"""What a command costs, seen from outside: its children too, and each part of it."""

from __future__ import annotations

import os
import sys
import time

import pytest

from benchmarks.processes import cpu_of, memory_of, watch

BUSY = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass\n"


def test_cpu_and_memory_are_those_of_the_command_and_its_children() -> None:
    child = f"held = bytearray(200 << 20)\n{BUSY.format(seconds=0.6)}"
    start = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])"
    code = f"{start}\n{BUSY.format(seconds=0.3)}"
    found = watch([sys.executable, "-c", code], os.environ)
    assert found.code == 0
    assert 0.9 <= found.cpu_s < 3
    assert found.wall_s >= 0.9
    assert 200 <= found.peak_mib < 400
    assert found.database_cpu_s == 0


def test_the_parts_of_a_command_are_told_apart() -> None:
    code = f"import time\n{BUSY.format(seconds=1.5)}\nprint(time.time(), flush=True)\ntime.sleep(1.5)"
    found = watch([sys.executable, "-c", code], os.environ)
    middle = float(found.output)
    first, second = (
        found.between(found.looks[0].at, middle), found.between(middle, found.looks[-1].at),
    )  # fmt: skip
    # The process that looks may itself have to wait for its turn.
    assert first["cpu_s"] >= 0.9
    assert second["cpu_s"] <= 0.5
    assert second["wall_s"] == pytest.approx(1.5, abs=0.5)


def test_another_process_is_watched_meanwhile() -> None:
    begun = time.process_time()
    found = watch([sys.executable, "-c", BUSY.format(seconds=0.3)], os.environ, database=os.getpid())
    assert found.database_cpu_s >= 0.3, "this process, whose child the command is"
    assert time.process_time() - begun < found.database_cpu_s


def test_what_it_says_and_how_it_ends_is_kept() -> None:
    found = watch([sys.executable, "-c", "import sys; print('x' * 300000); sys.exit('why')"], os.environ)
    assert (found.code, len(found.output), found.errors) == (1, 300001, "why\n")


def test_a_process_that_is_gone_costs_nothing() -> None:
    assert cpu_of(2**22 + 1) == 0.0
    assert memory_of(2**22 + 1) == (0, 0)
