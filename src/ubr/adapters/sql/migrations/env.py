"""The script that Alembic runs for every command. The caller provides the connection and the transaction."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from ubr.adapters.sql.tables import metadata

connection: Connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    compare_type=True,
    render_as_batch=connection.dialect.name == "sqlite",
)
with context.begin_transaction():
    context.run_migrations()
