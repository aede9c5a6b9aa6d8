"""An empty Debian machine in a folder: made by debootstrap, booted by systemd-nspawn, gone when it is left.

It has its own files, processes and services. It shares the network of the machine that it runs on: ports are
the same, and loopback leads from one into the other. Packages and wheels come from where that machine has
them from; nothing about it is written here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROGRAMS: Final = ("debootstrap", "systemd-nspawn", "nsenter", "setpriv", "apt-get")
# What any Debian machine has and debootstrap's smallest variant has not.
SYSTEM: Final = ("systemd-sysv", "dbus", "ca-certificates")
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BOOT_SECONDS: Final = 60


class NotHereError(Exception):
    """No machine can be made here; the text says what is missing."""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass
class Machine:
    """A booted machine. `folder` is its root; `leader` is its first process, as seen from outside."""

    folder: Path
    leader: int

    def command(self, script: str) -> list[str]:
        """What runs `script` in it as root would type it: bash, that ends at the first failure."""
        enter = [
            "--target",
            str(self.leader),
            "--mount",
            "--uts",
            "--ipc",
            "--pid",
            "--cgroup",
            "--root",
            "--wd",
        ]
        return [
            "nsenter", *enter, "--", "env", "-i", f"PATH={PATH}", "HOME=/root", "LANG=C.UTF-8",
            "bash", "-euo", "pipefail", "-c", script,
        ]  # fmt: skip

    def run(self, script: str, seconds: float = 600) -> Done:
        """Runs `script` to its end."""
        done = subprocess.run(
            self.command(script), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds,
            check=False,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)


@contextmanager
def booted() -> Iterator[Machine]:
    """An empty machine that runs.

    Raises:
        NotHereError: this is no Debian machine, or we are not root on it, or a program is missing.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        raise NotHereError("making a machine needs root on a Debian machine")
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        raise NotHereError(
            f"{', '.join(missing)} missing: on Debian, apt-get install debootstrap systemd-container"
        )
    with tempfile.TemporaryDirectory(prefix="roster-machine-") as folder:
        root = Path(folder) / "root"
        binds = _make(root)
        with _boot(root, binds) as machine:
            yield machine


def _make(root: Path) -> list[Path]:
    """Makes the machine's files; gives back what of the machine around it pip must find at the same place."""
    sources = _sources()
    mirror, suite = sources[0][:2]
    log = root.parent / "debootstrap.log"
    with log.open("wb") as file:
        done = subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={','.join(SYSTEM)}", suite, str(root), mirror],
            stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=False,
        )  # fmt: skip
    if done.returncode != 0:
        raise AssertionError(f"debootstrap failed:\n{log.read_text(encoding='utf-8')[-2000:]}")
    lines = [f"deb {address} {name} {component}\n" for address, name, component in sources]
    (root / "etc/apt/sources.list").write_text("".join(lines), encoding="utf-8")
    acquire = re.findall(r"(?m)^Acquire::(?:https?|Check-|Retries).*$", _said("apt-config", "dump"))
    (root / "etc/apt/apt.conf.d/99machine").write_text("\n".join(acquire) + "\n", encoding="utf-8")
    settings = _pip_settings()
    text = "".join(f"{name} = {value}\n" for name, value in settings.items())
    (root / "etc/pip.conf").write_text(f"[global]\n{text}", encoding="utf-8")
    return _named(settings)


def _sources() -> list[tuple[str, str, str]]:
    """Debian's own archives as apt knows them here: address, suite, component; the main one first."""
    told = _said(
        "apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI) $(RELEASE) $(CODENAME) $(COMPONENT)",
        "Created-By: Packages",
    )  # fmt: skip
    found = [line.split()[1:] for line in told.splitlines() if line.startswith("Debian ")]
    release = re.search(r"(?m)^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text(encoding="utf-8"))
    if not found or release is None:
        raise NotHereError("apt knows no archive of Debian here; run apt-get update")
    sources = sorted({(address, codename, part) for address, _, codename, part in found})
    return sorted(sources, key=lambda source: source[1] != release[1] or source[2] != "main")


def _pip_settings() -> dict[str, str]:
    """Everything that pip is told here, by files and by the environment, which wins."""
    told = _said(sys.executable, "-m", "pip", "config", "list")
    lines = re.findall(r"(?m)^(global|:env:)\.([\w-]+)='(.*)'$", told)
    return {name: value for scope in ("global", ":env:") for where, name, value in lines if where == scope}


def _named(settings: dict[str, str]) -> list[Path]:
    """The files and folders of this machine that pip's settings name."""
    words = [word for value in settings.values() for word in value.replace("\\n", " ").split()]
    places = set()
    for word in words:
        if word.startswith("file://"):
            places.add(Path(word.removeprefix("file://")).parent)  # an index leads to files beside it
        elif word.startswith("/"):
            places.add(Path(word))
    return sorted(place for place in places if place.exists() and place != Path("/"))


@contextmanager
def _boot(root: Path, binds: list[Path]) -> Iterator[Machine]:
    log = root.parent / "console.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            # Should we be killed, the kernel kills it, and it takes the machine with it.
            ["setpriv", "--pdeathsig", "KILL", "systemd-nspawn", "--boot", f"--directory={root}",
             f"--machine=roster-{os.getpid()}", "--register=no", "--keep-unit", "--resolv-conf=copy-host",
             "--link-journal=no", "--console=pipe", *(f"--bind-ro={place}" for place in binds)],
            stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True,
        )  # fmt: skip
    try:
        yield _awake(root, process, log)
    finally:
        process.terminate()  # powers it off
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _awake(root: Path, process: subprocess.Popen[bytes], log: Path) -> Machine:
    """The machine once its services are up."""
    deadline = time.monotonic() + BOOT_SECONDS
    state = "nothing"
    while time.monotonic() < deadline and process.poll() is None:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="utf-8")
        if children.split():
            machine = Machine(root, int(children.split()[0]))
            state = machine.run("systemctl is-system-running || true").out.strip()
            if state in ("running", "degraded"):
                return machine
        time.sleep(0.3)
    text = log.read_text(encoding="utf-8", errors="replace")[-2000:]
    raise NotHereError(f"systemd-nspawn could not boot it here: state {state!r}\n{text}")


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
