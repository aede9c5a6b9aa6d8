"""What differs between the roster as published and as planned."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roster_pipeline.rosters.changes import KEYS, TOLD, compare


def links(*records: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(list(records), columns=["student_id", "guardian_id", "relationship"], dtype="str")


def classes(**titles: str) -> pd.DataFrame:
    return pd.DataFrame(list(titles.items()), columns=["class_id", "title"], dtype="str")


def test_rows_are_told_apart_by_their_whole_key():
    before = links(("s1", "g1", "parent"), ("s1", "g2", "parent"), ("s2", "g1", "parent"))
    after = links(("s2", "g1", "guardian"), ("s1", "g2", "parent"), ("s2", "g2", "parent"))
    found = compare("guardian_links", before, after)
    assert found.added.to_numpy().tolist() == [["s2", "g2", "parent"]]
    assert found.updated.to_numpy().tolist() == [["s2", "g1", "guardian"]]
    assert found.removed.to_numpy().tolist() == [["s1", "g1", "parent"]]
    assert found.counts == {"added": 1, "updated": 1, "removed": 1}


def test_the_same_rows_in_another_order_are_no_change():
    before = classes(c1="Maths", c2="Art", c3="")
    assert compare("classes", before, before.iloc[[2, 0, 1]]).counts == dict.fromkeys(
        ("added", "updated", "removed"), 0
    )


def test_everything_is_added_to_nothing():
    assert compare("classes", classes(), classes(c1="Maths")).counts["added"] == 1


def test_everything_is_removed_from_something():
    assert compare("classes", classes(c1="Maths"), classes()).counts["removed"] == 1


def test_nothing_compared_with_nothing_is_no_change():
    assert sum(compare("classes", classes(), classes()).counts.values()) == 0


def test_a_value_that_turns_empty_is_an_update():
    found = compare("classes", classes(c1="Maths"), classes(c1=""))
    assert found.updated["title"].tolist() == [""]


def test_letter_case_and_spaces_are_differences():
    found = compare("classes", classes(c1="maths", c2="Art"), classes(c1="Maths", c2="Art "))
    assert found.counts["updated"] == 2


def test_removed_rows_are_told_as_they_were():
    assert compare("classes", classes(c1="Maths"), classes()).removed["title"].tolist() == ["Maths"]


@pytest.mark.parametrize("kind", TOLD)
def test_every_kind_that_is_told_has_a_key(kind: str):
    assert KEYS[kind]


def test_links_of_users_are_compared_and_not_told():
    assert set(KEYS) - set(TOLD) == {"person_sources"}


ROWS = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["", "x", "y"]))


@settings(max_examples=60)
@given(before=ROWS, after=ROWS)
def test_applying_the_changes_to_the_old_rows_gives_the_new_ones(
    before: dict[str, str], after: dict[str, str]
):
    found = compare("classes", classes(**before), classes(**after))
    result = dict(before)
    for class_id in found.removed["class_id"]:
        del result[class_id]
    for part in (found.added, found.updated):
        result |= dict(zip(part["class_id"], part["title"], strict=True))
    assert result == after
    assert set(found.added["class_id"]) == set(after) - set(before)
    assert set(found.updated["class_id"]) == {
        key for key in {*before} & {*after} if before[key] != after[key]
    }
