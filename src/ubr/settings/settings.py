"""All settings in one flat object."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

from ubr.settings.declaration import declared_in
from ubr.settings.embedded import EMBEDDED
from ubr.settings.groups.accounts import AccountSettings
from ubr.settings.groups.backups import BackupSettings
from ubr.settings.groups.installation import InstallationSettings
from ubr.settings.groups.mail import MailSettings
from ubr.settings.groups.network import NetworkSettings
from ubr.settings.groups.operations import OperationsSettings
from ubr.settings.groups.pages import PageSettings
from ubr.settings.groups.server import ServerSettings
from ubr.settings.groups.sessions import SessionSettings
from ubr.settings.groups.stores import MEMORY, StoreSettings
from ubr.settings.groups.tokens import TokenSettings
from ubr.settings.reading import read
from ubr.settings.secret_key import kept_secret, parse_secrets, random_secret
from ubr.settings.urls import WILDCARDS, address, masked, reachable


@dataclass(frozen=True, kw_only=True)
class Settings(
    # A dataclass takes the fields of its last base first. Their order is that of the documentation.
    PageSettings,
    BackupSettings,
    NetworkSettings,
    MailSettings,
    OperationsSettings,
    TokenSettings,
    SessionSettings,
    AccountSettings,
    ServerSettings,
    InstallationSettings,
    StoreSettings,
):
    """All settings of an operator. The groups document each one; its `repr` shows no secret."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ, *, secret: bool = True) -> Settings:
        """The settings in the environment, with defaults for the rest. Writes nothing.

        Without `secret`, the secret may be missing. The process can then decrypt no data and verify no signature of
        the secret.

        The embedded database uses the secret in `var/secret_key`. Until that file exists, `secret_keys` is empty:
        `ensure_embedded_files` creates it when the service starts. Errors: `WrongSetting`, with a sentence for each
        wrong setting.
        """
        values, _ = read(TABLE, environ, secret=secret)
        if values["secret_keys"] is None:
            kept = secret and values["database_url"] == EMBEDDED
            values["secret_keys"] = kept_secret() if kept else parse_secrets(random_secret())
        return cls(**values)

    @classmethod
    def memory(cls, **changes: Any) -> Settings:
        """The in-memory environment: the defaults, a generated secret, and these unchecked changes."""
        return replace(_in_memory(), **{"secret_keys": parse_secrets(random_secret()), **changes})

    def at(self, host: str, port: int) -> Settings:
        """The same settings for a service at this address. Those that come from the old address follow it."""
        moved = replace(self, host=host, port=port)
        return replace(
            moved,
            public_url=moved.address if self.public_url == self.address else self.public_url,
            issuer=address(host, port) if self.issuer == address(self.host, self.port) else self.issuer,
        )

    @property
    def embedded(self) -> bool:
        """True if this is the embedded default database."""
        return self.database_url == EMBEDDED

    @property
    def owner_url(self) -> str:
        """The database, as the role that owns the tables."""
        return self.migration_database_url or self.database_url

    @property
    def address(self) -> str:
        """The address of the service for a browser on this machine, as a URL."""
        return reachable(self.host, self.port)

    @property
    def for_all_addresses(self) -> bool:
        """True if the service listens on all addresses of its machine."""
        return self.host in WILDCARDS

    @property
    def database(self) -> str:
        """The database for people, without a password."""
        kind = "PostgreSQL" if self.database_url.startswith("postgresql") else "SQLite"
        return f"{kind}, {masked(self.database_url).partition('://')[2].removeprefix('/')}"


@cache
def _in_memory() -> Settings:
    """Read once, because each test makes settings of its own."""
    return Settings.from_env({"UBR_DATABASE_URL": MEMORY})


TABLE: Final = declared_in(Settings)
"""Every setting. Reading, `ubr config` and the documentation page use this."""
