"""Erasing a person on request: who is meant, the order in which it is done, and the receipt.

The one exception to "rows are never deleted". Which rows are somebody's is in `store.erasing`, how they are
recognised when a source still sends them in `rosters.forgotten`, the receipt in `store.receipts`.

The order, under the tenant's lease, so that no sync runs beside it:

1. One transaction of the database: the receipt, the digests by which they stay away, and the rows, deleted.
   Killed before its commit, nothing has happened; after it, no reader sees them and no sync brings them back.
2. The lake's files, one by one. What a file still says is found by the digests: nobody has to name the
   person again, and nobody could.
3. The database's own file (SQLite): nothing deleted stays readable in it.
4. The receipt is marked as finished.

Killed between 1 and 4, the receipt stays unfinished: `forget` for that tenant, whatever it is asked, and
`tidy` complete it first.
"""

from __future__ import annotations

import datetime as dt
import json
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import or_, select

from roster_pipeline.codes import CodedError
from roster_pipeline.rosters.forgotten import (
    Forgotten,
    Key,
    Mark,
    digest,
    mark_of_person,
    mark_of_user,
    marks_to_forget,
)
from roster_pipeline.store import database as db
from roster_pipeline.store import erasing, holds, receipts
from roster_pipeline.store.erasing import Human
from roster_pipeline.store.lease import Lease
from roster_pipeline.tenants import registry

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlalchemy.engine import Connection

    from roster_pipeline.store.home import Stores

_PEOPLE_WORDS: Final = ("person_id", "email", "username", "identifier")
_ROW_WORDS: Final = {
    "users": ("sourcedId", "email", "username", "identifier"),
    "people": ("id", "email"),
}
_ROW_VALUES: Final = {
    "users": {
        "email": "email", "given": "givenName", "family": "familyName", "identifier": "identifier",
        "master": "userMasterIdentifier",
    },
    "people": {"email": "email", "given": "given_name", "family": "family_name"},
}  # fmt: skip
_SEEN_VALUES: Final = {
    "email": "email", "given": "given_name", "family": "family_name", "identifier": "identifier",
}  # fmt: skip


class SeveralFitError(CodedError):
    """More than one human fits; `ids` tell them apart, a line each, and go to whoever asked."""

    def __init__(self, tenant: str, ids: list[str]) -> None:
        """A code of the catalogue, and a message without ids."""
        message = f"{len(ids)} people of {tenant} fit: name the one by an id of theirs."
        super().__init__("RS-RUN-13", message)
        self.ids = ids


@dataclass(frozen=True, slots=True)
class Meant:
    """Whom a request means, and what would go.

    Attributes:
        human: Their ids and users.
        marks: What they are recognised by.
        rows: Table → rows of the database.
        files: `extracts` and `tables` → rows of the lake.
        alone: person_ids of guardians who have no other student; they stay.
    """

    human: Human
    marks: frozenset[Mark]
    rows: Mapping[str, int]
    files: Mapping[str, int]
    alone: tuple[str, ...]


@contextmanager
def alone_with(stores: Stores, tenant: str, clock: Callable[[], dt.datetime]) -> Iterator[Lease]:
    """Holds the tenant's lease.

    Raises:
        CodedError: RS-CFG-08 for a tenant of whom nothing was ever known, RS-RUN-06 while a sync runs.
    """
    with stores.database.connect() as connection:
        known = select(db.providers.c.provider_id).where(db.providers.c.tenant == tenant).limit(1)
        if connection.execute(known).scalar() is None:  # one that was removed has its providers still
            registry.get(connection, tenant)
    lease = Lease(stores.database, tenant, owner=f"forget-{secrets.token_hex(8)}", clock=clock)
    lease.take()
    try:
        yield lease
    finally:
        lease.release()


def find(stores: Stores, tenant: str, who: str) -> Meant:
    """Whom an e-mail, a username, an identifier, a sourcedId (or PROVIDER/SOURCEDID) or a person_id means.

    In every table and every extract of the tenant, also of providers that are retired and of a tenant that
    is out of the registry. Who was joined with somebody is one human with them.

    Raises:
        CodedError: RS-IDN-10 if nobody fits, `SeveralFitError` (RS-RUN-13) if several do.
    """
    with stores.database.connect() as connection:
        humans = _fitting(connection, stores, tenant, who)
        if not humans:
            raise CodedError(
                "RS-IDN-10",
                f"Nobody of {tenant} has this e-mail, username, identifier or id, in any table or extract.",
            )
        if len(humans) > 1:
            names = _names(connection, tenant)
            raise SeveralFitError(tenant, sorted(_told(human, names) for human in humans))
        human = humans[0]
        marks = _marks(connection, stores, tenant, human)
        human, marks = _with_unlinked_rows(connection, stores, tenant, human, marks)
        found = _recognising(
            secrets.token_hex(receipts.SALT_BYTES), marks, _linked(connection, tenant, human)
        )
        return Meant(
            human,
            frozenset(marks),
            erasing.erase_rows(connection, tenant, human, only_count=True),
            erasing.erase_files(stores.lake, tenant, found, only_count=True),
            _left_alone(connection, tenant, human),
        )


