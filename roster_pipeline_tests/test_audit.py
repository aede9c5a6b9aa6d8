"""What is made of pip-audit's answers: it ends well also where it was told nothing."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1]


def audit() -> Any:
    spec = importlib.util.spec_from_file_location("audit", PROJECT / ".ci" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["audit"] = module
    spec.loader.exec_module(module)
    return module


CLEAN = {"name": "click", "version": "8.2.1", "vulns": []}
BAD = {"name": "old", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": []}]}
UNKNOWN = {"name": "yarl", "skip_reason": "Dependency not found on PyPI and could not be audited: yarl (1)"}


def test_what_was_skipped_was_not_audited() -> None:
    told = audit().read({"dependencies": [UNKNOWN], "fixes": []})
    assert (told.audited, told.unknown, told.vulnerable) == (0, ("yarl",), ())


def test_a_vulnerability_is_told_with_the_version_that_mends_it() -> None:
    told = audit().read({"dependencies": [CLEAN, BAD, UNKNOWN], "fixes": []})
    assert (told.audited, told.unknown) == (2, ("yarl",))
    assert told.vulnerable == ("old 1.0: PYSEC-1, mended in 1.1",)


def run(folder: Path, answer: Any) -> subprocess.CompletedProcess[str]:
    """The script in a folder whose build/audit answers as a pip-audit that was told this."""
    program = folder / "build" / "audit" / "bin" / "pip-audit"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\ncat <<'EOF'\n{json.dumps(answer)}\nEOF\n", encoding="utf-8")
    program.chmod(0o755)
    (folder / "requirements.lock").write_text("# pinned\nyarl==1.25.1\n", encoding="utf-8")
    command = [sys.executable, str(PROJECT / ".ci" / "audit.py"), "requirements.lock"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_where_nobody_answers_it_says_so_and_lists_what_is_pinned(tmp_path: Path) -> None:
    done = run(tmp_path, {"dependencies": [UNKNOWN], "fixes": []})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "NOT AUDITED: no database of vulnerabilities could be reached (pypi, osv).",
        "Pinned are:",
        "  yarl==1.25.1",
    ]


def test_a_known_vulnerability_fails(tmp_path: Path) -> None:
    done = run(tmp_path, {"dependencies": [CLEAN, BAD], "fixes": []})
    assert done.returncode == 1
    assert "2 packages audited by pypi, 1 vulnerabilities." in done.stdout
