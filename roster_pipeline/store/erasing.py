"""Erases somebody: their rows of the database, and what the lake's files say of them.

Real DELETEs, which nothing else does with rows of people. Whom a request means, the order of the steps and
the receipt are for `forgetting`.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import ColumnElement, and_, delete, or_, select, tuple_, update

from roster_pipeline.codes import CodedError
from roster_pipeline.rosters import rows
from roster_pipeline.rosters.forgotten import Forgotten, Key
from roster_pipeline.store import database as db

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine, Table
    from sqlalchemy.engine import Connection

    from roster_pipeline.store.lake import Lake


@dataclass(frozen=True, slots=True)
class Human:
    """Everything that is one human: the ids that they have or had, and the users behind them."""

    people: frozenset[str]
    users: frozenset[Key]


# ------------------------------------------------------------------------------ the database


def erase_rows(
    connection: Connection, tenant: str, human: Human, *, only_count: bool = False
) -> Counter[str]:
    """Deletes the human's rows in every table of the tenant; gives back how many of each.

    Publishing what was merged before is refused from here on (RS-RUN-07): the register is at another version.
    """
    found: Counter[str] = Counter()
    for table, mine in _conditions(tenant, human):
        if only_count:
            keys = connection.execute(select(*table.primary_key.columns).where(mine)).all()
            found[table.name] += len(keys)
        else:
            found[table.name] += connection.execute(delete(table).where(mine)).rowcount
    found["history"] += _erase_history(connection, tenant, human, only_count=only_count)
    if not only_count:
        _take_out_of_evidence(connection, tenant, human)
        register = db.registers.c.tenant == tenant
        connection.execute(
            update(db.registers).where(register).values(version=db.registers.c.version + 1, proposal=None)
        )
    return +found


_MANY: Final = 400
"""How many values a statement takes: SQLite has a limit."""


def _conditions(tenant: str, human: Human) -> Iterator[tuple[Table, ColumnElement[bool]]]:
    """Every table that holds rows of people, with what makes a row theirs."""
    people, users = sorted(human.people), sorted(human.users)
    by_person = (
        (db.people, ("person_id", "merged_into")),
        (db.memberships, ("person_id",)),
        (db.guardian_links, ("student_id", "guardian_id")),
        (db.person_sources, ("person_id",)),
        (db.sync_outcomes, ("person_id",)),
    )
    for some in _chunks(people):
        for table, names in by_person:
            mine = or_(*(table.c[name].in_(some) for name in names))
            yield table, and_(table.c.tenant == tenant, mine)
    for some_users in _chunks(users):
        for table in (db.person_sources, db.sync_outcomes, db.enrolled_sources):
            key = tuple_(table.c.provider_id, table.c.source_id)
            yield table, and_(table.c.tenant == tenant, key.in_(some_users))


def _chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), _MANY):
        yield values[start : start + _MANY]


_OF_PEOPLE: Final = ("people", "person_sources", "memberships", "guardian_links")


def _erase_history(connection: Connection, tenant: str, human: Human, *, only_count: bool) -> int:
    """The rows of theirs as they were before earlier syncs."""
    table = db.history
    texts = {(str(who), user) for who, user in human.users}
    query = select(table).where(table.c.tenant == tenant, table.c.kind.in_(_OF_PEOPLE))
    theirs = []
    for row in connection.execute(query):
        key = tuple(str(part) for part in json.loads(row.row_key))
        named = set(key) | {
            str(value) for value in json.loads(row.before or "{}").values() if isinstance(value, str)
        }
        if named & human.people or (row.kind == "person_sources" and key[:2] in texts):
            theirs.append((row.sync_id, row.kind, row.row_key))
    if not only_count:
        for sync_id, kind, row_key in theirs:
            connection.execute(
                delete(table).where(
                    table.c.tenant == tenant,
                    table.c.sync_id == sync_id,
                    table.c.kind == kind,
                    table.c.row_key == row_key,
                )
            )
    return len(theirs)


def _take_out_of_evidence(connection: Connection, tenant: str, human: Human) -> None:
    """Others could have been this person: no more."""
    table = db.sync_outcomes
    query = select(table.c.provider_id, table.c.source_id, table.c.evidence)
    for row in connection.execute(query.where(table.c.tenant == tenant, table.c.evidence.like("[%"))).all():
        before = json.loads(row.evidence)
        after = [person for person in before if person not in human.people]
        if len(after) < len(before):
            connection.execute(
                update(table)
                .where(
                    table.c.tenant == tenant,
                    table.c.provider_id == row.provider_id,
                    table.c.source_id == row.source_id,
                )
                .values(evidence=json.dumps(after))
            )


def clean_database_file(engine: Engine) -> None:
    """Makes what was deleted unreadable in the files of a SQLite database; on Postgres VACUUM does that.

    The whole file is written anew: pages keep what stood in them before, of this deletion and of every
    update of the rows before it, which `secure_delete` would not reach. The log beside it is emptied.

    Raises:
        CodedError: RS-RUN-13 while somebody else reads: the log cannot be emptied then.
    """
    if engine.dialect.name != "sqlite":
        return
    raw = engine.raw_connection()
    try:
        cursor = raw.cursor()
        cursor.execute("VACUUM")
        busy, *_ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        raw.close()
    if busy:
        raise CodedError("RS-RUN-13", "Somebody is reading the roster database, so its log was not emptied.")


# ------------------------------------------------------------------------------ the lake

_PERSON: Final = ("person_id", "student_id", "guardian_id", "merged_into")
_TABLES: Final[dict[str, tuple[str, ...]]] = {
    "users": ("source_id",),
    "enrolments": ("user_ref",),
    "links": ("source_id",),
    "outcomes": ("source_id", "one_with"),
    "people": (),
    "guardians": (),
    "merged": (),
}
"""Table between the assets → its columns that hold a user of the row's provider."""

