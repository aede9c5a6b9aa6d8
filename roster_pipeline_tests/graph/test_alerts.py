"""The sensor `alerts` and the command, on syncs that really happened, and on PostgreSQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, insert, select
from sqlalchemy.exc import IntegrityError

from roster_pipeline.alerts.messages import of_test
from roster_pipeline.cli import main
from roster_pipeline.definitions import defs
from roster_pipeline.sensors import alerts
from roster_pipeline.store import database, outbox
from roster_pipeline.store.database import alert_messages, tenants
from roster_pipeline_tests.graph.conftest import Site
from roster_pipeline_tests.unit.alerts.receivers import Desk, desk
from roster_pipeline_tests.unit.alerts.site import HOUR, LONG_AGO, NOON
from roster_pipeline_tests.unit.alerts.site import Site as Ledger

DOCUMENT = """
channels:
- {name: desk, kind: webhook, url: env:DESK, secret: env:SECRET}
- {name: office, kind: slack, url: env:OFFICE}
routes:
- {to: [desk]}
"""


@pytest.fixture
def site(stored_site: Site) -> Site:
    """With an instance on disk: one in memory knows of no schedules."""
    return stored_site


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    with desk() as receiver:
        monkeypatch.setenv("DESK", receiver.url())
        monkeypatch.setenv("OFFICE", receiver.url("/office"))
        monkeypatch.setenv("SECRET", "hush")
        yield receiver


def tick(site: Site) -> str:
    told = alerts(dg.build_sensor_context(instance=site.instance))
    assert isinstance(told, dg.SensorResult)
    assert isinstance(told.skip_reason, dg.SkipReason)
    assert told.cursor
    return str(told.skip_reason.skip_message).removeprefix("Alerts: ")


def settings(site: Site, text: str = DOCUMENT) -> None:
    (site.here.home.folder / "alerts.yaml").write_text(text, encoding="utf-8")


def command(*words: str) -> Result:
    return CliRunner().invoke(main, ["alerts", *words])


def test_the_sensor_runs_from_the_start_and_says_what_it_is() -> None:
    sensor = defs.get_repository_def().get_sensor_def("alerts")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == 60
    assert "docs/alerts.md" in (sensor.description or "")


def test_without_settings_a_tick_says_that_nobody_is_alerted(site: Site) -> None:
    assert tick(site).startswith("Nobody is alerted: there is no alerts.yaml in ")
    assert command().stdout.startswith("Nobody is alerted: there is no ")


def test_settings_with_a_mistake_are_told_and_sent_to_nobody(site: Site, here: Desk) -> None:
    settings(site, DOCUMENT.replace("slack", "slak"))
    assert tick(site).startswith("RS-CFG-14: ")
    assert here.tried == []


def test_a_sync_that_fails_is_told_and_its_recovery_too(site: Site, here: Desk, tmp_path: Path) -> None:
    settings(site)
    site.apply()
    users = site.school.folder / "users.csv"
    users.rename(tmp_path / "away.csv")
    assert not site.run().success
    told = tick(site)
    assert told == "changes told: 1; messages sent to desk: 1"
    (got,) = here.taken
    # Not RS-PRV-01, which the sync tells first: it says no more than that no provider was readable.
    assert {"RS-PRV-01", "RS-FILE-02"} <= {issue["code"] for issue in site.documents()[0]["issues"]}
    assert got.json["title"] == "tiny failed: RS-FILE-02"
    assert got.json["sections"][0]["lines"][0] == "tiny (files)"
    assert tick(site) == "Nothing changed that is to be told."
    (tmp_path / "away.csv").rename(users)
    assert site.run().success
    # Within half an hour of another message it is collected.
    assert tick(site) == "Nothing changed that is to be told."
    shown = command()
    assert shown.exit_code == 0
    rows = [line.split() for line in shown.stdout.splitlines()[1:3]]
    assert [row[:4] for row in rows] == [["desk", "webhook", "0", "0"], ["office", "slack", "0", "0"]]
    assert [row[4:] for row in rows][1] == ["not", "used", "yet"]
    assert "Not well: 0 tenants (as of " in shown.stdout


def test_a_channel_that_is_down_is_told_by_the_tick_and_the_command(site: Site, here: Desk) -> None:
    settings(site)
    site.apply()
    here.status = 503
    with database_of(site) as ledger:
        ledger.sync(["tiny"], "failed", "RS-NET-01")
    told = tick(site)
    assert told.startswith("desk does not work: RS-NET-05: The channel desk answered with HTTP 503.")
    shown = command().stdout
    assert "does not work since " in shown
    assert "RS-NET-05" in shown
    assert "tiny    failed  RS-NET-01  sis  " in shown


def database_of(site: Site) -> _Opened:
    return _Opened(site.here.stores.database)


class _Opened:
    """The deployment's own ledger, written into as `unit.alerts.site` does, at the real time."""

    def __init__(self, engine: Engine) -> None:
        from datetime import UTC, datetime

        self.ledger = Ledger(engine, now=datetime.now(UTC))

    def __enter__(self) -> Ledger:
        return self.ledger

    def __exit__(self, *_: object) -> None:
        pass


