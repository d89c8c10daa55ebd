"""Refuses new password hashes that are not bound to the secret, even from the role of the service."""

from __future__ import annotations

from alembic import op

from ubr.adapters.sql.migrations.effects import Blocks, Effects, Touched

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None
# The previous version stores hashes that are not bound.
effects = Effects(rolling=False, tables=(Touched("users", Blocks.WRITES),))

# Hashes from before stay until the next login or `ubr keys rewrap`: only a new value is refused.
_PLAIN = "NEW.password_hash LIKE '$argon2%'"


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION bound_hashes_only() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN RAISE EXCEPTION ''a password hash must be bound to the secret''; END'"
        )
        run = "FOR EACH ROW WHEN ({}) EXECUTE FUNCTION bound_hashes_only()"
        changed = f"{_PLAIN} AND NEW.password_hash IS DISTINCT FROM OLD.password_hash"
        op.execute(f"CREATE TRIGGER bound_hashes_are_added BEFORE INSERT ON users {run.format(_PLAIN)}")
        op.execute(f"CREATE TRIGGER bound_hashes_are_set BEFORE UPDATE ON users {run.format(changed)}")
    else:
        stop = "BEGIN SELECT RAISE(ABORT, 'a password hash must be bound to the secret'); END"
        changed = f"{_PLAIN} AND NEW.password_hash IS NOT OLD.password_hash"
        op.execute(f"CREATE TRIGGER bound_hashes_are_added BEFORE INSERT ON users WHEN {_PLAIN} {stop}")
        op.execute(f"CREATE TRIGGER bound_hashes_are_set BEFORE UPDATE ON users WHEN {changed} {stop}")


def downgrade() -> None:
    on = " ON users" if op.get_bind().dialect.name == "postgresql" else ""
    for trigger in ("bound_hashes_are_set", "bound_hashes_are_added"):
        op.execute(f"DROP TRIGGER {trigger}{on}")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION bound_hashes_only()")
