"""What servers do wrong, what a sync does then, and what exactly it tells.

`told` is written as `running.summary` puts it. A main case comes in every combination; a variant (`_variant`)
only with one kind of provider, on one page, in SQLite.
"""

from __future__ import annotations

from typing import Any, Final

from roster_pipeline.sandbox.misbehaviour import parse
from roster_pipeline_tests.fault_matrix.cases import (
    AGAIN,
    DOUBTED,
    NEW_IDS,
    NOTHING,
    SERVERS,
    STALE,
    WELL,
    Case,
    both,
    unread,
)

_WITH_TOKENS: Final = ("powerschool", "oneroster-1.1", "oneroster-1.2")


def _case(fault: str, does: str, told: dict[str, str], name: str = "", **more: Any) -> Case:
    return Case(name or fault, does, told, tuple(parse(one) for one in fault.split(" ")), **more)


def _variant(fault: str, does: str, told: dict[str, str], kind: str = "", **more: Any) -> Case:
    kinds = (kind,) if kind else (SERVERS[sum(map(ord, fault)) % len(SERVERS)],)
    ways: dict[str, Any] = {"kinds": kinds, "shapes": ("one",), "stores": ("sqlite",)}
    return _case(fault, does, told, **(ways | more))


CASES: Final = (
    # ------------------------------------------------------------------ who may read
    _case("token-expires=10", "A new token is asked for, and the sync goes on.", WELL, kinds=_WITH_TOKENS),
    _variant("token-lifetime=0.5", "A new token is asked for, and the sync goes on.", WELL, "powerschool"),
    _variant("token-html", NOTHING, unread("RS-AUTH-02"), "powerschool"),
    _case(
        "rotate-credentials,after=5",
        f"What was read until then is used. {STALE} The new secret mends it.",
        unread("RS-AUTH-03", "classes+enrollments+users"),
        new_secret=True,
    ),
    _variant(
        "rotate-credentials",
        f"{NOTHING} The new secret mends it.",
        unread("RS-AUTH-01"),
        "oneroster-1.2",
        new_secret=True,
    ),
    _variant("refuse-credentials", NOTHING, unread("RS-AUTH-01"), "classlink"),
    # ------------------------------------------------------------------ no answer, or another one
    _variant("too-many-requests=2,times=2", "It waits as long as the server asks, and goes on.", WELL),
    _variant("too-many-requests=,times=2", "It waits, longer each time, and goes on.", WELL),
    _variant("too-many-requests=date:30,times=2", "It waits until then, and goes on.", WELL),
    _case("too-many-requests=", f"After five tries it gives up. {NOTHING}", unread("RS-NET-06")),
    _variant(
        "too-many-requests=90000",
        f"More than five minutes are not waited for. {NOTHING}",
        unread("RS-NET-06"),
        "powerschool",
    ),
    _variant(
        "too-many-requests=date:999999999999",
        f"More than five minutes are not waited for. {NOTHING}",
        unread("RS-NET-06"),
        "oneroster-1.1",
    ),
    _variant("too-many-requests=@token", NOTHING, unread("RS-NET-06"), "powerschool"),
    _case("server-error=500@users", f"After five tries it gives up. {STALE}", unread("RS-NET-05", "users")),
    _variant("server-error=502@enrollments", STALE, unread("RS-NET-05", "enrollments")),
    _variant("server-error=503", NOTHING, unread("RS-NET-05")),
    _variant("server-error=503,times=2", AGAIN, WELL),
    _variant("server-error=500@token", NOTHING, unread("RS-AUTH-02"), "oneroster-1.1"),
    _case(
        "hang@users",
        f"It waits two minutes for an answer to begin, five times. {STALE}",
        unread("RS-NET-04", "users"),
    ),
    _variant(
        "hang",
        f"A server that does not answer at all is asked for nothing else. {NOTHING}",
        unread("RS-NET-04"),
    ),
    _variant("hang@token", NOTHING, unread("RS-NET-04"), "oneroster-1.2"),
    _variant("redirect=https://elsewhere.example/", f"Nothing is sent there. {NOTHING}", unread("RS-NET-03")),
    _variant("forbidden@classes", STALE, unread("RS-AUTH-04", "classes")),
    _variant("not-found@enrollments", STALE, unread("RS-PAGE-09", "enrollments")),
    _variant(
        "refuse-parameters",
        f"It tries out what would help, and says so. {NOTHING}",
        {
            "first": "failed RS-NET-07 RS-PRV-01 RS-PRV-02 RS-PRV-06 failed=all",
            "later": "failed RS-NET-07 RS-PRV-01 RS-PRV-06 RS-SAFE-05 stale=all",
        },
    ),
    # ------------------------------------------------------------------ how the bytes come
    _case(
        "drip@users",
        f"An answer may take a quarter of an hour, however steadily it drips. {STALE}",
        unread("RS-NET-04", "users"),
    ),
    _variant("drip-for-ever@enrollments", f"The same. {STALE}", unread("RS-NET-04", "enrollments")),
    _case("reset@enrollments", f"After five tries it gives up. {STALE}", unread("RS-PAGE-02", "enrollments")),
    _variant("reset,times=2", AGAIN, WELL),
    _variant("reset=0@users", STALE, unread("RS-NET-04", "users")),
    _variant("cut-off@users", STALE, unread("RS-PAGE-02", "users")),
    _case("huge-page=8@users", f"The answer is given up at the limit. {STALE}", unread("RS-NET-08", "users")),
    _variant(
        "zip-bomb=32@users", f"The same: what is unpacked is counted. {STALE}", unread("RS-NET-08", "users")
    ),
    # ------------------------------------------------------------------ what is in a page
    _case("not-json@users", STALE, unread("RS-PAGE-01", "users")),
    _variant("not-json", NOTHING, unread("RS-PAGE-01")),
    _case(
        "truncated@enrollments", f"It is asked for once more. {STALE}", unread("RS-PAGE-02", "enrollments")
    ),
    _variant("truncated@users,times=1", AGAIN, WELL),
    _case("encoding=latin-1@users", f"Nothing is guessed. {STALE}", unread("RS-PAGE-02", "users")),
    _variant("encoding=utf-16@users", STALE, unread("RS-PAGE-01", "users")),
    _variant("encoding=utf-8-sig", "The mark is left out.", WELL),
    _variant("encoding=invalid@classes", STALE, unread("RS-PAGE-02", "classes")),
    _variant(
        "encoding=surrogates@users",
        f"They are no text that could be stored. {STALE}",
        unread("RS-PAGE-02", "users"),
    ),
    _variant("encoding=nul", "They are left out: no database stores them.", WELL),
    _case("deep-nesting@users", STALE, unread("RS-PAGE-02", "users")),
    _variant("deep-nesting=500@users", "Nothing of it is kept, and the sync goes on.", WELL),
    _variant(
        "huge-values=8@users",
        "What is longer than any real value is left out. Every school is kept back.",
        {
            "first": "failed RS-PRV-04 RS-ROW-06 RS-SAFE-07 RS-SAFE-09 unproven=users",
            "later": "failed RS-PRV-04 RS-ROW-06 RS-SAFE-06 RS-SAFE-07 RS-SAFE-09 unproven=users",
        },
    ),
    _variant(
        "envelope-in-200@classes",
        f"It is not taken for an empty page. {STALE}",
        unread("RS-PAGE-03", "classes"),
    ),
    _variant(
        "no-collection@enrollments",
        f"It is not taken for an empty page. {STALE}",
        unread("RS-PAGE-04", "enrollments"),
    ),
    _variant("other-collection=classes@enrollments", STALE, unread("RS-PAGE-05", "enrollments")),
    _variant("own-wrapper=people@users", "The rows are found where they are.", WELL),
    _variant("other-arrays", "The rows are found where they are.", WELL),
    _variant("bare-array", "The rows are found where they are.", WELL),
    _variant(
        "no-source-ids=5@users",
        "Rows without an id are left out; schools whose enrolments miss too many are kept back.",
        both("failed RS-PRV-04 RS-REF-01 RS-REF-05 RS-ROW-01 unproven=users"),
    ),
    # ------------------------------------------------------------------ which rows, and how many
    _variant("ignore-filter", "No filter is sent, unless `full_every_days` says so.", WELL),
    _variant("refuse-filter", "No filter is sent, unless `full_every_days` says so.", WELL),
    _variant("filter-by-day", "No filter is sent, unless `full_every_days` says so.", WELL),
    _variant("filter-in-local-time", "No filter is sent, unless `full_every_days` says so.", WELL),
    _variant(
        "ignore-offset@enrollments",
        f"It asks for everything at once, and gives up if that is not all. {STALE}",
        unread("RS-PAGE-06", "enrollments"),
        shapes=("many",),
    ),
    _variant("ignore-limit", "What comes at once is taken at once.", WELL),
    _case("clamp=7", "The offset goes on by the rows that came.", WELL),
    _case(
        "shift-pages=3@enrollments",
        f"It is read twice. {DOUBTED}",
        both("partial RS-PAGE-07 unproven=enrollments"),
        shapes=("many",),
    ),
    _variant(
        "shift-pages=-3@enrollments",
        "It is read on beyond the total, to an empty page: all rows are there, although some came twice.",
        both("successful RS-PAGE-07 RS-ROW-05"),
        shapes=("many",),
    ),
    _case(
        "repeat-pages@enrollments,after=1",
        "It is read on beyond the total, to an empty page: all rows are there, although some came twice.",
        both("successful RS-PAGE-07"),
        shapes=("many",),
    ),
    _case(
        "shuffle-pages@enrollments",
        f"It is read twice. {DOUBTED}",
        both("partial RS-PAGE-07 RS-ROW-05 unproven=enrollments"),
        shapes=("many",),
    ),
    _case(
        "endless-pages@users",
        f"After more pages than any real collection has it is given up. {STALE}",
        unread("RS-PAGE-10", "users"),
    ),
    _variant(
        "no-counts",
        "It is read until a page is empty, or the last row comes alone.",
        WELL,
    ),
    _case("wrong-total=5@users", f"It is read twice. {DOUBTED}", both("partial RS-PAGE-07 unproven=users")),
    _variant(
        "wrong-total=-5@users",
        "It is read on beyond the total, to an empty page.",
        both("successful RS-PAGE-07"),
        kind="oneroster-1.1",
        shapes=("many",),
    ),
    _case(
        "changing-total@enrollments",
        f"It is read twice. {DOUBTED}",
        both("partial RS-PAGE-07 unproven=enrollments"),
        shapes=("many",),
    ),
    _case(
        "empty@users",
        "Every school is kept back. What was published stays.",
        {
            "first": "failed RS-PRV-04 RS-REF-01 RS-REF-05 RS-SAFE-07 RS-SAFE-08",
            "later": "failed RS-PRV-04 RS-REF-01 RS-REF-05 RS-SAFE-04 RS-SAFE-07 RS-SAFE-08 unproven=users",
        },
    ),
    _variant(
        "empty@enrollments",
        "At first a school may have none; later nothing is removed.",
        {
            "first": "successful RS-SAFE-14 RS-SAFE-15 RS-SAFE-16",
            "later": "partial RS-SAFE-04 unproven=enrollments",
        },
    ),
    _variant(
        "empty@classes",
        "Every school is kept back: its enrolments refer to nothing. What was published stays.",
        {
            "first": "failed RS-PRV-04 RS-REF-01 RS-REF-05 RS-SAFE-13",
            "later": "failed RS-PRV-04 RS-REF-01 RS-REF-05 RS-SAFE-04 unproven=classes",
        },
    ),
    _variant(
        "empty@orgs",
        "Schools go by the ids that the other rows name; nothing is removed.",
        {"first": "successful RS-REF-04", "later": "partial RS-SAFE-04 unproven=orgs"},
    ),
    _variant(
        "empty",
        "Every school is kept back. What was published stays.",
        {"first": "failed RS-PRV-05", "later": "failed RS-PRV-04 RS-SAFE-04 RS-SAFE-11 unproven=all"},
    ),
    # ------------------------------------------------------------------ what the rows say
    _case(
        "rows-added=2@users,after=1",
        "It is read twice, and those who came are published.",
        both("successful RS-SAFE-16"),
        shapes=("many",),
    ),
    _case(
        "rows-removed=2@enrollments,after=1",
        "It is read twice; only what the second, undisturbed reading does not have is removed.",
        WELL,
        shapes=("many",),
        goes=True,
    ),
    _case(
        "rows-changed=3@users,after=1",
        "What changed is published, now or at the next sync.",
        WELL,
        shapes=("many",),
    ),
    _case(
        "lose-school",
        "The school is kept back, all others are published.",
        {"first": "successful", "later": "partial RS-SAFE-11"},
    ),
    _variant(
        "lose-school@users",
        "The school is kept back, all others are published.",
        both("partial RS-REF-01 RS-REF-05 RS-SAFE-07 RS-SAFE-08"),
    ),
    _variant(
        "lose-school@enrollments",
        "At first a school may have none; later the removals wait.",
        {
            "first": "successful RS-SAFE-14 RS-SAFE-15 RS-SAFE-16",
            "later": "partial RS-SAFE-02 RS-SAFE-03 RS-SAFE-14 RS-SAFE-15 RS-SAFE-16",
        },
    ),
    _case(
        "re-key",
        "People, classes and memberships are recognised, and keep our ids.",
        {"first": "successful", "later": "successful RS-SAFE-19"},
        after=NEW_IDS,
    ),
    _variant(
        "re-key=users",
        "People are recognised, and keep our ids.",
        {"first": "successful", "later": "successful RS-SAFE-19"},
        after=NEW_IDS,
    ),
    _variant(
        "re-key=classes",
        "Classes are recognised, and keep our ids.",
        {"first": "successful", "later": "successful RS-SAFE-19"},
        after=NEW_IDS,
    ),
    _case(
        "mask", "Every school is kept back. What was published stays.", both("failed RS-PRV-04 RS-SAFE-09")
    ),
    _variant(
        "withhold",
        "Every school is kept back. What was published stays.",
        both("failed RS-GRD-01 RS-PRV-04 RS-SAFE-09"),
        kind="classlink",
    ),
    _variant(
        "mask=email",
        "Every school is kept back. What was published stays.",
        both("failed RS-PRV-04 RS-SAFE-09"),
    ),
    _variant(
        "withhold=email",
        "The old addresses stay.",
        {"first": "successful", "later": "successful RS-SAFE-06 RS-SAFE-18"},
    ),
)
