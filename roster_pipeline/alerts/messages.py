"""What is told, in words: counts first, few names, what to do. Pure; channels show it in their own ways.

A message is bounded whatever happened: some sections, some names in each, and "and N more" for the rest.
It holds names of tenants, providers, schools and hosts, codes and counts, and nothing of people.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from roster_pipeline.alerts.conditions import RANK, Condition, Kind
from roster_pipeline.codes import CATALOGUE

MOST_NAMES: Final = 10
MOST_SECTIONS: Final = 8
MOST_PLACES: Final = 3
"""Schools and providers that are told of one tenant."""
LONGEST: Final = 60
"""Characters of a name; schools write whole sentences into theirs."""
LONGEST_LIST: Final = 500
"""Characters of the names of a section: Slack refuses messages of some 13,000 in all."""
MOST_OF_ONE: Final = 0.8
"""From this share of them on one host, the host is likely the cause."""
FEW: Final = 3
"""Of so few tenants nobody guesses a common cause."""


@dataclass(frozen=True, slots=True)
class Change:
    """A tenant that something is to be told of; `now` and `told` as in `conditions.Known`."""

    tenant: str
    region: str
    kind: Kind
    now: Condition
    told: Condition
    since: datetime
    hosts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Section:
    """Tenants of which the same is told; `tenants` are the first of `count`."""

    title: str
    lines: tuple[str, ...] = ()
    code: str = ""
    count: int = 0
    tenants: tuple[str, ...] = ()
    cure: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One message, the same for every channel.

    Attributes:
        title: One line that says it all, as the subject of an e-mail.
        lines: What stands before the sections.
    """

    kind: Literal["changes", "digest", "channel", "test"]
    severity: Literal["failed", "partial", "info"]
    title: str
    lines: tuple[str, ...] = ()
    sections: tuple[Section, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Message:
        """What `as_json` gave."""
        sections = tuple(
            Section(**one | {name: tuple(one[name]) for name in ("lines", "tenants")})
            for one in values["sections"]
        )
        plain = {name: values[name] for name in ("kind", "severity", "title")}
        return cls(**plain, lines=tuple(values["lines"]), sections=sections)


# ------------------------------------------------------------------------------------------- changes

_ORDER: Final[tuple[Kind, ...]] = ("bad", "worse", "other", "unsteady", "reminder", "steady", "recovered")
_DID: Final = {
    "failed": "failed",
    "missed": "were not started in the night",
    "interrupted": "were interrupted",
    "partial": "were synced in part",
    "held": "have removals that wait",
    "ok": "are well",
}
_AGAIN: Final = {
    "bad": "",
    "worse": " (worse than before)",
    "other": " (for other reasons than before)",
    "unsteady": " (keeps changing; nothing more is told until it is steady for three nights)",
    "reminder": " (still, a reminder)",
    "steady": " (now steady)",
    "recovered": "",
}


def of_changes(changes: Collection[Change]) -> Message:
    """One message for all of them, at least one."""
    groups: dict[tuple[int, int, str, str], list[Change]] = defaultdict(list)
    for one in changes:
        code = "" if one.kind in ("unsteady", "recovered") else one.now.code
        state = "" if one.kind in ("unsteady", "recovered") else one.now.state
        groups[_ORDER.index(one.kind), -RANK[one.now.state] if state else 0, state, code].append(one)
    # Within a kind the worst first, and of them the most.
    ordered = sorted(groups.items(), key=lambda item: (item[0][:2], -len(item[1]), item[0][2:]))
    sections = [_section(group) for _, group in ordered[:MOST_SECTIONS]]
    rest = [one for _, group in ordered[MOST_SECTIONS:] for one in group]
    if rest:
        title = f"{_tenants(len(rest))} for {len(ordered) - MOST_SECTIONS} more reasons"
        told = "They are listed by: roster-pipeline alerts"
        sections.append(Section(title, (_names(rest), told), count=len(rest), tenants=_first(rest)))
    bad = [one for one in changes if one.now.is_bad or one.kind == "unsteady"]
    severity: Literal["failed", "partial", "info"] = "info"
    if bad:
        is_worst = any(one.now.is_bad and one.now.severity == "failed" for one in bad)
        severity = "failed" if is_worst else "partial"
    return Message("changes", severity, _title(changes), _common(changes), tuple(sections))


def _title(changes: Collection[Change]) -> str:
    if len(changes) == 1:
        (one,) = changes
        if one.kind == "recovered":
            return f"{one.tenant} is well again"
        did = _of_one(_DID[one.now.state])
        if one.kind == "unsteady":
            return f"{one.tenant} keeps changing; its last sync: {one.now.code or 'well'}"
        again = {"reminder": " (still)", "steady": " (now steady)"}.get(one.kind, "")
        return f"{one.tenant} {did}{again}" + (f": {one.now.code}" if one.now.code else "")
    counts: Counter[str] = Counter()
    for one in changes:
        if one.kind in ("bad", "worse", "other"):
            counts[_DID[one.now.state]] += 1
        else:
            counts[_LATER[one.kind]] += 1
    order = [*_DID.values(), *_LATER.values()]
    told = sorted(counts.items(), key=lambda item: order.index(item[0]))
    parts = [f"{_count(count)} {what if count > 1 else _of_one(what)}" for what, count in told]
    number, _, rest = parts[0].partition(" ")
    return "; ".join([f"{number} tenant{'s' if told[0][1] > 1 else ''} {rest}", *parts[1:]])


def _of_one(what: str) -> str:
    """Of one tenant what is said of several."""
    verb, _, rest = what.partition(" ")
    verb = {"were": "was", "have": "has", "are": "is", "keep": "keeps"}.get(verb, verb)
    return f"{verb} {rest}".strip()


_LATER: Final = {
    "unsteady": "keep changing",
    "reminder": "are still not well",
    "steady": "are steady again",
    "recovered": "are well again",
}


def _section(group: Sequence[Change]) -> Section:
    """Of one kind, state and code; at least one change."""
    first = group[0]
    many = _tenants(len(group))
    lines = [_names(group)]
    if first.kind == "recovered":
        return Section(f"{many} well again", tuple(lines), count=len(group), tenants=_first(group))
    if first.kind == "unsteady":
        title = f"{many} unsteady{_AGAIN['unsteady']}"
        codes = Counter(one.now.code or "well" for one in group).most_common(MOST_NAMES)
        lines.append("At present: " + ", ".join(f"{_count(count)} {code}" for code, count in codes))
        return Section(title, tuple(lines), count=len(group), tenants=_first(group))
    if not first.now.is_bad:
        title = f"{many} well{_AGAIN[first.kind]}"
        return Section(title, tuple(lines), count=len(group), tenants=_first(group))
    did = _DID[first.now.state]
    if first.kind in ("reminder", "steady"):
        lines.append(f"Since {min(one.since for one in group):%Y-%m-%d} at the earliest.")
    return _coded(f"{many}: {did}{_AGAIN[first.kind]}", first.now.code, group, lines)


def _coded(title: str, code: str, group: Sequence[Change], lines: list[str]) -> Section:
    entry = CATALOGUE.get(code)
    if entry is not None:
        title = f"{title}. {code}: {entry.happened}"
        lines += _hint(group)
        lines.append(f"To do ({entry.owner}): {entry.cure}")
    return Section(
        title,
        tuple(lines),
        code=code,
        count=len(group),
        tenants=_first(group),
        cure=entry.cure if entry else "",
        owner=entry.owner if entry else "",
    )


def _hint(group: Sequence[Change]) -> list[str]:
    """Whether they have a host in common, which would be the one place to look at."""
    host, count = _shared_host(group)
    if not host:
        return []
    share = "All of them" if count == len(group) else f"{_count(count)} of them"
    return [f"{share} are read from {_clipped(host)}: look there first."]


def _common(changes: Collection[Change]) -> tuple[str, ...]:
    """What all news that are bad have in common, and whose regions they are."""
    regions = Counter(one.region for one in changes)
    lines = [", ".join(f"{region}: {_count(count)}" for region, count in regions.most_common())]
    news = [one for one in changes if one.kind in ("bad", "worse", "other")]
    codes = Counter(one.now.code for one in news)
    host, count = _shared_host(news)
    if host and len(codes) > 1:
        lines.append(
            f"Most of these ({_count(count)} of {_count(len(news))}) are read from {_clipped(host)}."
        )
    return tuple(lines)


def _shared_host(changes: Sequence[Change]) -> tuple[str, int]:
    """The host that most of them are read from, and how many are; nothing where they are few or of many."""
    hosts = Counter(host for one in changes for host in one.hosts)
    host, count = hosts.most_common(1)[0] if hosts else ("", 0)
    return (host, count) if len(changes) >= FEW and count >= MOST_OF_ONE * len(changes) else ("", 0)


# ------------------------------------------------------------------------------------------- digests


@dataclass(frozen=True, slots=True)
class Digest:
    """A night that is over, in counts, and who is not well after it (`bad`, of this region).

    Attributes:
        over_at: When its last sync ended; None without any.
        unsteady: Tenants that nothing is told of in between.
    """

    region: str
    start: datetime
    end: datetime
    tenants: int
    published: int
    failed: int
    missed: int
    over_at: datetime | None
    bad: tuple[Change, ...] = ()
    unsteady: tuple[str, ...] = ()


def of_night(digest: Digest) -> Message:
    """The message at the end of a window."""
    states = Counter(one.now.state for one in digest.bad)
    counts = [
        (digest.failed, "failed"),
        (digest.missed, "missed"),
        (states["partial"], "partial"),
        (states["held"], "with removals that wait"),
    ]
    told = ", ".join(f"{_count(count)} {what}" for count, what in counts if count)
    night = f"{digest.region} night of {digest.start:%Y-%m-%d}"
    title = f"{night}: {_count(digest.published)} of {_tenants(digest.tenants)} published"
    over = f"{digest.over_at:%Y-%m-%d %H:%M} UTC" if digest.over_at else "no sync ended in it"
    lines = [
        f"Window: {digest.start:%Y-%m-%d %H:%M} to {digest.end:%Y-%m-%d %H:%M} UTC. Last sync over: {over}.",
        told[:1].upper() + told[1:] + "." if told else "All tenants are well.",
    ]
    groups: dict[tuple[int, str, str], list[Change]] = defaultdict(list)
    for one in digest.bad:
        groups[-RANK[one.now.state], one.now.state, one.now.code].append(one)
    ordered = sorted(groups.items(), key=lambda item: (item[0][0], -len(item[1]), item[0]))
    sections = [
        _coded(f"{_tenants(len(group))}: {_DID[state]}", code, group, [_names(group)])
        for (_, state, code), group in ordered[:MOST_SECTIONS]
    ]
    left = sum(len(group) for _, group in ordered[MOST_SECTIONS:])
    if left:
        sections.append(Section(f"{_tenants(left)} for more reasons", count=left))
    if digest.unsteady:
        listed = tuple(sorted(digest.unsteady))
        sections.append(
            Section(
                f"{_tenants(len(listed))} unsteady: changed often lately, and only digests tell of it",
                (_listed(listed),),
                count=len(listed),
                tenants=listed[:MOST_NAMES],
            )
        )
    severity: Literal["failed", "partial", "info"] = "info"
    if digest.bad or digest.failed or digest.missed:
        severity = "failed" if digest.failed or digest.missed else "partial"
    whole = f"{title}, {told}" if told else title
    return Message("digest", severity, whole, tuple(lines), tuple(sections))


# ------------------------------------------------------------------------------------------ channels


def of_broken_channel(channel: str, error: str, since: datetime, waiting: int) -> Message:
    """A channel that cannot be reached; `error` begins with a code."""
    return Message(
        "channel",
        "failed",
        f"The alert channel {channel} does not work",
        (
            f"Since {since:%Y-%m-%d %H:%M} UTC. {error}",
            f"Messages that wait for it: {_count(waiting)}. They are sent, in order, when it works again.",
            f"To do (operator): mend it, then try it with: roster-pipeline alerts --test {channel}",
        ),
    )


def of_mended_channel(channel: str, since: datetime) -> Message:
    """A channel that works again, after it was told that it did not."""
    return Message(
        "channel",
        "info",
        f"The alert channel {channel} works again",
        (f"It did not since {since:%Y-%m-%d %H:%M} UTC; what waited for it is being sent.",),
    )


def of_test(channel: str) -> Message:
    """What `roster-pipeline alerts --test` sends."""
    return Message(
        "test",
        "info",
        f"A test of the alert channel {channel}",
        ("Somebody tried out whether messages arrive here. Nothing is to be done.",),
    )


# --------------------------------------------------------------------------------------------- words


def _names(group: Iterable[Change]) -> str:
    return _listed([f"{one.tenant}{_places(one)}" for one in _by_name(group)])


def _first(group: Iterable[Change]) -> tuple[str, ...]:
    return tuple(one.tenant for one in _by_name(group)[:MOST_NAMES])


def _by_name(group: Iterable[Change]) -> list[Change]:
    return sorted(group, key=lambda one: one.tenant)


def _places(change: Change) -> str:
    """` (sis: Riverbend Annexe)`: where the first code is met."""
    if change.kind in ("recovered", "unsteady") or not change.now.problems:
        return ""
    mine = [problem for problem in change.now.problems if problem.code == change.now.code]
    providers = dict.fromkeys(_clipped(one.provider) for one in mine if one.provider)
    schools = dict.fromkeys(_clipped(one.school) for one in mine if one.school)
    parts = [_listed(list(names), MOST_PLACES) for names in (providers, schools) if names]
    return f" ({': '.join(parts)})" if parts else ""


def _listed(names: Sequence[str], most: int = MOST_NAMES) -> str:
    shown = list(names[:most])
    while len(shown) > 1 and sum(map(len, shown)) > LONGEST_LIST:
        shown.pop()
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {_count(more)} more" if more > 0 else "")


def _clipped(name: str) -> str:
    plain = "".join(sign if sign.isprintable() else " " for sign in name)
    return plain if len(plain) <= LONGEST else f"{plain[: LONGEST - 1]}…"


def _count(number: int) -> str:
    return f"{number:,}"


def _tenants(number: int) -> str:
    return f"{_count(number)} tenant{'' if number == 1 else 's'}"
