"""docs/operating.md on an empty machine: `python -m roster_pipeline_tests.deployed`.

Types what the page shows (its blocks `sh`, in their order), and looks after each step whether it did what the
page says. The page's ports are replaced by free ones, and nothing else. Needs root, Debian, and about four
minutes. Where no machine can be made it says so and ends with 0, with CI=true with 1.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from roster_pipeline_tests.deployed.machine import Done, Machine, NotHereError, booted
from roster_pipeline_tests.graph.ui import Ui, until

PROJECT: Final = Path(__file__).parents[2]
PAGE: Final = PROJECT / "docs" / "operating.md"
CLONE: Final = "/root/roster_pipeline"
SERVICES: Final = "roster-code roster-daemon roster-webserver"
READER: Final = (
    "PGPASSWORD=change-me psql --no-psqlrc --host localhost --username filter_app --dbname rosters"
)

ROSTER_S: Final = "find /proc -maxdepth 1 -name '[0-9]*' -user roster -printf '%f '"
"""The processes of the services' user; a small machine has no pgrep."""

DATABASES: Final = """
SELECT datname, pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype,
  (SELECT array_agg(one::text ORDER BY one::text) FROM unnest(datacl) AS one)
FROM pg_database WHERE datname IN ('rosters', 'dagster') ORDER BY 1"""
"""Who owns them may make tables in them: without that the next upgrade fails."""

RUNS: Final = """
query { runsOrError(limit: 20) { ... on Runs { results {
  runId status tags { key value } eventConnection(limit: 1000) { events { __typename } }
} } } }"""
HEALTH: Final = (
    "query { instance { daemonHealth { allDaemonStatuses { required healthy lastHeartbeatTime } } } }"
)
SCHEDULES: Final = """
query { schedulesOrError(repositorySelector: {
  repositoryName: "__repository__", repositoryLocationName: "roster_pipeline"
}) { ... on Schedules { results { name scheduleState { status } } } } }"""


class FailedError(Exception):
    """A step did not do what the page says."""


@dataclass
class Walk:
    """The page, the machine on which it is typed, and what is left of it."""

    machine: Machine
    ui: Ui
    left: list[tuple[str, str]]
    ports: dict[str, str] = field(default_factory=dict)

    def type_next(self, heading: str) -> str:
        """Types the page's next block, which stands under `heading`; its output."""
        found, block = self.left.pop(0)
        if found != heading:
            raise FailedError(f"{PAGE.name}: the next block stands under {found!r}, not under {heading!r}")
        for ours, free in self.ports.items():
            block = block.replace(ours, free)
        start = f"cd {CLONE}"
        if heading == "Install":  # settings that only a machine that is shared needs
            start += f"\nexport ROSTER_WEB_PORT={self.ports['3000']} ROSTER_CODE_PORT={self.ports['4266']}"
        return _good(self.machine.run(f"{start}\n{block}"), f"{PAGE.name}, {heading}").out

    def root(self, script: str) -> str:
        """What a command says that the page does not have."""
        return _good(self.machine.run(script), script).out

    def sql(self, statement: str) -> str:
        """What the superuser reads of the rosters."""
        return self.root(f'cd / && runuser -u postgres -- psql -qAt --dbname rosters --command "{statement}"')

    def people(self) -> str:
        """Everybody who is published, with their ids and where these come from."""
        return self.sql(
            "SELECT tenant, person_id, p.given_name, p.family_name, p.email, s.source_id, s.linked_sync "
            "FROM current_people p JOIN person_sources s USING (tenant, person_id) "
            "ORDER BY 1, 2, 6"
        )

    def queue_is_worked_off(self, syncs: int) -> None:
        """Waits until `syncs` runs of the queue, which the daemon alone empties, were successful."""

        def over() -> list[dict[str, Any]] | None:
            runs = [run for run in self.runs() if "RunEnqueuedEvent" in str(run["eventConnection"])]
            states = [run["status"] for run in runs]
            if "FAILURE" in states:
                raise FailedError(f"a run failed: {runs}")
            return runs if states.count("SUCCESS") == syncs else None

        for run in until(over):
            tags = {tag["key"]: tag["value"] for tag in run["tags"]}
            if tags.get("roster/outcome") != "successful":
                raise FailedError(f"a sync was not successful: {tags}")

    def runs(self) -> list[dict[str, Any]]:
        """The instance's newest runs with the kinds of their events."""
        found: list[dict[str, Any]] = self.ui.ask(RUNS)["runsOrError"]["results"]
        return found

    def answers(self, since: float) -> None:
        """Waits until the UI answers and every daemon that is needed has had a heartbeat since then."""

        def healthy() -> bool | None:
            try:
                daemons = self.ui.ask(HEALTH)["instance"]["daemonHealth"]["allDaemonStatuses"]
            except (httpx.HTTPError, ValueError):
                return None
            needed = [daemon for daemon in daemons if daemon["required"]]
            return all(one["healthy"] and one["lastHeartbeatTime"] > since for one in needed) or None

        until(healthy)

    def started(self) -> set[str]:
        """The schedules that run."""
        found = self.ui.ask(SCHEDULES)["schedulesOrError"]["results"]
        return {one["name"] for one in found if one["scheduleState"]["status"] == "RUNNING"}


