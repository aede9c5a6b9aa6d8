"""Whole syncs, step by step and without Dagster, and what they published in words that compare.

Here belongs what the tests of whole syncs share: a deployment of the test's own, a sandbox as a
provider, a sync from begin to end, the roster by source ids. What a test is about stands in the test.
"""

from __future__ import annotations

import json
import os
import random
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import yaml
from sqlalchemy import Engine, text

from roster_pipeline.codes import CodedError
from roster_pipeline.providers import KINDS
from roster_pipeline.sandbox.server import Serving, application, serve
from roster_pipeline.sandbox.source import Tables
from roster_pipeline.store import database
from roster_pipeline.store.home import Home, Stores
from roster_pipeline.syncs import Sync, World
from roster_pipeline.tenants import registry
from roster_pipeline.tenants.document import parse
from roster_pipeline_tests import empty_databases

CLIENT_ID: Final = "roster-tests"
CLIENT_SECRET: Final = "s3cret of the tests"
SECRETS: Final = {"SANDBOX_ID": CLIENT_ID, "SANDBOX_SECRET": CLIENT_SECRET}

Document = dict[str, Any]
Step = Callable[[Sync], Any]
Roster = dict[str, set[tuple[Any, ...]]]


def _extract(kind: str) -> Step:
    return lambda sync: sync.extract(kind)


STEPS: Final[dict[str, Step]] = {
    **{f"extract {kind}": _extract(kind) for kind in KINDS},
    "current sessions": Sync.current_sessions,
    "current enrolments": Sync.current_enrolments,
    "merged identities": Sync.merged_identities,
    "publish": Sync.publish,
}
"""The steps of a sync in their order, as the assets are."""


@dataclass
class Deployment:
    """Both stores, a registry, and an environment that holds the sandbox's credentials."""

    home: Home
    stores: Stores
    environ: dict[str, str] = field(default_factory=lambda: dict(SECRETS))

    def apply(
        self, tenant: str, *providers: Mapping[str, Any], confirmed: bool = True, **settings: Any
    ) -> None:
        """Stores a tenant document of these providers."""
        document = {"tenant": tenant, "region": "US", **settings, "providers": [dict(p) for p in providers]}
        parsed = parse(yaml.safe_dump(document), file=self.home.folder / f"{tenant}.yaml")
        with (
            self.stores.database.connect().execution_options(immediate=True) as connection,
            connection.begin(),
        ):
            registry.apply(connection, parsed, datetime.now(UTC), confirmed=confirmed)

    def world(self, **seams: Any) -> World:
        """A world that waits for no server."""
        return World(
            clock=lambda: datetime.now(UTC),
            sleep=lambda seconds: None,
            rng=random.Random(1),
            environ=self.environ,
            progress=lambda *_: None,
            **seams,
        )

    def begin(self, tenant: str, as_of: date, *, run_id: str = "", world: World | None = None) -> Sync:
        """A sync that has the tenant's lease; whoever calls this closes it. It waits for no server."""
        world = world or self.world()
        return Sync.open(
            self.stores,
            tenant,
            run_id=run_id or str(uuid.uuid4()),
            trigger="manual",
            as_of=as_of,
            dry_run=False,
            world=world,
        )

    def sync(self, tenant: str, as_of: date, *, world: World | None = None) -> Document:
        """One whole sync and what it told; its errors end as the commands' do, in the ledger."""
        sync = self.begin(tenant, as_of, world=world)
        try:
            for step in STEPS.values():
                told = step(sync)
        except Exception as error:
            if not isinstance(error, CodedError):
                traceback.print_exception(error)  # for the reader of a failed test: the ledger has its kind
            told = sync.fail(error)
        finally:
            sync.close()
        document: Document = json.loads(json.dumps(told))  # as `--json` prints it
        return document

    def roster(self, tenant: str) -> Roster:
        """What is live, by source ids."""
        return roster(self.stores.database, tenant)


@contextmanager
def deployment(folder: Path, database_url: str = "", *, upgrade: bool = True) -> Iterator[Deployment]:
    """A deployment in `folder`; a Postgres database is upgraded as `db upgrade` does it, unless it was."""
    environ = {"ROSTER_HOME": str(folder)} | ({"ROSTER_DATABASE_URL": database_url} if database_url else {})
    home = Home.find(environ)
    if database_url and upgrade:
        engine = database.connect(database_url)
        database.upgrade(engine)
        engine.dispose()
    elif not database_url and not (folder / "roster.db").exists():
        (folder / "roster.db").write_bytes(empty_databases.migrated())
    stores = home.stores()
    try:
        yield Deployment(home, stores)
    finally:
        stores.database.dispose()


