"""The registry of tenants in the roster database: documents, and an id for each provider.

Links, published rows and extracts hold a provider's id, never its name alone: names change (`was:`),
retire and come back; ids do not, and are never given to another. Transactions are the caller's.
Nothing here reads a provider, and nothing published is removed here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel
from sqlalchemy import Row, delete, func, insert, select, update

from roster_pipeline.codes import CodedError
from roster_pipeline.store.database import (
    PUBLISHED,
    providers,
    sync_outcomes,
    sync_schools,
    syncs,
    tenants,
)
from roster_pipeline.store.database import schools as school_rows
from roster_pipeline.tenants.document import Directory, Provider, Tenant
from roster_pipeline.tenants.refusals import Place, Problem, near, or_list

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

DIRECTORY: Final = "directory"
"""The `kind` of a directory in the table of providers."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A tenant as stored."""

    tenant: Tenant
    provider_ids: dict[str, int]
    """The id of every provider and directory of the document, by its present name."""
    retired: dict[int, str]
    """Retired providers and directories: id and last name."""
    applied_at: datetime
    """When the document was last changed; aware, in UTC."""

    @property
    def names(self) -> dict[int, str]:
        """The present name of every provider and directory by its id, the last one of a retired one."""
        return self.retired | {who: name for name, who in self.provider_ids.items()}


def ids_under(document: Tenant, known: Mapping[str, int]) -> dict[str, int]:
    """The id of every source of a document before it is applied: a known one's own, a new one's below 0."""
    return {
        source.name: known.get(source.name, known.get(source.was or "", -place))
        for place, source in enumerate(document.sources, start=1)
    }


@dataclass(frozen=True, slots=True)
class Applied:
    """What applying a document does, or did, to the registry; names of providers and directories."""

    tenant: Tenant
    before: Tenant | None
    added: tuple[str, ...] = ()
    renamed: dict[str, str] = field(default_factory=dict)
    """Old name -> new name."""
    returned: tuple[str, ...] = ()
    retired: tuple[str, ...] = ()

    @property
    def is_change(self) -> bool:
        """Whether anything is (or was) to be stored."""
        names = self.added or self.renamed or self.returned or self.retired
        return self.before != self.tenant or bool(names)

    @property
    def changed_options(self) -> tuple[str, ...]:
        """What differs from the document before, by present names: `grace_days`, `sis.limit_to`, `annexe`."""
        if self.before is None:
            return ()
        old_names = {new: old for old, new in self.renamed.items()}
        had = {source.name: source for source in self.before.sources}
        found = [*_differing(self.before, self.tenant, "", {"tenant", "providers", "directories", "retired"})]
        for source in self.tenant.sources:
            old = had.get(old_names.get(source.name, source.name))
            if old is None:
                found.append(source.name)
            else:
                found += _differing(old, source, f"{source.name}.", {"name", "was"})
        return (*found, *self.retired)


def _differing(old: BaseModel, new: BaseModel, prefix: str, but: set[str]) -> Iterator[str]:
    """The fields, but for some, in which two parts of documents differ."""
    for name in type(new).model_fields:
        if name not in but and getattr(old, name, None) != getattr(new, name):
            yield f"{prefix}{name}"


class ChangeRefused(CodedError):  # noqa: N818 - as DocumentRefused
    """A document that is sound by itself and does not go with what the registry knows."""

    def __init__(self, problems: list[Problem]) -> None:
        """Takes at least one problem; its places are those of the document."""
        super().__init__(problems[0].code, "\n".join(problem.text for problem in problems))
        self.problems = tuple(problems)


def apply(connection: Connection, tenant: Tenant, now: datetime, *, confirmed: bool = False) -> Applied:
    """Stores a document, or nothing where it is stored already.

    Args:
        connection: In a transaction that writes.
        tenant: The document.
        now: Aware.
        confirmed: The operator said `--yes`: a provider may now be on another host.

    Raises:
        ChangeRefused: RS-CFG-07 for a provider that is neither there nor under `retired:`, RS-CFG-04
            or -11 for a name that belonged to another, RS-PRV-03 for another host. Nothing is stored.
    """
    plan = _planned(connection, tenant, confirmed=confirmed)
    if plan.applied.is_change:
        _store(connection, plan, now.astimezone(UTC).replace(tzinfo=None))
    return plan.applied


