"""Small rosters in words, and nights of them through all rules in memory, without a database.

Here belongs how the tests of the rules are told: rows with everything that a test does not say filled
in, a driver that publishes each night's plan into the next night, and a result that is read in source
ids. What a test is about stands in the test; whole syncs with files and a database are in `syncing`.

What is filled in: school `north` (North School, identifier NORTH), session `year` (2025-08-18 to
2026-06-12), course `maths`; rows that name no school, session or course have the first one. The role of
a user is the first letter of the id: `s` student, `t` teacher, `a` administrator, `g` guardian, `p`
parent, `r` relative; s1 is Given-s1 Family-s1, s1@north.example, and students are in grade 09. So one id
in two providers has one e-mail and one name.
"""

from __future__ import annotations

import copy
import datetime as dt
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache, cached_property
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pytest

from roster_pipeline.codes import Issue
from roster_pipeline.explanations.sentences import AREAS
from roster_pipeline.oneroster.collections import COLLECTIONS, COLUMNS, DIRECTORY_COLUMNS
from roster_pipeline.rosters import outcome
from roster_pipeline.rosters.changes import KEYS, Changes, compare
from roster_pipeline.rosters.identities import Directory as FoundDirectory
from roster_pipeline.rosters.outcome import Found
from roster_pipeline.rosters.plan import Roster
from roster_pipeline.rosters.source import REQUIRED, Published, Source, State, Tonight
from roster_pipeline.rosters.statuses import FAILED
from roster_pipeline.store import database
from roster_pipeline.store.published import columns_of
from roster_pipeline.syncs import run_rules
from roster_pipeline.tenants.document import LimitTo, Merge, Safeguards, Tenant
from roster_pipeline.tenants.document import Provider as Options


@pytest.fixture(scope="module", autouse=True)
def plain_strings() -> Iterator[None]:
    """Strings as Python objects: of a few rows they are a third faster, and hundreds of nights are run here.

    For the folders whose conftest names it. The tests of whole syncs run the same rules on Arrow's strings,
    as they are read from the lake.
    """
    with pd.option_context("mode.string_storage", "python"):
        yield


FIRST_NIGHT: Final = dt.date(2025, 10, 15)
ROLES: Final = {
    "s": "student", "t": "teacher", "a": "administrator", "g": "guardian", "p": "parent", "r": "relative",
}  # fmt: skip

Row = dict[str, Any]

_SHORT: Final = {
    "given": "givenName", "family": "familyName", "middle": "middleName", "enabled": "enabledUser",
    "modified": "dateLastModified", "master": "userMasterIdentifier", "user_ids": "userIds",
    "begin": "beginDate", "start": "startDate", "end": "endDate", "code": "classCode", "kind": "classType",
    "preferred_given": "preferredFirstName", "preferred_family": "preferredLastName",
    "school_year": "schoolYear",
}  # fmt: skip
_TOKEN: Final = re.compile(r"([^\s\[\]]+?)(?:\[([^\s\[\]]*)\.\.([^\s\[\]]*)\])?")
_SPAN: Final = re.compile(r"([a-z]+)(\d+)\.\.\1(\d+)")


def names(text: str) -> list[str]:
    """`t1 s1..s3` is t1, s1, s2 and s3."""
    out: list[str] = []
    for word in text.split():
        ends = _SPAN.fullmatch(word)
        out += [f"{ends[1]}{n}" for n in range(int(ends[2]), int(ends[3]) + 1)] if ends else [word]
    return out


def labels(text: str) -> set[str]:
    """The names in `text`, to compare a result with."""
    return set(names(text))


