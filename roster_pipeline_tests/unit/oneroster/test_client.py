"""Requests, retries, pacing, limits, and what every failure is called."""

from __future__ import annotations

import json
import logging
import random
import socket
import ssl
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from roster_pipeline.codes import CodedError
from roster_pipeline.oneroster.addresses import is_loopback
from roster_pipeline.oneroster.auth import OAuth1, OAuth2
from roster_pipeline.oneroster.client import (
    Answer,
    Client,
    Document,
    Limits,
    Transport,
    safe_url,
    token_post,
)
from roster_pipeline.oneroster.connecting import connect
from roster_pipeline.oneroster.wire import SourceError
from roster_pipeline_tests.unit.oneroster.server import (
    KEY,
    SECRET,
    START,
    TOKEN,
    Clock,
    Reply,
    Signed,
    Tokens,
    serving,
)

CERTIFICATE = Path(__file__).resolve().parents[2] / "certificate"
GOOD: dict[str, list[Any]] = {"users": []}
LIMITS = Limits()


@contextmanager
def client(
    url: str,
    clock: Clock | None = None,
    limits: Limits = LIMITS,
    token_url: str | None = None,
    **options: Any,
) -> Iterator[Client]:
    clock = clock or Clock()
    with connect(url, connections=8, timeout=limits.timeout) as http:
        transport = Transport(http, clock=clock, sleep=clock.sleep, rng=random.Random(1), limits=limits)
        auth: Any = OAuth1(
            KEY, SECRET, clock=clock, method=options.get("method", "HMAC-SHA256"), may_change=True
        )
        if token_url:
            post = token_post(transport, token_url)
            auth = OAuth2(KEY, SECRET, post=post, scope="s", fallback_scope="s", clock=clock)
        yield Client(url, transport, auth)


def document(found: Client, query: dict[str, str], **options: Any) -> Document:
    what = "GET /users (offset 0)"
    return found.document(found.fetch("users", query, what=what, **options), what)


def get(found: Client, **options: Any) -> Any:
    return document(found, {"limit": "5", "offset": "0"}, **options).content


def replies(*planned: Reply) -> Callable[[Any], Reply]:
    """Gives each in turn, and the last one for ever."""
    queue = list(planned)
    return lambda request: queue.pop(0) if len(queue) > 1 else queue[0]


def failure(
    answer: Callable[[Any], Reply], clock: Clock | None = None, limits: Limits = LIMITS
) -> tuple[CodedError, int]:
    with (
        serving(answer) as server,
        client(server.url, clock, limits) as found,
        pytest.raises(SourceError) as caught,
    ):
        get(found)
    return caught.value, len(server.requests)


# ------------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    "url",
    ["https://sis.example.org/api", "http://127.0.0.1:8000/x", "http://localhost/x", "http://[::1]:80/x"],
)
def test_an_encrypted_address_or_loopback_is_safe(url: str) -> None:
    assert safe_url(f" {url} ", "endpoint_url").startswith(url[:12])


@pytest.mark.parametrize(
    "url",
    [
        "http://sis.example.org/",
        "http://10.0.0.1/",
        "http://127.0.0.1.example.org/",
        "ftp://sis.example.org/",
        "sis.example.org",
        "https://",
        "https://user:canary@sis.example.org/",
        "https://sis.example.org/?appName=x",
        "https://sis.example.org/#x",
        "https://sis.example.org:port/",
        "",
        "https://[::1/",
    ],
)
def test_any_other_address_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(CodedError, match="RS-CFG-06") as caught:
        safe_url(url, "endpoint_url")
    assert "canary" not in str(caught.value)
    assert "example.org" not in str(caught.value)


def test_a_token_url_keeps_its_own_query() -> None:
    url = "https://sis.example.org/campus/oauth2/token?appName=my%20app"
    assert safe_url(url, "token_url", query=True) == url


def test_only_this_machine_is_loopback() -> None:
    assert [
        is_loopback(host) for host in ("127.9.9.9", "::1", "localhost", "0.0.0.0", "localhost.example.org")
    ] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_a_proxy_of_the_environment_never_sees_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(replies(Reply(GOOD))) as server, serving(replies(Reply(status=502))) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        with client(server.url) as found:
            assert get(found) == GOOD
        assert proxy.requests == []


