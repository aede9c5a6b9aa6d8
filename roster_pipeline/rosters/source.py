"""What a rule is given: tonight's sources, and the roster as it is published.

Shapes only; the rules that use them are next door.
"""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from roster_pipeline.rosters import rows
from roster_pipeline.rosters.holds import REMEMBERED

if TYPE_CHECKING:
    from roster_pipeline.tenants.document import Provider

State = Literal["ok", "unproven", "stale", "failed"]

REQUIRED = ("orgs", "classes", "users", "enrollments")
"""Without these nothing can be told of a provider (oneroster.md §4.1: courses may fail)."""


@dataclass(frozen=True, slots=True)
class Source:
    """One provider tonight.

    Attributes:
        provider_id: The id that links are kept by; never changes, also when the provider is renamed.
        strength: 0 for the strongest provider, then 1, 2, …
        states: Of each of the six collections.
        frames: The rows as extracted: columns of `oneroster.collections.COLUMNS`, all str.
        before: The options that what is published follows (as a JSON object): those of the last sync that
            was complete enough to take out what they take out; None if there was none.
        ever_complete: Whether its users were ever read completely, tonight included.
    """

    provider_id: int
    name: str
    strength: int
    options: Provider
    states: dict[str, State]
    frames: dict[str, pd.DataFrame]
    before: dict[str, Any] | None = None
    ever_complete: bool = True

    @property
    def usable(self) -> bool:
        """Whether its rows say anything tonight; if not, all of it stays as published."""
        required = REQUIRED + (("academicSessions",) if self._needs_sessions else ())
        return all(self.states.get(name) != "failed" for name in required)

    @property
    def _needs_sessions(self) -> bool:
        return self.options.respect_academic_sessions and not self.options.compatibility_mode

    @property
    def readable(self) -> bool:
        """Whether it may speak and anything was read tonight, not only remembered."""
        return self.usable and any(state in ("ok", "unproven") for state in self.states.values())

    def proven(self, *collections: str) -> bool:
        """Whether all of these are proven complete, so that absence means removal."""
        return self.usable and all(self.states.get(name) == "ok" for name in collections)

    @property
    def keeps_to_its_options(self) -> bool:
        """Whether what is published of it follows tonight's options, and what they take out has gone."""
        return self.usable and (self.before is None or self.proven("classes", "academicSessions"))

    def was(self, option: str, default: Any = None) -> Any:
        """An option's value when what is published last followed the options."""
        return (self.before or {}).get(option, default)


@dataclass(frozen=True)
class Published:
    """The roster as it is, live rows only unless said otherwise; columns as the tables', all str.

    Attributes:
        people: Removed ones too (`removed` is "true" for them): whoever returns keeps the id.
            (Every `provider_id` column is int64.)
        person_sources: Removed ones too.
        school_sources: provider_id, source_id, school_id.
        enrolled: provider_id, source_id of users who ever had an enrolment row.
        left: provider_id, source_id of users whose newest outcome is that they have left.
        holds: `holds.REMEMBERED`: the removals that wait.
    """

    schools: pd.DataFrame
    academic_sessions: pd.DataFrame
    classes: pd.DataFrame
    people: pd.DataFrame
    person_sources: pd.DataFrame
    memberships: pd.DataFrame
    guardian_links: pd.DataFrame
    school_sources: pd.DataFrame
    enrolled: pd.DataFrame
    left: pd.DataFrame
    holds: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=REMEMBERED, dtype="str"))

    @cached_property
    def live_links(self) -> pd.DataFrame:
        """The rows of `person_sources` that are not removed."""
        removed = self.person_sources["removed"] == "true"
        return self.person_sources[~removed] if removed.any() else self.person_sources

    def schools_by_org(self) -> dict[tuple[int, str], str]:
        """(provider_id, org) → the school_id that it was found to be."""
        return {
            (provider_id, org): school
            for provider_id, org, school in rows.keys(
                self.school_sources, "provider_id", "source_id", "school_id"
            )
        }


@dataclass(frozen=True, slots=True)
class Tonight:
    """What is the same for every rule of a sync.

    Attributes:
        as_of: The date that every rule uses.
        sync_id: The sync's number; new ids are derived from it.
        retired: provider_ids whose rows go.
        directories: provider_id → name.
    """

    tenant: str
    as_of: dt.date
    sync_id: int
    between_sessions_days: int = 120
    grace_days: int = 7
    keeps_back: frozenset[str] = frozenset()
    retired: frozenset[int] = frozenset()
    directories: dict[int, str] = field(default_factory=dict)

    @property
    def day(self) -> str:
        """`as_of` as an ISO date, as the frames have dates."""
        return self.as_of.isoformat()


def key_of(kind: str, email: str) -> str:
    """An e-mail as the merge key of a kind: the whole address, or what stands before the last @."""
    return email.rpartition("@")[0] or email if kind == "email_without_domain" else email


_NAMESPACE = uuid.UUID("6b0c8a53-5a38-5d2b-9a4e-3f0f2f6f7c11")


def new_id(*parts: object) -> str:
    """A UUID that follows from `parts`: a sync that is repeated proposes the same ids."""
    return str(uuid.uuid5(_NAMESPACE, "\x1f".join(map(str, parts))))