@dataclass
class Provider:
    """A provider's rows, which may be changed from night to night; options as in the document.

    Every method adds rows or changes the fields of rows that are there, and gives the provider back.
    `states` holds the collections that are not `ok`: an unproven one has the rows given, a stale one
    those of the last night on which it was ok, a failed one none.
    """

    name: str = "sis"
    options: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, dict[str, Row]] = field(default_factory=lambda: {name: {} for name in COLLECTIONS})
    repeated: list[tuple[str, Row]] = field(default_factory=list)
    states: dict[str, State] = field(default_factory=dict)

    def option(self, **options: Any) -> Provider:
        """Sets options; `merge` and `limit_to` are mappings."""
        self.options |= options
        return self

    def org(self, name: str, title: str | None = None, **fields: Any) -> Provider:
        """An org: a school called `South School` with the identifier SOUTH, if its id is `south`."""
        given = {"name": title} if title is not None else {}
        new = {"name": f"{name.capitalize()} School", "type": "school", "identifier": name.upper()}
        return self._row("orgs", name, {**given, **fields}, new)

    def session(self, name: str, when: str = "", *, kind: str | None = None, **fields: Any) -> Provider:
        """An academic session, `when` being `2025-08-18..2026-06-12` with either date left out."""
        begin, _, end = when.partition("..")
        given = {"startDate": begin, "endDate": end} if when else {}
        given |= {"type": kind} if kind is not None else {}
        return self._row("academicSessions", name, {**given, **fields}, {"title": name, "type": "term"})

    def course(self, name: str, **fields: Any) -> Provider:
        """A course."""
        return self._row("courses", name, fields, {"title": f"Course {name}", "courseCode": name})

    def users(self, who: str, **fields: Any) -> Provider:
        """Users, all with these fields; `orgs` and `agents` are ids in words, `roles` 1.2's entries."""
        for name in names(who):
            new = {
                "role": ROLES.get(name[0], "student"),
                "givenName": f"Given-{name}",
                "familyName": f"Family-{name}",
                "email": f"{name}@north.example",
                "username": name,
                "enabledUser": "true",
                "grades": ["09"] if ROLES.get(name[0], "student") == "student" else [],
            }
            self._row("users", name, fields, new)
        return self

    def teaches(self, name: str, people: str | None = None, **fields: Any) -> Provider:
        """A class and its people; `s1[..2025-10-15]` is an enrolment with an end date."""
        new = {"title": f"Class {name}", "classType": "scheduled"}
        self._row("classes", name, fields, new)
        if people is not None:
            for key in [key for key, row in self.rows["enrollments"].items() if row["class"] == name]:
                del self.rows["enrollments"][key]
            self.enrol(name, people)
        return self

    def enrol(self, class_: str, people: str, **fields: Any) -> Provider:
        """More enrolments in a class; a second one of the same user gets an id of its own."""
        for word in people.split():
            found = _TOKEN.fullmatch(word)
            assert found, word
            for who in names(found[1]):
                key, count = f"{class_}-{who}", 1
                while key in self.rows["enrollments"]:
                    count += 1
                    key = f"{class_}-{who}-{count}"
                dates = {"beginDate": found[2] or "", "endDate": found[3] or ""}
                self._row("enrollments", key, {"user": who, "class": class_, **dates, **fields}, {})
        return self

    def gone(self, *who: str) -> Provider:
        """Takes rows away, of whatever collection; the enrolments of users and classes go with them."""
        for name in [name for text in who for name in names(text)]:
            found = [rows.pop(name) for rows in self.rows.values() if name in rows]
            assert found, name
            for key, row in list(self.rows["enrollments"].items()):
                if name in (row["user"], row["class"]):
                    del self.rows["enrollments"][key]
        return self

    def empty(self, *collections: str) -> Provider:
        """Takes all rows of these collections away."""
        for name in collections or COLLECTIONS:
            self.rows[name].clear()
        return self

    def again(self, collection: str, name: str, **fields: Any) -> Provider:
        """Sends a row once more, with other fields."""
        row = self.rows[collection][name] | {_SHORT.get(key, key): value for key, value in fields.items()}
        self.repeated.append((collection, row))
        return self

    def state(self, state: State, *collections: str) -> Provider:
        """The state of collections, all of them unless named; `ok` again by `state("ok")`."""
        self.states |= dict.fromkeys(collections or COLLECTIONS, state)
        return self

    def copy(self) -> Provider:
        """The same rows and options, to be changed apart from these."""
        return copy.deepcopy(self)

    def _row(self, collection: str, name: str, fields: Mapping[str, Any], new: Row) -> Provider:
        row = self.rows[collection].setdefault(name, {"sourcedId": name, **new})
        row |= {_SHORT.get(key, key): value for key, value in fields.items()}
        return self

    # ------------------------------------------------------------------ as the rules get it

    def frames(self) -> dict[str, pd.DataFrame]:
        """The rows as extracted."""
        return {name: _frame(self.records(name), COLUMNS[name]) for name in COLLECTIONS}

    def records(self, collection: str) -> list[Row]:
        """The rows as they are sent, repeated ones too; what is not filled in is left out."""
        rows = list(self.rows[collection].values())
        rows += [row for name, row in self.repeated if name == collection]
        fill = getattr(self, f"_{collection}", dict)
        return [{"status": "active", **fill(row)} for row in rows]

    def _first(self, collection: str) -> str:
        return next(iter(self.rows[collection]), "")

    def _classes(self, row: Row) -> Row:
        return {
            "course": self._first("courses"),
            "school": self._first("orgs"),
            "terms": [self._first("academicSessions")] if self.rows["academicSessions"] else [],
            **row,
        }

    def _users(self, row: Row) -> Row:
        if "roles" in row:
            return row
        orgs = str(row.get("orgs", self._first("orgs"))).split()
        return {**row, "roles": [[row["role"], org, "", ""] for org in orgs or [""]]}

    def _enrollments(self, row: Row) -> Row:
        user = self.rows["users"].get(row["user"], {"role": ROLES.get(row["user"][0], "student")})
        known = self.rows["classes"].get(row["class"])
        school = self._classes(known)["school"] if known else self._first("orgs")
        return {"role": user.get("role", "student"), "school": school, **row}

    def settings(self, place: int) -> Options:
        """The provider as in a document; `place` gives its priority where none is set."""
        options = dict(self.options)
        merge = {"priority": (100, 50, 10, 5)[place], **options.pop("merge", {})}
        limits = {key: tuple(value) for key, value in options.pop("limit_to", {}).items()}
        return Options(
            name=self.name,
            kind=options.pop("kind", "oneroster_csv"),
            path="/rosters",
            merge=Merge(**merge),
            limit_to=LimitTo(**limits),
            exclude_schools=tuple(options.pop("exclude_schools", ())),
            **options,
        )


