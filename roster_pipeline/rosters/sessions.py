"""Which sessions are current on the day, and with them which classes (oneroster.md §7).

A class that was published and is not current now has ended only if its last session's end, as
published before, has passed; else it stays (product.md, "Holidays and leaving").
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from roster_pipeline.codes import Issue
from roster_pipeline.rosters import rekeyed, rows
from roster_pipeline.rosters.schools import Schools
from roster_pipeline.rosters.source import Published, Source, Tonight, new_id

SESSION_COLUMNS = [
    "provider_id", "source_id", "reason", "session_id", "title", "kind", "start_date", "end_date",
    "school_year", "parent_id",
]  # fmt: skip
CLASS_COLUMNS = [
    "provider_id", "source_id", "reason", "fate", "class_id", "school_id", "title", "class_code",
    "class_kind", "course_title", "course_code", "grades", "subjects", "subject_codes", "periods",
    "location", "session_ids", "start_date", "end_date",
]  # fmt: skip
COURSE_COLUMNS = ["provider_id", "source_id", "reason"]

_AT_ONCE = 50_000

_KINDS = {kind.lower(): kind for kind in ("term", "semester", "schoolYear", "gradingPeriod")}

# What has become of a class: it counts today; it ended; it stays as published, because its sessions were
# tampered with, or because it lies between two of its own or they were not read; or it is out of scope.
CURRENT, ENDED, FROZEN, GAP, OUT = "current", "ended", "frozen", "gap", "out"


@dataclass(slots=True)
class Sessions:
    """Sessions, courses and classes of tonight, and each school's calendar.

    Attributes:
        sessions: `SESSION_COLUMNS`; every row of every usable provider.
        courses: `COURSE_COLUMNS`.
        classes: `CLASS_COLUMNS`; `fate` tells what has become of it, whatever `reason` says.
        calendars: school_id, newest_end, current ("true" where a session of the school is current).
    """

    sessions: pd.DataFrame
    courses: pd.DataFrame
    classes: pd.DataFrame
    calendars: pd.DataFrame
    issues: list[Issue] = field(default_factory=list)


@dataclass(slots=True)
class _Window:
    """When a class takes place: whether now, and from when to when ("" for open or unknown)."""

    dated: bool
    current: bool = False
    start: str = ""
    end: str = ""


def find_sessions(
    sources: Sequence[Source], schools: Schools, published: Published, tonight: Tonight
) -> Sessions:
    """The sessions of all sources, and which of their classes count on `tonight.as_of`."""
    usable = [source for source in sources if source.usable]
    by_org = schools.by_org()
    remembered = published.schools_by_org()
    was = {(int(row.provider_id), row.source_id): row for row in rows.each(published.classes)}
    issues: list[Issue] = []
    parts = [_of_source(source, schools, {**remembered, **by_org}, was, tonight, issues) for source in usable]
    sessions = rows.stacked([part[0] for part in parts], SESSION_COLUMNS)
    courses = rows.stacked([part[1] for part in parts], COURSE_COLUMNS)
    classes = rows.stacked([part[2] for part in parts], CLASS_COLUMNS)
    calendars = _calendars([part[3] for part in parts])
    _drop_weaker_classes(sources, classes, published, tonight)
    return Sessions(sessions, courses, classes, calendars, issues)


def _of_source(
    source: Source,
    schools: Schools,
    by_org: dict[tuple[int, str], str],
    was: dict[tuple[int, str], Any],
    tonight: Tonight,
    issues: list[Issue],
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, dict[str, list[tuple[str, bool]]]]:
    options = source.options
    exclusive = options.end_dates == "exclusive"
    sessions, dates = _sessions(source, tonight, issues)
    ids = dict(rows.keys(sessions, "source_id", "session_id"))
    courses = _courses(source)
    frame = source.frames["classes"]
    reason = rows.reasons(frame)
    enrolment_dates = _enrolment_dates(source)
    course_rows = {row.sourcedId: row for row in rows.each(source.frames["courses"])}
    calendar: dict[str, list[tuple[str, bool]]] = {}
    unresolved = orphans = dated = 0
    out: list[tuple[object, ...]] = []
    made: list[pd.DataFrame] = []
    windows = [
        _window(row, course_rows.get(row["course"]), dates, enrolment_dates, tonight, exclusive=exclusive)
        for row in rows.records(frame)
    ]
    mine = {source_id: row for (who, source_id), row in was.items() if who == source.provider_id}
    titles = [row.title or getattr(course_rows.get(row.course), "title", "") for row in rows.each(frame)]
    traits = [
        _traits(title, code, window.start, window.end)
        for title, code, (window, _) in zip(titles, frame["classCode"].tolist(), windows, strict=True)
    ]
    before = _known_classes(source, reason, traits, by_org, mine, issues)
    taken = {row.class_id for row in mine.values()}
    for place, (row, why) in enumerate(zip(rows.records(frame), reason.tolist(), strict=True)):
        course = course_rows.get(row["course"])
        window, session_ids = windows[place]
        school_id = by_org.get((source.provider_id, row["school"]))
        known = before.get(row["sourcedId"])
        fate = CURRENT
        if why == "":
            orphans += school_id is None and row["school"] != ""
            named = [dates[name] for name in _named(row, course, dates)]
            calendar.setdefault(school_id or "", []).extend(
                (end, rows.day_within(start, end, tonight.as_of, exclusive=exclusive)) for start, end in named
            )
            dated += window.dated
            if options.respect_academic_sessions and not window.current:
                unresolved += (
                    not window.dated
                    and not options.compatibility_mode
                    and (source.provider_id, school_id) not in schools.excluded
                )
                span = (known.start_date, known.end_date) if known else None
                fate = _fate(window, span, source, tonight, exclusive=exclusive)
                if known and fate in (ENDED, OUT) and not source.proven("academicSessions"):
                    # By sessions that were not read tonight nothing goes, nor whoever hangs on it.
                    fate = fate if not window.dated and options.compatibility_mode else GAP
                if fate in (ENDED, OUT):
                    why = "not_current" if window.dated else "undated"
                    if not window.dated and options.compatibility_mode:
                        why, fate = "", CURRENT
            if not options.sync_classroom_data:
                why = "classroom_data_off"
            elif (source.provider_id, school_id) in schools.excluded:
                why = "excluded_school"
        if len(out) == _AT_ONCE:  # as tuples, a large tenant's classes would be half a gigabyte
            made.append(rows.typed(pd.DataFrame(out, columns=CLASS_COLUMNS)))
            out = []
        out.append(
            (
                source.provider_id,
                row["sourcedId"],
                why,
                fate,
                known.class_id if known else _class_id(tonight, source, row["sourcedId"], taken),
                school_id or "",
                titles[place],
                row["classCode"],
                row["classType"].lower(),
                course.title if course else "",
                course.courseCode if course else "",
                row["grades"] or (course.grades if course else ""),
                row["subjects"] or (course.subjects if course else ""),
                row["subjectCodes"] or (course.subjectCodes if course else ""),
                row["periods"],
                row["location"],
                rows.as_list([ids[name] for name in session_ids]),
                window.start,
                window.end,
            )
        )
    _tell(source, issues, "RS-SES-03", unresolved, "classes have no session that could be found")
    if options.respect_academic_sessions and options.compatibility_mode:
        if source.frames["academicSessions"].empty:
            issues.append(no_sessions(source.name))
    elif unresolved and not dated and not any(row.start_date or row.end_date for row in mine.values()):
        # Where classes had dates before, the sessions are missing tonight, and not by nature.
        issues.append(would_help(source.name))
    _tell(source, issues, "RS-REF-04", orphans, "classes name a school that is not among the orgs")
    made.append(rows.typed(pd.DataFrame(out, columns=CLASS_COLUMNS)))
    return sessions, courses, rows.stacked(made, CLASS_COLUMNS), calendar


def _known_classes(
    source: Source,
    reason: pd.Series,
    traits: list[rekeyed.Traits],
    by_org: dict[tuple[int, str], str],
    before: dict[str, Any],
    issues: list[Issue],
) -> dict[str, Any]:
    """SourcedId → the published class that the row is: by its id, or by all else where all ids are new.

    Without dates nobody can tell a class from its like of another year.
    """
    frame = source.frames["classes"]
    ids = set(frame["sourcedId"].tolist())
    if not before or not source.proven("classes") or before.keys() <= ids:
        return before
    new: dict[str, dict[str, rekeyed.Traits]] = defaultdict(dict)
    for (source_id, org), why, told in zip(
        rows.keys(frame, "sourcedId", "school"), reason.tolist(), traits, strict=True
    ):
        if not why and source_id not in before:
            new[by_org.get((source.provider_id, org), "")][source_id] = told
    found = dict(before)
    for school, rows_of in new.items():
        here = {
            row.source_id: _traits(row.title, row.class_code, row.start_date, row.end_date)
            for row in before.values()
            if row.school_id == school
        }
        gone = {source_id: traits for source_id, traits in here.items() if source_id not in ids}
        found |= {one: before[old] for one, old in rekeyed.twins(here, gone, rows_of).items()}
    _tell(source, issues, "RS-SAFE-19", len(found) - len(before), "classes came under new ids")
    return found


def _traits(title: str, code: str, start: str, end: str) -> rekeyed.Traits:
    """What tells a class; empty where that is not enough."""
    return (title, code, start, end) if (title or code) and start and end else ()


def _class_id(tonight: Tonight, source: Source, source_id: str, taken: set[str]) -> str:
    """The id of a class that is not published; one that another source id has by now is not given again."""
    made = new_id(tonight.tenant, source.provider_id, "class", source_id)
    while made in taken:
        made = new_id(made)
    return made


def _tell(source: Source, issues: list[Issue], code: str, count: int, what: str) -> None:
    if count:
        issues.append(Issue(code, f"{count} {what}.", provider=source.name, count=int(count)))


def no_sessions(provider: str) -> Issue:
    """What to tell of a provider in compatibility mode whose classes have no dates but their enrolments'."""
    text = (
        "There are no academic sessions: `respect_academic_sessions` goes by the dates of a class's "
        "enrolments, and keeps a class without any."
    )
    return Issue("RS-SES-05", text, provider=provider)


