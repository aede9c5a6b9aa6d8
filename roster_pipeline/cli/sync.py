"""`roster-pipeline sync`: runs the job `sync_tenant` in this process, for one tenant after the other.

The same job as the UI's and the schedules', in the same Dagster instance. Here is how it is started
without a daemon and what is printed of it; what a sync does is in `roster_pipeline.syncs`.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from roster_pipeline.cli import FAULT, INTERRUPTED, tell
from roster_pipeline.codes import CATALOGUE, CodedError, Issue
from roster_pipeline.faults import place_of
from roster_pipeline.loading import loading

if TYPE_CHECKING:
    import dagster as dg
    from dagster._core.remote_origin import RemoteJobOrigin

    from roster_pipeline.store.home import Home, Stores
    from roster_pipeline.tenants.document import Tenant

Document = dict[str, Any]
Progress = Callable[[str, str, int, int | None], None]

EXIT_CODES: Final = {"successful": 0, "partial": 3, "failed": 4}
LOCATION: Final = "roster_pipeline"
"""The name of the code location, as `workspace.yaml` has it."""

# What a run says is in Dagster's event log, and what matters of it is in the document.
_QUIET: Final = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
# Dagster would catch stdout and stderr of this process, where the terminal is waiting for them.
_NOT_CAUGHT: Final = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
}


@click.command()
@click.argument("tenants", metavar="T...", nargs=-1, required=True)
@click.option(
    "--as-of",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="The date that all rules use, as 2026-11-21.  [default: the school day that a sync now is for]",
)
@click.option("--dry-run", is_flag=True, help="Do everything but publish.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document a tenant, one line each.")
def sync(tenants: tuple[str, ...], as_of: datetime | None, dry_run: bool, as_json: bool) -> None:
    """Sync the tenants T, one after the other.

    The exit code is 0 if every sync was successful, 3 if one was partial, 4 if one failed.
    """
    from roster_pipeline.store.home import Home

    home = Home.find(os.environ)
    with loading():
        stores = home.stores()
    codes, faults = [], 0
    bars = _Bars(sys.stderr.isatty())
    try:
        found = registered(stores, tenants)
        with ready_to_run(home, stores, progress=bars.advance) as run:
            for tenant in found:
                with bars.shown(tenant.tenant):
                    document = run(tenant, as_of.date() if as_of else None, dry_run)
                codes.append(EXIT_CODES[document["status"]])
                faults += any(issue["code"] == "RS-RUN-99" for issue in document["issues"])
                click.echo(json.dumps(document, ensure_ascii=False) if as_json else as_text(document))
                sys.stdout.flush()  # whoever reads on need not wait for the others
    except Interrupted as error:
        tell("RS-RUN-02", f"{error} What was published stays as it is.")
        raise click.exceptions.Exit(INTERRUPTED) from None
    finally:
        stores.database.dispose()
    raise click.exceptions.Exit(FAULT if faults else max(codes))


class Interrupted(Exception):  # noqa: N818 - nothing went wrong
    """Somebody ended the command (Ctrl-C, SIGTERM); the message says which sync was interrupted."""


Run = Callable[["Tenant", date | None, bool], Document]
"""(tenant, `--as-of`, whether to only try) -> what the sync tells."""


def registered(stores: Stores, names: Sequence[str]) -> list[Tenant]:
    """The documents of the tenants named, each once.

    Raises:
        CodedError: RS-CFG-08, a line for every name that the registry does not have.
    """
    from roster_pipeline.tenants import registry

    found, unknown = [], []
    with stores.database.connect() as connection:
        for name in dict.fromkeys(names):
            try:
                found.append(registry.get(connection, name).tenant)
            except CodedError as error:
                unknown.append(error.message)
    if unknown:
        raise CodedError("RS-CFG-08", "\n".join(unknown))
    return found


@contextmanager
def ready_to_run(home: Home, stores: Stores, *, progress: Progress) -> Iterator[Run]:
    """Opens the home's Dagster instance; gives what syncs a tenant in it, in this process.

    It never raises for what happens to a tenant's sync, ours or theirs: the document has it.

    Raises:
        CodedError: RS-DB-04 if the instance cannot be opened.
    """
    heard: list[Document] = []
    with loading():
        from roster_pipeline.definitions import build_defs
        from roster_pipeline.jobs import SYNC_TENANT
        from roster_pipeline.resources import rosters_resource

        rosters = rosters_resource(progress=progress, hears=heard.append, stores=stores)
        job = build_defs(resources={"rosters": rosters}).resolve_job_def(SYNC_TENANT.name)
    with instance_of(home) as instance:

        def run(tenant: Tenant, as_of: date | None, dry_run: bool) -> Document:
            heard.clear()
            try:
                issue = _execute(job, instance, tenant, as_of=as_of, dry_run=dry_run)
            except KeyboardInterrupt:
                raise Interrupted(f"The sync of {tenant.tenant} was interrupted.") from None
            return heard[-1] if heard else _not_begun(tenant, as_of, issue)

        yield run


def _execute(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    tenant: Tenant,
    *,
    as_of: date | None,
    dry_run: bool,
) -> Issue:
    """Runs the job; the issue is for a run of which nothing was heard.

    Raises:
        KeyboardInterrupt: The run was ended from outside.
    """
    from dagster._core.definitions.job_base import InMemoryJob
    from dagster._core.errors import DagsterExecutionInterruptedError
    from dagster._core.events import RunFailureReason
    from dagster._core.execution.api import execute_run

    from roster_pipeline import tags
    from roster_pipeline.jobs import run_tags, selection
    from roster_pipeline.partitions import NAME
    from roster_pipeline.runs import end_dead_runs
    from roster_pipeline.store.lease import this_process

    run_id = str(uuid.uuid4())
    given = {
        # Whoever typed the command sees how it ended; Dagster is not to start it again by itself.
        "dagster/max_retries": "0",
        # From the first moment on: a run that nobody ends keeps the tenant's place in the queue for hours.
        tags.PROCESS: tags.of_process(this_process(), run_id),
    }
    try:
        end_dead_runs(instance, tenant.tenant)
        instance.add_dynamic_partitions(NAME, [tenant.tenant])
        chosen = frozenset(selection(tenant))
        run = instance.create_run_for_job(
            job,
            run_id=run_id,
            run_config=_QUIET,
            tags=run_tags(
                tenant.tenant, tenant.region, "manual", hosts=tenant.hosts, as_of=as_of, dry_run=dry_run
            )
            | given,
            asset_selection=chosen,
            # Where its definitions are: with this the run can be executed again in the UI.
            remote_job_origin=_origin(job.name),
        )
        told = execute_run(InMemoryJob(job), run, instance)
    except DagsterExecutionInterruptedError:
        raise KeyboardInterrupt from None
    except Exception as error:  # Dagster's, or one of ours outside of every step
        if os.environ.get("ROSTER_DEBUG"):
            traceback.print_exception(error, file=sys.stderr)
        return Issue("RS-RUN-99", f"The run ended with {type(error).__name__} ({place_of(error)}).")
    # Dagster takes an interrupt for a failure of the run, and says so nowhere else.
    reasons = [event.job_failure_data.failure_reason for event in told.all_events if event.is_job_failure]
    if RunFailureReason.UNEXPECTED_TERMINATION in reasons:
        raise KeyboardInterrupt
    return Issue("RS-RUN-99", "The run ended, and nothing was heard of its sync.")


def _origin(job: str) -> RemoteJobOrigin:
    from dagster._core.remote_origin import (
        RegisteredCodeLocationOrigin,
        RemoteJobOrigin,
        RemoteRepositoryOrigin,
    )

    location = RegisteredCodeLocationOrigin(LOCATION)
    return RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), job)


def _not_begun(tenant: Tenant, as_of: date | None, issue: Issue) -> Document:
    from roster_pipeline.resources import not_begun

    day = as_of.isoformat() if as_of else None
    return not_begun(
        tenant=tenant.tenant, region=tenant.region, as_of=day, run_id=None, issue=issue, now=datetime.now(UTC)
    )


@contextmanager
def instance_of(home: Home) -> Iterator[dg.DagsterInstance]:
    """The home's Dagster instance, open.

    Raises:
        CodedError: RS-DB-04 if it cannot be opened.
    """
    import dagster as dg
    from dagster._core.instance.ref import InstanceRef

    file = Path(__file__).parents[1] / "dagster.yaml"
    home.set_dagster_home(os.environ, file.read_text(encoding="utf-8"))
    folder = Path(os.environ["DAGSTER_HOME"])
    if not folder.is_absolute() or not folder.is_dir():
        raise CodedError("RS-DB-04", f"DAGSTER_HOME is {folder}; it must be the absolute path of a folder.")
    try:
        instance = dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(folder), overrides=_NOT_CAUGHT))
    except Exception as error:  # whatever the storages that are configured raise
        raise CodedError(
            "RS-DB-04", f"Dagster's instance in {folder} could not be opened ({type(error).__name__})."
        ) from None
    with instance:
        yield instance


# ---------------------------------------------------------------------------------- shown


def as_text(document: Document) -> str:
    """What a person wants to know of a sync: how it ended, the counts, what changed, and why."""
    counts, tried = document["counts"], document.get("dry_run")
    lines = [
        f"{document['tenant']}: {document['status']}"
        + (f", as of {document['as_of']}" if document["as_of"] else "")
        + (" (dry run: nothing was published)" if tried else "")
    ]
    if document["providers"]:
        lines += [
            f"  Unmatched Users {counts['unmatched_users']:,} · "
            f"Matched Students {counts['matched_students']:,} · "
            f"Matched Teachers {counts['matched_teachers']:,} · "
            f"Imported Classes {counts['imported_classes']:,}",
            f"  Created Students {counts['created_students']:,} · "
            f"Created Teachers {counts['created_teachers']:,} · "
            f"schools published {counts['schools_published']:,}, kept {counts['schools_kept']:,}, "
            f"excluded {counts['schools_excluded']:,}"
            + (f" · guardians {counts['guardians']:,}" if counts["guardians"] else ""),
            f"  {'would change' if tried else 'changed'}: {_changes(document['changes'])}",
        ]
    by_code: dict[str, list[dict[str, Any]]] = {}
    for issue in document["issues"]:
        by_code.setdefault(issue["code"], []).append(issue)
    for code, issues in by_code.items():
        severe = issues[0]["severity"] in ("sync failed", "school kept back")
        shown = issues if severe or len(issues) <= _SHOWN + 1 else issues[:_SHOWN]
        lines += [f"  {issue_line(issue)}" for issue in shown]
        if len(shown) < len(issues):
            lines.append(f"  {code} … and {len(issues) - len(shown):,} more like these (--json has them all)")
        lines.append(f"    {CATALOGUE[code].cure}")
    return "\n".join(lines)


_SHOWN: Final = 3
"""How many lines of one code are enough, unless it is severe: a large district has hundreds of schools."""


def issue_line(issue: dict[str, Any]) -> str:
    """An issue in one line: what, how bad, and where."""
    where = " · ".join(name for name in (issue["provider"], issue["school"]) if name)
    return f"{issue['code']} ({issue['severity']}) {issue['message']}" + (f" [{where}]" if where else "")


def _changes(changes: dict[str, dict[str, int]]) -> str:
    signs = {"added": "+", "updated": "~", "removed": "-"}
    told = [
        f"{kind.replace('_', ' ')} "
        + " ".join(f"{signs[name]}{count:,}" for name, count in found.items() if count)
        for kind, found in changes.items()
        if any(found.values())
    ]
    return ", ".join(told) or "nothing"


class _Bars:
    """Progress on stderr, one bar a collection, where somebody is looking; gone when the sync has ended."""

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted
        self._bars: Any = None
        self._tasks: dict[tuple[str, str], Any] = {}

    @contextmanager
    def shown(self, tenant: str) -> Iterator[None]:
        if not self._wanted:
            yield
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._tasks = {}
        # stdout belongs to the results, also while bars are drawn.
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        with self._bars:
            self._bars.add_task(tenant, total=None)
            yield

    def advance(self, provider: str, collection: str, rows: int, total: int | None) -> None:
        """Called while a provider is read, from whichever thread reads it."""
        if self._bars is None:
            return
        key = provider, collection
        if key not in self._tasks:
            self._tasks[key] = self._bars.add_task(f"  {provider} {collection}", total=total)
        self._bars.update(self._tasks[key], completed=rows, total=total)