def provider(name: str = "sis", people: str = "", /, **options: Any) -> Provider:
    """A provider with the school, the session and the course that nobody speaks of, and these users."""
    made = Provider(name, options).org("north").course("maths")
    made.session("year", "2025-08-18..2026-06-12", kind="schoolYear")
    return made.users(people)


def school_of(people: str, /, *, name: str = "sis", **options: Any) -> Provider:
    """A provider with these users, all of them in the class `c1`."""
    return provider(name, people, **options).teaches("c1", people)


@dataclass
class Directory:
    """A directory: id → email, given_name, family_name, role. `readable` False: it could not be read."""

    name: str
    people: dict[str, Row]
    readable: bool = True

    def frame(self) -> pd.DataFrame | None:
        """The rows as extracted."""
        if not self.readable:
            return None
        return _frame([{"id": who, **row} for who, row in self.people.items()], DIRECTORY_COLUMNS)


def _frame(records: Sequence[Row], columns: Sequence[str]) -> pd.DataFrame:
    # As the lake reads them: an Arrow table of strings.
    return pa.table(
        {name: pa.array([_text(row.get(name)) for row in records], pa.string()) for name in columns}
    ).to_pandas()


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value) if value else ""


# ------------------------------------------------------------------------------------------ nights


@dataclass(frozen=True)
class Given:
    """What the rules are given on one night."""

    sources: list[Source]
    published: Published
    tonight: Tonight
    tenant: Tenant