NOBODYS: Final = frozenset(
    {"orgs", "schools", "sessions", "academicSessions", "courses", "classes", "calendars"}
)
"""Tables and collections that say nothing of people; their ids may be equal to somebody's."""


def erase_files(lake: Lake, tenant: str, forgotten: Forgotten, *, only_count: bool = False) -> Counter[str]:
    """Rewrites the tenant's files of every sync without the forgotten; gives back how many rows each had.

    Rows of extracts are blanked, so that counts stay what they were when they were read; rows of tables
    between assets go. A file is replaced whole or not at all; repeated, it finds nothing more to do.
    Whoever calls this holds the tenant's lease: a file that cannot be read was left by a killed process.
    """
    root = lake.root / "tenants" / tenant
    found: Counter[str] = Counter()
    for provider_id, collection, path in _extracts(root):
        found["extracts"] += _erase_extract(path, collection, provider_id, forgotten, only_count)
    for path in sorted(root.glob("syncs/*/*/*.parquet"), key=str):
        found["tables"] += _erase_table(path, forgotten, only_count)
    for path in sorted(root.glob("syncs/*/*/facts.json"), key=str):
        _erase_facts(path, forgotten, only_count)
    if not only_count:
        _end_readings(root)
        _sweep(root)
    return +found


_COLLECTION: Final = re.compile(r"[A-Za-z]+")


def rows_of_people(lake: Lake, tenant: str) -> Iterator[tuple[int, str, pa.Table]]:
    """(provider_id, `users` or `people`, rows) of every file of the tenant's extracts that has any."""
    for provider_id, collection, path in _extracts(lake.root / "tenants" / tenant):
        if collection in ("users", "people"):
            table = _read(path, only_count=True)
            if table is not None:
                yield provider_id, collection, table


def _extracts(root: Path) -> Iterator[tuple[int, str, Path]]:
    """Every Parquet file of every extract, wholes and parts: its name begins with the collection."""
    for provider in sorted(root.glob("extracts/*"), key=str):
        for path in sorted(provider.rglob("*.parquet"), key=str):
            name = path.relative_to(provider).parts[1]  # below the sync's folder
            found = _COLLECTION.match(name)
            yield int(provider.name), found[0] if found else name, path


def _erase_extract(
    path: Path, collection: str, provider_id: int, forgotten: Forgotten, only_count: bool
) -> int:
    before = _read(path, only_count)
    if before is None or collection in NOBODYS:
        return 0
    after = forgotten.blanked(provider_id, collection, before)
    if after is before:
        return 0
    if not only_count:
        _forget_content(path.parent / f"{collection}.json")  # first: it never tells of what is not there
        _replace(path, after)
    first = before.column_names[0]
    names = ("status", first) if "status" in before.column_names else (first,)
    return sum(
        any(one != other for one, other in zip(had, has, strict=True))
        for had, has in zip(_tuples(before, names), _tuples(after, names), strict=True)
    )


