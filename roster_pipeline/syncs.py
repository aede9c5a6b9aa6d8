"""One sync of one tenant: its steps, what each hands to the next, and how it ends.

The rules are in `rosters`, the rows in `store`; here they meet. A step reads the newest finished
tables of the steps before it, so that a run of some assets, or from a failure, goes on where the
last one stopped. Dagster's assets and the commands call this; it does not know them.
"""

from __future__ import annotations

import datetime as dt
import json
import random
import secrets as randomness
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
from sqlalchemy import insert, select, update

from roster_pipeline.codes import CodedError, Issue
from roster_pipeline.nights import windows
from roster_pipeline.oneroster.addresses import admitted
from roster_pipeline.oneroster.collections import COLLECTIONS, COLUMNS, DIRECTORY_COLUMNS
from roster_pipeline.providers import KINDS
from roster_pipeline.providers.reading import CollectionRead, Reading
from roster_pipeline.release import release
from roster_pipeline.rosters import outcome, rows, unmoved
from roster_pipeline.rosters.changes import KEYS, Changes, compare, not_in
from roster_pipeline.rosters.completeness import Completeness, judge_schools
from roster_pipeline.rosters.current import Current, find_current
from roster_pipeline.rosters.forgotten import ForgettingSink
from roster_pipeline.rosters.identities import Directory, Identities, find_identities
from roster_pipeline.rosters.outcome import Found
from roster_pipeline.rosters.plan import plan
from roster_pipeline.rosters.schools import Schools, find_schools
from roster_pipeline.rosters.sessions import Sessions, find_sessions
from roster_pipeline.rosters.source import REQUIRED, Published, Source, Tonight
from roster_pipeline.rosters.statuses import FAILED
from roster_pipeline.rosters.undone import fingerprints
from roster_pipeline.rosters.unmoved import Ground
from roster_pipeline.store import holds, ledger, receipts
from roster_pipeline.store.database import enrolled_sources, registers, school_sources, sync_outcomes
from roster_pipeline.store.lake import place_of
from roster_pipeline.store.lease import Lease
from roster_pipeline.store.paces import StoredPaces
from roster_pipeline.store.publish import remember, write_changes
from roster_pipeline.store.published import StoredRoster, read_table
from roster_pipeline.store.retention import retention, tidy
from roster_pipeline.tenants import registry
from roster_pipeline.tenants.secrets import resolve

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from roster_pipeline.oneroster.client import Limits
    from roster_pipeline.oneroster.paging import Bounds
    from roster_pipeline.rosters.holds import Place
    from roster_pipeline.store.home import Stores
    from roster_pipeline.store.lake import Lake
    from roster_pipeline.tenants.document import Tenant
    from roster_pipeline.tenants.registry import Registered

STALE_DAYS: Final = 7
"""How old, in `as_of` days, the last complete extract may be that stands in for an unreadable one."""

DIRECTORY: Final = "directory"


@dataclass(frozen=True, slots=True)
class World:
    """Time, randomness, the environment and whoever watches: what a sync needs from outside.

    `limits` and `bounds` are what servers may cost; None for what is usual. `runs_every_rule` also on a
    night on which nothing moved, and reads every page anew.
    """

    clock: Callable[[], dt.datetime]
    sleep: Callable[[float], None]
    rng: random.Random
    environ: Mapping[str, str]
    progress: Callable[[str, str, int, int | None], None]
    limits: Limits | None = None
    bounds: Bounds | None = None
    runs_every_rule: bool = False

    @classmethod
    def real(
        cls,
        environ: Mapping[str, str],
        progress: Callable[[str, str, int, int | None], None] = lambda *_: None,
        *,
        runs_every_rule: bool = False,
    ) -> World:
        """The world as it is."""
        return cls(
            clock=lambda: dt.datetime.now(dt.UTC),
            sleep=time.sleep,
            rng=randomness.SystemRandom(),
            environ=environ,
            progress=progress,
            runs_every_rule=runs_every_rule,
        )


