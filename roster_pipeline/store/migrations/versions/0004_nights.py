"""How nights ended and whom they missed, and how each host wants to be asked."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "night_ends",
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("start", sa.DateTime(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(), nullable=False),
        sa.Column("tenants", sa.Integer(), nullable=False),
        sa.Column("published", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("missed", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("region", "start"),
    )
    op.create_table(
        "missed_nights",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("start", sa.DateTime(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "start"),
    )
    op.create_table(
        "durations",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("measured_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("tenant"),
    )
    op.create_table(
        "hosts",
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("space", sa.Float(), nullable=False),
        sa.Column("held_until", sa.DateTime(), nullable=True),
        sa.Column("usual", sa.Float(), nullable=False),
        sa.Column("learned_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("host"),
    )
    # When a tenant came was not kept; whoever is there by now is owed tonight's sync.
    with op.batch_alter_table("tenants") as table:
        table.add_column(sa.Column("added_at", sa.DateTime(), nullable=True))
    op.execute("UPDATE tenants SET added_at = applied_at")
    with op.batch_alter_table("tenants") as table:
        table.alter_column("added_at", existing_type=sa.DateTime(), nullable=False)
    # A tick asks for the syncs of the last days, of all tenants.
    op.create_index("ix_syncs_started", "syncs", ["started_at"], unique=False)
