"""Translates errors of the drivers into errors of the domain. No other module reads an error of a driver."""

from __future__ import annotations

import sqlite3
import ssl
from typing import Final

from sqlalchemy import UniqueConstraint
from sqlalchemy.connectors.asyncio import AsyncAdapt_Error as AdaptedError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ubr.adapters.sql import causes
from ubr.adapters.sql.tables import TABLE_NAMES, metadata
from ubr.domain.errors import (
    EmailTaken,
    LogDamaged,
    MachineNameTaken,
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
    "uq_machines_name": MachineNameTaken,
    "pk_roles": RoleNameTaken,  # built-in roles have fixed ids, which two processes may add at the same moment
    "uq_log_leaves_entry_id": LogDamaged,  # a queued entry is in the tree already
    # A row was read without a lock, and deleted before the row that refers to it was written.
    "fk_user_roles_role_id_roles": RoleNotFound,
    "fk_user_roles_user_id_users": UserNotFound,
    "fk_sessions_user_id_users": UserNotFound,
    "fk_links_user_id_users": UserNotFound,
    "fk_outbox_user_id_users": UserNotFound,
    "fk_reserved_emails_user_id_users": UserNotFound,
    "fk_refresh_tokens_session_id_sessions": SessionNotFound,
    # The actor was deleted meanwhile. The repeated call gets the correct error.
    "fk_replays_actor_id_users": TransactionConflict,
    "fk_replays_user_id_users": TransactionConflict,
    "fk_known_clients_user_id_users": UserNotFound,
    "fk_machines_user_id_users": UserNotFound,
    "fk_machine_keys_user_id_users": UserNotFound,
    "fk_user_field_values_user_id_users": UserNotFound,
}
"""The error for each violated constraint. PostgreSQL reports its name, SQLite the columns of a unique constraint."""

SQLITE_CONSTRAINTS: Final[dict[str, type[UbrError]]] = {
    ", ".join(f"{table.name}.{column.name}" for column in constraint.columns): CONSTRAINTS[str(constraint.name)]
    for table in metadata.tables.values()
    for constraint in table.constraints
    if isinstance(constraint, UniqueConstraint) and str(constraint.name) in CONSTRAINTS
}
SQLITE_REFERENCES: Final[dict[str, type[UbrError]]] = {
    # The other reference of a grant is to its user, whose row was written just before.
    "user_roles": RoleNotFound,
    "sessions": UserNotFound,
    "links": UserNotFound,
    "outbox": UserNotFound,
    "reserved_emails": UserNotFound,
    "refresh_tokens": SessionNotFound,
    "replays": TransactionConflict,
    "known_clients": UserNotFound,
    "machines": UserNotFound,
    "machine_keys": UserNotFound,
    "user_field_values": UserNotFound,
}
"""The error for a violated foreign key, by the written table: SQLite does not report which key it was."""
_NOT_TEXT: Final = "Could not decode to UTF-8"
"""The start of the driver's message for a stored text that is not UTF-8."""
_SQLITE_UNIQUE: Final = "UNIQUE constraint failed: "

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_UNAVAILABLE_CLASSES: Final = {
    "08",  # connection
    "28",  # the password was changed while ubr was running
    "53",  # disk full, out of memory, too many connections
    "57",  # cancelled by a timeout, shut down, starting
    "58",  # system error outside PostgreSQL
}
_UNAVAILABLE_STATES: Final = {
    "25006",  # read-only: a standby, or configured
    "25P03",  # idle in a transaction for too long
    "25P04",  # in a transaction for too long
    "3D000",  # the database does not exist
}
_SLOW_STATES: Final = {
    "55P03": "lock_timeout",
    "57014": "statement_timeout, or cancelled by an administrator",
}
MISSING_PRIVILEGE: Final = "sqlstate 42501"
"""The reason of a `SqlUnavailable`."""
_CONFLICT_STATES: Final = {
    "40001",  # serialization failure
    "40P01",  # deadlock
}
_LOST_STATEMENTS: Final = {
    "26000",  # the prepared statement does not exist
    "42P05",  # a prepared statement of that name exists
}
"""A pooler gave the session, with its prepared statements, to another client."""
_LOST: Final = (
    "A pooler in front of the database loses prepared statements: append ?prepared_statement_cache_size=0 to the URL"
)
NO_CONNECTION: Final = "All database connections of this worker are in use: UBR_POOL_SIZE is their number"

_STALE_PLANS: Final = {"InvalidCachedStatementError", "OutdatedSchemaCacheError"}
"""Errors of asyncpg after the tables of a prepared statement were changed. SQLAlchemy drops its caches then."""

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
    """`reason` is for the service's log: a code of the database or the name of a limit, never a text of the database.

    `cause` is a sentence for the operator, if the cause is known.
    """

    def __init__(self, reason: str, cause: str | None = None, *, retry_after: int = 1) -> None:
        super().__init__(cause, retry_after=retry_after)
        self.reason = reason


class SqlTooSlow(SqlUnavailable, StoreTooSlow):
    """The database is reachable. The statement certainly had no effect."""


class SqlTransactionConflict(SqlUnavailable, TransactionConflict):
    """Two units conflicted. This one was certainly rolled back, so it can be repeated."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, "The changes of other requests kept conflicting with this one")


def is_answer(error: BaseException) -> bool:
    """True if the database itself answered with this error: the state of the connection is then known."""
    driver = _of_driver(error)
    if isinstance(driver, sqlite3.Error):
        return getattr(driver, "sqlite_errorcode", None) is not None
    return _state(driver) is not None


def translated(error: BaseException, *, lost: bool = False) -> UbrError | None:
    """The error of the domain for an error of a driver; None for a bug, which is raised unchanged.

    `lost` is True if the connection is closed.
    """
    if isinstance(error, UbrError):
        return error
    if isinstance(error, PoolTimeoutError):
        return SqlUnavailable("no connection was free", NO_CONNECTION)
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
    if code is None:  # raised by SQLAlchemy itself: the connection was closed meanwhile
        return SqlUnavailable("connection closed") if isinstance(error, sqlite3.OperationalError) else None
    name = getattr(error, "sqlite_errorname", "SQLITE")
    if code & 0xFF in _SQLITE_SLOW:
        return SqlTooSlow(name)
    if code & 0xFF in _SQLITE_UNAVAILABLE:
        return SqlUnavailable(name, causes.of_sqlite(name))
    return None


def _of_postgresql(driver: BaseException, *, lost: bool) -> UbrError | None:
    if type(driver).__name__ in _STALE_PLANS:
        # Nothing was executed, and the next attempt prepares the query again: reads are repeated for this too.
        return SqlTransactionConflict("stale plan")
    state, reason = _state(driver), driver.__cause__ or driver.__context__
    if (state or "08").startswith("08") and isinstance(reason, ssl.SSLError):
        # With TLS 1.3 a server rejects a certificate after the handshake: to the driver the connection is closed.
        return SqlUnavailable(*causes.of_connecting(reason))
    if state is None:
        if type(driver).__name__ == "ClientConfigurationError":
            return SqlUnavailable(*causes.of_options(f"{driver}"))
        # Some errors of the driver are bugs of ubr, such as an argument of the wrong type. They stay unchanged.
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
    if reason == MISSING_PRIVILEGE:
        return SqlUnavailable(reason, causes.of_denial(message, TABLE_NAMES))
    if state[:2] in _UNAVAILABLE_CLASSES or state in _UNAVAILABLE_STATES or lost:
        return SqlUnavailable(reason, causes.of_state(state, message))
    return None
