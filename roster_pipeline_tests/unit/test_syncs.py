"""One sync of a tenant, step by step over real files, a lake and a database: what may not happen to it.

The rules' own tests are in `rosters`; here is what stands around them: how old an extract may be, which
date counts, what is refused, and what a dry or a failed sync leaves.
"""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text, update

from roster_pipeline.codes import CodedError
from roster_pipeline.rosters.changes import KEYS
from roster_pipeline.store import database
from roster_pipeline.store.database import leases, registers, syncs
from roster_pipeline.syncs import Scope, Sync, World, issue_of, scope_of
from roster_pipeline.tenants import registry
from roster_pipeline.tenants.document import Tenant
from roster_pipeline_tests.graph.school import School
from roster_pipeline_tests.syncing import Deployment, csv_provider, deployment

DAY = dt.date(2025, 10, 15)
NOON = dt.datetime(2025, 10, 15, 17, 0, tzinfo=dt.UTC)  # noon in the US: outside the window

Document = dict[str, Any]


class House:
    """A deployment with one school of one tenant; time stands still until it is moved."""

    def __init__(self, place: Deployment) -> None:
        self.place, self.now, self.runs = place, NOON, 0
        self.school = School(place.home.folder / "files").write()
        self.apply()

    def apply(self, **options: Any) -> None:
        self.place.apply("oak", csv_provider(self.school.folder, **options))

    def open(self, as_of: dt.date | None = DAY, *, run_id: str = "", dry_run: bool = False) -> Sync:
        self.runs += 1
        world = World(
            clock=lambda: self.now,
            sleep=lambda seconds: None,
            rng=random.Random(1),
            environ=self.place.environ,
            progress=lambda *_: None,
        )
        return Sync.open(
            self.place.stores, "oak", run_id=run_id or f"run-{self.runs}", trigger="manual", as_of=as_of,
            dry_run=dry_run, world=world,
        )  # fmt: skip

    def merge(self, sync: Sync) -> None:
        sync.extract("oneroster_csv")
        sync.current_sessions()
        sync.current_enrolments()
        sync.merged_identities()

    def sync(self, as_of: dt.date | None = DAY, **options: Any) -> Document:
        sync = self.open(as_of, **options)
        try:
            self.merge(sync)
            return sync.publish()
        finally:
            sync.close()

    def states(self, as_of: dt.date) -> dict[str, str]:
        """The states of an extract on that date."""
        sync = self.open(as_of)
        try:
            told = sync.extract("oneroster_csv")
        finally:
            sync.close()
        return {entry["collection"]: entry["state"] for entry in told["tables"]["collections"]}

    def rows(self, table: str) -> list[dict[str, Any]]:
        with self.place.stores.database.connect() as connection:
            return [dict(row) for row in connection.execute(text(f"SELECT * FROM {table}")).mappings()]

    def everything(self) -> dict[str, list[dict[str, Any]]]:
        """All that a sync publishes and remembers."""
        return {
            name: self.rows(name)
            for name in (*KEYS, "school_sources", "enrolled_sources", "registers", "sync_outcomes")
        }

    @property
    def people(self) -> set[str]:
        return {row["username"] for row in self.rows("current_people") if not row["inactive_since"]}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with deployment(tmp_path / "house") as place:
        yield House(place)


def days(count: int) -> dt.date:
    return DAY + dt.timedelta(days=count)


# ------------------------------------------------------------------------------------------ extracts


@pytest.mark.parametrize(
    "age, state", [(0, "stale"), (1, "stale"), (7, "stale"), (8, "failed"), (30, "failed")]
)
def test_an_unreadable_collection_is_stale_for_seven_days(house: House, age: int, state: str):
    assert set(house.states(DAY).values()) == {"ok"}
    house.school.without("users")
    assert house.states(days(age))["users"] == state
    assert house.states(days(age))["orgs"] == "ok"


def test_a_stale_collection_does_not_become_younger(house: House):
    house.states(DAY)
    house.school.without("users")
    assert house.states(days(5))["users"] == "stale"
    assert house.states(days(8))["users"] == "failed"


