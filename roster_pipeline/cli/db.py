"""`roster-pipeline db`: the roster database's schema."""

from __future__ import annotations

import os

import click


@click.group()
def db() -> None:
    """The roster database."""


@db.command()
def upgrade() -> None:
    """Bring the roster database to this version's schema.

    SQLite is upgraded by whatever command needs it; PostgreSQL only by this one.
    """
    from roster_pipeline.codes import CodedError
    from roster_pipeline.store import database
    from roster_pipeline.store.home import Home

    url = Home.find(os.environ).database_url
    engine = database.connect(url)
    try:
        before = database.current_version(engine)
        if before is not None and before > database.SCHEMA_VERSION:
            raise CodedError(
                "RS-DB-02",
                f"{database.shown(url)} has schema version {before}, which is newer than this release's "
                f"{database.SCHEMA_VERSION}; use the newer release.",
            )
        if before == database.SCHEMA_VERSION:
            click.echo(f"{database.shown(url)} has schema version {before} already.")
            return
        database.upgrade(engine)
        click.echo(
            f"{database.shown(url)}: from schema version {before or 'none'} to {database.SCHEMA_VERSION}."
        )
    finally:
        engine.dispose()
