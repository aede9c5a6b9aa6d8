"""Instants as the roster database has them: UTC without a zone; elsewhere they are aware."""

from __future__ import annotations

import datetime as dt


def naive(instant: dt.datetime) -> dt.datetime:
    """An aware instant as it is stored."""
    return instant.astimezone(dt.UTC).replace(tzinfo=None)


def aware(instant: dt.datetime) -> dt.datetime:
    """A stored instant, aware."""
    return instant.replace(tzinfo=dt.UTC)
