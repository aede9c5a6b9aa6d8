"""Nights on which nothing moved, over real files, a lake and a database: what they leave, and what ends them.

That they leave what every rule would have left is the twins' (`roster_pipeline_tests.twins`), of which two
small worlds are here; that a ground ends in time is in `rosters.test_unmoved`.
"""

from __future__ import annotations

import copy
import csv
import datetime as dt
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import select, text, update

from roster_pipeline import forgetting
from roster_pipeline.codes import CodedError
from roster_pipeline.explanations.findings import Findings
from roster_pipeline.store.database import registers
from roster_pipeline.store.retention import Retention, tidy
from roster_pipeline.undo import undo
from roster_pipeline_tests import syncing, twins
from roster_pipeline_tests.graph.school import HEADERS, School
from roster_pipeline_tests.syncing import Deployment, csv_provider, deployment
from roster_pipeline_tests.twins import ASSETS, Twin

DAY: Final = dt.date(2025, 10, 15)
LOGINS: Final = "id,email,given_name,family_name,role\nl1,t1@north.example,Ada,Oft1,teacher\n"


class House:
    """A school and a directory of one tenant; a night a day."""

    def __init__(self, here: Deployment) -> None:
        self.here, self.folder = here, here.home.folder
        self.school = School(self.folder / "files").write()
        (self.folder / "logins.csv").write_text(LOGINS, encoding="utf-8")
        self.nights = 0
        self.apply()

    def apply(self, name: str = "sis", **settings: Any) -> None:
        logins = {"name": "logins", "kind": "csv", "path": str(self.folder / "logins.csv")}
        provider = csv_provider(self.school.folder, name=name, **settings.pop("provider", {}))
        self.here.apply("oak", provider, directories=[logins], **settings)

    def twin(self, *, runs_every_rule: bool = False) -> Twin:
        return Twin(self.here, runs_every_rule, twins.NOON + dt.timedelta(days=self.nights))

    def night(self, day: int | None = None, *, runs_every_rule: bool = False, **how: Any) -> int | None:
        """The sync whose findings tonight stood on; None where the rules ran."""
        self.nights += 1
        as_of = DAY + dt.timedelta(days=self.nights - 1 if day is None else day)
        twin = self.twin(runs_every_rule=runs_every_rule)
        self.document = twin.sync(as_of, f"run-{self.nights}", **how)
        self.told = twin.told
        assert self.document["status"] == "successful", self.document["issues"]
        unmoved: int | None = self.told[-2].get("unmoved_since_sync")
        return unmoved if twin.unmoved else None

    def settle(self) -> None:
        """Two nights; the next one stands on the second."""
        assert (self.night(), self.night()) == (None, None)

    @property
    def lake(self) -> Path:
        return Path(self.here.home.lake_url) / "tenants" / "oak"

    def rows(self, query: str) -> list[dict[str, Any]]:
        with self.here.stores.database.connect() as connection:
            return [dict(row) for row in connection.execute(text(query)).mappings()]


@pytest.fixture
def new_house(tmp_path: Path) -> Iterator[House]:
    with deployment(tmp_path / "house") as here:
        yield House(here)


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> House:
    """A house that has settled; what is in its folder is beside it, too."""
    folder = tmp_path_factory.mktemp("settled")
    with deployment(folder / "house") as here:
        made = House(here)
        made.settle()
    shutil.copytree(made.folder, folder / "kept")
    return made


@pytest.fixture
def house(evening: House) -> Iterator[House]:
    """One that has settled. It is where it was made: its document says where the files are."""
    shutil.rmtree(evening.folder)
    shutil.copytree(evening.folder.with_name("kept"), evening.folder)
    with deployment(evening.folder) as here:
        found = copy.copy(evening)
        found.here, found.school = here, copy.deepcopy(evening.school)
        yield found


# ------------------------------------------------------------------------------------------ what they leave


@pytest.mark.parametrize("seed", [3, 5])
def test_twins_stay_the_same(tmp_path: Path, seed: int):
    with twins.twins(seed, tmp_path) as pair:
        pair.run(6)
        assert pair.quick.unmoved
        assert not pair.slow.unmoved


