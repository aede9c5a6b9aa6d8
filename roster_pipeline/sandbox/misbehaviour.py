"""What a server may do wrong, one at a time or together, so that tests need no mocks.

A `Misbehaviour` says what, where and how often, also as text (`parse`, and `str` back again); the server
asks `Mischief` at every request. How rows change is in `mishaps`, how pages and their bytes go wrong in
`pages` and `sending`. Wrong rows (unknown roles, bad dates, dangling references) are not made here: edit
the source's rows.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, cast

from roster_pipeline.codes import CodedError
from roster_pipeline.sandbox.endpoints import ENDPOINTS

What = Literal[
    # who may read
    "refuse-credentials",
    "rotate-credentials",
    "token-expires",
    "token-lifetime",
    "token-html",
    # no answer, or another one
    "redirect",
    "hang",
    "too-many-requests",
    "server-error",
    "forbidden",
    "not-found",
    "refuse-parameters",
    "refuse-filter",
    # how the bytes come
    "drip",
    "drip-for-ever",
    "reset",
    "cut-off",
    "huge-page",
    "zip-bomb",
    # what is in a page
    "not-json",
    "truncated",
    "encoding",
    "deep-nesting",
    "huge-values",
    "envelope-in-200",
    "no-collection",
    "other-collection",
    "own-wrapper",
    "other-arrays",
    "bare-array",
    "no-source-ids",
    # which rows are on which page, and how many there are said to be
    "ignore-filter",
    "filter-by-day",
    "filter-in-local-time",
    "ignore-offset",
    "ignore-limit",
    "clamp",
    "shift-pages",
    "repeat-pages",
    "shuffle-pages",
    "endless-pages",
    "no-counts",
    "wrong-total",
    "changing-total",
    "empty",
    # what the rows say
    "rows-added",
    "rows-removed",
    "rows-changed",
    "lose-school",
    "re-key",
    "mask",
    "withhold",
]


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens, in words; `value` is what its value must look like (None: it has none)."""

    happens: str
    value: str | None = None


_WHOLE: Final = r"-?[0-9]{1,12}"
_NUMBER: Final = r"[0-9]{1,9}(\.[0-9]{1,9})?"
_TEXT: Final = r".*"
_FIELDS: Final = r"[A-Za-z]+(\+[A-Za-z]+)*"

FAULTS: Final[dict[What, Fault]] = {
    # who may read
    "refuse-credentials": Fault("401 at the token endpoint and, from then on, at every data request"),
    "rotate-credentials": Fault(
        "from then on the secret is VALUE (default: `-new` at its end), and tokens are void", _TEXT
    ),
    "token-expires": Fault("each token is good for VALUE data requests", _WHOLE),
    "token-lifetime": Fault(
        "each token is good for VALUE seconds (1), whatever the token endpoint told", _NUMBER
    ),
    "token-html": Fault("the token endpoint answers 200 with a login page"),
    # no answer, or another one
    "redirect": Fault("302 to VALUE", _TEXT),
    "hang": Fault("no answer until the client gives up"),
    "too-many-requests": Fault(
        "429 with `Retry-After: VALUE` (1; nothing: without; `date:N`: the date in N seconds)",
        r"(date:)?[0-9]{1,12}|",
    ),
    "server-error": Fault("VALUE (500) with an envelope", _WHOLE),
    "forbidden": Fault("403"),
    "not-found": Fault("404, or VALUE (some say 400)", _WHOLE),
    "refuse-parameters": Fault("400 when filter, sort, orderBy or fields is sent"),
    "refuse-filter": Fault("400 when a filter is sent"),
    # how the bytes come
    "drip": Fault("the answer comes byte by byte, one every VALUE seconds (0.05)", _NUMBER),
    "drip-for-ever": Fault("blanks and never an answer, one every VALUE seconds (0.05)", _NUMBER),
    "reset": Fault(
        "the connection is reset after VALUE bytes of the body (half of it; 0: before the answer)", _WHOLE
    ),
    "cut-off": Fault("the connection is closed after half of the promised body"),
    "huge-page": Fault("VALUE MiB of blanks (300) stand before the answer", _WHOLE),
    "zip-bomb": Fault(
        "VALUE MiB of blanks (300) stand before the answer, packed into a few kilobytes", _WHOLE
    ),
    # what is in a page
    "not-json": Fault("200 with an HTML page"),
    "truncated": Fault("half of the answer's bytes, as a complete answer"),
    "encoding": Fault(
        "not plain UTF-8: VALUE is latin-1 (if none), utf-16, utf-8-sig, invalid, surrogates or nul",
        r"latin-1|utf-16|utf-8-sig|invalid|surrogates|nul",
    ),
    "deep-nesting": Fault("the first row holds lists in lists, VALUE levels deep (100000)", _WHOLE),
    "huge-values": Fault("names, titles and roles are VALUE KiB long (64)", _WHOLE),
    "envelope-in-200": Fault("an error envelope; VALUE `statusInfoSet` for the older shape", "statusInfoSet"),
    "no-collection": Fault("200 with an object without the collection"),
    "other-collection": Fault("the rows of endpoint VALUE (orgs) under this one's key", "|".join(ENDPOINTS)),
    "own-wrapper": Fault(
        "rows under the endpoint's own name (`schools`, `students`, ...), or under VALUE", _TEXT
    ),
    "other-arrays": Fault("an empty list of `warnings` beside the rows"),
    "bare-array": Fault("rows without a wrapper"),
    "no-source-ids": Fault("every VALUE-th row (default every one) lacks its sourcedId", _WHOLE),
    # which rows are on which page, and how many there are said to be
    "ignore-filter": Fault("rows as if no filter had been sent"),
    "filter-by-day": Fault("a filter by dateLastModified compares days alone"),
    "filter-in-local-time": Fault(
        "a filter by dateLastModified is taken for VALUE hours later (10; negative: earlier)", _WHOLE
    ),
    "ignore-offset": Fault("every page starts at the first row"),
    "ignore-limit": Fault("everything in one page"),
    "clamp": Fault("at most VALUE rows a page", _WHOLE),
    "shift-pages": Fault("pages after the first begin VALUE rows too late (1; negative: too early)", _WHOLE),
    "repeat-pages": Fault("the page before the one that was asked for"),
    "shuffle-pages": Fault("each page is cut from the rows in another order"),
    "endless-pages": Fault("there is always another page, of rows made up, and no counts"),
    "no-counts": Fault("no count or link headers"),
    "wrong-total": Fault("the total told is off by VALUE (1)", _WHOLE),
    "changing-total": Fault("the total told is off by VALUE (1) more with every page", _WHOLE),
    "empty": Fault("no rows, and a total of 0"),
    # what the rows say
    "rows-added": Fault(
        "VALUE more rows (1), the first in the order of sourcedId: all others move on; negative: the last",
        _WHOLE,
    ),
    "rows-removed": Fault("the first VALUE rows (1) are gone: all others move up", _WHOLE),
    "rows-changed": Fault("VALUE rows (1), drawn by the seed, say something else", _WHOLE),
    "lose-school": Fault("nothing of the school VALUE (a sourcedId; default the last one) is there", _TEXT),
    "re-key": Fault(
        "everything has a new sourcedId, or what is in the table VALUE; references follow",
        r"orgs|academicSessions|courses|classes|users|enrollments",
    ),
    "mask": Fault("e-mails and names are `*****`, or the fields VALUE (`email+phone`)", _FIELDS),
    "withhold": Fault("e-mails and names are not there, or the fields VALUE", _FIELDS),
}
"""All that a server may do wrong: what happens (in brackets what VALUE is if none is given), and what it
looks like."""


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """One fault, at `endpoint` (None: all data endpoints).

    `after` requests go well before it; it happens `times` times (None: always).
    """

    what: What
    value: str | int | float | None = None
    endpoint: str | None = None
    after: int = 0
    times: int | None = None

    def __str__(self) -> str:
        """As `parse` takes it."""
        value = "" if self.value is None else f"={self.value}"
        endpoint = f"@{self.endpoint}" if self.endpoint else ""
        after = f",after={self.after}" if self.after else ""
        return f"{self.what}{value}{endpoint}{after}" + ("" if self.times is None else f",times={self.times}")


