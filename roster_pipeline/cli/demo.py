"""`roster-pipeline demo`: a district with two systems on this machine, synced, and the result as tables.

The systems are sandboxes in this process, read over loopback as any provider is. Their ports and the
tenant's document stay in the home, so that the UI finds them again: with `--ui` they are served beside
Dagster's own processes. Nothing of a sync is decided here.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from roster_pipeline.codes import CodedError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from roster_pipeline.sandbox.source import Tables
    from roster_pipeline.store.home import Home, Stores
    from roster_pipeline.tenants.document import Tenant

TENANT: Final = "demo"

_DOCUMENT: Final = """\
# The tenant of `roster-pipeline demo`: written by it, and again each time it runs.
tenant: demo
region: US
providers:
  - name: sis
    kind: powerschool
    endpoint_url: {sis.root_url}/
    token_url: {sis.token_url}
    client_id: env:DEMO_SIS_ID
    client_secret: env:DEMO_SIS_SECRET
    respect_enrolment_date: true          # students who have left are left out
    respect_academic_sessions: true       # only the classes of the present term, semester or school year
    merge: {{priority: 100, key: email}}    # the stronger source
  - name: launchpad
    kind: classlink
    endpoint_url: {launchpad.root_url}/
    client_id: env:DEMO_LAUNCHPAD_ID
    client_secret: env:DEMO_LAUNCHPAD_SECRET
    respect_enrolment_date: true
    respect_academic_sessions: true
    sync_parent_data: true                # guardians, whom PowerSchool does not hand out
    relationship_type: guardian
    merge: {{priority: 50, key: email_without_domain}}   # some addresses have another domain here
"""


@click.command()
@click.option(
    "--students", type=click.IntRange(20, 20_000), default=1500, show_default=True, help="How large it is."
)
@click.option("--ui", is_flag=True, help="Serve the demo's systems and open Dagster's UI, until interrupted.")
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True, help="The UI's.")
@click.option(
    "--workspace",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("workspace.yaml"),
    show_default=True,
    help="What the UI loads.",
)
def demo(students: int, ui: bool, port: int, workspace: Path) -> None:
    """Try it: two sandbox providers, a tenant with both, a sync of it and another one, the result."""
    from roster_pipeline.store.home import Home

    home = Home.find(os.environ)
    stores = home.stores()
    try:
        if ui:
            _open_ui(home, stores, workspace, port)
        else:
            _show(home, stores, students)
    finally:
        stores.database.dispose()


# ---------------------------------------------------------------------------------- the two systems


@dataclass(frozen=True, slots=True)
class _System:
    name: str
    flavour: str
    title: str
    environ: str
    """What the names of its credentials in the environment begin with."""


_SYSTEMS: Final = (
    _System("sis", "powerschool", "PowerSchool", "DEMO_SIS"),
    _System("launchpad", "classlink", "ClassLink", "DEMO_LAUNCHPAD"),
)


@contextmanager
def serving(home: Home, students: int, day: date) -> Iterator[dict[str, Any]]:
    """Both systems on their ports, with new credentials in this process's environment.

    The ports are those of the last time, as long as nobody else has taken them.

    Raises:
        CodedError: RS-RUN-06 while another process serves this home's demo.
    """
    import gc

    from roster_pipeline.sandbox.server import application, serve

    file = home.folder / "demo.json"
    with ExitStack() as stack:
        stack.enter_context(_alone(home.folder / "demo.lock"))
        before = json.loads(file.read_text(encoding="utf-8"))["ports"] if file.exists() else {}
        served = {}
        for system, tables in zip(_SYSTEMS, _districts(students, day), strict=True):
            client_id, secret = f"demo-{system.name}", secrets.token_urlsafe(24)
            os.environ[f"{system.environ}_ID"] = client_id
            os.environ[f"{system.environ}_SECRET"] = secret
            app = application(tables, system.flavour, client_id=client_id, client_secret=secret)
            try:
                served[system.name] = stack.enter_context(serve(app, port=before.get(system.name, 0)))
            except OSError:  # somebody else's by now
                served[system.name] = stack.enter_context(serve(app))
        ports = {name: serving.port for name, serving in served.items()}
        file.write_text(json.dumps({"students": students, "ports": ports}), encoding="utf-8")
        # The rows live for as long as the process does: no collection of garbage need visit them.
        gc.freeze()
        yield served


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CodedError(
                "RS-RUN-06", "The demo's systems are served already (`make ui`?); end that first."
            ) from None
        yield


def _districts(students: int, day: date) -> tuple[Tables, Tables]:
    """One district as two systems have it: without guardians; and with them, under other ids."""
    from roster_pipeline.sandbox.generator import as_second_provider, generate

    district = generate(students, day=day)
    return district.tables, as_second_provider(district).tables


def apply(home: Home, stores: Stores, served: dict[str, Any], now: datetime) -> Tenant:
    """Writes the demo's document into the home, and stores it in the registry."""
    from roster_pipeline.tenants import registry
    from roster_pipeline.tenants.document import read

    file = home.folder / "demo.yaml"
    text = _DOCUMENT.format(**served)
    tenant = read(text, file=file).tenant
    file.write_text(text, encoding="utf-8")
    with stores.database.connect().execution_options(immediate=True) as connection, connection.begin():
        registry.apply(connection, tenant, now, confirmed=True)
    return tenant


