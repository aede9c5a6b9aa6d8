"""Nights that read only what changed: when they may, what they keep, and what leads back to a full reading.

Whole extracts over loopback, against the sandbox and its faults. `plain` is the same source read by a tenant
without the option, night by night: what both have in the lake must be the same to the byte.
"""

from __future__ import annotations

import copy
import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner

from roster_pipeline import forgetting
from roster_pipeline.cli import main
from roster_pipeline.codes import CodedError
from roster_pipeline.oneroster.collections import COLLECTIONS
from roster_pipeline.oneroster.deltas import Joined
from roster_pipeline.providers import KINDS, deltas
from roster_pipeline.sandbox.generator import DAY, generate
from roster_pipeline.sandbox.misbehaviour import Misbehaviour
from roster_pipeline.sandbox.server import Serving
from roster_pipeline.sandbox.source import Row, Tables
from roster_pipeline.store.lake import Lake
from roster_pipeline.syncs import Sync, World
from roster_pipeline_tests.syncing import Deployment, Roster, deployment, rest_provider, serving

TENANT: Final = "town"
PLAIN: Final = "plain"
TABLE: Final = "enrollments"
PROVEN: Final = 4
"""The first night that can be read by its changes: the second and the third prove that they are all."""


def moment(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%S.000Z}"


@pytest.fixture(scope="module")
def town() -> Tables:
    """Every row was changed once, on some day of the last summer."""
    rng = random.Random(5)
    tables = generate(20).tables
    for table in tables.values():
        table.sort(key=lambda row: row["sourcedId"])
        for row in table:
            row["dateLastModified"] = moment(
                datetime(2026, 7, 1, tzinfo=UTC) + timedelta(minutes=rng.randrange(60_000))
            )
    return tables


@dataclass
class Night:
    """What one extract told, by collection."""

    proof: dict[str, str]
    state: dict[str, str]
    issues: list[dict[str, Any]]
    filters: dict[str, str]
    """Collection → the filter that it was asked with."""
    rows_asked: dict[str, int]
    sync_id: int

    def was_delta(self, collection: str = TABLE) -> bool:
        return "the others are those of sync" in self.proof[collection]

    def codes(self, collection: str = TABLE) -> list[str]:
        return [issue["code"] for issue in self.issues if issue["message"].startswith(collection)]

    def told(self, code: str, collection: str = TABLE) -> dict[str, Any]:
        (found,) = [
            issue for issue in self.issues
            if issue["code"] == code and issue["message"].startswith(collection)
        ]  # fmt: skip
        return found


