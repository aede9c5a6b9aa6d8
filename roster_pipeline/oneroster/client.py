"""HTTP towards one OneRoster server: addresses, connections, retries, pacing, limits, and failures.

`Transport` sends a request until it is answered or given up; `Client` adds authentication and JSON.
How pages follow each other is `paging`'s, which endpoints are read is the providers'. Redirects are
never followed: a signature covers the old address, and a token must not travel. No message holds
more of a request than its method, host and path, or more of an answer than its status.
"""

from __future__ import annotations

import io
import random
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx
import orjson

from roster_pipeline.codes import CodedError
from roster_pipeline.oneroster.addresses import is_loopback
from roster_pipeline.oneroster.auth import Authorization, Post, TokenAnswer, TokenError
from roster_pipeline.oneroster.connecting import RedirectError, is_tls
from roster_pipeline.oneroster.fields import may_hold_controls
from roster_pipeline.oneroster.pacing import Forgetful, Gate, Paces
from roster_pipeline.oneroster.wire import SourceError, without_nul

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one request; times in seconds, sizes in bytes."""

    tries: int = 5
    connect: float = 20.0
    read: float = 120.0
    """Between two pieces of an answer: large pages take some servers minutes to begin."""
    whole: float = 900.0
    """For one answer, however steadily it trickles."""
    answer: int = 128 * MIB
    """After unpacking: some servers send a whole collection at once."""
    ahead: int = 64 * MIB
    """For all answers together that are fetched before their turn."""
    objects: int = 512 * MIB
    """What the values of one answer's JSON may take in memory, roughly."""
    token_answer: int = MIB
    backoff: float = 1.0
    """The first pause before a retry is up to this long; it doubles each time."""
    longest_backoff: float = 60.0
    longest_wait: float = 300.0
    """A server that asks for more patience than this is given up."""

    @property
    def timeout(self) -> httpx.Timeout:
        """For a connection: none on waiting for one, because there is one for every thread and the token."""
        return httpx.Timeout(connect=self.connect, read=self.read, write=self.read, pool=None)


# ------------------------------------------------------------------------------------------- addresses


def safe_url(url: str, what: str, *, query: bool = False) -> str:
    """`url` as it will be sent.

    Args:
        url: What was configured.
        what: Its name, for the message.
        query: Whether it may have a query (a token URL keeps its own).

    Raises:
        CodedError: RS-CFG-06 if it is no address, is http:// and not loopback, or carries credentials.
    """
    try:
        found = httpx.URL(url.strip())
        host = found.host
    except (httpx.InvalidURL, ValueError):
        raise CodedError("RS-CFG-06", f"{what} is not an address.") from None
    if found.scheme not in ("https", "http") or not host:
        raise CodedError("RS-CFG-06", f"{what} is not an https:// address.")
    if found.scheme == "http" and not is_loopback(host):
        raise CodedError("RS-CFG-06", f"{what} is http:// and not loopback.")
    if found.userinfo or found.fragment or (found.query and not query):
        raise CodedError("RS-CFG-06", f"{what} carries more than an address (a user, a query or a fragment).")
    return str(found)


