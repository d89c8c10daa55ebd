"""Refresh tokens: opaque, random, recognisable."""

from __future__ import annotations

import os
from typing import Final

from ubr.adapters.security.opaque import OpaqueForm, digest
from ubr.adapters.security.secrets import Unsealable, derive_key, seal, unseal
from ubr.application.ports.secrets import MintedToken
from ubr.application.ports.system import RandomBytes
from ubr.domain.errors import InvalidToken
from ubr.domain.ids import TokenDigest

PREFIX: Final = "ubr_rt_"
_FORM: Final = OpaqueForm(PREFIX, InvalidToken)

_SEAL_INFO: Final = b"ubr refresh token successor"


class OpaqueRefreshTokens:
    """`ubr_rt_` and 32 random bytes, see `OpaqueForm`."""

    def __init__(self, random_bytes: RandomBytes = os.urandom) -> None:
        self._random_bytes = random_bytes

    def mint(self) -> MintedToken:
        return _FORM.mint(self._random_bytes)

    def digest(self, secret: str) -> TokenDigest:
        return _FORM.digest(secret)

    def seal(self, successor: str, under: str) -> bytes:
        """AES-256-GCM, with a key by HKDF from the other token's 32 bytes, which its digest does not reveal.

        Errors: `InvalidToken` if one of them is not a token.
        """
        _FORM.decode(successor)
        return seal(derive_key(_FORM.decode(under), _SEAL_INFO), successor.encode(), digest(under), self._random_bytes)

    def unseal(self, sealed: bytes, under: str) -> str:
        key = derive_key(_FORM.decode(under), _SEAL_INFO)
        try:
            successor = unseal(key, sealed, digest(under)).decode()
        except (Unsealable, UnicodeDecodeError):
            raise InvalidToken from None
        _FORM.decode(successor)
        return successor
