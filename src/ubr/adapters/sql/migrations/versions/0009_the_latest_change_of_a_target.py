"""Finds the latest record about a target without a scan of the feed."""

from __future__ import annotations

from alembic import op

from ubr.adapters.sql.migrations.effects import Blocks, Effects, Touched

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None
effects = Effects(rolling=True, tables=(Touched("feed", Blocks.WRITES, grows=True),))


def upgrade() -> None:
    op.create_index("ix_feed_thing_number", "feed", ["thing", "number"])


def downgrade() -> None:
    op.drop_index("ix_feed_thing_number", "feed")
