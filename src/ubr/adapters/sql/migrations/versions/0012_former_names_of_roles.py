"""Remembers the names that roles gave up."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ubr.adapters.sql.migrations.effects import Effects

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None
effects = Effects(rolling=True)


def upgrade() -> None:
    op.create_table(
        "former_role_names",
        sa.Column("name", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("role_id", sa.Uuid(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_former_role_names"),
    )
    op.create_index("ix_former_role_names_until", "former_role_names", ["until"])


def downgrade() -> None:
    op.drop_table("former_role_names")
