"""What the REST kinds share: opening a server, the order of reading, endpoints that stand in for others.

How a page is fetched and when a collection is complete is `oneroster`'s. A kind's own file says
which versions it speaks and how it authenticates.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import httpx
import pyarrow as pa

from roster_pipeline.codes import CodedError, Issue
from roster_pipeline.oneroster.auth import SCOPES, Authorization, Method, OAuth1, OAuth2, TokenError
from roster_pipeline.oneroster.client import Client, Limits, Transport, safe_url, token_post
from roster_pipeline.oneroster.collections import COLLECTIONS, COLUMNS
from roster_pipeline.oneroster.connecting import connect
from roster_pipeline.oneroster.paging import Bounds, Finding, Listing, Page, Pull, Remembered
from roster_pipeline.oneroster.resuming import Bookmark, Resumption
from roster_pipeline.oneroster.wire import SourceError
from roster_pipeline.providers import compatibility
from roster_pipeline.providers.compatibility import MAY_BE_HOW_WE_ASK, NOT_OFFERED, refuses_all
from roster_pipeline.providers.reading import CollectionRead, LastingSink, Probed, Reading, State

if TYPE_CHECKING:
    from roster_pipeline.providers.deltas import Delta
    from roster_pipeline.tenants.document import Provider

PATHS: Final = {"1.1": "ims/oneroster/v1p1", "1.2": "ims/oneroster/rostering/v1p2"}
"""What each version appends to the root; the definitions fix both."""


_LIMITS: Final = Limits()
_BOUNDS: Final = Bounds()


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a kind speaks where its provider's options leave it open.

    `versions` are tried in this order. With `oauth2`, a token URL is required; without one, requests
    are signed, with `method` first.
    """

    versions: tuple[str, ...]
    oauth2: bool
    method: Method


def base_url(root: str, version: str) -> str:
    """The address of a version's endpoints below what was pasted: the root, the base, or in between.

    What `root` ends with of the version's path is never added again.
    """
    root = root.rstrip("/")
    wanted = PATHS[version].split("/")
    there = urlsplit(root).path.lower().split("/")
    known = next((n for n in range(len(wanted), 0, -1) if there[-n:] == wanted[:n]), 0)
    return "/".join([root, *wanted[known:]])


def pasted_version(root: str) -> str | None:
    """The version whose whole base path was pasted, or None."""
    path = urlsplit(root.rstrip("/")).path.lower()
    return next((version for version, base in PATHS.items() if path.endswith(f"/{base}")), None)


# --------------------------------------------------------------------------------------------- reading


def read(
    provider: Provider,
    sink: LastingSink,
    reading: Reading,
    dialect: Dialect,
    *,
    limits: Limits | None = None,
    bounds: Bounds | None = None,
) -> list[CollectionRead]:
    """Reads the six collections, one after the other; a server that refuses us is not asked again.

    What an earlier reading left is gone on with, where the source has not changed since. Where the option
    says so, what changed is asked for instead of everything.
    """
    limits, bounds = limits or reading.limits or _LIMITS, bounds or reading.bounds or _BOUNDS
    try:
        server = _Server(provider, reading, dialect, limits)
    except CodedError as error:
        return [_failed(name, error, provider, sink) for name in COLLECTIONS]
    found: list[CollectionRead] = []
    refused: dict[str, SourceError] = {}
    with server:
        for name in COLLECTIONS:
            delta = _delta(name, provider, sink, reading, server, bounds)
            try:
                read = delta.read() if delta else None
                read = read or _read_collection(name, provider, sink, reading, server, bounds)
            except SourceError as error:
                refused[name] = error
                server.try_plainly(name, error)
                found.append(_failed(name, error, provider, sink))
                if _ends_everything(error, len(found)):
                    found += [_failed(rest, error, provider, sink) for rest in COLLECTIONS[len(found) :]]
                    break
            else:
                sink.close(name)
                found.append(delta.compared(read) if delta else read)
        advice = _advised(provider, server, found, refused)
    return [replace(one, issues=(*one.issues, *advice.get(one.name, ()))) for one in found]


def _ends_everything(error: SourceError, collections: int) -> bool:
    """Whether the next collection would end with the same; `collections` is how many were tried."""
    return error.code in _FOR_ALL or refuses_all(error) or (error.code == "RS-NET-04" and collections == 1)


_FOR_ALL: Final = frozenset({
    "RS-AUTH-01", "RS-AUTH-02", "RS-AUTH-03", "RS-NET-01", "RS-NET-02", "RS-NET-03", "RS-NET-06",
    "RS-NET-09",
})  # fmt: skip
"""What the next collection would end with, too."""


