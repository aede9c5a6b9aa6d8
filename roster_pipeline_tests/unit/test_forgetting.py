"""Erasing a person: everywhere, for good, also when it is interrupted; and what the command says.

That nothing of anybody at random stays, and nothing of others goes, is in `roster_pipeline_tests.forgetting`,
of which a sample runs here.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select, text

from roster_pipeline.cli import main
from roster_pipeline.codes import CodedError
from roster_pipeline.store import database, erasing, receipts
from roster_pipeline.store.lake import Lake
from roster_pipeline.store.lease import Lease
from roster_pipeline_tests.forgetting import TENANT, World, dropped, now, prove, spoken_of, world
from roster_pipeline_tests.syncing import STEPS, codes

ANN = {
    "givenName": "Zyxomantha", "familyName": "Quillfeather", "email": "zq.canary@birdcage.example",
    "username": "zquillcanary", "identifier": "LN-4471-9902", "phone": "+1-555-0142-8807",
}  # fmt: skip


SEED = 3


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tenant that was synced once, one of whose students is `ANN`, known to both providers."""
    folder = tmp_path_factory.mktemp("synced")
    with world(folder, SEED, students=6) as here:
        _with_ann(here)
        here.write()
        assert here.night()["status"] == "successful"
    return folder


@pytest.fixture
def oak(synced: Path, tmp_path: Path) -> Iterator[World]:
    """A copy of it."""
    shutil.copytree(synced, tmp_path, dirs_exist_ok=True)
    with world(tmp_path, SEED, students=6) as here:
        _with_ann(here)
        here.write()
        yield here


def _with_ann(here: World) -> None:
    here.tables["sis"]["users"][:] = [row | ANN if is_ann(here, row) else row for row in users(here)]


def users(here: World) -> list[dict[str, Any]]:
    return here.tables["sis"]["users"]


def is_ann(here: World, row: dict[str, Any]) -> bool:
    return row is next(one for one in users(here) if one["roles"][0][0] == "student")


def run(here: World, *words: str) -> Result:
    """The command, in the world's home."""
    environ = {"ROSTER_HOME": str(here.place.home.folder)}
    return CliRunner().invoke(main, list(words), env=environ, catch_exceptions=False)


def test_somebody_at_random_is_erased_on_sqlite(tmp_path: Path) -> None:
    prove(tmp_path, seed=2)


def test_somebody_at_random_is_erased_on_postgres(tmp_path: Path, postgres_url: str) -> None:
    prove(tmp_path, seed=4, database_url=postgres_url)


def test_the_command_tells_first_and_erases_when_it_is_told_to(oak: World) -> None:
    asked = run(oak, "forget", TENANT, "--person", ANN["email"])
    assert asked.exit_code == 2
    assert "RS-CFG-10" in asked.stderr
    assert "database  memberships  " in asked.stdout
    assert "lake  extracts  " in asked.stdout
    assert spoken_of(oak.place, {ANN["email"]})
    lake = Path(oak.place.stores.lake.url)
    files = {path: path.read_bytes() for path in lake.rglob("users-*.parquet")}

    done = run(oak, "forget", TENANT, "--person", ANN["email"], "--yes", "--by", "dpo", "--why", "art. 17")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "receipt 1" in done.stdout
    assert not any(value in asked.output + done.output for value in ANN.values())
    assert spoken_of(oak.place, {*ANN.values()}) == []
    # What is kept is not what was read then, and must not be taken for it when the source brings it again.
    has_digest = {path: "digest" in json.loads((path.parent / "users.json").read_text()) for path in files}
    assert has_digest == {path: path.read_bytes() == before for path, before in files.items()}
    assert not all(has_digest.values())

    listed = run(oak, "forget", TENANT, "--list")
    assert listed.stdout.splitlines()[1].split()[0] == "1"
    assert "dpo" in listed.stdout
    assert "stands" in listed.stdout
    (line,) = run(oak, "forget", TENANT, "--list", "--json").stdout.splitlines()
    (receipt,) = json.loads(line)["receipts"]
    assert receipt["erased"]["finished"]
    assert receipt["erased"]["database"]["people"] == 1
    assert (receipt["who"], receipt["why"]) == ("dpo", "art. 17")

    again = run(oak, "forget", TENANT, "--person", ANN["email"], "--yes")
    assert again.exit_code == 2
    assert "RS-IDN-10" in again.stderr

    assert dropped(oak.night()) > 0
    lifted = run(oak, "forget", TENANT, "--lift", "1")
    assert lifted.exit_code == 0
    assert dropped(oak.night()) == 0
    assert spoken_of(oak.place, {ANN["email"]})
    for number in ("1", "9"):
        refused = run(oak, "forget", TENANT, "--lift", number)
        assert refused.exit_code == 2
        assert "RS-RUN-13" in refused.stderr