class Sync:
    """A sync in progress; holds the tenant's lease from `open` to `close`.

    `unmoved_since` is, once it has published, the earlier sync whose findings it published again; None where
    the rules ran.
    """

    def __init__(
        self,
        stores: Stores,
        registered: Registered,
        lease: Lease,
        sync_id: int,
        as_of: dt.date,
        *,
        as_of_given: bool,
        dry_run: bool,
        world: World,
        opened_at: dt.datetime,
    ) -> None:
        self._stores, self._registered, self._lease, self._world = stores, registered, lease, world
        self.sync_id, self.as_of, self.tenant = sync_id, as_of, registered.tenant.tenant
        self._as_of_given, self._dry_run, self._opened_at = as_of_given, dry_run, opened_at
        self._keep = retention(world.environ)
        self._frames = _FrameCache(stores.lake, self.tenant)
        self._made: dict[str, dict[str, pd.DataFrame]] = {}
        self._roster: tuple[int, Published] | None = None
        self.unmoved_since: int | None = None

    # -------------------------------------------------------------------------- begin and end

    @classmethod
    def open(
        cls,
        stores: Stores,
        tenant: str,
        *,
        run_id: str,
        trigger: str,
        as_of: dt.date | None,
        dry_run: bool,
        world: World,
    ) -> Sync:
        """Begins a tenant's sync, or goes on with the one that belongs to the root run `run_id`.

        Raises:
            CodedError: RS-CFG-08 for an unknown tenant, RS-CFG-13 for a setting of the deployment that cannot
                be read, RS-RUN-06 if another sync is running.
        """
        with stores.database.connect() as connection:
            registered = registry.get(connection, tenant)
        retention(world.environ)  # refused before anything is begun
        lease = Lease(stores.database, tenant, owner=run_id, clock=world.clock)
        lease.take()
        try:
            now = world.clock()
            with (
                stores.database.connect().execution_options(immediate=True) as connection,
                connection.begin(),
            ):
                day = as_of or not_before(connection, tenant, windows.as_of(registered.tenant, now))
                sync_id, day, given = ledger.begin(
                    connection,
                    tenant=tenant,
                    region=registered.tenant.region,
                    run_id=run_id,
                    trigger=ledger.DRY_RUN if dry_run else trigger,
                    as_of=day,
                    as_of_given=as_of is not None,
                    now=now,
                )
        except BaseException:
            lease.release()
            raise
        return cls(
            stores,
            registered,
            lease,
            sync_id,
            day,
            as_of_given=given,
            dry_run=dry_run,
            world=world,
            opened_at=now,
        )

    def close(self, *, cut_off: bool = False) -> None:
        """Gives the lease back; a sync that never came to publish is `interrupted`.

        Args:
            cut_off: Something ended it in the middle of a step: then it says so with a code.
        """
        now = self._world.clock()
        with self._stores.database.begin() as connection:
            why = ledger.why_ended(connection, self.tenant, now - self._opened_at) if cut_off else None
            ledger.interrupt(connection, self.sync_id, now, why)
        self._lease.release()

    def fail(self, error: BaseException) -> dict[str, Any]:
        """Records that the sync ended with an error; nothing was published.

        The text of an error that is not ours may hold anything: only its kind is told.
        """
        issue = issue_of(error)
        with self._stores.database.begin() as connection:
            return ledger.finish(connection, self.sync_id, ledger.failure([issue]), self._world.clock())

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts that it reads."""
        return self._registered.tenant.hosts

    # -------------------------------------------------------------------------- extract

    def extract(self, kind: str) -> dict[str, Any]:
        """Reads every provider of a kind into the lake; always gives something.

        A collection that is empty and was not before is `unproven`; one that cannot be read is
        `stale` while the last complete extract is at most `STALE_DAYS` old, else `failed`.
        """
        entries: dict[str, Any] = {}
        as_before: dict[tuple[str, str], dict[str, int]] = {}
        for source in self._sources_of(kind):
            provider_id = self._registered.provider_ids[source.name]
            reads, entries[str(provider_id)] = self._extract_one(kind, provider_id, source)
            # Told and not kept: nothing that follows may go by how a row was read.
            as_before |= {
                (source.name, read.name): {"rows_as_before": read.rows_as_before}
                for read in reads
                if read.rows_as_before is not None
            }
        self._stores.lake.write(
            self.tenant, self.sync_id, _raw(kind), {}, {"as_of": self.as_of.isoformat(), "providers": entries}
        )
        told = [
            {
                "provider": entry["name"],
                "collection": name,
                "state": found["state"],
                "rows": found["rows"],
                "proof": found["proof"],
                **({"how": found["how"]} if "how" in found else {}),
                **as_before.get((entry["name"], name), {}),
            }
            for entry in entries.values()
            for name, found in entry["collections"].items()
        ]
        issues = [issue for entry in entries.values() for issue in entry["issues"]]
        return {
            "configured": bool(entries),
            "row_count": sum(record["rows"] for record in told),
            "tables": {"collections": told, "issues": _told(_issues(issues))},
        }

    def _sources_of(self, kind: str) -> tuple[Any, ...]:
        tenant = self._registered.tenant
        if kind == DIRECTORY:
            return tenant.directories
        return tuple(provider for provider in tenant.providers if provider.kind == kind)

    def _extract_one(
        self, kind: str, provider_id: int, source: Any
    ) -> tuple[Sequence[CollectionRead], dict[str, Any]]:
        """How its collections were read, and what those who come after go by."""
        collections = ("people",) if kind == DIRECTORY else COLLECTIONS
        lake, world = self._stores.lake, self._world
        reading = Reading(
            secret=lambda reference: resolve(reference, world.environ),
            clock=world.clock,
            sleep=world.sleep,
            rng=world.rng,
            progress=lambda collection, read, total: world.progress(source.name, collection, read, total),
            networks=admitted(world.environ),
            limits=world.limits,
            bounds=world.bounds,
            as_of=self.as_of,
            paces=StoredPaces(self._stores.database, world.clock),
        )
        started = world.clock()
        with lake.extract(
            self.tenant,
            provider_id,
            self.sync_id,
            collections,
            clock=world.clock,
            interrupted=self._interrupted(provider_id),
            release=release(),
            anew=world.runs_every_rule,
        ) as sink:
            reads = KINDS[kind](source, self._without_forgotten(provider_id, sink), reading)
        seconds = (world.clock() - started).total_seconds()
        complete = lake.complete(self.tenant, provider_id)
        issues: list[Issue] = []
        found = {read.name: self._judge(read, complete, source.name, issues) for read in reads}
        issues += _told_of_stale(found, complete, source.name)
        for name in COLLECTIONS if kind != DIRECTORY else ():
            if found[name]["state"] == "ok" and lake.has_rows_without_id(
                self.tenant, provider_id, self.sync_id, name
            ):
                found[name] |= {
                    "state": "unproven",
                    "proof": "It has rows without a sourcedId: nobody knows whose they are.",
                }
        for name, entry in found.items():
            if entry["state"] == "ok":
                entry["digest"] = lake.digest(self.tenant, provider_id, self.sync_id, name)
        newly = {
            name: {"sync_id": self.sync_id, "rows": entry["rows"], "as_of": self.as_of.isoformat()}
            for name, entry in found.items()
            if entry["state"] == "ok"
        }
        if not self._dry_run:  # what was only tried out stands in for nothing, whatever its date
            lake.set_complete(self.tenant, provider_id, _with_cursors({**complete, **newly}, newly, reads))
        return reads, {
            "name": source.name,
            "duration_s": seconds,
            "collections": found,
            "issues": [asdict(issue) for issue in issues],
        }

    def _interrupted(self, provider_id: int) -> list[int]:
        """The syncs since the last one that read this provider to the end, the newest first.

        One that came to its end with everything read is not gone on from, whatever it was told for: whoever
        syncs again then wants to see what has changed. What was only tried out serves for nothing else.
        """
        if self._dry_run:
            return []
        with self._stores.database.connect() as connection:
            before = ledger.earlier(connection, self.tenant, self.sync_id)
        found = []
        for sync_id, status in before:
            ended = status not in (ledger.RUNNING, ledger.INTERRUPTED)
            if ended and not self._stores.lake.is_unfinished(self.tenant, provider_id, sync_id):
                break
            found.append(sync_id)
        return found

    def _without_forgotten(self, provider_id: int, sink: Any) -> Any:
        """The sink, behind what blanks the rows of the forgotten; where nobody is forgotten, itself."""
        forgotten = receipts.forgotten_of(self._stores.database, self.tenant)
        return sink if forgotten is None else ForgettingSink(sink, forgotten, provider_id)

    def _judge(
        self, read: CollectionRead, complete: dict[str, Any], name: str, issues: list[Issue]
    ) -> dict[str, Any]:
        last = complete.get(read.name)
        entry = {"state": read.state, "rows": read.rows, "sync_id": self.sync_id, "proof": read.proof}
        entry |= {"how": read.how} if read.cursor else {}
        seen = {(issue.code, issue.message) for issue in issues}
        # What was read whole before is not missing by nature: compatibility mode would not bring it back.
        vanished = bool(last and last["rows"]) and any(issue.code == "RS-PAGE-09" for issue in read.issues)
        issues += [
            issue
            for issue in read.issues
            if (issue.code, issue.message) not in seen and not (vanished and issue.code == "RS-PRV-06")
        ]
        if read.state == "ok" and not read.rows and last and last["rows"]:
            issues.append(
                Issue("RS-SAFE-04", f"{read.name} had {last['rows']} rows and is empty now.", provider=name)
            )
            entry |= {"state": "unproven", "proof": "It had rows before and is empty now."}
        elif read.state == "failed":
            age = (self.as_of - dt.date.fromisoformat(last["as_of"])).days if last else None
            if last and last["sync_id"] and age is not None and age <= STALE_DAYS:
                entry |= {"state": "stale", "rows": last["rows"], "sync_id": last["sync_id"]}
        return entry

    # -------------------------------------------------------------------------- rules

    def current_sessions(self) -> dict[str, Any]:
        """Schools in scope, current sessions and current classes, from the newest extracts."""
        raw = self._newest_extracts()
        saw = {"saw": self._register()["proposal"], "as_of": raw["as_of"], "raw": raw}
        if told := self._as_before("current_sessions", raw, saw):
            return told
        sources = self._sources(raw["providers"])
        published = self._published()
        tonight = self._tonight(raw["as_of"])
        schools = find_schools(sources, published, tonight)
        sessions = find_sessions(sources, schools, published, tonight)
        return self._write(
            "current_sessions",
            {
                "orgs": schools.orgs,
                "sessions": sessions.sessions,
                "courses": sessions.courses,
                "classes": sessions.classes,
                "calendars": sessions.calendars,
            },
            {
                **saw,
                "excluded": [list(pair) for pair in sorted(schools.excluded)],
                "limited": {str(who): sorted(ids) for who, ids in schools.limited.items()},
                "unread": [list(pair) for pair in sorted(schools.unread)],
                "school_issues": [asdict(issue) for issue in schools.issues],
                "issues": [asdict(issue) for issue in sessions.issues],
            },
            {
                "row_count": int((sessions.classes["reason"] == "").sum()),
                "schools": int((schools.orgs["school_id"] != "").sum()),
                "current_classes": int((sessions.classes["reason"] == "").sum()),
                "as_of": raw["as_of"],
                "tables": {
                    "classes": _by_reason(sessions.classes, self._names()),
                    "issues": _told([*schools.issues, *sessions.issues]),
                },
            },
        )

    def current_enrolments(self) -> dict[str, Any]:
        """The memberships that count today, and the people whom they keep."""
        facts = self._facts("current_sessions")
        saw = {
            "saw": self._register()["proposal"],
            "as_of": facts["as_of"],
            "reads": {"current_sessions": facts["sync_id"]},
        }
        if told := self._as_before("current_enrolments", facts["raw"], saw):
            return told
        schools, sessions = self._read_sessions(facts)
        sources = self._sources(facts["raw"]["providers"])
        tonight = self._tonight(facts["as_of"])
        current = find_current(sources, schools, sessions, self._published(), tonight)
        self._frames.forget()  # later rules seldom ask for what was read: then it is read again
        return self._write(
            "current_enrolments",
            {"users": current.users, "enrolments": current.enrolments},
            {**saw, "issues": [asdict(issue) for issue in current.issues]},
            {
                "row_count": int((current.enrolments["reason"] == "").sum()),
                "current_users": int((current.users["reason"] == "").sum()),
                "as_of": facts["as_of"],
                "tables": {
                    "users": _by_reason(current.users, self._names()),
                    "enrolments": _by_reason(current.enrolments, self._names()),
                    "issues": _told(current.issues),
                },
            },
        )

    def merged_identities(self) -> dict[str, Any]:
        """One row a person, one a link, one outcome a provider user; and which schools are complete."""
        enrolled = self._facts("current_enrolments")
        facts = self._facts("current_sessions", enrolled["reads"]["current_sessions"])
        register, directory_facts = self._register(), self._directory_facts()
        saw = {
            "saw": register["proposal"],
            "as_of": facts["as_of"],
            "register": register["version"],
            "proposal": f"{self.sync_id}-{randomness.token_hex(8)}",
            "directories": directory_facts,
            "reads": {**enrolled["reads"], "current_enrolments": enrolled["sync_id"]},
        }
        if told := self._as_before("merged_identities", facts["raw"], saw):
            return told
        schools, sessions = self._read_sessions(facts)
        current = self._read_current(enrolled)
        sources = self._sources(facts["raw"]["providers"])
        published = self._published()
        tonight = self._tonight(facts["as_of"])
        completeness = judge_schools(sources, schools, sessions, current, published, tonight)
        directories = self._directories(directory_facts)
        identities = find_identities(sources, directories, current, completeness, published, tonight)
        counted = identities.outcomes["outcome"].value_counts()
        return self._write(
            "merged_identities",
            {
                "schools": completeness.schools,
                "people": identities.people,
                "links": identities.links,
                "outcomes": identities.outcomes,
                "guardians": identities.guardians,
                "merged": identities.merged,
            },
            {
                **saw,
                "dropped": [[*key, why] for key, why in identities.users.items()],
                "school_issues": [asdict(issue) for issue in completeness.issues],
                "issues": [asdict(issue) for issue in identities.issues],
            },
            {
                "row_count": len(identities.people),
                **{name: int(counted.get(name, 0)) for name in ("matched", "created", "unmatched")},
                "as_of": facts["as_of"],
                "tables": {
                    "schools": completeness.schools[["school_id", "name", "state", "code"]].to_dict(
                        "records"
                    ),
                    "issues": _told([*completeness.issues, *identities.issues]),
                },
            },
        )

    def publish(self) -> dict[str, Any]:
        """Publishes what was merged, in one transaction, and records what the sync tells.

        Returns:
            The contract's `sync --json` document.

        Raises:
            CodedError: RS-RUN-06 if the lease was lost, RS-RUN-07 if the proposal is older than what
                is published, RS-RUN-08 if nothing was merged yet.
        """
        merged = self._facts("merged_identities")
        enrolled = self._facts("current_enrolments", merged["reads"]["current_enrolments"])
        facts = self._facts("current_sessions", merged["reads"]["current_sessions"])
        register = self._register()
        self._refuse_older(merged, register)
        ground = self._ground(facts["raw"], merged)
        if ground is not None and place_of(merged) == ground.tables["merged_identities"]:
            return self._publish_again(ground, facts, merged, register)
        published = self._published()
        sources = self._sources(facts["raw"]["providers"])
        found = self._found(merged, enrolled, facts, sources, published)
        issues = self._issues(merged, enrolled, facts, found)
        status, _ = outcome.status_of(found, issues)
        changes = {
            name: compare(name, _live(getattr(published, name)), table)
            for name, table in found.roster.tables.items()
        }
        if status == FAILED:  # nothing new is published; why a school was kept is
            found.roster.tables.update(_unchanged(published, found.roster.tables["schools"]))
            changes = {
                name: compare(name, _live(getattr(published, name)), table)
                for name, table in found.roster.tables.items()
            }
        durations = {int(who): entry["duration_s"] for who, entry in facts["raw"]["providers"].items()}
        report = outcome.report(found, changes, durations, issues)
        steps = {"current_sessions": facts, "current_enrolments": enrolled, "merged_identities": merged}
        # All of what the rules found must be about what is published now, and not about what was before.
        fresh = all(step.get("saw") == register["proposal"] and "made" in step for step in steps.values())
        settled = fresh and not self._dry_run and unmoved.is_settled(report, found, changes, published)
        ground = self._ground_of(report, found, published, steps) if settled else None
        return self._end(report, changes, found, ground, merged, register)

    def latest(self, limit: int) -> list[dict[str, Any]]:
        """The tenant's last syncs in short, the newest first, as `ledger.latest` gives them."""
        with self._stores.database.connect() as connection:
            return ledger.latest(connection, self.tenant, limit=limit)

    # -------------------------------------------------------------------------- nights on which nothing moved

    def _ground(self, raw: dict[str, Any], facts: dict[str, Any]) -> Ground | None:
        """What an earlier sync found, if that is what the rules would find tonight.

        Args:
            raw: The extracts that the step goes by.
            facts: Of the step: the date; and the directories, where it looks at them.
        """
        if self._world.runs_every_rule:
            return None
        ground = Ground.of(self._stores.lake.ground(self.tenant))
        if ground is None or not ground.carries(
            proposal=self._register()["proposal"],
            as_of=facts["as_of"],
            rules=self._digest_of_rules(),
            sources=unmoved.digest_of_extracts(raw["providers"]),
            directories=unmoved.digest_of_extracts(facts["directories"])
            if "directories" in facts
            else ground.directories,
        ):
            return None
        return ground

    def _digest_of_rules(self) -> str:
        mine = self._registered
        document = mine.tenant.model_dump(mode="json")
        return unmoved.digest_of_rules(release(), document, mine.provider_ids, mine.retired)

    def _as_before(self, asset: str, raw: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any] | None:
        """Points to an earlier sync's tables, where they are what a step would make: then what it tells."""
        ground = self._ground(raw, facts)
        if ground is None:
            return None
        same = ground.tables[asset]
        before = self._stores.lake.facts(self.tenant, asset, same["sync_id"])
        # A step that is done again would point to itself.
        if same["sync_id"] == self.sync_id or before is None or place_of(before) != same:
            return None
        self._stores.lake.write_same(self.tenant, self.sync_id, asset, same, facts)
        self._made.pop(asset, None)
        return {**before["told"], "as_of": facts["as_of"], "unmoved_since_sync": ground.sync_id}

    def _publish_again(
        self, ground: Ground, facts: dict[str, Any], merged: dict[str, Any], register: dict[str, Any]
    ) -> dict[str, Any]:
        """Publishes what is published already: only the date of the schools' states moves."""
        schools = self._published().schools
        dated = rows.among(schools["school_id"], set(ground.schools)) & (
            schools["state_as_of"] != merged["as_of"]
        )
        none = schools.iloc[:0]
        changes = {"schools": Changes(none, schools[dated].assign(state_as_of=merged["as_of"]), none)}
        durations = {entry["name"]: entry["duration_s"] for entry in facts["raw"]["providers"].values()}
        report = ground.report_of(int(dated.sum()), durations)
        same = replace(ground, proposal=merged["proposal"])
        document = self._end(report, changes, None, same, merged, register)
        self.unmoved_since = ground.sync_id
        return document

    def _ground_of(
        self, report: dict[str, Any], found: Found, published: Published, steps: dict[str, dict[str, Any]]
    ) -> Ground | None:
        """What the next nights may stand on; None where it is not known what was read."""
        merged, raw = steps["merged_identities"], steps["current_sessions"]["raw"]
        sources = unmoved.digest_of_extracts(raw["providers"])
        directories = unmoved.digest_of_extracts(merged["directories"])
        if sources is None or directories is None:
            return None
        tonight = self._tonight(merged["as_of"])
        days = unmoved.turning_days(found, published, tonight)
        return Ground(
            sync_id=self.sync_id,
            proposal=merged["proposal"],
            as_of=tonight.day,
            until=unmoved.until(days, tonight.as_of).isoformat(),
            rules=self._digest_of_rules(),
            sources=sources,
            directories=directories,
            tables={asset: place_of(facts) for asset, facts in steps.items()},
            schools=unmoved.dated_schools(found),
            report={name: value for name, value in report.items() if name != "as_of"},
        )

    def _lay_ground(self, ground: Ground | None) -> None:
        """Keeps it. What was published is published: without a ground the next night only runs every rule."""
        with suppress(CodedError):
            self._stores.lake.set_ground(self.tenant, ground.as_json() if ground else None)

    # -------------------------------------------------------------------------- publishing

    def _refuse_older(self, merged: dict[str, Any], register: dict[str, Any]) -> None:
        same = register["proposal"] == merged["proposal"]
        if register["version"] != merged["register"] and not same:
            raise CodedError(
                "RS-RUN-07",
                f"The identities were merged for version {merged['register']} of the register, "
                f"which has version {register['version']} by now.",
            )
        if register["as_of"] and merged["as_of"] < register["as_of"] and not self._as_of_given:
            raise CodedError(
                "RS-RUN-07",
                f"The tables are of {merged['as_of']}; published is {register['as_of']}.",
            )

    def _end(
        self,
        report: dict[str, Any],
        changes: dict[str, Changes],
        found: Found | None,
        ground: Ground | None,
        merged: dict[str, Any],
        register: dict[str, Any],
    ) -> dict[str, Any]:
        """Publishes, and keeps what the next nights may stand on; the sync's document.

        Args: as of `_commit`; `ground` holds only if nothing was learned besides.
        """
        report |= {"as_of": merged["as_of"]} | ({"dry_run": True} if self._dry_run else {})
        document, learned = self._commit(report, changes, found, merged, register)
        if not self._dry_run:
            self._lay_ground(None if learned else ground)
            tidy(self._stores, self.tenant, self._keep, self._world.clock())
        return document

    def _commit(
        self,
        report: dict[str, Any],
        changes: dict[str, Changes],
        found: Found | None,
        merged: dict[str, Any],
        register: dict[str, Any],
    ) -> tuple[dict[str, Any], bool]:
        """The sync's document, and whether the rules have more to go by tomorrow than they had tonight.

        Args:
            found: What the rules found; None where that is what they had found before.
        """
        now, learned = self._world.clock(), False
        with (
            self._stores.database.connect().execution_options(immediate=True) as connection,
            connection.begin(),
        ):
            self._lease.check(connection)
            if self._dry_run:
                return ledger.finish(connection, self.sync_id, report, now), learned
            version = connection.execute(
                select(registers.c.version).where(registers.c.tenant == self.tenant).with_for_update()
            ).scalar()
            if (version or 0) != register["version"]:
                raise CodedError("RS-RUN-07", "The register of identities moved while this sync was planned.")
            changed = any(sum(change.counts.values()) for change in changes.values())
            if changed:
                joined = found.roster.merged if found else {}
                write_changes(connection, self.tenant, self.sync_id, now, changes, joined)
            if found and report["status"] != FAILED:
                learned = self._remember(connection, found, merged)
            learned |= self._move_register(connection, report, changed, found, merged, register)
            return ledger.finish(connection, self.sync_id, report, now), learned

    def _remember(self, connection: Connection, found: Found, merged: dict[str, Any]) -> bool:
        """What later syncs need to know: which org is which school, who was ever enrolled, each outcome.

        Returns:
            Whether any of it is new to the rules; of outcomes they ask only who has left.
        """
        before = self._published()
        orgs = found.schools.orgs
        known = set(found.roster.tables["schools"]["school_id"])
        orgs = orgs[orgs["school_id"].isin(known)][["provider_id", "source_id", "school_id"]]
        learned = _remember_new(connection, school_sources, self.tenant, orgs, before.school_sources)
        enrolments = found.current.enrolments
        has_user = ~rows.among(enrolments["reason"], {rows.NO_ID, rows.DUPLICATE}) & (
            enrolments["user_ref"] != ""
        )
        # Of many rows of one user one: then their ids are few enough to be written out.
        enrolled = (
            enrolments.loc[has_user, ["provider_id", "user_ref"]]
            .drop_duplicates()
            .astype({"user_ref": "str"})
        )
        enrolled = enrolled.rename(columns={"user_ref": "source_id"})
        learned |= _remember_new(connection, enrolled_sources, self.tenant, enrolled, before.enrolled)
        roster, day = found.roster, dt.date.fromisoformat(merged["as_of"])
        holds.remember(connection, self.tenant, self.sync_id, day, roster.held, roster.unjudged)
        unknown = {
            school for school, known in holds.are_set_back(connection, self.tenant).items() if not known
        }
        if unknown:
            holds.settle(connection, self.tenant, fingerprints(found.sources, before, unknown))
        told = read_table(connection, sync_outcomes, self.tenant)
        now = outcome.of_every_user(found.current, found.identities)
        gone = outcome.of_gone_users(told, now, found.sources, self._registered.retired)
        every = pd.concat([now, gone], ignore_index=True)
        new = not_in(every, told)
        named = new.assign(
            provider=new["provider_id"].map(self._registered.names).fillna(""), sync_id=str(self.sync_id)
        )
        remember(connection, sync_outcomes, self.tenant, named)
        return learned or (len(new) > 0 and _tells_of_leaving(every, new, before.left))

    def _move_register(
        self,
        connection: Connection,
        report: dict[str, Any],
        changed: bool,
        found: Found | None,
        merged: dict[str, Any],
        register: dict[str, Any],
    ) -> bool:
        """Whether what is published follows other options from now on."""
        values: dict[str, Any] = {"proposal": merged["proposal"]}
        options = register["options"]
        if changed:
            values["version"] = register["version"] + 1
        if report["status"] != FAILED:
            values["as_of"] = dt.date.fromisoformat(merged["as_of"])
        if found and report["status"] != FAILED:
            options = {
                **register["options"],
                **{
                    str(source.provider_id): source.options.model_dump(mode="json")
                    for source in found.sources
                    if source.keeps_to_its_options
                },
            }
            values["options"] = json.dumps(options)
        if register["exists"]:
            connection.execute(update(registers).where(registers.c.tenant == self.tenant).values(**values))
        else:
            connection.execute(insert(registers).values(**{"tenant": self.tenant, "version": 0, **values}))
        return bool(options != register["options"])

    # -------------------------------------------------------------------------- reading

    def _register(self) -> dict[str, Any]:
        with self._stores.database.connect() as connection:
            return _read_register(connection, self.tenant)

    def _published(self) -> Published:
        """The roster as it is; read once, as long as nobody publishes."""
        version = self._register()["version"]
        if self._roster is None or self._roster[0] != version:
            self._roster = version, StoredRoster(self._stores.database, self.tenant)
        return self._roster[1]

    def _names(self) -> dict[int, str]:
        return {who: name for name, who in self._registered.provider_ids.items()}

    def _newest_extracts(self) -> dict[str, Any]:
        """The newest extracts of every provider of the tenant, whichever sync made them."""
        providers: dict[str, Any] = {}
        dates = []
        for kind in {provider.kind for provider in self._registered.tenant.providers}:
            facts = self._facts(_raw(kind))
            providers |= facts["providers"]
            dates.append(facts["as_of"])
        known = {str(who) for who in self._registered.provider_ids.values()}
        return {
            "as_of": max(dates),
            "providers": {who: entry for who, entry in providers.items() if who in known},
        }

    def _sources(self, extracts: dict[str, Any]) -> list[Source]:
        return build_sources(
            self._registered.tenant,
            self._registered.provider_ids,
            extracts,
            self._register()["options"],
            self._frames,
        )

    def _tonight(self, as_of: str) -> Tonight:
        return build_tonight(self._registered, dt.date.fromisoformat(as_of), self.sync_id)

    def _directory_facts(self) -> dict[str, Any]:
        if not self._registered.tenant.directories:
            return {}
        facts: dict[str, Any] = self._facts(_raw(DIRECTORY))["providers"]
        return facts

    def _directories(self, facts: dict[str, Any]) -> list[Directory]:
        return build_directories(self._registered.tenant, self._registered.provider_ids, facts, self._frames)

    def _facts(self, asset: str, sync_id: int | None = None) -> dict[str, Any]:
        facts = self._stores.lake.facts(self.tenant, asset, sync_id)
        if facts is None:
            raise CodedError(
                "RS-RUN-08",
                f"{asset.replace('raw_', 'raw/')} of {self.tenant} was never made.",
            )
        return facts

    def _write(
        self, asset: str, tables: dict[str, pd.DataFrame], facts: dict[str, Any], told: dict[str, Any]
    ) -> dict[str, Any]:
        """Keeps what a step made, and what it tells: the same again on nights that point to it."""
        self._stores.lake.write(self.tenant, self.sync_id, asset, tables, {**facts, "told": told})
        self._made[asset] = {name: frame.reset_index(drop=True) for name, frame in tables.items()}
        return told

    def _read(self, asset: str, facts: dict[str, Any]) -> dict[str, pd.DataFrame]:
        """The tables behind `facts`; what this sync has made itself is not read back from the lake."""
        made = self._made.get(asset)
        if made is None or facts["sync_id"] != self.sync_id:
            return self._stores.lake.read(self.tenant, asset, facts)
        return {name: frame.copy(deep=False) for name, frame in made.items()}

    def _read_sessions(self, facts: dict[str, Any]) -> tuple[Schools, Sessions]:
        tables = self._read("current_sessions", facts)
        schools = Schools(
            tables["orgs"],
            excluded={(int(who), school) for who, school in facts["excluded"]},
            limited={int(who): set(ids) for who, ids in facts["limited"].items()},
            unread={(int(who), school) for who, school in facts["unread"]},
            issues=_issues(facts["school_issues"]),
        )
        sessions = Sessions(
            tables["sessions"], tables["courses"], tables["classes"], tables["calendars"],
            _issues(facts["issues"]),
        )  # fmt: skip
        return schools, sessions

    def _read_current(self, facts: dict[str, Any]) -> Current:
        tables = self._read("current_enrolments", facts)
        return Current(tables["users"], tables["enrolments"], _issues(facts["issues"]))

    def _found(
        self,
        merged: dict[str, Any],
        enrolled: dict[str, Any],
        facts: dict[str, Any],
        sources: list[Source],
        published: Published,
    ) -> Found:
        schools, sessions = self._read_sessions(facts)
        current = self._read_current(enrolled)
        tables = self._read("merged_identities", merged)
        completeness = Completeness(tables["schools"], _issues(merged["school_issues"]))
        identities = Identities(
            tables["people"],
            tables["links"],
            tables["outcomes"],
            tables["guardians"],
            tables["merged"],
            {(int(who), user): why for who, user, why in merged["dropped"]},
            _issues(merged["issues"]),
        )
        roster = plan(
            sources,
            sessions,
            current,
            completeness,
            identities,
            published,
            self._tonight(merged["as_of"]),
            self._registered.tenant.safeguards,
        )
        directories_ok = all(
            found["state"] == "ok"
            for entry in merged["directories"].values()
            for found in entry["collections"].values()
        )
        return Found(sources, schools, sessions, current, completeness, identities, roster, directories_ok)

    def _issues(
        self, merged: dict[str, Any], enrolled: dict[str, Any], facts: dict[str, Any], found: Found
    ) -> list[Issue]:
        """One line for each cause, from every step; the same line of several collections once."""
        read = [*facts["raw"]["providers"].values(), *merged["directories"].values()]
        every = [
            *_issues([issue for entry in read for issue in entry["issues"]]),
            *(
                Issue("RS-PRV-02", f"{source.name} could not be used tonight.", provider=source.name)
                for source in found.sources
                if not source.usable
            ),
            *_issues(facts["school_issues"]),
            *_issues(facts["issues"]),
            *_issues(enrolled["issues"]),
            *_issues(merged["school_issues"]),
            *_issues(merged["issues"]),
            *found.roster.issues,
        ]
        return list(dict.fromkeys(every))


