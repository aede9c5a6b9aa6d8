"""The endpoints of a server: the table that each shows, which of its rows, and the words around them.

What is asked of an endpoint is in `queries`, what it answers in `pages`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from roster_pipeline.sandbox.source import Row


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path below the base: the table it shows, the rows it shows of it, and the words around them."""

    name: str
    table: str
    many: str
    one: str
    shows: Callable[[Row], bool] | None = None


def _typed(kind: str) -> Callable[[Row], bool]:
    return lambda row: row.get("type") == kind


def _in_role(role: str) -> Callable[[Row], bool]:
    return lambda row: any(entry[0] == role for entry in row.get("roles") or [])


ENDPOINTS: Final[dict[str, Endpoint]] = {
    endpoint.name: endpoint
    for endpoint in (
        Endpoint("orgs", "orgs", "orgs", "org"),
        Endpoint("schools", "orgs", "orgs", "org", _typed("school")),
        Endpoint("academicSessions", "academicSessions", "academicSessions", "academicSession"),
        Endpoint("terms", "academicSessions", "academicSessions", "academicSession", _typed("term")),
        Endpoint(
            "gradingPeriods",
            "academicSessions",
            "academicSessions",
            "academicSession",
            _typed("gradingPeriod"),
        ),
        Endpoint("courses", "courses", "courses", "course"),
        Endpoint("classes", "classes", "classes", "class"),
        Endpoint("users", "users", "users", "user"),
        Endpoint("students", "users", "users", "user", _in_role("student")),
        Endpoint("teachers", "users", "users", "user", _in_role("teacher")),
        Endpoint("enrollments", "enrollments", "enrollments", "enrollment"),
        Endpoint("demographics", "demographics", "demographics", "demographics"),
    )
}
