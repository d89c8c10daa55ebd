"""PostgreSQL vacuums tables with many short-lived rows after 1 % of dead rows, not after 20 %."""

from __future__ import annotations

from alembic import op

from ubr.adapters.sql.migrations.effects import Effects

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None
effects = Effects(rolling=True)

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
# A fifth of five million sessions is a million dead rows, which every index scan has to skip.
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