# ------------------------------------------------------------------------------ what the rules are given


class _FrameCache:
    """Extracts by provider and collection, read from the lake when a rule first asks."""

    def __init__(self, lake: Lake, tenant: str) -> None:
        self._lake, self._tenant = lake, tenant
        self._read: dict[tuple[int, int, str], pd.DataFrame] = {}

    def get(self, provider_id: int, sync_id: int, collection: str) -> pd.DataFrame:
        key = provider_id, sync_id, collection
        if key not in self._read:
            self._read[key] = self._lake.read_extract(self._tenant, *key)
        return self._read[key]

    def forget(self) -> None:
        """Holds nothing any longer: a large tenant's rows are gigabytes."""
        self._read.clear()


class _Frames(dict[str, pd.DataFrame]):
    """One provider's frames; a collection that failed is empty."""

    def __init__(self, cache: _FrameCache, provider_id: int, collections: dict[str, Any]) -> None:
        super().__init__()
        self.cache, self.provider_id, self.collections = cache, provider_id, collections

    def __missing__(self, collection: str) -> pd.DataFrame:
        entry = self.collections.get(collection, {"state": "failed"})
        if entry["state"] == "failed":
            columns = DIRECTORY_COLUMNS if collection == "people" else COLUMNS[collection]
            return pd.DataFrame({name: pd.Series(dtype="str") for name in columns})
        return self.cache.get(self.provider_id, entry["sync_id"], collection)


