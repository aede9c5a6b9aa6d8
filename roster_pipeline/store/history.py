"""Published rows as they were before each sync changed them: what `undo` goes back to.

Written in the transaction that publishes. A row that a sync makes for the first time has no entry: its
`created_sync` says as much, and a first sync costs nothing more. What going back means is in
`rosters.undone`; who does it, in `undo`.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import Table, delete, func, select, text

from roster_pipeline.rosters import rows
from roster_pipeline.rosters.changes import KEYS
from roster_pipeline.rosters.undoing import NOW
from roster_pipeline.store import database
from roster_pipeline.store.copying import records_of, staged, stamp_of, upsert
from roster_pipeline.store.database import history, syncs
from roster_pipeline.store.published import as_text, columns_of, frame_of, read_table

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from roster_pipeline.rosters.undoing import Difference, Key, Row, Step

PRUNED: Final = "pruned"
"""The kind of the one entry of a tenant that is no row: up to its sync, entries are not kept any more."""

HOLDS: Final = "holds"
"""The kind of the entries for a school's hold that an undo made or lifted; null where there was none."""

_ALL: Final = ("schools", "academic_sessions", "classes", "people", "guardian_links")
"""The tables of which going back needs every row; of the others, those that were touched."""

_COLUMNS: Final = [column.name for column in history.columns]


@dataclass(slots=True)
class Past:
    """What is known of the rows that syncs from some number on have touched.

    Attributes:
        steps: Published table → key → (sync_id, the row as it was before that sync), the earliest first. The
            row has `removed_at` where it was not live, and is None where it did not exist; "" is left out.
        held: school_id → whether an undo held the school before the first of them that made or lifted
            such a hold.
    """

    steps: dict[str, dict[Key, list[Step]]] = field(default_factory=lambda: defaultdict(dict))
    held: dict[str, bool] = field(default_factory=dict)


def record(
    connection: Connection,
    table: Table,
    tenant: str,
    sync_id: int,
    *,
    changed: Collection[Key],
    added: Iterable[Key] = (),
) -> None:
    """Keeps rows as they are now, before a sync changes them.

    A sync that publishes twice keeps them as they were before the first time.

    Args:
        connection: In the transaction that changes them.
        table: A published table.
        tenant: The tenant.
        sync_id: The sync.
        changed: Keys of rows that are there.
        added: Keys of rows that are new, or come back under an old key; not looked at where nothing could.
    """
    keys = [*changed, *(added if _has_removed(connection, table, tenant) else ())]
    if keys:
        found = _as_they_are(connection, table, tenant, keys)
        _write(connection, tenant, sync_id, ((table.name, _dump(key), before) for key, before in found))


def record_hold(connection: Connection, tenant: str, sync_id: int, school_id: str, *, held: bool) -> None:
    """Keeps whether an undo held a school, before the undo `sync_id` changes that."""
    _write(connection, tenant, sync_id, [(HOLDS, _dump((school_id,)), "{}" if held else None)])


def _write(connection: Connection, tenant: str, sync_id: int, entries: Iterator[Any] | Sequence[Any]) -> None:
    records = [(tenant, sync_id, *entry) for entry in entries]
    upsert(connection, history, records, _COLUMNS, keep=("before",))


def _has_removed(connection: Connection, table: Table, tenant: str) -> bool:
    found = select(1).where(table.c.tenant == tenant, table.c.removed_at.is_not(None)).limit(1)
    return connection.execute(found).first() is not None


def _as_they_are(
    connection: Connection, table: Table, tenant: str, keys: Collection[Key]
) -> Iterator[tuple[Key, str]]:
    """(key, JSON) of those of the keys that have a row."""
    names = list(map(str, columns_of(table)))  # not SQLAlchemy's own texts, which are no keys of JSON
    selected = ", ".join([*(as_text(table, name, "t.") for name in names), "CAST(t.removed_at AS TEXT)"])
    places = [names.index(name) for name in KEYS[table.name]]
    with staged(connection, table, KEYS[table.name], keys) as (cursor, stage, same_key):
        place = "?" if connection.dialect.name == "sqlite" else "%s"
        cursor.execute(
            f"SELECT {selected} FROM {stage} s JOIN {table.name} t ON {same_key} WHERE t.tenant = {place}",
            (tenant,),
        )
        found = cursor.fetchall()
    for row in found:
        values = {name: value for name, value in zip(names, row[:-1], strict=True) if value != ""}
        if row[-1] is not None:
            values["removed_at"] = row[-1]
        yield tuple(row[place] for place in places), orjson.dumps(values).decode()


def _dump(key: Key) -> str:
    return orjson.dumps(key).decode()


# ------------------------------------------------------------------------------ going back


