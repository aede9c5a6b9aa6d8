"""`dagster dev` as a process of its own, spoken to as the UI does it: GraphQL over loopback."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

from roster_pipeline import checks
from roster_pipeline_tests.postgres_server import free_port
from roster_pipeline_tests.syncing import environment

T = TypeVar("T")

PROJECT = Path(__file__).parents[2]
LOCATION = {"repositoryName": "__repository__", "repositoryLocationName": "roster_pipeline"}
PATIENCE = 180
"""Seconds; a laptop needs a tenth of it."""

IMPATIENT = """
run_coordinator:
  module: dagster._core.run_coordinator
  class: QueuedRunCoordinator
  config: {dequeue_interval_seconds: 1}
"""

LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on InvalidSubsetError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}"""
AGAIN = """
mutation ($params: ReexecutionParams!) {
  launchRunReexecution(reexecutionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId rootRunId } }
    ... on PythonError { message }
  }
}"""
RUN = """
query ($id: ID!) {
  runOrError(runId: $id) {
    ... on Run { status tags { key value } rootRunId assetMaterializations { assetKey { path } } }
  }
}"""
LAST = """
query ($path: [String!]!, $partition: String!) {
  assetNodeOrError(assetKey: {path: $path}) {
    ... on AssetNode {
      assetMaterializations(partitions: [$partition], limit: 1) {
        metadataEntries { label ... on IntMetadataEntry { intValue } ... on TextMetadataEntry { text } }
      }
    }
  }
}"""
PARTITIONS = """
query ($path: [String!]!) {
  assetNodeOrError(assetKey: {path: $path}) { ... on AssetNode { partitionKeys } }
}"""


@dataclass(frozen=True, slots=True)
class Run:
    """How a run ended: its status, our tags without their prefix, and what it made."""

    run_id: str
    root: str
    status: str
    tags: dict[str, str]
    made: list[str]


@dataclass(frozen=True, slots=True)
class Ui:
    """The UI's interface."""

    client: httpx.Client

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The answer's data."""
        answer = self.client.post("/graphql", json={"query": query, "variables": variables}).json()
        assert "errors" not in answer, answer
        data: dict[str, Any] = answer["data"]
        return data

    def materialise(self, tenant: str, *assets: str, **tags: str) -> str:
        """What the button does, with the assets chosen and one partition: the id of the run."""
        given = {"dagster/partition": tenant} | {f"roster/{name}": value for name, value in tags.items()}
        params = {
            "selector": {
                **LOCATION,
                "jobName": "__ASSET_JOB",
                "assetSelection": [{"path": name.split("/")} for name in assets],
                "assetCheckSelection": [
                    {"assetKey": {"path": name.split("/")}, "name": check.name}
                    for name in assets
                    for check in (checks.CHECKS if name == "published_rosters" else ())
                ],
            },
            "mode": "default",
            "runConfigData": "{}",
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in given.items()]},
        }
        told = self.ask(LAUNCH, params=params)["launchRun"]
        assert told["__typename"] == "LaunchRunSuccess", told
        return str(told["run"]["runId"])

    def again(self, run_id: str, strategy: str = "FROM_FAILURE") -> str:
        """What "re-execute" does: the id of the new run."""
        params = {"parentRunId": run_id, "strategy": strategy, "useParentRunTags": True}
        told = self.ask(AGAIN, params=params)["launchRunReexecution"]
        assert told["__typename"] == "LaunchRunSuccess", told
        return str(told["run"]["runId"])

    def run(self, run_id: str) -> Run:
        """The run as it stands."""
        found = self.ask(RUN, id=run_id)["runOrError"]
        return Run(
            run_id,
            found["rootRunId"],
            found["status"],
            {
                tag["key"].removeprefix("roster/"): tag["value"]
                for tag in found["tags"]
                if tag["key"].startswith("roster/")
            },
            ["/".join(event["assetKey"]["path"]) for event in found["assetMaterializations"]],
        )

    def ended(self, run_id: str) -> Run:
        """The run once it is over."""
        return until(
            lambda: run if (run := self.run(run_id)).status in ("SUCCESS", "FAILURE", "CANCELED") else None
        )

    def metadata(self, asset: str, tenant: str) -> dict[str, Any]:
        """The numbers and texts of the newest materialisation, as the page of the partition shows them."""
        (event,) = self.ask(LAST, path=asset.split("/"), partition=tenant)["assetNodeOrError"][
            "assetMaterializations"
        ]
        return {
            entry["label"]: entry.get("intValue", entry.get("text")) for entry in event["metadataEntries"]
        }

    def partitions(self, asset: str) -> list[str]:
        """The tenants that can be materialised."""
        return list(
            self.ask(PARTITIONS, path=asset.split("/"))["assetNodeOrError"].get("partitionKeys") or []
        )


def until(look: Callable[[], T | None]) -> T:
    """What `look` gives, once it is something."""
    deadline = time.monotonic() + PATIENCE
    while (found := look()) is None:
        assert time.monotonic() < deadline, "nothing came of it in time"
        threading.Event().wait(0.3)
    return found


@contextmanager
def dagster_dev(home: Path, **settings: str) -> Iterator[Ui]:
    """What `make ui` starts, on a free port; ends it, and everything that it has started."""
    folder = home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    ours = (PROJECT / "dagster.yaml").read_text(encoding="utf-8")
    (folder / "dagster.yaml").write_text(ours + IMPATIENT, encoding="utf-8")
    port = free_port()
    given = environment(ROSTER_HOME=str(home), DAGSTER_HOME=str(folder), PYTHONPATH=str(PROJECT), **settings)
    command = [sys.executable, "-m", "dagster", "dev", "--workspace", str(PROJECT / "workspace.yaml")]
    with (home / "dagster.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=home, env=given, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        # A new connection each time: the server closes an idle one, perhaps as the next request leaves.
        fresh = httpx.Limits(max_keepalive_connections=0)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, limits=fresh) as client:
            ui = Ui(client)

            def answers() -> bool | None:
                assert process.poll() is None, (home / "dagster.log").read_text(encoding="utf-8")[-4000:]
                try:
                    return bool(ui.partitions("published_rosters")) or None
                except httpx.TransportError:
                    return None

            until(answers)
            yield ui
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
