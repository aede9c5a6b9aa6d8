"""The receipts of what was erased on request, and by which digests whoever was erased stays away.

A receipt says when, by whom and why somebody was erased, and how many rows where; not who. Which rows those
are is for `erasing`, how somebody is recognised for `rosters.forgotten`.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
from sqlalchemy import delete, insert, select, update

from roster_pipeline.codes import CodedError
from roster_pipeline.rosters.forgotten import Forgotten
from roster_pipeline.store.copying import upsert
from roster_pipeline.store.database import forgotten, person_sources, receipts

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.engine import Connection

DATABASE, LAKE, FINISHED = "database", "lake", "finished"
"""The members of `receipts.erased`: rows by table, rows by kind of file, and whether all of it is done."""

SALT_BYTES: Final = 32


def forgotten_of(engine: Engine, tenant: str) -> Forgotten | None:
    """Whom the tenant's sources must not bring back; None where nobody was forgotten."""
    with engine.connect() as connection:
        salt = salt_of(connection, tenant)
        if salt is None:
            return None
        found = select(forgotten.c.digest, forgotten.c.receipt_id).where(forgotten.c.tenant == tenant)
        digests = {row.digest: row.receipt_id for row in connection.execute(found)}
        links = select(person_sources.c.provider_id, person_sources.c.source_id)
        linked = {
            (row.provider_id, row.source_id)
            for row in connection.execute(links.where(person_sources.c.tenant == tenant))
        }

    def remember_newly(more: Mapping[str, int]) -> None:
        with engine.connect().execution_options(immediate=True) as connection, connection.begin():
            remember(connection, tenant, more)

    return Forgotten(salt, digests, linked, remember_newly)


def salt_of(connection: Connection, tenant: str) -> str | None:
    """The salt of the tenant's digests: one for all receipts, so that a row costs one digest and not many."""
    return connection.execute(
        select(receipts.c.salt).where(receipts.c.tenant == tenant, receipts.c.salt.is_not(None)).limit(1)
    ).scalar()


def remember(connection: Connection, tenant: str, digests: Mapping[str, int]) -> None:
    """Keeps digests, each with its receipt; of one that was there the newest receipt counts."""
    frame = pd.DataFrame({"digest": digests.keys(), "receipt_id": digests.values()})
    upsert(connection, forgotten, frame, {"tenant": tenant})


def issue(
    connection: Connection,
    tenant: str,
    *,
    who: str,
    why: str,
    salt: str,
    now: dt.datetime,
    erased: Mapping[str, int],
) -> int:
    """Writes a receipt for rows that are erased in this transaction; gives its number."""
    values = {
        "tenant": tenant,
        "at": now.astimezone(dt.UTC).replace(tzinfo=None),
        "who": who,
        "why": why or None,
        "salt": salt,
        "erased": json.dumps({DATABASE: dict(erased), FINISHED: False}),
    }
    result = connection.execute(insert(receipts).values(**values))
    (receipt_id,) = result.inserted_primary_key or (0,)
    return int(receipt_id)


def finish(connection: Connection, receipt_id: int, erased: Mapping[str, int]) -> None:
    """Records that the files are clean, too; rows that an interrupted attempt had counted are added to."""
    told = json.loads(
        connection.execute(select(receipts.c.erased).where(receipts.c.receipt_id == receipt_id)).scalar_one()
    )
    told |= {LAKE: dict(erased), FINISHED: True}
    connection.execute(
        update(receipts).where(receipts.c.receipt_id == receipt_id).values(erased=json.dumps(told))
    )


def all_of(connection: Connection, tenant: str) -> list[dict[str, Any]]:
    """The tenant's receipts, the oldest first: receipt, at, who, why, erased, lifted_at."""
    found = select(receipts).where(receipts.c.tenant == tenant).order_by(receipts.c.receipt_id)
    return [
        {
            "receipt": row.receipt_id,
            "at": row.at.replace(tzinfo=dt.UTC).isoformat(timespec="seconds"),
            "who": row.who,
            "why": row.why,
            "erased": json.loads(row.erased),
            "lifted_at": row.lifted_at and row.lifted_at.replace(tzinfo=dt.UTC).isoformat(timespec="seconds"),
        }
        for row in connection.execute(found)
    ]


def unfinished(connection: Connection, tenant: str) -> list[int]:
    """The receipts of which the database is clean and the files may not be."""
    return [one["receipt"] for one in all_of(connection, tenant) if not one["erased"].get(FINISHED)]


def lift(connection: Connection, tenant: str, receipt_id: int, now: dt.datetime) -> None:
    """Lets those of a receipt come back: its digests and its salt go, the receipt stays.

    Raises:
        CodedError: RS-RUN-13 if there is no such receipt, if it was lifted, or if it is not finished.
    """
    mine = receipts.c.tenant == tenant, receipts.c.receipt_id == receipt_id
    row = connection.execute(select(receipts).where(*mine)).one_or_none()
    if row is None:
        raise CodedError("RS-RUN-13", f"{tenant} has no receipt {receipt_id}.")
    if row.lifted_at is not None:
        raise CodedError("RS-RUN-13", f"Receipt {receipt_id} was lifted on {row.lifted_at:%Y-%m-%d} already.")
    if receipt_id in unfinished(connection, tenant):
        raise CodedError(
            "RS-RUN-13",
            f"Receipt {receipt_id} is not finished: `roster-pipeline tidy {tenant}` completes it first.",
        )
    connection.execute(
        delete(forgotten).where(forgotten.c.tenant == tenant, forgotten.c.receipt_id == receipt_id)
    )
    connection.execute(
        update(receipts).where(*mine).values(salt=None, lifted_at=now.astimezone(dt.UTC).replace(tzinfo=None))
    )
