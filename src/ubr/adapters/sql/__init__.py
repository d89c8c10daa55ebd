"""Units of work over PostgreSQL and SQLite, with SQLAlchemy Core: one code base, one tree of migrations."""

from ubr.adapters.sql.engine import ConnectionLimits, make_engine, normal_url
from ubr.adapters.sql.unit_of_work import SqlStore, SqlUnitOfWork

__all__ = ["ConnectionLimits", "SqlStore", "SqlUnitOfWork", "make_engine", "normal_url"]
