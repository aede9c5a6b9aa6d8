"""Both `dagster.yaml` files are what Dagster takes, and say what they are there for."""

import contextlib
import os
import queue
from pathlib import Path

import dagster as dg
import psycopg
import pytest
import yaml
from dagster._core.instance.config import dagster_instance_config
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster_postgres.event_log import PostgresEventLogStorage
from sqlalchemy import make_url

from roster_pipeline.instance.postgres import Events as KeptEvents
from roster_pipeline.instance.sqlite import KEPT, Events
from roster_pipeline_tests.graph.ui import until
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


def test_the_values_for_kubernetes_are_those_of_the_file() -> None:
    """Its chart writes a dagster.yaml of its own."""
    values = yaml.safe_load((PROJECT / "deploy" / "kubernetes" / "values.yaml").read_text(encoding="utf-8"))
    ours, _ = dagster_instance_config(str(ON_POSTGRES))
    daemon = values["dagsterDaemon"]
    queue = daemon["runCoordinator"]["config"]["queuedRunCoordinator"]
    assert queue["tagConcurrencyLimits"] == ours["concurrency"]["runs"]["tag_concurrency_limits"]
    assert daemon["runMonitoring"]["maxRuntimeSeconds"] == ours["run_monitoring"]["max_runtime_seconds"]
    assert daemon["runRetries"]["maxRetries"] == ours["run_retries"]["max_retries"]
    assert daemon["runRetries"]["retryOnAssetOrOpFailure"] is False
    for kind in ("schedule", "sensor"):
        assert values["retention"][kind]["purgeAfterDays"] == ours["retention"][kind]["purge_after_days"]
    assert values["telemetry"] == {"enabled": False}
    assert values["postgresql"]["postgresqlScheme"] == "postgresql+psycopg2"


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


@pytest.mark.parametrize("dagster_s_own", [False, True], ids=["ours", "theirs"])
def test_whoever_watches_a_run_hears_of_each_event_as_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dagster_s_own: bool
) -> None:
    """A run's page in the UI: it would stay as it was when it was opened, until somebody loads it anew."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with _opened(tmp_path, dagster_s_own=dagster_s_own) as writes, _opened(tmp_path) as reads:
        run = writes.create_run_for_job(_noting)
        assert _said(reads, run.run_id) == []
        heard: queue.Queue[str] = queue.Queue()
        reads.watch_event_logs(run.run_id, None, lambda entry, _: heard.put(entry.message))
        for line in ("the first line", "the second line"):
            writes.report_engine_event(line, run)
            assert line in heard.get(timeout=20)


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


@pytest.fixture
def on_postgres(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with the production file, on an empty database."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    _name_a_postgres(monkeypatch, postgres_url)
    (tmp_path / "dagster.yaml").write_bytes((ON_POSTGRES / "dagster.yaml").read_bytes())
    return tmp_path


def _connections(url: str) -> list[int]:
    """The processes of the server that work for Dagster's instance, by its name."""
    with psycopg.connect(make_url(url).set(drivername="postgresql").render_as_string(False)) as connection:
        named = "SELECT pid FROM pg_stat_activity WHERE application_name = 'roster_pipeline_dagster'"
        return [pid for (pid,) in connection.execute(named)]


def test_on_postgres_dagster_s_own_storage_and_ours_read_what_the_other_wrote(
    on_postgres: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = yaml.safe_load((ON_POSTGRES / "dagster.yaml").read_text(encoding="utf-8"))["storage"]["custom"][
        "config"
    ]
    with (
        dg.DagsterInstance.get() as ours,
        dg.DagsterInstance.from_ref(
            InstanceRef.from_dir(str(on_postgres), overrides={"storage": {"postgres": own}})
        ) as theirs,
    ):
        assert type(ours.event_log_storage) is KeptEvents
        assert type(theirs.event_log_storage) is PostgresEventLogStorage
        for writes, reads in ((ours, theirs), (theirs, ours)):
            run = _noting.execute_in_process(instance=writes, tags={"roster/tenant": "riverbend"})
            assert _said(reads, run.run_id) == _said(writes, run.run_id) != []


def test_on_postgres_an_instance_keeps_one_connection_and_gives_it_back(
    on_postgres: Path, postgres_url: str
) -> None:
    with dg.DagsterInstance.get() as instance:
        _noting.execute_in_process(instance=instance)
        (before,) = _connections(postgres_url)
        _noting.execute_in_process(instance=instance)
        assert _connections(postgres_url) == [before]
    until(lambda: not _connections(postgres_url) or None)  # the server takes a moment to notice


def test_on_postgres_a_connection_that_the_server_closed_fails_nothing(
    on_postgres: Path, postgres_url: str
) -> None:
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("tenants", ["riverbend"])
        for pid in _connections(postgres_url):
            with psycopg.connect(
                make_url(postgres_url).set(drivername="postgresql").render_as_string(False)
            ) as connection:
                connection.execute("SELECT pg_terminate_backend(%s)", [pid])
        assert instance.get_dynamic_partitions("tenants") == ["riverbend"]


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