def preview(connection: Connection, tenant: Tenant, *, confirmed: bool = False) -> Applied:
    """What `apply` would do; reads only, and refuses the same."""
    return _planned(connection, tenant, confirmed=confirmed).applied


def find(connection: Connection, tenant: str) -> Registered | None:
    """The tenant as stored, or None."""
    return next(_registered(connection, tenant), None)


def get(connection: Connection, tenant: str) -> Registered:
    """The tenant as stored.

    Raises:
        CodedError: RS-CFG-08, with near spellings.
    """
    found = find(connection, tenant)
    if found:
        return found
    likely = near(tenant, names(connection))
    hint = f"; did you mean {or_list(likely)}?" if likely else "."
    raise CodedError("RS-CFG-08", f'There is no tenant "{tenant}"{hint}')


def all_tenants(connection: Connection) -> list[Registered]:
    """Every tenant as stored, by name."""
    return list(_registered(connection, None))


def names(connection: Connection, region: str | None = None) -> list[str]:
    """The names of all tenants, or of a region's, without reading their documents."""
    query = select(tenants.c.tenant).order_by(tenants.c.tenant)
    return list(connection.scalars(query if region is None else query.where(tenants.c.region == region)))


def published(connection: Connection, tenant: str) -> dict[str, int]:
    """How many live rows each published table has of the tenant; tables without any are left out."""
    counts = {
        table.name: connection.execute(
            select(func.count())
            .select_from(table)
            .where(table.c.tenant == tenant, table.c.removed_at.is_(None))
        ).scalar_one()
        for table in PUBLISHED
    }
    return {name: count for name, count in counts.items() if count}


@dataclass(frozen=True, slots=True)
class ListedSchool:
    """A school on a tenant's lists: `listed` is Included or Excluded by the document as it stands,
    `state` what the last sync made of it (published, kept or excluded; "" before the first).
    """

    listed: str
    name: str
    school_id: str
    state: str


FITS_NOTHING: Final = "fits no school"
"""The state of a name that is excluded and that no school has."""


def schools(connection: Connection, registered: Registered) -> list[ListedSchool]:
    """Every school of the tenant, by name, and last the excluded names that fit none of them.

    Those that are published, and those that the last sync met and could not publish yet.
    """
    tenant = registered.tenant
    excluded = {provider.name: set(provider.exclude_schools) for provider in tenant.providers}
    told = _newest_schools(connection, tenant.tenant)
    live = connection.execute(
        select(school_rows)
        .where(school_rows.c.tenant == tenant.tenant, school_rows.c.removed_at.is_(None))
        .order_by(school_rows.c.name, school_rows.c.school_id)
    ).all()
    listed: dict[str, tuple[str, str, dict[str, set[str]]]] = {
        row.school_id: (row.name, row.state, {row.provider: {row.source_id, row.identifier, row.name}})
        for row in live
    }
    for row in told:
        details = json.loads(row.details or "{}").get("known_as") or {}
        known_as = {provider: set(names_) for provider, names_ in details.items()}
        name, state, before = listed.get(row.school_id, (row.name, row.state, {}))
        listed[row.school_id] = name, state, known_as or before
    found, fitting = [], set()
    for school_id, (name, state, known_as) in listed.items():
        # As the rules have it: out is what every provider that brings it leaves out.
        hits = [names_ & excluded.get(provider, set()) for provider, names_ in known_as.items()]
        fitting |= set().union(*hits)
        out = bool(hits) and all(hits)
        found.append(ListedSchool("Excluded" if out else "Included", name, school_id, state))
    found.sort(key=lambda school: (school.name, school.school_id))
    unknown = {name for names_ in excluded.values() for name in names_} - fitting
    return found + [ListedSchool("Excluded", name, "", FITS_NOTHING) for name in sorted(unknown)]


