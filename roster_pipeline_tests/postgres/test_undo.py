"""Setting a roster back on PostgreSQL, where history is joined with what was copied."""

from __future__ import annotations

from pathlib import Path

import pytest

from roster_pipeline_tests.syncing import codes, deployment
from roster_pipeline_tests.undoing import District, Nights, differing

pytestmark = pytest.mark.postgres


def test_a_roster_is_set_back_and_the_undo_is_undone(tmp_path: Path, postgres_url: str):
    with deployment(tmp_path / "home", postgres_url) as place:
        district = District(tmp_path / "files").school("north")
        nights = Nights(place, district)
        nights.apply()
        nights.sync()
        district.rows["users"]["north-s2"] |= {"givenName": "O'Brien\t\\N", "email": ""}
        district.drop("north-s3")
        district.drop_class("north-c3")
        district.user("north-s9", "north", grades="05")
        nights.sync()
        district.user("north-s3", "north", grades="06")  # back under the old key
        nights.sync()
        nights.undo(2)
        assert differing(nights.after[4], nights.after[1]) == {}
        assert codes(nights.sync()) == ["RS-SAFE-20"]
        nights.undo(4)
        assert nights.holds() == {}
        assert nights.sync()["status"] == "successful"
        nights.undo(7 - 4, "North School")  # by what the third sync changed
        assert nights.after[8]["current_people"] == nights.after[2]["current_people"]
