"""Accounts for machines, which log in with keys, and the sessions of those keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ubr.adapters.sql.migrations.effects import Blocks, Effects, Touched

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None
# The previous version knows no scope of a session. `docs/machines.md` tells operators to create the first machine after
# the upgrade of every instance; until then the new columns are empty.
effects = Effects(rolling=True, tables=(Touched("users", Blocks.EVERYTHING), Touched("sessions", Blocks.EVERYTHING)))


def upgrade() -> None:
    # A constant default, so PostgreSQL rewrites no row.
    op.add_column("users", sa.Column("kind", sa.Text(), nullable=False, server_default="person"))
    op.add_column("sessions", sa.Column("key_id", sa.Uuid()))
    op.add_column("sessions", sa.Column("scope", sa.Text()))
    exact = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "machines",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", exact, nullable=False),
        sa.Column("description", sa.Text()),
        sa.PrimaryKeyConstraint("user_id", name="pk_machines"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_machines_user_id_users", ondelete="CASCADE"),
        sa.UniqueConstraint("name", name="uq_machines_name"),
    )
    op.create_table(
        "machine_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("scope", sa.Text()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.Column("last_used_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_machine_keys"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_machine_keys_user_id_users", ondelete="CASCADE"),
    )
    op.create_index("ix_machine_keys_user_id_created_at_id", "machine_keys", ["user_id", "created_at", "id"])


def downgrade() -> None:
    # The previous version would take a machine for a person, and a session with a scope for one without.
    op.execute("DELETE FROM users WHERE kind = 'machine'")
    op.drop_table("machine_keys")
    op.drop_table("machines")
    op.drop_column("sessions", "scope")
    op.drop_column("sessions", "key_id")
    op.drop_column("users", "kind")
