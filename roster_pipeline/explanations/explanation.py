"""The story of one person or class, from what the newest sync found and what is published.

Pure: `Known` is all that is looked at, and a story is plain data. What each reason means in words is in
`sentences`; the reading is in `findings`, and how a story looks in a terminal in `cli.explain`.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pandas as pd

from roster_pipeline.explanations.causes import AGAINST, Causes, called
from roster_pipeline.explanations.known import Key, Known, Row
from roster_pipeline.explanations.sentences import because
from roster_pipeline.explanations.stories import Answer, ClassStory, EnrolmentStory, PersonStory, UserStory
from roster_pipeline.oneroster import vocabulary
from roster_pipeline.rosters import completeness, rows
from roster_pipeline.rosters.source import key_of


class Explanation:
    """Tells the stories of what is `known`."""

    def __init__(self, known: Known) -> None:
        """Looks at nothing yet."""
        self.known, self.causes = known, Causes(known)

    def person(self, person_id: str, users: Sequence[Key]) -> PersonStory:
        """The story of one person and the users that are or were theirs; `person_id` "" for nobody's."""
        record = self.known.record("people", "person_id", person_id)
        name = self.known.name_of(person_id, users)
        told = [self._user(key, name, person_id) for key in sorted(users, key=self._by_strength)]
        has = {key[0] for key in users}
        state = "unpublished"
        if record is not None:
            state = (
                "removed" if record["removed_at"] else "inactive" if record["inactive_since"] else "active"
            )
        schools = dict.fromkeys(self.known.schools_of(record, users))
        return PersonStory(
            person_id,
            name,
            state,
            (*self._published_person(record, state), *self._why_not(state, told)),
            tuple(told),
            tuple(source.name for source in self.known.sources if source.provider_id not in has),
            tuple(found for school in schools for found in self.causes.of_school(school)),
            tuple(self._breaks(schools)),
            tuple(self._family(person_id)),
        )

    def _why_not(self, state: str, users: Sequence[UserStory]) -> Iterator[str]:
        """In one sentence, why somebody is not published, or will not be for long."""
        against = [user for user in users if user.outcome in AGAINST and user.because]
        if state != "active" and against:
            yield against[0].because[-1].text
        attached = {
            user.provider for user in users if any(cause.reason == "person_is_gone" for cause in user.because)
        }
        for source in self.known.sources:
            attaches = source.options.merge.attach_to_existing_users_only
            if state == "inactive" and attaches and source.name in attached:
                yield f"{source.name} still has them, but only attaches to existing users: it keeps nobody."

    def _by_strength(self, key: Key) -> tuple[int, Key]:
        source = self.known.by_id.get(key[0])
        return (source.strength if source else len(self.known.by_id)), key

    def klass(self, class_id: str) -> ClassStory:
        """The story of one class."""
        record = self.known.record("classes", "class_id", class_id)
        row = self.known.klass(class_id)
        if not row:
            raise KeyError(class_id)
        who, source_id = int(row["provider_id"]), row["source_id"]
        live = self._is_published(class_id)
        causes = tuple(dict.fromkeys(self.causes.of_class(class_id)))
        if record is None:
            published = "Not published."
        elif live:
            published = f"Published, first by {self._since(record['created_sync'])}."
        else:
            published = f"Not published any more: removed by {self._since(record['changed_sync'])}."
        if live and causes:
            causes += tuple(self.causes.stays(class_id))
        elif record is None and not causes:
            causes = (self.causes.nothing_published() or because("class", "not_published"),)
        members: dict[str, list[str]] = defaultdict(list)
        for member in self.known.memberships(class_id=class_id):
            members[member["role"]].append(self.known.name_of(member["person_id"], ()))
        left_out = [told for told in self._enrolments_in(class_id) if not told.published]
        raw = self.known.raw(who, "classes", source_id)
        return ClassStory(
            class_id,
            self.causes.provider(who),
            source_id,
            row["title"],
            self.known.school_name(row["school_id"]),
            live,
            published,
            causes,
            self._class_row(who, raw) if raw else {},
            self._extract(who, "classes", "enrollments"),
            tuple(self._session(one, who) for one in self.known.sessions_of(class_id)),
            {role: tuple(sorted(names)) for role, names in sorted(members.items(), reverse=True)},
            tuple(left_out),
        )

    def _is_published(self, class_id: str) -> bool:
        record = self.known.record("classes", "class_id", class_id)
        return record is not None and not record["removed_at"]

    def answer(self, person_id: str, users: Sequence[Key], class_id: str) -> Answer:
        """Why somebody is, or is not, in a class."""
        row = self.known.klass(class_id)
        name, title = self.known.name_of(person_id, users), row.get("title", "")
        school = self.known.school_name(row.get("school_id", ""))
        if row.get("reason") == "class_of_weaker_source":  # the stronger one may have its like
            title += f" of {self.causes.provider(int(row['provider_id']))}"
        where = f"{title} ({school})" if school else title
        mine = [m for m in self.known.memberships(class_id=class_id) if m["person_id"] == person_id]
        told = list(self._enrolments_in(class_id, set(users)))
        if mine:
            roles = " and ".join(sorted({member["role"] for member in mine}))
            said = f"{name} is in {where} as {roles}, first by {self._since(mine[0]['created_sync'])}."
            record = self.known.record("people", "person_id", person_id)
            if record is not None and record["inactive_since"]:
                said += (
                    f" But {name} is inactive since {record['inactive_since']}: no source brings them now."
                )
        else:
            said = f"{name} is not in {where}{self._removed(person_id, class_id)}."
        clean = next((one for one in told if not one.because), None)
        causes = [] if clean else [cause for one in told for cause in one.because]
        if not told and mine:
            causes = list(self.causes.stays(class_id))
        elif not told:
            causes = list(self.causes.of_none(name, person_id, users, class_id, row))
        return Answer(
            name,
            title,
            row.get("source_id", ""),
            school,
            self._is_published(class_id),
            bool(mine),
            bool(told),
            said,
            tuple(dict.fromkeys(causes)),
        )

    def _removed(self, person_id: str, class_id: str) -> str:
        """Since when a membership is no more."""
        for row in self.known.published.get("memberships", ()):
            if row["removed_at"] and (row["class_id"], row["person_id"]) == (class_id, person_id):
                return f" any more: {self._since(row['changed_sync'])} took them out"
        return ""

    def _published_person(self, record: Row | None, state: str) -> Iterator[str]:
        if record is None:
            yield "Not published."
            return
        if record["merged_into"]:
            into = f"{self.known.name_of(record['merged_into'], ())}, person {record['merged_into']}"
            yield f"This id was joined into another one by {self._since(record['changed_sync'])}: {into}."
            return
        if state == "removed":
            yield f"Not published any more: removed by {self._since(record['changed_sync'])}."
            return
        if state == "inactive":
            day = dt.date.fromisoformat(record["inactive_since"])
            last = day + dt.timedelta(days=self.known.tenant.grace_days)
            yield (
                f"Published, but inactive since {day}: no source that keeps them brings them any more. "
                f"Removed by the first complete sync for a day after {last} (grace_days is "
                f"{self.known.tenant.grace_days})."
            )
        else:
            yield f"Published, first by {self._since(record['created_sync'])}."
        roles = dict.fromkeys(
            f"{entry['role']} at {self.known.school_name(entry['school_id'])}"
            if entry["school_id"]
            else entry["role"]
            for entry in rows.parse_list(record["roles"])
        )
        yield f"Roles: {', '.join(roles) or 'none'}."

    def _family(self, person_id: str) -> Iterator[str]:
        for link in self.known.published.get("guardian_links", ()):
            if link["removed_at"] or person_id not in (link["student_id"], link["guardian_id"]):
                continue
            is_student = link["student_id"] == person_id
            other = self.known.name_of(link["guardian_id" if is_student else "student_id"], ())
            whose = f"{link['relationship']} {'is' if is_student else 'of'} {other}"
            yield f"{whose} (from {link['provider']})"

    def _user(self, key: Key, name: str, person_id: str) -> UserStory:
        who, source_id = key
        source = self.known.by_id.get(who)
        became, user = self.causes.became(key), self.known.users.get(key)
        raw = self.known.raw(who, "users", source_id) if source else None
        causes = tuple(self.causes.of_user(key, name)) if source else (self.causes.of_no_source(who),)
        enrolments = list(self._enrolments_of(key))
        classes = {told.class_id for told in enrolments if told.published}
        enrolments += [
            self._membership(member, name)
            for member in self.known.memberships(person_id=person_id)
            if int(member["provider_id"] or 0) == who and member["class_id"] not in classes
        ]
        could_be = rows.parse_list(became["evidence"]) if became["evidence"].startswith("[") else []
        return UserStory(
            self.causes.provider(who),
            source_id,
            became["outcome"],
            became["evidence"] if not could_be else "",
            self._since_when(key, became["outcome"]),
            causes,
            self._user_row(who, raw) if raw else {},
            self._key_words(key) if became["outcome"] in ("matched", "created", "unmatched") and user else "",
            self._extract(who, "users", "enrollments"),
            tuple(f"{self.known.name_of(one, ())} (person {one})" for one in could_be),
            tuple(
                sorted(enrolments, key=lambda told: (not told.published, told.class_title, told.source_id))
            ),
        )

    def _since_when(self, key: Key, became: str) -> str:
        """Since when a user is linked with their person, or has this outcome."""
        links = self.known.published.get("person_sources", ())
        for link in links:
            if became == "matched" and (int(link["provider_id"]), link["source_id"]) == key:
                return self._since(link["linked_sync"])
        told = [row["sync_id"] for row in self.known.remembered_of(key) if row["outcome"] == became]
        return self._since(told[0]) if told else ""

    def _class_row(self, who: int, raw: Row) -> dict[str, str]:
        course = self.known.raw(who, "courses", raw["course"]) if raw["course"] else None
        told = {"course": course["title"]} if course else {}
        school = {"school": self.known.org_name(who, raw["school"])} if raw["school"] else {}
        return {
            **_told(raw, "title", "classCode", "classType", "location"),
            **told,
            **school,
            **_told(raw, "status"),
        }

    def _user_row(self, who: int, raw: Row) -> dict[str, str]:
        told = _told(raw, "email", "username", "identifier", "status", "enabledUser", "dateLastModified")
        name = " ".join(raw[part] for part in ("givenName", "familyName") if raw[part])
        roles = [
            f"{vocabulary.role(role)} at {self.known.org_name(who, org)}" if org else vocabulary.role(role)
            for role, org, *_ in rows.parse_list(raw["roles"])
        ]
        grades = ", ".join(rows.parse_list(raw["grades"]))
        return {
            "name": name,
            "roles": ", ".join(dict.fromkeys(roles)),
            **({"grades": grades} if grades else {}),
            **told,
        }

    def _key_words(self, key: Key) -> str:
        """The merge key as it counted: the key itself, or why there is none."""
        source, user = self.known.by_id[key[0]], self.known.users.get(key)
        kind = source.options.merge.key
        if user is None or not user["email"]:
            return f"none: {self.causes.no_key(key)}"
        mine = key_of(kind, user["email"])
        others = self.known.holders[key[0], mine] - {
            (self.known.outcomes.get(key) or {}).get("one_with", key[1])
        }
        return mine + (
            f" ({kind}), shared with another user of {source.name}: no key" if others else f" ({kind})"
        )

    def _enrolments_of(self, key: Key) -> Iterator[EnrolmentStory]:
        frame = self.known.current.enrolments
        yield from self._folded(frame[(frame["provider_id"] == key[0]) & (frame["user_ref"] == key[1])])

    def _enrolments_in(self, class_id: str, users: set[Key] | None = None) -> Iterator[EnrolmentStory]:
        frame = self.known.current.enrolments
        mine = frame[frame["class_id"] == class_id] if class_id else frame.head(0)
        if users is not None:
            mine = mine[[key in users for key in rows.keys(mine, "provider_id", "user_ref")]]
        yield from self._folded(mine)

    def _folded(self, frame: pd.DataFrame) -> Iterator[EnrolmentStory]:
        """One story a user, class and role: of several rows, that of the one which decides."""
        together: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
        for row in rows.records(frame):
            together[row["provider_id"], row["user_ref"], row["class_ref"], row["role"]].append(row)
        for several in together.values():
            several.sort(key=lambda row: row["end_date"] or "9999-12-31", reverse=True)
            yield self._enrolment(several)

    def _enrolment(self, several: list[dict[str, Any]]) -> EnrolmentStory:
        """The story of a user's rows in a class, the last to end first."""
        key = several[0]["provider_id"], several[0]["user_ref"]
        person_id = self.known.owner(key)
        name = self.known.name_of(person_id, [key])
        judged = [self.causes.of_enrolment(row, key, name) for row in several]
        place = next((place for place, causes in enumerate(judged) if not causes), 0)
        row, causes = several[place], judged[place]
        published = bool(person_id) and any(
            member["person_id"] == person_id for member in self.known.memberships(class_id=row["class_id"])
        )
        if not published and not causes:
            causes = [self.causes.nothing_published() or because("enrolment", "not_published")]
        if published and causes:
            causes = [*self.causes.stays(row["class_id"]), *causes]
        klass = self.known.class_rows.get(row["class_id"], {})
        return EnrolmentStory(
            self.causes.provider(row["provider_id"]),
            row["source_id"],
            name,
            klass.get("title") or f"class {row['class_ref']}",
            row["class_ref"],
            row["class_id"],
            self.known.school_name(row["school_id"]),
            row["role"],
            tuple(_span(one["begin_date"], one["end_date"]) for one in reversed(several)),
            published,
            tuple(causes),
        )

    def _membership(self, member: Row, name: str) -> EnrolmentStory:
        """A published membership of which no row tells tonight."""
        klass = self.known.klass(member["class_id"])
        return EnrolmentStory(
            self.causes.provider(int(member["provider_id"] or 0)),
            "",
            name,
            klass.get("title", ""),
            klass.get("source_id", ""),
            member["class_id"],
            self.known.school_name(klass.get("school_id", "")),
            member["role"],
            (_span(member["begin_date"], member["end_date"]),),
            True,
            tuple(self.causes.stays(member["class_id"])),
        )

    def _session(self, one: Row, who: int) -> str:
        source = self.known.by_id.get(who)
        told = self.causes.when("it", one["start_date"], one["end_date"], source) if source else ""
        span = f"{one['start_date'] or 'open'} to {one['end_date'] or 'open'}"
        return f"{called(one)}, {span}: {told or 'current'}"

    def _breaks(self, schools: Iterable[str]) -> Iterator[str]:
        """The schools that are between sessions: there nobody leaves for lack of classes."""
        for row in rows.each(self.known.sessions.calendars):
            state = self.known.school_states.get(row.school_id, {}).get("state")
            if row.school_id in schools and row.current != "true" and state == completeness.PUBLISHED:
                school = self.known.school_name(row.school_id)
                over = "ended" if row.newest_end < self.known.as_of else "ends"
                yield (
                    f"{school} is between sessions: none is current on {self.known.as_of}, and the last one "
                    f"known {over} on {row.newest_end}. All its people stay meanwhile."
                )

    def _extract(self, who: int, *collections: str) -> str:
        source = self.known.by_id.get(who)
        if source is None:
            return ""
        states: dict[str, str] = {name: source.states.get(name, "failed") for name in collections}
        for name in states:
            if states[name] == "ok" and (who, name) in self.known.by_changes:
                states[name] = "delta"
        said = {name: because("collection", state).text for name, state in states.items()}
        for name in states:
            read = self.known.extracted.get((who, name))
            if states[name] in ("stale", "failed") and read:
                said[name] += f" (what is shown was read by {self._since(str(read))})"
        if len(set(said.values())) == 1:
            return f"{' and '.join(said)} {said[collections[0]]}"
        return "; ".join(f"{name} {text}" for name, text in said.items())

    def _since(self, sync_id: str) -> str:
        day = self.known.days.get(int(sync_id or 0), "")
        return f"sync {sync_id}" + (f" ({day})" if day else "")


def _told(raw: Row, *names: str) -> dict[str, str]:
    """The fields that say something."""
    return {name: raw[name] for name in names if raw[name]}


def _span(begin: str, end: str) -> str:
    return f"{begin or 'open'} to {end or 'open'}" if begin or end else ""