def test_a_collection_that_was_never_complete_cannot_be_stale(house: House):
    house.school.without("users")
    assert house.states(DAY)["users"] == "failed"
    house.school.write()
    assert house.states(DAY)["users"] == "ok"


def empty(house: House, name: str) -> None:
    """Leaves only the header of a collection's file."""
    path = house.school.folder / f"{name}.csv"
    path.write_text(path.read_text().splitlines()[0] + "\r\n")


@pytest.mark.parametrize(
    "collection", ["orgs", "academicSessions", "courses", "classes", "users", "enrollments"]
)
def test_a_collection_that_had_rows_and_is_empty_is_unproven(house: House, collection: str):
    house.states(DAY)
    empty(house, collection)
    assert house.states(days(1))[collection] == "unproven"
    assert house.states(days(2))[collection] == "unproven", "and stays so"
    house.school.write()
    assert house.states(days(3))[collection] == "ok"


def test_a_collection_that_never_had_rows_may_be_empty(house: House):
    empty(house, "courses")
    assert house.states(DAY)["courses"] == "ok"
    assert house.states(days(1))["courses"] == "ok"


def test_what_was_complete_before_the_collection_was_emptied_still_serves(house: House):
    house.states(DAY)
    empty(house, "users")
    house.states(days(1))
    house.school.without("users")
    assert house.states(days(7))["users"] == "stale"
    assert house.sync(days(7))["providers"][0]["collections"]["users"]["read"] == 8


def test_a_kind_that_the_tenant_does_not_have_gives_something_all_the_same(house: House):
    sync = house.open()
    told = sync.extract("powerschool")
    sync.close()
    assert (told["configured"], told["row_count"]) == (False, 0)


def test_nobody_is_removed_by_a_stale_extract(house: House):
    house.sync()
    before = house.people
    house.school.students = house.school.students[:2]
    house.school.write().without("users")
    told = house.sync(days(1))
    assert told["status"] == "partial"
    assert house.people == before
    assert "RS-SAFE-05" in [issue["code"] for issue in told["issues"]]


# ------------------------------------------------------------------------------------------ as_of


def test_by_day_a_sync_is_for_the_tenants_day(house: House):
    sync = house.open(None)
    sync.close()
    assert sync.as_of == DAY


def test_in_the_window_a_sync_is_for_the_day_that_it_serves(house: House):
    for hours in (6, 11, 17):  # 18:00, 23:00 and 05:00 in the US
        house.now = NOON + dt.timedelta(hours=hours)
        sync = house.open(None)
        sync.close()
        assert sync.as_of == days(1)


def test_as_of_never_goes_back_by_itself(house: House):
    house.sync(days(3))
    sync = house.open(None)
    sync.close()
    assert sync.as_of == days(3)
    sync = house.open(days(1))
    sync.close()
    assert sync.as_of == days(1)


def test_a_run_that_is_executed_again_keeps_its_date(house: House):
    house.open(None, run_id="root").close()
    house.now += dt.timedelta(days=3)
    sync = house.open(None, run_id="root")
    sync.close()
    assert sync.as_of == DAY


def test_one_date_may_be_synced_twice_and_changes_nothing(house: House):
    house.sync()
    before = house.rows("people"), house.rows("memberships")
    told = house.sync()
    assert {sum(changed.values()) for changed in told["changes"].values()} == {0}
    assert (house.rows("people"), house.rows("memberships")) == before


# ------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("step", ["current_sessions", "current_enrolments", "merged_identities", "publish"])
def test_a_step_before_the_steps_that_it_reads_is_refused(house: House, step: str):
    sync = house.open()
    try:
        with pytest.raises(CodedError) as refused:
            getattr(sync, step)()
    finally:
        sync.close()
    assert refused.value.code == "RS-RUN-08"


