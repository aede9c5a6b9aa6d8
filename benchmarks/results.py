"""What was measured so far: one JSON line a unit of work, appended the moment that it is done.

A unit is named as a path (`night/10k/postgres/2/unchanged`). Whoever starts again finds what there is for the
same sources and settings, and goes on with the first unit that is missing. A unit that failed is there, too.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
WRITERS: Final = frozenset({"__main__.py", "report.py", "chart.py", "night.py", "README.md"})
"""What a result does not depend on: it only says what is measured, or tells of it."""

Result = dict[str, Any]


class UnitError(Exception):
    """Something that was to be measured ended with an error; the message says which and how."""


def tell(text: str) -> None:
    """A line for whoever waits."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


class Results:
    """The file of results; of other sources or settings it keeps the lines, and does not see them.

    Args:
        file: Made where it is not there yet.
        fingerprint: Of the sources and the settings.
        retry: Whether units that failed are missing.
    """

    def __init__(self, file: Path, fingerprint: str, *, retry: bool = False) -> None:
        self._file, self.fingerprint = file, fingerprint
        self._found = {one["unit"]: one for one in _lines(file) if one["fingerprint"] == fingerprint}
        if retry:
            self._found = {unit: one for unit, one in self._found.items() if one["ok"]}

    def __contains__(self, unit: str) -> bool:
        return unit in self._found

    def __getitem__(self, unit: str) -> Result:
        return self._found[unit]

    def once(self, unit: str, measure: Callable[[], Mapping[str, Any]]) -> bool:
        """Measures a unit that is missing, and keeps its figures, or why there are none.

        Returns:
            Whether the unit has figures.
        """
        if unit not in self:
            tell(unit)
            try:
                figures = measure()
            except UnitError as error:
                self.fail(unit, str(error))
            except Exception as error:  # the others are worth having whatever ended this one
                self.fail(unit, f"{type(error).__name__}: {error}")
            else:
                self._append({"unit": unit, "ok": True, **figures})
        return bool(self[unit]["ok"])

    def fail(self, unit: str, why: str) -> None:
        """Keeps why a unit could not be measured."""
        tell(f"{unit} failed: {why}")
        self._append({"unit": unit, "ok": False, "why": why})

    def _append(self, result: Result) -> None:
        result = {**result, "fingerprint": self.fingerprint, "at": round(time.time())}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        whole = not self._file.exists() or self._file.read_bytes()[-1:] in (b"", b"\n")
        with self._file.open("a", encoding="utf-8") as file:
            # Behind a line that was cut off, a new one begins.
            file.write(("" if whole else "\n") + json.dumps(result) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._found[result["unit"]] = result

    def all(self) -> list[Result]:
        """Everything there is for the fingerprint, in the order in which it was measured."""
        return list(self._found.values())


def _lines(file: Path) -> Iterator[Result]:
    if not file.exists():
        return
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            found = json.loads(line)
        except ValueError:  # cut off when the machine stopped
            continue
        if isinstance(found, dict) and {"unit", "fingerprint"} <= found.keys():
            yield found


def newest_fingerprint(file: Path) -> str:
    """That of the last line; "" where there is none."""
    return next((str(one["fingerprint"]) for one in reversed(list(_lines(file)))), "")


def fingerprint(settings: Mapping[str, Any]) -> str:
    """A word for the package's sources, the benchmark's and the settings: a result is good for these."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    package = sorted((ROOT / "roster_pipeline").rglob("*.py"))
    own = [file for file in sorted((ROOT / "benchmarks").iterdir()) if file.suffix in (".py", ".txt")]
    for file in [*package, *(file for file in own if file.name not in WRITERS)]:
        digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
