"""An extract that was interrupted goes on where it stopped, if its source has not changed since.

Against the sandbox over loopback. What one part of an extract is, is made small here: by default it is 20,000
rows or 15 seconds.
"""

from __future__ import annotations

import copy
import random
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pytest

from roster_pipeline.codes import CodedError
from roster_pipeline.oneroster.collections import COLLECTIONS
from roster_pipeline.providers import KINDS
from roster_pipeline.providers.reading import CollectionRead
from roster_pipeline.sandbox.generator import DAY, generate
from roster_pipeline.sandbox.misbehaviour import Misbehaviour
from roster_pipeline.sandbox.server import Serving, application, serve
from roster_pipeline.sandbox.source import Tables
from roster_pipeline.store import lake as lake_module
from roster_pipeline.store import ledger
from roster_pipeline.store.lake import Lake
from roster_pipeline.syncs import Sync, World
from roster_pipeline_tests.graph.killing import PROCESSES, die
from roster_pipeline_tests.syncing import (
    CLIENT_ID,
    CLIENT_SECRET,
    STEPS,
    Deployment,
    deployment,
    rest_provider,
)
from roster_pipeline_tests.unit.oneroster.server import (
    FAR,
    Clock,
    Reply,
    School,
    district,
    provider,
    reading,
    serving,
)

FLAVOURS: Final = ("powerschool", "classlink", "oneroster-1.1", "oneroster-1.2")
TENANT: Final = "town"
PAGE: Final = 10
STEP: Final = PAGE - 1
"""How far apart pages begin: each begins with the last row of the one before."""
TABLE: Final = "enrollments"
"""What is interrupted: 29 pages of it, with this many students."""


def rows_of(pages: int) -> int:
    """How many rows so many pages have."""
    return pages * STEP + 1


@pytest.fixture(scope="module")
def town() -> Tables:
    tables = generate(30).tables
    for table in tables.values():
        table.sort(key=lambda row: row["sourcedId"])
    assert len(tables[TABLE]) > 20 * PAGE
    assert len(tables[TABLE]) % PAGE
    return tables


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lake_module, "PART_ROWS", 3 * PAGE)


@dataclass
class House:
    """A deployment and a sandbox that it reads, with the time in the test's hand."""

    here: Deployment
    served: Serving
    night: list[datetime]
    """What time it is, for both sides."""
    stops: list[tuple[int, type[BaseException]]] = field(default_factory=list)
    """Rows of `TABLE` after which a reading ends with an exception, as it does for SIGTERM."""
    look: timedelta = timedelta(0)
    """By how much each look of a sync's moves the time."""

    @property
    def now(self) -> datetime:
        return self.night[0]

    @now.setter
    def now(self, when: datetime) -> None:
        self.night[0] = when

    @property
    def kind(self) -> str:
        flavour: str = self.served.sandbox.flavour.name
        return flavour if flavour in ("powerschool", "classlink") else "oneroster"

    @property
    def provider_id(self) -> int:
        return 1

    def apply(self, **options: Any) -> None:
        told = {"page_size": PAGE, "concurrency": 1, **options}
        # Pages are fetched ahead of a server that lets one wait.
        self.look = timedelta(seconds=FAR if told["concurrency"] > 1 else 0)
        self.here.apply(TENANT, rest_provider(self.served, **told))

    def _clock(self) -> datetime:
        self.now += self.look
        return self.now

    def _progress(self, _: str, collection: str, rows: int, __: int | None) -> None:
        if collection == TABLE and self.stops and rows >= self.stops[0][0]:
            if self.look:
                self._await_what_is_ahead(rows)
            raise self.stops.pop(0)[1]

    def _await_what_is_ahead(self, rows: int) -> None:
        """Waits for a request behind so many rows: on a busy machine it comes after the answer before it."""
        until = time.monotonic() + 30
        asked = self.served.sandbox.asked
        while time.monotonic() < until and not any(
            one.endpoint == TABLE and int(one.query["offset"]) >= rows - 1 for one in list(asked)
        ):
            threading.Event().wait(0.005)

    def begin(self, *, run_id: str = "", dry_run: bool = False) -> Sync:
        world = World(
            clock=self._clock,
            sleep=lambda seconds: None,
            rng=random.Random(1),
            environ=self.here.environ,
            progress=self._progress,
        )
        return Sync.open(
            self.here.stores, TENANT, run_id=run_id or str(uuid.uuid4()), trigger="manual", as_of=DAY,
            dry_run=dry_run, world=world,
        )  # fmt: skip

    def extract(self, **options: Any) -> Extract:
        """The step that reads the provider, and nothing after it: the sync is interrupted then."""
        self.served.sandbox.asked.clear()
        sync = self.begin(**options)
        try:
            told = sync.extract(self.kind)["tables"]
        except (KeyboardInterrupt, SystemExit):
            told = {"collections": [], "issues": []}
        finally:
            sync.close()
        return Extract(self, sync.sync_id, told)


