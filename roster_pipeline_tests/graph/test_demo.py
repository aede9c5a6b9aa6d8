"""`make demo` and `make ui` from outside: the command as a process, in a home of its own."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from roster_pipeline.store import ledger
from roster_pipeline_tests.graph.ui import IMPATIENT, PROJECT, Ui, until
from roster_pipeline_tests.syncing import changed, deployment, environment

COMMAND = [sys.executable, "-c", "from roster_pipeline.cli import main; main()", "demo"]


def _settings(home: Path) -> dict[str, str]:
    return environment(ROSTER_HOME=str(home), PYTHONPATH=str(PROJECT))


def _demo(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words], env=_settings(home), cwd=home.parent, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip


def _row(text: str, name: str) -> list[int]:
    """The numbers of a table's rows of that name, one table after the other."""
    found = re.findall(rf"^│ {name} +│(.*)$", text, re.MULTILINE)
    return [int(cell.replace(",", "")) for row in found for cell in row.strip("│").split("│")]


@pytest.mark.slow
def test_the_demo_syncs_two_systems_and_the_ui_goes_on_with_them(tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = _demo(home, "--students", "60")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("successful, as of") == 2
    # Tenant, PowerSchool, ClassLink; of the first sync and of the second.
    students, matched = _row(done.stdout, "Created Students"), _row(done.stdout, "Matched Students")
    assert students[0] == students[1] + students[2] >= 59
    assert students[3:] == [0, 0, 0]
    assert matched[1] == 0 < matched[2] <= 60
    assert matched[3] == students[0]
    classes = _row(done.stdout, "Imported Classes")
    assert classes[0] == classes[1] > 0
    assert classes[0:3] == classes[3:6]
    assert set(_row(done.stdout, "Unmatched Users")) == {0}
    assert len(_row(done.stdout, "Matched Teachers")) == 6
    assert "Nothing changed" in done.stdout
    assert done.stdout.splitlines()[-1] == "Look at it in Dagster's UI: make ui, then http://127.0.0.1:3000"

    # Dagster looks at its queue every five seconds, and a test need not wait for that.
    with (home / "dagster" / "dagster.yaml").open("a", encoding="utf-8") as instance:
        instance.write(IMPATIENT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*COMMAND, "--ui", "--port", str(port), "--workspace", str(PROJECT / "workspace.yaml")],
            env=_settings(home), cwd=tmp_path, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        # A new connection each time: the server closes an idle one, perhaps as the next request leaves.
        fresh = httpx.Limits(max_keepalive_connections=0)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, limits=fresh) as client:
            ui = Ui(client)

            def answers() -> bool | None:
                assert process.poll() is None, (tmp_path / "log").read_text(encoding="utf-8")[-4000:]
                try:
                    return "demo" in ui.partitions("published_rosters") or None
                except httpx.TransportError:
                    return None

            until(answers)
            again = _demo(home)
            assert (again.returncode, "served already" in again.stderr) == (2, True)
            assets = ("current_sessions", "current_enrolments", "merged_identities", "published_rosters")
            run = ui.ended(ui.materialise("demo", "raw/powerschool", "raw/classlink", *assets))
            assert (run.status, run.tags["outcome"]) == ("SUCCESS", "successful")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    with deployment(home) as here, here.stores.database.connect() as connection:
        third, second, _ = ledger.past(connection, "demo")
    assert third["run_id"] == run.run_id
    assert changed(third) == {}
    assert third["counts"] == second["counts"]


def test_a_home_without_a_demo_gets_none_from_the_ui(tmp_path: Path) -> None:
    """Whoever has tenants of their own there did not ask for one."""
    done = _demo(tmp_path / "home", "--ui", "--workspace", "nowhere.yaml")
    assert done.returncode == 2
    assert "nowhere.yaml" in done.stderr
    assert not (tmp_path / "home" / "demo.yaml").exists()
