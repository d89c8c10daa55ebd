"""The declaration of fields under which each user is indexed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from ubr.adapters.sql.migrations.effects import Blocks, Effects, Touched

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None
# The previous version leaves the column alone. So a user whose fields it writes is indexed as before, by its own
# declaration: change the declaration after the upgrade of every instance (`docs/fields.md`).
effects = Effects(rolling=True, tables=(Touched("users", Blocks.EVERYTHING, grows=True),))


def upgrade() -> None:
    exact = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    # A constant default, so PostgreSQL rewrites no row.
    op.add_column("users", sa.Column("field_index", exact, nullable=False, server_default=""))
    persons = sa.text("kind = 'person'")
    op.create_index("ix_users_field_index", "users", ["field_index"], postgresql_where=persons, sqlite_where=persons)
    op.create_table(
        "user_field_indexes",
        sa.Column("name", exact, nullable=False),
        sa.Column("forms", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_user_field_indexes"),
    )


def downgrade() -> None:
    op.drop_table("user_field_indexes")
    op.drop_index("ix_users_field_index", "users")
    op.drop_column("users", "field_index")
