"""What a server may do wrong, one at a time or together, so that tests need no mocks.

A `Misbehaviour` says what, where and how often; the server asks `Mischief` at every request. Wrong
rows (unknown roles, bad dates, dangling references) are not made here: edit the source's rows.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

What = Literal[
    "refuse-credentials",  # 401 at the token endpoint and, from then on, at every data request
    "token-expires",  # each token is good for `value` data requests
    "token-html",  # the token endpoint answers 200 with a login page
    "redirect",  # 302 to `value`
    "hang",  # no answer until the client gives up
    "too-many-requests",  # 429 with `Retry-After: value` (default 1; "" for none)
    "server-error",  # `value` (default 500) with an envelope
    "forbidden",  # 403
    "not-found",  # 404, or `value` (some say 400)
    "refuse-parameters",  # 400 when filter, sort, orderBy or fields is sent
    "ignore-filter",  # rows as if no filter had been sent
    "ignore-offset",  # every page starts at the first row
    "ignore-limit",  # everything in one page
    "clamp",  # at most `value` rows a page
    "no-counts",  # no count or link headers
    "wrong-total",  # the total told is off by `value` (default 1)
    "empty",  # no rows, and a total of 0
    "not-json",  # 200 with an HTML page
    "truncated",  # half of the answer's bytes, as a complete answer
    "envelope-in-200",  # an error envelope; `value` "statusInfoSet" for the older shape
    "no-collection",  # 200 with an object without the collection
    "other-collection",  # the rows of endpoint `value` (default orgs) under this one's key
    "own-wrapper",  # rows under the endpoint's own name (`schools`, `students`, ...), or under `value`
    "other-arrays",  # an empty list of `warnings` beside the rows
    "bare-array",  # rows without a wrapper
    "no-source-ids",  # every `value`-th row (default every one) lacks its sourcedId
]


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """One fault, at `endpoint` (None: all data endpoints).

    `after` requests go well before it; it happens `times` times (None: always).
    """

    what: What
    value: str | int | None = None
    endpoint: str | None = None
    after: int = 0
    times: int | None = None


class Mischief:
    """The misbehaviours in force, and how often each has been met. Safe across threads."""

    def __init__(self, misbehaviours: Iterable[Misbehaviour] = ()) -> None:
        self._lock = threading.Lock()
        self._seen = [(one, [0]) for one in misbehaviours]

    def due(self, endpoint: str) -> dict[str, Misbehaviour]:
        """What goes wrong in this data request; counts the request."""
        if not self._seen:
            return {}
        with self._lock:
            due: dict[str, Misbehaviour] = {}
            for one, seen in self._seen:
                if one.endpoint not in (None, endpoint) or one.what == "token-html":
                    continue
                seen[0] += 1
                if seen[0] > one.after and (one.times is None or seen[0] <= one.after + one.times):
                    due[one.what] = one
            return due

    def due_at_token(self) -> dict[str, Misbehaviour]:
        """What goes wrong in a token request; only its own misbehaviours count it."""
        with self._lock:
            due: dict[str, Misbehaviour] = {}
            for one, seen in self._seen:
                if one.what == "refuse-credentials" and seen[0] >= one.after:
                    due[one.what] = one
                elif one.what == "token-html" or one.endpoint == "token":
                    seen[0] += 1
                    if seen[0] > one.after and (one.times is None or seen[0] <= one.after + one.times):
                        due[one.what] = one
            return due

    @property
    def token_uses(self) -> int | None:
        """How many data requests a token is good for; None: no limit."""
        uses = [int(one.value or 0) for one, _ in self._seen if one.what == "token-expires"]
        return min(uses, default=None)
