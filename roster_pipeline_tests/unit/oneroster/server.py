"""A scripted OneRoster server on loopback, with every bad habit that tests need, and what tests read it with.

Real HTTP over real sockets, one thread a connection. `School` answers; its attributes are its habits.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import random
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import pyarrow as pa

from roster_pipeline.providers.reading import Reading
from roster_pipeline.tenants.document import Provider

KEY = "key-canary-7d1f"
SECRET = "s3cr&t/+= canary-91ab"  # what the encodings disagree about
TOKEN = "token-canary-44c2"
START = datetime(2026, 11, 21, 18, 0, tzinfo=UTC)


@dataclass
class Request:
    method: str
    path: str
    raw_query: str
    headers: dict[str, str]
    body: bytes

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.raw_query, keep_blank_values=True))

    @property
    def endpoint(self) -> str:
        return self.path.rsplit("/", 1)[-1]

    @property
    def offset(self) -> int:
        return int(self.query.get("offset", "0"))


@dataclass
class Reply:
    content: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut_at: int | None = None
    """Close the connection after so many bytes of the body."""
    silent: bool = False
    """Close the connection without a word."""
    packed: bool = False

    @property
    def body(self) -> bytes:
        body = self.content if isinstance(self.content, bytes) else json.dumps(self.content).encode()
        return gzip.compress(body) if self.packed else body


Answer = Callable[[Request], Reply]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, parts.path, parts.query, headers, body)
        server: Any = self.server
        with server.lock:
            server.requests.append(request)
            server.under_way += 1
            server.most_under_way = max(server.most_under_way, server.under_way)
        try:
            reply = server.answer(request)
        finally:
            with server.lock:
                server.under_way -= 1
        if reply.silent:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(reply.status)
        headers = {"Content-Type": "application/json", **reply.headers}
        if reply.packed:
            headers["Content-Encoding"] = "gzip"
        body = reply.body
        if reply.status != 204:
            headers["Content-Length"] = str(len(body))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if reply.cut_at is not None:
            self.wfile.write(body[: reply.cut_at])
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif reply.status != 204:
            self.wfile.write(body)

    do_GET = do_POST = _handle  # noqa: N815


class Loopback(ThreadingHTTPServer):
    """The server; `requests` is what came, in order."""

    daemon_threads = True

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer, self.requests = answer, list[Request]()
        self.lock = threading.Lock()
        self.under_way = self.most_under_way = 0
        self.scheme = "https" if tls else "http"
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}"

    def asked(self, endpoint: str) -> list[int]:
        """The offsets at which an endpoint was asked for, in order."""
        return [request.offset for request in self.requests if request.endpoint == endpoint]

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that hang up are part of the tests


@contextmanager
def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[Loopback]:
    server = Loopback(answer, tls)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# -------------------------------------------------------------------------------------------- a school


def ref(kind: str, number: Any) -> dict[str, str]:
    return {
        "href": f"https://sis.example.org/{kind}s/{number}",
        "sourcedId": f"{kind}-{number}",
        "type": kind,
    }


def district(students: int = 25, *, version: str = "1.1") -> dict[str, list[dict[str, Any]]]:
    """Rows of a small district: everybody is in two classes."""
    common = {"status": "active", "dateLastModified": "2026-08-01T00:00:00.000Z", "metadata": None}

    def roles(role: str) -> dict[str, Any]:
        if version == "1.1":
            return {"role": role, "orgs": [ref("org", 1)]}
        return {
            "roles": [{"roleType": "primary", "role": role, "org": ref("org", 1)}],
            "primaryOrg": ref("org", 1),
        }

    def user(number: int, role: str) -> dict[str, Any]:
        return {
            "sourcedId": f"user-{number}", **common, "username": f"u{number}", "enabledUser": "true",
            "givenName": f"Given{number}", "familyName": f"Family{number}", "identifier": f"0{number}",
            "email": f"u{number}@example.org", "userIds": [{"type": "LDAP", "identifier": f"l{number}"}],
            "grades": ["09"], "agents": [], "password": "hunter2", **roles(role),
        }  # fmt: skip

    return {
        "orgs": [
            {"sourcedId": "org-0", **common, "name": "District", "type": "district", "identifier": "",
             "parent": None},
            {"sourcedId": "org-1", **common, "name": "North", "type": "school", "identifier": "7",
             "parent": ref("org", 0)},
        ],
        "academicSessions": [
            {"sourcedId": "session-1", **common, "title": "Year", "type": "schoolYear",
             "startDate": "2026-08-01", "endDate": "2027-06-30", "schoolYear": "2027"},
        ],
        "courses": [
            {"sourcedId": "course-1", **common, "title": "Maths", "courseCode": "M1", "org": ref("org", 1),
             "schoolYear": ref("session", 1), "subjects": ["Mathematics"], "subjectCodes": ["02"]},
        ],
        "classes": [
            {"sourcedId": f"class-{number}", **common, "title": f"Maths {number}", "classCode": f"M{number}",
             "classType": "scheduled", "course": ref("course", 1), "school": ref("org", 1),
             "terms": [ref("session", 1)], "grades": ["09"], "periods": ["1"]}
            for number in range(4)
        ],
        "users": [user(0, "teacher"), *(user(number, "student") for number in range(1, students + 1))],
        "enrollments": [
            {"sourcedId": f"enrolment-{number}-{half}", **common, "user": ref("user", number),
             "class": ref("class", (number + half) % 4), "school": ref("org", 1),
             "role": "student" if number else "teacher", "primary": "false",
             "beginDate": "2026-08-01", "endDate": "2027-06-30"}
            for number in range(students + 1) for half in (0, 1)
        ],
    }  # fmt: skip


WITHIN = {
    "schools": ("orgs", lambda row: row["type"] == "school"),
    "terms": ("academicSessions", lambda row: row["type"] in ("term", "semester", "schoolYear")),
    "gradingPeriods": ("academicSessions", lambda row: row["type"] == "gradingPeriod"),
    "students": ("users", lambda row: row.get("role") == "student"),
    "teachers": ("users", lambda row: row.get("role") == "teacher"),
}


@dataclass
class School:
    """Answers like a OneRoster server below `base`."""

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=district)
    base: str = "/ims/oneroster/v1p1"
    access: Callable[[Request], Reply | None] = lambda request: None
    cap: int = 1000
    counts: bool = True
    total: Callable[[str, int, int], int] | None = None
    """Endpoint, true number of rows and offset to the total told."""
    ignores_offset: bool = False
    ignores_limit: bool = False
    past_the_end: str = "empty"
    """`empty`, `last` (the last page again), `first` (page one again), or an HTTP status."""
    missing: frozenset[str] = frozenset()
    forbidden: frozenset[str] = frozenset()
    wrapper: Callable[[str, str, list[Any]], Any] = lambda endpoint, collection, rows: {collection: rows}
    revision: Callable[[int], str] | None = None
    faults: dict[str, list[Reply | None]] = field(default_factory=dict)
    """Replies by endpoint that come first, one a request; None for a good one."""
    arranged: Callable[[str, int, list[Any]], list[Any]] = lambda endpoint, offset, rows: rows
    """Endpoint, offset and all rows to the order that this request sees."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: Request) -> Reply:
        refused = self.access(request)
        if refused is not None:
            return refused
        endpoint = request.endpoint
        if request.path != f"{self.base}/{endpoint}" or endpoint in self.missing:
            return Reply({"imsx_codeMajor": "failure"}, 404)
        if endpoint in self.forbidden:
            return Reply({"imsx_codeMajor": "failure"}, 403)
        with self.lock:
            queue = self.faults.get(endpoint) or []
            fault = queue.pop(0) if queue else None
        if fault is not None:
            return fault
        collection, kept = WITHIN.get(endpoint, (endpoint, lambda row: True))
        if collection not in self.rows:
            return Reply({"imsx_codeMajor": "failure"}, 404)
        rows = [row for row in self.rows[collection] if kept(row)]
        offset = 0 if self.ignores_offset else request.offset
        rows = self.arranged(endpoint, offset, rows)
        count = len(rows)
        limit = self.cap if self.ignores_limit else min(int(request.query.get("limit", "100")), self.cap)
        if offset >= count > 0 and self.past_the_end != "empty":
            if self.past_the_end.isdigit():
                return Reply({"imsx_codeMajor": "failure"}, int(self.past_the_end))
            offset = 0 if self.past_the_end == "first" else (count - 1) // limit * limit
        headers = {}
        if self.counts:
            told = self.total(endpoint, count, request.offset) if self.total else count
            headers["X-Total-Count"] = str(told)
        if self.revision:
            headers["x-perm-rev"] = self.revision(request.offset)
        return Reply(self.wrapper(endpoint, collection, rows[offset : offset + limit]), headers=headers)