def test_a_proxy_of_the_environment_is_used_for_other_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def tunnel() -> None:
            connection, _ = listener.accept()
            with connection:
                if connection.recv(4096).startswith(b"CONNECT sis.example.org:443 "):
                    asked.set()

        thread = threading.Thread(target=tunnel)
        thread.start()
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with client("https://sis.example.org") as found, pytest.raises(SourceError):
            get(found, tries=1)
        thread.join(10)
    assert asked.is_set()


# -------------------------------------------------------------------------------------- what was sent


@pytest.mark.parametrize("method", ["HMAC-SHA256", "HMAC-SHA1"])
def test_the_server_finds_the_signature_right_for_what_arrived(method: str) -> None:
    signed = Signed(method)
    with (
        serving(lambda request: signed(request) or Reply(GOOD)) as server,
        client(server.url, method=method) as found,
    ):
        query = {"limit": "5", "filter": "status='active' AND x~'a/b+c&d=é'"}
        assert document(found, query).content == GOOD
        assert server.requests[0].query == query
        assert "+" not in server.requests[0].raw_query
    assert signed.refusals == 0


def test_every_attempt_is_signed_anew() -> None:
    signed = Signed()
    planned = replies(Reply(status=500), Reply(status=503), Reply(GOOD))
    with serving(lambda request: signed(request) or planned(request)) as server, client(server.url) as found:
        assert get(found) == GOOD
    assert signed.refusals == 0
    assert len({request.headers["authorization"] for request in server.requests}) == 3


def test_a_server_that_knows_the_other_hash_alone_is_read_with_it_from_then_on() -> None:
    signed = Signed("HMAC-SHA1")
    with serving(lambda request: signed(request) or Reply(GOOD)) as server, client(server.url) as found:
        assert get(found) == get(found) == GOOD
        assert "HMAC-SHA1" in found.authorization.way
    assert signed.refusals == 1


def test_refused_with_either_hash_is_refused() -> None:
    error, requests = failure(replies(Reply(status=401)))
    assert error.code == "RS-AUTH-01"
    assert requests == 2


def test_a_signature_that_is_refused_after_others_worked_is_no_matter_of_the_hash() -> None:
    with serving(replies(Reply(GOOD), Reply(status=401))) as server, client(server.url) as found:
        get(found)
        with pytest.raises(SourceError, match="RS-AUTH-03"):
            get(found)
    assert len(server.requests) == 2


def test_clocks_that_differ_are_told_with_the_refusal() -> None:
    with serving(replies(Reply(status=401))) as server:
        clock = Clock()
        clock.sleep(10**8)  # the server's Date is today's
        with client(server.url, clock) as found, pytest.raises(SourceError, match="seconds apart"):
            get(found)


def test_a_date_that_is_none_tells_nothing_of_the_clocks() -> None:
    with serving(replies(Reply(status=401))) as server, client(server.url) as found:
        assert found._skew(Answer(401, httpx.Headers({"Date": ODD_DATE}), b"")) == ""


# ------------------------------------------------------------------------------------------- tokens


def test_a_token_that_is_refused_is_renewed_once() -> None:
    tokens = Tokens(good_for=1)
    with (
        serving(lambda request: tokens(request) or Reply(GOOD)) as server,
        client(server.url, token_url=f"{server.url}/token") as found,
    ):
        assert [get(found) for _ in range(3)] == [GOOD] * 3
    assert len(tokens.given) == 3


def test_a_second_refusal_in_the_middle_is_told_as_that() -> None:
    tokens = Tokens()
    with (
        serving(lambda request: tokens(request) or Reply(GOOD)) as server,
        client(server.url, token_url=f"{server.url}/token") as found,
    ):
        get(found)
        tokens.good_for = 0
        with pytest.raises(SourceError, match="RS-AUTH-03"):
            get(found)
    assert len(tokens.given) == 2
    assert len(server.requests) == 5  # token, good, refused, token, refused


def test_refused_before_anything_was_read_is_a_matter_of_the_credentials() -> None:
    tokens = Tokens(good_for=0)
    with (
        serving(lambda request: tokens(request) or Reply(GOOD)) as server,
        client(server.url, token_url=f"{server.url}/token") as found,
        pytest.raises(SourceError, match="RS-AUTH-01"),
    ):
        get(found)


