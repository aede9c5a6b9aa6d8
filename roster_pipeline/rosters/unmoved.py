"""Nights on which nothing moved: when the rules need not run, because what they would find is known.

What the rules find follows from the extracts, the tenant's document, what is published and remembered, and
the date. A sync that leaves everything as it found it, but for the date of the schools' states, is *settled*:
the same extracts on the next night make the same of it. What it found is a *ground*; tomorrow stands on it
as long as nothing of that has changed, and no date has been reached that a rule compares with `as_of`.

Here is what a ground depends on, which syncs may lay one, and when it ends. What a night that stands on one
still writes is in `syncs`; where the ground is kept, in `store.lake`.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from roster_pipeline.oneroster import vocabulary
from roster_pipeline.rosters import completeness as school_states
from roster_pipeline.rosters import rows
from roster_pipeline.rosters.changes import KEYS, TOLD, Changes
from roster_pipeline.rosters.statuses import SUCCESSFUL

if TYPE_CHECKING:
    import pandas as pd

    from roster_pipeline.rosters.outcome import Found
    from roster_pipeline.rosters.source import Published, Tonight

LONGEST: Final = 7
"""After so many days a ground ends whatever happens: what somebody changed in the database by hand is noticed
within a week, and the tables that later nights point to are hardly older than they would be."""

COMPARED: Final[dict[str, str]] = {
    "current._Judge._roles": "the dates of users' roles",
    "current._enrolments": "the dates of enrolments",
    "current._entered": "the first days of enrolments and of classes",
    "flaws.Facts._count_classes": "the dates of classes",
    "flaws.Facts._flaws_of_sessions": "each school's newest end of a session, and `between_sessions_days`",
    "flaws.Facts._running": "the dates of sessions, and `between_sessions_days`",
    "plan._Plan.__init__": "the last day of an approval: nothing waits where a ground is",
    "plan._Plan._after": "since when somebody is inactive, and `grace_days`",
    "plan._Plan._has_ended": "the last days of published classes",
    "plan._Plan._schools": "nothing: it becomes the date of the state, which moves every night",
    "sessions._drop_weaker_classes": "the last days of published classes",
    "sessions._fate": "the last days of published classes, the first ones of tonight's",
    "sessions._of_source": "the dates of sessions",
    "sessions._window": "the dates of sessions, or of a class's enrolments",
    "suspicions._Patterns._ends_soon": "the last days of published classes: asked of what waits only",
    "undone.waiting": "the last day of an approval: nothing waits where a ground is",
}
"""Every rule that looks at `as_of`, and with what it compares it. A test finds one that is not named here.

