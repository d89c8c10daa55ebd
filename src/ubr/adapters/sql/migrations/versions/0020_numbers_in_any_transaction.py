"""Numbers the feed also in a transaction whose search path is that of another program."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ubr.adapters.sql.migrations.effects import Effects

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None
effects = Effects(rolling=True)


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        # The trigger is deferred to the commit, when the search path is that of the program that commits.
        schema = op.get_bind().execute(sa.select(sa.func.quote_ident(sa.func.current_schema()))).scalar_one()
        op.execute(f"ALTER FUNCTION number_feed() SET search_path = {schema}, pg_temp")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER FUNCTION number_feed() RESET search_path")
