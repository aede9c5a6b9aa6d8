"""Who may read a sandbox: OAuth 1.0a signatures verified, OAuth 2 client credentials issued and checked.

Written against RFC 5849 and RFC 6749, and on purpose without a line of `oneroster`'s signing. What
is compared with a secret is compared in constant time; nothing here is logged.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, unquote_plus

from roster_pipeline.sandbox.flavours import Version

CORE: Final = "roster-core.readonly"
ROSTER: Final = "roster.readonly"
DEMOGRAPHICS: Final = "roster-demographics.readonly"
WINDOW_S: Final = 300
"""How far a signature's timestamp may be from the server's clock, in seconds."""

_METHODS: Final = {"HMAC-SHA1": hashlib.sha1, "HMAC-SHA256": hashlib.sha256}
_PAIR: Final = re.compile(r'\s*([^=\s",]+)="([^"]*)"\s*')


class DeniedError(Exception):
    """A request without a right to be answered; the text says why, without naming what was sent."""


def scope_urls(version: Version, *names: str) -> tuple[str, ...]:
    """The full names of scopes in one version."""
    return tuple(
        f"https://purl.imsglobal.org/spec/or/v{version.replace('.', 'p')}/scope/{name}" for name in names
    )


class Signatures:
    """Verifies OAuth 1.0a (two-legged) requests; a nonce is good for one request."""

    def __init__(self, key: str, secret: str, clock: Callable[[], float], methods: Iterable[str]) -> None:
        self.secret = secret
        """What is asked for now."""
        self._key = key
        self._clock = clock
        self._methods = frozenset(methods)
        self._nonces: dict[tuple[int, str], None] = {}

    def check(self, method: str, base_url: str, query_string: str, authorization: str) -> None:
        """Raise DeniedError unless `authorization` signs exactly this request.

        `base_url` is scheme, host and path as RFC 5849 §3.4.1.2 has them.
        """
        signed = self._parameters(authorization)
        try:
            digest = _METHODS[signed["oauth_signature_method"]]
            if signed["oauth_signature_method"] not in self._methods:
                raise DeniedError("this signature method is not accepted")
            stamp = int(signed["oauth_timestamp"])
            nonce, signature, key = (
                signed["oauth_nonce"],
                signed["oauth_signature"],
                signed["oauth_consumer_key"],
            )
        except (KeyError, ValueError):
            raise DeniedError("the OAuth parameters are incomplete or not readable") from None
        if signed.get("oauth_version", "1.0") != "1.0":
            raise DeniedError("only OAuth 1.0 is spoken")
        if not hmac.compare_digest(key.encode(), self._key.encode()):
            raise DeniedError("the consumer key is not known")
        now = self._clock()
        if abs(now - stamp) > WINDOW_S:
            raise DeniedError("the timestamp is too far from the server's clock")
        parameters = [pair for pair in signed.items() if pair[0] not in ("realm", "oauth_signature")]
        parameters += parse_qsl(query_string, keep_blank_values=True)
        pairs = sorted((_encoded(name), _encoded(value)) for name, value in parameters)
        text = "&".join(
            (method, _encoded(base_url), _encoded("&".join(f"{name}={value}" for name, value in pairs)))
        )
        due = hmac.new(f"{_encoded(self.secret)}&".encode(), text.encode(), digest).digest()
        if not hmac.compare_digest(base64.b64encode(due), signature.encode()):
            raise DeniedError("the signature does not fit the request")
        if (stamp, nonce) in self._nonces:
            raise DeniedError("the nonce was used before")
        self._nonces[stamp, nonce] = None
        while len(self._nonces) > 1000 and (oldest := next(iter(self._nonces)))[0] < now - 2 * WINDOW_S:
            del self._nonces[oldest]

    @staticmethod
    def _parameters(authorization: str) -> dict[str, str]:
        scheme, _, rest = authorization.partition(" ")
        if scheme.lower() != "oauth":
            raise DeniedError("the request is not signed")
        found: dict[str, str] = {}
        for part in rest.split(","):
            pair = _PAIR.fullmatch(part)
            if not pair or unquote(pair[1]) in found:
                raise DeniedError("the Authorization header cannot be read")
            found[unquote(pair[1])] = unquote(pair[2])
        return found


def _encoded(text: str) -> str:
    return quote(text, safe="-._~")


@dataclass(slots=True)
class _Token:
    begins: float
    ends: float
    secret: str
    scopes: frozenset[str]
    uses: int = 0


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """What the token endpoint answers: an HTTP status and a JSON object."""

    status: int
    body: dict[str, str | int]


class Tokens:
    """Issues and checks OAuth 2 access tokens (client credentials). `lifetime` is in seconds."""

    def __init__(
        self,
        client_id: str,
        secret: str,
        clock: Callable[[], float],
        version: Version,
        *,
        needs_scope: bool,
        lifetime: int,
    ) -> None:
        self.secret = secret
        """What is asked for now; a token that was given for another one is void."""
        self._client_id = client_id
        self._clock = clock
        self._needs_scope = needs_scope
        self._lifetime = lifetime
        # A 1.2 server is asked in 1.2's words; the older servers do not care which version's they hear.
        spoken: tuple[Version, ...] = ("1.2",) if version == "1.2" else ("1.1", "1.2")
        self._scopes = {
            url: name
            for each in spoken
            for name in (CORE, ROSTER, DEMOGRAPHICS)
            for url in scope_urls(each, name)
        }
        self._tokens: dict[str, _Token] = {}

    def issue(self, authorization: str, body: bytes) -> TokenAnswer:
        """Answer a token request: HTTP Basic or `client_id` and `client_secret` in the form body."""
        form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        if not self._is_client(authorization, form):
            return TokenAnswer(
                401, {"error": "invalid_client", "error_description": "the client is not known"}
            )
        if form.get("grant_type") != "client_credentials":
            return TokenAnswer(400, {"error": "unsupported_grant_type"})
        asked = form.get("scope", "").split()
        granted = {scope: self._scopes[scope] for scope in asked if scope in self._scopes}
        if (asked or self._needs_scope) and not granted:
            return TokenAnswer(
                400, {"error": "invalid_scope", "error_description": "no scope that is offered here"}
            )
        token = secrets.token_urlsafe(32)
        scopes = frozenset(granted.values()) or frozenset({CORE, ROSTER})
        now = self._clock()
        self._tokens[token] = _Token(now, now + self._lifetime, self.secret, scopes)
        answer: dict[str, str | int] = {
            "access_token": token,
            "token_type": "bearer",
            "expires_in": self._lifetime,
        }
        if granted:
            answer["scope"] = " ".join(granted)
        return TokenAnswer(200, answer)

    def _is_client(self, authorization: str, form: dict[str, str]) -> bool:
        scheme, _, rest = authorization.partition(" ")
        if scheme.lower() != "basic":
            return self._fits(form.get("client_id", ""), form.get("client_secret", ""))
        try:
            name, _, secret = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        # RFC 6749 form-encodes both before Base64; most clients do not. Either is let in.
        return self._fits(name, secret) or self._fits(unquote_plus(name), unquote_plus(secret))

    def _fits(self, client_id: str, secret: str) -> bool:
        # Both are compared always, so that the time taken does not tell which of them was wrong.
        known = hmac.compare_digest(client_id.encode(), self._client_id.encode())
        return hmac.compare_digest(secret.encode(), self.secret.encode()) and known

    def check(
        self, authorization: str, most_uses: int | None, most_seconds: float | None = None
    ) -> frozenset[str]:
        """The scopes that a data request's token carries; raises DeniedError.

        `most_uses` is how many requests a token is good for, and `most_seconds` for how long; None: any
        number, and as long as was told.
        """
        scheme, _, text = authorization.partition(" ")
        token = self._tokens.get(text.strip()) if scheme.lower() == "bearer" else None
        if token is None or token.secret != self.secret:
            raise DeniedError("there is no token, or none that was issued here")
        now = self._clock()
        ends = token.ends if most_seconds is None else min(token.ends, token.begins + most_seconds)
        if now >= ends or (most_uses is not None and token.uses >= most_uses):
            raise DeniedError("the token has expired")
        token.uses += 1
        return token.scopes
