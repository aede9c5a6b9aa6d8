"""The server of the benchmark, in a process of its own, as those that are measured meet it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks import floor
from benchmarks.districts import COLLECTIONS, Rows, facts_of
from benchmarks.server import PAGE_CAP, Serving, served


@pytest.fixture(scope="module")
def serving(district: Path) -> Iterator[Serving]:
    with served(district) as found:
        yield found


@pytest.fixture
def client(serving: Serving) -> Iterator[httpx.Client]:
    serving.show(changed=False)
    with httpx.Client(base_url=serving.base_url, trust_env=False) as made:
        told = made.post(
            serving.token_url,
            auth=(serving.client_id, serving.client_secret),
            data={"grant_type": "client_credentials"},
        ).json()
        made.headers["authorization"] = f"Bearer {told['access_token']}"
        yield made


def test_the_floor_reads_every_row(serving: Serving, district: Path) -> None:
    found = floor.measure(
        serving.base_url, serving.token_url, serving.client_id, serving.client_secret, page_size=500
    )
    assert found.rows == sum(facts_of(district)["rows"].values())


def test_pages_tell_the_total_and_the_next_page(client: httpx.Client, district: Path) -> None:
    total = facts_of(district)["rows"]["users"]
    address = "/users?limit=300&offset=0&sort=sourcedId&orderBy=asc"
    ids: list[str] = []
    while address:
        answer = client.get(address)
        assert answer.headers["x-total-count"] == str(total)
        ids += [row["sourcedId"] for row in answer.json()["users"]]
        address = answer.links.get("next", {}).get("url", "")
    assert len(set(ids)) == len(ids) == total


def test_downwards_the_last_row_comes_first(client: httpx.Client) -> None:
    rows = client.get("/orgs?limit=100").json()["orgs"]
    assert client.get("/orgs?limit=2&orderBy=desc").json()["orgs"] == rows[:-3:-1]


def test_more_rows_than_it_hands_out_are_clamped(client: httpx.Client) -> None:
    assert len(client.get("/enrollments?limit=5000").json()["enrollments"]) == PAGE_CAP


@pytest.mark.parametrize("query", ["filter=status='active'", "fields=sourcedId", "sort=familyName"])
def test_what_would_need_computing_is_refused(client: httpx.Client, query: str) -> None:
    assert client.get(f"/users?{query}").status_code == 400


def test_nothing_is_handed_out_without_a_token(serving: Serving) -> None:
    assert httpx.get(f"{serving.base_url}/users").status_code == 401
    refused = httpx.post(serving.token_url, auth=(serving.client_id, "wrong"))
    assert refused.status_code == 401


def test_the_second_state_is_served_when_asked_for(
    serving: Serving, client: httpx.Client, district: Path
) -> None:
    serving.show(changed=True)
    for name in COLLECTIONS:
        total = client.get(f"/{name}?limit=1").headers["x-total-count"]
        assert total == str(len(Rows(district, name, changed=True)))


def test_it_tells_what_it_costs_and_that_is_little(serving: Serving, client: httpx.Client) -> None:
    before = serving.costs()
    for _ in range(50):
        client.get("/enrollments?limit=1000")
    after = serving.costs()
    assert after["pages"] - before["pages"] == 50
    assert 0 < after["cpu_s"] - before["cpu_s"] < 50 * 0.02


def test_latency_is_waited_for_each_page(district: Path) -> None:
    with served(district, latency_ms=50) as slow:
        began = time.monotonic()
        floor.measure(
            slow.base_url, slow.token_url, slow.client_id, slow.client_secret, page_size=1000, concurrency=1
        )
    pages = sum(-(-rows // 1000) for rows in facts_of(district)["rows"].values())
    assert time.monotonic() - began >= pages * 0.05
