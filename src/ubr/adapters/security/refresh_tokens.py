"""Refresh tokens: opaque, random, recognisable."""

from __future__ import annotations

import hashlib
import os
from typing import Final

from ubr.adapters.security import base64url
from ubr.adapters.security.secrets import Unsealable, derive_key, seal, unseal
from ubr.application.ports.security import MintedToken
from ubr.application.ports.system import RandomBytes
from ubr.domain.errors import InvalidToken
from ubr.domain.values import TokenDigest

PREFIX: Final = "ubr_rt_"
"""So that secret scanners find a token that was committed or logged somewhere."""

SECRET_BYTES: Final = 32
LENGTH: Final = len(PREFIX) + 43
"""32 bytes are 43 characters of base64url."""

_SEAL_INFO: Final = b"ubr refresh token successor"


class OpaqueRefreshTokens:
    """`ubr_rt_` and 32 random bytes in base64url.

    The digest is SHA-256 of the whole text as it is sent: what is looked up is what was presented, so two different
    texts are never one token, and whoever holds a leaked one can compute its digest with any tool. A plain hash is
    enough for 256 random bits (NIST SP 800-63B-4 asks for a slow one below 112).
    """

    def __init__(self, random_bytes: RandomBytes = os.urandom) -> None:
        self._random_bytes = random_bytes

    def mint(self) -> MintedToken:
        secret = PREFIX + base64url.encode(self._random_bytes(SECRET_BYTES)).decode()
        return MintedToken(secret, self.digest(secret))

    def digest(self, secret: str) -> TokenDigest:
        _decode(secret)
        return _digest(secret)

    def seal(self, successor: str, under: str) -> bytes:
        """AES-256-GCM, the key by HKDF from the other token's 32 bytes, which its digest does not give away.

        Errors: `InvalidToken` where one of them is no token.
        """
        _decode(successor)
        return seal(derive_key(_decode(under), _SEAL_INFO), successor.encode(), _digest(under), self._random_bytes)

    def unseal(self, sealed: bytes, under: str) -> str:
        key = derive_key(_decode(under), _SEAL_INFO)
        try:
            successor = unseal(key, sealed, _digest(under)).decode()
        except (Unsealable, UnicodeDecodeError):
            raise InvalidToken from None
        _decode(successor)
        return successor


def _digest(secret: str) -> TokenDigest:
    return TokenDigest(hashlib.sha256(secret.encode()).digest())


def _decode(secret: str) -> bytes:
    """The random bytes of a token. Errors: `InvalidToken` for what is not, to the letter, of the form minted here."""
    if len(secret) != LENGTH or not secret.startswith(PREFIX):
        raise InvalidToken
    try:
        return base64url.decode(secret[len(PREFIX) :].encode())
    except ValueError:
        raise InvalidToken from None
