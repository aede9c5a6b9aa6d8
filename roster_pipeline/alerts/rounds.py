"""One round: look at the ledger, decide what to tell, write it down, and send what waits.

What is told of a tenant and the messages that tell it are written in one transaction, so that nothing is told
twice or lost whenever this ends. Sending comes after it, each message by itself: a channel that is down keeps
nothing but its own messages waiting.
"""

from __future__ import annotations

import datetime as dt
import random
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from roster_pipeline.alerts import messages
from roster_pipeline.alerts.channels import Sender
from roster_pipeline.alerts.conditions import (
    Condition,
    Kind,
    Known,
    after_silence,
    after_telling,
    due,
    observe,
)
from roster_pipeline.alerts.messages import Change, Digest
from roster_pipeline.alerts.shapes import Envelope
from roster_pipeline.codes import CodedError
from roster_pipeline.faults import place_of
from roster_pipeline.nights import windows
from roster_pipeline.store import alerts, outbox
from roster_pipeline.store.outbox import Health

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.engine import Connection

    from roster_pipeline.alerts.settings import Channel, Settings
    from roster_pipeline.tenants.document import Region

REGIONS: Final[tuple[Region, ...]] = tuple(windows.OFFSETS)

FIRST_WAIT: Final = dt.timedelta(minutes=1)
"""Before a message is sent again, doubled each time."""
LONGEST_WAIT: Final = dt.timedelta(minutes=15)
LONGEST_ASKED: Final = dt.timedelta(hours=1)
"""What a channel may ask for itself."""
REPORTED_AFTER: Final = dt.timedelta(minutes=10)
"""A channel that has not worked for so long is told of through the others."""
REFUSALS: Final = 5
"""So often a message is tried that the channel does not want; then it is set aside."""
BUDGET: Final = 30.0
"""Seconds of a round after which no further message is begun: a tick of Dagster has 60."""
AT_ONCE: Final = 20
"""Messages that one round sends through one channel."""
FRESH: Final = dt.timedelta(days=1)
"""An older night is not told of any more by those who hear of nights for the first time."""


@dataclass(frozen=True, slots=True)
class World:
    """What a round takes from outside; `jitter` is between 0 and 1."""

    clock: Callable[[], dt.datetime]
    new_id: Callable[[], str]
    jitter: Callable[[], float]
    send: Callable[[Channel, Envelope], None]
    seconds: Callable[[], float] = time.monotonic

    @classmethod
    def real(cls, environ: Mapping[str, str]) -> World:
        """The real one, with the secrets of this environment."""

        def clock() -> dt.datetime:
            return dt.datetime.now(dt.UTC)

        return cls(clock, lambda: uuid.uuid4().hex, random.random, Sender(environ, clock))


@dataclass(slots=True)
class Round:
    """What a round did: how many changes were told, and what was sent and what failed, by channel."""

    changes: int = 0
    digests: int = 0
    sent: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def go(engine: Engine, settings: Settings, repeated: Collection[Region], world: World) -> Round:
    """A whole round.

    Args:
        engine: The roster database.
        settings: Who hears of what.
        repeated: The regions in whose windows a failed sync is repeated by a tick.
        world: What is passed in.
    """
    done = Round()
    look(engine, settings, repeated, world, done)
    deliver(engine, settings, world, done)
    return done


@contextmanager
def _writing(engine: Engine) -> Iterator[Connection]:
    with engine.connect().execution_options(immediate=True) as connection, connection.begin():
        yield connection


# ------------------------------------------------------------------------------- what is to be told


def look(engine: Engine, settings: Settings, repeated: Collection[Region], world: World, done: Round) -> None:
    """Finds what changed, and writes messages for it into the outbox."""
    now = world.clock()
    with _writing(engine) as connection:
        alerts.alone(connection, now)
        regions, before = alerts.registered(connection), alerts.known(connection)
        after = {tenant: one for tenant, one in before.items() if tenant in regions}
        for found in alerts.find(connection, before, regions, repeated, now):
            mine = after.get(found.tenant, Known(found.tenant))
            after[found.tenant] = (
                replace(mine, waits=True)
                if found.condition is None
                else observe(mine, found.condition, found.seen, now)
            )
        _tell_changes(connection, settings, regions, after, now, world, done)
        _tell_nights(connection, settings, regions, after, now, world, done)
        outbox.forget_others(connection, settings.names)
        alerts.keep(connection, before, after, now)
        alerts.mark(connection, alerts.LEDGER, now)


def _tell_changes(
    connection: Connection,
    settings: Settings,
    regions: Mapping[str, Region],
    after: dict[str, Known],
    now: dt.datetime,
    world: World,
    done: Round,
) -> None:
    """Tells each audience what is due, in one message; what comes soon after another one is collected."""
    remind_after = dt.timedelta(days=settings.remind_after_days)
    collect = dt.timedelta(minutes=settings.collect_minutes)
    groups: dict[frozenset[str], list[tuple[Known, Kind]]] = defaultdict(list)
    for tenant, one in after.items():
        kind = due(one, now, remind_after)
        if kind is None:
            after[tenant] = after_silence(one)
        else:
            groups[settings.audience(regions[tenant], tenant, one.severity)].append((one, kind))
    for audience, group in groups.items():
        name = f"told {', '.join(sorted(audience))}"
        last = alerts.marked(connection, name) if audience else None
        if last is not None and now - last < collect:
            continue
        if audience:
            changes = _changes(connection, group, regions, now)
            outbox.put(connection, audience, messages.of_changes(changes), world.new_id(), now)
            alerts.mark(connection, name, now)
            done.changes += len(changes)
        for one, kind in group:
            after[one.tenant] = after_telling(one, kind, now)


