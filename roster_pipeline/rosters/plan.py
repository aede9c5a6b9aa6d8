"""What the published roster becomes tonight: what is added, what changes, what goes, what waits.

A row that is published and not wanted any more goes only for a reason: gone from a complete
extract (counted by the safeguards), ended or left by dates, taken out by the settings, retired.
Without one it stays. The result is the whole roster after the sync; what changed follows from
comparing it with the one before (`changes`).
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson
import pandas as pd

from roster_pipeline.codes import Issue
from roster_pipeline.rosters import completeness as school_states
from roster_pipeline.rosters import identities as fates
from roster_pipeline.rosters import rows, safeguards, suspicions, undone
from roster_pipeline.rosters.changes import KEYS
from roster_pipeline.rosters.columns import are_different
from roster_pipeline.rosters.completeness import Completeness
from roster_pipeline.rosters.current import Current
from roster_pipeline.rosters.holds import REJECTED, Hold, Memory, Place, hold
from roster_pipeline.rosters.identities import Identities
from roster_pipeline.rosters.plain import role_records
from roster_pipeline.rosters.sessions import CURRENT, ENDED, FROZEN, GAP, Sessions
from roster_pipeline.rosters.source import Published, Source, Tonight

if TYPE_CHECKING:
    from roster_pipeline.tenants.document import Safeguards

_DECIDED: Final = {
    REJECTED: ", as was decided, until the source changes.",
    "outdated": "; what was decided before was about other rows.",
}
# Why a published row that is not wanted tonight goes, or stays.
STAYS, COUNTED, SETTLED = "stays", "counted", "settled"


@dataclass(slots=True)
class Roster:
    """The roster after this sync.

    Attributes:
        tables: Published table → all its live rows; columns as in the database, without the tenant
            and the bookkeeping of syncs, all str but `provider_id`.
        dropped: Rows of the extracts that do not stand behind the roster for a reason found here:
            collection → (provider_id, source_id) → reason.
        merged: person_id → merged_into, of people who turned out to be somebody else.
        held: What waits.
        unjudged: Where something waited before and tonight's rows tell nothing: it waits on.
    """

    tables: dict[str, pd.DataFrame]
    dropped: dict[str, dict[tuple[int, str], str]]
    merged: dict[str, str]
    held: list[Hold] = field(default_factory=list)
    unjudged: set[Place] = field(default_factory=set)
    issues: list[Issue] = field(default_factory=list)


def plan(
    sources: Sequence[Source],
    sessions: Sessions,
    current: Current,
    completeness: Completeness,
    identities: Identities,
    published: Published,
    tonight: Tonight,
    limits: Safeguards,
) -> Roster:
    """The roster that follows from tonight's rows and from what is published."""
    return _Plan(sources, sessions, current, completeness, identities, published, tonight, limits).roster()


