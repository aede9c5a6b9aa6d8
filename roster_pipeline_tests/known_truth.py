"""Worlds of which the truth is known: who is whose row is written down before the rules are asked.

Here belong a row with the human behind it (`User`), what the rules can decide of tonight's rows (`Ledger`
asks product.md's "Merging" of one human at a time), and what must hold whatever was decided: no id names
two humans, and none changes. Where rows come from is in the tests: `test_known_truth` splits a district,
`test_churn` and `test_order` let people live for a while.

The predicate is simpler than the rules because the worlds are: a human has at most one row in a source, and
an address that other humans bear tonight decides nothing. It takes the links of the night before from what
was published: those were judged the night before.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations

from roster_pipeline_tests.rosters import Night

Key = tuple[str, str]
"""(source, sourcedId); sources are providers and directories by name."""


@dataclass(frozen=True, slots=True)
class User:
    """A row and the human behind it."""

    human: str
    given: str
    family: str
    email: str
    role: str = "student"
    school: str = ""
    identifier: str = ""
    grade: str = "09"

    @property
    def names(self) -> tuple[str, str]:
        return self.given, self.family


@dataclass(frozen=True, slots=True)
class Rules:
    """A source as the predicate sees it, the strongest first in a list of them."""

    source: str
    without_domain: bool = False
    attach_only: bool = False
    names_matter: bool | None = None
    directory: bool = False

    def key(self, email: str) -> str:
        return email.rpartition("@")[0] if self.without_domain else email

    @property
    def checks_names(self) -> bool:
        return self.without_domain if self.names_matter is None else self.names_matter


@dataclass
class Seen:
    """What was found on one night: numbers of pairs, and the reasons of those that are apart."""

    pairs: int = 0
    decidable: int = 0
    merged: int = 0
    missed: list[str] = field(default_factory=list)
    apart: Counter[str] = field(default_factory=Counter)
    renewed: Counter[str] = field(default_factory=Counter)

    @property
    def recall(self) -> float:
        return 1 - len(self.missed) / self.decidable if self.decidable else 1.0


@dataclass
class Ledger:
    """The truth over the nights of one tenant."""

    rules: Sequence[Rules]
    owner: dict[str, str] = field(default_factory=dict)  # person_id → the human whom it names
    human: dict[Key, str] = field(default_factory=dict)  # who last stood behind a row
    last: dict[Key, User] = field(default_factory=dict)
    ids: dict[Key, str] = field(default_factory=dict)  # the person_id of every link, removed ones too
    together: set[frozenset[Key]] = field(default_factory=set)  # pairs that the rules could decide once

    def look(self, night: Night, rows: Mapping[Key, User]) -> Seen:
        """Checks a night on which these were all rows of all sources, and tells what was decided."""
        night.check()
        final = _final(night)
        before = {key: final.get(person, person) for key, person in self.ids.items()}
        now = _links(night, final)
        expected = _Expected(self, rows, before)
        self._nobody_gets_the_id_of_another(rows, now, final)
        for key, user in rows.items():
            if self.human.get(key) == user.human and key in before and self._still_linked(key, rows, now):
                assert now.get(key) == before[key], f"{key} went from one person to another"
        seen = Seen()
        for key, person in expected.returns.items():
            if now.get(key) != person:
                seen.missed.append(f"{key} did not return: {_outcome(night, key)}")
            seen.decidable += 1
        self._count_pairs(night, rows, now, expected, seen)
        self._count_new_ids(rows, now, before, expected, seen)
        self.human |= {key: user.human for key, user in rows.items()}
        self.last |= dict(rows)
        self.ids = {**before, **now}
        return seen

    def _still_linked(self, key: Key, rows: Mapping[Key, User], now: Mapping[Key, str]) -> bool:
        """An attach-only link to somebody who is gone is no link while nobody else has them."""
        rules = next(rules for rules in self.rules if rules.source == key[0])
        return key in now or not (rules.attach_only or rules.directory)

    def _nobody_gets_the_id_of_another(
        self, rows: Mapping[Key, User], now: Mapping[Key, str], final: Mapping[str, str]
    ) -> None:
        for key, user in rows.items():
            if key in now:
                human = self.owner.setdefault(now[key], user.human)
                assert human == user.human, f"FALSE MERGE: {key}, who is {user.human}, has the id of {human}"
        for younger, older in final.items():
            if younger in self.owner and older in self.owner:
                assert self.owner[younger] == self.owner[older], "FALSE MERGE: two humans were joined"

    def _count_pairs(
        self,
        night: Night,
        rows: Mapping[Key, User],
        now: Mapping[Key, str],
        expected: _Expected,
        seen: Seen,
    ) -> None:
        for mine in expected.by_human.values():
            for one, other in combinations(mine, 2):
                pair = frozenset((one, other))
                seen.pairs += 1
                same = one in now and now[one] == now.get(other)
                if expected.same(one, other) or (pair in self.together and self._as_before(pair, rows)):
                    self.together.add(pair)
                    seen.decidable += 1
                    if not same:
                        seen.missed.append(
                            f"{one} and {other}: {_outcome(night, one)}, {_outcome(night, other)}"
                        )
                seen.merged += same
                if not same:
                    seen.apart[expected.why_apart(one, other)] += 1

    def _as_before(self, pair: frozenset[Key], rows: Mapping[Key, User]) -> bool:
        return all(self.human.get(key) == rows[key].human for key in pair)

    def _count_new_ids(
        self,
        rows: Mapping[Key, User],
        now: Mapping[Key, str],
        before: Mapping[Key, str],
        expected: _Expected,
        seen: Seen,
    ) -> None:
        """Humans who had an id and got another one tonight, with the reason."""
        ids: dict[str, set[str]] = defaultdict(set)
        for key, human in self.human.items():
            if key in before:
                ids[human].add(before[key])
        every = set(before.values())
        for key, user in rows.items():
            if ids[user.human] and key in now and now[key] not in every:
                seen.renewed[expected.why_new(key)] += 1


def _final(night: Night) -> dict[str, str]:
    """person_id → the id that it became, of all who were joined."""
    people = night.published.people
    into = dict(zip(people["person_id"].tolist(), people["merged_into"].tolist(), strict=True))

    def follow(person: str) -> str:
        while into.get(person):
            person = into[person]
        return person

    return {person: follow(person) for person, older in into.items() if older}


def _links(night: Night, final: Mapping[str, str]) -> dict[Key, str]:
    names = {who: name for name, who in night.provider_ids.items()}
    frame = night.published.person_sources
    frame = frame[frame["removed"] != "true"]
    columns = (frame[name].tolist() for name in ("provider_id", "source_id", "person_id"))
    return {(names[who], user): final.get(person, person) for who, user, person in zip(*columns, strict=True)}


def _outcome(night: Night, key: Key) -> str:
    frame = night.found.identities.outcomes
    found = frame[(frame["provider_id"] == night.provider_ids[key[0]]) & (frame["source_id"] == key[1])]
    return f"{found['outcome'].iat[0]} by {found['reason'].iat[0]}" if len(found) else "no outcome"


class _Expected:
    """What product.md's "Merging" decides of tonight's rows, human by human."""

    def __init__(self, ledger: Ledger, rows: Mapping[Key, User], before: Mapping[Key, str]) -> None:
        self.ledger, self.rows, self.before = ledger, rows, before
        self.rules = {rules.source: rules for rules in ledger.rules}
        self.order = {rules.source: place for place, rules in enumerate(ledger.rules)}
        self.linked = {
            key: before[key]
            for key, user in rows.items()
            if key in before and ledger.human.get(key) == user.human
        }
        self.bearing: dict[tuple[bool, str], list[Key]] = defaultdict(list)
        self.by_human: dict[str, list[Key]] = defaultdict(list)
        for key in sorted(rows, key=lambda key: (self.order[key[0]], key[1])):
            user = rows[key]
            self.by_human[user.human].append(key)
            if user.email:
                self.bearing[False, user.email].append(key)
                self.bearing[True, user.email.rpartition("@")[0]].append(key)
        self.identity: dict[Key, object] = {}
        self.returns: dict[Key, str] = {}
        for mine in self.by_human.values():
            self._human(mine)

    def same(self, one: Key, other: Key) -> bool:
        """Whether the rules can tell that two rows are one human."""
        return one in self.identity and self.identity[one] == self.identity.get(other)

    def _human(self, mine: list[Key]) -> None:
        for key in mine:
            if key in self.linked:
                self.identity[key] = self.linked[key]
        for key in mine:
            if key not in self.identity:
                self._decide(key, mine)
        self._join(mine)

    def _decide(self, key: Key, mine: list[Key]) -> None:
        rules, user = self.rules[key[0]], self.rows[key]
        bearers = self._bearers(key) if self._usable(key) else []
        if any(self.rows[other].human != user.human for other in bearers):
            return  # whether refused or created is not judged here, only that nobody false is met
        found = {self.identity[other] for other in bearers if other in self.identity and other != key}
        found = {who for who in found if self._exists(who, mine)}
        if len(found) > 1:
            return
        if found:
            (who,) = found
            families = {self.rows[k].family for k in mine if self.identity.get(k) == who} - {""}
            if rules.checks_names and user.family and families and user.family not in families:
                return
            if not any(k[0] == key[0] for k in mine if self.identity.get(k) == who):
                self.identity[key] = who
            return
        if rules.attach_only:
            return
        gone = self._gone(key, mine) if self._usable(key) and not rules.directory else None
        if gone:
            self.returns[key] = gone
        self.identity[key] = gone or key

    def _exists(self, who: object, mine: list[Key]) -> bool:
        return any(not self.rules[k[0]].attach_only for k in mine if self.identity.get(k) == who)

    def _usable(self, key: Key) -> bool:
        return bool(self.rows[key].email) and sum(other[0] == key[0] for other in self._bearers(key)) == 1

    def _bearers(self, key: Key) -> list[Key]:
        rules, email = self.rules[key[0]], self.rows[key].email
        return self.bearing[rules.without_domain, rules.key(email)] if email else []

    @cached_property
    def _gone_bearing(self) -> dict[tuple[bool, str], set[str]]:
        """(kind of key, key) → people without a row tonight whom a source last knew by it."""
        here = {
            person for key, person in self.linked.items() if not self.rules[key[0]].attach_only
        }  # an attach-only link keeps nobody
        out: dict[tuple[bool, str], set[str]] = defaultdict(set)
        for key, person in self.before.items():
            user = self.ledger.last.get(key)
            if user is not None and user.email and person not in here:
                out[False, user.email].add(person)
                out[True, user.email.rpartition("@")[0]].add(person)
        return out

    @cached_property
    def _gone_rows(self) -> dict[str, list[User]]:
        out: dict[str, list[User]] = defaultdict(list)
        for key, person in self.before.items():
            if key in self.ledger.last and self.ledger.human[key] == self.ledger.owner.get(person):
                out[person].append(self.ledger.last[key])
        return out

    def _gone(self, key: Key, mine: list[Key]) -> str | None:
        """The one identity of this human that returns: gone everywhere, with this key and both names."""
        rules, user = self.rules[key[0]], self.rows[key]
        found = self._gone_bearing[rules.without_domain, rules.key(user.email)]
        if len(found) != 1:
            return None
        (person,) = found
        known = self._gone_rows[person]
        if not self._known_to_provider(person, rules, user.email):
            return None
        if self.ledger.owner.get(person) != user.human or any(k in self.returns for k in mine):
            return None
        return person if all(one.names == user.names for one in known) and all(user.names) else None

    def _known_to_provider(self, person: str, rules: Rules, email: str) -> bool:
        """Whether a provider knew somebody by the key: step 3 of "Merging" asks for the values of the person.

        A directory gives the login while it names them; who leaves it first goes by a provider's address.
        """
        return any(
            rules.key(self.ledger.last[k].email) == rules.key(email)
            for k, who in self.before.items()
            if who == person and k in self.ledger.last and not self.rules[k[0]].directory
        )

    def _join(self, mine: list[Key]) -> None:
        """ "Two live identities of different sources that … share a usable full e-mail and both names"."""
        providers = [key for key in mine if not self.rules[key[0]].directory and key in self.identity]
        for one, other in combinations(providers, 2):
            a, b = self.rows[one], self.rows[other]
            who, whom = self.identity[one], self.identity[other]
            if who == whom or not a.email or a.email != b.email or a.names != b.names or not all(a.names):
                continue
            bearing = self.bearing[False, a.email]
            if any(self.rows[key].human != a.human for key in bearing):
                continue
            if len({self.identity[k] for k in bearing if k in providers}) != 2:
                continue
            if {self.rows[k].names for k in bearing if k in providers} != {a.names}:
                continue
            sources = [{k[0] for k in providers if self.identity[k] == some} for some in (who, whom)]
            if sources[0] & sources[1] or not all(self._exists(some, mine) for some in (who, whom)):
                continue
            for key in mine:
                if self.identity.get(key) == whom:
                    self.identity[key] = who

    # ------------------------------------------------------------------ reasons

    def why_apart(self, one: Key, other: Key) -> str:
        """The first thing that keeps two rows of one human from being seen as one."""
        a, b = self.rows[one], self.rows[other]
        rules = self.rules[self._decider(one, other)[0]]
        if self.same(one, other):
            return "MISSED"
        if not a.email or not b.email:
            return "no e-mail"
        if rules.key(a.email) != rules.key(b.email):
            return "another address"
        if not self._usable(one) or not self._usable(other):
            return "an address that several share"
        if {self.rows[key].human for key in self._bearers(self._decider(one, other))} != {a.human}:
            return "a key that others bear, too"
        if a.family != b.family and rules.checks_names:
            return "another family name"
        if one in self.linked and other in self.linked:
            return "known as two, and not one by full address and both names"
        return "known as two, of which one is gone"

    def _decider(self, one: Key, other: Key) -> Key:
        new = [key for key in (one, other) if key not in self.linked]
        return max(new or (one, other), key=lambda key: self.order[key[0]])

    def why_new(self, key: Key) -> str:
        """Why somebody who had an id gets a new one."""
        rules, user = self.rules[key[0]], self.rows[key]
        mine = self.by_human[user.human]
        if not user.email:
            return "no e-mail"
        if not self._usable(key):
            return "an address that several share"
        known = [k for k, human in self.ledger.human.items() if human == user.human and k in self.before]
        emails = {
            (self.rows[k] if k in self.rows else self.ledger.last[k]).email
            for k in known
            if k in self.rows or not self.rules[k[0]].directory
        }
        if rules.key(user.email) not in {rules.key(email) for email in emails if email}:
            return "another address"
        if any(k in self.linked or k in self.returns for k in mine):
            return "another source has the person, by another address"
        if any(self.ledger.last[k].names != user.names for k in known):
            return "another name than when they left"
        if len({self.before[k] for k in known}) > 1:
            return "two people when they left"
        return "UNEXPLAINED"


def total(nights: Iterable[Seen]) -> Seen:
    """All nights as one."""
    every = Seen()
    for seen in nights:
        every.pairs += seen.pairs
        every.decidable += seen.decidable
        every.merged += seen.merged
        every.missed += seen.missed
        every.apart += seen.apart
        every.renewed += seen.renewed
    return every
