"""What it means to set a roster back to before a sync: which rows change, to what, and at which schools.

Pure: given the rows as they are and as they were. Rows that are not there any more (a forgotten person's)
are never made again, nor what would name them. What becomes of the schools at the next sync is in
`undone`; history itself in `store.history`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import orjson

from roster_pipeline.rosters import rows
from roster_pipeline.rosters.changes import KEYS, TOLD

Key = tuple[Any, ...]
"""The values of a row's key, without the tenant."""

Row = dict[str, Any]
"""A published row: texts ("" for nothing), `provider_id` a number; `removed_at` is "" while it is live."""

Step = tuple[int, Row | None]
"""A sync that touched a row, and the row before it: None where there was none; "" may be left out."""

Table = Mapping[Key, Row]

NOW: Final = "now"
"""The `removed_at` of a row that goes with the undo."""

ADDED, UPDATED, REMOVED, HIDDEN = "added", "updated", "removed", ""
"""What a change does to what readers see: the row is back, is as it was, is gone again; or nothing."""

_OWN: Final = {  # where not every column tells that a school was changed
    "schools": ("name", "identifier", "provider_id", "source_id"),
    "person_sources": ("person_id", "linked_by"),
}
_PEOPLE: Final = {
    "person_sources": ("person_id",),
    "memberships": ("person_id",),
    "guardian_links": ("student_id", "guardian_id"),
}
_NO_SCHOOL: Final = frozenset({""})


@dataclass(frozen=True, slots=True)
class Change:
    """A row that the undo changes.

    Attributes:
        now: The row as it is.
        then: The row as it becomes.
        steps: What was done to the row since.
        schools: The schools that it belongs to, as it is or becomes ("" for no school); none where the
            change is bookkeeping.
    """

    kind: str
    key: Key
    now: Row
    then: Row
    schools: frozenset[str]
    steps: Sequence[Step] = ()

    @property
    def changed_by(self) -> set[int]:
        """The syncs that changed more of the row than bookkeeping."""
        states = [*(before for _, before in self.steps), self.now]
        return {
            sync_id
            for (sync_id, before), after in zip(self.steps, states[1:], strict=True)
            if _told(self.kind, before) != _told(self.kind, after)
        }

    @property
    def what(self) -> str:
        """`ADDED`, `UPDATED`, `REMOVED` or `HIDDEN`."""
        if self.now["removed_at"]:
            return HIDDEN if self.then["removed_at"] else ADDED
        return REMOVED if self.then["removed_at"] else UPDATED


