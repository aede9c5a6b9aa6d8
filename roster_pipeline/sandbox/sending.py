"""How an answer goes out where it does not go out whole and at once: slowly, in part, or far too large.

Dripping, cutting off and resetting happen on the connection itself, which `Connection` makes known to the
application: a server of ASGI has no word for them.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import zlib
from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from roster_pipeline.sandbox.misbehaviour import Misbehaviour

WAYS: Final = ("drip", "drip-for-ever", "reset", "cut-off", "huge-page", "zip-bomb")
"""The faults that are of sending."""

_PIECE: Final = b" " * 65536
_MIB: Final = 1024 * 1024 // len(_PIECE)
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on, for no time: closing sends a reset."""


class Connection(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """uvicorn's connection, whose transport is in each request's state."""

    app_state: dict[str, Any]

    def connection_made(self, transport: Any) -> None:
        """Keeps the transport where requests get their state from."""
        self.app_state = {**self.app_state, "transport": transport}
        super().connection_made(transport)


class Badly(Response):
    """Another answer, as one of `WAYS` sends it; `due` are the faults that this request meets."""

    def __init__(self, answer: Response, due: Mapping[str, Misbehaviour]) -> None:
        super().__init__(bytes(answer.body), answer.status_code)
        self.raw_headers = list(answer.raw_headers)
        self._way = next(due[name] for name in WAYS if name in due)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
        value, body = self._way.value, self.body
        match self._way.what:
            case "drip" | "drip-for-ever":
                gone = asyncio.ensure_future(_until_gone(receive))
                try:
                    endless = self._way.what == "drip-for-ever"
                    await self._drip(send, gone, 0.05 if value is None else float(value), endless=endless)
                finally:
                    gone.cancel()
            case "reset" | "cut-off":
                told = len(body) // 2 if value is None else min(int(value), len(body) - 1)
                resets = self._way.what == "reset"
                if told or not resets:
                    await self._start(send, self.raw_headers)
                    await send({"type": "http.response.body", "body": body[:told], "more_body": True})
                await _end(scope["state"]["transport"], resets=resets)
            case "huge-page":
                await self._start(send, self._unsized)
                for _ in range(_MIB * int(value or 300)):
                    await send({"type": "http.response.body", "body": _PIECE, "more_body": True})
                await send({"type": "http.response.body", "body": body})
            case _:
                packed = _packed(bytes(body), _MIB * int(value or 300))
                length = (b"content-length", str(len(packed)).encode())
                await self._start(send, [*self._unsized, (b"content-encoding", b"gzip"), length])
                await send({"type": "http.response.body", "body": packed})

    @property
    def _unsized(self) -> list[tuple[bytes, bytes]]:
        return [header for header in self.raw_headers if header[0] != b"content-length"]

    async def _start(self, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})

    async def _drip(self, send: Send, gone: asyncio.Future[None], seconds: float, *, endless: bool) -> None:
        await self._start(send, self._unsized if endless else self.raw_headers)
        place = 0
        while endless or place < len(self.body):
            drop = b" " if endless else self.body[place : place + 1]
            await send({"type": "http.response.body", "body": drop, "more_body": True})
            place += 1
            await asyncio.wait([gone], timeout=seconds)
            if gone.done():
                return
        await send({"type": "http.response.body", "body": b""})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _end(transport: Any, *, resets: bool) -> None:
    """Ends a connection, after what was sent has left."""
    for _ in range(100):
        if not transport.get_write_buffer_size():
            break
        await asyncio.sleep(0.01)
    if not resets:
        transport.close()
        return
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()


def _packed(body: bytes, pieces: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(
        [*(packer.compress(_PIECE) for _ in range(pieces)), packer.compress(body), packer.flush()]
    )
