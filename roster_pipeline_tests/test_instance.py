"""Both `dagster.yaml` files are what Dagster takes, and say what they are there for."""

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.instance.config import dagster_instance_config
from dagster._core.instance.ref import InstanceRef
from sqlalchemy import make_url

from roster_pipeline_tests.postgres_server import PostgresServer

PROJECT = Path(__file__).parents[1]
ON_SQLITE, ON_POSTGRES = PROJECT, PROJECT / "deploy" / "postgres"

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
    assert set(on_postgres) - set(on_sqlite) <= {"run_coordinator"}


def test_runs_are_kept_in_dagster_s_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_bytes((ON_SQLITE / "dagster.yaml").read_bytes())
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("tenants", ["riverbend"])
    assert list(tmp_path.glob("**/*.db"))
    with dg.DagsterInstance.get() as instance:
        assert instance.get_dynamic_partitions("tenants") == ["riverbend"]


def test_the_package_carries_the_file() -> None:
    """A command makes its instance from it, also where there is no checkout."""
    assert (PROJECT / "roster_pipeline" / "dagster.yaml").read_bytes() == (
        ON_SQLITE / "dagster.yaml"
    ).read_bytes()


@dg.op
def _note(context: dg.OpExecutionContext) -> None:
    context.log.info("a line for the event log")


@dg.job(executor_def=dg.in_process_executor)
def _noting() -> None:
    _note()


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
