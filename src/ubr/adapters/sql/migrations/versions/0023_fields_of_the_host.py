"""Fields of the host on users, and what users are found by in them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from ubr.adapters.sql.migrations.effects import Blocks, Effects, Touched

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None
# The previous version keeps the column as it is when it changes a user. The foreign key locks `users` too.
effects = Effects(rolling=True, tables=(Touched("users", Blocks.EVERYTHING),))


def upgrade() -> None:
    op.add_column("users", sa.Column("fields", sa.JSON().with_variant(JSONB(), "postgresql")))
    exact = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "user_field_values",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("field", exact, nullable=False),
        sa.Column("value", exact, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "field", "value", name="pk_user_field_values"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_user_field_values_user_id_users", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_user_field_values_field_value_user_id", "user_field_values", ["field", "value", "user_id"])


def downgrade() -> None:
    op.drop_table("user_field_values")
    op.drop_column("users", "fields")
