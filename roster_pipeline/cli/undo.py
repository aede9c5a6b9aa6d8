"""`roster-pipeline undo`: sets a published roster back to before a sync, shown as a difference first.

What changes and what waits afterwards is decided in `roster_pipeline.undo`; here it is printed. The rows are
personal data and go to stdout alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from roster_pipeline.cli.holds import user
from roster_pipeline.codes import CodedError

if TYPE_CHECKING:
    from roster_pipeline.undo import Undo

_WHATS: Final = {"added": "added back", "updated": "changed back", "removed": "removed again"}


@click.command()
@click.argument("tenant", metavar="T")
@click.option("--sync", "sync_id", type=int, required=True, metavar="N", help="As it was before this sync.")
@click.option("--school", metavar="S", help="Only this school: its id, identifier or name.")
@click.option("--yes", is_flag=True, help="Also do it; without this, only the difference is shown.")
@click.option("--rows", "with_rows", is_flag=True, help="Also list the rows that change.")
@click.option("--why", default="", metavar="TEXT", help="For those who look at it later.")
@click.option("--by", "who", metavar="WHO", help="Who decides.  [default: the user's name]")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def undo(
    tenant: str,
    sync_id: int,
    school: str | None,
    yes: bool,
    with_rows: bool,
    why: str,
    who: str | None,
    as_json: bool,
) -> None:
    """Set what is published of the tenant T back to before sync N.

    The schools that this changes wait afterwards: they follow their source again when it changes, or when
    that is approved.
    """
    from roster_pipeline import undo as undoing
    from roster_pipeline.store.home import Home

    stores = Home.find(os.environ).stores()
    try:
        found = undoing.preview(stores, tenant, sync_id, school)
        told = _told(tenant, found, with_rows=with_rows)
        if not as_json:
            for line in _lines(told):
                click.echo(line)
        if yes:
            told["undo"] = undoing.undo(
                stores, tenant, sync_id, school=school, who=who or user(), why=why,
                clock=lambda: datetime.now(UTC),
            )  # fmt: skip
    finally:
        stores.database.dispose()
    if as_json:
        click.echo(json.dumps(told, ensure_ascii=False))
    if not yes:
        raise CodedError(
            "RS-CFG-10",
            f"Undoing sync {sync_id} of {tenant} changes {sum(found.difference.concerned.values()):,} rows, "
            "as shown; nothing is changed yet.",
        )
    if not as_json:
        for line in _done(tenant, told):
            click.echo(line)


def _told(tenant: str, found: Undo, *, with_rows: bool) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "sync_id": found.sync_id,
        "school_id": found.school_id,
        "difference": [
            {
                "school_id": school or None,
                "school": found.names.get(school),
                "kind": kind,
                **{what: counted[what] for what in _WHATS},
            }
            for (school, kind), counted in found.difference.counts_by_school.items()
        ],
        "waits": [_school(found, school) for school in sorted(found.waits)],
        "follows": [_school(found, school) for school in sorted(found.follows)],
        **({"rows": found.rows()} if with_rows else {}),
        "undo": None,
    }


def _school(found: Undo, school: str) -> dict[str, str | None]:
    return {"school_id": school or None, "school": found.names.get(school)}


def _lines(told: dict[str, Any]) -> Iterator[str]:
    from roster_pipeline.cli.columns import columns

    header = ("SCHOOL", "ROWS", *(words.upper() for words in _WHATS.values()))
    table = [
        (
            one["school"] or "no school",
            one["kind"].replace("_", " "),
            *(f"{one[what]:,}" if one[what] else "" for what in _WHATS),
        )
        for one in told["difference"]
    ]
    yield from columns(header, table, numbers=(2, 3, 4))
    for row in told.get("rows", ()):
        yield f"  {_WHATS[row['what']]}: {row['kind'].replace('_', ' ')} · {row['row']}"
    for words, schools in (("will wait", told["waits"]), ("will follow their source", told["follows"])):
        if schools:
            yield f"\n{words.capitalize()}: {_listed(schools)}"


def _listed(schools: list[dict[str, Any]]) -> str:
    return ", ".join(one["school"] or "those of no school" for one in schools)


def _done(tenant: str, told: dict[str, Any]) -> Iterator[str]:
    number = told["undo"]["sync_id"]
    yield f"\nDone by sync {number}; roster-pipeline undo {tenant} --sync {number} takes it back."
    if told["waits"]:
        yield f"roster-pipeline holds {tenant} lists what waits; approve lets it follow its source again."
