"""Finds the schema for the tables of ubr, and checks that ubr can work with the database."""

from __future__ import annotations

from typing import Final

import msgspec
from sqlalchemy import Connection, Select, Text, TextClause, column, func, inspect, select, table, text
from sqlalchemy.exc import DBAPIError

from ubr.adapters.sql.errors import MISSING_PRIVILEGE, SqlUnavailable
from ubr.adapters.sql.tables import VERSION_TABLE, metadata

_NEW: Final = "ubr"
_OURS: Final = {"users", "roles", "user_roles", "sessions", "refresh_tokens", VERSION_TABLE}
"""Tables that every revision has. Another application may have some of these names, but hardly all of them."""
_OLDEST: Final = 14
"""The oldest supported major version of PostgreSQL."""


_EXISTS: Final = {
    "23505",  # created by a transaction that committed while this one waited for the name
    "42P06",
    "42P07",
}
"""SQLSTATEs for a schema or table that exists already."""


class ForeignTables(SqlUnavailable):
    """The place for the tables of ubr holds tables of another application."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """The schema of the tables, None in SQLite, and their revision, None if there are no tables yet."""

    schema: str | None
    revision: str | None = None


def check_server(connection: Connection) -> None:
    """Check the version and the encoding of PostgreSQL, before anything is written. Errors: `SqlUnavailable`."""
    if connection.dialect.name != "postgresql":
        return
    encoding, number = connection.execute(
        text("SELECT current_setting('server_encoding'), current_setting('server_version_num')::int")
    ).one()
    if number // 10_000 < _OLDEST:
        raise SqlUnavailable(
            f"version {number // 10_000}",
            f"The database is PostgreSQL {number // 10_000}; ubr needs {_OLDEST} or newer",
        )
    if encoding != "UTF8":
        raise SqlUnavailable(
            f"encoding {encoding}",
            f"The database has the encoding {encoding}, which cannot hold every name; create one with ENCODING 'UTF8'",
        )


def find_place(connection: Connection, schema: str | None) -> Place:
    """The place of the tables; if there are none yet, the place where they will be created. Errors: `ForeignTables`."""
    if connection.dialect.name != "postgresql":
        return _at(connection, None) or _free(connection, None)
    # The default schema is not among the current ones if the role must not use it.
    current = select(func.current_schemas(False))
    candidates = [schema] if schema else [*connection.execute(current).scalar_one(), _NEW]
    for each in candidates:
        if (place := _at(connection, each)) is not None:
            return place
    return _free(connection, schema or _NEW)


def prepare_place(connection: Connection, place: Place) -> None:
    """Make the rest of the transaction find and create tables in this place only. Creates the schema if it is missing.

    Errors: `SqlUnavailable` if the role lacks the privilege.
    """
    if place.schema is None:
        return
    quote = connection.dialect.identifier_preparer.quote_identifier
    exists, may_make, may_fill = connection.execute(
        text(
            "SELECT to_regnamespace(:name) IS NOT NULL, has_database_privilege(current_database(), 'CREATE'),"
            " coalesce(has_schema_privilege(to_regnamespace(:name)::oid, 'CREATE'), false)"
        ),
        {"name": quote(place.schema)},
    ).one()
    if not (may_fill if exists else may_make):
        what = f"create tables in the schema {place.schema}" if exists else f"create the schema {place.schema}"
        raise SqlUnavailable(MISSING_PRIVILEGE, f"The role lacks the privilege to {what} in the database")
    if not exists:
        create_unless_exists(connection, text(f"CREATE SCHEMA {quote(place.schema)}"))
    connection.execute(select(func.set_config("search_path", quote(place.schema), True)))


def create_unless_exists(connection: Connection, statement: TextClause) -> None:
    """Execute a CREATE statement; a concurrent upgrade may have created the same object."""
    try:
        with connection.begin_nested():
            connection.execute(statement)
    except DBAPIError as error:
        if getattr(getattr(error.orig, "__cause__", None), "sqlstate", None) not in _EXISTS:
            raise


def _revisions(schema: str | None) -> Select[str]:
    return select(column("version_num", Text)).select_from(table(VERSION_TABLE, schema=schema))


def _at(connection: Connection, schema: str | None) -> Place | None:
    """The place in this schema; None if it has no tables of ubr.

    Errors: `SqlUnavailable` if the role must not use the schema.
    """
    if not set(inspect(connection).get_table_names(schema=schema)) >= _OURS:
        return None
    if schema is not None and not connection.execute(select(func.has_schema_privilege(schema, "USAGE"))).scalar_one():
        raise SqlUnavailable(
            MISSING_PRIVILEGE, f"The database role may not use the schema {schema}, which has the tables of ubr"
        )
    return Place(schema=schema, revision=connection.execute(_revisions(schema)).scalar())


def _free(connection: Connection, schema: str | None) -> Place:
    tables = set(inspect(connection).get_table_names(schema=schema))
    foreign = tables & set(metadata.tables)
    if VERSION_TABLE in tables and not foreign and connection.execute(_revisions(schema)).first() is not None:
        foreign = {VERSION_TABLE}
    if foreign:
        names = ", ".join(sorted(foreign))
        raise ForeignTables(
            "foreign tables",
            f"The database file contains tables of another application ({names}): use another file"
            if schema is None
            else f"The schema {schema} contains tables of another application ({names}): "
            "name another schema in UBR_DATABASE_SCHEMA",
        )
    return Place(schema=schema)
