"""What a sync tells: its status, the guides' counts, and one line for each cause.

The document made here is the contract's `sync --json`; the ledger, the UI and the terminal show it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from roster_pipeline.codes import Issue
from roster_pipeline.oneroster import vocabulary
from roster_pipeline.oneroster.collections import COLLECTIONS
from roster_pipeline.rosters import completeness as school_states
from roster_pipeline.rosters import rows, undone
from roster_pipeline.rosters.changes import TOLD, Changes
from roster_pipeline.rosters.completeness import Completeness
from roster_pipeline.rosters.current import Current
from roster_pipeline.rosters.identities import Identities
from roster_pipeline.rosters.plan import Roster
from roster_pipeline.rosters.schools import Schools
from roster_pipeline.rosters.sessions import Sessions
from roster_pipeline.rosters.source import Source
from roster_pipeline.rosters.statuses import FAILED, MAKE_PARTIAL, PARTIAL, SUCCESSFUL

_FAILS: Final = "sync failed"
_SEVERITIES: Final = (_FAILS, "school kept back", "warning", "note")
# Classes stay as published although the rows say otherwise, or whole schools, because they were set back.
_WAITING = {"RS-SES-02", undone.CODE}


@dataclass(frozen=True, slots=True)
class Found:
    """Everything that the rules found in one sync."""

    sources: Sequence[Source]
    schools: Schools
    sessions: Sessions
    current: Current
    completeness: Completeness
    identities: Identities
    roster: Roster
    directories_ok: bool = True


def ordered(issues: Iterable[Issue]) -> list[Issue]:
    """The worst first, and what makes a sync partial before what does not.

    The first one's code is the run's tag.
    """
    return sorted(
        issues, key=lambda issue: (_SEVERITIES.index(issue.severity), issue.code not in MAKE_PARTIAL)
    )


def status_of(found: Found, issues: Iterable[Issue]) -> tuple[str, list[Issue]]:
    """The sync's status (product.md, "What a sync tells"), and an issue that says why it failed."""
    states = Counter(found.completeness.schools["state"])
    if not any(source.readable for source in found.sources):
        return FAILED, [Issue("RS-PRV-01", "None of the tenant's providers was readable.")]
    held_back = states[school_states.KEPT] + states[school_states.SILENT]
    # What was set back was read, and stays as somebody wants it.
    kept = found.completeness.schools
    kept = kept[kept["state"].isin([school_states.KEPT, school_states.SILENT])]
    set_back = set(kept["code"]) == {undone.CODE}
    if held_back and not states[school_states.PUBLISHED] and not set_back:
        return FAILED, [Issue("RS-PRV-04", "Every school was kept back.", count=held_back)]
    if all(frame.empty for source in found.sources for frame in map(source.frames.__getitem__, COLLECTIONS)):
        return FAILED, [Issue("RS-PRV-05", "All collections are empty.")]
    all_ok = found.directories_ok and all(
        state == "ok" for source in found.sources for state in source.states.values()
    )
    waiting = bool(found.roster.held) or any(issue.code in _WAITING for issue in issues)
    if all_ok and not held_back and not waiting:
        return SUCCESSFUL, []
    # A sync that had trouble and found nothing to publish: the issues beside it say why.
    nothing = found.roster.tables["people"].empty and found.roster.tables["classes"].empty
    return (FAILED if nothing and not set_back else PARTIAL), []


def collections(found: Found) -> dict[int, dict[str, dict[str, Any]]]:
    """provider_id → collection → {state, read, kept, dropped: {reason: n}}; read = kept + dropped."""
    unmatched = found.identities.outcomes
    unmatched = unmatched[unmatched["outcome"] == "unmatched"]
    overrides = {
        **found.roster.dropped,
        "users": {
            **found.roster.dropped["users"],
            **dict.fromkeys(rows.keys(unmatched, "provider_id", "source_id"), "unmatched"),
        },
    }
    frames = {
        "orgs": found.schools.orgs,
        "academicSessions": found.sessions.sessions,
        "courses": found.sessions.courses,
        "classes": found.sessions.classes,
        "users": found.current.users,
        "enrollments": found.current.enrolments,
    }
    out: dict[int, dict[str, dict[str, Any]]] = {
        source.provider_id: {
            name: {"state": source.states[name], "read": 0, "kept": 0, "dropped": {}} for name in COLLECTIONS
        }
        for source in found.sources
    }
    for source in found.sources:
        if not source.usable:
            for name, told in out[source.provider_id].items():
                read = len(source.frames[name]) if source.states[name] != "failed" else 0
                told.update(read=read, dropped={"provider_not_usable": read} if read else {})
    for name, frame in frames.items():
        reasons = frame[["provider_id"]].assign(reason=_reasons(frame, overrides.get(name, {})))
        counted = sorted(
            rows.counted(reasons, "provider_id", "reason"), key=lambda found: found[1], reverse=True
        )
        for (provider_id, why), count in counted:
            told = out[provider_id][name]
            told["read"] += count
            if why:
                told["dropped"][why] = count
            else:
                told["kept"] += count
    return out


