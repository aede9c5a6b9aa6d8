"""Who is who: provider and directory users become people whose ids never change.

The evidence and its order are product.md's, "Merging": a link from an earlier sync, the merge key
among the people of tonight, the key with both names among those who are gone, else a new person.
Nothing is written here: the publishing transaction writes what is proposed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter

import numpy as np
import orjson
import pandas as pd

from roster_pipeline.codes import Issue
from roster_pipeline.oneroster import vocabulary
from roster_pipeline.oneroster.collections import DIRECTORY_COLUMNS
from roster_pipeline.rosters import rows, safeguards
from roster_pipeline.rosters.completeness import EXCLUDED, KEPT, SILENT, Completeness
from roster_pipeline.rosters.current import FIELDS, VANISHED, Current
from roster_pipeline.rosters.plain import Plain, find_plain, role_names, role_records, seen_text
from roster_pipeline.rosters.rekeyed import twins
from roster_pipeline.rosters.source import Published, Source, Tonight, key_of, new_id

PEOPLE_COLUMNS = ["person_id", *FIELDS, "roles", "enabled", "schools", "fate"]
LINK_COLUMNS = ["provider_id", "source_id", "person_id", "linked_by", "seen", "state"]
OUTCOME_COLUMNS = [
    "provider_id", "source_id", "outcome", "reason", "one_with", "person_id", "roles", "why", "candidates",
]  # fmt: skip
GUARDIAN_COLUMNS = ["student_id", "guardian_id", "relationship", "provider_id"]
MERGED_COLUMNS = ["person_id", "merged_into"]

# The state of a link, and the fate of a person. LIVE: tonight's row stands behind it. STANDS: no row
# may speak tonight, the values last accepted do. The others say why it is no more.
LIVE, STANDS = "live", "stands"
GONE, LEFT, OUT_OF_SCOPE, RETIRED, GUARDIAN = "gone", "left", "out_of_scope", "retired", "guardian"

_WHY_GONE = {  # why a row was dropped → what that means for its link
    "left": LEFT,
    "parent_data_off": OUT_OF_SCOPE,
    "other_relationship": OUT_OF_SCOPE,
    "role_not_admitted": OUT_OF_SCOPE,
    "school_not_admitted": OUT_OF_SCOPE,
    "grade_not_admitted": OUT_OF_SCOPE,
    "guardian_without_student": GUARDIAN,
}


_UNMATCHED = {  # why a user was not matched → the code; for the other reasons it is RS-IDN-01
    "nobody_matches": "RS-IDN-07",
    "shared_key": "RS-IDN-07",
    "no_key": "RS-IDN-07",
    "stronger_never_complete": "RS-IDN-06",
}


@dataclass(frozen=True, slots=True)
class Directory:
    """People whom the platform knows.

    `frame` has the columns id, email, given_name, family_name, role; None if it could not be read:
    then everybody whom it named before stays as they are.
    """

    provider_id: int
    name: str
    frame: pd.DataFrame | None


@dataclass(slots=True)
class Identities:
    """Who everybody is tonight.

    Attributes:
        people: `PEOPLE_COLUMNS`: everybody who is live tonight (`fate` live) and every published
            person who is not, with the fate; values and `roles` (JSON [{role, school_id}]) only of
            the live ones.
        links: `LINK_COLUMNS`: every link, of providers and directories, with its state.
        outcomes: `OUTCOME_COLUMNS`: one row a provider user; those of one provider person agree, and
            have the source_id of one of them in `one_with`. `reason` is the evidence of a matched or
            created one, and says of an unmatched one why it is. `why` says what that evidence rests
            on: of a link, by what it was made; of a key, which; of a new person, why nobody matched.
            `candidates` is a JSON array of the person_ids between which nothing could be decided.
        guardians: `GUARDIAN_COLUMNS`: tonight's links of guardians and students.
        merged: `MERGED_COLUMNS`: people who turned out to be somebody else.
        users: (provider_id, source_id) → the reason for being dropped that was found here.
    """

    people: pd.DataFrame
    links: pd.DataFrame
    outcomes: pd.DataFrame
    guardians: pd.DataFrame
    merged: pd.DataFrame
    users: dict[tuple[int, str], str]
    issues: list[Issue] = field(default_factory=list)


def find_identities(
    sources: Sequence[Source],
    directories: Sequence[Directory],
    current: Current,
    completeness: Completeness,
    published: Published,
    tonight: Tonight,
    *,
    one_by_one: bool = False,
) -> Identities:
    """Matches every user of tonight with a person, new or known.

    Args:
        sources: Tonight's providers.
        directories: Those of people whom the platform knows.
        current: Tonight's users.
        completeness: Which schools wait.
        published: The roster as it is.
        tonight: What is the same for every rule.
        one_by_one: Whether plain users, too, are decided one by one: the result is the same.
    """
    merge = _Merge(sources, directories, current, completeness, published, tonight, one_by_one=one_by_one)
    merge.follow_links()
    merge.attach_directories()
    merge.find_people(family=False)
    merge.drop_guardians_without_students()
    merge.find_people(family=True)
    return merge.result()


_BARE = "email_without_domain"


_Link = tuple[int, str, str, str, str, str]
"""`LINK_COLUMNS` of one link."""


@dataclass(slots=True, eq=False)
class _Row:
    """A user of tonight, or one who stands by the values last accepted."""

    provider_id: int
    source_id: str
    values: dict[str, str]
    roles: list[list[str]]
    enabled: str
    schools: list[str]
    family: bool
    student: bool
    strength: int
    stands: bool = False
    master: str = ""
    user_ids: str = ""
    agents: str = ""
    reused: bool = False

    @property
    def key(self) -> tuple[int, str]:
        return self.provider_id, self.source_id


@dataclass(slots=True, eq=False)
class _Group:
    """The rows of one provider that are one person."""

    provider_id: int
    rows: list[_Row]
    person: _Person | None = None
    outcome: str = ""
    reason: str = ""
    why: str = ""
    candidates: list[_Person] = field(default_factory=list)

    @property
    def family(self) -> bool:
        return all(row.family for row in self.rows)

    @property
    def email(self) -> str:
        return next((row.values["email"] for row in self.rows if row.values["email"]), "")

    @property
    def student(self) -> bool:
        return any(row.student for row in self.rows)

    def name(self, field_: str) -> str:
        return next((row.values[field_] for row in self.rows if row.values[field_]), "")


@dataclass(slots=True, eq=False)
class _Person:
    """A person, published or proposed."""

    person_id: str
    created_sync: int
    alive: bool = False  # published, not removed
    inactive: bool = False
    values: dict[str, str] = field(default_factory=dict)
    roles: list[dict[str, str]] = field(default_factory=list)
    rows: list[_Row] = field(default_factory=list)
    directory_rows: list[_DirectoryRow] = field(default_factory=list)
    merged_into: _Person | None = None

    def final(self) -> _Person:
        person = self
        while person.merged_into is not None:
            person = person.merged_into
        return person


@dataclass(frozen=True, slots=True)
class _Frames:
    """What is decided one by one: users of tonight, published people, and links."""

    users: pd.DataFrame
    people: pd.DataFrame
    links: pd.DataFrame


@dataclass(slots=True, eq=False)
class _DirectoryRow:
    provider_id: int
    source_id: str
    email: str
    given_name: str
    family_name: str
    role: str
    place: int = 0  # among all, in document order


class _Merge:
    """The state of one merge; the steps are methods, in the order of `find_identities`."""

    def __init__(
        self,
        sources: Sequence[Source],
        directories: Sequence[Directory],
        current: Current,
        completeness: Completeness,
        published: Published,
        tonight: Tonight,
        *,
        one_by_one: bool,
    ) -> None:
        self.sources = sorted(sources, key=attrgetter("strength"))
        self.by_id = {source.provider_id: source for source in sources}
        self.attach_only = {
            source.provider_id for source in sources if source.options.merge.attach_to_existing_users_only
        }
        self.current, self.tonight = current, tonight
        # "" where people of no school wait, too.
        self.set_back = completeness.set_back
        self.kept_back = completeness.with_state(KEPT) | self.set_back
        self.frozen = completeness.with_state(KEPT, SILENT, EXCLUDED) - self._removed_exclusions(completeness)
        self.frozen |= self.set_back
        self.excluded = completeness.with_state(EXCLUDED)
        self.plain = self._plain(directories, published) if not one_by_one else None
        self.frames = self._undecided(published)
        self.dropped: dict[tuple[int, str], str] = {}
        self.tell: Counter[tuple[str, int]] = Counter()
        self.people = self._published_people()
        self.links = self._published_links()
        self.seen = {key: orjson.loads(link["seen"] or b"{}") for key, link in self.links.items()}
        self.link_state: dict[tuple[int, str], str] = {}
        # What makes a row of somebody whose school is kept back one with another row: (master, userIds).
        self.folding: dict[tuple[int, str], tuple[str, str]] = {}
        self.linked_by: dict[tuple[int, str], str] = {}
        self.directory_rows = self._directory_rows(directories)
        for place, row in enumerate(self.directory_rows):
            row.place = place
        self.logins = Counter((row.provider_id, row.email) for row in self.directory_rows)
        self.newly_attached: list[tuple[_DirectoryRow, _Person]] = []
        self.readable = {d.provider_id for d in directories if d.frame is not None}
        users = self._users()
        self._protect_values(users)
        self.groups = {
            source.provider_id: _fold([row for row in users if row.provider_id == source.provider_id])
            for source in self.sources
        }
        self.pairs = self._family_pairs()
        self._count_keys()
        self.at: dict[tuple[str, str], dict[_Person, None]] = defaultdict(dict)
        self.merged: list[tuple[_Person, _Person]] = []
        self.replaced: set[str] = set()

    # ------------------------------------------------------------------ what is given

    def _plain(self, directories: Sequence[Directory], published: Published) -> Plain:
        addresses = [
            email
            for directory in directories
            if directory.frame is not None
            for email in directory.frame["email"].tolist()
        ]
        waiting = self.frozen | self.kept_back | self.excluded
        return find_plain(self.sources, addresses, self.current, waiting, published, self.tonight)

    def _undecided(self, published: Published) -> _Frames:
        """The rows that are not of plain users; of users who were dropped, those whom a link names."""
        users, people, links = self.current.users, published.people, published.person_sources
        if self.plain is None:
            return _Frames(users, people, links)
        links, people = links[~self.plain.linked], people[~self.plain.owners]
        others = users[~self.plain.users]
        known = set(rows.keys(links, "provider_id", "source_id"))
        named = np.fromiter(
            (not why or (who, user) in known
             for who, user, why in rows.keys(others, "provider_id", "source_id", "reason")),
            bool, len(others),
        )  # fmt: skip
        return _Frames(others[named], people, links)

    def _removed_exclusions(self, completeness: Completeness) -> set[str]:
        removing = {s.provider_id for s in self.sources if s.options.excluded_rosters == "remove"}
        excluded = completeness.schools[completeness.schools["state"] == EXCLUDED]
        return set(excluded.loc[excluded["provider_id"].isin(removing), "school_id"])

    def _published_people(self) -> dict[str, _Person]:
        people = {}
        merged = {}
        for record in rows.records(self.frames.people):
            people[record["person_id"]] = _Person(
                record["person_id"],
                int(record["created_sync"]),
                alive=record["removed"] != "true",
                inactive=record["inactive_since"] != "",
                values={name: record[name] for name in FIELDS},
                roles=rows.parse_list(record["roles"]),
            )
            if record["merged_into"]:
                merged[record["person_id"]] = record["merged_into"]
        for person_id, into in merged.items():
            people[person_id].merged_into = people.get(into)
        return people

    def _published_links(self) -> dict[tuple[int, str], dict[str, str]]:
        return {
            (int(record["provider_id"]), record["source_id"]): record
            for record in rows.records(self.frames.links)
        }

    def _directory_rows(self, directories: Sequence[Directory]) -> list[_DirectoryRow]:
        out: dict[tuple[int, str], _DirectoryRow] = {}
        for directory in directories:
            if directory.frame is None:
                out |= self._remembered(directory)
                continue
            # In an order of their own: which of two rows comes first decides nothing.
            for record in sorted(rows.records(directory.frame), key=_by_content):
                if record["id"] and (directory.provider_id, record["id"]) not in out:
                    masked = vocabulary.is_masked(record["email"])
                    out[directory.provider_id, record["id"]] = _DirectoryRow(
                        directory.provider_id,
                        record["id"],
                        "" if masked else record["email"],
                        record["given_name"],
                        record["family_name"],
                        vocabulary.role(record["role"]) if record["role"] else "",
                    )
        return list(out.values())

    def _remembered(self, directory: Directory) -> dict[tuple[int, str], _DirectoryRow]:
        """The linked people of a directory that could not be read, with the login e-mail they have."""
        out = {}
        for key, link in sorted(self.links.items()):
            person = self.people.get(link["person_id"])
            if key[0] == directory.provider_id and person is not None and link["removed"] != "true":
                values = person.final().values
                out[key] = _DirectoryRow(
                    *key, values["email"], values["given_name"], values["family_name"], ""
                )
        return out

    def _users(self) -> list[_Row]:
        """The users of tonight who may speak, and those who stand by what was accepted before."""
        users = self.frames.users
        out: list[_Row] = []
        reason: dict[tuple[int, str], str] = {}
        lists: dict[str, list[str]] = {}
        for record in rows.records(users):
            why, key = record["reason"], (record["provider_id"], record["source_id"])
            if why in rows.NAMELESS:
                continue
            reason[key] = VANISHED if why == "left" and record["left"] == VANISHED else why
            if why:
                continue
            schools = lists.get(record["schools"])
            if schools is None:
                schools = lists[record["schools"]] = rows.parse_list(record["schools"])
            speaking = (set(schools) or {""}) - self.excluded
            if speaking and speaking <= self.kept_back:
                link = self.links.get(key)
                if link is None or not self._is_standing(link):
                    self.dropped[key] = "school_kept_back"
                else:  # the school keeps its last good roster: this user speaks by it, too
                    reason[key] = "frozen"
                    if not speaking <= self.set_back:  # there, nobody is folded anew either
                        self.folding[key] = record["master"], record["user_ids"]
                continue
            out.append(
                _Row(
                    *key,
                    {name: record[name] for name in FIELDS},
                    rows.parse_list(record["roles"]),
                    record["enabled"],
                    schools,
                    record["family"] == "true",
                    record["student"] == "true" and record["left"] == "",
                    self.by_id[key[0]].strength,
                    master=record["master"],
                    user_ids=record["user_ids"],
                    agents=record["agents"],
                )
            )
        out.extend(self._standing(reason, self._spoken_for(out, reason)))
        return out

    def _spoken_for(self, speaking: list[_Row], reason: dict[tuple[int, str], str]) -> set[str]:
        """The person_ids whom a row of tonight keeps: no other row of theirs has to stand for it."""
        frozen = [key for key, why in reason.items() if why == "frozen"]
        keys = [row.key for row in speaking if not self._is_reused(row, self.seen.get(row.key, {}))]
        links = [self.links[key] for key in [*keys, *frozen] if key in self.links]
        people = [
            self.people.get(link["person_id"])
            for link in links
            if link["removed"] != "true" and int(link["provider_id"]) not in self.attach_only
        ]
        return {person.final().person_id for person in people if person is not None}

    def _is_standing(self, link: dict[str, str]) -> bool:
        person = self.people.get(link["person_id"])
        return link["removed"] != "true" and person is not None and person.final().alive

    def _standing(self, reason: dict[tuple[int, str], str], spoken_for: set[str]) -> list[_Row]:
        """Live links without a row that may speak: a row of the values last accepted, or dead.

        Nobody is gone unless a complete extract shows it, and nobody of a school that is kept back
        or excluded is (product.md, "Schools"; architecture.md, invariant 1). Of several rows of one human
        those that are proven gone go, while another of them is there.
        """
        out = []
        for key, link in self.links.items():
            source = self.by_id.get(key[0])
            if link["removed"] == "true" and source is not None:
                # An inactive person whose row is here again, and whom dates or settings take out now.
                person, state = self.people.get(link["person_id"]), _WHY_GONE.get(reason.get(key) or "")
                inactive = person is not None and person.final().inactive
                proven = state in (LEFT, OUT_OF_SCOPE) and source.proven("users", "enrollments")
                if state and inactive and proven and not self._is_frozen(link["person_id"]):
                    # Whom another one had, too, and has not any more, is gone: they had left here before.
                    elsewhere = self._gone_elsewhere(key[0], link["person_id"], reason)
                    self.link_state[key] = GONE if elsewhere else state
            if link["removed"] == "true" or reason.get(key) == "":
                continue
            if source is None:
                if key[0] in self.tonight.retired:
                    # Whoever was set back to before the provider was retired waits with their schools.
                    waits = not self._schools_of(link["person_id"]).isdisjoint(self.set_back)
                    self.link_state[key] = STANDS if waits else RETIRED
                continue  # a directory's; those speak for themselves
            state = self._state_without_row(source, reason.get(key))
            if state != STANDS and self._keeps_link(link["person_id"], spoken_for):
                state = STANDS
            self.link_state[key] = state
            if state == STANDS and self._is_standing(link):
                seen = self.seen[key]
                out.append(
                    _Row(
                        *key,
                        {name: seen.get(name, "") for name in FIELDS},
                        seen.get("roles", []),
                        seen.get("enabled", ""),
                        sorted({school for _, school in seen.get("roles", []) if school}),
                        bool(seen.get("roles")) and all(vocabulary.is_family(r) for r, _ in seen["roles"]),
                        any(role == "student" for role, _ in seen.get("roles", [])),
                        source.strength,
                        stands=True,
                        master=self.folding.get(key, ("", ""))[0],
                        user_ids=self.folding.get(key, ("", ""))[1],
                    )
                )
        return out

    @cached_property
    def keys_of(self) -> dict[str, list[tuple[int, str]]]:
        """person_id → the users that were ever linked with it."""
        found: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for key, link in self.links.items():
            found[link["person_id"]].append(key)
        return found

    def _gone_elsewhere(
        self, provider_id: int, person_id: str, reason: Mapping[tuple[int, str], str]
    ) -> bool:
        """Whether another provider that can keep a person had somebody and has no row of them."""
        mine = self.keys_of[person_id]
        others = {key[0] for key in mine} & self._speaking() - {provider_id}
        return any(all(key not in reason for key in mine if key[0] == other) for other in others)

    def _state_without_row(self, source: Source, why: str | None) -> str:
        """What it means that a linked user of `source` has no row that may speak (`why` it was dropped)."""
        if not source.usable or why == "frozen":
            return STANDS
        if why == "excluded_school" and source.options.excluded_rosters == "keep":
            return STANDS
        if not source.proven("users", "enrollments"):
            return STANDS
        if why == "excluded_school":
            return OUT_OF_SCOPE
        return _WHY_GONE.get(why or "", GONE)

    def _keeps_link(self, person_id: str, spoken_for: set[str]) -> bool:
        """Whether a link without a row stays, because of the person's schools that are kept as they are."""
        if not self._is_frozen(person_id):
            return False
        person = self.people[person_id].final()
        return person.person_id not in spoken_for or self._schools_of(person_id) <= self.frozen

    def _is_frozen(self, person_id: str) -> bool:
        return not self._schools_of(person_id).isdisjoint(self.frozen)

    def _schools_of(self, person_id: str) -> set[str]:
        """The schools at which a published person has a role; "" for none, nothing of nobody."""
        person = self.people.get(person_id)
        if person is None:
            return set()
        return {role["school_id"] for role in person.final().roles if role["school_id"]} or {""}

    def _protect_values(self, users: list[_Row]) -> None:
        """Values that vanish from a provider in numbers stay as they were (RS-SAFE-06).

        They are counted among all that the provider has or had, new users' too: otherwise a repeated
        sync, which knows those as well, would find fewer of them gone and let them go.
        """
        lost: dict[tuple[int, str], list[tuple[_Row, str]]] = defaultdict(list)
        for row in users:
            link = self.links.get(row.key)
            if link is None or row.stands or link["removed"] == "true" or not link["seen"]:
                continue
            seen = self.seen[row.key]
            if self._is_reused(row, seen):
                continue
            for name in FIELDS:
                old = seen.get(name, "")
                if old and not row.values[name]:
                    lost[row.provider_id, name].append((row, old))
        for (provider_id, name), vanished in lost.items():
            count = len(vanished)
            of = count + sum(
                1 for row in users if row.provider_id == provider_id and not row.stands and row.values[name]
            )
            of += self.plain.filled[provider_id, name] if self.plain else 0
            if safeguards.have_vanished(count, of):
                self.tell["RS-SAFE-06", provider_id] += count
                for row, old in vanished:
                    row.values[name] = old

    def _is_reused(self, row: _Row, seen: dict[str, str]) -> bool:
        return all(
            row.values[name] and row.values[name] != seen.get(name, "")
            for name in ("given_name", "family_name", "identifier", "email")
        )

    def _family_pairs(self) -> dict[tuple[int, str], list[tuple[_Row, _Row]]]:
        """Guardian's key → (student, guardian) rows, from agents on either side (oneroster.md §6)."""
        found: dict[tuple[int, str], list[tuple[_Row, _Row]]] = defaultdict(list)
        for provider_id, groups in self.groups.items():
            if not self.by_id[provider_id].options.sync_parent_data:
                continue
            mine = {row.source_id: row for group in groups for row in group.rows if not row.stands}
            frame = self.current.users
            there = set(frame.loc[frame["provider_id"] == provider_id, "source_id"].tolist())
            pairs: dict[tuple[str, str], tuple[_Row, _Row]] = {}
            for row in mine.values():
                for agent in rows.parse_list(row.agents):
                    other = mine.get(agent)
                    if other is None:
                        self.tell["RS-REF-03", provider_id] += agent not in there
                        continue
                    student, adult = (row, other) if row.student else (other, row)
                    if student.student == adult.student or not _has_family_role(adult):
                        self.tell["RS-GRD-02", provider_id] += 1
                        continue
                    pairs[student.source_id, adult.source_id] = (student, adult)
            for student, adult in pairs.values():
                found[adult.key].append((student, adult))
        return found

    # ------------------------------------------------------------------ keys

    def _key(self, source: Source, email: str) -> str:
        return key_of(source.options.merge.key, email)

    def _count_keys(self) -> None:
        """How many people of each provider share a key: a shared one is no key for any of them."""
        self.sharing: Counter[tuple[int, str]] = Counter()
        for source in self.sources:
            for group in self.groups[source.provider_id]:
                keys = {self._key(source, row.values["email"]) for row in group.rows if row.values["email"]}
                self.sharing.update((source.provider_id, key) for key in keys)
        shared: Counter[int] = Counter()
        for (provider_id, _), count in self.sharing.items():
            shared[provider_id] += count if count > 1 else 0
        for provider_id, count in shared.items():
            if count:
                self.tell["RS-IDN-02", provider_id] += count

    def _usable_key(self, source: Source, group: _Group) -> str:
        email = group.email
        key = self._key(source, email) if email else ""
        return key if key and self.sharing[source.provider_id, key] == 1 else ""

    def _index(self, person: _Person, email: str) -> None:
        if email:
            self.at["email", email][person] = None
            self.at[_BARE, key_of(_BARE, email)][person] = None

    def _candidates(self, kind: str, key: str) -> list[_Person]:
        """The people of tonight with a key: not those whom only a link that attaches still names."""
        found = {person.final(): None for person in self.at.get((kind, key), {})}
        return [person for person in found if self._exists_for(person)]

    # ------------------------------------------------------------------ the steps

    def follow_links(self) -> None:
        """Evidence 1: a link from an earlier sync decides, unless the id was given to somebody else."""
        for source in self.sources:
            for group in self.groups[source.provider_id]:
                linked: dict[_Person, None] = {}
                for row in group.rows:
                    link = self.links.get(row.key)
                    if link is None:
                        continue
                    person = self.people.get(link["person_id"])
                    seen = self.seen[row.key]
                    if person is None:
                        continue
                    if not row.stands and self._is_reused(row, seen):
                        row.reused = True
                        if not source.proven("users", "enrollments"):
                            self.replaced.add(person.final().person_id)
                        self.tell["RS-IDN-04", source.provider_id] += 1
                        continue
                    self._warn_of_change(row, seen)
                    linked[person.final()] = None
                if linked:
                    oldest = min(linked, key=lambda p: (not p.alive, p.created_sync, p.person_id))
                    for other in linked:
                        if other is not oldest:
                            self._join(oldest, other)
                    self._assign(group, oldest, "matched", "link", "")

    def _warn_of_change(self, row: _Row, seen: dict[str, str]) -> None:
        changed = all(
            row.values[name] and seen.get(name) and row.values[name] != seen[name]
            for name in ("given_name", "family_name", "email")
        )
        if changed and not row.values["identifier"] and not row.stands:
            self.tell["RS-IDN-05", row.provider_id] += 1

    def attach_directories(self) -> None:
        """Directory people: linked ones belong to their person, others to whom the e-mail names, or wait."""
        new = []
        for row in self.directory_rows:
            link = self.links.get((row.provider_id, row.source_id))
            person = self.people.get(link["person_id"]) if link else None
            if person is not None:
                self._attach(row, person.final())
            elif row.email:
                new.append(row)
        for row in new:  # when all whom a link names are known
            self._attach_new(row)

    def _attach_new(self, row: _DirectoryRow) -> _Person:
        owner = self._known_to_directory(row) if self.logins[row.provider_id, row.email] == 1 else None
        # Whom nobody brings yet waits as a candidate; of several with one e-mail, each does.
        owner = owner or self._new_person(row.provider_id, row.source_id)
        self._attach(row, owner)
        self.newly_attached.append((row, owner))
        return owner

    def _attach_waiting(self) -> bool:
        """Looks once more for whom new directory rows name; whether somebody was found."""
        waiting = [(row, person) for row, person in self.newly_attached if not person.final().rows]
        self.newly_attached = []
        for row, person in waiting:
            person.final().directory_rows.remove(row)
        owners = [self._attach_new(row) for row, _ in waiting]
        return any(owner.rows for owner in owners)

    def _known_to_directory(self, row: _DirectoryRow) -> _Person | None:
        """The one person of tonight whom a new directory row names, by e-mail or by a provider's own key."""
        found = self._candidates("email", row.email)
        if not found:
            found = [
                person
                for person in self._candidates(_BARE, key_of(_BARE, row.email))
                if any(self.by_id[r.provider_id].options.merge.key == _BARE for r in person.rows)
                and (not row.role or any(r.student for r in person.rows) == (row.role == "student"))
            ]
        if not found:  # somebody who is gone returns with a new login
            gone = self._returning("email", row.email, (row.given_name, row.family_name))
            return gone[0] if len(gone) == 1 else None
        if len(found) != 1 or _differ(_family_names(found[0]), row.family_name):
            return None
        taken = any(other.provider_id == row.provider_id for other in found[0].directory_rows)
        return None if taken else found[0]

    def _attach(self, row: _DirectoryRow, person: _Person) -> None:
        person.directory_rows.append(row)
        self._index(person, row.email)

    def _new_person(self, provider_id: int, source_id: str) -> _Person:
        return _Person(
            new_id(self.tonight.tenant, provider_id, "person", source_id, self.tonight.sync_id),
            self.tonight.sync_id,
        )

    def find_people(self, *, family: bool) -> None:
        """Evidence 2 to 4 for everybody without a link, and again for those who were refused.

        The strongest provider comes first, so whom it did not find may be created by a weaker one, or
        two who fitted may turn out to be one. A repeated sync would see that; this one does, too.
        """
        again = True
        while again:
            again = False
            for source in self.sources:
                for group in self.groups[source.provider_id]:
                    if group.person is None and group.rows and (family or not group.family):
                        refused = group.outcome != ""
                        self._find_person(source, group)
                        again |= refused and group.person is not None
            again |= self._attach_waiting()
            again |= family and self._join_people()

    def _find_person(self, source: Source, group: _Group) -> None:
        attach_only = source.provider_id in self.attach_only
        key = self._usable_key(source, group)
        every: list[_Person] = []
        gone: list[_Person] = []
        if key:
            every = self._candidates(source.options.merge.key, key)
            # Two rows of one provider are two people: whoever has one of them is no candidate.
            free = [p for p in every if all(r.provider_id != source.provider_id for r in p.rows)]
            if len(every) > 1 and free:
                return self._refuse(group, "ambiguous", every)
            if free:
                problem = self._contradiction(source, group, free[0])
                if problem:
                    return self._refuse(group, problem, free)
                group.why = source.options.merge.key
                return self._assign(group, free[0], "matched", "key", "key")
            if not attach_only:
                names = group.name("given_name"), group.name("family_name")
                gone = self._returning(source.options.merge.key, key, names)
                if len(gone) == 1:
                    group.why = source.options.merge.key
                    return self._assign(group, gone[0], "matched", "returned", "returned")
        if (known := self._under_another_id(group)) is not None:
            group.why = "identifier"
            self.tell["RS-SAFE-19", source.provider_id] += 1
            return self._assign(group, known, "matched", "returned", "returned")
        why = "nobody_matches" if key else "shared_key" if group.email else "no_key"
        if attach_only:
            return self._refuse(group, why)
        if any(not s.ever_complete for s in self.sources if s.strength < source.strength):
            return self._refuse(group, "stronger_never_complete")
        if any(row.reused for row in group.rows):
            why = "id_reused"
        elif every:  # and all of them have a row of this provider
            why = "key_taken"
        elif key and self._gone_by(source.options.merge.key, key):
            why = "several_gone" if gone else "other_names"
        group.why = why
        first = min(row.source_id for row in group.rows)
        return self._assign(group, self._new_person(source.provider_id, first), "created", "new", "created")

    def _under_another_id(self, group: _Group) -> _Person | None:
        """Whom a provider that has given its users new ids brought under another one.

        By identifier and names: by these two rows of one provider are one person (product.md, "Merging").
        """
        found = [self.rekeyed[row.key] for row in group.rows if row.key in self.rekeyed]
        person = self.people.get(self.links[found[0]]["person_id"]) if len(set(found)) == 1 else None
        if person is None or person.merged_into is not None:
            return None
        return None if any(row.provider_id == group.provider_id for row in person.rows) else person

    @cached_property
    def rekeyed(self) -> dict[tuple[int, str], tuple[int, str]]:
        """User under a new id → the link that it has under the old one."""
        found: dict[tuple[int, str], tuple[int, str]] = {}
        users = self.current.users
        for source in self.sources:
            if not source.proven("users"):
                continue
            ids = set(users.loc[users["provider_id"] == source.provider_id, "source_id"].tolist())
            before = {
                key: _identifying(self.seen[key])
                for key, link in self.links.items()
                if key[0] == source.provider_id and link["removed"] != "true"
            }
            gone = {key: traits for key, traits in before.items() if key[1] not in ids}
            if not gone:
                continue
            new = {
                row.key: _identifying(row.values)
                for group in self.groups[source.provider_id]
                for row in group.rows
                if row.key not in self.links
            }
            stay = self.plain.known[source.provider_id] if self.plain else 0
            found |= twins(before, gone, new, stay=stay)
        return found

    def _exists_for(self, person: _Person) -> bool:
        """Whether the person counts as existing: not one who only an attach-only link still names."""
        return bool(person.directory_rows) or any(
            row.provider_id not in self.attach_only for row in person.rows
        )

    def _refuse(self, group: _Group, why: str, candidates: Sequence[_Person] = ()) -> None:
        group.outcome, group.reason, group.candidates = "unmatched", why, list(candidates)

    def _contradiction(self, source: Source, group: _Group, person: _Person) -> str:
        """Why a single candidate is not the same person after all; "" if nothing speaks against it."""
        merge = source.options.merge
        if merge.key == _BARE:
            known = [row.student for row in person.rows if row.roles] + [
                row.role == "student" for row in person.directory_rows if row.role
            ]
            if known and any(row.roles for row in group.rows) and any(known) != group.student:
                return "student_and_adult"
        if merge.checks_names and _differ(_family_names(person), group.name("family_name")):
            return "other_family_name"
        return ""

    @cached_property
    def gone(self) -> dict[tuple[str, str], dict[_Person, None]]:
        """(kind of key, key) → people who were known by it and whom nobody brings tonight."""
        found: dict[tuple[str, str], dict[_Person, None]] = defaultdict(dict)
        emails = [(person, person.values["email"]) for person in self.people.values()]
        emails += [
            (self.people[link["person_id"]], self.seen[key].get("email", ""))
            for key, link in self.links.items()
            if link["person_id"] in self.people
        ]
        for person, email in emails:
            if email and person.merged_into is None and not self._exists_for(person):
                found["email", email][person] = None
                found[_BARE, key_of(_BARE, email)][person] = None
        return found

    def _returning(self, kind: str, key: str, names: tuple[str, str]) -> list[_Person]:
        """Evidence 3: who is gone, with this key and both names; of several nobody can tell who returns."""
        if not all(names):
            return []
        return [
            person
            for person in self._gone_by(kind, key)
            if (person.values["given_name"], person.values["family_name"]) == names
        ]

    def _gone_by(self, kind: str, key: str) -> list[_Person]:
        """Who was known by this key, and is brought by nobody tonight."""
        found = self.gone.get((kind, key), ())
        return [person for person in found if not self._exists_for(person)]

    def _assign(self, group: _Group, person: _Person, outcome: str, reason: str, linked_by: str) -> None:
        group.person, group.outcome, group.reason = person, outcome, reason
        for row in group.rows:
            person.rows.append(row)
            self._index(person, row.values["email"])
            if linked_by and (row.key not in self.links or row.reused):
                self.linked_by[row.key] = linked_by

    def drop_guardians_without_students(self) -> None:
        """A guardian is current while at least one linked student is."""
        live = {
            row.key
            for groups in self.groups.values()
            for group in groups
            if group.person is not None
            for row in group.rows
            if row.student
        }
        for groups in self.groups.values():
            for group in groups:
                for row in [row for row in group.rows if row.family and not row.stands]:
                    if not any(student.key in live for student, _ in self.pairs.get(row.key, ())):
                        self.dropped[row.key] = "guardian_without_student"
                        self.link_state[row.key] = self._state_without_row(
                            self.by_id[row.provider_id], "guardian_without_student"
                        )
                        group.rows.remove(row)
                        if group.person is not None:
                            group.person.final().rows.remove(row)

    def _join_people(self) -> bool:
        """Two live identities of different sources with one usable e-mail and both names are one.

        Returns:
            Whether anybody was joined.
        """
        before = len(self.merged)
        by_email: dict[str, dict[_Person, list[_Row]]] = defaultdict(lambda: defaultdict(list))
        holders: dict[tuple[int, str], set[int]] = defaultdict(set)
        for groups in self.groups.values():
            for place, group in enumerate(groups):
                for row in group.rows:
                    holders[row.provider_id, row.values["email"]].add(place)
        for groups in self.groups.values():
            for group in groups:
                if group.person is None:
                    continue
                for row in group.rows:
                    email = row.values["email"]
                    if email and len(holders[row.provider_id, email]) == 1:
                        by_email[email][group.person.final()].append(row)
        for people in by_email.values():
            if len(people) == 2:
                (one, one_rows), (other, other_rows) = people.items()
                if self._may_join(one, other, one_rows, other_rows):
                    self._tell_changed([*one_rows, *other_rows])
                    older, younger = sorted((one.final(), other.final()), key=self._age)
                    self._join(older, younger)
        return len(self.merged) > before

    def _age(self, person: _Person) -> tuple[int, int, str]:
        strength = min((row.strength for row in person.rows), default=0)
        return person.created_sync, strength, person.person_id

    def _may_join(self, one: _Person, other: _Person, one_rows: list[_Row], other_rows: list[_Row]) -> bool:
        if one.final() is other.final() or not (self._exists_for(one) and self._exists_for(other)):
            return False
        if any(who.alive and self._schools_of(who.person_id) <= self.set_back for who in (one, other)):
            return False  # an undo may have parted them
        if {row.provider_id for row in one.rows} & {row.provider_id for row in other.rows}:
            return False
        bare = any(self.by_id[row.provider_id].options.merge.key == _BARE for row in [*one.rows, *other.rows])
        known = all(any(row.roles for row in person.rows) for person in (one, other))
        if bare and known and _is_student(one) != _is_student(other):
            return False  # there, a student is never joined to an adult
        names = {(row.values["given_name"], row.values["family_name"]) for row in [*one_rows, *other_rows]}
        return len(names) == 1 and all(names.pop())

    def _tell_changed(self, joined: list[_Row]) -> None:
        for row in joined:
            if row.key in self.seen and self.seen[row.key].get("email", "") != row.values["email"]:
                self.tell["RS-IDN-03", row.provider_id] += 1

    def _tell_elsewhere(self, source: Source, group: _Group) -> None:
        """RS-IDN-03: a linked user's key now points to somebody else; the link stays."""
        if group.person is None or group.reason != "link":
            return
        key = self._usable_key(source, group)
        if key and any(
            person is not group.person.final()
            for person in self._candidates(source.options.merge.key, key)
            if any(self._key(source, row.values["email"]) == key for row in person.rows)
        ):
            self.tell["RS-IDN-03", source.provider_id] += 1

    def _join(self, older: _Person, younger: _Person) -> None:
        younger.merged_into = older
        older.rows.extend(younger.rows)
        older.directory_rows.extend(younger.directory_rows)
        for row in younger.rows:
            self._index(older, row.values["email"])
            self.linked_by[row.key] = "joined"
        for entry in younger.directory_rows:
            self.linked_by[entry.provider_id, entry.source_id] = "joined"
        younger.rows, younger.directory_rows = [], []
        older.alive = older.alive or younger.alive
        self.merged.append((younger, older))

    # ------------------------------------------------------------------ what comes out

    def result(self) -> Identities:
        """Everything that was found, as tables."""
        people = dict(self.people)
        for group in self._groups():
            if group.person is not None:
                people.setdefault(group.person.person_id, group.person)
        live = [person for person in people.values() if person.merged_into is None and self._is_live(person)]
        alive = {person.person_id for person in live}
        links = self._all_links(live, alive)
        self.named_by = self._published_sources()
        people_ = pd.DataFrame(
            [*map(self._record, live), *self._not_live(alive, links)], columns=PEOPLE_COLUMNS, dtype="str"
        )
        links_, outcomes = _frame(links, LINK_COLUMNS), _frame(self._outcomes(), OUTCOME_COLUMNS)
        if self.plain is not None:
            people_ = _with(self.plain.people.assign(fate=LIVE), people_)
            links_ = _with(self.plain.links.assign(state=LIVE), links_)
            outcomes = _with(self.plain.outcomes, outcomes)
        return Identities(
            people=people_,
            links=links_,
            outcomes=outcomes,
            guardians=_frame(self._guardians(alive), GUARDIAN_COLUMNS),
            merged=pd.DataFrame(
                [(younger.person_id, older.final().person_id) for younger, older in self.merged],
                columns=MERGED_COLUMNS,
                dtype="str",
            ),
            users=self.dropped,
            issues=self._issues(),
        )

    def _groups(self) -> Iterable[_Group]:
        return (group for groups in self.groups.values() for group in groups)

    def _all_links(self, live: list[_Person], alive: set[str]) -> list[_Link]:
        """Those of live people, and every published one that is none of them any more."""
        links = [link for person in live for link in self._links(person)]
        done = {link[:2] for link in links}
        for key, link in self.links.items():
            if key not in done:
                owner = self.people.get(link["person_id"])
                person_id = owner.final().person_id if owner else link["person_id"]
                state = GONE if link["removed"] == "true" else self._dead(key, person_id in alive)
                links.append((*key, person_id, link["linked_by"], link["seen"], state))
        return links

    def _published_sources(self) -> dict[str, set[int]]:
        """person_id → the providers and directories that named them by a live link before tonight."""
        found: dict[str, set[int]] = defaultdict(set)
        for key, link in self.links.items():
            owner = self.people.get(link["person_id"])
            if link["removed"] != "true" and owner is not None:
                found[owner.final().person_id].add(key[0])
        return found

    def _not_live(self, alive: set[str], links: list[_Link]) -> Iterable[tuple[str, ...]]:
        """Published people without a live row, with their fate."""
        said: dict[str, list[str]] = defaultdict(list)
        speaking = self._speaking()
        for provider_id, source_id, person_id, _, _, state in links:
            key = provider_id, source_id
            was_live = key in self.links and self.links[key]["removed"] != "true"
            if provider_id in speaking and (was_live or key in self.link_state):
                said[person_id].append(self.link_state.get(key, state))
        for person in self.people.values():
            if person.alive and person.merged_into is None and person.person_id not in alive:
                fate = _worst(said.get(person.person_id, ()))
                if person.person_id not in said and not person.inactive:
                    fate = self._fate_of_attached(person, fate)
                if person.person_id in self.replaced:
                    fate = STANDS  # the id was given to somebody else, but nothing proves them gone
                yield (person.person_id, *("" for _ in FIELDS), "", "", "", fate)

    def _fate_of_attached(self, person: _Person, fate: str) -> str:
        """The fate of somebody active whom only providers name that attach, by a setting of today."""
        who = self.named_by.get(person.person_id, set())
        if not who or not who <= self.attach_only:
            return fate
        proven = all(self.by_id[provider_id].proven("users", "enrollments") for provider_id in who)
        return OUT_OF_SCOPE if proven else STANDS

    def _speaking(self) -> set[int]:
        """Providers whose links can keep a person: not directories, not those that only attach."""
        return (set(self.by_id) | self.tonight.retired) - self.attach_only

    def _dead(self, key: tuple[int, str], person_is_live: bool) -> str:
        if key in self.link_state:
            return self.link_state[key]
        if key[0] in self.by_id:  # its row is somebody else's by now, or attaches to nobody
            return GONE
        return STANDS if person_is_live and key[0] not in self.readable else GONE

    def _is_live(self, person: _Person) -> bool:
        """Directories and links that only attach keep nobody alive; both together make a person."""
        if any(row.provider_id not in self.attach_only for row in person.rows):
            return True
        return bool(person.rows and person.directory_rows)

    def _record(self, person: _Person) -> tuple[str, ...]:
        ordered = sorted(person.rows, key=attrgetter("strength", "source_id"))
        values = {
            name: next((row.values[name] for row in ordered if row.values[name]), "") for name in FIELDS
        }
        # In document order, which is not the order in which they came to this person.
        known = sorted(person.directory_rows, key=attrgetter("place"))
        for row in known:
            values["given_name"] = values["given_name"] or row.given_name
            values["family_name"] = values["family_name"] or row.family_name
        login = next((row.email for row in known if row.email), "")
        values["email"] = login or values["email"]
        roles = role_records(pair for row in ordered for pair in row.roles)
        schools = sorted({school for row in ordered for school in row.schools})
        enabled = next((row.enabled for row in ordered if row.enabled), "true")
        return (
            person.person_id,
            *(values[name] for name in FIELDS),
            roles,
            enabled,
            rows.as_list(schools),
            LIVE,
        )

    def _links(self, person: _Person) -> Iterable[_Link]:
        for row in person.rows:
            old = self.links.get(row.key)
            linked_by = self.linked_by.get(row.key) or (old["linked_by"] if old else "created")
            if row.stands and old is not None:
                yield (*row.key, person.person_id, linked_by, old["seen"], STANDS)
                continue
            text = seen_text(row.values, rows.as_list(row.roles), row.enabled)
            yield (*row.key, person.person_id, linked_by, text, LIVE)
        for entry in person.directory_rows:
            key = entry.provider_id, entry.source_id
            old = self.links.get(key)
            linked_by = self.linked_by.get(key) or (old["linked_by"] if old else "directory")
            yield (*key, person.person_id, linked_by, "", LIVE)

    def _outcomes(self) -> Iterable[tuple[int | str, ...]]:
        for groups in self.groups.values():
            for group in groups:
                spoken = [row for row in group.rows if not row.stands or self._frozen_row(row)]
                held = role_names(pair for row in spoken for pair in row.roles)
                person_id = group.person.final().person_id if group.person is not None else ""
                outcome, reason = group.outcome, group.reason
                if group.person is not None and not self._is_live(group.person.final()):
                    # An attach-only link names somebody who goes tonight, or is gone: both alike, or a
                    # repeated sync would take memberships away that the first had left.
                    outcome, reason, person_id = "unmatched", "person_is_gone", ""
                first = spoken[0].source_id if spoken else ""
                candidates = sorted({person.final().person_id for person in group.candidates})
                between = _json(candidates) if candidates else ""
                for row in spoken:
                    why = self._made_by(row) if reason == "link" else group.why
                    yield (*row.key, outcome, reason, first, person_id, held, why, between)

    def _made_by(self, row: _Row) -> str:
        """By what the link was made that decided; `folded` where another row of the same human has it."""
        old = self.links.get(row.key)
        if row.reused or old is None:
            return self.linked_by.get(row.key, "folded")
        return self.linked_by.get(row.key, old["linked_by"])

    @cached_property
    def here(self) -> set[tuple[int, str]]:
        """The users with a row of tonight that counts."""
        users = self.frames.users[self.frames.users["reason"] == ""]
        return set(rows.keys(users, "provider_id", "source_id"))

    def _frozen_row(self, row: _Row) -> bool:
        """A row that came tonight, but whose school keeps its last good roster."""
        return row.key in self.here

    def _guardians(self, alive: set[str]) -> Iterable[tuple[str, str, str, int]]:
        owner = {
            row.key: group.person.final().person_id
            for groups in self.groups.values()
            for group in groups
            if group.person is not None
            for row in group.rows
        }
        found: dict[tuple[str, str], tuple[int, str, int]] = {}
        for pairs in self.pairs.values():
            for student, adult in pairs:
                one, other = owner.get(student.key), owner.get(adult.key)
                if one in alive and other in alive and one and other and one != other:
                    relationship = next(role for role, _ in adult.roles if vocabulary.is_family(role))
                    offer = (student.strength, relationship, student.provider_id)
                    found[one, other] = min(found.get((one, other), offer), offer)
        for (student_id, guardian_id), (_, relationship, provider_id) in sorted(found.items()):
            yield student_id, guardian_id, relationship, provider_id

    def _issues(self) -> list[Issue]:
        for source in self.sources:
            for group in self.groups[source.provider_id]:
                self._tell_elsewhere(source, group)
                if group.outcome == "unmatched":
                    self.tell[_UNMATCHED.get(group.reason, "RS-IDN-01"), group.provider_id] += 1
        said = {
            "RS-SAFE-06": "values vanished; the old ones stay",
            "RS-REF-03": "related people are not there",
            "RS-SAFE-19": "users came under new ids and were recognised by identifier and names",
            "RS-GRD-02": "related people are not a student and a guardian",
            "RS-IDN-01": "users were not matched, because more than one person fits or something contradicts",
            "RS-IDN-02": "users share an e-mail address",
            "RS-IDN-03": "users' keys point to another person than the one they are linked with",
            "RS-IDN-04": "sourcedIds were given to somebody else",
            "RS-IDN-05": "users have other names and another e-mail, and no identifier",
            "RS-IDN-06": "users wait for a stronger provider",
            "RS-IDN-07": "users match nobody",
        }
        return [
            Issue(code, f"{count} {said[code]}.", provider=self.by_id[provider_id].name, count=count)
            for (code, provider_id), count in sorted(self.tell.items())
            if count
        ]


