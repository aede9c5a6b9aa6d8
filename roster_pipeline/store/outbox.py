"""The outbox of alerts: messages that wait for their channels, and how the channels are doing.

A message is written in the transaction that knows what it tells, and sent after that, in the order in which
the messages of its channel were written. Whoever sends one claims it first: what is being sent by somebody
is not sent by another, and what nobody finished is sent again when the claim is over.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, func, insert, select, update

from roster_pipeline.alerts.messages import Message
from roster_pipeline.store.database import alert_channels, alert_messages
from roster_pipeline.store.instants import aware, naive

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

CLAIM: Final = dt.timedelta(seconds=90)
"""For longer than sending one message may take."""
_BATCH: Final = 1000


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that is the next one of its channel."""

    place: int
    message_id: str
    channel: str
    message: Message
    made_at: dt.datetime
    attempts: int


@dataclass(frozen=True, slots=True)
class Health:
    """How a channel is doing.

    Attributes:
        error: What went wrong last, with its code; also of a message that was refused.
        reported_at: When the other channels were told that it does not work.
    """

    worked_at: dt.datetime | None = None
    failing_since: dt.datetime | None = None
    error: str | None = None
    reported_at: dt.datetime | None = None


def put(
    connection: Connection, channels: Collection[str], message: Message, message_id: str, now: dt.datetime
) -> None:
    """A message for each of the channels; its id is made distinct by the channel's name."""
    body = json.dumps(message.as_json(), ensure_ascii=False)
    connection.execute(
        insert(alert_messages),
        [
            {
                "message_id": f"{message_id}.{number}",
                "channel": channel,
                "body": body,
                "made_at": naive(now),
                "attempts": 0,
                "next_try_at": naive(now),
            }
            for number, channel in enumerate(sorted(channels), start=1)
        ],
    )


_UNSENT: Final = alert_messages.c.delivered_at.is_(None) & alert_messages.c.refused_at.is_(None)


def ready(connection: Connection, channels: Collection[str], now: dt.datetime) -> list[str]:
    """The channels whose next message may be sent now, those first that have waited the longest."""
    heads = (
        select(alert_messages.c.channel, func.min(alert_messages.c.place).label("place"))
        .where(_UNSENT, alert_messages.c.channel.in_(list(channels)))
        .group_by(alert_messages.c.channel)
        .subquery()
    )
    query = (
        select(alert_messages.c.channel)
        .join(heads, heads.c.place == alert_messages.c.place)
        .where(alert_messages.c.next_try_at <= naive(now))
        .order_by(alert_messages.c.next_try_at, alert_messages.c.channel)
    )
    return list(connection.scalars(query))


def claim(connection: Connection, channel: str, now: dt.datetime) -> Waiting | None:
    """The next message of a channel, now this caller's to send; None if none may be sent now.

    Args:
        connection: In a transaction that writes, to be committed before anything is sent.
        channel: Its name.
        now: Aware.
    """
    row = connection.execute(
        select(alert_messages)
        .where(_UNSENT, alert_messages.c.channel == channel)
        .order_by(alert_messages.c.place)
        .limit(1)
    ).first()
    if row is None or row.next_try_at > naive(now):
        return None
    taken = connection.execute(
        update(alert_messages)
        .where(
            alert_messages.c.place == row.place,
            alert_messages.c.attempts == row.attempts,  # two that read the same row: one of them has it
            _UNSENT,
        )
        .values(attempts=row.attempts + 1, next_try_at=naive(now + CLAIM))
    )
    if not taken.rowcount:
        return None
    message = Message.from_json(json.loads(row.body))
    return Waiting(
        row.place, row.message_id, channel, message, row.made_at.replace(tzinfo=dt.UTC), row.attempts + 1
    )


def delivered(connection: Connection, place: int, now: dt.datetime) -> None:
    """The channel has taken it."""
    connection.execute(
        update(alert_messages).where(alert_messages.c.place == place).values(delivered_at=naive(now))
    )


def postpone(connection: Connection, place: int, until: dt.datetime) -> None:
    """The channel has not taken it; it stays the next one."""
    connection.execute(
        update(alert_messages).where(alert_messages.c.place == place).values(next_try_at=naive(until))
    )


def set_aside(connection: Connection, place: int, now: dt.datetime) -> None:
    """The channel does not want this one; those behind it are sent."""
    connection.execute(
        update(alert_messages).where(alert_messages.c.place == place).values(refused_at=naive(now))
    )


def waiting(connection: Connection) -> dict[str, tuple[int, dt.datetime]]:
    """Channel → how many messages wait for it, and since when the oldest does."""
    query = (
        select(alert_messages.c.channel, func.count(), func.min(alert_messages.c.made_at))
        .where(_UNSENT)
        .group_by(alert_messages.c.channel)
    )
    found = connection.execute(query)
    return {channel: (count, oldest.replace(tzinfo=dt.UTC)) for channel, count, oldest in found}


def refused(connection: Connection) -> dict[str, int]:
    """Channel → how many messages it refused for good."""
    query = (
        select(alert_messages.c.channel, func.count())
        .where(alert_messages.c.refused_at.is_not(None))
        .group_by(alert_messages.c.channel)
    )
    return {row.channel: row[1] for row in connection.execute(query)}


def prune(connection: Connection, before: dt.datetime, channels: Collection[str] | None) -> int:
    """Removes one batch of what is older; says how many rows that were.

    Args:
        connection: In a transaction that writes.
        before: What was delivered or refused before that is removed.
        channels: The channels that there are: what waits for another one will never be sent. None: nobody
            knows, and what waits stays.
    """
    done = func.coalesce(alert_messages.c.delivered_at, alert_messages.c.refused_at)
    old = done < naive(before)
    if channels is not None:
        stranded = _UNSENT & alert_messages.c.channel.not_in(list(channels))
        old = old | (stranded & (alert_messages.c.made_at < naive(before)))
    places = list(connection.scalars(select(alert_messages.c.place).where(old).limit(_BATCH)))
    for first in range(0, len(places), 500):
        connection.execute(
            delete(alert_messages).where(alert_messages.c.place.in_(places[first : first + 500]))
        )
    return len(places)


# ------------------------------------------------------------------------------------------- health


def health(connection: Connection) -> dict[str, Health]:
    """Channel → how it is doing, of those that were ever used."""
    return {
        row.channel: Health(
            _aware(row.worked_at), _aware(row.failing_since), row.error, _aware(row.reported_at)
        )
        for row in connection.execute(select(alert_channels))
    }


def remember(connection: Connection, channel: str, health: Health) -> None:
    """Keeps how a channel is doing."""
    values = {
        "worked_at": _maybe(health.worked_at),
        "failing_since": _maybe(health.failing_since),
        "error": health.error,
        "reported_at": _maybe(health.reported_at),
    }
    found = connection.execute(
        update(alert_channels).where(alert_channels.c.channel == channel).values(**values)
    )
    if not found.rowcount:
        connection.execute(insert(alert_channels).values(channel=channel, **values))


def forget_others(connection: Connection, channels: Sequence[str]) -> None:
    """Forgets how channels were doing that are not there any more."""
    connection.execute(delete(alert_channels).where(alert_channels.c.channel.not_in(list(channels))))


def _maybe(instant: dt.datetime | None) -> dt.datetime | None:
    return naive(instant) if instant else None


def _aware(instant: dt.datetime | None) -> dt.datetime | None:
    return aware(instant) if instant else None