def build_sources(
    tenant: Tenant,
    provider_ids: dict[str, int],
    extracts: dict[str, Any],
    before: dict[str, Any],
    cache: _FrameCache,
) -> list[Source]:
    """The tenant's providers, strongest first, with what was extracted of each."""
    sources = []
    for strength, options in enumerate(tenant.strongest_first):
        provider_id = provider_ids[options.name]
        found = extracts.get(str(provider_id), {"collections": {}})["collections"]
        states = {name: found.get(name, {"state": "failed"})["state"] for name in COLLECTIONS}
        complete = cache._lake.complete(cache._tenant, provider_id)
        sources.append(
            Source(
                provider_id=provider_id,
                name=options.name,
                strength=strength,
                options=options,
                states=states,
                frames=_Frames(cache, provider_id, found),
                before=before.get(str(provider_id)),
                ever_complete=all(name in complete or states[name] == "ok" for name in REQUIRED),
            )
        )
    return sources


def build_tonight(registered: Registered, as_of: dt.date, sync_id: int) -> Tonight:
    """What is the same for every rule of a sync."""
    tenant = registered.tenant
    return Tonight(
        tenant=tenant.tenant,
        as_of=as_of,
        sync_id=sync_id,
        between_sessions_days=tenant.between_sessions_days,
        grace_days=tenant.grace_days,
        keeps_back=frozenset(tenant.keeps_back),
        retired=frozenset(registered.retired),
        directories={registered.provider_ids[d.name]: d.name for d in tenant.directories},
    )


