"""Why a hold looks as it does: the pattern that the removals show, with its evidence, in a sentence.

A guess for whoever has to decide, and nothing that decides by itself. Without a pattern nothing is said.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Final

import pandas as pd

from roster_pipeline.rosters import rows
from roster_pipeline.rosters.changes import KEYS
from roster_pipeline.rosters.holds import Hold
from roster_pipeline.rosters.source import Published, Source, Tonight

_MOST: Final = 0.8
_HALF: Final = 0.5
_SOON: Final = dt.timedelta(days=31)
_COLLECTION: Final = {
    "classes": "classes", "memberships": "enrollments", "people": "users", "guardian_links": "users",
}  # fmt: skip

_CARRIES: Final = {
    "classes": ("school",),
    "memberships": ("user", "class", "role"),
    "people": ("roles",),
    "guardian_links": ("agents",),
}
"""Columns of that collection without which there is no row of the kind."""


def why(
    held: Sequence[Hold],
    published: Published,
    tables: Mapping[str, pd.DataFrame],
    sources: Sequence[Source],
    tonight: Tonight,
) -> list[str]:
    """Of each hold a sentence, or "".

    Args:
        held: What waits.
        published: The roster as it was.
        tables: As `plan.Roster.tables`: the roster as it will be.
        sources: Tonight's, to tell what was read.
        tonight: For the date.
    """
    if not held:  # nearly every night
        return []
    patterns = _Patterns(held, published, tables, sources, tonight)
    return [next(patterns.of(one), "") for one in held]


class _Patterns:
    def __init__(
        self,
        held: Sequence[Hold],
        published: Published,
        tables: Mapping[str, pd.DataFrame],
        sources: Sequence[Source],
        tonight: Tonight,
    ) -> None:
        self.published, self.tables, self.sources, self.tonight = published, tables, sources, tonight
        self.schools = Counter(kind for kind, _ in {(one.kind, one.school_id) for one in held})
        self.old_classes = {row.class_id: row for row in rows.each(published.classes)}

    def of(self, one: Hold) -> Iterator[str]:
        """The patterns that the hold shows, the most telling first."""
        yield from self._lost_column(one)
        yield from self._written_otherwise(one)
        yield from self._cut(one)
        yield from self._new_ids(one)
        yield from self._ends_soon(one)
        yield from self._everywhere(one)
        yield from self._one_role(one)
        yield from self._replaced(one)

    def _lost_column(self, one: Hold) -> Iterator[str]:
        """What the kind's rows are told by, and no row of a provider has tonight."""
        collection = _COLLECTION[one.kind]
        for source in self.sources:
            frame = source.frames[collection]
            for column in _CARRIES[one.kind]:
                if len(frame) and not (frame[column] != "").any():
                    yield (
                        f"No row of {source.name}'s {collection} has a value of {column}: the export may "
                        "have another format or header now."
                    )

    def _written_otherwise(self, one: Hold) -> Iterator[str]:
        """Ids that are the same but for letter case, leading zeros or punctuation."""
        if one.kind not in ("classes", "people"):
            return
        gone = {key[0] for key in one.keys}
        again: set[str] = set()
        for source in self.sources:
            before = self._ids_of(one.kind, source)
            ids = set(source.frames[_COLLECTION[one.kind]]["sourcedId"].tolist())
            now = {_bare(source_id) for source_id in ids - before.keys()}
            again |= {key for source_id, key in before.items() if key in gone and _bare(source_id) in now}
        if len(again) >= _HALF * one.count:
            yield (
                f"{len(again)} of them came under ids that differ only in letter case, leading zeros or "
                "punctuation: the system writes its ids in another format now."
            )

    def _ids_of(self, kind: str, source: Source) -> dict[str, str]:
        """The class_id or person_id of each sourcedId of a provider of which something is published."""
        table, key = (
            (self.published.classes, "class_id")
            if kind == "classes"
            else (self.published.live_links, "person_id")
        )
        return dict(rows.keys(table[table["provider_id"] == source.provider_id], "source_id", key))

    def _cut(self, one: Hold) -> Iterator[str]:
        """An answer that ends with a full page may be one whose next page was never given."""
        collection = _COLLECTION[one.kind]
        for source in self.sources:
            count, page = len(source.frames[collection]), source.options.page_size
            if source.options.endpoint_url and count and count % page == 0:
                yield (
                    f"{source.name} sent exactly {count:,} {collection}, which is whole pages of {page:,}: "
                    "a page may be missing."
                )

    def _new_ids(self, one: Hold) -> Iterator[str]:
        if one.kind != "classes":
            return
        came = {
            (row.title.casefold(), row.class_code)
            for row in rows.each(self._added("classes"))
            if row.school_id == one.school_id
        }
        gone = [self.old_classes[class_id] for (class_id,) in one.keys]
        again = sum((row.title.casefold(), row.class_code) in came for row in gone)
        if again >= _HALF * one.count:
            yield (
                f"{again} of them are called like classes that came under other ids, at another time of the "
                "year or more than once: the system may have been set up anew."
            )

    def _ends_soon(self, one: Hold) -> Iterator[str]:
        if one.kind not in ("classes", "memberships"):
            return
        limit = (self.tonight.as_of + _SOON).isoformat()
        ends = [self.old_classes[key[0]].end_date for key in one.keys if key[0] in self.old_classes]
        soon = [end for end in ends if end and end <= limit]
        if len(soon) >= _MOST * one.count:
            what = "of them end" if one.kind == "classes" else "of them are of classes that end"
            yield f"{len(soon)} {what} by {max(soon)}: the system may have closed its term early."

    def _everywhere(self, one: Hold) -> Iterator[str]:
        count, of = self.schools[one.kind], len(self.published.schools)
        if count >= 2 and count >= _HALF * of:
            yield (
                f"The same waits at {count} of {of} schools: what the app is given may have been changed, or "
                "the export is not whole."
            )

    def _one_role(self, one: Hold) -> Iterator[str]:
        if one.kind != "people":
            return
        here: dict[str, set[str]] = defaultdict(set)
        for row in rows.each(self.published.people[self.published.people["removed"] != "true"]):
            for held in rows.parse_list(row.roles):
                if (held["school_id"] or "") == one.school_id:
                    here[held["role"]].add(row.person_id)
        gone = {person for (person,) in one.keys}
        for role, people in sorted(here.items()):
            if people == gone and len(here) > 1:
                yield f"They are all that have the role {role}: it may not be shared with the app any more."

    def _replaced(self, one: Hold) -> Iterator[str]:
        came = self._added_at(one.kind)[one.school_id]
        if came >= _HALF * one.count:
            yield f"{came:,} others came at the same time."

    def _added_at(self, kind: str) -> Counter[str]:
        """school_id → how many rows of the kind are new there."""
        added = self._added(kind)
        if kind == "classes":
            return Counter(added["school_id"].tolist())
        if kind == "memberships":
            return Counter(self._school_of.get(class_id, "") for class_id in added["class_id"].tolist())
        of = dict(rows.keys(self.tables["people"], "person_id", "roles"))
        who = added["person_id" if kind == "people" else "student_id"].tolist()
        return Counter(
            school
            for person in who
            for school in {held["school_id"] or "" for held in rows.parse_list(of.get(person, ""))}
        )

    def _added(self, kind: str) -> pd.DataFrame:
        table = self.tables[kind]
        return table[~rows.are_in(table, getattr(self.published, kind), *KEYS[kind])]

    @cached_property
    def _school_of(self) -> dict[str, str]:
        return dict(rows.keys(self.tables["classes"], "class_id", "school_id"))


def _bare(source_id: str) -> str:
    """An id without what formats differ in; what is nothing else stays as it is."""
    return "".join(filter(str.isalnum, source_id)).casefold().lstrip("0") or source_id
