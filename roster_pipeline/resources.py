"""What assets work with: the stores of this deployment, and the one sync that a run is part of.

Opened when the first step asks, and closed when the run ends. Here errors become what Dagster
shows: a code and a sentence, never the text of an error that is not ours.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

import dagster as dg

from roster_pipeline import tags
from roster_pipeline.codes import CodedError, Issue
from roster_pipeline.faults import place_of
from roster_pipeline.loading import loading
from roster_pipeline.store.home import Home
from roster_pipeline.store.lease import this_process

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from roster_pipeline.nights.windows import Window
    from roster_pipeline.store.home import Stores
    from roster_pipeline.store.nights import Night
    from roster_pipeline.syncs import Sync

Progress = Callable[[str, str, int, int | None], None]
"""Gets provider, collection, rows so far and the total told."""
Document = dict[str, Any]
"""What a sync tells, as `sync --json` prints it."""


def nobody(*_: object) -> None:
    """For runs that nobody watches."""


@dataclass(slots=True)
class Rosters:
    """One run's sync of its tenant, and who hears of it.

    `hears` gets the document once, when the sync has published or failed.
    """

    environ: Mapping[str, str]
    progress: Progress = nobody
    hears: Callable[[Document], None] = nobody
    stores: Stores | None = None
    """Those of the caller, who closes them; None: opened here, from the environment."""
    _own_stores: Stores | None = None
    _sync: Sync | None = None
    _failure: dg.Failure | None = None
    _cut_off: bool = False
    _interrupted: Callable[[], None] = nobody
    """Tags the run as interrupted; nothing before the sync began and after it ended."""

    @contextmanager
    def step(self, context: dg.AssetExecutionContext) -> Iterator[Sync]:
        """The sync, for one of its steps; an error in the block fails the sync, and the run.

        Raises:
            dg.Failure: with the code and its sentence; the ledger has them as well.
        """
        if self._failure is not None:  # refused, or failed in another step: one sync fails once
            raise self._failure from None
        try:
            yield self._begun(context)
        except Exception as error:
            self._failure = self._fail(context, error)
            # Not `from error`: the text of an error that is not ours may hold a row, and Dagster stores it.
            raise self._failure from None
        except BaseException:  # Dagster ends the run, or somebody the process
            self._cut_off = True
            raise

    def ended(self, context: dg.AssetExecutionContext, document: Document) -> None:
        """Tells how the sync ended: as tags of the run, and to whoever hears."""
        codes = [] if document["status"] == "successful" else [issue["code"] for issue in document["issues"]]
        self._tag(context, document["status"], "".join(codes[:1]), region=document["region"])
        self._interrupted = nobody
        self.hears(document)

    def close(self) -> None:
        """Gives the tenant's lease back and closes the stores that were opened here."""
        try:
            if self._sync is not None:
                self._sync.close(cut_off=self._cut_off)
            self._interrupted()
        finally:
            if self._own_stores is not None:
                self._own_stores.database.dispose()

    def _begun(self, context: dg.AssetExecutionContext) -> Sync:
        if self._sync is not None:
            return self._sync
        _load()
        from roster_pipeline.syncs import Sync, World

        if self.stores is None:
            self.stores = self._own_stores = Home.find(self.environ).stores()
        run = context.run
        self._sync = Sync.open(
            self.stores,
            context.partition_key,
            run_id=run.root_run_id or run.run_id,
            trigger=run.tags.get(tags.TRIGGER, "manual"),
            as_of=as_of(run.tags),
            dry_run=run.tags.get(tags.DRY_RUN) == "true",
            world=World.real(
                self.environ, self.progress, runs_every_rule=run.tags.get(tags.EVERY_RULE) == "true"
            ),
        )
        told = {
            tags.PROCESS: tags.of_process(this_process(), run.run_id),
            **tags.of_hosts(self._sync.hosts),  # a run of the UI counts for the limit of a host as well
        }
        if tags.OUTCOME in run.tags:  # a re-execution inherits the tags of the run before it
            told |= {tags.OUTCOME: "running", tags.ERROR_CODE: ""}
        context.instance.add_run_tags(run.run_id, told)
        self._interrupted = lambda: self._tag(context, "interrupted", "")
        return self._sync

    def _fail(self, context: dg.AssetExecutionContext, error: Exception) -> dg.Failure:
        from roster_pipeline.syncs import issue_of

        if self.environ.get("ROSTER_DEBUG"):
            traceback.print_exception(error, file=sys.stderr)
        issue, document = issue_of(error), None
        if self._sync is not None:
            try:
                document = self._sync.fail(error)
            except Exception as second:  # the ledger cannot be reached either; the first error is the one
                told = issue_of(second)
                context.log.error(f"{told.code}: The ledger could not be written. {told.message}")
        if document is None:
            run = context.run
            document = not_begun(
                tenant=context.partition_key,
                region=run.tags.get(tags.REGION),
                as_of=run.tags.get(tags.AS_OF),
                run_id=run.root_run_id or run.run_id,
                issue=issue,
                now=datetime.now(UTC),
            )
        self.ended(context, document)
        where = "" if isinstance(error, CodedError) else f" ({place_of(error)})"
        return dg.Failure(f"{issue.code}: {issue.message}{where}", allow_retries=False)

    def _tag(
        self, context: dg.AssetExecutionContext, outcome: str, code: str, *, region: str | None = None
    ) -> None:
        # A run of the UI has its partition only; with these it is found as one of a command or schedule is.
        told = {tags.TENANT: context.partition_key, tags.OUTCOME: outcome}
        if region:
            told[tags.REGION] = region
        if code or tags.ERROR_CODE in context.run.tags:
            told[tags.ERROR_CODE] = code
        context.instance.add_run_tags(context.run.run_id, told)


