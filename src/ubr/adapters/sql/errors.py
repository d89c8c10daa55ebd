"""What the databases say, in the words of the domain. The one place that reads a driver's error."""

from __future__ import annotations

import sqlite3
from typing import Final

from sqlalchemy import UniqueConstraint
from sqlalchemy.connectors.asyncio import AsyncAdapt_Error as AdaptedError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ubr.adapters.sql import causes
from ubr.adapters.sql.tables import metadata
from ubr.domain.errors import (
    EmailTaken,
    LogDamaged,
    RoleNameTaken,
    RoleNotFound,
    SessionNotFound,
    StoreTooSlow,
    StoreUnavailable,
    TransactionConflict,
    UbrError,
    UserNotFound,
)

CONSTRAINTS: Final[dict[str, type[UbrError]]] = {
    "uq_users_email_key": EmailTaken,
    "uq_roles_name": RoleNameTaken,
    "pk_roles": RoleNameTaken,  # built-in roles have known ids, which two services may add at the same moment
    "uq_log_leaves_entry_id": LogDamaged,  # what waits to be in the tree is in it already
    # These are broken where a thing went away between being read without a lock and being pointed at.
    "fk_user_roles_role_id_roles": RoleNotFound,
    "fk_user_roles_user_id_users": UserNotFound,
    "fk_sessions_user_id_users": UserNotFound,
    "fk_links_user_id_users": UserNotFound,
    "fk_outbox_user_id_users": UserNotFound,
    "fk_reserved_emails_user_id_users": UserNotFound,
    "fk_refresh_tokens_session_id_sessions": SessionNotFound,
    # Who acts went away meanwhile. Done again, the call is told what there is to be told of that.
    "fk_replays_actor_id_users": TransactionConflict,
    "fk_replays_user_id_users": TransactionConflict,
    "fk_known_clients_user_id_users": UserNotFound,
}
"""What it means that a constraint is broken. PostgreSQL tells its name, SQLite the columns of a unique one."""

SQLITE_CONSTRAINTS: Final[dict[str, type[UbrError]]] = {
    ", ".join(f"{table.name}.{column.name}" for column in constraint.columns): CONSTRAINTS[str(constraint.name)]
    for table in metadata.tables.values()
    for constraint in table.constraints
    if isinstance(constraint, UniqueConstraint) and str(constraint.name) in CONSTRAINTS
}
SQLITE_REFERENCES: Final[dict[str, type[UbrError]]] = {
    # The other reference of a grant is to its user, whose row is written just before.
    "user_roles": RoleNotFound,
    "sessions": UserNotFound,
    "links": UserNotFound,
    "outbox": UserNotFound,
    "reserved_emails": UserNotFound,
    "refresh_tokens": SessionNotFound,
    "replays": TransactionConflict,
    "known_clients": UserNotFound,
}
"""The same for foreign keys, of which SQLite tells nothing at all, by the table that was written."""
_NOT_TEXT: Final = "Could not decode to UTF-8"
"""How the driver begins to say that a text is none."""
_SQLITE_UNIQUE: Final = "UNIQUE constraint failed: "

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_UNAVAILABLE_CLASSES: Final = {
    "08",  # connection
    "28",  # the password was changed under us
    "53",  # disk full, out of memory, too many connections
    "57",  # cancelled by a timeout, shut down, starting
    "58",  # the system below PostgreSQL
}
_UNAVAILABLE_STATES: Final = {
    "25006",  # read-only: a standby, or set so
    "25P03",  # idle in a transaction for too long
    "25P04",  # in a transaction for too long
    "3D000",  # no such database
}
_SLOW_STATES: Final = {
    "55P03": "lock_timeout",
    "57014": "statement_timeout, or cancelled by an administrator",
}
_CONFLICT_STATES: Final = {
    "40001",  # serialization failure
    "40P01",  # deadlock
}
_LOST_STATEMENTS: Final = {
    "26000",  # no such prepared statement
    "42P05",  # there is one of that name
}
"""A pooler on the way gave the session to somebody else, with the statements that were prepared in it."""
_LOST: Final = "A pooler before the database loses prepared statements: end the URL in ?prepared_statement_cache_size=0"
_STALE_PLANS: Final = {"InvalidCachedStatementError", "OutdatedSchemaCacheError"}
"""What asyncpg raises where the tables changed under a prepared statement. SQLAlchemy drops its caches upon it."""

# https://www.sqlite.org/rescode.html
_SQLITE_UNAVAILABLE: Final = {
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_NOTADB,
}


_SQLITE_SLOW: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


class SqlUnavailable(StoreUnavailable):
    """`reason` is for the operator's log: a code of the database or the name of a limit, never its text.

    `cause` is a sentence for the operator, where more is known.
    """

    def __init__(self, reason: str, cause: str | None = None, *, retry_after: int = 1) -> None:
        super().__init__(cause, retry_after=retry_after)
        self.reason = reason


