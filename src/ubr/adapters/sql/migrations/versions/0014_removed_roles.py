"""A role with very many holders is marked as deleted, and its grants are deleted later, in batches."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ubr.adapters.sql.migrations.effects import Blocks, Effects, Touched

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None
# The previous version shows a role that is marked as deleted.
effects = Effects(rolling=False, tables=(Touched("roles", Blocks.EVERYTHING, grows=True),))


def upgrade() -> None:
    op.add_column("roles", sa.Column("deleted_at", sa.DateTime(timezone=True)))
    there = sa.text("deleted_at IS NOT NULL")
    op.create_index("ix_roles_deleted", "roles", ["deleted_at"], postgresql_where=there, sqlite_where=there)


def downgrade() -> None:
    op.execute("DELETE FROM roles WHERE deleted_at IS NOT NULL")
    op.drop_index("ix_roles_deleted", "roles")
    op.drop_column("roles", "deleted_at")
