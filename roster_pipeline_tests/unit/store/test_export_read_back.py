"""A published roster, exported and read back by our own kind `oneroster_csv`, is the same roster."""

import datetime as dt
import json
import random
from functools import cache

import pytest
from sqlalchemy import text

from roster_pipeline.sandbox import generator, source
from roster_pipeline.store.export import export
from roster_pipeline.store.home import Home
from roster_pipeline.syncs import Sync, World
from roster_pipeline.tenants import document, registry
from roster_pipeline_tests.validator import problems

NOW = dt.datetime(2026, 11, 20, 23, 30, tzinfo=dt.UTC)
WORLD = World(
    clock=lambda: NOW,
    sleep=lambda seconds: pytest.fail("files need no waiting"),
    rng=random.Random(1),
    environ={},
    progress=lambda *_: None,
)


@pytest.fixture
def stores(tmp_path):
    stores = Home.find({"ROSTER_HOME": str(tmp_path / "home")}).stores()
    yield stores
    stores.database.dispose()


def synced(stores, tmp_path, tenant, path, as_of, **options):
    """The report of a tenant's first sync from one package."""
    told = {"respect_enrolment_date": True, "respect_academic_sessions": True} | options
    entry = {"name": "files", "kind": "oneroster_csv", "path": str(path), "merge": {"priority": 1}} | told
    file = tmp_path / f"{tenant}.yaml"
    file.write_text(json.dumps({"tenant": tenant, "region": "US", "providers": [entry]}))
    parsed = document.parse(file.read_text(), file=file)
    with stores.database.connect().execution_options(immediate=True) as connection, connection.begin():
        registry.apply(connection, parsed, NOW)
    sync = Sync.open(
        stores, tenant, run_id=f"{tenant}-run", trigger="test", as_of=as_of, dry_run=False, world=WORLD
    )
    try:
        for kind in ("powerschool", "classlink", "oneroster", "oneroster_csv", "directory"):
            sync.extract(kind)
        sync.current_sessions()
        sync.current_enrolments()
        sync.merged_identities()
        return sync.publish()
    finally:
        sync.close()


def roster(stores, tenant):
    """What a reader of the roster sees, with names in place of our ids: those differ between tenants."""
    with stores.database.connect() as connection:

        def rows(view):
            found = connection.execute(text(f"SELECT * FROM {view} WHERE tenant = :t"), {"t": tenant})
            return [dict(row) for row in found.mappings()]

        schools = {row["school_id"]: row["name"] for row in rows("current_schools")}
        people = {row["person_id"]: row for row in rows("current_people")}
        classes = {row["class_id"]: row for row in rows("current_classes")}
        memberships, links = rows("current_memberships"), rows("current_guardian_links")
        sessions = rows("current_academic_sessions")
    given = ("given_name", "middle_name", "family_name", "preferred_given_name", "preferred_family_name",
             "email", "username", "identifier", "phone", "sms", "grades", "enabled",
             "inactive_since")  # fmt: skip
    taught = ("title", "class_code", "class_kind", "course_title", "course_code", "grades", "subjects",
              "subject_codes", "periods", "location", "start_date", "end_date")  # fmt: skip

    held = ("title", "kind", "start_date", "end_date")

    @cache
    def person(key):
        row = people[key]
        roles = sorted((entry["role"], schools.get(entry["school_id"])) for entry in json.loads(row["roles"]))
        return (*(row[name] for name in given), *roles)

    @cache
    def section(key):
        row = classes[key]
        return (schools[row["school_id"]], *(row[name] for name in taught))

    return {
        "schools": sorted(schools.values()),
        "sessions": sorted(repr([row[name] for name in held]) for row in sessions),
        "people": sorted(map(repr, map(person, people))),
        "classes": sorted(map(repr, map(section, classes))),
        "memberships": sorted(
            repr((section(row["class_id"]), person(row["person_id"]), row["role"], row["is_primary"],
                  row["begin_date"], row["end_date"]))
            for row in memberships
        ),
        "guardian_links": sorted(
            repr((person(row["student_id"]), person(row["guardian_id"]), row["relationship"]))
            for row in links
        ),
    }  # fmt: skip


def assert_comes_back(stores, tmp_path, path, as_of, **options):
    first = synced(stores, tmp_path, "riverbend", path, as_of, **options)
    out = tmp_path / "out.zip"
    with stores.database.connect() as connection:
        export(connection, "riverbend", out)
    assert problems(out) == []
    second = synced(stores, tmp_path, "mirror", out, as_of, **options)
    assert (first["status"], second["status"]) == ("successful", "successful")
    assert first["counts"] == second["counts"]
    assert roster(stores, "riverbend") == roster(stores, "mirror")
    return first["counts"]


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_a_generated_district_with_guardians_comes_back(stores, tmp_path, version):
    district = generator.generate(300, seed=7)
    source.write_csv(district.tables, tmp_path / "district", version)
    counts = assert_comes_back(
        stores,
        tmp_path,
        tmp_path / "district",
        generator.DAY,
        sync_parent_data=True,
        relationship_type="guardian",
    )
    assert counts["students"] > 200
    assert counts["guardian_links"] > 20


def test_the_large_district_comes_back(stores, tmp_path, shared_data):
    path = shared_data / "merge-labs-district" / "district-large.zip"
    counts = assert_comes_back(stores, tmp_path, path, dt.date(2026, 11, 21))
    assert (counts["students"], counts["teachers"], counts["imported_classes"]) == (4225, 195, 1470)
    assert counts["memberships"] == 31045


def test_grand_bend_comes_back(stores, tmp_path, shared_data):
    path = shared_data / "edfi-grand-bend" / "v1p1"
    counts = assert_comes_back(stores, tmp_path, path, dt.date(2021, 2, 1))
    assert (counts["students"], counts["teachers"]) == (8, 2)