@contextmanager
def serving(
    tables: Tables, flavour: str, *, certificate: tuple[Path, Path] | None = None, **options: Any
) -> Iterator[Serving]:
    """A sandbox that knows the tests' credentials."""
    credentials = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    app = application(tables, flavour, **(credentials | options))
    with serve(app, certificate=certificate) as served:
        yield served


def rest_provider(served: Serving, *, name: str = "sis", **options: Any) -> dict[str, Any]:
    """A provider of a tenant document that reads this sandbox, as the kind of its flavour."""
    flavour = served.sandbox.flavour.name
    return {
        "name": name,
        "kind": flavour if flavour in KINDS else "oneroster",
        "endpoint_url": served.root_url,
        **({"token_url": served.token_url} if served.token_url else {}),
        "client_id": "env:SANDBOX_ID",
        "client_secret": "env:SANDBOX_SECRET",
        **options,
    }


def csv_provider(path: Path, *, name: str = "sis", **options: Any) -> dict[str, Any]:
    """A provider of a tenant document that reads a folder or zip."""
    return {"name": name, "kind": "oneroster_csv", "path": str(path), **options}


def codes(document: Document) -> list[str]:
    """The codes that a sync told, in its order."""
    return [issue["code"] for issue in document["issues"]]


def changed(document: Document) -> dict[str, dict[str, int]]:
    """The kinds of rows that a sync changed, with how many."""
    return {kind: found for kind, found in document["changes"].items() if any(found.values())}


def removed(document: Document) -> dict[str, int]:
    """The kinds of rows that a sync removed, with how many."""
    return {kind: found["removed"] for kind, found in document["changes"].items() if found["removed"]}


# ------------------------------------------------------------------------------------------ rosters


def roster(engine: Engine, tenant: str) -> Roster:
    """All live rows of a tenant; own ids are replaced by `provider/source id`, so that tenants compare."""
    with engine.connect() as connection:

        def rows(table: str, where: str = "") -> list[dict[str, Any]]:
            query = f"SELECT * FROM {table} WHERE tenant = :tenant{where}"
            return [dict(row) for row in connection.execute(text(query), {"tenant": tenant}).mappings()]

        people, classes = rows("current_people"), rows("current_classes")
        schools, sessions = rows("current_schools"), rows("current_academic_sessions")
        memberships, links = rows("current_memberships"), rows("current_guardian_links")
        sources = rows("person_sources", " AND removed_at IS NULL")
    person: dict[str, str] = {}
    for row in sorted(sources, key=lambda row: (row["provider"], row["source_id"])):
        known = person.get(row["person_id"])
        label = f"{row['provider']}/{row['source_id']}"
        person[row["person_id"]] = f"{known} {label}" if known else label
    school = {row["school_id"]: f"{row['provider']}/{row['source_id']}" for row in schools}
    class_ = {row["class_id"]: f"{row['provider']}/{row['source_id']}" for row in classes}
    session = {row["session_id"]: f"{row['provider']}/{row['source_id']}" for row in sessions}

    def roles(told: str | None) -> str:
        held = [(entry["role"], school.get(entry["school_id"], "")) for entry in json.loads(told or "[]")]
        return str(sorted(held))

    def session_ids(told: str | None) -> str:
        return str(sorted(session.get(one, one) for one in json.loads(told or "[]")))

    return {
        "schools": _rows(schools, school_id=school),
        "academic_sessions": _rows(sessions, session_id=session, parent_id=session),
        "classes": _rows(classes, class_id=class_, school_id=school, session_ids=session_ids),
        "people": _rows(people, person_id=person, merged_into=person, roles=roles),
        "memberships": _rows(memberships, class_id=class_, person_id=person),
        "guardian_links": _rows(links, student_id=person, guardian_id=person),
    }


def _rows(
    rows: list[dict[str, Any]], **translated: Mapping[str, str] | Callable[[str | None], str]
) -> set[tuple[Any, ...]]:
    """Rows as tuples of (column, value), without the tenant; the named columns are translated."""
    out = set()
    for row in rows:
        cells = []
        for name, value in row.items():
            if name == "tenant":
                continue
            word = translated.get(name)
            if callable(word):
                value = word(value)
            elif word is not None:
                value = word.get(value, value)
            cells.append((name, str(value) if isinstance(value, date) else value))
        out.add(tuple(cells))
    assert len(out) == len(rows), "two rows of one key"
    return out


def environment(**added: str) -> dict[str, str]:
    """The environment for a process of a test's own: this one's, without what tests must not inherit."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROSTER_", "DAGSTER_"))}
    return kept | {"DAGSTER_DISABLE_TELEMETRY": "1", "PYTHONDONTWRITEBYTECODE": "1"} | added