def _reasons(frame: pd.DataFrame, late: Mapping[tuple[int, str], str]) -> pd.Series:
    """Why each row was dropped, or ""; `late` are reasons found later, of rows that had none."""
    reason = frame["reason"]
    if not late or frame.empty:
        return reason
    ids = pa.array(list({source_id for _, source_id in late}), pa.large_string())
    may_be = pc.is_in(pa.array(frame["source_id"], pa.large_string()), value_set=ids)
    places = np.flatnonzero(np.asarray(may_be, dtype=bool) & (reason == "").to_numpy(dtype=bool))
    keys = rows.keys(frame[["provider_id", "source_id"]].iloc[places], "provider_id", "source_id")
    codes, names = rows.coded(reason)
    values = {value: len(names) + place for place, value in enumerate(["", *dict.fromkeys(late.values())])}
    codes = codes.astype("int64")
    codes[places] = [values[late.get(key, "")] for key in keys]
    return rows.decoded(codes, [*names.tolist(), *values], frame.index)


OUTCOMES: Final = ("provider_id", "source_id", "outcome", "reason", "evidence", "person_id")
"""The columns of what became of a provider's user.

`outcome` is matched, created, unmatched, dropped or gone, and `reason`, never empty, says why, or what
a match rests on. `evidence` is link, key, returned or new for the matched and created; for an ambiguous
one a JSON array of the person_ids that it could be.
"""
DROPPED, GONE = "dropped", "gone"
LEFT = "left"
NOT_SENT, NOT_PROVEN, PROVIDER_RETIRED = "not_sent", "not_proven", "provider_retired"


def of_every_user(current: Current, identities: Identities) -> pd.DataFrame:
    """One row of `OUTCOMES` for each user of the usable providers that has an id of its own."""
    users = current.users
    reason = _reasons(users, identities.users)
    is_dropped = ~rows.holds(users["reason"], rows.NAMELESS.__contains__)
    is_dropped &= (reason != "").to_numpy(dtype=bool)
    dropped = users.loc[is_dropped, ["provider_id", "source_id"]].assign(
        outcome=DROPPED, reason=reason[is_dropped].astype("str"), evidence="", person_id=""
    )
    found = identities.outcomes.drop_duplicates(["provider_id", "source_id"])
    unmatched = found["outcome"] == "unmatched"
    found = found.assign(
        reason=found["reason"].where(unmatched, found["why"]),
        evidence=found["candidates"].where(unmatched, found["reason"]),
    )
    return rows.stacked([found, dropped], list(OUTCOMES))


def of_gone_users(
    before: pd.DataFrame, now: pd.DataFrame, sources: Sequence[Source], retired: Container[int]
) -> pd.DataFrame:
    """The users of earlier syncs whom no row names any more, as rows of `OUTCOMES`.

    Says nothing of providers that could not be used: nobody knows whom they would have sent.

    Args:
        before: What was remembered, with the columns of `OUTCOMES`.
        now: `of_every_user` of tonight.
        retired: provider_ids that the tenant has retired.
    """
    if before.empty:
        return rows.stacked([], list(OUTCOMES))
    whys = {who: PROVIDER_RETIRED for who in before["provider_id"].unique().tolist() if who in retired}
    for source in sources:
        if source.usable:
            whys[source.provider_id] = NOT_SENT if source.proven("users") else NOT_PROVEN
    is_here = rows.are_in(before, now, "provider_id", "source_id")
    gone = before[before["provider_id"].isin(list(whys)) & ~is_here]
    why = gone["provider_id"].map(whys).astype("str")
    outcome, was = gone["outcome"], gone["reason"]
    unproven = why == NOT_PROVEN
    # What was once proven stays so, and who had left has left.
    stays = (outcome == GONE) & ((was == why) | unproven)
    stays |= (outcome == DROPPED) & (was == LEFT) & unproven
    gone = gone.assign(outcome=GONE, reason=why, evidence="")[~stays]
    return rows.typed(gone[list(OUTCOMES)].reset_index(drop=True))


