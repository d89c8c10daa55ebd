"""Stored password hashes, decrypted and made for tests."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from ubr.adapters.security.bound_passwords import PURPOSE
from ubr.adapters.security.secrets import SecretKeys
from ubr.domain.keys import base64url


def opened(encoded: str, owner: UUID, secrets: Sequence[bytes]) -> str:
    """The PHC string within a stored hash. Errors: `Unsealable`."""
    sealed = base64url.decode(encoded.rpartition("$")[2].encode())
    return SecretKeys(secrets).open(PURPOSE, sealed, owner.bytes).decode()


def bound(encoded: str, owner: UUID, secrets: Sequence[bytes], label: str) -> str:
    """A stored hash with this PHC string, under the first secret, with that label."""
    sealed = SecretKeys(secrets).seal(PURPOSE, encoded.encode(), owner.bytes)
    return f"$ubr$v=1${label}${base64url.encode(sealed).decode()}"
