"""Who is who on one night, decided a second time from product.md in plain Python, and compared.

The oracle knows nothing of the code: it takes the words of "Merging" one after the other. Worlds on
which the page says nothing (`Silent`) are left out, few of them: `--hypothesis-show-statistics` tells.
Several small worlds, which share no key, are matched in one night: a night costs more than its rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from roster_pipeline.rosters.completeness import judge_schools
from roster_pipeline.rosters.current import find_current
from roster_pipeline.rosters.identities import Identities, find_identities
from roster_pipeline.rosters.schools import find_schools
from roster_pipeline.rosters.sessions import find_sessions
from roster_pipeline_tests.rosters import Provider, Story, provider, story

PROVIDERS = ("sis", "cl", "tp")


class Silent(Exception):  # noqa: N818 - not an error: the page does not decide this world
    """The page does not say what happens here."""


@dataclass(frozen=True)
class Rules:
    """The options of one provider."""

    without_domain: bool = False
    attach_only: bool = False
    check_names: bool | None = None

    def key(self, email: str) -> str:
        return email[: email.rindex("@")] if self.without_domain and "@" in email else email

    @property
    def names_matter(self) -> bool:
        return self.without_domain if self.check_names is None else self.check_names


@dataclass(frozen=True)
class User:
    """One row."""

    given: str
    family: str
    email: str
    student: bool
    identifier: str
    master: str


@dataclass
class Human:
    """One person of the oracle: the users (provider, number) who are it."""

    users: list[tuple[str, int]] = field(default_factory=list)


World = dict[str, list[User]]


# ------------------------------------------------------------------------------------------ the oracle


def fold(users: list[User]) -> list[list[int]]:
    """Which rows of one provider are one person: "only by userMasterIdentifier, or by an equal identifier
    that is not an e-mail together with equal given and family names"."""

    def same(one: User, other: User) -> bool:
        if one.master and one.master == other.master:
            return True
        names = (one.given, one.family) == (other.given, other.family)
        return (
            bool(one.identifier)
            and one.identifier == other.identifier
            and "@" not in one.identifier
            and names
        )

    groups = [{place} for place in range(len(users))]
    merged = True
    while merged:
        merged = False
        for one in groups:
            for other in groups:
                if one is not other and any(same(users[a], users[b]) for a in one for b in other):
                    one |= other
                    groups.remove(other)
                    merged = True
                    break
            if merged:
                break
    return [sorted(group) for group in groups]


def decide(
    world: World, rules: dict[str, Rules]
) -> tuple[dict[tuple[str, int], str], list[set[tuple[str, int]]]]:
    """The outcome of every user, and who are one person."""
    humans: list[Human] = []
    outcomes: dict[tuple[str, int], str] = {}
    told: dict[str, list[tuple[list[int], str, str]]] = {}
    for name in PROVIDERS:
        users, mine = world[name], rules[name]
        groups = fold(users)
        keys = [{mine.key(users[n].email) for n in group if users[n].email} for group in groups]
        shared = {key for key, count in Counter(key for some in keys for key in some).items() if count > 1}
        told[name] = []
        for group, some in zip(groups, keys, strict=True):
            if len({users[n].email for n in group}) > 1:
                raise Silent  # which of several addresses of one person is the key
            told[name].append((group, next(iter(some - shared), ""), ""))
    joined: list[Human] = []
    before = None
    while before != told:
        # "The same sync run twice changes nothing": whoever was not matched is looked for among all who are
        # there in the end.
        before = {name: list(groups) for name, groups in told.items()}
        for name in PROVIDERS:
            _find(name, told[name], humans, world, rules)
        _join(humans, joined, world, rules)
    for name, people in told.items():
        outcomes |= {(name, n): outcome for group, _, outcome in people for n in group}
    return outcomes, [set(human.users) for human in humans if human.users]


def _find(
    name: str,
    groups: list[tuple[list[int], str, str]],
    humans: list[Human],
    world: World,
    rules: dict[str, Rules],
) -> None:
    """The people of one provider who are nobody yet: who is who of them."""
    users = world[name]
    found: list[tuple[int, str, Human | None]] = []
    for place, (group, key, known) in enumerate(groups):
        if known in ("", "unmatched"):
            members = [users[n] for n in group]
            outcome, match = _evidence(key, members, humans, lambda u: world[u[0]][u[1]], rules[name])
            if outcome == "created" and rules[name].attach_only:
                outcome = "unmatched"
            found.append((place, outcome, match))
    matched = [match for _, _, match in found if match]
    if max(Counter(map(id, matched)).values(), default=0) > 1 or any(
        user[0] == name for match in matched for user in match.users
    ):
        raise Silent  # two people of one provider who both fit one person
    for place, outcome, match in found:
        group, key, _ = groups[place]
        groups[place] = group, key, outcome
        if outcome == "created":
            match = Human()
            humans.append(match)
        if match is not None:
            match.users += [(name, n) for n in group]