def test_identities_that_were_merged_for_an_older_register_are_not_published(house: House):
    first = house.open(run_id="first")
    house.merge(first)
    with house.place.stores.database.begin() as connection:  # as if its process had gone silent elsewhere
        connection.execute(update(leases).values(process="another-host|1|1"))
    house.now += dt.timedelta(minutes=10)
    # Another sync publishes everybody meanwhile, and its tables are the newest ones then; merge again first.
    second = house.open(run_id="second")
    house.merge(second)
    proposal = house.place.stores.lake.facts("oak", "merged_identities")
    second.publish()
    second.close()
    assert proposal is not None
    with house.place.stores.database.begin() as connection:
        connection.execute(update(registers).values(version=registers.c.version + 1, proposal="another"))
    third = house.open(run_id="third")
    before = house.everything()
    try:
        with pytest.raises(CodedError) as refused:
            third.publish()
    finally:
        third.close()
        first.close()
    assert refused.value.code == "RS-RUN-07"
    assert house.everything() == before


def test_tables_of_an_earlier_day_are_not_published_over_a_later_one(house: House):
    house.sync(days(2))
    early = house.open(days(1), run_id="early")
    house.merge(early)
    early.close()
    late = house.open(None, run_id="late")
    try:
        with pytest.raises(CodedError) as refused:
            late.publish()
    finally:
        late.close()
    assert refused.value.code == "RS-RUN-07"


def test_whoever_says_the_date_may_publish_an_earlier_day(house: House):
    house.sync(days(2))
    assert house.sync(days(1))["as_of"] == "2025-10-16"


def test_publishing_what_is_published_is_harmless(house: House):
    sync = house.open()
    house.merge(sync)
    sync.publish()
    before = house.rows("people")
    told = sync.publish()
    sync.close()
    assert {sum(changed.values()) for changed in told["changes"].values()} == {0}
    assert house.rows("people") == before


def test_a_lost_lease_refuses_publishing_and_leaves_everything(house: House):
    house.sync()
    house.school.given_name = "Zoe"
    house.school.write()
    sync = house.open(days(1))
    house.merge(sync)
    before = house.everything()
    with house.place.stores.database.begin() as connection:
        connection.execute(update(leases).values(owner="somebody else"))
    with pytest.raises(CodedError) as refused:
        sync.publish()
    sync.close()
    assert refused.value.code == "RS-RUN-06"
    assert house.everything() == before


def test_a_second_sync_is_refused_and_the_first_goes_on(house: House):
    first = house.open()
    with pytest.raises(CodedError) as refused:
        house.open()
    assert refused.value.code == "RS-RUN-06"
    house.merge(first)
    assert first.publish()["status"] == "successful"
    first.close()


def test_an_unknown_tenant_has_no_sync_and_no_lease(house: House):
    with pytest.raises(CodedError) as refused:
        Sync.open(
            house.place.stores, "elm", run_id="x", trigger="manual", as_of=DAY, dry_run=False,
            world=World.real({}),
        )  # fmt: skip
    assert refused.value.code == "RS-CFG-08"
    assert house.rows("leases") == []
    assert house.rows("syncs") == []


# ------------------------------------------------------------------------------------------ ends


def test_a_sync_that_was_not_published_is_interrupted_and_gives_its_lease_back(house: House):
    sync = house.open()
    house.merge(sync)
    sync.close()
    assert [row["status"] for row in house.rows("syncs")] == ["interrupted"]
    assert house.rows("leases") == []
    assert house.rows("people") == []


def test_a_sync_that_is_resumed_publishes_what_it_merged(house: House):
    sync = house.open(run_id="root")
    house.merge(sync)
    sync.close()
    again = house.open(run_id="root")
    told = again.publish()
    again.close()
    assert told["status"] == "successful"
    assert [row["status"] for row in house.rows("syncs")] == ["successful"]
    assert len(house.people) == 8


def test_people_of_the_documents_directories_are_known_and_give_the_login_email(house: House, tmp_path: Path):
    (tmp_path / "logins.csv").write_text("id,email\n1,s1@login.example\n2,new@login.example\n", "utf-8")
    directory = {"name": "logins", "kind": "csv", "path": str(tmp_path / "logins.csv")}
    merge = {"key": "email_without_domain", "attach_to_existing_users_only": True}
    house.place.apply("oak", csv_provider(house.school.folder, merge=merge), directories=[directory])
    sync = house.open()
    sync.extract("directory")
    house.merge(sync)
    told = sync.publish()
    sync.close()
    assert told["providers"][0]["outcomes"] == {
        "matched": 1,
        "created": 0,
        "unmatched": {"nobody_matches": 7},
    }
    assert [row["email"] for row in house.rows("current_people")] == ["s1@login.example"]


