"""What is wrong with each school's data, counted once for all schools.

A flaw is a statement of one school with a count, never of one row. Which flaws keep a school back and
which only warn is the tenant's (`completeness`). What was not read is no flaw: where a collection is not
proven complete, nobody is called missing from it; the sync tells of the collection itself.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import pandas as pd

from roster_pipeline.rosters import rows, safeguards
from roster_pipeline.rosters.current import Current
from roster_pipeline.rosters.schools import Schools
from roster_pipeline.rosters.sessions import CURRENT, Sessions
from roster_pipeline.rosters.source import Published, Source, Tonight, key_of

CODES: Final = {
    "sessions_outdated": "RS-SES-01",
    "no_current_session": "RS-SES-06",
    "no_students": "RS-SAFE-07",
    "no_teachers": "RS-SAFE-08",
    "no_classes": "RS-SAFE-13",
    "masked": "RS-SAFE-09",
    "values_vanished": "RS-SAFE-18",
    "dangling": "RS-REF-05",
    "some_dangling": "RS-SAFE-17",
    "grade_vanished": "RS-SAFE-10",
    "classes_without_teachers": "RS-SAFE-14",
    "classes_without_students": "RS-SAFE-15",
    "students_in_no_class": "RS-SAFE-16",
    "no_merge_key": "RS-IDN-09",
}
"""Every flaw with its code; the words are those of a tenant's `keeps_back`."""

UNUSABLE = rows.NAMELESS | {rows.DELETED}
LIMITED = frozenset({"role_not_admitted", "school_not_admitted", "grade_not_admitted", "excluded_school"})
"""Users whom the settings took out are there all the same: their school is not incomplete."""

_NOT_WANTED = frozenset({"classroom_data_off", "excluded_school"})
"""Classes that the settings leave out: nobody is asked what is in them."""

