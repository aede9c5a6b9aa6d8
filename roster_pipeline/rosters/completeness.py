"""Which schools are complete enough to be published, and why the others are kept back.

One school is judged by itself; all other schools are published (product.md, "Schools"). What can be
wrong with a school's data is in `flaws`; the asset checks report what is decided here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from roster_pipeline.codes import CATALOGUE, Issue, Severity
from roster_pipeline.rosters import rows, undone
from roster_pipeline.rosters.current import Current
from roster_pipeline.rosters.flaws import CODES, Facts
from roster_pipeline.rosters.schools import Schools
from roster_pipeline.rosters.sessions import Sessions
from roster_pipeline.rosters.source import Published, Source, Tonight

COLUMNS = ["school_id", "name", "identifier", "provider_id", "source_id", "state", "code"]
PUBLISHED, KEPT, EXCLUDED, SILENT, RETIRED = "published", "kept", "excluded", "silent", "retired"

_KEEPS_BACK: Severity = "school kept back"


@dataclass(slots=True)
class Completeness:
    """What becomes of each school.

    Attributes:
        schools: `COLUMNS`. `state` is `published`, `kept`, `excluded`, `silent` (none of its
            providers could speak: it stays as it is) or `retired` (all its providers are, or all that
            brought what is published of it).
        issues: One for each flaw of each school, with its `school_id`.
    """

    schools: pd.DataFrame
    issues: list[Issue] = field(default_factory=list)

    @property
    def set_back(self) -> set[str]:
        """The school_ids of those that an undo set back and that wait; "" for those of no school."""
        return undone.schools_in(self.issues)

    def with_state(self, *states: str) -> set[str]:
        """The school_ids in any of these states."""
        return set(self.schools.loc[self.schools["state"].isin(states), "school_id"])


def judge_schools(
    sources: Sequence[Source],
    schools: Schools,
    sessions: Sessions,
    current: Current,
    published: Published,
    tonight: Tonight,
) -> Completeness:
    """The state of every school that any provider has, or that is published."""
    facts = Facts(sources, schools, sessions, current, published, tonight)
    excluded = schools.wholly_excluded()
    waiting = undone.waiting(sources, published, tonight)
    issues: list[Issue] = [waiting.pop("")] if "" in waiting else []
    removing = {source.provider_id for source in sources if source.options.excluded_rosters == "remove"}
    out = []
    for school in _schools(sources, schools.orgs, published):
        state, code = PUBLISHED, ""
        is_kept_out = school.school_id in excluded and school.provider_id not in removing
        if school.school_id in waiting and not is_kept_out:
            state, code = KEPT, undone.CODE
            issues.append(waiting[school.school_id])
        elif school.school_id in excluded:
            state = RETIRED if _is_left_behind(school, published, tonight) else EXCLUDED
        elif school.providers and school.providers <= tonight.retired:
            state = RETIRED
        elif all((who, school.school_id) in schools.excluded for who in school.providers & facts.speaking):
            state = SILENT
        elif school.school_id not in facts.with_rows:
            if not school.was_published:
                issues.append(_issue("RS-SAFE-12", "An org has no rows.", school))
                continue
            if _is_left_behind(school, published, tonight):
                state = RETIRED
            else:
                state, code = KEPT, "RS-SAFE-11"
                issues.append(_issue(code, "All rows of the school vanished.", school))
        else:
            for flaw in facts.flaws(school.school_id, school.providers):
                keeps = flaw.what in tonight.keeps_back
                found = CODES[flaw.what]
                issues.append(_issue(found, flaw.message, school, flaw.count, _judged(found, keeps=keeps)))
                if keeps and state == PUBLISHED:
                    state, code = KEPT, found
        out.append((school.school_id, school.name, school.identifier, school.provider_id,
                    school.source_id, state, code))  # fmt: skip
    states = pd.DataFrame(out, columns=COLUMNS).astype(
        {name: "int64" if name == "provider_id" else "str" for name in COLUMNS}
    )
    return Completeness(states, issues)


@dataclass(slots=True)
class _School:
    school_id: str
    name: str
    identifier: str
    provider_id: int
    source_id: str
    providers: set[int]
    was_published: bool


def _is_left_behind(school: _School, published: Published, tonight: Tonight) -> bool:
    """Whether all that is published of a school came from providers that are retired by now.

    Those that are left may list it, or exclude it: nothing of theirs vanishes with it.
    """
    if not school.was_published or not school.providers & tonight.retired:
        return False
    classes, links = published.classes, published.live_links
    seen = links["seen"].str.contains(school.school_id, regex=False)  # roles with their schools
    theirs = {
        *classes.loc[classes["school_id"] == school.school_id, "provider_id"].tolist(),
        *links.loc[seen, "provider_id"].tolist(),
    }
    return theirs <= tonight.retired


def _issue(code: str, message: str, school: _School, count: int = 1, judged: Severity | None = None) -> Issue:
    return Issue(code, message, school=school.name, count=count, school_id=school.school_id, judged=judged)


def _judged(code: str, *, keeps: bool) -> Severity | None:
    """The severity of a flaw where the tenant's settings make it another than the catalogue's."""
    usual = CATALOGUE[code].severity
    if keeps:
        return None if usual == _KEEPS_BACK else _KEEPS_BACK
    return "warning" if usual == _KEEPS_BACK else None


def _schools(sources: Sequence[Source], orgs: pd.DataFrame, published: Published) -> Iterator[_School]:
    """Every school of tonight and every published one, named by its strongest provider."""
    strength = {source.provider_id: source.strength for source in sources}
    orgs = orgs[orgs["school_id"] != ""]
    order = orgs["provider_id"].map(strength)
    mine: dict[str, list[Any]] = defaultdict(list)
    for row in orgs.assign(order=order).sort_values(["order", "source_id"]).itertuples():
        mine[row.school_id].append(row)
    links: dict[str, set[int]] = defaultdict(set)
    for row in rows.each(published.school_sources):
        links[row.school_id].add(int(row.provider_id))
    old = {row.school_id: row for row in rows.each(published.schools)}
    for school_id in [*mine, *(key for key in old if key not in mine)]:
        here = mine.get(school_id)
        first: Any = here[0] if here else old[school_id]
        named = {r.provider_id for r in here or []}
        yield _School(
            school_id,
            first.name,
            next((r.identifier for r in here or [first] if r.identifier), ""),
            int(first.provider_id),
            first.source_id,
            named | links[school_id],
            school_id in old,
        )
