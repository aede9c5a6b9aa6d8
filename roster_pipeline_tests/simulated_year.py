"""Nights of a region in seconds: the decisions of ticks, a queue that carries them out, and what must hold.

`python -m roster_pipeline_tests.simulated_year --tenants 10000 --nights 366`. The queue is played: runs take
a place in the order in which they were asked for, last as long as their tenant's sync, and fail now and then.
The scheduler is away for hours at times. What must hold is checked against the list of what was started,
which knows nothing of how a tick decides.
"""

from __future__ import annotations

import argparse
import heapq
import random
import statistics
import sys
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Final

from roster_pipeline.nights.asking import INTERVAL, TRIES, Candidate, Queue, ask, in_order, missed
from roster_pipeline.nights.windows import LENGTH, newest_window, window
from roster_pipeline.tenants.document import Region

REGIONS: Final[tuple[Region, ...]] = ("US", "AU", "NZ", "UK")
SHARED_HOSTS: Final = ("cloud-1.example", "cloud-2.example", "cloud-3.example")


@dataclass(slots=True)
class School:
    """A tenant of the world: how long its syncs take, and how often they fail."""

    tenant: str
    hosts: frozenset[str]
    seconds: float
    failing: float
    born: int  # the night on which it comes
    known: deque[float] = field(default_factory=lambda: deque(maxlen=7))
    """The durations that the ledger knows of."""


@dataclass(frozen=True, slots=True)
class Start:
    """A sync that was started."""

    tenant: str
    at: float  # seconds since the window began
    known: float | None  # what was known of its duration when the night began
    tries: int
    asked: int  # the tick


@dataclass(slots=True)
class Night:
    """What became of a night."""

    starts: list[Start] = field(default_factory=list)
    published: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    reported: list[str] = field(default_factory=list)
    most_at_once: int = 0
    most_on_a_host: int = 0
    largest_tick: int = 0


@dataclass
class Year:
    """A region with its tenants, from night to night."""

    region: Region
    tenants: int
    slots: int
    host_slots: int
    rng: random.Random
    schools: dict[str, School] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number in range(self.tenants):
            # Most are small, a few are districts that take hours. 2 % come in the course of the year.
            district = self.rng.random() < 0.003
            seconds = self.rng.uniform(1800, 10800) if district else self.rng.lognormvariate(2.2, 0.9)
            shared = self.rng.random() < 0.3
            host = self.rng.choice(SHARED_HOSTS) if shared else f"school-{number}.example"
            failing = self.rng.choice([0.0] * 9 + [0.1])
            born = self.rng.randrange(1, 366) if self.rng.random() < 0.02 else 0
            name = f"t{number:05}"
            self.schools[name] = School(name, frozenset({host}), seconds, failing, born)

    def night(self, number: int, start: datetime, away: tuple[float, float]) -> Night:
        """Plays a night; the scheduler is away from one second of the window to another."""
        told = Night()
        here = {name: one for name, one in self.schools.items() if one.born <= number}
        remaining = in_order(
            Candidate(name, one.hosts, statistics.median(one.known) if one.known else None)
            for name, one in here.items()
        )
        first_known = {name: one.seconds for name, one in remaining.items()}
        waiting: dict[str, int] = {}  # in the order of the queue; tenant → tick
        running: dict[str, float] = {}
        on_host: Counter[str] = Counter()
        ends: list[tuple[float, str]] = []
        length = LENGTH.total_seconds()

        def dequeue(at: float) -> None:
            blocked = []
            for name in list(waiting):
                if len(running) >= self.slots:
                    break
                if any(on_host[host] >= self.host_slots for host in here[name].hosts):
                    blocked.append(name)
                    if len(blocked) > 4 * self.slots:
                        break
                    continue
                tick = waiting.pop(name)
                seconds = here[name].seconds * self.rng.uniform(0.8, 1.3)
                running[name] = at
                on_host.update(here[name].hosts)
                heapq.heappush(ends, (at + seconds, name))
                told.starts.append(Start(name, at, first_known[name], remaining[name].tries, tick))
                told.most_at_once = max(told.most_at_once, len(running))
                told.most_on_a_host = max(told.most_on_a_host, *(on_host[host] for host in here[name].hosts))

        def end(at: float, name: str) -> None:
            school = here[name]
            seconds = at - running.pop(name)
            on_host.subtract(school.hosts)
            if self.rng.random() < school.failing:
                told.failed[name] += 1
                remaining[name] = replace(
                    remaining[name], tries=remaining[name].tries + 1, tried_at=start + timedelta(seconds=at)
                )
            else:
                told.published[name] += 1
                school.known.append(seconds)
                remaining.pop(name)

        ticks = int(length / INTERVAL.total_seconds())
        for tick in range(ticks):
            at = tick * INTERVAL.total_seconds()
            while ends and ends[0][0] <= at:
                moment, name = heapq.heappop(ends)
                end(moment, name)
                dequeue(moment)
            if away[0] <= at < away[1]:
                continue  # what waits in the queue goes on; nothing is asked for
            queue = Queue(self.slots, self.host_slots, frozenset(running), frozenset(waiting))
            asked = ask(remaining, queue, start + timedelta(seconds=at))
            told.largest_tick = max(told.largest_tick, len(asked))
            for one in asked:
                assert one.tenant not in waiting
                assert one.tenant not in running
                waiting[one.tenant] = tick
            dequeue(at)
        while ends:
            moment, name = heapq.heappop(ends)
            end(moment, name)
            if moment < length:
                dequeue(moment)
        told.reported = missed(remaining.values(), {one.tenant for one in told.starts})
        return told

    def wrong(self, number: int, night: Night) -> Iterator[str]:
        """What does not hold of a night."""
        here = {name for name, one in self.schools.items() if one.born <= number}
        started = Counter(one.tenant for one in night.starts)
        reported = set(night.reported)
        if unseen := here - started.keys() - reported:
            yield f"{len(unseen)} neither synced nor reported"
        if both := started.keys() & reported:
            yield f"{len(both)} synced and reported"
        if strange := started.keys() - here:
            yield f"{len(strange)} that were not there"
        if twice := [name for name, count in night.published.items() if count > 1]:
            yield f"{len(twice)} published twice"
        if often := [name for name, count in started.items() if count > 1 + night.failed[name]]:
            yield f"{len(often)} synced again without a failure"
        if max(started.values(), default=0) > TRIES:
            yield f"one was tried {max(started.values())} times"
        if outside := [one for one in night.starts if not 0 <= one.at < LENGTH.total_seconds()]:
            yield f"{len(outside)} started outside of the window"
        if night.most_at_once > self.slots or night.most_on_a_host > self.host_slots:
            yield f"{night.most_at_once} at once, {night.most_on_a_host} on one host"
        yield from self._in_order(night)

    def _in_order(self, night: Night) -> Iterator[str]:
        """Whoever was asked for by an earlier tick takes no less time than one that reads the same hosts and
        was asked for later, as far as both were known and neither was a repetition."""
        least: dict[frozenset[str], float] = defaultdict(lambda: float("inf"))
        new: dict[frozenset[str], bool] = defaultdict(bool)
        alone = frozenset({"alone"})
        by_tick: dict[int, list[Start]] = defaultdict(list)
        for one in night.starts:
            if not one.tries:
                by_tick[one.asked].append(one)
        for tick in sorted(by_tick):
            groups: dict[frozenset[str], list[Start]] = defaultdict(list)
            for one in by_tick[tick]:
                hosts = self.schools[one.tenant].hosts
                groups[hosts if hosts <= set(SHARED_HOSTS) else alone].append(one)
            for hosts, found in groups.items():
                known = [one.known for one in found if one.known is not None]
                if known and (new[hosts] or max(known) > least[hosts]):
                    yield f"tick {tick} asked for one that an earlier one should have"
                least[hosts] = min([least[hosts], *known])
                new[hosts] |= any(one.known is None for one in found)