def test_the_command_checks_and_tests(site: Site, here: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    settings(site, DOCUMENT.replace("to: [desk]", "to: [desk], regions: [US]"))
    checked = command("--check")
    assert checked.exit_code == 0
    assert "2 channels, 1 routes. It can be used." in checked.stdout
    assert "No route takes every failed tenant of these regions: AU, NZ, UK." in checked.stdout
    tested = command("--test", "office")
    assert tested.stdout.startswith("office (slack) took the test message ")
    assert here.taken[0].path == "/office"
    unknown = command("--test", "nowhere")
    assert unknown.exit_code == 2
    assert unknown.stderr.startswith(
        "RS-CFG-14: There is no channel nowhere; the channels are: desk, office."
    )
    monkeypatch.delenv("OFFICE")
    missing = command("--check")
    assert (missing.exit_code, "RS-AUTH-05" in missing.stderr) == (2, True)
    here.status = 403
    failed = command("--test", "desk")
    assert (failed.exit_code, failed.stderr.partition(":")[0]) == (2, "RS-AUTH-01")


def test_tidy_removes_old_messages(site: Site, here: Desk) -> None:
    settings(site)
    with site.here.stores.database.begin() as connection:
        connection.execute(insert(alert_messages), [
            {"message_id": f"m{number}", "channel": "desk", "body": "{}", "made_at": LONG_AGO, "attempts": 1,
             "next_try_at": LONG_AGO, "delivered_at": LONG_AGO if number < 1500 else None}
            for number in range(1501)
        ])  # fmt: skip
    told = CliRunner().invoke(main, ["tidy"])
    assert told.exit_code == 0
    assert "1,500 alerts" in told.stdout
    with site.here.stores.database.connect() as connection:
        assert connection.scalars(select(alert_messages.c.message_id)).all() == ["m1500"]


# ---------------------------------------------------------------------------------------- PostgreSQL


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = database.connect(postgres_url)
    database.upgrade(engine)  # by the migrations, as a deployment has it
    yield engine
    engine.dispose()


def test_on_postgres_a_thousand_failures_are_one_message(engine: Engine) -> None:
    with desk() as receiver:
        ledger = Ledger(engine)
        ledger.uses(desk=receiver)
        names = [f"t{number:04}" for number in range(1000)]
        ledger.add(*names)
        ledger.sync(names, "failed", "RS-NET-01", school="Elm")
        receiver.status = 500
        ledger.round()
        receiver.status = 200
        ledger.pass_time(HOUR)
        assert [got.json["title"] for got in receiver.taken] == ["1,000 tenants failed"]
        ledger.sync(names)
        ledger.round()
        assert receiver.taken[-1].json["title"] == "1,000 tenants are well again"
        assert ledger.waiting() == 0


def test_on_postgres_rounds_at_the_same_moment_tell_once(engine: Engine) -> None:
    with desk() as receiver:
        receiver.pause = 0.2
        ledger = Ledger(engine)
        ledger.uses(desk=receiver)
        ledger.add("ash", "oak")
        ledger.round()
        ledger.sync(["ash", "oak"], "failed", "RS-NET-01")
        together(4, ledger.round)
        assert [got.json["title"] for got in receiver.taken] == ["2 tenants failed"]


def test_on_postgres_two_that_want_the_same_message_at_once_do_not_both_get_it(engine: Engine) -> None:
    got: list[object] = []
    with engine.begin() as connection:
        outbox.put(connection, ["desk"], of_test("desk"), "m", NOON)

    def second() -> None:
        with engine.begin() as connection:
            got.append(outbox.claim(connection, "desk", NOON))

    with engine.begin() as connection:
        assert outbox.claim(connection, "desk", NOON) is not None
        thread = threading.Thread(target=second)
        thread.start()
        while not connection.exec_driver_sql("SELECT 1 FROM pg_locks WHERE NOT granted").first():
            time.sleep(0.01)  # until it has read the row and waits for ours
    thread.join()
    assert got == [None]


def together(count: int, work: Callable[[], object]) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_on_postgres_first_rounds_at_the_same_moment_tell_once(engine: Engine) -> None:
    with desk() as receiver:
        ledger = Ledger(engine)
        ledger.uses(desk=receiver)
        ledger.add("oak")
        ledger.sync(["oak"], "failed", "RS-NET-01")

        def first() -> None:
            with suppress(IntegrityError):  # the sensor tells it, and its next tick repeats it
                ledger.round()

        together(4, first)
        ledger.round()
        assert [got.json["title"] for got in receiver.taken] == ["oak failed: RS-NET-01"]


def test_the_tables_are_the_ones_that_are_declared(engine: Engine) -> None:
    with engine.connect() as connection:
        for table in database.metadata.tables.values():
            if table.name.startswith("alert_"):
                connection.execute(select(table))
        assert connection.execute(select(tenants)).all() == []