@dataclass
class House:
    """A source, and two tenants who read it: one by its changes, and one in full."""

    here: Deployment
    served: Serving
    tables: Tables
    day: date = DAY
    rng: random.Random = field(default_factory=lambda: random.Random(3))
    nights: int = 0
    began: datetime = field(default_factory=lambda: datetime.now(UTC) - timedelta(days=30))
    step: timedelta = timedelta(days=1)
    """How much later what changes tonight is dated than what changed in the night before."""

    def apply(self, tenant: str = TENANT, **options: Any) -> None:
        if tenant == TENANT:
            options = {"full_every_days": 7, **options}
        self.here.apply(tenant, rest_provider(self.served, **{"page_size": 50, **options}))

    # ------------------------------------------------------------------------ what the school does

    def change(self, *rows: Row, **values: Any) -> None:
        """Rows say something else, on the day before the night."""
        for row in rows or self.rng.sample(self.tables[TABLE], 3):
            row |= values or {"primary": "false" if row.get("primary") == "true" else "true"}
            self.touch(row)

    def touch(self, row: Row) -> None:
        # The source's own clock is the real one, as its Date header is.
        row["dateLastModified"] = moment(self.began + self.nights * self.step)

    def add(self, how_many: int = 2) -> None:
        for _ in range(how_many):
            row = {
                **self.rng.choice(self.tables[TABLE]),
                "sourcedId": self.rng.choice("0ez~") + uuid.uuid4().hex,
            }
            self.touch(row)
            self.tables[TABLE].append(row)

    def remove(self, how_many: int = 1) -> None:
        """Without a tombstone."""
        for _ in range(how_many):
            self.tables[TABLE].remove(self.rng.choice(self.tables[TABLE]))

    # ------------------------------------------------------------------------ nights

    def begin(self, tenant: str, *, dry_run: bool = False, progress: Any = None, run_id: str = "") -> Sync:
        world = World(
            clock=lambda: datetime.now(UTC),
            sleep=lambda seconds: None,
            rng=random.Random(1),
            environ=self.here.environ,
            progress=progress or (lambda *_: None),
        )
        return Sync.open(
            self.here.stores, tenant, run_id=run_id or str(uuid.uuid4()), trigger="manual", as_of=self.day,
            dry_run=dry_run, world=world,
        )  # fmt: skip

    def extract(self, tenant: str = TENANT, **options: Any) -> Night:
        sandbox = self.served.sandbox
        sandbox.asked.clear()
        sync = self.begin(tenant, **options)
        try:
            told = sync.extract(sandbox.flavour.name if sandbox.flavour.name in KINDS else "oneroster")
            # What came to an end is not gone on from; nothing is published here.
            sync.fail(CodedError("RS-RUN-08", "Nothing was to be published."))
        finally:
            sync.close()
        tables, asked = told["tables"], list(sandbox.asked)
        rows: dict[str, int] = {}
        for one in asked:
            rows[one.endpoint] = rows.get(one.endpoint, 0) + int(one.query.get("limit", 0))
        return Night(
            {row["collection"]: row["proof"] for row in tables["collections"]},
            {row["collection"]: row["state"] for row in tables["collections"]},
            tables["issues"],
            {one.endpoint: one.query["filter"] for one in asked if "filter" in one.query},
            rows,
            sync.sync_id,
        )

    def night(self, *, alone: bool = False) -> Night:
        """Both tenants read what the source has by now, or one `alone`; both must then have the same."""
        self.nights += 1
        self.day += timedelta(days=1)
        self.served.sandbox.replace(self.tables)
        found = self.extract()
        if alone:
            return found
        plain = self.extract(PLAIN)
        for name in COLLECTIONS:
            assert found.state[name] == plain.state[name] == "ok"
            ours, theirs = self.digest(TENANT, found, name), self.digest(PLAIN, plain, name)
            assert ours == theirs is not None, (name, found.proof[name])
        assert not plain.filters
        return found

    def digest(self, tenant: str, night: Night, collection: str) -> str | None:
        who = {TENANT: 1, PLAIN: 2}[tenant]
        return self.here.stores.lake.digest(tenant, who, night.sync_id, collection)

    def cursor(self, collection: str = TABLE) -> dict[str, Any]:
        found: dict[str, Any] = self.here.stores.lake.complete(TENANT, 1)[collection].get("cursor", {})
        return found

    def prove(self) -> None:
        """Nights until the changes are believed."""
        for _ in range(1, PROVEN):
            self.change()
            assert not self.night(alone=True).was_delta()
        assert self.cursor()["proofs"] == 2

    def prove_again(self) -> None:
        """The source has lost its proofs: two full readings bring them back."""
        for _ in range(PROVEN):
            self.change()
            if self.night().was_delta():
                return
            assert self.cursor()
        raise AssertionError


@contextmanager
def house(folder: Path, tables: Tables, flavour: str = "oneroster-1.2", **options: Any) -> Iterator[House]:
    tables = copy.deepcopy(tables)
    with serving(tables, flavour) as served, deployment(folder) as here:
        found = House(here, served, tables)
        found.apply(**options)
        found.apply(PLAIN)
        yield found