_FORM: Final = "WHAT[=VALUE][@ENDPOINT][,after=N][,times=N]"
_PARSED: Final = re.compile(
    r"(?P<what>[^=@,]*)(=(?P<value>.*?))?(@(?P<endpoint>[A-Za-z]+))?(?P<more>(,(after|times)=[0-9]{1,9})*)",
    re.ASCII | re.DOTALL,
)


def parse(text: str) -> Misbehaviour:
    """The fault that a text `WHAT[=VALUE][@ENDPOINT][,after=N][,times=N]` names.

    Raises:
        CodedError: RS-CFG-12, and says what there is.
    """
    found = _PARSED.fullmatch(text)
    if not found:
        raise CodedError("RS-CFG-12", f"{text!r} is no fault. Write {_FORM}.")
    what, value, endpoint = found["what"].strip(), found["value"], found["endpoint"]
    if what not in FAULTS:
        raise CodedError("RS-CFG-12", f"There is no fault {what!r}. There are: {', '.join(FAULTS)}.")
    if endpoint is not None and endpoint not in ENDPOINTS and endpoint != "token":
        raise CodedError(
            "RS-CFG-12", f"There is no endpoint {endpoint!r}. There are: {', '.join(ENDPOINTS)} and token."
        )
    known = cast(What, what)
    if value is not None:
        fault = FAULTS[known]
        if fault.value is None:
            raise CodedError("RS-CFG-12", f"The fault {what} has no value; {value!r} was given.")
        if not re.fullmatch(fault.value, value, re.ASCII):
            raise CodedError("RS-CFG-12", f"{value!r} is no value of {what}, which means: {fault.happens}.")
    numbers = dict(pair.split("=") for pair in found["more"].split(",") if pair)
    times = int(numbers["times"]) if "times" in numbers else None
    return Misbehaviour(known, _typed(known, value), endpoint, int(numbers.get("after", 0)), times)


def _typed(what: What, value: str | None) -> str | int | float | None:
    if value is None:
        return None
    form = FAULTS[what].value
    if form == _WHOLE:
        return int(value)
    return float(value) if form == _NUMBER else value


class Mischief:
    """The misbehaviours in force, and how often each has been met. Safe across threads.

    `seed` decides whatever is left to chance, so that what happened can be had again.
    """

    def __init__(self, misbehaviours: Iterable[Misbehaviour] = (), *, seed: int = 0) -> None:
        self._lock = threading.Lock()
        self._seen = [(one, [0]) for one in misbehaviours]
        self.seed = seed

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
                if one.what in ("refuse-credentials", "rotate-credentials") and seen[0] >= one.after:
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

    @property
    def token_seconds(self) -> float | None:
        """How many seconds a token is good for; None: as long as it was told."""
        lives = [
            1.0 if one.value is None else float(one.value)
            for one, _ in self._seen
            if one.what == "token-lifetime"
        ]
        return min(lives, default=None)
