"""The server itself: collections and single objects of any flavour, over HTTP or HTTPS.

`application` makes an ASGI app from a source's rows, `serve` runs one in a thread on loopback. What may be
asked belongs in `queries`, who may ask in `access`, what a page holds in `pages`, what goes wrong in
`misbehaviour`, and how it goes wrong in `pages`, `sending` and `mishaps`.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from roster_pipeline.sandbox import access, pages
from roster_pipeline.sandbox.endpoints import ENDPOINTS, Endpoint
from roster_pipeline.sandbox.flavours import FLAVOURS, Flavour
from roster_pipeline.sandbox.misbehaviour import Misbehaviour, Mischief
from roster_pipeline.sandbox.mishaps import MISHAPS, happened
from roster_pipeline.sandbox.queries import Query, RejectedError, misread, parse
from roster_pipeline.sandbox.rows import Writer
from roster_pipeline.sandbox.sending import WAYS, Badly, Connection
from roster_pipeline.sandbox.shelves import Shelf
from roster_pipeline.sandbox.source import TABLES, Row, for_version, without_guardians, without_sessions

HTML: Final = b"<!doctype html><html><title>Sign in</title><body><form>Sign in</form></body></html>"


@dataclass(frozen=True, slots=True)
class Asked:
    """One data or token request as the server saw it: seconds on the monotonic clock, no credentials."""

    at: float
    endpoint: str
    query: Mapping[str, str]
    status: int


class _ProblemError(Exception):
    """Leads to an error envelope."""

    def __init__(
        self, status: int, minor: str, description: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(description)
        self.status, self.minor, self.description, self.headers = status, minor, description, headers


class Sandbox:
    """The state of one server: rows, credentials, misbehaviour, and what it was asked."""

    def __init__(
        self,
        source: Mapping[str, list[Row]],
        flavour: Flavour,
        *,
        client_id: str,
        client_secret: str,
        page_cap: int,
        misbehaviour: Iterable[Misbehaviour],
        seed: int,
        padded_ids: bool,
        signature_methods: Iterable[str],
        token_seconds: int,
        demographics: bool,
        clock: Callable[[], float],
    ) -> None:
        self.flavour = flavour
        self.page_cap = page_cap
        self.asked: deque[Asked] = deque(maxlen=20_000)
        self.most_at_once = 0
        self._at_once = 0
        self._padded = padded_ids
        self._demographics = demographics
        self._clock, self._secret = clock, client_secret
        self._mischief = Mischief(misbehaviour, seed=seed)
        self._signatures = access.Signatures(client_id, client_secret, clock, signature_methods)
        self._tokens = access.Tokens(
            client_id,
            client_secret,
            clock,
            flavour.version,
            needs_scope=flavour.needs_scope,
            lifetime=token_seconds,
        )
        self._lock = threading.Lock()
        self._shelves: dict[tuple[object, ...], Shelf] = {}
        self._origin = ""
        self._revision = 0
        self._tables: dict[str, list[Row]] = {}
        self.replace(source)

    @property
    def totals(self) -> dict[str, int]:
        """Rows served of each table."""
        return {name: len(rows) for name, rows in self._tables.items()}

    # ------------------------------------------------------------ what tests turn

    def replace(self, source: Mapping[str, list[Row]]) -> None:
        """Serve these rows from now on, as if the school had changed them over the day."""
        tables = for_version(source, self.flavour.version)
        if not self.flavour.guardians:
            tables = without_guardians(tables)
        if self.flavour.offers is not None and "academicSessions" not in self.flavour.offers:
            tables = without_sessions(tables)
        with self._lock:
            self._tables = tables
            self._shelves = {}
            self._revision += 1
        if self._origin:
            self.open(self._origin)

    def misbehave(self, *misbehaviours: Misbehaviour, seed: int = 0) -> None:
        """Put these faults in the place of those in force; without any, the server behaves."""
        self._mischief = Mischief(misbehaviours, seed=seed)

    def open(self, origin: str) -> None:
        """Write all rows for this address (`http://host:port`), so that no request has to wait for it."""
        self._origin = origin
        in_order = Query(0, 0, "", "sourcedId", False, ())
        for table in TABLES:
            if table != "demographics":
                self._shelf(table, ()).places(ENDPOINTS[table], in_order)

    # ------------------------------------------------------------ answering

    async def token(self, request: Request) -> Response:
        """The token endpoint."""
        body = await request.body()
        due = self._mischief.due_at_token()
        if "hang" in due:
            await _until_gone(request)
        response = _sent(self._token(request, body, due), due)
        self.asked.append(Asked(time.monotonic(), "token", {}, response.status_code))
        return response

    def _token(self, request: Request, body: bytes, due: Mapping[str, Misbehaviour]) -> Response:
        if "token-html" in due:
            return Response(HTML, media_type="text/html")
        if "redirect" in due:
            return Response(status_code=302, headers={"location": str(due["redirect"].value)})
        if "server-error" in due:
            return Response(status_code=int(due["server-error"].value or 500))
        if "too-many-requests" in due:
            return Response(status_code=429, headers=self._retry_after(due["too-many-requests"]))
        if "refuse-credentials" in due:
            return _json(401, orjson.dumps({"error": "invalid_client"}), {"www-authenticate": "Basic"})
        self._tokens.secret = self._secret_under(due)
        answer = self._tokens.issue(request.headers.get("authorization", ""), body)
        headers = {"cache-control": "no-store"}
        if answer.status == 401:
            headers["www-authenticate"] = "Basic"
        return _json(answer.status, orjson.dumps(answer.body), headers)

    async def data(self, request: Request) -> Response:
        """Any path below the base."""
        # The path comes decoded; an id with an encoded slash stays whole, because only the first one splits.
        name, _, source_id = str(request.path_params["rest"]).partition("/")
        query = parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
        due = self._mischief.due(name)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        status = 0
        try:
            if "hang" in due:
                await _until_gone(request)
            response = _sent(self._data(request, name, source_id, query, due), due)
            status = response.status_code
        except _ProblemError as problem:
            response = self._refusal(problem)
            status = problem.status
        finally:
            self._at_once -= 1
            self.asked.append(Asked(time.monotonic(), name, dict(query), status))
        return response

    def _data(
        self,
        request: Request,
        name: str,
        source_id: str,
        given: list[tuple[str, str]],
        due: Mapping[str, Misbehaviour],
    ) -> Response:
        if "redirect" in due:
            return Response(status_code=302, headers={"location": str(due["redirect"].value)})
        if "too-many-requests" in due:
            raise _ProblemError(
                429, "server_busy", "too many requests", self._retry_after(due["too-many-requests"])
            )
        if "server-error" in due:
            raise _ProblemError(
                int(due["server-error"].value or 500), "internal_server_error", "a fault of the server"
            )
        if "refuse-credentials" in due:
            raise _ProblemError(401, "unauthorisedrequest", "the credentials were withdrawn")
        scopes = self._admitted(request, due)
        endpoint, offers = ENDPOINTS.get(name), self.flavour.offers
        if offers is not None and (name not in offers or source_id):
            endpoint = None
        if endpoint is None or "not-found" in due:
            status = int(due["not-found"].value or 404) if "not-found" in due else 404
            raise _ProblemError(status, "unknownobject", "there is no such endpoint")
        if "forbidden" in due or not _may_read(endpoint, scopes):
            raise _ProblemError(403, "forbidden", "the application may not read this")
        refuses = "refuse-parameters" in due or not self.flavour.parameters
        if refuses and {"filter", "sort", "orderBy", "fields"} & {name for name, _ in given}:
            raise _ProblemError(400, "invalid_selection_field", "only limit and offset are understood")
        if "refuse-filter" in due and "filter" in {name for name, _ in given}:
            raise _ProblemError(400, "invalid_filter_field", "there are no filters")
        if not self._origin:
            self.open(f"{request.url.scheme}://{request.url.netloc}")
        try:
            return self._one(endpoint, source_id, given) if source_id else self._many(endpoint, given, due)
        except RejectedError as rejected:
            minor = rejected.minor
            if self.flavour.version == "1.2":
                minor = {"invalid_data": "invaliddata", "invalid_sort_field": "invalid_selection_field"}.get(
                    minor, minor
                )
            raise _ProblemError(400, minor, rejected.description) from rejected

    def _retry_after(self, fault: Misbehaviour) -> dict[str, str]:
        value = "1" if fault.value is None else str(fault.value)
        if value.startswith("date:"):
            # Years beyond 9999 have no form in HTTP.
            value = formatdate(min(self._clock() + int(value[5:]), 253_402_300_799.0), usegmt=True)
        return {"retry-after": value} if value else {}

    def _secret_under(self, due: Mapping[str, Misbehaviour]) -> str:
        """The secret that is asked for now."""
        fault = due.get("rotate-credentials")
        return self._secret if fault is None else str(fault.value or f"{self._secret}-new")

    def _admitted(self, request: Request, due: Mapping[str, Misbehaviour]) -> frozenset[str]:
        """The scopes that the request's authentication carries; 401 where it has none that holds."""
        authorization = request.headers.get("authorization", "")
        scheme = authorization.partition(" ")[0].lower()
        self._signatures.secret = self._tokens.secret = self._secret_under(due)
        try:
            if self.flavour.signatures and (scheme == "oauth" or not self.flavour.tokens):
                scope = request.scope
                self._signatures.check(
                    scope["method"],
                    f"{scope['scheme']}://{_host(request)}{scope['raw_path'].decode('latin-1')}",
                    scope["query_string"].decode("latin-1"),
                    authorization,
                )
                granted = {access.CORE, access.ROSTER}
                return frozenset(granted | {access.DEMOGRAPHICS} if self._demographics else granted)
            return self._tokens.check(authorization, self._mischief.token_uses, self._mischief.token_seconds)
        except access.DeniedError as denied:
            challenge = "Bearer" if self.flavour.tokens else "OAuth"
            raise _ProblemError(
                401, "unauthorisedrequest", str(denied), {"www-authenticate": challenge}
            ) from denied

    def _one(self, endpoint: Endpoint, source_id: str, given: list[tuple[str, str]]) -> Response:
        fields = parse(
            [pair for pair in given if pair[0] == "fields"],
            self.flavour.version,
            endpoint.table,
            self.page_cap,
        ).fields
        shelf = self._shelf(endpoint.table, ())
        place = shelf.place(source_id)
        if place is None or (endpoint.shows and not endpoint.shows(shelf.rows[place])):
            raise _ProblemError(404, "unknownobject", "there is no such object")
        return _json(200, b'{"%b":%b}' % (endpoint.one.encode(), shelf.json([place], fields)[0]))

    def _many(
        self, endpoint: Endpoint, given: list[tuple[str, str]], due: Mapping[str, Misbehaviour]
    ) -> Response:
        cap = int(due["clamp"].value or 1) if "clamp" in due else self.page_cap
        if "ignore-filter" in due:
            given = [pair for pair in given if pair[0] != "filter"]
        given = [(name, misread(value, due) if name == "filter" else value) for name, value in given]
        query = parse(given, self.flavour.version, endpoint.table, cap)
        if "not-json" in due:
            return Response(HTML, media_type="text/html")
        if "envelope-in-200" in due:
            return self._refusal(
                _ProblemError(200, "internal_server_error", "the request could not be processed"),
                str(due["envelope-in-200"].value or ""),
            )
        if "no-collection" in due:
            return _json(200, b'{"offset":%d,"limit":%d}' % (query.offset, query.limit))
        shown = endpoint
        if "other-collection" in due:
            shown = ENDPOINTS[str(due["other-collection"].value or "orgs")]
        mishaps = tuple(fault for fault in due.values() if fault.what in MISHAPS)
        shelf = self._shelf(shown.table, mishaps)
        # Sorting and filtering by another table's names would be our fault, not the server's.
        places = shelf.places(shown, query if shown is endpoint else Query(0, 0, "", "", False, ()))
        if "empty" in due:
            places = []
        fields = query.fields if shown is endpoint else ()
        rows = pages.rows_of(shelf, places, query, due, self._mischief.seed, fields)
        body = pages.body_of(rows, endpoint, endpoint.one if self.flavour.loose else endpoint.many, due)
        total = pages.total_of(len(places), query, due) if self.flavour.counts else None
        headers: dict[str, str] = {}
        if total is not None:
            headers = self._headers(endpoint, query, given, len(rows), total)
            if self.flavour.revision:
                headers |= {"x-count": str(len(rows)), "x-perm-rev": str(self._revision + len(mishaps))}
        return _json(200, body, headers)

    def _headers(
        self, endpoint: Endpoint, query: Query, given: list[tuple[str, str]], count: int, total: int
    ) -> dict[str, str]:
        headers = {"x-total-count": str(total)}
        if self.flavour.links:
            kept = [pair for pair in given if pair[0] not in ("limit", "offset")]
            kept.append(("limit", str(query.limit)))
            address = f"{self._origin}{self.flavour.base}/{endpoint.name}?{urlencode(kept, quote_via=quote)}"
            last = max(0, (total - 1) // query.limit * query.limit)
            offsets = {"first": 0, "last": last}
            if query.offset > 0:
                offsets["prev"] = max(0, query.offset - query.limit)
            if query.offset + count < total:
                offsets["next"] = query.offset + query.limit
            headers["link"] = ", ".join(
                f'<{address}&offset={offset}>; rel="{relation}"' for relation, offset in offsets.items()
            )
        return headers

    def _refusal(self, problem: _ProblemError, shape: str = "") -> Response:
        minor: dict[str, object] = {
            "imsx_codeMinorField": [
                {"imsx_codeMinorFieldName": "TargetEndSystem", "imsx_codeMinorFieldValue": problem.minor}
            ]
        }
        body: dict[str, object] = {
            "imsx_codeMajor": "failure",
            "imsx_severity": "error",
            "imsx_description": problem.description,
        }
        if shape == "statusInfoSet":
            body = {"statusInfoSet": [{**body, "imsx_codeMinor": problem.minor}]}
        else:
            body["imsx_CodeMinor"] = minor
            if self.flavour.version == "1.1":
                body |= {"imsx_messageRefIdentifier": "sandbox", "imsx_operationRefIdentifier": "read"}
        return _json(problem.status, orjson.dumps(body), problem.headers)

    def _shelf(self, table: str, mishaps: tuple[Misbehaviour, ...]) -> Shelf:
        """A table's rows as JSON, after what is happening to them."""
        seed = self._mischief.seed
        key = (table, seed, *((fault.what, fault.value) for fault in mishaps)) if mishaps else (table,)
        with self._lock:
            shelf = self._shelves.get(key)
            if shelf is None:
                base_url = self._origin + self.flavour.base
                writer = Writer(
                    self.flavour.version, base_url, padded_ids=self._padded, loose=self.flavour.loose
                )
                tables = happened(self._tables, mishaps, table, seed) if mishaps else self._tables
                shelf = self._shelves[key] = Shelf(table, tables[table], writer)
            return shelf


def _may_read(endpoint: Endpoint, scopes: frozenset[str]) -> bool:
    if endpoint.name == "demographics":
        return access.DEMOGRAPHICS in scopes
    return bool(scopes & {access.CORE, access.ROSTER})


def _sent(answer: Response, due: Mapping[str, Misbehaviour]) -> Response:
    return Badly(answer, due) if any(way in due for way in WAYS) else answer


def _host(request: Request) -> str:
    """The host and port as a client signs them: lower-case, without the scheme's default port."""
    host = request.headers.get("host", "").lower()
    return host.removesuffix(":443" if request.scope["scheme"] == "https" else ":80")


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _json(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body, status, headers, "application/json")


def application(
    source: Mapping[str, list[Row]],
    flavour: str,
    *,
    client_id: str,
    client_secret: str,
    page_cap: int | None = None,
    misbehaviour: Misbehaviour | Iterable[Misbehaviour] = (),
    seed: int = 0,
    padded_ids: bool = False,
    signature_methods: Iterable[str] = ("HMAC-SHA256", "HMAC-SHA1"),
    token_seconds: int = 3600,
    demographics: bool = False,
    clock: Callable[[], float] = time.time,
) -> Starlette:
    """An ASGI app that serves `source`'s rows as `flavour`; its Sandbox is `app.state.sandbox`.

    `page_cap` rows a page at most, clamped silently (None: the flavour's). `seed` decides what the
    misbehaviour leaves to chance. `padded_ids` puts a blank on
    either side of every sourcedId. `demographics` lets signed requests read them; tokens need the scope.
    `clock` gives seconds since 1970, for signatures and the lifetime of tokens.
    """
    kind = FLAVOURS[flavour]
    sandbox = Sandbox(
        source,
        kind,
        client_id=client_id,
        client_secret=client_secret,
        page_cap=page_cap or kind.page_cap,
        misbehaviour=(misbehaviour,) if isinstance(misbehaviour, Misbehaviour) else misbehaviour,
        seed=seed,
        padded_ids=padded_ids,
        signature_methods=signature_methods,
        token_seconds=token_seconds,
        demographics=demographics,
        clock=clock,
    )
    routes = [Route(f"{kind.base}/{{rest:path}}", sandbox.data, methods=["GET"])]
    if kind.token_path:
        routes.insert(0, Route(kind.token_path, sandbox.token, methods=["POST"]))
    app = Starlette(routes=routes)
    app.state.sandbox = sandbox
    return app


@dataclass(frozen=True, slots=True)
class Serving:
    """A running server: `root_url` has no path, `base_url` has OneRoster's; `token_url` may be None."""

    root_url: str
    base_url: str
    token_url: str | None
    port: int
    sandbox: Sandbox = field(repr=False)


@contextmanager
def serve(
    app: Starlette, *, port: int = 0, certificate: tuple[Path, Path] | None = None
) -> Iterator[Serving]:
    """Run `application`'s app on loopback in a thread, for as long as the context lasts.

    Port 0 takes a free one. `certificate`: the PEM files of certificate and key, for https. The
    socket listens before this yields, so no request is refused. Raises OSError where the port is taken.
    """
    sandbox: Sandbox = app.state.sandbox
    config = uvicorn.Config(
        app,
        http=Connection,
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="critical",
        ssl_certfile=certificate[0] if certificate else None,
        ssl_keyfile=certificate[1] if certificate else None,
        # A hanging request must not keep the server from stopping.
        timeout_graceful_shutdown=1,
    )
    config.load()
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_server(("127.0.0.1", port), backlog=128) as listening:
        port = listening.getsockname()[1]
        root_url = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
        sandbox.open(root_url)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), name="sandbox", daemon=True)
        thread.start()
        try:
            token_path = sandbox.flavour.token_path
            yield Serving(
                root_url=root_url,
                base_url=root_url + sandbox.flavour.base,
                token_url=root_url + token_path if token_path else None,
                port=port,
                sandbox=sandbox,
            )
        finally:
            server.should_exit = True
            thread.join()