@dataclass
class Extract:
    house: House
    sync_id: int
    told: dict[str, Any]
    asked: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Takes down at what offsets the sandbox was asked, but for the one row asked for downwards."""
        for one in list(self.house.served.sandbox.asked):  # what was under way may still come
            if one.endpoint != "token" and one.query.get("orderBy") != "desc":
                self.asked.setdefault(one.endpoint, []).append(int(one.query["offset"]))

    @property
    def states(self) -> dict[str, str]:
        return {row["collection"]: row["state"] for row in self.told["collections"]}

    @property
    def went_on(self) -> dict[str, int]:
        """Collection to the rows that were taken over."""
        found = [issue for issue in self.told["issues"] if issue["code"] == "RS-PAGE-11"]
        return {issue["message"].partition(":")[0]: issue["count"] for issue in found}

    def frame(self, collection: str = TABLE) -> pd.DataFrame:
        lake = self.house.here.stores.lake
        return lake.read_extract(TENANT, self.house.provider_id, self.sync_id, collection)


@contextmanager
def house(folder: Path, tables: Tables, flavour: str, *, port: int = 0, **options: Any) -> Iterator[House]:
    """A tenant with one provider. The rows are copies: what a test changes is the test's own."""
    night = [datetime(2026, 10, 15, 20, tzinfo=UTC)]
    app = application(
        copy.deepcopy(tables),
        flavour,
        clock=lambda: night[0].timestamp(),
        **({"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET} | options),
    )
    with serve(app, port=port) as served, deployment(folder) as here:
        found = House(here, served, night)
        found.apply()
        yield found


def whole(tables: Tables, extract: Extract) -> bool:
    """Whether an extract is proven, and has exactly the source's rows, in the order of their ids."""
    served = extract.house.served.sandbox.totals  # not every flavour hands out every row
    ids = {name: list(extract.frame(name)["sourcedId"]) for name in COLLECTIONS}
    return (
        set(extract.states.values()) == {"ok"}
        and all(len(found) == served[name] for name, found in ids.items())
        and ids[TABLE] == [row["sourcedId"] for row in tables[TABLE]]
        and all(found == sorted(set(found)) for found in ids.values())
    )


def refusing(after: int) -> Misbehaviour:
    return Misbehaviour("server-error", 503, endpoint=TABLE, after=after)


# ------------------------------------------------------------------------------------ what interrupts


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_what_a_failing_server_interrupted_goes_on(tmp_path: Path, town: Tables, flavour: str) -> None:
    with house(tmp_path, town, flavour) as there:
        there.served.sandbox.misbehave(refusing(10))
        first = there.extract()
        assert first.states[TABLE] == "failed"
        there.served.sandbox.misbehave()
        second = there.extract()
        assert whole(town, second)
        assert second.went_on[TABLE] == rows_of(10)
        # The first page and the last good one again, and then on.
        pages = range(10 * STEP, len(town[TABLE]), STEP)
        assert second.asked[TABLE] == [0, 9 * STEP, *pages]
        # What was read to its end: the first page and the last one.
        last = (len(town["classes"]) - 2) // STEP * STEP
        if last >= 3 * STEP:
            assert second.asked["classes"] == [0, last]
        told = {row["collection"]: row["proof"] for row in second.told["collections"]}
        assert "2026-10-15 20:00 UTC" in told[TABLE]
        anew = there.extract(run_id="another")  # both were never published, and may serve again
        pd.testing.assert_frame_equal(anew.frame(), second.frame())


@pytest.mark.parametrize("width, error", [(1, KeyboardInterrupt), (4, SystemExit)])
def test_what_was_told_to_end_goes_on(
    tmp_path: Path, town: Tables, error: type[BaseException], width: int
) -> None:
    with house(tmp_path, town, "oneroster-1.2") as there:
        there.apply(concurrency=width)
        there.stops = [(rows_of(7), error), (rows_of(15), error)]
        first = there.extract()
        assert first.states == {}
        # Its seventh page begins at six steps; what was fetched ahead lies behind it.
        assert (max(first.asked[TABLE]) > 6 * STEP) == (width > 1)
        assert there.extract().states == {}
        third = there.extract()
        assert third.went_on[TABLE] == rows_of(15)
        assert whole(town, third)


def test_what_lost_the_network_goes_on(tmp_path: Path, town: Tables) -> None:
    with house(tmp_path, town, "oneroster-1.1") as there:
        there.stops = [(rows_of(7), KeyboardInterrupt)]
        there.extract()
        port = there.served.port
    with deployment(tmp_path) as here:  # the server is gone
        gone = House(here, there.served, [there.now])
        assert set(gone.extract().states.values()) <= {"failed", "stale"}
    with house(tmp_path, town, "oneroster-1.1", port=port) as again:
        found = again.extract()
        assert found.went_on[TABLE] == rows_of(7)
        assert whole(town, found)


def _die_at_page(folder: Path, page: int) -> None:
    append, pages = lake_module.ExtractFiles.append, 0

    def counted(sink: Any, collection: str, *told: Any) -> None:
        nonlocal pages
        pages += collection == TABLE
        if pages == page:
            die()
        append(sink, collection, *told)

    lake_module.__dict__["PART_ROWS"] = 3 * PAGE
    setattr(lake_module.ExtractFiles, "append", counted)  # noqa: B010
    with deployment(folder, upgrade=False) as here:
        here.sync(TENANT, DAY)


def test_what_was_killed_goes_on_from_its_last_part(tmp_path: Path, town: Tables) -> None:
    with house(tmp_path, town, "powerschool") as there:
        process = PROCESSES.Process(target=_die_at_page, args=(tmp_path, 12), daemon=True)
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        there.now = datetime.now(UTC)
        document = there.here.sync(TENANT, DAY)
        assert document["status"] == "successful"
        assert "RS-PAGE-11" in [issue["code"] for issue in document["issues"]]
        offsets = [int(one.query["offset"]) for one in there.served.sandbox.asked if one.endpoint == TABLE]
        again = [offset for offset in offsets if offsets.count(offset) > 1]
        assert {*again} == {0, *(page * STEP for page in range(7, 12))}  # eight pages were in closed parts
        roster = there.here.roster(TENANT)
    with house(tmp_path / "other", town, "powerschool") as other:
        assert other.here.sync(TENANT, DAY)["status"] == "successful"
        assert {kind: len(rows) for kind, rows in other.here.roster(TENANT).items()} == {
            kind: len(rows) for kind, rows in roster.items()
        }
        for name in ("people", "memberships"):
            assert other.here.roster(TENANT)[name] == roster[name]


def test_a_token_that_expires_again_and_again_is_renewed(tmp_path: Path, town: Tables) -> None:
    with house(tmp_path, town, "oneroster-1.2") as there:
        there.apply(concurrency=4)
        there.served.sandbox.misbehave(Misbehaviour("token-expires", 7))
        found = there.extract()
        assert whole(town, found)
        assert found.went_on == {}
        tokens = [one.status for one in there.served.sandbox.asked if one.endpoint == "token"]
        assert len(tokens) > 5
        assert set(tokens) == {200}
        assert len(tokens) < 20


@pytest.mark.parametrize("reference", ["env:SANDBOX_SECRET", "file:"])
def test_a_secret_that_was_rotated_in_the_middle_is_read_anew_and_the_reading_goes_on(
    tmp_path: Path, town: Tables, reference: str
) -> None:
    file = tmp_path / "secret"
    file.write_text(CLIENT_SECRET)
    reference = reference if reference != "file:" else f"file:{file}"
    with house(tmp_path, town, "powerschool") as there:
        there.apply(concurrency=4, client_secret=reference)
        # Every token is refused from here on, and the secret as well.
        there.served.sandbox.misbehave(Misbehaviour("refuse-credentials", endpoint=TABLE, after=10))
        first = there.extract()
        assert first.states[TABLE] == "failed"
        assert {issue["code"] for issue in first.told["issues"]} >= {"RS-AUTH-03"}
        assert len(there.served.sandbox.asked) < 100  # an end, and no loop
        port = there.served.port
    with house(tmp_path, town, "powerschool", port=port, client_secret="another") as there:
        there.apply(concurrency=4, client_secret=reference)
        again = there.extract()
        assert set(again.states.values()) <= {"failed", "stale"}
        assert {issue["code"] for issue in again.told["issues"]} >= {"RS-AUTH-01"}
        assert len(there.served.sandbox.asked) < 10
        there.here.environ["SANDBOX_SECRET"] = "another"
        file.write_text("another")
        found = there.extract()
        # Four are asked for at once: of the ten that were answered up to three lay behind one that was not.
        assert found.went_on[TABLE] >= rows_of(7)
        assert whole(town, found)


# ------------------------------------------------------------------------------------ what has changed


def _changed(tables: Tables, how: str) -> Tables:
    """The town with one thing changed in the table that was interrupted after ten pages."""
    tables = copy.deepcopy(tables)
    rows = tables[TABLE]
    added = {**rows[0], "sourcedId": rows[PAGE * 5]["sourcedId"] + "-new"}
    early = {**rows[0], "sourcedId": rows[PAGE * 3]["sourcedId"] + "-new"}
    match how:
        case "a row came before":
            rows.append(added)
        case "a row came after":
            rows.append({**rows[0], "sourcedId": rows[PAGE * 15]["sourcedId"] + "-new"})
        case "a row of the first page changed":
            rows[3]["role"] = "aide"
        case "a row of the last good page changed":
            rows[rows_of(10) - 2]["role"] = "aide"
        case "a row went before":
            del rows[PAGE * 5]
        case "one went before and one came after":
            del rows[PAGE * 5]
            rows.append({**rows[0], "sourcedId": rows[PAGE * 15]["sourcedId"] + "-new"})
        case "one came before and one went after":
            del rows[PAGE * 15]
            rows.append(added)
        case "one went in the first page and one came in the last good one":
            del rows[2]
            rows.append({**rows[0], "sourcedId": rows[rows_of(10) - 6]["sourcedId"] + "-new"})
        case "one went and one came between the two pages":
            del rows[PAGE * 6]
            rows.append(early)
    rows.sort(key=lambda row: row["sourcedId"])
    return tables


@pytest.mark.parametrize(
    "how",
    [
        "a row came before",
        "a row came after",
        "a row of the first page changed",
        "a row of the last good page changed",
        "a row went before",
        "one went before and one came after",
        "one came before and one went after",
        "one went in the first page and one came in the last good one",
    ],
)
def test_a_source_that_changed_is_read_from_the_start(tmp_path: Path, town: Tables, how: str) -> None:
    with house(tmp_path, town, "powerschool") as there:
        there.stops = [(rows_of(10), KeyboardInterrupt)]
        there.extract()
        changed = _changed(town, how)
        there.served.sandbox.replace(copy.deepcopy(changed))
        found = there.extract()
        assert TABLE not in found.went_on
        assert whole(changed, found)
        assert found.asked[TABLE][-20:] == list(range(0, len(changed[TABLE]), STEP))[-20:]


def test_a_changed_revision_alone_starts_again(tmp_path: Path, town: Tables) -> None:
    how = "one went and one came between the two pages"
    with house(tmp_path, town, "classlink") as there:
        there.stops = [(rows_of(10), KeyboardInterrupt)]
        there.extract()
        changed = _changed(town, how)
        there.served.sandbox.replace(copy.deepcopy(changed))
        found = there.extract()
        assert found.went_on == {}
        assert whole(changed, found)


def test_what_is_not_seen_to_change_hides_no_row_that_was_there(tmp_path: Path, town: Tables) -> None:
    """One row goes and one comes between the two pages that are compared, and no revision is told.

    The rows taken over are those of the earlier hour: the one that went stays for a night, the one that
    came comes a night later. All that were there all the time are there.
    """
    with house(tmp_path, town, "powerschool") as there:
        there.stops = [(rows_of(10), KeyboardInterrupt)]
        there.extract()
        changed = _changed(town, "one went and one came between the two pages")
        there.served.sandbox.replace(copy.deepcopy(changed))
        found = there.extract()
        assert found.went_on[TABLE] == rows_of(10)
        assert found.states[TABLE] == "ok"
        before, after = ({row["sourcedId"] for row in tables[TABLE]} for tables in (town, changed))
        assert before & after <= set(found.frame()["sourcedId"]) <= before | after


def _twice(folder: Path, school: School, after: int) -> tuple[CollectionRead, list[int], list[str]]:
    """How users end that are read a second time, after the server failed; and what it was asked, and gave."""
    lake = Lake(str(folder / "lake"))
    with serving(school) as server:
        school.faults["users"] = [None] * after + [Reply(status=503)] * 5
        for sync_id, interrupted in ((1, ()), (2, (1,))):
            server.requests.clear()
            clock = Clock()
            with lake.extract(TENANT, 1, sync_id, COLLECTIONS, clock=clock, interrupted=interrupted) as sink:
                options = {"page_size": 10, "concurrency": 1}
                found = KINDS["classlink"](provider(server.url, "classlink", **options), sink, reading(clock))
            assert found[4].state == ("failed" if sync_id == 1 else "ok")
        asked = [
            one.offset
            for one in server.requests
            if one.endpoint == "users" and one.query.get("orderBy") != "desc"
        ]
    return found[4], asked, list(lake.read_extract(TENANT, 1, 2, "users")["sourcedId"])


def _numbered(*numbers: int) -> dict[str, list[Any]]:
    rows = district(1)
    rows["users"] = [{**rows["users"][0], "sourcedId": str(number)} for number in numbers]
    return rows


def test_an_order_that_only_looks_like_one_is_not_gone_on_with(tmp_path: Path) -> None:
    """Rows in the order of insertion, by a server that does not sort: they may move when they change."""
    read, asked, ids = _twice(tmp_path, School(_numbered(*range(100, 165))), after=5)
    assert ids == [str(number) for number in range(100, 165)]
    assert asked == [0, 36, *range(0, 64, 9)]
    assert read.issues == ()


@pytest.mark.parametrize("count", [65, 60])
def test_rows_without_an_order_are_not_gone_on_with(tmp_path: Path, count: int) -> None:
    numbers = random.Random(4).sample(range(1000), count)
    read, asked, ids = _twice(tmp_path, School(_numbered(*numbers)), after=5)
    assert ids == [str(number) for number in numbers]
    assert asked[:3] == [0, 40, 0]
    assert read.issues == ()


@pytest.mark.parametrize("counts", [True, False])
def test_numbers_may_be_sorted_as_numbers(tmp_path: Path, counts: bool) -> None:
    class Sorting(School):
        def __call__(self, request: Any) -> Reply:
            down = request.query.get("orderBy") == "desc"
            self.arranged = lambda endpoint, offset, rows: rows[::-1] if down else rows
            return super().__call__(request)

    read, asked, ids = _twice(tmp_path, Sorting(_numbered(*range(1, 66)), counts=counts), after=5)
    assert ids == [str(number) for number in range(1, 66)]
    assert asked == [0, 36, 45, 54, 63, *([] if counts else [64, 65])]
    assert [issue.code for issue in read.issues] == ["RS-PAGE-11"]


def test_a_server_that_tells_no_total_goes_on_by_its_order(tmp_path: Path, town: Tables) -> None:
    with house(tmp_path, town, "powerschool") as there:
        there.served.sandbox.misbehave(Misbehaviour("no-counts"))
        there.stops = [(rows_of(10), KeyboardInterrupt)]
        there.extract()
        found = there.extract()
        assert found.went_on[TABLE] == rows_of(10)
        assert whole(town, found)


# ------------------------------------------------------------------------------ what may go on, and for whom


def test_six_hours_later_everything_is_read_anew(tmp_path: Path, town: Tables) -> None:
    with house(tmp_path, town, "powerschool") as there:
        there.stops = [(rows_of(7), KeyboardInterrupt), (rows_of(12), KeyboardInterrupt)]
        there.extract()
        there.now += timedelta(hours=4)
        assert there.extract().states == {}
        there.now += timedelta(hours=3)  # what was read since is young, what was taken over then is not
        found = there.extract()
        assert found.went_on == {}
        assert whole(town, found)


@pytest.mark.parametrize("option", [{"page_size": PAGE - 1}, {"scope": "another"}, {"kind": "oneroster"}])
def test_a_provider_that_is_asked_otherwise_is_read_anew(
    tmp_path: Path, town: Tables, option: dict[str, Any]
) -> None:
    with house(tmp_path, town, "powerschool") as there:
        there.stops = [(rows_of(10), KeyboardInterrupt)]
        there.extract()
        there.apply(**option)
        sync = there.begin()
        told = sync.extract(option.get("kind", "powerschool"))["tables"]
        sync.close()
        assert Extract(there, sync.sync_id, told).went_on == {}
        assert {row["state"] for row in told["collections"]} == {"ok"}


def test_a_finished_sync_is_not_gone_on_with_and_an_unfinished_collection_is(
    tmp_path: Path, town: Tables
) -> None:
    with house(tmp_path, town, "powerschool") as there:
        there.now = datetime.now(UTC)
        assert there.here.sync(TENANT, DAY)["status"] == "successful"
        there.served.sandbox.misbehave(refusing(10))
        assert there.here.sync(TENANT, DAY)["status"] == "partial"
        there.served.sandbox.misbehave()
        document = there.here.sync(TENANT, DAY)
        assert document["status"] == "successful"
        (told,) = [issue for issue in document["issues"] if TABLE in issue["message"]]
        assert (told["code"], told["severity"], told["count"]) == ("RS-PAGE-11", "note", rows_of(10))
        found = there.extract()
        assert found.went_on == {}
        assert whole(town, found)


def test_what_failed_again_loses_nothing(tmp_path: Path, town: Tables) -> None:
    with house(tmp_path, town, "powerschool") as there:
        there.served.sandbox.misbehave(refusing(10))
        there.extract()
        there.served.sandbox.misbehave(refusing(0))
        assert there.extract().states[TABLE] == "failed"
        there.served.sandbox.misbehave(refusing(5))
        assert there.extract().states[TABLE] == "failed"
        there.served.sandbox.misbehave()
        found = there.extract()
        assert found.went_on[TABLE] == rows_of(12)  # of the five, three only proved what was there
        assert whole(town, found)


def test_a_dry_run_leaves_nothing_to_go_on_with_and_takes_nothing(tmp_path: Path, town: Tables) -> None:
    with house(tmp_path, town, "powerschool") as there:
        there.stops = [(rows_of(10), KeyboardInterrupt)]
        there.extract(dry_run=True)
        there.stops = [(rows_of(5), KeyboardInterrupt)]
        assert there.extract().went_on == {}
        there.stops = []
        assert there.extract(dry_run=True).went_on == {}
        assert there.extract().went_on[TABLE] == rows_of(5)


def test_the_same_run_goes_on_with_what_it_read_itself(tmp_path: Path, town: Tables) -> None:
    with house(tmp_path, town, "powerschool") as there:
        there.stops = [(rows_of(10), KeyboardInterrupt)]
        first = there.extract(run_id="root")
        second = there.extract(run_id="root")
        assert first.sync_id == second.sync_id
        assert second.went_on[TABLE] == rows_of(10)
        assert whole(town, second)
        assert whole(town, there.extract(run_id="root"))


def test_a_part_that_is_not_whole_is_read_anew(tmp_path: Path, town: Tables) -> None:
    with house(tmp_path, town, "powerschool") as there:
        there.stops = [(rows_of(10), KeyboardInterrupt)]
        first = there.extract()
        folder = Path(there.here.stores.lake.url) / "tenants" / TENANT / "extracts" / "1" / str(first.sync_id)
        part = sorted(folder.glob(f"{TABLE}-*.parquet"))[1]
        part.write_bytes(part.read_bytes()[:100])
        damaged = lake_module.Unfinished(folder, (part.name,), {}, there.now, finished=False)
        with pytest.raises(CodedError, match="RS-DB-03"):
            list(damaged.ids())
        found = there.extract()
        assert TABLE not in found.went_on
        assert whole(town, found)


def test_pruning_keeps_what_may_go_on_and_for_no_longer(tmp_path: Path, town: Tables) -> None:
    with house(tmp_path, town, "powerschool") as there:
        there.stops = [(rows_of(10), KeyboardInterrupt)]
        first = there.extract()
        lake = there.here.stores.lake
        lake.prune(TENANT, now=there.now + lake_module.GOES_ON_FOR)
        assert lake.is_unfinished(TENANT, 1, first.sync_id)
        lake.prune(TENANT, now=there.now + lake_module.GOES_ON_FOR + timedelta(seconds=1))
        assert not lake.is_unfinished(TENANT, 1, first.sync_id)


def test_ledger_and_steps_name_what_is_tested_here(tmp_path: Path, town: Tables) -> None:
    """What the tests above rest on: a sync that ends before publishing is `interrupted` in the ledger."""
    with house(tmp_path, town, "powerschool") as there:
        there.stops = [(rows_of(10), KeyboardInterrupt)]
        first = there.extract()
        with there.here.stores.database.connect() as connection:
            assert ledger.earlier(connection, TENANT, first.sync_id + 1) == [
                (first.sync_id, ledger.INTERRUPTED)
            ]
    assert f"extract {there.kind}" in STEPS
