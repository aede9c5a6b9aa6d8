"""A deployment without Dagster: its nights are written straight into the ledger, its clock is the test's."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, func, insert, select

from roster_pipeline.alerts import rounds, settings
from roster_pipeline.alerts.channels import Sender
from roster_pipeline.alerts.rounds import Round, World
from roster_pipeline.alerts.settings import Settings
from roster_pipeline.codes import CATALOGUE
from roster_pipeline.nights.windows import newest_window
from roster_pipeline.store import alerts, nights
from roster_pipeline.store.database import alert_messages, sync_issues, sync_schools, syncs, tenants
from roster_pipeline.tenants.document import Region
from roster_pipeline_tests.unit.alerts.receivers import Desk

NOON = datetime(2025, 10, 15, 12, tzinfo=UTC)
LONG_AGO = datetime(2025, 9, 1, tzinfo=UTC).replace(tzinfo=None)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

DOCUMENT = """
channels:
- {name: desk, kind: webhook, url: env:DESK, secret: env:SECRET}
routes:
- {to: [desk]}
digests:
- {to: [desk]}
"""


@dataclass
class Site:
    """`repeated` are the regions whose failed syncs a tick of the night repeats."""

    engine: Engine
    environ: dict[str, str] = field(default_factory=dict)
    settings: Settings = field(default_factory=lambda: read(DOCUMENT))
    now: datetime = NOON
    repeated: tuple[Region, ...] = ()
    ids: Any = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.world = World(
            lambda: self.now,
            lambda: f"m{next(self.ids)}",
            lambda: 0.5,
            Sender(self.environ, lambda: self.now),
        )

    def uses(self, **desks: Desk) -> None:
        self.environ |= {name.upper(): here.url() for name, here in desks.items()}
        self.environ["SECRET"] = "hush"

    def reads(self, document: str) -> None:
        self.settings = read(document)

    def add(self, *names: str, region: Region = "UK", host: str = "sis.example") -> None:
        provider = {"name": "sis", "kind": "oneroster", "endpoint_url": f"https://{host}/api"}
        with self.engine.begin() as connection:
            connection.execute(insert(tenants), [
                {"tenant": name, "region": region, "applied_at": LONG_AGO, "added_at": LONG_AGO,
                 "document": json.dumps({"tenant": name, "region": region, "providers": [provider]})}
                for name in names
            ])  # fmt: skip

    def sync(
        self, names: Sequence[str], status: str = "successful", code: str = "", *, school: str = "",
        region: Region = "UK", trigger: str = "schedule", message: str = "...",
    ) -> None:  # fmt: skip
        """Syncs that end now, and lasted two minutes."""
        naive = self.now.replace(tzinfo=None)
        with self.engine.begin() as connection:
            last = connection.scalar(select(func.max(syncs.c.sync_id))) or 0
            numbers = range(last + 1, last + 1 + len(names))
            connection.execute(insert(syncs), [
                {"sync_id": number, "tenant": name, "region": region, "run_id": f"run {number}",
                 "trigger": trigger, "status": status, "as_of": date(2025, 10, 16),
                 "started_at": naive - 2 * MINUTE, "finished_at": None if status == "running" else naive}
                for number, name in zip(numbers, names, strict=True)
            ])  # fmt: skip
            if code:
                connection.execute(insert(sync_issues), [
                    {"sync_id": number, "place": 0, "code": code, "severity": CATALOGUE[code].severity,
                     "provider": None if school else "sis", "school": school or None, "message": message}
                    for number in numbers
                ])  # fmt: skip
            if code and school:
                connection.execute(insert(sync_schools), [
                    {"sync_id": number, "school_id": f"{school} of {name}", "name": school, "state": "kept",
                     "code": code}
                    for number, name in zip(numbers, names, strict=True)
                ])  # fmt: skip

    def end_night(self, region: Region = "UK") -> None:
        """What the watch writes down when a window is over."""
        window = newest_window(region, self.now)
        with self.engine.begin() as connection:
            night = nights.read(connection, window)
            missed = [
                one.tenant for one in night.candidates if not one.done and one.tenant not in night.started
            ]
            nights.end(connection, night, missed, self.now)

    def round(self) -> Round:
        return rounds.go(self.engine, self.settings, self.repeated, self.world)

    def pass_time(self, duration: timedelta, step: timedelta = 5 * MINUTE) -> None:
        """Rounds, as a sensor has them."""
        end = self.now + duration
        while self.now < end:
            self.now = min(self.now + step, end)
            self.round()

    def states(self) -> dict[str, str]:
        with self.engine.connect() as connection:
            return {name: one.now.state for name, one in alerts.known(connection).items() if one.now.is_bad}

    def waiting(self) -> int:
        with self.engine.connect() as connection:
            query = select(func.count()).where(alert_messages.c.delivered_at.is_(None))
            return connection.scalar(query) or 0


def read(document: str) -> Settings:
    return settings.read(document, file=Path("alerts.yaml"))
