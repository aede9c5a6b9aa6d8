"""The floor that the sync is measured against: download the same pages and parse the JSON, nothing more.

One process, httpx and orjson, the page size of the provider's options and as many requests at once as it is
told, OAuth 2 client credentials. It keeps nothing and proves nothing. Only this process's CPU counts, not the
server's. Prints one JSON line; `README.md` says how it is used.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import httpx
import orjson

COLLECTIONS = ("orgs", "academicSessions", "courses", "classes", "users", "enrollments")
SCOPE = "https://purl.imsglobal.org/spec/or/{}/scope/roster-core.readonly"


@dataclass(frozen=True)
class Floor:
    """What the floor cost: seconds of CPU (user and system) and of the clock."""

    rows: int
    pages: int
    megabytes: float
    cpu_s: float
    wall_s: float
    rows_a_second: int
    rows_a_cpu_second: int


def measure(
    base_url: str,
    token_url: str,
    client_id: str,
    client_secret: str,
    *,
    page_size: int = 1000,
    concurrency: int = 4,
) -> Floor:
    """Read the six collections once. `base_url` contains the version; raises httpx's errors for any failure.

    The CPU of importing and of making the client is not counted: it is the same for a sync.
    """
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    with httpx.Client(limits=limits, timeout=60) as client, ThreadPoolExecutor(concurrency) as pool:
        cpu, wall = _cpu_seconds(), time.perf_counter()
        version = "v1p2" if base_url.rstrip("/").endswith("v1p2") else "v1p1"
        token = client.post(
            token_url,
            auth=(client_id, client_secret),
            data={"grant_type": "client_credentials", "scope": SCOPE.format(version)},
        )
        token.raise_for_status()
        headers = {"authorization": f"Bearer {token.json()['access_token']}"}

        def page(collection: str, offset: int) -> tuple[int, int, int]:
            """Rows and bytes of one page, and the total told."""
            query = f"limit={page_size}&offset={offset}&sort=sourcedId&orderBy=asc"
            with client.stream("GET", f"{base_url}/{collection}?{query}", headers=headers) as answer:
                answer.raise_for_status()
                # Not `content`: httpx keeps that in a cycle, and a large district would stay in memory whole.
                body = b"".join(answer.iter_raw())
            return len(orjson.loads(body)[collection]), len(body), int(answer.headers["x-total-count"])

        def rest(first: dict[str, tuple[int, int, int]]) -> Iterator[tuple[str, int]]:
            for collection, (rows, _, total) in first.items():
                for offset in range(rows, total, max(rows, 1)):
                    yield collection, offset

        first = dict(zip(COLLECTIONS, pool.map(lambda name: page(name, 0), COLLECTIONS), strict=True))
        # A slow first page of one collection does not matter: the others are few pages against the rest.
        read = [*first.values(), *pool.map(lambda each: page(*each), rest(first))]
        cpu, wall = _cpu_seconds() - cpu, time.perf_counter() - wall
    rows = sum(count for count, _, _ in read)
    return Floor(
        rows=rows,
        pages=len(read),
        megabytes=round(sum(size for _, size, _ in read) / 1e6, 1),
        cpu_s=round(cpu, 3),
        wall_s=round(wall, 3),
        rows_a_second=round(rows / wall),
        rows_a_cpu_second=round(rows / cpu),
    )


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Read the arguments; the secret comes from ROSTER_SANDBOX_CLIENT_SECRET."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base_url", help="with the version: http://127.0.0.1:8000/ims/oneroster/v1p1")
    parser.add_argument("token_url")
    parser.add_argument("--client-id", default=os.environ.get("ROSTER_SANDBOX_CLIENT_ID", "sandbox"))
    parser.add_argument("--page-size", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=4)
    given = parser.parse_args()
    secret = os.environ.get("ROSTER_SANDBOX_CLIENT_SECRET")
    if not secret:
        sys.exit("ROSTER_SANDBOX_CLIENT_SECRET is not set")
    floor = measure(
        given.base_url,
        given.token_url,
        given.client_id,
        secret,
        page_size=given.page_size,
        concurrency=given.concurrency,
    )
    print(json.dumps(asdict(floor)))


if __name__ == "__main__":
    main()