# ------------------------------------------------------------------------------------------- access


@dataclass
class Signed:
    """Checks OAuth 1.0a the server's way: from what arrived, with its own arithmetic."""

    method: str = "HMAC-SHA256"
    nonces: set[str] = field(default_factory=set)
    refusals: int = 0

    def __call__(self, request: Request) -> Reply | None:
        parameters = dict(re.findall(r'(\w+)="([^"]*)"', request.headers.get("authorization", "")))
        parameters = {name: unquote(value) for name, value in parameters.items()}
        signature = parameters.pop("oauth_signature", "")
        everything = parse_qsl(request.raw_query, keep_blank_values=True) + list(parameters.items())
        pairs = sorted((quote(name, safe="-._~"), quote(value, safe="-._~")) for name, value in everything)
        joined = "&".join(f"{name}={value}" for name, value in pairs)
        where = f"http://{request.headers['host']}{request.path}"
        base = f"{request.method}&{quote(where, safe='-._~')}&{quote(joined, safe='-._~')}"
        digest = hashlib.sha256 if self.method == "HMAC-SHA256" else hashlib.sha1
        key = quote(SECRET, safe="-._~") + "&"
        right = base64.b64encode(hmac.new(key.encode(), base.encode(), digest).digest()).decode()
        fresh = parameters.get("oauth_nonce") not in self.nonces
        self.nonces.add(parameters.get("oauth_nonce", ""))
        good = (
            parameters.get("oauth_signature_method") == self.method
            and parameters.get("oauth_consumer_key") == KEY
        )
        if good and fresh and signature == right:
            return None
        self.refusals += 1
        return Reply({"imsx_codeMajor": "failure"}, 401)


