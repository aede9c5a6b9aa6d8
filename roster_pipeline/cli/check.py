"""`roster-pipeline check`: a first look at a tenant's providers, before or between syncs.

Connects, reads a page, counts and prints; nothing is stored, and no row is shown. How a provider is
looked at is in `providers`, what the counts mean in `rosters.rehearsal`.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from roster_pipeline.codes import CodedError, Issue

if TYPE_CHECKING:
    import pandas as pd

    from roster_pipeline.providers.reading import Probed, Reading
    from roster_pipeline.rosters.rehearsal import Known
    from roster_pipeline.store.home import Stores
    from roster_pipeline.tenants.document import Provider, Tenant
    from roster_pipeline.tenants.registry import Registered

USABLE, IN_PART, UNUSABLE = "usable", "in part", "unusable"
EXIT_CODES: Final = {USABLE: 0, IN_PART: 3, UNUSABLE: 4}


@click.command()
@click.argument("tenant", metavar="T")
@click.option(
    "--document",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Check the tenant as this document describes it, before it is applied.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def check(tenant: str, document: Path | None, as_json: bool) -> None:
    """Look at every provider of the tenant T: connect, read one page of each collection, and tell.

    Tells what a sync would use, how many users would match, and what looks wrong. The exit code is 0
    if all is well, 3 if some collections are not, 4 if a provider cannot be used.
    """
    from roster_pipeline.store.home import Home

    stores = Home.find(os.environ).stores()
    try:
        registered = _registered(stores, tenant, document)
        told = look(stores, registered, reading(os.environ), datetime.now(UTC))
    finally:
        stores.database.dispose()
    click.echo(json.dumps(told, ensure_ascii=False) if as_json else as_text(told))
    states = [source["state"] for source in (*told["providers"], *told["directories"])]
    raise click.exceptions.Exit(max(EXIT_CODES[state] for state in states))


def reading(environ: Mapping[str, str]) -> Reading:
    """What a look needs of the world."""
    from roster_pipeline.oneroster.addresses import admitted
    from roster_pipeline.providers.reading import Reading, ignore_progress
    from roster_pipeline.tenants.secrets import resolve

    return Reading(
        secret=lambda reference: resolve(reference, environ),
        clock=lambda: datetime.now(UTC),
        sleep=time.sleep,
        rng=random.SystemRandom(),
        progress=ignore_progress,
        networks=admitted(environ),
    )


def _registered(stores: Stores, tenant: str, document: Path | None) -> Registered:
    """The tenant as stored or, where a document is given, as that says; ids are the registry's."""
    from roster_pipeline.tenants import registry
    from roster_pipeline.tenants.document import read_file
    from roster_pipeline.tenants.registry import Registered

    with stores.database.connect() as connection:
        if document is None:
            return registry.get(connection, tenant)
        described = read_file(document).tenant
        if described.tenant != tenant:
            raise CodedError("RS-CFG-08", f"{document} describes {described.tenant}, not {tenant}.")
        found = registry.find(connection, tenant)
    ids = registry.ids_under(described, found.provider_ids if found else {})
    return Registered(described, ids, {}, datetime.now(UTC))


# ---------------------------------------------------------------------------------- looking


def look(stores: Stores, registered: Registered, reading: Reading, now: datetime) -> dict[str, Any]:
    """What there is to tell of a tenant's sources, as a JSON document: states, counts and codes only."""
    from roster_pipeline.nights import windows
    from roster_pipeline.providers import KINDS
    from roster_pipeline.rosters.rehearsal import known_people
    from roster_pipeline.store.published import StoredRoster

    tenant = registered.tenant
    directories, rows = [], {}
    for directory in tenant.directories:
        (people,) = KINDS["directory"].probe(directory, reading)
        directories.append(_source(directory.name, "directory", [people], people.state != "failed", []))
        if people.page is not None:  # type: ignore[attr-defined]
            rows[registered.provider_ids[directory.name]] = people.page.to_pandas()  # type: ignore[attr-defined]
    known = known_people(StoredRoster(stores.database, tenant.tenant), rows)
    day = windows.as_of(tenant, now)
    return {
        "tenant": tenant.tenant,
        "as_of": day.isoformat(),
        "known_people": len(known),
        "providers": [
            _look_at(provider, registered.provider_ids[provider.name], tenant, reading, known, day)
            for provider in tenant.strongest_first
        ],
        "directories": directories,
    }


