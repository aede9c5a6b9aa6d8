"""What differs between the roster as published and as planned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roster_pipeline.rosters.changes import KEYS, TOLD, compare, not_in


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


# ------------------------------------------------------------ whole tables, against going through the rows

# Few keys, so that they meet; and values that are equal to the eye only.
KEY = st.tuples(
    st.sampled_from([1, 2, 30]), st.sampled_from(["", "a", "A", "1", "é", "e\u0301", "🎒", "a\x1f"])
)
VALUES = st.tuples(st.sampled_from(["", "x", "X", "x ", "\n", "0"]), st.sampled_from(["", "true", "false"]))
TABLE = st.dictionaries(KEY, VALUES, max_size=12).flatmap(lambda rows: st.permutations(list(rows.items())))
COLUMNS = ("provider_id", "source_id", "seen", "linked_by")
Row = tuple[Any, ...]


def as_str(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.astype(dict.fromkeys(COLUMNS[1:], "str"))


def as_categories(frame: pd.DataFrame) -> pd.DataFrame:
    """As dictionaries whose order, and whose names that nobody uses, are nobody's business."""
    out = as_str(frame)
    for name in COLUMNS[1:]:
        met = sorted({*out[name], "unused"}, reverse=True)
        out[name] = pd.Categorical(out[name], categories=pd.Index(met, dtype="str"))
    return out


def in_parts(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([as_str(frame.iloc[:1]), as_str(frame.iloc[1:2]), as_str(frame.iloc[2:])])


SHAPES: tuple[Callable[[pd.DataFrame], pd.DataFrame], ...] = (as_str, as_categories, in_parts)


def table_of(rows: list[Row], shape: Callable[[pd.DataFrame], pd.DataFrame], first: int = 0) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(COLUMNS), index=range(first, first + len(rows)), dtype="object")
    return shape(frame.astype({"provider_id": "int64"}))


def rows_of(frame: pd.DataFrame) -> list[Row]:
    return [tuple(row) for row in frame[list(COLUMNS)].astype("object").to_numpy().tolist()]


@settings(max_examples=80)
@given(before=TABLE, after=TABLE, data=st.data())
def test_the_changes_are_those_that_going_through_the_rows_finds(
    before: list[tuple[Row, Row]], after: list[tuple[Row, Row]], data: st.DataObject
):
    olds, news = dict(before), dict(after)
    old, new = (
        table_of([(*key, *values) for key, values in table], data.draw(st.sampled_from(SHAPES)), first)
        for table, first in ((before, 0), (after, 100))
    )
    old["removed"] = "no rule's column"
    found = compare("person_sources", old, new)
    assert rows_of(found.added) == [(*key, *values) for key, values in after if key not in olds]
    assert rows_of(found.updated) == [
        (*key, *values) for key, values in after if key in olds and olds[key] != values
    ]
    assert rows_of(found.removed) == [(*key, *values) for key, values in before if key not in news]
    for part, whole in ((found.added, new), (found.updated, new), (found.removed, old)):
        pd.testing.assert_frame_equal(part, whole.loc[part.index])


@settings(max_examples=80)
@given(before=st.lists(st.tuples(KEY, VALUES)), frame=st.lists(st.tuples(KEY, VALUES)), data=st.data())
def test_new_rows_are_those_that_going_through_them_finds(
    before: list[tuple[Row, Row]], frame: list[tuple[Row, Row]], data: st.DataObject
):
    known, given_ = ([(*key, *values) for key, values in rows] for rows in (before, frame))
    old, new = (table_of(rows, data.draw(st.sampled_from(SHAPES))) for rows in (known, given_))
    found = not_in(new, old.assign(sync_id="3"))
    assert rows_of(found) == [row for row in dict.fromkeys(given_) if row not in known]
    pd.testing.assert_frame_equal(found, new.loc[found.index])


@pytest.mark.parametrize("twice", ["before", "after"])
def test_a_key_that_comes_twice_is_refused(twice: str):
    once, two = classes(c1="Maths"), pd.concat([classes(c1="Maths"), classes(c1="Art")])
    with pytest.raises(ValueError, match="twice"):
        compare("classes", *((two, once) if twice == "before" else (once, two)))


def test_more_columns_than_one_number_can_tell_apart_are_told_apart(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("roster_pipeline.rosters.columns._LARGEST", 3)
    before = links(("s1", "g1", "parent"), ("s1", "g2", "parent"), ("s2", "g1", "parent"))
    after = links(("s2", "g2", "parent"), ("s2", "g1", "guardian"), ("s1", "g1", "parent"))
    found = compare("guardian_links", before, after)
    assert found.counts == {"added": 1, "updated": 1, "removed": 1}
    assert not_in(after, before).to_numpy().tolist() == after.iloc[:2].to_numpy().tolist()
