"""What `check` can tell of first pages: whom a sync would match, and what looks wrong. Counts only.

Here belongs what may be said before anything is read whole. A page proves nothing, so nothing here
judges who has left or which school is complete; the rules that decide are in `identities` and
`completeness`.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson
import pandas as pd

from roster_pipeline.codes import Issue
from roster_pipeline.oneroster import vocabulary
from roster_pipeline.rosters import rows
from roster_pipeline.rosters.sessions import no_sessions, would_help
from roster_pipeline.rosters.source import key_of

if TYPE_CHECKING:
    from roster_pipeline.rosters.source import Published
    from roster_pipeline.tenants.document import Merge, Provider

_MASKED: Final = 0.5
"""Which share of a page's users may have masked names or e-mails before it looks wrong."""


@dataclass(slots=True)
class _Person:
    names: set[tuple[str, str]] = field(default_factory=set)
    emails: set[str] = field(default_factory=set)
    providers: set[int] = field(default_factory=set)
    roles: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Known:
    """Whom the platform knows of a tenant: the published people, those of its directories, and those
    on the pages of the providers that were looked at before.
    """

    people: dict[str, _Person]
    links: Mapping[tuple[int, str], str]

    def __len__(self) -> int:
        return len(self.people)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What would become of a page's users, in numbers.

    `users` = `by_link` + `by_key` + `ambiguous` + `new`; those `left_out` come on top.

    Attributes:
        left_out: Without an id, twice, deleted, or family of a provider whose guardians are not synced.
        same_names: Of `by_link`, those with the names that are published.
        new: Would be created or, with attach-only, be unmatched.
        near_misses: Of `new`, those who would match if letter case did not count.
        without_key: Of `new`, those without an e-mail, or with one that others on the page have, too.
    """

    users: int = 0
    left_out: int = 0
    by_link: int = 0
    same_names: int = 0
    by_key: int = 0
    ambiguous: int = 0
    new: int = 0
    near_misses: int = 0
    without_key: int = 0


def known_people(published: Published, directories: Mapping[int, pd.DataFrame]) -> Known:
    """The people who are live, with every e-mail that a source has told of them.

    Args:
        published: The roster as it is.
        directories: Their rows by provider_id: whoever has the e-mail of one who is published is
            that person, everybody else one whom only the directory knows.
    """
    people: defaultdict[str, _Person] = defaultdict(_Person)
    live = published.people
    live = live[(live["removed"] != "true") & (live["inactive_since"] == "") & (live["merged_into"] == "")]
    for row in rows.each(live):
        person = people[row.person_id]
        person.names.add((row.given_name, row.family_name))
        person.emails.add(row.email)
        person.roles.update(entry["role"] for entry in rows.parse_list(row.roles))
    links: dict[tuple[int, str], str] = {}
    for row in rows.each(published.live_links):
        if row.person_id in people:
            links[int(row.provider_id), row.source_id] = row.person_id
            people[row.person_id].providers.add(int(row.provider_id))
            people[row.person_id].emails.add(orjson.loads(row.seen or "{}").get("email", ""))
    holders = defaultdict(set)
    for who, person in people.items():
        for email in person.emails:
            holders[email].add(who)
    for provider_id, frame in directories.items():
        for row in rows.each(frame):
            same = holders[row.email] if row.email else set()
            who = links.get((provider_id, row.id)) or (
                min(same) if len(same) == 1 else f"directory {provider_id} {row.id}"
            )
            people[who].emails.add(row.email)
            people[who].roles.update({vocabulary.role(row.role)} - {""})
            if row.family_name:
                people[who].names.add((row.given_name, row.family_name))
    return Known(dict(people), links)


def rehearse(users: pd.DataFrame, provider_id: int, options: Provider, known: Known) -> Rehearsal:
    """What a sync would make of a page of users: by their link, by the merge key, or as new people.

    From then on they are `known` as well, so that the next provider's users can match them.

    Args:
        users: The columns of `oneroster.collections.COLUMNS["users"]`, all str.
    """
    usable = users[rows.reasons(users) == ""]
    wanted = [_is_wanted(text, options) for text in usable["roles"].tolist()]
    kept = usable[pd.Series(wanted, index=usable.index, dtype=bool)]
    keys = [_key(email, options.merge) for email in kept["email"].tolist()]
    shared = {key for key, count in Counter(keys).items() if count > 1}
    exact, folded = _by_key(known, options.merge)
    found: Counter[str] = Counter(users=len(kept), left_out=len(users) - len(kept))
    met: list[tuple[str, Any]] = []
    for row, key in zip(rows.each(kept), keys, strict=True):
        linked = known.links.get((provider_id, row.sourcedId))
        if linked is not None:
            found["by_link"] += 1
            found["same_names"] += (row.givenName, row.familyName) in known.people[linked].names
            met.append((linked, row))
            continue
        usable_key = key if key not in shared else ""
        fitting = _free(exact.get(usable_key, ()), known, provider_id)
        if not fitting:
            found["new"] += 1
            found["without_key"] += not usable_key
            found["near_misses"] += bool(
                usable_key and _free(folded.get(usable_key.casefold(), ()), known, provider_id)
            )
            if not options.merge.attach_to_existing_users_only:
                met.append((f"provider {provider_id} {row.sourcedId}", row))
        elif len(fitting) == 1 and not _contradicts(row, known.people[fitting[0]], options.merge):
            found["by_key"] += 1
            met.append((fitting[0], row))
        else:
            found["ambiguous"] += 1
    for who, row in met:  # only now: two rows of one page are two people
        person = known.people.setdefault(who, _Person())
        if not vocabulary.is_masked(row.familyName):
            person.names.add((row.givenName, row.familyName))
        person.emails.add(row.email)
        person.providers.add(provider_id)
        person.roles |= _roles(row.roles)
    return Rehearsal(**found)


def _roles(text: str) -> set[str]:
    return {vocabulary.role(entry[0]) for entry in rows.parse_list(text)}


def _is_wanted(text: str, options: Provider) -> bool:
    """Whether the provider's options admit a user of these roles, as far as the row alone can tell."""
    roles = _roles(text)
    if not roles or not all(map(vocabulary.is_family, roles)):
        return True
    return options.sync_parent_data and options.relationship_type in roles


