"""Tables whose rows come and go are cleaned by PostgreSQL when little of them is dead, and not when a fifth is."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_TABLES = (
    "sessions",
    "refresh_tokens",
    "links",
    "outbox",
    "replays",
    "feed",
    "log_queue",
    "password_tries",
    "known_clients",
    "counters",
)
# Of five million sessions a fifth is a million dead rows, which every look at an index passes by.
_PARAMETERS = {
    "autovacuum_vacuum_scale_factor": "0.01",
    "autovacuum_vacuum_threshold": "1000",
    "autovacuum_analyze_scale_factor": "0.02",
    "autovacuum_analyze_threshold": "1000",
}


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        chosen = ", ".join(f"{name} = {value}" for name, value in _PARAMETERS.items())
        for table in _TABLES:
            op.execute(f"ALTER TABLE {table} SET ({chosen})")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for table in _TABLES:
            op.execute(f"ALTER TABLE {table} RESET ({', '.join(_PARAMETERS)})")
