"""The first schema: registry, published rosters with their views, memory of syncs, ledger."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "academic_sessions",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=True),
        sa.Column("start_date", sa.Date(), nullable=True),
        sa.Column("end_date", sa.Date(), nullable=True),
        sa.Column("school_year", sa.Text(), nullable=True),
        sa.Column("parent_id", sa.Text(), nullable=True),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("provider_id", sa.Integer(), nullable=True),
        sa.Column("source_id", sa.Text(), nullable=True),
        sa.Column("created_sync", sa.Integer(), nullable=False),
        sa.Column("changed_sync", sa.Integer(), nullable=False),
        sa.Column("removed_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "session_id"),
    )
    op.create_table(
        "classes",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("class_id", sa.Text(), nullable=False),
        sa.Column("school_id", sa.Text(), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("class_code", sa.Text(), nullable=True),
        sa.Column("class_kind", sa.Text(), nullable=True),
        sa.Column("course_title", sa.Text(), nullable=True),
        sa.Column("course_code", sa.Text(), nullable=True),
        sa.Column("grades", sa.Text(), nullable=True),
        sa.Column("subjects", sa.Text(), nullable=True),
        sa.Column("subject_codes", sa.Text(), nullable=True),
        sa.Column("periods", sa.Text(), nullable=True),
        sa.Column("location", sa.Text(), nullable=True),
        sa.Column("session_ids", sa.Text(), nullable=True),
        sa.Column("start_date", sa.Date(), nullable=True),
        sa.Column("end_date", sa.Date(), nullable=True),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("provider_id", sa.Integer(), nullable=True),
        sa.Column("source_id", sa.Text(), nullable=True),
        sa.Column("created_sync", sa.Integer(), nullable=False),
        sa.Column("changed_sync", sa.Integer(), nullable=False),
        sa.Column("removed_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "class_id"),
    )
    op.create_table(
        "enrolled_sources",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("provider_id", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "provider_id", "source_id"),
    )
    op.create_table(
        "guardian_links",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("student_id", sa.Text(), nullable=False),
        sa.Column("guardian_id", sa.Text(), nullable=False),
        sa.Column("relationship", sa.Text(), nullable=True),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("provider_id", sa.Integer(), nullable=True),
        sa.Column("created_sync", sa.Integer(), nullable=False),
        sa.Column("changed_sync", sa.Integer(), nullable=False),
        sa.Column("removed_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "student_id", "guardian_id"),
    )
    op.create_index("ix_guardian_links_guardian", "guardian_links", ["tenant", "guardian_id"], unique=False)
    op.create_table(
        "leases",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("process", sa.Text(), nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("tenant"),
    )
    op.create_table(
        "memberships",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("class_id", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("is_primary", sa.Boolean(), nullable=True),
        sa.Column("begin_date", sa.Date(), nullable=True),
        sa.Column("end_date", sa.Date(), nullable=True),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("provider_id", sa.Integer(), nullable=True),
        sa.Column("created_sync", sa.Integer(), nullable=False),
        sa.Column("changed_sync", sa.Integer(), nullable=False),
        sa.Column("removed_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "class_id", "person_id", "role"),
    )
    op.create_index("ix_memberships_person", "memberships", ["tenant", "person_id"], unique=False)
    op.create_table(
        "people",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("given_name", sa.Text(), nullable=True),
        sa.Column("middle_name", sa.Text(), nullable=True),
        sa.Column("family_name", sa.Text(), nullable=True),
        sa.Column("preferred_given_name", sa.Text(), nullable=True),
        sa.Column("preferred_family_name", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("username", sa.Text(), nullable=True),
        sa.Column("identifier", sa.Text(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("sms", sa.Text(), nullable=True),
        sa.Column("grades", sa.Text(), nullable=True),
        sa.Column("roles", sa.Text(), nullable=True),
        sa.Column("enabled", sa.Boolean(), nullable=True),
        sa.Column("inactive_since", sa.Date(), nullable=True),
        sa.Column("merged_into", sa.Text(), nullable=True),
        sa.Column("created_sync", sa.Integer(), nullable=False),
        sa.Column("changed_sync", sa.Integer(), nullable=False),
        sa.Column("removed_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "person_id"),
    )
    op.create_table(
        "person_sources",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("provider_id", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("linked_sync", sa.Integer(), nullable=False),
        sa.Column("linked_by", sa.Text(), nullable=False),
        sa.Column("seen", sa.Text(), nullable=True),
        sa.Column("created_sync", sa.Integer(), nullable=False),
        sa.Column("changed_sync", sa.Integer(), nullable=False),
        sa.Column("removed_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "provider_id", "source_id"),
    )
    op.create_index("ix_person_sources_person", "person_sources", ["tenant", "person_id"], unique=False)
    op.create_table(
        "providers",
        sa.Column("provider_id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("retired_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("provider_id"),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_providers_tenant"), "providers", ["tenant"], unique=False)
    op.create_table(
        "registers",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("proposal", sa.Text(), nullable=True),
        sa.Column("as_of", sa.Date(), nullable=True),
        sa.Column("options", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant"),
    )
    op.create_table(
        "school_sources",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("provider_id", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("school_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "provider_id", "source_id"),
    )
    op.create_table(
        "schools",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("school_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("identifier", sa.Text(), nullable=True),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("provider_id", sa.Integer(), nullable=True),
        sa.Column("source_id", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_as_of", sa.Date(), nullable=True),
        sa.Column("state_code", sa.Text(), nullable=True),
        sa.Column("included_again", sa.Boolean(), nullable=True),
        sa.Column("created_sync", sa.Integer(), nullable=False),
        sa.Column("changed_sync", sa.Integer(), nullable=False),
        sa.Column("removed_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "school_id"),
    )
    op.create_table(
        "sync_issues",
        sa.Column("sync_id", sa.Integer(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=True),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("school", sa.Text(), nullable=True),
        sa.Column("count", sa.Integer(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("cure", sa.Text(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("sync_id", "place"),
    )
    op.create_table(
        "sync_outcomes",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("provider_id", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("sync_id", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("evidence", sa.Text(), nullable=True),
        sa.Column("person_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "provider_id", "source_id"),
    )
    op.create_table(
        "sync_providers",
        sa.Column("sync_id", sa.Integer(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("unmatched_users", sa.Integer(), nullable=True),
        sa.Column("matched_students", sa.Integer(), nullable=True),
        sa.Column("matched_teachers", sa.Integer(), nullable=True),
        sa.Column("imported_classes", sa.Integer(), nullable=True),
        sa.Column("created_students", sa.Integer(), nullable=True),
        sa.Column("created_teachers", sa.Integer(), nullable=True),
        sa.Column("created_users", sa.Integer(), nullable=True),
        sa.Column("details", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("sync_id", "provider"),
    )
    op.create_table(
        "sync_schools",
        sa.Column("sync_id", sa.Integer(), nullable=False),
        sa.Column("school_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("details", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("sync_id", "school_id"),
    )
    op.create_table(
        "syncs",
        sa.Column("sync_id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("trigger", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("as_of", sa.Date(), nullable=True),
        sa.Column("as_of_given", sa.Boolean(), nullable=True),
        sa.Column("started_at", sa.DateTime(), nullable=False),
        sa.Column("finished_at", sa.DateTime(), nullable=True),
        sa.Column("report", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("sync_id"),
        sa.UniqueConstraint("run_id"),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_syncs_tenant"), "syncs", ["tenant"], unique=False)
    op.create_table(
        "tenants",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("applied_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("tenant"),
    )
    op.execute(
        "CREATE VIEW current_schools AS SELECT tenant, school_id, name, identifier, provider, source_id, state, state_as_of, state_code FROM schools WHERE removed_at IS NULL"
    )
    op.execute(
        "CREATE VIEW current_academic_sessions AS SELECT tenant, session_id, title, kind, start_date, end_date, school_year, parent_id, provider, source_id FROM academic_sessions WHERE removed_at IS NULL"
    )
    op.execute(
        "CREATE VIEW current_classes AS SELECT tenant, class_id, school_id, title, class_code, class_kind, course_title, course_code, grades, subjects, subject_codes, periods, location, session_ids, start_date, end_date, provider, source_id FROM classes WHERE removed_at IS NULL"
    )
    op.execute(
        "CREATE VIEW current_people AS SELECT tenant, person_id, given_name, middle_name, family_name, preferred_given_name, preferred_family_name, email, username, identifier, phone, sms, grades, roles, enabled, inactive_since, merged_into FROM people WHERE removed_at IS NULL"
    )
    op.execute(
        "CREATE VIEW current_person_sources AS SELECT tenant, source_id, provider, person_id, linked_sync, linked_by FROM person_sources WHERE removed_at IS NULL"
    )
    op.execute(
        "CREATE VIEW current_memberships AS SELECT tenant, class_id, person_id, role, is_primary, begin_date, end_date, provider FROM memberships WHERE removed_at IS NULL"
    )
    op.execute(
        "CREATE VIEW current_guardian_links AS SELECT tenant, student_id, guardian_id, relationship, provider FROM guardian_links WHERE removed_at IS NULL"
    )
