"""Published rows as they were before each sync changed them: what `undo` goes back to.

Written in the transaction that publishes. A row that a sync makes for the first time has no entry: its
`created_sync` says as much, and a first sync costs nothing more. What going back means is in
`rosters.undone`; who does it, in `undo`.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import Table, delete, func, select, text

from roster_pipeline.rosters import rows
from roster_pipeline.rosters.changes import KEYS
from roster_pipeline.rosters.undoing import NOW
from roster_pipeline.store import database
from roster_pipeline.store.copying import merge, staged, stamp_of, upsert
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


def record(connection: Connection, table: Table, tenant: str, sync_id: int, stage: str) -> None:
    """Keeps rows as they are now, before a sync changes them.

    A sync that publishes twice keeps them as they were before the first time.

    Args:
        connection: In the transaction that changes them.
        table: A published table.
        tenant: The tenant.
        sync_id: The sync.
        stage: A temporary table (`copying.staged`) with the keys of the rows; of those that are not there
            yet, nothing is kept.
    """
    # The JSON that orjson writes, letter for letter: `row_key` is a key, on both databases the same.
    is_sqlite = connection.dialect.name == "sqlite"
    quote, place = ("json_quote", "?") if is_sqlite else ("to_json", "%s")
    texts = {name: as_text(table, name, "t.") for name in columns_of(table)}

    def quoted(name: str) -> str:
        if name == "provider_id":  # a number
            return f"COALESCE(CAST(t.{name} AS TEXT), 'null')"
        return f"CAST({quote}({texts[name]}) AS TEXT)"

    texts["removed_at"] = "COALESCE(CAST(t.removed_at AS TEXT), '')"
    members = [
        f"CASE WHEN {text} = '' THEN '' ELSE ',\"{name}\":' || {quoted(name)} END"
        if name != "provider_id"
        else f"',\"{name}\":' || {quoted(name)}"
        for name, text in texts.items()
    ]
    key = KEYS[table.name]
    row_key = " || ',' || ".join(map(quoted, key))
    same = " AND ".join(f"t.{name} = s.{name}" for name in key)
    connection.exec_driver_sql(
        "INSERT INTO history (tenant, sync_id, kind, row_key, before)"
        f" SELECT t.tenant, {place}, '{table.name}', '[' || {row_key} || ']',"
        f" '{{' || SUBSTR({' || '.join(members)}, 2) || '}}'"
        f" FROM {stage} AS s JOIN {table.name} AS t ON {same} WHERE t.tenant = {place}"
        " ON CONFLICT (tenant, sync_id, kind, row_key) DO NOTHING",
        (sync_id, tenant),
    )


def record_hold(connection: Connection, tenant: str, sync_id: int, school_id: str, *, held: bool) -> None:
    """Keeps whether an undo held a school, before the undo `sync_id` changes that."""
    _write(connection, tenant, sync_id, HOLDS, orjson.dumps([school_id]).decode(), "{}" if held else None)


def _write(
    connection: Connection, tenant: str, sync_id: int, kind: str, row_key: str, before: str | None
) -> None:
    entry = frame_of(["kind", "row_key", "before"], [(kind, row_key, before)])
    upsert(connection, history, entry, {"tenant": tenant, "sync_id": sync_id}, keep=("before",))


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
        names = [*columns_of(table), "removed_at"]
        frame = frame_of(names, [tuple(change.then[name] for name in names) for change in mine])
        frame["removed_at"] = frame["removed_at"].replace(NOW, stamp)
        with staged(connection, table, names, frame) as stage:
            record(connection, table, tenant, number, stage)
            made = {"tenant": tenant, "created_sync": number, "changed_sync": number}
            merge(connection, table, names, stage, made, keep=("created_sync",))


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
        _write(connection, tenant, last, PRUNED, "[]", None)
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