def test_credentials_that_are_revoked_in_the_middle_are_told_as_that() -> None:
    tokens, clock = Tokens(), Clock()
    with (
        serving(lambda request: tokens(request) or Reply(GOOD)) as server,
        client(server.url, clock, token_url=f"{server.url}/token") as found,
    ):
        get(found)
        tokens.replies = [Reply({"error": "invalid_client"}, 401)] * 2
        clock.sleep(4000)
        with pytest.raises(SourceError, match="RS-AUTH-03"):
            get(found)


@pytest.mark.parametrize(
    "reply, code",
    [
        (Reply(b"<html>Sign in</html>", headers={"Content-Type": "text/html"}), "RS-AUTH-02"),
        (Reply(status=500), "RS-AUTH-02"),
        (Reply(b'{"access_tok', cut_at=5), "RS-AUTH-02"),
        (Reply(status=404), "RS-AUTH-02"),
        (Reply(status=302, headers={"Location": "https://example.org/"}), "RS-NET-03"),
        (Reply(b" " * 2_000_000), "RS-AUTH-02"),
        (Reply(status=429), "RS-NET-06"),
        (Reply(silent=True), "RS-NET-04"),
    ],
)
def test_a_token_endpoint_that_gives_no_token_is_told_as_such(reply: Reply, code: str) -> None:
    with (
        serving(replies(reply)) as server,
        client(server.url, token_url=f"{server.url}/token?appName=x") as found,
        pytest.raises(SourceError) as caught,
    ):
        get(found)
    assert caught.value.code == code
    assert "token endpoint" in caught.value.message
    assert {request.raw_query for request in server.requests} == {"appName=x"}


# -------------------------------------------------------------------------------------------- failures


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def test_a_server_that_is_not_there_is_told_after_five_tries() -> None:
    clock = Clock()
    with (
        client(f"http://127.0.0.1:{free_port()}", clock) as found,
        pytest.raises(SourceError, match="RS-NET-01") as caught,
    ):
        get(found)
    assert len(clock.slept) == 4
    assert "127.0.0.1" in caught.value.message


def test_a_name_that_no_resolver_takes_is_told_as_unreachable() -> None:
    with (
        client("https://" + "a" * 70 + ".example.org") as found,
        pytest.raises(SourceError, match="RS-NET-01"),
    ):
        get(found)


def test_a_certificate_that_nobody_vouches_for_is_refused_at_once() -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(CERTIFICATE / "certificate.pem", CERTIFICATE / "key.pem")
    clock = Clock()
    with (
        serving(replies(Reply(GOOD)), tls) as server,
        client(server.url, clock) as found,
        pytest.raises(SourceError, match="RS-NET-02"),
    ):
        get(found)
    assert server.requests == []
    assert clock.slept == []


def test_a_certificate_of_the_operators_own_authority_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(CERTIFICATE / "certificate.pem", CERTIFICATE / "key.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE / "certificate.pem"))
    with serving(replies(Reply(GOOD)), tls) as server, client(server.url) as found:
        assert get(found) == GOOD


def test_a_server_that_speaks_no_tls_is_told_as_that() -> None:
    with (
        serving(replies(Reply(GOOD))) as server,
        client(server.url.replace("http:", "https:")) as found,
        pytest.raises(SourceError, match="RS-NET-02"),
    ):
        get(found)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["http://127.0.0.1:1/elsewhere", "https://exa mple:port/", ""])
def test_a_redirect_is_refused_and_never_followed(status: int, location: str) -> None:
    error, requests = failure(replies(Reply(status=status, headers={"Location": location})))
    assert error.code == "RS-NET-03"
    assert requests == 1


