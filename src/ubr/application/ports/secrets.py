"""Secrets that several capabilities use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from ubr.domain.ids import TokenDigest


@dataclass(frozen=True, slots=True)
class MintedToken:
    """A new token for its holder: the secret, and the digest that it is stored under."""

    secret: str = field(repr=False)
    digest: TokenDigest


class Signer(Protocol):
    """Message authentication with a key of this installation, a separate one for each purpose."""

    def sign(self, purpose: str, message: bytes) -> bytes:
        """A tag of 32 bytes."""
        ...

    def verify(self, purpose: str, message: bytes, tag: bytes) -> bool:
        """True if this installation made the tag for this purpose, with the current key or an earlier one."""
        ...
