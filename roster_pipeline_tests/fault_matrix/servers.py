"""What servers do wrong, what a sync does then, and what exactly it tells.

`told` is written as `running.summary` puts it. A main case comes in every combination; a variant (`_variant`)
only with one kind of provider, on one page, in SQLite.
"""

from __future__ import annotations

from typing import Any, Final

from roster_pipeline.sandbox.misbehaviour import parse
from roster_pipeline_tests.fault_matrix.cases import SERVERS, Case

_WITH_TOKENS: Final = ("powerschool", "oneroster-1.1", "oneroster-1.2")


def _case(fault: str, does: str, told: dict[str, str], name: str = "", **more: Any) -> Case:
    return Case(name or fault, does, told, tuple(parse(one) for one in fault.split(" ")), **more)


def _variant(fault: str, does: str, told: dict[str, str], kind: str = "", **more: Any) -> Case:
    kinds = (kind,) if kind else (SERVERS[sum(map(ord, fault)) % len(SERVERS)],)
    return _case(fault, does, told, kinds=kinds, shapes=("one",), stores=("sqlite",), **more)


CASES: Final = (
    # ------------------------------------------------------------------ who may read
    _case("token-expires=10", "A new token is asked for, and the sync goes on.", {}, kinds=_WITH_TOKENS),
    _variant("token-lifetime=0.5", "A new token is asked for, and the sync goes on.", {}, "powerschool"),
    _variant("token-html", "", {}, "powerschool"),
    _case("rotate-credentials,after=5", "", {}, new_secret=True),
    _variant("rotate-credentials", "", {}, "oneroster-1.2", new_secret=True),
    _variant("refuse-credentials", "", {}, "classlink"),
    # ------------------------------------------------------------------ no answer, or another one
    _case("too-many-requests=2,times=2", "", {}),
    _variant("too-many-requests=,times=2", "", {}),
    _variant("too-many-requests=date:30,times=2", "", {}),
    _case("too-many-requests=", "", {}),
    _variant("too-many-requests=90000", "", {}, "powerschool"),
    _variant("too-many-requests=date:999999999999", "", {}, "oneroster-1.1"),
    _variant("too-many-requests=@token", "", {}, "powerschool"),
    _case("server-error=500@users", "", {}),
    _variant("server-error=502@enrollments", "", {}),
    _variant("server-error=503", "", {}),
    _variant("server-error=503,times=2", "", {}),
    _variant("server-error=500@token", "", {}, "oneroster-1.1"),
    _case("hang@users", "", {}),
    _variant("hang", "", {}),
    _variant("hang@token", "", {}, "oneroster-1.2"),
    _variant("redirect=https://elsewhere.example/", "", {}),
    _variant("forbidden@classes", "", {}),
    _variant("not-found@enrollments", "", {}),
    _variant("refuse-parameters", "", {}),
    # ------------------------------------------------------------------ how the bytes come
    _case("drip@users", "", {}),
    _variant("drip-for-ever@enrollments", "", {}),
    _case("reset@enrollments", "", {}),
    _variant("reset,times=2", "", {}),
    _variant("reset=0@users", "", {}),
    _variant("cut-off@users", "", {}),
    _case("huge-page=2@users", "", {}),
    _variant("zip-bomb=8@users", "", {}),
    # ------------------------------------------------------------------ what is in a page
    _case("not-json@users", "", {}),
    _variant("not-json", "", {}),
    _case("truncated@enrollments", "", {}),
    _variant("truncated@users,times=1", "", {}),
    _case("encoding=latin-1@users", "", {}),
    _variant("encoding=utf-16@users", "", {}),
    _variant("encoding=utf-8-sig", "", {}),
    _variant("encoding=invalid@classes", "", {}),
    _variant("encoding=surrogates@users", "", {}),
    _variant("encoding=nul", "", {}),
    _case("deep-nesting@users", "", {}),
    _variant("deep-nesting=500@users", "", {}),
    _variant("huge-values@users", "", {}),
    _variant("envelope-in-200@classes", "", {}),
    _variant("no-collection@enrollments", "", {}),
    _variant("other-collection=classes@enrollments", "", {}),
    _variant("own-wrapper=people@users", "", {}),
    _variant("other-arrays", "", {}),
    _variant("bare-array", "", {}),
    _variant("no-source-ids=5@users", "", {}),
    # ------------------------------------------------------------------ which rows, and how many
    _variant("ignore-filter", "", {}),
    _case("ignore-offset@enrollments", "", {}, shapes=("many",)),
    _variant("ignore-limit", "", {}),
    _case("clamp=7", "", {}),
    _case("shift-pages=3@enrollments", "", {}, shapes=("many",)),
    _case("shift-pages=-3@enrollments", "", {}, shapes=("many",), stores=("sqlite",)),
    _case("repeat-pages@enrollments,after=1", "", {}, shapes=("many",)),
    _case("shuffle-pages@users", "", {}, shapes=("many",)),
    _case("endless-pages@users", "", {}),
    _case("no-counts", "", {}, stores=("sqlite",)),
    _case("wrong-total=5@users", "", {}),
    _case("wrong-total=-5@users", "", {}),
    _case("changing-total@enrollments", "", {}, shapes=("many",)),
    _case("empty@users", "", {}),
    _variant("empty@enrollments", "", {}),
    _variant("empty@classes", "", {}),
    _variant("empty@orgs", "", {}),
    _variant("empty", "", {}),
    # ------------------------------------------------------------------ what the rows say
    _case("rows-added=2@users,after=1", "", {}, shapes=("many",)),
    _case("rows-removed=2@enrollments,after=1", "", {}, shapes=("many",), goes=True),
    _case("rows-changed=3@users,after=1", "", {}, shapes=("many",)),
    _case("lose-school", "", {}),
    _variant("lose-school@users", "", {}),
    _variant("lose-school@enrollments", "", {}),
    _case("re-key", "", {}),
    _variant("re-key=users", "", {}),
    _variant("re-key=classes", "", {}),
    _case("mask", "", {}),
    _case("withhold", "", {}),
    _variant("mask=email", "", {}),
    _variant("withhold=email", "", {}),
)
