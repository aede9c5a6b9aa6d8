"""What the tests of the graph share: a deployment with its registry, a school, runs in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import dagster as dg
import pytest

from roster_pipeline.definitions import build_defs
from roster_pipeline.resources import Document, rosters_resource
from roster_pipeline.store import ledger
from roster_pipeline_tests.graph.school import School
from roster_pipeline_tests.syncing import SECRETS, Deployment, Roster, csv_provider, deployment

AS_OF = "2025-10-15"
PUBLISHED = dg.AssetKey("published_rosters")


@dataclass
class Site:
    """A deployment whose environment is this process's, as it is in a run of Dagster's."""

    here: Deployment
    school: School
    instance: dg.DagsterInstance

    now: ClassVar = datetime(2025, 10, 15, 12, tzinfo=UTC)

    @property
    def providers(self) -> list[dict[str, Any]]:
        """The school's folder, as the provider `files`."""
        return [csv_provider(self.school.folder, name="files")]

    def apply(self, tenant: str = "tiny", **settings: Any) -> None:
        """Registers the tenant, with the school as its provider unless `settings` say otherwise."""
        self.here.apply(tenant, *settings.pop("providers", self.providers), **settings)
        self.instance.add_dynamic_partitions("tenants", [tenant])

    def run(
        self,
        tenant: str = "tiny",
        *,
        assets: list[str] | None = None,
        hears: Callable[[Document], None] = lambda _: None,
        **tags: str,
    ) -> dg.ExecuteInProcessResult:
        """A run as the UI starts it: of a partition, with no tag of ours but those given."""
        job = build_defs(resources={"rosters": rosters_resource(hears=hears)}).resolve_job_def("sync_tenant")
        given = {f"roster/{name}": value for name, value in tags.items()}
        return job.execute_in_process(
            instance=self.instance,
            partition_key=tenant,
            asset_selection=[dg.AssetKey(name.split("/")) for name in assets] if assets else None,
            tags={"roster/as_of": AS_OF} | given,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )

    def tags(self, run: dg.ExecuteInProcessResult) -> dict[str, str]:
        """The run's tags of ours as they are stored by now, without the prefix."""
        found = self.instance.get_run_by_id(run.run_id)
        assert found is not None
        return {
            name.removeprefix("roster/"): value
            for name, value in found.tags.items()
            if name.startswith("roster/")
        }

    def documents(self, tenant: str = "tiny") -> list[Document]:
        """The ledger, the newest first."""
        with self.here.stores.database.connect() as connection:
            return ledger.past(connection, tenant)

    def roster(self, tenant: str = "tiny") -> Roster:
        """What is published, by source ids."""
        return self.here.roster(tenant)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """A deployment at the test's home; the sandbox's credentials are in this process's environment."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    with deployment(Path(os.environ["ROSTER_HOME"])) as found:
        yield found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """With an instance in memory: whatever runs in this process."""
    with deployment(Path(os.environ["ROSTER_HOME"])) as here, dg.DagsterInstance.ephemeral() as instance:
        yield Site(here, School(tmp_path / "school").write(), instance)


@pytest.fixture
def stored_site(tmp_path: Path) -> Iterator[Site]:
    """With an instance on disk: what Dagster opens by itself, ticks and other processes."""
    folder = tmp_path / "home" / "dagster"
    folder.mkdir(parents=True)
    with deployment(tmp_path / "home") as here, dg.DagsterInstance.local_temp(str(folder)) as instance:
        yield Site(here, School(tmp_path / "school").write(), instance)


def metadata_of(events: list[Any]) -> dict[str, Any]:
    """The plain values of an event's metadata; a table as its records."""
    told = {}
    for name, value in events[0].metadata.items():
        table = isinstance(value, dg.TableMetadataValue)
        told[name] = [record.data for record in value.records] if table else value.value
    return told


def materialised(run: dg.ExecuteInProcessResult) -> list[str]:
    """The assets that a run made, in order."""
    return [
        event.asset_key.to_user_string()
        for event in run.get_asset_materialization_events()
        if event.asset_key
    ]


def why(run: dg.ExecuteInProcessResult) -> list[str]:
    """What Dagster stored of the run's failures: the messages of their errors."""
    errors = [event.step_failure_data.error for event in run.get_step_failure_events()]
    return [error.message.strip() for error in errors if error is not None]
