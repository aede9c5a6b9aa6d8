"""`roster-pipeline nights`: how each region's night goes, and when it is expected to be over."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from roster_pipeline.nights.forecast import Forecast
    from roster_pipeline.nights.windows import Window
    from roster_pipeline.store.nights import Night

HEADER: Final = (
    "REGION", "WINDOW (UTC)", "TENANTS", "SYNCED", "RUNNING", "WAIT", "FAILED", "MISSED", "EXPECTED END",
)  # fmt: skip


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document a region, one line each.")
def nights(as_json: bool) -> None:
    """Show the newest night of each region: who is synced, who waits, and when it is expected to be over."""
    from roster_pipeline.cli.columns import columns
    from roster_pipeline.cli.sync import instance_of
    from roster_pipeline.nights import windows
    from roster_pipeline.nights.asking import in_order
    from roster_pipeline.nights.forecast import forecast
    from roster_pipeline.runs import queue_of
    from roster_pipeline.store import nights as ledger
    from roster_pipeline.store.home import Home

    home, now = Home.find(os.environ), datetime.now(UTC)
    stores = home.stores()
    try:
        with instance_of(home) as instance, stores.database.connect() as connection:
            queue, begun = queue_of(instance)
            told = []
            for region in windows.OFFSETS:
                window = windows.newest_window(region, now)
                night = ledger.read(connection, window)
                if not night.candidates:
                    continue
                running = queue.running & {one.tenant for one in night.candidates}
                ahead = forecast(in_order(night.candidates), queue, begun, now, window.end)
                missed = ledger.missed_in(connection, window)
                told.append(_told(window, night, ahead, len(running), missed, now))
    finally:
        stores.database.dispose()
    if as_json:
        for document in told:
            click.echo(json.dumps(document, ensure_ascii=False))
    elif told:
        for line in columns(HEADER, [_row(document) for document in told], numbers=(2, 3, 4, 5, 6, 7)):
            click.echo(line)
    else:
        click.echo("No tenants yet: roster-pipeline tenants apply FILE", err=True)


def _told(
    window: Window, night: Night, ahead: Forecast, running: int, missed: list[str], now: datetime
) -> dict[str, Any]:
    is_open = now < window.end
    return {
        "region": window.region,
        "start": f"{window.start:%Y-%m-%dT%H:%M:%SZ}",
        "end": f"{window.end:%Y-%m-%dT%H:%M:%SZ}",
        "open": is_open,
        "tenants": len(night.candidates),
        "synced": sum(one.done for one in night.candidates),
        "running": running,
        "waiting": ahead.waiting if is_open else 0,
        "failed": sum(not one.done and one.tries > 0 for one in night.candidates),
        "missed": missed,
        "late": list(ahead.late) if is_open else [],
        "expected_end": f"{ahead.finish:%Y-%m-%dT%H:%M:%SZ}" if is_open and ahead.waiting + running else None,
    }


def _row(told: dict[str, Any]) -> tuple[str, ...]:
    window = f"{told['start'][:16].replace('T', ' ')} - {told['end'][11:16]}"
    counts = [told[name] for name in ("tenants", "synced", "running", "waiting", "failed")]
    expected = (told["expected_end"] or "")[:16].replace("T", " ")
    if told["late"]:
        expected += f" ({len(told['late'])} too late)"
    return (told["region"], window, *(f"{count:,}" for count in counts), f"{len(told['missed']):,}", expected)
