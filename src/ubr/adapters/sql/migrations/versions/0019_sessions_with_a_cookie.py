"""Sessions of browsers: the digest of their cookie."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ubr.adapters.sql.migrations.effects import Blocks, Effects, Touched

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None
# The previous version opens sessions with tokens, and knows nothing of cookies.
effects = Effects(rolling=True, tables=(Touched("sessions", Blocks.EVERYTHING),))


def upgrade() -> None:
    op.add_column("sessions", sa.Column("cookie_digest", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    op.drop_column("sessions", "cookie_digest")
