"""One-time links, queued mails, and e-mails that users can take back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ubr.adapters.sql.migrations.effects import Blocks, Effects, Touched

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
effects = Effects(rolling=False, tables=(Touched("users", Blocks.WRITES),))


def upgrade() -> None:
    op.create_table(
        "links",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("email_key", _exact(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("full_name", sa.Text(), nullable=True),
        sa.Column("session_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", _moment(), nullable=False),
        sa.Column("expires_at", _moment(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_links"),
        _owned_by_user("links"),
    )
    op.create_index("ix_links_user_id", "links", ["user_id"])
    op.create_index("ix_links_email_key", "links", ["email_key"])
    op.create_index("ix_links_expires_at", "links", ["expires_at"])

    op.create_table(
        "outbox",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("email_key", _exact(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("full_name", sa.Text(), nullable=True),
        sa.Column("new_email", sa.Text(), nullable=True),
        sa.Column("session_id", sa.Uuid(), nullable=True),
        sa.Column("ip", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("request_id_given", sa.Boolean(), nullable=False),
        sa.Column("created_at", _moment(), nullable=False),
        sa.Column("next_try_at", _moment(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("dead", sa.Boolean(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        _owned_by_user("outbox"),
    )
    op.create_index("ix_outbox_user_id", "outbox", ["user_id"])
    op.create_index("ix_outbox_email_key", "outbox", ["email_key"])
    op.create_index("ix_outbox_created_at_id", "outbox", ["created_at", "id"])
    waiting = sa.column("dead").is_(False)
    op.create_index("ix_outbox_due", "outbox", ["next_try_at"], postgresql_where=waiting, sqlite_where=waiting)

    op.create_table(
        "reserved_emails",
        sa.Column("email_key", _exact(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("until", _moment(), nullable=False),
        sa.PrimaryKeyConstraint("email_key", name="pk_reserved_emails"),
        _owned_by_user("reserved_emails"),
    )
    op.create_index("ix_reserved_emails_user_id", "reserved_emails", ["user_id"])
    op.create_index("ix_reserved_emails_until", "reserved_emails", ["until"])


def downgrade() -> None:
    op.drop_table("reserved_emails")
    op.drop_table("outbox")
    op.drop_table("links")


def _owned_by_user(table: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_user_id_users"
    return sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=name, ondelete="CASCADE")


def _exact() -> sa.Text:
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _moment() -> sa.DateTime:
    return sa.DateTime(timezone=True)
