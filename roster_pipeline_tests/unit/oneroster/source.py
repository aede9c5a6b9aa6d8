"""A source of users that changes, and who reads it again and again into one lake."""

from __future__ import annotations

import random
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from roster_pipeline.oneroster.auth import OAuth1
from roster_pipeline.oneroster.client import Client, Limits, Transport
from roster_pipeline.oneroster.connecting import connect
from roster_pipeline.oneroster.paging import Bounds, Finding, Listing, Pull
from roster_pipeline.oneroster.regular import Regular
from roster_pipeline.oneroster.resuming import Bookmark, Resumption
from roster_pipeline.oneroster.wire import SourceError
from roster_pipeline.rosters.forgotten import ForgettingSink, Forgotten
from roster_pipeline.store.lake import ExtractFiles, Lake
from roster_pipeline_tests.unit.oneroster.server import (
    KEY,
    SECRET,
    Clock,
    Loopback,
    Reply,
    Request,
    School,
    district,
)

TENANT = "oak"
LIMIT = 3
TEMPLATE = district(1)["users"][1]


@dataclass
class Source(School):
    """A server of users that sorts as it is asked to, or leaves rows where they are; and all it ever had."""

    people: list[tuple[str, str]] = field(default_factory=list)
    sorts: bool = True
    revisions: bool = False
    changes: int = 0
    past: list[set[tuple[str, str]]] = field(default_factory=list)

    def __call__(self, request: Request) -> Reply:
        people = self.people
        if self.sorts:
            people = sorted(people, reverse=request.query.get("orderBy") == "desc")
        self.rows = {"users": [{**TEMPLATE, "sourcedId": one, "familyName": name} for one, name in people]}
        self.revision = (lambda offset: str(self.changes)) if self.revisions else None
        return super().__call__(request)

    def change(self, how: str, where: int, number: int) -> None:
        """One change of one row; nothing where it has no sense."""
        ids, place = {one for one, _ in self.people}, where % max(1, len(self.people))
        if how == "add" and f"{number:03}" not in ids:
            self.people.insert(place, (f"{number:03}", "New"))
        elif how == "remove" and self.people:
            del self.people[place]
        elif how == "rename" and self.people:
            self.people[place] = (self.people[place][0], f"Renamed {number}")
        elif how == "move" and self.people:
            self.people.insert(number % len(self.people), self.people.pop(place))
        self.changes += 1
        self.past.append(set(self.people))


@dataclass
class Reader:
    """Reads the source's users again and again, each time as another sync of one lake.

    With a `release`, pages are remembered from one complete reading to the next.
    """

    lake: Lake
    server: Loopback
    release: str = ""
    forgotten: Forgotten | None = None
    clock: Clock = field(default_factory=Clock)
    syncs: list[int] = field(default_factory=list)
    interrupted: list[int] = field(default_factory=list)

    def read(self) -> Finding | None:
        """What the reading came to; None if it was interrupted."""
        number, clock = len(self.syncs) + 1, self.clock
        with ExitStack() as stack:
            http = stack.enter_context(connect(self.server.url, connections=3, timeout=Limits().timeout))
            transport = Transport(
                http, clock=clock, sleep=clock.sleep, rng=random.Random(1), limits=Limits(tries=1)
            )
            auth = OAuth1(KEY, SECRET, clock=clock, method="HMAC-SHA1", may_change=False)
            client = Client(f"{self.server.url}/ims/oneroster/v1p1", transport, auth)
            sink = stack.enter_context(
                self.lake.extract(
                    TENANT,
                    1,
                    number,
                    ("users",),
                    clock=clock,
                    interrupted=tuple(reversed(self.interrupted)),
                    release=self.release,
                )
            )
            if self.forgotten is not None:
                sink = cast("ExtractFiles", ForgettingSink(sink, self.forgotten, 1))
            self.syncs.append(number)
            self.interrupted.append(number)
            found = sink.interrupted("users")
            mark = Bookmark.of(found.bookmark) if found else None
            pull = Pull(
                Listing(client, "users", "users", compatible=False, remembered=sink.remembered("users")),
                append=lambda page, at: sink.append(
                    "users", page.table, at.as_json() if at else None, page.fingerprint
                ),
                restart=lambda: sink.restart("users"),
                told=lambda rows, total: None,
                limits=(LIMIT,),
                pool=None,
                width=1,
                clock=clock,
                bounds=Bounds(),
                resumption=Resumption(found, mark, lambda: sink.go_on("users", found))
                if found and mark
                else None,
            )
            try:
                finding = pull.read()
            except SourceError:
                sink.leave("users")
                return None
            sink.close("users")
            self.interrupted.clear()
            if finding.complete:
                self.lake.set_complete(TENANT, 1, {"users": {"sync_id": number}})
            return finding

    @property
    def rows(self) -> list[tuple[str, str]]:
        frame = self.lake.read_extract(TENANT, 1, self.syncs[-1], "users")
        return list(zip(frame["sourcedId"], frame["familyName"], strict=True))


def made_of(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """From now on, the pages of whose JSON rows are made."""
    found: list[bytes] = []
    read = Regular.read

    def counted(self: Regular, body: bytes) -> Any:
        found.append(body)
        return read(self, body)

    monkeypatch.setattr(Regular, "read", counted)
    return found
