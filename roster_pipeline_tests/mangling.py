"""Whole syncs of small rosters that are mangled at random: whatever comes, a sync ends as one does.

A seed decides everything: which rows lose, swap or double their values, what stands in their place, and
what the server makes of it on the way. `fuzzing` runs many, a test some.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from roster_pipeline.codes import CATALOGUE
from roster_pipeline_tests.syncing import Deployment, deployment
from roster_pipeline_tests.unit.oneroster.server import (
    KEY,
    SECRET,
    Reply,
    Request,
    School,
    Signed,
    district,
    serving,
)

TENANT: Final = "mangled"
AS_OF: Final = date(2026, 11, 28)
ODD: Final[tuple[Any, ...]] = (
    None, "", " ", 0, -1, 1.5, 1e300, 2**63, True, [], {}, [[]], [None], {"sourcedId": None},
    "\0", "\u001b[2J", "\u2028", "\ufeff", "😀" * 70, "x" * 300, "x" * 5000, ["x" * 300], "a" * 70_000,
    "NULL", "*****", "2026-02-30", "0000-00-00", "9999-12-31", "10000-01-01", "26-1-1", "true", "tobedeleted",
    "active", "student", "teacher", "school", "district", "schoolYear", "user-1", "class-1", "org-0", "org-1",
    "session-1", "u1@example.org", "@", "@@", "u1@", "a\nb", "É\u0301", "\ud800", "' OR 1=1 --", "{0}", "%s",
    {"sourcedId": []}, ["y"] * 5000, "=1+1",
)  # fmt: skip
"""What no provider should send, and what stands at other places in the same roster."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a sync ended; `wrong` says what must not be, or is empty."""

    status: str
    codes: frozenset[str]
    wrong: str


def mangled(rng: random.Random) -> dict[str, list[Any]]:
    """A small district of which some rows are not as they should be."""
    rows: dict[str, list[Any]] = district(rng.randint(0, 12), version=rng.choice(["1.1", "1.2"]))
    for _ in range(rng.choice([1, 3, 10, 40])):
        name = rng.choice(list(rows))
        found = [row for row in rows[name] if isinstance(row, dict) and row]
        if not found:
            continue
        row = rng.choice(found)
        match rng.randrange(8):
            case 0:
                rows[name].remove(row)
            case 1:
                rows[name].append(dict(row))
            case 2:
                rows[name].append(rng.choice(ODD))
            case 3:
                row.pop(rng.choice(list(row)), None)
            case 4:
                other = rng.choice(rng.choice([many for many in rows.values() if many]))
                if isinstance(other, dict) and other:
                    row[rng.choice(list(row))] = rng.choice(list(other.values()))
            case 5:
                name_of = rng.choice(list(row))
                value = row[name_of]
                for one in found:
                    one[name_of] = value
            case _:
                row[rng.choice(list(row))] = rng.choice(ODD)
        if not rows[name]:
            rows[name] = [{}]
    return rows


def _served(rng: random.Random) -> Callable[[Request], Reply]:
    school = School(
        mangled(rng),
        access=Signed(),
        cap=rng.choice([3, 1000]),
        counts=rng.random() < 0.7,
        past_the_end=rng.choice(["empty", "empty", "last", "first", "404"]),
    )
    spoilt = rng.random() < 0.2

    def answer(request: Request) -> Reply:
        reply = school(request)
        if spoilt and reply.status == 200 and rng.random() < 0.2:
            body = bytearray(reply.body)
            for _ in range(rng.randint(1, 4)):
                body[rng.randrange(len(body))] = rng.randrange(256)
            return Reply(bytes(body), headers=reply.headers)
        return reply

    return answer


def sync_mangled(seed: int, *, database_url: str = "") -> Ended:
    """Two syncs of a tenant whose provider sends what the seed makes of it, the second with other rows."""
    rng = random.Random(seed)
    with TemporaryDirectory() as folder, deployment(Path(folder), database_url) as here:
        here.environ |= {"ID": KEY, "SECRET": SECRET}
        with serving(_served(rng)) as server:
            _apply(here, server.url, rng)
            told = here.sync(TENANT, AS_OF)
            server.answer = _served(rng)
            again = here.sync(TENANT, AS_OF)
    issues = [issue for document in (told, again) for issue in document["issues"]]
    return Ended(again["status"], frozenset(issue["code"] for issue in issues), _wrong(told, again, issues))


def _apply(here: Deployment, url: str, rng: random.Random) -> None:
    parents = rng.random() < 0.3
    here.apply(
        TENANT,
        {
            "name": "sis", "kind": "oneroster", "endpoint_url": url, "client_id": "env:ID",
            "client_secret": "env:SECRET", "compatibility_mode": rng.random() < 0.3,
            "respect_enrolment_date": rng.random() < 0.5, "respect_academic_sessions": rng.random() < 0.5,
            "page_size": rng.choice([3, 1000]),
            **({"sync_parent_data": True, "relationship_type": "guardian"} if parents else {}),
            "merge": {"key": rng.choice(["email", "email_without_domain"])},
        },
    )  # fmt: skip


def _wrong(told: dict[str, Any], again: dict[str, Any], issues: list[dict[str, Any]]) -> str:
    for document in (told, again):
        if document["status"] not in ("successful", "partial", "failed"):
            return f"the status {document['status']}"
        if document["status"] != "successful" and not document["issues"]:
            return f"{document['status']} without a reason"
    for issue in issues:
        if issue["code"] == "RS-RUN-99" or issue["code"] not in CATALOGUE:
            return f"{issue['code']}: {issue['message']}"
        if not issue["message"].isprintable():
            return f"a message of {issue['code']} that cannot be shown: {json.dumps(issue['message'])}"
    return ""
