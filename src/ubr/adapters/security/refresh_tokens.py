"""Refresh tokens: opaque, random, recognisable."""

from __future__ import annotations

import hmac
import os
from typing import Final

from ubr.adapters.security.opaque import OpaqueForm, digest
from ubr.adapters.security.secrets import SecretKeys, Unsealable, derive_key, seal, unseal
from ubr.application.ports.secrets import MintedToken
from ubr.application.ports.system import RandomBytes
from ubr.domain.errors import InvalidToken
from ubr.domain.ids import TokenDigest

PREFIX: Final = "ubr_rt_"
_FORM: Final = OpaqueForm(PREFIX, InvalidToken)

_SEAL_INFO: Final = b"ubr refresh token successor"
_LABEL_BYTES: Final = 4


class OpaqueRefreshTokens:
    """`ubr_rt_`, then in base64url the label of the newest secret (4 bytes) and 28 random bytes, see `OpaqueForm`.

    The digest is HMAC-SHA256 of the whole text under the secret of the label: the digest of a token cannot be made
    without the secret. The label is not secret. A token with an unknown label gets a digest that no token has.
    """

    def __init__(self, secrets: SecretKeys, random_bytes: RandomBytes = os.urandom) -> None:
        self._random_bytes = random_bytes
        labels = [key[:_LABEL_BYTES] for key in secrets.derive("label of refresh-token")]
        # In reverse: if two secrets had one label, the newest one would have it.
        self._keys = dict(reversed(list(zip(labels, secrets.derive("hmac refresh-token"), strict=True))))
        self._newest = labels[0]

    def mint(self) -> MintedToken:
        minted = _FORM.mint(lambda size: self._newest + self._random_bytes(size - _LABEL_BYTES))
        return MintedToken(minted.secret, self.digest(minted.secret))

    def digest(self, secret: str) -> TokenDigest:
        key = self._keys.get(_FORM.decode(secret)[:_LABEL_BYTES], self._keys[self._newest])
        return TokenDigest(hmac.digest(key, secret.encode(), "sha256"))

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