def _install(walk: Walk) -> None:
    files = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, check=True).stdout
    clone = walk.machine.folder / CLONE.lstrip("/")
    clone.mkdir(parents=True)
    for name in files.decode().split("\0"):
        source, target = PROJECT / name, clone / name
        if name and (source.exists() or source.is_symlink()):
            target.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(
                ["cp", "--no-dereference", "--preserve=mode", str(source), str(target)], check=True
            )
    since = time.time()
    walk.type_next("Install")
    walk.answers(since)
    _equal(walk.root(f"systemctl is-active {SERVICES}").split(), ["active"] * 3)
    _equal(walk.root(f"systemctl is-enabled {SERVICES}").split(), ["enabled"] * 3)
    units = " ".join(f"{name}.service" for name in SERVICES.split())
    told = _good(walk.machine.run(f"systemd-analyze verify {units}"), "systemd-analyze verify")
    _equal(told.out + told.err, "")


def _first_tenant(walk: Walk) -> None:
    walk.type_next("A first tenant")
    until(lambda: "riverbend" in walk.ui.partitions("published_rosters") or None)
    walk.type_next("A first tenant")
    walk.queue_is_worked_off(1)
    if "successful" not in (told := walk.type_next("A first tenant")):
        raise FailedError(f"`syncs` does not show the sync:\n{told}")


def _nights(walk: Walk) -> None:
    before = walk.started()
    walk.type_next("Nights")
    _equal(walk.started() - before, {"nightly_us", "nightly_au", "nightly_nz", "nightly_uk"})


def _product(walk: Walk) -> None:
    walk.type_next("A product reads")
    port = walk.root("pg_lsclusters --no-header | awk '{print $3}'").strip()
    reader = f"cd / && {READER} --port {port} -qAt --command"
    published = walk.sql("SELECT count(*) FROM current_people")
    if int(published) < 300:
        raise FailedError(f"only {published} people are published")
    _equal(walk.root(f'{reader} "SELECT count(person_id) FROM current_people"'), published)
    for denied in (
        "SELECT phone FROM current_people",
        "SELECT count(*) FROM people",
        "SELECT count(*) FROM current_guardian_links",
        "UPDATE current_people SET given_name = 'x'",
        "DELETE FROM memberships",
        "CREATE TABLE mine (a int)",
    ):
        done = walk.machine.run(f'{reader} "{denied}"')
        if done.code == 0 or "permission denied" not in done.err:
            raise FailedError(f"a reader may: {denied}\n{done.out}{done.err}")


def _watching(walk: Walk) -> None:
    walk.type_next("Watching")


def _backup_and_restore(walk: Walk) -> None:
    """What was published comes back with its ids, and a sync after it changes nothing."""
    before, databases = walk.people(), walk.sql(DATABASES)
    walk.type_next("Backup")
    walk.sql("UPDATE people SET removed_at = now()")
    _equal(walk.people(), "")
    walk.type_next("Restore")
    since = time.time()
    walk.type_next("Restore")
    walk.answers(since)
    _equal(walk.people(), before)
    _equal(walk.sql(DATABASES), databases)
    walk.root("cd / && /opt/roster_pipeline/run roster-pipeline sync riverbend")
    _nothing_changed(walk, before)


