"""Who is who on one night, decided a second time (`oracle.matching`), and compared.

Worlds on which the page says nothing (`Silent`) are left out, few of them:
`--hypothesis-show-statistics` tells.
Several small worlds, which share no key, are matched in one night: a night costs more than its rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from roster_pipeline.rosters.completeness import judge_schools
from roster_pipeline.rosters.current import find_current
from roster_pipeline.rosters.identities import Identities, find_identities
from roster_pipeline.rosters.schools import find_schools
from roster_pipeline.rosters.sessions import find_sessions
from roster_pipeline_tests.oracle.matching import Matching, Source, Values
from roster_pipeline_tests.oracle.tonight import Silent
from roster_pipeline_tests.rosters import Provider, Story, provider, story

PROVIDERS = ("sis", "cl", "tp")


@dataclass(frozen=True)
class Rules:
    """The options of one provider."""

    without_domain: bool = False
    attach_only: bool = False
    check_names: bool | None = None

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


World = dict[str, list[User]]


def decide(
    world: World, rules: dict[str, Rules]
) -> tuple[dict[tuple[str, int], str], list[set[tuple[str, int]]]]:
    """The outcome of every user, and who are one person."""
    sources = [
        Source(name, mine.without_domain, mine.attach_only, mine.names_matter)
        for name, mine in ((name, rules[name]) for name in PROVIDERS)
    ]
    users = {
        name: {
            (name, str(n)): Values(
                user.given, user.family, user.email, user.student, user.identifier, user.master
            )
            for n, user in enumerate(world[name])
        }
        for name in PROVIDERS
    }
    numbers = count()
    found = Matching(sources, users, {}, {}, {}, (), lambda: next(numbers)).run()
    people: dict[int, set[tuple[str, int]]] = {}
    for (name, n), person in found.person.items():
        people.setdefault(person, set()).add((name, int(n)))
    return {(name, int(n)): outcome for (name, n), outcome in found.outcomes.items()}, list(people.values())


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
