"""Asset checks on `published_rosters`: statements that should hold of a tenant's roster.

A check is one idea, and schools are rows of its metadata. Keeping a school back and holding a removal
are decided by rules before publishing; the checks report it and decide nothing: their severity is WARN,
and a run does not fail by them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import dagster as dg

from roster_pipeline.metadata import tables
from roster_pipeline.partitions import TENANTS

Rows = list[dict[str, Any]]

WAITING: Final = frozenset({"RS-SAFE-01", "RS-SAFE-02", "RS-SAFE-03"})
"""The codes of removals that wait."""


@dataclass(frozen=True, slots=True)
class Check:
    """A statement, and what speaks against it in a sync's document: no rows, and it holds."""

    name: str
    description: str
    table: str
    against: Callable[[Mapping[str, Any]], Rows]


def _kept_back(document: Mapping[str, Any]) -> Rows:
    return [
        {name: school[name] for name in ("school_id", "name", "code")}
        for school in document["schools"]
        if school["state"] == "kept"
    ]


def _incomplete(document: Mapping[str, Any]) -> Rows:
    return [
        {"provider": provider["name"], "collection": name, "state": found["state"]}
        for provider in document["providers"]
        for name, found in provider["collections"].items()
        if found["state"] != "ok"
    ]


def _waiting(document: Mapping[str, Any]) -> Rows:
    shown = ("code", "provider", "school", "count", "message")
    return [{name: issue[name] for name in shown} for issue in document["issues"] if issue["code"] in WAITING]


CHECKS: Final = (
    Check(
        "schools_are_complete",
        "No school was kept back. A school that was keeps its last good roster; the others are published.",
        "schools",
        _kept_back,
    ),
    Check(
        "extracts_are_complete",
        "Every collection was read completely. From one that was not, nothing is removed.",
        "collections",
        _incomplete,
    ),
    Check(
        "removals_do_not_wait",
        "No removal waits for somebody to look at it. What waits is published as before.",
        "removals",
        _waiting,
    ),
)


def specs(asset: str) -> list[dg.AssetCheckSpec]:
    """The specifications of all checks, for the asset that emits their results.

    A check without partitions would show whichever tenant came last. That checks can have them is a
    preview in Dagster, announced with a warning each time; it is taken note of here, once, and a test
    fails if it goes.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [
            dg.AssetCheckSpec(check.name, asset=asset, description=check.description, partitions_def=TENANTS)
            for check in CHECKS
        ]


def results(document: Mapping[str, Any]) -> Iterator[dg.AssetCheckResult]:
    """The results of all checks, from what the sync tells."""
    for check in CHECKS:
        rows = check.against(document)
        yield dg.AssetCheckResult(
            check_name=check.name,
            passed=not rows,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"count": len(rows), **tables({check.table: rows})},
        )
