"""Which rows count on the day, and which schools are kept back: product.md before "Merging"."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, field, replace
from typing import Any, Final

from roster_pipeline.tenants.document import Provider as Options
from roster_pipeline.tenants.document import Tenant

Row = dict[str, Any]
User = tuple[str, str]  # (provider or directory, sourcedId); classes and orgs are named likewise
School = tuple[str, str]  # the first org that was known of it
Span = tuple[dt.date | None, dt.date | None]

FAMILY: Final = {"parent", "guardian", "relative"}
# Whom the settings took out is there all the same: it does not make the school's data incomplete.
LIMITED: Final = ("role not wanted", "grade not wanted", "school not wanted", "school excluded")
UNKNOWN = "sessions not read"  # of a class: its sessions are over, as far as they are known


class Silent(Exception):  # noqa: N818 - not an error: the page does not decide this tenant
    """The page does not say what happens here."""


@dataclass
class Feed:
    """What one provider sent: rows with OneRoster's names, references as ids, lists as lists."""

    options: Options
    rows: dict[str, list[Row]]
    states: dict[str, str]

    @property
    def name(self) -> str:
        return self.options.name

    @property
    def complete(self) -> bool:
        """ "Nobody and nothing is removed unless a complete extract shows them gone: removing people needs
        users and enrollments ok" (architecture.md, invariant 1)."""
        return self.states["users"] == self.states["enrollments"] == "ok"

    @property
    def unread(self) -> bool:
        """ "Courses may fail without failing the sync; orgs, users, classes, enrolments may not"; sessions
        are "required when the session option is on", but in compatibility mode (oneroster.md §4.1). "A
        required collection that failed → no publish for that provider" (§7.4): nothing of it says anything
        tonight."""
        asked = self.options.respect_academic_sessions and not self.options.compatibility_mode
        required = {"orgs", "users", "classes", "enrollments", *(["academicSessions"] if asked else [])}
        return any(self.states[name] == "failed" for name in required)

    @property
    def blank(self) -> bool:
        """Whether "all six collections come back empty"."""
        return not self.unread and not any(self.rows.values())


@dataclass
class Here:
    """One feed's rows, and what became of each: reason for dropping, or ""."""

    feed: Feed
    rows: dict[str, dict[str, Row]] = field(default_factory=dict)  # collection → id → active row
    ids: dict[str, set[str]] = field(default_factory=dict)  # of all rows, deleted ones too
    school_of: dict[str, School] = field(default_factory=dict)
    excluded: set[School] = field(default_factory=set)
    had_schools: set[School] = field(default_factory=set)  # as known from earlier nights
    classes: dict[str, str] = field(default_factory=dict)
    staying: set[str] = field(default_factory=set)  # classes that stay as published, whatever their sessions
    class_spans: dict[str, list[Span]] = field(default_factory=dict)
    enrolments: dict[str, str] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)
    left: set[str] = field(default_factory=set)
    roles: dict[str, set[tuple[str, str]]] = field(default_factory=dict)  # user → (role, org)
    schools_of: dict[str, set[School]] = field(default_factory=dict)  # user → schools
    agents: set[tuple[str, str]] = field(default_factory=set)  # (student, adult)

    @property
    def name(self) -> str:
        return self.feed.name

    @property
    def options(self) -> Options:
        return self.feed.options

    def is_student(self, user: str) -> bool:
        return any(role == "student" for role, _ in self.roles[user])

    def is_guardian_only(self, user: str) -> bool:
        return {role for role, _ in self.roles[user]} <= FAMILY


@dataclass
class Tonight:
    """All feeds, the strongest first, and the schools."""

    tenant: Tenant
    as_of: dt.date
    feeds: list[Here]
    orgs: dict[School, list[User]] = field(default_factory=dict)
    spans: dict[School, list[tuple[Span, bool]]] = field(default_factory=dict)  # with: end is exclusive
    kept_back: dict[School, set[str]] = field(default_factory=dict)
    empty: set[School] = field(default_factory=set)
    there: set[User] = field(default_factory=set)  # with whom somebody active is published
    doubtful: set[School] = field(default_factory=set)  # whose classes are published, the page does not say

    def current(self, school: School) -> bool:
        """Whether a session of the school is current."""
        return any(within(span, self.as_of, exclusive) for span, exclusive in self.spans.get(school, []))

    def excluded(self, school: School) -> bool:
        """Excluded by all providers that have it, also by those that were not read tonight."""
        having = [
            here
            for here in self.feeds
            if school in (here.had_schools if here.feed.unread else here.school_of.values())
        ]
        return bool(having) and all(school in here.excluded for here in having)

    def silent(self, school: School) -> bool:
        """Whether nobody who brings the school was read: it stays as it is."""
        return not self.excluded(school) and all(
            here.feed.unread or school in here.excluded
            for here in self.feeds
            if school in {*here.school_of.values(), *here.had_schools}
        )

    def here(self, name: str) -> Here:
        return next(here for here in self.feeds if here.name == name)


