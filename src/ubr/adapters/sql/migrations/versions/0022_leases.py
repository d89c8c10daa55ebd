"""Leases: roles that one process at a time has, such as the background jobs of programs that embed ubr."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ubr.adapters.sql.migrations.effects import Effects

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None
# The previous version does the jobs in each process, which is safe beside a leader.
effects = Effects(rolling=True)


def upgrade() -> None:
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Uuid(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )


def downgrade() -> None:
    op.drop_table("leases")