def _key(email: str, merge: Merge) -> str:
    if not email or vocabulary.is_masked(email):
        return ""
    return key_of(merge.key, email)


def _free(people: Iterable[str], known: Known, provider_id: int) -> list[str]:
    """Those whom the provider has no other user for: two rows of one provider are two people."""
    return [who for who in people if provider_id not in known.people[who].providers]


def _by_key(known: Known, merge: Merge) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Who has a merge key, and who has it if letter case does not count."""
    exact: defaultdict[str, set[str]] = defaultdict(set)
    folded: defaultdict[str, set[str]] = defaultdict(set)
    for who, person in known.people.items():
        for key in {_key(email, merge) for email in person.emails} - {""}:
            exact[key].add(who)
            folded[key.casefold()].add(who)
    return dict(exact), dict(folded)


def _contradicts(row: object, person: _Person, merge: Merge) -> bool:
    """Whether something speaks against it that two with one key are one person."""
    roles, family_name = _roles(row.roles), row.familyName  # type: ignore[attr-defined]
    adults_differ = bool(roles and person.roles) and ("student" in roles) != ("student" in person.roles)
    if merge.key == "email_without_domain" and adults_differ:
        return True
    family_names = {family for _, family in person.names} - {""}
    return merge.checks_names and bool(family_name and family_names) and family_name not in family_names


def remarks(
    pages: Mapping[str, pd.DataFrame],
    *,
    whole: frozenset[str],
    options: Provider,
    as_of: dt.date,
    between_sessions_days: int,
) -> list[Issue]:
    """What looks wrong on the first pages, with its code.

    Args:
        pages: By collection; one that could not be read is not there.
        whole: The collections that the page holds all of.
        options: The provider's.
        as_of: The day that a sync now would be for.
        between_sessions_days: How long ago the newest session may have ended.
    """
    told: list[tuple[str, str, int]] = []
    if pages and not any(map(len, pages.values())):
        told.append(("RS-PRV-05", "All collections are empty.", 1))
    for name, page in pages.items():
        nameless = int((page["sourcedId"] == "").sum())
        told.append(("RS-ROW-01", f"{nameless} of {len(page)} {name} have no sourcedId.", nameless))
        if name in ("academicSessions", "enrollments"):
            begin, end = ("startDate", "endDate") if name == "academicSessions" else ("beginDate", "endDate")
            *_, unread, turned = rows.span(page[begin], page[end])
            told.append(("RS-ROW-03", f"{unread} dates of {name} cannot be read.", unread))
            told.append(("RS-ROW-04", f"{turned} {name} begin after they end.", turned))
    if "users" in pages:
        told += _remarks_on_users(pages["users"])
    if "academicSessions" in pages and "academicSessions" in whole:
        told += _remarks_on_sessions(pages["academicSessions"], as_of, between_sessions_days)
    issues = [
        Issue(code, message, provider=options.name, count=count) for code, message, count in told if count
    ]
    if options.respect_academic_sessions and "academicSessions" in whole:
        issues += _remarks_on_undated_classes(pages, options)
    return issues


def _remarks_on_users(users: pd.DataFrame) -> list[tuple[str, str, int]]:
    every = {role for text in users["roles"].unique() for role in _roles(text)}
    unknown = len([role for role in every if not vocabulary.is_known_role(role)])
    emails = [email for email in users["email"].tolist() if email]
    shared = sum(count for count in Counter(emails).values() if count > 1)
    masked = sum(
        any(map(vocabulary.is_masked, row)) for row in rows.keys(users, "givenName", "familyName", "email")
    )
    if masked < 2 or masked < _MASKED * len(users):
        masked = 0
    return [
        ("RS-ROW-02", f"{unknown} roles are not OneRoster's.", unknown),
        ("RS-IDN-02", f"{shared} users share an e-mail address.", shared),
        ("RS-SAFE-09", f"{masked} of {len(users)} users have masked names or e-mails.", masked),
    ]


def _remarks_on_sessions(
    sessions: pd.DataFrame, as_of: dt.date, between_sessions_days: int
) -> list[tuple[str, str, int]]:
    ends = [end for end in map(vocabulary.date, sessions["endDate"].tolist()) if end]
    if not ends:
        return []
    days = (as_of - dt.date.fromisoformat(max(ends))).days
    text = f"The newest session ended {days} days ago, on {max(ends)}."
    return [("RS-SES-01", text, int(days > between_sessions_days))]


def _remarks_on_undated_classes(pages: Mapping[str, pd.DataFrame], options: Provider) -> list[Issue]:
    """Whether the rule for current classes can be kept at all, as far as first pages tell."""
    sessions = pages["academicSessions"]
    told = [no_sessions(options.name)] if sessions.empty else []
    classes = pages.get("classes", sessions)
    if options.compatibility_mode or classes.empty:
        return told
    named = {name for text in classes["terms"].unique() for name in rows.parse_list(text)}
    years = set(pages["courses"]["schoolYear"]) if "courses" in pages else set()
    enrolled = pages.get("enrollments", None)
    dated = enrolled is not None and ((enrolled["beginDate"] != "") | (enrolled["endDate"] != "")).any()
    if not dated and (named | years).isdisjoint(sessions["sourcedId"]):
        told.append(would_help(options.name))
    return told