# ------------------------------------------------------------------------------------------ dates


def day(text: str) -> dt.date | None:
    """ "Trim; take the first 10 characters if they match a date" (oneroster.md §1.12)."""
    try:
        found = re.match(r"\d{4}-\d{2}-\d{2}", text.strip())
        return dt.date.fromisoformat(found[0]) if found else None
    except ValueError:
        return None


def dates(begin: str, end: str) -> Span:
    """ "Begin after end: both dates are ignored, with a warning." """
    first, last = day(begin), day(end)
    return (None, None) if first and last and first > last else (first, last)


def within(span: Span, as_of: dt.date, exclusive: bool) -> bool:
    """ "(b is None or b ≤ today) and (e is None or today ≤ e [inclusive] / today < e [exclusive])"."""
    begin, end = span
    return (begin is None or begin <= as_of) and (
        end is None or as_of < end or (as_of == end and not exclusive)
    )


# ------------------------------------------------------------------------------------------ rows and schools


def read(feed: Feed) -> Here:
    """ "Never tobedeleted or inactive rows"; of a repeated one "keep the row with the newest
    dateLastModified" (oneroster.md §2.2). Of a provider that is unread nothing is."""
    here = Here(replace(feed, states=dict.fromkeys(feed.states, "failed")) if feed.unread else feed)
    for collection, rows in feed.rows.items() if not feed.unread else [(name, []) for name in feed.rows]:
        newest: dict[str, Row] = {}
        for row in rows:
            other = newest.setdefault(row["sourcedId"], row)
            if other != row and other["dateLastModified"] == row["dateLastModified"]:
                raise Silent  # which of two different rows with one id and one date is the right one
            if row["dateLastModified"] > other["dateLastModified"]:
                newest[row["sourcedId"]] = row
        active = {
            name: row
            for name, row in newest.items()
            if name and row["status"].lower() not in ("tobedeleted", "inactive")
        }
        here.ids[collection] = set(newest)
        here.rows[collection] = active
    return here


def join_schools(tonight: Tonight, known: dict[User, School], remembered: dict[User, Row]) -> None:
    """ "Schools of two providers are one when their non-empty identifiers are equal, or, where one of them
    has none, when their names are; two different identifiers are two schools." Whose school was known
    before has it still, also where its provider is unread tonight (`remembered` are the org rows)."""
    rows: dict[School, list[Row]] = {}

    def have(name: str, row: Row, school: School) -> None:
        rows.setdefault(school, []).append(
            {"feed": name, "name": row["name"], "identifier": row.get("identifier", "")}
        )

    for here in tonight.feeds:
        here.had_schools = {school for (name, _), school in known.items() if name == here.name}
        for org, row in here.rows["orgs"].items():
            if row["type"] == "school" and (here.name, org) in known:
                have(here.name, row, known[here.name, org])
        if here.feed.states["orgs"] == "failed":
            for (name, org), school in known.items():
                if name == here.name:
                    have(name, remembered[name, org], school)
    for here in tonight.feeds:
        for org, row in here.rows["orgs"].items():
            if row["type"] != "school":
                continue
            mine = row.get("identifier", "")
            if (here.name, org) in known:
                school = known[here.name, org]
            else:
                others = {s: [o for o in many if o["feed"] != here.name] for s, many in rows.items()}
                same = [
                    s for s, many in others.items() if mine and any(mine == o["identifier"] for o in many)
                ]
                same = same or [
                    s
                    for s, many in others.items()
                    if any(o["name"] == row["name"] and not (mine and o["identifier"]) for o in many)
                ]
                if len(same) > 1:
                    raise Silent  # which of two schools of one name
                school = same[0] if same else (here.name, org)
                have(here.name, row, school)
            here.school_of[org] = school
            tonight.orgs.setdefault(school, []).append((here.name, org))
            if {org, mine, row["name"]} & set(here.options.exclude_schools):
                here.excluded.add(school)


