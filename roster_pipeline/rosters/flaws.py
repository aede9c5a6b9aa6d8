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
from functools import partial
from typing import Final

import numpy as np
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

_THERE = LIMITED | {"", rows.FORGOTTEN}
_LEFT_OUT = _THERE - {""}

_NOT_WANTED = frozenset({"classroom_data_off", "excluded_school"})
"""Classes that the settings leave out: nobody is asked what is in them."""

_GRADE = 10
_SHARE = 0.5
_SEVERAL = 5
_KEY: Final = ["provider_id", "source_id"]
_MERGED_BY: Final = ["email", "master", "identifier", "given_name", "family_name"]
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
        self.standing: dict[frozenset[int], set[tuple[str, str]]] = {}
        classes = sessions.classes[~rows.holds(sessions.classes["reason"], UNUSABLE.__contains__)]
        wanted = ~rows.holds(classes["reason"], _NOT_WANTED.__contains__)
        self.with_classes = set(classes.loc[wanted, "school_id"].unique().tolist())
        users = current.users
        # Of these there are few different ones, and they are asked for again and again.
        users = users.assign(**{name: rows.as_coded(users[name]) for name in ("reason", "schools", "roles")})
        self._count_people(users)
        self._count_enrolments(current.enrolments)
        self.with_rows = set(classes["school_id"].unique().tolist()) | {
            school for school, counted in self.people.items() if counted["rows"]
        }
        self._count_left(users)
        self._count_classes(classes, current.enrolments, users)
        self._count_keyless(users)
        self._find_vanished_values(users)
        self.grades = self._vanished_grades(users)
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
        quiet = frozenset(silent - self.tonight.retired)
        if not quiet or self.published.live_links.empty:
            return False
        if quiet not in self.standing:
            self.standing[quiet] = self._held_of(quiet)
        return (role, school_id) in self.standing[quiet]

    def _held_of(self, providers: frozenset[int]) -> set[tuple[str, str]]:
        """(role, school_id) of all roles of the published people whom any of these providers has."""
        links, people = self.published.live_links, self.published.people
        theirs = links.loc[links["provider_id"].isin(providers), ["person_id"]]
        held = people.loc[rows.are_in(people, theirs, "person_id"), "roles"]
        return {
            (entry["role"], entry["school_id"]) for text in held.unique() for entry in rows.parse_list(text)
        }

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

    def _count_people(self, users: pd.DataFrame) -> None:
        teaching = {s.provider_id for s in self.sources if s.options.sync_classroom_data}
        is_there = rows.holds(users["reason"], _THERE.__contains__)
        told = users[["schools", "roles", "reason", "provider_id"]].assign(
            masked=users["masked"] == "true",
            nameless=(users["given_name"] == "") & (users["family_name"] == ""),
        )
        for (schools, roles, reason, who, masked, nameless), count in rows.counted(
            told[is_there], *told.columns
        ):
            held = rows.parse_list(roles)
            at = {school for role, school in held if role == "student"}
            for school in rows.parse_list(schools):
                counted = self.people[school]
                counted["rows"] += count
                if reason == "excluded_school":  # there, but no part of the data that it is judged by
                    continue
                if reason != rows.FORGOTTEN:  # of whose row nothing is left but the role: somebody is there
                    counted["people"] += count
                    counted["masked"] += count * masked
                    counted["nameless"] += count * nameless
                counted["students to teach"] += count * (not reason and who in teaching and school in at)
                for role in {role for role, _ in held} & {"student", "teacher"}:
                    counted[role] += count
        is_judged = is_there & (users["reason"] != "excluded_school").to_numpy(dtype=bool)
        for what, names in (("same name", ["given_name", "family_name"]), ("same e-mail", ["email"])):
            has_all = is_judged.copy()
            for name in names:
                has_all &= (users[name] != "").to_numpy(dtype=bool)
            for schools, count in _alike(users.loc[has_all, ["schools", *names]]):
                for school in rows.parse_list(schools):
                    self.people[school][what] = max(self.people[school][what], count)

    def _count_enrolments(self, enrolments: pd.DataFrame) -> None:
        # Rows of different nights refer past each other: that says nothing of the school.
        mixed = {
            source.provider_id
            for source in self.sources
            if "stale" in {source.states[name] for name in ("users", "classes", "enrollments")}
        }
        for (who, school, reason, dangling, role), count in rows.counted(
            enrolments, "provider_id", "school_id", "reason", "dangling", "role"
        ):
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
        for schools in users.loc[(users["reason"] == "left").to_numpy(), "schools"].unique().tolist():
            self.with_rows.update(rows.parse_list(schools))

    def _count_classes(self, classes: pd.DataFrame, enrolments: pd.DataFrame, users: pd.DataFrame) -> None:
        """Classes of today and who is in them, of the providers that were read completely."""
        timed = {
            source.provider_id
            for source in self.sources
            if source.proven("classes", "academicSessions") and not source.options.compatibility_mode
        }
        reason = classes["reason"]
        is_due = classes["provider_id"].isin(timed) & ~rows.holds(reason, _NOT_WANTED.__contains__)
        for (school,), count in rows.counted(classes.loc[is_due, ["school_id"]], "school_id"):
            self.people[school]["classes that should have sessions"] += count
        is_live = (reason == "") & (classes["fate"] == CURRENT) & classes["provider_id"].isin(self.whole)
        is_live &= rows.within(
            classes["start_date"], classes["end_date"], self.tonight.as_of, exclusive=False
        )
        live = classes.loc[is_live, ["provider_id", "school_id", "class_id"]]
        if live.empty:
            return
        excluded = set(classes.loc[(reason == "excluded_school").to_numpy(), "class_id"].tolist())
        of_users, of_enrolments, most = self._numbers(users, enrolments)
        is_limited = _marks(most, of_users[rows.holds(users["reason"], _LEFT_OUT.__contains__)])
        why, class_ids = enrolments["reason"], enrolments["class_id"]
        is_in = rows.holds(why, ("", rows.FORGOTTEN).__contains__)
        is_in |= (why == "user_dropped").to_numpy(dtype=bool) & is_limited[of_enrolments]
        # Also in a class of a weaker provider or of an excluded school.
        is_placed = is_in | (why == "class_of_weaker_source").to_numpy(dtype=bool)
        if excluded:
            is_placed |= (why == "class_dropped").to_numpy(dtype=bool) & rows.holds(
                class_ids, excluded.__contains__
            )
        codes, ids = rows.coded(class_ids)
        places = rows.places(pd.Series(ids), live["class_id"])
        for role in ("teacher", "student"):
            has_role = (enrolments["role"] == role).to_numpy(dtype=bool)
            live[role] = _marks(len(ids), codes[is_in & has_role])[places]
        for (school, taught, attended), count in rows.counted(live, "school_id", "teacher", "student"):
            counted = self.people[school]
            counted["classes"] += count
            counted["classes without a teacher"] += count * (not taught)
            counted["classes without a student"] += count * (not attended)
        bringing = {pair for pair, _ in rows.counted(live, "provider_id", "school_id")}
        self._count_unplaced(users, _marks(most, of_enrolments[is_placed])[of_users], bringing)

    def _numbers(self, users: pd.DataFrame, enrolments: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, int]:
        """A number for each user and for each enrolment, the same where it is the user's, and their limit.

        -1 for users without any enrolment.
        """
        providers = np.array(sorted(source.provider_id for source in self.sources))
        one, other = (
            np.searchsorted(providers, frame["provider_id"].to_numpy()) for frame in (users, enrolments)
        )
        codes, names = rows.coded(enrolments["user_ref"])
        places = rows.places(pd.Series(names), users["source_id"])
        return (
            np.where(places < 0, -1, one * len(names) + places),
            other * len(names) + codes,
            len(providers) * len(names),
        )

    def _count_unplaced(
        self, users: pd.DataFrame, is_placed: np.ndarray, bringing: set[tuple[int, str]]
    ) -> None:
        """Students in no class, of the providers that bring classes to their school.

        `is_placed` are those with any class, also one of an excluded school or of a weaker provider. Of
        students whom a provider without classes sends, another one may bring the classes. Accounts that
        are switched off wait for nobody.
        """
        waits = (users["reason"] == "") & (users["student"] == "true") & (users["enabled"] != "false")
        told = users[["provider_id", "roles"]].assign(placed=is_placed)[waits.to_numpy(dtype=bool)]
        for (who, roles, has_class), count in rows.counted(told, "provider_id", "roles", "placed"):
            for school in {school for role, school in rows.parse_list(roles) if role == "student"}:
                if (who, school) in bringing:
                    counted = self.people[school]
                    counted["students of classes"] += count
                    counted["students in no class"] += count * (not has_class)

    def _count_keyless(self, users: pd.DataFrame) -> None:
        """Students and staff whom nothing could join with the tenant's other sources.

        A lone provider needs no key, and guardians come with their students: they often have none. Who
        is joined with another source already, by an earlier link, does not need one any more.
        """
        if len(self.sources) + len(self.tonight.directories) < 2:
            return
        is_keyed = (users["reason"] == "") & (users["family"] != "true")
        users = users.loc[is_keyed.to_numpy(dtype=bool), [*_KEY, "schools", *_MERGED_BY]]
        keyed = users[["provider_id", "schools"]].assign(key=self._keys(users))
        number, met = pd.factorize(rows.numbered(keyed, "provider_id", "key"))
        is_often = np.bincount(number, minlength=len(met)) > 1
        has_none = (keyed["key"] == "").to_numpy(dtype=bool)
        shares = ~has_none & is_often[number]
        if shares.any():
            shares[shares] = _of_several(users[shares], number[shares])
        lacks = has_none | shares
        if lacks.any():
            lacks[lacks] = ~rows.are_in(users[lacks], self._joined(), "provider_id", "source_id")
        told = keyed[["schools"]].assign(none=has_none & lacks, shared=shares & lacks)
        for (schools, none, shared), count in rows.counted(told, "schools", "none", "shared"):
            for school in rows.parse_list(schools):
                counted = self.people[school]
                counted["keyed"] += count
                counted["no key"] += count * none
                counted["shared key"] += count * shared

    def _keys(self, users: pd.DataFrame) -> pd.Series:
        """The merge key of each user's e-mail address, by the kind of the provider; "" without one."""
        keys = users["email"]
        kinds = {source.provider_id: source.options.merge.key for source in self.sources}
        for kind in sorted(set(kinds.values()) - {"email"}):  # for which the key is the address itself
            others = users["provider_id"].isin([who for who, its in kinds.items() if its != kind])
            keys = keys.where(others, rows.mapped(keys, partial(key_of, kind)))
        return keys

    def _joined(self) -> pd.DataFrame:
        """The links of published people whom more than one source has: provider_id, source_id."""
        links = self.published.live_links[["provider_id", "source_id", "person_id"]]
        pairs = links[["person_id", "provider_id"]].drop_duplicates()
        several = pairs[pairs["person_id"].duplicated()]
        return links[rows.are_in(links, several, "person_id")]

    def _find_vanished_values(self, users: pd.DataFrame) -> None:
        """Schools many of whose people had an e-mail address or a name at the last sync and have none now.

        Many is what RS-SAFE-06 calls so: all, if they are at least two, or more than five and 5 %. That
        rule looks at a provider and keeps the values; a school may lose all of its own below its limits.
        """
        links = self.published.live_links
        if links.empty:
            return
        is_kept = (users["reason"] == "").to_numpy(dtype=bool)
        lost: Counter[tuple[str, str]] = Counter()
        for name in _FIELDS:
            empty = users.loc[is_kept & (users[name] == "").to_numpy(dtype=bool), [*_KEY, "schools"]]
            if empty.empty:
                continue
            is_lost = links["seen"].str.contains(f'"{name}"', regex=False) & rows.are_in(links, empty, *_KEY)
            had = links.loc[is_lost, [*_KEY, "seen"]]
            places = rows.places_in(had, empty)
            met = empty[places >= 0].assign(seen=had["seen"].iloc[places[places >= 0]].array)
            for schools, seen in rows.keys(met, "schools", "seen"):
                if orjson.loads(seen).get(name):
                    lost.update((school, name) for school in rows.parse_list(schools))
        if not lost:
            return
        has = self._having(users.loc[is_kept, [*_KEY, "schools", *_FIELDS]])
        found: dict[str, tuple[int, str]] = {}
        for (school, name), count in sorted(lost.items()):
            if count < 2 or found.get(school, (0, ""))[0] >= count:
                continue
            had_it = count + has[school, name]
            if safeguards.have_vanished(count, had_it):
                now = f"{count} of {had_it} people had {_FIELDS[name]} at the last sync and have none now."
                found[school] = count, now
        self.vanished = found

    def _having(self, users: pd.DataFrame) -> Counter[tuple[str, str]]:
        """(school, field) → those of these users who are linked and have a value there."""
        users = users[rows.are_in(users, self.published.live_links, *_KEY)]
        out: Counter[tuple[str, str]] = Counter()
        for name in _FIELDS:
            having = users.loc[(users[name] != "").to_numpy(dtype=bool), ["schools"]]
            for (schools,), count in rows.counted(having, "schools"):
                for school in rows.parse_list(schools):
                    out[school, name] += count
        return out

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
        is_student = (
            (people["removed"] != "true") & (people["inactive_since"] == "") & (people["grades"] != "")
        )
        students = people.loc[is_student, ["person_id", "roles", "grades"]]
        if students.empty:
            return {}
        proven = {source.provider_id for source in self.sources if source.proven("users")}
        now = ~rows.holds(users["reason"], UNUSABLE.__contains__)
        links = self.published.live_links[[*_KEY, "person_id"]]
        # A login that is still there says nothing of who goes to school.
        links = links[~links["provider_id"].isin(set(self.tonight.directories))]
        here = ~links["provider_id"].isin(proven).to_numpy()
        here |= rows.are_in(links, users.loc[now, _KEY], *_KEY)
        is_gone = ~rows.are_in(students, links[here], "person_id")
        if not is_gone.any():
            return {}
        names = ["email", "given_name", "family_name"]
        is_gone[is_gone] = ~rows.are_in(people.loc[is_student, names][is_gone], users.loc[now, names], *names)
        total: Counter[tuple[str, str]] = Counter()
        gone: Counter[tuple[str, str]] = Counter()
        for (roles, grades, missing), count in rows.counted(
            students.assign(gone=is_gone), "roles", "grades", "gone"
        ):
            for role in rows.parse_list(roles):
                if role["role"] == "student" and role["school_id"]:
                    for grade in rows.parse_list(grades):
                        total[role["school_id"], grade] += count
                        gone[role["school_id"], grade] += count * missing
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


