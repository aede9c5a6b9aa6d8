"""`roster-pipeline sync` from outside, as a process: what it prints, how it ends, how it is ended."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from roster_pipeline.runs import end_dead_runs
from roster_pipeline_tests.graph.held import Holding, holding
from roster_pipeline_tests.graph.terminal import AS_OF, COMMAND, DAY, Terminal
from roster_pipeline_tests.syncing import codes, csv_provider, deployment


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    # For this process, to look at the runs; the commands find their own.
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home" / "dagster"))
    with deployment(tmp_path / "home") as here:
        yield Terminal(here, tmp_path)


@pytest.fixture
def held() -> Iterator[Holding]:
    with holding() as server:
        yield server


# ---------------------------------------------------------------------------------- what it prints


def test_json_is_one_line_a_tenant_in_their_order_and_nothing_else(terminal: Terminal) -> None:
    terminal.apply("one", "two")
    code, documents = terminal.documents("two", "one", "two")
    assert code == 0
    assert [document["tenant"] for document in documents] == ["two", "one"]
    assert [document["status"] for document in documents] == ["successful", "successful"]
    assert [document["as_of"] for document in documents] == [AS_OF, AS_OF]
    assert documents[1] == terminal.ledger("one")[0]


def test_each_sync_is_a_run_of_the_job_in_the_home_s_dagster_instance(terminal: Terminal) -> None:
    terminal.apply("one")
    _, (document,) = terminal.documents("one")
    (run,) = terminal.runs()
    assert (run.run_id, run.job_name, run.status) == (
        document["run_id"],
        "sync_tenant",
        dg.DagsterRunStatus.SUCCESS,
    )
    ours = {name: value for name, value in run.tags.items() if name.startswith("roster/")}
    assert ours.pop("roster/process")
    assert ours == {
        "roster/tenant": "one",
        "roster/region": "US",
        "roster/trigger": "manual",
        "roster/as_of": AS_OF,
        "roster/outcome": "successful",
    }
    assert run.tags["dagster/partition"] == "one"


def test_a_person_reads_the_guides_counts_and_what_changed(terminal: Terminal) -> None:
    terminal.apply("one")
    terminal.here.sync("one", DAY)
    school = terminal.school("one")
    school.students.append("s7")
    school.write()
    told = terminal.sync("one").stdout
    assert told.startswith("one: successful, as of 2025-10-15\n")
    assert "Unmatched Users 0 · Matched Students 6 · Matched Teachers 2 · Imported Classes 2" in told
    assert "Created Students 1" in told
    assert "people +1" in told


def test_a_person_reads_why_and_what_to_do(terminal: Terminal) -> None:
    terminal.apply("one")
    terminal.school("one").without("users")
    done = terminal.sync("one")
    (document,) = terminal.ledger("one")
    assert done.returncode == {"partial": 3, "failed": 4}[document["status"]]
    for issue in document["issues"]:
        assert issue["code"] in done.stdout
        assert issue["message"] in done.stdout
        assert issue["cure"] in done.stdout


def test_bars_are_drawn_for_a_person_only_and_never_into_the_results(terminal: Terminal) -> None:
    terminal.apply("one")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "sync", "one", "--as-of", AS_OF, "--json"],
        cwd=terminal.root, env=terminal.settings(TERM="xterm", COLUMNS="120"),
        stdout=subprocess.PIPE, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    drawn = b""
    try:
        while piece := os.read(ours, 65536):
            drawn += piece
    except OSError:  # what Linux says at the end of a terminal
        pass
    os.close(ours)
    out, _ = process.communicate(timeout=120)
    assert b"files enrollments" in drawn
    (line,) = out.splitlines()
    assert json.loads(line)["status"] == "successful"


# ---------------------------------------------------------------------------------- how it ends


def test_the_exit_code_is_that_of_the_worst(terminal: Terminal) -> None:
    terminal.apply("fine", "in-part", "down")
    terminal.here.sync("in-part", DAY)
    terminal.school("in-part").without("enrollments")
    terminal.school("down").without("orgs", "users", "classes", "enrollments", "academicSessions", "courses")
    found = {names: terminal.documents(*names.split()) for names in ("fine in-part", "down in-part fine")}
    statuses = {
        document["tenant"]: document["status"] for _, documents in found.values() for document in documents
    }
    assert statuses == {"fine": "successful", "in-part": "partial", "down": "failed"}
    assert {names: code for names, (code, _) in found.items()} == {"fine in-part": 3, "down in-part fine": 4}


def test_an_unknown_tenant_is_told_before_anything_runs(terminal: Terminal) -> None:
    terminal.apply("one")
    done = terminal.sync("one", "onne", "nobody", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "RS-CFG-08" in done.stderr
    assert "onne" in done.stderr
    assert "nobody" in done.stderr
    assert terminal.ledger("one") == []


def test_a_fault_of_ours_in_one_tenant_does_not_stop_the_next(terminal: Terminal) -> None:
    terminal.apply("broken", "sound")
    terminal.here.sync("broken", DAY)
    (complete,) = Path(terminal.here.home.lake_url).glob("tenants/broken/extracts/*/complete.json")
    complete.write_text("no JSON", encoding="utf-8")
    code, documents = terminal.documents("broken", "sound")
    assert [(document["tenant"], document["status"]) for document in documents] == [
        ("broken", "failed"),
        ("sound", "successful"),
    ]
    assert codes(documents[0]) == ["RS-RUN-99"]
    assert code == 1
    assert terminal.ledger("broken")[0] == documents[0]


def test_a_dry_run_publishes_nothing_and_says_so(terminal: Terminal) -> None:
    terminal.apply("one")
    done = terminal.sync("one", "--dry-run")
    assert done.returncode == 0
    assert "dry run" in done.stdout
    assert "people +8" in done.stdout
    assert not terminal.here.roster("one")["people"]
    code, (document,) = terminal.documents("one", "--dry-run")
    assert (code, document["changes"]["people"]["added"]) == (0, 8)
    assert not terminal.here.roster("one")["people"]


def test_a_dagster_home_that_cannot_be_one_is_told(terminal: Terminal) -> None:
    terminal.apply("one")
    done = terminal.sync("one", DAGSTER_HOME="dagster")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("RS-DB-04: ")


def test_a_dagster_home_of_the_operator_s_is_left_as_it_is(terminal: Terminal, tmp_path: Path) -> None:
    terminal.apply("one")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    assert terminal.sync("one", DAGSTER_HOME=str(tmp_path / "theirs")).returncode == 0
    assert (tmp_path / "theirs" / "history").is_dir()
    assert not (terminal.here.home.folder / "dagster").exists()


# ---------------------------------------------------------------------------------- how it is ended


def test_of_two_syncs_at_once_one_works_and_the_other_ends_with_a_code(
    terminal: Terminal, held: Holding
) -> None:
    terminal.here.apply("one", held.provider)
    first = terminal.begun("one")
    assert held.asked.wait(60)
    code, (document,) = terminal.documents("one")
    held.go.set()
    out, _ = first.communicate(timeout=120)
    assert (code, document["status"], codes(document)) == (4, "failed", ["RS-RUN-06"])
    assert document["sync_id"] is None
    assert json.loads(out)["run_id"] == terminal.ledger("one")[0]["run_id"]
    assert len(terminal.ledger("one")) == 1


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_whoever_ends_it_is_told_and_the_tenant_is_free_again(
    terminal: Terminal, held: Holding, ending: signal.Signals
) -> None:
    terminal.here.apply("one", held.provider)
    process = terminal.begun("one")
    assert held.asked.wait(60)
    process.send_signal(ending)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"")
    assert b"one was interrupted" in err
    assert b"Traceback" not in err
    assert [entry["status"] for entry in terminal.ledger("one")] == ["interrupted"]
    (run,) = terminal.runs()
    assert run.status in (dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.FAILURE)
    terminal.here.begin("one", DAY).close()


_UNTIL_CALL = """
from roster_pipeline_tests.graph.killing import die_at
from roster_pipeline.cli import main
die_at({function!r}, 1)
main()
"""


@pytest.mark.parametrize(
    "function, left",
    [
        ("dagster._core.execution.api:execute_run", dg.DagsterRunStatus.NOT_STARTED),
        ("roster_pipeline.store.lease:Lease.take", dg.DagsterRunStatus.STARTED),
    ],
    ids=["before the run starts", "before it has the lease"],
)
def test_a_run_is_over_although_its_process_died_before_it_had_the_lease(
    terminal: Terminal, function: str, left: dg.DagsterRunStatus
) -> None:
    """It would keep the tenant's place in the queue for three hours, and with it the nightly sync."""
    terminal.apply("one")
    command = [*COMMAND[:-1], _UNTIL_CALL.format(function=function), "sync", "one"]
    ended = subprocess.run(command, cwd=terminal.root, env=terminal.settings(), timeout=300, check=False)
    assert ended.returncode == -signal.SIGKILL
    (dead,) = terminal.runs()
    assert dead.status == left
    with dg.DagsterInstance.get() as instance:
        assert end_dead_runs(instance, "one") == [dead.run_id]
    (dead,) = terminal.runs()
    assert dead.status == dg.DagsterRunStatus.FAILURE


def test_after_a_kill_the_next_sync_works_and_the_dead_run_is_over(terminal: Terminal, held: Holding) -> None:
    terminal.here.apply("one", held.provider)
    process = terminal.begun("one")
    assert held.asked.wait(60)
    process.kill()
    process.communicate(timeout=60)
    (dead,) = terminal.runs()
    assert dead.status == dg.DagsterRunStatus.STARTED
    terminal.apply("two")
    provider = csv_provider(terminal.school("one").folder, name="held")
    terminal.here.apply("one", provider)
    code, (document,) = terminal.documents("one")
    assert (code, document["status"]) == (0, "successful")
    assert [entry["status"] for entry in terminal.ledger("one")] == ["successful", "interrupted"]
    statuses = {run.run_id: run.status for run in terminal.runs()}
    assert statuses == {
        dead.run_id: dg.DagsterRunStatus.FAILURE,
        document["run_id"]: dg.DagsterRunStatus.SUCCESS,
    }
