"""Which sessions are current on the day, and with them which classes (oneroster.md §7).

A class that was published and is not current now has ended only if its last session's end, as
published before, has passed; else it stays (product.md, "Holidays and leaving").
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
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

_KINDS = {kind.lower(): kind for kind in ("term", "semester", "schoolYear", "gradingPeriod")}

# What has become of a class: it counts today; it ended; it stays as published, because its sessions were
# tampered with, or because it lies between two of its own or they were not read; or it is out of scope.
CURRENT, ENDED, FROZEN, GAP, OUT = "current", "ended", "frozen", "gap", "out"

Value = TypeVar("Value")


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
    """When a class takes place: whether now, and from when to when ("" for open or unknown).

    `named` are the sessions that say so.
    """

    named: tuple[str, ...]
    dated: bool
    current: bool = False
    start: str = ""
    end: str = ""


def find_sessions(
    sources: Sequence[Source], schools: Schools, published: Published, tonight: Tonight
) -> Sessions:
    """The sessions of all sources, and which of their classes count on `tonight.as_of`."""
    usable = [source for source in sources if source.usable]
    by_org = {**published.schools_by_org(), **schools.by_org()}
    issues: list[Issue] = []
    parts = [_of_source(source, schools, by_org, published, tonight, issues) for source in usable]
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
    published: Published,
    tonight: Tonight,
    issues: list[Issue],
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, dict[str, list[tuple[str, bool]]]]:
    options = source.options
    exclusive = options.end_dates == "exclusive"
    sessions, dates = _sessions(source, tonight, issues)
    frame = source.frames["classes"]
    window, windows = _windows(source, dates, tonight)
    classes = _classes(source, by_org, sessions, window, windows)
    mine = rows.where(published.classes, (published.classes["provider_id"] == source.provider_id).to_numpy())
    before = _known_classes(source, classes, mine, issues)
    source_ids, given = frame["sourcedId"].tolist(), mine["class_id"].tolist()
    taken = set(given)
    known = [before.get(source_id, -1) for source_id in source_ids]
    class_ids = [
        given[place] if place >= 0 else _class_id(tonight, source, source_id, taken)
        for source_id, place in zip(source_ids, known, strict=True)
    ]
    spans = [*rows.keys(mine, "start_date", "end_date"), None]  # the last one where there is no such class
    was, different = _told_apart(spans[place] for place in known)
    # What is decided of a class, and what is told, follows from what many have in common.
    alike = pd.DataFrame({"why": classes["reason"], "window": window, "org": frame["school"], "was": was})
    number, met = rows.kinds(alike, *alike.columns)
    counts = np.bincount(number, minlength=len(met)).tolist()
    calendar: dict[str, list[tuple[str, bool]]] = {}
    unresolved = orphans = dated = 0
    reasons, fates = [], []
    for (why, at, org, published_as), count in zip(rows.keys(met, *alike.columns), counts, strict=True):
        when, span = windows[at], different[published_as]
        school_id = by_org.get((source.provider_id, org))
        fate = CURRENT
        if why == "":
            orphans += count * (school_id is None and org != "")
            calendar.setdefault(school_id or "", []).extend(
                (end, rows.day_within(start, end, tonight.as_of, exclusive=exclusive))
                for start, end in map(dates.__getitem__, when.named)
            )
            dated += count * when.dated
            if options.respect_academic_sessions and not when.current:
                unresolved += count * (
                    not when.dated
                    and not options.compatibility_mode
                    and (source.provider_id, school_id) not in schools.excluded
                )
                fate = _fate(when, span, source, tonight, exclusive=exclusive)
                if span and fate in (ENDED, OUT) and not source.proven("academicSessions"):
                    # By sessions that were not read tonight nothing goes, nor whoever hangs on it.
                    fate = fate if not when.dated and options.compatibility_mode else GAP
                if fate in (ENDED, OUT):
                    why = "not_current" if when.dated else "undated"
                    if not when.dated and options.compatibility_mode:
                        why, fate = "", CURRENT
            if not options.sync_classroom_data:
                why = "classroom_data_off"
            elif (source.provider_id, school_id) in schools.excluded:
                why = "excluded_school"
        reasons.append(why)
        fates.append(fate)
    classes = classes.assign(
        reason=_each(reasons, number),
        fate=_each(fates, number),
        class_id=pd.array(class_ids, dtype="str"),
    )
    _tell(source, issues, "RS-SES-03", unresolved, "classes have no session that could be found")
    if options.respect_academic_sessions and options.compatibility_mode:
        if source.frames["academicSessions"].empty:
            issues.append(no_sessions(source.name))
    elif unresolved and not dated and not (mine[["start_date", "end_date"]] != "").any(axis=None):
        # Where classes had dates before, the sessions are missing tonight, and not by nature.
        issues.append(would_help(source.name))
    _tell(source, issues, "RS-REF-04", orphans, "classes name a school that is not among the orgs")
    return sessions, _courses(source), classes, calendar


def _classes(
    source: Source,
    by_org: dict[tuple[int, str], str],
    sessions: pd.DataFrame,
    window: np.ndarray,
    windows: list[_Window],
) -> pd.DataFrame:
    """What the provider tells of its classes: `CLASS_COLUMNS` but for `fate` and `class_id`.

    Args:
        window: Where in `windows` the one of each class is.
    """
    frame = source.frames["classes"]
    ids = dict(rows.keys(sessions, "source_id", "session_id"))
    courses = {row.sourcedId: row for row in rows.each(source.frames["courses"])}

    def of_course(name: str) -> pd.Series:
        return rows.mapped(frame["course"], lambda course: getattr(courses.get(course), name, ""))

    def own_or_of_course(name: str) -> pd.Series:
        return frame[name].where(frame[name] != "", of_course(name))

    return pd.DataFrame(
        {
            "provider_id": source.provider_id,
            "source_id": frame["sourcedId"],
            "reason": rows.reasons(frame),
            "school_id": rows.mapped(frame["school"], lambda org: by_org.get((source.provider_id, org), "")),
            "title": own_or_of_course("title"),
            "class_code": frame["classCode"],
            "class_kind": rows.mapped(frame["classType"], str.lower),
            "course_title": of_course("title"),
            "course_code": of_course("courseCode"),
            "grades": own_or_of_course("grades"),
            "subjects": own_or_of_course("subjects"),
            "subject_codes": own_or_of_course("subjectCodes"),
            "periods": frame["periods"],
            "location": frame["location"],
            "session_ids": _each(
                [rows.as_list([ids[name] for name in one.named]) for one in windows], window
            ),
            "start_date": _each([one.start for one in windows], window),
            "end_date": _each([one.end for one in windows], window),
        }
    )


def _each(values: list[str], places: np.ndarray) -> pd.api.extensions.ExtensionArray:
    """The value at each of the places."""
    return pd.array(values, dtype="str").take(places)


def _told_apart(values: Iterable[Value]) -> tuple[np.ndarray, list[Value]]:
    """Where each one is among the different ones, and these, in the order of the first."""
    places: dict[Value, int] = {}
    return np.array([places.setdefault(value, len(places)) for value in values], dtype="int64"), list(places)


def _known_classes(
    source: Source, classes: pd.DataFrame, mine: pd.DataFrame, issues: list[Issue]
) -> dict[str, int]:
    """SourcedId → where in `mine`, the provider's published classes, the one is that the row is.

    That is the one of its id, or the one that is like it in all else where all ids are new. Without dates
    nobody can tell a class from its like of another year.
    """
    before = {source_id: place for place, source_id in enumerate(mine["source_id"].tolist())}
    ids = set(classes["source_id"].tolist())
    if not before or not source.proven("classes") or before.keys() <= ids:
        return before
    come = classes[(classes["reason"] == "") & ~rows.among(classes["source_id"], before)]
    new, here = _traits(come), _traits(mine)
    found = dict(before)
    for school, rows_of in new.items():
        there = here.get(school, {})
        gone = {source_id: traits for source_id, traits in there.items() if source_id not in ids}
        found |= {one: before[old] for one, old in rekeyed.twins(there, gone, rows_of).items()}
    _tell(source, issues, "RS-SAFE-19", len(found) - len(before), "classes came under new ids")
    return found


def _traits(classes: pd.DataFrame) -> dict[str, dict[str, rekeyed.Traits]]:
    """School → class → what tells it; empty where that is not enough."""
    out: dict[str, dict[str, rekeyed.Traits]] = defaultdict(dict)
    for school, source_id, title, code, start, end in rows.keys(
        classes, "school_id", "source_id", "title", "class_code", "start_date", "end_date"
    ):
        out[school][source_id] = (title, code, start, end) if (title or code) and start and end else ()
    return out


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
    classes = source.frames["classes"]
    listed = set(source.frames["academicSessions"]["sourcedId"].tolist())
    # Only classes whose terms do not resolve need this: seldom any.
    lost = rows.holds(classes["terms"], lambda terms: listed.isdisjoint(rows.parse_list(terms)))
    if not lost.any():
        return {}
    frame = source.frames["enrollments"]
    mine = frame[rows.among(frame["class"], set(classes["sourcedId"][lost].tolist()))]
    mine = mine[rows.reasons(mine) == ""]
    begin, end, _, _ = rows.span(mine["beginDate"], mine["endDate"])
    out: dict[str, tuple[str, str]] = {}
    for name, group in pd.DataFrame({"class": mine["class"], "b": begin, "e": end}).groupby("class"):
        firsts, lasts = set(group["b"]), set(group["e"])
        if firsts | lasts != {""}:
            out[str(name)] = ("" if "" in firsts else min(firsts), "" if "" in lasts else max(lasts))
    return out


def _windows(
    source: Source, dates: dict[str, tuple[str, str]], tonight: Tonight
) -> tuple[np.ndarray, list[_Window]]:
    """When the classes take place: where each one's window is among the different ones, and these."""
    frame = source.frames["classes"]
    years = dict(rows.keys(source.frames["courses"], "sourcedId", "schoolYear"))
    kind, met = rows.kinds(frame, "terms", "course")
    named = [
        _named(terms, years.get(course, ""), dates) for terms, course in rows.keys(met, "terms", "course")
    ]
    enrolled = _enrolment_dates(source)
    number, different = _told_apart(
        (named[one], None if named[one] else enrolled.get(source_id))
        for source_id, one in zip(frame["sourcedId"].tolist(), kind.tolist(), strict=True)
    )
    return number, [
        _window(names, [span] if span else _dated(names, dates), source, tonight) for names, span in different
    ]


