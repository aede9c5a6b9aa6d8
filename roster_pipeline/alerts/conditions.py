"""How a tenant is doing, and which changes of it are worth telling. Pure; the instants are passed in.

What was last told is remembered beside what is known now, so that nothing is told twice however often one
looks: a change is the difference of the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

State = Literal["ok", "held", "partial", "interrupted", "failed", "missed"]
Severity = Literal["partial", "failed"]
"""What routes ask for: `failed` is a night without a new roster, `partial` whatever else is not well."""
Kind = Literal["bad", "worse", "other", "recovered", "reminder", "unsteady", "steady"]

RANK: Final[dict[State, int]] = {"ok": 0, "held": 1, "partial": 2, "interrupted": 3, "failed": 3, "missed": 3}
HELD: Final = frozenset({"RS-SAFE-01", "RS-SAFE-02", "RS-SAFE-03", "RS-SAFE-20"})
"""The codes of what waits for somebody's decision; a sync that is partial for nothing else is `held`."""

SUMMARIES: Final = frozenset({"RS-PRV-01", "RS-PRV-02", "RS-PRV-04", "RS-SAFE-05"})
"""Codes whose cause is told by the codes beside them: those are what an operator can act on."""

MANY: Final = 4
"""So many changes within `LATELY` make a tenant unsteady."""
LATELY: Final = timedelta(days=7)
STEADY_AFTER: Final = timedelta(days=3)
"""Three nights without a change, and an unsteady tenant is told of again."""
MOST_PROBLEMS: Final = 100
"""Of a large district's problems; what is beyond them is not compared."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that makes a sync so: its code, and where; "" where it is of no provider or school."""

    code: str
    provider: str = ""
    school_id: str = ""
    school: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is compared by: a school may be renamed, and is not always known by its id."""
        return (self.code, self.provider, self.school_id or self.school)


@dataclass(frozen=True, slots=True)
class Condition:
    """How a tenant is doing; the first of the problems is the one that is told first."""

    state: State = "ok"
    problems: tuple[Problem, ...] = ()

    @property
    def is_bad(self) -> bool:
        """Whether something is to be done."""
        return self.state != "ok"

    @property
    def severity(self) -> Severity:
        """Of a bad one."""
        return "failed" if RANK[self.state] == RANK["failed"] else "partial"

    @property
    def code(self) -> str:
        """Of the first problem; "" without one."""
        return self.problems[0].code if self.problems else ""

    def is_same(self, other: Condition) -> bool:
        """Whether the state is the same for the same reasons, in whichever order."""
        return self.state == other.state and self._keys() == other._keys()

    def adds_to(self, other: Condition) -> bool:
        """Whether it has a problem that the other one has not."""
        return not self._keys() <= other._keys()

    def _keys(self) -> set[tuple[str, str, str]]:
        return {problem.key for problem in self.problems}


OK: Final = Condition()


def condition_of(status: str, problems: Iterable[Problem]) -> Condition:
    """The condition after a sync that ended so (`successful`, `partial`, `failed`, `interrupted`).

    The problems come in the order of their weight, and stay in it; but a cause goes before its summary.
    """
    if status == "successful":
        return OK
    causes_first = sorted(dict.fromkeys(problems), key=lambda problem: problem.code in SUMMARIES)
    found = tuple(causes_first[:MOST_PROBLEMS])
    if status == "partial":
        is_held = bool(found) and all(problem.code in HELD for problem in found)
        return Condition("held" if is_held else "partial", found)
    return Condition("interrupted" if status == "interrupted" else "failed", found)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a tenant, and what was told of it.

    Attributes:
        now: How it is doing.
        since: When it was first seen well, or not well, without a break; aware, as all instants here.
        seen: The sync or missed night that says so.
        waits: Whether a newer sync failed that tonight will repeat: it is not judged until then.
        changes: When `now` changed lately.
        unsteady: Told as such; nothing is told of it until it is steady.
        told: The condition as it was last told, and `told_at` when.
        reach: The worst severity told since the tenant was well: whoever heard of that hears the rest.
    """

    tenant: str
    now: Condition = OK
    since: datetime | None = None
    seen: str = ""
    waits: bool = False
    changes: tuple[datetime, ...] = ()
    unsteady: bool = False
    told: Condition = OK
    told_at: datetime | None = None
    reach: Severity | None = None

    @property
    def severity(self) -> Severity:
        """The worst of what is and what was told."""
        now = self.now.severity if self.now.is_bad else None
        return "failed" if "failed" in (now, self.reach) else "partial"

    def is_forgettable(self, at: datetime) -> bool:
        """Whether it says no more than that a tenant is well, as is nearly every one."""
        quiet = not self.now.is_bad and not self.told.is_bad and not self.unsteady and not self.waits
        return quiet and not _lately(self.changes, at)


def observe(known: Known, condition: Condition, seen: str, at: datetime) -> Known:
    """What is known after a newer sync, or a night that missed the tenant."""
    known = replace(known, seen=seen, waits=False)
    if condition.is_same(known.now):
        return replace(known, now=condition)
    turned = condition.is_bad != known.now.is_bad or known.since is None
    return replace(
        known,
        now=condition,
        since=at if turned else known.since,
        changes=(*_lately(known.changes, at), at),
    )


def due(known: Known, at: datetime, remind_after: timedelta) -> Kind | None:
    """What is to be told of a tenant now; None if nothing is."""
    if known.unsteady:
        steady = not known.changes or at - known.changes[-1] >= STEADY_AFTER
        return "steady" if steady else None
    if len(_lately(known.changes, at)) >= MANY:
        return "unsteady"
    now, told = known.now, known.told
    if not now.is_bad:
        return "recovered" if told.is_bad else None
    if not told.is_bad:
        return "bad"
    if RANK[now.state] > RANK[told.state]:
        return "worse"
    if now.adds_to(told):
        return "other"
    reminded = known.told_at is not None and at - known.told_at < remind_after
    return None if reminded else "reminder"


def after_telling(known: Known, kind: Kind, at: datetime) -> Known:
    """What is known once that was told."""
    return replace(
        known,
        told=known.now,
        told_at=at,
        reach=known.severity if known.now.is_bad or kind == "unsteady" else None,
        unsteady=kind == "unsteady",
        # What is steady again starts anew: its old changes must not make it unsteady by the next one.
        changes=() if kind == "steady" else known.changes,
    )


def after_silence(known: Known) -> Known:
    """What is known where nothing is to be told: a problem that went may come back, and is told then."""
    if known.unsteady or known.now.is_bad != known.told.is_bad or known.now == known.told:
        return known
    return replace(known, told=known.now)


def _lately(changes: Iterable[datetime], at: datetime) -> tuple[datetime, ...]:
    return tuple(change for change in changes if at - change < LATELY)
