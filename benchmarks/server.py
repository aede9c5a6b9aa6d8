"""Serves a prepared district over loopback: a thread a connection, a slice of a file a page, no computing.

`python -m benchmarks.server FOLDER` prints one JSON line with its addresses and credentials, and ends when
its standard input does. OneRoster 1.1 or 1.2 as the district was prepared: `limit` (clamped), `offset`,
`sort=sourcedId` with `orderBy`, `X-Total-Count` and `Link`; whatever would need computing is refused. OAuth 2
client credentials at `token_url`; signatures are let in unchecked, since checking is not what is measured.

Two requests are its own: `GET /costs` tells what it has cost so far, and `POST /state?changed=true` makes it
serve the district's second state from then on.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import resource
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, quote, unquote_plus
from urllib.request import Request, urlopen

from benchmarks.districts import BASE, COLLECTIONS, HOST, Rows, facts_of

CLIENT: Final = "bench"
PAGE_CAP: Final = 1000
"""Rows a page at most."""
_UNDERSTOOD: Final = frozenset({"limit", "offset", "sort", "orderBy"})
_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_AUTHORIZATION: Final = re.compile(rb"\r\nauthorization: *([^\r]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, headers as lines, and the body in pieces."""

    status: int
    body: list[bytes | memoryview]
    headers: str = ""


