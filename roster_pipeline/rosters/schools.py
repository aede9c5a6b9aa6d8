"""Which orgs are schools, which schools of several providers are one, and which are excluded.

Whether a school's data are complete is in `completeness`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pandas as pd

from roster_pipeline.codes import Issue
from roster_pipeline.rosters import rows
from roster_pipeline.rosters.source import Published, Source, Tonight, new_id

COLUMNS = ["provider_id", "source_id", "reason", "name", "identifier", "school_id"]


@dataclass(slots=True)
class Schools:
    """The schools of tonight.

    Attributes:
        orgs: One row an org: provider_id, source_id, reason, name, identifier, school_id ("" where
            the org is no school).
        excluded: (provider_id, school_id) that the provider's options exclude.
        limited: provider_id → the school_ids that `limit_to` admits; absent without such a limit.
        unread: (provider_id, school_id) of the schools of providers that say nothing tonight.
    """

    orgs: pd.DataFrame
    excluded: set[tuple[int, str]] = field(default_factory=set)
    limited: dict[int, set[str]] = field(default_factory=dict)
    unread: set[tuple[int, str]] = field(default_factory=set)
    issues: list[Issue] = field(default_factory=list)

    def by_org(self) -> dict[tuple[int, str], str]:
        """(provider_id, org) → school_id, "" for an org that is no school."""
        return {
            (row.provider_id, row.source_id): row.school_id
            for row in rows.each(self.orgs)
            if row.reason in ("", "excluded_school", "not_a_school")
        }

    def wholly_excluded(self) -> set[str]:
        """Schools that every provider excludes that has them.

        One that was not read tonight still has its schools: what it brought must not go, nor lose its
        hold, because a provider beside it excludes the school.
        """
        having: dict[str, set[int]] = {}
        for provider_id, school_id in self.unread:
            having.setdefault(school_id, set()).add(provider_id)
        for row in rows.each(self.orgs):
            if row.school_id:
                having.setdefault(row.school_id, set()).add(row.provider_id)
        excluding: dict[str, set[int]] = {}
        for provider_id, school_id in self.excluded:
            excluding.setdefault(school_id, set()).add(provider_id)
        return {school for school, who in excluding.items() if having.get(school, set()) <= who}


@dataclass(slots=True)
class _School:
    school_id: str
    name: str
    identifier: str
    providers: set[int]


def find_schools(sources: Sequence[Source], published: Published, tonight: Tonight) -> Schools:
    """Finds the schools among the orgs of all sources, strongest first.

    Schools of two providers are one when their non-empty identifiers are equal or, where one of
    them has none, when their names are (product.md, "Schools"). What was found before is kept by
    `school_sources`, unless the identifiers contradict it by now.
    """
    links = published.schools_by_org()
    usable = [source for source in sources if source.usable]
    known = _published_schools(published, links, {source.provider_id for source in usable})
    frames = []
    for source in usable:
        frames.append(_schools_of(source, links, known, tonight))
    orgs = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=COLUMNS)
    silent = {source.provider_id for source in sources} - {source.provider_id for source in usable}
    found = Schools(orgs, unread={(who, school) for (who, _), school in links.items() if who in silent})
    for source in usable:
        _apply_options(source, found, published)
    gone = pd.Series(list(rows.keys(orgs, "provider_id", "school_id")), index=orgs.index)
    orgs.loc[gone.isin(found.excluded) & (orgs["reason"] == ""), "reason"] = "excluded_school"
    return found


def _published_schools(
    published: Published, links: dict[tuple[int, str], str], present: set[int]
) -> dict[str, _School]:
    """Published schools by id; of the providers only those that cannot speak tonight."""
    schools = {
        row.school_id: _School(row.school_id, row.name, row.identifier, set())
        for row in rows.each(published.schools)
    }
    for (provider_id, _), school_id in links.items():
        if school_id in schools and provider_id not in present:
            schools[school_id].providers.add(provider_id)
    return schools


def _schools_of(
    source: Source, links: dict[tuple[int, str], str], known: dict[str, _School], tonight: Tonight
) -> pd.DataFrame:
    frame = source.frames["orgs"]
    orgs = pd.DataFrame(
        {
            "provider_id": source.provider_id,
            "source_id": frame["sourcedId"],
            "reason": rows.reasons(frame),
            "name": frame["name"],
            "identifier": frame["identifier"],
            "school_id": "",
        }
    )
    schools = _school_orgs(source, orgs, frame)
    orgs.loc[(orgs["reason"] == "") & ~orgs.index.isin(schools), "reason"] = "not_a_school"
    # Links first: what they decide must not be taken by a look-alike that comes earlier.
    undecided = []
    for index in schools:
        row = orgs.loc[index]
        linked = links.get((source.provider_id, row["source_id"]))
        school = known.get(linked) if linked else None
        if school is not None and (not school.providers or _agree(school.identifier, row["identifier"])):
            _take(orgs, index, source, school)
        else:
            undecided.append((index, linked))
    for index, linked in undecided:
        row = orgs.loc[index]
        school = _same(row["name"], row["identifier"], source.provider_id, known)
        if school is None:
            school_id = linked or new_id(tonight.tenant, source.provider_id, "school", row["source_id"])
            if school_id in known:  # the linked one is somebody else's by now
                school_id = new_id(
                    tonight.tenant, source.provider_id, "school", row["source_id"], tonight.sync_id
                )
            school = known[school_id] = _School(school_id, row["name"], row["identifier"], set())
        _take(orgs, index, source, school)
    return orgs


def _take(orgs: pd.DataFrame, index: int, source: Source, school: _School) -> None:
    if not school.providers:  # the strongest provider that has it names it
        school.name, school.identifier = orgs.at[index, "name"], orgs.at[index, "identifier"]
    school.identifier = school.identifier or orgs.at[index, "identifier"]
    school.providers.add(source.provider_id)
    orgs.at[index, "school_id"] = school.school_id


def _agree(one: str, other: str) -> bool:
    return not one or not other or one == other


def _same(name: str, identifier: str, provider_id: int, known: dict[str, _School]) -> _School | None:
    """The one school that this org is, among those that the provider does not have yet."""
    free = [school for school in known.values() if provider_id not in school.providers]
    same = [school for school in free if identifier and school.identifier == identifier]
    if not same:
        same = [
            school
            for school in free
            if name and school.name == name and not (identifier and school.identifier)
        ]
    return same[0] if len(same) == 1 else None


def _school_orgs(source: Source, orgs: pd.DataFrame, frame: pd.DataFrame) -> list[int]:
    """Index of the orgs that are schools: type `school`, else the leaves that classes name.

    Some servers send every school as a department (oneroster.md §1.5).
    """
    usable = orgs["reason"] == ""
    schools = list(orgs.index[usable & (frame["type"].str.lower() == "school")])
    if not schools:
        named = set(source.frames["classes"]["school"].unique()) | set(
            source.frames["enrollments"]["school"].unique()
        )
        parents = set(frame["parent"])
        leaf = ~frame["sourcedId"].isin(parents) & frame["sourcedId"].isin(named)
        schools = list(orgs.index[usable & leaf])
    return schools


def _apply_options(source: Source, found: Schools, published: Published) -> None:
    orgs = found.orgs
    mine = orgs[(orgs["provider_id"] == source.provider_id) & (orgs["school_id"] != "")]
    names: dict[str, set[str]] = {}
    for row in rows.each(mine):
        for name in (row.source_id, row.identifier, row.name, row.school_id):
            if name:
                names.setdefault(name, set()).add(row.school_id)
    sent = set(mine["school_id"].tolist())
    for row in rows.each(published.schools[published.schools["provider_id"] == source.provider_id]):
        if row.school_id not in sent:  # excluded, and no longer sent
            for name in (row.source_id, row.identifier, row.name, row.school_id):
                if name:
                    names.setdefault(name, set()).add(row.school_id)
    options = source.options
    for name in options.exclude_schools:
        found.excluded |= {(source.provider_id, school) for school in names.get(name, ())}
    if options.limit_to.schools:
        admitted = (names.get(name, set()) for name in options.limit_to.schools)
        found.limited[source.provider_id] = set().union(*admitted)
    for option, given in (
        ("exclude_schools", options.exclude_schools),
        ("limit_to.schools", options.limit_to.schools),
    ):
        for name in given:
            if name not in names:
                found.issues.append(
                    Issue(
                        "RS-REF-02",
                        f"{option} names “{name}”, which fits no school of {source.name}"
                        + _near(name, names)
                        + ".",
                        provider=source.name,
                    )
                )


def _near(name: str, spellings: Iterable[str]) -> str:
    """Near spellings, for a message: "; near: …", or nothing."""
    folded = {spelling.casefold(): spelling for spelling in spellings if spelling}
    near = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.75)
    return f"; near spellings: {', '.join(folded[spelling] for spelling in near)}" if near else ""