@pytest.mark.parametrize("flavour", ["powerschool", "classlink", "oneroster-1.1", "oneroster-1.2"])
def test_what_changed_stands_for_the_whole_once_it_has_proved_itself(
    tmp_path: Path, town: Tables, flavour: str
) -> None:
    with house(tmp_path, town, flavour) as there:
        first = there.night()
        assert not first.filters
        assert first.issues == []
        there.change()
        second = there.night()
        assert set(second.filters) == set(COLLECTIONS)
        assert "1 of 2 proofs" in second.proof[TABLE]
        there.add()
        assert "2 of 2 proofs" in there.night().proof[TABLE]
        there.change()
        there.add()
        there.change(there.tables[TABLE][7], status="tobedeleted")
        fourth = there.night()
        assert fourth.was_delta()
        assert not fourth.was_delta("orgs")  # nothing changed in it, so nothing was proved
        assert fourth.issues == []
        there.change()
        assert there.night().was_delta()


def test_without_the_option_no_filter_is_sent_and_nothing_is_remembered(tmp_path: Path, town: Tables) -> None:
    with house(tmp_path, town, full_every_days=1) as there:
        for _ in range(PROVEN):
            there.change()
            found = there.night()
            assert not found.filters
            assert found.issues == []
        assert there.cursor() == {}


def test_what_changed_is_asked_for_from_a_day_before_the_newest_row(tmp_path: Path, town: Tables) -> None:
    with house(tmp_path, town) as there:
        there.prove()
        newest = max(row["dateLastModified"] for row in there.tables[TABLE])
        before = datetime.fromisoformat(newest) - timedelta(hours=24)
        there.change()
        assert there.night().filters[TABLE] == f"dateLastModified>='{moment(before)}'"


def test_a_row_from_the_future_does_not_move_the_cursor_beyond_the_sources_clock(
    tmp_path: Path, town: Tables
) -> None:
    with house(tmp_path, town) as there:
        there.tables[TABLE][3]["dateLastModified"] = "2199-01-01T00:00:00.000Z"
        before = datetime.now(UTC) - timedelta(seconds=3)  # the header is to the second
        there.night()
        since = datetime.fromisoformat(there.cursor()["since"])
        assert before <= since <= datetime.now(UTC)


def test_a_full_reading_comes_after_the_days_that_the_option_says(tmp_path: Path, town: Tables) -> None:
    with house(tmp_path, town, full_every_days=3) as there:
        there.prove()
        read = []
        for _ in range(8):
            there.change()
            read.append(there.night().was_delta())
        # The last full one of `prove` was on the day before the first of these.
        assert read == [True, True, False, True, True, False, True, True]


def test_a_quiet_night_proves_nothing_and_takes_nothing_back(tmp_path: Path, town: Tables) -> None:
    with house(tmp_path, town) as there:
        there.night()
        for _ in range(PROVEN):
            quiet = there.night()
            assert not quiet.was_delta()
            assert quiet.issues == []
        assert there.cursor()["proofs"] == 0
        there.change()
        there.night()
        there.night()
        there.change()
        there.night()
        assert there.night().was_delta()  # also where nothing changed


def test_a_row_that_goes_without_a_tombstone_is_noticed_and_all_are_read(
    tmp_path: Path, town: Tables
) -> None:
    with house(tmp_path, town) as there:
        there.prove()
        there.change()
        there.remove()
        found = there.night()
        assert not found.was_delta()
        told = found.told("RS-PAGE-14")
        assert told["count"] == 1
        assert "1 too many" in told["message"]
        assert found.codes() == ["RS-PAGE-14"]
        assert there.cursor()["proofs"] == 0
        there.prove_again()


def test_a_change_that_leaves_the_date_is_counted_at_the_next_full_reading(
    tmp_path: Path, town: Tables
) -> None:
    with house(tmp_path, town, full_every_days=2) as there:
        there.prove()
        there.tables[TABLE][4]["endDate"] = "2027-01-31"
        there.change(there.tables[TABLE][9])
        there.day += timedelta(days=1)  # a day without a sync: the full reading is due
        found = there.night()
        assert found.told("RS-PAGE-14")["message"].endswith("(1 different). It was read in full.")
        assert there.cursor()["proofs"] == 0
        there.change()
        assert not there.night().was_delta()


