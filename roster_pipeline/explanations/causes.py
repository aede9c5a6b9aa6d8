"""What speaks against somebody or something being published, in words, the decisive cause first.

The causes are found in the order in which the rules decide; the words of each are in `sentences`. What is
told together of one person or class is for `explanation`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any, Final

from roster_pipeline.explanations.known import Key, Known, Row
from roster_pipeline.explanations.sentences import Because, because
from roster_pipeline.oneroster import vocabulary
from roster_pipeline.rosters import completeness, outcome, rows
from roster_pipeline.rosters.current import VANISHED
from roster_pipeline.rosters.sessions import FROZEN, GAP
from roster_pipeline.rosters.source import Source, key_of
from roster_pipeline.rosters.statuses import FAILED

AGAINST: Final = (outcome.DROPPED, outcome.GONE, "unmatched")
"""The outcomes of users who are nobody of tonight's roster."""
_KINDS: Final = {"schoolYear": "school year", "gradingPeriod": "grading period"}
_HELD: Final = ("RS-SAFE-01", "RS-SAFE-02", "RS-SAFE-03")


class Causes:
    """Finds the causes in what is `known`."""

    def __init__(self, known: Known) -> None:
        """Looks at nothing yet."""
        self.known = known

    def no_key(self, key: Key) -> str:
        """Why a user without an e-mail has none."""
        raw = self.known.raw(key[0], "users", key[1])
        masked = raw is not None and vocabulary.is_masked(raw["email"])
        return "the e-mail address is masked" if masked else "the row has no e-mail address"

    def became(self, key: Key) -> dict[str, str]:
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

    def of_user(self, key: Key, name: str) -> Iterator[Because]:
        """Why the user is matched, created or not: one cause, and the provider's trouble before it."""
        source = self.known.by_id[key[0]]
        if not source.usable:
            yield self._trouble(source)
        became = self.became(key)
        area = became["outcome"]
        if area == "matched":
            area = became["evidence"]
        user = self.known.users.get(key)
        words = self._words(
            source, name=name, what="user", key=self._key_in_words(key), no_key=self.no_key(key)
        )
        if not area or not became["reason"]:
            return
        reason = became["reason"]
        if reason == "left" and user is not None and self._is_between_sessions(source, user):
            reason = "left_before"
        found = because(area, reason, **words)
        if became["reason"] == "left" and user is not None and user["left"] == VANISHED:
            text = f"{found.text} {source.name} sent enrolments of theirs before, and sends none any more."
            found = Because(found.reason, text, found.code, found.cure)
        yield found

    def _is_between_sessions(self, source: Source, user: Row) -> bool:
        """Whether no session of the user's schools is current, where there are sessions."""
        if source.options.compatibility_mode and source.frames["academicSessions"].empty:
            return False
        calendars = self.known.sessions.calendars
        mine = calendars[rows.among(calendars["school_id"], set(rows.parse_list(user["schools"])))]
        return not (mine["current"] == "true").any()

    def _key_in_words(self, key: Key) -> str:
        source, user = self.known.by_id[key[0]], self.known.users.get(key)
        if user is None or not user["email"]:
            return "this e-mail address"
        if source.options.merge.key == "email":
            return f"the e-mail address {user['email']}"
        return f"“{key_of(source.options.merge.key, user['email'])}” before the @ of the e-mail address"

    def of_enrolment(self, row: dict[str, Any], key: Key, name: str) -> list[Because]:
        """What speaks against a membership, the decisive first; nothing where the row counts."""
        found = list(dict.fromkeys(self._against(row, key, name)))
        if not found and row["reason"]:  # what it rests on is not to be found: then the reason alone
            found = [
                because("enrolment", row["reason"], name=name, provider=self.provider(row["provider_id"]))
            ]
        return found

    def _against(self, row: dict[str, Any], key: Key, name: str) -> Iterator[Because]:
        source, why = self.known.by_id[row["provider_id"]], row["reason"]
        options = source.options
        words = self._words(
            source, name=name, what="enrolment", school=self.known.school_name(row["school_id"])
        )
        if why in rows.NAMELESS | {rows.DELETED}:
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
            when = self.when("The enrolment", row["begin_date"], row["end_date"], source)
            if "ended" in when:
                when += f" (end dates are {options.end_dates})"
            yield because("enrolment", "not_current", **words, when=when)
        yield from self.of_class(row["class_id"])
        became = self.became(key)
        if became["outcome"] in (outcome.DROPPED, "unmatched"):
            yield from self.of_user(key, name)

    def of_none(
        self, name: str, person_id: str, users: Sequence[Key], class_id: str, row: Row
    ) -> Iterator[Because]:
        """Why somebody has no enrolment in a class, and what speaks against the class besides."""
        who = int(row.get("provider_id") or 0)
        source = self.known.by_id.get(who)
        if source is None:
            yield self.of_no_source(who)
            return
        words = self._words(source, name=name)
        if not source.usable:
            yield self._trouble(source)
        mine = [key for key in users if key[0] == who]
        gone = [key for key in mine if self.became(key)["outcome"] in AGAINST]
        if source.usable and mine and len(gone) == len(mine):
            for key in gone:
                yield from self.of_user(key, name)
        rows_of = [self.known.users[key] for key in users if key in self.known.users]
        if rows_of and all(user["family"] for user in rows_of):
            yield because("enrolment", "family", **words)
            return
        theirs = {school for user in rows_of for school in rows.parse_list(user["schools"])}
        if theirs and row["school_id"] not in theirs:
            named = sorted(self.known.school_name(school) for school in theirs)
            school = self.known.school_name(row["school_id"])
            yield because("enrolment", "other_school", **words, school=school, theirs=" and ".join(named))
        if source.usable:
            yield because("enrolment", "not_sent" if mine else "no_user", **words)
        yield from self.of_class(class_id)

    def of_class(self, class_id: str) -> Iterator[Because]:
        """What speaks against a class, the decisive first; nothing for one that is as it should be."""
        row = self.known.class_rows.get(class_id)
        if row is None:
            record = self.known.record("classes", "class_id", class_id)
            if record is not None:
                who = int(record["provider_id"] or 0)
                source = self.known.by_id.get(who)
                if source is None:
                    yield self.of_no_source(who)
                elif not source.usable:
                    yield self._trouble(source)
                else:
                    yield because("class", "not_sent", provider=source.name)
                yield from self.of_school(record["school_id"])
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
        yield from self.of_school(row["school_id"])

    def _not_current(self, class_id: str, row: Row) -> str:
        """Why none of the class's sessions counts today, in words."""
        source = self.known.by_id[int(row["provider_id"])]
        named = self.known.sessions_of(class_id)
        told = [self.when(called(one), one["start_date"], one["end_date"], source) for one in named]
        if not told or not all(told):
            return self.when("It", row["start_date"], row["end_date"], source) or "It is not current"
        if all(one["end_date"] and one["end_date"] <= self.known.as_of for one in named):
            last = max(named, key=lambda one: one["end_date"])
            what = f"Its last session, {called(last)}," if len(named) > 1 else f"Its {called(last)}"
            return self.when(what, "", last["end_date"], source)
        return "Its " + " and its ".join(told)

    def when(self, what: str, begin: str, end: str, source: Source) -> str:
        """`what` ended on a day, or begins only on one; "" if neither."""
        day, exclusive = dt.date.fromisoformat(self.known.as_of), source.options.end_dates == "exclusive"
        if not rows.day_within(begin, "", day, exclusive=exclusive):
            return f"{what} begins only on {begin}"
        return "" if rows.day_within("", end, day, exclusive=exclusive) else f"{what} ended on {end}"

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

    def stays(self, class_id: str) -> Iterator[Because]:
        """Why something of a class is published all the same."""
        record = self.known.record("classes", "class_id", class_id)
        row = self.known.klass(class_id)
        school, who = (record or row).get("school_id", ""), int(row.get("provider_id") or 0)
        source = self.known.by_id.get(who)
        state = self.known.school_states.get(school, {}).get("state", completeness.PUBLISHED)
        words = {"school": self.known.school_name(school), "provider": self.provider(who)}
        if state in (completeness.KEPT, completeness.SILENT, completeness.EXCLUDED):
            yield because("stays", "school", **words)
        elif self.nothing_published() is not None:
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

    def of_school(self, school_id: str) -> Iterator[Because]:
        """What keeps a school from being published as it is now; nothing where nothing does."""
        state = self.known.school_states.get(school_id)
        if state is None or state["state"] == completeness.PUBLISHED:
            return
        record = self.known.record("schools", "school_id", school_id)
        day = record["state_as_of"] if record is not None and not record["removed_at"] else ""
        last = f"; its roster of {day} stays" if day else "; nothing of it is published"
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

    def of_no_source(self, who: int) -> Because:
        """What is to be said of a provider that is none of the sync's: a directory, or a retired one."""
        is_directory = self.provider(who) in {one.name for one in self.known.tenant.directories}
        if is_directory:
            return because("source", "directory", provider=self.provider(who))
        return because("gone", outcome.PROVIDER_RETIRED, provider=self.provider(who))

    def nothing_published(self) -> Because | None:
        """Why the newest sync published nothing; None if it did."""
        sync = self.known.sync
        if sync is None:
            return because("sync", "never")
        if sync.get("dry_run"):
            return because("sync", "dry_run", sync=sync["sync_id"])
        if sync["status"] == FAILED:
            code = sync["issues"][0]["code"] if sync["issues"] else None
            message = sync["issues"][0]["message"] if sync["issues"] else "no reason is known"
            return because("sync", "failed", code, sync=sync["sync_id"], trouble=_inner(message))
        return None

    def _words(self, source: Source, **words: str) -> dict[str, str]:
        return {"provider": source.name, "relationship_type": source.options.relationship_type or "", **words}

    def provider(self, who: int) -> str:
        """The present name of a provider or directory, the last one of a retired one."""
        return self.known.names.get(who, f"provider {who}")


def called(session: Row) -> str:
    """`term Fall`; the kind is left out where the title says it."""
    kind, title = str(session["kind"]), str(session["title"])
    kind = _KINDS.get(kind, kind)
    return title if kind.casefold() in title.casefold() else f"{kind} {title}"


def _inner(message: str) -> str:
    """A sentence of an issue as part of another sentence."""
    text = message.rstrip(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text
