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
        {name: school[name] for name in ("name", "code", "school_id")}
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


def _flaws(*codes: str) -> Callable[[Mapping[str, Any]], Rows]:
    """The schools with one of these flaws, a row each: whose, how much, and what helps."""
    return lambda document: list(_flawed(document, codes))


def _flawed(document: Mapping[str, Any], codes: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    told = {(issue["school"], issue["code"], issue["count"]): issue for issue in document["issues"]}
    for school in document["schools"]:
        for code, count in school["flaws"].items():
            if code in codes:
                issue = told[school["name"], code, count]
                yield {
                    "name": school["name"],
                    "code": code,
                    "count": count,
                    "message": issue["message"],
                    "kept_back": school["state"] == "kept" and issue["severity"] == "school kept back",
                    "cure": issue["cure"],
                    "school_id": school["school_id"],
                }


CHECKS: Final = (
    Check(
        "schools_are_complete",
        "No school was kept back. A school that was keeps its last good roster (a new one has none "
        "yet), and all others are published. The table says which, and the code why; the check of "
        "that flaw has the cure.",
        "schools",
        _kept_back,
    ),
    Check(
        "schools_have_students",
        "Every school in session has students. By default one without is kept back. Mostly an "
        "incomplete export, or the school is not shared with the app: ask the school, or exclude it "
        "until it is ready.",
        "schools",
        _flaws("RS-SAFE-07"),
    ),
    Check(
        "schools_have_teachers",
        "Every school in session has teachers. By default one without is kept back. Mostly an "
        "incomplete export, or staff are not shared with the app: ask the school, or exclude it until"
        " it is ready.",
        "schools",
        _flaws("RS-SAFE-08"),
    ),
    Check(
        "schools_have_classes",
        "Every school in session that has students has classes, unless only its people are synced. By"
        " default one without is published all the same. The school sets its classes up, or shares "
        "them with the app.",
        "schools",
        _flaws("RS-SAFE-13"),
    ),
    Check(
        "classes_have_teachers",
        "Every class of today has a teacher. Classes without are published, and nobody can run them: "
        "the school assigns a teacher, or ends the class.",
        "schools",
        _flaws("RS-SAFE-14"),
    ),
    Check(
        "classes_have_students",
        "Every class of today has students. A few without are normal, and all are published. Act "
        "where there are many, or suddenly more than before.",
        "schools",
        _flaws("RS-SAFE-15"),
    ),
    Check(
        "students_are_in_classes",
        "Every student of a school with classes is in one of them. A few in none are normal, and all "
        "are published. Act where there are many; `roster-pipeline explain` says of one student why.",
        "schools",
        _flaws("RS-SAFE-16"),
    ),
    Check(
        "people_have_merge_keys",
        "Where a tenant has several sources, its students and staff have an e-mail address that joins"
        " them. Who has none stands once for each source. A note for the school: nothing is kept back"
        " by it.",
        "schools",
        _flaws("RS-IDN-09"),
    ),
    Check(
        "schools_have_current_sessions",
        "Every school is in session, or between two sessions: it has a calendar, and not an old one. "
        "By default a school whose newest session ended long ago is kept back: the new school year is"
        " not set up in the SIS.",
        "schools",
        _flaws("RS-SES-01", "RS-SES-06"),
    ),
    Check(
        "references_lead_somewhere",
        "Every enrolment refers to a user and a class that are there. By default a school with more "
        "than one in ten that do not is kept back: its users or classes are not all shared with the "
        "app.",
        "schools",
        _flaws("RS-REF-05", "RS-SAFE-17"),
    ),
    Check(
        "identities_are_readable",
        "Names and e-mail addresses are not masked, not all the same, and did not vanish since the "
        "last sync. By default a masked school is kept back; of values that vanished the old ones "
        "stay. Masking is switched off at the provider.",
        "schools",
        _flaws("RS-SAFE-09", "RS-SAFE-18"),
    ),
    Check(
        "grades_do_not_vanish",
        "No grade of ten or more students lost all of them at once. By default a school where one did"
        " is kept back: mostly an export without that grade. If it is meant, see docs/holds.md.",
        "schools",
        _flaws("RS-SAFE-10"),
    ),
    Check(
        "extracts_are_complete",
        "Every collection was read completely. From one that was not, nothing is removed; a stale one"
        " is an earlier extract, at most 7 days old. Why stands in the table `issues` of the asset, "
        "with a code.",
        "collections",
        _incomplete,
    ),
    Check(
        "removals_do_not_wait",
        "No removal waits for somebody to look at it. What waits is published as before. `roster-"
        "pipeline holds` lists it; `approve` and `reject`, or the job `decide_holds`, decide it.",
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
