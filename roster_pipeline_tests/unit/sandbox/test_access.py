"""Authentication is really checked: signatures against a published vector, tokens against their terms."""

from __future__ import annotations

import base64
from urllib.parse import urlsplit

import pytest

from roster_pipeline.sandbox.access import DEMOGRAPHICS, WINDOW_S, DeniedError, Signatures, Tokens, scope_urls
from roster_pipeline_tests.unit.sandbox.conftest import KEY, SECRET, signed

NOW = 1_700_000_000
URL = (
    "https://example-vn-v2.oneroster.com/ims/oneroster/v1p1/users"
    "?limit=100&offset=0&filter=status%3D%27active%27%20AND%20role%3D%27student%27"
)
VECTORS = [
    ("HMAC-SHA1", "b2ZS8nzYI/eNAsvWVgQKPMskiZQ="),
    ("HMAC-SHA256", "bF9pF5xcwQo/uQRj0j5IUzBidg0D/ivMy2RU9B20S9g="),
]
BOTH = ("HMAC-SHA256", "HMAC-SHA1")


def verifier(*methods: str, key: str = KEY) -> Signatures:
    return Signatures(key, SECRET, lambda: NOW, methods or BOTH)


def check(signatures: Signatures, url: str, header: str) -> None:
    parts = urlsplit(url)
    signatures.check("GET", f"{parts.scheme}://{parts.netloc}{parts.path}", parts.query, header)


@pytest.mark.parametrize("method, signature", VECTORS)
def test_the_known_vectors_are_accepted(method: str, signature: str) -> None:
    header = (
        'OAuth oauth_consumer_key="abc123", oauth_nonce="n0nce1234567890", '
        f'oauth_signature_method="{method}", oauth_timestamp="{NOW}", oauth_version="1.0", '
        f'oauth_signature="{signature.replace("/", "%2F").replace("=", "%3D")}"'
    )
    check(verifier(key="abc123"), URL, header)
    with pytest.raises(DeniedError, match="signature"):
        check(verifier(key="abc123"), URL.replace("student", "teacher"), header)


@pytest.mark.parametrize("method", BOTH)
def test_a_request_signed_here_is_accepted_once_and_its_nonce_never_again(method: str) -> None:
    signatures, header = verifier(), signed(URL, method=method, at=NOW)
    check(signatures, URL, header)
    with pytest.raises(DeniedError, match="nonce"):
        check(signatures, URL, header)


def test_a_nonce_of_a_forged_request_is_not_used_up() -> None:
    signatures = verifier()
    with pytest.raises(DeniedError, match="signature"):
        check(signatures, URL, signed(URL, nonce="n1", at=NOW, secret="guessed"))
    check(signatures, URL, signed(URL, nonce="n1", at=NOW))


@pytest.mark.parametrize("away", [-WINDOW_S - 1, WINDOW_S + 1])
def test_a_timestamp_far_from_the_servers_clock_is_refused(away: int) -> None:
    with pytest.raises(DeniedError, match="timestamp"):
        check(verifier(), URL, signed(URL, at=NOW + away))


def test_a_method_that_the_server_does_not_accept_is_refused() -> None:
    with pytest.raises(DeniedError, match="method"):
        check(verifier("HMAC-SHA1"), URL, signed(URL, method="HMAC-SHA256", at=NOW))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer abc",
        "OAuth nonsense",
        'OAuth oauth_nonce="1"',
        signed(URL, at=NOW).replace("oauth_timestamp", "oauth_time"),
        signed(URL, at=NOW) + ', oauth_nonce="again"',
        signed(URL, at=NOW).replace(KEY, "key-2"),
        signed(URL, at=NOW) + ', oauth_version="2.0"',
    ],
)
def test_a_header_that_is_not_a_signature_is_refused(header: str) -> None:
    with pytest.raises(DeniedError):
        check(verifier(), URL, header)


# ---------------------------------------------------------------- tokens


class Clock:
    now = float(NOW)

    def __call__(self) -> float:
        return self.now


def tokens(clock: Clock | None = None, *, needs_scope: bool = False, lifetime: int = 60) -> Tokens:
    return Tokens(KEY, SECRET, clock or Clock(), "1.1", needs_scope=needs_scope, lifetime=lifetime)


def basic(client_id: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


GRANT = b"grant_type=client_credentials"
OWN = basic(KEY, SECRET)


def test_basic_and_body_credentials_both_get_a_token() -> None:
    encoded = basic(KEY, "s3cr%26t%2F%2B%3D")  # as RFC 6749 wants it
    in_body = GRANT + b"&client_id=key-1&client_secret=s3cr%26t%2F%2B%3D"
    for header, body in ((OWN, GRANT), (encoded, GRANT), ("", in_body)):
        assert tokens().issue(header, body).status == 200


@pytest.mark.parametrize(
    "header", ["", basic(KEY, "other"), basic("other", SECRET), "Basic ***", "Basic /w=="]
)
def test_other_credentials_get_none(header: str) -> None:
    answer = tokens().issue(header, GRANT)
    assert (answer.status, answer.body["error"]) == (401, "invalid_client")


def test_another_grant_gets_none() -> None:
    answer = tokens().issue(OWN, b"grant_type=password")
    assert (answer.status, answer.body["error"]) == (400, "unsupported_grant_type")


def test_a_token_ends_with_its_lifetime() -> None:
    clock = Clock()
    issuer = tokens(clock, lifetime=60)
    token = f"Bearer {issuer.issue(OWN, GRANT).body['access_token']}"
    assert issuer.check(token, None)
    clock.now += 60
    with pytest.raises(DeniedError, match="expired"):
        issuer.check(token, None)


def test_a_token_may_be_good_for_a_number_of_requests() -> None:
    issuer = tokens()
    token = f"bearer {issuer.issue(OWN, GRANT).body['access_token']}"
    issuer.check(token, 2)
    issuer.check(token, 2)
    with pytest.raises(DeniedError, match="expired"):
        issuer.check(token, 2)


@pytest.mark.parametrize("header", ["", "Bearer ", "Bearer made-up", OWN])
def test_what_is_no_token_of_this_server_is_refused(header: str) -> None:
    with pytest.raises(DeniedError):
        tokens().check(header, None)


def test_scopes_are_granted_as_asked_and_needed_where_the_server_says_so() -> None:
    (demographics,) = scope_urls("1.1", "roster-demographics.readonly")
    issuer = tokens(needs_scope=True)
    assert issuer.issue(OWN, GRANT).body["error"] == "invalid_scope"
    assert issuer.issue(OWN, GRANT + b"&scope=everything").body["error"] == "invalid_scope"
    answer = issuer.issue(OWN, GRANT + b"&scope=everything+" + demographics.encode())
    assert answer.body["scope"] == demographics
    assert issuer.check(f"Bearer {answer.body['access_token']}", None) == {DEMOGRAPHICS}