def _load() -> None:
    """Imports the rules and what they stand on: whoever only loads the definitions does not wait for them."""
    if "roster_pipeline.syncs" not in sys.modules:
        with loading():
            import_module("roster_pipeline.syncs")


def rosters_resource(
    *, progress: Progress = nobody, hears: Callable[[Document], None] = nobody, stores: Stores | None = None
) -> dg.ResourceDefinition:
    """The resource `rosters`: a `Rosters` for each run; all that it needs is in the environment."""

    @dg.resource(description="The roster database and the lake of this deployment (ROSTER_HOME and its kin).")
    def rosters(_: dg.InitResourceContext) -> Iterator[Rosters]:
        made = Rosters(os.environ, progress, hears, stores)
        try:
            yield made
        finally:
            made.close()

    return rosters


def as_of(run_tags: Mapping[str, str]) -> date | None:
    """The date that the tag `roster/as_of` gives, or None.

    Raises:
        CodedError: RS-CFG-02 for what is no date.
    """
    text = run_tags.get(tags.AS_OF)
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CodedError(
            "RS-CFG-02", f"The run's tag {tags.AS_OF} is no date; write it as 2026-11-21."
        ) from None


def not_begun(
    *, tenant: str, region: str | None, as_of: str | None, run_id: str | None, issue: Issue, now: datetime
) -> Document:
    """What is told of a sync that could not begin; nothing of it is in the ledger."""
    from roster_pipeline.store import ledger

    instant = now.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
    return {
        "sync_id": None,
        "tenant": tenant,
        "region": region,
        "as_of": as_of,
        "started_at": instant,
        "finished_at": instant,
        "run_id": run_id,
        **ledger.failure([issue]),
    }


def registered_names() -> list[str]:
    """The names of all tenants of the registry.

    Raises:
        CodedError: RS-DB-01 or RS-DB-02 if it cannot be read.
    """
    from roster_pipeline.tenants import registry

    with ledger_open() as connection:
        return registry.names(connection)


def registered_night(window: Window) -> Night:
    """The night of this window, as the ledger has it now.

    Raises:
        CodedError: RS-DB-01 or RS-DB-02 if it cannot be read.
    """
    from roster_pipeline.store import nights

    with ledger_open() as connection:
        return nights.read(connection, window)


@contextmanager
def ledger_open(*, to_write: bool = False) -> Iterator[Connection]:
    """The roster database, for what is no run: a tick of a schedule or sensor.

    Raises:
        CodedError: RS-DB-01 or RS-DB-02 if it cannot be opened or read.
    """
    from sqlalchemy import exc

    stores = Home.find(os.environ).stores()
    try:
        with (
            stores.database.connect().execution_options(immediate=to_write) as connection,
            connection.begin(),
        ):
            yield connection
    except exc.SQLAlchemyError as error:
        told = f"The roster database could not be read ({type(error).__name__})."
        raise CodedError("RS-DB-01", told) from None
    finally:
        stores.database.dispose()
