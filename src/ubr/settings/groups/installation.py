"""The initial state of an installation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ubr.domain.accounts.email import Email
from ubr.settings.declaration import derived, setting
from ubr.settings.secret_key import parse_secrets
from ubr.settings.values import one_of


def parse_email(raw: str) -> str:
    return Email.parse(raw).address


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class InstallationSettings:
    """The settings of the initial state."""

    secret_keys: tuple[bytes, ...] = derived(
        parse_secrets,
        "Encrypts signing keys at rest. The bytes of the text itself, 32 or more, for instance the output of "
        "`openssl rand -hex 32`. Use a comma-separated list to rotate: the first one encrypts, all decrypt.",
        otherwise="generated into `var/secret_key` on the embedded default database; required otherwise",
        shown="nothing",
        name="UBR_SECRET_KEY",
    )
    admin_email: str | None = setting(
        parse_email,
        None,
        "The e-mail of the first administrator, created at start if there is none.",
        otherwise="none; on the embedded default database `ubr serve` creates one and prints its password once",
    )
    admin_password: str | None = setting(
        str, None, "The password of the first administrator.", shown="nothing", exact=True
    )
    migrate: Literal["auto", "check"] = derived(
        one_of("auto", "check"),
        "`auto` upgrades the schema at start, under a lock; `check` rejects a schema that is behind.",
        otherwise="`auto` on the embedded default database, else `check`",
    )
