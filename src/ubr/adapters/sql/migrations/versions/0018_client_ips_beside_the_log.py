"""Keeps the client IPs of new log entries beside them, where they can be deleted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ubr.adapters.sql.migrations.effects import Effects

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None
effects = Effects(rolling=True)

_BEGIN = (
    "DECLARE done bigint; deleted bigint; BEGIN SELECT size INTO done FROM log_pruned FOR UPDATE; "
    "SELECT LEAST(until, size) INTO until FROM log_head; "
    "UPDATE log_pruned SET size = until WHERE size < until; "
)
_END = (
    "DELETE FROM logs USING log_leaves WHERE logs.id = log_leaves.entry_id "
    "AND log_leaves.leaf_index >= done AND log_leaves.leaf_index < until; "
    "GET DIAGNOSTICS deleted = ROW_COUNT; RETURN deleted; END"
)
_DELETE_IPS = (
    "DELETE FROM log_client_ips USING log_leaves WHERE log_client_ips.entry_id = log_leaves.entry_id "
    "AND log_leaves.leaf_index >= done AND log_leaves.leaf_index < until; "
)


def upgrade() -> None:
    op.create_table(
        "log_client_ips",
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.Column("ip", sa.Text(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("entry_id", name="pk_log_client_ips"),
    )
    if op.get_bind().dialect.name == "postgresql":
        _pruning(_DELETE_IPS)


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        _pruning("")
    op.drop_table("log_client_ips")


def _pruning(more: str) -> None:
    """Replace the function that prunes. It keeps its owner and its privileges."""
    schema = op.get_bind().execute(sa.select(sa.func.quote_ident(sa.func.current_schema()))).scalar_one()
    body = "".join((_BEGIN, more, _END))
    op.execute(
        "CREATE OR REPLACE FUNCTION prune_logs(until bigint) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER "
        f"SET search_path = {schema}, pg_temp AS $$ {body} $$"
    )