_INTERRUPTIONS: Final = frozenset({
    "RS-AUTH-01", "RS-AUTH-02", "RS-AUTH-03", "RS-NET-01", "RS-NET-04", "RS-NET-05", "RS-NET-06",
    "RS-PAGE-01", "RS-PAGE-02",
})  # fmt: skip
"""What may be over by the next sync, and says nothing against the pages before."""


def _failed(name: str, error: CodedError, provider: Provider, sink: LastingSink) -> CollectionRead:
    if error.code not in _INTERRUPTIONS:  # what came is not to be gone on from, whatever it was
        sink.restart(name)
    sink.leave(name)
    return CollectionRead(name, "failed", 0, error.message, _told_of(error, provider))


def _told_of(error: CodedError, provider: Provider) -> tuple[Issue, ...]:
    told = Issue(error.code, error.message, provider.name)
    return told, *(compatibility.told(error, provider.name) if isinstance(error, SourceError) else ())


def _advised(
    provider: Provider, server: _Server, found: Sequence[CollectionRead], refused: Mapping[str, SourceError]
) -> dict[str, tuple[Issue, ...]]:
    if provider.compatibility_mode:
        return {}
    given = compatibility.advice(provider.name, found, refused, server.answers)
    return {name: (issue,) for name, issue in given.items()}


def _read_collection(
    name: str, provider: Provider, sink: LastingSink, reading: Reading, server: _Server, bounds: Bounds
) -> CollectionRead:
    refusal: SourceError | None = None
    for route in _routes(name, compatible=provider.compatibility_mode):
        try:
            return _read_route(name, route, provider, sink, reading, server, bounds)
        except SourceError as error:
            # Where the stand-ins are not there either, the first answer is the one to act on.
            refusal = refusal if refusal and error.code in NOT_OFFERED else error
            if error.code not in route.leaves_for or error.midway:
                raise refusal from None
            sink.restart(name)
    raise refusal or SourceError("RS-PAGE-09", f"There is no way to read {name}.")


def _read_route(
    name: str,
    route: _Route,
    provider: Provider,
    sink: LastingSink,
    reading: Reading,
    server: _Server,
    bounds: Bounds,
) -> CollectionRead:
    findings: list[Finding] = []
    resumption = _resumption(name, sink, server) if route.endpoints == (name,) else None

    def append(page: Page, bookmark: Bookmark | None) -> None:
        # Through stand-ins, a collection is two lists: what is interrupted there begins again.
        mark = bookmark.as_json() if bookmark and route.endpoints == (name,) else None
        sink.append(name, page.table, mark, page.fingerprint)

    for endpoint in route.endpoints:
        before = sum(finding.rows for finding in findings)
        kept: list[pa.Table] = []
        # Only the first endpoint may begin anew in the sink; of a second one (teachers, grading
        # periods: few rows) the pages are kept until it has ended.
        try:
            finding = server.pull(
                server.listing(name, endpoint, remembered=sink.remembered(name)),
                bounds,
                append=_into(kept) if findings else append,
                restart=kept.clear if findings else lambda: sink.restart(name),
                told=_told(reading.progress, name, before),
                resumption=resumption,
            )
        except SourceError as error:
            if endpoint in route.optional and error.code in NOT_OFFERED:
                continue
            raise
        for page in kept:
            sink.append(name, page)
        findings.append(finding)
        server.learn(finding.limit)
    complete = all(finding.complete for finding in findings) and not route.doubt
    doubts = [*(doubt for finding in findings for doubt in finding.doubts)]
    proof = " ".join(dict.fromkeys(finding.proof for finding in findings)) or route.told
    if route.doubt:
        doubts.append(("RS-PAGE-08", route.doubt, 1))
        proof = route.doubt
    if resumption and findings[0].taken_over:
        told = _told_of_resumption(findings[0].taken_over, resumption)
        doubts.append(("RS-PAGE-11", f"{name}: {told}", findings[0].taken_over))
        proof = f"{proof} {told}"
    issues = tuple(Issue(code, message, provider.name, count=count) for code, message, count in doubts)
    rows = sum(finding.rows for finding in findings)
    as_before = sum(finding.as_before for finding in findings)
    state: State = "ok" if complete else "unproven"
    return CollectionRead(name, state, rows, proof, issues, rows_as_before=as_before)