def forget(
    stores: Stores, tenant: str, meant: Meant, lease: Lease, *, who: str, why: str, now: dt.datetime
) -> int:
    """Erases whom `find` found, everywhere; gives the number of the receipt.

    Raises:
        CodedError: RS-RUN-06 if the lease was lost; RS-RUN-13 or RS-DB-03 if the files could not be cleaned:
            the database is, and `finish` completes it.
    """
    with stores.database.connect().execution_options(immediate=True) as connection, connection.begin():
        lease.check(connection)
        salt = receipts.salt_of(connection, tenant) or secrets.token_hex(receipts.SALT_BYTES)
        erased = erasing.erase_rows(connection, tenant, meant.human)
        holds.unsettle(connection, tenant)
        receipt_id = receipts.issue(connection, tenant, who=who, why=why, salt=salt, now=now, erased=erased)
        receipts.remember(connection, tenant, {digest(salt, mark): receipt_id for mark in meant.marks})
    finish(stores, tenant)
    return receipt_id


def finish(stores: Stores, tenant: str) -> list[int]:
    """Cleans the files for every receipt of which that is not done; gives their numbers.

    Whoever calls this holds the tenant's lease.
    """
    with stores.database.connect() as connection:
        open_ones = receipts.unfinished(connection, tenant)
    if open_ones:
        found = receipts.forgotten_of(stores.database, tenant)
        erased = erasing.erase_files(stores.lake, tenant, found) if found is not None else Counter()
        erasing.clean_database_file(stores.database)
        with stores.database.begin() as connection:
            for receipt_id in open_ones:
                receipts.finish(connection, receipt_id, erased)
    return open_ones


# ------------------------------------------------------------------------------ who is meant


def _names(connection: Connection, tenant: str) -> dict[int, str]:
    table = db.providers
    found = select(table.c.provider_id, table.c.name).where(table.c.tenant == tenant)
    return {row.provider_id: row.name for row in connection.execute(found)}


def _told(human: Human, names: Mapping[int, str]) -> str:
    people = [f"person {person}" for person in sorted(human.people)]
    users = [f"{names.get(provider, provider)}/{user}" for provider, user in sorted(human.users)]
    return ", ".join([*people, *users])


def _fitting(connection: Connection, stores: Stores, tenant: str, who: str) -> list[Human]:
    """Every human who fits, with all that is theirs."""
    name, slash, rest = who.strip().partition("/")
    by_name = {name: provider_id for provider_id, name in _names(connection, tenant).items()}
    provider = by_name.get(name) if slash else None
    word = rest if provider is not None else who.strip()
    people: set[str] = set()
    users: set[Key] = set()
    if not word:
        return []
    if provider is None:
        table = db.people
        fits = or_(*(table.c[one] == word for one in _PEOPLE_WORDS))
        people |= set(connection.scalars(select(table.c.person_id).where(table.c.tenant == tenant, fits)))
    for table in (db.person_sources, db.sync_outcomes, db.enrolled_sources):
        found = select(table.c.provider_id).where(table.c.tenant == tenant, table.c.source_id == word)
        users |= {(who_, word) for who_ in connection.scalars(found) if provider in (None, who_)}
    for provider_id, collection, rows in erasing.rows_of_people(stores.lake, tenant):
        if provider in (None, provider_id):
            words = _ROW_WORDS[collection][: 1 if provider is not None else None]
            users |= {(provider_id, one) for one in _having(rows, words, word)}
    owners, joined = _owners(connection, tenant), _joined(connection, tenant)
    humans: dict[Human, None] = {}
    for person in people | {owners[user] for user in users if user in owners}:
        ids = joined.get(person, frozenset({person}))
        humans[Human(ids, frozenset(user for user, owner in owners.items() if owner in ids))] = None
    humans |= {Human(frozenset(), frozenset({user})): None for user in sorted(users) if user not in owners}
    return list(humans)


def _having(rows: pa.Table, names: tuple[str, ...], word: str) -> Iterator[str]:
    """The ids (the first of `names`) of the rows that have the word in one of the columns."""
    columns = [rows[name].to_pylist() for name in names]
    for one in zip(*columns, strict=True):
        if one[0] and word in one:
            yield one[0]


