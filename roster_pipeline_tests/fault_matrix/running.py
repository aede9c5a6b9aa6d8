"""Running one case against one kind of provider, and what must hold of whatever it did.

A pair is a first sync with the fault, a good one, a later sync with the fault, and a good one again; either
half may be run alone. What is published is compared by who is who, and not by ids.
"""

from __future__ import annotations

import ast
import shutil
import time
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from sqlalchemy import text

from roster_pipeline.oneroster.client import MIB, Limits
from roster_pipeline.oneroster.paging import Bounds
from roster_pipeline.sandbox.mishaps import happened
from roster_pipeline.sandbox.server import Serving
from roster_pipeline.sandbox.source import Row, Tables, for_version, without_guardians, write_csv
from roster_pipeline_tests.fault_matrix.cases import Case, Combination
from roster_pipeline_tests.fault_matrix.district import DAY, district, human_of
from roster_pipeline_tests.syncing import (
    CLIENT_SECRET,
    Deployment,
    Document,
    Roster,
    changed,
    codes,
    csv_provider,
    deployment,
    rest_provider,
    serving,
)

SEED: Final = 7
LONGEST: Final = 60.0
"""Seconds that a sync with a fault may take: many times what `_SHORT` allows a server, because the machine
may be busy with other things."""

PAGE_SIZE: Final = {"one": 200, "many": 10}
_LIMITS: Final = Limits(tries=3, connect=10.0, read=20.0, whole=20.0, answer=4 * MIB, ahead=16 * MIB)
_SHORT: Final = replace(_LIMITS, tries=2, read=1.0, whole=1.2)
"""For what would take a server's whole patience; a good one on a busy machine is not to exhaust it."""
_SLOW: Final = frozenset({"hang", "drip", "drip-for-ever"})
_BOUNDS: Final = Bounds(pages=30)
_NOT_OK: Final = frozenset({"unproven", "stale", "failed"})

Labels = dict[str, set[Any]]


@dataclass(frozen=True)
class Result:
    """What came of a combination; `wrong` is empty if all of it is right."""

    combination: Combination
    told: str
    wrong: tuple[str, ...]
    seconds: float


# ------------------------------------------------------------------------------------ what is compared


def summary(told: Document, usual: set[str]) -> str:
    """What a sync told in one line: status, codes beyond the `usual` ones, and states that are not `ok`."""
    states: dict[str, list[str]] = defaultdict(list)
    every = 0
    for provider in told["providers"]:
        for name, found in provider["collections"].items():
            every += 1
            if found["state"] != "ok":
                states[found["state"]].append(name)
    parts = [told["status"], *sorted(set(codes(told)) - usual)]
    for state in sorted(states):
        names = states[state]
        parts.append(f"{state}=all" if len(names) == every else f"{state}={'+'.join(sorted(names))}")
    return " ".join(parts)


@dataclass(frozen=True)
class Published:
    """What is live, by who and what it is in the source; `persons` are each human's active ids."""

    labels: Labels
    persons: Mapping[str, set[str]]
    humans: Mapping[str, set[str]]


def published(here: Deployment, tenant: str, original: Mapping[str, str]) -> Published:
    """Reads what is live; `original` gives the ids of before for ids that were changed."""
    with here.stores.database.connect() as connection:

        def rows(table: str, where: str = "") -> list[Any]:
            query = f"SELECT * FROM {table} WHERE tenant = :tenant{where}"
            return list(connection.execute(text(query), {"tenant": tenant}).mappings())

        people, links = rows("current_people"), rows("current_guardian_links")
        schools, classes = rows("current_schools"), rows("current_classes")
        memberships = rows("current_memberships")
        sources = rows("person_sources", " AND removed_at IS NULL")
    humans: dict[str, set[str]] = defaultdict(set)
    for row in sources:
        humans[row["person_id"]].add(human_of(original.get(row["source_id"], row["source_id"])))
    name = {person: "+".join(sorted(who)) for person, who in humans.items()}
    active = {row["person_id"] for row in people if not row["inactive_since"]}
    persons: dict[str, set[str]] = defaultdict(set)
    for person in active:
        for human in humans[person]:
            persons[human].add(person)
    school = {row["school_id"]: original.get(row["source_id"], row["source_id"]) for row in schools}
    class_ = {row["class_id"]: original.get(row["source_id"], row["source_id"]) for row in classes}
    labels: Labels = {
        "schools": set(school.values()),
        "classes": set(class_.values()),
        "people": {name[person] for person in active},
        "memberships": {
            (class_[row["class_id"]], name[row["person_id"]], row["role"]) for row in memberships
        },
        "guardian_links": {(name[row["student_id"]], name[row["guardian_id"]]) for row in links},
    }
    counts = {"schools": schools, "classes": classes, "memberships": memberships, "guardian_links": links}
    for kind, found in counts.items():
        labels[f"double {kind}"] = {len(found) - len(labels[kind])} - {0}
    return Published(labels, persons, humans)


