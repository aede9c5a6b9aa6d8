"""Whole rounds: from the ledger through the outbox to a real receiver, over nights and outages."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, delete, select, update

from roster_pipeline.alerts import rounds
from roster_pipeline.alerts.rounds import World
from roster_pipeline.alerts.shapes import Envelope
from roster_pipeline.codes import CodedError
from roster_pipeline.store import outbox
from roster_pipeline.store.database import alert_conditions, alert_messages, syncs, tenants
from roster_pipeline_tests.unit.alerts.receivers import Desk, desk
from roster_pipeline_tests.unit.alerts.site import DAY, HOUR, MINUTE, NOON, Site

TWO = """
channels:
- {name: desk, kind: webhook, url: env:DESK, secret: env:SECRET}
- {name: office, kind: slack, url: env:OFFICE}
routes:
- {to: [desk]}
"""


def titles(receiver: Desk) -> list[str]:
    return [got.json["title"] for got in receiver.taken]


def ids(receiver: Desk) -> list[str]:
    return [got.json["id"] for got in receiver.taken]


# -------------------------------------------------------------------------------------- what is told


def test_nothing_is_told_of_tenants_that_are_well(site: Site, here: Desk) -> None:
    site.add("ash", "oak")
    site.sync(["ash", "oak"])
    site.pass_time(HOUR)
    assert here.tried == []


def test_a_failure_is_told_once_and_its_recovery_too(site: Site, here: Desk) -> None:
    site.add("ash", "oak")
    site.sync(["ash", "oak"], "failed", "RS-NET-01")
    site.pass_time(DAY, HOUR)
    assert titles(here) == ["2 tenants failed"]
    site.sync(["ash", "oak"], "failed", "RS-NET-01")
    site.pass_time(HOUR)
    assert len(here.tried) == 1
    site.sync(["oak"])
    site.pass_time(HOUR)
    assert titles(here)[1:] == ["oak is well again"]
    assert site.states() == {"ash": "failed"}


def test_a_reminder_comes_after_the_set_time_only(site: Site, here: Desk) -> None:
    site.add("oak")
    site.sync(["oak"], "failed", "RS-NET-01")
    site.round()
    site.pass_time(3 * DAY - MINUTE, HOUR)
    assert len(here.taken) == 1
    site.pass_time(MINUTE)
    assert titles(here)[1:] == ["oak failed (still): RS-NET-01"]


def test_states_come_from_what_the_ledger_says(site: Site, here: Desk) -> None:
    site.add("held", "kept", "failed", "cut-off", "narrow", "tried", "undone", "runs")
    site.sync(["held"], "partial", "RS-SAFE-01", school="Elm")
    site.sync(["kept"], "partial", "RS-SAFE-07", school="Elm")
    site.sync(["failed"], "failed", "RS-AUTH-01")
    site.sync(["cut-off"], "interrupted", "RS-RUN-02")
    site.sync(["narrow"], "interrupted")  # some assets only, by hand
    site.sync(["tried"], "failed", "RS-NET-01", trigger="dry run")
    site.sync(["undone"], "failed", "RS-NET-01", trigger="undo")
    site.sync(["runs"], "failed", "RS-NET-01")
    site.sync(["runs"], "running")
    site.round()
    assert site.states() == {
        "held": "held", "kept": "partial", "failed": "failed", "cut-off": "interrupted",
    }  # fmt: skip
    (got,) = here.taken
    lines = {section["code"]: section["lines"][0] for section in got.json["sections"]}
    assert lines == {
        "RS-AUTH-01": "failed (sis)", "RS-RUN-02": "cut-off (sis)", "RS-SAFE-07": "kept (Elm)",
        "RS-SAFE-01": "held (Elm)",
    }  # fmt: skip


def test_two_schools_of_one_name_are_two_problems(site: Site, here: Desk) -> None:
    site.add("oak")
    site.sync(["oak"], "partial", "RS-SAFE-07", school="Elm")
    with site.engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO sync_schools VALUES (1, 'another', 'Elm', 'kept', 'RS-SAFE-07', NULL)"
        )
    site.round()
    with site.engine.connect() as connection:
        stored = json.loads(connection.scalar(select(alert_conditions.c.problems)) or "")
    assert [row[2] for row in stored] == ["Elm of oak", "another"]


def test_a_sync_that_runs_is_judged_when_it_ends(site: Site, here: Desk) -> None:
    site.add("oak")
    site.sync(["oak"], "failed", "RS-NET-01")
    site.round()
    site.now += MINUTE
    site.sync(["oak"], "running")
    site.pass_time(HOUR)
    assert titles(here) == ["oak failed: RS-NET-01"]
    with site.engine.begin() as connection:
        connection.execute(
            update(syncs)
            .where(syncs.c.status == "running")
            .values(status="successful", finished_at=site.now.replace(tzinfo=None))
        )
    site.pass_time(MINUTE)
    assert titles(here)[1:] == ["oak is well again"]


def test_a_run_that_is_executed_again_ends_its_sync_a_second_time(site: Site, here: Desk) -> None:
    site.add("oak")
    site.sync(["oak"], "failed", "RS-NET-01")
    site.round()
    site.now += HOUR
    with site.engine.begin() as connection:
        connection.execute(
            update(syncs).values(status="successful", finished_at=site.now.replace(tzinfo=None))
        )
    site.round()
    assert titles(here)[1:] == ["oak is well again"]


def test_a_sync_that_is_written_down_late_is_not_overlooked(site: Site, here: Desk) -> None:
    """By a machine whose clock is slow, or that was busy until its transaction ended."""
    site.add("oak")
    site.round()
    site.now += HOUR
    site.round()
    late, site.now = site.now, site.now - 50 * MINUTE
    site.sync(["oak"], "failed", "RS-NET-01")
    site.now = late + MINUTE
    site.round()
    assert titles(here) == ["oak failed: RS-NET-01"]


def test_a_tenant_that_is_not_registered_any_more_is_not_told(site: Site, here: Desk) -> None:
    site.add("oak")
    site.sync(["oak"], "failed", "RS-NET-01")
    site.round()
    with site.engine.begin() as connection:
        connection.execute(delete(tenants))
    site.pass_time(10 * DAY, DAY)
    assert len(here.taken) == 1
    assert site.states() == {}


# ---------------------------------------------------------------------------------- repeated tonight


def test_a_failure_that_tonight_repeats_is_told_when_it_is_final(site: Site, here: Desk) -> None:
    site.repeated = ("UK",)
    site.add("oak")
    site.now = datetime(2025, 10, 15, 19, tzinfo=UTC)  # the window is from 18:00 to 06:00
    for _ in range(2):
        site.sync(["oak"], "failed", "RS-NET-01")
        site.pass_time(HOUR, 5 * MINUTE)
        assert here.tried == []
    site.sync(["oak"], "failed", "RS-NET-01")
    site.round()
    assert titles(here) == ["oak failed: RS-NET-01"]


def test_a_failure_that_tonight_mends_is_not_told(site: Site, here: Desk) -> None:
    site.repeated = ("UK",)
    site.add("oak")
    site.now = datetime(2025, 10, 15, 19, tzinfo=UTC)
    site.sync(["oak"], "failed", "RS-NET-01")
    site.pass_time(HOUR, 5 * MINUTE)
    site.sync(["oak"])
    site.pass_time(DAY, HOUR)
    assert here.tried == []
    with site.engine.connect() as connection:
        assert connection.execute(select(alert_conditions)).all() == []


@pytest.mark.parametrize(
    "at, code, told",
    [
        (datetime(2025, 10, 15, 19, tzinfo=UTC), "RS-AUTH-01", "at once"),  # no repetition helps
        (datetime(2025, 10, 15, 12, tzinfo=UTC), "RS-NET-01", "at once"),  # by day
        (datetime(2025, 10, 16, 5, 45, tzinfo=UTC), "RS-NET-01", "at once"),  # no time is left
        (datetime(2025, 10, 16, 5, 0, tzinfo=UTC), "RS-NET-01", "later"),
    ],
)
def test_what_nobody_repeats_is_told_at_once(
    site: Site, here: Desk, at: datetime, code: str, told: str
) -> None:
    site.repeated = ("UK",)
    site.add("oak")
    site.now = at
    site.sync(["oak"], "failed", code)
    site.round()
    assert len(here.taken) == (1 if told == "at once" else 0)
    site.pass_time(datetime(2025, 10, 16, 6, 1, tzinfo=UTC) - at, 30 * MINUTE)
    assert titles(here) == [f"oak failed: {code}"]  # when the window is over at the latest


# ------------------------------------------------------------------------------------------- no storms


def test_a_thousand_failures_at_once_are_one_message(site: Site, here: Desk) -> None:
    names = [f"t{number:04}" for number in range(1000)]
    site.add(*names)
    site.sync(names, "failed", "RS-NET-01")
    site.pass_time(2 * HOUR, 5 * MINUTE)
    (got,) = here.taken
    assert got.json["title"] == "1,000 tenants failed"
    (section,) = got.json["sections"]
    assert (section["count"], len(section["tenants"])) == (1000, 10)
    assert "All of them are read from sis.example: look there first." in section["lines"]
    assert len(got.body) < 2000


def test_a_thousand_failures_over_an_hour_are_a_handful_and_the_first_comes_soon(
    site: Site, here: Desk
) -> None:
    names = [f"t{number:04}" for number in range(1000)]
    site.add(*names)
    for tick in range(20):
        some = names[tick * 50 : (tick + 1) * 50]
        site.sync(some, "failed", ("RS-NET-01", "RS-NET-04", "RS-NET-05")[tick % 3])
        site.pass_time(3 * MINUTE)
        if tick == 0:
            assert len(here.taken) == 1
    site.pass_time(HOUR)
    assert len(here.taken) == 3
    assert sum(section["count"] for got in here.taken for section in got.json["sections"]) == 1000


def test_a_tenant_that_changes_every_night_for_thirty_nights_is_no_storm(site: Site, here: Desk) -> None:
    site.add("oak")
    for number in range(30):
        site.now = NOON + number * DAY
        site.sync(["oak"], *(("failed", "RS-NET-01") if number % 2 == 0 else ("successful",)))
        site.round()
        site.pass_time(HOUR, 20 * MINUTE)
    assert titles(here) == [
        "oak failed: RS-NET-01",
        "oak is well again",
        "oak failed: RS-NET-01",
        "oak keeps changing; its last sync: well",
    ]
    site.pass_time(3 * DAY, 6 * HOUR)
    assert titles(here)[4:] == ["oak is well (now steady)"]


def test_each_region_and_severity_goes_where_the_settings_say(site: Site, here: Desk) -> None:
    with desk() as office:
        site.uses(office=office)
        site.reads("""
