"""Signing keys, and the access tokens that they sign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ubr.domain.ids import SessionId, UserId
from ubr.domain.keys.signing_key import SigningKey


class SigningKeys(Protocol):
    async def all(self) -> Sequence[SigningKey]:
        """Every key, newest first; never locked."""
        ...

    async def all_to_change(self) -> Sequence[SigningKey]:
        """The same for who will add or change some of them.

        From this question on, until the unit ends, no other unit gets an answer to it: of two who rotate at the same
        moment one sees what the other did.
        """
        ...

    async def add(self, key: SigningKey) -> None:
        """Store a new key."""
        ...

    async def save(self, key: SigningKey) -> None:
        """Store the new state of a key that was read here."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessClaims:
    """What an access token says (RFC 9068, 2.2). Times are whole seconds once they are in a token."""

    user_id: UserId
    session_id: SessionId
    token_id: str
    issued_at: datetime
    expires_at: datetime
    auth_time: datetime
    version: int
    """Where the feed stood before anything was read that the token says."""
    epoch: str
    """The name of the epoch whose feed that was."""
    roles: tuple[str, ...]


class AccessTokens(Protocol):
    """Signed tokens that another service can verify with the public keys alone."""

    def generate(self, now: datetime, *, signs_from: datetime | None = None) -> SigningKey:
        """A new key, sealed with the newest secret, that signs at once or from a moment on.

        It is not used before it is installed.
        """
        ...

    def reseal(self, key: SigningKey) -> SigningKey:
        """The key sealed with the newest secret; the very same where it is already.

        Errors: `SigningKeyLocked` where no secret opens it.
        """
        ...

    def check(self, key: SigningKey) -> None:
        """Errors: `SigningKeyLocked` where no secret opens the key."""
        ...

    def install(self, keys: Sequence[SigningKey], now: datetime) -> tuple[str, ...]:
        """Take these keys in place of all known so far. Each signs and is accepted in its time.

        The `kid` of each that would be accepted and that no secret opens: it is left out. One that was open before
        stays so, however it is sealed now.
        """
        ...

    def signs_at(self, now: datetime) -> bool:
        """Whether one of the installed keys signs by then."""
        ...

    def issue(self, claims: AccessClaims) -> str:
        """A token, signed by the key that signs at `issued_at`. Errors: `NoSigningKey` where none does."""
        ...

    def verify(self, token: str, now: datetime) -> AccessClaims:
        """Errors: `InvalidToken` for whatever is not, to the letter, a token of ours in its time."""
        ...

    def names_unknown_key(self, token: str) -> bool:
        """Whether it could be a token of ours, signed by a key that was made since keys were installed."""
        ...

    def public_keys(self, now: datetime) -> tuple[str, ...]:
        """The JWKs of all keys whose tokens are good, or will be, as JSON texts, newest first."""
        ...