# ------------------------------------------------------------------------------------------ sessions, classes


def spans_of(here: Here, class_: Row) -> list[Span]:
    """The dates of a class's sessions; no longer there or unknown ones are ignored.

    "A class that names only a grading period lives by that one's dates." "Do not climb to the parent ...
    Climb only when the listed session has no usable dates." "If none of the refs resolve or terms is missing
    → course.schoolYear session → else the union of the class's enrolment dates → else undated." """

    def of(name: str) -> Span | None:
        session = here.rows["academicSessions"].get(name)
        if session is None:
            return None
        span = dates(session.get("startDate", ""), session.get("endDate", ""))
        return span if any(span) else of(session.get("parent", ""))

    found = [span for span in map(of, class_["terms"]) if span]
    kinds = {here.rows["academicSessions"].get(name, {}).get("type") for name in class_["terms"]} - {None}
    if "gradingPeriod" in kinds and len(kinds) > 1:
        raise Silent  # a grading period beside a longer session
    if found:
        return found
    course = here.rows["courses"].get(class_["course"], {})
    if year := of(course.get("schoolYear", "")):
        return [year]
    mine = [
        dates(row.get("beginDate", ""), row.get("endDate", ""))
        for row in here.rows["enrollments"].values()
        if row["class"] == class_["sourcedId"]
    ]
    if any(map(any, mine)) and not all(map(all, mine)):
        raise Silent  # the union of dates some of which are missing
    begins, ends = [b for b, _ in mine if b], [e for _, e in mine if e]
    return [(min(begins), max(ends))] if begins and ends else []


def outer(spans: list[Span]) -> Span:
    """From the first day to the last; one that is missing is open."""
    starts, ends = [begin for begin, _ in spans], [end for _, end in spans]
    return (
        min(b for b in starts if b) if starts and all(starts) else None,
        max(e for e in ends if e) if ends and all(ends) else None,
    )


def judge_classes(tonight: Tonight, before: dict[User, tuple[School, Span]]) -> None:
    """Fates of classes but for kept-back schools; the sessions of each school.

    "A session belongs to the schools whose classes name it." "sync_classroom_data off: no classes".
    "respect_academic_sessions on: only classes of the current term, semester or school year." Undated:
    "keep in compatibility mode, drop otherwise".
    """

    def published(here: Here, name: str) -> Span:
        return before.get((here.name, name), (None, (None, None)))[1]

    for here in tonight.feeds:
        exclusive = here.options.end_dates == "exclusive"
        for name, row in here.rows["classes"].items():
            school = here.school_of.get(row["school"])
            spans = here.class_spans[name] = spans_of(here, row)
            if school is None:
                here.classes[name] = "refers to nothing"
                continue
            if any(term in here.rows["academicSessions"] for term in row["terms"]):
                tonight.spans.setdefault(school, []).extend((span, exclusive) for span in spans)
            if not here.options.sync_classroom_data:
                here.classes[name] = "classroom data off"
            elif school in here.excluded:
                here.classes[name] = "school excluded"
            elif not in_session(here, name, tonight.as_of):
                # "Unproven" and "stale" sessions "remove nothing": by them no class ends.
                was = (here.name, name) in before
                unread = was and here.feed.states["academicSessions"] != "ok"
                here.classes[name] = UNKNOWN if unread else "not current"
                # "A session that vanished or was shortened is not an end: its class stays as published."
                if unread or (was and not is_over(here, published(here, name), tonight.as_of)):
                    here.staying.add(name)
            elif here.options.respect_academic_sessions and not spans and any(span := published(here, name)):
                # In compatibility mode, but "a session that vanished or was shortened is not an end: its
                # class stays as published".
                if is_over(here, span, tonight.as_of):
                    raise Silent  # whether a class without dates is kept once its last published date is over
                here.classes[name] = "not current"
            else:
                here.classes[name] = ""
    drop_weaker_classes(tonight, before)


def is_over(here: Here, span: Span, as_of: dt.date) -> bool:
    """Whether "its last session's end date, as published before, has passed"."""
    return not within((None, span[1]), as_of, here.options.end_dates == "exclusive")


