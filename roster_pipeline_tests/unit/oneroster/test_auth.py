"""OAuth 1.0a signatures and OAuth 2 tokens."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import pytest

from roster_pipeline.oneroster.auth import OAuth1, OAuth2, TokenAnswer, TokenError, signature
from roster_pipeline_tests.unit.oneroster.server import KEY, SECRET, Clock

URL = (
    "https://example-vn-v2.oneroster.com/ims/oneroster/v1p1/users"
    "?limit=100&offset=0&filter=status%3D%27active%27%20AND%20role%3D%27student%27"
)


def parameters(method: str) -> dict[str, str]:
    return {
        "oauth_consumer_key": "abc123",
        "oauth_nonce": "n0nce1234567890",
        "oauth_signature_method": method,
        "oauth_timestamp": "1700000000",
        "oauth_version": "1.0",
    }


@pytest.mark.parametrize(
    "method, wanted",
    [
        ("HMAC-SHA1", "b2ZS8nzYI/eNAsvWVgQKPMskiZQ="),
        ("HMAC-SHA256", "bF9pF5xcwQo/uQRj0j5IUzBidg0D/ivMy2RU9B20S9g="),
    ],
)
def test_a_signature_equals_the_published_one(method: Any, wanted: str) -> None:
    assert signature(method, "s3cr&t/+=", "GET", URL, parameters(method)) == wanted


@pytest.mark.parametrize("url", [URL.replace(".com/", ".com:443/"), URL.replace("example-vn", "EXAMPLE-VN")])
def test_a_default_port_and_the_case_of_the_host_do_not_change_a_signature(url: str) -> None:
    wanted = signature("HMAC-SHA1", "s", "GET", URL, parameters("HMAC-SHA1"))
    assert signature("HMAC-SHA1", "s", "GET", url, parameters("HMAC-SHA1")) == wanted


def test_a_header_signs_with_the_given_time_and_encodes_every_value() -> None:
    auth = OAuth1(
        " abc123 ",
        "s3cr&t/+=\n",
        method="HMAC-SHA256",
        may_change=False,
        nonce=lambda: "n0nce1234567890",
        clock=lambda: datetime.fromtimestamp(1700000000, UTC),
    )
    header = auth.header("GET", URL)
    assert header.startswith('OAuth oauth_consumer_key="abc123", ')
    assert 'oauth_signature="bF9pF5xcwQo%2FuQRj0j5IUzBidg0D%2FivMy2RU9B20S9g%3D"' in header


def test_every_header_has_a_nonce_of_its_own() -> None:
    auth = OAuth1(KEY, SECRET, method="HMAC-SHA1", may_change=True, clock=Clock())
    nonces = {re.findall(r'oauth_nonce="(.*?)"', auth.header("GET", URL))[0] for _ in range(50)}
    assert len(nonces) == 50


def test_the_other_hash_is_tried_once_and_never_after_one_has_worked() -> None:
    auth = OAuth1(KEY, SECRET, method="HMAC-SHA256", may_change=True, clock=Clock())
    assert auth.refused("")
    assert "HMAC-SHA1" in auth.way
    assert not auth.refused("")
    settled = OAuth1(KEY, SECRET, method="HMAC-SHA256", may_change=True, clock=Clock())
    settled.accepted()
    assert not settled.refused("")
    configured = OAuth1(KEY, SECRET, method="HMAC-SHA256", may_change=False, clock=Clock())
    assert not configured.refused("")


class Endpoint:
    """A token endpoint in the same process: takes what is posted, gives the next answer."""

    def __init__(self, *answers: TokenAnswer) -> None:
        self.answers, self.posted = list(answers), list[dict[str, str]]()

    def __call__(self, headers: Any, form: bytes) -> TokenAnswer:
        self.posted.append({**dict(parse_qsl(form.decode())), "basic": headers.get("Authorization", "")})
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


GOOD = TokenAnswer(200, b'{"access_token": "t", "token_type": "bearer", "expires_in": 3600}')
REFUSED = TokenAnswer(401, b'{"error": "invalid_client"}')
NO_SCOPE = TokenAnswer(400, b'{"error": "invalid_scope"}')


def oauth2(endpoint: Endpoint, clock: Clock, scope: str = "wide") -> OAuth2:
    return OAuth2(KEY, SECRET, post=endpoint, scope=scope, fallback_scope="standard", clock=clock)


def test_credentials_go_by_basic_and_then_by_the_form_and_stay_there() -> None:
    endpoint, clock = Endpoint(REFUSED, GOOD), Clock()
    auth = oauth2(endpoint, clock)
    assert auth.header("GET", URL) == "Bearer t"
    clock.sleep(4000)
    auth.header("GET", URL)
    assert [bool(posted["basic"]) for posted in endpoint.posted] == [True, False, False]
    assert endpoint.posted[1]["client_secret"] == SECRET


def test_refused_both_ways_is_refused() -> None:
    endpoint = Endpoint(REFUSED)
    with pytest.raises(TokenError, match="RS-AUTH-01"):
        oauth2(endpoint, Clock()).header("GET", URL)
    assert len(endpoint.posted) == 2


@pytest.mark.parametrize(
    "scope, sent", [("wide", ["wide", None, None]), ("", [None, "standard", "standard"])]
)
def test_a_refused_scope_is_left_out_and_a_missing_one_added(scope: str, sent: list[str | None]) -> None:
    endpoint, clock = Endpoint(NO_SCOPE, GOOD), Clock()
    auth = oauth2(endpoint, clock, scope)
    auth.header("GET", URL)
    clock.sleep(4000)
    auth.header("GET", URL)
    assert [posted.get("scope") for posted in endpoint.posted] == sent


def test_both_habits_at_once_are_found() -> None:
    endpoint = Endpoint(TokenAnswer(400, b'{"error": "invalid_client"}'), NO_SCOPE, GOOD)
    assert oauth2(endpoint, Clock()).header("GET", URL) == "Bearer t"
    last = endpoint.posted[-1]
    assert not last["basic"]
    assert "scope" not in last


def test_what_was_settled_is_not_tried_again_later() -> None:
    endpoint, clock = Endpoint(GOOD, REFUSED), Clock()
    auth = oauth2(endpoint, clock)
    auth.header("GET", URL)
    clock.sleep(4000)
    with pytest.raises(TokenError, match="RS-AUTH-01"):
        auth.header("GET", URL)
    assert len(endpoint.posted) == 2


@pytest.mark.parametrize(
    "answer",
    [
        TokenAnswer(200, b"<html>Sign in</html>"),
        TokenAnswer(200, b""),
        TokenAnswer(200, b"{}"),
        TokenAnswer(200, b"[]"),
        TokenAnswer(200, b'{"access_token": ""}'),
        TokenAnswer(200, b'{"access_token": "a\\r\\nHost: x"}'),
        TokenAnswer(200, '{"access_token": "ü"}'.encode()),
        TokenAnswer(404, b""),
        TokenAnswer(400, b"{"),
    ],
)
def test_an_answer_without_a_usable_token_is_told_as_such(answer: TokenAnswer) -> None:
    with pytest.raises(TokenError, match="RS-AUTH-02"):
        oauth2(Endpoint(answer), Clock()).header("GET", URL)


@pytest.mark.parametrize(
    "told, good_for",
    [
        (b"3600", 3539),
        (b'"3600"', 3539),
        (b"100", 79),
        (b"0", 539),
        (b"null", 539),
        (b'"x"', 539),
        (b"-5", 539),
        (b"1e30", 86339),
    ],
)
def test_a_token_is_renewed_before_it_expires_and_not_long_before(told: bytes, good_for: int) -> None:
    clock = Clock()
    endpoint = Endpoint(TokenAnswer(200, b'{"access_token": "t", "expires_in": ' + told + b"}"))
    auth = oauth2(endpoint, clock)
    auth.header("GET", URL)
    clock.sleep(good_for)
    auth.header("GET", URL)
    assert len(endpoint.posted) == 1
    clock.sleep(2)
    auth.header("GET", URL)
    assert len(endpoint.posted) == 2


def test_many_threads_fetch_one_token() -> None:
    everybody = threading.Barrier(8)

    class Slow(Endpoint):
        def __call__(self, headers: Any, form: bytes) -> TokenAnswer:
            # Long enough for the others to come: all of them have passed the barrier by now.
            started.wait(5)
            return super().__call__(headers, form)

    started = threading.Event()
    endpoint = Slow(GOOD)
    auth, found = oauth2(endpoint, Clock()), list[str]()

    def ask() -> None:
        everybody.wait(5)
        started.set()
        found.append(auth.header("GET", URL))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert found == ["Bearer t"] * 8
    assert len(endpoint.posted) == 1


def test_a_refused_token_is_dropped_once_however_many_were_refused_with_it() -> None:
    endpoint = Endpoint(GOOD, TokenAnswer(200, b'{"access_token": "second"}'))
    auth = oauth2(endpoint, Clock())
    first = auth.header("GET", URL)
    assert auth.refused(first)
    assert auth.header("GET", URL) == "Bearer second"
    assert auth.refused(first)
    assert auth.header("GET", URL) == "Bearer second"
    assert len(endpoint.posted) == 2


def test_no_secret_is_in_what_these_objects_show_of_themselves() -> None:
    for auth in (
        OAuth1(KEY, SECRET, method="HMAC-SHA1", may_change=True, clock=Clock()),
        oauth2(Endpoint(GOOD), Clock()),
    ):
        auth.header("GET", URL)
        shown = f"{auth!r} {auth} {auth.way}"
        assert KEY not in shown
        assert SECRET not in shown