def in_source(tables: Tables) -> Labels:
    """What a source's rows say, in the same words."""
    return {
        "schools": {row["sourcedId"] for row in tables["orgs"] if row["type"] == "school"},
        "classes": {row["sourcedId"] for row in tables["classes"]},
        "people": {human_of(row["sourcedId"]) for row in tables["users"]},
        "memberships": {(row["class"], human_of(row["user"]), row["role"]) for row in tables["enrollments"]},
    }


# ---------------------------------------------------------------------------------------------- origins


@dataclass
class Origin:
    """One provider of a kind in a shape, whole or with a fault."""

    kind: str
    shape: str
    tables: Tables
    """What is true, as this kind can say it."""
    here: Deployment
    server: Serving | None = None
    path: Path | None = None
    seed: int = SEED

    @property
    def options(self) -> dict[str, Any]:
        """The provider in a tenant document."""
        family: dict[str, Any] = {"sync_parent_data": True, "relationship_type": "guardian"}
        if self.server is None:
            assert self.path
            return csv_provider(self.path, **family)
        version = {"version": self.kind[-3:]} if self.kind.startswith("oneroster-") else {}
        if self.kind == "powerschool":
            family = {}
        return rest_provider(self.server, page_size=PAGE_SIZE[self.shape], **version, **family)

    def spoiled(self, case: Case) -> Tables:
        """The tables as they are after what happens to rows; the truth where nothing does."""
        return self._spoiled(case, self.seed)

    def _spoiled(self, case: Case, seed: int) -> Tables:
        return happened(self.tables, case.faults, _table_of(case), seed)

    def original(self, case: Case) -> dict[str, str]:
        """The id of before for each one that a case changes, at first or later."""
        found: dict[str, str] = {}
        for seed in (SEED, SEED + 1) if _gives_new_ids(case) else ():
            after = self._spoiled(case, seed)
            for name, rows in self.tables.items():
                new: list[Row] = after[name]
                pairs = zip(rows, new, strict=True)
                found |= {one["sourcedId"]: old["sourcedId"] for old, one in pairs}
        return found

    def spoil(self, case: Case) -> None:
        """Makes the fault begin."""
        if self.server:
            self.server.sandbox.misbehave(*case.faults, seed=self.seed)
        else:
            self._write(self.spoiled(case), case)

    def mend(self, case: Case | None = None) -> None:
        """Ends whatever fault there is."""
        if self.server is None:
            self._write(self.tables, None)
        elif case is not None and case.new_secret:
            self.here.environ["SANDBOX_SECRET"] = f"{CLIENT_SECRET}-new"
            self.server.sandbox.misbehave(*(replace(fault, after=0) for fault in case.faults))
        else:
            self.here.environ["SANDBOX_SECRET"] = CLIENT_SECRET
            self.server.sandbox.misbehave()

    def _write(self, tables: Tables, case: Case | None) -> None:
        assert self.path
        folder = self.path.with_name("export") if self.shape == "zip" else self.path
        for old in (folder, self.path):
            if old.is_dir():
                shutil.rmtree(old)
            else:
                old.unlink(missing_ok=True)
        write_csv(tables, folder, "1.2" if self.kind == "csv-1.2" else "1.1")
        files = {file.name: file.read_bytes() for file in sorted(folder.iterdir())}
        if case is not None and case.spoils:
            files = case.spoils(files, tables)
        shutil.rmtree(folder)
        if self.shape == "folder":
            if files:
                folder.mkdir()
            for name, content in files.items():
                (folder / name).write_bytes(content)
            return
        if files:
            with zipfile.ZipFile(self.path, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, content in files.items():
                    archive.writestr(name, content)
        if case is not None and "half-written" in case.name:
            self.path.write_bytes(self.path.read_bytes()[: self.path.stat().st_size // 2])


def _gives_new_ids(case: Case) -> bool:
    return any(fault.what == "re-key" for fault in case.faults)


def _table_of(case: Case) -> str:
    return next((fault.endpoint for fault in case.faults if fault.endpoint), "users")


class Ground:
    """Where combinations are run: one deployment for each database, one server for each flavour."""

    def __init__(self, stack: ExitStack, folder: Path, postgres_url: str) -> None:
        self._stack, self._folder, self._postgres_url = stack, folder, postgres_url
        self._deployments: dict[str, Deployment] = {}
        self._servers: dict[str, Serving] = {}
        self._usual: dict[str, tuple[Roster, set[str]]] = {}
        self._tenants = 0

    def deployment(self, store: str) -> Deployment:
        """The deployment on this database."""
        if store not in self._deployments:
            url = self._postgres_url if store == "postgres" else ""
            self._deployments[store] = self._stack.enter_context(deployment(self._folder / store, url))
        return self._deployments[store]

    def origin(self, kind: str, shape: str, store: str) -> Origin:
        """A provider that behaves."""
        tables = for_version(district(), "1.2" if kind.endswith("1.2") else "1.1")
        here = self.deployment(store)
        if kind.startswith("csv"):
            path = self._folder / f"{kind}-{store}" / ("export.zip" if shape == "zip" else "export")
            path.parent.mkdir(exist_ok=True)
            origin = Origin(kind, shape, tables, here, path=path)
        else:
            if kind == "powerschool":
                tables = without_guardians(tables)
            if kind not in self._servers:
                self._servers[kind] = self._stack.enter_context(serving(district(), kind))
            origin = Origin(kind, shape, tables, here, self._servers[kind])
        origin.mend()
        return origin

    def tenant(self, here: Deployment, origin: Origin) -> str:
        """A new tenant with this provider."""
        self._tenants += 1
        tenant = f"tenant-{self._tenants}"
        here.apply(tenant, origin.options)
        return tenant

    def usual(self, kind: str) -> tuple[Roster, set[str]]:
        """The roster of an undisturbed tenant, and the codes that its sync told."""
        if kind not in self._usual:
            origin = self.origin(kind, "zip" if kind.startswith("csv") else "one", "sqlite")
            tenant = self.tenant(origin.here, origin)
            told = origin.here.sync(tenant, DAY)
            assert told["status"] == "successful", told["issues"]
            self._usual[kind] = origin.here.roster(tenant), set(codes(told))
        return self._usual[kind]


@contextmanager
def ground(folder: Path, postgres_url: str = "") -> Iterator[Ground]:
    """A ground in an empty folder; without a URL it has no Postgres."""
    with ExitStack() as stack:
        yield Ground(stack, folder, postgres_url)


# ------------------------------------------------------------------------------------------------ a pair


def run(
    where: Ground, case: Case, kind: str, shape: str, store: str, syncs: Sequence[str] = ("first", "later")
) -> list[Result]:
    """Runs a case's first and later sync, or one of them."""
    usual, usual_codes = where.usual(kind)
    origin = where.origin(kind, shape, store)
    here = origin.here
    tenant = where.tenant(here, origin)
    results = []
    try:
        if "first" not in syncs:
            here.sync(tenant, DAY)
        for sync in syncs:
            # Ids that were new once are known; later there are others.
            origin.seed = SEED + (sync == "later" and _gives_new_ids(case))
            trial = _Trial(here, tenant, origin, case, usual, usual_codes)
            begun = time.monotonic()
            told = trial.fault(case.expected(sync, kind, shape))
            # Where a later sync follows, the good one after that is the repetition of this one's.
            trial.recovery(repeated=sync == syncs[-1])
            seconds = time.monotonic() - begun
            combination = Combination(case.name, kind, sync, shape, store)
            results.append(Result(combination, told, tuple(trial.wrong), seconds))
    finally:
        origin.mend()
    return results


@dataclass
class _Trial:
    here: Deployment
    tenant: str
    origin: Origin
    case: Case
    usual: Roster
    usual_codes: set[str]
    wrong: list[str] = field(default_factory=list)

    def _published(self) -> Published:
        return published(self.here, self.tenant, self.origin.original(self.case))

    def fault(self, expected: str) -> str:
        """The sync with the fault; gives what it told."""
        case, before = self.case, self._published()
        self.origin.spoil(case)
        limits = _SHORT if _SLOW & {fault.what for fault in case.faults} else _LIMITS
        begun = time.monotonic()
        told = self.here.sync(self.tenant, DAY, world=self.here.world(limits=limits, bounds=_BOUNDS))
        seconds = time.monotonic() - begun
        after = self._published()
        if seconds > LONGEST:
            self.wrong.append(f"it took {seconds:.1f} seconds")
        said = summary(told, self.usual_codes)
        if said != expected:
            self.wrong.append(f"told: {said}; expected: {expected}")
        self._no_fault_of_ours(told)
        self._nobody_wrong(before, after)
        gone: Labels = {}
        states = (
            {name: found["state"] for name, found in told["providers"][0]["collections"].items()}
            if told["providers"]
            else {}
        )
        if case.goes and not _NOT_OK & set(states.values()):
            truth, now = in_source(self.origin.tables), in_source(self.origin.spoiled(case))
            gone = {kind: truth[kind] - now[kind] for kind in truth}
            gone["memberships"] |= {one for one in truth["memberships"] if one[1] in gone["people"]}
        for kind in ("schools", "classes", "people", "memberships", "guardian_links"):
            lost = before.labels[kind] - after.labels[kind] - gone.get(kind, set())
            if lost:
                self.wrong.append(
                    f"{len(lost)} {kind} were removed wrongly, one of them {min(lost, key=str)}"
                )
        return said

    def recovery(self, *, repeated: bool) -> None:
        """The good sync after it, `repeated` where that changed anything."""
        before = self._published()
        self.origin.mend(self.case)
        told = self.here.sync(self.tenant, DAY)
        after = self._published()
        # Where the fault came after some pages, the good sync goes on there, and says so.
        said = summary(told, self.usual_codes | self.case.after | {"RS-PAGE-11"})
        if said != "successful":
            self.wrong.append(f"the good sync after it told: {said}")
        self._no_fault_of_ours(told)
        self._nobody_wrong(before, after)
        self._as_usual()
        if repeated and changed(told):
            again = self.here.sync(self.tenant, DAY)
            if changed(again) or again["status"] != "successful":
                self.wrong.append(f"a repetition: {again['status']}, changed {changed(again)}")
        self.origin.mend()

    def _no_fault_of_ours(self, told: Document) -> None:
        if "RS-RUN-99" in codes(told):
            self.wrong.append(f"a fault of ours: {told['issues']}")

    def _nobody_wrong(self, before: Published, after: Published) -> None:
        merged = [who for who in after.humans.values() if len(who) > 1]
        if merged:
            self.wrong.append(f"merged wrongly: {merged[0]}")
        double = [human for human, persons in after.persons.items() if len(persons) > 1]
        if double:
            self.wrong.append(f"{len(double)} humans are several people, one of them {min(double)}")
        for kind, found in after.labels.items():
            if kind.startswith("double ") and found:
                self.wrong.append(f"{found} {kind}")
        moved = [
            human
            for human, persons in before.persons.items()
            if human in after.persons and persons != after.persons[human]
        ]
        if moved:
            self.wrong.append(f"{len(moved)} humans have another id than before, one of them {min(moved)}")

    def _as_usual(self) -> None:
        found = _in_words(self.here.roster(self.tenant), self.origin.original(self.case))
        usual = _in_words(self.usual, {})
        for kind, rows in usual.items():
            more = {row for row in found[kind] - rows if not dict(row).get("inactive_since")}
            if more or rows - found[kind]:
                less = rows - found[kind]
                some = [dict(row) for row in [*more][:1] + [*less][:1]]
                self.wrong.append(
                    f"{kind} are not as undisturbed: {len(more)} more, {len(less)} less, as {some}"
                )


def _in_words(roster: Roster, original: Mapping[str, str]) -> Roster:
    """A roster by the ids of before, each once."""
    if not original:
        return roster

    def word(value: Any) -> Any:
        if not isinstance(value, str) or not any(new in value for new in original):
            return value
        for new, old in original.items():
            value = value.replace(new, old)
        if value.startswith("["):
            return str(sorted(ast.literal_eval(value)))
        return " ".join(sorted(set(value.split(" "))))

    return {
        kind: {tuple((name, word(value)) for name, value in row) for row in rows}
        for kind, rows in roster.items()
    }
