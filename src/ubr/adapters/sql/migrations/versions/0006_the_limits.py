"""Password attempts, the clients that users logged in from, and the counters for installations without Redis."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ubr.adapters.sql.migrations.effects import Blocks, Effects, Touched

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
effects = Effects(rolling=False, tables=(Touched("users", Blocks.WRITES),))


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "password_tries",
        sa.Column("bucket", sa.LargeBinary(), nullable=False),
        sa.Column("began_at", moment, nullable=False),
        sa.Column("taken", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("passed", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("bucket", name="pk_password_tries"),
    )
    op.create_index("ix_password_tries_began_at", "password_tries", ["began_at"])
    op.create_table(
        "known_clients",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("client", sa.LargeBinary(), nullable=False),
        sa.Column("seen_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "client", name="pk_known_clients"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_known_clients_user_id_users", ondelete="CASCADE"),
    )
    op.create_index("ix_known_clients_seen_at", "known_clients", ["seen_at"])
    op.create_table(
        "counters",
        sa.Column("name", sa.LargeBinary(), nullable=False),
        sa.Column("full_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_counters"),
    )
    op.create_index("ix_counters_full_at", "counters", ["full_at"])


def downgrade() -> None:
    for table in ("counters", "known_clients", "password_tries"):
        op.drop_table(table)
