"""Plain users by columns become what they become one by one, in worlds of contradictions and of every day.

What is right is asked elsewhere, of both ways alike; here the two ways are asked for the same.
`PLAIN_SEEDS=0:50` runs more worlds.
"""

from __future__ import annotations

import os
import random
import tracemalloc
from typing import Any, Final

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roster_pipeline import syncs
from roster_pipeline.rosters import identities as rule
from roster_pipeline.rosters import plain
from roster_pipeline.rosters.current import FIELDS
from roster_pipeline.rosters.identities import Identities, find_identities
from roster_pipeline.rosters.source import key_of
from roster_pipeline_tests.churning import Churn, rules_of, tenant_of
from roster_pipeline_tests.known_truth import Ledger
from roster_pipeline_tests.rosters import provider, story
from roster_pipeline_tests.unit.rosters.test_order import (
    ADULTS_AND_STUDENTS,
    Muddle,
    register,
    text,
)

SEEDS: Final = range(*map(int, os.environ.get("PLAIN_SEEDS", "33:34").split(":")))


class Both:
    """Finds identities both ways, compares them, and counts who was plain."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.users = self.plain = 0
        self.find = plain.find_plain
        monkeypatch.setattr(rule, "find_plain", self.counted)
        monkeypatch.setattr(syncs, "find_identities", self.compared)

    def counted(self, *given: Any) -> Any:
        found = self.find(*given)
        self.plain += int(found.users.sum())
        self.users += len(found.users)
        return found

    def compared(self, *given: Any) -> Identities:
        one, other = find_identities(*given, one_by_one=True), find_identities(*given)
        for name in ("people", "links", "outcomes", "guardians", "merged"):
            mine, theirs = getattr(one, name), getattr(other, name)
            assert mine.dtypes.to_dict() == theirs.dtypes.to_dict(), name
            assert text(mine) == text(theirs), name
        assert one.users == other.users
        assert sorted(map(repr, one.issues)) == sorted(map(repr, other.issues))
        return other


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Both:
    return Both(monkeypatch)


@pytest.mark.parametrize("storage", ["python", "pyarrow"])
@pytest.mark.parametrize("seed", SEEDS)
def test_where_people_contradict_each_other(seed: int, storage: str, both: Both) -> None:
    with pd.option_context("mode.string_storage", storage):
        muddle = Muddle(random.Random(seed), 12, ADULTS_AND_STUDENTS)
        tenant = muddle.tenant()
        for _ in range(3):
            muddle.next_night(tenant)
            tenant.night()
            tenant.night(tenant.nights[-1].as_of.isoformat())
    assert 0 < both.plain < both.users


@pytest.mark.parametrize("seed", SEEDS)
def test_where_people_come_and_go(seed: int, both: Both) -> None:
    world, rules = Churn.begin(seed), rules_of(seed)
    tenant, ledger = tenant_of(rules), Ledger(rules)
    register(tenant)
    for number in range(4):
        if number:
            world.next_night(20)
        world.fill(tenant)
        ledger.look(tenant.night(), world.rows())
        world.linked = set(ledger.ids)
    assert 0 < both.plain < both.users


def test_on_an_unchanged_night_of_a_lone_provider_everybody_is_plain(both: Both) -> None:
    made = provider("sis", "t1..t2 s1..s20")
    tenant = story(made, keeps_back=())
    for night in range(1, 4):
        tenant.night().check()
        assert both.plain == both.users == 22 * night


# What two users must not share, and what must not wait, to be plain: fields of one, and of the other.
NOT_PLAIN: Final[dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "one address": ({"email": "a@x.example"}, {"email": "a@x.example"}),
    "one address but for the domain": ({"email": "a@x.example"}, {"email": "a@y.example"}),
    "one identifier with both names": (
        {"identifier": "7", "given": "Ada", "family": "Archer"},
        {"identifier": "7", "given": "Ada", "family": "Archer"},
    ),
    "one master identifier": ({"master": "m"}, {"master": "m"}),
    "one of the userIds, with both names": (
        {"user_ids": [["id", "7"], ["id", "8"]], "given": "Ada", "family": "Archer"},
        {"user_ids": [["id", "8"]], "given": "Ada", "family": "Archer"},
    ),
}


@pytest.mark.parametrize("what", NOT_PLAIN)
def test_whoever_shares_something_is_not_plain(what: str, both: Both) -> None:
    one, other = NOT_PLAIN[what]
    made = provider("sis", "t1")
    made.users("s1", **one).users("s2", **other).users("s3")
    story(made, keeps_back=()).night()
    assert (both.users, both.plain) == (4, 2)


@pytest.mark.parametrize(
    "changed", [{"given": "Zoe"}, {"email": ""}, {"identifier": "9"}, {"role": "teacher"}]
)
def test_whoever_says_something_else_is_not_plain(changed: dict[str, str], both: Both) -> None:
    made = provider("sis", "t1 s1..s4")
    tenant = story(made, keeps_back=())
    tenant.night()
    both.users = both.plain = 0
    made.users("s1", **changed)
    tenant.night()
    assert (both.users, both.plain) == (5, 4)


def test_values_that_vanish_are_counted_among_the_plain_ones_too(both: Both) -> None:
    """Six of hundred e-mails are too many at once (RS-SAFE-06), of two hundred they are not."""
    for students, kept in ((100, True), (200, False)):
        made = provider("sis", f"s1..s{students}")
        tenant = story(made, keeps_back=())
        tenant.night()
        for place in range(1, 7):
            made.users(f"s{place}", email="")
        assert ("RS-SAFE-06" in tenant.night().codes) is kept


def test_users_under_new_ids_are_half_of_all_only_if_the_plain_ones_are_counted(both: Both) -> None:
    """Six new ids among thirty users are six other people; among ten they are the same ones."""
    for students, same in ((30, False), (10, True)):
        made = provider("sis")
        for place in range(students):
            made.users(f"u{place}", email="", identifier=f"i{place}", given=f"G{place}", family=f"F{place}")
        tenant = story(made, keeps_back=(), safeguards={"small": 10**6})
        tenant.night()
        for place in range(6):
            made.gone(f"u{place}")
            made.users(f"n{place}", email="", identifier=f"i{place}", given=f"G{place}", family=f"F{place}")
        assert ("RS-SAFE-19" in tenant.night().codes) is same


_VALUES = st.sampled_from(["", "a", "@", "@x", "a@x", "a@b@x", 'q"\\', "tab\t", "\x7f\u2028é", '["09"]'])


@given(st.lists(st.lists(_VALUES, min_size=len(FIELDS) + 1, max_size=len(FIELDS) + 1), max_size=3))
def test_what_is_said_is_the_same_by_columns(table: list[list[str]]) -> None:
    kept = pd.DataFrame(table, columns=[*FIELDS, "enabled"], dtype="str").assign(roles='[["a","b"]]')
    kept.loc[:0, "roles"] = ""
    assert plain._said(kept).tolist() == [
        plain.seen_text({name: row[name] for name in FIELDS}, row["roles"], row["enabled"])
        for row in kept.to_dict("records")
    ]
    keys = plain._bare(kept.assign(owner=0))["email"].tolist()
    assert keys == [key_of("email_without_domain", email) for email in kept["email"]]


def test_links_that_have_nothing_to_tell_make_no_objects_of_what_users_say() -> None:
    names = [*FIELDS, "user_ids", "master"]
    kept = pd.DataFrame([["a"] * len(names)], columns=names, dtype="str").assign(provider_id=1)
    links = pd.DataFrame({"provider_id": [1], "seen": ["{}"]})
    none = plain._remembered(
        links, said=np.array([0]), changed=np.array([], dtype="int64"), kept=kept.iloc[:0]
    )
    both = pd.concat([kept[plain._TOLD], none[plain._TOLD]])
    assert both.dtypes.astype(str).to_dict() == kept[plain._TOLD].dtypes.astype(str).to_dict()


def test_many_who_share_what_is_theirs_alone_take_no_more_memory_than_they_are_many() -> None:
    """Every number and both names are there twice, as two systems of one district have them."""
    many = 20_000
    numbers = [f"{number:05}" for number in range(many)]
    claims = pd.DataFrame({
        "identifier": pd.Series(numbers * 2, dtype="str"),
        "provider_id": np.repeat(np.array([1, 1]), many),
        "given_name": pd.Series([f"Given {one}" for one in numbers] * 2, dtype="str"),
        "family_name": pd.Series([f"Family {one}" for one in numbers] * 2, dtype="str"),
        "owner": np.arange(2 * many),
    })  # fmt: skip
    claims.loc[0, "family_name"] = "Another"
    tracemalloc.start()
    try:
        found = plain._of_several(claims, ["identifier", "provider_id", "given_name", "family_name"])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.tolist() == [place for place in range(2 * many) if place not in (0, many)]
    assert peak < 2 * many * 1000
