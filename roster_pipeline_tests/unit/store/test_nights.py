"""What the ledger tells of a night: who is done, who failed, how long syncs usually take; and the watch."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select

from roster_pipeline import watch
from roster_pipeline.codes import Issue
from roster_pipeline.nights.asking import Candidate
from roster_pipeline.nights.limits import LATE
from roster_pipeline.nights.windows import Window, newest_window
from roster_pipeline.store import ledger, nights
from roster_pipeline.store.database import leases, missed_nights, night_ends, sync_issues, syncs
from roster_pipeline.store.lease import SILENCE
from roster_pipeline.tenants import registry
from roster_pipeline.tenants.document import Tenant

BEFORE = dt.datetime(2025, 10, 1, tzinfo=dt.UTC)
WINDOW = newest_window("UK", dt.datetime(2025, 10, 15, 20, tzinfo=dt.UTC))  # 18:00 to 06:00, for the 16th
DAY = dt.date(2025, 10, 16)


def minutes(number: float) -> dt.timedelta:
    return dt.timedelta(minutes=number)


def add(engine: Engine, name: str, at: dt.datetime = BEFORE, **settings: Any) -> None:
    provider = {"name": "sis", "kind": "oneroster_csv", "path": "/x"} | settings.pop("provider", {})
    document = json.dumps({"tenant": name, "region": "UK", "providers": [provider], **settings})
    tenant = Tenant.model_validate_json(document)
    with engine.begin() as connection:
        registry.apply(connection, tenant, at)


def sync(
    engine: Engine, tenant: str, started: dt.datetime, lasted: dt.timedelta | None,
    status: str = "successful", *, trigger: str = "schedule", as_of: dt.date = DAY, code: str = "",
) -> int:  # fmt: skip
    """A sync in the ledger; one that has not ended where it lasted None."""
    with engine.begin() as connection:
        sync_id, _, _ = ledger.begin(
            connection, tenant=tenant, region="UK", run_id=f"{tenant} {started}", trigger=trigger,
            as_of=as_of, as_of_given=False, now=started,
        )  # fmt: skip
        if lasted is not None:
            report = ledger.failure([Issue(code, "...")] if code else []) | {"status": status}
            ledger.finish(connection, sync_id, report, started + lasted)
    return sync_id


def night(engine: Engine, window: Window = WINDOW) -> dict[str, Candidate]:
    with engine.connect() as connection:
        return {one.tenant: one for one in nights.read(connection, window).candidates}


def started(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        return set(nights.read(connection, WINDOW).started)


def test_a_tenant_that_was_never_synced_is_due_and_new(engine: Engine) -> None:
    add(engine, "oak")
    assert night(engine) == {"oak": Candidate("oak")}


def test_only_the_tenants_of_the_region_are_there(engine: Engine) -> None:
    add(engine, "oak")
    add(engine, "elm", region="NZ")
    assert set(night(engine)) == {"oak"}


def test_a_sync_that_published_in_the_window_is_the_nights(engine: Engine) -> None:
    add(engine, "oak")
    sync(engine, "oak", WINDOW.start + minutes(5), minutes(2))
    assert night(engine)["oak"].done
    assert started(engine) == {"oak"}
    yesterday = newest_window("UK", WINDOW.start - minutes(1))
    assert not night(engine, yesterday)["oak"].done


@pytest.mark.parametrize("status", ["successful", "partial"])
def test_one_by_hand_that_ended_in_the_window_is_the_nights_too(engine: Engine, status: str) -> None:
    add(engine, "oak")
    sync(engine, "oak", WINDOW.start - minutes(2), minutes(5), status, trigger="manual")
    assert night(engine)["oak"].done
    assert started(engine) == {"oak"}


def test_one_for_an_earlier_day_is_not(engine: Engine) -> None:
    """It ended in the window, and the school day that the night serves would be without a roster."""
    add(engine, "oak")
    sync(engine, "oak", WINDOW.start - minutes(2), minutes(5), trigger="manual", as_of=DAY - dt.timedelta(1))
    assert not night(engine)["oak"].done


def test_which_day_the_night_serves_follows_from_the_tenants_own_time_zone(engine: Engine) -> None:
    add(engine, "oak", time_zone="Pacific/Honolulu")  # where it is the 15th when the window ends
    sync(engine, "oak", WINDOW.start + minutes(5), minutes(5), as_of=DAY - dt.timedelta(1))
    assert night(engine)["oak"].done


@pytest.mark.parametrize("trigger", [ledger.DRY_RUN, ledger.UNDO])
def test_what_was_only_tried_out_and_an_undo_are_no_syncs(engine: Engine, trigger: str) -> None:
    add(engine, "oak")
    sync(engine, "oak", WINDOW.start + minutes(5), minutes(5), trigger=trigger)
    assert night(engine) == {"oak": Candidate("oak")}
    assert started(engine) == set()


def test_a_sync_that_goes_on_is_started_and_not_done(engine: Engine) -> None:
    add(engine, "oak")
    sync(engine, "oak", WINDOW.start + minutes(5), None)
    assert not night(engine)["oak"].done
    assert started(engine) == {"oak"}


def test_failures_of_the_night_are_counted_and_the_last_says_whether_a_retry_helps(engine: Engine) -> None:
    add(engine, "oak")
    sync(engine, "oak", WINDOW.start - minutes(90), minutes(5), "failed", code="RS-AUTH-01")
    sync(engine, "oak", WINDOW.start + minutes(5), minutes(5), "failed", code="RS-AUTH-01")
    sync(engine, "oak", WINDOW.start + minutes(60), minutes(5), "failed", code="RS-NET-01")
    found = night(engine)["oak"]
    assert (found.done, found.tries, found.retry) == (False, 2, True)
    assert found.tried_at == WINDOW.start + minutes(65)
    sync(engine, "oak", WINDOW.start + minutes(90), minutes(5), "failed", code="RS-AUTH-01")
    assert not night(engine)["oak"].retry


def test_how_long_a_sync_usually_takes_is_the_median_of_the_last_ones_that_published(engine: Engine) -> None:
    add(engine, "oak")
    for number, lasted in enumerate([500, 3, 1, 2, 9, 9, 2, 4]):
        at = WINDOW.start - dt.timedelta(days=8 - number)
        sync(engine, "oak", at, minutes(lasted), as_of=DAY - dt.timedelta(days=8 - number))
    sync(engine, "oak", WINDOW.start - minutes(60), minutes(0.1), "failed", as_of=DAY, code="RS-NET-01")
    assert night(engine)["oak"].seconds == 180.0
    with engine.connect() as connection:
        assert ledger.usual(connection, "oak") == 180.0
        assert ledger.usual(connection, "elm") is None


def test_syncs_of_weeks_ago_tell_nothing_of_tonight(engine: Engine) -> None:
    add(engine, "oak")
    sync(engine, "oak", WINDOW.start - dt.timedelta(days=15), minutes(9), as_of=dt.date(2025, 10, 1))
    assert night(engine)["oak"].seconds is None


def test_hosts_and_kinds_come_from_the_document(engine: Engine) -> None:
    rest = {"kind": "oneroster", "path": None, "endpoint_url": "https://Sis.example/api",
            "client_id": "env:A", "client_secret": "env:B"}  # fmt: skip
    logins = {"name": "logins", "kind": "csv", "path": "/logins.csv"}
    add(engine, "oak", provider=rest, directories=[logins])
    with engine.connect() as connection:
        found = nights.read(connection, WINDOW)
    assert found.candidates[0].hosts == {"sis.example"}
    assert found.kinds == {"oak": {"oneroster", "directory"}}


# ------------------------------------------------------------------------------------------ the watch


def end_nights(engine: Engine, now: dt.datetime) -> list[watch.Ended]:
    with engine.begin() as connection:
        return watch.end_nights(connection, ["UK"], now)


def rows(engine: Engine, table: Any) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(select(table)).mappings()]


def test_a_night_that_is_over_says_whom_it_missed_and_says_it_once(engine: Engine) -> None:
    for name in ("done", "failed", "missed"):
        add(engine, name)
    add(engine, "late", WINDOW.end - minutes(1))
    sync(engine, "done", WINDOW.start + minutes(5), minutes(2))
    sync(engine, "failed", WINDOW.start + minutes(5), minutes(2), "failed", code="RS-NET-01")
    assert end_nights(engine, WINDOW.end) == []  # the last tick's runs may still be starting
    (ended,) = end_nights(engine, WINDOW.end + minutes(6))
    assert (ended.tenants, ended.missed) == (3, ("missed",))
    assert end_nights(engine, WINDOW.end + minutes(7)) == []
    (told,) = rows(engine, missed_nights)
    assert (told["tenant"], told["code"]) == ("missed", "RS-RUN-01")
    (told,) = rows(engine, night_ends)
    assert (told["tenants"], told["published"], told["failed"], told["missed"]) == (3, 1, 1, 1)


def silent(engine: Engine, tenant: str, owner: str, heard: dt.datetime) -> None:
    with engine.begin() as connection:
        connection.execute(
            insert(leases).values(
                tenant=tenant, owner=owner, process="elsewhere|1|1", heartbeat_at=heard.replace(tzinfo=None)
            )
        )


@pytest.mark.parametrize("after, why", [(minutes(10), ledger.ENDED), (dt.timedelta(hours=7), LATE)])
def test_a_sync_whose_worker_is_silent_is_ended_with_its_code(
    engine: Engine, after: dt.timedelta, why: Issue
) -> None:
    add(engine, "oak")
    begun = WINDOW.start + minutes(5)
    sync(engine, "oak", begun, None)
    silent(engine, "oak", f"oak {begun}", begun + after)
    now = begun + after + SILENCE
    with engine.begin() as connection:
        assert watch.end_silent_syncs(connection, now) == []
        later = now + dt.timedelta(seconds=1)
        assert watch.end_silent_syncs(connection, later) == [watch.CutOff("oak", f"oak {begun}", why)]
        assert watch.end_silent_syncs(connection, later) == []
        (told,) = ledger.past(connection, "oak")
    assert (told["status"], told["issues"][0]["code"]) == ("interrupted", why.code)
    assert rows(engine, leases) == []
    assert [row["code"] for row in rows(engine, sync_issues)] == [why.code]
    assert night(engine)["oak"].tries == 1


def test_a_lease_without_a_sync_is_freed_and_nothing_is_told(engine: Engine) -> None:
    silent(engine, "oak", "undo 1", BEFORE)
    with engine.begin() as connection:
        assert watch.end_silent_syncs(connection, BEFORE + minutes(3)) == []
    assert rows(engine, leases) == []
    assert rows(engine, syncs) == []
