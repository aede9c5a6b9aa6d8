"""Which addresses a provider may have: those of the public internet, and what the operator admits.

A tenant document is written by many hands, and this machine may reach what others must not: the metadata
of the cloud that it runs in, databases, other schools' systems. So the address that is looked up for a host
is looked at before anything is sent to it, and it is the one that is connected to. Loopback is for an
address that says so itself: the sandbox, or a tunnel that the operator opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from roster_pipeline.codes import CodedError

Network = IPv4Network | IPv6Network
NETWORKS: Final = "ROSTER_ADMITTED_NETWORKS"
"""The environment variable that names the operator's own networks: `10.20.0.0/16, fd12:3456::/48`."""


def admitted(environ: Mapping[str, str]) -> tuple[Network, ...]:
    """The operator's own networks.

    Raises:
        CodedError: RS-CFG-13 for what is no network.
    """
    names = [name.strip() for name in environ.get(NETWORKS, "").split(",")]
    try:
        return tuple(ip_network(name) for name in names if name)
    except ValueError:
        raise CodedError(
            "RS-CFG-13", f"{NETWORKS} is no list of networks such as 10.20.0.0/16, fd12:3456::/48."
        ) from None


def host_of(address: str | None) -> str | None:
    """The host of a provider's address, lower-case; None where it has none, as files."""
    return urlsplit(address).hostname if address else None


def is_loopback(host: str) -> bool:
    """Whether `host` names this machine by itself, without asking anybody."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def may_be_read(address: str, networks: Sequence[Network]) -> bool:
    """Whether something at this address may be a provider that is not on this machine."""
    found: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    if any(found.version == network.version and found in network for network in networks):
        return True
    within = _within(found)
    return found.is_global and not found.is_multicast and (within is None or within.is_global)


def _within(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for, in the ways in which one may lead there."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)


_NAT64: Final = IPv6Network("64:ff9b::/96")