def _owners(connection: Connection, tenant: str) -> dict[Key, str]:
    """User → person_id of every link, also of removed ones, and of every outcome."""
    owners: dict[Key, str] = {}
    for table in (db.sync_outcomes, db.person_sources):
        query = select(table.c.provider_id, table.c.source_id, table.c.person_id)
        for who, user, person in connection.execute(query.where(table.c.tenant == tenant)):
            if person:
                owners[who, user] = person
    return owners


def _joined(connection: Connection, tenant: str) -> dict[str, frozenset[str]]:
    """person_id → all ids of the human, of those who have several."""
    table = db.people
    query = select(table.c.person_id, table.c.merged_into).where(
        table.c.tenant == tenant, table.c.merged_into.is_not(None)
    )
    together: dict[str, set[str]] = {}
    for person, into in connection.execute(query):
        both = together.get(person, {person}) | together.get(into, {into})
        together |= dict.fromkeys(both, both)
    return {person: frozenset(ids) for person, ids in together.items()}


def _linked(connection: Connection, tenant: str, human: Human) -> set[Key]:
    """The users who are linked with anybody else."""
    table = db.person_sources
    query = select(table.c.provider_id, table.c.source_id).where(table.c.tenant == tenant)
    return {(who, user) for who, user in connection.execute(query)} - human.users


# ------------------------------------------------------------------------------ what they are known by


def _marks(connection: Connection, stores: Stores, tenant: str, human: Human) -> set[Mark]:
    """By everything that is known of them: as published, as each source was last accepted, as extracted."""
    marks = {mark_of_person(person) for person in human.people} | {mark_of_user(key) for key in human.users}
    table = db.people
    people = select(table.c.email, table.c.given_name, table.c.family_name).where(
        table.c.tenant == tenant, table.c.person_id.in_(sorted(human.people))
    )
    for email, given, family in connection.execute(people):
        marks |= set(marks_to_forget(0, email=email or "", given=given or "", family=family or ""))
    links = db.person_sources
    seen = select(links.c.provider_id, links.c.seen).where(
        links.c.tenant == tenant, links.c.person_id.in_(sorted(human.people))
    )
    for who, text in connection.execute(seen):
        values: dict[str, Any] = json.loads(text or "{}")
        named = {ours: values.get(name) or "" for ours, name in _SEEN_VALUES.items()}
        marks |= set(marks_to_forget(who, **named))
    for provider_id, collection, rows in erasing.rows_of_people(stores.lake, tenant):
        for source_id, values in _records(collection, rows):
            if (provider_id, source_id) in human.users:
                marks |= set(marks_to_forget(provider_id, **values))
    return marks


def _with_unlinked_rows(
    connection: Connection, stores: Stores, tenant: str, human: Human, marks: set[Mark]
) -> tuple[Human, set[Mark]]:
    """With the rows of the lake that are theirs by what they say, and nobody else's by a link."""
    found = _recognising(secrets.token_hex(receipts.SALT_BYTES), marks, _linked(connection, tenant, human))
    more = {
        (provider_id, source_id)
        for provider_id, collection, rows in erasing.rows_of_people(stores.lake, tenant)
        for source_id, values in _records(collection, rows)
        if source_id and found.by_values((provider_id, source_id), tuple(values.values()))
    }
    return Human(human.people, human.users | more), marks | {mark_of_user(key) for key in more}


def _records(collection: str, rows: pa.Table) -> Iterator[tuple[str, dict[str, str]]]:
    """(sourcedId, values) of each row, the values in the order of `marks_of_values`."""
    names = _ROW_VALUES[collection]
    columns = [rows[name].to_pylist() for name in (rows.column_names[0], *names.values())]
    for source_id, *values in zip(*columns, strict=True):
        yield source_id, dict(zip(names, values, strict=True))


def _recognising(salt: str, marks: set[Mark], linked: set[Key]) -> Forgotten:
    return Forgotten(salt, {digest(salt, mark): 1 for mark in marks}, linked)


def _left_alone(connection: Connection, tenant: str, human: Human) -> tuple[str, ...]:
    """The guardians whose only student this is."""
    table = db.guardian_links
    query = select(table.c.student_id, table.c.guardian_id).where(
        table.c.tenant == tenant, table.c.removed_at.is_(None)
    )
    students: dict[str, set[str]] = {}
    for student, guardian in connection.execute(query):
        students.setdefault(guardian, set()).add(student)
    return tuple(
        sorted(one for one, of in students.items() if of <= human.people and one not in human.people)
    )
