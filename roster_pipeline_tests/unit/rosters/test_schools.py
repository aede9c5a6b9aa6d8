"""Which orgs are schools, which schools of several providers are one, and which are excluded."""

from __future__ import annotations

import itertools

import pytest

from roster_pipeline.rosters.schools import Schools, find_schools
from roster_pipeline_tests.rosters import Provider, Story, begun, provider, school_of, story


def find(told: Story) -> Schools:
    given = told.given()
    return find_schools(given.sources, given.published, given.tonight)


def schools(*providers: Provider) -> dict[str, str]:
    """`sis/north` → school_id ("" for an org that is no school)."""
    found = find(story(*providers))
    names = {place: one.name for place, one in enumerate(sorted(providers, key=_strength), start=1)}
    return {
        f"{names[who]}/{org}": school_id
        for who, org, school_id in zip(
            found.orgs["provider_id"], found.orgs["source_id"], found.orgs["school_id"], strict=True
        )
    }


def _strength(one: Provider) -> int:
    return -one.options.get("merge", {}).get("priority", 0)


def of(name: str, *orgs: tuple[str, str, str]) -> Provider:
    """A provider with orgs of an id, a name and an identifier."""
    made = Provider(name)
    for org, title, identifier in orgs:
        made.org(org, title, identifier=identifier)
    return made


# ------------------------------------------------------------------------------------------ one or two


@pytest.mark.parametrize(
    "one, other, same",
    [
        pytest.param(
            ("North", "N-1"), ("Nordschule", "N-1"), True, id="identifiers are equal, names are not"
        ),
        pytest.param(("North", "N-1"), ("North", "N-2"), False, id="names are equal, identifiers differ"),
        pytest.param(("North", "N-1"), ("North", ""), True, id="one has no identifier, names are equal"),
        pytest.param(("North", ""), ("North", "N-1"), True, id="the other has no identifier"),
        pytest.param(("North", ""), ("North", ""), True, id="neither has an identifier, names are equal"),
        pytest.param(("North", ""), ("South", ""), False, id="neither has an identifier, names differ"),
        pytest.param(("North", "N-1"), ("South", ""), False, id="names differ, one has no identifier"),
        pytest.param(("North", "n-1"), ("North", "N-1"), False, id="identifiers differ by letter case"),
        pytest.param(("North", ""), ("north", ""), False, id="names differ by letter case"),
        pytest.param(("", ""), ("", ""), False, id="nothing is known of either"),
        pytest.param(("", "N-1"), ("North", "N-1"), True, id="one has no name, identifiers are equal"),
    ],
)
def test_schools_of_two_providers(one: tuple[str, str], other: tuple[str, str], same: bool):
    found = schools(of("sis", ("a", *one)), of("cl", ("b", *other)))
    assert (found["sis/a"] == found["cl/b"]) is same
    assert found["sis/a"]
    assert found["cl/b"]


def test_two_schools_of_one_provider_are_two_whatever_they_are_called():
    found = schools(of("sis", ("a", "North", "N-1"), ("b", "North", "N-1")))
    assert found["sis/a"] != found["sis/b"]


def test_one_id_in_two_providers_means_nothing():
    found = schools(of("sis", ("a", "North", "N-1")), of("cl", ("a", "South", "S-1")))
    assert found["sis/a"] != found["cl/a"]


def test_an_identifier_decides_before_a_name():
    found = schools(of("sis", ("a", "North", "N-1"), ("b", "South", "S-1")), of("cl", ("x", "South", "N-1")))
    assert found["cl/x"] == found["sis/a"]


def test_a_name_that_fits_two_schools_fits_neither():
    found = schools(of("sis", ("a", "North", "1"), ("b", "North", "2")), of("cl", ("x", "North", "")))
    assert found["cl/x"] not in (found["sis/a"], found["sis/b"])


def test_a_third_provider_joins_through_what_the_second_one_knew():
    found = schools(
        of("sis", ("a", "North", "")), of("cl", ("b", "North", "N-1")), of("tp", ("c", "Nordschule", "N-1"))
    )
    assert found["sis/a"] == found["cl/b"] == found["tp/c"]