@dataclass
class Story:
    """A tenant over several nights; what one night publishes is published for the next.

    `shuffle` (of a list, in place) puts the rows of every collection in another order.
    """

    providers: list[Provider]
    directories: list[Directory] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    nights: list[Night] = field(default_factory=list)
    published: Published = field(default_factory=lambda: _nothing())
    before: dict[int, dict[str, Any]] = field(default_factory=dict)
    outcomes: pd.DataFrame = field(default_factory=lambda: _columns(outcome.OUTCOMES))
    retired: set[int] = field(default_factory=set)
    shuffle: Any = None
    _ids: list[Any] = field(default_factory=list)
    _complete: dict[tuple[int, str], pd.DataFrame] = field(default_factory=dict)

    def id_of(self, one: Provider | Directory) -> int:
        """The internal id of a provider or directory, by which links are kept."""
        for place, other in enumerate(self._ids):
            if other is one:
                return place + 1
        self._ids.append(one)
        return len(self._ids)

    def retire(self, one: Provider) -> None:
        """Takes a provider out of the document, by name."""
        self.providers = [other for other in self.providers if other is not one]
        self.retired.add(self.id_of(one))

    def tenant(self) -> Tenant:
        """The document."""
        settings = {key: value for key, value in self.settings.items() if key != "safeguards"}
        return Tenant(
            tenant="oak",
            region="US",
            providers=tuple(one.settings(place) for place, one in enumerate(self.providers)),
            safeguards=Safeguards(**self.settings.get("safeguards", {})),
            **settings,
        )

    def sources(self, tenant: Tenant) -> list[Source]:
        """The providers as the rules get them, the strongest first."""
        by_name = {one.name: one for one in self.providers}
        out = []
        for strength, options in enumerate(tenant.strongest_first):
            one = by_name[options.name]
            who = self.id_of(one)
            states: dict[str, State] = {name: one.states.get(name, "ok") for name in COLLECTIONS}
            frames = one.frames()
            for name, state in states.items():
                if state == "ok":
                    self._complete[who, name] = frames[name]
                elif state == "stale":
                    frames[name] = self._complete[who, name]
                elif state == "failed":
                    frames[name] = _frame([], COLUMNS[name])
                if self.shuffle is not None:
                    order = list(range(len(frames[name])))
                    self.shuffle(order)
                    frames[name] = frames[name].iloc[order].reset_index(drop=True)
            complete = all((who, name) in self._complete for name in REQUIRED)
            out.append(
                Source(who, options.name, strength, options, states, frames, self.before.get(who), complete)
            )
        return out

    def given(self, as_of: str = "") -> Given:
        """What the rules are given on a night: by default the day after the last one, or `FIRST_NIGHT`."""
        if as_of:
            day = dt.date.fromisoformat(as_of)
        else:
            day = self.nights[-1].as_of + dt.timedelta(days=1) if self.nights else FIRST_NIGHT
        tenant = self.tenant()
        tonight = Tonight(
            tenant="oak",
            as_of=day,
            sync_id=len(self.nights) + 1,
            between_sessions_days=tenant.between_sessions_days,
            grace_days=tenant.grace_days,
            keeps_back=frozenset(tenant.keeps_back),
            retired=frozenset(self.retired),
            directories={self.id_of(one): one.name for one in self.directories},
        )
        return Given(self.sources(tenant), self.published, tonight, tenant)

    def decide(self, decision: str, kind: str = "", *, expires_on: str = "9999-12-31") -> None:
        """Approves or rejects what waits, or what waits of one kind."""
        held = self.published.holds
        mine = held["kind"] == kind if kind else pd.Series(True, index=held.index)
        held.loc[mine, ["state", "expires_on"]] = [decision, expires_on]

    def night(self, as_of: str = "") -> Night:
        """One night: what the rules find is published, unless the sync failed."""
        given = self.given(as_of)
        directories = [FoundDirectory(self.id_of(one), one.name, one.frame()) for one in self.directories]
        found = run_rules(given.sources, directories, self.published, given.tonight, given.tenant)
        found = replace(found, directories_ok=all(one.readable for one in self.directories))
        issues = _issues(found)
        status, _ = outcome.status_of(found, issues)
        if status == FAILED:
            _keep_all(self.published, found)
        else:
            kept = [source for source in given.sources if source.keeps_to_its_options]
            self.before |= {s.provider_id: s.options.model_dump(mode="json") for s in kept}
        before = self.published
        if status != FAILED:
            self.outcomes = _newest(self.outcomes, found, self.retired)
        self.published = _publish(
            before, found, given.tonight.sync_id, self.outcomes, remember=status != FAILED
        )
        every: list[Provider | Directory] = [*self.providers, *self.directories]
        ids = {one.name: self.id_of(one) for one in every}
        told = Night(given.tonight, found, status, issues, before, self.published, ids)
        self.nights.append(told)
        return told


def story(*providers: Provider, directories: Iterable[Directory] = (), **settings: Any) -> Story:
    """A tenant of these providers; the first is the strongest unless priorities say otherwise."""
    return Story(list(providers), list(directories), settings)


_BEGUN: dict[str, Story] = {}


def begun(*providers: Provider, **settings: Any) -> Story:
    """A tenant of these providers after its first night, which is run once for all tests that ask for it.

    The story's providers are copies: change `begun(…).providers`, not what was passed.
    """
    key = repr((providers, sorted(settings.items())))
    if key not in _BEGUN:
        _BEGUN[key] = story(*(one.copy() for one in providers), **settings)
        _BEGUN[key].night().check()
    return copy.deepcopy(_BEGUN[key])


def one_night(*providers: Provider, as_of: str = "", **settings: Any) -> Night:
    """The first night of a tenant of these providers."""
    return story(*providers, **settings).night(as_of)