def build_directories(
    tenant: Tenant, provider_ids: dict[str, int], extracts: dict[str, Any], cache: _FrameCache
) -> list[Directory]:
    """The tenant's directories in document order; an unreadable one has no frame."""
    out = []
    for directory in tenant.directories:
        provider_id = provider_ids[directory.name]
        found = extracts.get(str(provider_id), {"collections": {}})["collections"]
        readable = found.get("people", {"state": "failed"})["state"] in ("ok", "stale")
        frames = _Frames(cache, provider_id, found)
        out.append(Directory(provider_id, directory.name, frames["people"] if readable else None))
    return out


_SCOPES: Final = ("people", "classes", "memberships", "guardian_links")
_IN_VAIN: Final = ("RS-REF-02", "RS-REF-07")


@dataclass(frozen=True, slots=True)
class Scope:
    """What a changed document means for the rows last extracted.

    Attributes:
        gone: Table → how many of its published rows the change takes out of scope.
        comes: Table → how many rows come in instead, or besides.
        in_vain: What the new document names and nobody has: schools (RS-REF-02), grades (RS-REF-07).
    """

    gone: dict[str, int]
    comes: dict[str, int] = field(default_factory=dict)
    in_vain: tuple[Issue, ...] = ()


def scope_of(stores: Stores, old: Tenant, new: Tenant) -> Scope:
    """What the change from `old` to `new` takes out of what is published, and what `new` names in vain.

    Plans the newest extracts twice, under the old document and the new one, and compares. Nothing
    where nothing was extracted yet.
    """
    with stores.database.connect() as connection:
        registered = registry.get(connection, old.tenant)
        register = _read_register(connection, old.tenant)
    published = StoredRoster(stores.database, old.tenant)
    before, after = (
        _found_under(stores, registered, document, published, register) for document in (old, new)
    )
    if before is None or after is None:
        return Scope(dict.fromkeys(_SCOPES, 0))
    gone, comes = {}, {}
    for name in _SCOPES:
        has, had, stays = (
            _active_keys(name, table)
            for table in (
                _live(getattr(published, name)),
                before.roster.tables[name],
                after.roster.tables[name],
            )
        )
        gone[name] = len(has & had - stays)
        comes[name] = len(stays - had - has)
    told = (*after.schools.issues, *after.current.issues)
    return Scope(gone, comes, tuple(issue for issue in told if issue.code in _IN_VAIN))


