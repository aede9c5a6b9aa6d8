"""What a sync tells: its status, the guides' counts, and one line for each cause.

The document made here is the contract's `sync --json`; the ledger, the UI and the terminal show it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import pandas as pd

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
        late = overrides.get(name, {})
        counted = Counter(
            (provider_id, reason or late.get((provider_id, source_id), ""))
            for provider_id, source_id, reason in rows.keys(frame, "provider_id", "source_id", "reason")
        )
        for (provider_id, why), count in counted.most_common():
            told = out[provider_id][name]
            told["read"] += count
            if why:
                told["dropped"][why] = count
            else:
                told["kept"] += count
    return out


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
    users = current.users[~rows.among(current.users["reason"], rows.NAMELESS)]
    later = identities.users
    reasons = [
        why or later.get((who, user), "")
        for who, user, why in rows.keys(users, "provider_id", "source_id", "reason")
    ]
    dropped = users[["provider_id", "source_id"]].assign(
        outcome=DROPPED, reason=pd.Series(reasons, index=users.index, dtype="str"), evidence="", person_id=""
    )
    found = identities.outcomes.drop_duplicates(["provider_id", "source_id"])
    unmatched = found["outcome"] == "unmatched"
    found = found.assign(
        reason=found["reason"].where(unmatched, found["why"]),
        evidence=found["candidates"].where(unmatched, found["reason"]),
    )
    return rows.stacked([found, dropped[dropped["reason"] != ""]], list(OUTCOMES))


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
    here = set(rows.keys(now, "provider_id", "source_id"))
    proven = {source.provider_id: source.proven("users") for source in sources if source.usable}
    out = []
    for who, user, outcome, was, _, person in rows.keys(before, *OUTCOMES):
        if (who, user) in here or not (who in proven or who in retired):
            continue
        why = (NOT_SENT if proven[who] else NOT_PROVEN) if who in proven else PROVIDER_RETIRED
        if outcome == GONE and (was == why or why == NOT_PROVEN):
            continue  # what was once proven stays so
        if (outcome, was, why) == (DROPPED, LEFT, NOT_PROVEN):
            continue  # and who had left has left
        out.append((who, user, GONE, why, "", person))
    frame = pd.DataFrame(out, columns=list(OUTCOMES))
    return frame.astype({name: "int64" if name == "provider_id" else "str" for name in OUTCOMES})


def report(
    found: Found, changes: dict[str, Changes], durations: dict[int, float], issues: Sequence[Issue]
) -> dict[str, Any]:
    """The contract's members that follow from the rules, from `status` to `issues`."""
    status, why = status_of(found, issues)
    people = _outcomes(found)
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
            **_guide_counts(people, len(tables["classes"])),
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
                **_guide_counts(
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


def _outcomes(found: Found) -> pd.DataFrame:
    """One row a provider person, with `person` (an id, or the user's), student, teacher and schools."""
    outcomes = found.identities.outcomes
    users = found.current.users
    at = dict(zip(rows.keys(users, "provider_id", "source_id"), users["schools"].tolist(), strict=True))
    schools: dict[tuple[int, str], set[str]] = defaultdict(set)
    for provider_id, source_id, one_with in rows.keys(outcomes, "provider_id", "source_id", "one_with"):
        schools[provider_id, one_with].update(rows.parse_list(at.get((provider_id, source_id), "")))
    people = outcomes.drop_duplicates(["provider_id", "one_with"])
    who = people["person_id"].where(people["person_id"] != "", "user " + people["one_with"])
    return people.assign(
        person=who,
        student=people["roles"].str.contains('"student"', regex=False),
        teacher=people["roles"].str.contains('"teacher"', regex=False),
        schools=[rows.as_list(sorted(schools[key])) for key in rows.keys(people, "provider_id", "one_with")],
    ).drop_duplicates(["provider_id", "person"])


_COUNTED: Final = ("outcome", "person", "student", "teacher")


def _guide_counts(people: pd.DataFrame, classes: int) -> dict[str, int]:
    return _counts(rows.keys(people, *_COUNTED), classes)


def _counts(people: Iterable[tuple[str, str, bool, bool]], classes: int) -> dict[str, int]:
    """The guide's counts of (outcome, person, student, teacher), a tuple a person of a provider."""
    unmatched, met = 0, {(what, who): set[str]() for what in ("matched", "created") for who in ("s", "t", "")}
    for what, person, student, teacher in people:
        if what == "unmatched":
            unmatched += 1
            continue
        met[what, ""].add(person)
        if student:
            met[what, "s"].add(person)
        if teacher:
            met[what, "t"].add(person)
    return {
        "unmatched_users": unmatched,
        "matched_students": len(met["matched", "s"]),
        "matched_teachers": len(met["matched", "t"]),
        "imported_classes": classes,
        "created_students": len(met["created", "s"]),
        "created_teachers": len(met["created", "t"]),
        "created_users": len(met["created", ""]),
    }


def roster_counts(tables: Mapping[str, pd.DataFrame]) -> dict[str, int]:
    """How many people, by role, and what belongs to them, these published tables hold."""
    people = tables["people"]
    active = people[people["inactive_since"] == ""]
    holds = Counter({text: int(count) for text, count in active["roles"].value_counts().items()})
    by_role: Counter[str] = Counter()
    for text, count in holds.items():
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
    counts = Counter(people["outcome"])
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
    memberships = Counter(school_of[class_id] for class_id in tables["memberships"]["class_id"].tolist())
    by_school: dict[str, list[int]] = defaultdict(list)
    for place, text in enumerate(people["schools"].tolist()):
        for school in rows.parse_list(text):
            by_school[school].append(place)
    counted = list(rows.keys(people, *_COUNTED))
    flaws: dict[str | None, Counter[str]] = defaultdict(Counter)
    for issue in found.completeness.issues:
        flaws[issue.school_id][issue.code] += issue.count
    return [
        {
            "school_id": row.school_id,
            "name": row.name,
            "state": _STATES.get(row.state, row.state if failed is None else school_states.KEPT),
            "code": row.code or ("RS-PRV-02" if row.state == school_states.SILENT else failed),
            **_counts((counted[place] for place in by_school[row.school_id]), classes[row.school_id]),
            "memberships": memberships[row.school_id],
            "flaws": dict(flaws[row.school_id]),
            "known_as": {name: sorted(told) for name, told in known_as[row.school_id].items()},
        }
        for row in rows.each(found.completeness.schools)
        if row.state != school_states.RETIRED
    ]