def would_help(provider: str) -> Issue:
    """The advice to a provider none of whose classes has a session, where only current ones are wanted."""
    text = "`compatibility_mode: true` would help: no class has a session, and it keeps such classes."
    return Issue("RS-PRV-06", text, provider=provider)


def _session_id(tonight: Tonight, source: Source, source_id: str) -> str:
    return new_id(tonight.tenant, source.provider_id, "session", source_id)


def _sessions(
    source: Source, tonight: Tonight, issues: list[Issue]
) -> tuple[pd.DataFrame, dict[str, tuple[str, str]]]:
    """The provider's sessions, and the dates each one lives by.

    Only where a session has no usable date of its own do its parent's count (oneroster.md §7.3).
    """
    frame = source.frames["academicSessions"]
    reason = rows.reasons(frame)
    start, end, unread, turned = rows.span(frame["startDate"], frame["endDate"])
    _tell(source, issues, "RS-ROW-03", unread, "dates of sessions could not be read")
    _tell(source, issues, "RS-ROW-04", turned, "sessions begin after they end")
    usable = reason == ""
    own = dict(zip(frame["sourcedId"][usable], zip(start[usable], end[usable], strict=True), strict=True))
    parents = dict(zip(frame["sourcedId"][usable], frame["parent"][usable], strict=True))
    dates: dict[str, tuple[str, str]] = {}
    for session in own:
        at, seen = session, {session}
        while own.get(at) == ("", "") and parents.get(at, "") in own and parents[at] not in seen:
            at = parents[at]
            seen.add(at)
        dates[session] = own[at]
    out = pd.DataFrame(
        {
            "provider_id": source.provider_id,
            "source_id": frame["sourcedId"],
            "reason": reason,
            "session_id": [_session_id(tonight, source, name) for name in frame["sourcedId"]],
            "title": frame["title"],
            "kind": rows.mapped(frame["type"], lambda kind: _KINDS.get(kind.lower(), kind)),
            "start_date": start,
            "end_date": end,
            "school_year": frame["schoolYear"],
            "parent_id": [
                _session_id(tonight, source, name) if name in own else "" for name in frame["parent"]
            ],
        }
    )
    if not source.options.sync_classroom_data:
        out.loc[out["reason"] == "", "reason"] = "classroom_data_off"
    return out, dates