def newest_sources(stores: Stores, registered: Registered) -> list[Source]:
    """The tenant's providers with the rows last extracted, under the document as it stands."""
    tenant = registered.tenant
    with stores.database.connect() as connection:
        register = _read_register(connection, tenant.tenant)
    extracts, cache = _newest_extracts(stores.lake, tenant.tenant), _FrameCache(stores.lake, tenant.tenant)
    return build_sources(tenant, registered.provider_ids, extracts, register["options"], cache)


def _newest_extracts(lake: Lake, tenant: str) -> dict[str, Any]:
    raw = [lake.facts(tenant, _raw(kind)) for kind in KINDS]
    return {who: entry for facts in raw if facts for who, entry in facts["providers"].items()}


def _found_under(
    stores: Stores, registered: Registered, document: Tenant, published: Published, register: dict[str, Any]
) -> Found | None:
    """What the rules find in the newest extracts under a document; None without any."""
    lake, tenant = stores.lake, document.tenant
    extracts = _newest_extracts(lake, tenant)
    if not extracts or not register["as_of"]:
        return None
    ids = registry.ids_under(document, registered.provider_ids)
    gone = {who: name for name, who in registered.provider_ids.items() if who not in ids.values()}
    tonight = build_tonight(
        type(registered)(document, ids, {**registered.retired, **gone}, registered.applied_at),
        dt.date.fromisoformat(register["as_of"]),
        0,
    )
    cache = _FrameCache(lake, tenant)
    sources = build_sources(document, ids, extracts, register["options"], cache)
    directories = build_directories(document, ids, extracts, cache)
    return run_rules(sources, directories, published, tonight, document)


