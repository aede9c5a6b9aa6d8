"""A short world of `sixty_nights`; whole ones: `make sixty-nights`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import text

from roster_pipeline_tests.sixty_nights.nights import TENANT, Nights, Tally, lacking, run
from roster_pipeline_tests.syncing import deployment


@pytest.mark.slow
def test_a_tenant_goes_through_six_nights_as_the_rules_say(tmp_path: Path):
    tally = run(78, 6, tmp_path)
    assert (tally.nights, tally.syncs) == (6, 12)
    assert set(lacking([tally])) <= {"rejections", "undos undone"}


def test_a_membership_too_few_is_told(tmp_path: Path):
    with deployment(tmp_path) as here:
        nights = Nights(1, here)
        nights.run(1)
        assert nights.wrong_with_what_is_published() == []
        with here.stores.database.begin() as connection:
            lost = text(
                "DELETE FROM memberships WHERE rowid = (SELECT min(rowid) FROM memberships WHERE tenant = :t)"
            )
            connection.execute(lost, {"t": TENANT})
        (told,) = nights.wrong_with_what_is_published()
        assert told.startswith("memberships: pipeline [], page [((")


def test_nights_in_which_nothing_happens_prove_too_little():
    everything = ["faults", "holds", "approvals", "rejections", "undos", "undos undone"]
    assert lacking([]) == lacking([Tally()]) == everything
    undone = Tally(undos=Counter({"of a school and back": 1}), decisions=Counter({"approved": 2}))
    assert lacking([Tally(), undone]) == ["faults", "holds", "rejections", "undos"]
