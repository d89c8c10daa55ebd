"""The times at which a signing key starts to sign, retires and was revoked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ubr.adapters.sql.migrations.effects import Blocks, Effects, Touched

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
effects = Effects(rolling=False, tables=(Touched("signing_keys", Blocks.EVERYTHING, grows=True),))


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    for name in ("signs_from", "retired_at", "revoked_at"):
        op.add_column("signing_keys", sa.Column(name, moment))
    op.execute("UPDATE signing_keys SET signs_from = created_at")
    with op.batch_alter_table("signing_keys") as table:
        table.alter_column("signs_from", nullable=False)


def downgrade() -> None:
    # A revoked key must not become valid again.
    op.execute("DELETE FROM signing_keys WHERE revoked_at IS NOT NULL")
    with op.batch_alter_table("signing_keys") as table:
        for name in ("revoked_at", "retired_at", "signs_from"):
            table.drop_column(name)
