"""The peers' environment, and a reading by one of them beside a reading of ours.

`peer` is what runs inside that environment. Ours is the extraction step of a sync in a process of its own: it
reads all six collections, proves that they are complete and writes Parquet.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from benchmarks.districts import facts_of
from benchmarks.processes import ROOT
from benchmarks.results import UnitError
from benchmarks.rounds import Deployment
from benchmarks.server import Serving
from roster_pipeline.sandbox.flavours import Version

REQUIREMENTS: Final = Path(__file__).with_name("peers-requirements.txt")
HOME: Final = ROOT / "build" / "peers"
VERSIONS: Final[dict[str, Version]] = {
    "oneroster": "1.1",
    "strongmind-oneroster-client": "1.1",
    "timeback-oneroster": "1.2",
}
"""Peer → the version of OneRoster that it speaks."""
MODULES: Final = {
    "oneroster": "oneroster",
    "strongmind-oneroster-client": "oneroster_client",
    "timeback-oneroster": "timeback_oneroster",
}
PATIENCE: Final = 600
"""Seconds for installing, and for a reading."""


def install() -> dict[str, str]:
    """Installs the peers, unless they are there; gives for each "" or why it cannot be had."""
    done = HOME / ".installed"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if not done.exists() or done.read_text(encoding="utf-8") != wanted:
        why = _installed()
        if why:
            return dict.fromkeys(VERSIONS, why)
        done.write_text(wanted, encoding="utf-8")
    return {peer: _importable(module) for peer, module in MODULES.items()}


def python() -> Path:
    """The environment's interpreter."""
    return HOME / "bin" / "python"


def versions() -> dict[str, Any]:
    """`python` and the `packages` of the environment that are peers.

    Raises:
        UnitError: if there is no environment.
    """
    if not python().exists():
        raise UnitError("there is no environment for the peers")
    told = json.loads(_said(_VERSIONS))
    return {"python": told[0], "packages": {name: told[1][name] for name in VERSIONS if name in told[1]}}


_VERSIONS: Final = """
import importlib.metadata, json, platform
found = {one.name: one.version for one in importlib.metadata.distributions()}
print(json.dumps([platform.python_version(), found]))
"""


def _said(code: str) -> str:
    done = subprocess.run([python(), "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnitError(f"the peers' Python ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout


def _installed() -> str:
    shutil.rmtree(HOME, ignore_errors=True)
    steps = (
        [_newest_python(), "-m", "venv", str(HOME)],
        [str(python()), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement",
         str(REQUIREMENTS)],
    )  # fmt: skip
    for step in steps:
        try:
            done = subprocess.run(step, capture_output=True, text=True, timeout=PATIENCE, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"installing ended with {type(error).__name__}"
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["nothing was said"]
            return f"installing failed: {last[0]}"
    return ""


def _newest_python() -> str:
    """PEERS_PYTHON, or the newest that is found from 3.12 on, or the one that runs this."""
    found = os.environ.get("PEERS_PYTHON")
    return found or next(_pythons(), sys.executable)


def _pythons() -> Iterator[str]:
    for minor in (14, 13, 12):
        name = f"python3.{minor}"
        places = [
            shutil.which(name),
            *map(str, (Path.home() / ".pyenv/versions").glob(f"3.{minor}.*/bin/{name}")),
        ]
        for place in filter(None, places):
            # What pyenv puts on the path may lead nowhere.
            if not subprocess.run([place, "-c", "import venv"], capture_output=True, check=False).returncode:
                yield place


def _importable(module: str) -> str:
    done = subprocess.run([python(), "-c", f"import {module}"], capture_output=True, text=True, check=False)
    if not done.returncode:
        return ""
    if "No module named" in done.stderr and module == "timeback_oneroster":
        return "it needs Python 3.12 or newer, and none was found"
    return f"it cannot be imported: {done.stderr.strip().splitlines()[-1]}"


def read(peer: str, serving: Serving, page_size: int, folder: Path) -> dict[str, Any]:
    """What it costs a peer to read all users and enrolments of the district in `folder`.

    Raises:
        UnitError: if it fails, or did not read them all.
    """
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")
    }
    environment["BENCH_SERVING"] = json.dumps(asdict(serving))
    command = [str(python()), "-W", "ignore", str(Path(__file__).with_name("peer.py")), peer, str(page_size)]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise UnitError(f"{peer} did not end within {PATIENCE} s") from None
    if done.returncode:
        raise UnitError(f"{peer} ended with {done.returncode}: {done.stderr.strip()[-400:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    there = facts_of(folder)["rows"]
    if found["rows"] != {name: there[name] for name in ("users", "enrollments")}:
        raise UnitError(f"{peer} read {found['rows']}, and there are {there}")
    return found | {"rows": sum(found["rows"].values()), "concurrency": 1}


def ours(home: Path, serving: Serving, page_size: int, concurrency: int) -> dict[str, Any]:
    """What our extraction costs, in a home made for it.

    Raises:
        UnitError: if it fails, or leaves a collection unproven.
    """
    made = Deployment.make(home, serving, page_size=page_size, concurrency=concurrency)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.steps", "bench", "powerschool", "2026-10-15", "--extraction-only"],
        cwd=ROOT, env=made.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise UnitError(f"the extraction ended with {done.returncode}: {done.stderr[-600:]}")
    found = json.loads(done.stdout)
    if not found["proven"]:
        raise UnitError("the extraction left a collection unproven")
    return {**found["extraction"], "rows": found["rows"], "concurrency": concurrency}