def test_a_dry_run_tells_everything_and_writes_nothing(house: House):
    before = house.everything()
    told = house.sync(dry_run=True)
    assert told["dry_run"]
    assert told["counts"]["created_users"] == 8
    assert told["changes"]["people"]["added"] == 8
    assert house.everything() == before
    assert [row["trigger"] for row in house.rows("syncs")] == ["dry run"]
    real = house.sync()
    assert real["counts"] == told["counts"]
    assert real["changes"] == told["changes"]


def test_a_dry_run_after_a_sync_changes_nothing_of_it(house: House):
    house.sync()
    before = house.everything()
    house.school.given_name = "Zoe"
    house.school.write()
    assert house.sync(days(1), dry_run=True)["changes"]["people"]["updated"] == 8
    assert house.everything() == before
    assert house.sync(days(1))["changes"]["people"]["updated"] == 8


def test_a_failed_sync_changes_nothing_but_why_its_schools_are_kept(house: House):
    house.sync()
    before = house.everything()
    school = house.school
    school.given_name = "Zoe"
    school.write()
    path = school.folder / "users.csv"  # a school without any teacher is kept back, and it is the only one
    path.write_text(
        "\r\n".join(line for line in path.read_text().splitlines() if ",teacher," not in line) + "\r\n"
    )
    told = house.sync(days(1))
    assert told["status"] == "failed"
    after = house.everything()
    (old,), (new,) = before.pop("schools"), after.pop("schools")
    assert (new["state"], new["state_code"], str(new["state_as_of"])) == ("kept", "RS-SAFE-08", "2025-10-15")
    assert {key for key in old if old[key] != new[key]} == {"state", "state_code", "changed_sync"}
    register, now = before.pop("registers")[0], after.pop("registers")[0]
    assert (now["as_of"], now["options"]) == (register["as_of"], register["options"])
    assert after == before
    assert house.sync(days(2))["status"] == "failed"


def test_an_error_of_ours_is_told_by_its_kind_alone(house: House):
    sync = house.open()
    told = sync.fail(ValueError("Ada Archer, ada@north.example"))
    sync.close()
    assert [issue["code"] for issue in told["issues"]] == ["RS-RUN-99"]
    assert "Ada" not in str(told)
    assert [row["status"] for row in house.rows("syncs")] == ["failed"]


def test_a_coded_error_is_told_as_it_is():
    issue = issue_of(CodedError("RS-DB-03", "The lake failed."))
    assert (issue.code, issue.message) == ("RS-DB-03", "The lake failed.")


def test_a_sync_that_fails_and_is_run_again_is_one_sync(house: House):
    sync = house.open(run_id="root")
    sync.fail(CodedError("RS-DB-03", "The disk was full."))
    sync.close()
    told = house.sync(run_id="root")
    assert told["status"] == "successful"
    assert len(house.rows("syncs")) == 1
    assert house.rows("sync_issues") == []


def test_every_sync_has_a_code_unless_it_is_plainly_successful(house: House):
    assert house.sync()["issues"] == []
    house.school.without("courses")
    told = house.sync(days(1))
    assert told["status"] == "partial"
    assert told["issues"]
    with house.place.stores.database.connect() as connection:
        assert (
            connection.execute(select(syncs.c.status).order_by(syncs.c.sync_id.desc())).scalars().first()
            == "partial"
        )


# ------------------------------------------------------------------------------------------ out of scope


def document(house: House) -> Tenant:
    with house.place.stores.database.connect() as connection:
        return registry.get(connection, "oak").tenant


def changed(house: House, **options: Any) -> Tenant:
    old = document(house)
    return old.model_copy(update={"providers": (old.providers[0].model_copy(update=options),)})


