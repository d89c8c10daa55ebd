"""Signing keys, and the access tokens that they sign."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from ubr.domain.keys.access_token import AccessClaims
    from ubr.domain.keys.signing_key import SigningKey


class KeyDates(msgspec.Struct, frozen=True):
    """When a key was created, and when it was revoked; None if it was not."""

    kid: str
    created_at: datetime
    revoked_at: datetime | None


class SigningKeys(Protocol):
    async def all(self) -> Sequence[SigningKey]:
        """Every key, newest first; never locked."""
        ...

    async def dates(self) -> Sequence[KeyDates]:
        """The dates of every key, newest first; never locked. This reads no private key, encrypted or not."""
        ...

    async def all_to_change(self) -> Sequence[SigningKey]:
        """Every key, for a unit that adds or changes keys.

        The call takes a lock until the unit ends, and other units that call it wait. Of two concurrent rotations, the
        second therefore sees the result of the first.
        """
        ...

    async def add(self, key: SigningKey) -> None:
        """Store a new key."""
        ...

    async def save(self, key: SigningKey) -> None:
        """Store the new state of a key read in this unit."""
        ...


class AccessTokens(Protocol):
    """Signed tokens that another service can verify with the public keys alone."""

    def generate(self, now: datetime, *, signs_from: datetime | None = None) -> SigningKey:
        """A new key, encrypted with the newest secret. It signs at once, or from `signs_from` on.

        It is not used before it is installed.
        """
        ...

    def reseal(self, key: SigningKey) -> SigningKey:
        """The key, encrypted with the newest secret. Returns the same object if the newest secret decrypts it already.

        A revoked key that still has a private half loses it, as by `revoke`.
        Errors: `SigningKeyLocked` if no secret decrypts the key.
        """
        ...

    def revoke(self, key: SigningKey, now: datetime) -> SigningKey:
        """The key, revoked, without its private half: that cannot be used again, even if `revoked_at` is erased.

        It needs no secret that decrypts the key.
        """
        ...

    def check(self, key: SigningKey) -> None:
        """Errors: `SigningKeyLocked` if no secret decrypts the key."""
        ...

    def install(self, keys: Sequence[SigningKey], now: datetime) -> tuple[str, ...]:
        """Replace all installed keys with these. Each signs and is accepted within its own times.

        Returns the `kid` of every key that would be accepted, but that no secret decrypts; those are not installed. A
        key that was decrypted before stays installed, even if no secret decrypts it now. A key that was revoked is not
        installed, even if `revoked_at` was erased since.
        """
        ...

    def signs_at(self, now: datetime) -> bool:
        """True if one of the installed keys signs at that time."""
        ...

    def issue(self, claims: AccessClaims) -> str:
        """A token, signed by the key that signs at `issued_at`. Errors: `NoSigningKey` if none does."""
        ...

    def verify(self, token: str, now: datetime) -> AccessClaims:
        """Errors: `InvalidToken` unless this is exactly a token of ours, within its time."""
        ...

    def names_unknown_key(self, token: str) -> bool:
        """True if this could be a token of ours, signed by a key created after the last `install`."""
        ...

    def public_keys(self, now: datetime) -> tuple[str, ...]:
        """The JWKs of all keys whose tokens are accepted, or will be, as JSON texts, newest first."""
        ...
