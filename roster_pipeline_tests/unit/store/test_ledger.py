"""The ledger: how a sync begins, goes on, ends, and is told later."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from sqlalchemy import Engine, select

from roster_pipeline.codes import Issue
from roster_pipeline.store import ledger
from roster_pipeline.store.database import sync_issues, sync_providers, sync_schools, syncs

NOW = dt.datetime(2025, 10, 15, 23, 0, tzinfo=dt.UTC)
DAY = dt.date(2025, 10, 16)


def begin(
    engine: Engine, run_id: str, *, tenant: str = "oak", as_of: dt.date = DAY, given: bool = False
) -> tuple[int, dt.date, bool]:
    with engine.begin() as connection:
        return ledger.begin(
            connection, tenant=tenant, region="US", run_id=run_id, trigger="manual", as_of=as_of,
            as_of_given=given, now=NOW,
        )  # fmt: skip


def finish(engine: Engine, sync_id: int, report: dict[str, Any] | None = None) -> dict[str, Any]:
    with engine.begin() as connection:
        return ledger.finish(connection, sync_id, report or told(), NOW + dt.timedelta(minutes=5))


def told(status: str = "successful", issues: tuple[Issue, ...] = ()) -> dict[str, Any]:
    report = ledger.failure(list(issues)) | {"status": status}
    counts = dict.fromkeys(
        ("unmatched_users", "matched_students", "matched_teachers", "imported_classes", "created_students",
         "created_teachers", "created_users"), 1,
    )  # fmt: skip
    report["providers"] = [
        {"name": "sis", "kind": "classlink", "status": status, "duration_s": 1.5, **counts,
         "collections": {"users": {"state": "ok"}}, "outcomes": {"matched": 3}},
    ]  # fmt: skip
    report["schools"] = [
        {"school_id": "x", "name": "North", "state": "published", "code": None, "memberships": 4}
    ]
    return report


def status(engine: Engine, sync_id: int) -> str:
    with engine.connect() as connection:
        return str(connection.execute(select(syncs.c.status).where(syncs.c.sync_id == sync_id)).scalar_one())


def rows(engine: Engine, table: Any) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(select(table)).mappings()]


def past(engine: Engine, tenant: str = "oak", **options: int) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return ledger.past(connection, tenant, **options)


# ------------------------------------------------------------------------------------------ beginning


def test_a_sync_begins_as_running_with_a_number_of_its_own(engine: Engine):
    one, other = begin(engine, "run-1", tenant="oak"), begin(engine, "run-2", tenant="elm")
    assert one[0] != other[0]
    assert status(engine, one[0]) == "running"
    assert one[1:] == (DAY, False)


def test_a_run_that_is_executed_again_goes_on_with_its_sync_and_its_date(engine: Engine):
    first = begin(engine, "run-1", given=True)
    finish(engine, first[0], ledger.failure([Issue("RS-NET-01", "…")]))
    again = begin(engine, "run-1", as_of=DAY + dt.timedelta(days=3))
    assert again == first
    assert status(engine, first[0]) == "running"
    assert len(rows(engine, syncs)) == 1


def test_a_sync_that_still_runs_when_another_begins_was_interrupted(engine: Engine):
    first, _, _ = begin(engine, "run-1")
    other, _, _ = begin(engine, "run-2", tenant="elm")
    second, _, _ = begin(engine, "run-3")
    assert [status(engine, number) for number in (first, other, second)] == [
        "interrupted",
        "running",
        "running",
    ]


def test_a_finished_sync_is_not_interrupted_by_the_next(engine: Engine):
    first, _, _ = begin(engine, "run-1")
    finish(engine, first)
    begin(engine, "run-2")
    assert status(engine, first) == "successful"


def test_a_sync_that_ends_without_publishing_is_interrupted(engine: Engine):
    first, _, _ = begin(engine, "run-1")
    with engine.begin() as connection:
        ledger.interrupt(connection, first, NOW, None)
    assert status(engine, first) == "interrupted"


def test_a_finished_sync_cannot_be_interrupted(engine: Engine):
    first, _, _ = begin(engine, "run-1")
    finish(engine, first)
    with engine.begin() as connection:
        ledger.interrupt(connection, first, NOW, None)
    assert status(engine, first) == "successful"


def test_numbers_are_never_given_twice(engine: Engine):
    first, _, _ = begin(engine, "run-1")
    with engine.begin() as connection:
        connection.execute(syncs.delete())
    assert begin(engine, "run-2")[0] > first


# ------------------------------------------------------------------------------------------ ending


def test_the_document_has_what_the_ledger_knows_and_what_the_sync_told(engine: Engine):
    number, _, _ = begin(engine, "run-1")
    document = finish(engine, number)
    assert {key: document[key] for key in ("sync_id", "tenant", "region", "status", "as_of", "run_id")} == {
        "sync_id": number, "tenant": "oak", "region": "US", "status": "successful", "as_of": "2025-10-16",
        "run_id": "run-1",
    }  # fmt: skip
    assert (document["started_at"], document["finished_at"]) == (
        "2025-10-15T23:00:00Z",
        "2025-10-15T23:05:00Z",
    )
    assert set(document) >= {"counts", "changes", "providers", "schools", "issues"}


def test_the_date_that_the_rules_used_is_the_syncs_date(engine: Engine):
    number, _, _ = begin(engine, "run-1")
    document = finish(engine, number, told() | {"as_of": "2025-10-14"})
    assert document["as_of"] == "2025-10-14"
    assert rows(engine, syncs)[0]["as_of"] == dt.date(2025, 10, 14)


def test_the_ledgers_tables_say_what_the_document_says(engine: Engine):
    number, _, _ = begin(engine, "run-1")
    issues = (
        Issue("RS-SAFE-07", "No students.", school="North"),
        Issue("RS-REF-01", "2 …", provider="sis", count=2),
    )
    document = finish(engine, number, told("partial", issues))
    (provider,) = rows(engine, sync_providers)
    assert (provider["provider"], provider["status"], provider["matched_students"]) == ("sis", "partial", 1)
    (school,) = rows(engine, sync_schools)
    assert (school["school_id"], school["state"]) == ("x", "published")
    stored = rows(engine, sync_issues)
    assert [(row["place"], row["code"], row["count"]) for row in stored] == [
        (0, "RS-SAFE-07", 1),
        (1, "RS-REF-01", 2),
    ]
    for row, entry in zip(stored, document["issues"], strict=True):
        assert {key: row[key] for key in entry} == entry
        assert row["cure"]


def test_a_sync_that_ends_again_replaces_what_it_told(engine: Engine):
    number, _, _ = begin(engine, "run-1")
    finish(engine, number, told("partial", (Issue("RS-REF-01", "…"), Issue("RS-REF-04", "…"))))
    finish(engine, number, told("successful"))
    assert rows(engine, sync_issues) == []
    assert len(rows(engine, sync_providers)) == 1
    assert past(engine)[0]["status"] == "successful"


def test_a_failure_tells_its_issue_and_that_nothing_changed(engine: Engine):
    number, _, _ = begin(engine, "run-1")
    document = finish(engine, number, ledger.failure([Issue("RS-NET-01", "It was down.")]))
    assert document["status"] == "failed"
    assert [issue["code"] for issue in document["issues"]] == ["RS-NET-01"]
    assert set(document["counts"].values()) == {0}
    assert all(sum(changed.values()) == 0 for changed in document["changes"].values())


# ------------------------------------------------------------------------------------------ later


def test_past_syncs_are_told_newest_first_and_per_tenant(engine: Engine):
    numbers = []
    for run in range(3):
        number, _, _ = begin(engine, f"run-{run}")
        numbers.append(number)
        finish(engine, number)
    begin(engine, "run-elm", tenant="elm")
    assert [one["sync_id"] for one in past(engine)] == numbers[::-1]
    assert [one["sync_id"] for one in past(engine, limit=2)] == numbers[:0:-1]


@pytest.mark.parametrize("interrupted", [True, False])
def test_an_unfinished_sync_is_told_in_short(engine: Engine, interrupted: bool):
    number, _, _ = begin(engine, "run-1")
    if interrupted:
        with engine.begin() as connection:
            ledger.interrupt(connection, number, NOW, None)
    (told_,) = past(engine)
    assert told_["status"] == ("interrupted" if interrupted else "running")
    assert told_["finished_at"] is None


def test_a_run_has_a_document_once_it_ended(engine: Engine):
    number, _, _ = begin(engine, "run-1")
    with engine.connect() as connection:
        assert ledger.of_run(connection, "run-1") is None
        assert ledger.of_run(connection, "no-such-run") is None
    document = finish(engine, number)
    with engine.connect() as connection:
        assert ledger.of_run(connection, "run-1") == document


# ------------------------------------------------------------------------------------------ the last ones


def test_the_last_syncs_in_short_are_the_newest_of_the_tenant(engine: Engine):
    for number in range(16):
        finish(engine, begin(engine, f"run-{number}")[0])
    last = begin(engine, "last")[0]
    finish(engine, last, told("partial", issues=(Issue("RS-SAFE-05", "..."), Issue("RS-SAFE-01", "..."))))
    begin(engine, "other", tenant="elm")
    with engine.connect() as connection:
        found = ledger.latest(connection, "oak", limit=14)
    assert len(found) == 14
    assert [entry["sync_id"] for entry in found] == list(range(last, last - 14, -1))
    assert (found[0]["status"], found[0]["code"], found[0]["counts"]["people"]) == (
        "partial",
        "RS-SAFE-05",
        0,
    )
    assert (found[1]["status"], found[1]["code"]) == ("successful", "")


def test_a_sync_that_did_not_end_by_itself_has_no_counts_and_one_that_was_tried_out_is_none(engine: Engine):
    done = begin(engine, "again")[0]
    finish(engine, done)
    begin(engine, "again")  # a re-execution that is interrupted
    with engine.begin() as connection:
        ledger.interrupt(connection, done, NOW, None)
        ledger.begin(
            connection, tenant="oak", region="US", run_id="tried", trigger=ledger.DRY_RUN, as_of=DAY,
            as_of_given=False, now=NOW,
        )  # fmt: skip
        found = ledger.latest(connection, "oak", limit=14)
    assert found == [
        {"sync_id": done, "as_of": DAY.isoformat(), "status": "interrupted", "code": "", "counts": {}}
    ]
