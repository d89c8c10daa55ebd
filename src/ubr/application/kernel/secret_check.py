"""Checks that the secrets of this process are those of the installation, before it encrypts a key with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from ubr.domain.errors import LogKeyLocked, SecretMismatch, SigningKeyLocked
from ubr.domain.keys.signing_key import SigningKey


def in_use(keys: Iterable[SigningKey], now: datetime) -> list[SigningKey]:
    """The keys whose tokens are valid. If there is none, all keys, because a secret has encrypted those too."""
    every = list(keys)
    return [key for key in every if key.accepted_at(now)] or every


def require_one_open(*checks: Callable[[], None]) -> None:
    """Each check decrypts one key in use. At least one has to succeed, unless there are none.

    If the secret decrypts no key in use, the service could not decrypt a new key that it encrypts: no key would sign
    tokens, or the log could not be signed. Errors: `SecretMismatch`.
    """
    for check in checks:
        try:
            check()
        except (SigningKeyLocked, LogKeyLocked):
            continue
        return
    if checks:
        raise SecretMismatch
