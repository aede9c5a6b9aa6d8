"""`roster-pipeline tenants`: the registry from the terminal.

Reads files, asks the registry, prints. What a document may say and what a change means are decided
in `roster_pipeline.tenants`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from roster_pipeline.cli.columns import columns
from roster_pipeline.codes import CodedError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from roster_pipeline.store.home import Stores
    from roster_pipeline.syncs import Scope
    from roster_pipeline.tenants.document import Document, Tenant
    from roster_pipeline.tenants.registry import Applied, Registered

Scoping = Callable[["Stores", "Tenant", "Tenant"], "Scope"]
"""(stores, old, new) -> what a change takes out of scope, and what the new document names in vain."""


@click.group(name="tenants")
def tenants() -> None:
    """The registry of tenants: documents in and out."""


@tenants.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--yes",
    is_flag=True,
    help="Also store what takes rows out of scope, or moves a provider to another host.",
)
def apply(files: tuple[Path, ...], yes: bool) -> None:
    """Store tenant documents: all of them, or none if one is refused."""
    documents = read_documents(files)  # before the database is opened, and maybe made
    told = apply_documents(_stores(), documents, datetime.now(UTC), confirmed=yes, scoping=_scope)
    for line in told:
        click.echo(line)


@tenants.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document a tenant, one line each.")
def list_(as_json: bool) -> None:
    """List every tenant with its region and providers."""
    from roster_pipeline.tenants import registry

    with _stores().database.connect() as connection:
        found = registry.all_tenants(connection)
    if as_json:
        for entry in found:
            click.echo(json.dumps(_as_json(entry), ensure_ascii=False))
        return
    if not found:
        click.echo("No tenants yet: roster-pipeline tenants apply FILE", err=True)
        return
    rows = [
        (
            entry.tenant.tenant,
            entry.tenant.region,
            f"{entry.applied_at:%Y-%m-%d %H:%M} UTC",
            ", ".join(f"{source.name} ({source.kind})" for source in entry.tenant.strongest_first),
        )
        for entry in found
    ]
    _print(("TENANT", "REGION", "APPLIED", "PROVIDERS, THE STRONGEST FIRST"), rows)


@tenants.command()
@click.argument("tenant", metavar="T")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def show(tenant: str, as_json: bool) -> None:
    """Show a tenant: its document, and every school as Included or Excluded."""
    from roster_pipeline.tenants import registry
    from roster_pipeline.tenants.document import as_document

    with _stores().database.connect() as connection:
        found = registry.get(connection, tenant)
        schools = registry.schools(connection, found)
    listed = [(school.listed, school.name, school.school_id, school.state) for school in schools]
    if as_json:
        keys = ("listed", "name", "school_id", "state")
        document = _as_json(found) | {"schools": [dict(zip(keys, entry, strict=True)) for entry in listed]}
        click.echo(json.dumps(document, ensure_ascii=False))
        return
    click.echo(as_document(found.tenant))
    if found.retired:
        click.echo(f"Retired: {', '.join(sorted(found.retired.values()))}\n")
    if listed:
        _print(("SCHOOLS", "NAME", "ID", "LAST SYNC"), listed)
    else:
        click.echo("No schools yet: they are known after the first sync.")


@tenants.command()
@click.argument("tenant", metavar="T")
@click.option("--yes", is_flag=True, help="Also where rosters of the tenant are published.")
def remove(tenant: str, yes: bool) -> None:
    """Take a tenant out of the registry. What is published of it stays as it is; its extracts go."""
    from roster_pipeline import forgetting
    from roster_pipeline.store import retention

    keep = retention.retention(os.environ)
    stores, now = _stores(), datetime.now(UTC)
    with forgetting.alone_with(stores, tenant, lambda: datetime.now(UTC)):
        stays = _take_out(stores, tenant, now, confirmed=yes)
        retention.tidy(stores, tenant, keep, now, is_synced=False)
    click.echo(f"{tenant}: removed from the registry; it is not synced any more. Its extracts are removed.")
    if stays:
        click.echo(f"{tenant}: what is published stays as it is: {stays}.")


def _take_out(stores: Stores, tenant: str, now: datetime, *, confirmed: bool) -> str:
    """Takes the tenant out of the registry; gives back in words what stays published."""
    from roster_pipeline.tenants import registry

    with _writing(stores) as connection, connection.begin():
        registry.get(connection, tenant)
        published = registry.published(connection, tenant)
        stays = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in published.items())
        if published and not confirmed:
            raise CodedError(
                "RS-CFG-10",
                f"{tenant} has published rosters ({stays}). Removing it only stops its syncs: "
                "they would stay as they are, and grow old. Repeat with --yes if that is meant.",
            )
        registry.remove(connection, tenant, now)
    return stays


def read_documents(files: Sequence[Path]) -> list[Document]:
    """The documents in `files`, each once.

    Raises:
        DocumentRefused: with every problem of every file.
    """
    from roster_pipeline.tenants.document import read_file
    from roster_pipeline.tenants.refusals import DocumentRefused, Problem

    documents: dict[str, Document] = {}
    refused: list[DocumentRefused] = []
    for file in dict.fromkeys(files):
        try:
            document = read_file(file)
            slug = document.tenant.tenant
            if slug in documents:
                text = f"{slug} is described in {documents[slug].file}, too; apply one of the two"
                raise document.refused([Problem("RS-CFG-11", ("tenant",), text)])
            documents[slug] = document
        except DocumentRefused as error:
            refused.append(error)
    if refused:
        raise DocumentRefused.together(refused)
    return list(documents.values())


def apply_documents(
    stores: Stores, documents: Sequence[Document], now: datetime, *, confirmed: bool, scoping: Scoping
) -> list[str]:
    """Stores all documents in one transaction, or none; the lines that tell the operator what was done.

    Raises:
        DocumentRefused: with every problem; RS-CFG-10 for what would go out of scope, unless `confirmed`.
    """
    from roster_pipeline.tenants import registry
    from roster_pipeline.tenants.refusals import DocumentRefused, Problem

    lines: list[str] = []
    refused: list[DocumentRefused] = []
    # Counted first, and outside of the writing transaction: counting may take its time.
    with stores.database.connect() as connection:
        for document in documents:
            try:
                plan = registry.preview(connection, document.tenant, confirmed=confirmed)
            except registry.ChangeRefused as error:
                refused.append(document.refused(error.problems))
                continue
            told = _out_of_scope(stores, plan, scoping)
            if told.gone and not confirmed:
                text = f"this change takes {told.gone}; look at the numbers, then repeat with --yes"
                problem = Problem("RS-CFG-10", ("tenant",), ". ".join([text, *told.besides]))
                refused.append(document.refused([problem]))
                continue
            if told.gone:
                lines.append(f"{document.tenant.tenant}: takes {told.gone}, at the next complete sync")
            lines += [f"{document.tenant.tenant}: {text}" for text in told.besides]
    if refused:
        raise DocumentRefused.together(refused)
    with _writing(stores) as connection, connection.begin():
        for document in documents:
            try:
                done = registry.apply(connection, document.tenant, now, confirmed=confirmed)
            except registry.ChangeRefused as error:  # somebody else applied in between
                raise document.refused(error.problems) from None
            lines.append(f"{document.tenant.tenant}: {_told(done)}")
    return lines


def _scope(stores: Stores, old: Tenant, new: Tenant) -> Scope:
    from roster_pipeline.syncs import scope_of

    return scope_of(stores, old, new)


class _OutOfScope(NamedTuple):
    """In words: what goes, and why; and what else there is to know."""

    gone: str = ""
    besides: Sequence[str] = ()


def _out_of_scope(stores: Stores, plan: Applied, scoping: Scoping) -> _OutOfScope:
    if plan.before is None or plan.before == plan.tenant:
        return _OutOfScope()
    found = scoping(stores, plan.before, plan.tenant)
    because = ", ".join(plan.changed_options)
    brings = f"; it brings {_counts(found.comes)}" if _counts(found.comes) else ""
    keeping = [
        f"what is published of schools that {provider.name} excludes stays as it is; "
        "`excluded_rosters: remove` takes it out"
        for provider in plan.tenant.providers
        if f"{provider.name}.exclude_schools" in plan.changed_options and provider.excluded_rosters == "keep"
    ]
    return _OutOfScope(
        f"{_counts(found.gone)} out of scope ({because}){brings}" if _counts(found.gone) else "",
        [*keeping, *(f"{issue.message} ({issue.code}, {issue.severity})" for issue in found.in_vain)],
    )


def _counts(found: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in found.items() if count)


def _told(done: Applied) -> str:
    if not done.is_change:
        return "unchanged"
    parts = [
        *(f"renamed {old} to {new}" for old, new in done.renamed.items()),
        *(f"{what} {', '.join(found)}" for what, found in (
            ("added", done.added), ("retired", done.retired), ("back again", done.returned)
        ) if found),
    ]  # fmt: skip
    if done.before is not None and done.before.region != done.tenant.region:
        parts.append(f"region {done.before.region} becomes {done.tenant.region}, from its next window on")
    return "; ".join(["stored as a new tenant" if done.before is None else "changed", *parts])


def _as_json(entry: Registered) -> dict[str, Any]:
    return {
        "tenant": entry.tenant.tenant,
        "region": entry.tenant.region,
        "applied_at": entry.applied_at.isoformat(),
        "document": entry.tenant.model_dump(mode="json", exclude_defaults=True),
        "retired": sorted(entry.retired.values()),
    }


def _print(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    for line in columns(header, rows):
        click.echo(line)


def _stores() -> Stores:
    from roster_pipeline.store.home import Home

    return Home.find(os.environ).stores()


def _writing(stores: Stores) -> Connection:
    """A connection whose transaction takes the writer's lock at once (SQLite)."""
    return stores.database.connect().execution_options(immediate=True)