def _newest_schools(connection: Connection, tenant: str) -> Sequence[Row[Any]]:
    """What the newest sync tells of each school."""
    newest = (
        select(func.max(sync_schools.c.sync_id))
        .join(syncs, syncs.c.sync_id == sync_schools.c.sync_id)
        .where(syncs.c.tenant == tenant)
        .scalar_subquery()
    )
    return connection.execute(select(sync_schools).where(sync_schools.c.sync_id == newest)).all()


def remove(connection: Connection, tenant: str, now: datetime) -> None:
    """Takes a tenant out of the registry: it is not synced any more.

    Everything published stays as it is, and so do the ids of its providers: applied again under the
    same names, they get their links back.

    Raises:
        CodedError: RS-CFG-08 if there is no such tenant.
    """
    get(connection, tenant)
    instant = now.astimezone(UTC).replace(tzinfo=None)
    connection.execute(delete(tenants).where(tenants.c.tenant == tenant))
    connection.execute(
        update(providers)
        .where(providers.c.tenant == tenant, providers.c.retired_at.is_(None))
        .values(retired_at=instant)
    )


# ---------------------------------------------------------------------------------- reading


def _registered(connection: Connection, only: str | None) -> Iterator[Registered]:
    documents = select(tenants).order_by(tenants.c.tenant)
    sources = select(providers).order_by(providers.c.provider_id)
    if only is not None:
        documents, sources = (
            documents.where(tenants.c.tenant == only),
            sources.where(providers.c.tenant == only),
        )
    ids: dict[str, dict[str, int]] = {}
    retired: dict[str, dict[int, str]] = {}
    for row in connection.execute(sources):
        if row.retired_at is None:
            ids.setdefault(row.tenant, {})[row.name] = row.provider_id
        else:
            retired.setdefault(row.tenant, {})[row.provider_id] = row.name
    for row in connection.execute(documents):
        yield Registered(
            tenant=Tenant.model_validate_json(row.document),
            provider_ids=ids.get(row.tenant, {}),
            retired=retired.get(row.tenant, {}),
            applied_at=row.applied_at.replace(tzinfo=UTC),
        )


# ---------------------------------------------------------------------------------- planning


@dataclass(frozen=True, slots=True)
class _Entry:
    """A provider or directory of the document, and the registry's row that it is, if any."""

    source: Provider | Directory
    place: Place
    row: Row[tuple[int, str, str, str, datetime | None]] | None = None

    @property
    def kind(self) -> str:
        return self.source.kind if isinstance(self.source, Provider) else DIRECTORY


@dataclass(frozen=True, slots=True)
class _Plan:
    applied: Applied
    entries: list[_Entry]
    retiring: list[int]


def _planned(connection: Connection, tenant: Tenant, *, confirmed: bool) -> _Plan:
    # The tenant's row is locked where the database can: two applies of one tenant take turns.
    stored = connection.execute(
        select(tenants.c.document).where(tenants.c.tenant == tenant.tenant).with_for_update()
    ).scalar()
    before = Tenant.model_validate_json(stored) if stored is not None else None
    rows = connection.execute(
        select(providers).where(providers.c.tenant == tenant.tenant).order_by(providers.c.provider_id)
    ).all()
    active = {row.name: row for row in rows if row.retired_at is None}
    retired = {row.name: row for row in rows if row.retired_at is not None}
    problems: list[Problem] = []
    entries: list[_Entry] = []
    for place, source in _sources(tenant):
        row = active.get(source.name)
        if row is None and source.was in active:
            row = active[source.was]
            if source.name in retired:
                problems.append(Problem("RS-CFG-04", (*place, "name"), _TAKEN.format(name=source.name)))
        elif row is None:
            row = retired.get(source.name) or retired.get(source.was or "")
        if row is None and source.was and rows:
            problems.append(Problem("RS-CFG-07", (*place, "was"), _unknown(source.was, [*active, *retired])))
        entry = _Entry(source, place, row)
        if row is not None and (row.kind == DIRECTORY) != (entry.kind == DIRECTORY):
            what = "a directory" if row.kind == DIRECTORY else "a provider"
            text = f'"{row.name}" is {what} in the registry; give this one another name, and retire that one'
            problems.append(Problem("RS-CFG-04", (*place, "name"), text))
        entries.append(entry)
        if before is not None and not confirmed:
            problems += _moved(before, entry)
    present = {entry.row.provider_id for entry in entries if entry.row is not None}
    missing = {name: row for name, row in active.items() if row.provider_id not in present}
    problems += [
        Problem(
            "RS-CFG-07",
            ("directories" if row.kind == DIRECTORY else "providers",),
            _MISSING.format(name=name),
        )
        for name, row in missing.items()
        if name not in tenant.retired
    ]
    if problems:
        raise ChangeRefused(problems)
    return _Plan(
        _summary(tenant, before, entries, tuple(missing)),
        entries,
        [row.provider_id for row in missing.values()],
    )


