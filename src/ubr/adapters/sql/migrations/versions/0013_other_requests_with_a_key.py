"""Counts the requests that have the idempotency key of another one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ubr.adapters.sql.migrations.effects import Blocks, Effects, Touched

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
effects = Effects(rolling=True, tables=(Touched("replays", Blocks.EVERYTHING),))


def upgrade() -> None:
    op.add_column("replays", sa.Column("mismatches", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("replays", "mismatches")