def _join(humans: list[Human], joined: list[Human], world: World, rules: dict[str, Rules]) -> None:
    """ "Two live identities of different sources that turn out to share a usable full e-mail and both names,
    and are exactly two, are joined"."""
    every = {user.email for users in world.values() for user in users} - {""}
    for email in sorted(every):
        usable = {
            name: sum(email in {users[n].email for n in group} for group in fold(users)) == 1
            for name, users in world.items()
        }
        having = {
            id(human): (
                human,
                [(name, world[name][n]) for name, n in human.users if world[name][n].email == email],
            )
            for human in humans
        }
        having = {key: (human, users) for key, (human, users) in having.items() if users}
        if len(having) < 2:
            continue
        (one, ones), (other, others), *more = having.values()
        if more or not all(usable[name] for name, _ in [*ones, *others]):
            if all(any(usable[name] for name, _ in users) for _, users in having.values()) and not more:
                raise Silent  # usable for some of the rows
            if sum(any(usable[name] for name, _ in users) for _, users in having.values()) > 1:
                raise Silent  # whether those count with whom it is not usable
            continue
        names = {(user.given, user.family) for _, user in [*ones, *others]}
        if len(names) > 1 or not all(next(iter(names))):
            continue
        if {name for name, _ in one.users} & {name for name, _ in other.users}:
            continue  # of one source they are two
        students = {world[name][n].student for name, n in [*one.users, *other.users]}
        if len(students) > 1 and any(rules[name].without_domain for name, _ in [*one.users, *other.users]):
            raise Silent  # whether the full e-mail joins whom the local part never does
        if one in joined or other in joined:
            raise Silent  # the order in which several are joined
        joined += [one, other]
        one.users += other.users
        other.users = []


def _evidence(
    key: str, group: list[User], humans: list[Human], row: Any, rules: Rules
) -> tuple[str, Human | None]:
    candidates = [
        human
        for human in humans
        if key and any(row(u).email and rules.key(row(u).email) == key for u in human.users)
    ]
    if not candidates:
        return "created", None
    if len(candidates) > 1:
        return "unmatched", None
    (human,) = candidates
    if rules.without_domain:
        students = {row(u).student for u in human.users} | {user.student for user in group}
        if len({row(u).student for u in human.users}) > 1 or len({user.student for user in group}) > 1:
            raise Silent  # somebody who is both
        if len(students) > 1:
            return "unmatched", None
    if rules.names_matter:
        theirs, ours = {row(u).family for u in human.users} - {""}, {user.family for user in group} - {""}
        if len(theirs) > 1 or len(ours) > 1:
            raise Silent  # somebody of several family names
        if theirs and ours and theirs != ours:
            return "unmatched", None
    return "matched", human


# ------------------------------------------------------------------------------------------ worlds

EMAILS = ["", "a@x", "A@x", "a@y", "b@x", "b@y", "a@b@x"]
USER = st.builds(
    User,
    given=st.sampled_from(["Ada", "Ben"]),
    family=st.sampled_from(["Archer", "Baker"]),
    email=st.sampled_from(EMAILS),
    student=st.booleans(),
    identifier=st.sampled_from(["", "", "1", "2", "i@x"]),
    master=st.sampled_from(["", "", "", "m"]),
)
NAMELESS = st.builds(
    User, given=st.just("Ada"), family=st.just(""), email=st.sampled_from(EMAILS), student=st.booleans(),
    identifier=st.just(""), master=st.just(""),
)  # fmt: skip
RULES = st.builds(Rules, st.booleans(), st.booleans(), st.sampled_from([None, None, True, False]))


def worlds(providers: int) -> st.SearchStrategy[World]:
    some = st.lists(USER | USER | NAMELESS, max_size=4)
    return st.fixed_dictionaries(
        {name: some if place < providers else st.just([]) for place, name in enumerate(PROVIDERS)}
    )


def told(several: list[World], rules: dict[str, Rules]) -> Story:
    """All worlds as one tenant; keys of each begin with its number."""
    made: dict[str, Provider] = {}
    for name in PROVIDERS:
        mine = rules[name]
        merge = {
            "key": "email_without_domain" if mine.without_domain else "email",
            "attach_to_existing_users_only": mine.attach_only,
            "check_names": mine.check_names,
        }
        made[name] = provider(name, "", merge=merge)
        for place, world in enumerate(several):
            for number, user in enumerate(world[name]):
                made[name].users(
                    f"w{place}-{number}",
                    role="student" if user.student else "teacher",
                    given=user.given,
                    family=user.family,
                    email=f"{place}.{user.email}" if user.email else "",
                    identifier=f"{place}{user.identifier}" if user.identifier else "",
                    master=f"{place}{user.master}" if user.master else "",
                )
    return story(*made.values(), keeps_back=())