def test_what_was_only_tried_out_stands_in_for_nothing(house: House):
    house.sync()
    house.sync(days(80), dry_run=True)
    house.school.without("users")
    told = house.sync(days(1))
    (stale,) = [issue["message"] for issue in told["issues"] if issue["code"] == "RS-SAFE-05"]
    assert f"as it was on {DAY}, until {days(7)};" in stale


def test_before_the_first_sync_nothing_is_out_of_scope(house: House):
    old = document(house)
    found = scope_of(house.place.stores, old, changed(house, sync_classroom_data=False))
    assert found == Scope({"people": 0, "classes": 0, "memberships": 0, "guardian_links": 0})


def test_an_unchanged_document_takes_nothing_out_of_scope(house: House):
    house.sync()
    old = document(house)
    assert set(scope_of(house.place.stores, old, old).gone.values()) == {0}


def test_what_an_option_takes_out_is_counted_and_nothing_is_written(house: House):
    house.sync()
    before = house.everything()
    old = document(house)
    found = scope_of(house.place.stores, old, changed(house, sync_classroom_data=False))
    assert found.gone == {"people": 0, "classes": 2, "memberships": 14, "guardian_links": 0}
    limit = old.providers[0].limit_to.model_copy(update={"roles": ("teacher",)})
    found = scope_of(house.place.stores, old, changed(house, limit_to=limit))
    assert found.gone == {"people": 6, "classes": 0, "memberships": 12, "guardian_links": 0}
    assert house.everything() == before


def test_guardians_and_their_links_are_counted(house: House):
    house.school.guardians["g1"] = "s1"
    house.school.write()
    house.apply(sync_parent_data=True, relationship_type="guardian")
    house.sync()
    found = scope_of(house.place.stores, document(house), changed(house, sync_parent_data=False))
    assert found.gone == {"people": 1, "classes": 0, "memberships": 0, "guardian_links": 1}
    assert set(found.comes.values()) == {0}


def test_what_an_option_brings_is_counted_too(house: House):
    house.apply(sync_classroom_data=False)
    house.sync()
    found = scope_of(house.place.stores, document(house), changed(house, sync_classroom_data=True))
    assert found.comes == {"people": 0, "classes": 2, "memberships": 14, "guardian_links": 0}
    assert set(found.gone.values()) == {0}


def test_what_was_never_published_is_not_counted(house: House):
    house.apply(limit_to={"roles": ["teacher"]})
    house.sync()
    narrow = document(house)
    house.apply(limit_to={})  # and no sync follows
    assert set(scope_of(house.place.stores, document(house), narrow).gone.values()) == {0}


def test_what_a_document_names_and_nobody_has_is_told_before_it_counts(house: House):
    house.sync()
    limit = document(house).providers[0].limit_to.model_copy(update={"grades": ("9",)})
    new = changed(house, limit_to=limit, exclude_schools=("Nroth School",))
    found = scope_of(house.place.stores, document(house), new)
    assert [issue.code for issue in found.in_vain] == ["RS-REF-02", "RS-REF-07"]
    assert "near spellings: North School" in found.in_vain[0].message


def test_what_was_told_to_go_goes_at_the_next_sync_without_a_hold(house: House):
    house.sync()
    house.apply(limit_to={"roles": ["teacher"]})
    told = house.sync(days(1))
    assert told["status"] == "successful"
    assert told["changes"]["people"]["removed"] == 6
    assert told["changes"]["memberships"]["removed"] == 12
    assert house.people == {"t1", "t2"}


def test_the_tables_of_a_database_are_those_that_the_code_declares(house: House):
    with house.place.stores.database.connect() as connection:
        found = set(database.metadata.tables) - set(
            house.place.stores.database.dialect.get_table_names(connection)
        )
    assert not found


# ------------------------------------------------------------------------------------------ outcomes


def outcomes(house: House) -> dict[str, tuple[str, str, str | None, int]]:
    """User → outcome, reason, evidence, and the sync that changed it."""
    return {
        row["source_id"]: (row["outcome"], row["reason"], row["evidence"], row["sync_id"])
        for row in house.rows("sync_outcomes")
    }


