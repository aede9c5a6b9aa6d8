"""Secrets and personal data are where they belong, and nowhere else.

Canaries, that is values which exist nowhere but in these tests, are synced, well and badly: they come
in rows, in the bodies and headers of refusals, in files that are broken where they stand, and in the
texts of our own mistakes. Then the bytes of everything that operators see are searched for them.
"""

from __future__ import annotations

import base64
import copy
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from roster_pipeline.sandbox.generator import DAY, generate
from roster_pipeline.sandbox.misbehaviour import Misbehaviour
from roster_pipeline.sandbox.source import Tables, write_csv
from roster_pipeline.store import database
from roster_pipeline_tests.graph.terminal import PROGRAM, Command
from roster_pipeline_tests.graph.ui import PROJECT
from roster_pipeline_tests.syncing import (
    CLIENT_ID,
    Deployment,
    Document,
    csv_provider,
    deployment,
    environment,
    rest_provider,
    serving,
)

PERSON: Final = {
    "givenName": "Zyxomantha",
    "middleName": "Brunnhilda-Ott",
    "familyName": "Quillfeather",
    "preferredFirstName": "Zyxie-Lou",
    "email": "zq.canary@birdcage.example",
    "username": "zquillcanary",
    "identifier": "LN-4471-9902",
    "phone": "+1-555-0142-8807",
    "sms": "+1-555-0142-8808",
}
NEVER_READ: Final = {"password": "Pw0rd-of-Zyx!", "metadata": {"ssn": "911-52-0077"}}
BORN: Final = {"birthDate": "1911-03-29", "cityOfBirth": "Canaryville-on-Sea"}
CLASS: Final = "Homeroom of Mx Plumwhistle"
SECRET: Final = "hush+Canary/Secret=77 %"

PERSONAL: Final = (*PERSON.values(), "Quillfeather", "Plumwhistle")
UNREAD: Final = (*("Pw0rd-of-Zyx!", "911-52-0077"), *BORN.values())


def _forms(secret: str) -> tuple[str, ...]:
    """A secret as it stands, and as requests and JSON carry it."""
    pair = f"{CLIENT_ID}:{secret}".encode()
    return (
        secret,
        quote(secret, safe=""),
        quote(quote(secret, safe=""), safe=""),
        json.dumps(secret)[1:-1].replace("/", "\\/"),
        base64.b64encode(secret.encode()).decode(),
        base64.b64encode(pair).decode(),
    )


def found_in(text: bytes, *words: str) -> list[str]:
    """Which of the words stand in the bytes."""
    return [word for word in words if word.encode() in text]


# ---------------------------------------------------------------------------------------- servers


class _Echo(ThreadingHTTPServer):
    """Answers every request with a status, and a body that holds all it was asked and a person."""

    daemon_threads = True

    def __init__(self, status: int, body: Callable[[str], str], kind: str = "application/json") -> None:
        super().__init__(("127.0.0.1", 0), _EchoHandler)
        self.status, self.body, self.kind = status, body, kind
        self.asked = 0


class _EchoHandler(BaseHTTPRequestHandler):
    server: _Echo

    def _answer(self) -> None:
        self.server.asked += 1
        length = int(self.headers.get("content-length") or 0)
        told = f"{self.path} {dict(self.headers)} {self.rfile.read(length)!r} {PERSON} {SECRET}"
        body = self.server.body(told).encode()
        self.send_response(self.server.status, PERSON["familyName"])
        self.send_header("content-type", self.server.kind)
        self.send_header("content-length", str(len(body)))
        self.send_header("x-request", quote(told))
        self.send_header("location", f"https://{PERSON['username']}.example/?secret={quote(SECRET)}")
        self.send_header("www-authenticate", f'OAuth realm="{PERSON["email"]}"')
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer  # noqa: N815 - http.server's names

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def _echoing(server: _Echo) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _envelope(told: str) -> str:
    return json.dumps({"imsx_codeMajor": "failure", "imsx_severity": "error", "imsx_description": told})


_ECHOES: Final[dict[str, tuple[int, Callable[[str], str], str]]] = {
    "echo-401": (401, _envelope, "application/json"),
    "echo-400": (400, _envelope, "application/json"),
    "echo-302": (302, str, "text/plain"),
    "echo-200": (200, _envelope, "application/json"),
    "echo-html": (200, lambda told: f"<html>{told}</html>", "text/html"),
    "echo-rows": (200, lambda _: json.dumps({"orgs": [{"name": str(PERSON), "sourcedId": [SECRET]}, SECRET]}),
                  "application/json"),
    "echo-cut": (200, lambda told: json.dumps({"orgs": [{"name": told}]})[:-5], "application/json"),
}  # fmt: skip


