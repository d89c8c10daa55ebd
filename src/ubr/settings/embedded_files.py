"""Creates the files that the embedded database needs, when it is opened. Reading the settings creates no file."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from dataclasses import replace
from typing import Final

from ubr.settings.embedded import DATABASE_FILE, SECRET_FILE
from ubr.settings.errors import WrongSetting
from ubr.settings.secret_key import kept_secret, out_of_reach, random_secret
from ubr.settings.settings import Settings

_LOST: Final = (
    f"The file {SECRET_FILE} is missing, but the database {DATABASE_FILE} exists, and its keys are encrypted with the "
    f"secret in that file: restore {SECRET_FILE} from the same backup as the database, or set UBR_SECRET_KEY to that "
    "secret."
)


def ensure_embedded_files(settings: Settings) -> Settings:
    """Create the folder of the embedded database and, unless a secret is set, its secret, before it is opened.

    Returns the settings with that secret; concurrent calls in all processes get the same one. With any other database
    it creates nothing and returns the given settings. Errors: `WrongSetting`, also if the database exists and its
    secret does not: a new secret would decrypt none of its keys.
    """
    if not settings.embedded:
        return settings
    _make_folder()
    if settings.secret_keys:
        return settings
    try:
        # In this order: the secret of another process exists before its database.
        database_exists = _has_database()
        with suppress(FileExistsError):
            if not SECRET_FILE.exists():
                if database_exists:
                    raise WrongSetting(f"{_LOST} No new secret was made.")
                _make_secret_file()
    except OSError as error:
        raise out_of_reach(error) from None
    return replace(settings, secret_keys=kept_secret())


def check_embedded_files(settings: Settings) -> None:
    """Errors: `WrongSetting` if the embedded database exists and its secret does not. Creates nothing."""
    if settings.embedded and not settings.secret_keys and _has_database():
        raise WrongSetting(_LOST)


def _has_database() -> bool:
    return DATABASE_FILE.exists() and DATABASE_FILE.stat().st_size > 0


def _make_folder() -> None:
    try:
        SECRET_FILE.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise WrongSetting(
            f"UBR_DATABASE_URL is not set, and the folder {SECRET_FILE.parent} of the default cannot be made: "
            f"{error.strerror}."
        ) from None


def _make_secret_file() -> None:
    """Errors: `FileExistsError` if another process was faster. The file is never visible in part."""
    folder = SECRET_FILE.parent
    draft = folder / f".secret_key.{secrets.token_hex(8)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(random_secret() + "\n")
            file.flush()
            os.fsync(file.fileno())
        # Unlike a rename, a link fails if the name exists.
        SECRET_FILE.hardlink_to(draft)
    finally:
        draft.unlink()
    # Encrypted data must not outlive the secret, so the name is synced to disk as well.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
