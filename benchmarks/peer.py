"""One of the peers reads all users and all enrolments of a server; prints one JSON line with what it cost.

Run by the Python of an environment of its own (`build/peers`), which has the peers and not our package. Each
peer is used as its own documentation has it, one request after the other, since none of them offers more:

- `oneroster`: `ClasslinkConnector`, signed requests, follows `Link`. It has no call for enrolments; its own
  `make_call`, which its calls for users end in, reads them.
- `timeback-oneroster`: `OneRosterClient.users.list_all()` and `.enrollments.list_all()`, OneRoster 1.2 and
  OAuth 2; every row becomes a pydantic model.
- `strongmind-oneroster-client`: generated from the API's description: one call is one page, so the loop over
  the pages is written here; every row becomes a model. It gets a token and does not fetch one.

Importing is left out. What is read is checked: as many different ids as the server counts.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

Found = dict[str, list[Any]]
"""Collection → the ids of what was read."""


def oneroster(serving: dict[str, str], page_size: int) -> Callable[[], Found]:
    """ClassLink's connector."""
    module = importlib.import_module("oneroster")

    def read() -> Found:
        connector = module.ClasslinkConnector(
            f"{serving['base_url']}/",
            client_id=serving["client_id"],
            client_secret=serving["client_secret"],
            page_size=page_size,
        )
        users = connector.get_users(user_filter="users")
        address = f"{serving['base_url']}/enrollments?limit={page_size}&offset=0"
        enrolments = connector.make_call(address, "all_users", None)
        return {
            "users": [one["sourcedId"] for one in users],
            "enrollments": [one["sourcedId"] for one in enrolments],
        }

    return read


def timeback(serving: dict[str, str], page_size: int) -> Callable[[], Found]:
    """Timeback's client; OneRoster 1.2."""
    module = importlib.import_module("timeback_oneroster")

    async def all_of() -> Found:
        client = module.OneRosterClient(
            base_url=serving["root_url"],
            auth_url=serving["token_url"],
            client_id=serving["client_id"],
            client_secret=serving["client_secret"],
        )
        try:
            users = await client.users.list_all(limit=page_size)
            enrolments = await client.enrollments.list_all(limit=page_size)
        finally:
            await client.close()
        return {
            "users": [one.sourced_id for one in users],
            "enrollments": [one.sourced_id for one in enrolments],
        }

    return lambda: asyncio.run(all_of())


def strongmind(serving: dict[str, str], page_size: int) -> Callable[[], Found]:
    """StrongMind's generated client."""
    module = importlib.import_module("oneroster_client")

    def read() -> Found:
        configuration = module.Configuration()
        configuration.host = serving["base_url"]
        configuration.access_token = _token(serving)
        client = module.ApiClient(configuration)
        calls = {
            "users": module.UsersManagementApi(client).get_users,
            "enrollments": module.EnrollmentsManagementApi(client).get_enrollments,
        }
        return {name: _pages(call, name, page_size) for name, call in calls.items()}

    return read


def _pages(call: Callable[..., Any], name: str, page_size: int) -> list[Any]:
    rows: list[Any] = []
    while True:
        page = getattr(call(limit=page_size, offset=len(rows)), name) or []
        rows += page
        if len(page) < page_size:
            return [one.sourced_id for one in rows]


def _token(serving: dict[str, str]) -> str:
    form = {
        "grant_type": "client_credentials",
        "client_id": serving["client_id"],
        "client_secret": serving["client_secret"],
    }
    with urlopen(Request(serving["token_url"], data=urlencode(form).encode(), method="POST")) as answer:
        return str(json.load(answer)["access_token"])


def _peak_mib() -> int:
    with Path("/proc/self/status").open(encoding="utf-8") as status:
        return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM:"))


PEERS = {
    "oneroster": oneroster,
    "timeback-oneroster": timeback,
    "strongmind-oneroster-client": strongmind,
}


def main() -> None:
    """Reads once; the server's addresses and credentials come as JSON from BENCH_SERVING."""
    name, page_size = sys.argv[1], int(sys.argv[2])
    read = PEERS[name](json.loads(os.environ["BENCH_SERVING"]), page_size)
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    found = read()
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    told = {
        "rows": {collection: len(set(ids)) for collection, ids in found.items()},
        "wall_s": round(wall, 3),
        "cpu_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 3),
        "peak_mib": _peak_mib(),
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
