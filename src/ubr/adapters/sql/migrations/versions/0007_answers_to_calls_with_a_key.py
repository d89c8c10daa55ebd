"""Stored results of calls with an idempotency key, for retries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ubr.adapters.sql.migrations.effects import Blocks, Effects, Touched

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
effects = Effects(rolling=False, tables=(Touched("users", Blocks.WRITES),))


def upgrade() -> None:
    op.create_table(
        "replays",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("actor_id", sa.Uuid()),
        sa.Column("user_id", sa.Uuid()),
        sa.Column("result", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_replays"),
        *(
            sa.ForeignKeyConstraint([column], ["users.id"], ondelete="CASCADE", name=f"fk_replays_{column}_users")
            for column in ("actor_id", "user_id")
        ),
    )
    for column in ("actor_id", "user_id", "expires_at"):
        op.create_index(f"ix_replays_{column}", "replays", [column])


def downgrade() -> None:
    op.drop_table("replays")