_GRADE = 10
_SHARE = 0.5
_SEVERAL = 5
_USER: Final = [
    "provider_id", "source_id", "reason", "given_name", "family_name", "email", "identifier", "master",
    "enabled", "roles", "schools", "family", "student", "masked",
]  # fmt: skip
_FIELDS: Final = {"email": "an e-mail address", "given_name": "a given name", "family_name": "a family name"}


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with a school: a key of `CODES`, how much it concerns, and a sentence."""

    what: str
    count: int
    message: str


class Facts:
    """What the rows say of each school.

    Attributes:
        speaking: provider_ids of the usable sources.
        with_rows: school_ids that have a class or a user, also one whom the settings took out.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        schools: Schools,
        sessions: Sessions,
        current: Current,
        published: Published,
        tonight: Tonight,
    ) -> None:
        self.sources, self.published, self.tonight = sources, published, tonight
        self.excluded = schools.excluded
        self.speaking = {source.provider_id for source in sources if source.usable}
        self.whole = {s.provider_id for s in sources if s.proven("users", "classes", "enrollments")}
        self.calendars = {row.school_id: row for row in rows.each(sessions.calendars)}
        self.people: dict[str, Counter[str]] = defaultdict(Counter)
        self.vanished: dict[str, tuple[int, str]] = {}
        classes = sessions.classes[~rows.among(sessions.classes["reason"], UNUSABLE)]
        self.with_classes = set(classes.loc[~rows.among(classes["reason"], _NOT_WANTED), "school_id"])
        there = LIMITED | {"", rows.FORGOTTEN}
        users = [row for row in rows.each(current.users[_USER]) if row.reason in there]
        kept = [user for user in users if not user.reason]
        self._count_people(users)
        self._count_enrolments(current.enrolments)
        self.with_rows = set(classes["school_id"].tolist()) | {
            school for school, counted in self.people.items() if counted["rows"]
        }
        self._count_left(current.users)
        self._count_classes(classes, current.enrolments, users)
        self._count_keyless(kept)
        self._find_vanished_values(kept)
        self.grades = self._vanished_grades(current.users)
        self.running = self._running(sessions.sessions)

    # ------------------------------------------------------------------ what is said of a school

    def flaws(self, school_id: str, providers: Collection[int]) -> Iterator[Flaw]:
        """Everything that is wrong with the data of a school that these providers have.

        The order decides which flaw gives a school that is kept back its code.
        """
        yield from self._flaws_of_sessions(school_id)
        yield from self._flaws_of_size(school_id, providers)
        yield from self._flaws_of_identities(school_id)
        yield from self._flaws_of_references(school_id)
        grades = self.grades.get(school_id, [])
        if grades:
            count = sum(students for _, students in grades)
            which = f"grade{'s' if len(grades) > 1 else ''} {', '.join(grade for grade, _ in grades)}"
            yield Flaw("grade_vanished", count, f"All {count} students of {which} vanished at once.")
        yield from self._flaws_of_classes(school_id, providers)
        counted = self.people[school_id]
        keyless = counted["no key"] + counted["shared key"]
        if keyless:
            parts = {"have none": counted["no key"], "share theirs": counted["shared key"]}
            told = ", ".join(f"{count} {what}" for what, count in parts.items() if count)
            yield Flaw(
                "no_merge_key",
                keyless,
                f"{keyless} of {counted['keyed']} rows of students and staff have no e-mail address that "
                f"could join them with another source: {told}.",
            )

    def _flaws_of_sessions(self, school_id: str) -> Iterator[Flaw]:
        """Holidays are none: a school between sessions has a calendar, and it is not old."""
        calendar, counted = self.calendars.get(school_id), self.people[school_id]
        if calendar is None:
            classes = counted["classes that should have sessions"]
            if classes:
                found = f"None of the school's {classes} classes has a session that could be found."
                yield Flaw("no_current_session", classes, found)
            return
        age = (self.tonight.as_of - dt.date.fromisoformat(calendar.newest_end)).days
        if age > self.tonight.between_sessions_days:
            ended = f"The newest session ended {age} days before {self.tonight.day}."
            yield Flaw("sessions_outdated", 1, ended)

    def _flaws_of_size(self, school_id: str, providers: Collection[int]) -> Iterator[Flaw]:
        calendar, counted = self.calendars.get(school_id), self.people[school_id]
        if school_id not in self.with_classes or calendar is None or calendar.current != "true":
            return
        for role in ("student", "teacher"):
            if not counted[role] and not self._stand(school_id, role, set(providers) - self.speaking):
                yield Flaw(f"no_{role}s", 1, f"The school has no {role}s.")

    def _stand(self, school_id: str, role: str, silent: set[int]) -> bool:
        """Whether somebody of this role is published of a provider that cannot speak tonight."""
        silent -= self.tonight.retired
        links = self.published.live_links
        if not silent or links.empty:
            return False
        there = links[rows.among(links["provider_id"], silent)]
        people = self.published.people
        people = people[rows.among(people["person_id"], set(there["person_id"].tolist()))]
        return any(
            held == {"role": role, "school_id": school_id}
            for text in people["roles"].unique()
            for held in rows.parse_list(text)
        )

    def _flaws_of_identities(self, school_id: str) -> Iterator[Flaw]:
        """Masked values keep a school back, whatever they replaced; values that only went are told.

        Many empty e-mail addresses are no flaw by themselves: a primary school may have none. They are
        one where they were there at the last sync. Names are never missing in numbers for a good reason.
        """
        counted = self.people[school_id]
        masked = max(counted["masked"], counted["nameless"])
        alike = max(counted["same name"], counted["same e-mail"])
        if masked >= 2 and masked >= _SHARE * counted["people"]:
            yield Flaw(
                "masked", masked, f"{masked} of {counted['people']} people have masked names or e-mails."
            )
        elif alike >= _SEVERAL and alike >= _SHARE * counted["people"]:
            yield Flaw(
                "masked", alike, f"{alike} of {counted['people']} people share one name or one e-mail."
            )
        elif school_id in self.vanished:
            yield Flaw("values_vanished", *self.vanished[school_id])

    def _flaws_of_references(self, school_id: str) -> Iterator[Flaw]:
        counted = self.people[school_id]
        count = counted["dangling"]
        if count:
            what = "dangling" if count * 10 > counted["enrolments"] else "some_dangling"
            yield Flaw(what, count, f"{count} of {counted['enrolments']} enrolments refer to nothing.")

    def _flaws_of_classes(self, school_id: str, providers: Collection[int]) -> Iterator[Flaw]:
        """Between sessions, a school may have classes without anybody in them, or none at all."""
        calendar, counted = self.calendars.get(school_id), self.people[school_id]
        students = counted["students to teach"]
        if students and school_id not in self.with_classes and self._should_have_classes(providers):
            found = f"The school has {_number(students, 'student')} and no classes."
            yield Flaw("no_classes", students, found)
        if calendar is not None and calendar.current != "true":
            return
        for role in ("teacher", "student"):
            without = counted[f"classes without a {role}"]
            if without and (counted[role] or calendar is None):  # a school without any is told already
                of = counted["classes"]
                verb = "has" if of == 1 else "have"
                found = f"{without} of {_number(of, 'class', 'classes')} {verb} no {role}s."
                yield Flaw(f"classes_without_{role}s", without, found)
        alone = counted["students in no class"]
        if alone:
            of = counted["students of classes"]
            found = f"{alone} of {_number(of, 'student')} {'is' if of == 1 else 'are'} in no class."
            yield Flaw("students_in_no_class", alone, found)

    def _should_have_classes(self, providers: Collection[int]) -> bool:
        """Whether nothing explains that a school with students has not a single class.

        All that could bring them was read completely, and the providers are in session. A session belongs
        to the schools whose classes name it, so a school without classes has none; it is taken to be in
        session with the others, unless some of those are not: then it may have their calendar.
        """
        mine = set(providers) - self.tonight.retired
        if not mine <= self.speaking:
            return False
        teaching = [
            source
            for source in self.sources
            if source.provider_id in mine and source.options.sync_classroom_data
        ]
        return all(_knows_its_calendar(source) for source in teaching) and any(
            source.provider_id in self.running for source in teaching
        )

    # ------------------------------------------------------------------ counting

    def _count_people(self, users: Sequence[Any]) -> None:
        teaching = {s.provider_id for s in self.sources if s.options.sync_classroom_data}
        alike = Counter(
            (
                user.schools,
                user.roles,
                user.masked == "true",
                not (user.given_name or user.family_name),
                not user.reason and user.provider_id in teaching,
                user.reason == "excluded_school",
                user.reason == rows.FORGOTTEN,
            )
            for user in users
        )
        for (schools, roles, masked, nameless, kept, excluded, forgotten), count in alike.items():
            held = rows.parse_list(roles)
            at = {school for role, school in held if role == "student"}
            for school in rows.parse_list(schools):
                counted = self.people[school]
                counted["rows"] += count
                if excluded:  # there, but no part of the data that the school is judged by
                    continue
                if not forgotten:  # whose row is blank, but for the role: the school is not without them
                    counted["people"] += count
                    counted["masked"] += count * masked
                    counted["nameless"] += count * nameless
                counted["students to teach"] += count * kept * (school in at)
                for role in {role for role, _ in held} & {"student", "teacher"}:
                    counted[role] += count
        names = Counter(
            (user.schools, user.given_name, user.family_name)
            for user in users
            if user.given_name and user.family_name and user.reason != "excluded_school"
        )
        emails = Counter(
            (user.schools, user.email) for user in users if user.email and user.reason != "excluded_school"
        )
        for what, found in (("same name", names), ("same e-mail", emails)):
            most: dict[str, int] = {}
            for (schools, *_), count in found.items():
                most[schools] = max(most.get(schools, 0), count)
            for schools, count in most.items():
                for school in rows.parse_list(schools):
                    self.people[school][what] = max(self.people[school][what], count)

    def _count_enrolments(self, enrolments: pd.DataFrame) -> None:
        # Rows of different nights refer past each other: that says nothing of the school.
        mixed = {
            source.provider_id
            for source in self.sources
            if "stale" in {source.states[name] for name in ("users", "classes", "enrollments")}
        }
        alike = Counter(rows.keys(enrolments, "provider_id", "school_id", "reason", "dangling", "role"))
        for (who, school, reason, dangling, role), count in alike.items():
            # Nothing is said of a school that this provider is not to bring.
            if (reason in UNUSABLE and reason != rows.FORGOTTEN) or (who, school) in self.excluded:
                continue
            counted = self.people[school]
            if reason == rows.FORGOTTEN:
                counted["teacher"] += count * (role == "teacher")
                continue
            counted["enrolments"] += count
            counted["dangling"] += count * (dangling == "true" and who not in mixed)
            if role == "teacher" and reason in ("", "user_dropped"):
                # Somebody who teaches a class is a teacher, whatever the user row says.
                counted["teacher"] += count

    def _count_left(self, users: pd.DataFrame) -> None:
        """A school all of whose students have left still has rows."""
        for schools in {text for why, text in rows.keys(users, "reason", "schools") if why == "left"}:
            self.with_rows.update(rows.parse_list(schools))

    def _count_classes(self, classes: pd.DataFrame, enrolments: pd.DataFrame, users: Sequence[Any]) -> None:
        """Classes of today and who is in them, of the providers that were read completely."""
        timed = {
            source.provider_id
            for source in self.sources
            if source.proven("classes", "academicSessions") and not source.options.compatibility_mode
        }
        live: list[tuple[int, str, str]] = []
        excluded = set()
        for who, school, class_id, reason, fate, start, end in rows.keys(
            classes, "provider_id", "school_id", "class_id", "reason", "fate", "start_date", "end_date"
        ):
            if reason == "excluded_school":
                excluded.add(class_id)
            if who in timed and reason not in _NOT_WANTED:
                self.people[school]["classes that should have sessions"] += 1
            today = rows.day_within(start, end, self.tonight.as_of, exclusive=False)
            if reason == "" and fate == CURRENT and today and who in self.whole:
                live.append((who, school, class_id))
        if not live:
            return
        limited = {(user.provider_id, user.source_id) for user in users if user.reason}
        members: dict[str, set[str]] = {"student": set(), "teacher": set()}
        placed = set()
        for who, user, class_id, role, reason in rows.keys(
            enrolments, "provider_id", "user_ref", "class_id", "role", "reason"
        ):
            if reason in ("", rows.FORGOTTEN) or (reason == "user_dropped" and (who, user) in limited):
                if role in members:
                    members[role].add(class_id)
                placed.add((who, user))
            elif reason == "class_of_weaker_source" or (reason == "class_dropped" and class_id in excluded):
                placed.add((who, user))
        for _, school, class_id in live:
            counted = self.people[school]
            counted["classes"] += 1
            counted["classes without a teacher"] += class_id not in members["teacher"]
            counted["classes without a student"] += class_id not in members["student"]
        self._count_unplaced(users, placed, {(who, school) for who, school, _ in live})

    def _count_unplaced(
        self, users: Sequence[Any], placed: set[tuple[int, str]], bringing: set[tuple[int, str]]
    ) -> None:
        """Students in no class, of the providers that bring classes to their school.

        `placed` are those with any class, also one of an excluded school or of a weaker provider. Of
        students whom a provider without classes sends, another one may bring the classes. Accounts that
        are switched off wait for nobody.
        """
        found = Counter(
            (user.provider_id, user.roles, (user.provider_id, user.source_id) in placed)
            for user in users
            if not user.reason and user.student == "true" and user.enabled != "false"
        )
        for (who, roles, has_class), count in found.items():
            for school in {school for role, school in rows.parse_list(roles) if role == "student"}:
                if (who, school) in bringing:
                    counted = self.people[school]
                    counted["students of classes"] += count
                    counted["students in no class"] += count * (not has_class)

    def _count_keyless(self, users: Sequence[Any]) -> None:
        """Students and staff whom nothing could join with the tenant's other sources.

        A lone provider needs no key, and guardians come with their students: they often have none. Who
        is joined with another source already, by an earlier link, does not need one any more.
        """
        if len(self.sources) + len(self.tonight.directories) < 2:
            return
        kinds = {source.provider_id: source.options.merge.key for source in self.sources}
        keyed = [user for user in users if user.family != "true"]
        keys = [key_of(kinds[user.provider_id], user.email) if user.email else "" for user in keyed]
        often = Counter((user.provider_id, key) for user, key in zip(keyed, keys, strict=True))
        owners: dict[tuple[int, str], set[tuple[str, ...]]] = defaultdict(set)
        for user, key in zip(keyed, keys, strict=True):
            if key and often[user.provider_id, key] > 1:  # several rows of one human share no address
                owners[user.provider_id, key].add(_human(user))
        found: Counter[tuple[str, str]] = Counter()
        joined: set[tuple[int, str]] | None = None
        for user, key in zip(keyed, keys, strict=True):
            what = "" if key else "no key"
            if key and often[user.provider_id, key] > 1 and len(owners[user.provider_id, key]) > 1:
                what = "shared key"
            if what:
                joined = self._joined() if joined is None else joined
                what = "" if (user.provider_id, user.source_id) in joined else what
            found[user.schools, what] += 1
        for (schools, what), count in found.items():
            for school in rows.parse_list(schools):
                self.people[school]["keyed"] += count
                if what:
                    self.people[school][what] += count

    def _joined(self) -> set[tuple[int, str]]:
        """The links of published people whom more than one source has."""
        links = self.published.live_links
        sources: dict[str, set[int]] = defaultdict(set)
        for person, who in rows.keys(links, "person_id", "provider_id"):
            sources[person].add(who)
        return {
            (who, user)
            for who, user, person in rows.keys(links, "provider_id", "source_id", "person_id")
            if len(sources[person]) > 1
        }

    def _find_vanished_values(self, users: Sequence[Any]) -> None:
        """Schools many of whose people had an e-mail address or a name at the last sync and have none now.

        Many is what RS-SAFE-06 calls so: all, if they are at least two, or more than five and 5 %. That
        rule looks at a provider and keeps the values; a school may lose all of its own below its limits.
        """
        links = self.published.live_links
        empty = [user for user in users if not (user.email and user.given_name and user.family_name)]
        if links.empty or not empty:
            return
        wanted = {(user.provider_id, user.source_id) for user in empty}
        seen = {
            (who, source_id): text
            for who, source_id, text in rows.keys(links, "provider_id", "source_id", "seen")
            if (who, source_id) in wanted
        }
        lost: Counter[tuple[str, str]] = Counter()
        for user in empty:
            before = orjson.loads(seen.get((user.provider_id, user.source_id)) or b"{}")
            for name in _FIELDS:
                if before.get(name) and not getattr(user, name):
                    lost.update((school, name) for school in rows.parse_list(user.schools))
        if not lost:
            return
        linked = set(rows.keys(links, "provider_id", "source_id"))
        found: dict[str, tuple[int, str]] = {}
        for (school, name), count in sorted(lost.items()):
            if count < 2 or found.get(school, (0, ""))[0] >= count:
                continue
            had = count + sum(
                f'"{school}"' in user.schools
                and getattr(user, name) != ""
                and (user.provider_id, user.source_id) in linked
                for user in users
            )
            if safeguards.have_vanished(count, had):
                now = f"{count} of {had} people had {_FIELDS[name]} at the last sync and have none now."
                found[school] = count, now
        self.vanished = found

    def _running(self, sessions: pd.DataFrame) -> set[int]:
        """Providers in session today, as far as a school without classes can be told.

        One that sends no sessions at all has no holidays either.
        """
        outdated = dt.timedelta(days=self.tonight.between_sessions_days)
        oldest = (self.tonight.as_of - outdated).isoformat()
        on_holiday = any(
            row.current != "true" and row.newest_end >= oldest for row in self.calendars.values()
        )
        running = set()
        dated: set[int] = set()
        for who, start, end, reason in rows.keys(sessions, "provider_id", "start_date", "end_date", "reason"):
            if reason == "" and (start or end):
                dated.add(who)
                if not on_holiday and rows.day_within(start, end, self.tonight.as_of, exclusive=False):
                    running.add(who)
        return running | (self.speaking - dated)

    def _vanished_grades(self, users: pd.DataFrame) -> dict[str, list[tuple[str, int]]]:
        """school_id → (grade, students) of grades all of whose published students are gone.

        Gone is who has no row any more, neither under the id nor under the same e-mail and names.
        """
        people = self.published.people
        students = people[
            (people["removed"] != "true") & (people["inactive_since"] == "") & (people["grades"] != "")
        ]
        if students.empty:
            return {}
        proven = {source.provider_id for source in self.sources if source.proven("users")}
        rows_now = users[~rows.among(users["reason"], UNUSABLE)]
        present = set(rows.keys(rows_now, "provider_id", "source_id"))
        known_as = set(rows.keys(rows_now, "email", "given_name", "family_name"))
        links = self.published.live_links
        # A login that is still there says nothing of who goes to school.
        links = links[~rows.among(links["provider_id"], set(self.tonight.directories))]
        here = pd.Series(
            [key in present or key[0] not in proven for key in rows.keys(links, "provider_id", "source_id")],
            index=links.index,
            dtype=bool,
        )
        staying = set(links.loc[here, "person_id"].tolist())
        total: Counter[tuple[str, str]] = Counter()
        gone: Counter[tuple[str, str]] = Counter()
        for row in rows.each(students):
            is_gone = row.person_id not in staying and (
                (row.email, row.given_name, row.family_name) not in known_as
            )
            for role in rows.parse_list(row.roles):
                if role["role"] == "student" and role["school_id"]:
                    for grade in rows.parse_list(row.grades):
                        total[role["school_id"], grade] += 1
                        gone[role["school_id"], grade] += is_gone
        out: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for (school, grade), count in sorted(total.items()):
            if count >= _GRADE and gone[school, grade] == count:
                out[school].append((grade, count))
        return out


def _knows_its_calendar(source: Source) -> bool:
    """Whether its classes are all there, and its sessions, without which compatibility mode can do."""
    return source.proven("classes") and (
        source.options.compatibility_mode or source.proven("academicSessions")
    )


def _human(user: Any) -> tuple[str, ...]:
    """What rows of one human have in common (product.md, "Merging"), or the row's own id."""
    if user.master:
        return (user.master,)
    if user.identifier and "@" not in user.identifier:
        return user.identifier, user.given_name, user.family_name
    return (user.source_id,)


def _number(count: int, one: str, several: str = "") -> str:
    return f"{count} {one if count == 1 else several or one + 's'}"