def test_the_third_night_stands_on_the_second(house: House):
    (version,) = house.rows("SELECT version FROM registers")
    assert house.night() == 2
    assert syncing.changed(house.document) == {"schools": {"added": 0, "updated": 1, "removed": 0}}
    assert house.rows("SELECT state_as_of, created_sync, changed_sync FROM schools") == [
        {"state_as_of": "2025-10-17", "created_sync": 1, "changed_sync": 3}
    ]
    assert house.rows("SELECT version, as_of FROM registers") == [
        {"version": version["version"] + 1, "as_of": "2025-10-17"}
    ]
    assert [row["kind"] for row in house.rows("SELECT kind FROM history WHERE sync_id = 3")] == ["schools"]


def test_every_step_points_to_the_earlier_tables_and_writes_none(house: House):
    before = house.told
    house.night()
    assert not list(house.lake.glob("syncs/3/**/*.parquet"))
    for place, asset in enumerate(ASSETS, start=-4):
        facts = house.here.stores.lake.facts("oak", asset)
        assert facts
        assert (facts["sync_id"], facts["same"]["sync_id"]) == (3, 2)
        assert house.here.stores.lake.read("oak", asset, facts)
        told = dict(house.told[place])
        assert told.pop("unmoved_since_sync") == 2
        assert told == before[place] | {"as_of": "2025-10-17"}


def test_a_second_sync_of_the_day_changes_nothing_at_all(house: House):
    assert house.night(day=1) == 2
    assert syncing.changed(house.document) == {}
    assert house.rows("SELECT changed_sync FROM schools") == [{"changed_sync": 2}]


def test_a_sync_that_is_only_tried_out_stands_and_publishes_nothing(house: House):
    before = house.rows("SELECT * FROM registers"), house.rows("SELECT * FROM schools")
    assert house.night(dry_run=True) == 2
    assert house.document["dry_run"]
    assert (house.rows("SELECT * FROM registers"), house.rows("SELECT * FROM schools")) == before
    assert house.night() == 2, "what was tried out has changed what the next night stands on"


def test_somebody_is_explained_by_the_tables_that_are_pointed_to(house: House):
    house.night()
    findings = Findings(house.here.stores, "oak")
    assert findings.rules_of == 3
    (person,) = findings.people("s1@north.example")
    known = findings.known([person], [])
    assert "s1" in known.current.users["source_id"].tolist()


# ------------------------------------------------------------------------------------------ what ends them


def _student_less(house: House) -> None:
    house.school.students.pop()
    house.school.write()


def _other_directory(house: House) -> None:
    more = "l2,t2@north.example,Ada,Oft2,teacher\n"
    (house.folder / "logins.csv").write_text(LOGINS + more, encoding="utf-8")


def _undone(house: House) -> None:
    """What the fourth night brought; by then, nights stand on the fifth."""
    house.school.given_name = "Eve"
    house.school.write()
    assert [house.night() for _ in range(3)] == [None, None, 5]
    undo(house.here.stores, "oak", 4, who="ann", why="", clock=house.twin().clock)


def _forgotten(house: House) -> None:
    stores, clock = house.here.stores, house.twin().clock
    with forgetting.alone_with(stores, "oak", clock) as lease:
        meant = forgetting.find(stores, "oak", "s1@north.example")
        forgetting.forget(stores, "oak", meant, lease, who="ann", why="", now=clock())


def _another_published(house: House) -> None:
    """Another release, say, that knows nothing of grounds."""
    with house.here.stores.database.begin() as connection:
        connection.execute(update(registers).values(proposal="99-other"))


def _lost(house: House) -> None:
    (house.lake / "ground.json").unlink()


ENDS: Final[dict[str, Callable[[House], None]]] = {
    "a row is gone": _student_less,
    "the directory says otherwise": _other_directory,
    "an option of a provider": lambda house: house.apply(provider={"end_dates": "exclusive"}),
    "an option of the tenant": lambda house: house.apply(grace_days=9),
    "a sync was undone": _undone,
    "somebody was forgotten": _forgotten,
    "something else has published": _another_published,
    "the ground was lost": _lost,
}


