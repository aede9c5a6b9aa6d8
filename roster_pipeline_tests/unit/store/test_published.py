"""Reading the roster for the rules: read when first asked for, once, and all of it text."""

from __future__ import annotations

import datetime as dt

import pytest
from sqlalchemy import Engine, event, insert

from roster_pipeline.rosters.changes import KEYS
from roster_pipeline.store import database
from roster_pipeline.store.published import BOOKKEEPING, StoredRoster, columns_of, frame_of

REMOVED = dt.datetime(2025, 10, 15, 23, 30)  # noqa: DTZ001 - times in the database are UTC without a zone
SYNC = {"tenant": "oak", "created_sync": 3, "changed_sync": 4}


@pytest.fixture
def asked(engine: Engine) -> list[str]:
    """One entry for every time that a connection is taken."""
    taken: list[str] = []

    @event.listens_for(engine, "checkout")
    def _checkout(*_: object) -> None:
        taken.append("connection")

    return taken


@pytest.fixture
def roster(engine: Engine) -> StoredRoster:
    with engine.begin() as connection:
        # person_id, given_name, enabled, inactive_since, removed_at
        people = [
            ("p1", "Ada", True, None, None),
            ("p2", None, False, dt.date(2025, 10, 1), REMOVED),
            ("p3", "", None, None, None),
        ]
        names = ("person_id", "given_name", "enabled", "inactive_since", "removed_at")
        rows = [{**SYNC, **dict(zip(names, row, strict=True))} for row in people]
        connection.execute(insert(database.people), rows)
        connection.execute(insert(database.people), [{**SYNC, "tenant": "elm", "person_id": "p9"}])
        link = {"provider_id": 7, "provider": "sis", "linked_by": "created", "linked_sync": 1}
        school = {
            "name": "North",
            "state": "published",
            "provider_id": 7,
            "state_as_of": dt.date(2025, 10, 14),
        }
        for n, removed in ((1, None), (2, REMOVED)):
            mark = {**SYNC, "removed_at": removed}
            keys = {"source_id": f"s{n}", "person_id": f"p{n}"}
            connection.execute(insert(database.person_sources), [{**mark, **link, **keys}])
            connection.execute(insert(database.schools), [{**mark, **school, "school_id": f"x{n}"}])
        connection.execute(
            insert(database.enrolled_sources), [{"tenant": "oak", "provider_id": 7, "source_id": "s1"}]
        )
        told = {"tenant": "oak", "provider_id": 7, "sync_id": 4, "outcome": "dropped", "reason": "left"}
        connection.execute(
            insert(database.sync_outcomes),
            [
                {**told, "source_id": "s5"},
                {**told, "source_id": "s6", "reason": "deleted"},
                {**told, "source_id": "s7", "outcome": "gone"},
                {**told, "source_id": "s8", "tenant": "elm"},
            ],
        )
    return StoredRoster(engine, "oak")


def test_a_table_is_read_when_it_is_first_asked_for_and_only_then(engine: Engine, asked: list[str]):
    roster = StoredRoster(engine, "oak")
    assert asked == []
    first = roster.people
    assert len(asked) == 1
    assert roster.people is first
    assert len(asked) == 1


def test_what_is_no_table_is_no_attribute(engine: Engine):
    with pytest.raises(AttributeError):
        StoredRoster(engine, "oak").leases  # noqa: B018


def test_all_cells_are_text_but_the_providers_id(roster: StoredRoster):
    for name in (*KEYS, "school_sources", "enrolled", "left"):
        frame = getattr(roster, name)
        for column in frame.columns:
            values = frame[column]
            if name == "memberships" and column != "provider_id":  # each of its texts once
                assert values.cat.categories.is_unique
                values = values.cat.categories
            assert str(values.dtype) == ("int64" if column == "provider_id" else "str"), f"{name}.{column}"
        assert not frame.isna().any().any()


def test_truth_dates_and_nothing_have_one_spelling(roster: StoredRoster):
    people = roster.people.set_index("person_id")
    assert people["enabled"].to_dict() == {"p1": "true", "p2": "false", "p3": ""}
    assert people["inactive_since"].to_dict() == {"p1": "", "p2": "2025-10-01", "p3": ""}
    assert people["given_name"].to_dict() == {"p1": "Ada", "p2": "", "p3": ""}
    assert people["created_sync"].to_dict() == {"p1": "3", "p2": "3", "p3": "3"}
    assert roster.schools["state_as_of"].tolist() == ["2025-10-14"]


def test_people_and_links_are_read_with_the_removed_ones(roster: StoredRoster):
    assert roster.people.set_index("person_id")["removed"].to_dict() == {"p1": "", "p2": "true", "p3": ""}
    assert roster.person_sources["removed"].tolist() == ["", "true"]


def test_of_all_other_tables_only_live_rows_are_read(roster: StoredRoster):
    assert roster.schools["school_id"].tolist() == ["x1"]
    assert "removed" not in roster.schools.columns


def test_another_tenants_rows_are_not_read(roster: StoredRoster):
    assert "p9" not in set(roster.people["person_id"])


def test_who_was_ever_enrolled_is_remembered_by_provider_and_user(roster: StoredRoster):
    assert list(roster.enrolled.columns) == ["provider_id", "source_id"]
    assert roster.enrolled.to_numpy().tolist() == [[7, "s1"]]


def test_who_has_left_is_remembered_by_the_newest_outcome(roster: StoredRoster):
    assert list(roster.left.columns) == ["provider_id", "source_id"]
    assert roster.left.to_numpy().tolist() == [[7, "s5"]]


@pytest.mark.parametrize("table", database.PUBLISHED, ids=lambda table: table.name)
def test_a_tables_own_columns_are_all_but_the_bookkeeping(table):
    assert columns_of(table) == [c.name for c in table.columns if c.name not in BOOKKEEPING]
    assert set(KEYS[table.name]) <= set(columns_of(table))


def test_no_rows_are_a_frame_with_columns_and_types():
    frame = frame_of(["provider_id", "name"], [])
    assert frame.empty
    assert [str(kind) for kind in frame.dtypes] == ["int64", "str"]
