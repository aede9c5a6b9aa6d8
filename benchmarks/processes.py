"""What a process and its children cost, seen from outside, from `/proc`: CPU and memory, at any moment.

Nothing is put into what is measured: it is watched while it runs.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

ROOT: Final = Path(__file__).parents[1]
INTERVAL: Final = 0.1
"""Seconds between two looks at a process."""
_TICK: Final = os.sysconf("SC_CLK_TCK")


def cpu_of(pid: int) -> float:
    """User and system seconds of a process, of its ended children and of those that live; 0 if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        children = _children(pid)
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(map(int, fields[11:15])) / _TICK + sum(map(cpu_of, children))


def memory_of(pid: int) -> tuple[int, int]:
    """KiB of the largest of a process and its children: resident now, and at most so far (`VmHWM`)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
        children = _children(pid)
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0
    told = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("VmRSS:", "VmHWM:"))}
    found = [(int(told.get("VmRSS", 0)), int(told.get("VmHWM", 0))), *map(memory_of, children)]
    return max(now for now, _ in found), max(most for _, most in found)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += map(int, (thread / "children").read_text(encoding="utf-8").split())
        except (FileNotFoundError, ProcessLookupError):  # a thread that has ended
            continue
    return found


@dataclass(frozen=True, slots=True)
class Look:
    """How things stood at a moment (seconds since 1970): CPU of the process and of the database, memory."""

    at: float
    cpu_s: float
    database_cpu_s: float
    resident_kib: int


@dataclass(frozen=True, slots=True)
class Watched:
    """A command that has ended, and what it cost from its start to its end.

    `cpu_s` is the kernel's own account of the process and its children, `database_cpu_s` what the database's
    processes took meanwhile; `peak_mib` is of the largest process.
    """

    code: int
    output: str
    errors: str
    wall_s: float
    cpu_s: float
    database_cpu_s: float
    peak_mib: int
    looks: list[Look]

    def between(self, begin: float, end: float) -> dict[str, float]:
        """What lies between two moments; CPU by the nearest looks, so to a tenth of a second."""
        inside = [look for look in self.looks if begin - INTERVAL <= look.at <= end + INTERVAL]
        first, last = self._at(begin), self._at(end)
        return {
            "wall_s": round(end - begin, 2),
            "cpu_s": round(last.cpu_s - first.cpu_s, 2),
            "database_cpu_s": round(last.database_cpu_s - first.database_cpu_s, 2),
            "peak_mib": max((look.resident_kib for look in inside), default=0) // 1024,
        }

    def _at(self, moment: float) -> Look:
        return min(self.looks, key=lambda look: abs(look.at - moment))


def _keep(told: dict[str, str], name: str, pipe: IO[str]) -> None:
    with pipe:
        told[name] = pipe.read()


def watch(command: Sequence[str], environment: Mapping[str, str], *, database: int | None = None) -> Watched:
    """Runs a command to its end; `database` is the id of the database server's first process, if any."""
    looks: list[Look] = []
    peaks: list[int] = []
    over = threading.Event()
    began, before = time.monotonic(), cpu_of(database) if database else 0.0
    process = subprocess.Popen(
        command, cwd=ROOT, env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip

    def look() -> None:
        while True:
            resident, most = memory_of(process.pid)
            used = cpu_of(process.pid), cpu_of(database) if database else 0.0
            if most:  # 0 where it has ended already
                peaks.append(most)
                looks.append(Look(time.time(), *used, resident))
            if over.wait(INTERVAL):
                return

    told: dict[str, str] = {}
    threads = [threading.Thread(target=look)]
    for name, pipe in (("out", process.stdout), ("err", process.stderr)):
        if pipe is not None:
            threads.append(threading.Thread(target=_keep, args=(told, name, pipe)))
    for thread in threads:
        thread.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        if process.returncode is None:
            process.kill()
        over.set()
        for thread in threads:
            thread.join()
    return Watched(
        code=process.returncode,
        output=told.get("out", ""),
        errors=told.get("err", ""),
        wall_s=round(wall, 2),
        cpu_s=round(usage.ru_utime + usage.ru_stime, 2),
        database_cpu_s=round(cpu_of(database) - before, 2) if database else 0.0,
        peak_mib=max(peaks, default=0) // 1024,
        looks=looks,
    )
