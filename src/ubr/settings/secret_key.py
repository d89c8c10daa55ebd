"""The secret key of the embedded database, and the creation of its file."""

from __future__ import annotations

import secrets
from typing import Final

from ubr.settings.embedded import SECRET_FILE
from ubr.settings.errors import WrongSetting
from ubr.settings.values import items

_SECRET_BYTES: Final = 32
_MIN_DISTINCT: Final = 8
"""Distinct bytes in a key. One of 28 million keys of 32 random hexadecimal digits has fewer."""


def parse_secrets(raw: str) -> tuple[bytes, ...]:
    keys = tuple(item.encode() for item in items(raw))
    if not keys or any(len(key) < _SECRET_BYTES for key in keys):
        raise ValueError(f"must have {_SECRET_BYTES} bytes or more in each of its keys, which commas separate")
    if any(len(set(key)) < _MIN_DISTINCT for key in keys):
        raise ValueError("must be random: one of its keys repeats a few characters")
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
        raise out_of_reach(error) from None
    except ValueError:
        raise WrongSetting(
            f"UBR_SECRET_KEY is not set, and its default file {SECRET_FILE} has no key of {_SECRET_BYTES} bytes."
        ) from None


def out_of_reach(error: OSError) -> WrongSetting:
    return WrongSetting(
        f"UBR_SECRET_KEY is not set, and its default file {SECRET_FILE} cannot be accessed: {error.strerror}."
    )
