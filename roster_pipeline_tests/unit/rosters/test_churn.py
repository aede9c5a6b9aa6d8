"""A district whose people come, go, marry, move and swap addresses for six weeks: who is who stays true.

A sync costs much the same however many things happen, so much happens on each, and the tenant syncs every
other day. `CHURN_SEEDS=0:50` runs more worlds, `CHURN_NIGHTS=200` longer ones.
"""

from __future__ import annotations

import datetime as dt
import os
from typing import Final

import pytest

from roster_pipeline_tests.churning import Churn, rules_of, tenant_of
from roster_pipeline_tests.known_truth import Ledger, total

SEEDS: Final = range(*map(int, os.environ.get("CHURN_SEEDS", "0:1").split(":")))
NIGHTS: Final = int(os.environ.get("CHURN_NIGHTS", "50"))
BEGIN: Final = dt.date(2025, 10, 14)

NEW_IDS: Final = {
    "no e-mail",
    "another address",
    "an address that several share",
    "another source has the person, by another address",
    "another name than when they left",
    "two people when they left",
}
"""When somebody gets a second id: when nothing that the page admits as evidence says who they are."""


@pytest.mark.parametrize("seed", SEEDS)
def test_everybody_keeps_the_id_for_ever(seed: int) -> None:
    world, rules = Churn.begin(seed), rules_of(seed)
    tenant, ledger, every, day = tenant_of(rules), Ledger(rules), [], BEGIN
    for number in range(1, NIGHTS + 1):
        happened = world.next_night(world.rng.choice([0, 5, 10, 15])) if number > 1 else 1
        world.fill(tenant)
        day += dt.timedelta(days=world.rng.choice([1, 1, 2, 4]))
        night = tenant.night(day.isoformat())
        assert night.status in ("successful", "partial")
        seen = ledger.look(night, world.rows())
        assert not seen.missed, (number, seen.missed)
        assert set(seen.renewed) <= NEW_IDS, (number, seen.renewed)
        every.append(seen)
        world.linked = set(ledger.ids)
        if number % 10 == 0:
            again = tenant.night(night.as_of.isoformat()).check()
            assert again.quiet, {name: change.counts for name, change in again.changed.items()}
        if not happened:
            for kind in ("people", "memberships", "classes", "schools", "guardian_links"):
                added, updated, _ = night.changes(kind)
                assert (kind, added, updated if kind != "schools" else 0) == (kind, 0, 0)
    print(total(every), world.happened)