def reaches(connection: Connection, tenant: str) -> int:
    """The sync up to which history is not kept any more; 0 where all of it is there."""
    pruned = select(func.max(history.c.sync_id)).where(history.c.tenant == tenant, history.c.kind == PRUNED)
    return connection.scalar(pruned) or 0


def since(connection: Connection, tenant: str, sync_id: int) -> Past:
    """The rows that this sync and later ones touched, as they were before it."""
    past = Past()
    entries = connection.execute(
        select(history.c.sync_id, history.c.kind, history.c.row_key, history.c.before)
        .where(history.c.tenant == tenant, history.c.sync_id >= sync_id, history.c.kind != PRUNED)
        .order_by(history.c.sync_id)
    )
    for changed_by, kind, row_key, before in entries:
        key = tuple(orjson.loads(row_key))
        if kind == HOLDS:
            past.held.setdefault(key[0], before is not None)
            continue
        row = orjson.loads(before) if before else None
        past.steps[kind].setdefault(key, []).append((changed_by, row))
    for table in database.PUBLISHED:
        columns = [table.c[name] for name in KEYS[table.name]]
        made = select(table.c.created_sync, *columns).where(
            table.c.tenant == tenant, table.c.created_sync >= sync_id
        )
        for made_by, *values in connection.execute(made):
            # A sync that published twice has kept, too, what it made the first time.
            later = [step for step in past.steps[table.name].get(tuple(values), ()) if step[0] > made_by]
            past.steps[table.name][tuple(values)] = [(made_by, None), *later]
    return past


def tables(connection: Connection, tenant: str, past: Past) -> dict[str, dict[Key, Row]]:
    """The published rows as they are, live or removed: as `undoing.set_back` needs them."""
    return {
        table.name: _table(connection, table, tenant, None if table.name in _ALL else past.steps[table.name])
        for table in database.PUBLISHED
    }


def _table(
    connection: Connection, table: Any, tenant: str, touched: Mapping[Key, Any] | None
) -> dict[Key, Row]:
    """The rows of a published table, live or removed; of those in `touched`, where it is given."""
    if touched is not None and not touched:
        return {}
    removed = {"removed_at": "COALESCE(CAST(removed_at AS TEXT), '')"}
    frame = read_table(connection, table, tenant, removed)
    keys = list(rows.keys(frame, *KEYS[table.name]))
    if touched is not None:
        here = [key in touched for key in keys]
        frame, keys = frame[here], [key for key in keys if key in touched]
    return dict(zip(keys, rows.records(frame), strict=True))


def go_back(
    connection: Connection, tenant: str, number: int, now: dt.datetime, difference: Difference
) -> None:
    """Publishes what an undo changes, as the sync `number`, and keeps what was there."""
    stamp = stamp_of(now)
    for table in database.PUBLISHED:
        mine = [change for change in difference.changes if change.kind == table.name]
        if not mine:
            continue
        record(connection, table, tenant, number, changed=[change.key for change in mine])
        names = columns_of(table)
        frame = frame_of(names, [tuple(change.then[name] for name in names) for change in mine])
        gone = [change.then["removed_at"] or None for change in mine]
        records = [
            (*record, stamp if since == NOW else since)
            for record, since in zip(
                records_of(table, names, frame, (tenant, number, number)), gone, strict=True
            )
        ]
        columns = ["tenant", "created_sync", "changed_sync", *names, "removed_at"]
        upsert(connection, table, records, columns, keep=("created_sync",))


# ------------------------------------------------------------------------------ retention


def prune(connection: Connection, tenant: str, before: dt.datetime, *, limit: int = 5_000) -> int:
    """Deletes at most so many entries of syncs that began before an instant; how many it deleted.

    Whoever calls this commits, and calls again until it deletes none. From the first batch on, the syncs
    concerned cannot be undone any more.
    """
    instant = before.astimezone(dt.UTC).replace(tzinfo=None)
    last = connection.scalar(
        select(func.max(syncs.c.sync_id)).where(syncs.c.tenant == tenant, syncs.c.started_at < instant)
    )
    if last is None:
        return 0
    if last > reaches(connection, tenant):
        _write(connection, tenant, last, [(PRUNED, "[]", None)])
        connection.execute(
            delete(history).where(
                history.c.tenant == tenant, history.c.kind == PRUNED, history.c.sync_id < last
            )
        )
    old = (
        select(history.c.sync_id, history.c.kind, history.c.row_key)
        .where(history.c.tenant == tenant, history.c.sync_id <= last, history.c.kind != PRUNED)
        .limit(limit)
    )
    keys = [tuple(row) for row in connection.execute(old)]
    if keys:
        connection.execute(
            text(
                "DELETE FROM history WHERE tenant = :tenant AND sync_id = :sync AND kind = :kind "
                "AND row_key = :key"
            ),
            [{"tenant": tenant, "sync": sync, "kind": kind, "key": key} for sync, kind, key in keys],
        )
    return len(keys)
