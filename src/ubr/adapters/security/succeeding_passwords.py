"""A hasher of the host that took over from Argon2."""

from __future__ import annotations

from ubr.adapters.security.passwords import Argon2PasswordHasher
from ubr.application.ports.accounts import MAX_HASH_LENGTH, SlowHasher
from ubr.domain.accounts.passwords import PasswordHash


class SucceedingHasher:
    """Hashes by the host's hasher, and verifies the Argon2 hashes from before.

    Those are outdated, so that each is replaced at the next login of its user.
    """

    def __init__(self, hasher: SlowHasher, former: Argon2PasswordHasher) -> None:
        self._hasher = hasher
        self._former = former

    async def hash(self, password: str, *, account: str = "") -> PasswordHash:
        """Errors: also `ValueError` for a hash that could not be stored and read again."""
        hashed = await self._hasher.hash(password, account=account)
        if len(hashed.encoded) > MAX_HASH_LENGTH or not (hashed.encoded.isascii() and hashed.encoded.isprintable()):
            raise ValueError(f"The hasher made a hash that is not {MAX_HASH_LENGTH} characters of ASCII at most")
        return hashed

    async def verify(self, password: str, against: PasswordHash | None, *, account: str = "") -> bool:
        former = against is not None and self._former.reads(against) and self._hasher.outdated(against)
        hasher: SlowHasher = self._former if former else self._hasher
        return await hasher.verify(password, against, account=account)

    def outdated(self, hashed: PasswordHash) -> bool:
        return self._hasher.outdated(hashed)
