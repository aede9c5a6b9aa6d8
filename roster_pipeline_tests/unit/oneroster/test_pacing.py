"""How fast a host is asked: what a gate learns, and what the next sync makes of it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from roster_pipeline.oneroster.pacing import LONGEST_HOLD, Gate, Pace
from roster_pipeline.store.database import open_database
from roster_pipeline.store.paces import FORGOTTEN, StoredPaces
from roster_pipeline_tests.unit.oneroster.server import START, Clock


def test_whoever_meets_a_closed_gate_waits_until_it_opens() -> None:
    clock = Clock()
    gate = Gate(clock, clock.sleep)
    ticket = gate.wait()
    assert clock.slept == []
    gate.hold(30, ticket)
    gate.wait()
    assert (clock.now - START).total_seconds() >= 30


def test_after_a_refusal_for_haste_requests_are_spaced_and_in_time_no_more() -> None:
    clock = Clock()
    gate = Gate(clock, clock.sleep)
    tickets = [gate.wait() for _ in range(4)]
    for ticket in tickets:
        gate.hold(1, ticket)  # four that were under way together
    before = clock.now
    for _ in range(11):
        gate.wait()
    assert (clock.now - before).total_seconds() == pytest.approx(1 + 10 * 0.05)
    for _ in range(50):
        gate.passed()
    gate.wait()
    before = clock.now
    gate.wait()
    assert clock.now == before


def test_a_clock_that_stands_still_holds_nobody() -> None:
    gate = Gate(lambda: START, lambda seconds: None)
    gate.hold(60, gate.wait())
    gate.wait()


def spacing(gate: Gate, clock: Clock) -> float:
    """Seconds between two requests, now."""
    gate.wait()
    before = clock.now
    gate.wait()
    return (clock.now - before).total_seconds()


def answers(gate: Gate, seconds: float, count: int, clock: Clock) -> None:
    for _ in range(count):
        clock.now += timedelta(seconds=seconds)
        gate.passed(seconds)


def test_a_host_whose_answers_take_far_longer_than_usual_is_asked_less_often() -> None:
    clock = Clock()
    gate = Gate(clock, clock.sleep, Pace(usual=0.3))
    answers(gate, 0.3, 5, clock)
    assert spacing(gate, clock) == 0
    answers(gate, 9.0, 6, clock)
    slow = spacing(gate, clock)
    assert 0 < slow < 9.0
    answers(gate, 9.0, 20, clock)
    assert slow < spacing(gate, clock) < 9.0  # never slower than one after the other
    answers(gate, 0.3, 90, clock)
    assert spacing(gate, clock) == 0


def test_a_host_that_was_always_slow_is_not_overloaded() -> None:
    clock = Clock()
    gate = Gate(clock, clock.sleep, Pace(usual=20.0))
    answers(gate, 25.0, 50, clock)
    assert spacing(gate, clock) == 0


def test_answers_of_less_than_a_second_are_never_slow() -> None:
    clock = Clock()
    gate = Gate(clock, clock.sleep, Pace(usual=0.01))
    answers(gate, 0.9, 50, clock)
    assert spacing(gate, clock) == 0


def test_a_pace_that_was_learned_holds_for_the_next_one_who_asks() -> None:
    clock, told = Clock(), list[Pace]()
    first = Gate(clock, clock.sleep, learn=told.append)
    first.hold(60, first.wait())
    (learned,) = told  # at once, not only when it is done
    second = Gate(clock, clock.sleep, learned)
    second.wait()
    assert (clock.now - START).total_seconds() == 60
    assert spacing(second, clock) == pytest.approx(learned.space)


def test_a_pause_that_another_was_asked_for_is_waited_for_within_reason() -> None:
    clock = Clock()
    Gate(clock, clock.sleep, Pace(held_until=START + timedelta(days=9))).wait()
    assert (clock.now - START).total_seconds() == LONGEST_HOLD


def test_what_was_not_asked_has_taught_nothing() -> None:
    told = list[Pace]()
    clock = Clock()
    Gate(clock, clock.sleep, Pace(1.0), told.append).close()
    assert told == []


def test_how_long_answers_usually_take_moves_slowly() -> None:
    clock, told = Clock(), list[Pace]()
    gate = Gate(clock, clock.sleep, Pace(usual=1.0), told.append)
    answers(gate, 2.0, 9, clock)
    gate.close()
    assert told[0].usual == pytest.approx(1.3)


def test_paces_are_kept_in_the_database_for_a_week(tmp_path: Path) -> None:
    clock = Clock()
    engine = open_database(f"sqlite:///{tmp_path / 'roster.db'}")
    paces = StoredPaces(engine, clock)
    assert paces.recall("a.example") == Pace()
    for space in (0.5, 1.5):
        paces.learn("a.example", Pace(space, START, 0.2))
    paces.learn("b.example", Pace(9.0))
    assert paces.recall("a.example") == Pace(1.5, START, 0.2)
    clock.now += FORGOTTEN + timedelta(seconds=1)
    assert paces.recall("a.example") == Pace()
    engine.dispose()


def test_a_database_that_is_down_keeps_nobody_from_reading(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'roster.db'}")
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE hosts")
    paces = StoredPaces(engine, Clock())
    paces.learn("a.example", Pace(1.0))
    assert paces.recall("a.example") == Pace()
    engine.dispose()
