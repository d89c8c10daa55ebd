"""The privileges of the service's role in PostgreSQL, if another role owns the tables."""

from __future__ import annotations

from typing import Final

import msgspec
from sqlalchemy import ARRAY, Connection, Text, bindparam, cast, column, func, literal, select, text
from sqlalchemy.dialects.postgresql import OID

from ubr.adapters.sql.tables import TABLE_NAMES, VERSION_TABLE

_READ: Final = "SELECT"
_ADD: Final = "SELECT, INSERT"
_ALL: Final = "SELECT, INSERT, UPDATE, DELETE"

_LESS: Final = {
    "logs": _ADD,
    "log_client_ips": "SELECT, INSERT, DELETE",
    "log_leaves": _ADD,
    "log_nodes": _ADD,
    "log_checkpoints": _ADD,
    "log_queue": "SELECT, INSERT, DELETE",
    "log_head": "SELECT, UPDATE",
    "log_pruned": _READ,
    "log_keys": "SELECT, INSERT, UPDATE",
    "signing_keys": "SELECT, INSERT, UPDATE",
    "feed_head": "SELECT, UPDATE",
    VERSION_TABLE: _READ,
}
"""Tables with fewer privileges. Above all, the role cannot change or delete entries of the log."""

_CHANGES: Final = ("UPDATE", "DELETE", "TRUNCATE")
_PRIVILEGES: Final = ("SELECT", "INSERT", *_CHANGES)
_HELD: Final = select(
    column("name"),
    *(
        func.has_table_privilege(cast(func.to_regclass(column("name")), OID), literal(privilege))
        for privilege in _PRIVILEGES
    ),
).select_from(func.unnest(bindparam("tables", type_=ARRAY(Text))).alias("name"))


_OF_ROLE: Final = text(
    "SELECT quote_ident(:role),"
    " EXISTS (SELECT FROM pg_roles WHERE rolname = :role),"
    " EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_iam'),"
    " EXISTS (SELECT FROM pg_auth_members"
    " JOIN pg_roles AS whole ON whole.oid = roleid JOIN pg_roles AS member ON member.oid = pg_auth_members.member"
    " WHERE whole.rolname = 'rds_iam' AND member.rolname = :role)"
)


def grants(connection: Connection, role: str) -> list[str]:
    """The statements that grant a role the privileges that the service needs, and revoke its others.

    Empty for the role that owns the tables itself.
    """
    schema, name, owner = connection.execute(
        select(func.quote_ident(func.current_schema()), func.quote_ident(role), func.current_user())
    ).one()
    if role == owner:
        return []
    statements = [
        f"GRANT USAGE ON SCHEMA {schema} TO {name}",
        f"REVOKE ALL ON FUNCTION {schema}.prune_logs(bigint) FROM {name}",
    ]
    for table in TABLE_NAMES:
        statements.append(f"REVOKE ALL ON {schema}.{table} FROM {name}")
        statements.append(f"GRANT {_LESS.get(table, _ALL)} ON {schema}.{table} TO {name}")
    return statements


def authenticated_by_iam(connection: Connection, role: str) -> list[str]:
    """The statements that create a role without a password, unless it exists, and let IAM authenticate it at RDS.

    RDS has the role `rds_iam` for that. Empty if nothing is left to do.
    """
    name, exists, offered, member = connection.execute(_OF_ROLE, {"role": role}).one()
    statements = [] if exists else [f"CREATE ROLE {name} LOGIN"]
    if offered and not member:
        statements.append(f"GRANT rds_iam TO {name}")
    return statements


class Privileges(msgspec.Struct, frozen=True, kw_only=True):
    """The privileges of the current role, each as `UPDATE on logs`."""

    lacking: tuple[str, ...]
    """Those that the service needs and the role does not have."""
    on_the_log: tuple[str, ...]
    """Those by which the role can change the audit log."""
    only_reads: bool
    """True if the role may change no table."""


def privileges(connection: Connection) -> Privileges:
    """The privileges of the current role. The tables have to exist."""
    lacking: list[str] = []
    on_the_log: list[str] = []
    held = {
        table: {privilege for privilege, has in zip(_PRIVILEGES, has, strict=True) if has}
        for table, *has in connection.execute(_HELD, {"tables": list(TABLE_NAMES)})
    }
    for table, privileges_held in held.items():
        needed = _LESS.get(table, _ALL)
        lacking += [f"{each} on {table}" for each in needed.split(", ") if each not in privileges_held]
        if needed == _ADD:
            on_the_log += [f"{each} on {table}" for each in _CHANGES if each in privileges_held]
    only_reads = not any(each - {_READ} for each in held.values())
    return Privileges(lacking=tuple(lacking), on_the_log=tuple(on_the_log), only_reads=only_reads)
