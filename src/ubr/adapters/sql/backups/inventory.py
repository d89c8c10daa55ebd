"""The content of a database, and its flaws, as one connection sees them."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Connection, Text, column, func, inspect, select, table, text

from ubr.adapters.sql.migrations.schema import find_place
from ubr.adapters.sql.tables import log_checkpoints, metadata
from ubr.application.ports.backups import BackupFailed, CheckpointOfLog, DatabaseKind, Inventory

_INVALID: Final = text(
    "SELECT 'The constraint ' || conname || ' is not validated' FROM pg_constraint"
    " WHERE connamespace = to_regnamespace(:schema) AND NOT convalidated"
    " UNION ALL SELECT 'The index ' || indexrelid::regclass || ' is invalid' FROM pg_index"
    " JOIN pg_class ON pg_class.oid = indexrelid WHERE relnamespace = to_regnamespace(:schema) AND NOT indisvalid"
)
_IN_SQLITE: Final = text(
    "SELECT type || ' ' || name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT GLOB 'sqlite_*'"
)
_IN_POSTGRESQL: Final = text("""
WITH relations AS (SELECT * FROM pg_class WHERE relnamespace = to_regnamespace(:schema))
SELECT 'column ' || relname || '.' || attname,
    concat_ws(' ', format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated,
        pg_get_expr(adbin, adrelid))
FROM pg_attribute JOIN relations ON relations.oid = attrelid
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'p', 'v', 'm')
UNION ALL
SELECT 'table ' || relname, concat_ws(' ', relkind, relpersistence, relrowsecurity, relforcerowsecurity, reloptions)
FROM relations WHERE relkind IN ('r', 'p')
UNION ALL
SELECT 'view ' || relname, pg_get_viewdef(oid) FROM relations WHERE relkind IN ('v', 'm')
UNION ALL
SELECT 'sequence ' || relname, '' FROM relations WHERE relkind = 'S'
UNION ALL
SELECT 'index ' || relname, pg_get_indexdef(oid) FROM relations WHERE relkind IN ('i', 'I')
UNION ALL
SELECT 'constraint ' || relname || '.' || conname, pg_get_constraintdef(pg_constraint.oid)
FROM pg_constraint JOIN relations ON relations.oid = conrelid
UNION ALL
SELECT 'trigger ' || relname || '.' || tgname, concat_ws(' ', pg_get_triggerdef(pg_trigger.oid), tgenabled)
FROM pg_trigger JOIN relations ON relations.oid = tgrelid WHERE NOT tgisinternal
UNION ALL
SELECT 'rule ' || relname || '.' || rulename, concat_ws(' ', pg_get_ruledef(pg_rewrite.oid), ev_enabled)
FROM pg_rewrite JOIN relations ON relations.oid = ev_class WHERE rulename <> '_RETURN'
UNION ALL
SELECT 'policy ' || relname || '.' || polname,
    concat_ws(' ', polcmd, polpermissive, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
FROM pg_policy JOIN relations ON relations.oid = polrelid
UNION ALL
SELECT 'function ' || proname || '(' || pg_get_function_identity_arguments(oid) || ')', pg_get_functiondef(oid)
FROM pg_proc WHERE pronamespace = to_regnamespace(:schema) AND prokind IN ('f', 'p')
""")
_PROBLEMS: Final = 5
"""The number of problems of a damaged SQLite file that are reported."""


def take_inventory(connection: Connection, schema: str | None) -> Inventory:
    """Errors: `BackupFailed` if there are no tables of ubr; `ForeignTables`."""
    place = find_place(connection, schema)
    if place.revision is None:
        raise BackupFailed("The database has no tables of ubr")
    kind: DatabaseKind = "sqlite" if connection.dialect.name == "sqlite" else "postgresql"
    server = "sqlite_version()" if kind == "sqlite" else "current_setting('server_version')"
    tables = sorted(set(inspect(connection).get_table_names(schema=place.schema)) & set(metadata.tables))
    return Inventory(
        kind=kind,
        server=str(connection.execute(text(f"SELECT {server}")).scalar_one()),
        schema=place.schema,
        revision=place.revision,
        rows={
            name: connection.execute(select(func.count()).select_from(table(name, schema=place.schema))).scalar_one()
            for name in tables
        },
        checkpoint=_newest_checkpoint(connection, place.schema) if log_checkpoints.name in tables else None,
    )


def _newest_checkpoint(connection: Connection, schema: str | None) -> CheckpointOfLog | None:
    size, note = column("size", BigInteger), column("note", Text)
    checkpoints = table(log_checkpoints.name, size, note, schema=schema)
    newest = connection.execute(select(size, note).select_from(checkpoints).order_by(size.desc()).limit(1)).first()
    return None if newest is None else CheckpointOfLog(size=newest.size, note=newest.note)


def data_flaws(connection: Connection, schema: str | None) -> list[str]:
    """A sentence about each violated or invalid constraint, reference and index."""
    if connection.dialect.name != "sqlite":
        # The restoration creates each constraint after the rows, which PostgreSQL checks then.
        quoted = connection.dialect.identifier_preparer.quote_identifier(schema or "")
        return list(connection.execute(_INVALID, {"schema": quoted}).scalars())
    problems = connection.execute(text(f"PRAGMA integrity_check({_PROBLEMS})")).scalars()
    flaws = [f"The file is damaged: {problem}" for problem in problems if problem != "ok"]
    dangling = {(row[0], row[2]) for row in connection.execute(text("PRAGMA foreign_key_check"))}
    return flaws + [f"Rows of {child} refer to missing rows of {parent}" for child, parent in sorted(dangling)]


def schema_flaws(connection: Connection) -> list[str]:
    """A sentence about each difference between the tables, in the search path, and those of this version."""
    from alembic.autogenerate import compare_metadata  # noqa: PLC0415 - loaded by this check alone
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415

    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return [_difference(found) for found in compare_metadata(context, metadata)]


def definitions(connection: Connection, schema: str | None) -> dict[str, str]:
    """The definition of everything in the schema except rows, by kind and name."""
    if connection.dialect.name == "sqlite":
        found = connection.execute(_IN_SQLITE)
    else:
        quoted = connection.dialect.identifier_preparer.quote_identifier(schema or "")
        found = connection.execute(_IN_POSTGRESQL, {"schema": quoted})
    return {row[0]: row[1] for row in found}


def _difference(found: Any) -> str:
    step, *about = found[0] if isinstance(found, list) else found
    names = ".".join(str(getattr(each, "name", each)) for each in about if each is not None)
    if step == "add_table":
        return f"The table {names} is missing"
    return f"The tables differ from those of this version ({step} {names})"
