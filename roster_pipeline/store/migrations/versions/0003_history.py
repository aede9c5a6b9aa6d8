"""The rows as they were before each sync, and whom no sync brings back."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "history",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("sync_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("row_key", sa.Text(), nullable=False),
        sa.Column("before", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "sync_id", "kind", "row_key"),
    )
    op.create_table(
        "forgotten",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("receipt_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "digest"),
    )
    op.create_table(
        "receipts",
        sa.Column("receipt_id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("salt", sa.Text(), nullable=True),
        sa.Column("erased", sa.Text(), nullable=False),
        sa.Column("lifted_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("receipt_id"),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_receipts_tenant"), "receipts", ["tenant"], unique=False)
    # Of what earlier releases published nothing is known: the kind is `store.history.PRUNED`.
    op.execute(
        "INSERT INTO history (tenant, sync_id, kind, row_key, before) "
        "SELECT tenant, MAX(sync_id), 'pruned', '[]', NULL FROM syncs GROUP BY tenant"
    )
