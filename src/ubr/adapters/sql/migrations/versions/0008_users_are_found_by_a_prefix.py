"""Finds users by a prefix of their e-mail or name and by their status, and ended grants by their end."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ubr.adapters.sql.migrations.effects import Blocks, Effects, Touched
from ubr.domain.accounts.search import name_key

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
effects = Effects(
    rolling=False,
    tables=(Touched("users", Blocks.EVERYTHING, grows=True), Touched("user_roles", Blocks.WRITES, grows=True)),
)

_BATCH = 1000
_KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_USERS = sa.table("users", sa.column("id", sa.Uuid()), sa.column("full_name"), sa.column("full_name_key"))


def upgrade() -> None:
    op.add_column("users", sa.Column("full_name_key", _KEY))
    _fill(op.get_bind())
    op.create_index("ix_users_full_name_key", "users", ["full_name_key"])
    op.create_index("ix_users_status_created_at_id", "users", ["status", "created_at", "id"])
    op.create_index("ix_users_status_email_key", "users", ["status", "email_key"])
    ending = sa.text("expires_at IS NOT NULL")
    op.create_index("ix_user_roles_ending", "user_roles", ["expires_at"], postgresql_where=ending, sqlite_where=ending)


def downgrade() -> None:
    op.drop_index("ix_user_roles_ending", "user_roles")
    for name in ("status_email_key", "status_created_at_id", "full_name_key"):
        op.drop_index(f"ix_users_{name}", "users")
    op.drop_column("users", "full_name_key")


def _fill(connection: sa.Connection) -> None:
    """Databases disagree on the lower case of Unicode, so the keys are made here."""
    c = _USERS.c
    named = sa.select(c.id, c.full_name).where(c.full_name.is_not(None)).order_by(c.id).limit(_BATCH)
    key = sa.update(_USERS).where(c.id == sa.bindparam("of")).values(full_name_key=sa.bindparam("key"))
    batch = connection.execute(named).all()
    while batch:
        connection.execute(key, [{"of": row.id, "key": name_key(row.full_name)} for row in batch])
        batch = connection.execute(named.where(c.id > batch[-1].id)).all()
