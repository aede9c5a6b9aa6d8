"""Whole tables into the database and out of it, on both databases, against going through the rows."""

from __future__ import annotations

import datetime as dt
import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Boolean, Date, Engine, Integer, Table, insert, select

from roster_pipeline.rosters.changes import KEYS, Changes
from roster_pipeline.store import copying, database
from roster_pipeline.store.publish import remember, write_changes
from roster_pipeline.store.published import columns_of, frame_of, read_table

NOW = dt.datetime(2025, 10, 15, 23, 30, tzinfo=dt.UTC)
TABLES = [database.people, database.schools, database.memberships, database.person_sources]
numbers = itertools.count(1)

# What CSV, COPY or a driver could take for something of its own; and anything else that is a text.
AWKWARD = (
    "", " ", '"', '""', ",", "\n", "\r", "\r\n", "\\", "\\.", "\\N", "\n\\.\n", "NULL", "null", "true", "%s",
    "?", "{tenant}", "'", "\t", "\x01", "\x7f", "\u2028", "é", "e\u0301", "李", "🎒", "\ufeff", "'; --",
    '","', "a,b", ' "x" ', "-", "0", "1e3", "nan", "NaN", "None",
)  # fmt: skip


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An empty roster database for all examples; each is of tenants of its own."""
    if request.param == "sqlite":
        url, drop = f"sqlite:///{tmp_path_factory.mktemp('copying') / 'roster.db'}", lambda: None
    else:
        server = request.getfixturevalue("postgres_server")
        name = server.new_database()
        url, drop = server.url(name), lambda: server.drop_database(name)
    found = database.connect(url)
    database.metadata.create_all(found)
    yield found
    found.dispose()
    drop()


def text_of(rng: random.Random) -> str:
    """A text that is empty, awkward, or of any characters but NUL and surrogates."""
    parts = [rng.choice(AWKWARD) for _ in range(rng.choice((0, 1, 1, 1, 2, 5)))]
    ranges = (1, 0xD7FF), (0xE000, 0x10FFFF)
    parts += [chr(rng.randint(*rng.choice(ranges))) for _ in range(rng.choice((0, 0, 0, 9)))]
    rng.shuffle(parts)
    return "".join(parts)


def cell(rng: random.Random, table: Table, name: str) -> Any:
    column = table.columns[name]
    if name == "provider_id":
        return rng.randint(1, 2**31 - 1)
    if isinstance(column.type, Boolean):
        return rng.choice(["true", "false", ""])
    if isinstance(column.type, Date):
        return rng.choice(["", (dt.date(1900, 1, 1) + dt.timedelta(days=rng.randint(0, 90_000))).isoformat()])
    if isinstance(column.type, Integer):
        return str(rng.randint(0, 10**9))
    return text_of(rng)


def roster(rng: random.Random, table: Table, count: int) -> list[dict[str, Any]]:
    """Rows of random cells, each with a key of its own."""
    rows = [{name: cell(rng, table, name) for name in columns_of(table)} for _ in range(count)]
    return list({as_key(table, row): row for row in rows}.values())


def frame(table: Table, rows: list[dict[str, Any]], *, categories: bool = False) -> pd.DataFrame:
    names = columns_of(table)
    out = frame_of(names, [tuple(row[name] for name in names) for row in rows])
    return out.astype({name: "category" for name in names if name != "provider_id" and categories})


def as_stored(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    """A row as the database is to have it, said value by value."""
    out = {}
    for name, value in row.items():
        column = table.columns[name]
        if isinstance(column.type, Boolean):
            value = {"true": True, "false": False}.get(value)
        elif isinstance(column.type, Date):
            value = dt.date.fromisoformat(value) if value else None
        elif isinstance(column.type, Integer):
            value = int(value)
        elif value == "" and column.nullable:
            value = None
        out[name] = value
    return out


def stored(engine: Engine, table: Table, tenant: str, *more: str) -> list[dict[str, Any]]:
    columns = [table.columns[name] for name in (*columns_of(table), *more)]
    with engine.connect() as connection:
        found = connection.execute(select(*columns).where(table.c.tenant == tenant)).mappings()
        return sorted(({**row} for row in found), key=str)


def write(
    engine: Engine, tenant: str, sync_id: int, table: Table, *parts: pd.DataFrame, merged: Any = None
) -> None:
    nothing = {name: frame(database.metadata.tables[name], []) for name in KEYS}
    changes = {name: Changes(empty, empty, empty) for name, empty in nothing.items()}
    changes[table.name] = Changes(*parts)
    with engine.begin() as connection:
        write_changes(connection, tenant, sync_id, NOW, changes, merged or {})


# What is shrunk is a seed, and no example is simpler for that.
RANDOM = settings(max_examples=10, phases=(Phase.generate,))


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
@pytest.mark.parametrize("categories", [False, True], ids=["texts", "categories"])
@RANDOM
@given(seed=st.integers(0, 2**32))
def test_rows_are_stored_as_if_each_were_written_by_itself(
    engine: Engine, table: Table, categories: bool, seed: int
):
    rows = roster(random.Random(seed), table, 60)
    expected = sorted((as_stored(table, row) for row in rows), key=str)
    straight, staged_ = f"t{next(numbers)}", f"t{next(numbers)}"
    nothing, given_ = frame(table, []), frame(table, rows, categories=categories)
    write(engine, straight, 1, table, given_, nothing, nothing)
    write(engine, staged_, 1, table, nothing, given_, nothing)  # by way of a temporary table
    assert stored(engine, table, straight) == stored(engine, table, staged_) == expected
    by_hand = f"t{next(numbers)}"
    if rows:
        marks = {"tenant": by_hand, "created_sync": 1, "changed_sync": 1}
        with engine.begin() as connection:
            connection.execute(insert(table), [as_stored(table, row) | marks for row in rows])
    assert stored(engine, table, by_hand) == expected
    for tenant in (straight, by_hand):
        with engine.connect() as connection:
            found = read_table(connection, table, tenant)
        key = KEYS[table.name]
        pd.testing.assert_frame_equal(
            found.sort_values(key, ignore_index=True), frame(table, rows).sort_values(key, ignore_index=True)
        )


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
@RANDOM
@given(seed=st.integers(0, 2**32))
def test_what_was_there_is_kept_as_it_was(engine: Engine, table: Table, seed: int):
    rng = random.Random(seed)
    rows = roster(rng, table, 30)
    tenant, nothing, key = f"t{next(numbers)}", frame(table, []), KEYS[table.name]
    changed = {**roster(rng, table, 1)[0], **{name: rows[0][name] for name in key}}
    write(engine, tenant, 1, table, frame(table, rows), nothing, nothing)
    assert not read_history(engine, tenant)
    before = {as_key(table, row): {str(k): v for k, v in row.items() if v != ""} for row in rows}
    write(engine, tenant, 2, table, nothing, frame(table, [changed]), frame(table, rows[1:2]))
    touched = [tuple(row[name] for name in key) for row in rows[:2]]
    assert read_history(engine, tenant) == {
        (2, table.name, orjson.dumps(who).decode(), orjson.dumps(before[who]).decode()) for who in touched
    }
    kept = {tuple(row[name] for name in key): row for row in stored(engine, table, tenant, "removed_at")}
    gone = NOW.replace(tzinfo=None)
    assert kept[as_key(table, rows[1])] == as_stored(table, rows[1]) | {"removed_at": gone}
    assert kept[as_key(table, rows[0])] == as_stored(table, changed) | {"removed_at": None}
    assert kept[as_key(table, rows[2])] == as_stored(table, rows[2]) | {"removed_at": None}
    # Whoever comes back is live again, and that they were removed is kept.
    write(engine, tenant, 3, table, frame(table, rows[1:2]), nothing, nothing)
    ((_, _, _, then),) = [entry for entry in read_history(engine, tenant) if entry[0] == 3]
    assert orjson.loads(then).pop("removed_at").startswith("2025-10-15 23:30:00")


def as_key(table: Table, row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEYS[table.name])


def read_history(engine: Engine, tenant: str) -> set[tuple[Any, ...]]:
    kept = database.history
    with engine.connect() as connection:
        found = select(kept.c.sync_id, kept.c.kind, kept.c.row_key, kept.c.before)
        return {tuple(row) for row in connection.execute(found.where(kept.c.tenant == tenant))}


def test_more_rows_than_go_at_once_all_arrive(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(copying, "ROWS_AT_ONCE", 7)
    monkeypatch.setattr(copying, "BYTES_AT_ONCE", 50)
    rows = [(number % 3 + 1, f"u{number:03}\n,") for number in range(100)]
    for part in (rows[:60], rows[40:]):
        with engine.begin() as connection:
            new = frame_of(["provider_id", "source_id"], part)
            remember(connection, database.enrolled_sources, "many", new)
    with engine.connect() as connection:
        found = read_table(connection, database.enrolled_sources, "many")
    assert sorted(found.itertuples(index=False, name=None)) == sorted(rows)


def test_columns_come_as_categories_where_that_is_asked_for(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(copying, "ROWS_AT_ONCE", 7)
    monkeypatch.setattr(copying, "BYTES_AT_ONCE", 50)
    table, asked = database.memberships, ["class_id", "role", "provider"]
    rows = roster(random.Random(7), table, 60)
    write(engine, "kinds", 1, table, frame(table, rows), frame(table, []), frame(table, []))
    with engine.connect() as connection:
        found = read_table(connection, table, "kinds", categories=asked)
        none = read_table(connection, table, "nobody", categories=asked)
    assert [name for name, kind in found.dtypes.items() if kind == "category"] == asked
    assert found.drop(columns=asked).dtypes.equals(frame(table, []).drop(columns=asked).dtypes)
    told = found.astype(dict.fromkeys(asked, "str"))
    key = KEYS[table.name]
    pd.testing.assert_frame_equal(
        told.sort_values(key, ignore_index=True), frame(table, rows).sort_values(key, ignore_index=True)
    )
    assert none.dtypes["role"] == "category"
    assert none.empty


def test_a_mark_of_the_encoding_is_a_character_like_others(engine: Engine):
    rows = [(1, "\ufeffa"), (1, "\ufeff"), (1, "b\ufeff")]
    with engine.begin() as connection:
        remember(connection, database.enrolled_sources, "mark", frame_of(["provider_id", "source_id"], rows))
    with engine.connect() as connection:
        found = read_table(connection, database.enrolled_sources, "mark", names=("source_id",))
    assert sorted(found["source_id"]) == sorted(text for _, text in rows)


def test_one_column_of_nothing_has_as_many_rows_as_the_table(engine: Engine):
    write(engine, "blank", 1, database.people,
          frame_of(columns_of(database.people), [(str(n), *[""] * 15) for n in range(3)]),
          frame(database.people, []), frame(database.people, []))  # fmt: skip
    with engine.connect() as connection:
        found = read_table(connection, database.people, "blank", names=("email",))
    assert found["email"].tolist() == ["", "", ""]


def test_a_tenant_is_read_by_its_own_name_only(engine: Engine):
    names = ("o'ak", "o'ak' OR 'x'='x", "50%", "%s", "back\\slash", "{tenant}")
    for number, name in enumerate(names):
        with engine.begin() as connection:
            new = frame_of(["provider_id", "source_id"], [(number, name)])
            remember(connection, database.enrolled_sources, name, new)
    for name in names:
        with engine.connect() as connection:
            found = read_table(connection, database.enrolled_sources, name)
        assert found["source_id"].tolist() == [name]


def test_a_reading_sees_what_its_transaction_wrote_and_leaves_it_going(engine: Engine):
    tenant = "going"
    with engine.connect() as connection:
        with connection.begin() as transaction:
            remember(
                connection,
                database.enrolled_sources,
                tenant,
                frame_of(["provider_id", "source_id"], [(1, "a")]),
            )
            assert len(read_table(connection, database.enrolled_sources, tenant)) == 1
            transaction.rollback()
        assert read_table(connection, database.enrolled_sources, tenant).empty


def test_a_reading_that_fails_says_so_and_spoils_no_connection(engine: Engine):
    one = frame_of(["provider_id", "source_id"], [(0, "a")])
    with engine.begin() as connection:
        remember(connection, database.enrolled_sources, "one", one)
    # One fails before the first byte; the other, on Postgres, only after that was promised.
    for wrong, told in (
        ("no_such_column", "no_such_column"),
        ("abs(-9223372036854775807 - 1 + provider_id)", "range|overflow"),
    ):
        with pytest.raises(Exception, match=told), engine.connect() as connection:
            read_table(connection, database.enrolled_sources, "one", {"x": f"CAST({wrong} AS TEXT)"})
        with engine.connect() as connection:
            assert len(read_table(connection, database.enrolled_sources, "one")) == 1


def test_a_text_with_nul_is_refused_by_postgres_and_nothing_of_it_is_there(engine: Engine):
    new = frame_of(["provider_id", "source_id"], [(1, "a"), (2, "b\0c")])

    def write_it() -> None:
        with engine.begin() as connection:
            remember(connection, database.enrolled_sources, "nul", new)

    if engine.dialect.name == "postgresql":
        with pytest.raises(Exception, match="0x00"):
            write_it()
        expected = []
    else:
        write_it()
        expected = ["a", "b\0c"]
    with engine.connect() as connection:
        assert read_table(connection, database.enrolled_sources, "nul")["source_id"].tolist() == expected


def test_a_key_that_comes_twice_is_refused(engine: Engine):
    twice = frame_of(["provider_id", "source_id", "school_id"], [(1, "north", "a"), (1, "north", "b")])
    with pytest.raises(Exception, match=r"(?i)unique"), engine.begin() as connection:
        remember(connection, database.school_sources, "twice", twice)


def test_a_reader_with_a_snapshot_keeps_it(engine: Engine, tmp_path: Path):
    tenant, table = "snapshot", database.enrolled_sources
    one = frame_of(["provider_id", "source_id"], [(1, "a")])
    with engine.begin() as connection:
        remember(connection, table, tenant, one)
    options = {"isolation_level": "REPEATABLE READ"} if engine.dialect.name == "postgresql" else {}
    with engine.connect().execution_options(**options) as reader, reader.begin():
        assert len(read_table(reader, table, tenant)) == 1
        with engine.begin() as connection:
            remember(connection, table, tenant, frame_of(["provider_id", "source_id"], [(1, "b")]))
        assert len(read_table(reader, table, tenant)) == 1
