"""The tables: one description for PostgreSQL and SQLite."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
    false,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


class Timestamp(TypeDecorator[datetime]):
    """A time in UTC, to the microsecond. SQLite has no time zones: writing removes the zone, reading adds it."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        return super().result_processor(dialect, coltype) if dialect.name == "sqlite" else None

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("A moment without a time zone cannot be stored")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and dialect.name == "sqlite" else value


def _exact() -> Text:
    """Text that every installation compares and orders by its bytes. SQLite does so by default."""
    return Text().with_variant(Text(collation="C"), "postgresql")


users: Final = Table(
    "users",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("email", Text, nullable=False),
    Column("email_key", _exact(), nullable=False),
    Column("full_name", Text),
    Column("full_name_key", _exact()),
    Column("password_hash", Text),
    Column("status", Text, nullable=False),
    Column("email_verified", Boolean, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Column("security_version", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("kind", Text, nullable=False, server_default="person"),
    Column("fields", JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")),
    Column("field_index", _exact(), nullable=False, server_default=""),
    UniqueConstraint("email_key"),
    Index(None, "full_name_key"),
    Index(None, "created_at", "id"),
    Index(None, "status", "created_at", "id"),
    Index(None, "status", "email_key"),
)

# Finds persons who are indexed under another declaration of fields than the current one.
Index(
    "ix_users_field_index",
    users.c.field_index,
    postgresql_where=text("kind = 'person'"),
    sqlite_where=text("kind = 'person'"),
)

# The searchable fields of each declaration so far, by the fingerprint in `users.field_index`.
user_field_indexes: Final = Table(
    "user_field_indexes",
    metadata,
    Column("name", _exact(), primary_key=True),
    Column("forms", JSON().with_variant(JSONB(), "postgresql"), nullable=False),
)

# The values of the searchable fields of the host. A table and not an index of `users.fields`: it is the
# same on both databases, and a field becomes searchable without a change of the schema.
user_field_values: Final = Table(
    "user_field_values",
    metadata,
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("field", _exact(), primary_key=True),
    Column("value", _exact(), primary_key=True),
    Index(None, "field", "value", "user_id"),
)

# The permissions of a role are a column and not a table: they are always read and written as a whole, and the query
# of every request (the caller and their permissions) stays one join of four rows or so.
roles: Final = Table(
    "roles",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", _exact(), nullable=False),
    Column("description", Text),
    Column("permissions", JSON().with_variant(JSONB(), "postgresql"), nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Column("version", Integer, nullable=False),
    Column("deleted_at", Timestamp),
    UniqueConstraint("name"),
    Index(None, "created_at", "id"),
)
# Removed roles whose grants are not all deleted yet; mostly none.
Index(
    "ix_roles_deleted",
    roles.c.deleted_at,
    postgresql_where=roles.c.deleted_at.is_not(None),
    sqlite_where=roles.c.deleted_at.is_not(None),
)

# Names that roles had. No foreign key: a name outlives the role that gave it up.
former_role_names: Final = Table(
    "former_role_names",
    metadata,
    Column("name", _exact(), primary_key=True),
    Column("role_id", Uuid, nullable=False),
    Column("until", Timestamp, nullable=False),
    Index(None, "until"),
)

# `granted_by` deliberately has no foreign key: it still names the user who granted a role after their deletion.
user_roles: Final = Table(
    "user_roles",
    metadata,
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("role_id", Uuid, ForeignKey("roles.id", ondelete="CASCADE"), primary_key=True),
    Column("granted_by", Uuid),
    Column("granted_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp),
    Index(None, "role_id", "user_id"),
)
# A partial index, because most grants have no end.
Index(
    "ix_user_roles_ending",
    user_roles.c.expires_at,
    postgresql_where=user_roles.c.expires_at.is_not(None),
    sqlite_where=user_roles.c.expires_at.is_not(None),
)

sessions: Final = Table(
    "sessions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("last_seen_at", Timestamp, nullable=False),
    Column("idle_expires_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp, nullable=False),
    Column("ip", Text),
    Column("user_agent", Text),
    Column("ended_at", Timestamp),
    Column("cookie_digest", LargeBinary),
    # No foreign key: a key ends its sessions before it is deleted.
    Column("key_id", Uuid),
    Column("scope", Text),
    Index(None, "user_id"),  # for the cascade, which must also find ended sessions
    Index(None, "expires_at"),
)
# A client that logs in every minute leaves thousands of ended sessions behind; this index finds the live ones without
# them. No index contains a column that a refresh changes, so PostgreSQL can update the row in place.
Index(
    "ix_sessions_live",
    sessions.c.user_id,
    sessions.c.created_at,
    sessions.c.id,
    postgresql_where=sessions.c.ended_at.is_(None),
    sqlite_where=sessions.c.ended_at.is_(None),
)

refresh_tokens: Final = Table(
    "refresh_tokens",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("session_id", Uuid, ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    Column("issued_at", Timestamp, nullable=False),
    Column("spent_at", Timestamp),
    Column("successor", LargeBinary),
    Column("names_session", Boolean, nullable=False, server_default=false()),
    Index(None, "session_id"),
)
Index(
    "ix_refresh_tokens_sealed",
    refresh_tokens.c.spent_at,
    postgresql_where=refresh_tokens.c.successor.is_not(None),
    sqlite_where=refresh_tokens.c.successor.is_not(None),
)

# The further columns of the accounts of machines.
machines: Final = Table(
    "machines",
    metadata,
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("name", _exact(), nullable=False),
    Column("description", Text),
    UniqueConstraint("name"),
)

machine_keys: Final = Table(
    "machine_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("scope", Text),
    Column("created_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp),
    Column("revoked_at", Timestamp),
    Column("last_used_at", Timestamp),
    Index(None, "user_id", "created_at", "id"),
)

# A link is redeemed by deleting its row.
links: Final = Table(
    "links",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("email_key", _exact(), nullable=False),
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE")),
    Column("full_name", Text),
    Column("session_id", Uuid),
    Column("created_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp, nullable=False),
    Index(None, "user_id"),
    Index(None, "email_key"),
    Index(None, "expires_at"),
)

outbox: Final = Table(
    "outbox",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("email_key", _exact(), nullable=False),
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE")),
    Column("full_name", Text),
    Column("new_email", Text),
    Column("session_id", Uuid),
    Column("ip", Text),
    Column("request_id", Text),
    Column("request_id_given", Boolean, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("next_try_at", Timestamp, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("dead", Boolean, nullable=False),
    Column("last_error", Text),
    Index(None, "user_id"),
    Index(None, "email_key"),
    Index(None, "created_at", "id"),
)
Index(
    "ix_outbox_due",
    outbox.c.next_try_at,
    postgresql_where=outbox.c.dead.is_(False),
    sqlite_where=outbox.c.dead.is_(False),
)

# Former e-mails that users can still restore.
reserved_emails: Final = Table(
    "reserved_emails",
    metadata,
    Column("email_key", _exact(), primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("until", Timestamp, nullable=False),
    Index(None, "user_id"),
    Index(None, "until"),
)

# Rows are only added, and deleted by pruning: triggers, made by the migrations, reject other changes. `format` is the
# version of the canonical bytes that identify an entry.
# `session_id` repeats a part of `data`, for its index. No foreign keys: an entry outlives the rows that it mentions.
logs: Final = Table(
    "logs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("format", SmallInteger, nullable=False),
    Column("level", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("timestamp", Timestamp, nullable=False),
    Column("actor_id", Uuid),
    Column("target_type", Text),
    Column("target_id", Text),
    Column("ip", Text),
    Column("request_id", Text),
    Column("request_id_given", Boolean, nullable=False),
    Column("data", Text, nullable=False),
    Column("salt", LargeBinary, nullable=False),
    Column("session_id", Uuid),
    Index(None, "timestamp", "id"),
    Index(None, "level", "timestamp", "id"),
    Index(None, "action", "timestamp", "id"),
    Index(None, "actor_id", "timestamp", "id"),
    Index(None, "target_id", "timestamp", "id"),
    Index(None, "request_id", "timestamp", "id"),
)
Index(
    "ix_logs_session_id_timestamp_id",
    logs.c.session_id,
    logs.c.timestamp,
    logs.c.id,
    postgresql_where=logs.c.session_id.is_not(None),
    sqlite_where=logs.c.session_id.is_not(None),
)

# The client IPs of entries, which contain only their digests: the one part of an entry that can be deleted without
# changing its hash. No foreign key, which every act would have to check; pruning deletes the rows too.
log_client_ips: Final = Table(
    "log_client_ips",
    metadata,
    Column("entry_id", Uuid, primary_key=True),
    Column("ip", Text, nullable=False),
    Column("salt", LargeBinary, nullable=False),
)

# The entries that are not in the tree yet. A trigger, made by the migration, adds every new entry.
log_queue: Final = Table("log_queue", metadata, Column("entry_id", Uuid, primary_key=True))

# The tree: its leaves, and every eighth level of its nodes; the others are computed from these. Rows are only added.
log_leaves: Final = Table(
    "log_leaves",
    metadata,
    Column("leaf_index", BigInteger, primary_key=True, autoincrement=False),
    Column("entry_id", Uuid, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    UniqueConstraint("entry_id"),
)
log_nodes: Final = Table(
    "log_nodes",
    metadata,
    Column("level", SmallInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
)
log_checkpoints: Final = Table(
    "log_checkpoints",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("note", Text, nullable=False),
)

# One row: the current state of the tree, for adding to it.
log_head: Final = Table(
    "log_head",
    metadata,
    Column("only", SmallInteger, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
)

# One row: the number of leaves whose entries may be deleted. A trigger rejects deleting any other entry.
log_pruned: Final = Table(
    "log_pruned",
    metadata,
    Column("only", SmallInteger, primary_key=True),
    Column("size", BigInteger, nullable=False),
)

log_keys: Final = Table(
    "log_keys",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("public", LargeBinary, nullable=False),
    Column("private", LargeBinary, nullable=False),
    Column("created_at", Timestamp, nullable=False),
)

signing_keys: Final = Table(
    "signing_keys",
    metadata,
    Column("kid", Text, primary_key=True),
    Column("algorithm", Text, nullable=False),
    Column("public", Text, nullable=False),
    Column("private", LargeBinary, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("signs_from", Timestamp, nullable=False),
    Column("retired_at", Timestamp),
    Column("revoked_at", Timestamp),
)

# Results of calls with an idempotency key. Deleting the actor or the created user deletes the row.
replays: Final = Table(
    "replays",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("actor_id", Uuid, ForeignKey("users.id", ondelete="CASCADE")),
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE")),
    Column("result", LargeBinary, nullable=False),
    Column("expires_at", Timestamp, nullable=False),
    Column("mismatches", Integer, nullable=False, server_default="0"),
    Index(None, "actor_id"),
    Index(None, "user_id"),
    Index(None, "expires_at"),
)

# Ends and changes. A trigger, made by the migration, assigns the numbers in the order of the commits.
feed: Final = Table(
    "feed",
    metadata,
    Column("batch", Uuid, primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    Column("number", BigInteger),
    Column("kind", Text, nullable=False),
    Column("thing", Text, nullable=False),
    Column("at", Timestamp, nullable=False),
    Index(None, "number", unique=True),
    Index(None, "at"),
    Index(None, "thing", "number"),
)

# One row. A restore sets another epoch.
feed_head: Final = Table(
    "feed_head",
    metadata,
    Column("only", SmallInteger, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("epoch", Text, nullable=False),
)

# `renewal` gets a new value each time: it alone shows that a worker still renews. The time is for people.
workers: Final = Table(
    "workers",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("renewal", Uuid, nullable=False),
    Column("renewed_at", Timestamp, nullable=False),
)

# The roles that one process at a time has: `holder` is a worker.
leases: Final = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Uuid, nullable=False),
    Column("expires_at", Timestamp, nullable=False),
)

# Password attempts, by an HMAC of the account's e-mail: the table contains no text that a user typed.
password_tries: Final = Table(
    "password_tries",
    metadata,
    Column("bucket", LargeBinary, primary_key=True),
    Column("began_at", Timestamp, nullable=False),
    Column("taken", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("passed", Integer, nullable=False),
    Index(None, "began_at"),
)

# The networks that users logged in from, as HMACs.
known_clients: Final = Table(
    "known_clients",
    metadata,
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("client", LargeBinary, primary_key=True),
    Column("seen_at", Timestamp, nullable=False),
    Index(None, "seen_at"),
)

# Without Redis: the time at which a quota will be full again, in microseconds since 1970, by an HMAC of its name.
counters: Final = Table(
    "counters",
    metadata,
    Column("name", LargeBinary, primary_key=True),
    Column("full_at", BigInteger, nullable=False),
    Index(None, "full_at"),
)

VERSION_TABLE: Final = "alembic_version"
"""The table of Alembic, which holds the version of the schema."""

TABLE_NAMES: Final = (*metadata.tables, VERSION_TABLE)
"""Every table of ubr in a database."""
