"""The command `roster-pipeline`: its commands, and how what goes wrong is told.

One file a command, imported when it is asked for. A command reads its arguments, calls what does the
work, and prints; results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from importlib import import_module
from typing import Any, Final

import click

from roster_pipeline import __version__
from roster_pipeline.codes import CATALOGUE, CodedError
from roster_pipeline.faults import place_of

FAULT: Final = 1
"""Exit code: a fault of ours."""
REFUSED: Final = 2
"""Exit code: wrong usage or configuration."""
INTERRUPTED: Final = 130
"""Exit code: what shells give for Ctrl-C."""

COMMANDS: Final = {
    "demo": "demo",
    "sandbox": "sandbox",
    "tenants": "tenants",
    "check": "check",
    "sync": "sync",
    "syncs": "syncs",
    "nights": "nights",
    "alerts": "alerts",
    "explain": "explain",
    "holds": "holds",
    "approve": "holds",
    "reject": "holds",
    "undo": "undo",
    "export": "export",
    "forget": "forget",
    "tidy": "tidy",
    "codes": "codes",
    "db": "db",
}
"""Command -> the module that has it, under the command's name."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"{__name__}.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            raise _with_code(error) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise _with_code(error) from None
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None
        except CodedError as error:
            tell_error(error)
            raise click.exceptions.Exit(FAULT if error.code == "RS-RUN-99" else REFUSED) from None
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # whoever read our output has gone; click ends quietly
            raise _fault(error) from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="roster-pipeline")
def main() -> None:
    """Nightly OneRoster syncs: read, filtered, merged into stable identities, checked and published.

    Everything is kept in the folder ROSTER_HOME (.roster in the working directory, where it is not set).
    """


def _with_code(error: click.UsageError) -> click.UsageError:
    """A wrong call, which click tells with the command's usage, told with its code as well."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error  # the help itself
    return click.UsageError(f"RS-CFG-12: {error.format_message()}", error.ctx)


def tell(code: str, message: str) -> None:
    """Says on stderr what happened, and from the catalogue what to do."""
    click.echo(f"{code}: {message}", err=True)
    click.echo(f"  {CATALOGUE[code].cure}", err=True)


def tell_error(error: CodedError) -> None:
    """Says on stderr what an error says; of a refused document every problem, and what to do once a code."""
    from roster_pipeline.tenants.refusals import DocumentRefused

    if not isinstance(error, DocumentRefused):
        tell(error.code, error.message)
        return
    click.echo(error.message, err=True)
    for code in dict.fromkeys(code for code, _ in error.lines):
        click.echo(f"  {code}: {CATALOGUE[code].cure}", err=True)


def _fault(error: Exception) -> click.exceptions.Exit:
    """Tells a mistake of ours. Its text may hold anything, so it is shown to whoever asks for it only."""
    tell("RS-RUN-99", f"{type(error).__name__} in {place_of(error)}.")
    if os.environ.get("ROSTER_DEBUG"):
        traceback.print_exception(error, file=sys.stderr)
    else:
        click.echo(
            "  ROSTER_DEBUG=1 shows the whole error. It may hold names and addresses of people.", err=True
        )
    return click.exceptions.Exit(FAULT)