# ------------------------------------------------------------------------------------------- transport


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is no redirect and not worth a retry."""

    status: int
    headers: httpx.Headers
    body: bytes


class AbandonedError(Exception):
    """Nobody waits for this request any more."""


def _may_be_size(failure: SourceError) -> bool:
    return failure.code in ("RS-NET-04", "RS-NET-05") and failure.status not in (408, 425, 503)


_AGAIN: Final = frozenset({408, 425, 429})


class Transport:
    """Sends requests until they are answered or given up; for several threads.

    Args:
        http: From `connecting.connect`.
        clock: Aware UTC.
        sleep: Seconds.
        rng: Where the jitter of the retries comes from.
        limits: What one request may cost.
        paces: Where what is learned of hosts is kept.
    """

    def __init__(
        self,
        http: httpx.Client,
        *,
        clock: Callable[[], datetime],
        sleep: Callable[[float], None],
        rng: random.Random,
        limits: Limits,
        paces: Paces | None = None,
    ) -> None:
        self.clock, self.limits = clock, limits
        self._paces = paces or Forgetful()
        self._http, self._sleep, self._rng = http, sleep, rng
        self._gates: dict[str, Gate] = {}
        self._lock = threading.Lock()

    def send(
        self,
        method: str,
        url: str,
        *,
        what: str,
        sign: Callable[[str], str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        largest: int | None = None,
        tries: int | None = None,
        hasty: bool = False,
        abandoned: threading.Event | None = None,
    ) -> Answer:
        """The answer to a request that is safe to repeat.

        Args:
            method: GET or POST.
            url: Complete and encoded.
            what: The request, for messages: `GET /users (offset 0)`.
            sign: Gives the `Authorization` header for the URL as it is sent; asked for every attempt.
            headers: Further headers.
            content: The body of a POST.
            largest: How many bytes an answer may have, instead of the limit for pages.
            tries: How often to try, instead of the limit.
            hasty: Give up after two tries what asking for less may mend: time limits, and 5xx but 503.
            abandoned: Set when nobody wants the answer any more: then there are no more attempts.

        Raises:
            SourceError: RS-NET-01 to RS-NET-06 and RS-NET-08 after the last try, RS-PAGE-02 if the answer
                is cut off each time.
            AbandonedError: if `abandoned` was set meanwhile.
        """
        limits = self.limits
        gate = self._gate(url)
        most = tries or limits.tries
        for attempt in range(1, most + 1):
            if abandoned is not None and abandoned.is_set():
                raise AbandonedError
            ticket = gate.wait()
            request = self._http.build_request(method, url, headers=headers, content=content)
            if sign is not None:
                request.headers["Authorization"] = sign(str(request.url))
            sent = self.clock()
            found = self._once(request, what, largest or limits.answer)
            if isinstance(found, Answer):
                if found.status < 500 and found.status not in _AGAIN:
                    gate.passed((self.clock() - sent).total_seconds())
                    return found
                if found.status == 501:
                    return found
            pause = self._backoff(attempt)
            if isinstance(found, Answer):
                failure, asked = self._not_now(found, what)
                if asked > limits.longest_wait:
                    raise SourceError(
                        "RS-NET-06",
                        f"{what}: the server asks to wait for {asked:.0f} seconds (HTTP {found.status}).",
                        found.status,
                    )
                if asked or found.status == 429:
                    # For everybody who talks to this host, not only for this request.
                    gate.hold(asked or pause, ticket)
                    pause = 0.0
            else:
                failure = found.error
                if not found.again:
                    raise failure
            if attempt == most or (hasty and attempt == 2 and _may_be_size(failure)):
                break
            if pause:
                self._sleep(pause)
        if attempt > 1:
            raise SourceError(failure.code, f"{failure.message[:-1]}, {attempt} times.", failure.status)
        raise failure

    def _gate(self, url: str) -> Gate:
        host = urlsplit(url).netloc
        with self._lock:
            if host not in self._gates:
                learn = partial(self._paces.learn, host)
                self._gates[host] = Gate(self.clock, self._sleep, self._paces.recall(host), learn)
            return self._gates[host]

    def close(self) -> None:
        """Leaves what was learned of the hosts for whoever asks them next."""
        for gate in self._gates.values():
            gate.close()

    def _backoff(self, attempt: int) -> float:
        # Full jitter: many syncs begin in the same minute, and must not come back in the same second.
        return self._rng.uniform(
            0.0, min(self.limits.longest_backoff, self.limits.backoff * 2 ** (attempt - 1))
        )

    def _not_now(self, answer: Answer, what: str) -> tuple[SourceError, float]:
        """What to call an answer that is worth a retry, and how many seconds the server asks for."""
        status = answer.status
        if status == 429:
            failure = SourceError("RS-NET-06", f"{what}: the server asks to slow down (HTTP 429).", status)
        elif status in _AGAIN:
            failure = SourceError("RS-NET-04", f"{what}: the server answered with HTTP {status}.", status)
        else:
            failure = SourceError("RS-NET-05", f"{what}: the server answered with HTTP {status}.", status)
        return failure, self._asked(answer.headers.get("Retry-After"))

    def _asked(self, told: str | None) -> float:
        if not told:
            return 0.0
        told = told.strip()
        if told.isascii() and told.isdigit():
            return float(told[:12])
        try:
            when = parsedate_to_datetime(told)
        except (TypeError, ValueError, OverflowError):
            return 0.0
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return max(0.0, (when - self.clock()).total_seconds())

    def _once(self, request: httpx.Request, what: str, largest: int) -> Answer | _Failed:
        # What httpx raises quotes requests and answers. Its exceptions end here: what is raised
        # instead, outside of the except blocks, has neither cause nor context.
        begun = False
        try:
            response = self._http.send(request, stream=True)
            begun = True
            try:
                return self._read(response, what, largest)
            finally:
                response.close()
        except httpx.HTTPError as error:
            return _failed(error, what, _place(request.url), begun=begun)
        except RedirectError as error:
            told = f"{what}: the server answered with a redirect (HTTP {error})."
            return _Failed(SourceError("RS-NET-03", told), again=False)
        except SourceError as error:
            return _Failed(error, again=False)
        except (OSError, UnicodeError):  # names that no resolver takes
            return _Failed(
                SourceError("RS-NET-01", f"{what}: {_place(request.url)} is not reachable."), again=False
            )

    def _read(self, response: httpx.Response, what: str, largest: int) -> Answer:
        status = response.status_code
        if response.headers.get("Content-Encoding", "").strip().lower() not in ("", "identity", "gzip"):
            # Also what is packed twice: each piece of it may unpack to a million times its size.
            raise SourceError(
                "RS-PAGE-02", f"{what}: the answer is packed in a way that was not asked for.", status
            )
        body = io.BytesIO()  # gives its bytes without a second copy of them
        end = self.clock().timestamp() + self.limits.whole
        for part in _unpacked(response):
            body.write(part)
            if body.tell() > largest:
                raise SourceError("RS-NET-08", f"{what}: the answer is larger than {largest} bytes.", status)
            if self.clock().timestamp() > end:
                raise SourceError(
                    "RS-NET-04",
                    f"{what}: the answer took longer than {self.limits.whole:.0f} seconds.",
                    status,
                )
        return Answer(status, response.headers, body.getvalue())


def _unpacked(response: httpx.Response) -> Iterator[bytes]:
    """The body in pieces of at most a mebibyte: httpx would unpack a piece to a thousand times its size."""
    if not response.headers.get("Content-Encoding", "").strip().lower().startswith("gzip"):
        yield from response.iter_raw()
        return
    stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        for part in response.iter_raw():
            while part and not stream.eof:
                yield stream.decompress(part, MIB)
                part = stream.unconsumed_tail
        while not stream.eof and (rest := stream.decompress(stream.unconsumed_tail, MIB)):
            yield rest
    except zlib.error:
        raise httpx.DecodingError("not gzip") from None


@dataclass(frozen=True, slots=True)
class _Failed:
    error: SourceError
    again: bool


def _place(url: httpx.URL) -> str:
    """The host, with its port where it is not the usual one."""
    return f"{url.host}:{url.port}" if url.port else url.host


def _failed(error: httpx.HTTPError, what: str, host: str, *, begun: bool) -> _Failed:
    match error:
        case httpx.ConnectError() if is_tls(error):
            return _Failed(
                SourceError("RS-NET-02", f"{what}: the TLS connection to {host} failed."), again=False
            )
        case httpx.ConnectError() | httpx.ConnectTimeout() | httpx.ProxyError():
            return _Failed(SourceError("RS-NET-01", f"{what}: {host} could not be reached."), again=True)
        case httpx.TimeoutException():
            return _Failed(SourceError("RS-NET-04", f"{what}: {host} did not answer in time."), again=True)
        case httpx.DecodingError():
            return _Failed(
                SourceError("RS-PAGE-02", f"{what}: the answer could not be unpacked."), again=True
            )
        case _ if begun:
            return _Failed(SourceError("RS-PAGE-02", f"{what}: the answer was cut off."), again=True)
        case _:
            return _Failed(SourceError("RS-NET-04", f"{what}: the connection was cut."), again=True)


# ---------------------------------------------------------------------------------------------- client


@dataclass(frozen=True, slots=True)
class Document:
    """A data answer: its JSON, and what its headers tell of the collection."""

    content: Any
    """Objects and arrays, or what a `regular` reader made of them."""
    total: int | None
    revision: str | None
    may_hold_controls: bool = False
    """Whether its texts may hold control characters."""


class Client:
    """Authenticated JSON from below one base URL; for several threads.

    Args:
        base_url: Everything before `/users`, from `safe_url`.
        transport: How to send.
        authorization: How to authenticate; nothing else may use it.
    """

    def __init__(self, base_url: str, transport: Transport, authorization: Authorization) -> None:
        self.base_url, self.authorization = base_url, authorization
        self._transport = transport
        self._answered = False

    def fetch(
        self,
        endpoint: str,
        query: Mapping[str, str],
        *,
        what: str,
        tries: int | None = None,
        hasty: bool = False,
        among: int = 0,
        abandoned: threading.Event | None = None,
    ) -> Answer:
        """The answer of `endpoint`, whose status says success; `among` how many are fetched ahead.

        Raises:
            SourceError: with the code of what went wrong.
        """
        # Built here and not by httpx, which writes a space as `+`: what is signed must be what is sent.
        encoded = "&".join(f"{name}={quote(value, safe='-._~')}" for name, value in query.items())
        url = f"{self.base_url}/{endpoint}?{encoded}"
        largest = self._transport.limits.ahead // among if among else None
        answer = self._authorized(url, what, tries, hasty, largest, abandoned)
        if answer.status == 204:
            raise SourceError("RS-PAGE-01", f"{what}: the answer has no content (HTTP 204).", 204)
        if not 200 <= answer.status < 300:
            raise _of_status(answer.status, what)
        return answer

    def document(self, answer: Answer, what: str, regular: Callable[[bytes], Any] | None = None) -> Document:
        """The JSON of an answer, and what its headers tell.

        Args:
            answer: From `fetch`.
            what: The request, for messages.
            regular: Reads valid JSON that it knows, and gives back None for everything else.

        Raises:
            SourceError: RS-PAGE-01 if it is no JSON, RS-PAGE-02 if it is cut off or broken, RS-NET-08 if it
                holds far more values than rows would.
        """
        failure = None
        if len(answer.body) > _SMALL and _objects(answer.body) > self._transport.limits.objects:
            raise SourceError(
                "RS-NET-08", f"{what}: the answer holds more values than a page of rows can.", answer.status
            )
        body = answer.body.removeprefix(b"\xef\xbb\xbf")
        content = regular(body) if regular else None
        if content is None:
            try:
                content = orjson.loads(body)
            except ValueError:
                failure = _not_json(answer, what)
            if failure is not None:
                raise failure  # outside, because orjson's error carries the whole document
            if b"\\" in body and b"\\u0000" in body:  # the first costs next to nothing
                content = without_nul(content)
        self._answered = True
        self.authorization.accepted()
        return Document(
            content,
            _number(answer.headers.get("X-Total-Count")),
            answer.headers.get("x-perm-rev"),
            may_hold_controls(answer.body),
        )

    def _authorized(
        self,
        url: str,
        what: str,
        tries: int | None,
        hasty: bool,
        largest: int | None,
        abandoned: threading.Event | None,
    ) -> Answer:
        used = ""

        def sign(sent: str) -> str:
            nonlocal used
            used = self.authorization.header("GET", sent)
            return used

        again = True
        while True:
            try:
                answer = self._transport.send(
                    "GET",
                    url,
                    what=what,
                    sign=sign,
                    tries=tries,
                    hasty=hasty,
                    largest=largest,
                    abandoned=abandoned,
                )
            except TokenError as error:
                if error.code != "RS-AUTH-01" or not self._answered:
                    raise
                refused = SourceError(
                    "RS-AUTH-03", "The token endpoint refuses now what it accepted before.", error.status
                )
            else:
                if answer.status != 401:
                    return answer
                if again and self.authorization.refused(used):
                    again = False
                    continue
                if self._answered:
                    refused = SourceError(
                        "RS-AUTH-03",
                        f"{what}: the server refused access (HTTP 401){self._skew(answer)}.",
                        401,
                    )
                else:
                    refused = SourceError(
                        "RS-AUTH-01",
                        f"{what}: the server refused the credentials (HTTP 401){self._skew(answer)}.",
                        401,
                    )
            raise refused

    def _skew(self, answer: Answer) -> str:
        """How far apart the clocks are, where that may be the cause: signatures and tokens have times."""
        theirs = date_of(answer)
        if theirs is None:
            return ""
        apart = abs((theirs - self._transport.clock()).total_seconds())
        return f"; its clock and ours are {apart:.0f} seconds apart" if apart > 120 else ""


def date_of(answer: Answer) -> datetime | None:
    """What time it was at the server when it answered (aware), if it tells."""
    try:
        found = parsedate_to_datetime(answer.headers["Date"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def token_post(transport: Transport, url: str) -> Post:
    """What `OAuth2` asks for tokens with: a POST to `url`, which keeps its own query."""
    host = urlsplit(url).hostname

    def post(headers: Mapping[str, str], form: bytes) -> TokenAnswer:
        try:
            answer = transport.send(
                "POST",
                url,
                what=f"POST to the token endpoint on {host}",
                headers=headers,
                content=form,
                largest=transport.limits.token_answer,
            )
        except SourceError as error:
            found = TokenError(
                "RS-AUTH-02" if error.code in _NO_TOKEN else error.code, error.message, error.status
            )
        else:
            return TokenAnswer(answer.status, answer.body)
        raise found

    return post


_NO_TOKEN: Final = frozenset({"RS-NET-05", "RS-NET-08", "RS-PAGE-02"})


_SMALL: Final = 4 * MIB
"""What need not be looked at: whatever it holds comes to less than the limit."""


def _objects(body: bytes) -> int:
    """About how much memory the values of some JSON take at most: `{}` and `[]` are tiny only on the wire."""
    return 240 * body.count(b"{") + 64 * (body.count(b"[") + body.count(b","))


def _of_status(status: int, what: str) -> SourceError:
    if status == 403:
        return SourceError("RS-AUTH-04", f"{what}: the server forbids it (HTTP 403).", status)
    if status in (404, 405, 410, 501):
        return SourceError("RS-PAGE-09", f"{what}: there is no such endpoint (HTTP {status}).", status)
    return SourceError("RS-NET-07", f"{what}: the server rejected the request (HTTP {status}).", status)


def _not_json(answer: Answer, what: str) -> SourceError:
    body = answer.body.lstrip()
    kind = answer.headers.get("Content-Type", "").lower()
    if not body:
        return SourceError("RS-PAGE-01", f"{what}: the answer is empty.", answer.status)
    if body[:1] in b"{[" and "html" not in kind:
        return SourceError("RS-PAGE-02", f"{what}: the answer is cut off or not valid JSON.", answer.status)
    of = "HTML" if "html" in kind or body[:1] == b"<" else "not JSON"
    return SourceError("RS-PAGE-01", f"{what}: the answer is {of}.", answer.status)


def _number(told: str | None) -> int | None:
    told = (told or "").strip()
    return int(told) if told.isascii() and told.isdigit() and len(told) < 16 else None
