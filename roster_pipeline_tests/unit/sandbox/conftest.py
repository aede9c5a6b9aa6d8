"""A small district, and a client that reads the sandbox with nothing of the pipeline's own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import httpx
import pytest

from roster_pipeline.sandbox.generator import District, generate
from roster_pipeline.sandbox.server import Serving, application, serve

KEY = "key-1"
SECRET = "s3cr&t/+="


def signed(
    url: str, *, secret: str = SECRET, method: str = "HMAC-SHA256", nonce: str = "", at: int = 0
) -> str:
    """The Authorization header of a GET, by RFC 5849, written for these tests."""
    parts = urlsplit(url)
    oauth = {
        "oauth_consumer_key": KEY,
        "oauth_nonce": nonce or secrets.token_hex(8),
        "oauth_signature_method": method,
        "oauth_timestamp": str(at or int(time.time())),
    }
    pairs = [*oauth.items(), *parse_qsl(parts.query, keep_blank_values=True)]
    enc = lambda text: quote(text, safe="-._~")  # noqa: E731
    text = "&".join(f"{name}={value}" for name, value in sorted((enc(n), enc(v)) for n, v in pairs))
    base = "&".join(("GET", enc(f"{parts.scheme}://{parts.netloc}{parts.path}"), enc(text)))
    digest = hashlib.sha256 if method == "HMAC-SHA256" else hashlib.sha1
    oauth["oauth_signature"] = base64.b64encode(
        hmac.new(f"{enc(secret)}&".encode(), base.encode(), digest).digest()
    ).decode()
    return "OAuth " + ", ".join(f'{name}="{enc(value)}"' for name, value in oauth.items())


class Client:
    """Asks one server, with whichever authentication its flavour wants."""

    def __init__(self, serving: Serving, http: httpx.Client) -> None:
        self.serving = serving
        self.http = http
        self.sandbox = serving.sandbox
        self.token = ""

    def fetch_token(self, scope: str = "roster-core.readonly", **form: str) -> httpx.Response:
        version = "v1p2" if self.sandbox.flavour.version == "1.2" else "v1p1"
        scope = f"https://purl.imsglobal.org/spec/or/{version}/scope/{scope}"
        assert self.serving.token_url
        answer = self.http.post(
            self.serving.token_url,
            data={"grant_type": "client_credentials", "scope": scope, **form},
            auth=(KEY, SECRET),
        )
        if answer.status_code == 200 and "json" in answer.headers["content-type"]:
            self.token = answer.json()["access_token"]
        return answer

    def get(self, path: str, **query: object) -> httpx.Response:
        url = f"{self.serving.base_url}/{path}"
        if query:
            url += "?" + "&".join(f"{name}={quote(str(value), safe='-._~')}" for name, value in query.items())
        if self.serving.token_url and not self.token:
            assert self.fetch_token().status_code == 200
        header = f"Bearer {self.token}" if self.token else signed(url)
        return self.http.get(url, headers={"authorization": header})

    def rows(self, path: str, key: str = "", **query: object) -> list[dict[str, Any]]:
        found = self.get(path, **query).json()[key or path]
        assert isinstance(found, list)
        return found


Start = Callable[..., Client]


@pytest.fixture(scope="session")
def district() -> District:
    return generate(150, seed=7)


@pytest.fixture
def start(district: District) -> Iterator[Start]:
    """Starts a server (`start("classlink", page_cap=50)`) that ends with the test."""
    with ExitStack() as stack:

        def starting(flavour: str, source: Any = None, **options: Any) -> Client:
            app = application(
                source or district.tables, flavour, client_id=KEY, client_secret=SECRET, **options
            )
            serving = stack.enter_context(serve(app))
            # It is http, and the certificates of the world take longer to load than a test.
            return Client(serving, stack.enter_context(httpx.Client(timeout=20, verify=False)))

        yield starting