def year(region: Region, tenants: int, nights: int, *, seed: int, slots: int, first: date) -> Counter[str]:
    """So many nights of a region; raises AssertionError with what does not hold."""
    rng = random.Random(seed)
    world = Year(region, tenants, slots, 4, rng)
    told: Counter[str] = Counter()
    day = datetime.combine(first, datetime.min.time(), UTC) + timedelta(hours=23, minutes=59)
    starts = set()
    for number in range(nights):
        found = newest_window(region, day + timedelta(days=number))
        assert window(region, found.start) == found
        assert found.start not in starts, "two nights with one window"
        starts.add(found.start)
        away = (0.0, 0.0)
        if rng.random() < 0.1:
            begin = rng.uniform(0, LENGTH.total_seconds())
            away = begin, begin + rng.uniform(600, LENGTH.total_seconds())
        night = world.night(number, found.start, away)
        wrong = list(world.wrong(number, night))
        assert not wrong, f"night {number} ({found.start:%Y-%m-%d}, away {away}): {wrong}"
        if away == (0.0, 0.0) and night.reported:
            told["missed although the scheduler was there"] += len(night.reported)
        told.update(
            syncs=len(night.starts), failed=night.failed.total(), reported=len(night.reported), nights=1,
            outages=away != (0.0, 0.0),
        )  # fmt: skip
        told["largest tick"] = max(told["largest tick"], night.largest_tick)
    return told


def main() -> int:
    """All regions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenants", type=int, default=10_000, help="in all regions together")
    parser.add_argument("--nights", type=int, default=366)
    parser.add_argument("--slots", type=int, default=16)
    given = parser.parse_args()
    for seed, region in enumerate(REGIONS):
        begun = time.monotonic()
        told = year(
            region, given.tenants // len(REGIONS), given.nights, seed=seed, slots=given.slots,
            first=date(2028, 1, 1),  # with a 29 February
        )  # fmt: skip
        print(f"{region}: {dict(told)} in {time.monotonic() - begun:.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
