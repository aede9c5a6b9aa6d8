"""Which addresses a provider may have, and that nothing is sent to any other."""

from __future__ import annotations

import socket
from ipaddress import ip_network
from typing import Any

import httpx
import pytest

from roster_pipeline.codes import CodedError
from roster_pipeline.oneroster.addresses import admitted, may_be_read
from roster_pipeline.oneroster.connecting import connect
from roster_pipeline.oneroster.wire import SourceError
from roster_pipeline_tests.syncing import serving

OWN = (ip_network("10.20.0.0/16"), ip_network("fd12:3456::/48"))


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "::ffff:8.8.8.8"])
def test_the_public_internet_may_be_read(address: str) -> None:
    assert may_be_read(address, ())


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",  # private networks
        "169.254.169.254", "100.100.100.200", "fd00:ec2::254",  # metadata of clouds
        "127.0.0.1", "127.8.8.8", "::1", "0.0.0.0", "::",  # this machine
        "fe80::1%eth0", "fc00::1", "224.0.0.1", "255.255.255.255", "ff02::1", "192.0.2.1", "100.64.0.1",
        "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "2002:a00:1::1",  # IPv4 in the clothes of IPv6
    ],
)  # fmt: skip
def test_nothing_else_may_be_read(address: str) -> None:
    assert not may_be_read(address, ())
    assert not may_be_read(address, OWN)


@pytest.mark.parametrize("address", ["10.20.0.1", "10.20.255.255", "fd12:3456::1"])
def test_the_operators_own_networks_may_be_read(address: str) -> None:
    assert may_be_read(address, OWN)


@pytest.mark.parametrize(
    "text, networks",
    [(None, ()), ("", ()), ("10.20.0.0/16, fd12:3456::/48", OWN), ("10.20.0.0/16,", OWN[:1])],
)
def test_networks_are_named_in_the_environment(text: str | None, networks: tuple[Any, ...]) -> None:
    assert admitted({} if text is None else {"ROSTER_ADMITTED_NETWORKS": text}) == networks


@pytest.mark.parametrize("text", ["all", "10.20.0.1/16", "10.20.0.0/33", "10.20.0.0 10.30.0.0"])
def test_what_is_no_list_of_networks_is_refused(text: str) -> None:
    with pytest.raises(CodedError, match="ROSTER_ADMITTED_NETWORKS") as caught:
        admitted({"ROSTER_ADMITTED_NETWORKS": text})
    assert caught.value.code == "RS-CFG-13"


# ------------------------------------------------------------------------------------------ connecting


def lead(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Every name is at these addresses, whoever asks."""
    real = socket.getaddrinfo

    def looked_up(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        if host in ("localhost", "127.0.0.1", *addresses):
            return real(host, port, *rest, **more)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)


def get(url: str, **options: Any) -> int:
    with connect(url, connections=2, timeout=httpx.Timeout(10), **options) as http:
        return http.get(url).status_code


def test_a_name_that_leads_to_this_machine_is_refused_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lead(monkeypatch, "127.0.0.1")
    with serving({}, "classlink") as served:
        port = served.base_url.split(":")[2].split("/")[0]
        with pytest.raises(SourceError, match=r"sis\.example is at an address") as caught:
            get(f"http://sis.example:{port}/")
        assert caught.value.code == "RS-NET-09"
        assert not served.sandbox.asked


def test_a_name_in_a_network_of_the_operators_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    lead(monkeypatch, "127.0.0.1")
    with serving({}, "classlink") as served:
        port = served.base_url.split(":")[2].split("/")[0]
        networks = (ip_network("127.0.0.0/8"),)
        assert get(f"http://sis.example:{port}/nothing", networks=networks) in (401, 404)


def test_of_several_addresses_only_those_that_may_be_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    lead(monkeypatch, "10.0.0.1", "127.0.0.1")
    with serving({}, "classlink") as served:
        port = served.base_url.split(":")[2].split("/")[0]
        networks = (ip_network("127.0.0.1/32"),)
        assert get(f"http://sis.example:{port}/nothing", networks=networks) in (401, 404)


def test_loopback_is_for_an_address_that_says_so_itself() -> None:
    with serving({}, "classlink") as served:
        assert get(f"{served.base_url}/nothing") in (401, 404)
