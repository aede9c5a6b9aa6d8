"""`roster-pipeline holds`, `approve` and `reject`: what waits, and what is decided of it.

What waits is what the last sync left; the rows are found anew in what it extracted. They are personal data
and go to stdout alone.
"""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from sqlalchemy import Row

    from roster_pipeline.store.home import Stores


@click.command()
@click.argument("tenant", metavar="T")
@click.option("--rows", "with_rows", is_flag=True, help="Also list the rows that would go.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def holds(tenant: str, with_rows: bool, as_json: bool) -> None:
    """List what waits of the tenant T: where, how much, since when, and what was decided.

    Removals that look like a mistake, and schools that an undo set back.
    """
    stores = _stores()
    try:
        found = [_told(row) for row in _waiting(stores, tenant)]
        if with_rows and found:
            from roster_pipeline.syncs import held_rows

            rows = held_rows(stores, tenant)
            for one in found:
                one["rows"] = rows.get((one["kind"], one["school_id"] or "", one["class_id"] or ""), [])
    finally:
        stores.database.dispose()
    if as_json:
        click.echo(json.dumps({"tenant": tenant, "holds": found}, ensure_ascii=False))
        return
    if not found:
        click.echo(f"Nothing of {tenant} waits.", err=True)
    for line in _lines(found):
        click.echo(line)
    if found:
        click.echo(f"\nroster-pipeline approve {tenant} lets it go at the next sync; reject keeps it.")


def _decision(word: str, help_: str) -> click.Command:
    @click.command(name=word, help=help_)
    @click.argument("tenant", metavar="T")
    @click.option("--school", metavar="S", help="Only at this school: its id, identifier or name.")
    @click.option("--why", default="", metavar="TEXT", help="For those who look at it later.")
    @click.option("--by", "who", metavar="WHO", help="Who decides.  [default: the user's name]")
    def command(tenant: str, school: str | None, why: str, who: str | None) -> None:
        from roster_pipeline.decisions import decide
        from roster_pipeline.store.holds import APPROVAL_DAYS

        now = datetime.now(UTC)
        found = decide(
            os.environ, tenant, _STATES[word], school=school, who=who or user_name(), why=why, now=now
        )
        for line in _lines([{**_told(row), "state": _STATES[word]} for row in found]):
            click.echo(line)
        going = [row for row in found if row.code != SET_BACK]
        for rows, next_ in ((going, _NEXT), ([row for row in found if row not in going], _NEXT_OF_UNDO)):
            if rows:
                click.echo(next_[word].format(tenant=tenant, days=APPROVAL_DAYS))

    return command


_STATES = {"approve": "approved", "reject": "rejected"}
_NEXT = {
    "approve": "They go at the next sync that finds the same, within {days} days: "
    "roster-pipeline sync {tenant}",
    "reject": "They stay as published until the source changes.",
}
_NEXT_OF_UNDO = {
    "approve": "What was set back follows its source again at the next sync within {days} days: "
    "roster-pipeline sync {tenant}",
    "reject": "What was set back stays so until the source changes.",
}
SET_BACK = "RS-SAFE-20"
"""The code of a school that an undo set back: it waits as a whole."""
approve = _decision("approve", "Let what waits of the tenant T go at the next sync: exactly that, and once.")
reject = _decision("reject", "Keep what waits of the tenant T as it is published, until the source changes.")


def _waiting(stores: Stores, tenant: str) -> Sequence[Row[Any]]:
    from roster_pipeline.store import holds
    from roster_pipeline.tenants import registry

    with stores.database.connect() as connection:
        registry.get(connection, tenant)
        return holds.waiting(connection, tenant)


def _told(row: Row[Any]) -> dict[str, Any]:
    return {
        "kind": row.kind,
        "school_id": row.school_id or None,
        "school": row.name,
        "class_id": row.class_id or None,
        "code": row.code,
        "count": row.count,
        "total": max(row.total, row.count),
        "why": row.why,
        "since_sync": row.since_sync,
        "since": row.since.isoformat(),
        "state": row.state,
        "expires_on": row.expires_on.isoformat() if row.expires_on else None,
        "fingerprint": row.fingerprint,
    }


def _lines(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    from roster_pipeline.cli.columns import columns

    header = ("SCHOOL", "ROWS", "WOULD GO", "OF", "SINCE", "SYNC", "STATE", "CODE")
    table = [
        (
            one["school"] or "no school",
            *_rows(one),
            one["since"],
            str(one["since_sync"]),
            one["state"] + (f" until {one['expires_on']}" if one["expires_on"] else ""),
            one["code"],
        )
        for one in found
    ]
    lines = list(columns(header, table, numbers=(2, 3, 5))) if found else []
    yield from lines[:1]
    for line, one in zip(lines[1:], found, strict=True):
        yield line
        if one["why"]:
            yield f"  {one['why']}"
        yield from (f"    {row}" for row in one.get("rows", ()))


def _rows(one: dict[str, Any]) -> tuple[str, str, str]:
    if one["code"] == SET_BACK:
        return "all of it, set back by an undo", "", ""
    of_class = f" of class {one['class_id']}" if one["class_id"] else ""
    return one["kind"].replace("_", " ") + of_class, f"{one['count']:,}", f"{one['total']:,}"


def user_name() -> str:
    """Who is at the terminal, for what is kept of decisions."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # nobody that the system knows by name, as in some containers
        return str(os.getuid())


def _stores() -> Stores:
    from roster_pipeline.store.home import Home

    return Home.find(os.environ).stores()
