"""Authenticating towards a OneRoster server: OAuth 1.0a signatures and OAuth 2 client credentials.

An `Authorization` makes the value of one request's header and learns from refusals. How requests
are sent is `client`'s; who uses which way is the providers'. Secrets live in private attributes of
these objects only: no `repr`, no message and no exception holds them.
"""

from __future__ import annotations

import base64
import hmac
import math
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, Protocol
from urllib.parse import parse_qsl, quote, urlsplit

import orjson

from roster_pipeline.oneroster.wire import SourceError

Method = Literal["HMAC-SHA256", "HMAC-SHA1"]

SCOPES: Final = {
    "1.1": "https://purl.imsglobal.org/spec/or/v1p1/scope/roster-core.readonly",
    "1.2": "https://purl.imsglobal.org/spec/or/v1p2/scope/roster-core.readonly",
}
"""The least that reads the six top-level collections, and nothing of the demographics."""


class Authorization(Protocol):
    """What authenticates the requests of one reading; used from several threads at once."""

    def header(self, method: str, url: str) -> str:
        """The `Authorization` header for exactly this request; never used for a second one."""

    def refused(self, header: str) -> bool:
        """Told that the server answered 401 to `header`: is there something else worth one try?"""

    def accepted(self) -> None:
        """Told that the server accepted a request."""

    @property
    def way(self) -> str:
        """How it authenticates, for people: `OAuth 1.0a, HMAC-SHA256`."""


# ------------------------------------------------------------------------------------------ OAuth 1.0a


def signature(method: Method, secret: str, verb: str, url: str, parameters: Mapping[str, str]) -> str:
    """The OAuth 1.0a signature (RFC 5849, no token) of a request, in Base64.

    Args:
        method: Which HMAC.
        secret: The consumer secret.
        verb: GET, in capitals.
        url: The URL as it is sent, with its query.
        parameters: The `oauth_` parameters but the signature itself.
    """
    parts = urlsplit(url)
    default = {"https": 443, "http": 80}.get(parts.scheme)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    port = f":{parts.port}" if parts.port not in (None, default) else ""
    sent = parse_qsl(parts.query, keep_blank_values=True)
    pairs = sorted((_enc(name), _enc(value)) for name, value in [*sent, *parameters.items()])
    base = "&".join([
        verb,
        _enc(f"{parts.scheme}://{host}{port}{parts.path or '/'}"),
        _enc("&".join(f"{name}={value}" for name, value in pairs)),
    ])  # fmt: skip
    digest = "sha256" if method == "HMAC-SHA256" else "sha1"
    return base64.b64encode(hmac.digest(f"{_enc(secret)}&".encode(), base.encode(), digest)).decode()


def _enc(text: str) -> str:
    return quote(text, safe="-._~")


class OAuth1:
    """OAuth 1.0a without tokens: every attempt of every request is signed anew.

    Where the hash was not configured and the very first request is refused, the other hash is tried
    once; what worked then stays. Methods are never alternated later.
    """

    def __init__(
        self,
        key: str,
        secret: str,
        *,
        clock: Callable[[], datetime],
        method: Method,
        may_change: bool,
        nonce: Callable[[], str] = secrets.token_hex,
    ) -> None:
        self._key, self._secret = key.strip(), secret.strip()
        self._method, self._may_change = method, may_change
        self._clock, self._nonce = clock, nonce

    def header(self, method: str, url: str) -> str:
        """A freshly signed header, with a nonce and a time of its own."""
        parameters = {
            "oauth_consumer_key": self._key,
            "oauth_nonce": self._nonce(),
            "oauth_signature_method": self._method,
            "oauth_timestamp": str(int(self._clock().timestamp())),
            "oauth_version": "1.0",
        }
        signed = signature(self._method, self._secret, method, url, parameters)
        pairs = {**parameters, "oauth_signature": signed}.items()
        return "OAuth " + ", ".join(f'{name}="{_enc(value)}"' for name, value in pairs)

    def refused(self, header: str) -> bool:
        """Changes to the other hash, if that was not done or ruled out before."""
        if not self._may_change:
            return False
        self._may_change = False
        self._method = "HMAC-SHA1" if self._method == "HMAC-SHA256" else "HMAC-SHA256"
        return True

    def accepted(self) -> None:
        """Keeps the hash that worked."""
        self._may_change = False

    @property
    def way(self) -> str:
        """With the hash that is used now."""
        return f"OAuth 1.0a, {self._method}"


# -------------------------------------------------------------------------------------------- OAuth 2


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """What a token endpoint answered."""

    status: int
    body: bytes


class TokenError(SourceError):
    """No token was to be had; `about_scope` if the server objects to the scope, or to its absence."""

    def __init__(
        self, code: str, message: str, status: int | None = None, *, about_scope: bool = False
    ) -> None:
        super().__init__(code, message, status)
        self.about_scope = about_scope