def _delta(
    name: str, provider: Provider, sink: LastingSink, reading: Reading, server: _Server, bounds: Bounds
) -> Delta | None:
    """The chance to read the collection by its changes; None where everything is read every time."""
    if provider.full_every_days == 1 or provider.compatibility_mode or reading.as_of is None:
        return None
    from roster_pipeline.providers.deltas import Delta  # most tenants have no use for it

    return Delta(
        name,
        provider.name,
        provider.full_every_days,
        reading.as_of,
        hashlib.sha256(json.dumps([server.source, *COLUMNS[name]]).encode()).hexdigest(),
        sink,
        listing=lambda where: server.listing(name, name, where=where),
        pulled=lambda listing, append, restart, told: server.pull(
            listing, bounds, append=append, restart=restart, told=told
        ),
        progress=reading.progress,
    )


def _into(pages: list[pa.Table]) -> Callable[[Page, Bookmark | None], None]:
    return lambda page, _: pages.append(page.table)


def _resumption(name: str, sink: LastingSink, server: _Server) -> Resumption | None:
    """An earlier reading of the same server, asked the same way."""
    interrupted = sink.interrupted(name)
    if interrupted is None:
        return None
    mark = Bookmark.of(interrupted.bookmark)
    if mark is None or (mark.source, mark.endpoint) != (server.source, name):
        return None
    return Resumption(interrupted, mark, lambda: sink.go_on(name, interrupted))


def _told_of_resumption(rows: int, resumption: Resumption) -> str:
    since = resumption.interrupted.began_at.astimezone(UTC)
    return (
        f"{rows} rows were read from {since:%Y-%m-%d %H:%M} UTC on, by a sync that was interrupted;"
        " the source shows itself unchanged since."
    )


def _told(
    progress: Callable[[str, int, int | None], None], name: str, before: int
) -> Callable[[int, int | None], None]:
    def told(rows: int, total: int | None) -> None:
        progress(name, before + rows, None if total is None else before + total)

    return told


# ---------------------------------------------------------------------------------------------- routes


@dataclass(frozen=True, slots=True)
class _Route:
    """One way of reading a collection: its endpoints, all of which are read.

    A failure of the first of `leaves_for`'s codes leads to the next route. `doubt` is why the
    collection is not proven complete this way; `told` stands for the proof where nothing is read.
    """

    endpoints: tuple[str, ...]
    optional: frozenset[str] = frozenset()
    leaves_for: frozenset[str] = frozenset({"RS-PAGE-09"})
    doubt: str = ""
    told: str = ""


_BY_ROLE: Final = _Route(
    ("students", "teachers"),
    doubt="/students and /teachers were read in place of /users; they prove nothing about other roles.",
)
_NO_COURSES: Final = _Route((), told="The server does not offer courses, and a class's title suffices.")
_NO_SESSIONS: Final = _Route((), told="The server offers no academic sessions.")


def _routes(name: str, *, compatible: bool) -> list[_Route]:
    """The ways to read a collection, the best first."""
    # Asked for nothing but a limit and an offset, a server that says 400 has no such endpoint.
    own = _Route((name,), leaves_for=NOT_OFFERED if compatible else frozenset({"RS-PAGE-09"}))
    match name:
        case "users":
            # Some plug-ins offer, or permit, only the two.
            return [replace(own, leaves_for=own.leaves_for | {"RS-AUTH-04"}), _BY_ROLE]
        case "courses":
            return [own, _NO_COURSES]
        case "orgs" if compatible:
            return [own, _Route(("schools",))]
        case "academicSessions" if compatible:
            stand_ins = _Route(("terms", "gradingPeriods"), frozenset({"gradingPeriods"}), NOT_OFFERED)
            return [own, stand_ins, _NO_SESSIONS]
        case _:
            return [own]


_IMPLIED_ROLES: Final = {"students": "student", "teachers": "teacher"}


# ---------------------------------------------------------------------------------------------- server