def in_session(here: Here, class_: str, as_of: dt.date) -> bool:
    """ "A class is current if any of them is current"; off: "all active classes whatever their dates"."""
    if not here.options.respect_academic_sessions:
        return True
    if not here.class_spans[class_]:
        return here.options.compatibility_mode
    return any(
        within(span, as_of, here.options.end_dates == "exclusive") for span in here.class_spans[class_]
    )


def drop_weaker_classes(tonight: Tonight, before: dict[User, tuple[School, Span]]) -> None:
    """ "Where two providers bring classes to one school, the stronger one's are published and the other's
    dropped (class_of_weaker_source), unless share_classes: true." What was published of a provider that
    cannot be read tonight stays, so it still brings it ("a failed read is not an empty one"), and so do
    classes that stay as published because their sessions vanished, or because all classes of the school
    would go at once ("always when they would take all of a school's rows of a kind")."""
    brought: dict[School, Here] = {}
    past: set[School] = set()
    for here in tonight.feeds:
        school_of = {
            name: here.school_of[here.rows["classes"][name]["school"]]
            for name, fate in here.classes.items()
            if fate in ("", "not current", UNKNOWN)
        }
        for name, school in school_of.items():
            _, span = before.get((here.name, name), (None, None))
            stays = here.classes[name] in ("", UNKNOWN)
            if stays or (span and not is_over(here, span, tonight.as_of)):
                stronger = brought.get(school)
                if stronger and stronger.options.share_classes != here.options.share_classes:
                    raise Silent  # whose share_classes it is
                if school in past and not stronger and not here.options.share_classes:
                    tonight.doubtful.add(school)
                if stronger and not here.options.share_classes:
                    here.classes[name] = "class of weaker source"
        for name, school in school_of.items():
            if here.classes[name] in ("", UNKNOWN):
                brought.setdefault(school, here)
        for (name, class_), (school, span) in before.items():
            fate = here.classes.get(class_, "gone")
            if name != here.name or fate not in ("not current", "gone"):
                continue
            if fate == "gone" and not here.options.sync_classroom_data:
                continue  # "off: no classes", so it brings none
            if here.feed.states["classes"] == "failed" or not is_over(here, span, tonight.as_of):
                brought.setdefault(school, here)
        past |= set(school_of.values()) - set(brought)


# ------------------------------------------------------------------------------------------ users


def role_name(role: str) -> str:
    """One vocabulary for 1.1 and 1.2 (architecture.md): others as they came, lower-case."""
    role = role.lower()
    return {
        "administrator": "site_administrator",
        "siteadministrator": "site_administrator",
        "districtadministrator": "district_administrator",
        "systemadministrator": "system_administrator",
    }.get(role, role)


def judge_users(tonight: Tonight, enrolled_before: set[User], away: set[User]) -> None:
    """Fates of users and enrolments, but for kept-back schools."""
    for here in tonight.feeds:
        enrolments = here.rows["enrollments"]
        for name, row in here.rows["users"].items():
            here.roles[name] = wanted_roles(here, row)
            orgs = {here.school_of[org] for _, org, *_ in row["roles"] if org in here.school_of}
            classes = [here.rows["classes"].get(e["class"]) for e in enrolments.values() if e["user"] == name]
            mine = {here.school_of.get(c["school"]) for c in classes if c} - {None}
            here.schools_of[name] = orgs | {school for school in mine if school}
            here.users[name] = limits(here, name, row)
        for name, row in enrolments.items():
            here.enrolments[name] = enrolment_fate(here, row, tonight.as_of)
        for name in here.rows["users"]:
            if not here.users[name] and has_left(tonight, here, name, enrolled_before, away):
                here.left.add(name)
                # "Those who have left by their dates are removed at once": without a row there are no dates.
                dated = any(row["user"] == name for row in enrolments.values())
                here.users[name] = "left" if dated else "gone"
        judge_guardians(here)


def wanted_roles(here: Here, row: Row) -> set[tuple[str, str]]:
    """ "Guardians ... relationship_type is a filter on the adult's role. Off: guardian rows are dropped." """
    kinds = {here.options.relationship_type} if here.options.sync_parent_data else set()
    roles = {(role_name(role), org) for role, org, *_ in row["roles"]}
    return {(role, org) for role, org in roles if role not in FAMILY or role in kinds}


