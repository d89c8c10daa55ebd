"""The database: its server or file, its schema, the rights of the role, and the state of the installation in it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from ubr.adapters.security.system import utc_now
from ubr.adapters.sql.diagnosis import PostgresqlFacts, examine_postgresql, examine_rights, write_ahead
from ubr.adapters.sql.migrations import SchemaState, check
from ubr.domain.errors import StoreUnavailable
from ubr.domain.keys.signing_key import LEEWAY
from ubr.entrypoints.cli.doctor.addresses import host_of, is_this_machine
from ubr.entrypoints.cli.doctor.installation import INSPECTED, check_installation
from ubr.entrypoints.cli.doctor.limits import is_resolved, limited
from ubr.entrypoints.cli.output import Refused, unreachable
from ubr.entrypoints.cli.starting import BEHIND, NEWER, lasting
from ubr.entrypoints.findings import Finding, error, failed, not_checked, ok, or_ok, warning
from ubr.settings import BACKGROUND_CONNECTIONS, Settings

_Step: TypeAlias = tuple[Callable[[Settings], Awaitable[list[Finding]]], tuple[str, ...], str]
"""A check, its subjects, and the reason why the later ones cannot run after an error about its first subject."""

_NOTICEABLE: Final = timedelta(seconds=2)
"""Clocks that are set over the network differ by less."""
_LIMIT: Final = "raise max_connections, or the limit of the role or database, or lower UBR_POOL_SIZE or UBR_WORKERS"


async def check_database(settings: Settings, *, clock: Callable[[], datetime] = utc_now) -> list[Finding]:
    """The database, and then everything in it."""
    server: _Step = (_check_file, ("database",), "the database cannot be used")
    rights: list[_Step] = []
    if settings.database_url.startswith("postgresql"):
        server = (partial(_check_server, clock=clock), ("database", "clock", "connections"), server[2])
        rights = [(_check_rights, ("rights",), "the rights of the role are wrong")]
    steps: list[_Step] = [
        server,
        (_check_schema, ("schema",), "the schema is not that of this version"),
        *rights,
        (check_installation, INSPECTED, ""),
    ]
    found: list[Finding] = []
    obstacle = None
    for step, subjects, reason in steps:
        if obstacle is not None:
            found += not_checked(obstacle, *subjects)
            continue
        result = await limited(step(settings), *subjects)
        found += result
        if failed(each for each in result if each.subject == subjects[0]):
            obstacle = reason
    return found


async def _check_file(settings: Settings) -> list[Finding]:
    return await asyncio.to_thread(_of_file, settings)


def _of_file(settings: Settings) -> list[Finding]:
    try:
        if not settings.embedded:  # the folder of the embedded database is made with it
            lasting(settings)
    except Refused as refused:
        return [error("database", f"{refused}")]
    file = Path(settings.database_url.partition(":///")[2])
    if not file.exists() or not file.stat().st_size:
        return [
            error(
                "database",
                f"There is no database in {file.absolute()}. `ubr serve` makes one; if there should be one, check the "
                "working directory and UBR_DATABASE_URL.",
            )
        ]
    try:
        changed = not write_ahead(file)
    except StoreUnavailable as unavailable:
        return [error("database", unreachable(unavailable))]
    if changed:  # opening it as ubr does would change the file
        return [
            error(
                "database",
                f"{file} is not in WAL mode, so the service has not used it since it was made or restored. Start "
                "`ubr serve`, or run `ubr migrate`.",
            )
        ]
    return [ok("database", f"{settings.database}.")]


async def _check_server(settings: Settings, *, clock: Callable[[], datetime]) -> list[Finding]:
    host = host_of(settings.database_url)
    rest = ("clock", "connections")
    if not await is_resolved(host):
        problem = error("database", "The host name of the database is not resolved in time: check the name servers.")
        return [problem, *not_checked("the database cannot be used", *rest)]
    try:
        facts = await examine_postgresql(settings.database_url, clock)
    except StoreUnavailable as unavailable:
        return [error("database", unreachable(unavailable)), *not_checked("the database cannot be used", *rest)]
    found = []
    if facts.read_only:
        found.append(
            error("database", "The database accepts no writes: it is a standby, or read-only. Name its primary.")
        )
    if not facts.encrypted and not is_this_machine(host):
        found.append(
            warning(
                "database",
                f"The connection to {host} is not encrypted: passwords and tokens cross the network in the clear. Add "
                "?sslmode=verify-full and sslrootcert to UBR_DATABASE_URL.",
            )
        )
    if facts.pooled and facts.named_statements:
        found.append(
            warning(
                "database",
                "A pooler is in front of the database. Unless it pools sessions, append "
                "?prepared_statement_cache_size=0 to UBR_DATABASE_URL.",
            )
        )
    found = or_ok(found, "database", f"PostgreSQL {facts.version}, as {facts.role}.")
    return [*found, *_of_clock(facts), *_of_connections(facts, settings)]


def _of_clock(facts: PostgresqlFacts) -> list[Finding]:
    seconds = abs(facts.ahead.total_seconds())
    if seconds <= _NOTICEABLE.total_seconds():
        return [ok("clock", "The clocks of the database and of this machine agree.")]
    judged = error if seconds > LEEWAY.total_seconds() else warning
    direction = "ahead of" if facts.ahead > timedelta(0) else "behind"
    return [
        judged(
            "clock",
            f"The clock of the database is {seconds:.0f} s {direction} that of this machine: let both be set by NTP. "
            "Other services may reject the tokens of ubr.",
        )
    ]


def _of_connections(facts: PostgresqlFacts, settings: Settings) -> list[Finding]:
    needed = settings.workers * (settings.pool_size + BACKGROUND_CONNECTIONS)
    if facts.pooled:
        return not_checked("a pooler shares the connections", "connections")
    if needed > facts.connections:
        sentence = (
            f"The workers may open {needed} connections, and the database allows this role {facts.connections}: "
            f"{_LIMIT}."
        )
        return [error("connections", sentence)]
    if 2 * needed > facts.connections:
        sentence = (
            f"The workers may open {needed} connections, and twice as many during a rolling update, but the database "
            f"allows this role {facts.connections}: {_LIMIT}."
        )
        return [warning("connections", sentence)]
    return [ok("connections", f"The workers may open {needed} of {facts.connections} connections.")]


async def _check_schema(settings: Settings) -> list[Finding]:
    try:
        state = await check(settings.database_url, schema=settings.database_schema)
    except StoreUnavailable as unavailable:
        return [error("schema", unreachable(unavailable))]
    match state:
        case SchemaState.CURRENT:
            return [ok("schema", "It is that of this version of ubr.")]
        case SchemaState.EMPTY:
            return [error("schema", "The database has no tables of ubr yet: run `ubr migrate`.")]
        case SchemaState.BEHIND:
            return [error("schema", BEHIND)]
        case SchemaState.UNKNOWN:
            return [error("schema", NEWER)]


async def _check_rights(settings: Settings) -> list[Finding]:
    rights = await examine_rights(settings.database_url, settings.database_schema)
    if rights.only_reads:
        sentence = (
            "The role of UBR_DATABASE_URL may change no table. That is right for an auditor, who runs `ubr audit "
            "verify`. The service and all other commands need the role to which `ubr migrate` grants its privileges."
        )
        return [error("rights", sentence)]
    if rights.lacking:
        sentence = (
            f"The role of UBR_DATABASE_URL lacks privileges ({_some(rights.lacking)}): set UBR_MIGRATION_DATABASE_URL "
            "to the role that owns the tables, and run `ubr migrate`."
        )
        return [error("rights", sentence)]
    if rights.owner and settings.migration_database_url is None:
        sentence = (
            "The role of the service owns the tables, so an intruder could remove the triggers that protect the audit "
            "log. Let another role own them: UBR_MIGRATION_DATABASE_URL, as docs/audit.md describes."
        )
        return [warning("rights", sentence)]
    if rights.owner:
        sentence = (
            "The role of UBR_DATABASE_URL owns the tables, or is a superuser, although UBR_MIGRATION_DATABASE_URL is "
            "set: name two roles, of which the second owns the tables."
        )
        return [error("rights", sentence)]
    if rights.on_the_log:
        sentence = f"The role of the service may change the audit log ({_some(rights.on_the_log)}): run `ubr migrate`."
        return [error("rights", sentence)]
    return [ok("rights", "The role has the privileges that it needs, and cannot change the audit log.")]


def _some(names: tuple[str, ...], shown: int = 3) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