class _Plan:
    def __init__(
        self,
        sources: Sequence[Source],
        sessions: Sessions,
        current: Current,
        completeness: Completeness,
        identities: Identities,
        published: Published,
        tonight: Tonight,
        limits: Safeguards,
    ) -> None:
        self.by_id = {source.provider_id: source for source in sources}
        self.names = {source.provider_id: source.name for source in sources} | tonight.directories
        self.sessions, self.current, self.completeness = sessions, current, completeness
        self.identities, self.published, self.tonight, self.limits = identities, published, tonight, limits
        states = completeness.schools
        removing = {s.provider_id for s in sources if s.options.excluded_rosters == "remove"}
        taken_out = (states["state"] == school_states.EXCLUDED) & states["provider_id"].isin(removing)
        self.taken_out = set(states.loc[taken_out, "school_id"])
        self.frozen = (
            completeness.with_state(school_states.KEPT, school_states.SILENT, school_states.EXCLUDED)
            - self.taken_out
        )
        # "" where people of no school wait, too.
        self.set_back = completeness.set_back
        self.frozen |= self.set_back
        self.all_read = all(source.usable for source in sources)
        self.retired_schools = completeness.with_state(school_states.RETIRED)
        # What comes back after an exclusion replaces the old roster without a hold.
        again = (published.schools["state"] == "excluded") | (published.schools["included_again"] == "true")
        self.exempt = set(published.schools.loc[again, "school_id"])
        self.school_names = dict(rows.keys(states, "school_id", "name"))
        self.memory = Memory(published.holds, tonight.as_of)
        self.held: list[Hold] = []
        self.approved_people: set[str] = set()
        self.issues: list[Issue] = []
        self.told: Counter[tuple[str, int]] = Counter()  # (code, provider_id) → classes
        self.dropped: dict[str, dict[tuple[int, str], str]] = {
            "classes": {}, "enrollments": {}, "users": dict(identities.users),
        }  # fmt: skip
        merged = identities.merged
        self.merged = dict(rows.keys(merged, "person_id", "merged_into"))
        self.old_memberships, self.old_links = self._following(published)
        links = identities.links
        links = links[rows.among(links["state"], {fates.OUT_OF_SCOPE, fates.LEFT})]
        self.explained = set(rows.keys(links, "provider_id", "person_id"))

    def roster(self) -> Roster:
        """Every table in turn; people before memberships, because what waits there waits here too."""
        fates_, different = rows.coded(self.identities.people["fate"])
        said_ = different.tolist()
        self.fate = dict(
            zip(
                self.identities.people["person_id"].tolist(),
                map(said_.__getitem__, fates_.tolist()),
                strict=True,
            )
        )
        old_people = self._old_people()
        self.held_people = self._held_people(old_people)
        self.grace_ends = {
            person
            for person, record in old_people.items()
            if record["inactive_since"]
            and self.fate.get(person, fates.GONE) not in (fates.LIVE, fates.GUARDIAN)
            and self._after(person, record, self.fate.get(person, fates.GONE)) is None
        }
        classes = self._classes()
        memberships = self._memberships(classes)
        links = self._guardian_links()
        people = self._people(old_people, memberships, classes, links)
        there = set(people["person_id"].tolist())
        tables = {
            "schools": self._schools(),
            "academic_sessions": self._academic_sessions(classes),
            "classes": classes,
            "people": people,
            "person_sources": self._person_sources(there),
            "memberships": _of(memberships, there, "person_id"),
            "guardian_links": _of(links, there, "student_id", "guardian_id"),
        }
        for name, table in tables.items():
            if "provider" in getattr(self.published, name).columns:
                table["provider"] = self._named(table)
        said = {
            "RS-SES-02": "classes stay as published, because their sessions vanished or were changed",
            "RS-SES-04": "classes ended with their last session",
        }
        self.issues += [
            Issue(code, f"{count} {said[code]}.", provider=self.names[who], count=count)
            for (code, who), count in sorted(self.told.items())
            if count
        ]
        held = self._explained(tables)
        return Roster(tables, self.dropped, self.merged, held, self._unjudged(), self.issues)

    def _named(self, table: pd.DataFrame) -> pd.Series:
        """The names of the rows' providers as they are called today; as they were where one is gone."""
        codes, ids = pd.factorize(table["provider_id"])
        names = [self.names.get(int(who)) for who in ids]
        named = table["provider"]
        if None not in names:
            told = [name or "" for name in names]
            if isinstance(named.dtype, pd.CategoricalDtype):
                return rows.decoded(codes, told, table.index)
            return pd.Series(pd.array(told, dtype="str").take(codes), index=table.index)
        for place, name in enumerate(names):
            named = rows.mapped_where(named, codes == place, name) if name is not None else named
        return named

    def _following(self, published: Published) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Published memberships and guardian links, those of joined people under the id that stays."""
        memberships, links = published.memberships, published.guardian_links
        if self.merged:
            memberships, links = memberships.copy(), links.copy()
            for frame, column in ((memberships, "person_id"), (links, "student_id"), (links, "guardian_id")):
                frame[column] = [self.merged.get(person, person) for person in frame[column].tolist()]
            memberships = memberships.drop_duplicates(["class_id", "person_id", "role"])
            links = links[links["student_id"] != links["guardian_id"]]
            links = links.drop_duplicates(["student_id", "guardian_id"])
        return memberships.reset_index(drop=True), links.reset_index(drop=True)

    # ------------------------------------------------------------------ waiting

    def _wait(self, kind: str, missing: pd.DataFrame, totals: Counter[str]) -> set[int]:
        """The index of the rows in `missing` that wait.

        Args:
            missing: Columns `cause` and `schools` (a list of school_ids a row).
            totals: school_id → its published rows of the kind.
        """
        going: dict[str, list[int]] = defaultdict(list)
        settled: Counter[str] = Counter()
        for index, cause, schools in zip(
            missing.index, missing["cause"].tolist(), missing["schools"].tolist(), strict=True
        ):
            for school in schools or [""]:
                if cause == COUNTED:
                    going[school].append(index)
                elif cause == SETTLED:
                    settled[school] += 1
        waiting: set[int] = set()
        for school, indices in sorted(going.items()):
            if school not in self.exempt | self.taken_out:
                place = (kind, school, "")
                total = self.memory.total(place, totals[school])
                code = safeguards.waits_in_school(len(indices), total, settled[school], self.limits)
                waiting |= self._hold(place, code, missing, indices, total)
        return waiting

    def _hold(
        self, place: Place, code: str | None, missing: pd.DataFrame, indices: list[int], total: int
    ) -> set[int]:
        """The index of those of these rows that wait; what was approved is as good as explained."""
        if not code:
            return set()
        found = hold(place, code, rows.keys(missing.loc[indices], *KEYS[place[0]]), total)
        if self.memory.approves(found):
            missing.loc[indices, "cause"] = SETTLED
            return set()
        self.held.append(found)
        return set(indices)

    def _explained(self, tables: dict[str, pd.DataFrame]) -> list[Hold]:
        """What waits, each with the pattern that it shows; and an issue for each."""
        # What was added when they began to wait is no news any more: the pattern of then is remembered.
        new = [found for found in self.held if self.memory.why(found) is None]
        sources = list(self.by_id.values())
        patterns = suspicions.why(new, self.published, tables, sources, self.tonight)
        told = {found.place: text for found, text in zip(new, patterns, strict=True)}
        out = [replace(one, why=told.get(one.place) or self.memory.why(one) or "") for one in self.held]
        for found in out:
            where = self.school_names.get(found.school_id)
            what = found.kind.replace("_", " ")
            message = (
                f"{found.count} of {found.of} {what} of {where or 'no school'} would go at once; they wait"
                + _DECIDED.get(self.memory.decision(found), ".")
                + (f" {found.why}" if found.why else "")
            )
            self.issues.append(
                Issue(found.code, message, school=where, count=found.count, school_id=found.school_id or None)
            )
        return out

    def _unjudged(self) -> set[Place]:
        """Where something waited, and tonight proves nothing about what is published there."""
        judged = {found.place for found in self.held}
        known = {*self.school_names, ""}
        return {
            place
            for place in self.memory.places - judged
            # What was set back waits until the school is published, however it was read.
            if place[1] in self.frozen
            or not (self._is_proven(place[1]) or (place[0] == undone.KIND and place[1] in known))
        }

    def _is_proven(self, school_id: str) -> bool:
        """Whether all that bring a school are read completely; "" is whoever is of no school."""
        links = self.published.school_sources
        who = set(links.loc[links["school_id"] == school_id, "provider_id"]) if school_id else self.by_id
        complete = ("orgs", "classes", "users", "enrollments")
        return all(self.by_id[one].proven(*complete) for one in who if one in self.by_id)

    # ------------------------------------------------------------------ schools and sessions

    def _schools(self) -> pd.DataFrame:
        old = self.published.schools
        stays = {row["school_id"]: row for row in rows.records(old)}
        out = []
        for row in rows.records(self.completeness.schools):
            before = stays.pop(row["school_id"], None)
            state = row["state"]
            if state == school_states.PUBLISHED:
                out.append(
                    {
                        **{
                            name: row[name]
                            for name in ("school_id", "name", "identifier", "provider_id", "source_id")
                        },
                        "provider": "",
                        "state": state,
                        "state_as_of": self.tonight.day,
                        "state_code": "",
                        "included_again": self._still_to_replace(row["school_id"]),
                    }
                )
            elif before is None or row["school_id"] in self.taken_out | self.retired_schools:
                continue
            elif state == school_states.SILENT:
                out.append(before)
            elif state == school_states.KEPT:
                again = "true" if row["school_id"] in self.exempt else "false"
                out.append({**before, "state": state, "state_code": row["code"], "included_again": again})
            else:
                out.append({**before, "state": state, "state_code": row["code"]})
        out.extend(stays.values())
        return _table(out, old)

    def _still_to_replace(self, school_id: str) -> str:
        """Says "true" while the roster from before an exclusion waits for a complete sync to replace it."""
        return "true" if school_id in self.exempt and not self._is_proven(school_id) else "false"

    def _academic_sessions(self, classes: pd.DataFrame) -> pd.DataFrame:
        """Tonight's sessions, and published ones that nobody proves gone or that a class still names."""
        old = self.published.academic_sessions
        now = self.sessions.sessions
        now = now[now["reason"] == ""].assign(provider="")
        now = now[~now["session_id"].duplicated()]
        as_they_are = self._waiting_sessions(now)
        now = now[~rows.among(now["session_id"], as_they_are)]
        named = {name for text in classes["session_ids"].unique() for name in rows.parse_list(text)}
        missing = old[~rows.among(old["session_id"], set(now["session_id"].tolist()))]
        stays = [
            row.session_id in named | as_they_are
            or not self._may_settle(int(row.provider_id), "academicSessions")
            for row in rows.each(missing)
        ]
        return _table(pd.concat([now, missing[stays]]) if any(stays) else now, old)

    def _waiting_sessions(self, now: pd.DataFrame) -> set[str]:
        """The sessions that only schools name which wait because they were set back: they stay as they are.

        A session that no class names, nor one within it, belongs to no school.
        """
        if not self.set_back:
            return set()
        old = self.published.academic_sessions
        parents = [dict(rows.keys(frame, "session_id", "parent_id")) for frame in (now, old)]
        waiting: set[str] = set()
        others: set[str] = set()
        tonight = self.sessions.classes[self.sessions.classes["reason"] == ""]
        for frame in (tonight, self.published.classes):
            for school, text in set(rows.keys(frame, "school_id", "session_ids")):
                found = waiting if school in self.set_back else others
                open_ = rows.parse_list(text)
                while open_:
                    session = open_.pop()
                    if session and session not in found:
                        found.add(session)
                        open_ += [known[session] for known in parents if session in known]
        if "" in self.set_back:
            every = {*old["session_id"].tolist(), *now["session_id"].tolist()}
            waiting |= every - others
        return waiting - others

    def _may_settle(self, provider_id: int, *collections: str) -> bool:
        """Whether absence from tonight's rows of this provider means something."""
        source = self.by_id.get(provider_id)
        return source is None or source.proven(*collections)

    # ------------------------------------------------------------------ classes

    def _classes(self) -> pd.DataFrame:
        old = self.published.classes
        now = self.sessions.classes
        known = set(old["class_id"].tolist())
        wanted = now[(now["reason"] == "") & (now["fate"] == CURRENT)]
        wanted = wanted[~wanted["class_id"].duplicated()]
        kept_back = rows.among(wanted["school_id"], self.frozen)
        for row in rows.each(wanted[kept_back]):
            if row.class_id not in known:
                self.dropped["classes"][row.provider_id, row.source_id] = "school_kept_back"
        # A class of a school that is kept back, or that was published in one, stays as it is.
        old_frozen = set(old.loc[rows.among(old["school_id"], self.frozen), "class_id"])
        wanted = wanted[~kept_back & ~rows.among(wanted["class_id"], old_frozen)].assign(provider="")
        missing = old[~rows.among(old["class_id"], set(wanted["class_id"].tolist()))].copy()
        said = now[(now["reason"] != rows.DUPLICATE) & rows.among(now["class_id"], set(missing["class_id"]))]
        verdict = {
            row.class_id: row
            for row in rows.each(said.drop_duplicates("class_id")[["class_id", "reason", "fate"]])
        }
        missing["cause"] = [self._class_cause(row, verdict.get(row.class_id)) for row in rows.each(missing)]
        missing["schools"] = [[school] for school in missing["school_id"].tolist()]
        waiting = self._wait("classes", missing, Counter(old["school_id"].tolist()))
        stays = (missing["cause"] == STAYS) | missing.index.isin(waiting)
        self.held_classes = set(missing.loc[missing.index.isin(waiting), "class_id"])
        self.class_cause = dict(rows.keys(missing, "class_id", "cause"))
        return _table(pd.concat([wanted, missing[stays]]) if stays.any() else wanted, old)

    def _class_cause(self, row: Any, verdict: Any | None) -> str:
        provider_id, school_id = int(row.provider_id), row.school_id
        source = self.by_id.get(provider_id)
        if school_id in self.set_back:
            return STAYS
        if source is None:
            return SETTLED if provider_id in self.tonight.retired else STAYS
        if school_id in self.frozen or not source.usable:
            return STAYS
        if verdict is None or verdict.reason in (rows.DELETED, rows.NO_ID, rows.DUPLICATE):
            if not source.proven("classes"):
                return STAYS
            if not source.options.sync_classroom_data:
                return SETTLED
            return SETTLED if self._has_ended(row, source) else COUNTED
        if verdict.reason in ("not_current", "undated"):
            if not source.proven("classes", "academicSessions"):
                return STAYS
            self.told["RS-SES-04", provider_id] += verdict.fate == ENDED
            return SETTLED
        if verdict.reason == "excluded_school" and source.options.excluded_rosters == "keep":
            return STAYS
        if verdict.reason == "" and verdict.fate in (FROZEN, GAP):
            self.told["RS-SES-02", provider_id] += verdict.fate == FROZEN
            return STAYS
        return SETTLED if source.proven("classes") else STAYS

    def _has_ended(self, row: Any, source: Source) -> bool:
        end = row.end_date
        over = bool(end) and not rows.day_within(
            "", end, self.tonight.as_of, exclusive=source.options.end_dates == "exclusive"
        )
        self.told["RS-SES-04", source.provider_id] += over
        return over

    # ------------------------------------------------------------------ memberships

    def _memberships(self, classes: pd.DataFrame) -> pd.DataFrame:
        old, enrolments = self.old_memberships, self.current.enrolments
        is_kept = (enrolments["reason"] == "").to_numpy()
        kept = enrolments.loc[is_kept, _ENROLMENT]
        kept = kept.assign(person_id=self._persons(kept))
        school_of = dict(rows.keys(classes, "class_id", "school_id"))
        live = rows.among(kept["class_id"], school_of).to_numpy()
        frozen_class = {class_id for class_id, school in school_of.items() if school in self.frozen}
        self.set_back_classes = {one for one in frozen_class if school_of[one] in self.set_back}
        frozen = rows.among(kept["class_id"], frozen_class).to_numpy()
        # A row of a school that is kept back stands behind the last good roster, if that has it.
        stands = frozen & rows.are_in(kept, old, "class_id", "person_id") if frozen.any() else frozen
        nobody = (kept["person_id"] == "").to_numpy()
        source_id = enrolments["source_id"]
        for mask, why in (
            (nobody, "user_unmatched"), (~live, "class_dropped"), (frozen & ~stands, "school_kept_back"),
        ):  # fmt: skip
            who = kept.loc[mask, "provider_id"]
            for key in zip(who.tolist(), source_id[who.index].tolist(), strict=True):
                self.dropped["enrollments"].setdefault(key, why)
        wanted = _fold(rows.where(kept, ~nobody & live & ~frozen))
        wanted["provider"] = rows.decoded(np.zeros(len(wanted), dtype="int8"), [""], wanted.index)
        missing = old[~rows.are_in(old, wanted, "class_id", "person_id", "role")].copy()
        if missing.empty:
            return _table(wanted, old)
        by_dates = self._not_current(set(missing["class_id"].unique().tolist()))
        live_classes = set(school_of)
        missing["cause"] = [
            self._membership_cause(row, live_classes, frozen_class, by_dates) for row in rows.each(missing)
        ]
        old_school = dict(rows.keys(self.published.classes, "class_id", "school_id"))
        missing["schools"] = [[old_school.get(class_id, "")] for class_id in missing["class_id"].tolist()]
        members = Counter({class_id: count for (class_id,), count in rows.counted(old, "class_id")})
        totals: Counter[str] = Counter()
        for class_id, count in members.items():
            totals[old_school.get(class_id, "")] += count
        waiting = self._wait("memberships", missing, totals) | self._wait_in_classes(
            missing, members, live_classes
        )
        # A membership that waits keeps its class; one of a class that goes for good goes with it.
        revived = set(missing.loc[missing.index.isin(waiting), "class_id"]) - live_classes
        self._revive(classes, revived)
        stays = (missing["cause"] == STAYS) | missing.index.isin(waiting)
        columns = list(old.columns)
        return _table(rows.stacked([wanted, missing[stays]], columns) if stays.any() else wanted, old)

    def _revive(self, classes: pd.DataFrame, class_ids: set[str]) -> None:
        """Puts classes back whose members wait: a class is not removed from under them."""
        old = self.published.classes
        for row in rows.records(old[rows.among(old["class_id"], class_ids)]):
            classes.loc[len(classes)] = {name: row[name] for name in classes.columns}

    def _persons(self, enrolments: pd.DataFrame) -> pd.Series:
        """The person_id behind each enrolment's user tonight, coded; "" where nobody is."""
        outcomes = self.identities.outcomes
        outcomes = outcomes[outcomes["person_id"] != ""]
        user, users = rows.coded(enrolments["user_ref"])
        place = np.zeros(len(enrolments), dtype="int64")
        for who in enrolments["provider_id"].unique().tolist():
            of = (outcomes["provider_id"] == who).to_numpy()
            found = rows.places(outcomes.loc[of, "source_id"], users)
            number = np.where(found >= 0, np.append(np.flatnonzero(of), 0)[found] + 1, 0)
            mine = (enrolments["provider_id"] == who).to_numpy()
            place[mine] = number[user[mine]]
        return rows.decoded(place, ["", *outcomes["person_id"].tolist()], enrolments.index)

    def _not_current(self, class_ids: set[str]) -> set[tuple[str, str]]:
        """(class_id, person_id) of enrolments in these classes that are there but not current, by dates."""
        past = self.current.enrolments
        past = past.loc[
            rows.among(past["reason"], {"not_current", "class_dropped"})
            & rows.among(past["class_id"], class_ids),
            _ENROLMENT,
        ]
        if past.empty:
            return set()
        users = {pair: "" for pair, _ in rows.counted(past, "provider_id", "user_ref")}
        asked = past[["provider_id", "user_ref"]].rename(columns={"user_ref": "source_id"})
        for frame in (self.identities.links, self.identities.outcomes):
            known = frame[rows.are_in(frame, asked, "provider_id", "source_id") & (frame["person_id"] != "")]
            for who, user, person in rows.keys(known, "provider_id", "source_id", "person_id"):
                users[who, user] = person
        return {
            (class_id, users[who, user])
            for (class_id, who, user), _ in rows.counted(past, "class_id", "provider_id", "user_ref")
        }

    def _membership_cause(
        self, row: Any, live_classes: set[str], frozen_classes: set[str], by_dates: set[tuple[str, str]]
    ) -> str:
        class_id, person_id = row.class_id, row.person_id
        provider_id = int(row.provider_id)
        if class_id not in live_classes:
            cause = str(self.class_cause.get(class_id, SETTLED))
            return SETTLED if cause == COUNTED and self._is_settled(row, by_dates) else cause
        source = self.by_id.get(provider_id)
        if source is None and class_id not in self.set_back_classes:
            return SETTLED if provider_id in self.tonight.retired else STAYS
        if (
            source is None
            or class_id in frozen_classes
            or class_id in self.held_classes
            or person_id in self.held_people
        ):
            return STAYS
        if not source.proven("classes", "users", "enrollments"):
            return STAYS
        return SETTLED if self._is_settled(row, by_dates) else COUNTED

    def _is_settled(self, row: Any, by_dates: set[tuple[str, str]]) -> bool:
        """Whether a membership that goes is explained by its dates, by its person's, or by a decision."""
        person_id = row.person_id
        if (row.class_id, person_id) in by_dates or (int(row.provider_id), person_id) in self.explained:
            return True
        # What is left of somebody whose grace ends goes with them: it cannot wait any longer.
        gone = self.fate.get(person_id, "") in (fates.LEFT, fates.OUT_OF_SCOPE, fates.RETIRED)
        return gone or person_id in self.grace_ends or person_id in self.approved_people

    def _wait_in_classes(self, missing: pd.DataFrame, members: Counter[str], live: set[str]) -> set[int]:
        counted = missing[(missing["cause"] == COUNTED) & rows.among(missing["class_id"], live)]
        waiting: set[int] = set()
        schools = dict(zip(counted["class_id"].tolist(), counted["schools"].tolist(), strict=True))
        for class_id, indices in counted.groupby("class_id", observed=True).groups.items():
            (school,) = schools[class_id]
            if school not in self.exempt:
                place = ("memberships", school, str(class_id))
                total = self.memory.total(place, members[str(class_id)])
                code = safeguards.waits_in_class(len(indices), total, self.limits)
                waiting |= self._hold(place, code, missing, indices.tolist(), total)
        return waiting

    # ------------------------------------------------------------------ guardian links

    def _guardian_links(self) -> pd.DataFrame:
        old = self.old_links
        now = self.identities.guardians.assign(provider="")
        now = now[
            ~pd.Series(
                [self._is_wholly_frozen(s) for s in now["student_id"].tolist()],
                index=now.index,
                dtype=bool,
            )
        ]
        missing = old[~rows.are_in(old, now, "student_id", "guardian_id")].copy()
        missing["cause"] = [self._link_cause(row) for row in rows.each(missing)]
        missing["schools"] = [self.schools_of.get(s, []) for s in missing["student_id"].tolist()]
        totals: Counter[str] = Counter()
        for student in old["student_id"].tolist():
            totals.update(self.schools_of.get(student) or [""])
        waiting = self._wait("guardian_links", missing, totals)
        stays = (missing["cause"] == STAYS) | missing.index.isin(waiting)
        return _table(pd.concat([now, missing[stays]]) if stays.any() else now, old)

    def _is_wholly_frozen(self, person_id: str) -> bool:
        """Whether a published person's schools are all kept back or excluded."""
        if not self.frozen or person_id not in self.schools_of:
            return False
        return self.frozen.issuperset(self.schools_of[person_id] or [""])

    def _link_cause(self, row: Any) -> str:
        student, guardian = row.student_id, row.guardian_id
        provider_id = int(row.provider_id)
        source = self.by_id.get(provider_id)
        at = self.schools_of.get(student) or [""]
        if source is None and self.set_back.isdisjoint(at):
            return SETTLED if provider_id in self.tonight.retired else STAYS
        if source is None or self.frozen.intersection(at):
            return STAYS  # never removed while one of the student's schools is kept back
        # The union of what all say; and whom nothing proves gone has their guardians.
        asked = {provider_id, *self._families_of(student, guardian)}
        if any(not self.by_id[who].proven("users", "enrollments") for who in asked):
            return STAYS
        if not source.options.sync_parent_data:
            return SETTLED
        if {(provider_id, student), (provider_id, guardian)} & self.explained:
            return SETTLED
        fate = self.fate.get(student, fates.GONE)
        if fate in (fates.LEFT, fates.OUT_OF_SCOPE):
            return SETTLED
        if fate in (fates.GONE, fates.RETIRED) or student in self.held_people:
            return STAYS  # until the student is removed: then the link goes with them
        if self.fate.get(guardian) == fates.OUT_OF_SCOPE:
            return SETTLED
        return STAYS if self.fate.get(guardian) == fates.GONE else COUNTED

    def _families_of(self, student: str, guardian: str) -> set[int]:
        """The providers that may say that these two belong together: they know both, and are asked."""
        both = self.sources_of[student] & self.sources_of[guardian]
        return {who for who in both if who in self.by_id and self.by_id[who].options.sync_parent_data}

    # ------------------------------------------------------------------ people

    @cached_property
    def _there(self) -> pd.DataFrame:
        """The published people who are not removed."""
        people = self.published.people
        return rows.where(people, (people["removed"] != "true").to_numpy(dtype=bool))

    def _old_people(self) -> dict[str, dict[str, str]]:
        """The published people of whom anything may become something else than what tonight's rows say.

        Nearly everybody is live, and nothing of theirs has to stay as it is: those are not among them.
        """
        people = self._there
        lives = np.fromiter(
            (self.fate.get(person) == fates.LIVE for person in people["person_id"].tolist()),
            bool,
            len(people),
        )
        joined = rows.among(people["person_id"], {*self.merged, *self.merged.values()}).to_numpy()
        some = people[~lives | joined | rows.holds(people["roles"], self._stays)]
        return {record["person_id"]: record for record in rows.records(some)}

    def _stays(self, roles: str) -> bool:
        """Whether a person with these roles is of a school of which something stays as it is."""
        if not self.frozen and self.all_read:
            return False
        schools = set(_role_schools(roles)) or {""}
        # An unread provider may name a school of which nothing was ever published, or said tonight.
        return not schools.isdisjoint(self.frozen) or not schools <= {"", *self.school_names}

    @cached_property
    def schools_of(self) -> dict[str, list[str]]:
        """person_id → the schools at which a published person has a role."""
        people = self._there
        text, texts = rows.coded(people["roles"])
        schools = [_role_schools(one) for one in texts.tolist()]
        return dict(zip(people["person_id"].tolist(), map(schools.__getitem__, text.tolist()), strict=True))

    def _held_people(self, old_people: dict[str, dict[str, str]]) -> set[str]:
        """Published people who would turn inactive tonight, and are too many at once."""
        gone = [
            person
            for person, record in old_people.items()
            if not record["inactive_since"] and self.fate.get(person) != fates.LIVE
        ]
        missing = pd.DataFrame({"person_id": gone}, dtype="str")
        missing["cause"] = [
            {fates.GONE: COUNTED, fates.STANDS: STAYS}.get(self.fate.get(person, fates.STANDS), SETTLED)
            if person not in self.merged
            else SETTLED
            for person in gone
        ]
        missing["schools"] = [_role_schools(old_people[person]["roles"]) for person in gone]
        totals: Counter[str] = Counter()
        active = self._there.loc[self._there["inactive_since"] == "", ["roles"]]
        for (roles,), count in rows.counted(active, "roles"):
            totals.update(dict.fromkeys(_role_schools(roles) or [""], count))
        counted = missing["cause"] == COUNTED
        waiting = missing.index.isin(self._wait("people", missing, totals))
        # Their memberships go with them: whoever approved the one has approved the other.
        self.approved_people = set(
            missing.loc[counted & (missing["cause"] == SETTLED) & ~waiting, "person_id"]
        )
        return set(missing.loc[waiting, "person_id"])

    def _people(
        self,
        old_people: dict[str, dict[str, str]],
        memberships: pd.DataFrame,
        classes: pd.DataFrame,
        links: pd.DataFrame,
    ) -> pd.DataFrame:
        """Everybody who is live, as tonight's rows say; the others as published, inactive, or gone."""
        now = self.identities.people
        self.waiting_people = self._waiting_people(old_people)
        taught = self._taught(memberships, classes)
        is_live = (now["fate"] == fates.LIVE).to_numpy(dtype=bool) & ~rows.among(
            now["person_id"], self.waiting_people
        ).to_numpy()
        others = (
            rows.holds(now["roles"], self._stays)
            | rows.among(now["person_id"], {*taught, *old_people}).to_numpy()
        )
        simple = rows.where(now, is_live & ~others).assign(inactive_since="", merged_into="")
        special = now[is_live & others]
        self._know(old_people, special["person_id"])
        out = []
        joined: dict[str, list[str]] = defaultdict(list)
        for younger, older in self.merged.items():
            joined[older].append(younger)
        for record in rows.records(special):
            person_id = record["person_id"]
            before = [old_people[p] for p in (person_id, *joined.get(person_id, ())) if p in old_people]
            roles = self._roles(record["roles"], before, taught.get(person_id, ()))
            out.append({**record, "roles": roles, "inactive_since": "", "merged_into": ""})
        gone: dict[str, dict[str, str]] = {}
        for person_id, record in old_people.items():
            fate = self.fate.get(person_id, fates.GONE)
            if person_id in self.waiting_people:
                gone[person_id] = record
                continue
            if fate == fates.LIVE or person_id in self.merged or fate == fates.GUARDIAN:
                continue
            after = self._after(person_id, record, fate)
            if after is not None:
                gone[person_id] = after
        guardians = {
            person_id: record
            for person_id, record in old_people.items()
            if self.fate.get(person_id) == fates.GUARDIAN
            and person_id not in gone
            and person_id not in self.merged
        }
        if guardians:
            present = [*simple["person_id"].tolist(), *(record["person_id"] for record in out)]
            students = dict.fromkeys(present, "") | {p: r["inactive_since"] for p, r in gone.items()}
            for person_id, record in guardians.items():
                after = self._guardian_after(person_id, record, links, students)
                if after is not None:
                    gone[person_id] = after
        out.extend(gone.values())
        self.staying = {person for person, record in gone.items() if not record["inactive_since"]}
        like = self.published.people.drop(columns=["removed", "created_sync"])
        if not out:
            return _table(simple, like)
        found = [_table(simple, like), _table(out, like)]
        return pd.concat(found, ignore_index=True) if len(simple) else found[1]

    def _know(self, old_people: dict[str, dict[str, str]], person_ids: pd.Series) -> None:
        """Puts the published people of these person_ids among `old_people`."""
        more = set(person_ids.tolist()) - old_people.keys()
        if more:
            people = self._there[rows.among(self._there["person_id"], more)]
            old_people |= {record["person_id"]: record for record in rows.records(people)}

    def _waiting_people(self, old_people: dict[str, dict[str, str]]) -> set[str]:
        """Published people whose schools all wait because they were set back: they stay as they are.

        Somebody whom tonight's rows see elsewhere as well does not wait there.
        """
        if not self.set_back:
            return set()
        links = self.identities.links
        live = links[(links["state"] == fates.LIVE) & rows.among(links["provider_id"], self.by_id)]
        speaking = set(live["person_id"].tolist())
        people = rows.keys(self.identities.people, "person_id", "roles")
        seen = {person_id: roles for person_id, roles in people if person_id in speaking}
        return {
            person_id
            for person_id, record in old_people.items()
            if person_id not in self.merged
            and self.set_back.issuperset(_role_schools(record["roles"]) or [""])
            and self.set_back.issuperset(_role_schools(seen.get(person_id, "")))
        }

    def _after(self, person_id: str, record: dict[str, str], fate: str) -> dict[str, str] | None:
        """A published person without a live row: as they are now, or None if removed."""
        if person_id in self.held_people or fate == fates.STANDS:
            return record
        since = record["inactive_since"]
        waits = _known_as(record) in self.waiting_rows
        if fate == fates.OUT_OF_SCOPE or (fate == fates.LEFT and not waits):
            return None
        if not since:
            return {**record, "inactive_since": self.tonight.day}
        days = (self.tonight.as_of - dt.date.fromisoformat(since)).days
        if days <= self.tonight.grace_days or waits or not self._may_remove(person_id, record):
            return record
        return None

    @cached_property
    def waiting_rows(self) -> set[tuple[str, ...]]:
        """What tells those whose rows are of schools that are kept back, and who are nobody's yet.

        Somebody who has moved there is not removed before the school is published again.
        """
        dropped = {key for key, why in self.identities.users.items() if why == "school_kept_back"}
        if not dropped:
            return set()
        columns = ("provider_id", "source_id", "email", "given_name", "family_name")
        users = self.current.users
        return {
            _known_as({"email": email, "given_name": given, "family_name": family})
            for who, user, email, given, family in rows.keys(users, *columns)
            if (who, user) in dropped and email and given and family
        }

    @cached_property
    def sources_of(self) -> dict[str, frozenset[int]]:
        """person_id → every provider and directory that ever named them."""
        found: dict[str, frozenset[int]] = defaultdict(frozenset)
        known: dict[frozenset[int], frozenset[int]] = {}
        for person, provider_id in rows.keys(self.identities.links, "person_id", "provider_id"):
            who = found[person] | {provider_id}
            found[person] = known.setdefault(who, who)
        return found

    @cached_property
    def keeping_schools(self) -> set[str]:
        """The school_ids of which something published is kept as it is: of one that has gone, nothing."""
        return self.frozen & set(self.published.schools["school_id"].tolist())

    def _may_remove(self, person_id: str, record: dict[str, str]) -> bool:
        """Whether tonight's extracts prove somebody gone who has been inactive for long enough."""
        if self.keeping_schools & set(_role_schools(record["roles"])):
            return False
        return all(
            self._may_settle(who, "users", "enrollments")
            for who in self.sources_of[person_id]
            # Those that only attach keep nobody, read or not.
            if who not in self.by_id or not self.by_id[who].options.merge.attach_to_existing_users_only
        )

    def _guardian_after(
        self, person_id: str, record: dict[str, str], links: pd.DataFrame, students: dict[str, str]
    ) -> dict[str, str] | None:
        """A guardian without a current student: stays with a link that waits, else goes as they went."""
        old = self.old_links
        before = set(old.loc[old["guardian_id"] == person_id, "student_id"])
        still = set(links.loc[links["guardian_id"] == person_id, "student_id"]) & set(students)
        if any(not students[student] for student in still):
            return record
        if not still and before and not before & set(students):
            return None  # the last of them was removed
        return self._after(person_id, record, fates.GONE)

    def _taught(self, memberships: pd.DataFrame, classes: pd.DataFrame) -> dict[str, set[tuple[str, str]]]:
        """person_id → (role, school_id) of memberships at schools that tonight's roles do not name.

        A person is of the schools of their classes.
        """
        people = self.identities.people
        school_of = {
            class_id: "" if school in self.frozen else school
            for class_id, school in rows.keys(classes, "class_id", "school_id")
        }
        person, persons = rows.coded(memberships["person_id"])
        place = rows.places(people["person_id"], persons)
        text, texts = rows.coded(people["roles"])
        at = memberships[["person_id", "role"]].assign(
            school=rows.mapped(rows.as_coded(memberships["class_id"]), lambda one: school_of.get(one, "")),
            roles=rows.decoded(
                np.where(place >= 0, np.append(text, 0)[place], len(texts))[person],
                [*texts.tolist(), " "],
                memberships.index,
            ),
        )
        kind, met = rows.kinds(at, "school", "roles")
        elsewhere = np.array(
            # Ids are long enough to be looked for in the text.
            [bool(school) and school not in roles for school, roles in rows.keys(met, "school", "roles")],
            dtype=bool,
        )
        out: dict[str, set[tuple[str, str]]] = defaultdict(set)
        for member, role, school in rows.keys(at[elsewhere[kind]], "person_id", "role", "school"):
            out[member].add((role, school))
        return out

    def _roles(self, text: str, before: list[dict[str, str]], taught: Iterable[tuple[str, str]]) -> str:
        """The roles of a live person; at schools that are kept back, excluded or unread, those of before."""
        if not self.frozen and self.all_read and not taught:
            return text
        roles = {(r["role"], r["school_id"] or "") for r in orjson.loads(text)}
        here = {school for _, school in roles}
        new = {pair for pair in taught if pair[1] not in here}
        then = {(r["role"], r["school_id"] or "") for record in before for r in orjson.loads(record["roles"])}
        # An unread provider may name a school of which nothing was ever published, or said tonight.
        stay = self.frozen | ({school for _, school in roles | new | then} - {"", *self.school_names})
        roles = {pair for pair in roles | new if pair[1] not in stay}
        roles |= {pair for pair in then if pair[1] in stay}
        return role_records(roles)

    def _person_sources(self, there: set[str]) -> pd.DataFrame:
        here = _of(self.identities.links, there, "person_id")
        live = rows.holds(here["state"], {fates.LIVE, fates.STANDS}.__contains__)
        if self.staying:
            stays = rows.among(here["person_id"], self.staying).to_numpy() & ~live
            live[stays] = rows.places_in(self.published.live_links, here[stays]) >= 0
        old = self.published.person_sources
        live &= ~rows.among(here["person_id"], self.waiting_people).to_numpy()
        found = rows.where(here, live).assign(provider="")
        then = rows.places_in(old, found)
        was = then >= 0
        was[was] = np.asarray(
            old["person_id"].iloc[then[was]].array == found["person_id"][was].array, dtype=bool
        )  # a link of somebody else is a new one
        since, sinces = rows.coded(old["linked_sync"])
        found["linked_sync"] = pd.array([*sinces.tolist(), str(self.tonight.sync_id)], dtype="str").take(
            np.where(was, np.append(since, 0)[then], len(sinces))
        )
        as_they_are = self.published.live_links
        waits = as_they_are[rows.among(as_they_are["person_id"], self.waiting_people)]
        found = pd.concat([found, waits]) if len(waits) else found
        return _table(found, old.drop(columns=["removed"]))


