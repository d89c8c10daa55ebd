"""Refresh tokens: opaque, recognisable, and naming their session to this installation alone."""

from __future__ import annotations

import hmac
import os
from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from ubr.adapters.security.opaque import OpaqueForm, digest
from ubr.adapters.security.secrets import SecretKeys, Unsealable, derive_key, seal, unseal
from ubr.application.ports.secrets import MintedToken
from ubr.application.ports.system import RandomBytes
from ubr.domain.errors import InvalidToken
from ubr.domain.ids import SessionId, TokenDigest

PREFIX: Final = "ubr_rt_"
_FORM: Final = OpaqueForm(PREFIX, InvalidToken)

_SEAL_INFO: Final = b"ubr refresh token successor"
_PURPOSE: Final = "session of a refresh token"
_RANDOM_BYTES: Final = 16
_VERSION: Final = 7


class OpaqueRefreshTokens:
    """`ubr_rt_` and 32 bytes, see `OpaqueForm`: 16 random ones, and the session id as one block of AES-256.

    The key of the block is an HMAC of the random bytes, so each token has its own. Only this installation can make a
    token that names a given session: the block of a guess decrypts to a random id. Tokens of earlier versions are 32
    random bytes, and name no session.
    """

    def __init__(self, secrets: SecretKeys, random_bytes: RandomBytes = os.urandom) -> None:
        self._secrets = secrets
        self._random_bytes = random_bytes

    def mint(self, session_id: SessionId) -> MintedToken:
        random = self._random_bytes(_RANDOM_BYTES)
        encryptor = _cipher(self._secrets.derive(_PURPOSE)[0], random).encryptor()
        return _FORM.made_of(random + encryptor.update(session_id.bytes))

    def session_ids(self, secret: str) -> tuple[SessionId, ...]:
        raw = _FORM.decode(secret)
        found = []
        for key in self._secrets.derive(_PURPOSE):
            decryptor = _cipher(key, raw[:_RANDOM_BYTES]).decryptor()
            session_id = UUID(bytes=decryptor.update(raw[_RANDOM_BYTES:]))
            if session_id.version == _VERSION:  # of 64 guesses, 63 are not
                found.append(SessionId(session_id))
        return tuple(found)

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


def _cipher(key: bytes, random: bytes) -> Cipher[ECB]:
    """One block under a key of its own, so ECB reveals nothing."""
    return Cipher(AES(hmac.digest(key, random, "sha256")), ECB())  # noqa: S305
