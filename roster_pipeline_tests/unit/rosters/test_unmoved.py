"""When a night may stand on an earlier one: every rule runs on every day, and what it finds is compared.

A tenant with every kind of date that a rule looks at goes through two months in which nothing moves. From
each day on which it is settled, nothing that the rules find may change before the ground ends; and each
kind of date that `turning_days` gathers is needed for that.
"""

from __future__ import annotations

import ast
import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final
from unittest import mock

import pytest

import roster_pipeline
from roster_pipeline.rosters import unmoved
from roster_pipeline.rosters.outcome import Found
from roster_pipeline.rosters.source import Published, Tonight
from roster_pipeline.rosters.unmoved import LONGEST, Ground
from roster_pipeline_tests.every_day import Day, days_of, moved_unseen
from roster_pipeline_tests.rosters import Provider, Story, provider, story

DAYS: Final = 51
_RULES: Final = Path(roster_pipeline.__file__).parent / "rosters"


def _tenant() -> Story:
    """Sessions with a gap, enrolments and roles with dates, a school that becomes outdated, grace."""
    sis = provider("sis", "t1 s1..s9", respect_enrolment_date=True, respect_academic_sessions=True)
    sis.session("autumn", "2025-08-18..2025-10-29").session("spring", "2025-11-10..2026-06-12")
    sis.session("spring-2", "2025-11-17..2025-11-28")
    sis.teaches("all", "t1 s1..s9", terms=["year"])
    sis.teaches("both", "t1 s1..s3", terms=["autumn", "spring"])  # the gap between is in no class's dates
    sis.teaches("late", "t1 s1..s4", terms=["spring-2"])
    sis.teaches("some", "s1 s2[..2025-10-27] s3[2025-11-05..] s4[2025-11-12..2025-11-14]", terms=["year"])
    sis.users("s8", roles=[["student", "north", "", "2025-11-03"]])
    sis.users("s9", roles=[["student", "north", "2025-10-20", ""]])
    cl = Provider("cl", {"respect_academic_sessions": True, "compatibility_mode": True})
    cl.option(end_dates="exclusive", respect_enrolment_date=True)
    cl.org("south").course("arts").users("s21..s25 t21")
    cl.session("short", "2025-08-18..2025-10-24")
    cl.teaches("c21", "t21 s21..s25", school="south", terms=["short"])
    cl.teaches(
        "c22", "t21 s21[2025-09-01..2025-12-04] s22[2025-09-01..2025-12-05]", school="south", terms=["?"]
    )
    return story(sis, cl, grace_days=5, between_sessions_days=30, keeps_back=("no_students",))


@cache
def _two_months() -> list[Day]:
    tenant = _tenant()
    days_of(tenant, 2)
    tenant.providers[0].gone("s7")  # who is inactive from the first of these days on
    return days_of(tenant, DAYS)


# ------------------------------------------------------------------------------------------ the dates


def test_nothing_moves_before_a_ground_ends():
    days = _two_months()
    assert moved_unseen(days) == []
    settled = [day for day in days if day.settled]
    assert len(settled) > DAYS * 0.5
    assert len({day.until() for day in settled}) > 12, "hardly a day turned anything"


def _without_table(part: str, table: str, *columns: str) -> AbstractContextManager[Any]:
    """`turning_days` that does not see some dates of a table."""
    real = unmoved.turning_days

    def blind(found: Found, published: Published, tonight: Tonight) -> set[dt.date]:
        if part == "published":
            frame = getattr(published, table).assign(**dict.fromkeys(columns, ""))
            return real(found, replace(published, **{table: frame}), tonight)
        frame = getattr(getattr(found, part), table).assign(**dict.fromkeys(columns, ""))
        return real(
            replace(found, **{part: replace(getattr(found, part), **{table: frame})}), published, tonight
        )

    return mock.patch.object(unmoved, "turning_days", blind)


def _without_offset(forgotten: Callable[[tuple[int, ...]], bool]) -> AbstractContextManager[Any]:
    real = unmoved._days
    return mock.patch.object(
        unmoved, "_days", lambda dates, *later: set() if forgotten(later) else real(dates, *later)
    )