@pytest.mark.parametrize("what", ENDS)
def test_the_rules_run_again_once_anything_is_otherwise(house: House, what: str):
    assert house.night() == 2
    ENDS[what](house)
    house.nights += 1
    twin = house.twin()
    twin.sync(DAY + dt.timedelta(days=house.nights), "run-otherwise")
    assert not twin.unmoved


def test_tables_that_were_made_anew_are_not_pointed_to(house: House):
    """The run of the second night is executed again from its start, but not to its end."""
    sync = house.twin().begin(DAY + dt.timedelta(days=1), "run-2")
    try:
        sync.extract("oneroster_csv")
        assert "unmoved_since_sync" not in sync.current_sessions()
    finally:
        sync.close()
    assert house.night() == 2
    assert ["unmoved_since_sync" in told for told in house.told[-4:-1]] == [False, True, True]
    assert (house.lake / "syncs/3/current_sessions/classes.parquet").exists()


def test_another_name_of_a_provider_runs_the_rules(house: House):
    house.apply("annexe", provider={"was": "sis"})
    assert house.night() is None
    assert [entry["name"] for entry in house.document["providers"]] == ["annexe"]


def test_another_release_runs_the_rules(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("roster_pipeline.syncs.release", lambda: "another")
    assert house.night() is None
    assert house.night() == 3


def test_a_date_before_the_ground_or_after_its_end_runs_the_rules(house: House):
    assert house.night(day=0) is None  # the day before it
    assert house.night(day=6) == 3  # from then on, the ground is of day 0
    assert house.night(day=7) is None
    assert house.night(day=8) == 5


def test_every_rule_runs_where_that_is_wanted(house: House):
    assert house.night(runs_every_rule=True) is None
    assert house.night() == 3


def test_a_kill_between_publishing_and_keeping_the_ground_costs_a_night_of_rules(house: House):
    ground = (house.lake / "ground.json").read_bytes()
    assert house.night() == 2
    (house.lake / "ground.json").write_bytes(ground)  # it names what the second night published
    assert house.night() is None
    assert house.night() == 4


def test_a_run_that_is_executed_again_stands_or_runs_but_ends_the_same(house: House):
    house.night()
    before = house.rows("SELECT * FROM schools"), house.rows("SELECT * FROM people")
    for run_id, day in (("run-3", 2), ("run-2", 1), ("run-3", 2)):
        twin = house.twin()
        told = twin.sync(DAY + dt.timedelta(days=day), run_id)
        assert told["status"] == "successful", told["issues"]
    assert (house.rows("SELECT * FROM schools"), house.rows("SELECT * FROM people")) == before


def test_steps_in_processes_of_their_own_stand_as_well(house: House):
    assert house.night(in_pieces=True) == 2
    assert house.night() == 2


def test_a_directory_that_is_read_late_is_noticed_by_the_step_that_looks_at_it(house: House):
    """Dagster may read the directory after the current steps, which do not ask it."""
    house.nights = 3
    sync = house.twin().begin(DAY + dt.timedelta(days=2), "run-3")
    try:
        sync.extract("oneroster_csv")
        assert "unmoved_since_sync" in sync.current_sessions()
        assert "unmoved_since_sync" in sync.current_enrolments()
        _other_directory(house)
        sync.extract("directory")
        assert "unmoved_since_sync" not in sync.merged_identities()
        told = sync.publish()
    finally:
        sync.close()
    assert told["status"] == "successful"
    assert sync.unmoved_since is None
    links = house.rows("SELECT source_id FROM person_sources WHERE provider = 'logins' ORDER BY source_id")
    assert [row["source_id"] for row in links] == ["l1", "l2"]


def test_who_is_refused_has_not_published_what_was_found_before(house: House):
    house.nights = 3
    sync = house.twin().begin(DAY + dt.timedelta(days=2), "run-3")
    sync.extract("oneroster_csv")
    sync.extract("directory")
    for rule in (sync.current_sessions, sync.current_enrolments, sync.merged_identities):
        assert "unmoved_since_sync" in rule()
    with house.here.stores.database.begin() as connection:
        connection.execute(text("UPDATE leases SET owner = 'somebody else'"))
    with pytest.raises(CodedError, match="RS-RUN-06"):
        sync.publish()
    assert sync.unmoved_since is None
    sync.close()


# ------------------------------------------------------------------------------------------ not settled


@pytest.mark.parametrize("collection", ["users", "courses"])
def test_nothing_stands_on_what_was_not_read_whole(house: House, collection: str):
    house.school.without(collection)
    for _ in range(2):
        house.nights += 1
        twin = house.twin()
        told = twin.sync(DAY + dt.timedelta(days=house.nights), f"run-{house.nights}")
        assert not twin.unmoved
        assert told["status"] == "partial"
    assert not (house.lake / "ground.json").exists()


def test_nothing_stands_on_a_night_that_learned_who_has_left(new_house: House):
    """Somebody whom nobody ever published comes with an enrolment that is over: nothing published changes."""
    new_house.apply(provider={"respect_enrolment_date": True})
    new_house.settle()
    for name, line in (
        ("users", {"sourcedId": "s99", "enabledUser": "true", "orgSourcedIds": "north", "role": "student",
                   "username": "s99", "givenName": "Ada", "familyName": "Ofs99"}),
        ("enrollments", {"sourcedId": "c1-s99", "classSourcedId": "c1", "schoolSourcedId": "north",
                         "userSourcedId": "s99", "role": "student", "endDate": "2025-09-30"}),
    ):  # fmt: skip
        with (new_house.school.folder / f"{name}.csv").open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, HEADERS[name].split(","), restval="").writerow(line)
    assert new_house.night() is None
    assert set(syncing.changed(new_house.document)) == {"schools"}
    assert not (new_house.lake / "ground.json").exists()
    assert [new_house.night(), new_house.night()] == [None, 4]