# ------------------------------------------------------------------------------------------ input


def _district() -> Tables:
    tables = generate(20, seed=2).tables
    student = next(row for row in tables["users"] if row["roles"][0][0] == "student")
    student |= {**PERSON, **NEVER_READ}
    tables["demographics"] = [{"sourcedId": student["sourcedId"], **BORN}]
    for row in tables["classes"]:
        row["title"] = CLASS
    return tables


def _broken(tables: Tables, folder: Path) -> dict[str, Path]:
    """Exports that cannot be read, each at the place where the canary stands."""
    found = {}

    def export(name: str) -> Path:
        found[name] = folder / name
        write_csv(tables, found[name])
        return found[name] / "users.csv"

    def edited(name: str, edit: Callable[[bytes], bytes]) -> None:
        file = export(name)
        file.write_bytes(edit(file.read_bytes()))

    line = b"," + PERSON["familyName"].encode() + b","
    edited("csv-cut", lambda content: content[: content.index(line) + len(line)])
    edited("csv-quote", lambda content: content.replace(line, b',"' + line[1:], 1))
    edited("csv-latin", lambda content: content.replace(line, line[:-1] + b"\xe9,", 1))
    edited("csv-cells", lambda content: content.replace(line, line + b"," * 40, 1))
    edited("csv-header", lambda content: b"".join(
        [one for one in content.splitlines(keepends=True) if line in one] + [content]
    ))  # fmt: skip
    export("csv-name").rename(found["csv-name"] / f"{PERSON['familyName']}.csv")
    return found


_MISTAKE: Final = """
import os, sys
from sqlalchemy import text
import roster_pipeline.syncs as syncs

row = {person!r} | {{"client_secret": os.environ["SANDBOX_SECRET"]}}

def mistaken(*given, **named):
    try:
        raise KeyError(str(row))
    except KeyError as error:
        raise ValueError(f"cannot make sense of {{row}}") from error

def refused(connection, *given, **named):
    # A database's own error quotes the statement with its parameters.
    connection.execute(text("INSERT INTO people (tenant, family_name) VALUES (:username, :familyName)"), row)

where, kinds = {where!r}, list(syncs.KINDS)
setattr(syncs, where, refused if where == "write_changes" else mistaken)
if where == "KINDS":
    syncs.KINDS = dict.fromkeys(kinds, mistaken)
from roster_pipeline.cli import main
main()
"""
_MISTAKES: Final = ("KINDS", "write_changes")

_QUERY: Final = """{ runsOrError { ... on Runs { results {
  runId status tags { key value } runConfigYaml
  eventConnection { events { __typename
    ... on MessageEvent { message }
    ... on ErrorEvent { error { message stack causes { message stack } errorChain { error { message } } } }
    ... on MaterializationEvent { description metadataEntries { label description
        ... on TextMetadataEntry { text } ... on TableMetadataEntry { table { records } } } }
    ... on ObservationEvent { description metadataEntries { label description
        ... on TextMetadataEntry { text } ... on TableMetadataEntry { table { records } } } }
    ... on AssetCheckEvaluationEvent { evaluation { description metadataEntries { label description } } }
  } }
} } } }"""


@dataclass
class Outcome:
    """What there is to be searched."""

    home: Path
    said: dict[str, bytes] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)
    codes: dict[str, list[str]] = field(default_factory=dict)

    def note(self, name: str, document: Document) -> None:
        self.statuses[f"{name} {document['tenant']}"] = document["status"]
        self.codes[f"{name} {document['tenant']}"] = [issue["code"] for issue in document["issues"]]

    def files(self, folder: str) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.home)): path.read_bytes()
            for path in (self.home / folder).rglob("*")
            if path.is_file()
        }


def _settings(outcome: Outcome) -> dict[str, str]:
    return environment(
        ROSTER_HOME=str(outcome.home), PYTHONPATH=str(PROJECT), SANDBOX_ID=CLIENT_ID, SANDBOX_SECRET=SECRET
    )


def _of_dagster(outcome: Outcome, name: str, *command: str) -> None:
    """One of Dagster's own commands; ours have made its home."""
    settings = _settings(outcome) | {"DAGSTER_HOME": str(outcome.home / "dagster")}
    done = subprocess.run(
        [sys.executable, *command], env=settings, cwd=outcome.home, capture_output=True, timeout=300,
        check=False,
    )  # fmt: skip
    outcome.said[f"{name} (stdout)"], outcome.said[f"{name} (stderr)"] = done.stdout, done.stderr


