"""Passwords, tokens and keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeAlias

from ubr.domain.checkpoint import LogKey
from ubr.domain.signing_key import SigningKey
from ubr.domain.values import PasswordHash, SessionId, TokenDigest, UserId


class PasswordHasher(Protocol):
    """A slow, salted, memory-hard hash, in a pool of its own."""

    async def hash(self, password: str) -> PasswordHash:
        """A new hash at today's cost. Errors: `Busy` where too many are waiting."""
        ...

    async def verify(self, password: str, against: PasswordHash | None) -> bool:
        """Whether the password is the one. Takes as long for None, and for a hash it cannot read, as for any other.

        Errors: `Busy` where too many are waiting.
        """
        ...

    def outdated(self, hashed: PasswordHash) -> bool:
        """Whether a hash was made at a lower cost than today's."""
        ...


CommonPasswords: TypeAlias = Callable[[str], bool]
"""Whether a password, in lower case, is one of those that everybody tries first. Nobody outside is told of it."""


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

    def install(self, keys: Sequence[SigningKey], now: datetime) -> tuple[str, ...]:
        """Take these keys in place of all known so far. Each signs and is accepted in its time.

        The `kid` of each that would be accepted and that no secret opens: it is left out. One that was open before
        stays so, however it is sealed now.
        """
        ...

    def issue(self, claims: AccessClaims) -> str:
        """A token, signed by the key that signs at `issued_at`. Errors: `Unavailable` where none does."""
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


@dataclass(frozen=True, slots=True)
class MintedToken:
    """A token on its way to its holder: the secret and the digest it is stored under."""

    secret: str = field(repr=False)
    digest: TokenDigest


class RefreshTokenMint(Protocol):
    """Refresh tokens: 256 random bits each, known to the store by their SHA-256 digest alone."""

    def mint(self) -> MintedToken:
        """A token nobody has seen."""
        ...

    def digest(self, secret: str) -> TokenDigest:
        """Under what a token is stored. Errors: `InvalidToken` for what cannot be one."""
        ...

    def seal(self, successor: str, under: str) -> bytes:
        """Encrypt a token so that only the holder of the other one can open it."""
        ...

    def unseal(self, sealed: bytes, under: str) -> str:
        """The token that was sealed. Errors: `InvalidToken`."""
        ...


class LinkTokenMint(Protocol):
    """The tokens of one-time links: 256 random bits each, known to the store by their SHA-256 digest alone."""

    def mint(self) -> MintedToken:
        """A token nobody has seen."""
        ...

    def digest(self, secret: str) -> TokenDigest:
        """Under what a link is stored. Errors: `InvalidLink` for what cannot be its token."""
        ...


class Signer(Protocol):
    """Message authentication with a key of this installation, one for each purpose."""

    def sign(self, purpose: str, message: bytes) -> bytes:
        """A tag of 32 bytes."""
        ...

    def verify(self, purpose: str, message: bytes, tag: bytes) -> bool:
        """Whether the tag was made here, with the present key or one before it, for this purpose."""
        ...


class LogSigning(Protocol):
    """The keys of the log: Ed25519 (RFC 8032), kept sealed."""

    def generate(self, now: datetime, after: LogKey | None = None, *, anew: bool = False) -> LogKey:
        """A new key, sealed with the newest secret, that follows another or is the first.

        It signs for the same log; `anew` for one with a new name, as the first does.
        """
        ...

    def sign(self, key: LogKey, message: bytes) -> bytes:
        """A signature of 64 bytes. Errors: `LogKeyLocked` where no secret opens the key."""
        ...

    def check(self, key: LogKey) -> None:
        """Errors: `LogKeyLocked` where no secret opens the key."""
        ...

    def reseal(self, key: LogKey) -> LogKey:
        """The key sealed with the newest secret; the very same where it is already. Errors: `LogKeyLocked`."""
        ...

    def verify(self, public: bytes, message: bytes, signature: bytes) -> bool:
        """Whether a signature is right."""
        ...