channels:
- {name: desk, kind: webhook, url: env:DESK, secret: env:SECRET}
- {name: office, kind: webhook, url: env:OFFICE, secret: env:SECRET}
routes:
- {to: [desk], severity: failed}
- {to: [office], regions: [NZ]}
- {to: [office], tenants: [vip]}
""")
        site.add("oak", "vip")
        site.add("kea", region="NZ")
        site.sync(["oak", "vip"], "partial", "RS-SAFE-07", school="Elm")
        site.sync(["kea"], "failed", "RS-NET-01", region="NZ")
        site.round()
        assert titles(here) == ["kea failed: RS-NET-01"]
        assert sorted(titles(office)) == ["kea failed: RS-NET-01", "vip was synced in part: RS-SAFE-07"]
        site.now += HOUR
        site.sync(["kea"], "partial", "RS-SAFE-07", school="Elm", region="NZ")
        site.sync(["oak"])
        site.round()
        site.now += HOUR
        site.sync(["kea"], region="NZ")
        site.round()
        assert titles(here)[-1] == "kea is well again"  # who heard that it failed hears this as well
        assert "oak" not in str(titles(here))


# ------------------------------------------------------------------------------------ nights that end


def test_who_was_missed_is_told_and_the_digest_says_how_the_night_was(site: Site, here: Desk) -> None:
    site.add("well", "part", "failed", "missed", "wild")
    for number in range(6):
        site.now = NOON - (7 - number) * DAY
        site.sync(["wild"], *(("failed", "RS-NET-01") if number % 2 else ("successful",)))
        site.round()
    here.tried.clear()
    site.now = datetime(2025, 10, 15, 20, tzinfo=UTC)
    site.sync(["well", "wild"])
    site.sync(["part"], "partial", "RS-SAFE-07", school="Elm")
    site.now += HOUR
    site.sync(["failed"], "failed", "RS-AUTH-01")
    site.now = datetime(2025, 10, 16, 6, 6, tzinfo=UTC)
    site.end_night()
    site.pass_time(HOUR, 10 * MINUTE)
    told = {got.json["kind"]: got.json for got in here.taken}
    assert len(here.taken) == 2
    assert "1 was not started in the night" in told["changes"]["title"]
    digest = told["digest"]
    assert digest["title"] == (
        "UK night of 2025-10-15: 3 of 5 tenants published, 1 failed, 1 missed, 1 partial"
    )
    assert "Last sync over: 2025-10-15 21:00 UTC" in digest["lines"][0]
    assert [(section["code"], section["tenants"]) for section in digest["sections"]] == [
        ("RS-AUTH-01", ["failed"]), ("RS-RUN-01", ["missed"]), ("RS-SAFE-07", ["part"]), ("", ["wild"]),
    ]  # fmt: skip
    site.now += HOUR
    site.sync(["missed"])
    site.pass_time(MINUTE)
    assert titles(here)[2:] == ["missed is well again"]


def test_an_old_night_is_not_told_to_whoever_hears_of_nights_for_the_first_time(
    site: Site, here: Desk
) -> None:
    site.add("oak")
    site.now = datetime(2025, 10, 16, 6, 6, tzinfo=UTC)
    site.sync(["oak"])
    site.end_night()
    site.now += 2 * DAY
    site.sync(["oak"])
    site.round()
    assert here.tried == []


# ------------------------------------------------------------------------------- channels that are down


@pytest.fixture
def office() -> Iterator[Desk]:
    with desk() as receiver:
        yield receiver


def test_a_dead_channel_gets_everything_when_it_returns_once_and_in_order(site: Site, here: Desk) -> None:
    here.status = 503
    site.add("ash", "oak")
    for number in range(8):
        site.sync(["ash"] if number % 2 else ["oak"], "failed", f"RS-NET-0{number + 1}")
        site.pass_time(HOUR, 5 * MINUTE)
    assert here.taken == []
    waiting = site.waiting()
    assert waiting == 8
    tried = len(here.tried)
    assert 16 < tried < 60  # some eight hours: now and then, not each minute
    here.status = 200
    site.pass_time(20 * MINUTE)
    assert len(here.taken) == waiting
    assert ids(here) == sorted(ids(here), key=lambda one: int(one[1:].partition(".")[0]))
    assert max(Counter(ids(here)).values()) == 1
    assert site.waiting() == 0
    site.pass_time(DAY, HOUR)
    assert len(here.taken) == waiting


def test_a_channel_that_is_down_keeps_nothing_from_the_others_and_is_told_there(
    site: Site, here: Desk, office: Desk
) -> None:
    site.uses(office=office)
    site.reads(TWO.replace("to: [desk]", "to: [desk, office]"))
    here.status = 500
    site.add("oak")
    site.sync(["oak"], "failed", "RS-NET-01")
    done = site.round()
    assert list(done.failed) == ["desk"]
    assert done.failed["desk"].startswith("RS-NET-05: ")
    assert len(office.taken) == 1
    site.pass_time(2 * HOUR)
    told = [got.json["text"] for got in office.taken]
    assert [text for text in told if "channel" in text] == [
        "\N{LARGE RED CIRCLE} The alert channel desk does not work"
    ]
    assert "RS-NET-05" in office.taken[1].body.decode()
    here.status = 200
    site.pass_time(HOUR)
    assert titles(here) == ["oak failed: RS-NET-01"]
    assert office.taken[-1].json["text"].endswith("The alert channel desk works again")
    assert len(office.taken) == 3


def test_a_channel_that_is_away_for_a_moment_is_not_told_of(site: Site, here: Desk, office: Desk) -> None:
    site.uses(office=office)
    site.reads(TWO)
    here.status = 500
    site.add("oak")
    site.sync(["oak"], "failed", "RS-NET-01")
    site.pass_time(5 * MINUTE, MINUTE)
    here.status = 200
    site.pass_time(HOUR)
    assert titles(here) == ["oak failed: RS-NET-01"]
    assert office.tried == []


def test_a_channel_that_asks_to_wait_is_left_alone_for_so_long(site: Site, here: Desk) -> None:
    here.status, here.headers = 429, {"Retry-After": "1800"}
    site.add("oak")
    site.sync(["oak"], "failed", "RS-NET-01")
    site.round()
    site.pass_time(29 * MINUTE)
    assert len(here.tried) == 1
    site.pass_time(MINUTE)
    assert len(here.tried) == 2


def test_a_message_that_the_channel_does_not_want_holds_nothing_up_for_ever(site: Site, here: Desk) -> None:
    site.add("ash", "oak")
    here.status = 400
    site.sync(["ash"], "failed", "RS-NET-01")
    site.pass_time(20 * MINUTE, MINUTE)
    assert len(here.tried) == 5
    here.status = 200
    site.sync(["oak"], "failed", "RS-NET-01")
    site.pass_time(HOUR)
    assert titles(here) == ["oak failed: RS-NET-01"]
    with site.engine.connect() as connection:
        assert outbox.refused(connection) == {"desk": 1}


def test_a_secret_that_is_missing_is_told_and_nothing_is_lost(site: Site, here: Desk) -> None:
    url = site.environ.pop("DESK")
    site.add("oak")
    site.sync(["oak"], "failed", "RS-NET-01")
    assert site.round().failed["desk"].startswith("RS-AUTH-05: ")
    site.environ["DESK"] = url
    site.pass_time(5 * MINUTE)
    assert titles(here) == ["oak failed: RS-NET-01"]


def test_a_fault_of_ours_in_one_channel_keeps_nothing_from_the_others(
    site: Site, here: Desk, office: Desk
) -> None:
    site.uses(office=office)
    site.reads(TWO.replace("to: [desk]", "to: [desk, office]"))
    real = site.world.send

    def send(channel: Any, envelope: Envelope) -> None:
        if channel.name == "desk":
            raise KeyError("Jane Doe")
        real(channel, envelope)

    site.world = World(site.world.clock, site.world.new_id, site.world.jitter, send)
    site.add("oak")
    site.sync(["oak"], "failed", "RS-NET-01")
    done = site.round()
    assert done.failed["desk"].startswith("RS-RUN-99: KeyError in ")
    assert "Jane" not in str(done)
    assert len(office.taken) == 1


def test_a_round_ends_in_time_however_many_channels_hang(site: Site, here: Desk) -> None:
    names = [f"c{number}" for number in range(9)]
    listed = "".join(f"- {{name: {name}, kind: slack, url: env:DESK}}\n" for name in names)
    site.reads(f"channels:\n{listed}routes:\n- to: [{', '.join(names)}]\n")
    clock = [0.0]

    def send(channel: Any, envelope: Envelope) -> None:
        clock[0] += 12
        raise CodedError("RS-NET-04", "late")

    site.world = World(site.world.clock, site.world.new_id, site.world.jitter, send, lambda: clock[0])
    site.add("oak")
    site.sync(["oak"], "failed", "RS-NET-01")
    first = list(site.round().failed)
    assert clock[0] <= rounds.BUDGET + 12 < 50
    site.now += MINUTE
    clock[0] = 0
    assert not set(site.round().failed) & set(first)  # those that were not tried come first


# -------------------------------------------------------------------------------------- being killed


def _die(engine_url: str, environ: dict[str, str], now: datetime, where: str) -> None:
    """A round in a process of its own that ends without a word at one place."""
    from roster_pipeline.store import database

    engine = database.connect(engine_url)
    site = Site(engine, environ, now=now)
    real, put = site.world.send, outbox.put

    def die(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def put_and_die(*arguments: Any) -> None:
        put(*arguments)
        die()

    def send_and_die(*arguments: Any) -> None:
        real(*arguments)
        die()

    if where == "in the transaction":
        outbox.put = put_and_die  # type: ignore[assignment]
    send: Any = {"before sending": die, "after sending": send_and_die}.get(where, real)
    site.world = World(site.world.clock, site.world.new_id, site.world.jitter, send)
    site.round()


@pytest.mark.parametrize(
    "where, copies", [("in the transaction", 1), ("before sending", 1), ("after sending", 2)]
)
def test_a_round_that_is_killed_loses_nothing_and_tells_nothing_anew(
    site: Site, here: Desk, where: str, copies: int
) -> None:
    """A message whose sending nobody can say the end of is sent again under the same id, and no other is."""
    site.add("oak")
    site.sync(["oak"], "failed", "RS-NET-01")
    site.engine.dispose()
    killed = multiprocessing.get_context("spawn").Process(
        target=_die, args=(str(site.engine.url), site.environ, site.now, where)
    )
    killed.start()
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL
    site.ids = iter([f"n{number}" for number in range(9)])
    site.pass_time(10 * MINUTE)
    assert titles(here) == ["oak failed: RS-NET-01"] * copies
    assert len(set(ids(here))) == 1
    assert site.waiting() == 0


def test_what_somebody_is_sending_is_not_sent_by_another(site: Site, here: Desk) -> None:
    """A tick that Dagster has given up may still be at it when the next one begins."""
    here.status = 500
    site.add("oak")
    site.sync(["oak"], "failed", "RS-NET-01")
    site.round()
    site.now += 5 * MINUTE
    with site.engine.connect().execution_options(immediate=True) as connection, connection.begin():
        assert outbox.claim(connection, "desk", site.now) is not None
    here.status = 200
    site.pass_time(MINUTE)
    assert here.taken == []
    site.pass_time(MINUTE)
    assert len(here.taken) == 1


# ------------------------------------------------------------------------------------ what is not told


def test_nothing_of_people_and_no_secret_is_in_any_message_or_table(
    site: Site, here: Desk, engine: Engine
) -> None:
    """What an issue says stays in the ledger: its text may name what it is about."""
    site.add("oak", "ash", "elm")
    site.sync(["oak"], "failed", "RS-NET-01", message="Zyxomantha Quillfeather zq.canary@birdcage.example")
    site.sync(["ash"], "partial", "RS-SAFE-07", school="Elm", message="Zyxomantha Quillfeather")
    here.status = 500
    site.round()
    here.status = 200
    site.pass_time(4 * DAY, HOUR)
    site.now = datetime(2025, 10, 20, 6, 6, tzinfo=UTC)
    site.end_night()
    site.round()
    assert len(here.taken) >= 3
    sent = b"".join(got.body + repr(got.headers).encode() for got in here.tried)
    with engine.connect() as connection:
        stored = repr([
            list(connection.exec_driver_sql(f"SELECT * FROM {table}"))
            for table in ("alert_conditions", "alert_messages", "alert_channels", "alert_marks")
        ]).encode()  # fmt: skip
    for word in (b"Zyxomantha", b"Quillfeather", b"canary", b"hush", here.url().encode()):
        assert word not in sent
        assert word not in stored


def test_old_messages_are_pruned_and_what_waits_is_not(site: Site, here: Desk) -> None:
    site.add("ash", "oak")
    site.sync(["ash"], "failed", "RS-NET-01")
    site.round()
    here.status = 500
    site.now += HOUR
    site.sync(["oak"], "failed", "RS-NET-01")
    site.round()
    with site.engine.begin() as connection:
        assert outbox.prune(connection, site.now, ("desk",)) == 1
        assert outbox.prune(connection, site.now + DAY, None) == 0
        assert outbox.prune(connection, site.now + DAY, ("desk",)) == 0
        assert outbox.prune(connection, site.now + DAY, ()) == 1  # a channel that is there no more
        assert connection.scalars(select(alert_messages.c.place)).all() == []
