"""`roster-pipeline alerts`: who is told of what, what waits to be sent, and who is not well now."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from roster_pipeline.alerts.conditions import Known
    from roster_pipeline.alerts.settings import Settings

CHANNELS: Final = ("CHANNEL", "KIND", "WAITING", "REFUSED", "LAST SENT (UTC)", "STATE")
BAD: Final = ("TENANT", "STATE", "CODE", "WHERE", "SINCE (UTC)", "TOLD")


@click.command()
@click.option("--check", "only_check", is_flag=True, help="Only look whether the document can be used.")
@click.option("--test", "channel", metavar="CHANNEL", help="Send a test message through a channel, now.")
def alerts(only_check: bool, channel: str | None) -> None:
    """Show the channels of alerts.yaml, what waits for them, and which tenants are not well.

    ROSTER_ALERTS names another file. Dagster's sensor `alerts` sends; this command sends tests alone.
    """
    from roster_pipeline.alerts import settings
    from roster_pipeline.store.home import Home

    home = Home.find(os.environ)
    file = settings.find(os.environ, home.folder)
    wanted = settings.load(os.environ, home.folder)
    if channel is not None:
        _test(wanted, channel)
        return
    if wanted is None:
        click.echo(f"Nobody is alerted: there is no {home.folder / settings.FILE} (docs/alerts.md).")
    if only_check:
        if wanted is not None:
            click.echo(
                f"{file}: {len(wanted.channels)} channels, {len(wanted.routes)} routes. It can be used."
            )
            _check_secrets(wanted)
        return
    stores = home.stores()
    try:
        _show(stores.database, wanted)
    finally:
        stores.database.dispose()


def _test(wanted: Settings | None, name: str) -> None:
    import uuid

    from roster_pipeline.alerts import messages, settings
    from roster_pipeline.alerts.channels import Sender
    from roster_pipeline.alerts.shapes import Envelope
    from roster_pipeline.codes import CodedError

    found = wanted.channel(name) if wanted else None
    if found is None:
        offered = ", ".join(wanted.names) if wanted else "none"
        raise CodedError(settings.CODE, f"There is no channel {name}; the channels are: {offered}.")
    now = datetime.now(UTC)
    envelope = Envelope(uuid.uuid4().hex, now, messages.of_test(name))
    Sender(os.environ, lambda: now)(found, envelope)
    click.echo(f"{name} ({found.kind}) took the test message {envelope.message_id}.")


def _check_secrets(wanted: Settings) -> None:
    """Whether every secret is where the document says, and who hears of nothing."""
    from roster_pipeline.nights import windows
    from roster_pipeline.tenants.secrets import resolve

    for channel in wanted.channels:
        for reference in (channel.url, channel.secret, channel.username, channel.password):
            if reference:
                resolve(reference, os.environ)
    silent = [region for region in windows.OFFSETS if not wanted.audience(region, "", "failed")]
    if silent:
        click.echo(f"No route takes every failed tenant of these regions: {', '.join(silent)}.")


def _show(engine: Engine, wanted: Settings | None) -> None:
    from roster_pipeline.store import alerts as store

    with engine.connect() as connection:
        known, looked = store.known(connection), store.looked_at(connection)
        _show_channels(connection, wanted)
    click.echo("")
    bad = [one for one in known.values() if one.now.is_bad or one.waits or one.unsteady]
    when = f"as of {looked:%Y-%m-%d %H:%M} UTC" if looked else "the sensor `alerts` has not looked yet"
    click.echo(f"Not well: {len(bad):,} tenants ({when})")
    _show_bad(bad)


def _show_channels(connection: Connection, wanted: Settings | None) -> None:
    from roster_pipeline.cli.columns import columns
    from roster_pipeline.store import outbox
    from roster_pipeline.store.outbox import Health

    waiting, refused, health = (
        outbox.waiting(connection), outbox.refused(connection), outbox.health(connection),
    )  # fmt: skip
    channels = {channel.name: channel for channel in wanted.channels} if wanted else {}
    rows = []
    for name in [*channels, *(name for name in sorted(waiting) if name not in channels)]:
        channel, mine = channels.get(name), health.get(name, Health())
        state = "works" if mine.worked_at else "not used yet"
        if mine.failing_since:
            state = f"does not work since {mine.failing_since:%Y-%m-%d %H:%M}: {mine.error}"
        if channel is None:
            state = "not in the document: what waits is not sent"
        count, _ = waiting.get(name, (0, None))
        sent = f"{mine.worked_at:%Y-%m-%d %H:%M}" if mine.worked_at else ""
        kind = channel.kind if channel else ""
        rows.append((name, kind, f"{count:,}", f"{refused.get(name, 0):,}", sent, state))
    for line in columns(CHANNELS, rows, numbers=(2, 3)) if rows else ():
        click.echo(line)


def _show_bad(bad: list[Known]) -> None:
    from roster_pipeline.cli.columns import columns

    rows = []
    for one in sorted(bad, key=lambda one: (one.now.severity if one.now.is_bad else "z", one.tenant)):
        first = one.now.problems[0] if one.now.problems else None
        where = ", ".join(part for part in (first.provider, first.school) if part) if first else ""
        told = f"{one.told_at:%Y-%m-%d %H:%M}" if one.told_at and one.told.is_bad else "no"
        told = "unsteady, quiet" if one.unsteady else "waits for a repetition" if one.waits else told
        since = f"{one.since:%Y-%m-%d %H:%M}" if one.since and one.now.is_bad else ""
        rows.append((one.tenant, one.now.state, one.now.code, where, since, told))
    for line in columns(BAD, rows) if rows else ():
        click.echo(line)
