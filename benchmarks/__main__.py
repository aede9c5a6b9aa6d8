"""`make bench`: a generated district from the sandbox, beside the floor. `README.md` explains the figures."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import resource
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TENANT = """\
tenant: bench
region: UK
providers:
  - name: sis
    kind: powerschool
    endpoint_url: {endpoint_url}
    token_url: {token_url}
    client_id: env:BENCH_ID
    client_secret: env:ROSTER_SANDBOX_CLIENT_SECRET
    respect_enrolment_date: true
    respect_academic_sessions: true
"""


@contextmanager
def served(students: int, day: dt.date, environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """A sandbox in a process of its own; its addresses."""
    command = [
        sys.executable, "-m", "roster_pipeline.sandbox", "--students", str(students),
        "--flavour", "powerschool", "--day", day.isoformat(), "--json",
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            if server.stdout is None:
                raise RuntimeError("the sandbox has no output")
            yield json.loads(server.stdout.readline())
        finally:
            server.send_signal(signal.SIGINT)


def run(environment: dict[str, str], *words: str) -> str:
    """A command's output; raises if it fails for a reason of its own."""
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 3):
        raise SystemExit(f"{' '.join(words[:3])} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def whole_process(environment: dict[str, str], *words: str) -> dict[str, float]:
    """The CPU of a command from its start to its end, interpreter, imports and Dagster included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(environment, *words)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"cpu_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2)}


def show(name: str, figures: dict[str, Any], floor_cpu: float, rows: int) -> None:
    """One line of the table."""
    cpu = figures["cpu_s"]
    sys.stdout.write(
        f"{name:<34}{cpu:>8.2f}{figures.get('wall_s', 0):>9.2f}{figures.get('peak_mib', 0):>10}"
        f"{rows / cpu if cpu else 0:>14,.0f}{cpu / floor_cpu:>10.2f}\n"
    )


def main() -> None:
    """Measures the floor, a first sync and three nights without a change, each in a process of its own."""
    arguments = argparse.ArgumentParser(prog="make bench", description=__doc__)
    arguments.add_argument("--students", type=int, default=20_000)
    arguments.add_argument("--day", type=dt.date.fromisoformat, default=dt.date(2026, 10, 15))
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as home:
        environment = {
            **os.environ,
            "ROSTER_HOME": home,
            "ROSTER_SANDBOX_CLIENT_SECRET": secrets.token_urlsafe(16),
            "BENCH_ID": "bench",
        }
        environment.pop("DAGSTER_HOME", None)
        with served(given.students, given.day, environment) as sandbox:
            environment["BENCH_ID"] = sandbox["client_id"]
            document = Path(home) / "bench.yaml"
            document.write_text(TENANT.format(**sandbox), encoding="utf-8")
            command = (str(Path(sys.executable).with_name("roster-pipeline")),)
            run(environment, *command, "tenants", "apply", str(document), "--yes")
            floor = json.loads(
                run(
                    environment, "benchmarks/floor.py", sandbox["base_url"], sandbox["token_url"],
                    "--client-id", sandbox["client_id"], "--page-size", "1000", "--concurrency", "4",
                )
            )  # fmt: skip
            steps = ("-m", "benchmarks.steps", "bench", "powerschool")
            days = [(given.day + dt.timedelta(days=number)).isoformat() for number in range(4)]
            # The second night settles what the first one brought; from the third on nothing moves.
            nights = [json.loads(run(environment, *steps, day)) for day in days[:3]]
            process = whole_process(environment, *command, "sync", "bench", "--as-of", days[3])
    rows = floor["rows"]
    sys.stdout.write(f"{rows:,} rows in {floor['pages']} pages, {floor['megabytes']} MB\n\n")
    sys.stdout.write(f"{'':<34}{'CPU s':>8}{'clock s':>9}{'peak MiB':>10}{'rows/CPU s':>14}{'x floor':>10}\n")
    show("floor", floor, floor["cpu_s"], rows)
    for name, sync in zip(("first sync", "unchanged sync", "unmoved night"), nights, strict=True):
        parts = ("extraction", "rules", "publishing")
        for part in parts:
            show(f"{name}: {part}", sync[part], floor["cpu_s"], rows)
        whole = {key: sum(sync[part][key] for part in parts) for key in ("cpu_s", "wall_s")}
        whole["peak_mib"] = max(sync[part]["peak_mib"] for part in parts)
        show(f"{name}: whole", whole, floor["cpu_s"], rows)
        sys.stdout.write(f"{name}: {sync['status']}, {sync['changed']:,} rows changed\n")
    show("unmoved night, process and Dagster", process, floor["cpu_s"], rows)


if __name__ == "__main__":
    main()
