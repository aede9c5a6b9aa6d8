"""The removals that wait, in the database, and what people decide of them.

What waits is for `rosters.plan`; the transaction that publishes writes it. A decision is about the rows
that wait when it is made: it is kept with their fingerprint.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import ColumnElement, Row, and_, delete, insert, select, update

from roster_pipeline.codes import CodedError
from roster_pipeline.rosters.holds import APPROVED, WAITING, Hold, Place
from roster_pipeline.store.database import decisions, holds, schools

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

APPROVAL_DAYS: Final = 3
"""Until how many days after it an approval counts."""


def remember(
    connection: Connection,
    tenant: str,
    sync_id: int,
    day: dt.date,
    held: Sequence[Hold],
    stays: Collection[Place],
) -> None:
    """Records what waits after a sync.

    What waits no more is forgotten, and an approval that let it through is recorded as used.

    Args:
        connection: In the transaction that publishes.
        tenant: The tenant.
        sync_id: The sync.
        day: Its `as_of`.
        held: What waits by this sync.
        stays: Where this sync could not judge, and something waits on.
    """
    before = {_place(row): row for row in connection.execute(select(holds).where(holds.c.tenant == tenant))}
    for place in before.keys() - {one.place for one in held} - set(stays):
        if before[place].state == APPROVED:
            used = and_(
                decisions.c.tenant == tenant,
                decisions.c.fingerprint == before[place].fingerprint,
                decisions.c.decision == APPROVED,
                decisions.c.sync_id.is_(None),
            )
            connection.execute(update(decisions).where(used).values(sync_id=sync_id))
        connection.execute(delete(holds).where(_at(tenant, place)))
    for one in held:
        known = before.get(one.place)
        values = {name: getattr(one, name) for name in ("code", "count", "total", "why", "fingerprint")}
        if known is None:
            names = dict(zip(("kind", "school_id", "class_id"), one.place, strict=True))
            since = {"since_sync": sync_id, "since": day, "state": WAITING}
            connection.execute(insert(holds).values(tenant=tenant, **names, **values, **since))
        elif known.fingerprint != one.fingerprint:  # other rows: what was decided was not about them
            fresh = {"state": WAITING, "expires_on": None}
            connection.execute(update(holds).where(_at(tenant, one.place)).values(**values, **fresh))


def waiting(connection: Connection, tenant: str) -> Sequence[Row[Any]]:
    """Every hold of the tenant with the school's name (`name`, None for no school), the oldest first."""
    named = and_(schools.c.tenant == holds.c.tenant, schools.c.school_id == holds.c.school_id)
    return connection.execute(
        select(holds, schools.c.name)
        .join_from(holds, schools, named, isouter=True)
        .where(holds.c.tenant == tenant)
        .order_by(holds.c.since_sync, schools.c.name, holds.c.kind, holds.c.class_id)
    ).all()


def decide(
    connection: Connection,
    tenant: str,
    decision: str,
    *,
    school: str | None,
    who: str,
    why: str,
    now: dt.datetime,
    day: dt.date,
) -> Sequence[Row[Any]]:
    """Approves or rejects what waits now; returns it as it was.

    Args:
        connection: In a transaction that writes.
        tenant: The tenant.
        decision: `approved` or `rejected`.
        school: A school_id, identifier or name; None for everything of the tenant.
        who: Who decided.
        why: In their words; may be "".
        now: Aware.
        day: The tenant's date: an approval counts until `APPROVAL_DAYS` after it.

    Raises:
        CodedError: RS-RUN-10 if nothing waits there.
    """
    wanted = _school_ids(connection, tenant, school)
    found = [row for row in waiting(connection, tenant) if wanted is None or row.school_id in wanted]
    if not found:
        where = f" at “{school}”" if school else ""
        raise CodedError("RS-RUN-10", f"Nothing of {tenant} waits{where}.")
    expires = day + dt.timedelta(days=APPROVAL_DAYS) if decision == APPROVED else None
    told = {
        "tenant": tenant,
        "at": now.astimezone(dt.UTC).replace(tzinfo=None),
        "who": who,
        "why": why,
        "decision": decision,
        "expires_on": expires,
    }
    for row in found:
        decided = {"state": decision, "expires_on": expires}
        connection.execute(update(holds).where(_at(tenant, _place(row))).values(**decided))
        what = ("kind", "school_id", "class_id", "count", "fingerprint")
        connection.execute(insert(decisions).values(**told, **{name: row._mapping[name] for name in what}))
    return found


def _school_ids(connection: Connection, tenant: str, school: str | None) -> set[str] | None:
    if school is None:
        return None
    fits = (schools.c.school_id == school) | (schools.c.identifier == school) | (schools.c.name == school)
    return set(connection.scalars(select(schools.c.school_id).where(schools.c.tenant == tenant, fits)))


def _place(row: Row[Any]) -> Place:
    return row.kind, row.school_id, row.class_id


def _at(tenant: str, place: Place) -> ColumnElement[bool]:
    kind, school_id, class_id = place
    return and_(
        holds.c.tenant == tenant,
        holds.c.kind == kind,
        holds.c.school_id == school_id,
        holds.c.class_id == class_id,
    )