def test_a_row_with_an_old_date_is_missed_by_its_date_and_found_by_the_count(
    tmp_path: Path, town: Tables
) -> None:
    with house(tmp_path, town) as there:
        there.prove()
        late = {**there.tables[TABLE][0], "sourcedId": "e-late"}
        there.tables[TABLE].append(late)
        found = there.night()
        assert "1 missing" in found.told("RS-PAGE-14")["message"]
        assert f"the source counts {len(there.tables[TABLE])}" in found.told("RS-PAGE-14")["message"]


def test_tombstones_stay_or_go_as_a_full_reading_has_them(tmp_path: Path, town: Tables) -> None:
    """Some servers list them under a filter alone."""
    with house(tmp_path, town) as there:
        there.prove()
        gone = there.tables[TABLE][5]
        there.change(gone, status="tobedeleted")
        assert there.night().was_delta()
        there.change()
        assert there.night().was_delta()
        # Once it is cleared away, nobody knows by the count what went: all is read, and it was nothing.
        there.tables[TABLE].remove(gone)
        found = there.night()
        assert not found.was_delta()
        assert found.codes() == ["RS-PAGE-13"]
        there.change()
        assert there.night().was_delta()


@pytest.mark.parametrize(
    "fault, told",
    [
        (Misbehaviour("ignore-filter"), "The source sent rows from before"),
        (Misbehaviour("refuse-filter"), "rejected the request (HTTP 400)"),
        (Misbehaviour("no-counts"), "does not count its rows"),
    ],
    ids=lambda value: getattr(value, "what", ""),
)
def test_a_source_that_cannot_is_read_in_full_in_the_same_sync(
    tmp_path: Path, town: Tables, fault: Misbehaviour, told: str
) -> None:
    with house(tmp_path, town) as there:
        there.prove()
        there.served.sandbox.misbehave(fault)
        for _ in range(2):
            there.change()
            found = there.night()
            assert not found.was_delta()
            assert told in found.told("RS-PAGE-13")["message"]
            assert found.told("RS-PAGE-13")["severity"] == "note"
            assert not there.cursor() or there.cursor()["proofs"] == 0
        there.served.sandbox.misbehave()
        there.prove_again()


def test_a_filter_that_is_ignored_costs_a_page_and_not_a_second_reading(tmp_path: Path, town: Tables) -> None:
    with house(tmp_path, town, page_size=10, concurrency=1) as there:
        there.prove()
        there.served.sandbox.misbehave(Misbehaviour("ignore-filter"))
        there.night()
        pages = sum(1 for one in there.served.sandbox.asked if one.endpoint == TABLE)
        found = there.extract()
        filtered = [
            one for one in there.served.sandbox.asked if one.endpoint == TABLE and "filter" in one.query
        ]
        assert pages
        assert len(filtered) == 1
        assert "RS-PAGE-13" in found.codes()


@pytest.mark.parametrize("fault", ["server-error", "truncated", "not-json", "reset"])
def test_a_failure_that_passes_takes_no_proof_back(tmp_path: Path, town: Tables, fault: Any) -> None:
    """What is asked for first, the count, goes well; the changes do not."""
    with house(tmp_path, town) as there:
        there.prove()
        there.change()
        # The count; then all tries of the first page of the changes.
        times = {"not-json": 1, "truncated": 2}.get(fault, 5)
        there.served.sandbox.misbehave(Misbehaviour(fault, endpoint=TABLE, after=1, times=times))
        found = there.night()
        assert not found.was_delta()
        assert found.codes() == ["RS-PAGE-13"]
        there.served.sandbox.misbehave()
        there.change()
        assert there.night().was_delta()


