"""What the browser looks at: `dagster dev` with one tenant, whose two systems are sandboxes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from roster_pipeline.sandbox.generator import as_second_provider, generate, with_unfinished_school
from roster_pipeline.store import ledger
from roster_pipeline_tests.graph.ui import Ui, dagster_dev
from roster_pipeline_tests.syncing import SECRETS, Deployment, deployment, rest_provider, serving

TENANT: Final = "riverbend"
STUDENTS: Final = 900
"""Two schools."""


@dataclass(frozen=True, slots=True)
class Site:
    """A running UI and its deployment."""

    ui: Ui
    here: Deployment

    def ledger(self) -> list[dict[str, Any]]:
        """The tenant's syncs, the newest first: what `roster-pipeline syncs --json` prints."""
        with self.here.stores.database.connect() as connection:
            return ledger.past(connection, TENANT)


@contextmanager
def running(folder: Path, *, nights: int = 1) -> Iterator[Site]:
    """The tenant was synced for some days and all was well; since then a school has lost its teachers.

    The weaker system only attaches to users who exist, so that some of its users are unmatched.
    """
    day = datetime.now(UTC).date()
    district = generate(STUDENTS, day=day)
    sound = district, as_second_provider(district)
    broken = tuple(with_unfinished_school(system) for system in sound)
    with deployment(folder / "home") as here:
        for night in range(nights):
            with _both(here, *sound):
                here.sync(TENANT, day - timedelta(days=nights - night))
        with _both(here, *broken), dagster_dev(here.home.folder, **SECRETS) as ui:
            yield Site(ui, here)


@contextmanager
def _both(here: Deployment, strong, weak) -> Iterator[None]:
    with serving(strong.tables, "powerschool") as sis, serving(weak.tables, "classlink") as launchpad:
        here.apply(
            TENANT,
            rest_provider(
                sis,
                name="sis",
                respect_enrolment_date=True,
                respect_academic_sessions=True,
                merge={"priority": 100, "key": "email"},
            ),
            rest_provider(
                launchpad,
                name="launchpad",
                merge={
                    "priority": 50,
                    "key": "email_without_domain",
                    "attach_to_existing_users_only": True,
                },
            ),
        )
        yield