def _school_day(now: datetime) -> date:
    """The day that a sync of the demo's tenant now is for: the districts are made for it."""
    from roster_pipeline.nights import windows
    from roster_pipeline.tenants.document import Provider
    from roster_pipeline.tenants.document import Tenant as Document

    nobody = Provider(name="none", kind="oneroster_csv", path="none")
    return windows.as_of(Document(tenant=TENANT, region="US", providers=(nobody,)), now)


# ---------------------------------------------------------------------------------- the show


def _show(home: Home, stores: Stores, students: int) -> None:
    from rich.console import Console

    from roster_pipeline.cli import INTERRUPTED, tell
    from roster_pipeline.cli.sync import Interrupted, ready_to_run

    console = Console(highlight=False)
    now = datetime.now(UTC)
    with serving(home, students, _school_day(now)) as served:
        console.print(f"A district of {students:,} students, as two systems have it, on this machine:")
        for system in _SYSTEMS:
            console.print(f"  {system.name}, a {system.title} server: {served[system.name].base_url}")
        tenant = apply(home, stores, served, now)
        console.print(f"The tenant `{TENANT}` reads both: {home.folder / 'demo.yaml'}\n")
        with ready_to_run(home, stores, progress=lambda *_: None) as run:
            for title in ("The first sync", "The second sync, of the same data"):
                try:
                    with console.status(f"{title} …"):
                        told = run(tenant, None, False)
                except Interrupted as error:
                    tell("RS-RUN-02", str(error))
                    raise click.exceptions.Exit(INTERRUPTED) from None
                _print(console, title, told)
    if told["status"] == "failed":
        raise click.exceptions.Exit(4)
    console.print("Look at it in Dagster's UI: [bold]make ui[/bold], then http://127.0.0.1:3000")


_COUNTS: Final = (
    "unmatched_users", "matched_students", "matched_teachers", "imported_classes",
    "created_students", "created_teachers", "created_users",
)  # fmt: skip


def _print(console: Console, title: str, told: dict[str, Any]) -> None:
    from roster_pipeline.cli.sync import issue_line

    seconds = _seconds(told["started_at"], told["finished_at"])
    console.print(f"[bold]{title}[/bold]: {told['status']}, as of {told['as_of']}, in {seconds} s")
    counts = _table("", f"tenant {told['tenant']}", *(entry["name"] for entry in told["providers"]))
    for count in _COUNTS:
        figures = (told["counts"][count], *(entry[count] for entry in told["providers"]))
        counts.add_row(count.replace("_", " ").title(), *(f"{figure:,}" for figure in figures))
    console.print(counts)
    if any(sum(found.values()) for found in told["changes"].values()):
        changes = _table("Published", "Added", "Updated", "Removed")
        for kind, found in told["changes"].items():
            changes.add_row(kind.replace("_", " "), *(f"{count:,}" for count in found.values()))
        console.print(changes)
        schools = _table("School", "State", "Created Students", "Classes", "Memberships")
        for school in told["schools"]:
            figures = (school["created_students"], school["imported_classes"], school["memberships"])
            schools.add_row(school["name"], school["state"], *(f"{figure:,}" for figure in figures))
        console.print(schools)
    else:
        console.print("Nothing changed: a sync of the same data publishes the same roster.")
    for issue in told["issues"]:
        click.echo(issue_line(issue))
    console.print()


def _table(first: str, *others: str) -> Table:
    """A table; all columns but the first and a state hold numbers."""
    from rich.table import Table

    table = Table()
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="left" if name == "State" else "right")
    return table


def _seconds(began: str, ended: str) -> int:
    return round((datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds())


# ---------------------------------------------------------------------------------- the UI


def _open_ui(home: Home, stores: Stores, workspace: Path, port: int) -> None:
    """Dagster's UI and daemon as a child, with the demo's systems beside them where there is a demo."""
    from roster_pipeline.tenants import registry

    if not workspace.exists():
        raise click.BadParameter(f"There is no {workspace}.", param_hint="--workspace")
    instance_file = Path(__file__).parents[1] / "dagster.yaml"
    home.set_dagster_home(os.environ, instance_file.read_text(encoding="utf-8"))
    with stores.database.connect() as connection:
        known = registry.find(connection, TENANT) is not None
    with ExitStack() as stack:
        if known:
            now = datetime.now(UTC)
            file = home.folder / "demo.json"
            students = json.loads(file.read_text(encoding="utf-8"))["students"] if file.exists() else 1500
            apply(home, stores, stack.enter_context(serving(home, students, _school_day(now))), now)
        else:
            click.echo("There is no demo in this home: `make demo` makes one.", err=True)
        code = _run(
            [
                sys.executable,
                "-m",
                "dagster",
                "dev",
                "--workspace",
                str(workspace),
                "--host",
                "127.0.0.1",
                "--port",
                str(port),
            ]
        )
    raise click.exceptions.Exit(code)


def _run(command: Sequence[str]) -> int:
    """Runs a child until it ends by itself or is told to; Ctrl-C reaches it without us."""
    # Where this process was told to ignore it (by a shell, in the background), the child would be, too,
    # and Dagster then ignores the other signal as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command) as child:  # noqa: S603 - our own interpreter
        signal.signal(signal.SIGTERM, lambda *_: child.terminate())
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                continue