@pytest.mark.parametrize(
    "reply, code, tries",
    [
        (Reply(status=500), "RS-NET-05", 5),
        (Reply(status=502), "RS-NET-05", 5),
        (Reply(status=503), "RS-NET-05", 5),
        (Reply(status=504), "RS-NET-05", 5),
        (Reply(status=408), "RS-NET-04", 5),
        (Reply(status=425), "RS-NET-04", 5),
        (Reply(status=429), "RS-NET-06", 5),
        (Reply(silent=True), "RS-NET-04", 5),
        (Reply(status=403), "RS-AUTH-04", 1),
        (Reply(status=404), "RS-PAGE-09", 1),
        (Reply(status=405), "RS-PAGE-09", 1),
        (Reply(status=501), "RS-PAGE-09", 1),
        (Reply(status=400), "RS-NET-07", 1),
        (Reply(status=422), "RS-NET-07", 1),
        (Reply(status=418), "RS-NET-07", 1),
        (Reply(b"<html>Sign in</html>", headers={"Content-Type": "text/html"}), "RS-PAGE-01", 1),
        (Reply(b"<html>Sign in</html>"), "RS-PAGE-01", 1),
        (Reply(b""), "RS-PAGE-01", 1),
        (Reply(status=204), "RS-PAGE-01", 1),
        (Reply(b"OK"), "RS-PAGE-01", 1),
        (Reply(b'{"users": [{"sourcedId": "a'), "RS-PAGE-02", 1),
        (Reply({"users": [{"sourcedId": "a"}]}, cut_at=9), "RS-PAGE-02", 5),
        (Reply({"users": []}, cut_at=9, packed=True), "RS-PAGE-02", 5),
        (Reply({"users": []}, headers={"Content-Encoding": "gzip"}), "RS-PAGE-02", 5),
        (Reply({"users": []}, headers={"Content-Encoding": "gzip, gzip"}), "RS-PAGE-02", 1),
    ],
)
def test_every_failure_has_its_code_and_its_number_of_tries(reply: Reply, code: str, tries: int) -> None:
    error, requests = failure(replies(reply))
    assert error.code == code
    assert requests == tries


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=500),
        Reply(status=429),
        Reply(status=408),
        Reply(silent=True),
        Reply(GOOD, cut_at=3),
    ],
)
def test_what_passes_is_tried_again_and_good(reply: Reply) -> None:
    with serving(replies(reply, Reply(GOOD))) as server, client(server.url) as found:
        assert get(found) == GOOD
    assert len(server.requests) == 2


def test_a_server_that_says_nothing_is_not_waited_for_for_ever() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with (
            client(url, limits=Limits(read=0.05, tries=2)) as found,
            pytest.raises(SourceError, match="RS-NET-04"),
        ):
            get(found)


def test_an_answer_that_trickles_for_ever_is_given_up() -> None:
    clock = Clock()

    class Trickling(Clock):
        def __call__(self) -> Any:
            self.now += timedelta(seconds=400)  # between two pieces
            return self.now

    error, _ = failure(replies(Reply({"users": ["x" * 300_000]})), Trickling())
    assert error.code == "RS-NET-04"
    assert clock.slept == []


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_that_is_too_large_is_given_up_also_when_it_only_unpacks_to_that(packed: bool) -> None:
    reply = Reply({"users": ["x" * 3_000_000]}, packed=packed)
    error, requests = failure(replies(reply), limits=Limits(answer=1_000_000))
    assert error.code == "RS-NET-08"
    assert requests == 1


def test_a_packed_answer_is_unpacked() -> None:
    with serving(replies(Reply(GOOD, packed=True))) as server, client(server.url) as found:
        assert get(found) == GOOD
    assert server.requests[0].headers["accept-encoding"] == "gzip"


def test_a_byte_order_mark_and_nul_characters_are_borne() -> None:
    body = b"\xef\xbb\xbf" + json.dumps({"users": ["a\0b", "\\u0000"]}).encode()
    with serving(replies(Reply(body))) as server, client(server.url) as found:
        assert get(found) == {"users": ["ab", "\\u0000"]}


@pytest.mark.parametrize(
    "told, total",
    [("7", 7), (" 7 ", 7), ("-1", None), ("many", None), ("", None), ("9" * 30, None), ("7.0", None)],
)
def test_a_total_is_a_number_or_nothing(told: str, total: int | None) -> None:
    with (
        serving(replies(Reply(GOOD, headers={"X-Total-Count": told}))) as server,
        client(server.url) as found,
    ):
        assert document(found, {}).total == total


# ------------------------------------------------------------------------------------- retries, pacing