def held_rows(stores: Stores, tenant: str) -> dict[Place, list[str]]:
    """What would go where removals wait, a line each; personal data.

    Found anew in the newest extracts, under the tenant's document as it stands: where something is not
    what waited after the last sync, it is what would wait after the next one.
    """
    with stores.database.connect() as connection:
        registered = registry.get(connection, tenant)
        register = _read_register(connection, tenant)
    published = StoredRoster(stores.database, tenant)
    found = _found_under(stores, registered, registered.tenant, published, register)
    if found is None:
        return {}
    people = {
        person: f"{given} {family}".strip() or person
        for person, given, family in rows.keys(published.people, "person_id", "given_name", "family_name")
    }
    classes = {
        class_id: " · ".join(part for part in told if part)
        for class_id, *told in rows.keys(published.classes, "class_id", "title", "class_code")
    }
    called = people | classes
    return {
        one.place: [" · ".join(called.get(part, part) for part in key) for key in one.keys]
        for one in found.roster.held
    }


def _active_keys(name: str, table: pd.DataFrame) -> set[tuple[str, ...]]:
    """The keys of a published table's rows; of people those who are not inactive."""
    if name == "people":
        table = table[table["inactive_since"] == ""]
    return set(rows.keys(table, *KEYS[name]))


def run_rules(
    sources: list[Source],
    directories: list[Directory],
    published: Published,
    tonight: Tonight,
    tenant: Tenant,
) -> Found:
    """All rules in their order, in memory: what `publish` would find."""
    schools = find_schools(sources, published, tonight)
    sessions = find_sessions(sources, schools, published, tonight)
    current = find_current(sources, schools, sessions, published, tonight)
    completeness = judge_schools(sources, schools, sessions, current, published, tonight)
    identities = find_identities(sources, directories, current, completeness, published, tonight)
    roster = plan(sources, sessions, current, completeness, identities, published, tonight, tenant.safeguards)
    return Found(sources, schools, sessions, current, completeness, identities, roster)