def test_the_order_of_providers_in_the_document_changes_no_school():
    providers = [
        of("sis", ("a", "North", "N-1")).option(merge={"priority": 30}),
        of("cl", ("b", "North", ""), ("c", "South", "S-1")).option(merge={"priority": 20}),
        of("tp", ("d", "Süd", "S-1"), ("e", "East", "")).option(merge={"priority": 10}),
    ]
    results = []
    for order in itertools.permutations(providers):
        told = story(*order)
        for one in providers:
            told.id_of(one)
        results.append(find(told).orgs.sort_values(["provider_id", "source_id"]).to_numpy().tolist())
    assert all(result == results[0] for result in results)


# ------------------------------------------------------------------------------------------ later nights


def test_a_school_keeps_its_id_when_it_gets_another_name():
    sis = school_of("t1 s1")
    told = begun(sis)
    (sis,) = told.providers
    before = find(told).orgs["school_id"].tolist()
    sis.org("north", "Northern Academy", identifier="NORTH")
    assert find(told).orgs["school_id"].tolist() == before


def test_a_school_that_gets_another_identifier_keeps_its_id_while_it_is_alone():
    sis = school_of("t1 s1")
    told = begun(sis)
    (sis,) = told.providers
    before = find(told).orgs["school_id"].tolist()
    sis.org("north", identifier="N-99")
    assert find(told).orgs["school_id"].tolist() == before


def test_identifiers_that_contradict_each_other_by_now_part_two_schools():
    sis, cl = school_of("t1 s1"), provider("cl", "t9 s9").org("north", identifier="")
    told = story(sis, cl)
    first = told.night()
    assert len(first.schools) == 1
    cl.org("north", identifier="OTHER")
    found = find(told).orgs
    assert found["school_id"].nunique() == 2
    # The stronger provider's school goes on being the old one.
    published = first.table("schools")[0]["school_id"]
    assert found.loc[found["provider_id"] == told.id_of(sis), "school_id"].tolist() == [published]


# ------------------------------------------------------------------------------------------ what is a school


KINDS = ["school", "School", "district", "department", "local", ""]


@pytest.mark.parametrize("kind", KINDS)
def test_beside_a_school_only_orgs_of_that_type_are_schools(kind: str):
    sis = of("sis", ("a", "North", "N-1"), ("b", "Other", "O-1")).org("b", type=kind)
    assert bool(schools(sis)["sis/b"]) is (kind.lower() == "school")


def test_where_no_org_is_a_school_the_leaves_that_classes_name_are():
    sis = Provider("sis").org("district", type="district")
    sis.org("maths", type="department", parent="district").org("art", type="department", parent="district")
    sis.teaches("c1", school="maths", course="", terms=[])
    found = schools(sis)
    assert found["sis/maths"]
    assert not found["sis/district"]
    assert not found["sis/art"]


def test_a_parent_of_orgs_is_no_school_even_if_classes_name_it():
    sis = Provider("sis").org("district", type="district").org("maths", type="department", parent="district")
    sis.teaches("c1", school="district").teaches("c2", school="maths")
    found = schools(sis)
    assert found["sis/maths"]
    assert not found["sis/district"]


def test_an_org_that_only_enrolments_name_is_a_school_where_none_has_the_type():
    sis = Provider("sis").org("maths", type="department").teaches("c1", school="elsewhere")
    sis.enrol("c1", "s1", school="maths")
    assert schools(sis)["sis/maths"]


def test_a_deleted_org_is_no_school():
    assert schools(of("sis", ("a", "North", "N-1")).org("a", status="tobedeleted")) == {"sis/a": ""}


# ------------------------------------------------------------------------------------------ exclusions


