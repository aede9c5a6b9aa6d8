"""The registry: ids that outlive names, and changes that are refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select

from roster_pipeline.codes import CodedError
from roster_pipeline.store.database import (
    classes,
    person_sources,
    providers,
    schools,
    sync_outcomes,
    sync_schools,
    syncs,
    tenants,
)
from roster_pipeline.tenants import registry
from roster_pipeline.tenants.document import Directory, Merge, Provider, Tenant
from roster_pipeline.tenants.registry import ChangeRefused
from roster_pipeline_tests.empty_databases import declared

NOW = datetime(2025, 10, 15, 23, 0, tzinfo=UTC)
LATER = datetime(2025, 10, 16, 23, 0, tzinfo=UTC)


@pytest.fixture
def connection(tmp_path) -> Iterator[Connection]:
    with declared(tmp_path / "roster.db") as engine, engine.connect() as connection:
        yield connection


def csv(name: str, **options: Any) -> Provider:
    return Provider(name=name, kind="oneroster_csv", path=f"/exports/{name}", **options)


def rest(name: str, host: str, **options: Any) -> Provider:
    options = {"kind": "classlink", "client_id": "env:ID", "client_secret": "env:SECRET"} | options
    return Provider(name=name, endpoint_url=f"https://{host}/api/", **options)


def tenant(*sources: Provider | Directory, slug: str = "riverbend", **settings: Any) -> Tenant:
    return Tenant(
        tenant=slug,
        region=settings.pop("region", "US"),
        providers=tuple(source for source in sources if isinstance(source, Provider)),
        directories=tuple(source for source in sources if isinstance(source, Directory)),
        **settings,
    )


def ids(connection: Connection, slug: str = "riverbend") -> dict[str, int]:
    return registry.get(connection, slug).provider_ids


def refused(connection: Connection, document: Tenant) -> ChangeRefused:
    before = [connection.execute(select(table)).all() for table in (tenants, providers)]
    with pytest.raises(ChangeRefused) as caught:
        registry.apply(connection, document, LATER)
    assert [connection.execute(select(table)).all() for table in (tenants, providers)] == before
    return caught.value


def test_a_stored_tenant_is_read_back_as_it_was(connection):
    document = tenant(csv("sis", merge=Merge(priority=2)), csv("cl", merge=Merge(priority=1)), grace_days=3)
    done = registry.apply(connection, document, NOW)
    found = registry.get(connection, "riverbend")
    assert (done.before, done.added, done.is_change) == (None, ("sis", "cl"), True)
    assert (found.tenant, found.applied_at, found.retired) == (document, NOW, {})
    assert set(found.provider_ids) == {"sis", "cl"}


def test_applying_the_same_document_twice_changes_nothing(connection):
    document = tenant(csv("sis", was="old"), Directory(name="ad", kind="csv", path="/ad.csv"))
    registry.apply(connection, document, NOW)
    before = registry.get(connection, "riverbend")
    assert not registry.apply(connection, document, LATER).is_change
    assert registry.get(connection, "riverbend") == before


def test_a_preview_stores_nothing(connection):
    assert registry.preview(connection, tenant(csv("sis"))).added == ("sis",)
    assert registry.find(connection, "riverbend") is None


def test_a_preview_names_what_changes_by_present_names(connection):
    registry.apply(connection, tenant(csv("sis"), csv("old", merge=Merge(priority=2)), grace_days=3), NOW)
    new = tenant(
        csv("mis", was="sis", end_dates="exclusive", limit_to={"grades": ("09",)}),
        Directory(name="logins", kind="csv", path="/logins.csv"),
        grace_days=4,
        retired=("old",),
    )
    changed = registry.preview(connection, new).changed_options
    assert changed == ("grace_days", "mis.path", "mis.limit_to", "mis.end_dates", "logins", "old")


def test_a_renamed_provider_keeps_its_id_and_its_rows_tell_the_new_name(connection):
    registry.apply(connection, tenant(csv("sis")), NOW)
    sis = ids(connection)["sis"]
    registry.apply(connection, tenant(csv("sis"), slug="elsewhere"), NOW)
    other = ids(connection, "elsewhere")["sis"]
    kept = {"created_sync": 1, "changed_sync": 1}
    for slug, provider_id in (("riverbend", sis), ("elsewhere", other)):
        key = {"tenant": slug, "provider": "sis", "provider_id": provider_id}
        link = {"source_id": "s1", "person_id": "p", "linked_sync": 1, "linked_by": "created"}
        connection.execute(insert(person_sources).values(**key, **link, **kept))
        connection.execute(insert(classes).values(**key, class_id=f"c-{slug}", **kept))
        connection.execute(insert(sync_outcomes).values(**key, source_id="s1", sync_id=1, outcome="created"))

    renamed = tenant(csv("mis", was="sis"))
    assert registry.apply(connection, renamed, LATER).renamed == {"sis": "mis"}
    assert ids(connection) == {"mis": sis}
    for table in (person_sources, classes, sync_outcomes):
        rows = connection.execute(select(table.c.tenant, table.c.provider).order_by(table.c.tenant)).all()
        assert [tuple(row) for row in rows] == [("elsewhere", "sis"), ("riverbend", "mis")]
    assert not registry.apply(connection, renamed, LATER).is_change
    assert registry.apply(connection, tenant(csv("sis", was="mis")), LATER).renamed == {"mis": "sis"}
    assert ids(connection) == {"sis": sis}


def test_a_directory_that_is_renamed_keeps_its_id(connection):
    logins, people = (Directory(name=name, kind="csv", path="/ad.csv") for name in ("logins", "people"))
    registry.apply(connection, tenant(csv("sis"), logins), NOW)
    before = ids(connection)
    renamed = tenant(csv("sis"), people.model_copy(update={"was": "logins"}))
    assert registry.apply(connection, renamed, LATER).renamed == {"logins": "people"}
    assert ids(connection) == {"sis": before["sis"], "people": before["logins"]}


def test_a_missing_provider_is_refused_by_its_name_and_with_the_word_retired(connection):
    both = (csv("sis", merge=Merge(priority=2)), csv("annexe", merge=Merge(priority=1)))
    registry.apply(connection, tenant(*both), NOW)
    (problem,) = refused(connection, tenant(csv("sis"))).problems
    assert (problem.code, problem.place) == ("RS-CFG-07", ("providers",))
    assert "annexe" in problem.text
    assert "retired" in problem.text


def test_a_missing_directory_is_refused_too(connection):
    registry.apply(connection, tenant(csv("sis"), Directory(name="ad", kind="csv", path="/ad.csv")), NOW)
    (problem,) = refused(connection, tenant(csv("sis"))).problems
    assert (problem.code, problem.place) == ("RS-CFG-07", ("directories",))


def test_a_retired_provider_that_comes_back_gets_its_id_back(connection):
    both = tenant(csv("sis", merge=Merge(priority=2)), csv("annexe", merge=Merge(priority=1)))
    registry.apply(connection, both, NOW)
    before = ids(connection)
    without = tenant(csv("sis"), retired=("annexe",))
    assert registry.apply(connection, without, LATER).retired == ("annexe",)
    assert not registry.apply(connection, without, LATER).is_change
    found = registry.get(connection, "riverbend")
    assert (found.provider_ids, found.retired) == ({"sis": before["sis"]}, {before["annexe"]: "annexe"})
    assert registry.apply(connection, both, LATER).returned == ("annexe",)
    assert ids(connection) == before


def test_a_provider_once_retired_need_not_stay_under_retired(connection):
    registry.apply(connection, tenant(csv("sis"), csv("annexe")), NOW)
    registry.apply(connection, tenant(csv("sis"), retired=("annexe",)), NOW)
    assert registry.apply(connection, tenant(csv("sis")), NOW).retired == ()


def test_a_retired_provider_comes_back_under_a_new_name(connection):
    registry.apply(connection, tenant(csv("sis"), csv("annexe")), NOW)
    annexe = ids(connection)["annexe"]
    registry.apply(connection, tenant(csv("sis"), retired=("annexe",)), NOW)
    done = registry.apply(connection, tenant(csv("sis"), csv("hall", was="annexe")), NOW)
    assert (done.returned, done.renamed) == (("hall",), {"annexe": "hall"})
    assert ids(connection)["hall"] == annexe


def test_a_new_provider_never_gets_a_retired_ones_id(connection):
    registry.apply(connection, tenant(csv("sis"), csv("annexe")), NOW)
    old = set(ids(connection).values())
    registry.apply(connection, tenant(csv("new"), retired=("sis", "annexe")), NOW)
    assert ids(connection)["new"] not in old


def test_a_name_of_a_retired_provider_is_not_given_to_another(connection):
    registry.apply(connection, tenant(csv("sis"), csv("annexe")), NOW)
    registry.apply(connection, tenant(csv("sis"), retired=("annexe",)), NOW)
    (problem,) = refused(connection, tenant(csv("annexe", was="sis"))).problems
    assert (problem.code, problem.place) == ("RS-CFG-04", ("providers", 0, "name"))


def test_a_former_name_that_nobody_had_is_refused_with_near_spellings(connection):
    registry.apply(connection, tenant(csv("powerschool")), NOW)
    problems = refused(connection, tenant(csv("mis", was="powerscool"))).problems
    assert problems[0].place == ("providers", 0, "was")
    assert "did you mean powerschool" in problems[0].text
    assert problems[1].place == ("providers",)


def test_a_directory_never_takes_a_providers_links(connection):
    registry.apply(connection, tenant(csv("sis"), csv("people")), NOW)
    directory = Directory(name="people", kind="csv", path="/people.csv")
    (problem,) = refused(connection, tenant(csv("sis"), directory)).problems
    assert (problem.code, problem.place) == ("RS-CFG-04", ("directories", 0, "name"))


@pytest.mark.parametrize(
    "before, after",
    [
        (rest("sis", "a.example"), rest("sis", "b.example")),
        (rest("sis", "a.example"), rest("mis", "b.example", was="sis")),
        (rest("sis", "a.example"), csv("sis")),
        (csv("sis"), rest("sis", "a.example")),
    ],
    ids=["another host", "another host and name", "files now", "a server now"],
)
def test_a_provider_at_another_place_needs_the_operators_word(connection, before, after):
    registry.apply(connection, tenant(before), NOW)
    sis = ids(connection)["sis"]
    (problem,) = refused(connection, tenant(after)).problems
    assert problem.code == "RS-PRV-03"
    assert "--yes" in problem.text
    registry.apply(connection, tenant(after), LATER, confirmed=True)
    assert ids(connection) == {after.name: sis}


@pytest.mark.parametrize(
    "before, after",
    [
        (rest("sis", "a.example"), rest("sis", "A.Example")),
        (rest("sis", "a.example"), rest("sis", "a.example:8443")),
        (csv("sis"), Provider(name="sis", kind="oneroster_csv", path="/elsewhere")),
    ],
    ids=["host in capitals", "another port", "another folder"],
)
def test_a_provider_at_the_same_host_needs_no_word(connection, before, after):
    registry.apply(connection, tenant(before), NOW)
    assert registry.apply(connection, tenant(after), LATER).is_change


def test_all_problems_of_a_change_are_told_at_once(connection):
    registry.apply(connection, tenant(rest("sis", "a.example"), csv("b"), csv("c")), NOW)
    error = refused(connection, tenant(rest("sis", "z.example")))
    assert [problem.code for problem in error.problems] == ["RS-PRV-03", "RS-CFG-07", "RS-CFG-07"]


def test_tenants_are_listed_by_name_and_by_region(connection):
    for slug, region in (("b", "UK"), ("a", "US"), ("c", "UK")):
        registry.apply(connection, tenant(csv("sis"), slug=slug, region=region), NOW)
    assert [entry.tenant.tenant for entry in registry.all_tenants(connection)] == ["a", "b", "c"]
    assert [list(entry.provider_ids) for entry in registry.all_tenants(connection)] == [["sis"]] * 3
    assert registry.names(connection, "UK") == ["b", "c"]
    assert registry.names(connection) == ["a", "b", "c"]


def test_an_unknown_tenant_is_told_with_near_spellings(connection):
    registry.apply(connection, tenant(csv("sis")), NOW)
    with pytest.raises(CodedError, match="did you mean riverbend") as caught:
        registry.get(connection, "riverbed")
    assert caught.value.code == "RS-CFG-08"


def test_a_removed_tenant_leaves_what_is_published_and_gets_its_ids_back(connection):
    registry.apply(connection, tenant(csv("sis")), NOW)
    before = ids(connection)
    row = {"tenant": "riverbend", "school_id": "n", "name": "North", "state": "published"}
    connection.execute(insert(schools).values(**row, created_sync=1, changed_sync=1))
    assert registry.published(connection, "riverbend") == {"schools": 1}
    registry.remove(connection, "riverbend", LATER)
    assert registry.all_tenants(connection) == []
    assert connection.scalars(select(schools.c.removed_at)).all() == [None]
    assert registry.apply(connection, tenant(csv("sis")), LATER).returned == ("sis",)
    assert ids(connection) == before
    with pytest.raises(CodedError, match="no tenant"):
        registry.remove(connection, "nobody", LATER)


def test_schools_are_listed_as_the_document_stands(connection):
    document = tenant(csv("sis", exclude_schools=("South School", "W-7", "e1", "Nowhere School")))
    registry.apply(connection, document, NOW)
    for number, (source, identifier, name, state) in enumerate(
        [
            ("n1", "N", "North School", "published"),
            ("s1", None, "South School", "excluded"),
            ("w1", "W-7", "West School", "published"),
            ("e1", "", "East School", "kept"),
        ]
    ):
        row = {"tenant": "riverbend", "school_id": str(number), "provider": "sis", "source_id": source}
        values = {
            "identifier": identifier,
            "name": name,
            "state": state,
            "created_sync": 1,
            "changed_sync": 1,
        }
        connection.execute(insert(schools).values(**row, **values))
    told = {"tenant": "riverbend", "status": "partial", "started_at": LATER.replace(tzinfo=None)}
    for sync_id, name in ((1, "Older School"), (2, "Annexe"), (2, "North School")):
        if name != "North School":
            connection.execute(insert(syncs).values(sync_id=sync_id, run_id=str(sync_id), **told))
        school_id = "0" if name == "North School" else name
        kept = {"school_id": school_id, "name": name, "state": "kept", "code": "RS-SAFE-08"}
        connection.execute(insert(sync_schools).values(sync_id=sync_id, **kept))
    listed = registry.schools(connection, registry.get(connection, "riverbend"))
    assert [(school.listed, school.name, school.state) for school in listed] == [
        ("Included", "Annexe", "kept"),
        ("Excluded", "East School", "kept"),
        ("Included", "North School", "published"),
        ("Excluded", "South School", "excluded"),
        ("Excluded", "West School", "published"),
        ("Excluded", "Nowhere School", "fits no school"),
    ]


@pytest.mark.parametrize(
    "sis, cl, listed",
    [
        (["Annexe"], ["A-1"], "Excluded"),
        (["a"], ["Annexe"], "Excluded"),
        (["Annexe"], [], "Included"),  # the other one brings it
        (["Anexe"], ["Annexe"], "Included"),
        ([], [], "Included"),
    ],
)
def test_a_school_of_two_providers_is_excluded_where_both_leave_it_out(connection, sis, cl, listed):
    first = csv("sis", merge=Merge(priority=2), exclude_schools=tuple(sis))
    second = csv("cl", merge=Merge(priority=1), exclude_schools=tuple(cl))
    registry.apply(connection, tenant(first, second), NOW)
    told = {"tenant": "riverbend", "status": "partial", "started_at": LATER.replace(tzinfo=None)}
    connection.execute(insert(syncs).values(sync_id=1, run_id="1", **told))
    known_as = {"sis": ["a", "Annexe"], "cl": ["A-1", "Annexe"]}
    entry = {"school_id": "x", "name": "Annexe", "state": "excluded", "code": None}
    details = json.dumps({"known_as": known_as})
    connection.execute(insert(sync_schools).values(sync_id=1, details=details, **entry))
    (school, *unknown) = registry.schools(connection, registry.get(connection, "riverbend"))
    assert (school.listed, school.state) == (listed, "excluded")
    assert [one.name for one in unknown] == [name for name in sis if name == "Anexe"]
