"""The benchmark itself, with a few students: killed in the middle of a round, and begun again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import districts, rounds, units
from benchmarks.processes import ROOT
from benchmarks.results import Results
from roster_pipeline_tests.postgres_server import find_programs

TINY = """
import sys
from pathlib import Path
from benchmarks import districts, rounds, units
from benchmarks.results import Results

districts.SIZES.clear()
districts.SIZES["tiny"] = 60
del rounds.NIGHTS["again"], rounds.NIGHTS["unchanged"]
units.DATABASES = ("postgres",)
build = Path(sys.argv[1])
units.Bench(build, Results(build / "results.jsonl", "same")).run(units.Plan(["tiny"], 1, ["nights"]))
"""
UNITS = [
    "machine", "floor/tiny/1", "night/tiny/postgres/1/first", "night/tiny/postgres/1/changed",
    "load/tiny/postgres/1",
]  # fmt: skip


def bench(build: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", TINY, str(build)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def until(build: Path, unit: str, running: subprocess.Popen[str]) -> None:
    """Waits for a unit's line."""
    file = build / "results.jsonl"
    while not file.exists() or unit not in Results(file, "same"):
        assert running.poll() is None, "it ended by itself"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.skipif(
    find_programs() is None and not os.environ.get("CI"), reason="needs PostgreSQL's programs"
)
def test_killed_in_the_middle_of_a_round_it_goes_on_and_leaves_no_server_behind(tmp_path: Path) -> None:
    first = bench(tmp_path)
    until(tmp_path, "night/tiny/postgres/1/first", first)
    server, folder = (tmp_path / "postgres.pid").read_text(encoding="utf-8").split(" ")
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert Path(f"/proc/{server}").exists(), "nobody told it to end"
    before = {one["unit"]: one for one in Results(tmp_path / "results.jsonl", "same").all()}

    with bench(tmp_path) as second:
        assert second.stderr is not None
        said = second.stderr.read()
    assert second.returncode == 0, said
    after = {one["unit"]: one for one in Results(tmp_path / "results.jsonl", "same").all()}
    assert [*after] == UNITS
    assert all(one["ok"] for one in after.values()), after
    assert before.items() <= after.items(), "what was measured stays"
    assert "night/tiny/postgres/1/first, once more" in said
    assert after["night/tiny/postgres/1/changed"]["changes"]["added"] == 0, "it follows a first night"
    assert not Path(f"/proc/{server}").exists()
    assert not Path(folder).exists()
    assert not (tmp_path / "postgres.pid").exists()
    assert not (tmp_path / "work").exists()

    with bench(tmp_path) as third:
        assert third.stderr is not None
        assert third.stderr.read() == "", "everything is there"


def test_every_night_is_later_than_the_one_before() -> None:
    days = [*rounds.NIGHTS.values()]
    assert days == sorted(set(days))
    assert days[0] == districts.DAY


def test_an_end_that_is_not_ours_to_bring_about_is_left_alone(tmp_path: Path) -> None:
    """The id of a server that is gone may by now be that of anybody."""
    (tmp_path / "postgres.pid").write_text(f"{os.getpid()} {tmp_path / 'gone' / 'data'}", encoding="utf-8")
    units._end_leftover(tmp_path)
    assert not (tmp_path / "postgres.pid").exists()
