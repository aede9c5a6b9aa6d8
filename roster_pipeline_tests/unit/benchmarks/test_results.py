"""What was measured is kept, whatever ends the benchmark, and is good for the same sources only."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from benchmarks.processes import ROOT
from benchmarks.results import Results, UnitError, fingerprint, newest_fingerprint

MEASURING = """
import sys, time
from pathlib import Path
from benchmarks.results import Results

results = Results(Path(sys.argv[1]), "same")
for number in range(5):
    def measure():
        print(number, flush=True)
        if number == int(sys.argv[2]):
            time.sleep(60)
        return {"seconds": number}
    results.once(f"unit/{number}", measure)
"""


def measuring(file: Path, hangs_at: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", MEASURING, str(file), str(hangs_at)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_killed_in_the_middle_it_goes_on_with_the_first_unit_that_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    with measuring(file, hangs_at=2) as first:
        assert first.stdout is not None
        assert [first.stdout.readline() for _ in range(3)] == ["0\n", "1\n", "2\n"]
        os.kill(first.pid, signal.SIGKILL)
    with measuring(file, hangs_at=-1) as second:
        assert second.stdout is not None
        assert second.stdout.read().split() == ["2", "3", "4"]
    assert [one["seconds"] for one in Results(file, "same").all()] == [0, 1, 2, 3, 4]


def test_a_line_that_was_cut_off_is_measured_again_and_spoils_no_other(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    Results(file, "same").once("one", lambda: {"seconds": 1})
    with file.open("a", encoding="utf-8") as opened:
        opened.write('{"unit": "two", "ok": true, "fing')
    results = Results(file, "same")
    assert "two" not in results
    results.once("two", lambda: {"seconds": 2})
    assert [one["unit"] for one in Results(file, "same").all()] == ["one", "two"]


def test_a_unit_that_failed_is_kept_with_the_reason_and_not_tried_again(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"

    def fails() -> dict[str, float]:
        raise UnitError("no memory was left")

    assert not Results(file, "same").once("one", fails)
    results = Results(file, "same")
    assert not results.once("one", lambda: {"seconds": 1})
    assert results["one"]["why"] == "no memory was left"
    assert Results(file, "same", retry=True).once("one", lambda: {"seconds": 1})
    assert not results.once("two", lambda: {"seconds": 1 / 0})
    assert results["two"]["why"] == "ZeroDivisionError: division by zero"


def test_of_other_sources_nothing_counts_and_everything_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    Results(file, "before").once("one", lambda: {"seconds": 1})
    after = Results(file, "after")
    assert "one" not in after
    after.once("one", lambda: {"seconds": 2})
    assert newest_fingerprint(file) == "after"
    assert [json.loads(line)["seconds"] for line in file.read_text(encoding="utf-8").splitlines()] == [1, 2]


def test_the_fingerprint_is_of_the_sources_and_the_settings() -> None:
    assert fingerprint({}) == fingerprint({})
    assert fingerprint({}) != fingerprint({"page_size": 100})