@pytest.mark.parametrize(
    "fault",
    [
        Misbehaviour("filter-by-day"),
        Misbehaviour("filter-in-local-time", 10),
        Misbehaviour("filter-in-local-time", -11),
        Misbehaviour("filter-in-local-time", 14),
    ],
    ids=str,
)
def test_days_alone_and_local_time_lose_nothing(tmp_path: Path, town: Tables, fault: Misbehaviour) -> None:
    with house(tmp_path, town) as there:
        there.step = timedelta(minutes=5)
        there.served.sandbox.misbehave(fault)
        there.prove()
        for _ in range(3):
            there.change()
            there.add()
            assert there.night().was_delta()


def test_a_change_that_comes_late_is_not_missed(tmp_path: Path, town: Tables) -> None:
    """As where the source is itself an export: others had come with a later date."""
    with house(tmp_path, town) as there:
        there.prove()
        newest = max(row["dateLastModified"] for row in there.tables[TABLE])
        late = there.tables[TABLE][11]
        there.change(late)
        late["dateLastModified"] = moment(datetime.fromisoformat(newest) - timedelta(hours=20))
        assert there.night().was_delta()


def test_rows_that_move_while_they_are_read_lead_to_a_full_reading(tmp_path: Path, town: Tables) -> None:
    with house(tmp_path, town) as there:
        there.prove()
        there.change()
        there.served.sandbox.misbehave(Misbehaviour("wrong-total", 1, endpoint=TABLE, times=1))
        found = there.night()
        assert not found.was_delta()
        assert "the source counts" in found.told("RS-PAGE-13")["message"]


def test_more_changes_than_are_worth_it_are_not_read_twice(
    tmp_path: Path, town: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deltas, "_FEW", 20)
    with house(tmp_path, town) as there:
        there.prove()
        there.change(*there.tables[TABLE][:200])
        found = there.night()
        assert not found.was_delta()
        assert "said to have changed" in found.told("RS-PAGE-13")["message"]
        assert there.cursor()["proofs"] == 2
        there.nights += 1
        # They are the newest still, and are given once more.
        there.change()
        assert not there.night().was_delta()
        there.change()
        assert there.night().was_delta()