def _dated(named: Iterable[str], dates: dict[str, tuple[str, str]]) -> list[tuple[str, str]]:
    """The dates of those sessions that have any."""
    return [dates[name] for name in named if dates[name] != ("", "")]


def _named(terms: str, year: str, dates: dict[str, tuple[str, str]]) -> tuple[str, ...]:
    """The sessions that a class lives by: its terms, else its course's school year."""
    named = tuple(name for name in rows.parse_list(terms) if name in dates)
    return named or ((year,) if year in dates else ())


def _window(
    named: tuple[str, ...], spans: list[tuple[str, str]], source: Source, tonight: Tonight
) -> _Window:
    if not spans:
        return _Window(named, dated=False)
    starts, ends = [span[0] for span in spans], [span[1] for span in spans]
    exclusive = source.options.end_dates == "exclusive"
    return _Window(
        named,
        dated=True,
        current=any(rows.day_within(*span, tonight.as_of, exclusive=exclusive) for span in spans),
        start="" if "" in starts else min(starts),
        end="" if "" in ends else max(ends),
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
    if len(sources) < 2:
        return
    strength = {source.provider_id: source.strength for source in sources}
    sharing = {source.provider_id for source in sources if source.options.share_classes}
    silent = {source.provider_id for source in sources if not source.usable}
    teaching = {source.provider_id for source in sources if source.options.sync_classroom_data}
    exclusive = {source.provider_id for source in sources if source.options.end_dates == "exclusive"}
    bringing = {
        pair for pair, _ in rows.counted(classes[classes["reason"] == ""], "school_id", "provider_id")
    }
    unsent = published.classes[~rows.are_in(published.classes, classes, "provider_id", "source_id")]
    bringing |= {
        (school_id, who)
        for (school_id, who, end), _ in rows.counted(unsent, "school_id", "provider_id", "end_date")
        if who in silent
        # Not sent tonight, and its sessions not over: its removal may have to wait.
        or (who in teaching and rows.day_within("", end, tonight.as_of, exclusive=who in exclusive))
    }
    by_school: dict[str, set[int]] = {}
    for school_id, provider_id in bringing:
        if school_id and provider_id in strength:
            by_school.setdefault(school_id, set()).add(provider_id)
    weaker: set[tuple[str, int]] = set()
    for school_id, who in by_school.items():
        strongest = min(who, key=strength.__getitem__)
        others = {provider for provider in who - {strongest} if not {provider, strongest} & sharing}
        weaker |= {(school_id, provider) for provider in others}
    if weaker:
        theirs = np.array([pair in weaker for pair in rows.keys(classes, "school_id", "provider_id")], bool)
        classes.loc[theirs & (classes["reason"] == ""), "reason"] = "class_of_weaker_source"
