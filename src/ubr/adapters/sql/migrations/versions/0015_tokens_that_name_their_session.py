"""Marks the refresh tokens that name their session: their rows are deleted some time after their use."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ubr.adapters.sql.migrations.effects import Blocks, Effects, Touched

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None
# The previous version does not know the tokens that name their session.
effects = Effects(rolling=False, tables=(Touched("refresh_tokens", Blocks.EVERYTHING),))


def upgrade() -> None:
    op.add_column("refresh_tokens", sa.Column("names_session", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    op.drop_column("refresh_tokens", "names_session")
