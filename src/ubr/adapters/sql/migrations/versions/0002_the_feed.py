"""The feed of ends and changes, numbered in the order of the commits, and the workers that follow it."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

from ubr.adapters.sql.migrations.effects import Effects

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
effects = Effects(rolling=False)


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "feed",
        sa.Column("batch", sa.Uuid(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("number", sa.BigInteger()),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("thing", sa.Text(), nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.PrimaryKeyConstraint("batch", "ordinal", name="pk_feed"),
    )
    op.create_index("ix_feed_number", "feed", ["number"], unique=True)
    op.create_index("ix_feed_at", "feed", ["at"])
    head = op.create_table(
        "feed_head",
        sa.Column("only", sa.SmallInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("only", name="pk_feed_head"),
    )
    op.bulk_insert(head, [{"only": 1, "number": 0, "epoch": secrets.token_hex(16)}])
    op.create_table(
        "workers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("renewal", sa.Uuid(), nullable=False),
        sa.Column("renewed_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_workers"),
    )
    if op.get_bind().dialect.name == "postgresql":
        # Numbers are assigned as the last step before COMMIT, and the row of the counter stays locked until then. A
        # reader that sees a number therefore sees every row with a lower number.
        op.execute(
            "CREATE FUNCTION number_feed() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE next bigint; BEGIN "
            "UPDATE feed_head SET number = number + 1 RETURNING number INTO next; "
            "UPDATE feed SET number = next WHERE batch = NEW.batch AND ordinal = NEW.ordinal; "
            "RETURN NULL; END $$"
        )
        op.execute(
            "CREATE CONSTRAINT TRIGGER number_feed AFTER INSERT ON feed DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION number_feed()"
        )
    else:
        # A transaction that writes is alone from its beginning to its end.
        op.execute(
            "CREATE TRIGGER number_feed AFTER INSERT ON feed BEGIN "
            "UPDATE feed_head SET number = number + 1; "
            "UPDATE feed SET number = (SELECT number FROM feed_head) "
            "WHERE batch = NEW.batch AND ordinal = NEW.ordinal; END"
        )


def downgrade() -> None:
    for table in ("workers", "feed_head", "feed"):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION number_feed()")
