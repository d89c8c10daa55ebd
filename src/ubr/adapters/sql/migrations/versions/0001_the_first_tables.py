"""The first tables: users, roles, sessions, the log and the signing keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from ubr.adapters.sql.migrations.effects import Effects

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None
effects = Effects(rolling=False)


def upgrade() -> None:
    # Defined here, and not taken from the adapter's tables: those will change, but this revision will not.
    moment = sa.DateTime(timezone=True)
    exact = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("email_key", exact, nullable=False),
        sa.Column("full_name", sa.Text()),
        sa.Column("password_hash", sa.Text()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("email_verified", sa.Boolean(), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("updated_at", moment, nullable=False),
        sa.Column("security_version", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("email_key", name="uq_users_email_key"),
    )
    op.create_index("ix_users_created_at_id", "users", ["created_at", "id"])
    op.create_table(
        "roles",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", exact, nullable=False),
        sa.Column("description", sa.Text()),
        sa.Column("permissions", json, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("updated_at", moment, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_roles"),
        sa.UniqueConstraint("name", name="uq_roles_name"),
    )
    op.create_index("ix_roles_created_at_id", "roles", ["created_at", "id"])
    op.create_table(
        "user_roles",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("role_id", sa.Uuid(), nullable=False),
        sa.Column("granted_by", sa.Uuid()),
        sa.Column("granted_at", moment, nullable=False),
        sa.Column("expires_at", moment),
        sa.PrimaryKeyConstraint("user_id", "role_id", name="pk_user_roles"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_user_roles_user_id_users", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["role_id"], ["roles.id"], name="fk_user_roles_role_id_roles", ondelete="CASCADE"),
    )
    op.create_index("ix_user_roles_role_id_user_id", "user_roles", ["role_id", "user_id"])
    op.create_table(
        "sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("last_seen_at", moment, nullable=False),
        sa.Column("idle_expires_at", moment, nullable=False),
        sa.Column("expires_at", moment, nullable=False),
        sa.Column("ip", sa.Text()),
        sa.Column("user_agent", sa.Text()),
        sa.Column("ended_at", moment),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_sessions_user_id_users", ondelete="CASCADE"),
    )
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"])
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])
    op.create_index(
        "ix_sessions_live",
        "sessions",
        ["user_id", "created_at", "id"],
        postgresql_where=sa.text("ended_at IS NULL"),
        sqlite_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "refresh_tokens",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("issued_at", moment, nullable=False),
        sa.Column("spent_at", moment),
        sa.Column("successor", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("digest", name="pk_refresh_tokens"),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name="fk_refresh_tokens_session_id_sessions", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_refresh_tokens_session_id", "refresh_tokens", ["session_id"])
    op.create_index(
        "ix_refresh_tokens_sealed",
        "refresh_tokens",
        ["spent_at"],
        postgresql_where=sa.text("successor IS NOT NULL"),
        sqlite_where=sa.text("successor IS NOT NULL"),
    )
    op.create_table(
        "logs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("format", sa.SmallInteger(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("timestamp", moment, nullable=False),
        sa.Column("actor_id", sa.Uuid()),
        sa.Column("target_type", sa.Text()),
        sa.Column("target_id", sa.Text()),
        sa.Column("ip", sa.Text()),
        sa.Column("request_id", sa.Text()),
        sa.Column("request_id_given", sa.Boolean(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_logs"),
    )
    op.create_index("ix_logs_timestamp_id", "logs", ["timestamp", "id"])
    for column in ("level", "action", "actor_id", "target_id"):
        op.create_index(f"ix_logs_{column}_timestamp_id", "logs", [column, "timestamp", "id"])
    op.create_table(
        "signing_keys",
        sa.Column("kid", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("public", sa.Text(), nullable=False),
        sa.Column("private", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("kid", name="pk_signing_keys"),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION logs_only_grow() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'entries of the log are only ever added'; END $$"
        )
        op.execute(
            "CREATE TRIGGER logs_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON logs "
            "FOR EACH STATEMENT EXECUTE FUNCTION logs_only_grow()"
        )
    else:
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER logs_only_grow_{change.lower()} BEFORE {change} ON logs "
                "BEGIN SELECT RAISE(ABORT, 'entries of the log are only ever added'); END"
            )


def downgrade() -> None:
    for table in ("signing_keys", "logs", "refresh_tokens", "sessions", "user_roles", "roles", "users"):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION logs_only_grow()")
