"""Finds the log entries of a request without a scan of the log."""

from __future__ import annotations

from alembic import op

from ubr.adapters.sql.migrations.effects import Blocks, Effects, Touched

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None
effects = Effects(rolling=True, tables=(Touched("logs", Blocks.WRITES, grows=True),))


def upgrade() -> None:
    op.create_index("ix_logs_request_id_timestamp_id", "logs", ["request_id", "timestamp", "id"])


def downgrade() -> None:
    op.drop_index("ix_logs_request_id_timestamp_id", "logs")
