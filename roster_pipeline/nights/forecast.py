"""When the night will be over, and who will not even have started when its window ends.

Told before it is missed: the same order, places and durations as the ticks go by, played through.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from roster_pipeline.nights.asking import Candidate, Queue


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is to come of a night.

    Attributes:
        finish: When its last sync ends.
        late: Tenants whose sync would start after the window.
        waiting: How many tenants are not synced yet, those that are being synced left out.
    """

    finish: datetime
    late: tuple[str, ...]
    waiting: int


def forecast(
    ordered: Mapping[str, Candidate],
    queue: Queue,
    begun: Mapping[str, datetime],
    now: datetime,
    end: datetime,
) -> Forecast:
    """Plays the rest of the night through.

    Args:
        ordered: The tenants of the region, in the order in which they are to be synced.
        queue: What runs and waits.
        begun: When the running ones began; aware.
        now: Aware.
        end: When the window ends.
    """
    places, hosts = [0.0] * queue.slots, _Hosts(queue.host_slots)
    finish, late, waiting = 0.0, [], 0
    for one in ordered.values():
        if one.tenant in queue.running:
            left = max(one.guess - (now - begun.get(one.tenant, now)).total_seconds(), 0.0)
            heapq.heapreplace(places, places[0] + left)
            finish = max(finish, left)
            hosts.take(one.hosts, 0.0, left)
    for one in ordered.values():
        if one.tenant in queue.running or not (one.tenant in queue.waiting or one.is_due(now)):
            continue
        waiting += 1
        start = max(places[0], hosts.free(one.hosts))
        # A place does not stand empty while one waits for its host: others are synced meanwhile.
        heapq.heapreplace(places, places[0] + one.guess)
        hosts.take(one.hosts, start, one.guess)
        finish = max(finish, start + one.guess)
        if now + timedelta(seconds=start) >= end:
            late.append(one.tenant)
    return Forecast(now + timedelta(seconds=finish), tuple(late), waiting)


class _Hosts:
    """When each host has a place again, in seconds from now."""

    def __init__(self, slots: int) -> None:
        self._places: dict[str, list[float]] = defaultdict(lambda: [0.0] * slots)

    def free(self, hosts: Iterable[str]) -> float:
        return max((self._places[host][0] for host in hosts), default=0.0)

    def take(self, hosts: Iterable[str], start: float, seconds: float) -> None:
        for host in hosts:
            heapq.heapreplace(self._places[host], start + seconds)
