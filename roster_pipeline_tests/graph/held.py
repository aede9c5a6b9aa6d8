"""A OneRoster server that answers when it is told to: holds a sync in the middle of reading."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATIENCE = 120


@dataclass
class Holding:
    """`asked` is set by the first request; none is answered before `go`, and then with a failure."""

    port: int = 0
    asked: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    @property
    def provider(self) -> dict[str, Any]:
        """As it stands in a tenant document; needs CLIENT_ID and CLIENT_SECRET in the environment."""
        return {
            "name": "held",
            "kind": "oneroster",
            "version": "1.1",
            "endpoint_url": f"http://127.0.0.1:{self.port}/",
            "client_id": "env:CLIENT_ID",
            "client_secret": "env:CLIENT_SECRET",
        }


@contextmanager
def holding() -> Iterator[Holding]:
    """The server, on a free port."""
    held = Holding()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            held.asked.set()
            held.go.wait(PATIENCE)
            with suppress(ConnectionError):  # whoever asked may have been ended meanwhile
                self.send_error(404)

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    held.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield held
    finally:
        held.go.set()
        server.shutdown()
        server.server_close()
        thread.join()
