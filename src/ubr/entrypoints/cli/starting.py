"""The preconditions of an installation, checked before any other step."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from ubr.application.accounts.create_admin import CreateAdminCommand
from ubr.application.app import Application
from ubr.application.audit.compare_checkpoint import CompareCheckpointCommand
from ubr.application.ports import schema
from ubr.bootstrap import (
    common_of,
    downgrade,
    is_guessable,
    migrate,
    open_environment,
    schema_state,
    upgrade_preview,
)
from ubr.domain.accounts.email import Email
from ubr.domain.accounts.passwords import check_password
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import CheckpointMismatch, EmailTaken, Invalid, StoreUnavailable
from ubr.entrypoints.cli.output import ExitCode, Refused, new_password
from ubr.settings import DATABASE_FILE, MEMORY, Settings, WrongSetting, ensure_embedded_files

FIRST_ADMIN: Final = "admin@ubr.localhost"
"""The default e-mail of the first administrator. Mail to it goes nowhere (RFC 6761, 6.3)."""

BEHIND: Final = f"{schema.BEHIND}."
NEWER: Final = f"{schema.NEWER}."

CLUSTER: Final = (
    "UBR_REDIS_URL names a Redis in cluster mode, which ubr does not support: its messages and counters need one "
    "primary. Use a Redis without cluster mode (ElastiCache: cluster mode disabled)."
)

_WITHOUT_REDIS: Final = (
    "The service starts without it: the database counts for the rate limits, and a revocation takes up to the bound. "
    "`ubr doctor` names the remedy."
)

_log: Final = logging.getLogger("ubr.process")


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials of a newly created administrator."""

    email: str
    password: str = field(repr=False)


def lasting(settings: Settings) -> None:
    """Errors: `Refused` if the database would end with this process, or its folder does not exist."""
    if settings.database_url == MEMORY:
        raise Refused(
            "UBR_DATABASE_URL is memory:, which ends with the process: this command needs PostgreSQL or SQLite.",
            ExitCode.USAGE,
        )
    scheme, _, path = settings.database_url.partition(":///")
    if scheme.startswith("sqlite") and not Path(path).parent.is_dir():
        raise Refused(f"UBR_DATABASE_URL names the file {path}, whose folder does not exist.", ExitCode.USAGE)


async def check_schema(settings: Settings) -> bool:
    """True if the schema is up to date, False if `ubr migrate` would help. Errors: `Refused` if it would not."""
    state = await schema_state(settings)
    if state == "unknown":
        raise Refused(NEWER)
    return state == "current"


async def bring_up(settings: Settings) -> bool:
    """Upgrade the schema. True if it was behind. Errors: `Refused` if that is not possible."""
    behind = not await check_schema(replace(settings, database_url=settings.owner_url))
    if behind or settings.migration_database_url is not None:  # the owner also grants privileges, which may be missing
        try:
            await migrate(settings)
        except ValueError as error:
            raise Refused(f"{error}.", ExitCode.USAGE) from None
    return behind


async def bring_down(settings: Settings, revision: str) -> None:
    """Downgrade the schema. Errors: `Refused` unless this is an earlier revision of a database with tables."""
    lasting(settings)
    found = None if settings.embedded and not DATABASE_FILE.exists() else await upgrade_preview(settings)
    if found is None or found.revision is None:
        raise Refused("The database has no tables, so there is nothing to downgrade.")
    earlier = [each for each in found.revisions if each < found.revision]
    if revision not in earlier:
        raise Refused(
            f"The database is at revision {found.revision}: --to names an earlier one, from {found.revisions[0]} on.",
            ExitCode.USAGE,
        )
    await downgrade(settings, revision)


@asynccontextmanager
async def opened(settings: Settings, *, prepared: bool = True, following: bool = True) -> AsyncIterator[Application]:
    """The use cases, on a database that is up to date.

    `prepared` and `following` are those of `open_environment`. Errors: `Refused`; `WrongSetting` if the files of the
    embedded database cannot be created.
    """
    if following:
        settings = ensure_embedded_files(settings)
    lasting(settings)
    if settings.migrate == "auto" and following:
        await bring_up(settings)
    elif not await check_schema(settings):
        raise Refused(BEHIND)
    async with open_environment(settings, prepared=prepared, following=following, delivering=False) as environment:
        yield environment.application


def _kept(path: str) -> str | None:
    """The checkpoint in a file; None if there is none yet."""
    try:
        return Path(path).read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        raise Refused(f"UBR_AUDIT_CHECKPOINT names {path}, which cannot be read.", ExitCode.USAGE) from None