class _Server:
    """An opened server: connections, the version found, and what is learnt of it on the way.

    Raises:
        CodedError: if a secret is not there, an address is not safe, or no version answers.
    """

    def __init__(self, provider: Provider, reading: Reading, dialect: Dialect, limits: Limits) -> None:
        self._provider, self._reading, self._dialect = provider, reading, dialect
        self.began = reading.clock().timestamp()
        root, token_url = self._addresses()
        self._key = reading.secret(self._given(provider.client_id, "client_id"))
        self._secret = reading.secret(self._given(provider.client_secret, "client_secret"))
        compatible = provider.compatibility_mode
        self.width = 1 if compatible else provider.concurrency
        largest = min(provider.page_size, 100) if compatible else provider.page_size
        self.page_sizes = (largest, *(size for size in (500, 100) if size < largest))
        addresses = [root, token_url] if token_url else [root]
        self._http: httpx.Client = connect(
            *addresses, connections=self.width + 2, timeout=limits.timeout, networks=reading.networks
        )
        self.pool: Executor | None = None
        try:
            self._transport = Transport(
                self._http,
                clock=reading.clock,
                sleep=reading.sleep,
                rng=reading.rng,
                limits=limits,
                paces=reading.paces,
            )
            self.version, self.client = self._open(root, token_url)
        except BaseException:
            self._http.close()
            raise
        if self.width > 1:
            self.pool = ThreadPoolExecutor(self.width, thread_name_prefix="pages")

    def __enter__(self) -> _Server:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if isinstance(self.pool, ThreadPoolExecutor):
            # Whoever was told to end does not wait for a server that is silent.
            self.pool.shutdown(wait=error is None, cancel_futures=True)
        self._transport.close()
        self._http.close()

    def __repr__(self) -> str:
        return f"<server of {self._provider.name}>"

    @property
    def source(self) -> str:
        """Who is asked, and how, as a word that says nothing else: a token URL may hold a secret."""
        asked = [
            self.client.base_url,
            *(getattr(self._provider, name) for name in _ASKED),
        ]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()

    @property
    def used(self) -> str:
        """What a sync uses, for people."""
        return (
            f"OneRoster {self.version} at {self.client.base_url}, {self.client.authorization.way},"
            f" pages of {self.page_sizes[0]}"
        )

    def learn(self, limit: int) -> None:
        """Takes the page size that worked as the largest to ask for."""
        self.page_sizes = tuple(size for size in self.page_sizes if size <= limit) or (limit,)

    def listing(
        self,
        collection: str,
        endpoint: str,
        client: Client | None = None,
        *,
        compatible: bool = False,
        where: str = "",
        remembered: Remembered | None = None,
    ) -> Listing:
        """An endpoint's pages; `compatible` asks as in compatibility mode, although it is off."""
        return Listing(
            client or self.client,
            collection,
            endpoint,
            compatible=compatible or self._provider.compatibility_mode,
            implied_role=_IMPLIED_ROLES.get(endpoint, ""),
            where=where,
            remembered=remembered,
        )

    def pull(self, listing: Listing, bounds: Bounds, **named: Any) -> Finding:
        """Reads a listing to its end; see `Pull` for what is `named`."""
        return Pull(
            listing,
            limits=self.page_sizes,
            pool=self.pool,
            width=self.width,
            clock=self._reading.clock,
            bounds=bounds,
            began=self.began,
            source=self.source,
            **named,
        ).read()

    def answers(self, collection: str, endpoint: str) -> bool:
        """Whether there is a page to be had in compatibility mode."""
        try:
            self.listing(collection, endpoint, compatible=True).page(0, self.page_sizes[-1], tries=1)
        except SourceError:
            return False
        return True

    def try_plainly(self, name: str, error: SourceError, client: Client | None = None) -> None:
        """Finds out whether what ended with `error` goes well as compatibility mode asks, and only so."""
        if self._provider.compatibility_mode or error.midway or error.code not in MAY_BE_HOW_WE_ASK:
            return
        limit = self.page_sizes[-1]
        try:
            self.listing(name, name, client, compatible=True).page(0, limit, tries=1)
        except SourceError:
            return
        # The page size may have been the reason, or the moment.
        try:
            self.listing(name, name, client).page(0, limit, tries=1)
        except SourceError as again:
            if again.code == error.code:
                error.in_compatibility_mode = MAY_BE_HOW_WE_ASK[error.code]

    def _given(self, value: str | None, key: str) -> str:
        if not value:
            raise CodedError("RS-CFG-05", f"{key} is required for {self._provider.kind}.")
        return value

    def _addresses(self) -> tuple[str, str | None]:
        root = safe_url(self._given(self._provider.endpoint_url, "endpoint_url"), "endpoint_url")
        token_url = self._provider.token_url
        if self._dialect.oauth2:
            token_url = self._given(token_url, "token_url")
        return root, safe_url(token_url, "token_url", query=True) if token_url else None

    def _authorization(self, version: str, token_url: str | None) -> Authorization:
        clock = self._reading.clock
        if token_url:
            scope, standard = self._provider.scope, SCOPES[version]
            return OAuth2(
                self._key,
                self._secret,
                post=token_post(self._transport, token_url),
                scope=standard if scope is None else scope.strip(),
                fallback_scope=standard,
                clock=clock,
            )
        method = self._provider.signature_method
        return OAuth1(
            self._key,
            self._secret,
            clock=clock,
            method=method or self._dialect.method,
            may_change=method is None,
        )

    def _open(self, root: str, token_url: str | None) -> tuple[str, Client]:
        """The version that is spoken here, and a client for it; asks only where nothing decides."""
        known = pasted_version(root) or self._provider.version
        versions = (known,) if known else self._dialect.versions
        refusals: list[SourceError] = []
        for version in versions:
            client = Client(base_url(root, version), self._transport, self._authorization(version, token_url))
            if len(versions) == 1:
                return version, client
            try:
                self._knock(client)
            except SourceError as error:
                # Only a clear no leads to the next version. A server that is down or busy now may
                # be back tomorrow, and users' ids may differ between its versions.
                says_no = error.about_scope if isinstance(error, TokenError) else error.code in _NOT_THIS
                if not says_no:
                    raise
                self.try_plainly("orgs", error, client)
                refusals.append(error)
            else:
                return version, client
        raise min(
            refusals, key=lambda error: (error.code == "RS-PAGE-09", not error.code.startswith("RS-AUTH"))
        )

    def _knock(self, client: Client) -> None:
        """One cheap request; /orgs is what every server has, but for the smallest."""
        try:
            self.listing("orgs", "orgs", client).page(0, 1)
        except SourceError as error:
            if not self._provider.compatibility_mode or error.code not in NOT_OFFERED:
                raise
            self.listing("orgs", "schools", client).page(0, 1)