def test_changes_that_are_larger_than_any_real_ones_are_not_held_in_memory(
    tmp_path: Path, town: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    with house(tmp_path, town) as there:
        there.prove()
        monkeypatch.setattr(deltas, "_SIZE", 300)
        there.change()
        assert "said to have changed" in there.night().told("RS-PAGE-13")["message"]


@pytest.mark.parametrize(
    "date, told", [("last week", "Not every dateLastModified is a time."), (" ", "1 of its rows have no")]
)
def test_rows_without_a_date_have_no_deltas(tmp_path: Path, town: Tables, date: str, told: str) -> None:
    with house(tmp_path, town) as there:
        there.prove()
        there.tables["users"][3]["dateLastModified"] = date
        there.change()
        found = there.night()
        assert told in found.told("RS-PAGE-13", "users")["message"]
        assert there.cursor("users") == {}
        assert found.was_delta()


@pytest.mark.parametrize("option", [{"page_size": 40}, {"client_id": "env:ANOTHER"}], ids=str)
def test_another_document_begins_with_a_full_reading(
    tmp_path: Path, town: Tables, option: dict[str, Any]
) -> None:
    with house(tmp_path, town) as there:
        there.prove()
        there.here.environ["ANOTHER"] = there.here.environ["SANDBOX_ID"]
        there.apply(**option)
        there.change()
        found = there.night()
        assert not found.filters
        assert there.cursor()["proofs"] == 0


def test_an_extract_that_is_gone_leads_to_a_full_reading(tmp_path: Path, town: Tables) -> None:
    with house(tmp_path, town) as there:
        there.prove()
        there.change()
        lake = there.here.stores.lake
        sync_id = lake.complete(TENANT, 1)[TABLE]["sync_id"]
        folder = lake.root / "tenants" / TENANT / "extracts" / "1" / str(sync_id)
        for part in folder.glob(f"{TABLE}-*.parquet"):
            part.unlink()
        found = there.night()
        assert not found.was_delta()
        assert found.codes() == ["RS-PAGE-13"]
        there.change()
        assert there.night().was_delta()


def test_an_extract_that_breaks_off_while_it_is_joined_leads_to_a_full_reading(
    tmp_path: Path, town: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = Joined.pages

    def broken(self: Joined) -> Iterator[Any]:
        yield from list(pages(self))[:1]
        raise CodedError("RS-DB-03", "A file of the lake could not be read.")

    with house(tmp_path, town) as there:
        there.prove()
        there.change()
        with monkeypatch.context() as patched:
            patched.setattr(Joined, "pages", broken)
            patched.setattr(deltas.Delta, "compared", lambda self, read: read)
            assert not there.night().was_delta()


def test_after_a_night_that_was_not_good_a_full_reading_is_due(tmp_path: Path, town: Tables) -> None:
    with house(tmp_path, town) as there:
        there.prove()
        there.change()
        there.day += timedelta(days=1)
        there.served.sandbox.replace(there.tables)
        there.served.sandbox.misbehave(Misbehaviour("forbidden", endpoint=TABLE))
        assert there.extract().state[TABLE] == "stale"
        there.served.sandbox.misbehave()
        there.change()
        found = there.night()
        assert not found.was_delta()
        assert found.filters[TABLE]
        assert found.issues == []
        there.change()
        assert there.night().was_delta()


def test_a_dry_run_moves_nothing(tmp_path: Path, town: Tables) -> None:
    with house(tmp_path, town) as there:
        there.prove()
        before = there.cursor()
        there.change()
        there.served.sandbox.replace(there.tables)
        there.day += timedelta(days=1)
        tried = there.extract(dry_run=True)
        assert tried.was_delta()
        assert there.cursor() == before
        assert there.night().was_delta()


@pytest.mark.parametrize("at", ["changes", "joining", "noting"])
def test_a_night_that_is_interrupted_begins_anew_and_moves_nothing(
    tmp_path: Path, town: Tables, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with house(tmp_path, town) as there:
        there.prove()
        before = there.cursor()
        there.change()
        there.served.sandbox.replace(there.tables)

        def progress(_: str, collection: str, rows: int, __: int | None) -> None:
            # Before the changes of the table are asked for, or after.
            if collection == {"joining": TABLE, "changes": "users"}.get(at):
                raise SystemExit

        def ends(*_: Any) -> None:
            raise SystemExit

        with monkeypatch.context() as patched:
            if at == "noting":
                patched.setattr(Lake, "set_complete", ends)
            with pytest.raises(SystemExit):
                there.extract(progress=progress)
        assert there.cursor() == before
        there.change()
        found = there.night()
        assert found.was_delta()
        assert found.codes() == []


# ------------------------------------------------------------------------------------------ whole syncs


def published(there: House) -> bool:
    """Both tenants sync from begin to end, and must publish the same; whether the one read by its changes."""
    there.nights += 1
    there.day += timedelta(days=1)
    there.served.sandbox.replace(there.tables)
    for tenant in (TENANT, PLAIN):
        assert there.here.sync(tenant, there.day)["status"] != "failed"
    ours, theirs = (comparable(there.here.roster(tenant)) for tenant in (TENANT, PLAIN))
    assert ours == theirs
    facts = there.here.stores.lake.facts(TENANT, "raw_oneroster")
    assert facts is not None
    found = facts["providers"]["1"]["collections"]
    assert {entry["state"] for entry in found.values()} == {"ok"}
    return all(found[name].get("how") == "delta" for name in ("users", TABLE))


def comparable(roster: Roster) -> dict[str, list[tuple[Any, ...]]]:
    """Without the ids of people whom no source has any more: those are each tenant's own."""
    return {
        kind: sorted(
            tuple(cell for cell in cells if cell[0] != "person_id" or "/" in cell[1]) for cells in found
        )
        for kind, found in roster.items()
    }


def something_happens(there: House) -> None:
    """A few of the things that happen in a school over the day, with or without a trace."""
    rng, users = there.rng, there.tables["users"]
    for one in rng.sample(users, 2):
        there.change(one, familyName=f"Newname{there.nights}")
    for _ in range(rng.randrange(4)):
        match rng.randrange(8):
            case 0 | 1:
                there.change()
            case 2 | 3:
                there.add(rng.randrange(1, 4))
            case 4:
                there.change(rng.choice(there.tables[TABLE]), status="tobedeleted")
            case 5:
                there.change(rng.choice(users), status="tobedeleted")
            case 6:
                there.change(rng.choice(there.tables["classes"]), title=f"Class of {there.nights}")
            case 7 if rng.random() < 0.4:
                there.remove()


@pytest.mark.parametrize("seed", range(2))
def test_random_nights_publish_what_full_readings_publish(tmp_path: Path, town: Tables, seed: int) -> None:
    with house(tmp_path, town, full_every_days=5) as there:
        there.rng = random.Random(seed)
        read = []
        for _ in range(10):
            something_happens(there)
            there.change()  # so that each collection of people proves something
            read.append(published(there))
        assert 2 <= sum(read) <= 6, read


def test_the_forgotten_do_not_come_back_and_do_not_end_the_deltas(tmp_path: Path, town: Tables) -> None:
    with house(tmp_path, town) as there:
        users = there.tables["users"]
        ann = next(row for row in users if row["roles"][0][0] == "student")
        for _ in range(PROVEN):
            there.change(users[-1], familyName=f"Newname{there.nights}")
            there.change()
            read = published(there)
        assert read
        stores = there.here.stores
        for tenant in (TENANT, PLAIN):
            with forgetting.alone_with(stores, tenant, lambda: datetime.now(UTC)) as lease:
                meant = forgetting.find(stores, tenant, f"sis/{ann['sourcedId']}")
                forgetting.forget(
                    stores, tenant, meant, lease, who="tests", why="asked for", now=datetime.now(UTC)
                )

        def is_spoken_of() -> bool:
            lake = stores.lake
            complete = lake.complete(TENANT, 1)
            return any(
                (lake.read_extract(TENANT, 1, complete[name]["sync_id"], name) == ann["sourcedId"]).any(
                    axis=None
                )
                for name in ("users", TABLE)
            )

        # What the extract said of her is gone from it, and what changes says nothing of her.
        for _ in range(2):
            there.change(users[-1], familyName=f"Newname{there.nights}")
            there.change(*[row for row in there.tables[TABLE] if row["user"] != ann["sourcedId"]][:2])
            assert published(there)
            assert not is_spoken_of()
        # Where she changes, she would be one more than there are: everything is read, without her.
        there.change(ann, familyName="Married")
        assert not published(there)
        assert not is_spoken_of()


def test_explanations_say_that_only_what_changed_was_read(tmp_path: Path, town: Tables) -> None:
    with house(tmp_path, town) as there:
        who = there.tables["users"][-1]
        told = []
        for _ in range(PROVEN):
            there.change(who, familyName=f"Newname{there.nights}")
            there.change()
            published(there)
            done = CliRunner(env={"ROSTER_HOME": str(there.here.home.folder), "COLUMNS": "200"}).invoke(
                main, ["explain", TENANT, "--person", f"sis/{who['sourcedId']}"], catch_exceptions=False
            )
            assert done.exit_code == 0, done.stderr
            told.append("read by what its source says has changed" in " ".join(done.stdout.split()))
        assert told == [False, False, False, True]


def test_whole_runs_tell_how_each_collection_was_read(tmp_path: Path, town: Tables) -> None:
    with house(tmp_path, town) as there:
        there.prove()
        there.change()
        there.served.sandbox.replace(there.tables)
        sync = there.begin(TENANT)
        told = sync.extract("oneroster")["tables"]["collections"]
        sync.close()
        how = {row["collection"]: row.get("how") for row in told}
        assert how[TABLE] == "delta"
        assert how["orgs"] == "full"
        sync = there.begin(PLAIN)
        assert not any("how" in row for row in sync.extract("oneroster")["tables"]["collections"])
        sync.close()