def _spans(kept: int) -> AbstractContextManager[Any]:
    real = unmoved._days
    return mock.patch.object(
        unmoved, "_days", lambda dates, *later: real(dates, *([kept] if later == (0, 1) else later))
    )


FORGOTTEN: Final[dict[str, Callable[[], AbstractContextManager[Any]]]] = {
    "the dates of sessions": lambda: _without_table("sessions", "sessions", "start_date", "end_date"),
    "the dates of enrolments": lambda: _without_table("current", "enrolments", "begin_date", "end_date"),
    "the ends of enrolments": lambda: _without_table("current", "enrolments", "end_date"),
    "the dates of roles": lambda: mock.patch("roster_pipeline.rosters.rows.parse_list", return_value=[]),
    "first days, and last ones that do not count": lambda: _spans(1),
    "the day after the last one": lambda: _spans(0),
    "how long ago the newest session ended": lambda: _without_offset(lambda later: later == (31,)),
    "the end of the grace": lambda: _without_offset(lambda later: later == (6,)),
}


@pytest.mark.parametrize("what", FORGOTTEN)
def test_every_kind_of_date_is_needed(what: str):
    days = _two_months()
    with FORGOTTEN[what]():
        assert moved_unseen(days), f"without {what} nobody notices anything"


def test_the_dates_of_a_class_that_is_kept_as_published_count():
    """An excluded school's class stays with the dates that it had, whatever its row says now."""
    sis = provider("sis", "t1 s1..s6", respect_academic_sessions=True, excluded_rosters="keep")
    sis.org("west").session("term", "2025-08-18..2025-10-22")
    sis.teaches("c1", "t1 s1..s6", terms=["year"]).users("t2 s21..s23", orgs="west")
    sis.teaches("c2", "t2 s21..s23", school="west", terms=["term"])
    tenant = story(sis)
    days_of(tenant, 2)
    sis.option(exclude_schools=["west"]).session("term", "2025-08-18..2025-10-19")
    days = days_of(tenant, 9)
    assert moved_unseen(days) == []
    with _without_table("published", "classes", "start_date", "end_date"):
        assert moved_unseen(days)


def test_a_ground_ends_after_a_week_whatever_happens():
    day = dt.date(2025, 10, 15)
    assert unmoved.until([], day) == day + dt.timedelta(days=LONGEST)
    assert unmoved.until([day, day - dt.timedelta(days=1)], day) == day + dt.timedelta(days=LONGEST)
    assert unmoved.until([day + dt.timedelta(days=9), day + dt.timedelta(days=3)], day) == dt.date(
        2025, 10, 18
    )


def test_the_last_days_of_the_calendar_are_no_trouble():
    tenant = story(provider("sis", "t1 s1").session("year", "0001-01-01..9999-12-31").teaches("c1", "t1 s1"))
    (day,) = days_of(tenant, 1)
    assert dt.date.max in unmoved.turning_days(day.found, day.published, day.tonight)
    assert unmoved.until([], dt.date.max) == dt.date.max  # and so it carries nothing


# ------------------------------------------------------------------------------------------ the rules


def _who_looks_at_the_date() -> Iterator[str]:
    """`module.Class.function` of the rules that touch tonight's date."""
    for path in sorted(_RULES.glob("*.py")):
        if path.stem in ("unmoved", "source", "rehearsal", "export"):
            continue  # the shapes, and what is no rule of a sync
        stack: list[tuple[ast.AST, str]] = [(ast.parse(path.read_text(encoding="utf-8")), path.stem)]
        while stack:
            node, name = stack.pop()
            for child in ast.iter_child_nodes(node):
                below = name
                if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
                    below = f"{name}.{child.name}"
                if (
                    isinstance(child, ast.Attribute)
                    and child.attr in ("as_of", "day")
                    and ast.unparse(child.value).rpartition(".")[2] == "tonight"
                ):
                    yield name
                stack.append((child, below))