def _keep_all(published: Published, found: Found) -> None:
    """A failed sync publishes nothing but why schools are kept back."""
    tables = {name: _plain(_live(getattr(published, name))) for name in KEYS}
    schools, planned = tables["schools"], found.roster.tables["schools"]
    kept = planned[(planned["state"] != "published") & planned["school_id"].isin(schools["school_id"])]
    others = schools[~schools["school_id"].isin(kept["school_id"])]
    found.roster.tables.update({**tables, "schools": pd.concat([kept, others], ignore_index=True)})


def _issues(found: Found) -> list[Issue]:
    parts = (found.schools, found.sessions, found.current, found.completeness, found.identities, found.roster)
    return list(dict.fromkeys(issue for part in parts for issue in part.issues))


def _columns(names: Iterable[str]) -> pd.DataFrame:
    types = {name: "int64" if name == "provider_id" else "str" for name in names}
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in types.items()})


def _nothing() -> Published:
    """What a tenant has before its first night."""
    empty = _empty()
    return replace(empty, **{one.name: getattr(empty, one.name).copy() for one in fields(empty)})


@cache
def _empty() -> Published:
    tables = {name: _columns(columns_of(database.metadata.tables[name])) for name in KEYS}
    for name, extra in (("people", ["removed", "created_sync"]), ("person_sources", ["removed"])):
        tables[name] = _columns([*tables[name].columns, *extra])
    return Published(
        **tables,
        school_sources=_columns(["provider_id", "source_id", "school_id"]),
        enrolled=_columns(["provider_id", "source_id"]),
        left=_columns(["provider_id", "source_id"]),
    )


def _live(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["removed"] != "true"] if "removed" in frame.columns else frame


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns=[name for name in ("removed", "created_sync") if name in frame.columns])


def _newest(told: pd.DataFrame, found: Found, retired: set[int]) -> pd.DataFrame:
    """The newest outcome of every user, as a sync remembers it."""
    now = outcome.of_every_user(found.current, found.identities)
    return _added(told, pd.concat([now, outcome.of_gone_users(told, now, found.sources, retired)]))


def _publish(
    old: Published, found: Found, sync_id: int, outcomes: pd.DataFrame, *, remember: bool
) -> Published:
    """What the database would hold after this sync, and what it would remember."""
    tables = {name: found.roster.tables[name] for name in KEYS}
    for name in ("people", "person_sources"):
        tables[name] = _upserted(name, getattr(old, name), tables[name], found.roster.merged, sync_id)
    memory = {name: getattr(old, name) for name in ("school_sources", "enrolled", "left", "holds")}
    if remember:
        orgs = found.schools.orgs
        known = orgs["school_id"].isin(tables["schools"]["school_id"])
        rows = found.current.enrolments
        rows = rows[~rows["reason"].isin(["no_id", "duplicate"]) & (rows["user_ref"] != "")]
        memory = {
            "school_sources": _added(old.school_sources, orgs[known]),
            "enrolled": _added(old.enrolled, rows.assign(source_id=rows["user_ref"])),
            "left": outcomes.loc[
                (outcomes["outcome"] == "dropped") & (outcomes["reason"] == "left"), list(old.left.columns)
            ].reset_index(drop=True),
            "holds": _holds(old.holds, found.roster),
        }
    return Published(**tables, **memory)


def _holds(old: pd.DataFrame, roster: Roster) -> pd.DataFrame:
    """What is remembered of the holds after a night; a decision is on the rows that it was about."""
    before = {(row["kind"], row["school_id"], row["class_id"]): row for row in old.to_dict("records")}
    kept = [before[place] for place in roster.unjudged]
    for one in roster.held:
        known = before.get(one.place)
        new = dict(zip(("kind", "school_id", "class_id"), one.place, strict=True))
        new |= {"total": str(one.total), "why": one.why, "fingerprint": one.fingerprint}
        new |= {"state": "waiting", "expires_on": ""}
        kept.append(known if known and known["fingerprint"] == one.fingerprint else new)
    return pd.DataFrame(kept, columns=old.columns, dtype="str")


