"""`roster-pipeline sandbox`: a OneRoster server on loopback, from files or a generated district."""

from __future__ import annotations

import gc
import json
import secrets
import signal
import threading
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import click

from roster_pipeline.sandbox.flavours import FLAVOURS
from roster_pipeline.sandbox.misbehaviour import FAULTS, parse

if TYPE_CHECKING:
    from roster_pipeline.sandbox.server import Serving
    from roster_pipeline.sandbox.source import Tables

_KINDS = {"powerschool": "powerschool", "classlink": "classlink"}


_FAULTS = "\b\nFaults (in brackets: VALUE if none is given):\n" + "\n".join(
    f"  {what:<18}  {fault.happens}" for what, fault in FAULTS.items()
)


@click.command(epilog=_FAULTS)
@click.argument("source", required=False, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--flavour",
    type=click.Choice(sorted(FLAVOURS)),
    default="oneroster-1.1",
    show_default=True,
    help="Serve as.",
)
@click.option(
    "--students", type=click.IntRange(1), help="Generate a district of this many (without SOURCE: 600)."
)
@click.option(
    "--seed", type=int, default=1, show_default=True, help="The same seed makes the same district and faults."
)
@click.option(
    "--day",
    type=click.DateTime(["%Y-%m-%d"]),
    help="A day in the generated school year.  [default: today]",
)
@click.option(
    "--second", is_flag=True, help="Serve the generated district as a second system has it, under other ids."
)
@click.option("--unfinished-school", is_flag=True, help="Leave the teachers of the last school out.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port on 127.0.0.1.  [default: a free one]"
)
@click.option(
    "--page-cap", type=click.IntRange(1), help="Most rows a page.  [default: the flavour's, 1000 or 100]"
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="WHAT[=VALUE][@ENDPOINT][,after=N][,times=N]",
    help="Do this wrong, at one endpoint (`token` is one, too) or at all: N times, after N good requests. "
    "May be repeated; what there is stands below.",
)
@click.option("--client-id", envvar="ROSTER_SANDBOX_CLIENT_ID", default="sandbox", show_default=True)
@click.option(
    "--client-secret",
    envvar="ROSTER_SANDBOX_CLIENT_SECRET",
    help="Better given in ROSTER_SANDBOX_CLIENT_SECRET.  [default: a new one, printed]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the addresses as one JSON line.")
def sandbox(
    source: Path | None,
    flavour: str,
    students: int | None,
    seed: int,
    day: date | None,
    second: bool,
    unfinished_school: bool,
    port: int,
    page_cap: int | None,
    faults: tuple[str, ...],
    client_id: str,
    client_secret: str | None,
    as_json: bool,
) -> None:
    """Serve OneRoster on this machine, until interrupted, to try and test against.

    SOURCE is a OneRoster CSV folder or zip (1.1 or 1.2); without it, a district is generated.
    """
    # Here and not above: a server's imports are not for every command to wait for.
    from roster_pipeline.sandbox.server import application, serve
    from roster_pipeline.sandbox.source import load

    if source and (students or second or unfinished_school):
        raise click.UsageError("SOURCE and what says how to generate a district exclude each other.")
    misbehaviour = [parse(text) for text in faults]
    tables = load(source) if source else _generated(students or 600, seed, day, second, unfinished_school)
    secret = client_secret or secrets.token_urlsafe(24)
    app = application(
        tables,
        flavour,
        client_id=client_id,
        client_secret=secret,
        page_cap=page_cap,
        misbehaviour=misbehaviour,
        seed=seed,
    )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        with serve(app, port=port) as serving:
            # The rows live for as long as the process does: no collection of garbage need visit them.
            gc.freeze()
            if as_json:
                click.echo(
                    json.dumps(_addresses(serving, flavour, client_id, None if client_secret else secret))
                )
            else:
                _tell(serving, flavour, client_id, None if client_secret else secret)
            stop.wait()
    except OSError as error:
        text = f"127.0.0.1:{port} cannot be served: {error.strerror}. Name another port, or none."
        raise click.BadParameter(text, param_hint="--port") from None


def _generated(students: int, seed: int, day: date | None, second: bool, unfinished: bool) -> Tables:
    from roster_pipeline.sandbox.generator import as_second_provider, generate, with_unfinished_school

    # click gives a datetime; the generator compares dates.
    on = date(day.year, day.month, day.day) if day else date.today()  # noqa: DTZ011 - the terminal's own day
    district = generate(students, seed=seed, day=on)
    district = as_second_provider(district) if second else district
    return (with_unfinished_school(district) if unfinished else district).tables


def _addresses(serving: Serving, flavour: str, client_id: str, secret: str | None) -> dict[str, str | None]:
    """What a client must know; `client_secret` is null where the caller gave it."""
    return {
        "flavour": flavour,
        "endpoint_url": serving.root_url,
        "base_url": serving.base_url,
        "token_url": serving.token_url,
        "client_id": client_id,
        "client_secret": secret,
    }


def _tell(serving: Serving, flavour: str, client_id: str, secret: str | None) -> None:
    click.echo(f"Serving {flavour} at {serving.base_url}")
    click.echo(
        "  "
        + ", ".join(f"{n:,} {name}" for name, n in serving.sandbox.totals.items() if name != "demographics")
    )
    if serving.token_url:
        click.echo(f"Tokens from {serving.token_url}")
    click.echo("\nIn another terminal:\n")
    click.echo(f"  export SANDBOX_ID={client_id}")
    click.echo(f"  export SANDBOX_SECRET={secret or '...  (as you gave it)'}")
    click.echo("\nIn a tenant document:\n")
    click.echo("  providers:")
    click.echo("    - name: sandbox")
    click.echo(f"      kind: {_KINDS.get(flavour, 'oneroster')}")
    click.echo(f"      endpoint_url: {serving.root_url}/")
    if serving.token_url:
        click.echo(f"      token_url: {serving.token_url}")
    click.echo("      client_id: env:SANDBOX_ID")
    click.echo("      client_secret: env:SANDBOX_SECRET")
    click.echo("\nInterrupt (Ctrl-C) to stop.")
