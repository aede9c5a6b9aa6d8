"""Everything on PostgreSQL: the roster database, and Dagster's own with the file that `deploy` has for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import make_url

from roster_pipeline_tests.graph.terminal import DAY, PROJECT, Terminal
from roster_pipeline_tests.syncing import deployment

pytestmark = pytest.mark.postgres


def _told(document: dict[str, Any]) -> dict[str, Any]:
    """What does not depend on when and where a sync was."""
    return {name: document[name] for name in ("status", "as_of", "counts", "changes", "schools", "issues")}


def test_a_full_run_on_postgres_is_what_it_is_on_sqlite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_postgres_database: Callable[[], str]
) -> None:
    rosters, dagster = new_postgres_database(), make_url(new_postgres_database())
    (tmp_path / "dagster").mkdir()
    file = PROJECT / "deploy" / "postgres" / "dagster.yaml"
    (tmp_path / "dagster" / "dagster.yaml").write_bytes(file.read_bytes())
    settings = {
        "DAGSTER_HOME": str(tmp_path / "dagster"),
        "DAGSTER_POSTGRES_HOST": str(dagster.host),
        "DAGSTER_POSTGRES_PORT": str(dagster.port),
        "DAGSTER_POSTGRES_DB": str(dagster.database),
        "DAGSTER_POSTGRES_USER": str(dagster.username),
        "DAGSTER_POSTGRES_PASSWORD": str(dagster.password),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)  # for this process, to look at the runs
    with deployment(tmp_path / "postgres", rosters) as here, deployment(tmp_path / "sqlite") as there:
        ours, theirs = Terminal(here, tmp_path), Terminal(there, tmp_path)
        ours.apply("tiny")
        theirs.apply("tiny")
        for night in (1, 2):
            code, (document,) = ours.documents("tiny", ROSTER_DATABASE_URL=rosters, **settings)
            assert code == 0
            assert _told(document) == _told(there.sync("tiny", DAY)), night
        assert here.roster("tiny") == there.roster("tiny")
        assert len(here.roster("tiny")["people"]) == 8
    with dg.DagsterInstance.get() as instance:
        runs = instance.get_runs()
        assert [run.status for run in runs] == [dg.DagsterRunStatus.SUCCESS] * 2
        assert runs[0].tags["roster/outcome"] == "successful"
        key = dg.AssetKey("published_rosters")
        assert instance.get_materialized_partitions(key) == {"tiny"}
    assert not list((tmp_path / "dagster").rglob("*.db"))
    assert not list((tmp_path / "postgres").rglob("*.db"))
