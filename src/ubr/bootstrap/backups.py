"""Connects the commands about backups to their adapters."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from ubr.adapters.backups.folder import FolderBackupStore
from ubr.adapters.security.backup_encryption import ChunkedBackupCipher
from ubr.adapters.security.secrets import SecretKeys
from ubr.adapters.security.system import elapsed, random_bytes, utc_now
from ubr.application.backups.check_secrets import CheckSecrets
from ubr.application.backups.create_backup import CreateBackup
from ubr.application.backups.installation import Installation
from ubr.application.backups.list_backups import ListBackups
from ubr.application.backups.prune_backups import PruneBackups
from ubr.application.backups.restore_backup import RestoreBackup
from ubr.application.backups.verify_backup import VerifyBackup
from ubr.application.ports.backups import (
    BackupCipher,
    BackupFailed,
    BackupStore,
    DatabaseKind,
    DumpedDatabase,
    RestoredDatabase,
)
from ubr.application.ports.system import Clock
from ubr.bootstrap.environment import migrate, open_environment, schema_state
from ubr.extras import require
from ubr.settings import Settings, inherited_variables

# The database toolkit is loaded only by the commands that open a database.
# ruff: noqa: PLC0415


class Backups(msgspec.Struct, frozen=True, kw_only=True):
    """The backups in one place, with the keys of the settings."""

    settings: Settings
    store: BackupStore
    cipher: BackupCipher
    clock: Clock

    @classmethod
    def of(cls, settings: Settings, place: str, *, clock: Clock = utc_now, hurried: bool = False) -> Backups:
        """`hurried` is for a command that must end within seconds.

        Errors: `ValueError` if no key is set; `MissingExtra` if the place takes a library that is not installed.
        """
        return cls(
            settings=settings,
            store=_store(settings, place, clock, hurried=hurried),
            cipher=ChunkedBackupCipher(SecretKeys(settings.backup_key or ()), random_bytes),
            clock=clock,
        )

    def create(self) -> CreateBackup:
        return CreateBackup(
            database=_dumped(self.settings),
            store=self.store,
            cipher=self.cipher,
            clock=self.clock,
            random_bytes=random_bytes,
            version=version("ubr"),
        )

    def list(self) -> ListBackups:
        return ListBackups(store=self.store, cipher=self.cipher)

    def prune(self) -> PruneBackups:
        return PruneBackups(list_backups=self.list(), store=self.store)

    def verify(self, server: str | None) -> VerifyBackup:
        """`server` is the URL of a PostgreSQL database, beside which a rehearsal creates its own."""
        return VerifyBackup(
            store=self.store,
            cipher=self.cipher,
            scratch=_Scratch(self.settings, server or self.settings.owner_url),
            open_installation=self._open_installation,
            clock=self.clock,
            elapsed=elapsed,
        )

    def restore(self) -> RestoreBackup:
        return RestoreBackup(store=self.store, cipher=self.cipher, open_installation=self._open_installation)

    @asynccontextmanager
    async def _open_installation(self, database: RestoredDatabase, schema: str | None) -> AsyncIterator[Installation]:
        settings = _settings_of(self.settings, database, schema)
        if await schema_state(settings) == "unknown":
            raise BackupFailed("A newer version of ubr made this backup: use that version")
        await migrate(settings)
        async with open_environment(settings, prepared=False, following=False, delivering=False) as environment:
            ubr = environment.application
            yield Installation(
                check_secrets=CheckSecrets(
                    unit_of_work=ubr.initialize.unit_of_work,
                    access_tokens=ubr.initialize.access_tokens,
                    log_signing=ubr.initialize.log_signing,
                    hasher=ubr.initialize.hasher,
                ),
                compare_checkpoint=ubr.compare_checkpoint,
                verify_log=ubr.verify_log,
                acknowledge_restore=ubr.acknowledge_restore,
            )


def _settings_of(settings: Settings, database: RestoredDatabase, schema: str | None) -> Settings:
    """These settings for another database."""
    return replace(
        settings,
        database_url=database.url,
        database_schema=schema,
        migration_database_url=None,
        redis_url=None,  # its messages are for the workers of the running service
    )


def restored(url: str) -> RestoredDatabase:
    """The database that a URL, in the form of the setting, names."""
    if url.startswith("sqlite"):
        from ubr.adapters.sql.backups.sqlite import SqliteRestored

        return SqliteRestored(url)
    from ubr.adapters.sql.backups.postgresql import PostgresqlRestored

    return PostgresqlRestored(url, inherited_variables())


def _store(settings: Settings, place: str, clock: Clock, *, hurried: bool) -> BackupStore:
    if not place.startswith("s3://"):
        return FolderBackupStore(Path(place))
    require("s3")
    from ubr.adapters.backups.s3 import S3BackupStore, S3Place

    url, encryption = urlsplit(place), settings.backup_s3_encryption
    prefix = url.path.strip("/")
    chosen: dict[str, str] = {}
    if encryption is not None:
        chosen = {"ServerSideEncryption": encryption}
    if encryption is not None and encryption.startswith("arn:"):
        chosen = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": encryption}
    return S3BackupStore(
        S3Place(
            bucket=url.netloc,
            prefix=f"{prefix}/" if prefix else "",
            endpoint=settings.backup_s3_endpoint,
            encryption=chosen,
        ),
        clock,
        hurried=hurried,
    )


def _dumped(settings: Settings) -> DumpedDatabase:
    """The database of the settings. In PostgreSQL, as the role that owns the tables, if it is set."""
    if settings.database_url.startswith("sqlite"):
        from ubr.adapters.sql.backups.sqlite import SqliteDump

        return SqliteDump(settings.database_url)
    from ubr.adapters.sql.backups.postgresql import PostgresqlDump

    return PostgresqlDump(settings.owner_url, settings.database_schema, inherited_variables())


class _Scratch(msgspec.Struct, frozen=True):
    """Makes databases for a rehearsal; those of PostgreSQL on the server that a URL names."""

    settings: Settings
    server: str

    def open(self, kind: DatabaseKind) -> AbstractAsyncContextManager[RestoredDatabase]:
        if kind == "sqlite":
            from ubr.adapters.sql.backups.sqlite import sqlite_scratch

            return sqlite_scratch(utc_now)
        if not self.server.startswith("postgresql"):
            raise BackupFailed("This is a backup of PostgreSQL: let --on name a PostgreSQL server for the rehearsal")
        from ubr.adapters.sql.backups.postgresql import postgresql_scratch

        return postgresql_scratch(self.server, inherited_variables())

    @asynccontextmanager
    async def migrated(self, kind: DatabaseKind, schema: str | None) -> AsyncIterator[RestoredDatabase]:
        async with self.open(kind) as database:
            await database.require_empty(schema)
            await migrate(_settings_of(self.settings, database, schema))
            yield database
