"""Undo never brings back a forgotten person, and forgetting somebody undoes no undo."""

from __future__ import annotations

import json
from pathlib import Path

from roster_pipeline import forgetting
from roster_pipeline_tests.syncing import codes, deployment
from roster_pipeline_tests.undoing import TENANT, District, Nights


def test_who_was_forgotten_stays_away_and_what_was_undone_stays_undone(tmp_path: Path) -> None:
    with deployment(tmp_path / "home") as place:
        nights = Nights(place, District(tmp_path / "files").school("north").school("south"))
        nights.apply()
        nights.sync()
        gone = nights.id_of("person_sources", "north-s2")
        nights.district.rows["users"]["north-s2"] |= {"givenName": "Bea"}
        nights.district.drop_class("north-c3")
        nights.sync()

        stores = place.stores
        with forgetting.alone_with(stores, TENANT, nights.clock) as lease:
            meant = forgetting.find(stores, TENANT, gone)
            forgetting.forget(stores, TENANT, meant, lease, who="dpo", why="", now=nights.clock())
        nights.undo(2)  # the class comes back, with its members but for one
        assert gone not in json.dumps(nights.published(), default=str)
        assert len(nights.published()["current_classes"]) == 6
        assert codes(nights.sync()) == ["RS-SAFE-20", "RS-IDN-11"]

        # Another of the school's people is forgotten: that is no change of the source.
        other = nights.id_of("person_sources", "north-s3")
        with forgetting.alone_with(stores, TENANT, nights.clock) as lease:
            meant = forgetting.find(stores, TENANT, other)
            forgetting.forget(stores, TENANT, meant, lease, who="dpo", why="", now=nights.clock())
        again = nights.sync()
        assert codes(again) == ["RS-SAFE-20", "RS-IDN-11"]
        told = json.dumps(nights.published(), default=str)
        assert gone not in told
        assert other not in told
        assert len(nights.published()["current_classes"]) == 6

        nights.district.rows["users"]["north-s4"] |= {"givenName": "Cleo"}
        assert "RS-SAFE-20" not in codes(nights.sync())
        assert len(nights.published()["current_classes"]) == 5
