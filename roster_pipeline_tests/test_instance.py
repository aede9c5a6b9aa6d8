"""Both `dagster.yaml` files are what Dagster takes, and say what they are there for."""

import contextlib
import os
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.instance.config import dagster_instance_config
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.event_log import SqliteEventLogStorage
from sqlalchemy import make_url

from roster_pipeline.instance import KEPT, Events
from roster_pipeline_tests.postgres_server import PostgresServer

PROJECT = Path(__file__).parents[1]
ON_SQLITE, ON_POSTGRES = PROJECT, PROJECT / "deploy" / "postgres"


@dg.op
def _note(context: dg.OpExecutionContext) -> None:
    context.log.info("a line for the event log")


@dg.job(executor_def=dg.in_process_executor)
def _noting() -> None:
    _note()


both = pytest.mark.parametrize("folder", [ON_SQLITE, ON_POSTGRES], ids=["sqlite", "postgres"])


def _name_a_postgres(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    found = make_url(url)
    monkeypatch.setenv("DAGSTER_POSTGRES_HOST", str(found.host))
    monkeypatch.setenv("DAGSTER_POSTGRES_PORT", str(found.port))
    monkeypatch.setenv("DAGSTER_POSTGRES_DB", str(found.database))
    monkeypatch.setenv("DAGSTER_POSTGRES_USER", str(found.username))
    monkeypatch.setenv("DAGSTER_POSTGRES_PASSWORD", str(found.password))


@both
def test_dagster_takes_the_file(folder: Path) -> None:
    config, _ = dagster_instance_config(str(folder))
    assert config["telemetry"] == {"enabled": False}
    assert config["nux"] == {"enabled": False}
    assert config["run_monitoring"]["enabled"] is True
    assert config["run_retries"]["retry_on_asset_or_op_failure"] is False


@both
def test_one_tenant_has_one_run_at_a_time_whoever_starts_it(folder: Path) -> None:
    """Our schedules tag the tenant; a run from the UI has only its partition."""
    config, _ = dagster_instance_config(str(folder))
    limits = {entry["key"]: entry for entry in config["concurrency"]["runs"]["tag_concurrency_limits"]}
    for key in ("roster/tenant", "dagster/partition"):
        assert limits[key] == {"key": key, "value": {"applyLimitPerUniqueValue": True}, "limit": 1}


def test_the_two_files_differ_only_in_what_the_machines_need() -> None:
    """What keeps schools safe must not depend on where Dagster keeps its runs."""
    on_sqlite, _ = dagster_instance_config(str(ON_SQLITE))
    on_postgres, _ = dagster_instance_config(str(ON_POSTGRES))
    same = set(on_sqlite) - {"storage", "concurrency"}
    assert {key: on_sqlite[key] for key in same} == {key: on_postgres[key] for key in same}
    assert set(on_postgres) - set(on_sqlite) <= {"run_coordinator", "compute_logs"}


def test_runs_are_kept_in_dagster_s_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_bytes((ON_SQLITE / "dagster.yaml").read_bytes())
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("tenants", ["riverbend"])
    assert list(tmp_path.glob("**/*.db"))
    with dg.DagsterInstance.get() as instance:
        assert instance.get_dynamic_partitions("tenants") == ["riverbend"]


def _opened(folder: Path, *, dagster_s_own: bool = False) -> dg.DagsterInstance:
    own = {"storage": {"sqlite": {"base_dir": {"env": "DAGSTER_HOME"}}}} if dagster_s_own else None
    return dg.DagsterInstance.from_ref(
        InstanceRef.from_dir(str(folder), config_dir=str(ON_SQLITE), overrides=own)
    )


def _said(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    return [record.message for record in instance.all_logs(run_id)]


def test_dagster_s_own_storage_and_ours_read_what_the_other_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while both have it open: a command beside a UI that was started with an older file."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with _opened(tmp_path) as ours, _opened(tmp_path, dagster_s_own=True) as theirs:
        assert type(ours.event_log_storage) is Events
        assert type(theirs.event_log_storage) is SqliteEventLogStorage
        for writes, reads in ((ours, theirs), (theirs, ours)):
            run = _noting.execute_in_process(instance=writes, tags={"roster/tenant": "riverbend"})
            assert _said(reads, run.run_id) == _said(writes, run.run_id) != []
            assert [found.run_id for found in reads.get_runs(limit=1)] == [run.run_id]
        assert len(theirs.get_runs()) == len(ours.get_runs()) == 2


def test_a_process_keeps_few_databases_open_however_many_runs_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with _opened(tmp_path) as instance:
        runs = [instance.create_run_for_job(_noting) for _ in range(KEPT + 2)]
        for run in runs:
            instance.report_engine_event(f"a line of {run.run_id}", run)
        for run in runs:
            assert any(f"a line of {run.run_id}" in line for line in _said(instance, run.run_id))
        of_runs = str(tmp_path / "history" / "runs")
        held = {path for path in _open_files() if path.startswith(f"{of_runs}/") and path.endswith(".db")}
        assert len(held) == KEPT
        assert f"{of_runs}/{runs[-1].run_id}.db" in held
    assert not [path for path in _open_files() if path.startswith(str(tmp_path))]


def _open_files() -> list[str]:
    found = []
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208 - one of them is the listing's own, and gone
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{number}"))  # noqa: PTH115
    return found


def test_deleting_everything_leaves_an_instance_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with _opened(tmp_path) as instance:
        _noting.execute_in_process(instance=instance)
        instance.wipe()
        assert instance.get_runs() == []
        again = _noting.execute_in_process(instance=instance)
        assert any("a line for the event log" in line for line in _said(instance, again.run_id))


def test_the_package_carries_the_file() -> None:
    """A command makes its instance from it, also where there is no checkout."""
    assert (PROJECT / "roster_pipeline" / "dagster.yaml").read_bytes() == (
        ON_SQLITE / "dagster.yaml"
    ).read_bytes()


@pytest.mark.postgres
def test_a_run_is_kept_in_postgres(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_url: str, postgres_server: PostgresServer
) -> None:
    """Under psycopg 3 everything up to the first run would work, and the run would not."""
    _name_a_postgres(monkeypatch, postgres_url)
    with dg.DagsterInstance.from_ref(
        InstanceRef.from_dir(str(tmp_path), config_dir=str(ON_POSTGRES))
    ) as instance:
        instance.add_dynamic_partitions("tenants", ["riverbend"])
        run = _noting.execute_in_process(instance=instance, tags={"roster/tenant": "riverbend"})
        assert run.success
        assert instance.get_run_by_id(run.run_id) is not None
        assert instance.get_dynamic_partitions("tenants") == ["riverbend"]
        said = [record.message for record in instance.all_logs(run.run_id)]
        assert any("a line for the event log" in line for line in said)
    assert list(tmp_path.glob("**/*.db")) == []