def limits(here: Here, name: str, row: Row) -> str:
    """What the options take out, one person at a time."""
    options, limit = here.options, here.options.limit_to
    if not here.roles[name]:
        return "guardian not wanted"
    # "A guardian without e-mail and phone is dropped with a reason."
    if here.is_guardian_only(name) and not (row.get("email") or row.get("phone") or row.get("sms")):
        return "guardian without contact"
    # "limit_to: limits the users synced from this provider: roles, schools (id, identifier or exact name; a
    # user stays while one of their schools is included), grades (students only)."
    if limit.roles and not {role for role, _ in here.roles[name]} & set(limit.roles):
        return "role not wanted"
    if limit.grades and here.is_student(name) and not set(row.get("grades", [])) & set(limit.grades):
        return "grade not wanted"
    schools = here.schools_of[name]
    if limit.schools:
        orgs = here.rows["orgs"]
        wanted = {
            school
            for org, school in here.school_of.items()
            if {org, orgs[org].get("identifier"), orgs[org]["name"]} & set(limit.schools)
        }
        if not schools:
            raise Silent  # somebody of no school, where schools are limited
        if not schools & wanted:
            return "school not wanted"
    # "A user is dropped only if all their schools are excluded."
    if options.exclude_schools and schools and schools <= here.excluded:
        return "school excluded"
    return ""


def enrolment_fate(here: Here, row: Row, as_of: dt.date) -> str:
    """ "With the date rule on, memberships of every role follow their dates"; what became of its class."""
    if row["user"] not in here.rows["users"] or row["class"] not in here.rows["classes"]:
        return "refers to nothing"
    if here.options.respect_enrolment_date and not within(
        dates(row.get("beginDate", ""), row.get("endDate", "")), as_of, here.options.end_dates == "exclusive"
    ):
        return "not current"
    return here.classes[row["class"]]


def has_left(tonight: Tonight, here: Here, name: str, enrolled_before: set[User], away: set[User]) -> bool:
    """ "A student has left when a session of their school is current and none of their enrolments is." "While
    a school is between sessions all its people stay." "Only students leave by them." "A student without any
    enrolment row has left only if they had one before; otherwise they stay, with a note." "A membership in a
    kept-back or excluded class does not make a student 'in no class'." """
    if not here.options.respect_enrolment_date or not here.is_student(name):
        return False
    if {role for role, _ in here.roles[name]} - FAMILY != {"student"}:
        raise Silent  # a student who is also staff
    mine = {key: row for key, row in here.rows["enrollments"].items() if row["user"] == name}
    if not mine and (here.name, name) not in enrolled_before:
        return False
    if not mine and here.feed.states["enrollments"] == "unproven" and (here.name, name) not in away:
        if (here.name, name) not in tonight.there:
            raise Silent  # whether somebody who was gone is back, whose enrolments were not all read
        return False  # an unproven collection "removes nothing"
    if here.feed.states["classes"] != "ok" and (here.name, name) not in away:
        exclusive = here.options.end_dates == "exclusive"
        for row in mine.values():
            lasts = within(dates(row.get("beginDate", ""), row.get("endDate", "")), tonight.as_of, exclusive)
            if lasts and row["class"] not in here.ids["classes"]:
                return False  # whether its class is over is "unknown", which "is not empty"
    # "In 1.2 additionally the user's student roles at that org, if dated, must contain one `within`"
    # (oneroster.md §7.3).
    exclusive = here.options.end_dates == "exclusive"
    held = [dates(*span) for role, _, *span in here.rows["users"][name]["roles"] if role == "student"]
    admitted = any(within(span, tonight.as_of, exclusive) for span in held)
    lasting = any(within((None, end), tonight.as_of, exclusive) for _, end in held)
    for key, row in mine.items() if admitted else ():
        lasts = within(dates(row.get("beginDate", ""), row.get("endDate", "")), tonight.as_of, exclusive)
        if lasts and row["class"] in here.staying:
            return False  # nor does anybody leave whose class "stays as published"
        fate = here.enrolments[key]
        if fate in ("", "classroom data off", "school excluded", "class of weaker source") and in_session(
            here, row["class"], tonight.as_of
        ):
            return False
    current = {tonight.current(school) for school in here.schools_of[name]}
    if len(current) > 1:
        raise Silent  # of two schools one is between sessions
    if current == {True}:
        return True
    # Read so: who had left when a session was last current is none of the people who stay, until they are
    # entered for the next one.
    return (here.name, name) in away and not (
        lasting and any(is_to_come(here, row, tonight.as_of) for row in mine.values())
    )