def _changes(
    connection: Connection,
    group: Collection[tuple[Known, Kind]],
    regions: Mapping[str, Region],
    now: dt.datetime,
) -> list[Change]:
    hosts = alerts.hosts_of(connection, [one.tenant for one, _ in group])
    return [
        Change(
            one.tenant, regions[one.tenant], kind, one.now, one.told, one.since or now,
            _hosts_of(one.now, hosts.get(one.tenant, {})),
        )
        for one, kind in group
    ]  # fmt: skip


def _hosts_of(condition: Condition, hosts: Mapping[str, str]) -> frozenset[str]:
    """Those of the providers that have the trouble; of all, where no provider is named."""
    named = {problem.provider for problem in condition.problems if problem.code == condition.code}
    return frozenset(host for name, host in hosts.items() if name in named or not any(named))


def _tell_nights(
    connection: Connection,
    settings: Settings,
    regions: Mapping[str, Region],
    after: Mapping[str, Known],
    now: dt.datetime,
    world: World,
    done: Round,
) -> None:
    """The digest of each night that ended since the last one."""
    for region in REGIONS:
        night, name = alerts.last_night(connection, region), f"night {region}"
        if night is None:
            continue
        last = alerts.marked(connection, name)
        if last is not None and night.start <= last:
            continue
        end = night.start + windows.LENGTH
        readers = settings.readers(region)
        if readers and (last is not None or now - end < FRESH):
            mine = [one for tenant, one in after.items() if regions[tenant] == region]
            bad = _changes(connection, [(one, "reminder") for one in mine if one.now.is_bad], regions, now)
            digest = Digest(
                region, night.start, end, night.tenants, night.published, night.failed, night.missed,
                night.over_at, tuple(bad), tuple(one.tenant for one in mine if one.unsteady),
            )  # fmt: skip
            outbox.put(connection, readers, messages.of_night(digest), world.new_id(), now)
            done.digests += 1
        alerts.mark(connection, name, night.start)


# ----------------------------------------------------------------------------------------- delivery


def deliver(engine: Engine, settings: Settings, world: World, done: Round) -> None:
    """Sends what waits, in the order of each channel, until all is sent or the time is up."""
    began = world.seconds()
    with engine.connect() as connection:
        channels = outbox.ready(connection, settings.names, world.clock())
    for name in channels:
        channel = settings.channel(name)
        for _ in range(AT_ONCE):
            if channel is None or world.seconds() - began > BUDGET:
                break
            with _writing(engine) as connection:
                waiting = outbox.claim(connection, name, world.clock())
            if waiting is None:
                break
            error = _sent(channel, waiting, world)
            if error is not None:
                with _writing(engine) as connection:
                    _failed(connection, settings, waiting, error, world)
                done.failed[name] = str(error)
                break
            with _writing(engine) as connection:
                _worked(connection, settings, waiting, world)
            done.sent[name] = done.sent.get(name, 0) + 1


def _sent(channel: Channel, waiting: outbox.Waiting, world: World) -> CodedError | None:
    """Sends a message; gives back why it was not taken."""
    try:
        world.send(channel, Envelope(waiting.message_id, waiting.made_at, waiting.message))
    except CodedError as error:
        return error
    except Exception as error:  # a fault of ours with one channel keeps no message from the others
        return CodedError("RS-RUN-99", f"{type(error).__name__} in {place_of(error)}.")
    return None


def _worked(connection: Connection, settings: Settings, waiting: outbox.Waiting, world: World) -> None:
    now, name = world.clock(), waiting.channel
    outbox.delivered(connection, waiting.place, now)
    health = outbox.health(connection)
    mine = health.get(name, Health())
    if mine.reported_at and mine.failing_since:
        others = [one for one in settings.names if one != name]
        if others:
            told = messages.of_mended_channel(name, mine.failing_since)
            outbox.put(connection, others, told, world.new_id(), now)
    outbox.remember(connection, name, Health(worked_at=now))


def _failed(
    connection: Connection,
    settings: Settings,
    waiting: outbox.Waiting,
    error: CodedError,
    world: World,
) -> None:
    """Writes down that a message was not taken, and tells the other channels if that goes on."""
    now, name = world.clock(), waiting.channel
    health = outbox.health(connection)
    mine = health.get(name, Health())
    refuses, wait = getattr(error, "refuses", False), getattr(error, "wait", None)
    if refuses and waiting.attempts >= REFUSALS:
        outbox.set_aside(connection, waiting.place, now)
    else:
        outbox.postpone(connection, waiting.place, now + _wait(waiting.attempts, wait, world.jitter()))
    since = mine.failing_since or now
    reported = mine.reported_at
    remind_after = dt.timedelta(days=settings.remind_after_days)
    if now - since >= REPORTED_AFTER and (reported is None or now - reported >= remind_after):
        # One that is down itself would tell it when it is over.
        works = [one for one in settings.names if one != name and not health.get(one, Health()).failing_since]
        if works:
            count, _ = outbox.waiting(connection).get(name, (0, now))
            told = messages.of_broken_channel(name, str(error), since, count)
            outbox.put(connection, works, told, world.new_id(), now)
            reported = now
    outbox.remember(
        connection, name, replace(mine, failing_since=since, error=str(error), reported_at=reported)
    )


def _wait(attempts: int, asked: float | None, jitter: float) -> dt.timedelta:
    """Until the next try: twice as long each time, as long as the channel asks, and never all at once."""
    usual: dt.timedelta = min(FIRST_WAIT * 2 ** min(attempts - 1, 10), LONGEST_WAIT) * (0.8 + 0.4 * jitter)
    return max(usual, min(dt.timedelta(seconds=asked), LONGEST_ASKED)) if asked else usual
