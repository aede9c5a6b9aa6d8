"""`roster-pipeline codes`: the error catalogue for people, in the terminal and as a page.

Only how it is shown belongs here. What a code means stands in `roster_pipeline.codes`, and nowhere else.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from roster_pipeline.codes import CATALOGUE, Code

AREAS: Final[dict[str, str]] = {
    "AUTH": "Credentials",
    "NET": "Connections",
    "PAGE": "Answers of a REST provider",
    "FILE": "CSV files",
    "ROW": "Rows",
    "REF": "References between rows",
    "SES": "Academic sessions",
    "GRD": "Guardians",
    "IDN": "Identities",
    "SAFE": "Safeguards",
    "RUN": "Runs",
    "CFG": "Tenant documents",
    "DB": "Stores",
    "PRV": "Providers",
}

PREFACE: Final = """\
# Error codes

<!-- Written by `make docs` from roster_pipeline/codes.py; change it there. -->

Every sync that is not plainly successful says why with at least one of these codes: the same one in the
terminal, the roster database, the Dagster UI and the alert. A code never comes to mean anything else, and is
never renamed. `roster-pipeline codes CODE` prints one of them.

The severity says what follows: a *note* or a *warning* leaves the roster as the rules make it, *school
kept back* keeps that school's last good roster, *sync failed* ends the sync, or what was asked of one
provider. Where a retry may help, the next night may mend it without anybody.
"""


@click.command("codes")
@click.argument("code", required=False)
@click.option("--markdown", is_flag=True, help="Print the page docs/codes.md.")
def codes(code: str | None, markdown: bool) -> None:
    """Explain the error code CODE, or list all codes."""
    if code and markdown:
        raise click.UsageError("--markdown prints the whole catalogue: leave CODE out.")
    if markdown:
        click.echo(as_markdown(), nl=False)
    elif code:
        click.echo(as_text(_entry(code)))
    else:
        _print_list()


def as_text(entry: Code) -> str:
    """One code with everything that is known about it, a line each."""
    return "\n".join(
        (
            f"{entry.code}: {entry.happened}",
            f"  usual cause   {entry.cause}",
            f"  cure          {entry.cure}",
            f"  who acts      {entry.owner}",
            f"  severity      {entry.severity}",
            f"  retry helps   {'maybe' if entry.retry else 'no'}",
        )
    )


def as_markdown() -> str:
    """The page docs/codes.md: a table for each area, in the catalogue's order."""
    lines = [PREFACE.rstrip()]
    for area, title in AREAS.items():
        entries = [entry for entry in CATALOGUE.values() if _area(entry.code) == area]
        if not entries:
            continue
        lines += [
            "",
            f"## {title}",
            "",
            "| code | what happened | usual cause | cure | who acts | severity | retry helps |",
            "|---|---|---|---|---|---|---|",
        ]
        for entry in entries:
            cells = (entry.code, entry.happened, entry.cause, entry.cure, entry.owner, entry.severity)
            retry = "maybe" if entry.retry else "no"
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in (*cells, retry)) + " |")
    return "\n".join(lines) + "\n"


def _area(code: str) -> str:
    return code.split("-")[1]


def _entry(code: str) -> Code:
    entry = CATALOGUE.get(code.strip().upper())
    if entry is None:
        near = get_close_matches(code.strip().upper(), CATALOGUE, n=3)
        hint = f" Did you mean {', '.join(near)}?" if near else " `roster-pipeline codes` lists them all."
        raise click.BadParameter(f"There is no code {code!r}.{hint}", param_hint="CODE")
    return entry


def _print_list() -> None:
    console = Console()
    if not console.is_terminal:  # for grep and files: one line a code, never wrapped
        for entry in CATALOGUE.values():
            click.echo(f"{entry.code}\t{entry.severity}\t{entry.owner}\t{entry.happened}")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("code", "severity", "who acts"):
        table.add_column(heading, no_wrap=True)
    table.add_column("what happened")
    for entry in CATALOGUE.values():
        table.add_row(entry.code, entry.severity, entry.owner, entry.happened)
    console.print(table)
