"""Asks whether anything that is pinned has a known vulnerability; says plainly where nobody could be asked.

    python .ci/audit.py requirements.lock

pip-audit is installed into build/audit, an environment of its own. It ends well, and says that it knows of no
vulnerability, also where a registry answered for none of the packages; so what counts here is how many it was
told about. Ends with 1 for a known vulnerability, and with 0 otherwise.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PIP_AUDIT: Final = "pip-audit==2.10.1"
HOME: Final = Path("build/audit")
SERVICES: Final = ("pypi", "osv")
PATIENCE: Final = 180
"""Seconds for each step: CI must not wait for a registry that does not answer."""


@dataclass(frozen=True)
class Told:
    """What a service knew: packages that it was asked about in vain, and vulnerabilities, a line each."""

    audited: int
    unknown: tuple[str, ...]
    vulnerable: tuple[str, ...]


def read(report: dict[str, Any]) -> Told:
    """What pip-audit's JSON says."""
    packages = report["dependencies"]
    return Told(
        audited=sum("skip_reason" not in one for one in packages),
        unknown=tuple(one["name"] for one in packages if "skip_reason" in one),
        vulnerable=tuple(
            f"{one['name']} {one['version']}: {found['id']}, mended in "
            f"{', '.join(found['fix_versions']) or 'no version yet'}"
            for one in packages
            for found in one.get("vulns", ())
        ),
    )


def ask(service: str, lock: Path) -> Told | None:
    """What a service says of everything that is pinned; None where it could not be reached."""
    command = [
        str(HOME / "bin" / "pip-audit"), "--vulnerability-service", service, "--requirement", str(lock),
        "--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off", "--timeout", "10",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)  # noqa: S603
        told = read(json.loads(done.stdout))
    except (subprocess.TimeoutExpired, OSError, ValueError):
        return None
    return told if told.audited else None


def install() -> bool:
    """Makes the environment, once; False where pip-audit cannot be had."""
    if (HOME / "bin" / "pip-audit").exists():
        return True
    venv.create(HOME, with_pip=True, clear=True)
    command = [str(HOME / "bin" / "python"), "-m", "pip", "install", "--quiet", PIP_AUDIT]
    try:
        done = subprocess.run(command, timeout=PATIENCE, check=False, capture_output=True)  # noqa: S603
        return done.returncode == 0
    except subprocess.TimeoutExpired:
        return False


def main(lock: Path) -> int:
    """Asks one service after the other until one answers; the exit code."""
    if install():
        for service in SERVICES:
            told = ask(service, lock)
            if told is not None:
                print(
                    f"{told.audited} packages audited by {service}, {len(told.vulnerable)} vulnerabilities."
                )
                for line in told.vulnerable:
                    print(f"  {line}")
                if told.unknown:
                    print(f"Not audited, because {service} does not know them: {', '.join(told.unknown)}")
                return 1 if told.vulnerable else 0
        print(f"NOT AUDITED: no database of vulnerabilities could be reached ({', '.join(SERVICES)}).")
    else:
        print("NOT AUDITED: pip-audit could not be installed.")
    print("Pinned are:")
    for line in lock.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            print(f"  {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
