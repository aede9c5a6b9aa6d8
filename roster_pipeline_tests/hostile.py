"""A healthy tenant beside a hostile one, each sync in a process of its own.

Run with `python -m roster_pipeline_tests.hostile`. The hostile provider sends pages without end, a value of
12 MiB, an answer of a gibibyte in a mebibyte of gzip, JSON of tiny objects, and drips. It is a process of its
own, too: what it costs to be hostile burdens nobody. Run as a module, the limits are those of production (a
drip's time apart), and it takes minutes; the test runs the same with small ones.
"""

from __future__ import annotations

import asyncio
import re
import resource
import struct
import sys
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

from roster_pipeline.oneroster.client import Limits
from roster_pipeline.oneroster.collections import COLLECTIONS
from roster_pipeline.oneroster.paging import Bounds
from roster_pipeline.sandbox.generator import DAY, generate
from roster_pipeline_tests.graph.killing import PROCESSES
from roster_pipeline_tests.syncing import STEPS, Deployment, deployment, rest_provider, serving

HEALTHY, HOSTILE = "healthy", "hostile"
SECRETS: Final = {"ID": "anybody", "SECRET": "anything"}
MIB: Final = 1 << 20
Guards = tuple[Limits, Bounds]
SMALL: Final[Guards] = (
    Limits(answer=16 * MIB, ahead=8 * MIB, objects=64 * MIB, whole=3.0, tries=2),
    Bounds(rows=dict.fromkeys(COLLECTIONS, 60_000)),
)
"""A tenth or less of what holds in production."""
IMPATIENT: Final[Guards] = (Limits(whole=30.0), Bounds())
"""As in production, but for the quarter of an hour that a drip may take."""


# ------------------------------------------------------------------------------------------- the server

_ROW: Final = (
    '{{"sourcedId":"{id}","status":"active","givenName":"G","familyName":"F","role":"student","orgs":[]}}'
)


@cache
def _bomb() -> bytes:
    begin, blank = b'{"courses":[', b" " * MIB
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    packed = packer.compress(begin) + packer.flush(zlib.Z_FULL_FLUSH)
    # What is packed after a full flush refers to nothing before it: one mebibyte stands for all of them.
    packed += (packer.compress(blank) + packer.flush(zlib.Z_FULL_FLUSH)) * 1024 + packer.flush()
    checksum = zlib.crc32(begin)
    for _ in range(1024):
        checksum = zlib.crc32(blank, checksum)
    header = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
    return header + packed + struct.pack("<II", checksum, len(begin) + 1024 * MIB)


