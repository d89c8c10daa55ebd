"""The tree over the audit log: queued entries, leaves, nodes, checkpoints, and the keys that sign checkpoints."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ubr.adapters.sql.migrations.effects import Blocks, Effects, Touched

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
effects = Effects(rolling=False, tables=(Touched("logs", Blocks.EVERYTHING, grows=True),))

_GROWING = ("log_leaves", "log_nodes", "log_checkpoints")
_REFUSAL = "entries of the log are only ever added"
_PRUNED = (
    "EXISTS (SELECT 1 FROM {0}log_leaves AS leaf, {0}log_pruned AS pruned "
    "WHERE leaf.entry_id = OLD.id AND leaf.leaf_index < pruned.size)"
)
"""True for an entry whose content may be deleted."""


def upgrade() -> None:
    op.create_table("log_queue", sa.Column("entry_id", sa.Uuid(), nullable=False), _key("log_queue", "entry_id"))
    op.create_table(
        "log_leaves",
        sa.Column("leaf_index", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        _key("log_leaves", "leaf_index"),
        sa.UniqueConstraint("entry_id", name="uq_log_leaves_entry_id"),
    )
    op.create_table(
        "log_nodes",
        sa.Column("level", sa.SmallInteger(), nullable=False, autoincrement=False),
        sa.Column("position", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        _key("log_nodes", "level", "position"),
    )
    op.create_table(
        "log_checkpoints",
        sa.Column("size", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("note", sa.Text(), nullable=False),
        _key("log_checkpoints", "size"),
    )
    head = op.create_table(
        "log_head",
        sa.Column("only", sa.SmallInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("frontier", sa.LargeBinary(), nullable=False),
        _key("log_head", "only"),
    )
    pruned = op.create_table(
        "log_pruned",
        sa.Column("only", sa.SmallInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        _key("log_pruned", "only"),
    )
    op.create_table(
        "log_keys",
        sa.Column("number", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("public", sa.LargeBinary(), nullable=False),
        sa.Column("private", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        _key("log_keys", "number"),
    )
    op.bulk_insert(head, [{"only": 1, "size": 0, "frontier": b""}])
    op.bulk_insert(pruned, [{"only": 1, "size": 0}])
    op.execute("INSERT INTO log_queue (entry_id) SELECT id FROM logs")
    if op.get_bind().dialect.name == "postgresql":
        _guard_postgresql()
    else:
        _guard_sqlite()


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION prune_logs(bigint)")
        for trigger in ("logs_only_grow", "logs_are_pruned", "logs_wait"):
            op.execute(f"DROP TRIGGER {trigger} ON logs")
        op.execute("DROP FUNCTION logs_are_pruned()")
        op.execute("DROP FUNCTION logs_wait()")
        op.execute(_only_grow("logs", "UPDATE OR DELETE OR TRUNCATE"))
    else:
        for trigger in ("logs_wait", "logs_only_grow_delete"):
            op.execute(f"DROP TRIGGER {trigger}")
        op.execute(_refuse_sqlite("logs", "DELETE"))
    for table in ("log_keys", "log_pruned", "log_head", "log_checkpoints", "log_nodes", "log_leaves", "log_queue"):
        op.drop_table(table)


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=f"pk_{table}")


def _guard_postgresql() -> None:
    # Every name includes the schema: the caller may have another table of the same name.
    schema = op.get_bind().execute(sa.select(sa.func.quote_ident(sa.func.current_schema()))).scalar_one()
    # A transition table: one statement queues all entries of an action.
    waits = f"INSERT INTO {schema}.log_queue (entry_id) SELECT id FROM fresh"  # noqa: S608 - quoted by PostgreSQL
    op.execute(f"CREATE FUNCTION logs_wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {waits}; RETURN NULL; END $$")
    op.execute(
        "CREATE TRIGGER logs_wait AFTER INSERT ON logs REFERENCING NEW TABLE AS fresh "
        "FOR EACH STATEMENT EXECUTE FUNCTION logs_wait()"
    )
    op.execute("DROP TRIGGER logs_only_grow ON logs")
    op.execute(_only_grow("logs", "UPDATE OR TRUNCATE"))
    for table in _GROWING:
        op.execute(_only_grow(table, "UPDATE OR DELETE OR TRUNCATE"))
    op.execute(
        "CREATE FUNCTION logs_are_pruned() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN IF NOT {_PRUNED.format(f'{schema}.')} THEN RAISE EXCEPTION '{_REFUSAL}'; END IF; RETURN OLD; END $$"
    )
    op.execute("CREATE TRIGGER logs_are_pruned BEFORE DELETE ON logs FOR EACH ROW EXECUTE FUNCTION logs_are_pruned()")
    # The function deletes with the privileges of the owner of the tables.
    body = (
        "DECLARE done bigint; deleted bigint; BEGIN SELECT size INTO done FROM log_pruned FOR UPDATE; "
        "SELECT LEAST(until, size) INTO until FROM log_head; "
        "UPDATE log_pruned SET size = until WHERE size < until; "
        "DELETE FROM logs USING log_leaves WHERE logs.id = log_leaves.entry_id "
        "AND log_leaves.leaf_index >= done AND log_leaves.leaf_index < until; "
        "GET DIAGNOSTICS deleted = ROW_COUNT; RETURN deleted; END"
    )
    op.execute(
        "CREATE FUNCTION prune_logs(until bigint) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER "
        f"SET search_path = {schema}, pg_temp AS $$ {body} $$"
    )
    op.execute("REVOKE ALL ON FUNCTION prune_logs(bigint) FROM PUBLIC")


def _only_grow(table: str, changes: str) -> str:
    refuse = "FOR EACH STATEMENT EXECUTE FUNCTION logs_only_grow()"
    return f"CREATE TRIGGER logs_only_grow BEFORE {changes} ON {table} {refuse}"


def _guard_sqlite() -> None:
    op.execute(
        "CREATE TRIGGER logs_wait AFTER INSERT ON logs BEGIN INSERT INTO log_queue (entry_id) VALUES (NEW.id); END"
    )
    op.execute("DROP TRIGGER logs_only_grow_delete")
    op.execute(
        f"CREATE TRIGGER logs_only_grow_delete BEFORE DELETE ON logs WHEN NOT {_PRUNED.format('')} "
        f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
    )
    for table in _GROWING:
        for change in ("UPDATE", "DELETE"):
            op.execute(_refuse_sqlite(table, change))


def _refuse_sqlite(table: str, change: str) -> str:
    return (
        f"CREATE TRIGGER {table}_only_grow_{change.lower()} BEFORE {change} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
    )
