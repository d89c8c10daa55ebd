"""Whether the secrets of this process are those of the installation, asked before anything is sealed with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from ubr.domain.errors import LogKeyLocked, SecretMismatch, SigningKeyLocked
from ubr.domain.keys.signing_key import SigningKey


def in_use(keys: Iterable[SigningKey], now: datetime) -> list[SigningKey]:
    """The keys whose tokens are good. Where there is none of these all of them: some secret has sealed them."""
    every = list(keys)
    return [key for key in every if key.accepted_at(now)] or every


def require_one_open(*checks: Callable[[], None]) -> None:
    """Each of them opens a key in use. Where there are some, one has to succeed.

    What a secret seals that opens none of them, the service could not open: no key would sign, or the log could not
    be signed any more. Errors: `SecretMismatch`.
    """
    for check in checks:
        try:
            check()
        except (SigningKeyLocked, LogKeyLocked):
            continue
        return
    if checks:
        raise SecretMismatch