@pytest.mark.parametrize(
    "word, excluded",
    [
        pytest.param("south", True, id="the sourcedId"),
        pytest.param("S-77", True, id="the identifier"),
        pytest.param("South School", True, id="the exact name"),
        pytest.param("SOUTH", False, id="another letter case of the id"),
        pytest.param("south school", False, id="another letter case of the name"),
        pytest.param("South", False, id="part of the name"),
    ],
)
def test_a_school_is_excluded_by(word: str, excluded: bool):
    sis = of("sis", ("north", "North School", "N-1"), ("south", "South School", "S-77"))
    found = find(story(sis.option(exclude_schools=[word])))
    reasons = dict(zip(found.orgs["source_id"], found.orgs["reason"], strict=True))
    assert reasons == {"north": "", "south": "excluded_school" if excluded else ""}
    assert bool(found.issues) is not excluded


def test_an_excluded_name_that_fits_no_school_is_a_warning_with_near_spellings():
    sis = of("sis", ("north", "North School", "N-1"), ("south", "South School", "S-77"))
    found = find(story(sis.option(exclude_schools=["Suoth School"])))
    (issue,) = found.issues
    assert issue.code == "RS-REF-02"
    assert "Suoth School" in issue.message
    assert "South School" in issue.message
    assert issue.provider == "sis"


def test_a_name_like_nothing_has_no_near_spellings():
    (issue,) = find(story(of("sis", ("north", "North", "N")).option(exclude_schools=["Zzyzx"]))).issues
    assert "near" not in issue.message


def test_two_schools_of_one_name_are_both_excluded_by_it():
    sis = of("sis", ("a", "North", "1"), ("b", "North", "2")).option(exclude_schools=["North"])
    assert len(find(story(sis)).excluded) == 2


def test_a_school_is_wholly_excluded_only_if_every_provider_excludes_it_that_has_it():
    sis, cl = of("sis", ("a", "North", "N")).option(exclude_schools=["a"]), of("cl", ("b", "North", "N"))
    assert find(story(sis, cl)).wholly_excluded() == set()
    assert len(find(story(sis, cl.option(exclude_schools=["b"]))).wholly_excluded()) == 1


def test_a_limit_to_schools_admits_ids_identifiers_and_names():
    sis = of("sis", ("a", "North", "N"), ("b", "South", "S"), ("c", "East", "E"), ("d", "West", "W"))
    found = find(story(sis.option(limit_to={"schools": ["a", "S", "East"]})))
    admitted = found.limited[1]
    named = dict(zip(found.orgs["source_id"], found.orgs["school_id"], strict=True))
    assert admitted == {named["a"], named["b"], named["c"]}


def test_a_limit_that_fits_no_school_admits_nobody_and_warns():
    found = find(story(of("sis", ("a", "North", "N")).option(limit_to={"schools": ["Nort"]})))
    assert found.limited == {1: set()}
    assert [issue.code for issue in found.issues] == ["RS-REF-02"]


def test_an_excluded_school_that_is_no_longer_sent_is_still_excluded():
    sis = school_of("t1 s1").org("south").users("t2 s2", orgs="south").teaches("c2", "t2 s2", school="south")
    told = begun(sis)
    (sis,) = told.providers
    sis.option(exclude_schools=["South School"]).gone("t2 s2 c2 south")
    found = find(told)
    assert len(found.excluded) == 1
    assert not found.issues


def test_a_provider_that_cannot_speak_excludes_nothing_and_has_no_orgs():
    sis = of("sis", ("a", "North", "N")).option(exclude_schools=["a"]).state("failed", "users")
    found = find(story(sis))
    assert found.orgs.empty
    assert not found.excluded


def test_a_school_is_excluded_by_our_id_as_well():
    tenant = story(school_of("t1 s1").org("south").users("t2 s2", orgs="south"))
    first = tenant.night()
    (ours,) = [row["school_id"] for row in first.report["schools"] if row["name"] == "South School"]
    tenant.providers[0].option(exclude_schools=[ours])
    night = tenant.night().check()
    assert (night.schools["South School"], "RS-REF-02" in night.codes) == ("excluded", False)
