"""Connections to exactly one provider's hosts: certificates, proxies, and addresses that are looked at.

Nothing is sent from here; how a request is sent and answered is for `client`.
"""

from __future__ import annotations

import logging
import socket
import ssl
import urllib.request
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx

from roster_pipeline import __version__
from roster_pipeline.oneroster.addresses import Network, is_loopback, may_be_read
from roster_pipeline.oneroster.wire import SourceError


def connect(
    *urls: str, connections: int, timeout: httpx.Timeout, networks: Sequence[Network] = ()
) -> httpx.Client:
    """A client for exactly these addresses' hosts; the caller closes it.

    It connects to public addresses and to those of `networks` (`addresses`). Proxies of the environment
    (`HTTPS_PROXY`, `NO_PROXY`) are honoured, but never for loopback; so is `SSL_CERT_FILE`. What a
    proxy connects to is for the proxy to refuse. A `.netrc` is not honoured.
    """
    # httpx tells URLs with their queries at INFO, httpcore headers at DEBUG.
    for name in ("httpx", "httpcore"):
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, logging.WARNING))
    encrypted = any(url.startswith("https:") for url in urls)
    # Loading the certificates costs more than many a reading over loopback.
    verify: ssl.SSLContext | bool = httpx.create_ssl_context() if encrypted else False
    pool = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    mounts: dict[str, httpx.BaseTransport | None] = {}
    for url in urls:
        proxy = _proxy(url)
        if proxy:
            where = urlsplit(url)
            mounts[f"{where.scheme}://{where.netloc}"] = httpx.HTTPTransport(
                verify=verify, proxy=proxy, limits=pool
            )
    return httpx.Client(
        transport=_transport(networks=networks, verify=verify, limits=pool),
        trust_env=False,
        follow_redirects=False,
        mounts=mounts,
        timeout=timeout,
        # Before httpx looks at the address that a redirect names: nothing of it is of interest.
        event_hooks={"response": [_refuse_redirect]},
        headers={
            "User-Agent": f"roster-pipeline/{__version__}",
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
        },
    )


class RedirectError(Exception):
    """The server answered with a redirect, whose status this is."""


def _refuse_redirect(response: httpx.Response) -> None:
    if 300 <= response.status_code < 400:
        raise RedirectError(response.status_code)


def _proxy(url: str) -> str | None:
    where = urlsplit(url)
    host = where.hostname or ""
    if is_loopback(host) or urllib.request.proxy_bypass(where.netloc):
        return None
    proxies = urllib.request.getproxies()
    found = proxies.get(where.scheme) or proxies.get("all") or ""
    found = found if "://" in found or not found else f"http://{found}"
    return found if found.startswith(("http:", "https:")) else None


def _transport(*, networks: Sequence[Network], verify: Any, limits: httpx.Limits) -> httpx.HTTPTransport:
    """As `httpx.HTTPTransport`, but it connects to no address that may not be read (RS-NET-09)."""
    made = httpx.HTTPTransport(verify=verify, limits=limits)
    # httpx has no argument for it; httpcore's pool does.
    made._pool = httpcore.ConnectionPool(
        ssl_context=verify or None,
        max_connections=limits.max_connections,
        max_keepalive_connections=limits.max_keepalive_connections,
        keepalive_expiry=limits.keepalive_expiry,
        network_backend=_Guarded(networks),
    )
    return made


class _Guarded(httpcore.SyncBackend):
    """Looks a host up once, and connects to what it has looked at."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = networks

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        if is_loopback(host):
            return super().connect_tcp(host, port, timeout, local_address, socket_options)
        try:
            looked_up = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise httpcore.ConnectError(str(error)) from None
        found = list(dict.fromkeys(str(entry[4][0]) for entry in looked_up))
        usable = [address for address in found if may_be_read(address, self._networks)]
        if not usable:
            raise SourceError(
                "RS-NET-09",
                f"{host} is at an address of a private network, or of this machine; nothing was sent.",
            )
        for address in usable[:-1]:
            try:
                return super().connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return super().connect_tcp(usable[-1], port, timeout, local_address, socket_options)


def is_tls(error: BaseException | None) -> bool:
    """Whether a failure of TLS is behind an error."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False