def _upgrade(walk: Walk) -> None:
    """Settings and data stay, also an instance that somebody has tuned."""
    before, schedules = walk.people(), walk.started()
    ours = "/etc/roster_pipeline/environment /var/lib/roster_pipeline/dagster/dagster.yaml"
    walk.root("sed -i 's/max_concurrent_runs: .*/max_concurrent_runs: 3/' " + ours.split()[1])
    sums = walk.root(f"sha256sum {ours}")
    since = time.time()
    walk.type_next("Upgrade")
    walk.answers(since)
    _equal(walk.root(f"sha256sum {ours}"), sums)
    _equal(walk.started(), schedules)
    walk.root(
        "cd /opt/roster_pipeline && ./run dagster job launch --workspace workspace.yaml --job sync_tenant "
        """--tags '{"dagster/partition": "riverbend"}'"""
    )
    walk.queue_is_worked_off(2)
    _nothing_changed(walk, before)


def _nothing_changed(walk: Walk, before: str) -> None:
    _equal(walk.people(), before)
    for table in ("people", "classes", "memberships", "schools"):
        _equal(walk.sql(f"SELECT count(*) FROM {table} WHERE removed_at IS NOT NULL").strip(), "0")


def _foreground(walk: Walk) -> None:
    """Without systemd: `run` alone starts all three, and ends all three."""
    walk.root(f"systemctl stop {SERVICES}; systemctl stop sandbox || true")
    since = time.time()
    process = subprocess.Popen(
        walk.machine.command("echo $$ > /run/foreground.pid; exec /opt/roster_pipeline/run"),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        walk.answers(since)
        walk.root("kill -TERM $(cat /run/foreground.pid)")
        process.wait(60)
        _equal(walk.root(ROSTER_S), "")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


STEPS: Final = (
    ("the documented command, three services, their units", _install),
    ("a first tenant, synced by the queue", _first_tenant),
    ("the four schedules", _nights),
    ("a product reads, and nothing else", _product),
    ("the daemon lives", _watching),
    ("backup, loss, restore: the same ids", _backup_and_restore),
    ("upgrade: settings, data, schedules stay", _upgrade),
    ("in the foreground, without systemd", _foreground),
)


def _good(done: Done, what: str) -> Done:
    if done.code != 0:
        raise FailedError(f"{what}\nended with {done.code}:\n{done.out[-3000:]}\n{done.err[-3000:]}")
    return done


def _equal(found: object, wanted: object) -> None:
    if found != wanted:
        raise FailedError(f"found\n{str(found)[:2000]}\nwanted\n{str(wanted)[:2000]}")


def _blocks(page: str) -> list[tuple[str, str]]:
    """The blocks to be typed, each with the heading above it."""
    found = []
    for part in re.split(r"(?m)^## ", page)[1:]:
        heading, _, text = part.partition("\n")
        found += [(heading, block) for block in re.findall(r"(?ms)^```sh\n(.*?)^```$", text)]
    return found


def _free_ports(*ours: str) -> dict[str, str]:
    """A free port for each of the page's; all are held until all are known."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in ours]
    found = {port: str(one.getsockname()[1]) for port, one in zip(ours, held, strict=True)}
    for one in held:
        one.close()
    return found


def main() -> int:
    began = time.monotonic()
    try:
        with booted() as machine:
            print(f"{time.monotonic() - began:5.0f} s  an empty machine, booted", flush=True)
            ports = _free_ports("3000", "4266", "8101")
            fresh = httpx.Limits(max_keepalive_connections=0)
            address = f"http://127.0.0.1:{ports['3000']}"
            with httpx.Client(base_url=address, timeout=60, limits=fresh, trust_env=False) as client:
                walk = Walk(machine, Ui(client), _blocks(PAGE.read_text(encoding="utf-8")), ports)
                try:
                    for what, step in STEPS:
                        since = time.monotonic()
                        step(walk)
                        print(f"{time.monotonic() - since:5.0f} s  {what}", flush=True)
                    _equal(walk.left, [])
                except (FailedError, AssertionError, subprocess.TimeoutExpired) as failed:
                    journal = machine.run("journalctl --no-pager --lines 60 --unit 'roster-*' --unit sandbox")
                    print(f"FAILED: {what}\n{failed}\n\nThe services said:\n{journal.out}")
                    return 1
    except NotHereError as why:
        print(f"NOT TRIED: {why}.")
        return 1 if os.environ.get("CI") else 0
    print(f"{PAGE.relative_to(PROJECT)} holds on an empty machine: {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