def is_to_come(here: Here, row: Row, as_of: dt.date) -> bool:
    """Whether an enrolment will count from a later day on: "an enrolment without dates lives as long as its
    class does"."""
    begin, end = dates(row.get("beginDate", ""), row.get("endDate", ""))
    if row["class"] not in here.ids["classes"]:
        spans: list[Span] = []
    elif row["class"] not in here.rows["classes"]:
        return False  # of a deleted class
    else:
        spans = here.class_spans[row["class"]] if here.options.respect_academic_sessions else []
    starts, ends = [b for b, _ in spans], [e for _, e in spans]
    begins = [one for one in (begin, min(b for b in starts if b) if starts and all(starts) else None) if one]
    last = [one for one in (end, max(e for e in ends if e) if ends and all(ends) else None) if one]
    return bool(begins) and max(begins) > as_of and (not last or max(begins) <= min(last))


def judge_guardians(here: Here) -> None:
    """ "The direction is not fixed: build the union: for every user u and agent a, if exactly one of them is
    a student and the other has an adult family role, add (student, guardian)." "A guardian is current while
    at least one linked student is." """
    for name, row in here.rows["users"].items():
        for agent in row.get("agents", []):
            if agent not in here.rows["users"]:
                continue
            pair = {True: name, False: agent} if here.is_student(name) else {True: agent, False: name}
            student, adult = pair[True], pair[False]
            if here.is_student(agent) == here.is_student(name):
                continue
            if {role for role, _ in here.roles[adult]} & FAMILY:
                here.agents.add((student, adult))
    for name in here.rows["users"]:
        linked = {student for student, adult in here.agents if adult == name and not here.users[student]}
        if not here.users[name] and here.is_guardian_only(name) and not linked:
            here.users[name] = "guardian of nobody"


# ------------------------------------------------------------------------------------------ kept back


def judge_schools(
    tonight: Tonight,
    had_rows: set[School],
    grades_before: dict[School, dict[str, int]],
    standing: dict[School, set[str]],
) -> None:
    """ "By default these keep a school back: no students or no teachers (classroom data on, a session
    current); masked identity data; more than 10 % of its enrolments referring to nothing; a grade of 10 or
    more students gone at once; sessions outdated." """
    every = set(tonight.orgs) | had_rows
    for school in sorted(every):
        if tonight.excluded(school) or tonight.silent(school) or school in tonight.kept_back:
            continue
        found = faults(tonight, school, grades_before.get(school, {}), standing.get(school, set()))
        rows = [1 for here in tonight.feeds for schools in here.schools_of.values() if school in schools]
        rows += [
            1
            for here in tonight.feeds
            for row in here.rows["classes"].values()
            if here.school_of.get(row["school"]) == school
        ]
        kept = found & set(tonight.tenant.keeps_back)
        # "When all six collections come back empty, or all rows of a school vanish, the school is kept back
        # whatever its sessions say." "An org that never had a row is a note."
        if not rows:
            having = [here.feed for here in tonight.feeds if school in here.had_schools]
            proven = [feed for feed in having if feed.complete or feed.states["classes"] == "ok"]
            if school in had_rows and proven and not all(feed.complete or feed.blank for feed in having):
                raise Silent  # whether all rows of a school vanish where not all was read
            # Who never had the school may be read or not: nothing of it is theirs.
            unknown = any(not feed.complete and not feed.blank for feed in having) or (
                not having and any(not here.feed.complete for here in tonight.feeds)
            )
            kept = {"vanished"} if school in had_rows and not unknown else set()
            tonight.empty.add(school)
        if kept:
            tonight.kept_back[school] = kept
    if tonight.doubtful - set(tonight.kept_back):
        raise Silent  # whether a stronger one whose classes are all over brings classes
    for here in tonight.feeds:
        for name, row in here.rows["classes"].items():
            if here.classes[name] == "" and here.school_of[row["school"]] in tonight.kept_back:
                here.classes[name] = "school kept back"
        for key, row in here.rows["enrollments"].items():
            if here.enrolments[key] == "":
                here.enrolments[key] = here.classes[row["class"]] or here.users[row["user"]]


