"""Which changes of how a tenant is doing are worth telling."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roster_pipeline.alerts.conditions import (
    OK,
    Condition,
    Known,
    Problem,
    after_silence,
    after_telling,
    condition_of,
    due,
    observe,
)

START = datetime(2025, 10, 1, 20, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
REMIND = 3 * DAY

DOWN = Condition("failed", (Problem("RS-PRV-01"),))
FAILED = Condition("failed", (Problem("RS-NET-01", "sis"),))
OTHER = Condition("failed", (Problem("RS-AUTH-01", "sis"),))
PART = Condition("partial", (Problem("RS-SAFE-07", "", "s1", "Elm"),))
MORE = Condition("partial", (Problem("RS-SAFE-07", "", "s1", "Elm"), Problem("RS-SAFE-08", "", "s1", "Elm")))
HELD = Condition("held", (Problem("RS-SAFE-01", "", "s1", "Elm"),))
MISSED = Condition("missed", (Problem("RS-RUN-01"),))


@dataclass
class Teller:
    """Plays looks at one tenant, and notes what is told and when."""

    known: Known = field(default_factory=lambda: Known("oak"))
    told: list[tuple[str, datetime]] = field(default_factory=list)
    count: int = 0

    def look(self, at: datetime, condition: Condition | None = None, *, quiet: bool = False) -> str | None:
        """A look at that instant; `quiet` while changes are being collected."""
        if condition is not None:
            self.count += 1
            self.known = observe(self.known, condition, f"sync {self.count}", at)
        kind = due(self.known, at, REMIND)
        if kind is None:
            self.known = after_silence(self.known)
        elif not quiet:
            self.known = after_telling(self.known, kind, at)
            self.told.append((kind, at))
        return None if quiet else kind

    def nights(self, *conditions: Condition) -> list[str | None]:
        return [self.look(START + number * DAY, one) for number, one in enumerate(conditions)]


def test_a_tenant_that_was_always_well_is_not_told() -> None:
    assert Teller().nights(OK, OK, OK) == [None, None, None]


def test_what_fails_is_told_once_and_its_recovery_too() -> None:
    assert Teller().nights(FAILED, FAILED, OK, OK) == ["bad", None, "recovered", None]


def test_a_look_between_two_syncs_tells_nothing_anew() -> None:
    teller = Teller()
    teller.look(START, FAILED)
    assert [teller.look(START + minute * timedelta(minutes=1)) for minute in range(1, 60)] == [None] * 59


def test_a_reminder_comes_after_the_set_time_and_not_before() -> None:
    teller = Teller()
    assert teller.nights(FAILED, FAILED, FAILED) == ["bad", None, None]
    assert teller.look(START + REMIND - HOUR) is None
    assert teller.look(START + REMIND) == "reminder"
    assert teller.look(START + REMIND + HOUR, FAILED) is None
    assert teller.look(START + 2 * REMIND) == "reminder"


@pytest.mark.parametrize(
    "before, after, told",
    [
        (HELD, PART, "worse"),
        (PART, FAILED, "worse"),
        (HELD, MISSED, "worse"),
        (FAILED, OTHER, "other"),
        (FAILED, MISSED, "other"),
        (PART, MORE, "other"),
        (MORE, PART, None),
        (FAILED, PART, "other"),
        (FAILED, Condition("partial", (Problem("RS-NET-01", "sis"),)), None),
    ],
)
def test_worse_and_other_problems_are_told_and_better_ones_are_not(
    before: Condition, after: Condition, told: str | None
) -> None:
    assert Teller().nights(before, after) == ["bad", told]


def test_a_problem_that_went_and_comes_back_is_told_again() -> None:
    assert Teller().nights(MORE, PART, MORE) == ["bad", None, "other"]


def test_the_same_school_under_another_name_is_no_other_problem() -> None:
    renamed = Condition("partial", (Problem("RS-SAFE-07", "", "s1", "Elm Primary"),))
    assert Teller().nights(PART, renamed) == ["bad", None]


def test_what_was_mended_before_it_could_be_told_is_not_told() -> None:
    teller = Teller()
    teller.look(START, FAILED, quiet=True)
    teller.look(START + HOUR, OK, quiet=True)
    assert teller.look(START + 2 * HOUR) is None


def test_a_tenant_that_changes_every_night_is_told_as_unsteady_once() -> None:
    teller = Teller()
    told = teller.nights(*[FAILED, OK] * 15)
    assert told[:4] == ["bad", "recovered", "bad", "unsteady"]
    assert told[4:] == [None] * 26


@pytest.mark.parametrize("last", [OK, FAILED])
def test_it_is_told_again_when_it_was_steady_for_three_nights(last: Condition) -> None:
    teller = Teller()
    teller.nights(FAILED, OK, FAILED, OK, FAILED, OK)
    changed = START + 6 * DAY
    if last is OK:
        changed -= DAY
    else:
        assert teller.look(changed, last) is None
    assert teller.look(changed + 3 * DAY - HOUR) is None
    assert teller.look(changed + 3 * DAY) == "steady"
    assert teller.look(changed + 3 * DAY + HOUR) is None
    assert teller.look(changed + 5 * DAY, OTHER) == ("bad" if last is OK else "other")


def test_whoever_heard_that_it_failed_hears_that_it_is_well() -> None:
    teller = Teller()
    severities = []
    for number, condition in enumerate([FAILED, PART, OK, PART]):
        teller.look(START + number * DAY, condition)
        severities.append(teller.known.severity)
    assert severities[1] == "failed"
    assert severities[3] == "partial"


def test_a_sync_that_is_partial_for_what_waits_alone_is_held() -> None:
    wait, other = Problem("RS-SAFE-01"), Problem("RS-SAFE-07")
    assert condition_of("partial", [wait]).state == "held"
    assert condition_of("partial", [wait, other]).state == "partial"
    assert condition_of("partial", []).state == "partial"
    assert condition_of("successful", [other]) == OK


def test_a_cause_is_told_before_what_sums_it_up() -> None:
    found = condition_of(
        "failed", [Problem("RS-PRV-01"), Problem("RS-NET-01", "sis"), Problem("RS-AUTH-01", "b")]
    )
    assert [problem.code for problem in found.problems] == ["RS-NET-01", "RS-AUTH-01", "RS-PRV-01"]
    assert condition_of("failed", [Problem("RS-PRV-01")]).code == "RS-PRV-01"


def test_tenants_that_are_well_are_forgotten_when_nothing_of_them_is_recent() -> None:
    teller = Teller()
    teller.nights(FAILED, OK)
    assert not teller.known.is_forgettable(START + 2 * DAY)
    assert teller.known.is_forgettable(START + 9 * DAY)


# ------------------------------------------------------------------- changes only, by another way

STATES = [OK, HELD, PART, MORE, FAILED, OTHER, DOWN, MISSED]
WORSE = {("held", "partial"), *((mild, bad) for mild in ("held", "partial") for bad in ("failed", "missed"))}
NIGHTS = st.lists(st.tuples(st.sampled_from(STATES), st.integers(1, 60)), min_size=1, max_size=60)


def oracle(history: list[tuple[datetime, Condition]]) -> list[str | None]:
    """What is told after each look, from the whole history and from what was told before, and no more.

    Where each look is told at once, the reader knows the condition before: news is how two nights differ.
    """
    out: list[str | None] = []
    for number, (at, now) in enumerate(history):
        was = history[number - 1][1] if number else OK
        ended = max((index for index, kind in enumerate(out) if kind == "steady"), default=-1)
        turns = [
            history[index][0]
            for index in range(ended + 1, number + 1)
            if history[index][1] != (history[index - 1][1] if index else OK)
        ]
        spoken = [(index, kind) for index, kind in enumerate(out) if kind]
        news: str | None = None
        if spoken and spoken[-1][1] == "unsteady":
            news = "steady" if at - turns[-1] >= timedelta(hours=72) else None
        elif len([turn for turn in turns if at - turn < timedelta(hours=168)]) >= 4:
            news = "unsteady"
        elif now == OK:
            news = "recovered" if was != OK else None
        elif was == OK:
            news = "bad"
        elif (was.state, now.state) in WORSE:
            news = "worse"
        elif any(problem not in was.problems for problem in now.problems):
            news = "other"
        elif at - history[spoken[-1][0]][0] >= timedelta(hours=72):
            news = "reminder"
        out.append(news)
    return out


@given(NIGHTS)
def test_what_is_told_is_what_the_whole_history_says(steps: list[tuple[Condition, int]]) -> None:
    history, at = [], START
    for condition, hours in steps:
        at += hours * HOUR
        history.append((at, condition))
    teller = Teller()
    assert [teller.look(at, condition) for at, condition in history] == oracle(history)


@given(NIGHTS, st.data())
def test_while_changes_are_collected_nothing_is_lost_and_there_is_no_storm(
    steps: list[tuple[Condition, int]], data: st.DataObject
) -> None:
    teller, at = Teller(), START
    for condition, hours in steps:
        at += hours * HOUR
        quiet = data.draw(st.booleans())
        teller.look(at, condition, quiet=quiet)
        if not quiet and not teller.known.unsteady:
            # Whoever reads along knows how the tenant is doing.
            assert teller.known.told.is_same(condition)
    for _, first in teller.told:
        week = [kind for kind, when in teller.told if first <= when < first + 7 * DAY]
        assert len(week) <= 10, week
