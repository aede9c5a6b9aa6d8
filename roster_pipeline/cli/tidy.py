"""`roster-pipeline tidy`: remove what is older than it is kept, also of tenants that no sync tidies."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from roster_pipeline.cli import REFUSED, tell_error
from roster_pipeline.codes import CodedError

if TYPE_CHECKING:
    from roster_pipeline.store.home import Stores
    from roster_pipeline.store.retention import Retention


@click.command()
@click.argument("tenants", metavar="[T]...", nargs=-1)
def tidy(tenants: tuple[str, ...]) -> None:
    """Remove extracts and history that are older than they are kept, of the tenants T or of all.

    Every sync does so for its tenant. Of all, alerts go too that were sent as long ago as history is kept.
    ROSTER_LAKE_DAYS and ROSTER_HISTORY_DAYS say how long they are kept.
    """
    from roster_pipeline.store.home import Home
    from roster_pipeline.store.retention import every_tenant, retention
    from roster_pipeline.tidying import tidy_alerts

    keep = retention(os.environ)
    home = Home.find(os.environ)
    stores = home.stores()
    refused = False
    try:
        for tenant in tenants or every_tenant(stores):
            try:
                click.echo(_tidied(stores, tenant, keep))
            except CodedError as error:  # one that is being synced keeps no other from being tidied
                tell_error(error)
                refused = True
        if not tenants:
            rows = tidy_alerts(stores, home, os.environ, keep, datetime.now(UTC))
            if rows:
                click.echo(f"{rows:,} alerts")
    finally:
        stores.database.dispose()
    if refused:
        raise click.exceptions.Exit(REFUSED)


def _tidied(stores: Stores, tenant: str, keep: Retention) -> str:
    from roster_pipeline.tidying import tidy_one

    done, completed = tidy_one(stores, tenant, keep, lambda: datetime.now(UTC))
    told = [
        f"{count:,} {what}"
        for count, what in (
            (done.extracts, "folders of extracts"),
            (done.tables, "folders of tables"),
            (done.history, "rows of history"),
        )
        if count
    ]
    told += [f"receipt {receipt} completed" for receipt in completed]
    return f"{tenant}: {', '.join(told) if told else 'nothing to remove'}"