**A new comparison needs its dates in `turning_days`**, else a night could stand on a ground that has ended.
"""


# ------------------------------------------------------------------------------ what a ground depends on


def digest_of_rules(
    release: str, document: Mapping[str, Any], provider_ids: Mapping[str, int], retired: Mapping[int, str]
) -> str:
    """What tells whether the rules are the same: the package's release and the tenant's document."""
    return _digest([release, document, sorted(provider_ids.items()), sorted(retired.items())])


def digest_of_extracts(entries: Mapping[str, Any]) -> str | None:
    """What tells whether the extracts of some providers, or directories, say the same.

    Args:
        entries: provider_id → what the sync's facts have of its extract.

    Returns:
        None where nothing may stand on them: one is not `ok`, or it is not known what it holds.
    """
    told = []
    for who, entry in sorted(entries.items()):
        for name, found in sorted(entry["collections"].items()):
            if found["state"] != "ok" or not found.get("digest"):
                return None
            told.append([who, name, found["rows"], found["digest"]])
        told.append([who, entry["name"], entry["issues"]])
    return _digest(told)


def _digest(told: Any) -> str:
    text = json.dumps(told, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Ground:
    """What a settled sync found.

    Attributes:
        sync_id: The sync that found it.
        proposal: Of the register: what published last. Whatever else publishes, undoes or forgets sets
            another one.
        as_of: The sync's date, ISO.
        until: The first day on which a rule may find something else, ISO.
        rules: `digest_of_rules`.
        sources: `digest_of_extracts` of the providers.
        directories: That of the directories.
        tables: Asset → where the lake has its tables.
        schools: The school_ids whose state is as of the sync's date.
        report: What the sync told, from `status` to `issues`.
    """

    sync_id: int
    proposal: str
    as_of: str
    until: str
    rules: str
    sources: str
    directories: str
    tables: dict[str, dict[str, Any]]
    schools: list[str]
    report: dict[str, Any]

    @classmethod
    def of(cls, told: Mapping[str, Any] | None) -> Ground | None:
        """The ground that was kept as this JSON object; None for none, or one of another release."""
        if told is None or told.keys() != cls.__dataclass_fields__.keys():
            return None
        return cls(**told)

    def as_json(self) -> dict[str, Any]:
        """The ground as a JSON object."""
        return asdict(self)

    def carries(
        self, *, proposal: str | None, as_of: str, rules: str, sources: str | None, directories: str | None
    ) -> bool:
        """Whether what was found then is what the rules would find now."""
        return (
            self.proposal == proposal
            and self.as_of <= as_of < self.until
            and (self.rules, self.sources, self.directories) == (rules, sources, directories)
        )

    def report_of(self, moved: int, durations: Mapping[str, float]) -> dict[str, Any]:
        """What a sync tells that stands on it.

        Args:
            moved: How many schools have a new date.
            durations: Provider → seconds that tonight's extraction took.
        """
        nothing = {"added": 0, "updated": 0, "removed": 0}
        return {
            **self.report,
            "changes": {name: {**nothing, "updated": moved * (name == "schools")} for name in TOLD},
            "providers": [
                {**entry, "duration_s": round(durations.get(entry["name"], 0.0), 3)}
                for entry in self.report["providers"]
            ],
        }


# ------------------------------------------------------------------------------ which syncs may lay one


def is_settled(
    report: Mapping[str, Any], found: Found, changes: Mapping[str, Changes], published: Published
) -> bool:
    """Whether a sync, as far as its rules tell, left everything as it found it but for the schools' dates.

    What it remembers besides, and which register it saw, is for whoever publishes.

    Args:
        report: What it tells.
        found: What its rules found.
        changes: What it changes in the published tables.
        published: The roster before it.
    """
    roster = found.roster
    return (
        report["status"] == SUCCESSFUL
        and not (roster.held or roster.unjudged or roster.merged)
        and published.holds.empty
        and not (found.identities.outcomes["outcome"] == "created").any()
        and all(not sum(changes[name].counts.values()) for name in KEYS if name != "schools")
        and _only_dates(changes["schools"], published.schools)
    )


def _only_dates(changes: Changes, before: pd.DataFrame) -> bool:
    if len(changes.added) or len(changes.removed):
        return False
    names = [name for name in changes.updated.columns if name != "state_as_of"]
    return not set(rows.keys(changes.updated, *names)) - set(rows.keys(before, *names))


def dated_schools(found: Found) -> list[str]:
    """The school_ids whose state is as of the sync's date."""
    states = found.completeness.schools
    ids: list[str] = states.loc[states["state"] == school_states.PUBLISHED, "school_id"].tolist()
    return ids


# ------------------------------------------------------------------------------ when it ends


def until(days: Iterable[dt.date], as_of: dt.date, longest: int = LONGEST) -> dt.date:
    """The first day after `as_of` on which a ground of that date carries no more."""
    return min([_after(as_of, longest), *(day for day in days if day > as_of)])


def turning_days(found: Found, published: Published, tonight: Tonight) -> set[dt.date]:
    """Every day on which a rule may decide otherwise than on the day before, if nothing but the date moves.

    The one place where the dates are that the rules compare with `as_of` (`COMPARED`): a day that is named
    in vain costs a night's work, one that is missing would cost the truth.

    Args:
        found: What the rules found tonight.
        published: The roster before.
        tonight: The date, and the options that are counted in days.
    """
    spans: set[str] = set()
    for frame, names in (
        (found.sessions.sessions, ("start_date", "end_date")),
        (found.current.enrolments, ("begin_date", "end_date")),
        (published.classes, ("start_date", "end_date")),
    ):
        for name in names:
            spans.update(frame[name].unique().tolist())
    for source in found.sources:
        for text in source.frames["users"]["roles"].unique().tolist():
            for _, _, begin, end in rows.parse_list(text):
                spans |= {vocabulary.date(begin), vocabulary.date(end)}
    people = published.people
    people = people[(people["removed"] != "true") & (people["inactive_since"] != "")]
    ends = set(found.sessions.calendars["newest_end"].tolist())
    outdated = tonight.between_sessions_days + 1
    days = {
        *_days(spans, 0, 1),  # the first day, the last one where it does not count, and the one after it
        *_days(ends, outdated),
        *_days(people["inactive_since"].unique().tolist(), tonight.grace_days + 1),
    }
    if any(day <= tonight.as_of for day in _days(ends, outdated)):
        days.add(_after(tonight.as_of, 1))  # how long ago a session ended is told anew every day
    return days


def _days(dates: Iterable[str], *later: int) -> set[dt.date]:
    """So many days after each of the ISO dates; "" is none."""
    return {_after(dt.date.fromisoformat(date), number) for date in dates if date for number in later}


def _after(day: dt.date, number: int) -> dt.date:
    """A day so many days later; the last one of the calendar where there is none."""
    return day + dt.timedelta(days=min(number, (dt.date.max - day).days))
