"""When a night is expected to be over, and whom it will miss."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from roster_pipeline.nights.asking import FIRST_GUESS, Candidate, Queue, in_order
from roster_pipeline.nights.forecast import Forecast, forecast
from roster_pipeline.nights.limits import time_limit

NOW = datetime(2026, 1, 10, 19, tzinfo=UTC)
END = NOW + timedelta(hours=1)


def told(*candidates: Candidate, slots: int = 2, host_slots: int = 1, **begun: float) -> Forecast:
    queue = Queue(slots, host_slots, running=frozenset(begun))
    since = {name: NOW - timedelta(seconds=ago) for name, ago in begun.items()}
    return forecast(in_order(candidates), queue, since, NOW, END)


def seconds(found: Forecast) -> float:
    return (found.finish - NOW).total_seconds()


def test_nothing_to_do_is_over_now() -> None:
    assert told(Candidate("a", done=True)) == Forecast(NOW, (), 0)


def test_the_work_is_shared_by_the_places() -> None:
    found = told(*(Candidate(f"t{number}", seconds=100.0) for number in range(10)))
    assert (seconds(found), found.waiting, found.late) == (500.0, 10, ())


def test_what_runs_already_has_its_rest_to_go() -> None:
    found = told(Candidate("a", seconds=100.0), Candidate("b", seconds=50.0), slots=1, a=30.0)
    assert (seconds(found), found.waiting) == (70.0 + 50.0, 1)


def test_what_runs_for_longer_than_usual_is_about_to_end() -> None:
    assert seconds(told(Candidate("a", seconds=100.0), a=500.0)) == 0.0


def test_those_of_one_host_wait_for_each_other() -> None:
    host = frozenset({"cloud.example"})
    found = told(*(Candidate(f"t{number}", host, 100.0) for number in range(4)), slots=9)
    assert seconds(found) == 400.0


def test_those_that_would_start_after_the_window_are_named() -> None:
    found = told(*(Candidate(f"t{number}", seconds=1800.0) for number in range(6)))
    assert found.late == ("t4", "t5")


def test_a_new_one_is_taken_to_last_as_long_as_the_guess() -> None:
    assert seconds(told(Candidate("new"))) == FIRST_GUESS


@pytest.mark.parametrize(
    "usual, hours", [(None, 6.0), (1.0, 1.0), (720.0, 1.0), (3600.0, 5.0), (7200.0, 10.0)]
)
def test_the_time_limit_is_six_hours_for_a_first_sync_else_the_larger_of_one_and_five_times_the_usual(
    usual: float | None, hours: float
) -> None:
    assert time_limit(usual) == timedelta(hours=hours)
