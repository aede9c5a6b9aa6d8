"""Whom a tick asks for, in which order, and when it stops."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from roster_pipeline.nights.asking import (
    AHEAD,
    AT_ONCE,
    FIRST_GUESS,
    PATIENCE,
    TRIES,
    Candidate,
    Queue,
    ask,
    in_order,
    missed,
)

NOW = datetime(2026, 1, 10, 19, tzinfo=UTC)
EMPTY = Queue(slots=4, host_slots=2)


def asked(*candidates: Candidate, queue: Queue = EMPTY, now: datetime = NOW) -> list[str]:
    return [one.tenant for one in ask(in_order(candidates), queue, now)]


def several(count: int, seconds: float | None, *hosts: str) -> list[Candidate]:
    return [Candidate(f"t{number:03}", frozenset(hosts), seconds) for number in range(count)]


def test_the_longest_are_first_and_new_ones_last() -> None:
    found = asked(Candidate("new"), Candidate("short", seconds=3), Candidate("long", seconds=900.0))
    assert found == ["long", "short", "new"]


def test_ten_tenants_are_all_asked_for_at_once() -> None:
    assert len(asked(*several(10, 30.0))) == 10


def test_what_is_done_or_in_flight_is_not_asked_for() -> None:
    queue = replace(EMPTY, running=frozenset({"runs"}), waiting=frozenset({"waits"}))
    found = asked(Candidate("runs"), Candidate("waits"), Candidate("done", done=True), Candidate("due"),
                  queue=queue)  # fmt: skip
    assert found == ["due"]


def test_there_is_always_a_run_for_each_place_however_long_they_are() -> None:
    assert len(asked(*several(9, 7200.0))) == EMPTY.slots


def test_a_tick_asks_for_as_much_work_as_its_places_do_until_the_tick_after_the_next() -> None:
    found = asked(*several(900, 20.0))
    assert len(found) == EMPTY.slots * AHEAD.total_seconds() / 20.0


def test_a_new_one_is_taken_to_last_as_long_as_those_that_are_known() -> None:
    """Else the places stand empty in a first night: its syncs are over long before the next tick."""
    known = [replace(one, tenant=f"known-{one.tenant}", done=True) for one in several(5, 4.0)]
    found = asked(*known, *several(900, None), queue=replace(EMPTY, slots=1))
    assert len(found) == AHEAD.total_seconds() / 4.0
    alone = asked(*several(900, None), queue=replace(EMPTY, slots=1))
    assert len(alone) == AHEAD.total_seconds() / FIRST_GUESS


def test_what_waits_counts_and_what_runs_does_not() -> None:
    all_ = several(900, 20.0)
    waiting = frozenset(one.tenant for one in all_[:50])
    running = frozenset(one.tenant for one in all_[50:54])
    found = asked(*all_, queue=replace(EMPTY, waiting=waiting, running=running))
    assert len(found) + len(waiting) == EMPTY.slots * AHEAD.total_seconds() / 20.0


def test_a_tick_asks_for_no_more_than_dagster_can_take() -> None:
    assert len(asked(*several(2000, 0.1), queue=replace(EMPTY, slots=64))) == AT_ONCE


def test_those_of_a_busy_host_wait_and_others_go_before_them() -> None:
    busy = several(500, 600.0, "cloud.example")
    found = asked(*busy, Candidate("other", frozenset({"other.example"}), 1.0))
    assert found == ["t000", "t001", "other"]


def test_a_tenant_of_another_region_takes_no_place_in_this_ones_queue() -> None:
    queue = replace(EMPTY, waiting=frozenset(f"elsewhere-{number}" for number in range(999)))
    assert asked(*several(3, 5.0), queue=queue) == ["t000", "t001", "t002"]


def failed(tries: int, ago: timedelta, *, retry: bool = True) -> Candidate:
    return Candidate("t", tries=tries, tried_at=NOW - ago, retry=retry)


def test_a_failed_sync_is_repeated_after_a_while_and_later_each_time() -> None:
    second = timedelta(seconds=1)
    assert asked(failed(1, PATIENCE)) == ["t"]
    assert asked(failed(1, PATIENCE - second)) == []
    assert asked(failed(2, PATIENCE * 2)) == ["t"]
    assert asked(failed(2, PATIENCE * 2 - second)) == []


def test_it_is_not_repeated_for_ever_nor_where_that_cannot_help() -> None:
    assert asked(failed(TRIES, timedelta(hours=9))) == []
    assert asked(failed(1, timedelta(hours=9), retry=False)) == []


def test_whoever_failed_is_asked_for_after_those_that_were_not_tried() -> None:
    long = replace(failed(1, PATIENCE), seconds=900.0)
    assert asked(long, Candidate("new"), Candidate("short", seconds=1.0)) == ["short", "new", "t"]


def test_missed_is_who_was_never_started_and_is_not_done() -> None:
    all_ = [Candidate("b"), Candidate("a"), Candidate("started"), Candidate("by-hand", done=True)]
    assert missed(all_, {"started"}) == ["a", "b"]


tenants = st.lists(
    st.builds(
        Candidate,
        tenant=st.uuids().map(str),
        hosts=st.frozensets(st.sampled_from(["a", "b", "c"]), max_size=2),
        seconds=st.none() | st.floats(0.1, 9000),
        done=st.booleans(),
    ),
    max_size=40, unique_by=lambda one: one.tenant,
)  # fmt: skip


@given(tenants, st.integers(1, 5), st.integers(1, 3), st.data())
def test_no_place_is_free_while_somebody_is_due(all_, slots, host_slots, data) -> None:
    names = [one.tenant for one in all_ if not one.done]
    running = frozenset(data.draw(st.lists(st.sampled_from(names), max_size=slots)) if names else [])
    found = ask(in_order(all_), Queue(slots, host_slots, running), NOW)
    assert not {one.tenant for one in found} & running
    assert not [one for one in found if one.done]
    left = [one for one in all_ if not one.done and one.tenant not in running and one not in found]
    if len(found) + len(running) < slots:
        reading = [host for one in all_ if one.tenant in running or one in found for host in one.hosts]
        assert all(any(reading.count(host) >= host_slots for host in one.hosts) for one in left)
    known = [one.seconds for one in found if one.seconds is not None]
    assert known == sorted(known, reverse=True)
