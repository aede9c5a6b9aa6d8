"""What is known of a tenant when somebody asks: the newest sync's tables and what is published, to look up.

No rule and no words: what follows from it is told by `explanation`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from roster_pipeline.rosters import outcome, rows
from roster_pipeline.rosters.current import Current
from roster_pipeline.rosters.identities import Identities
from roster_pipeline.rosters.schools import Schools
from roster_pipeline.rosters.sessions import Sessions
from roster_pipeline.rosters.source import Source, key_of
from roster_pipeline.tenants.document import Tenant

Row = Mapping[str, Any]
Key = tuple[int, str]
"""A provider's user or class: (provider_id, sourcedId)."""


@dataclass(frozen=True)
class Known:
    """What both stores hold of a tenant.

    Attributes:
        names: provider_id → present or last name, of directories too.
        as_of: The date of the rules' tables, ISO.
        sync: The document of the newest sync that ended; None if there was none.
        sources: With the options and states of the rules' tables. Their frames are the rows last
            extracted: of a collection that failed, those of its last complete extract.
        trouble: provider_id → the issues of its extract, as `sync --json` has them.
        schools, sessions, current, states, identities: What the rules found; `states` are the
            columns of `completeness`.
        published: Published table → rows that the story needs, removed ones too; all texts, with
            `created_sync`, `changed_sync` and `removed_at` ("" while live).
        extracted: provider_id and collection → the sync that read the rows.
        by_changes: provider_id and collection, where the rows are an earlier extract's and what changed.
        remembered: The rows of `sync_outcomes` of the users in question.
        days: sync_id → as_of, ISO.
    """

    tenant: Tenant
    names: Mapping[int, str]
    as_of: str
    sync: Mapping[str, Any] | None
    sources: Sequence[Source]
    schools: Schools
    sessions: Sessions
    current: Current
    states: pd.DataFrame
    identities: Identities
    published: Mapping[str, Sequence[Row]]
    remembered: Sequence[Row] = ()
    extracted: Mapping[tuple[int, str], int] = field(default_factory=dict)
    by_changes: Set[tuple[int, str]] = frozenset()
    trouble: Mapping[int, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    days: Mapping[int, str] = field(default_factory=dict)

    @cached_property
    def by_id(self) -> dict[int, Source]:
        """The sources by provider_id."""
        return {source.provider_id: source for source in self.sources}

    @cached_property
    def users(self) -> dict[Key, dict[str, Any]]:
        """Every user row that can be told apart, as the rules judged it."""
        users = self.current.users
        mine = users[~rows.among(users["reason"], rows.NAMELESS)]
        return {(row["provider_id"], row["source_id"]): row for row in rows.records(mine)}

    @cached_property
    def outcomes(self) -> dict[Key, dict[str, Any]]:
        """What became of each of them (`outcome.OUTCOMES`), and `one_with`."""
        found = outcome.of_every_user(self.current, self.identities)
        told = {(row["provider_id"], row["source_id"]): row for row in rows.records(found)}
        frame = self.identities.outcomes
        for who, user, one_with in rows.keys(frame, "provider_id", "source_id", "one_with"):
            told[who, user]["one_with"] = one_with
        return told

    @cached_property
    def class_rows(self) -> dict[str, dict[str, Any]]:
        """class_id → the class as the rules judged it."""
        frame = self.sessions.classes
        mine = frame[~rows.among(frame["reason"], rows.NAMELESS)]
        return {row["class_id"]: row for row in rows.records(mine)}

    def klass(self, class_id: str) -> Row:
        """The class as the rules judged it, else as it is or was published; nothing of an unknown one."""
        return self.class_rows.get(class_id) or self.record("classes", "class_id", class_id) or {}

    @cached_property
    def school_states(self) -> dict[str, dict[str, Any]]:
        """school_id → what became of the school."""
        return {row["school_id"]: row for row in rows.records(self.states)}

    def sessions_of(self, class_id: str) -> list[Row]:
        """The sessions that a class names."""
        row = self.klass(class_id)
        wanted = rows.parse_list(row.get("session_ids", ""))
        frame = self.sessions.sessions
        found = {r["session_id"]: r for r in self.published.get("academic_sessions", ())}
        found |= {
            r["session_id"]: r for r in rows.records(frame[rows.among(frame["session_id"], set(wanted))])
        }
        return [found[one] for one in wanted if one in found]

    def remembered_of(self, key: Key) -> list[Row]:
        """What is remembered of a user: at most one row."""
        return [row for row in self.remembered if (int(row["provider_id"]), row["source_id"]) == key]

    def record(self, table: str, column: str, value: str) -> Row | None:
        """The first published row with this value, live or removed."""
        return next((row for row in self.published.get(table, ()) if value and row[column] == value), None)

    def memberships(self, *, class_id: str = "", person_id: str = "") -> Iterator[Row]:
        """The live memberships of a class or of a person."""
        for row in self.published.get("memberships", ()):
            if not row["removed_at"] and (
                row["class_id"] == class_id or (person_id and row["person_id"] == person_id)
            ):
                yield row

    @cached_property
    def owners(self) -> dict[Key, str]:
        """User → person_id of every link, also of removed ones."""
        links = self.identities.links
        return {
            (who, user): person
            for who, user, person in rows.keys(links, "provider_id", "source_id", "person_id")
        }

    def owner(self, key: Key) -> str:
        """The person that a user is, or last was; "" for nobody."""
        person = (self.outcomes.get(key) or {}).get("person_id") or self.owners.get(key, "")
        return str(person)

    def raw(self, who: int, collection: str, source_id: str) -> Row | None:
        """A row as it was last extracted; of repeated ones the newest."""
        source = self.by_id.get(who)
        if source is None:
            return None
        frame = source.frames[collection]
        mine = frame[frame["sourcedId"] == source_id]
        mine = mine[rows.reasons(mine) != rows.DUPLICATE]
        return next(rows.records(mine), None)

    def name_of(self, person_id: str, users: Sequence[Key]) -> str:
        """What somebody is called: as published, else as in the source's rows, else by the id."""
        record = self.record("people", "person_id", person_id)
        found: list[Row] = [record] if record is not None else []
        found += [self.users[key] for key in users if key in self.users]
        for row in found:
            name = " ".join(row[part] for part in ("given_name", "family_name") if row[part])
            if name:
                return name
        raw = (self.raw(*(key[0], "users", key[1])) for key in users)
        names = (
            " ".join(row[part] for part in ("givenName", "familyName") if row[part]) for row in raw if row
        )
        fallback = f"user {users[0][1]}".strip() if users else f"person {person_id}"
        return next((name for name in names if name), fallback)

    def schools_of(self, record: Row | None, users: Sequence[Key]) -> Iterator[str]:
        """The school_ids of somebody's rows and published roles."""
        for key in users:
            if key in self.users:
                yield from rows.parse_list(self.users[key]["schools"])
        if record is not None:
            yield from (
                entry["school_id"] for entry in rows.parse_list(record["roles"]) if entry["school_id"]
            )

    def school_name(self, school_id: str) -> str:
        """The school's name; "" for no school."""
        state = self.school_states.get(school_id) or self.record("schools", "school_id", school_id)
        return state["name"] if state else ""

    def org_name(self, who: int, org: str) -> str:
        """The name of a provider's org, or its id."""
        row = self.raw(who, "orgs", org)
        return (row["name"] if row else "") or f"org {org}"

    @cached_property
    def holders(self) -> dict[tuple[int, str], set[str]]:
        """(provider_id, merge key) → the provider's people who have it."""
        users = self.current.users
        found: dict[tuple[int, str], set[str]] = defaultdict(set)
        mine = users[(users["reason"] == "") & (users["email"] != "")]
        one = dict(
            zip(
                rows.keys(self.identities.outcomes, "provider_id", "source_id"),
                self.identities.outcomes["one_with"].tolist(),
                strict=True,
            )
        )
        for who, user, email in rows.keys(mine, "provider_id", "source_id", "email"):
            found[who, key_of(self.by_id[who].options.merge.key, email)].add(one.get((who, user), user))
        return found
