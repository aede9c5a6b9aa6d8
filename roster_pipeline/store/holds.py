"""The removals that wait, in the database, and what people decide of them.

What waits is for `rosters.plan`; the transaction that publishes writes it. A decision is about the rows
that wait when it is made: it is kept with their fingerprint.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import ColumnElement, Row, and_, delete, insert, select, update

from roster_pipeline.codes import CodedError
from roster_pipeline.rosters import undone
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
                decisions.c.kind == place[0],
                decisions.c.school_id == place[1],
                decisions.c.class_id == place[2],
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


def set_back(
    connection: Connection,
    tenant: str,
    sync_id: int,
    day: dt.date,
    school_id: str,
    *,
    count: int,
    why: str,
    fingerprint: str,
) -> None:
    """A school, or those of no school ("" ), waits from an undo on; what waited there before is replaced."""
    lift(connection, tenant, school_id)
    kind, school_id, class_id = undone.place_of(school_id)
    connection.execute(
        insert(holds).values(
            tenant=tenant, kind=kind, school_id=school_id, class_id=class_id, code=undone.CODE,
            count=count, total=count, why=why, fingerprint=fingerprint,
            since_sync=sync_id, since=day, state=WAITING,
        )
    )  # fmt: skip


def lift(connection: Connection, tenant: str, school_id: str) -> None:
    """A school does not wait any more for what an undo set back."""
    connection.execute(delete(holds).where(_at(tenant, undone.place_of(school_id))))


def are_set_back(connection: Connection, tenant: str) -> dict[str, str]:
    """school_id → the fingerprint of its rows in the sources, of every school that an undo set back."""
    mine = select(holds.c.school_id, holds.c.fingerprint).where(
        holds.c.tenant == tenant, holds.c.kind == undone.KIND
    )
    return {row.school_id: row.fingerprint for row in connection.execute(mine)}


def settle(connection: Connection, tenant: str, fingerprints: Mapping[str, str]) -> None:
    """Gives schools whose rows were not known when they were set back the fingerprint of their rows.

    From then on a change of the source can be told.
    """
    for school, fingerprint in fingerprints.items():
        unknown = and_(_at(tenant, undone.place_of(school)), holds.c.fingerprint == "")
        connection.execute(update(holds).where(unknown).values(fingerprint=fingerprint))


def unsettle(connection: Connection, tenant: str) -> None:
    """Forgets what the rows of schools that were set back looked like: somebody's are gone from them.

    Else that would be taken for a change of the source, and undo the undo. The next sync settles them anew.
    """
    mine = holds.c.tenant == tenant, holds.c.kind == undone.KIND, holds.c.state != APPROVED
    connection.execute(update(holds).where(*mine).values(fingerprint=""))


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
    wanted = school_ids(connection, tenant, school)
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


def school_ids(connection: Connection, tenant: str, school: str | None) -> set[str] | None:
    """The schools that a school_id, an identifier or an exact name means; None for all."""
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