def report(
    found: Found, changes: dict[str, Changes], durations: dict[int, float], issues: Sequence[Issue]
) -> dict[str, Any]:
    """The contract's members that follow from the rules, from `status` to `issues`."""
    status, why = status_of(found, issues)
    people = _people(found)
    tables = found.roster.tables
    per_provider = collections(found)
    every = ordered([*why, *issues, *_row_issues(found, per_provider)])
    if status == FAILED:  # what may cure it comes after what it is, before all that follows from it
        cures = [one for one in every if one.code == "RS-PRV-06"]
        others = [one for one in every if one.code != "RS-PRV-06"]
        every = [*others[: len(why)], *cures, *others[len(why) :]]
    else:  # what would have failed the sync of a lone provider did not fail this one
        every = [replace(one, judged="warning") if one.severity == _FAILS else one for one in every]
    failed = why[0].code if why and status == FAILED else None
    schools = _schools(found, people, failed)
    states = Counter(school["state"] for school in schools)
    return {
        "status": status,
        "counts": {
            **_of_all(people, len(tables["classes"])),
            **roster_counts(tables),
            "schools_published": states[school_states.PUBLISHED],
            "schools_kept": states[school_states.KEPT],
            "schools_excluded": states[school_states.EXCLUDED],
        },
        "changes": {name: changes[name].counts for name in TOLD},
        "providers": [
            {
                "name": source.name,
                "kind": source.options.kind,
                "status": _provider_status(source),
                "duration_s": round(durations.get(source.provider_id, 0.0), 3),
                **_of_all(
                    people[people["provider_id"] == source.provider_id],
                    int((tables["classes"]["provider_id"] == source.provider_id).sum()),
                ),
                "collections": per_provider[source.provider_id],
                "outcomes": _provider_outcomes(people[people["provider_id"] == source.provider_id]),
            }
            for source in found.sources
        ],
        "schools": schools,
        "issues": [issue.as_json() for issue in every],
    }


def _row_issues(found: Found, per_provider: dict[int, dict[str, dict[str, Any]]]) -> Iterable[Issue]:
    for source in found.sources:
        for code, why, what in (
            ("RS-ROW-01", rows.NO_ID, "rows have no sourcedId"),
            ("RS-ROW-05", rows.DUPLICATE, "rows came more than once"),
        ):
            count = sum(told["dropped"].get(why, 0) for told in per_provider[source.provider_id].values())
            if count:
                yield Issue(code, f"{count} {what}.", provider=source.name, count=count)


def _people(found: Found) -> pd.DataFrame:
    """One row a provider person: provider_id, outcome, reason, student, teacher, person (int64), number.

    Of one person there is one `person`, whoever has them. `number` is that of `_schools_of`.
    """
    outcomes = found.identities.outcomes
    number = _number(outcomes)
    first = ~pd.Series(number).duplicated().to_numpy()
    people = outcomes.loc[first, ["provider_id", "outcome", "reason"]]
    persons, roles = outcomes.loc[first, "person_id"], outcomes.loc[first, "roles"]
    codes, ids = rows.coded(persons)
    alone, _ = rows.coded(outcomes.loc[first, "one_with"])
    return people.assign(
        person=np.where((persons != "").to_numpy(dtype=bool), codes, alone.astype("int64") + len(ids)),
        student=rows.holds(roles, lambda text: '"student"' in text),
        teacher=rows.holds(roles, lambda text: '"teacher"' in text),
        number=number[first],
    ).drop_duplicates(["provider_id", "person"])


def _number(outcomes: pd.DataFrame) -> np.ndarray:
    """The number of the provider person that each row is of."""
    number: np.ndarray = pd.factorize(rows.numbered(outcomes, "provider_id", "one_with"))[0]
    return number