def test_every_user_has_one_outcome_with_a_reason_since_the_sync_that_changed_it(house: House):
    house.apply(limit_to={"roles": ["student"]})
    house.sync()
    first = outcomes(house)
    assert {who: told[:3] for who, told in first.items()} == {
        **{f"s{n}": ("created", "nobody_matches", "new") for n in range(1, 7)},
        **{f"t{n}": ("dropped", "role_not_admitted", None) for n in (1, 2)},
    }
    house.sync(days(1))
    second = outcomes(house)
    assert second["s1"] == ("matched", "created", "link", 2)
    assert second["t1"] == ("dropped", "role_not_admitted", None, 1)


def test_a_night_on_which_nothing_changes_writes_no_outcome(house: House):
    house.sync()
    house.sync(days(1))
    before = house.rows("sync_outcomes")
    document = house.sync(days(2))
    assert document["status"] == "successful"
    assert house.rows("sync_outcomes") == before
    assert {row["sync_id"] for row in before} == {2}


def test_who_is_not_sent_any_more_is_gone_with_the_person_they_were(house: House):
    house.sync()
    person = {row["source_id"]: row["person_id"] for row in house.rows("sync_outcomes")}
    house.school.students.remove("s6")
    house.school.write()
    house.sync(days(1))
    assert outcomes(house)["s6"] == ("gone", "not_sent", None, 2)
    (gone,) = [row for row in house.rows("sync_outcomes") if row["source_id"] == "s6"]
    assert gone["person_id"] == person["s6"]
    before = house.rows("sync_outcomes")
    house.sync(days(2))
    assert [row for row in house.rows("sync_outcomes") if row["source_id"] == "s6"] == [gone]
    house.school.students.append("s6")
    house.school.write()
    house.sync(days(3))
    assert outcomes(house)["s6"][:2] == ("matched", "created")
    assert len(house.rows("sync_outcomes")) == len(before)


def test_nobody_is_gone_of_a_provider_that_could_not_be_used(house: House):
    other = School(house.place.home.folder / "other", students=["s7"]).write()
    house.place.apply(
        "oak",
        csv_provider(house.school.folder, merge={"priority": 100}),
        csv_provider(other.folder, name="annexe", merge={"priority": 10}),
    )
    house.sync()
    house.sync(days(1))
    before = house.rows("sync_outcomes")
    other.without("users")
    document = house.sync(days(30))  # too late for the last complete one
    assert document["status"] == "partial"
    assert house.rows("sync_outcomes") == before


def test_the_users_of_a_retired_provider_are_gone_by_that(house: House):
    other = School(house.place.home.folder / "other", students=["s7"]).write()
    merged = csv_provider(house.school.folder, merge={"priority": 100})
    house.place.apply("oak", merged, csv_provider(other.folder, name="annexe", merge={"priority": 10}))
    house.sync()
    assert outcomes(house)["s7"][:2] == ("created", "nobody_matches")
    house.place.apply("oak", csv_provider(house.school.folder), retired=["annexe"])
    house.sync(days(1))
    told = [row for row in house.rows("sync_outcomes") if row["provider"] == "annexe"]
    assert {(row["outcome"], row["reason"], row["source_id"]) for row in told} == {
        ("gone", "provider_retired", who) for who in ("s7", "t1", "t2")
    }


def test_an_ambiguous_user_keeps_whom_it_could_be(house: House):
    other = School(house.place.home.folder / "other", students=["s7"]).write()
    directory = house.place.home.folder / "logins.csv"
    directory.write_text("id,email\nd1,s7@north.example\nd2,s7@north.example\n", encoding="utf-8")
    house.place.apply(
        "oak",
        csv_provider(house.school.folder, merge={"priority": 100}),
        csv_provider(other.folder, name="annexe", merge={"priority": 10}),
        directories=[{"name": "logins", "kind": "csv", "path": str(directory)}],
    )
    sync = house.open()
    try:
        sync.extract("directory")
        house.merge(sync)
        sync.publish()
    finally:
        sync.close()
    (told,) = [row for row in house.rows("sync_outcomes") if row["source_id"] == "s7"]
    assert (told["outcome"], told["reason"], told["person_id"]) == ("unmatched", "ambiguous", None)
    assert len(json.loads(told["evidence"])) == 2