def test_every_rule_that_looks_at_the_date_is_known():
    """A new one needs its dates in `turning_days`, and a line in `COMPARED`."""
    assert set(_who_looks_at_the_date()) == set(unmoved.COMPARED)


# ------------------------------------------------------------------------------------------ the inputs


def _ground(**changed: Any) -> Ground:
    told = {
        "sync_id": 2, "proposal": "2-a", "as_of": "2025-10-15", "until": "2025-10-22", "rules": "r",
        "sources": "s", "directories": "d", "tables": {}, "schools": ["n"],
        "report": {"status": "successful", "providers": [{"name": "sis", "duration_s": 9.0}]},
    }  # fmt: skip
    found = Ground.of({**told, **changed})
    assert found
    return found


ASKED: Final[dict[str, Any]] = {
    "proposal": "2-a", "as_of": "2025-10-17", "rules": "r", "sources": "s", "directories": "d",
}  # fmt: skip


@pytest.mark.parametrize(
    "changed",
    [
        {"proposal": "3-b"}, {"proposal": None}, {"rules": "r2"}, {"sources": "s2"}, {"sources": None},
        {"directories": "d2"}, {"directories": None}, {"as_of": "2025-10-14"}, {"as_of": "2025-10-22"},
        {"as_of": "2026-01-01"},
    ],
)  # fmt: skip
def test_a_ground_carries_only_what_is_the_same(changed: dict[str, Any]):
    assert _ground().carries(**ASKED)
    assert not _ground().carries(**(ASKED | changed))


def test_a_ground_of_another_release_is_none():
    told = _ground().as_json()
    assert Ground.of(told) == _ground()
    assert Ground.of(None) is None
    assert Ground.of({**told, "more": 1}) is None
    assert Ground.of({name: value for name, value in told.items() if name != "until"}) is None


def test_the_report_is_the_grounds_but_for_what_is_of_tonight():
    found = _ground().report_of(3, {"sis": 1.23456})
    assert found["providers"] == [{"name": "sis", "duration_s": 1.235}]
    assert found["changes"]["schools"] == {"added": 0, "updated": 3, "removed": 0}
    assert found["changes"]["people"] == {"added": 0, "updated": 0, "removed": 0}


def _entry(**changed: Any) -> dict[str, Any]:
    collection = {"state": "ok", "rows": 3, "digest": "abc", "proof": "told 3", "sync_id": 7}
    return {
        "name": "sis", "duration_s": 1.0, "issues": [],
        "collections": {"users": {**collection, **changed}},
    }  # fmt: skip


def test_the_digest_of_extracts_is_of_what_they_say():
    known = unmoved.digest_of_extracts({"1": _entry()})
    assert known
    assert known == unmoved.digest_of_extracts({"1": _entry(sync_id=8, proof="told otherwise")})
    for other in (
        {"1": _entry(digest="abd")}, {"1": _entry(rows=4)}, {"2": _entry()}, {},
        {"1": _entry(), "2": _entry()},
        {"1": {**_entry(), "name": "cl"}}, {"1": {**_entry(), "issues": [{"code": "RS-ROW-02"}]}},
    ):  # fmt: skip
        assert unmoved.digest_of_extracts(other) != known
    for unknown in (
        _entry(state="stale"), _entry(state="unproven"), _entry(state="failed"), _entry(digest=None),
    ):  # fmt: skip
        assert unmoved.digest_of_extracts({"1": _entry(), "2": unknown}) is None


def test_the_digest_of_rules_is_of_the_release_the_document_and_who_the_providers_are():
    given: tuple[Any, ...] = ("r1", {"grace_days": 7}, {"sis": 1}, {})
    known = unmoved.digest_of_rules(*given)
    assert known == unmoved.digest_of_rules("r1", {"grace_days": 7}, {"sis": 1}, {})
    for place, other in enumerate(("r2", {"grace_days": 8}, {"sis": 2}, {9: "old"})):
        changed = [*given[:place], other, *given[place + 1 :]]
        assert unmoved.digest_of_rules(*changed) != known
