"""`roster-pipeline sandbox` serves as a process of its own, until it is told to stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from roster_pipeline.cli import main
from roster_pipeline.codes import CATALOGUE
from roster_pipeline.sandbox.generator import District
from roster_pipeline.sandbox.misbehaviour import FAULTS
from roster_pipeline.sandbox.source import write_csv

PROJECT = Path(__file__).parents[3]


def starting(*arguments: str, secret: str = "") -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"}
    if secret:
        environment["ROSTER_SANDBOX_CLIENT_SECRET"] = secret
    return subprocess.Popen(
        [sys.executable, "-m", "roster_pipeline.sandbox", *arguments],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_interrupted(number: signal.Signals) -> None:
    with starting(
        "--students", "40", "--flavour", "powerschool", "--json", secret="from the environment"
    ) as process:
        assert process.stdout
        told = json.loads(process.stdout.readline())
        assert told["client_secret"] is None
        answer = httpx.post(
            told["token_url"],
            data={"grant_type": "client_credentials"},
            auth=(told["client_id"], "from the environment"),
        )
        bearer = {"authorization": f"Bearer {answer.json()['access_token']}"}
        found = httpx.get(f"{told['base_url']}/students?limit=1", headers=bearer)
        assert found.headers["x-total-count"] == "40"
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")


def test_it_says_where_the_credentials_go(district: District, tmp_path: Path) -> None:
    write_csv(district.tables, tmp_path)
    with starting(str(tmp_path), "--flavour", "classlink") as process:
        assert process.stdout
        lines = []
        while "Interrupt" not in (line := process.stdout.readline()):
            assert line
            lines.append(line.strip())
        process.terminate()
        process.communicate(timeout=20)
    text = "\n".join(lines)
    assert "Serving classlink at http://127.0.0.1:" in text
    assert "kind: classlink" in text
    assert "token_url" not in text
    assert "client_secret: env:SANDBOX_SECRET" in text
    secret = next(line for line in lines if "export SANDBOX_SECRET=" in line).partition("=")[2]
    assert len(secret) >= 24


def test_a_district_is_either_read_or_generated(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["sandbox", str(tmp_path), "--students", "5"])
    assert result.exit_code == 2
    assert "exclude each other" in result.output


def test_it_misbehaves_as_it_is_told() -> None:
    told = ("--fault", "server-error=503@users,after=1,times=1", "--fault", "empty@orgs")
    with starting("--students", "40", "--flavour", "powerschool", *told, "--json") as process:
        assert process.stdout
        where = json.loads(process.stdout.readline())
        answer = httpx.post(
            where["token_url"],
            data={"grant_type": "client_credentials"},
            auth=(where["client_id"], where["client_secret"]),
        )
        bearer = {"authorization": f"Bearer {answer.json()['access_token']}"}
        asked = [
            httpx.get(f"{where['base_url']}/{path}", headers=bearer)
            for path in ("users", "users", "users", "orgs")
        ]
        process.terminate()
        process.communicate(timeout=20)
    assert [found.status_code for found in asked] == [200, 503, 200, 200]
    assert asked[3].json() == {"orgs": []}


def test_a_fault_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    result = CliRunner().invoke(main, ["sandbox", "--fault", "hangs"])
    assert result.exit_code == 2
    assert result.stderr.startswith("RS-CFG-12: There is no fault 'hangs'. There are: ")


def test_the_help_lists_every_fault() -> None:
    told = CliRunner().invoke(main, ["sandbox", "--help"]).stdout
    assert [what for what, fault in FAULTS.items() if f"{what:<18}  {fault.happens}" not in told] == []


def test_what_cannot_be_read_is_told_with_its_code(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_text("not a zip")
    result = CliRunner().invoke(main, ["sandbox", str(tmp_path / "x.zip")])
    assert result.exit_code == 2
    assert result.stderr.startswith("RS-FILE-01: ")
    assert CATALOGUE["RS-FILE-01"].cure in result.stderr


def test_a_port_that_is_taken_is_told() -> None:
    with starting("--students", "1", "--json") as process:
        assert process.stdout
        port = str(httpx.URL(json.loads(process.stdout.readline())["base_url"]).port)
        with starting("--students", "1", "--port", port) as second:
            _, err = second.communicate(timeout=20)
        process.terminate()
        process.communicate(timeout=20)
    assert second.returncode == 2
    assert port in err


def test_the_command_loads_no_pandas_and_no_dagster() -> None:
    code = (
        "import sys, roster_pipeline.cli.sandbox\n"
        "import roster_pipeline.sandbox.server, roster_pipeline.sandbox.generator\n"
        "print({'pandas', 'pyarrow', 'dagster'} & set(sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")