def test_pauses_between_tries_grow_at_random_within_their_bound() -> None:
    clock = Clock()
    failure(replies(Reply(status=500)), clock)
    assert len(clock.slept) == 4
    assert all(0 <= pause <= 2**number for number, pause in enumerate(clock.slept))
    assert len(set(clock.slept)) == 4


def test_seconds_and_dates_of_retry_after_are_kept_to() -> None:
    for told in ("100", format_datetime(START + timedelta(seconds=100), usegmt=True)):
        clock = Clock()
        with (
            serving(replies(Reply(status=503, headers={"Retry-After": told}), Reply(GOOD))) as server,
            client(server.url, clock) as found,
        ):
            get(found)
        assert (clock.now - START).total_seconds() >= 100
        assert len(server.requests) == 2


def test_a_server_that_asks_for_more_than_five_minutes_is_given_up() -> None:
    clock = Clock()
    error, requests = failure(replies(Reply(status=429, headers={"Retry-After": "301"})), clock)
    assert error.code == "RS-NET-06"
    assert requests == 1
    assert clock.slept == []


ODD_DATE = "Mon, 01 Jan 2026 00:00:00 +99999999999999999999"  # for Python no ValueError, but an OverflowError


@pytest.mark.parametrize("told", ["soon", "Mon", ODD_DATE])
def test_a_retry_after_that_says_nothing_is_ignored(told: str) -> None:
    with (
        serving(replies(Reply(status=429, headers={"Retry-After": told}), Reply(GOOD))) as server,
        client(server.url) as found,
    ):
        assert get(found) == GOOD


def test_after_a_429_everybody_who_talks_to_the_host_waits() -> None:
    clock = Clock()
    planned = replies(Reply(status=429, headers={"Retry-After": "60"}), Reply(GOOD))
    arrivals: list[float] = []

    def answer(request: Any) -> Reply:
        arrivals.append((clock.now - START).total_seconds())
        return planned(request)

    with serving(answer) as server, client(server.url, clock) as found:
        with pytest.raises(SourceError):
            get(found, tries=1)
        others = [threading.Thread(target=get, args=(found,)) for _ in range(4)]
        for other in others:
            other.start()
        for other in others:
            other.join(10)
    assert len(arrivals) == 5
    assert all(seconds >= 60 for seconds in arrivals[1:])


# ----------------------------------------------------------------------------------------- secrecy


def test_no_error_and_no_log_holds_credentials_queries_or_answers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpx").setLevel(logging.DEBUG)
    logging.getLogger("httpcore").setLevel(logging.DEBUG)
    body = json.dumps(
        {"error": "canary-of-a-body", "users": [{"email": "canary-of-a-body@example.org"}]}
    ).encode()
    bad: list[Reply] = [Reply(body, status) for status in (301, 400, 401, 403, 404, 429, 500)]
    bad += [Reply(body[:-3]), Reply(body, cut_at=20), Reply(b"<p>canary-of-a-body"), Reply(silent=True)]
    bad += [
        Reply(body, headers={"Content-Encoding": "gzip"}),
        Reply(body, headers={"Content-Encoding": "canary-of-a-body"}),
    ]
    told = ""

    def answered(reply: Reply, tokens: Tokens | None, request: Any) -> Reply:
        return (tokens and tokens(request)) or reply

    for reply in bad:
        for token_url in (None, "/token"):
            tokens = Tokens()
            with (
                serving(partial(answered, reply, tokens if token_url else None)) as server,
                client(server.url, token_url=token_url and server.url + token_url) as found,
            ):
                with pytest.raises(SourceError) as caught:
                    document(found, {"filter": "canary-of-a-query"})
                error = caught.value
                told += f"{error} {error!r} {error.args} {error.message} {found!r} {found.authorization!r}"
                told += "".join(traceback.format_exception(error))
                while error is not None:
                    assert not isinstance(error, httpx.HTTPError)
                    told += repr(vars(error))
                    error = error.__cause__ or error.__context__  # type: ignore[assignment]
    assert "HTTP 403" in told
    everything = told + caplog.text
    for canary in (KEY, SECRET, TOKEN, "canary", "Bearer", "oauth_", "Basic "):
        source_lines = [
            line for line in everything.splitlines() if canary in line and not line.startswith("    ")
        ]
        assert source_lines == []
