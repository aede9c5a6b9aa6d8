"""Which tenants of a region a tick asks for: not yet synced tonight, the longest first, what the queue takes.

A tick asks anew each time and remembers nothing, so that a daemon that was away catches up by itself:
what was asked for is in the queue, what was synced in the ledger, and all else is due.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from statistics import median
from typing import Final

INTERVAL: Final = timedelta(minutes=5)
"""From one tick to the next."""

AHEAD: Final = 2 * INTERVAL
"""How much work may wait: the queue must not run dry before the next tick, and one tick may be missed."""

AT_ONCE: Final = 300
"""Runs that one tick asks for; Dagster makes some 3 a second of them, and gives a tick 60 seconds."""

TRIES: Final = 3
"""Syncs of one tenant in a night, as long as each fails with something that trying again may mend."""

PATIENCE: Final = timedelta(minutes=30)
"""Before a failed sync is repeated, times the number of tries: what is broken is given time to be mended."""

FIRST_GUESS: Final = 20.0
"""Seconds that a sync is taken to last where nothing is known of any, to fill the queue by."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tenant of the region, and what the ledger knows of it.

    Attributes:
        hosts: The hosts of its providers; none for files.
        seconds: What its syncs usually take (the median of the last ones that published); None for one
            that has published nothing lately.
        expected: What is expected of one of which nothing is known: what the others usually take.
        done: Whether tonight's sync is over, published.
        tries: Syncs of tonight that ended without publishing.
        tried_at: When the last of these ended; aware.
        retry: Whether trying again may help, by what that one told.
    """

    tenant: str
    hosts: frozenset[str] = frozenset()
    seconds: float | None = None
    expected: float = field(default=FIRST_GUESS, compare=False)
    done: bool = False
    tries: int = 0
    tried_at: datetime | None = None
    retry: bool = True

    @property
    def guess(self) -> float:
        """The seconds that it is taken to last."""
        return self.expected if self.seconds is None else self.seconds

    def is_due(self, now: datetime) -> bool:
        """Whether a sync of it is wanted tonight, in flight or not."""
        if self.done:
            return False
        if not self.tries or self.tried_at is None:
            return True
        return self.retry and self.tries < TRIES and now >= self.tried_at + PATIENCE * self.tries


@dataclass(frozen=True, slots=True)
class Queue:
    """What runs and waits now, also of other regions.

    Attributes:
        slots: How many runs the deployment has at once.
        host_slots: How many of them may read one host.
        running: Tenants whose run has begun.
        waiting: Tenants whose run has not.
    """

    slots: int
    host_slots: int
    running: frozenset[str] = frozenset()
    waiting: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Line:
    """A number of places, and the work that waits for them."""

    slots: int
    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float, *, waits: bool = True) -> None:
        self.count += 1
        self.seconds += seconds if waits else 0.0

    @property
    def is_full(self) -> bool:
        return self.count >= self.slots and self.seconds >= self.slots * AHEAD.total_seconds()


def in_order(candidates: Iterable[Candidate]) -> dict[str, Candidate]:
    """Tenant → candidate, in the order in which they are to be synced.

    The longest first: it would end last, whenever the others do. New ones after all that are known, and
    whoever failed tonight after those that were not tried. New ones are taken to last as long as the known
    ones do in the middle, those that are done included.
    """
    ordered = sorted(
        candidates, key=lambda one: (one.tries, one.seconds is None, -(one.seconds or 0.0), one.tenant)
    )
    known = [one.seconds for one in ordered if one.seconds is not None]
    expected = median(known) if known else FIRST_GUESS
    return {
        one.tenant: one if one.seconds is not None else replace(one, expected=expected) for one in ordered
    }


def ask(ordered: Mapping[str, Candidate], queue: Queue, now: datetime) -> list[Candidate]:
    """Whom this tick asks for.

    Args:
        ordered: The tenants of the region, in the order in which they are to be synced; those that are
            done may be left out.
        queue: What runs and waits.
        now: Aware.
    """
    whole = _Line(queue.slots)
    hosts: dict[str, _Line] = defaultdict(lambda: _Line(queue.host_slots))

    def lines_of(one: Candidate) -> list[_Line]:
        return [whole, *(hosts[host] for host in one.hosts)]

    for tenant in queue.running | queue.waiting:
        # Those of other regions do not count: a region whose tick comes first must not fill it for all.
        if one := ordered.get(tenant):
            for line in lines_of(one):
                line.add(one.guess, waits=tenant in queue.waiting)
    asked: list[Candidate] = []
    for one in ordered.values():
        if whole.is_full or len(asked) == AT_ONCE:
            break
        if one.tenant in queue.running or one.tenant in queue.waiting or not one.is_due(now):
            continue
        if any(hosts[host].is_full for host in one.hosts):
            continue  # others need not wait for this host
        asked.append(one)
        for line in lines_of(one):
            line.add(one.guess)
    return asked


def missed(candidates: Iterable[Candidate], started: Iterable[str]) -> list[str]:
    """The tenants of which no sync was started in a window that is over, by name."""
    begun = set(started)
    return sorted(one.tenant for one in candidates if not one.done and one.tenant not in begun)