def _marks(count: int, places: np.ndarray) -> np.ndarray:
    """Whether each of so many is among these; behind them, at -1, is one that never is."""
    marks = np.zeros(count + 1, dtype=bool)
    marks[places] = True
    marks[-1] = False
    return marks


def _alike(users: pd.DataFrame) -> Iterator[tuple[str, int]]:
    """`schools`, and how many of its people have the same values in all other columns: `_SEVERAL` or more."""
    number, met = pd.factorize(rows.numbered(users, *users.columns))
    often = np.bincount(number, minlength=len(met))[number]
    several = often >= _SEVERAL
    told = users.loc[several, ["schools"]].assign(often=often[several])
    return (found for found, _ in rows.counted(told, "schools", "often"))


def _of_several(users: pd.DataFrame, key: np.ndarray) -> np.ndarray:
    """Whether the rows with the key of each are of more than one human.

    Rows of one human have the master identifier in common, or else the identifier and the names
    (product.md, "Merging"). A row without any is of nobody else.
    """
    has_master = users["master"] != ""
    by_name = ~has_master & (users["identifier"] != "") & ~users["identifier"].str.contains("@", regex=False)
    human = pd.DataFrame(
        {
            "key": key,
            "by_name": by_name.array,
            "id": users["master"]
            .where(has_master, users["identifier"].where(by_name, users["source_id"]))
            .array,
            **{name: users[name].where(by_name, "").array for name in ("given_name", "family_name")},
        }
    ).drop_duplicates()
    several = human.loc[human["key"].duplicated(), "key"]
    out: np.ndarray = pd.Series(key).isin(several).to_numpy()
    return out


def _number(count: int, one: str, several: str = "") -> str:
    return f"{count} {one if count == 1 else several or one + 's'}"