def _run(outcome: Outcome, name: str, *words: str, program: str = PROGRAM) -> bytes:
    told = outcome.home.parent / "told" / name
    command = Command.begun(
        *words, folder=outcome.home, settings=_settings(outcome), told=told, program=program
    )
    out, err = command.communicate()
    outcome.said[f"{name} (stdout)"], outcome.said[f"{name} (stderr)"] = out, err
    return out


def _sync(outcome: Outcome, name: str, *tenants: str, program: str = PROGRAM) -> None:
    """The command: a run of the job in the home's Dagster instance."""
    words = ["sync", *tenants, "--as-of", DAY.isoformat(), "--json"]
    for line in _run(outcome, name, *words, program=program).splitlines():
        outcome.note(name, json.loads(line))


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Everything that can be synced, synced; then what is left of it.

    What a sync tells is all that Dagster gets of it, so that of the many bad ones a few are runs.
    """
    root = tmp_path_factory.mktemp("canaries")
    outcome = Outcome(root / "home")
    tables = _district()
    with ExitStack() as stack:
        here = stack.enter_context(deployment(outcome.home))
        here.environ["SANDBOX_SECRET"] = SECRET
        well = _apply_well(here, stack, tables, root)
        badly = _apply_badly(here, stack, tables, root)
        for tenant in (*well, *badly):
            with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
                told = here.sync(tenant, DAY)
            outcome.note("well" if tenant in well else "badly", told)
            outcome.said[tenant] = f"{out.getvalue()} {err.getvalue()} {json.dumps(told)}".encode()
        _sync(outcome, "runs", "classlink", "echo-401", "csv-cut")
        here.apply("mistaken", csv_provider(root / "export"))
        for where in _MISTAKES:
            mistake = _MISTAKE.format(person=PERSON, where=where)
            _sync(outcome, f"mistake in {where}", "mistaken", program=mistake)
        _run(outcome, "check", "check", "classlink")
        _run(outcome, "check echo", "check", "echo-401")
        _run(outcome, "syncs", "syncs", "csv-cut", "--json")
        _run(outcome, "forget", "forget", "powerschool", "--person", PERSON["email"], "--yes")
        _run(outcome, "receipts", "forget", "powerschool", "--list", "--json")
    # As a run of the UI: in a worker whose output Dagster keeps.
    _of_dagster(
        outcome, "worker", "-m", "dagster", "asset", "materialize", "--select", "*", "--partition", "csv-cut",
        "--module-name", "roster_pipeline.definitions",
    )  # fmt: skip
    asked = "from dagster_graphql.cli import main; main()"
    workspace = str(PROJECT / "workspace.yaml")
    _of_dagster(outcome, "graphql", "-c", asked, "-w", workspace, "-t", _QUERY)
    return outcome


def _apply_well(here: Deployment, stack: ExitStack, tables: Tables, root: Path) -> list[str]:
    (root / "secret").write_text(SECRET, encoding="utf-8")
    for flavour in ("classlink", "powerschool"):
        served = stack.enter_context(serving(tables, flavour, client_secret=SECRET, demographics=True))
        secret = f"file:{root / 'secret'}" if flavour == "classlink" else "env:SANDBOX_SECRET"
        family = {"sync_parent_data": True, "relationship_type": "guardian"} if flavour == "classlink" else {}
        here.apply(flavour, rest_provider(served) | {"client_secret": secret} | family)
    write_csv(tables, root / "export", "1.2")
    here.apply("csv", csv_provider(root / "export"))
    return ["classlink", "powerschool", "csv"]


def _apply_badly(here: Deployment, stack: ExitStack, tables: Tables, root: Path) -> list[str]:
    applied = []
    for name, (status, body, kind) in _ECHOES.items():
        address = stack.enter_context(_echoing(_Echo(status, body, kind)))
        credentials = {"client_id": "env:SANDBOX_ID", "client_secret": "env:SANDBOX_SECRET"}
        signed = {"name": "sis", "kind": "classlink", "endpoint_url": address, **credentials}
        token = {"kind": "powerschool", "token_url": f"{address}/token"}
        for way, provider in ((name, signed), (f"{name}-token", signed | token)):
            here.apply(way, provider)
            applied.append(way)
    for what in ("truncated", "other-collection", "envelope-in-200", "no-source-ids"):
        served = stack.enter_context(
            serving(
                tables, "classlink", client_secret=SECRET, misbehaviour=Misbehaviour(what, endpoint="users")
            )
        )
        here.apply(f"server-{what}", rest_provider(served))
        applied.append(f"server-{what}")
    for name, folder in _broken(tables, root).items():
        here.apply(name, csv_provider(folder))
        applied.append(name)
    masked = copy.deepcopy(tables)
    for row in masked["users"]:
        row["familyName"] = "****"
    write_csv(masked, root / "masked")
    here.apply("masked", csv_provider(root / "masked"))
    return [*applied, "masked"]


# ---------------------------------------------------------------------------------------- searches


def test_the_canaries_were_synced_and_the_search_finds_them(outcome: Outcome) -> None:
    """What all of this rests on: they are where they belong, and would be found elsewhere as well."""
    assert {outcome.statuses[f"well {name}"] for name in ("classlink", "powerschool", "csv")} == {
        "successful"
    }
    stored = b"".join(outcome.files(".").values())
    assert found_in(stored, *PERSON.values(), CLASS) == [*PERSON.values(), CLASS]
    assert found_in(b"".join(_lake(outcome).values()), *PERSON.values(), CLASS) == [*PERSON.values(), CLASS]


def test_every_bad_sync_was_one_and_has_a_code(outcome: Outcome) -> None:
    bad = {name: status for name, status in outcome.statuses.items() if name.startswith("badly ")}
    assert len(bad) > 20
    assert set(bad.values()) <= {"partial", "failed"}
    assert all(outcome.codes[name] for name in bad)
    for where in _MISTAKES:
        assert outcome.codes[f"mistake in {where} mistaken"] == ["RS-RUN-99"]
    assert outcome.said["graphql (stdout)"].count(b'"runId"') == 3 + len(_MISTAKES) + 1


def test_dagster_s_folder_holds_nothing_personal_and_no_secret(outcome: Outcome) -> None:
    files = outcome.files("dagster")
    assert len(files) > 3
    for name, content in files.items():
        assert found_in(content, *PERSONAL, *UNREAD, *_forms(SECRET)) == [], name


def test_what_the_commands_and_workers_say_holds_nothing_personal_and_no_secret(outcome: Outcome) -> None:
    assert len(outcome.said) > 30
    for name, content in outcome.said.items():
        assert found_in(content, *PERSONAL, *UNREAD, *_forms(SECRET)) == [], name


def test_graphql_answers_hold_nothing_personal_and_no_secret(outcome: Outcome) -> None:
    answer = outcome.said["graphql (stdout)"]
    assert b"RS-FILE-06" in answer  # the events of the bad syncs are there
    assert found_in(answer, *PERSONAL, *UNREAD, *_forms(SECRET)) == []


def test_the_ledger_and_the_registry_hold_nothing_personal_and_no_secret(outcome: Outcome) -> None:
    names = [table.name for table in database.metadata.sorted_tables if table.name.startswith("sync")]
    names += ["tenants", "providers", "registers", "leases", "school_sources", "enrolled_sources"]
    names += ["holds", "decisions", "receipts", "forgotten"]
    with deployment(outcome.home) as here, here.stores.database.connect() as connection:
        for name in names:
            rows = [tuple(row) for row in connection.execute(select(database.metadata.tables[name]))]
            assert found_in(repr(rows).encode(), *PERSONAL, *UNREAD, *_forms(SECRET)) == [], name


def test_a_receipt_was_written_and_names_nobody(outcome: Outcome) -> None:
    (receipt,) = json.loads(outcome.said["receipts (stdout)"])["receipts"]
    assert receipt["erased"]["finished"]
    assert receipt["erased"]["database"]["people"] == 1


def test_the_roster_database_holds_no_secret_and_nothing_that_may_not_be_read(outcome: Outcome) -> None:
    for name, content in outcome.files(".").items():
        if name.startswith("roster.db"):
            assert found_in(content, *UNREAD, *_forms(SECRET)) == [], name


def _lake(outcome: Outcome) -> dict[str, bytes]:
    """The lake's files as text: Parquet is packed, and would hide what it holds."""
    files = outcome.files("lake")
    return {
        name: repr(pq.read_table(outcome.home / name).to_pydict()).encode()
        if name.endswith(".parquet")
        else content
        for name, content in files.items()
    }


def test_the_lake_holds_no_secret_no_password_and_no_demographics(outcome: Outcome) -> None:
    files = _lake(outcome)
    assert len(files) > 20
    for name, content in files.items():
        assert found_in(content, *UNREAD, *_forms(SECRET)) == [], name
