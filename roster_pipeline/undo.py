"""Sets a published roster back to before a sync: shown as a difference first, then published like a sync.

An undo is a sync of its own in the ledger, in one transaction, with a history of its own: it can be undone.
What changes is decided in `rosters.undoing`, what waits afterwards in `rosters.undone`.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from roster_pipeline.codes import CodedError
from roster_pipeline.nights import windows
from roster_pipeline.rosters.changes import TOLD
from roster_pipeline.rosters.outcome import roster_counts
from roster_pipeline.rosters.statuses import FAILED, GUIDE_COUNTS, SUCCESSFUL
from roster_pipeline.rosters.undoing import Difference, Key, Row, set_back
from roster_pipeline.rosters.undone import KIND, fingerprints
from roster_pipeline.store import database, history, holds, ledger
from roster_pipeline.store.database import decisions, registers, syncs
from roster_pipeline.store.lease import Lease
from roster_pipeline.store.published import StoredRoster, read_table
from roster_pipeline.syncs import newest_sources, not_before
from roster_pipeline.tenants import registry

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from roster_pipeline.rosters.source import Source
    from roster_pipeline.store.home import Stores
    from roster_pipeline.tenants.registry import Registered

UNDONE = "undone"
"""The decision of whoever undoes a sync."""


@dataclass(frozen=True, slots=True)
class Undo:
    """What undoing a sync means.

    Attributes:
        sync_id: The sync that is undone, with all that came after it.
        school_id: The one school that is set back; None for all of the tenant.
        difference: The rows that change.
        names: school_id → name, of the schools concerned.
        waits: The schools ("" for those of no school) that wait afterwards, whatever their source says.
        follows: Those that follow their source again: the undo that held them is undone.
        called: Our ids → what a school, session, class or person is called.
    """

    sync_id: int
    school_id: str | None
    difference: Difference
    names: Mapping[str, str]
    waits: frozenset[str]
    follows: frozenset[str]
    called: Mapping[str, str]

    def rows(self) -> list[dict[str, str]]:
        """The rows that change: kind, what happens to each, and a line of words; personal data."""
        return [
            {
                "kind": change.kind,
                "what": change.what,
                "row": " · ".join(self.called.get(str(part), str(part)) for part in change.key),
            }
            for change in self.difference.changes
            if change.what and change.schools and change.kind in TOLD
        ]


def preview(stores: Stores, tenant: str, sync_id: int, school: str | None = None) -> Undo:
    """What undoing a sync would change now.

    Args:
        stores: Both stores.
        tenant: The tenant.
        sync_id: The sync.
        school: A school_id, identifier or exact name; None for the whole tenant.

    Raises:
        CodedError: RS-CFG-08 for an unknown tenant, RS-RUN-11 if there is nothing to undo, RS-RUN-12 if
            its history is not kept any more.
    """
    with stores.database.connect() as connection, connection.begin():
        return _find(connection, registry.get(connection, tenant), sync_id, school)


def undo(
    stores: Stores,
    tenant: str,
    sync_id: int,
    *,
    school: str | None = None,
    who: str,
    why: str,
    clock: Callable[[], dt.datetime],
) -> dict[str, Any]:
    """Publishes the roster as it was before a sync; its document, as the ledger has it.

    Raises:
        CodedError: As `preview`, and RS-RUN-06 if a sync of the tenant is running.
    """
    with stores.database.connect() as connection:
        registered = registry.get(connection, tenant)
    run_id = f"undo-{uuid.uuid4()}"
    lease = Lease(stores.database, tenant, owner=run_id, clock=clock)
    lease.take()
    try:
        sources = newest_sources(stores, registered)
        with (
            stores.database.connect().execution_options(immediate=True) as connection,
            connection.begin(),
        ):
            lease.check(connection)
            version = connection.execute(
                select(registers.c.version).where(registers.c.tenant == tenant).with_for_update()
            ).scalar()
            found = _find(connection, registered, sync_id, school)
            now = clock()
            number, day, _ = ledger.begin(
                connection,
                tenant=tenant,
                region=registered.tenant.region,
                run_id=run_id,
                trigger=ledger.UNDO,
                as_of=not_before(connection, tenant, windows.as_of(registered.tenant, now)),
                as_of_given=False,
                now=now,
            )
            history.go_back(connection, tenant, number, now, found.difference)
            _decide(connection, stores, tenant, number, day, found, sources, who=who, why=why, now=now)
            # A proposal that was made before is older than this, also that of the newest sync.
            connection.execute(
                update(registers)
                .where(registers.c.tenant == tenant)
                .values(version=(version or 0) + 1, proposal=run_id)
            )
            return ledger.finish(connection, number, _report(connection, tenant, found), clock())
    finally:
        lease.release()


# ------------------------------------------------------------------------------ what changes


def _find(connection: Connection, registered: Registered, sync_id: int, school: str | None) -> Undo:
    tenant = registered.tenant.tenant
    _refuse(connection, tenant, sync_id)
    only = _one_school(connection, tenant, school)
    past = history.since(connection, tenant, sync_id)
    now = history.tables(connection, tenant, past)
    present = {who: name for name, who in registered.provider_ids.items()} | registered.retired
    difference = set_back(now, past.steps, present, only)
    concerned = difference.concerned
    if not concerned:
        where = f" at “{school}”" if school else ""
        raise CodedError(
            "RS-RUN-11", f"Nothing{where} differs from what was published before sync {sync_id} of {tenant}."
        )
    mine = select(syncs.c.sync_id).where(syncs.c.tenant == tenant, syncs.c.trigger == ledger.UNDO)
    undos = set(connection.scalars(mine))
    by_syncs = {
        place for change in difference.changes if change.changed_by - undos for place in change.schools
    }
    # What undos alone have changed goes back to as it was, the hold as well.
    follows = {place for place in concerned if place not in by_syncs and past.held.get(place) is False}
    names = {key[0]: row["name"] for key, row in now["schools"].items() if key[0] in concerned}
    return Undo(
        sync_id=sync_id,
        school_id=only,
        difference=difference,
        names=names,
        waits=frozenset(concerned.keys() - follows),
        follows=frozenset(follows),
        called=_called(now),
    )


def _called(now: Mapping[str, Mapping[Key, Row]]) -> dict[str, str]:
    words = {
        "schools": ("name",),
        "academic_sessions": ("title",),
        "classes": ("title", "class_code"),
        "people": ("given_name", "family_name"),
    }
    return {
        key[0]: " ".join(row[part] for part in parts if row[part]) or key[0]
        for kind, parts in words.items()
        for key, row in now[kind].items()
    }


def _refuse(connection: Connection, tenant: str, sync_id: int) -> None:
    row = connection.execute(
        select(syncs).where(syncs.c.tenant == tenant, syncs.c.sync_id == sync_id)
    ).one_or_none()
    if row is None:
        raise CodedError("RS-RUN-11", f"{tenant} has no sync {sync_id}.")
    ended = {
        FAILED: "failed",
        ledger.INTERRUPTED: "was interrupted",
        ledger.RUNNING: "has not ended",
    }.get(row.status)
    if row.trigger == ledger.DRY_RUN:
        ended = "was only tried out"
    if ended:
        raise CodedError("RS-RUN-11", f"Sync {sync_id} of {tenant} {ended}: it published nothing.")
    kept = history.reaches(connection, tenant)
    if sync_id <= kept:
        raise CodedError(
            "RS-RUN-12",
            f"What sync {sync_id} of {tenant} changed is not kept any more; that of sync {kept + 1} is.",
        )


def _one_school(connection: Connection, tenant: str, school: str | None) -> str | None:
    found = holds.school_ids(connection, tenant, school)
    if found is None:
        return None
    if len(found) != 1:
        what = "No school" if not found else f"{len(found)} schools"
        raise CodedError("RS-RUN-11", f"{what} of {tenant} are called “{school}”." if found else
                         f"No school of {tenant} is called “{school}”.")  # fmt: skip
    return found.pop()


# ------------------------------------------------------------------------------ what is written


def _decide(
    connection: Connection,
    stores: Stores,
    tenant: str,
    number: int,
    day: dt.date,
    found: Undo,
    sources: list[Source],
    *,
    who: str,
    why: str,
    now: dt.datetime,
) -> None:
    """Holds the schools, or lets them go; and keeps who wanted it, and why."""
    held = holds.are_set_back(connection, tenant)
    known = fingerprints(sources, StoredRoster(stores.database, tenant), found.waits)
    for place, count in sorted(found.difference.concerned.items()):
        history.record_hold(connection, tenant, number, place, held=place in held)
        if place in found.follows:
            holds.lift(connection, tenant, place)
        else:
            told = f"Set back to before sync {found.sync_id} by an undo (sync {number})."
            holds.set_back(
                connection, tenant, number, day, place, count=count, why=told, fingerprint=known[place]
            )
        connection.execute(
            insert(decisions).values(
                tenant=tenant, at=now.astimezone(dt.UTC).replace(tzinfo=None), who=who, why=why,
                decision=UNDONE, kind=KIND, school_id=place, class_id="", count=count,
                fingerprint=known.get(place, ""), sync_id=number,
            )
        )  # fmt: skip


def _report(connection: Connection, tenant: str, found: Undo) -> dict[str, Any]:
    """The contract's members, and what was undone; nothing was read, so nobody was matched or created."""
    tables = {table.name: read_table(connection, table, tenant, None) for table in database.PUBLISHED}
    states = tables["schools"]["state"].tolist()
    return {
        "status": SUCCESSFUL,
        "counts": {
            **dict.fromkeys(GUIDE_COUNTS, 0),
            "imported_classes": len(tables["classes"]),
            **roster_counts(tables),
            **{f"schools_{state}": states.count(state) for state in ("published", "kept", "excluded")},
        },
        "changes": found.difference.counts,
        "providers": [],
        "schools": [],
        "issues": [],
        "undo": {
            "sync_id": found.sync_id,
            "school_id": found.school_id,
            "waits": sorted(found.waits),
            "follows": sorted(found.follows),
        },
    }