def faults(tonight: Tonight, school: School, grades_before: dict[str, int], standing: set[str]) -> set[str]:
    """What is wrong with a school, in the words of the setting `keeps_back`; `standing` are the roles
    and grades of those who stay there as published."""
    found, people, dangling, mixed, enrolments = set(), [], 0, 0, 0
    classroom = brought = False
    grades: dict[str, int] = {}
    # What a provider excludes is no part of the school's data.
    for here in [here for here in tonight.feeds if school not in here.excluded]:
        classroom |= here.options.sync_classroom_data and school in here.school_of.values()
        brought |= here.options.sync_classroom_data and any(
            here.school_of.get(row["school"]) == school for row in here.rows["classes"].values()
        )
        for name, row in here.rows["users"].items():
            if here.users[name] not in ("", *LIMITED) or school not in here.schools_of[name]:
                continue
            people.append((here.name, row, {role for role, _ in here.roles[name]}))
            for grade in row.get("grades", []) if here.is_student(name) else []:
                grades[grade] = grades.get(grade, 0) + 1
        for row in here.rows["enrollments"].values():
            class_ = here.rows["classes"].get(row["class"])
            if here.school_of.get(class_["school"] if class_ else row["school"]) == school:
                enrolments += 1
                # "Rows of users whom limit_to or exclude_schools took out do not 'refer to nothing'."
                # A deleted row is not nothing.
                adrift = row["class"] not in here.ids["classes"] or row["user"] not in here.ids["users"]
                dangling += adrift
                mixed += adrift and "stale" in here.feed.states.values()
    if classroom and tonight.current(school):
        there = standing.union(*(roles for *_, roles in people))
        found |= {f"no_{role}s" for role in ("student", "teacher") if role not in there}
        if found & set(tonight.tenant.keeps_back) and not brought:
            raise Silent  # whether classroom data are on where those who bring them have no class there
    if dangling * 10 > enrolments and "dangling" in tonight.tenant.keeps_back:
        if (dangling - mixed) * 10 <= enrolments:
            raise Silent  # whether rows of different nights that refer past each other refer to nothing
        found.add("dangling")
    if any(n >= 10 and grade not in {*grades, *standing} for grade, n in grades_before.items()):
        found.add("grade_vanished")
    # "When its newest session ended more than between_sessions_days before as_of, the source is outdated."
    ends = [end for (_, end), _ in tonight.spans.get(school, [])]
    newest = max((end for end in ends if end), default=None)
    limit = dt.timedelta(days=tonight.tenant.between_sessions_days)
    if newest and None not in ends and tonight.as_of - newest > limit:
        found.add("sessions_outdated")
    if "masked" in tonight.tenant.keeps_back and people:
        rows = [(name, row) for name, row, _ in people]
        alone = [
            (here.name, here.rows["users"][name])
            for here in tonight.feeds
            for name, fate in here.users.items()
            if fate == "guardian of nobody" and school in here.schools_of[name] - here.excluded
        ]
        if is_masked_school(rows) != is_masked_school(rows + alone):
            raise Silent  # whether guardians of nobody are among the people of a school
        found |= {"masked"} if is_masked_school(rows) else set()
    return found


def masked(value: str) -> bool:
    """Nothing but asterisks, as DataGuard sends it."""
    return bool(value) and set(value) == {"*"}


def is_masked_school(people: list[tuple[str, Row]]) -> bool:
    """ "Half of the people or more have masked, empty or equal names or e-mails" (docs/options.md); of how
    many each of these alone may be, and whether for every one of the values, nothing is said. Equal to that
    of another provider is what is wanted."""
    emails = [(name, row["email"]) for name, row in people]
    both = [(name, row["givenName"], row["familyName"]) for name, row in people]
    hidden = [all(map(masked, (*names, email))) for (_, email), (_, *names) in zip(emails, both, strict=True)]
    odd = [
        any(not value or masked(value) for value in (*names[1:], email[1]))
        or emails.count(email) > 1
        or both.count(names) > 1
        for names, email in zip(both, emails, strict=True)
    ]
    if sum(hidden) > 1 and sum(hidden) * 2 >= len(people):
        return True
    if sum(odd) * 2 >= len(people):
        raise Silent  # half of the people have something odd, but are not all masked
    return False