Post = Callable[[Mapping[str, str], bytes], TokenAnswer]
"""Sends headers and a form to the token URL; a `Client` makes one."""


class OAuth2:
    """OAuth 2 client credentials, with one token that all threads share and one of them renews.

    The client authenticates by HTTP Basic; refused, by the form's fields instead. The scope is sent;
    refused for it, none is sent (and the other way round where none was configured). Each of the two
    is changed at most once, and what worked is kept for the reading.
    """

    def __init__(
        self,
        client_id: str,
        secret: str,
        *,
        post: Post,
        scope: str,
        fallback_scope: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._id, self._secret = client_id.strip(), secret.strip()
        self._post, self._clock = post, clock
        self._scopes = [scope, "" if scope else fallback_scope]
        self._in_form = False
        self._style_settled = self._scope_settled = False
        self._lock = threading.Lock()
        self._header = ""
        self._renew_at = -math.inf

    def header(self, method: str, url: str) -> str:
        """The header with a token that is still good for a while.

        Raises:
            SourceError: RS-AUTH-01 if the credentials are refused, RS-AUTH-02 if no token comes.
        """
        header = self._header
        if header and self._now() < self._renew_at:
            return header
        with self._lock:  # whoever waited here finds the new token
            if not self._header or self._now() >= self._renew_at:
                token, lifetime = self._fetch()
                self._header = f"Bearer {token}"
                # A minute before the end; short-lived tokens after four fifths of their life.
                self._renew_at = self._now() + (lifetime - 60 if lifetime > 300 else 0.8 * lifetime)
            return self._header

    def refused(self, header: str) -> bool:
        """Drops the token that was refused, unless another thread has renewed it already."""
        with self._lock:
            if self._header == header:
                self._header = ""
        return True

    def accepted(self) -> None:
        """Nothing to learn: what the token endpoint accepts was settled there."""

    @property
    def way(self) -> str:
        """The same for every server."""
        return "OAuth 2 client credentials"

    def _now(self) -> float:
        return self._clock().timestamp()

    def _fetch(self) -> tuple[str, float]:
        while True:
            answer = self._post(*self._form())
            error = _error_word(answer)
            if answer.status == 401 or (answer.status == 400 and error == "invalid_client"):
                if not self._style_settled:
                    self._style_settled = self._in_form = True
                    continue
            elif answer.status == 400 and error not in _FINAL and not self._scope_settled:
                self._scope_settled = True
                self._scopes.reverse()
                continue
            found = _token(answer, error)
            self._style_settled = self._scope_settled = True
            return found

    def _form(self) -> tuple[dict[str, str], bytes]:
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        fields = {"grant_type": "client_credentials"}
        if self._scopes[0]:
            fields["scope"] = self._scopes[0]
        if self._in_form:
            fields |= {"client_id": self._id, "client_secret": self._secret}
        else:
            # Not form-encoded first, as RFC 6749 has it: hardly any server undoes that. Where one
            # does and the secret needs it, the form's fields carry it.
            headers["Authorization"] = (
                "Basic " + base64.b64encode(f"{self._id}:{self._secret}".encode()).decode()
            )
        return headers, "&".join(f"{name}={_enc(value)}" for name, value in fields.items()).encode()


_FINAL: Final = frozenset({"unauthorized_client", "unsupported_grant_type", "access_denied"})


def _error_word(answer: TokenAnswer) -> str:
    document = _document(answer)
    word = document.get("error") if isinstance(document, dict) else None
    return word.strip().lower() if isinstance(word, str) else ""


def _document(answer: TokenAnswer) -> Any:
    try:
        return orjson.loads(answer.body)
    except ValueError:
        return None


def _token(answer: TokenAnswer, error: str) -> tuple[str, float]:
    """The token and its lifetime in seconds.

    Raises:
        TokenError: if the answer holds none.
    """
    if answer.status in (401, 403) or error in {"invalid_client", "unauthorized_client", "access_denied"}:
        raise TokenError("RS-AUTH-01", "The token endpoint refused the credentials.", answer.status)
    if not 200 <= answer.status < 300:
        raise TokenError(
            "RS-AUTH-02",
            f"The token endpoint answered with HTTP {answer.status}.",
            answer.status,
            about_scope=answer.status == 400 and error not in _FINAL,
        )
    document = _document(answer)
    if not isinstance(document, dict):
        raise TokenError("RS-AUTH-02", "The token endpoint's answer is not JSON.", answer.status)
    token = document.get("access_token")
    # Whatever is not visible ASCII would break the header, or smuggle in another one.
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token.strip():
        raise TokenError("RS-AUTH-02", "The token endpoint's answer holds no access token.", answer.status)
    return token.strip(), _lifetime(document.get("expires_in"))


def _lifetime(told: Any) -> float:
    try:
        seconds = float(told)
    except (TypeError, ValueError, OverflowError):
        seconds = 0.0
    return min(seconds, 86400.0) if seconds > 0 else 600.0  # missing, 0 and NaN are all seen