@dataclass
class Tokens:
    """A token endpoint at `/token` with habits, and the check of what it gave out."""

    in_form: bool = False
    """Credentials in the form's fields alone."""
    scope: str | None = None
    """The scope that must be asked for; "" for none at all, None for whatever comes."""
    refused_with: int = 401
    lifetime: Any = 3600
    good_for: int | None = None
    """After so many data requests a token is refused."""
    replies: list[Reply | None] = field(default_factory=list)
    given: list[str] = field(default_factory=list)
    used: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: Request) -> Reply | None:
        with self.lock:
            if request.path.endswith("/token"):
                return self._token(request)
            self.used += 1
            spent = self.good_for is not None and self.used > self.good_for
            good = bool(self.given) and request.headers.get("authorization") == f"Bearer {self.given[-1]}"
            return None if good and not spent else Reply({"error": "invalid_token"}, 401)

    def _token(self, request: Request) -> Reply:
        if self.replies:
            reply = self.replies.pop(0)
            if reply is not None:
                return reply
        form = dict(parse_qsl(request.body.decode()))
        basic = "Basic " + base64.b64encode(f"{KEY}:{SECRET}".encode()).decode()
        by_header = request.headers.get("authorization") == basic
        by_form = form.get("client_id") == KEY and form.get("client_secret") == SECRET
        if not (by_form if self.in_form else by_header):
            return Reply({"error": "invalid_client"}, self.refused_with)
        if self.scope is not None and form.get("scope", "") != self.scope:
            return Reply({"error": "invalid_scope"}, 400)
        self.given.append(f"{TOKEN}-{len(self.given)}")
        self.used = 0
        return Reply({"access_token": self.given[-1], "token_type": "Bearer", "expires_in": self.lifetime})


# ---------------------------------------------------------------------------------- what reads it


class Clock:
    """A clock that only sleeping moves, and each look at it by so many seconds."""

    def __init__(self, look: float = 0.0) -> None:
        self.now, self.slept = START, list[float]()
        self._look, self._lock = timedelta(seconds=look), threading.Lock()

    def __call__(self) -> datetime:
        with self._lock:
            self.now += self._look
            return self.now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.slept.append(seconds)
            self.now += timedelta(seconds=seconds)


class Pages:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.tables: dict[str, list[pa.Table]] = {}
        self.restarts: list[str] = []

    def append(self, collection: str, page: pa.Table, bookmark: Any = None, fingerprint: str = "") -> None:
        self.tables.setdefault(collection, []).append(page)

    def restart(self, collection: str) -> None:
        self.restarts.append(collection)
        self.tables.pop(collection, None)

    def close(self, collection: str) -> None:
        pass

    def leave(self, collection: str) -> None:
        self.tables.pop(collection, None)

    def interrupted(self, collection: str) -> None:
        return None

    def go_on(self, collection: str, interrupted: Any) -> None:
        raise AssertionError(collection)

    def earlier(self, collection: str) -> None:
        return None

    def remembered(self, collection: str) -> None:
        return None

    def written(self, collection: str, columns: Any = None) -> Iterator[pa.Table]:
        raise AssertionError(collection)

    def ids(self, collection: str) -> list[str]:
        return [value for page in self.tables.get(collection, []) for value in page["sourcedId"].to_pylist()]


FAR = 0.03
"""By so many seconds a look the clock moves where a server is so far that pages are fetched ahead."""


def reading(clock: Clock | None = None, progress: Any = None) -> Reading:
    clock = clock or Clock(FAR)
    return Reading(
        secret=lambda reference: {"env:ID": KEY, "env:SECRET": SECRET}[reference],
        clock=clock,
        sleep=clock.sleep,
        rng=random.Random(7),
        progress=progress or (lambda collection, rows, total: None),
    )


def provider(url: str, kind: Any = "oneroster", **options: Any) -> Provider:
    return Provider(
        name="sis",
        kind=kind,
        endpoint_url=url,
        **{"client_id": "env:ID", "client_secret": "env:SECRET", **options},
    )
