"""Finds the log entries of a session without a scan of the log.

Entries from before have no session. So the index is empty at first, and the table is not rewritten.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ubr.adapters.sql.migrations.effects import Blocks, Effects, Touched

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None
effects = Effects(rolling=True, tables=(Touched("logs", Blocks.EVERYTHING, grows=True),))


def upgrade() -> None:
    op.add_column("logs", sa.Column("session_id", sa.Uuid()))
    known = sa.text("session_id IS NOT NULL")
    op.create_index(
        "ix_logs_session_id_timestamp_id",
        "logs",
        ["session_id", "timestamp", "id"],
        postgresql_where=known,
        sqlite_where=known,
    )


def downgrade() -> None:
    op.drop_index("ix_logs_session_id_timestamp_id", "logs")
    op.drop_column("logs", "session_id")