def _added(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    every = pd.concat([old, new[list(old.columns)]], ignore_index=True)
    return every.drop_duplicates(["provider_id", "source_id"], keep="last").reset_index(drop=True)


def _upserted(
    name: str, old: pd.DataFrame, new: pd.DataFrame, merged: dict[str, str], sync_id: int
) -> pd.DataFrame:
    key = KEYS[name]
    rows = {tuple(row[column] for column in key): row for row in old.to_dict("records")}
    live = {tuple(row[column] for column in key): row for row in new.to_dict("records")}
    for at, row in rows.items():
        if at not in live and row["removed"] == "":
            row |= {"removed": "true"}
        if name == "people" and at not in live:
            row |= {"merged_into": merged.get(row["person_id"], row["merged_into"])}
    for at, row in live.items():
        extra = {"removed": ""}
        if name == "people":
            extra["created_sync"] = rows[at]["created_sync"] if at in rows else str(sync_id)
        rows[at] = {**row, **extra}
    return pd.DataFrame(list(rows.values()), columns=old.columns).astype(
        {column: "int64" if column == "provider_id" else "str" for column in old.columns}
    )


# ------------------------------------------------------------------------------------------ what came out


@dataclass
class Night:
    """What a night found and published, in source ids: `s1` of the first provider, `cl/s1` of another.

    People of several providers are called by the first one, in the order of the document, that has them.
    """

    tonight: Tonight
    found: Found
    status: str
    issues: list[Issue]
    before: Published
    published: Published
    provider_ids: dict[str, int]

    @property
    def as_of(self) -> dt.date:
        """The date of the night."""
        return self.tonight.as_of

    @cached_property
    def changed(self) -> dict[str, Changes]:
        """What differs from the night before, by table."""
        return {
            name: compare(name, _live(getattr(self.before, name)), self.found.roster.tables[name])
            for name in KEYS
        }

    @cached_property
    def report(self) -> dict[str, Any]:
        """The members of `sync --json` that follow from the rules."""
        return outcome.report(self.found, self.changed, {}, self.issues)

    @property
    def counts(self) -> dict[str, int]:
        """The counts of the whole sync."""
        counts: dict[str, int] = self.report["counts"]
        return counts

    @property
    def codes(self) -> list[str]:
        """The codes of all issues, the worst first."""
        _, why = outcome.status_of(self.found, self.issues)
        return [issue.code for issue in outcome.ordered([*why, *self.issues])]

    def count_of(self, code: str) -> int:
        """How much all issues with this code concern."""
        return sum(issue.count for issue in self.issues if issue.code == code)

    def changes(self, kind: str) -> tuple[int, int, int]:
        """Added, updated, removed rows of a kind."""
        told = self.report["changes"][kind]
        return told["added"], told["updated"], told["removed"]

    @property
    def quiet(self) -> bool:
        """Whether nothing changed, but for the day of the schools' last good roster and state."""
        tables = {name: change.counts for name, change in self.changed.items()}
        tables["schools"] = {**tables["schools"], "updated": 0}
        return not any(sum(told.values()) for told in tables.values())

    # ------------------------------------------------------------------ names

    def label(self, provider_id: int, source_id: str) -> str:
        """`s1` or `cl/s1`."""
        by_id = {who: name for name, who in self.provider_ids.items()}
        first = next(iter(self.provider_ids))
        name = by_id.get(provider_id, "gone")
        return source_id if name == first else f"{name}/{source_id}"

    def key(self, label: str) -> tuple[int, str]:
        """(provider_id, source_id) of a label."""
        name, _, source_id = label.rpartition("/")
        return self.provider_ids[name or next(iter(self.provider_ids))], source_id

    def person(self, label: str) -> str:
        """The person_id that a user is, or last was, linked with."""
        links = self.published.person_sources
        who, source_id = self.key(label)
        found = links.loc[(links["provider_id"] == who) & (links["source_id"] == source_id), "person_id"]
        assert len(found) == 1, f"{label} has no link"
        return str(found.iat[0])

    def has(self, label: str) -> bool:
        """Whether there is a person, active or inactive, with a live link of this user."""
        links = _live(self.published.person_sources)
        who, source_id = self.key(label)
        return bool(((links["provider_id"] == who) & (links["source_id"] == source_id)).any())

    def same(self, *several: str) -> bool:
        """Whether all of these users are one person."""
        return len({self.person(label) for label in several}) == 1

    def _called(self) -> dict[str, str]:
        """person_id → its label: of live links before removed ones, of the first provider before others."""
        links = self.published.person_sources
        order = {who: place for place, who in enumerate(self.provider_ids.values())}
        ranked = sorted(
            (removed == "true", order.get(int(who), 99), source_id, person, int(who))
            for who, source_id, person, removed in zip(
                links["provider_id"], links["source_id"], links["person_id"], links["removed"], strict=True
            )
        )
        out: dict[str, str] = {}
        for _, _, source_id, person, who in ranked:
            out.setdefault(person, self.label(who, source_id))
        return out

    # ------------------------------------------------------------------ the roster

    def table(self, name: str) -> list[Row]:
        """The live rows of a published table."""
        records: list[Row] = _live(getattr(self.published, name)).to_dict("records")
        return records

    def _people(self, *, inactive: bool) -> set[str]:
        called = self._called()
        return {
            called[row["person_id"]]
            for row in self.table("people")
            if (row["inactive_since"] != "") == inactive
        }

    @property
    def people(self) -> set[str]:
        """The active people."""
        return self._people(inactive=False)

    @property
    def inactive(self) -> set[str]:
        """The inactive people."""
        return self._people(inactive=True)

    def who(self, label: str) -> Row:
        """The published row of a person."""
        person = self.person(label)
        return next(row for row in self.table("people") if row["person_id"] == person)

    def roles(self, label: str) -> list[str]:
        """The person's roles, `student at north` or `teacher` of no school."""
        schools = {
            row["school_id"]: self.label(row["provider_id"], row["source_id"])
            for row in self.table("schools")
        }
        held = json.loads(self.who(label)["roles"])
        return sorted(
            f"{one['role']} at {schools.get(one['school_id'], '?')}" if one["school_id"] else one["role"]
            for one in held
        )

    @property
    def classes(self) -> set[str]:
        """The live classes."""
        return {self.label(row["provider_id"], row["source_id"]) for row in self.table("classes")}

    def class_(self, label: str) -> Row:
        """The published row of a class."""
        return next(
            row for row in self.table("classes") if (row["provider_id"], row["source_id"]) == self.key(label)
        )

    def members(self, label: str) -> set[str]:
        """The people in a class."""
        called, class_id = self._called(), self.class_(label)["class_id"]
        return {called[row["person_id"]] for row in self.table("memberships") if row["class_id"] == class_id}

    def membership(self, label: str, who: str) -> Row:
        """The published row of the only membership of a person in a class."""
        class_id, person = self.class_(label)["class_id"], self.person(who)
        (found,) = [
            row
            for row in self.table("memberships")
            if (row["class_id"], row["person_id"]) == (class_id, person)
        ]
        return found

    @property
    def links(self) -> set[str]:
        """The guardian links, `s1 g1`."""
        called = self._called()
        return {
            f"{called[row['student_id']]} {called[row['guardian_id']]}"
            for row in self.table("guardian_links")
        }

    @property
    def schools(self) -> dict[str, str]:
        """Name → state of the schools, as the sync tells them."""
        return {row["name"]: row["state"] for row in self.report["schools"]}

    def school(self, name: str) -> Row:
        """What the sync tells of a school."""
        (found,) = [row for row in self.report["schools"] if row["name"] == name]
        return found

    @property
    def last_good(self) -> dict[str, str]:
        """Name → day of the last good roster of the published schools."""
        return {row["name"]: row["state_as_of"] for row in self.table("schools")}

    # ------------------------------------------------------------------ what became of each row

    def told(self, provider: str = "") -> Row:
        """What the sync tells of a provider, the first unless named."""
        name = provider or next(iter(self.provider_ids))
        return next(row for row in self.report["providers"] if row["name"] == name)

    def dropped(self, collection: str, provider: str = "") -> dict[str, int]:
        """Reason → rows of a collection that were dropped."""
        reasons: dict[str, int] = self.told(provider)["collections"][collection]["dropped"]
        return reasons

    def outcome(self, label: str) -> str:
        """`matched by link`, `unmatched by ambiguous`, …; "" where a user has no outcome."""
        frame = self.found.identities.outcomes
        who, source_id = self.key(label)
        found = frame[(frame["provider_id"] == who) & (frame["source_id"] == source_id)]
        assert len(found) <= 1
        return f"{found['outcome'].iat[0]} by {found['reason'].iat[0]}" if len(found) else ""

    @cached_property
    def became(self) -> dict[str, tuple[str, str, str]]:
        """User → outcome, reason and evidence, of every user row of tonight; as the database keeps it."""
        frame = outcome.of_every_user(self.found.current, self.found.identities)
        assert not frame.duplicated(["provider_id", "source_id"]).any(), "a user with two outcomes"
        return {
            self.label(who, user): (what, why, evidence)
            for who, user, what, why, evidence, _ in frame.itertuples(index=False, name=None)
        }

    def reason(self, collection: str, label: str) -> str:
        """Why a row was dropped before people were matched, or ""."""
        frame = {
            "orgs": self.found.schools.orgs,
            "academicSessions": self.found.sessions.sessions,
            "classes": self.found.sessions.classes,
            "users": self.found.current.users,
            "enrollments": self.found.current.enrolments,
        }[collection]
        who, source_id = self.key(label)
        found = frame[(frame["provider_id"] == who) & (frame["source_id"] == source_id)]
        assert len(found) == 1, f"{len(found)} rows of {label}"
        return str(found["reason"].iat[0])

    def fate(self, label: str) -> str:
        """What has become of a class."""
        frame = self.found.sessions.classes
        who, source_id = self.key(label)
        found = frame[(frame["provider_id"] == who) & (frame["source_id"] == source_id)]
        return str(found["fate"].iat[0])

    # ------------------------------------------------------------------ what must always hold

    def check(self) -> Night:
        """The invariants of every sync (architecture.md); gives the night back."""
        for told in self.report["providers"]:
            for name, counted in told["collections"].items():
                kept, dropped = counted["kept"], sum(counted["dropped"].values())
                assert counted["read"] == kept + dropped, f"{told['name']} {name}: {counted}"
        self._check_outcomes()
        live = {name: _live(getattr(self.published, name)) for name in KEYS}
        people, classes = set(live["people"]["person_id"]), set(live["classes"]["class_id"])
        members, pairs = live["memberships"], live["guardian_links"]
        assert set(members["class_id"]) <= classes, "a membership of a class that is not live"
        assert set(members["person_id"]) <= people, "a membership of a person who is not live"
        linked = {*pairs["student_id"], *pairs["guardian_id"]}
        assert linked <= people, "a link of somebody who is not live"
        named = set(live["person_sources"]["person_id"])
        assert named <= people, "a user is linked with somebody who is not live"
        for name, key in KEYS.items():
            assert not live[name].duplicated(key).any(), f"one key twice in {name}"
        if self.status != "successful":
            unread = [s.name for s in self.found.sources if set(s.states.values()) != {"ok"}]
            told = self.codes or unread or not self.found.directories_ok
            assert told, f"{self.status} without a reason"
        return self

    def _check_sentences(self) -> None:
        """Whatever became of a row can be said in words."""
        said = [
            (what if what != "matched" else evidence, why) for what, why, evidence in self.became.values()
        ]
        for area, frame in (
            ("enrolment", self.found.current.enrolments),
            ("class", self.found.sessions.classes),
            ("org", self.found.schools.orgs),
            ("session", self.found.sessions.sessions),
        ):
            said += [(area, why) for why in frame["reason"].unique() if why]
        assert {(area, why) for area, why in said if why not in AREAS[area]} == set()

    def _check_outcomes(self) -> None:
        users = self.found.current.users
        known = users[~users["reason"].isin(["no_id", "duplicate"])]
        keys = zip(known["provider_id"], known["source_id"], strict=True)
        assert set(self.became) == {self.label(who, user) for who, user in keys}
        assert all(why for _, why, _ in self.became.values()), "an outcome without a reason"
        self._check_sentences()
        for told in self.report["providers"]:
            if not any(source.usable for source in self.found.sources if source.name == told["name"]):
                continue
            counted = told["collections"]["users"]
            mine = [
                became
                for label, became in self.became.items()
                if self.key(label)[0] == self.provider_ids[told["name"]]
            ]
            dropped = Counter(why for what, why, _ in mine if what == "dropped")
            dropped["unmatched"] = sum(what == "unmatched" for what, _, _ in mine)
            here = {
                why: count for why, count in counted["dropped"].items() if why not in ("no_id", "duplicate")
            }
            assert {why: count for why, count in dropped.items() if count} == here
            assert sum(what in ("matched", "created") for what, _, _ in mine) == counted["kept"]
        frame = self.found.identities.outcomes
        for told in self.report["providers"]:
            who = self.provider_ids[told["name"]]
            mine = frame[frame["provider_id"] == who]
            assert set(mine["outcome"]) <= {"matched", "created", "unmatched"}
            people = {
                person or f"user {one_with}"
                for person, one_with in zip(mine["person_id"], mine["one_with"], strict=True)
            }
            outcomes = told["outcomes"]
            total = outcomes["matched"] + outcomes["created"] + sum(outcomes["unmatched"].values())
            assert total == len(people), f"{told['name']}: {outcomes} for {len(people)} people"
