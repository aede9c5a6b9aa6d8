"""Undo over whole syncs: the roster as it was, exactly; and the next sync does not undo it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select, text

from roster_pipeline.codes import CodedError
from roster_pipeline.store import database, history, ledger
from roster_pipeline.store.holds import decide
from roster_pipeline_tests.syncing import codes, deployment
from roster_pipeline_tests.undoing import DAY, TENANT, District, Nights, but, differing

Change = Callable[[District], None]


@pytest.fixture
def nights(tmp_path: Path) -> Iterator[Nights]:
    """A district of two schools after its first night."""
    with deployment(tmp_path / "home") as place:
        district = District(tmp_path / "files").school("north").school("south")
        told = Nights(place, district)
        told.apply()
        assert told.sync()["status"] == "successful"
        yield told


def busy_night(district: District) -> None:
    """Updates, additions and removals at the north school, of every kind of row."""
    users = district.rows["users"]
    users["north-s2"] |= {"givenName": "Bea"}
    users["north-s2"] |= {"email": "bea@oak.example"}
    district.drop("north-s3")
    district.user("north-s9", "north", grades="05")
    district.drop_class("north-c3")
    district.class_("north-c4", "north", title="New")
    district.enrol("north-c4", "north-s9")
    district.enrol("north-c4", "north-t1", role="teacher")
    users["north-s4"]["agentSourcedIds"] = "north-g1"
    users["north-s1"]["agentSourcedIds"] = ""
    district.rows["academicSessions"]["north-term"] |= {"endDate": "2026-02-20"}
    district.rows["orgs"]["north"] |= {"name": "North Academy"}


def approve(nights: Nights, school: str | None = None, decision: str = "approved") -> None:
    with nights.place.stores.database.begin() as connection:
        decide(
            connection, TENANT, decision, school=school, who="ann", why="", now=nights.clock(), day=nights.day
        )


def test_the_roster_is_as_it_was_and_the_next_sync_leaves_it(nights: Nights):
    busy_night(nights.district)
    told = nights.sync()
    assert {kind for kind, found in told["changes"].items() if any(found.values())} == set(told["changes"])
    back = nights.undo(2)
    assert differing(nights.after[3], nights.after[1]) == {}
    assert (back["sync_id"], back["status"], back["undo"]["sync_id"]) == (3, "successful", 2)
    north = nights.id_of("schools", "north")
    assert nights.holds() == {north: "waiting"}

    again = nights.sync()
    assert (again["status"], codes(again)) == ("partial", ["RS-SAFE-20"])
    assert [(one["name"], one["state"], one["code"]) for one in again["schools"]] == [
        ("North Academy", "kept", "RS-SAFE-20"),
        ("South School", "published", None),
    ]
    states = ("state", "state_as_of", "state_code")
    assert differing(but(nights.after[4], "current_schools", *states),
                     but(nights.after[1], "current_schools", *states)) == {}  # fmt: skip

    approve(nights)
    after = nights.sync()
    assert after["status"] == "successful"
    days = (("current_schools", "state_as_of"), ("current_people", "inactive_since"))
    one, other = nights.after[2], nights.after[5]
    for view, column in days:  # the dates of the sync that found it: a later one
        one, other = but(one, view, column), but(other, view, column)
    assert differing(one, other) == {}
    assert nights.holds() == {}
    assert nights.sync()["changes"] == {
        **nights.sync()["changes"],
        "schools": {"added": 0, "updated": 2, "removed": 0},
    }


def unequal(nights: Nights, one: int, other: int) -> dict[str, list[object]]:
    """What differs between what two syncs published, but for the state of schools that wait."""
    states = ("state", "state_as_of", "state_code")
    return differing(*(but(nights.after[number], "current_schools", *states) for number in (one, other)))


def test_an_earlier_sync_is_undone_with_all_that_came_after_it(nights: Nights):
    busy_night(nights.district)
    nights.sync()
    nights.district.drop("south-s1")
    nights.district.user("north-s3", "north", grades="06")  # back, in another grade
    nights.sync()
    nights.sync(days=20)  # then their grace is over
    nights.sync()
    nights.undo(2)
    assert differing(nights.after[6], nights.after[1]) == {}
    assert set(nights.holds()) == {nights.id_of("schools", "north"), nights.id_of("schools", "south")}
    told = nights.sync()
    # Every school waits, and that is no failure: somebody wants it so.
    assert (told["status"], codes(told)) == ("partial", ["RS-SAFE-20"] * 2)
    assert unequal(nights, 7, 1) == {}
    # As it was before the undo; and a sync in between is not what it goes back to.
    with pytest.raises(CodedError, match="Nothing differs") as refused:
        nights.preview(7)
    assert refused.value.code == "RS-RUN-11"


def test_one_school_is_set_back_and_no_row_of_another_changes(nights: Nights):
    nights.district.user("both", "north", "south", grades="05")
    nights.district.enrol("north-c1", "both")
    nights.district.enrol("south-c1", "both")
    nights.sync()
    busy_night(nights.district)
    nights.district.drop("both")
    nights.district.drop("south-s2")
    nights.district.rows["users"]["south-s3"]["givenName"] = "Cy"
    nights.sync()
    nights.sync(days=20)
    nights.sync()  # without those who were inactive
    north, south = nights.id_of("schools", "north"), nights.id_of("schools", "south")
    both = nights.id_of("person_sources", "both")
    nights.undo(3, "North Academy")
    assert nights.holds() == {north: "waiting"}
    now, before = nights.after[6], nights.after[2]

    def slice_of(told: dict, school: str, *without: str) -> dict:
        classes = {row["class_id"] for row in told["current_classes"] if row["school_id"] == school}
        people = [
            row
            for row in told["current_people"]
            if school in row["roles"] and row["person_id"] not in without
        ]
        ids = {row["person_id"] for row in people}
        return {
            "schools": [row for row in told["current_schools"] if row["school_id"] == school],
            "classes": [row for row in told["current_classes"] if row["class_id"] in classes],
            "memberships": [row for row in told["current_memberships"] if row["class_id"] in classes],
            "people": people,
            "links": [row for row in told["current_guardian_links"] if row["student_id"] in ids],
            "sources": [row for row in told["current_person_sources"] if row["person_id"] in ids],
        }

    assert slice_of(now, north, both) == slice_of(before, north, both)
    assert slice_of(now, south, both) == slice_of(nights.after[5], south, both)
    back = next(row for row in now["current_people"] if row["person_id"] == both)
    assert (back["roles"], back["inactive_since"]) == (f'[{{"role":"student","school_id":"{north}"}}]', None)
    told = nights.sync()
    assert (told["status"], codes(told)) == ("partial", ["RS-SAFE-20"])
    assert unequal(nights, 7, 6) == {}


def test_what_the_undone_sync_made_and_approval_brings_again_has_its_id(nights: Nights):
    busy_night(nights.district)
    nights.sync()
    new = nights.id_of("person_sources", "north-s9")
    nights.undo(2)
    assert new not in {row["person_id"] for row in nights.published()["current_people"]}
    nights.sync()
    approve(nights, "North School")
    told = nights.sync()
    assert new in {row["person_id"] for row in nights.published()["current_people"]}
    assert told["counts"]["created_users"] == 0
    with nights.place.stores.database.connect() as connection:
        decided = connection.execute(
            select(database.decisions.c.decision, database.decisions.c.sync_id, database.decisions.c.who)
        ).all()
    assert decided == [("undone", 3, "ann"), ("approved", 5, "ann")]


def test_a_school_follows_its_source_again_when_that_changes(nights: Nights):
    busy_night(nights.district)
    nights.sync()
    nights.undo(2)
    for row in nights.district.rows["users"].values():
        row["dateLastModified"] = "2025-10-17T00:00:00Z"  # nothing but the date: no change
    assert codes(nights.sync()) == ["RS-SAFE-20"]
    nights.district.rows["users"]["south-s1"]["givenName"] = "Di"  # of another school: none either
    assert codes(nights.sync()) == ["RS-SAFE-20"]
    nights.district.enrol("north-c1", "north-s9")
    assert nights.sync()["status"] == "successful"
    assert nights.holds() == {}


def test_what_cannot_be_read_is_no_change_and_an_approval_waits_for_what_can(nights: Nights):
    busy_night(nights.district)
    nights.sync()
    (nights.district.folder / "users.csv").unlink()
    nights.district.write, write = (lambda: None), nights.district.write  # type: ignore[method-assign]
    assert "RS-SAFE-05" in codes(nights.sync())  # its users are not known tonight
    nights.undo(2)
    nights.district.write = write  # type: ignore[method-assign]
    # What the source says is known again, but not whether it is what was undone: that is taken for it.
    assert codes(nights.sync()) == ["RS-SAFE-20"]
    assert codes(nights.sync()) == ["RS-SAFE-20"]
    nights.district.drop("north-s5")
    assert nights.sync()["status"] == "successful"


def test_a_rejection_holds_until_the_source_changes(nights: Nights):
    busy_night(nights.district)
    nights.sync()
    nights.undo(2)
    approve(nights, decision="rejected")
    told = nights.sync()
    assert (told["status"], codes(told)) == ("partial", ["RS-SAFE-20"])
    assert "as was decided" in told["issues"][0]["message"]
    nights.district.drop("north-s5")
    assert nights.sync()["status"] == "successful"


def test_an_undo_is_undone_and_lifts_its_hold(nights: Nights):
    busy_night(nights.district)
    nights.sync()
    nights.undo(2)
    nights.sync()
    told = nights.undo(3)
    assert unequal(nights, 5, 2) == {}
    assert (told["undo"]["follows"], nights.holds()) == ([nights.id_of("schools", "north")], {})
    assert nights.sync()["status"] == "successful"
    assert unequal(nights, 6, 2) == {}
    nights.undo(5)  # and that one, too: the roster of the first night, which waits again
    assert unequal(nights, 7, 1) == {}
    assert set(nights.holds()) == {nights.id_of("schools", "north")}
    assert codes(nights.sync()) == ["RS-SAFE-20"]


def test_a_roster_is_set_back_to_before_the_first_sync(nights: Nights):
    nights.undo(1)
    assert all(not found for found in nights.published().values())
    told = nights.sync()
    assert (told["status"], codes(told)) == ("partial", ["RS-SAFE-20"] * 2)
    assert all(not found for found in nights.published().values())
    approve(nights)
    assert nights.sync()["status"] == "successful"
    assert unequal(nights, 4, 1) == {}


def test_nobody_who_was_forgotten_comes_back(nights: Nights):
    busy_night(nights.district)
    nights.sync()
    who = nights.id_of("person_sources", "north-s3")
    with nights.place.stores.database.begin() as connection:
        for table, column in (
            ("people", "person_id"), ("person_sources", "person_id"), ("memberships", "person_id"),
            ("guardian_links", "student_id"),
        ):  # fmt: skip
            # Of all but the person themself the history is left: even then nothing of it comes back.
            connection.execute(text(f"DELETE FROM {table} WHERE {column} = :who"), {"who": who})
        connection.execute(
            text("DELETE FROM history WHERE kind = 'people' AND row_key LIKE :who"), {"who": f"%{who}%"}
        )
    nights.undo(2)
    for view, rows in nights.published().items():
        was = [row for row in nights.after[1][view] if who not in row.values()]
        assert rows == was, view


def test_an_error_midway_leaves_all_as_it_was(nights: Nights, monkeypatch: pytest.MonkeyPatch):
    busy_night(nights.district)
    nights.sync()

    def breaks(*_: object, **__: object) -> None:
        raise RuntimeError("the machine is on fire")

    def stored() -> list[list[tuple[object, ...]]]:
        with nights.place.stores.database.connect() as connection:
            return [sorted(map(tuple, connection.execute(select(table))), key=repr)
                    for table in database.metadata.sorted_tables]  # fmt: skip

    before = stored()
    monkeypatch.setattr(ledger, "finish", breaks)
    with pytest.raises(RuntimeError):
        nights.undo(2)
    assert stored() == before  # the lease, too


def test_a_sync_that_was_merged_before_does_not_publish_after_an_undo(nights: Nights):
    busy_night(nights.district)
    nights.district.write()
    run = "a run"
    for _ in range(2):  # the second is of the run that published last: even that is refused
        sync = nights.place.begin(TENANT, nights.day, run_id=run)
        try:
            sync.extract("oneroster_csv")
            sync.current_sessions()
            sync.current_enrolments()
            sync.merged_identities()
            with pytest.raises(CodedError, match="sync of oak is running"):
                nights.undo(1)
            sync.publish()
        finally:
            sync.close()
    nights.undo(2)
    sync = nights.place.begin(TENANT, nights.day, run_id=run)
    try:
        with pytest.raises(CodedError) as refused:
            sync.publish()
        assert refused.value.code == "RS-RUN-07"
    finally:
        sync.close()


def test_what_published_nothing_or_is_not_kept_is_refused_with_a_reason(nights: Nights):
    shutil.rmtree(nights.district.folder)
    assert nights.place.sync(TENANT, DAY)["status"] == "failed"
    with pytest.raises(CodedError, match="failed: it published nothing") as refused:
        nights.preview(2)
    assert refused.value.code == "RS-RUN-11"
    for number, school, said in ((99, None, "no sync 99"), (1, "Nowhere", "No school of oak")):
        with pytest.raises(CodedError, match=said) as refused:
            nights.preview(number, school)
        assert refused.value.code == "RS-RUN-11"
    busy_night(nights.district)
    nights.sync()
    with nights.place.stores.database.begin() as connection:
        assert history.prune(connection, TENANT, nights.clock(), limit=10) == 10
        kept = func.count().label("kept")
        left = connection.scalar(select(kept).where(database.history.c.kind != history.PRUNED))
        assert history.prune(connection, TENANT, nights.clock()) == left
        assert history.prune(connection, TENANT, nights.clock()) == 0
    with pytest.raises(CodedError, match="not kept any more") as refused:
        nights.preview(3)
    assert refused.value.code == "RS-RUN-12"
    nights.district.drop("north-s5")
    nights.sync()
    nights.undo(4)
    assert unequal(nights, 5, 3) == {}
    with nights.place.stores.database.begin() as connection:
        connection.execute(delete(database.history))


def test_people_of_no_school_wait_as_well(tmp_path: Path):
    with deployment(tmp_path / "home") as place:
        district = District(tmp_path / "files").school("north")
        district.user("boss", role="administrator")
        nights = Nights(place, district)
        nights.apply()
        nights.sync()
        district.rows["users"]["boss"]["givenName"] = "Bo"
        district.user("deputy", role="administrator")
        assert nights.sync()["status"] == "successful"
        nights.undo(2)
        assert nights.holds() == {"": "waiting"}
        told = nights.sync()
        assert (told["status"], codes(told)) == ("partial", ["RS-SAFE-20"])
        assert unequal(nights, 4, 1) == {}
        district.rows["users"]["boss"]["familyName"] = "Of all"
        assert nights.sync()["status"] == "successful"
        assert nights.holds() == {}
