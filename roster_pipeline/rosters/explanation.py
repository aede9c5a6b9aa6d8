"""The story of one person or class, from what the newest sync found and what is published.

Pure: `Known` is all that is looked at, and a story is plain data. What each reason means in words is in
`sentences`; the reading is in `findings`, and how a story looks in a terminal in `cli.explain`.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import pandas as pd

from roster_pipeline.oneroster import vocabulary
from roster_pipeline.rosters import completeness, outcome, rows
from roster_pipeline.rosters.current import VANISHED
from roster_pipeline.rosters.identities import key_of
from roster_pipeline.rosters.known import Key, Known, Row
from roster_pipeline.rosters.sentences import Because, because
from roster_pipeline.rosters.sessions import FROZEN, GAP
from roster_pipeline.rosters.source import Source
from roster_pipeline.rosters.stories import Answer, ClassStory, EnrolmentStory, PersonStory, UserStory

_KINDS: Final = {"schoolYear": "school year", "gradingPeriod": "grading period"}
_HELD: Final = ("RS-SAFE-01", "RS-SAFE-02", "RS-SAFE-03")
_AGAINST: Final = (outcome.DROPPED, outcome.GONE, "unmatched")


class Explanation:
    """Tells the stories of what is `known`."""

    def __init__(self, known: Known) -> None:
        """Looks at nothing yet."""
        self.known = known

    # ------------------------------------------------------------------ the stories

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
            tuple(self._published_person(record, state)),
            tuple(told),
            tuple(source.name for source in self.known.sources if source.provider_id not in has),
            tuple(found for school in schools for found in self._school_causes(school)),
            tuple(self._breaks(schools)),
            tuple(self._family(person_id)),
        )

    def _by_strength(self, key: Key) -> tuple[int, Key]:
        source = self.known.by_id.get(key[0])
        return (source.strength if source else len(self.known.by_id)), key

    def klass(self, class_id: str) -> ClassStory:
        """The story of one class."""
        record = self.known.record("classes", "class_id", class_id)
        row = self.known.class_rows.get(class_id) or record
        if row is None:
            raise KeyError(class_id)
        who, source_id = int(row["provider_id"]), row["source_id"]
        live = record is not None and not record["removed_at"]
        causes = tuple(dict.fromkeys(self._class_causes(class_id)))
        if record is None:
            published = "Not published."
        elif live:
            published = f"Published since {self._since(record['created_sync'])}."
        else:
            published = f"Not published any more: removed by {self._since(record['changed_sync'])}."
        if live and causes:
            causes += tuple(self._stays(class_id))
        elif record is None and not causes:
            causes = (self._nothing_published() or because("class", "not_published"),)
        members: dict[str, list[str]] = defaultdict(list)
        for member in self.known.memberships(class_id=class_id):
            members[member["role"]].append(self.known.name_of(member["person_id"], ()))
        left_out = [told for told in self._enrolments_in(class_id) if not told.published]
        raw = self.known.raw(who, "classes", source_id)
        return ClassStory(
            class_id,
            self._provider(who),
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

    def answer(self, person_id: str, users: Sequence[Key], class_id: str) -> Answer:
        """Why somebody is, or is not, in a class."""
        row = self.known.class_rows.get(class_id) or self.known.record("classes", "class_id", class_id) or {}
        name, title = self.known.name_of(person_id, users), row.get("title", "")
        school = self.known.school_name(row.get("school_id", ""))
        where = f"{title} ({school})" if school else title
        mine = [m for m in self.known.memberships(class_id=class_id) if m["person_id"] == person_id]
        told = list(self._enrolments_in(class_id, set(users)))
        if mine:
            roles = " and ".join(sorted({member["role"] for member in mine}))
            said = f"{name} is in {where} as {roles}, since {self._since(mine[0]['created_sync'])}."
            record = self.known.record("people", "person_id", person_id)
            if record is not None and record["inactive_since"]:
                said += (
                    f" But {name} is inactive since {record['inactive_since']}: no source brings them now."
                )
        else:
            said = f"{name} is not in {where}."
        clean = next((one for one in told if not one.because), None)
        causes = [] if clean else [cause for one in told for cause in one.because]
        if not told and mine:
            causes = list(self._stays(class_id))
        elif not told:
            causes = list(self._without_enrolment(name, person_id, users, class_id, row))
        return Answer(
            name,
            title,
            row.get("source_id", ""),
            school,
            bool(mine),
            bool(told),
            said,
            tuple(dict.fromkeys(causes)),
        )

    # ------------------------------------------------------------------ people

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
                f"Published, but inactive since {day}: no source brings them any more. Removed by the first "
                f"complete sync for a day after {last} (grace_days is {self.known.tenant.grace_days})."
            )
        else:
            yield f"Published since {self._since(record['created_sync'])}."
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
        became = self._became(key)
        raw = self.known.raw(who, "users", source_id) if source else None
        causes = tuple(self._user_causes(key, name)) if source else (self._without_source(who),)
        since = next(
            (r["sync_id"] for r in self.known.remembered_of(key) if r["outcome"] == became["outcome"]), ""
        )
        enrolments = list(self._enrolments_of(key))
        classes = {told.class_id for told in enrolments if told.published}
        enrolments += [
            self._membership(member, name)
            for member in self.known.memberships(person_id=person_id)
            if int(member["provider_id"] or 0) == who and member["class_id"] not in classes
        ]
        could_be = rows.parse_list(became["evidence"]) if became["evidence"].startswith("[") else []
        return UserStory(
            self._provider(who),
            source_id,
            became["outcome"],
            became["evidence"] if not could_be else "",
            self._since(since) if since else "",
            causes,
            self._user_row(who, raw) if raw else {},
            self._key_words(key) if source and raw else "",
            self._extract(who, "users", "enrollments"),
            tuple(f"{self.known.name_of(one, ())} (person {one})" for one in could_be),
            tuple(
                sorted(enrolments, key=lambda told: (not told.published, told.class_title, told.source_id))
            ),
        )

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
            return f"none: {self._no_key(key)}"
        mine = key_of(kind, user["email"])
        others = self.known.holders[key[0], mine] - {
            (self.known.outcomes.get(key) or {}).get("one_with", key[1])
        }
        return mine + (
            f" ({kind}), shared with another user of {source.name}: no key" if others else f" ({kind})"
        )

    def _no_key(self, key: Key) -> str:
        raw = self.known.raw(key[0], "users", key[1])
        masked = raw is not None and vocabulary.is_masked(raw["email"])
        return "the e-mail address is masked" if masked else "the row has no e-mail address"

    def _became(self, key: Key) -> dict[str, str]:
        """Outcome, reason and evidence of a user: tonight's, else what is remembered of them."""
        if key in self.known.outcomes:
            return self.known.outcomes[key]
        source = self.known.by_id.get(key[0])
        remembered = self.known.remembered_of(key)
        was = remembered[0] if remembered else {"outcome": "", "reason": "", "evidence": ""}
        if source is None or not source.usable or was["outcome"] == outcome.GONE:
            return dict(was)
        if (was["outcome"] or key in self.known.owners) and self.known.raw(key[0], "users", key[1]) is None:
            why = outcome.NOT_SENT if source.proven("users") else outcome.NOT_PROVEN
            return {"outcome": outcome.GONE, "reason": why, "evidence": ""}
        return dict(was)

    def _user_causes(self, key: Key, name: str) -> Iterator[Because]:
        """Why the user is matched, created or not: one cause, and the provider's trouble before it."""
        source = self.known.by_id[key[0]]
        if not source.usable:
            yield self._trouble(source)
        became = self._became(key)
        area = became["outcome"]
        if area == "matched":
            area = became["evidence"]
        user = self.known.users.get(key)
        words = self._words(
            source, name=name, what="user", key=self._key_in_words(key), no_key=self._no_key(key)
        )
        if not area or not became["reason"]:
            return
        found = because(area, became["reason"], **words)
        if became["reason"] == "left" and user is not None and user["left"] == VANISHED:
            text = f"{found.text} {source.name} sent enrolments of theirs before, and sends none any more."
            found = Because(found.reason, text, found.code, found.cure)
        yield found

    def _key_in_words(self, key: Key) -> str:
        source, user = self.known.by_id[key[0]], self.known.users.get(key)
        if user is None or not user["email"]:
            return "this e-mail address"
        if source.options.merge.key == "email":
            return f"the e-mail address {user['email']}"
        return f"“{key_of(source.options.merge.key, user['email'])}” before the @ of the e-mail address"

    # ------------------------------------------------------------------ enrolments

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
        judged = [list(dict.fromkeys(self._enrolment_causes(row, key, name))) for row in several]
        place = next((place for place, causes in enumerate(judged) if not causes), 0)
        row, causes = several[place], judged[place]
        published = bool(person_id) and any(
            member["person_id"] == person_id for member in self.known.memberships(class_id=row["class_id"])
        )
        if not published and not causes:
            causes = [self._nothing_published() or because("enrolment", "not_published")]
        if published and causes:
            causes = [*self._stays(row["class_id"]), *causes]
        klass = self.known.class_rows.get(row["class_id"], {})
        return EnrolmentStory(
            self._provider(row["provider_id"]),
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

    def _enrolment_causes(self, row: dict[str, Any], key: Key, name: str) -> Iterator[Because]:
        """What speaks against a membership, the decisive first."""
        source, why = self.known.by_id[row["provider_id"]], row["reason"]
        options = source.options
        words = self._words(
            source, name=name, what="enrolment", school=self.known.school_name(row["school_id"])
        )
        if why in (rows.NO_ID, rows.DUPLICATE, rows.DELETED):
            yield because("enrolment", why, **words)
            return
        if why == "refers_to_nothing":
            missing = "class" if row["class_id"] == "" else "user"
            yield because("enrolment", why, **words, missing=missing)
            return
        exclusive = options.end_dates == "exclusive"
        day = dt.date.fromisoformat(self.known.as_of)
        if options.respect_enrolment_date and not rows.day_within(
            row["begin_date"], row["end_date"], day, exclusive=exclusive
        ):
            when = self._when("The enrolment", row["begin_date"], row["end_date"], source)
            if "ended" in when:
                when += f" (end dates are {options.end_dates})"
            yield because("enrolment", "not_current", **words, when=when)
        yield from self._class_causes(row["class_id"])
        became = self._became(key)
        if became["outcome"] in (outcome.DROPPED, "unmatched"):
            yield from self._user_causes(key, name)

    def _membership(self, member: Row, name: str) -> EnrolmentStory:
        """A published membership of which no row tells tonight."""
        klass = (
            self.known.class_rows.get(member["class_id"])
            or self.known.record("classes", "class_id", member["class_id"])
            or {}
        )
        return EnrolmentStory(
            self._provider(int(member["provider_id"] or 0)),
            "",
            name,
            klass.get("title", ""),
            klass.get("source_id", ""),
            member["class_id"],
            self.known.school_name(klass.get("school_id", "")),
            member["role"],
            (_span(member["begin_date"], member["end_date"]),),
            True,
            tuple(self._stays(member["class_id"])),
        )

    def _without_enrolment(
        self, name: str, person_id: str, users: Sequence[Key], class_id: str, row: Row
    ) -> Iterator[Because]:
        who = int(row.get("provider_id") or 0)
        source = self.known.by_id.get(who)
        if source is None:
            yield self._without_source(who)
            return
        words = self._words(source, name=name)
        if not source.usable:
            yield self._trouble(source)
        mine = [key for key in users if key[0] == who]
        gone = [key for key in mine if self._became(key)["outcome"] in _AGAINST]
        if source.usable and mine and len(gone) == len(mine):
            for key in gone:
                yield from self._user_causes(key, name)
        if source.usable:
            yield because("enrolment", "not_sent" if mine else "no_user", **words)
        yield from self._class_causes(class_id)

    # ------------------------------------------------------------------ classes

    def _class_causes(self, class_id: str) -> Iterator[Because]:
        """What speaks against a class, the decisive first; nothing for one that is as it should be."""
        row = self.known.class_rows.get(class_id)
        if row is None:
            record = self.known.record("classes", "class_id", class_id)
            if record is not None:
                who = int(record["provider_id"] or 0)
                source = self.known.by_id.get(who)
                if source is None:
                    yield self._without_source(who)
                elif not source.usable:
                    yield self._trouble(source)
                else:
                    yield because("class", "not_sent", provider=source.name)
                yield from self._school_causes(record["school_id"])
            return
        source = self.known.by_id[int(row["provider_id"])]
        words = self._words(source, what="class", school=self.known.school_name(row["school_id"]))
        if row["reason"]:
            stronger = (
                self._stronger(source, row["school_id"]) if row["reason"] == "class_of_weaker_source" else ""
            )
            yield because(
                "class", row["reason"], **words, stronger=stronger, sessions=self._not_current(class_id, row)
            )
        elif row["fate"] in (FROZEN, GAP):
            yield because("fate", row["fate"], **words)
        yield from self._school_causes(row["school_id"])

    def _not_current(self, class_id: str, row: Row) -> str:
        """Why none of the class's sessions counts today, in words."""
        source = self.known.by_id[int(row["provider_id"])]
        named = self.known.sessions_of(class_id)
        told = [self._when(_called(one), one["start_date"], one["end_date"], source) for one in named]
        if not told or not all(told):
            return self._when("It", row["start_date"], row["end_date"], source) or "It is not current"
        if all(one["end_date"] and one["end_date"] <= self.known.as_of for one in named):
            last = max(named, key=lambda one: one["end_date"])
            what = f"Its last session, {_called(last)}," if len(named) > 1 else f"Its {_called(last)}"
            return self._when(what, "", last["end_date"], source)
        return "Its " + " and its ".join(told)

    def _when(self, what: str, begin: str, end: str, source: Source) -> str:
        """`what` ended on a day, or begins only on one; "" if neither."""
        day, exclusive = dt.date.fromisoformat(self.known.as_of), source.options.end_dates == "exclusive"
        if not rows.day_within(begin, "", day, exclusive=exclusive):
            return f"{what} begins only on {begin}"
        return "" if rows.day_within("", end, day, exclusive=exclusive) else f"{what} ended on {end}"

    def _session(self, one: Row, who: int) -> str:
        source = self.known.by_id.get(who)
        told = self._when("it", one["start_date"], one["end_date"], source) if source else ""
        span = f"{one['start_date'] or 'open'} to {one['end_date'] or 'open'}"
        return f"{_called(one)}, {span}: {told or 'current'}"

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

    def _stronger(self, source: Source, school_id: str) -> str:
        """The strongest other provider with classes in the school."""
        frame = self.known.sessions.classes
        who = set(frame.loc[frame["school_id"] == school_id, "provider_id"]) | {
            int(row["provider_id"])
            for row in self.known.published.get("classes", ())
            if row["school_id"] == school_id and row["provider_id"] and not row["removed_at"]
        }
        stronger = [
            one for one in self.known.sources if one.provider_id in who and one.strength < source.strength
        ]
        return min(stronger, key=lambda one: one.strength).name if stronger else "Another source"

    def _stays(self, class_id: str) -> Iterator[Because]:
        """Why something of a class is published all the same."""
        record = self.known.record("classes", "class_id", class_id)
        row = self.known.class_rows.get(class_id) or record or {}
        school, who = (record or row).get("school_id", ""), int(row.get("provider_id") or 0)
        source = self.known.by_id.get(who)
        state = self.known.school_states.get(school, {}).get("state", completeness.PUBLISHED)
        words = {"school": self.known.school_name(school), "provider": self._provider(who)}
        if state in (completeness.KEPT, completeness.SILENT, completeness.EXCLUDED):
            yield because("stays", "school", **words)
        elif self._nothing_published() is not None:
            yield because("stays", "sync", **words)
        elif source is not None and not source.proven("classes", "users", "enrollments"):
            yield because("stays", "unproven", **words)
        elif row.get("fate") in (FROZEN, GAP):
            yield because("stays", "session", **words)
        else:
            issues = self.known.sync["issues"] if self.known.sync else ()
            held = [
                i["code"] for i in issues if i["code"] in _HELD and i["school"] in (None, words["school"])
            ]
            if held:
                yield because("stays", "waits", held[0], **words)

    # ------------------------------------------------------------------ schools and sources

    def _school_causes(self, school_id: str) -> Iterator[Because]:
        """What keeps a school from being published as it is now; nothing where nothing does."""
        state = self.known.school_states.get(school_id)
        if state is None or state["state"] == completeness.PUBLISHED:
            return
        record = self.known.record("schools", "school_id", school_id)
        day = record["state_as_of"] if record is not None and not record["removed_at"] else ""
        last = f"; its roster of {day} stays" if day else "; nothing of it was published before"
        issues = self.known.sync["issues"] if self.known.sync else ()
        name, code = self.known.school_name(school_id), state["code"] or None
        cause = next(
            (i["message"] for i in issues if i["code"] == code and i["school"] == name),
            "its data are incomplete",
        )
        yield because("school", state["state"], code, school=name, last_good=last, cause=_inner(cause))

    def _trouble(self, source: Source) -> Because:
        """Why a provider could not be used."""
        issue = next(iter(self.known.trouble.get(source.provider_id, ())), None)
        return because(
            "source",
            "not_usable",
            issue["code"] if issue else "RS-PRV-02",
            provider=source.name,
            trouble=_inner(
                issue["message"] if issue else "a list without which nothing can be told was not read"
            ),
        )

    def _without_source(self, who: int) -> Because:
        """What is to be said of a provider that is none of the sync's: a directory, or a retired one."""
        is_directory = self._provider(who) in {one.name for one in self.known.tenant.directories}
        if is_directory:
            return because("source", "directory", provider=self._provider(who))
        return because("gone", outcome.PROVIDER_RETIRED, provider=self._provider(who))

    def _nothing_published(self) -> Because | None:
        """Why the newest sync published nothing; None if it did."""
        sync = self.known.sync
        if sync is None:
            return because("sync", "never")
        if sync.get("dry_run"):
            return because("sync", "dry_run", sync=sync["sync_id"])
        if sync["status"] == outcome.FAILED:
            code = sync["issues"][0]["code"] if sync["issues"] else None
            message = sync["issues"][0]["message"] if sync["issues"] else "no reason is known"
            return because("sync", "failed", code, sync=sync["sync_id"], trouble=_inner(message))
        return None

    def _extract(self, who: int, *collections: str) -> str:
        source = self.known.by_id.get(who)
        if source is None:
            return ""
        states = {name: source.states.get(name, "failed") for name in collections}
        said = {name: because("collection", state).text for name, state in states.items()}
        if len(set(said.values())) == 1:
            return f"{' and '.join(said)} {said[collections[0]]}"
        return "; ".join(f"{name} {text}" for name, text in said.items())

    def _words(self, source: Source, **words: str) -> dict[str, str]:
        return {"provider": source.name, "relationship_type": source.options.relationship_type or "", **words}

    def _provider(self, who: int) -> str:
        return self.known.names.get(who, f"provider {who}")

    def _since(self, sync_id: str) -> str:
        day = self.known.days.get(int(sync_id or 0), "")
        return f"sync {sync_id}" + (f" ({day})" if day else "")


def _told(raw: Row, *names: str) -> dict[str, str]:
    """The fields that say something."""
    return {name: raw[name] for name in names if raw[name]}


def _span(begin: str, end: str) -> str:
    return f"{begin or 'open'} to {end or 'open'}" if begin or end else ""


def _called(session: Row) -> str:
    """`term Fall`; the kind is left out where the title says it."""
    kind, title = str(session["kind"]), str(session["title"])
    kind = _KINDS.get(kind, kind)
    return title if kind.casefold() in title.casefold() else f"{kind} {title}"


def _inner(message: str) -> str:
    """A sentence of an issue as part of another sentence."""
    text = message.rstrip(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text