class SqlTooSlow(SqlUnavailable, StoreTooSlow):
    """The database answers, and certainly did nothing."""


class SqlTransactionConflict(SqlUnavailable, TransactionConflict):
    """Two units stood in each other's way and this one was rolled back, certainly: it may be repeated."""


def is_answer(error: BaseException) -> bool:
    """True for an answer of the database: the state of the connection is then known."""
    driver = _of_driver(error)
    if isinstance(driver, sqlite3.Error):
        return getattr(driver, "sqlite_errorcode", None) is not None
    return _state(driver) is not None


def translated(error: BaseException, *, lost: bool = False) -> UbrError | None:
    """The meaning of a driver's error; None for a bug, which is raised as it is. `lost`: the connection is closed."""
    if isinstance(error, UbrError):
        return error
    if isinstance(error, PoolTimeoutError):
        return SqlUnavailable("no connection was free")
    driver = _of_driver(error)
    if isinstance(driver, OSError):
        return SqlUnavailable(*causes.of_connecting(driver))
    if isinstance(driver, sqlite3.Error):
        return _of_sqlite(driver, (error.statement if isinstance(error, DBAPIError) else None) or "")
    if driver is None or type(driver).__module__.partition(".")[0] != "asyncpg":
        return None
    return _of_postgresql(driver, lost=lost or (isinstance(error, DBAPIError) and error.connection_invalidated))


def _of_driver(error: BaseException | None) -> BaseException | None:
    """The error of the driver, which SQLAlchemy may have wrapped: in its own, and for asyncpg in one of its adapter."""
    if isinstance(error, DBAPIError):
        error = error.orig
    if isinstance(error, AdaptedError):
        error = error.__cause__
    return error


def _state(driver: BaseException | None) -> str | None:
    """The SQLSTATE of an answer of PostgreSQL."""
    state: str | None = getattr(driver, "sqlstate", None)
    return state


def _of_sqlite(error: sqlite3.Error, statement: str) -> UbrError | None:
    code = getattr(error, "sqlite_errorcode", None)
    broken: type[UbrError] | None = None
    if code == sqlite3.SQLITE_CONSTRAINT_UNIQUE:
        broken = SQLITE_CONSTRAINTS.get(str(error).removeprefix(_SQLITE_UNIQUE))
    elif code == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
        words = statement.removeprefix("INSERT INTO ").removeprefix("UPDATE ").split(maxsplit=1)
        broken = SQLITE_REFERENCES.get(words[0]) if words else None
    if broken is not None:
        return broken()
    if code is None and str(error).startswith(_NOT_TEXT):
        return None
    if code is None:  # Of SQLAlchemy's own making: the connection was closed under us.
        return SqlUnavailable("connection closed") if isinstance(error, sqlite3.OperationalError) else None
    name = getattr(error, "sqlite_errorname", "SQLITE")
    if code & 0xFF in _SQLITE_SLOW:
        return SqlTooSlow(name)
    if code & 0xFF in _SQLITE_UNAVAILABLE:
        return SqlUnavailable(name, causes.of_sqlite(name))
    return None


def _of_postgresql(driver: BaseException, *, lost: bool) -> UbrError | None:
    if type(driver).__name__ in _STALE_PLANS:
        return SqlTransactionConflict("stale plan")
    state = _state(driver)
    if state is None:
        if type(driver).__name__ == "ClientConfigurationError":
            return SqlUnavailable(*causes.of_options(f"{driver}"))
        # Some errors of the driver are ours, such as an argument of the wrong type: those stay what they are.
        return SqlUnavailable("connection lost") if lost or "closed" in f"{driver}" else None
    if state[:2] == "23" and (broken := CONSTRAINTS.get(getattr(driver, "constraint_name", ""))) is not None:
        return broken()
    return _of_state(state, f"{driver}", lost=lost)


def _of_state(state: str, message: str, *, lost: bool) -> UbrError | None:
    reason = f"sqlstate {state}"
    if state in _CONFLICT_STATES:
        return SqlTransactionConflict(reason)
    if state in _SLOW_STATES:
        return SqlTooSlow(f"{reason}: {_SLOW_STATES[state]}")
    if state in _LOST_STATEMENTS:
        return SqlUnavailable(reason, _LOST)
    if state[:2] in _UNAVAILABLE_CLASSES or state in _UNAVAILABLE_STATES or lost:
        return SqlUnavailable(reason, causes.of_state(state, message))
    return None


def explained(error: BaseException) -> UbrError | None:
    """The same for a caller that begins: a missing privilege is then an answer, and not a bug."""
    if (meaning := translated(error)) is not None:
        return meaning
    state = _state(_of_driver(error))
    if state == "42501":
        return SqlUnavailable(f"sqlstate {state}", causes.of_state(state))
    return None
