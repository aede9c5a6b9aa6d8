"""Measures each step of a sync in one process: CPU, clock and peak memory. Prints one JSON line a sync.

As with the floor, importing is left out, and only this process counts. It is started in a process of its
own.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import resource
import sys
import time
import uuid
from collections.abc import Callable
from importlib import import_module
from typing import Any

from roster_pipeline.store.home import Home
from roster_pipeline.syncs import Sync, World


def measured(step: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What the step gives, and what it cost: seconds of CPU and of the clock."""
    cpu, wall = _cpu_seconds(), time.perf_counter()
    found = step()
    return found, {
        "cpu_s": round(_cpu_seconds() - cpu, 2),
        "wall_s": round(time.perf_counter() - wall, 2),
    }


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(tenant: str, kind: str, as_of: dt.date, *, extraction_only: bool = False) -> dict[str, Any]:
    """One sync of a tenant, step by step; or only tried out, and no further than its extraction."""
    stores = Home.find(os.environ).stores()
    sync = Sync.open(
        stores, tenant, run_id=str(uuid.uuid4()), trigger="benchmark", as_of=as_of,
        dry_run=extraction_only,
        world=World.real(os.environ),
    )  # fmt: skip
    try:
        extracted, extraction = measured(lambda: sync.extract(kind))
        if extraction_only:
            proven = all(one["state"] == "ok" for one in extracted["tables"]["collections"])
            return {"rows": extracted["row_count"], "proven": proven, "extraction": extraction}
        _, rules = measured(
            lambda: (sync.current_sessions(), sync.current_enrolments(), sync.merged_identities())
        )
        document, publishing = measured(sync.publish)
    finally:
        sync.close()
    return {
        "status": document["status"],
        "rows": extracted["row_count"],
        "changed": sum(sum(kind.values()) for kind in document["changes"].values()),
        "extraction": extraction,
        "rules": rules,
        "publishing": publishing,
    }


def main() -> None:
    """Syncs as often as asked, in one process."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("tenant")
    arguments.add_argument("kind")
    arguments.add_argument("as_of", type=dt.date.fromisoformat)
    arguments.add_argument("--extraction-only", action="store_true")
    given = arguments.parse_args()
    import_module(f"roster_pipeline.providers.{given.kind}")
    # pyarrow imports pandas' parts at its first conversion: part of starting, not of the work.
    import_module("pyarrow").array([""])
    found = measure(given.tenant, given.kind, given.as_of, extraction_only=given.extraction_only)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
