"""What a ground depends on, forgotten: do the tests of unmoved nights notice?

`python -m roster_pipeline_tests.forgetful` runs them once for each thing that could be left out (`MUTANTS`),
and ends with 1 if they pass without one. `pytest -p roster_pipeline_tests.forgetful` is how: it leaves out
what `FORGETFUL` in the environment names.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final
from unittest import mock

import pytest

TESTS: Final = (
    "roster_pipeline_tests/unit/test_unmoved_nights.py",
    "roster_pipeline_tests/unit/rosters/test_unmoved.py",
)


def _ignoring(name: str) -> Callable[[], Any]:
    """Grounds that carry whatever this input is."""

    def patch() -> Any:
        from roster_pipeline.rosters.unmoved import Ground

        carries = Ground.carries

        def blind(self: Ground, **asked: Any) -> bool:
            return carries(self, **(asked | {name: getattr(self, name)}))

        return mock.patch.object(Ground, "carries", blind)

    return patch


def _learning_nothing() -> Any:
    """What a sync remembers is remembered, and nobody says that it is new."""
    from roster_pipeline.syncs import Sync

    real = Sync._remember

    def silent(*given: Any) -> bool:
        real(*given)
        return False

    return mock.patch.object(Sync, "_remember", silent)


_RULES: Final = "roster_pipeline.rosters.unmoved"

MUTANTS: Final[dict[str, Callable[[], Any]]] = {
    "the register's proposal": _ignoring("proposal"),
    "the date": _ignoring("as_of"),
    "the document and the release": _ignoring("rules"),
    "the providers' extracts": _ignoring("sources"),
    "the directories' extracts": _ignoring("directories"),
    "the turning days": lambda: mock.patch(
        "roster_pipeline.rosters.unmoved.turning_days", return_value=set()
    ),
    "what settled means": lambda: mock.patch(f"{_RULES}.is_settled", return_value=True),
    "what is newly remembered": _learning_nothing,
}
"""What a ground depends on → what makes that forgotten."""


def pytest_configure(config: pytest.Config) -> None:
    """Forgets for as long as the tests run."""
    forgotten = ExitStack()
    forgotten.enter_context(MUTANTS[os.environ["FORGETFUL"]]())
    config.add_cleanup(forgotten.close)


def main() -> int:
    unnoticed = 0
    for mutant in MUTANTS:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "roster_pipeline_tests.forgetful",
             "-k", "not twins", *TESTS],
            env=os.environ | {"FORGETFUL": mutant}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
        noticed = done.returncode == pytest.ExitCode.TESTS_FAILED and failed
        unnoticed += not noticed
        print(f"without {mutant}: {failed[0][:150] if noticed else 'NOBODY NOTICES'}", flush=True)
    return min(1, unnoticed)


if __name__ == "__main__":
    sys.exit(main())
