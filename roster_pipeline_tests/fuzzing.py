"""Fuzzes what parses others' bytes, for as long as one likes.

Run with `python -m roster_pipeline_tests.fuzzing [--seconds 60] [--target pages]`. The targets `pages`, `csv`
and `documents` are guided by coverage (atheris, the optional group `fuzz`), each in a process of its own;
`syncs` are whole syncs of small rosters that were mangled at random, over loopback, each from a seed that is
told when something is wrong. Ends with 0 if nothing was found. What must hold is in `examining`; bytes that
broke it are left in the folder that is named.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any, Final

GUIDED: Final = ("pages", "csv", "documents")
LONGEST: Final = {"pages": 8192, "csv": 8192, "documents": 4096}


def main() -> int:
    """Runs what the command line names, and prints a line a target."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--target", choices=[*GUIDED, "syncs"], action="append")
    parser.add_argument("--inside", nargs=2, metavar=("CORPUS", "FOUND"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    targets = asked.target or [*GUIDED, "syncs"]
    if asked.inside:
        _fuzz(targets[0], asked.seconds, *asked.inside)
    return max([_syncs(asked.seconds) if one == "syncs" else _guided(one, asked.seconds) for one in targets])


def _guided(target: str, seconds: int) -> int:
    found = mkdtemp(prefix=f"found-{target}-")
    with TemporaryDirectory() as corpus:
        words = [
            sys.executable, "-m", __spec__.name, "--target", target,
            "--seconds", str(seconds), "--inside", corpus, f"{found}/",
        ]  # fmt: skip
        done = subprocess.run(words, stderr=subprocess.PIPE, text=True, errors="replace", check=False)
    executions = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    edges = re.findall(r"cov: (\d+)", done.stderr)
    if executions is None:
        print(done.stderr[-3000:], file=sys.stderr)
    print(
        f"{target}: {executions[1] if executions else 'no'} executions in {seconds} seconds,"
        f" {edges[-1] if edges else 0} edges covered, {len(list(Path(found).iterdir()))} findings in {found}"
    )
    return done.returncode and 1


def _fuzz(target: str, seconds: int, corpus: str, found: str) -> None:
    """Does not return: libFuzzer ends the process, with 0 unless something was found."""
    import atheris

    with atheris.instrument_imports(include=["roster_pipeline"]):
        # The readers of files are imported at their first use, which would be too late.
        for name in ("directory", "oneroster_csv"):
            import_module(f"roster_pipeline.providers.{name}")
        from roster_pipeline_tests.examining import TARGETS

    examine, seeds = TARGETS[target]
    for number, seed in enumerate(seeds()):
        (Path(corpus) / f"seed-{number}").write_bytes(seed)
    atheris.Setup(
        [
            sys.argv[0], corpus, f"-max_total_time={seconds}", f"-max_len={LONGEST[target]}",
            f"-artifact_prefix={found}", "-print_final_stats=1",
            "-timeout=120",
            "-report_slow_units=60", "-rss_limit_mb=1024", "-seed=1",
        ],
        examine,
    )  # fmt: skip
    atheris.Fuzz()


def _syncs(seconds: int) -> int:
    from roster_pipeline_tests.mangling import sync_mangled

    statuses: dict[str, int] = {}
    wrong, seed, end = 0, 0, time.monotonic() + seconds
    while time.monotonic() < end:
        told: Any = sync_mangled(seed)
        statuses[told.status] = statuses.get(told.status, 0) + 1
        if told.wrong:
            wrong += 1
            print(f"syncs: seed {seed}: {told.wrong}", file=sys.stderr)
        seed += 1
    print(f"syncs: {seed} syncs of mangled rosters in {seconds} seconds ({statuses}), {wrong} findings")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