async def check_continuation(settings: Settings) -> None:
    """Errors: `Refused` if the log does not continue the saved checkpoint.

    Checked before anything can be signed: a log that was rolled back must not be forked as well.
    """
    if settings.audit_checkpoint is None:
        return
    kept = _kept(settings.audit_checkpoint)
    if kept is None:
        return
    async with opened(settings, prepared=False, following=False) as ubr:
        try:
            await ubr.compare_checkpoint(CompareCheckpointCommand(checkpoint=kept), actor=SYSTEM)
        except Invalid as error:
            raise Refused(
                f"UBR_AUDIT_CHECKPOINT names {settings.audit_checkpoint}, which {error.detail}.", ExitCode.USAGE
            ) from None
        except CheckpointMismatch as error:
            raise Refused(
                f"{error.detail}. If a backup was restored, run `ubr after-restore`; else `ubr audit verify` names "
                "the mismatch."
            ) from None


async def check_redis(settings: Settings) -> None:
    """Errors: `Refused` if the Redis is a cluster.

    One that does not answer, or refuses commands, is a warning: the service works without it.
    """
    if settings.redis_url is None:
        return
    from ubr.adapters.redis.diagnosis import examine_redis  # noqa: PLC0415 - loaded only if a Redis is configured

    try:
        facts = await examine_redis(settings.redis_url)
    except StoreUnavailable as error:
        _log.warning("%s. %s", error.detail, _WITHOUT_REDIS)
        return
    if facts.cluster:
        raise Refused(CLUSTER, ExitCode.USAGE)
    if not facts.primary:
        _log.warning("The Redis is a replica, which accepts no writes. %s", _WITHOUT_REDIS)
    elif facts.refused:
        _log.warning("Redis refuses commands of ubr: %s. %s", ", ".join(facts.refused), _WITHOUT_REDIS)


def _check_pages(settings: Settings) -> None:
    """Errors: `WrongSetting` if a file of the operator for pages cannot be used."""
    if settings.pages_folder is not None or settings.pages_logo is not None:
        from ubr.entrypoints.http.page_options import page_options  # noqa: PLC0415 - loaded only if there are such files

        page_options(settings)


async def prepare(settings: Settings) -> Credentials | None:
    """Prepare files, schema, built-in roles, signing keys and the first administrator, once, before any worker starts.

    Returns the credentials of a default administrator, created on the embedded default database if there is none.
    Errors: `Refused` if the administrator's e-mail belongs to another user; `WrongSetting` if their password is on the
    list of common passwords, which the settings do not have, or if the operator's own list cannot be read.
    """
    is_common = common_of(settings)
    if settings.admin_email is not None and settings.admin_password is not None:
        try:
            check_password(
                settings.admin_password,
                min_length=settings.password_min_length,
                email=Email.parse(settings.admin_email),
                is_common=is_common,
                is_guessable=is_guessable,
            )
        except Invalid as error:
            raise WrongSetting(f"UBR_ADMIN_PASSWORD {error.detail}.") from None
    _check_pages(settings)
    settings = ensure_embedded_files(settings)
    lasting(settings)
    await check_redis(settings)
    if settings.migrate == "auto":
        await bring_up(settings)
    await check_continuation(settings)
    async with opened(settings) as ubr:
        if settings.admin_email is not None and settings.admin_password is not None:
            await _first_admin(ubr, Credentials(settings.admin_email, settings.admin_password))
        elif settings.embedded and not await ubr.create_admin.exists():
            made_up = Credentials(FIRST_ADMIN, new_password(settings.password_min_length))
            if await _first_admin(ubr, made_up):
                return made_up
        elif not await ubr.create_admin.exists():
            _log.warning(
                "there is no administrator: run `ubr admin create`, or set UBR_ADMIN_EMAIL and UBR_ADMIN_PASSWORD"
            )
    return None


async def _first_admin(ubr: Application, who: Credentials) -> bool:
    """True if there was no administrator yet."""
    try:
        made = await ubr.create_admin(
            CreateAdminCommand(email=who.email, password=who.password, first_only=True), actor=SYSTEM
        )
    except EmailTaken:
        raise Refused(
            "There is no administrator yet, and the e-mail for the first one belongs to another user. "
            "If it is yours, run `ubr admin create --take-over`; else set UBR_ADMIN_EMAIL to another."
        ) from None
    return made is not None
