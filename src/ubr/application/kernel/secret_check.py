"""Checks that the secrets of this process are those of the installation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import datetime
from typing import Final

from ubr.application.ports.audit import LogSigning
from ubr.application.ports.keys import AccessTokens
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.accounts.passwords import PasswordHash
from ubr.domain.audit.checkpoint import LogKey
from ubr.domain.errors import LogKeyLocked, SecretMismatch, SigningKeyLocked
from ubr.domain.ids import UserId
from ubr.domain.keys.signing_key import SigningKey

HASHES: Final = 500
"""Password hashes of one unit."""


def in_use(keys: Iterable[SigningKey], now: datetime) -> list[SigningKey]:
    """The keys whose tokens are valid. If there is none, all keys, because a secret has encrypted those too."""
    every = list(keys)
    return [key for key in every if key.accepted_at(now)] or every


def locked_keys(access_tokens: AccessTokens, keys: Iterable[SigningKey]) -> list[str]:
    """The `kid` of each of these keys that no secret decrypts."""
    locked = []
    for key in keys:
        try:
            access_tokens.check(key)
        except SigningKeyLocked:
            locked.append(key.kid)
    return locked


def locked_log_key(log_signing: LogSigning, keys: Sequence[LogKey]) -> str | None:
    """The label of the newest key of the log if no secret decrypts it; None otherwise, and without a key."""
    for newest in keys[-1:]:
        try:
            log_signing.check(newest)
        except LogKeyLocked:
            return newest.label
    return None


async def hash_pages(unit_of_work: UnitOfWork) -> AsyncIterator[list[tuple[UserId, PasswordHash]]]:
    """The password hashes of all users, those of one unit at a time."""
    last = None
    while True:
        async with unit_of_work.read() as tx:
            page = await tx.users.hashes(last, HASHES)
        if not page:
            return
        yield page
        last = page[-1][0]


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