class Pages:
    """What the server answers; for several threads.

    Args:
        folder: A prepared district.
        secret: Of the client `CLIENT`.
        latency: Seconds to wait before each page.
    """

    def __init__(self, folder: Path, secret: str, *, latency: float = 0.0) -> None:
        self._secret, self._token, self._latency = secret, secrets.token_urlsafe(24), latency
        self.base = BASE[facts_of(folder)["version"]]
        self._states = [
            {name: Rows(folder, name, changed=changed) for name in COLLECTIONS} for changed in (False, True)
        ]
        self._changed = False
        self._lock = threading.Lock()
        self._pages = 0

    def answer(self, method: str, target: str, authorization: str, body: bytes) -> Answer:
        """The answer to a request; `target` is its path with the query."""
        path, _, query = target.partition("?")
        given = {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
        if method == "POST" and path == f"{self.base}/token":
            return self._issued(authorization, body)
        if method == "POST" and path == "/state":
            self._changed = given.get("changed") == "true"
            return _json(200, {"changed": self._changed})
        if path == "/costs":
            return _json(200, {"pages": self._pages, "cpu_s": cpu_seconds()})
        if authorization != f"Bearer {self._token}" and not authorization.startswith("OAuth "):
            return _json(401, {"error": "no token that was issued here"}, "WWW-Authenticate: Bearer\r\n")
        base, _, name = path.rpartition("/")
        if method != "GET" or base != self.base or name not in COLLECTIONS:
            return _json(404, {"error": "there is no such endpoint"})
        if not given.keys() <= _UNDERSTOOD or given.get("sort", "sourcedId") != "sourcedId":
            return _json(400, {"error": f"only {', '.join(sorted(_UNDERSTOOD))} are understood"})
        if self._latency:
            time.sleep(self._latency)
        with self._lock:
            self._pages += 1
        return self._page(name, given)

    def _page(self, name: str, given: Mapping[str, str]) -> Answer:
        rows = self._states[self._changed][name]
        limit = max(1, min(int(given.get("limit", "100")), PAGE_CAP))
        offset = max(0, int(given.get("offset", "0")))
        if given.get("orderBy") == "desc":
            places = range(len(rows) - 1 - offset, max(-1, len(rows) - 1 - offset - limit), -1)
            pieces = [rows.page(place, 1)[0] for place in places]
        else:
            pieces = rows.page(offset, limit)
        body: list[bytes | memoryview] = [b'{"%b":[' % name.encode()]
        for piece in pieces:
            body += [piece, b","]
        body[-1:] = [b"]}"] if pieces else [body[-1], b"]}"]
        headers = f"X-Total-Count: {len(rows)}\r\n"
        if offset + limit < len(rows):
            kept = "".join(
                f"&{key}={quote(value)}" for key, value in given.items() if key not in ("limit", "offset")
            )
            address = f"{self.root_url}{self.base}/{name}?limit={limit}&offset={offset + limit}{kept}"
            headers += f'Link: <{address}>; rel="next"\r\n'
        return Answer(200, body, headers)

    root_url = HOST
    """Where it is reached, for links."""

    def _issued(self, authorization: str, body: bytes) -> Answer:
        form = {name: values[-1] for name, values in parse_qs(body.decode()).items()}
        client = form.get("client_id", ""), form.get("client_secret", "")
        if authorization.startswith("Basic "):
            name, _, secret = base64.b64decode(authorization[6:]).decode().partition(":")
            client = unquote_plus(name), unquote_plus(secret)
        if client != (CLIENT, self._secret):
            return _json(401, {"error": "invalid_client"})
        told = {"access_token": self._token, "token_type": "bearer", "expires_in": 24 * 3600}
        return _json(200, told | ({"scope": form["scope"]} if "scope" in form else {}))


def _json(status: int, body: Mapping[str, Any], headers: str = "") -> Answer:
    return Answer(status, [json.dumps(body).encode()], headers)


def cpu_seconds() -> float:
    """User and system seconds of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


# ---------------------------------------------------------------------------------------------- sockets


def listen(pages: Pages) -> socket.socket:
    """Serves on a free port of loopback until the process ends; gives the listening socket."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=128)
    pages.root_url = f"http://127.0.0.1:{listening.getsockname()[1]}"

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:  # closed
                return
            threading.Thread(target=_serve, args=(pages, connection), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listening


def _serve(pages: Pages, connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffer = b""
    with connection:
        try:
            while True:
                while (end := buffer.find(b"\r\n\r\n")) < 0:
                    more = connection.recv(65536)
                    if not more:
                        return
                    buffer += more
                head, buffer = buffer[: end + 2], buffer[end + 4 :]
                length = int(found[1]) if (found := _LENGTH.search(head)) else 0
                while len(buffer) < length:
                    buffer += connection.recv(65536)
                body, buffer = buffer[:length], buffer[length:]
                method, target = head.decode("latin-1").split(" ", 2)[:2]
                given = _AUTHORIZATION.search(head)
                answer = pages.answer(method, target, given[1].decode("latin-1") if given else "", body)
                _send(connection, answer)
        except ConnectionError:  # whoever asked has gone
            return


def _send(connection: socket.socket, answer: Answer) -> None:
    size = sum(map(len, answer.body))
    head = (
        f"HTTP/1.1 {answer.status} {'OK' if answer.status == 200 else 'Refused'}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {size}\r\n{answer.headers}\r\n"
    )
    pieces: list[bytes | memoryview] = [head.encode(), *answer.body]
    if len(pieces) > 4:  # few and large are sent as they are, many and small in one
        pieces = [b"".join(pieces)]
    sent = connection.sendmsg(pieces)
    for piece in pieces:
        if sent < len(piece):
            connection.sendall(memoryview(piece)[sent:])
        sent = max(0, sent - len(piece))


# ---------------------------------------------------------------------------------------------- running


@dataclass(frozen=True, slots=True)
class Serving:
    """A server in a process of its own."""

    root_url: str
    base_url: str
    token_url: str
    client_id: str
    client_secret: str

    def costs(self) -> dict[str, float]:
        """`pages` that it handed out so far, and the `cpu_s` that they and its start took."""
        with urlopen(f"{self.root_url}/costs") as answer:
            found: dict[str, float] = json.load(answer)
        return found

    def show(self, *, changed: bool) -> None:
        """Serves the district's first or second state from now on."""
        urlopen(Request(f"{self.root_url}/state?changed={str(changed).lower()}", method="POST")).close()


@contextmanager
def served(folder: Path, *, latency_ms: int = 0) -> Iterator[Serving]:
    """A prepared district, served by a process of its own, which ends with this one at the latest."""
    secret = secrets.token_urlsafe(16)
    command = [sys.executable, "-m", "benchmarks.server", str(folder), "--latency-ms", str(latency_ms)]
    environment = {**os.environ, "BENCH_SECRET": secret}
    with subprocess.Popen(
        command, cwd=Path(__file__).parents[1], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        if server.stdin is None or server.stdout is None:
            raise RuntimeError("the server has no pipes")
        line = server.stdout.readline()
        if not line:
            raise RuntimeError("the server did not start")
        try:
            yield Serving(**json.loads(line), client_secret=secret)
        finally:
            server.stdin.close()


def main() -> None:
    """Serves until standard input ends."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.server")
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--latency-ms", type=int, default=0)
    given = arguments.parse_args()
    pages = Pages(given.folder, os.environ["BENCH_SECRET"], latency=given.latency_ms / 1000)
    with listen(pages):
        told = {
            "root_url": pages.root_url,
            "base_url": pages.root_url + pages.base,
            "token_url": f"{pages.root_url}{pages.base}/token",
            "client_id": CLIENT,
        }
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
