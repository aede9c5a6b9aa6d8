"""The published roster of a tenant, out of the database into a OneRoster 1.2 package.

The queries and their order; what becomes of the rows is in `rosters.export`, the files themselves are
in `oneroster.csv.writing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import text

from roster_pipeline.oneroster.csv.writing import write_package
from roster_pipeline.rosters.export import Bulk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from sqlalchemy.engine import Connection

_SCHOOLS = "SELECT school_id, name, identifier, state, state_as_of FROM current_schools"
_SESSIONS = (
    "SELECT session_id, title, kind, start_date, end_date, school_year, parent_id"
    " FROM current_academic_sessions"
)
_CLASSES = (
    "SELECT class_id, school_id, title, class_code, class_kind, course_title, course_code, grades, subjects,"
    " subject_codes, periods, location, session_ids, start_date, end_date FROM current_classes"
)
_PEOPLE = (
    "SELECT person_id, given_name, middle_name, family_name, preferred_given_name, preferred_family_name,"
    " email, username, identifier, phone, sms, grades, roles, enabled FROM current_people"
)
_LINKS = "SELECT student_id, guardian_id, relationship FROM current_guardian_links"
_MEMBERSHIPS = "SELECT class_id, person_id, role, is_primary, begin_date, end_date FROM current_memberships"


def export(connection: Connection, tenant: str, path: Path) -> dict[str, int]:
    """Writes the tenant's roster to `path`, whole or not at all, and counts what it wrote.

    Give it a connection that has not begun a transaction: all queries run in one, which sees one state
    of the roster also while a sync publishes. End dates are written as the source gave them (see
    `rosters.export`).

    Returns:
        The number of rows by file name (`orgs`, `users`, …), and as `left_out_<file>` the number of published
        rows that could not be written because they refer to nothing that is (only where there are any).

    Raises:
        OSError: The folder cannot be written.
    """
    if connection.dialect.name == "postgresql" and not connection.in_transaction():
        connection = connection.execution_options(isolation_level="REPEATABLE READ")

    def rows(query: str, order: str, condition: str = "") -> Iterator[Mapping[str, Any]]:
        statement = text(f"{query} WHERE tenant = :tenant{condition} ORDER BY {order}")
        # A few thousand rows at a time, on Postgres through a cursor at the server; asked for when needed.
        found = connection.execute(statement.execution_options(yield_per=5000), {"tenant": tenant})
        yield from cast("Iterator[Mapping[str, Any]]", iter(found.mappings()))

    active = " AND inactive_since IS NULL AND merged_into IS NULL"
    bulk = Bulk(
        tenant=tenant,
        schools=list(rows(_SCHOOLS, "school_id")),
        sessions=list(rows(_SESSIONS, "session_id")),
        classes=rows(_CLASSES, "class_id"),
        people={row["person_id"] for row in rows(_PEOPLE, "person_id", active)},
        guardian_links=rows(_LINKS, "student_id, guardian_id"),
    )

    counts = write_package(
        path,
        {
            "orgs": bulk.orgs(),
            "academicSessions": bulk.academic_sessions(),
            "courses": bulk.courses(),
            "classes": bulk.class_rows(),
            "users": bulk.users(rows(_PEOPLE, "person_id", active)),
            "roles": bulk.roles(rows(_PEOPLE, "person_id", active)),
            "enrollments": bulk.enrollments(rows(_MEMBERSHIPS, "class_id, person_id, role")),
        },
    )
    return counts | {f"left_out_{name}": count for name, count in sorted(bulk.left_out.items())}