def match(tenant: Story) -> Identities:
    given_ = tenant.given()
    rest = given_.published, given_.tonight
    schools = find_schools(given_.sources, *rest)
    sessions = find_sessions(given_.sources, schools, *rest)
    current = find_current(given_.sources, schools, sessions, *rest)
    complete = judge_schools(given_.sources, schools, sessions, current, *rest)
    return find_identities(given_.sources, [], current, complete, *rest)


def found_in(tenant: Story) -> tuple[dict[tuple[str, str], str], list[set[tuple[str, str]]]]:
    """What the rules decided: outcome of every user, and who are one person."""
    frame = match(tenant).outcomes
    names = {tenant.id_of(one): one.name for one in tenant.providers}
    outcomes: dict[tuple[str, str], str] = {}
    people: dict[str, set[tuple[str, str]]] = {}
    for row in frame.to_dict("records"):
        user = names[row["provider_id"]], row["source_id"]
        assert user not in outcomes, "two outcomes of one user"
        outcomes[user] = row["outcome"]
        if row["person_id"]:
            people.setdefault(row["person_id"], set()).add(user)
    return outcomes, list(people.values())


def decided(several: list[World], rules: dict[str, Rules]) -> Iterator[tuple[int, dict, list[set]]]:
    """The worlds on which the page speaks, with what it says."""
    for place, world in enumerate(several):
        try:
            outcomes, people = decide(world, rules)
        except Silent:
            event("the page is silent")
            continue
        event("decided")
        yield (
            place,
            {(name, f"w{place}-{number}"): outcome for (name, number), outcome in outcomes.items()},
            [{(name, f"w{place}-{number}") for name, number in human} for human in people],
        )


def compare(several: list[World], rules: dict[str, Rules]) -> None:
    outcomes, people = found_in(told(several, rules))
    assert len(outcomes) == sum(len(users) for world in several for users in world.values())
    for place, expected, humans in decided(several, rules):
        assert {user: outcomes[user] for user in expected} == expected
        here = [human for human in people if any(user[1].startswith(f"w{place}-") for user in human)]
        assert sorted(map(sorted, here)) == sorted(map(sorted, humans))


@settings(max_examples=18, deadline=None)
@given(
    several=st.lists(worlds(2), min_size=1, max_size=12),
    rules=st.fixed_dictionaries({"sis": RULES, "cl": RULES, "tp": st.just(Rules())}),
)
def test_of_two_providers_everybody_is_who_the_page_says(several: list[World], rules: dict[str, Rules]):
    compare(several, rules)


@settings(max_examples=18, deadline=None)
@given(
    several=st.lists(worlds(3), min_size=1, max_size=12),
    rules=st.fixed_dictionaries({"sis": RULES, "cl": RULES, "tp": RULES}),
)
def test_of_three_providers_everybody_is_who_the_page_says(several: list[World], rules: dict[str, Rules]):
    compare(several, rules)


@settings(max_examples=6, deadline=None)
@given(
    several=st.lists(worlds(3), min_size=1, max_size=8),
    rules=st.fixed_dictionaries({"sis": RULES, "cl": RULES, "tp": RULES}),
    order=st.permutations(range(3)),
    rng=st.randoms(use_true_random=False),
)
def test_the_order_of_rows_and_of_providers_changes_nothing(several, rules, order, rng):
    tenant, other = told(several, rules), told(several, rules)
    for one, priority in zip(other.providers, (100, 50, 10), strict=True):
        other.id_of(one)
        one.options["merge"]["priority"] = priority
    other.providers = [other.providers[place] for place in order]
    other.shuffle = rng.shuffle
    before, after = match(tenant), match(other)
    for name in ("people", "links", "outcomes", "guardians"):
        rows = [sorted(map(str, getattr(found, name).to_dict("records"))) for found in (before, after)]
        assert rows[0] == rows[1], name


def one_world(sis: str, cl: str, weaker: Rules) -> dict[tuple[str, int], str]:
    every = {name: Rules() for name in PROVIDERS} | {"cl": weaker}
    world = {
        name: [User("Ada", "Archer", email, True, "", "") for email in text.split()]
        for name, text in zip(PROVIDERS, (sis, cl, ""), strict=True)
    }
    return decide(world, every)[0]


@pytest.mark.parametrize(
    "sis, cl, rules, expected",
    [
        ("a@x", "a@x", Rules(), "matched"),
        ("a@x", "A@x", Rules(), "created"),
        ("a@x", "a@y", Rules(), "created"),
        ("a@x", "a@y", Rules(without_domain=True), "matched"),
        ("a@x a@y", "a@x", Rules(without_domain=True), "unmatched"),
        ("a@x", "b@x", Rules(attach_only=True), "unmatched"),
        ("a@x", "a@x a@x", Rules(), "created"),
    ],
)
def test_the_oracle_itself_says_what_the_page_says(sis: str, cl: str, rules: Rules, expected: str):
    assert one_world(sis, cl, rules)["cl", 0] == expected