def _look_at(
    provider: Provider, provider_id: int, tenant: Tenant, reading: Reading, known: Known, day: Any
) -> dict[str, Any]:
    from dataclasses import asdict

    from roster_pipeline.providers import probe
    from roster_pipeline.rosters.rehearsal import rehearse, remarks
    from roster_pipeline.rosters.source import Source

    probed: list[Probed] = probe(provider, reading)  # type: ignore[assignment]
    pages: dict[str, pd.DataFrame] = {
        one.name: one.page.to_pandas() for one in probed if one.page is not None and one.state != "failed"
    }
    noticed = remarks(
        pages,
        whole=frozenset(
            one.name
            for one in probed
            if one.state != "failed"
            and one.rows >= (one.total or 0)
            and (one.total is not None or not one.rows)
        ),
        options=provider,
        as_of=day,
        between_sessions_days=tenant.between_sessions_days,
    )
    states = {one.name: one.state for one in probed}
    usable = Source(provider_id, provider.name, 0, provider, dict(states), {}).usable
    told = _source(provider.name, provider.kind, probed, usable, noticed)
    told["known_people"] = len(known)
    told["users"] = (
        asdict(rehearse(pages["users"], provider_id, provider, known)) if "users" in pages else None
    )
    told["attach_only"] = provider.merge.attach_to_existing_users_only
    return told


def _source(name: str, kind: str, probed: Any, usable: bool, noticed: list[Issue]) -> dict[str, Any]:
    told = list(dict.fromkeys([*(issue for one in probed for issue in one.issues), *noticed]))
    whole = all(one.state == "ok" for one in probed)
    return {
        "name": name,
        "kind": kind,
        "state": UNUSABLE if not usable else USABLE if whole else IN_PART,
        "collections": {
            one.name: {"state": one.state, "rows": one.rows, "total": one.total, "uses": one.proof}
            for one in probed
        },
        "issues": [issue.as_json() for issue in told],
    }


# ---------------------------------------------------------------------------------- shown


def as_text(told: Mapping[str, Any]) -> str:
    """For people: a table a source, what would become of its users, and what looks wrong."""
    lines = [f"{told['tenant']}: a sync now would be for {told['as_of']}."]
    for source in (*told["providers"], *told["directories"]):
        lines += ["", f"{source['name']} ({source['kind']}): {source['state']}", *_collections(source)]
        if source.get("users") is not None:
            lines += ["", *_users(source)]
        lines += _issues(source["issues"])
    return "\n".join(lines)


def _collections(source: Mapping[str, Any]) -> list[str]:
    from roster_pipeline.cli.columns import columns

    found = source["collections"]
    uses = list(dict.fromkeys(entry["uses"] for entry in found.values()))
    one = len(uses) == 1
    header = ("COLLECTION", "STATE", "FIRST PAGE", "IN ALL", *(() if one else ("A SYNC USES",)))
    table = [
        (
            name,
            entry["state"],
            f"{entry['rows']:,}",
            "" if entry["total"] is None else f"{entry['total']:,}",
            *(() if one else (entry["uses"],)),
        )
        for name, entry in found.items()
    ]
    lines = list(columns(header, table, numbers=(2, 3), indent=2))
    return [*([f"  A sync uses {uses[0]}"] if one and uses[0] else []), *lines]


def _users(source: Mapping[str, Any]) -> list[str]:
    users = source["users"]
    fate = "would stay unmatched" if source["attach_only"] else "would be created"
    lines = [f"  Of {users['users']:,} users on the page:"]
    if not source["known_people"]:
        lines.append("    nobody is known yet, so there is nobody to match")
    lines += [
        f"    {count:>7,} {what}"
        for count, what in (
            (users["by_link"], f"are known by their id ({users['same_names']:,} with the same names)"),
            (users["by_key"], "would match by the merge key"),
            (users["ambiguous"], "would stay unmatched, because several people or other names fit"),
            (users["new"], fate),
        )
        if count
    ]
    if users["near_misses"]:
        lines.append(
            f"    {users['near_misses']:>7,} of these differ from somebody in letter case only, which counts"
        )
    if users["without_key"]:
        lines.append(f"    {users['without_key']:>7,} of these have no e-mail, or one that others have, too")
    if users["left_out"]:
        lines.append(f"  {users['left_out']:,} more would be left out (deleted, or guardians not wanted).")
    return lines


def _issues(issues: list[dict[str, Any]]) -> list[str]:
    told: dict[tuple[str, str], list[str]] = {}
    for issue in issues:
        told.setdefault((issue["code"], issue["message"]), [
            f"  {issue['code']} ({issue['severity']}) {issue['message']}", f"    {issue['cure']}",
        ])  # fmt: skip
    return [line for lines in told.values() for line in lines]