@cache
def _tiny() -> bytes:
    return b'{"academicSessions":[' + b",".join([b'{"":{}}'] * (12 * MIB // 8)) + b"]}"


@cache
def _long() -> bytes:
    row = '{"sourcedId":"c","title":"%s","course":null,"school":null,"terms":[]}' % ("x" * (12 * MIB))
    return f'{{"classes":[{row}]}}'.encode()


def _page(offset: int, limit: int) -> bytes:
    rows = ",".join(_ROW.format(id=f"a-very-ordinary-sourced-id-{offset + n:09}") for n in range(limit))
    return f'{{"users":[{rows}]}}'.encode()


async def _drip() -> AsyncIterator[bytes]:
    yield b'{"enrollments":['
    while True:
        await asyncio.sleep(0.05)
        yield b" "


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            found = re.match(rb"GET \S*?/(\w+)\?(\S*)", head)
            endpoint = found[1].decode() if found else ""
            asked = dict(re.findall(r"(\w+)=(\d+)", found[2].decode() if found else ""))
            packed = endpoint == "courses"
            if endpoint == "enrollments":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
                async for piece in _drip():
                    writer.write(piece)
                    await writer.drain()
            body = _body(endpoint, int(asked.get("offset", 0)), int(asked.get("limit", 100)))
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                + (b"Content-Encoding: gzip\r\n" if packed else b"")
                + f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # whoever was sent too much hangs up
    finally:
        writer.close()


def _body(endpoint: str, offset: int, limit: int) -> bytes:
    match endpoint:
        case "users":
            return _page(offset, limit)
        case "courses":
            return _bomb()
        case "academicSessions":
            return _tiny()
        case "classes":
            return _long()
        case _:
            return b'{"orgs":[{"sourcedId":"o","name":"O","type":"school"}]}'


async def _serve(told: Connection) -> None:
    _bomb(), _tiny(), _long()
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    told.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def _serve_hostile(told: Connection) -> None:
    asyncio.run(_serve(told))


def _serve_healthy(told: Connection, students: int) -> None:
    with serving(generate(students, seed=11).tables, "classlink") as served:
        told.send(rest_provider(served))
        told.recv()


@contextmanager
def _process(target: Callable[..., None], *given: Any) -> Iterator[Connection]:
    """A process that serves until the block is left, and what it is asked and told by."""
    ours, theirs = PROCESSES.Pipe()
    process = PROCESSES.Process(target=target, args=(theirs, *given), daemon=True)
    process.start()
    try:
        yield ours
    finally:
        process.kill()
        process.join()


# ------------------------------------------------------------------------------------------- the syncs


@dataclass(frozen=True, slots=True)
class Cost:
    """How a sync ended and what its process took."""

    document: dict[str, Any]
    seconds: float
    cpu: float
    peak: int
    """Bytes of memory at most."""


def _sync(told: Connection, folder: Path, url: str, tenant: str, day: date, guards: Guards) -> None:
    with deployment(folder, url, upgrade=False) as here:
        here.environ |= SECRETS
        began = time.monotonic()
        sync = here.begin(tenant, day)
        sync._world = replace(sync._world, limits=guards[0], bounds=guards[1])
        for step in STEPS.values():
            document = step(sync)
        sync.close()
        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = time.monotonic() - began
        told.send(Cost(document, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024))


@dataclass(slots=True)
class Place:
    """A deployment with both tenants."""

    here: Deployment
    url: str
    guards: Guards

    def begin(self, tenant: str, day: date) -> tuple[BaseProcess, Connection]:
        """A process that syncs, and the end of a pipe where it tells its `Cost`."""
        ours, theirs = PROCESSES.Pipe(duplex=False)
        given = (theirs, self.here.home.folder, self.url, tenant, day, self.guards)
        process = PROCESSES.Process(target=_sync, args=given, daemon=True)
        process.start()
        theirs.close()
        return process, ours

    def sync(self, tenant: str, day: date = DAY) -> Cost:
        """A sync from begin to end, in a process of its own."""
        process, told = self.begin(tenant, day)
        cost: Cost = told.recv()
        process.join()
        return cost


@contextmanager
def both(folder: Path, url: str = "", *, guards: Guards, students: int = 800) -> Iterator[Place]:
    """A deployment that knows a healthy and a hostile tenant, whose servers run."""
    with (
        _process(_serve_hostile) as hostile,
        _process(_serve_healthy, students) as healthy,
        deployment(folder, url) as here,
    ):
        here.apply(HEALTHY, healthy.recv())
        address = f"http://127.0.0.1:{hostile.recv()}"
        here.apply(
            HOSTILE,
            {"name": "sis", "kind": "oneroster", "version": "1.1", "endpoint_url": address,
             "client_id": "env:ID", "client_secret": "env:SECRET"},
        )  # fmt: skip
        yield Place(here, url, guards)


def main() -> int:
    """Measures syncs alone and beside the hostile one, which goes on until it ends by itself."""
    with TemporaryDirectory() as folder, both(Path(folder), guards=IMPATIENT) as place:
        place.sync(HEALTHY)
        alone = [place.sync(HEALTHY) for _ in range(5)]
        process, told = place.begin(HOSTILE, DAY)
        beside = [place.sync(HEALTHY) for _ in range(5)]
        running = process.is_alive()
        hostile: Cost = told.recv()
        process.join()
    codes = sorted({issue["code"] for issue in hostile.document["issues"]})
    print(
        f"alone: {median(cost.seconds for cost in alone):.2f} s,"
        f" {median(cost.cpu for cost in alone):.2f} s CPU"
    )
    print(
        f"beside: {median(cost.seconds for cost in beside):.2f} s,"
        f" {median(cost.cpu for cost in beside):.2f} s CPU"
    )
    print(f"still running after those: {running}")
    print(
        f"hostile: {hostile.document['status']} after {hostile.seconds:.0f} s, {hostile.cpu:.0f} s CPU,"
        f" at most {hostile.peak / MIB:.0f} MiB, {codes}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