def _by_content(record: dict[str, str]) -> tuple[object, ...]:
    """The order of a directory's rows; of several with one id, one with an e-mail is the first."""
    return record["id"], not record["email"], *(record[name] for name in DIRECTORY_COLUMNS)


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _with(plain: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """The rows of both, with the columns of `others`."""
    plain = plain[list(others.columns)]
    if others.empty or plain.empty:
        return plain if others.empty else others
    return pd.concat([plain, others], ignore_index=True)


def _frame(records: Iterable[tuple[object, ...]], columns: list[str]) -> pd.DataFrame:
    return rows.typed(pd.DataFrame(list(records), columns=columns))


def _has_family_role(row: _Row) -> bool:
    return any(vocabulary.is_family(role) for role, _ in row.roles)


def _is_student(person: _Person) -> bool:
    return any(row.student for row in person.rows)


def _family_names(person: _Person) -> set[str]:
    return {row.values["family_name"] for row in person.rows} | {
        row.family_name for row in person.directory_rows
    }


def _differ(names: set[str], name: str) -> bool:
    """Whether family names are known on both sides and none agrees."""
    known = names - {""}
    return bool(known and name) and name not in known


_ORDER = (STANDS, LIVE, GUARDIAN, GONE, RETIRED, LEFT, OUT_OF_SCOPE)


def _worst(states: Iterable[str]) -> str:
    """The fate of a person none of whose links is live: the most careful of what the links say."""
    return min(states, key=_ORDER.index, default=GONE)


def _fold(users: list[_Row]) -> list[_Group]:
    """The provider's people: rows are one only by master identifier, or identifier and both names."""
    parent = list(range(len(users)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    first: dict[tuple[str, ...], int] = {}
    for place, row in enumerate(users):
        for token in _tokens(row):
            other = first.setdefault(token, place)
            if other != place:
                parent[root(place)] = root(other)
    groups: dict[int, list[_Row]] = defaultdict(list)
    for place, row in enumerate(users):
        groups[root(place)].append(row)
    return sorted(
        (
            _Group(found[0].provider_id, sorted(found, key=attrgetter("family", "source_id")))
            for found in groups.values()
        ),
        key=lambda group: group.rows[0].source_id,
    )


def _identifying(values: Mapping[str, str]) -> tuple[str, ...]:
    """What tells one person of a provider: identifier and both names; empty where one is missing."""
    told = tuple(values.get(name, "") for name in ("identifier", "given_name", "family_name"))
    return told if all(told) and "@" not in told[0] else ()


def _tokens(row: _Row) -> Iterable[tuple[str, ...]]:
    if row.master:
        yield "master", row.master
    names = row.values["given_name"], row.values["family_name"]
    if not all(names):
        return
    identifier = row.values["identifier"]
    if identifier and "@" not in identifier:
        yield "identifier", identifier, *names
    if row.user_ids:
        for kind, value in rows.parse_list(row.user_ids):
            if kind and value and "@" not in value:
                yield "userIds", kind, value, *names