def _courses(source: Source) -> pd.DataFrame:
    frame = source.frames["courses"]
    reason = rows.reasons(frame)
    if not source.options.sync_classroom_data:
        reason[reason == ""] = "classroom_data_off"
    return pd.DataFrame(
        {"provider_id": source.provider_id, "source_id": frame["sourcedId"], "reason": reason}
    )


def _enrolment_dates(source: Source) -> dict[str, tuple[str, str]]:
    """Class → the union of its enrolments' dates; only classes with at least one date."""
    frame = source.frames["enrollments"]
    listed = source.frames["academicSessions"]["sourcedId"]
    known = set(listed)
    # Only classes whose terms do not resolve need this: seldom any.
    needed = {
        row.sourcedId
        for row in rows.each(source.frames["classes"])
        if not any(name in known for name in rows.parse_list(row.terms))
    }
    if not needed:
        return {}
    mine = frame[rows.among(frame["class"], needed)]
    mine = mine[rows.reasons(mine) == ""]
    begin, end, _, _ = rows.span(mine["beginDate"], mine["endDate"])
    out: dict[str, tuple[str, str]] = {}
    for name, group in pd.DataFrame({"class": mine["class"], "b": begin, "e": end}).groupby("class"):
        firsts, lasts = set(group["b"]), set(group["e"])
        if firsts | lasts != {""}:
            out[str(name)] = ("" if "" in firsts else min(firsts), "" if "" in lasts else max(lasts))
    return out


