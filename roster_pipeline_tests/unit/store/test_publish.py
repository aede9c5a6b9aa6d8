"""Writing a tenant's changes: keys for ever, removal as an update, and all or nothing."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Engine, exc, select

from roster_pipeline.rosters.changes import KEYS, Changes
from roster_pipeline.store import database
from roster_pipeline.store.copying import upsert
from roster_pipeline.store.publish import remember, write_changes
from roster_pipeline.store.published import StoredRoster, columns_of, frame_of, read_table

NOW = dt.datetime(2025, 10, 15, 23, 30, tzinfo=dt.UTC)


def rows(table: str, *records: dict[str, Any]) -> pd.DataFrame:
    names = columns_of(database.metadata.tables[table])
    empty = {name: 0 if name in ("provider_id", "linked_sync") else "" for name in names}
    return frame_of(names, [tuple({**empty, **record}[name] for name in names) for record in records])


def person(who: str, **fields: str) -> dict[str, str]:
    return {"person_id": who, "given_name": f"Given-{who}", "enabled": "true", **fields}


def write(
    engine: Engine,
    sync_id: int,
    table: str,
    *,
    added: tuple[dict, ...] = (),
    updated: tuple[dict, ...] = (),
    removed: tuple[dict, ...] = (),
    tenant: str = "oak",
    merged: dict[str, str] | None = None,
    now: dt.datetime = NOW,
) -> None:
    changes = {name: Changes(rows(name), rows(name), rows(name)) for name in KEYS}
    changes[table] = Changes(rows(table, *added), rows(table, *updated), rows(table, *removed))
    with engine.begin() as connection:
        write_changes(connection, tenant, sync_id, now, changes, merged or {})


def stored(engine: Engine, table: str) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(select(database.metadata.tables[table])).mappings()]


def one(engine: Engine, table: str) -> dict[str, Any]:
    (found,) = stored(engine, table)
    return found


# ------------------------------------------------------------------------------------------ upserts


def test_an_added_row_was_created_and_changed_by_its_sync(engine: Engine):
    write(engine, 3, "people", added=(person("p1"),))
    found = one(engine, "people")
    assert (found["created_sync"], found["changed_sync"], found["removed_at"]) == (3, 3, None)
    assert (found["tenant"], found["given_name"], found["enabled"]) == ("oak", "Given-p1", True)


def test_an_updated_row_keeps_the_sync_that_created_it(engine: Engine):
    write(engine, 3, "people", added=(person("p1"),))
    write(engine, 5, "people", updated=(person("p1", given_name="Ada"),))
    found = one(engine, "people")
    assert (found["created_sync"], found["changed_sync"], found["given_name"]) == (3, 5, "Ada")


def test_a_removed_row_stays_with_the_time_of_its_removal(engine: Engine):
    write(engine, 3, "people", added=(person("p1"),))
    write(engine, 5, "people", removed=(person("p1"),))
    found = one(engine, "people")
    assert (found["created_sync"], found["changed_sync"]) == (3, 5)
    assert found["removed_at"] == NOW.replace(tzinfo=None)


def test_a_row_that_returns_is_live_again_under_its_old_key(engine: Engine):
    write(engine, 3, "people", added=(person("p1"),))
    write(engine, 5, "people", removed=(person("p1"),))
    write(engine, 7, "people", added=(person("p1", given_name="Ada"),))
    found = one(engine, "people")
    assert (found["created_sync"], found["changed_sync"], found["removed_at"]) == (3, 7, None)
    assert found["given_name"] == "Ada"


def test_a_person_who_turned_out_to_be_somebody_else_points_there(engine: Engine):
    write(engine, 3, "people", added=(person("p1"), person("p2"), person("p3")))
    write(engine, 5, "people", removed=(person("p2"), person("p3")), merged={"p2": "p1"})
    assert {row["person_id"]: row["merged_into"] for row in stored(engine, "people")} == {
        "p1": None, "p2": "p1", "p3": None,
    }  # fmt: skip


def test_somebody_removed_long_ago_who_turned_out_to_be_somebody_else_points_there_too(engine: Engine):
    write(engine, 3, "people", added=(person("p1"), person("p2"), person("p3")))
    write(engine, 5, "people", removed=(person("p2"), person("p3")))
    write(engine, 5, "people", added=(person("p2"),), tenant="elm")
    later = NOW + dt.timedelta(days=9)
    write(engine, 9, "people", updated=(person("p1"),), merged={"p2": "p1"}, now=later)
    assert {
        (row["tenant"], row["person_id"]): (row["merged_into"], row["changed_sync"])
        for row in stored(engine, "people")
    } == {
        ("oak", "p1"): (None, 9), ("oak", "p2"): ("p1", 9), ("oak", "p3"): (None, 5),
        ("elm", "p2"): (None, 5),
    }  # fmt: skip
    assert {row["removed_at"] for row in stored(engine, "people")} == {NOW.replace(tzinfo=None), None}


def test_one_key_in_two_tenants_is_two_rows(engine: Engine):
    write(engine, 3, "people", added=(person("p1"),))
    write(engine, 4, "people", added=(person("p1", given_name="Ada"),), tenant="elm")
    write(engine, 5, "people", removed=(person("p1", given_name="Ada"),), tenant="elm")
    names = {
        row["tenant"]: (row["given_name"], row["removed_at"] is None) for row in stored(engine, "people")
    }
    assert names == {"oak": ("Given-p1", True), "elm": ("Ada", False)}


@pytest.mark.parametrize(
    "table, column, text, value",
    [
        ("people", "enabled", "true", True),
        ("people", "enabled", "false", False),
        ("people", "enabled", "", None),
        ("people", "inactive_since", "2025-10-15", dt.date(2025, 10, 15)),
        ("people", "inactive_since", "", None),
        ("people", "email", "", None),
        ("people", "given_name", "", None),
        ("people", "given_name", "O'Hara; DROP TABLE people --", "O'Hara; DROP TABLE people --"),
        ("people", "family_name", "Ünïcødé 王", "Ünïcødé 王"),
    ],
)
def test_a_text_becomes_what_the_column_holds(
    engine: Engine, table: str, column: str, text: str, value: object
):
    write(engine, 1, table, added=(person("p1", **{column: text}),))
    assert one(engine, table)[column] == value


def test_an_empty_text_stays_one_where_null_is_not_allowed(engine: Engine):
    school = {"school_id": "x", "name": "", "state": "published", "provider_id": 1}
    write(engine, 1, "schools", added=(school,))
    assert one(engine, "schools")["name"] == ""


def test_nothing_of_a_transaction_that_fails_is_there(engine: Engine):
    changes = {name: Changes(rows(name), rows(name), rows(name)) for name in KEYS}
    changes["schools"] = Changes(
        rows("schools", {"school_id": "x", "name": "X", "state": "published"}),
        rows("schools"),
        rows("schools"),
    )

    def publish() -> None:
        with engine.begin() as connection:
            write_changes(connection, "oak", 1, NOW, changes, {})
            raise KeyError("killed")

    with pytest.raises(KeyError):
        publish()
    assert stored(engine, "schools") == []


def test_an_upsert_of_nothing_asks_the_database_nothing(engine: Engine):
    with engine.begin() as connection:
        upsert(connection, database.people, frame_of(["no", "such", "columns"], []), {"tenant": "oak"})


def test_an_upsert_of_keys_alone_leaves_what_is_there(engine: Engine):
    frame = frame_of(["provider_id", "source_id"], [(1, "s1")])
    for _ in range(2):
        with engine.begin() as connection:
            remember(connection, database.enrolled_sources, "oak", frame)
    assert one(engine, "enrolled_sources") == {"tenant": "oak", "provider_id": 1, "source_id": "s1"}


def test_what_is_remembered_is_replaced_under_its_key(engine: Engine):
    for school in ("a", "b"):
        with engine.begin() as connection:
            frame = frame_of(["provider_id", "source_id", "school_id"], [(1, "north", school)])
            remember(connection, database.school_sources, "oak", frame)
    assert one(engine, "school_sources")["school_id"] == "b"


def test_a_row_that_lacks_what_it_must_have_is_refused(engine: Engine):
    with engine.begin() as connection, pytest.raises((exc.IntegrityError, Exception), match="NOT NULL"):
        upsert(
            connection,
            database.schools,
            frame_of(["school_id"], [("x",)]),
            {"tenant": "oak", "created_sync": 1, "changed_sync": 1},
        )


# ------------------------------------------------------------------------------------------ and back


def test_what_was_written_is_read_back_as_it_was(engine: Engine):
    full = person(
        "p1",
        family_name="Archer",
        email="",
        enabled="false",
        inactive_since="2025-10-15",
        roles='[{"role":"student"}]',
    )
    write(engine, 3, "people", added=(full, person("p2", enabled="")))
    with engine.connect() as connection:
        found = read_table(connection, database.people, "oak").sort_values("person_id").reset_index(drop=True)
    pd.testing.assert_frame_equal(found, rows("people", full, person("p2", enabled="")))


def test_views_show_what_is_live_and_no_bookkeeping(engine: Engine):
    write(engine, 3, "people", added=(person("p1"), person("p2")))
    write(engine, 4, "people", removed=(person("p2"),))
    with engine.connect() as connection:
        found = connection.exec_driver_sql(database.VIEWS["current_people"]).mappings().all()
    assert [row["person_id"] for row in found] == ["p1"]
    assert "tenant" in found[0]
    assert not {"created_sync", "changed_sync", "removed_at", "provider_id", "seen"} & set(found[0])


def test_a_reader_inside_a_transaction_sees_the_old_roster_to_its_end(engine: Engine):
    write(engine, 3, "people", added=(person("p1"),))
    with engine.connect() as reader, reader.begin():
        before = reader.execute(select(database.people.c.person_id)).all()
        write(engine, 4, "people", added=(person("p2"),), removed=(person("p1"),))
        assert reader.execute(select(database.people.c.person_id)).all() == before
    assert len(stored(engine, "people")) == 2


def test_the_roster_for_the_rules_is_made_of_these_tables(engine: Engine):
    write(engine, 3, "people", added=(person("p1"),))
    assert StoredRoster(engine, "oak").people["person_id"].tolist() == ["p1"]