_TAKEN: Final = (
    '"{name}" was the name of another provider, which is retired and may come back; choose another name'
)
_MISSING: Final = (
    'lacks "{name}", which the registry has; add it, or write retired: ["{name}"] to retire it, '
    "or was: {name} at the one that has a new name now"
)


def _sources(tenant: Tenant) -> Iterator[tuple[Place, Provider | Directory]]:
    for index, provider in enumerate(tenant.providers):
        yield ("providers", index), provider
    for index, directory in enumerate(tenant.directories):
        yield ("directories", index), directory


def _unknown(was: str, known: list[str]) -> str:
    likely = near(was, known)
    advice = f"did you mean {or_list(likely)}? Else leave it out" if likely else "leave it out for a new one"
    return f'"{was}" is no name that the registry knows of; {advice}'


def _moved(before: Tenant, entry: _Entry) -> Iterator[Problem]:
    """The same provider at another place: it may be another school's data under known ids."""
    if not isinstance(entry.source, Provider) or entry.row is None:
        return
    old = next((provider for provider in before.providers if provider.name == entry.row.name), None)
    if old is None or old.host == entry.source.host:
        return
    place = (*entry.place, "endpoint_url" if entry.source.host else "kind")
    text = (
        f'"{old.name}" was read from {old.host or "files"}, and now from {entry.source.host or "files"}; '
        "make sure by `roster-pipeline check` that these are the same people, then repeat with --yes"
    )
    yield Problem("RS-PRV-03", place, text)


def _summary(
    tenant: Tenant, before: Tenant | None, entries: list[_Entry], retired: tuple[str, ...]
) -> Applied:
    known = [(entry.source.name, entry.row) for entry in entries if entry.row is not None]
    return Applied(
        tenant=tenant,
        before=before,
        added=tuple(entry.source.name for entry in entries if entry.row is None),
        renamed={row.name: name for name, row in known if row.name != name},
        returned=tuple(name for name, row in known if row.retired_at is not None),
        retired=retired,
    )


# ---------------------------------------------------------------------------------- storing


def _store(connection: Connection, plan: _Plan, instant: datetime) -> None:
    tenant, slug = plan.applied.tenant, plan.applied.tenant.tenant
    values = {"region": tenant.region, "document": tenant.model_dump_json(), "applied_at": instant}
    if plan.applied.before is None:
        connection.execute(insert(tenants).values(tenant=slug, added_at=instant, **values))
    else:
        connection.execute(update(tenants).where(tenants.c.tenant == slug).values(**values))
    if plan.retiring:
        connection.execute(
            update(providers).where(providers.c.provider_id.in_(plan.retiring)).values(retired_at=instant)
        )
    for entry in plan.entries:
        new = {"name": entry.source.name, "kind": entry.kind, "retired_at": None}
        if entry.row is None:
            connection.execute(insert(providers).values(tenant=slug, **new))
            continue
        provider_id = entry.row.provider_id
        connection.execute(update(providers).where(providers.c.provider_id == provider_id).values(**new))
        if entry.row.name != entry.source.name:
            _rename(connection, slug, provider_id, entry.source.name)


def _rename(connection: Connection, tenant: str, provider_id: int, name: str) -> None:
    """Writes a provider's new name wherever its rows tell it (`provider` is always the present name)."""
    for table in (*PUBLISHED, sync_outcomes):
        if "provider_id" in table.c:
            connection.execute(
                update(table)
                .where(table.c.tenant == tenant, table.c.provider_id == provider_id)
                .values(provider=name)
            )
