"""Units of work over PostgreSQL and SQLite, with SQLAlchemy Core: one code base, one tree of migrations."""

from ubr.extras import require_database

require_database()

from ubr.adapters.sql.engine import ConnectionLimits, make_engine, normal_url  # noqa: E402
from ubr.adapters.sql.unit_of_work import SqlStore, SqlUnitOfWork  # noqa: E402

__all__ = ["ConnectionLimits", "SqlStore", "SqlUnitOfWork", "make_engine", "normal_url"]