def test_of_several_people_nobody_is_erased(oak: World) -> None:
    for row in users(oak)[-2:]:
        row["identifier"] = "shared-number"
    oak.write()
    oak.night()
    refused = run(oak, "forget", TENANT, "--person", "shared-number", "--yes")
    assert refused.exit_code == 2
    assert "RS-RUN-13: 2 people of oak fit" in refused.stderr
    assert len(refused.stdout.splitlines()) == 2
    assert all(f"sis/{row['sourcedId']}" in refused.stdout for row in users(oak)[-2:])


def test_no_sync_runs_meanwhile(oak: World) -> None:
    lease = Lease(oak.place.stores.database, TENANT, owner="a run", clock=now)
    lease.take()
    try:
        refused = run(oak, "forget", TENANT, "--person", ANN["email"], "--yes")
        assert refused.exit_code == 2
        assert "RS-RUN-06" in refused.stderr
    finally:
        lease.release()


def test_an_unknown_tenant_has_a_code(oak: World) -> None:
    refused = run(oak, "forget", "elm", "--person", "x")
    assert refused.exit_code == 2
    assert "RS-CFG-08" in refused.stderr
    assert run(oak, "forget", TENANT).exit_code == 2


def test_what_was_interrupted_is_completed_without_naming_anybody(
    oak: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is clean and they stay away from the first moment on; the files follow."""

    class KilledError(BaseException):
        pass

    def killed(*_: Any) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(erasing, "_replace", killed)
        with pytest.raises(KilledError):
            oak.forget(ANN["email"])
    where = {place for place, _ in spoken_of(oak.place, {ANN["email"]})}
    assert not any(place.startswith("table ") for place in where)
    assert any("lake" in place for place in where)
    assert "not finished" in run(oak, "forget", TENANT, "--list").stdout
    refused = run(oak, "forget", TENANT, "--lift", "1")
    assert "RS-RUN-13" in refused.stderr
    assert dropped(oak.night()) > 0

    done = run(oak, "forget", TENANT, "--person", ANN["email"], "--yes")
    assert done.exit_code == 0
    assert "Receipt 1 of oak was completed." in done.stdout
    assert spoken_of(oak.place, {*ANN.values()}) == []


def test_what_was_merged_before_is_not_published_after(oak: World) -> None:
    """A run that is gone on with has tables from before; nobody is put back from them."""
    users(oak)[-1]["phone"] = "555-0000"
    oak.write()
    sync = oak.place.begin(TENANT, now().date(), run_id="a run")
    for name, step in STEPS.items():
        if name != "publish":
            step(sync)
    sync.close()
    oak.forget(ANN["email"])
    sync = oak.place.begin(TENANT, now().date(), run_id="a run")
    with pytest.raises(CodedError) as refused:
        sync.publish()
    sync.close()
    assert refused.value.code == "RS-RUN-07"
    assert spoken_of(oak.place, {*ANN.values()}) == []


def test_the_history_of_a_human_goes_with_them(oak: World) -> None:
    """Rows as they were before syncs: by our id, by their sources, and by what the row said."""
    engine, table = oak.place.stores.database, database.history
    with engine.begin() as connection:
        person, provider_id, source_id = connection.execute(
            select(
                database.person_sources.c.person_id,
                database.person_sources.c.provider_id,
                database.person_sources.c.source_id,
            )
            .join(database.people, database.people.c.person_id == database.person_sources.c.person_id)
            .where(database.people.c.email == ANN["email"])
        ).first()  # type: ignore[misc]
        entries = [
            ("people", [person], {"email": ANN["email"]}),
            ("people", ["somebody"], {"merged_into": person}),
            ("person_sources", [provider_id, source_id], None),
            ("memberships", ["c", person, "student"], {}),
            ("guardian_links", [person, "somebody"], {}),
            ("guardian_links", ["another", "somebody"], {}),
            ("classes", [source_id], {"title": "Maths"}),
        ]
        connection.execute(
            table.insert(),
            [
                {"tenant": TENANT, "sync_id": 1, "kind": kind, "row_key": json.dumps(key),
                 "before": json.dumps(before) if before is not None else None}
                for kind, key, before in entries
            ],
        )  # fmt: skip
    meant, _ = oak.forget(ANN["email"])
    assert meant.rows["history"] == 5
    with engine.connect() as connection:
        assert set(connection.scalars(select(table.c.kind))) == {"guardian_links", "classes"}


def test_every_table_of_the_lake_is_known_to_hold_people_or_not(oak: World) -> None:
    """A table that comes later must say how somebody is taken out of it."""
    root = oak.place.home.folder / "lake" / "tenants" / TENANT
    tables = {path.name.removesuffix(".parquet") for path in root.glob("syncs/*/*/*.parquet")}
    known = erasing.NOBODYS | set(erasing._TABLES)
    assert tables
    assert tables <= known
    of_nobody = {path for path in root.glob("syncs/*/*/*.parquet") if path.stem in erasing.NOBODYS}
    people = {"person_id", "user_ref", "student_id", "guardian_id", "agents", "email", "given_name"}
    assert not any(set(pq.read_schema(path).names) & people for path in of_nobody)


def test_a_file_that_was_never_finished_goes(oak: World) -> None:
    """Nobody reads it, and nobody can say what is in it."""
    root = oak.place.home.folder / "lake" / "tenants" / TENANT / "extracts" / "1"
    for name in ("users.parquet", "users-00003.parquet", "users/2.parquet", "users.unfinished.json"):
        path = root / "77" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"bookmark": {"last": "zq.canary@birdcage.example"}, "parts": []}', "utf-8")
    aside = root / "77" / ".users.parquet.4711"
    aside.write_text(ANN["email"], "utf-8")
    oak.forget(ANN["email"])
    assert spoken_of(oak.place, {ANN["email"]}) == []
    assert sorted(path.name for path in (root / "77").rglob("*")) == ["users", "users.unfinished.json"]


def test_a_remote_lake_is_cleaned_too(oak: World) -> None:
    """By the same steps, through universal_pathlib: objects are replaced, not renamed."""
    local = oak.place.home.folder / "lake"
    remote = Lake("memory://forgetting")
    for path in local.rglob("*"):
        if path.is_file():
            target = remote.root / path.relative_to(local).as_posix()
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    oak.forget(ANN["email"])
    found = receipts.forgotten_of(oak.place.stores.database, TENANT)
    assert found is not None
    told = erasing.erase_files(remote, TENANT, found)
    assert told["extracts"] > 1
    assert told["tables"] > 1
    for path in local.rglob("*.parquet"):
        other = remote.root / path.relative_to(local).as_posix()
        with other.open("rb") as file:
            assert pq.read_table(file).equals(pq.read_table(path)), path
    assert not erasing.erase_files(remote, TENANT, found)


def test_somebody_of_a_tenant_that_is_no_more_can_be_erased(oak: World) -> None:
    assert run(oak, "tenants", "remove", TENANT, "--yes").exit_code == 0
    done = run(oak, "forget", TENANT, "--person", ANN["email"], "--yes")
    assert (done.exit_code, done.stderr) == (0, "")
    assert spoken_of(oak.place, {*ANN.values()}) == []


def test_whom_the_source_brings_under_a_new_id_stays_away(oak: World) -> None:
    oak.forget(ANN["email"])
    before = oak.night()
    ann = next(row for row in users(oak) if row["email"] == ANN["email"])
    old, ann["sourcedId"] = ann["sourcedId"], "brand-new-id"
    for enrolment in oak.tables["sis"]["enrollments"]:
        if enrolment["user"] == old:
            enrolment["user"] = "brand-new-id"
    oak.write()
    told = oak.night()
    assert dropped(told) == dropped(before)
    assert dropped(told, "enrollments") == dropped(before, "enrollments")
    assert codes(told) == codes(before)
    assert spoken_of(oak.place, {*ANN.values(), "brand-new-id"}) == []
    ann["givenName"] = "Corrected"  # the id is known by now
    oak.write()
    assert dropped(oak.night()) == dropped(before)


def test_receipts_and_digests_say_nothing_of_whom_they_are_about(oak: World) -> None:
    oak.forget(ANN["email"])
    with oak.place.stores.database.connect() as connection:
        told = "".join(
            str(connection.execute(text(f"SELECT * FROM {name}")).all()) for name in ("receipts", "forgotten")
        )
        assert connection.execute(select(database.forgotten)).all()
    assert not any(value in told for value in ANN.values())
