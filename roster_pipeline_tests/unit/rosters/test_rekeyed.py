"""A system that gives its rows new ids: the same classes and people are recognised, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from roster_pipeline.rosters.rekeyed import twins
from roster_pipeline_tests.rosters import Provider, begun, names, school_of

# ------------------------------------------------------------------------------------------ the rule


def traits(text: str) -> dict[str, tuple[str, ...]]:
    """`a:maths b:art` is a row `a` that is called maths and a row `b` that is called art."""
    return {one: (called,) for one, called in (word.split(":") for word in text.split())}


@pytest.mark.parametrize(
    "before, gone, new, found",
    [
        pytest.param("a:x b:y", "a:x b:y", "c:x d:y", {"c": "a", "d": "b"}, id="all have new ids"),
        pytest.param("a:x b:y", "a:x", "c:x", {"c": "a"}, id="half of them"),
        pytest.param("a:x b:y c:z", "a:x", "d:x", {}, id="a third is too few"),
        pytest.param("a:x b:y", "", "c:x", {}, id="nothing went"),
        pytest.param("a:x b:y", "a:x b:y", "", {}, id="nothing came"),
        pytest.param("a:x b:x", "a:x b:x", "c:x d:x", {}, id="several are called the same"),
        pytest.param("a:x b:y", "a:x b:y", "c:x d:x e:y", {}, id="only one of two can be told"),
        pytest.param("a:x b:x c:z", "a:x c:z", "d:x e:z", {}, id="the like of one is still there"),
        pytest.param(
            "a:1 b:2 c:3 d:4 e:5", "a:1 b:2 c:3 d:4 e:5", "f:1 g:2 h:3 i:4",
            {"f": "a", "g": "b", "h": "c", "i": "d"}, id="four of five came back",
        ),
        pytest.param(
            "a:1 b:2 c:3 d:4", "a:1 b:2 c:3 d:4", "f:1 g:2 h:3", {}, id="three of four are too few",
        ),
    ],
)  # fmt: skip
def test_twins(before: str, gone: str, new: str, found: dict[str, str]):
    assert twins(traits(before), traits(gone), traits(new), fewest=1) == found


def test_of_four_nobody_can_say_that_it_was_all_of_them():
    four, five = names("a1..a4"), names("a1..a5")
    for ids, found in ((four, 0), (five, 5)):
        before = {one: (one,) for one in ids}
        assert len(twins(before, before, {f"new {one}": (one,) for one in ids})) == found


def test_what_has_no_traits_is_nobodys_twin():
    assert twins({"a": ()}, {"a": ()}, {"b": ()}, fewest=1) == {}


# ------------------------------------------------------------------------------------------ classes

CLASSES = names("c1..c5")


def school(**options: Any) -> Provider:
    return classes(school_of("t1 s1..s9", **options), CLASSES)


def classes(sis: Provider, ids: list[str], **fields: Any) -> Provider:
    """The classes Maths 1, Maths 2, … under these ids."""
    for number, name in enumerate(ids, 1):
        sis.teaches(name, "t1 s1..s9", title=f"Maths {number}", code=f"M{number}", **fields)
    return sis


def renamed(sis: Provider, **fields: Any) -> None:
    """All classes under new ids."""
    sis.gone(*CLASSES)
    classes(sis, names("n1..n5"), **fields)


def test_classes_under_new_ids_are_the_same_classes():
    tenant = begun(school())
    before = {row["source_id"]: row["class_id"] for row in tenant.nights[0].table("classes")}
    renamed(tenant.providers[0])
    night = tenant.night().check()
    after = {row["source_id"]: row["class_id"] for row in night.table("classes")}
    assert after == {f"n{n}": before[f"c{n}"] for n in range(1, 6)}
    assert (night.status, night.codes) == ("successful", ["RS-SAFE-19"])
    assert night.changes("memberships") == (0, 0, 0)
    again = tenant.night().check()
    assert (again.quiet, again.codes) == (True, [])


@pytest.mark.parametrize(
    "fields",
    [{"session": "next"}, {"title": "Art"}],
    ids=["another year", "another title"],
)
def test_classes_of_another_year_or_title_are_others(fields: dict[str, str]):
    tenant = begun(school())
    sis = tenant.providers[0].session("next", "2025-09-01..2026-06-12")
    renamed(sis, **({"terms": ["next"]} if "session" in fields else {}))
    if "title" in fields:
        for n in range(1, 6):
            sis.rows["classes"][f"n{n}"]["title"] = f"Art {n}"
    night = tenant.night().check()
    assert len(night.classes) == 10
    assert (night.status, "RS-SAFE-03" in night.codes) == ("partial", True)


def test_an_old_id_that_is_given_to_another_class_makes_a_new_one():
    tenant = begun(school())
    renamed(tenant.providers[0])
    tenant.night().check()
    tenant.providers[0].teaches("c1", "t1 s1..s9", title="Latin", code="L1")
    night = tenant.night().check()
    assert len({row["class_id"] for row in night.table("classes")}) == 6


def test_a_class_under_a_new_id_that_is_over_ends_as_it_would_have_under_the_old_one():
    tenant = begun(school(respect_academic_sessions=True))
    renamed(tenant.providers[0])
    night = tenant.night("2026-06-13").check()  # the school year is over
    assert "RS-SAFE-03" not in night.codes
    assert night.classes == set()


def test_classes_are_not_recognised_where_the_extract_is_not_proven():
    tenant = begun(school())
    renamed(tenant.providers[0])
    tenant.providers[0].state("unproven", "classes")
    assert len(tenant.night().check().classes) == 10


# ------------------------------------------------------------------------------------------ people


def people(ids: list[str], **fields: Any) -> Provider:
    """A school whose students have no e-mail, but an identifier and names of their own."""
    sis = school_of("t1 t2 s1..s9")
    sis.gone("s1..s9")
    for number, who in enumerate(ids, 1):
        told = {"identifier": f"N{number}", "given": f"Given-{number}", "family": f"Family-{number}"}
        sis.users(who, email="", **told | fields).enrol("c1", who)
    return sis


def persons(tenant: Any, ids: list[str]) -> list[str]:
    return [tenant.nights[-1].person(who) for who in ids]


OLD, NEW = names("s1..s9"), names("s11..s19")


def test_people_without_an_e_mail_under_new_ids_are_the_same_people():
    tenant = begun(people(OLD))
    before = persons(tenant, OLD)
    tenant.providers[0].rows = people(NEW).rows
    night = tenant.night().check()
    assert persons(tenant, NEW) == before
    assert (night.status, night.codes, night.inactive) == ("successful", ["RS-SAFE-19"], set())
    assert night.became["s11"] == ("matched", "identifier", "returned")
    assert tenant.night().check().quiet


@pytest.mark.parametrize(
    "fields",
    [{"family": "Another"}, {"identifier": ""}, {"identifier": "x@y.example"}],
    ids=["other names", "no identifier", "an e-mail as identifier"],
)
def test_people_of_whom_less_is_known_are_others(fields: dict[str, str]):
    tenant = begun(people(OLD, **({} if "family" in fields else fields)))
    before = persons(tenant, OLD)
    tenant.providers[0].rows = people(NEW, **fields).rows
    tenant.night().check()
    assert set(persons(tenant, NEW)).isdisjoint(before)


def test_a_few_people_under_new_ids_are_others():
    tenant = begun(people(OLD))
    before = persons(tenant, OLD[:3])
    tenant.providers[0].rows = people([*NEW[:3], *OLD[3:]]).rows
    tenant.night().check()
    assert set(persons(tenant, NEW[:3])).isdisjoint(before)