def test_a_night_on_which_rules_ran_for_what_was_published_before_lays_no_ground(new_house: House):
    """Publishing the first night's identities again changes nothing; but they say "created"."""
    new_house.night()
    sync = new_house.twin().begin(DAY, "run-1")
    try:
        told = sync.publish()
    finally:
        sync.close()
    assert told["counts"]["created_students"] == 6
    assert not (new_house.lake / "ground.json").exists()


# ------------------------------------------------------------------------------------------ the lake


def test_tidying_keeps_what_is_pointed_to(house: House):
    for _ in range(3):
        assert house.night() == 2
    now = twins.NOON + dt.timedelta(days=400)
    for _ in range(2):
        tidy(house.here.stores, "oak", Retention(), now=house.twin().clock())
    assert sorted(path.name for path in house.lake.glob("syncs/*")) == ["2", "5"]
    for asset in ASSETS:
        facts = house.here.stores.lake.facts("oak", asset)
        assert facts
        assert house.here.stores.lake.read("oak", asset, facts)
    tidy(house.here.stores, "oak", Retention(), now=now)  # too old: all of it goes
    assert not list(house.lake.glob("syncs/*"))
    assert house.night() is None
    assert house.night() == 6


def test_who_is_forgotten_is_erased_from_what_is_pointed_to(house: House):
    house.night()
    (person,) = house.rows("SELECT person_id FROM people WHERE username = 's1'")
    _forgotten(house)
    lake = house.here.stores.lake
    merged, enrolled = (lake.facts("oak", asset) for asset in ("merged_identities", "current_enrolments"))
    assert merged
    assert enrolled
    assert person["person_id"] not in set(
        lake.read("oak", "merged_identities", merged)["people"]["person_id"]
    )
    assert "s1" not in set(lake.read("oak", "current_enrolments", enrolled)["users"]["source_id"])
    assert b"s1@north" not in (house.lake / "ground.json").read_bytes()


def test_a_ground_names_nobody(house: House):
    told = (house.lake / "ground.json").read_text(encoding="utf-8")
    for table in ("people", "person_sources"):
        for row in house.rows(f"SELECT * FROM {table}"):
            for name in ("person_id", "email", "family_name", "source_id", "identifier"):
                assert not row.get(name) or f'"{row[name]}"' not in told
    assert "north.example" not in told


def test_the_register_has_another_proposal_every_night(house: House):
    """What publishing again is harmless is told by it, and what a ground holds on to."""
    seen = set()
    for _ in range(3):
        house.night()
        with house.here.stores.database.connect() as connection:
            seen.add(connection.execute(select(registers.c.proposal)).scalar())
    assert len(seen) == 3