def _named(row: dict[str, str], course: Any, dates: dict[str, tuple[str, str]]) -> list[str]:
    """The sessions that a class lives by: its terms, else its course's school year."""
    named = [name for name in rows.parse_list(row["terms"]) if name in dates]
    year = getattr(course, "schoolYear", "")
    return named or ([year] if year in dates else [])


def _window(
    row: dict[str, str],
    course: Any,
    dates: dict[str, tuple[str, str]],
    enrolment_dates: dict[str, tuple[str, str]],
    tonight: Tonight,
    *,
    exclusive: bool,
) -> tuple[_Window, list[str]]:
    named = _named(row, course, dates)
    spans = [dates[name] for name in named if dates[name] != ("", "")]
    if not spans and not named and row["sourcedId"] in enrolment_dates:
        spans = [enrolment_dates[row["sourcedId"]]]
    if not spans:
        return _Window(dated=False), named
    starts, ends = [span[0] for span in spans], [span[1] for span in spans]
    return (
        _Window(
            dated=True,
            current=any(rows.day_within(*span, tonight.as_of, exclusive=exclusive) for span in spans),
            start="" if "" in starts else min(starts),
            end="" if "" in ends else max(ends),
        ),
        named,
    )


def _fate(
    window: _Window, was: tuple[str, str] | None, source: Source, tonight: Tonight, *, exclusive: bool
) -> str:
    """What has become of a class that is not current, under the rule that it must be."""
    if was is None or not source.was("respect_academic_sessions", default=False):
        return OUT  # never published, or taken out by the option itself
    if was == ("", "") and not window.dated:
        return OUT  # it never had dates: published without the rule, or in compatibility mode
    relaxed = source.was("compatibility_mode", default=False) and not source.options.compatibility_mode
    if relaxed and not window.dated:
        return OUT
    if was[1] and not rows.day_within("", was[1], tonight.as_of, exclusive=exclusive):
        return ENDED
    if not window.dated or (window.start, window.end) != was:
        return FROZEN
    return GAP if window.start <= tonight.day else OUT  # not begun: published without the rule


def _calendars(parts: list[dict[str, list[tuple[str, bool]]]]) -> pd.DataFrame:
    ends: dict[str, str] = {}
    current: Counter[str] = Counter()
    for part in parts:
        for school_id, sessions in part.items():
            for end, now in sessions:
                # A session without an end never becomes outdated.
                ends[school_id] = max(ends.get(school_id, ""), end or "9999-12-31")
                current[school_id] += now
    return pd.DataFrame(
        {
            "school_id": list(ends),
            "newest_end": list(ends.values()),
            "current": ["true" if current[school_id] else "false" for school_id in ends],
        },
        dtype="str",
    )


def _drop_weaker_classes(
    sources: Sequence[Source], classes: pd.DataFrame, published: Published, tonight: Tonight
) -> None:
    """Where two providers bring classes to one school, only the stronger one's are published.

    A provider that cannot speak tonight still brings what is published of it, and so does one whose
    classes are missing in the middle of their sessions.
    """
    strength = {source.provider_id: source.strength for source in sources}
    sharing = {source.provider_id for source in sources if source.options.share_classes}
    silent = {source.provider_id for source in sources if not source.usable}
    teaching = {source.provider_id for source in sources if source.options.sync_classroom_data}
    exclusive = {source.provider_id for source in sources if source.options.end_dates == "exclusive"}
    kept = classes[classes["reason"] == ""]
    bringing = list(rows.keys(kept, "school_id", "provider_id"))
    there = set(rows.keys(classes, "provider_id", "source_id"))
    bringing += [
        (row.school_id, row.provider_id)
        for row in rows.each(published.classes)
        if row.provider_id in silent
        # Not sent tonight, and its sessions not over: its removal may have to wait.
        or (
            row.provider_id in teaching
            and (row.provider_id, row.source_id) not in there
            and rows.day_within("", row.end_date, tonight.as_of, exclusive=row.provider_id in exclusive)
        )
    ]
    by_school: dict[str, set[int]] = {}
    for school_id, provider_id in set(bringing):
        if school_id and provider_id in strength:
            by_school.setdefault(school_id, set()).add(provider_id)
    for school_id, who in by_school.items():
        strongest = min(who, key=strength.__getitem__)
        weaker = {provider for provider in who - {strongest} if not {provider, strongest} & sharing}
        if weaker:
            mine = (classes["school_id"] == school_id) & classes["provider_id"].isin(weaker)
            classes.loc[mine & (classes["reason"] == ""), "reason"] = "class_of_weaker_source"