# ------------------------------------------------------------------------------ small conversions


def issue_of(error: BaseException) -> Issue:
    """An error as an issue: a coded one as it is, any other as RS-RUN-99 by its kind alone."""
    if isinstance(error, CodedError):
        return Issue(error.code, error.message)
    return Issue("RS-RUN-99", f"The sync ended with {type(error).__name__}.")


def _told_of_stale(
    found: Mapping[str, dict[str, Any]], complete: Mapping[str, Any], provider: str
) -> list[Issue]:
    """One line for each day from which collections are used, not one for each of them."""
    of_day: dict[str, list[str]] = {}
    for name, entry in found.items():
        if entry["state"] == "stale":
            of_day.setdefault(complete[name]["as_of"], []).append(name)
    told = []
    for day, names in of_day.items():
        what = "Everything" if len(names) == len(found) > 1 else ", ".join(names)
        is_one = len(names) == 1 or what == "Everything"
        verbs = "is used as it was" if is_one else "are used as they were"
        until = dt.date.fromisoformat(day) + dt.timedelta(days=STALE_DAYS)
        text = f"{what} {verbs} on {day}, until {until}; after that, what is published stays as it is then."
        told.append(Issue("RS-SAFE-05", text, provider=provider, count=len(names)))
    return told


def _with_cursors(
    complete: Mapping[str, dict[str, Any]], newly: Mapping[str, Any], reads: Sequence[CollectionRead]
) -> dict[str, dict[str, Any]]:
    """The complete extracts with their cursors; behind a reading that was not good a full one is due."""
    cursors: dict[str, dict[str, Any] | None] = {
        name: {**entry["cursor"], "full_on": ""} for name, entry in complete.items() if entry.get("cursor")
    }
    cursors |= {read.name: read.cursor for read in reads if read.name in newly}
    return {
        name: {**entry, "cursor": cursors[name]} if cursors.get(name) else entry
        for name, entry in complete.items()
    }


def _raw(kind: str) -> str:
    return f"raw_{kind}"


def not_before(connection: Connection, tenant: str, day: dt.date) -> dt.date:
    """`as_of` never goes back, except by `--as-of`."""
    last = _read_register(connection, tenant)["as_of"]
    return max(day, dt.date.fromisoformat(last)) if last else day


def _read_register(connection: Connection, tenant: str) -> dict[str, Any]:
    row = connection.execute(select(registers).where(registers.c.tenant == tenant)).one_or_none()
    if row is None:
        return {"exists": False, "version": 0, "proposal": None, "as_of": "", "options": {}}
    return {
        "exists": True,
        "version": row.version,
        "proposal": row.proposal,
        "as_of": row.as_of.isoformat() if row.as_of else "",
        "options": json.loads(row.options or "{}"),
    }


def _live(frame: pd.DataFrame) -> pd.DataFrame:
    """The live rows of a published table, of which the rules may get the removed ones, too."""
    if "removed" not in frame.columns:
        return frame
    return rows.where(frame, (frame["removed"] != "true").to_numpy(dtype=bool))


def _unchanged(published: Published, planned_schools: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The roster as it is, but for the states of schools that were kept back: what a failed sync leaves."""
    tables = {}
    for name in KEYS:
        frame = _live(getattr(published, name))
        tables[name] = frame.drop(columns=[c for c in ("removed", "created_sync") if c in frame.columns])
    kept = planned_schools[planned_schools["state"] != "published"]
    before = tables["schools"]
    kept = kept[kept["school_id"].isin(before["school_id"])]
    others = before[~before["school_id"].isin(kept["school_id"])]
    tables["schools"] = pd.concat([kept, others], ignore_index=True)
    return tables


def _remember_new(
    connection: Connection, table: Any, tenant: str, frame: pd.DataFrame, before: pd.DataFrame
) -> bool:
    new = not_in(frame, before)
    remember(connection, table, tenant, new)
    return len(new) > 0


def _tells_of_leaving(every: pd.DataFrame, new: pd.DataFrame, left: pd.DataFrame) -> bool:
    """Whether new outcomes change who has left; also where one user has two, of which only one is kept."""
    user = ("provider_id", "source_id")
    leaving = (new["outcome"] == outcome.DROPPED) & (new["reason"] == outcome.LEFT)
    return bool(
        leaving.any()
        or rows.are_in(new, left, *user).any()
        or pd.Series(rows.numbered(every, *user)).duplicated().any()
    )


def _issues(entries: list[dict[str, Any]]) -> list[Issue]:
    return [Issue(**entry) for entry in entries]


def _told(issues: list[Issue]) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in issue.as_json().items() if value is not None}
        for issue in outcome.ordered(issues)
    ]


def _by_reason(frame: pd.DataFrame, names: Mapping[int, str]) -> list[dict[str, Any]]:
    """How many rows of each provider were kept, and dropped for which reason."""
    return [
        {"provider": names.get(who, ""), "outcome": why or "kept", "rows": count}
        for (who, why), count in sorted(rows.counted(frame, "provider_id", "reason"))
    ]
