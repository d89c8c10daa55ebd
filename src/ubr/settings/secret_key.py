"""The secret key of the embedded database, and the creation of its file."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ubr.settings.embedded import SECRET_FILE
from ubr.settings.errors import WrongSetting
from ubr.settings.values import items

if TYPE_CHECKING:
    from ubr.settings.settings import Settings

_SECRET_BYTES: Final = 32


def parse_secrets(raw: str) -> tuple[bytes, ...]:
    keys = tuple(item.encode() for item in items(raw))
    if not keys or any(len(key) < _SECRET_BYTES for key in keys):
        raise ValueError(f"must have {_SECRET_BYTES} bytes or more in each of its keys, which commas separate")
    return keys


def random_secret() -> str:
    """A secret for a new installation."""
    return secrets.token_urlsafe(48)


def kept_secret() -> tuple[bytes, ...]:
    """The secret in `var/secret_key`; empty if the file does not exist. Errors: `WrongSetting`."""
    try:
        if not SECRET_FILE.exists():
            return ()
        if SECRET_FILE.stat().st_mode & 0o077:
            raise WrongSetting(
                f"UBR_SECRET_KEY is not set, and other users can read its default file {SECRET_FILE}: "
                f"run `chmod 600 {SECRET_FILE}`."
            )
        return parse_secrets(SECRET_FILE.read_text().strip())
    except OSError as error:
        raise _out_of_reach(error) from None
    except ValueError:
        raise WrongSetting(
            f"UBR_SECRET_KEY is not set, and its default file {SECRET_FILE} has no key of {_SECRET_BYTES} bytes."
        ) from None


def ensure_embedded_files(settings: Settings) -> Settings:
    """Create the folder of the embedded database and, unless a secret is set, its secret, before it is opened.

    Returns the settings with that secret; concurrent calls in all processes get the same one. With any other database
    it creates nothing and returns the given settings. Errors: `WrongSetting`.
    """
    if not settings.embedded:
        return settings
    _make_folder()
    if settings.secret_keys:
        return settings
    try:
        with suppress(FileExistsError):
            if not SECRET_FILE.exists():
                _make_secret_file()
    except OSError as error:
        raise _out_of_reach(error) from None
    return replace(settings, secret_keys=kept_secret())


def _out_of_reach(error: OSError) -> WrongSetting:
    return WrongSetting(
        f"UBR_SECRET_KEY is not set, and its default file {SECRET_FILE} cannot be accessed: {error.strerror}."
    )


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
        # A link, unlike a rename, fails where the name is taken.
        SECRET_FILE.hardlink_to(draft)
    finally:
        draft.unlink()
    # What it encrypts must not outlive it, so the name is made to last as well.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