def _of(frame: pd.DataFrame, ids: Collection[str], *columns: str) -> pd.DataFrame:
    """The rows in which each of these columns is one of `ids`; the same frame where all are."""
    mask = np.ones(len(frame), dtype=bool)
    for name in columns:
        mask &= rows.among(frame[name], ids).to_numpy()
    return rows.where(frame, mask)


def _known_as(person: Mapping[str, str]) -> tuple[str, ...]:
    """The names and the address without its domain: by no more may two rows be one person."""
    email = person["email"]
    return email.rpartition("@")[0] or email, person["given_name"], person["family_name"]


def _role_schools(roles: str) -> list[str]:
    return sorted({role["school_id"] for role in orjson.loads(roles or "[]") if role["school_id"]})


_ENROLMENT: Final = [
    "provider_id", "class_id", "user_ref", "role", "is_primary", "begin_date", "end_date",
]  # fmt: skip
"""What is read of an enrolment: its id is a text, and there are millions of them."""


def _fold(enrolments: pd.DataFrame) -> pd.DataFrame:
    """One membership a class, person and role: primary if any is, from the first day to the last."""
    columns = ["class_id", "person_id", "role", "is_primary", "begin_date", "end_date", "provider_id"]
    key = ["class_id", "person_id", "role"]
    number = rows.numbered(enrolments, *key)
    if are_different(number):
        return enrolments[columns]
    several = pd.Series(number).duplicated(keep=False).to_numpy()
    once, often = enrolments.loc[~several, columns], enrolments.loc[several, columns]
    texts = often.astype({name: "str" for name in columns if name != "provider_id"})
    folded = [
        (
            *names,
            next((value for value in ("true", "false") if value in set(group["is_primary"])), ""),
            _outer(group["begin_date"], min),
            _outer(group["end_date"], max),
            group["provider_id"].min(),
        )
        for names, group in texts.groupby(key)
    ]
    return rows.stacked([once, rows.typed(pd.DataFrame(folded, columns=columns))], columns)


def _outer(dates: pd.Series, pick: Callable[[Iterable[str]], str]) -> str:
    """The first or last of the dates; one that is missing is open, and so is the whole."""
    found = set(dates)
    return "" if "" in found else pick(found)


def _table(found: pd.DataFrame | list[dict[str, str]], like: pd.DataFrame) -> pd.DataFrame:
    """`found` with the columns of a published table, as str (`provider_id` int64), freshly indexed."""
    frame = (
        pd.DataFrame(found, columns=like.columns) if isinstance(found, list) else found[list(like.columns)]
    )
    return rows.typed(frame).reset_index(drop=True)
