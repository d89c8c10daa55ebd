"""Secrets that several capabilities use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ubr.domain.concealed import Concealed

if TYPE_CHECKING:
    from ubr.domain.ids import TokenDigest


class MintedToken(Concealed, frozen=True):
    """A new token for its holder: the secret, and the digest that it is stored under."""

    secret: str
    digest: TokenDigest


class Signer(Protocol):
    """Message authentication with a key of this installation, a separate one for each purpose."""

    def sign(self, purpose: str, message: bytes) -> bytes:
        """A tag of 32 bytes."""
        ...

    def verify(self, purpose: str, message: bytes, tag: bytes) -> bool:
        """True if this installation made the tag for this purpose, with the current key or an earlier one."""
        ...