def _erase_table(path: Path, forgotten: Forgotten, only_count: bool) -> int:
    name = path.name.removesuffix(".parquet")
    before = _read(path, only_count)
    if before is None or name in NOBODYS:
        return 0
    users, people = _TABLES.get(name, ()), [one for one in _PERSON if one in before.column_names]
    keep = [True] * before.num_rows
    for column in people:
        keep = [
            stays and not forgotten.is_person(person)
            for stays, person in zip(keep, before[column].to_pylist(), strict=True)
        ]
    for column in users:
        keep = [
            stays and not forgotten.is_user(key)
            for stays, key in zip(keep, _tuples(before, ("provider_id", column)), strict=True)
        ]
    after = before if all(keep) else before.filter(pa.array(keep, pa.bool_()))
    after = _without_mentions(after, forgotten)
    if after is not before and not only_count:
        _replace(path, after)
    return int(before.num_rows - after.num_rows)


def _without_mentions(table: pa.Table, forgotten: Forgotten) -> pa.Table:
    """Lists in rows of others: whom they could be, and whose family they are."""
    for name in {"candidates", "agents"} & set(table.column_names):
        texts = table[name].to_pylist()
        if name == "agents":
            providers = table["provider_id"].to_pylist()
            told = [forgotten.without(who, text) for who, text in zip(providers, texts, strict=True)]
        else:
            told = [_without_people(text, forgotten) for text in texts]
        if told != texts:
            table = table.set_column(
                table.column_names.index(name), table.schema.field(name), pa.array(told, table[name].type)
            )
    return table


def _without_people(text: str, forgotten: Forgotten) -> str:
    people = rows.parse_list(text)
    stay = [person for person in people if not forgotten.is_person(person)]
    return text if len(stay) == len(people) else rows.as_list(stay)


def _erase_facts(path: Path, forgotten: Forgotten, only_count: bool) -> None:
    """`merged_identities` names users whom it dropped."""
    facts = json.loads(path.read_text(encoding="utf-8"))
    before = facts.get("dropped", [])
    after = [entry for entry in before if not forgotten.is_user((int(entry[0]), entry[1]))]
    if len(after) < len(before) and not only_count:
        content = json.dumps(facts | {"dropped": after}).encode()
        _write(path, content)


def _tuples(table: pa.Table, names: Iterable[str]) -> Iterator[tuple[Any, ...]]:
    return zip(*(table[name].to_pylist() for name in names), strict=True)


def _read(path: Path, only_count: bool) -> pa.Table | None:
    try:
        with path.open("rb") as file:
            return pq.read_table(file)
    except pa.ArrowInvalid:  # never finished, so never read: and nobody can say what is in it
        if not only_count:
            path.unlink()
        return None


def _replace(path: Path, table: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    # Neither a dictionary nor statistics: both would show values, and nobody looks for one.
    pq.write_table(table, sink, use_dictionary=False, write_statistics=False, compression="lz4")
    _write(path, sink.getvalue().to_pybytes())


def _write(path: Path, content: bytes) -> None:
    """Replaces a file whole: an object store does so by itself."""
    if type(path).__module__.startswith("pathlib"):
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        aside.write_bytes(content)
        aside.replace(path)
    else:
        path.write_bytes(content)


def _forget_content(note: Path) -> None:
    """What was read is not what is kept of it any more: no extract or page to come can be the same."""
    if note.exists():
        found = json.loads(note.read_text(encoding="utf-8"))
        kept = {name: value for name, value in found.items() if name not in ("digest", "pages")}
        if kept != found:
            _write(note, json.dumps(kept).encode())


def _end_readings(root: Path) -> None:
    """A reading that was interrupted does not go on: where it stood, it knew the last rows."""
    for path in sorted(root.glob("extracts/*/*/*.json"), key=str):
        found = json.loads(path.read_text(encoding="utf-8"))
        if found.get("bookmark") is not None:
            _write(path, json.dumps(found | {"bookmark": None}).encode())


def _sweep(root: Path) -> None:
    """What killed processes left aside, before they could put it in its place."""
    for path in sorted(root.rglob(".*"), key=str):
        if path.is_file():
            path.unlink()
