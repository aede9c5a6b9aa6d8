"""`roster-pipeline syncs`: what the ledger knows of a tenant's syncs."""

from __future__ import annotations

import json
import os
from typing import Any, Final

import click

HEADER: Final = (
    "SYNC", "STARTED (UTC)", "STATUS", "AS OF",
    "UNMATCHED USERS", "MATCHED STUDENTS", "MATCHED TEACHERS", "IMPORTED CLASSES", "CODES",
)  # fmt: skip
_COUNTS: Final = ("unmatched_users", "matched_students", "matched_teachers", "imported_classes")


@click.command()
@click.argument("tenant", metavar="T")
@click.option("--json", "as_json", is_flag=True, help="One JSON document a sync, one line each.")
@click.option(
    "--last", type=click.IntRange(min=1), default=50, show_default=True, metavar="N", help="How many at most."
)
def syncs(tenant: str, as_json: bool, last: int) -> None:
    """List the syncs of the tenant T, the newest first."""
    from roster_pipeline.cli.columns import columns
    from roster_pipeline.store import ledger
    from roster_pipeline.store.home import Home
    from roster_pipeline.tenants import registry

    database = Home.find(os.environ).stores().database
    try:
        with database.connect() as connection:
            found = ledger.past(connection, tenant, limit=last)
            if not found:
                registry.get(connection, tenant)  # it is known, or was never there
    finally:
        database.dispose()
    if as_json:
        for document in found:
            click.echo(json.dumps(document, ensure_ascii=False))
    elif found:
        for line in columns(HEADER, [_row(document) for document in found], numbers=(4, 5, 6, 7)):
            click.echo(line)
    else:
        click.echo(f"No syncs yet: roster-pipeline sync {tenant}", err=True)


def _row(document: dict[str, Any]) -> tuple[str, ...]:
    counts = document.get("counts")
    return (
        str(document["sync_id"]),
        document["started_at"].removesuffix("Z").replace("T", " "),
        document["status"] + (" (dry run)" if document.get("dry_run") else ""),
        document["as_of"],
        *(f"{counts[name]:,}" if counts else "" for name in _COUNTS),
        " ".join(dict.fromkeys(issue["code"] for issue in document.get("issues", ()))),
    )