def _schools_of(found: Found, people: pd.DataFrame, schools: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Places of people, and of the schools that each of them is of: each pair once.

    A provider person is of the schools of all their rows.
    """
    outcomes, users = found.identities.outcomes, found.current.users
    users = users.loc[
        ~rows.holds(users["reason"], rows.NAMELESS.__contains__), ["provider_id", "source_id", "schools"]
    ]
    number = _number(outcomes)
    place = np.full(len(outcomes), -1)  # of the row of `people`
    place[people["number"]] = np.arange(len(people))
    place = place[number]
    at = rows.places_in(users, outcomes)
    is_met = (at >= 0) & (place >= 0)
    codes, texts = rows.coded(users["schools"])
    known = {school: number for number, school in enumerate(schools)}
    held = [[known[one] for one in rows.parse_list(text) if one in known] for text in texts.tolist()]
    often = np.array([len(one) for one in held], dtype="int64")
    begin = np.cumsum(often) - often
    every = np.array([one for several in held for one in several], dtype="int64")
    text = codes[at[is_met]]
    many = often[text]
    # The schools of each text lie one after the other in `every`.
    within = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
    school = every[np.repeat(begin[text], many) + within]
    pairs = pd.unique(np.repeat(place[is_met], many) * len(schools) + school)
    return pairs // max(len(schools), 1), pairs % max(len(schools), 1)


def _counts(people: pd.DataFrame, group: np.ndarray, classes: Sequence[int]) -> list[dict[str, int]]:
    """The guide's counts of some groups of people.

    Args:
        people: As `_people` gives them.
        group: The place of the group of each row.
        classes: The number of classes of each group.
    """
    outcome, person = people["outcome"], people["person"].to_numpy()
    most = int(person.max(initial=0)) + 1
    is_new, is_matched = ((outcome == what).to_numpy(dtype=bool) for what in ("created", "matched"))
    student, teacher = people["student"].to_numpy(), people["teacher"].to_numpy()

    def each(groups: np.ndarray) -> list[int]:
        found: list[int] = np.bincount(groups, minlength=len(classes)).tolist()
        return found

    def different(mask: np.ndarray) -> list[int]:
        return each(pd.unique(group[mask] * most + person[mask]) // most)

    counted = {
        "unmatched_users": each(group[(outcome == "unmatched").to_numpy(dtype=bool)]),
        "matched_students": different(is_matched & student),
        "matched_teachers": different(is_matched & teacher),
        "imported_classes": classes,
        "created_students": different(is_new & student),
        "created_teachers": different(is_new & teacher),
        "created_users": different(is_new),
    }
    return [dict(zip(counted, values, strict=True)) for values in zip(*counted.values(), strict=True)]


def _of_all(people: pd.DataFrame, classes: int) -> dict[str, int]:
    """The guide's counts of all these people."""
    (counts,) = _counts(people, np.zeros(len(people), dtype="int64"), [classes])
    return counts


def roster_counts(tables: Mapping[str, pd.DataFrame]) -> dict[str, int]:
    """How many people, by role, and what belongs to them, these published tables hold."""
    people = tables["people"]
    active = people.loc[people["inactive_since"] == "", ["roles"]]
    by_role: Counter[str] = Counter()
    for (text,), count in rows.counted(active, "roles"):
        for role in {entry["role"] for entry in rows.parse_list(text)}:
            by_role["guardian" if vocabulary.is_family(role) else role] += count
    return {
        "people": len(active),
        "students": by_role["student"],
        "teachers": by_role["teacher"],
        "memberships": len(tables["memberships"]),
        "guardians": by_role["guardian"],
        "guardian_links": len(tables["guardian_links"]),
    }


def _provider_status(source: Source) -> str:
    if not source.usable:
        return FAILED
    return SUCCESSFUL if all(state == "ok" for state in source.states.values()) else PARTIAL


def _provider_outcomes(people: pd.DataFrame) -> dict[str, Any]:
    counts = Counter({name: count for (name,), count in rows.counted(people, "outcome")})
    unmatched = people.loc[people["outcome"] == "unmatched", "reason"].value_counts()
    return {
        "matched": counts["matched"],
        "created": counts["created"],
        "unmatched": {str(reason): int(count) for reason, count in unmatched.items()},
    }


_STATES: Final = {
    school_states.SILENT: school_states.KEPT,
    school_states.EXCLUDED: school_states.EXCLUDED,
}


def _schools(found: Found, people: pd.DataFrame, failed: str | None) -> list[dict[str, Any]]:
    """Every school with its counts; `failed` is the code of a sync that published none."""
    tables = found.roster.tables
    names = {source.provider_id: source.name for source in found.sources}
    known_as: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for row in rows.each(found.schools.orgs):
        if row.school_id:
            told = {row.source_id, row.identifier, row.name, row.school_id} - {""}
            known_as[row.school_id][names[int(row.provider_id)]] |= told
    school_of = dict(rows.keys(tables["classes"], "class_id", "school_id"))
    classes = Counter(school_of.values())
    memberships: Counter[str] = Counter()
    for (class_id,), count in rows.counted(tables["memberships"], "class_id"):
        memberships[school_of[class_id]] += count
    schools = [row for row in rows.each(found.completeness.schools) if row.state != school_states.RETIRED]
    ids = [row.school_id for row in schools]
    place, at = _schools_of(found, people, ids)
    counts = _counts(people.iloc[place], at, [classes[school] for school in ids])
    flaws: dict[str | None, Counter[str]] = defaultdict(Counter)
    for issue in found.completeness.issues:
        flaws[issue.school_id][issue.code] += issue.count
    return [
        {
            "school_id": row.school_id,
            "name": row.name,
            "state": _STATES.get(row.state, row.state if failed is None else school_states.KEPT),
            "code": row.code or ("RS-PRV-02" if row.state == school_states.SILENT else failed),
            **counted,
            "memberships": memberships[row.school_id],
            "flaws": dict(flaws[row.school_id]),
            "known_as": {name: sorted(told) for name, told in known_as[row.school_id].items()},
        }
        for row, counted in zip(schools, counts, strict=True)
    ]
