"""Opaque secrets that their holder presents: random, recognisable, each written in one way alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from ubr.application.ports.secrets import MintedToken
from ubr.application.ports.system import RandomBytes
from ubr.domain.errors import UbrError
from ubr.domain.ids import TokenDigest
from ubr.domain.keys import base64url

SECRET_BYTES: Final = 32
_ENCODED: Final = 43
"""So many characters of base64url they are."""


@dataclass(frozen=True, slots=True)
class OpaqueForm:
    """A prefix and 32 random bytes in base64url.

    The prefix lets secret scanners find one that was committed or logged somewhere. The digest is SHA-256 of the whole
    text as it is sent: what is looked up is what was presented, so two different texts are never one secret, and
    whoever holds a leaked one can compute its digest with any tool. A plain hash is enough for 256 random bits (NIST
    SP 800-63B-4 asks for a slow one below 112).
    """

    prefix: str
    wrong: type[UbrError]

    def mint(self, random_bytes: RandomBytes) -> MintedToken:
        secret = self.prefix + base64url.encode(random_bytes(SECRET_BYTES)).decode()
        return MintedToken(secret, digest(secret))

    def digest(self, secret: str) -> TokenDigest:
        """Errors: as of `decode`."""
        self.decode(secret)
        return digest(secret)

    def decode(self, secret: str) -> bytes:
        """The random bytes. Errors: `wrong` for what is not, to the letter, of the form minted here."""
        if len(secret) != len(self.prefix) + _ENCODED or not secret.startswith(self.prefix):
            raise self.wrong
        try:
            return base64url.decode(secret[len(self.prefix) :].encode())
        except ValueError:
            raise self.wrong from None


def digest(secret: str) -> TokenDigest:
    return TokenDigest(hashlib.sha256(secret.encode()).digest())