@dataclass(slots=True)
class Difference:
    """What an undo changes, and at which schools."""

    changes: list[Change] = field(default_factory=list)

    @property
    def concerned(self) -> Counter[str]:
        """school_id → how many of its rows change; "" are those of no school."""
        return Counter(school for change in self.changes for school in change.schools)

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Kind → how many rows are added, updated, removed, as a sync tells it."""
        found = Counter((change.kind, change.what) for change in self.changes)
        return {kind: {what: found[kind, what] for what in (ADDED, UPDATED, REMOVED)} for kind in TOLD}

    @property
    def counts_by_school(self) -> dict[tuple[str, str], Counter[str]]:
        """(school_id, kind) → how many rows are added, updated, removed; bookkeeping left out."""
        found: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for change in self.changes:
            if change.kind in TOLD and change.what:
                for school in change.schools:
                    found[school, change.kind][change.what] += 1
        return dict(found)


def set_back(
    now: Mapping[str, Table],
    steps: Mapping[str, Mapping[Key, Sequence[Step]]],
    names: Mapping[int, str],
    only: str | None = None,
) -> Difference:
    """What has to change for the roster to be as it was.

    Args:
        now: Published table → its rows, live or removed: all of schools, academic_sessions, classes,
            people and guardian_links, of the others at least those in `steps`.
        steps: Published table → the rows that were touched since, each with what was done to it, the
            earliest first.
        names: provider_id → its present name, which `provider` always is.
        only: The one school that is set back; None for all.
    """
    back = _Back(now, steps, names)
    if only is not None:
        back.narrow(only)
    return Difference([change for kind in KEYS for change in back.changes(kind)])


class _Back:
    def __init__(
        self,
        now: Mapping[str, Table],
        steps: Mapping[str, Mapping[Key, Sequence[Step]]],
        names: Mapping[int, str],
    ) -> None:
        self.now, self.steps, self.names = now, steps, names
        self.then: dict[str, dict[Key, Row]] = {
            kind: {
                key: self._target(kind, now[kind][key], since[0][1])
                for key, since in steps.get(kind, {}).items()
                if key in now[kind]
            }
            for kind in KEYS
        }
        for kind, columns in _PEOPLE.items():
            self.then[kind] = {
                key: row
                for key, row in self.then[kind].items()
                if all((row[column],) in now["people"] for column in columns)
            }

    def _target(self, kind: str, row: Row, was: Row | None) -> Row:
        if was is None:
            return {**row, "removed_at": row["removed_at"] or NOW}
        then = {name: was.get(name, "") for name in row}
        if was.get("removed_at"):
            then["removed_at"] = row["removed_at"] or NOW
        if "provider" in then:
            then["provider"] = self.names.get(then["provider_id"], then["provider"])
        if kind == "people" and (then["merged_into"],) not in self.now["people"]:
            then["merged_into"] = ""
        return then

    def after(self, kind: str, key: Key) -> Row | None:
        """The row as it becomes, touched or not; None where there is none."""
        return self.then[kind].get(key) or self.now[kind].get(key)

    def is_live(self, kind: str, key: Key) -> bool:
        """Whether the row is live afterwards."""
        row = self.after(kind, key)
        return row is not None and not row["removed_at"]

    # ------------------------------------------------------------------ what changes, and where

    def changes(self, kind: str) -> Iterator[Change]:
        for key, then in sorted(self.then[kind].items()):
            now = self.now[kind][key]
            if then != now:
                schools = self._schools(kind, now, then)
                yield Change(kind, key, now, then, schools, self.steps[kind][key])

    def _schools(self, kind: str, now: Row, then: Row) -> frozenset[str]:
        live = [row for row in (now, then) if not row["removed_at"]]
        if _told(kind, now) == _told(kind, then):
            return frozenset()
        if kind == "people":
            held = [_roles(row) for row in live]
            values = [{**row, "roles": ""} for row in live]
            if len(live) == 2 and values[0] == values[1]:  # only the roles differ: where they do
                return frozenset(school for _, school in held[0] ^ held[1])
            return _some({school for pairs in held for _, school in pairs if school})
        if kind == "academic_sessions":
            return _some({school for row in live for school in self.naming.get(row["session_id"], ())})
        if kind == "memberships":
            return _some(self._school_of_class((then["class_id"],)))
        if kind in _PEOPLE:
            column = _PEOPLE[kind][0]
            return _some({school for row in live for school in self._schools_of((row[column],))})
        return frozenset({row["school_id"] for row in live})

    def _school_of_class(self, key: Key) -> set[str]:
        found = (self.now["classes"].get(key), self.then["classes"].get(key))
        return {row["school_id"] for row in found if row is not None and row["school_id"]}

    def _schools_of(self, person: Key) -> set[str]:
        """The schools at which somebody has a role, now or afterwards."""
        found = (self.now["people"].get(person), self.then["people"].get(person))
        return {
            school
            for row in found
            if row is not None and not row["removed_at"]
            for _, school in _roles(row)
            if school
        }

    @cached_property
    def naming(self) -> dict[str, set[str]]:
        """session_id → the schools whose classes name it, or a session within it, now or afterwards."""
        found: dict[str, set[str]] = defaultdict(set)
        for table in (self.now["classes"], self.then["classes"]):
            for row in table.values():
                if not row["removed_at"]:
                    for session in self._with_parents(row):
                        found[session].add(row["school_id"])
        return found

    def _with_parents(self, row: Row) -> set[str]:
        """The sessions that a class names, and those that these lie in."""
        found: set[str] = set()
        waiting = list(rows.parse_list(row["session_ids"]))
        while waiting:
            session = waiting.pop()
            if session and session not in found:
                found.add(session)
                known = [table["academic_sessions"].get((session,)) for table in (self.now, self.then)]
                waiting += [one["parent_id"] for one in known if one is not None]
        return found

    # ------------------------------------------------------------------ one school alone

    def narrow(self, school: str) -> None:
        """Leaves of what would change what belongs to one school; no row of another one changes."""
        whole, offered = dict(self.then), dict(self.then["people"])
        self.then["schools"] = _those(whole["schools"], lambda key, _: key == (school,))
        mine = {key for key in self.now["classes"] if self._school_of_class(key) == {school}}
        self.then["classes"] = _those(whole["classes"], lambda key, _: key in mine)
        alone = {key for key in offered if self._is_of(key, school)}
        several = {key for key in offered if school in self._schools_of(key)} - alone
        students = (
            {key: self._schools_of(key) for key in self.now["people"]} if whole["guardian_links"] else {}
        )
        people = {key: offered[key] for key in alone}
        people |= {key: self._only_here(self.now["people"][key], offered[key], school) for key in several}
        self.then["people"] = people

        def comes_along(person: Key) -> bool:
            """Whether somebody is live afterwards: whom a row of the school needs comes back for it."""
            if not self.is_live("people", person) and person in offered and not offered[person]["removed_at"]:
                people[person] = self._only_here(self.now["people"][person], offered[person], school)
            return self.is_live("people", person)

        def is_membership(key: Key, then: Row) -> bool:
            if (then["class_id"],) not in mine:
                return False
            if then["removed_at"]:
                return True
            return self.is_live("classes", (then["class_id"],)) and comes_along((then["person_id"],))

        def is_link(key: Key, then: Row) -> bool:
            at = students[(then["student_id"],)]
            if at != {school} and not (
                school in at and self.now["guardian_links"][key]["removed_at"] and not then["removed_at"]
            ):
                return False
            both = (then["student_id"],), (then["guardian_id"],)
            return bool(then["removed_at"]) or all(list(map(comes_along, both)))  # both, not one of them

        def is_source(key: Key, then: Row) -> bool:
            now = self.now["person_sources"][key]
            if then["removed_at"]:
                return (now["person_id"],) in alone
            owner = (then["person_id"],)
            back = owner in people and self.now["people"][owner]["removed_at"]
            return self.is_live("people", owner) and (owner in alone or bool(back))

        self.then["memberships"] = _those(whole["memberships"], is_membership)
        self.then["guardian_links"] = _those(whole["guardian_links"], is_link)
        # A guardian of another school's student stays, whatever the school says of them.
        stays = {key for key in alone & self._related() if people[key]["removed_at"]}
        people |= {key: self._only_here(self.now["people"][key], offered[key], school) for key in stays}
        alone -= stays
        self.then["person_sources"] = _those(whole["person_sources"], is_source)
        here = [row for key in mine if (row := self.after("classes", key)) and not row["removed_at"]]
        needed = {session for row in here for session in self._with_parents(row)}
        elsewhere = {
            session
            for key, row in self.now["classes"].items()
            if key not in mine and not row["removed_at"]
            for session in self._with_parents(row)
        }

        def is_session(key: Key, then: Row) -> bool:
            if then["removed_at"] or key[0] not in needed:
                return False
            return key[0] not in elsewhere or bool(self.now["academic_sessions"][key]["removed_at"])

        self.then["academic_sessions"] = _those(whole["academic_sessions"], is_session)

    def _related(self) -> set[Key]:
        """Everybody whom a guardian link names that is live afterwards."""
        live = (key for key in self.now["guardian_links"] if self.is_live("guardian_links", key))
        return {(person,) for key in live for person in key}

    def _is_of(self, person: Key, school: str) -> bool:
        """Whether somebody is of this school alone; who has no school is of those of linked students."""
        found = self._schools_of(person)
        if not found:
            links = (self.now["guardian_links"], self.then["guardian_links"])
            found = {
                one
                for key in self._linked.get(person[0], ())
                for table in links
                if key in table and not table[key]["removed_at"]
                for one in self._schools_of((key[0],)) or _NO_SCHOOL
            }
        return found == {school}

    @cached_property
    def _linked(self) -> dict[str, list[Key]]:
        """Guardian → the keys of their links."""
        found: dict[str, list[Key]] = defaultdict(list)
        for key in self.now["guardian_links"]:
            found[key[1]].append(key)
        return found

    @staticmethod
    def _only_here(now: Row, then: Row, school: str) -> Row:
        """Somebody of several schools: with the roles at this one as they were, elsewhere as they are."""
        if now["removed_at"] and then["removed_at"]:
            return now
        was = set() if then["removed_at"] else {pair for pair in _roles(then) if pair[1] in ("", school)}
        if now["removed_at"]:
            return {**then, "roles": _as_roles(was)}
        here = {pair for pair in was if pair[1] == school}
        elsewhere = {pair for pair in _roles(now) if pair[1] != school}
        active = not then["removed_at"] and not then["inactive_since"]
        since = "" if active else now["inactive_since"]
        return {**now, "roles": _as_roles(here | elsewhere), "inactive_since": since}


def _told(kind: str, row: Row | None) -> Row | None:
    """What a row tells, without bookkeeping and what is empty; None for one that is not live."""
    if row is None or row.get("removed_at"):
        return None
    own = _OWN.get(kind)
    return {name: value for name, value in row.items() if value != "" and (own is None or name in own)}


def _those(table: dict[Key, Row], wanted: Any) -> dict[Key, Row]:
    return {key: row for key, row in table.items() if wanted(key, row)}


def _some(schools: set[str]) -> frozenset[str]:
    return frozenset(schools) or _NO_SCHOOL


def _roles(row: Row) -> set[tuple[str, str]]:
    return {(entry["role"], entry["school_id"] or "") for entry in rows.parse_list(row["roles"])}


def _as_roles(pairs: set[tuple[str, str]]) -> str:
    held = [{"role": role, "school_id": school or None} for role, school in sorted(pairs)]
    return orjson.dumps(held, option=orjson.OPT_SORT_KEYS).decode()
