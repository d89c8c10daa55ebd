"""Opaque tokens that their holder presents: random, recognisable, each with one spelling."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from ubr.application.ports.secrets import MintedToken
from ubr.application.ports.system import RandomBytes
from ubr.domain.errors import UbrError
from ubr.domain.ids import TokenDigest
from ubr.domain.keys import base64url

SECRET_BYTES: Final = 32
_ENCODED: Final = 43
"""Length in base64url characters."""


class OpaqueForm(msgspec.Struct, frozen=True):
    """A prefix and 32 bytes in base64url, at least 16 of them random.

    The prefix lets secret scanners find a token that was committed or logged. The digest is SHA-256 of the whole text
    as it is sent: the presented text is looked up, so different texts are different tokens, and the holder of a
    leaked link can compute its digest with any tool. A plain hash is enough for 256 random bits (NIST SP 800-63B-4 asks
    for a slow one below 112).
    """

    prefix: str
    wrong: type[UbrError]

    def mint(self, random_bytes: RandomBytes) -> MintedToken:
        return self.made_of(random_bytes(SECRET_BYTES))

    def made_of(self, raw: bytes) -> MintedToken:
        """The token of these 32 bytes, at least 16 of them random."""
        secret = self.prefix + base64url.encode(raw).decode()
        return MintedToken(secret, digest(secret))

    def digest(self, secret: str) -> TokenDigest:
        """Errors: those of `decode`."""
        self.decode(secret)
        return digest(secret)

    def decode(self, secret: str) -> bytes:
        """The random bytes. Errors: `wrong` unless the text has exactly the form minted here."""
        if len(secret) != len(self.prefix) + _ENCODED or not secret.startswith(self.prefix):
            raise self.wrong
        try:
            return base64url.decode(secret[len(self.prefix) :].encode())
        except ValueError:
            raise self.wrong from None


def digest(secret: str) -> TokenDigest:
    return TokenDigest(hashlib.sha256(secret.encode()).digest())