_ASKED: Final = ("kind", "token_url", "client_id", "scope", "page_size", "compatibility_mode")
"""The options on which it depends what a server shows, besides its address."""

_NOT_THIS: Final = frozenset({
    "RS-PAGE-01", "RS-PAGE-03", "RS-PAGE-04", "RS-PAGE-09", "RS-NET-03", "RS-NET-07", "RS-AUTH-01",
    "RS-AUTH-04",
})  # fmt: skip


# --------------------------------------------------------------------------------------------- probing


def probe(
    provider: Provider,
    reading: Reading,
    dialect: Dialect,
    *,
    limits: Limits | None = None,
) -> list[Probed]:
    """Authenticates and reads one page of each collection."""
    try:
        server = _Server(provider, reading, dialect, limits or reading.limits or _LIMITS)
    except CodedError as error:
        return [_not_there(name, error, provider, "") for name in COLLECTIONS]
    found: list[Probed] = []
    refused: dict[str, SourceError] = {}
    with server:
        for name in COLLECTIONS:
            try:
                found.append(_probe_collection(name, provider, server))
            except SourceError as error:
                refused[name] = error
                server.try_plainly(name, error)
                found.append(_not_there(name, error, provider, server.used))
                if _ends_everything(error, len(found)):
                    rest = COLLECTIONS[len(found) :]
                    found += [_not_there(later, error, provider, server.used) for later in rest]
                    break
        advice = _advised(provider, server, found, refused)
    return [replace(one, issues=(*one.issues, *advice.get(one.name, ()))) for one in found]


def _not_there(name: str, error: CodedError, provider: Provider, used: str) -> Probed:
    return Probed(name, "failed", 0, used, _told_of(error, provider))


def _probe_collection(name: str, provider: Provider, server: _Server) -> Probed:
    routes = _routes(name, compatible=provider.compatibility_mode)
    for number, route in enumerate(routes, 1):
        try:
            pages = [
                server.listing(name, endpoint).page(0, server.page_sizes[0], hasty=True)
                for endpoint in route.endpoints
                if endpoint not in route.optional
            ]
        except SourceError as error:
            if number == len(routes) or error.code not in route.leaves_for:
                raise
            continue
        totals = [page.total for page in pages if page.total is not None]
        nothing = pa.table({column: pa.array([], pa.string()) for column in COLUMNS[name]})
        return Probed(
            name,
            "unproven" if route.doubt else "ok",
            sum(page.rows for page in pages),
            server.used,
            (Issue("RS-PAGE-08", route.doubt, provider.name),) if route.doubt else (),
            total=sum(totals) if len(totals) == len(pages) else None,
            page=pa.concat_tables([page.table for page in pages]) if pages else nothing,
        )
    raise AssertionError(name)  # every collection has a route
