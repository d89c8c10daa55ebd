"""Refresh tokens: opaque, recognisable, and naming their session to this installation alone."""

from __future__ import annotations

import hmac
import os
from typing import Final
from uuid import UUID

import msgspec
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from ubr.adapters.security.opaque_tokens import OpaqueForm, digest
from ubr.adapters.security.secrets import SecretKeys, Unsealable, derive_key, seal, unseal
from ubr.application.ports.secrets import MintedToken
from ubr.application.ports.system import RandomBytes
from ubr.domain.errors import InvalidToken
from ubr.domain.ids import SessionId, TokenDigest

PREFIX: Final = "ubr_rt_"
_FORM: Final = OpaqueForm(PREFIX, InvalidToken)

_SEAL_INFO: Final = b"ubr refresh token successor"
_PURPOSE: Final = "session of a refresh token"
_LABEL_BYTES: Final = 4
_RANDOM_BYTES: Final = 12
_HEAD_BYTES: Final = _LABEL_BYTES + _RANDOM_BYTES
_VERSION: Final = 7


class _Keys(msgspec.Struct, frozen=True):
    """The keys that one secret makes."""

    label: bytes
    digest: bytes
    session: bytes


class OpaqueRefreshTokens:
    """`ubr_rt_` and 32 bytes, see `OpaqueForm`: a label, 12 random bytes, and the session id as one block of AES-256.

    The label names the secret; it is not secret itself. The digest is an HMAC of the whole text under that secret, so a
    digest cannot be made without it. The key of the block is an HMAC of the bytes before it, so each token has its own.
    Only this installation can make a token that names a given session: the block of a guess decrypts to a random id.
    """

    def __init__(self, secrets: SecretKeys, random_bytes: RandomBytes = os.urandom) -> None:
        self._random_bytes = random_bytes
        purposes = ("label of refresh-token", "hmac refresh-token", _PURPOSE)
        keys = [
            _Keys(label[:_LABEL_BYTES], digest, session)
            for label, digest, session in zip(*map(secrets.derive, purposes), strict=True)
        ]
        self._newest = keys[0]
        # In reverse: if two secrets had one label, the newest one would have it.
        self._keys = {each.label: each for each in reversed(keys)}

    def mint(self, session_id: SessionId) -> MintedToken:
        head = self._newest.label + self._random_bytes(_RANDOM_BYTES)
        encryptor = _cipher(self._newest.session, head).encryptor()
        secret = _FORM.made_of(head + encryptor.update(session_id.bytes)).secret
        return MintedToken(secret, self.digest(secret))

    def session_ids(self, secret: str) -> tuple[SessionId, ...]:
        raw = _FORM.decode(secret)
        keys = self._keys.get(raw[:_LABEL_BYTES])
        if keys is None:
            return ()
        decryptor = _cipher(keys.session, raw[:_HEAD_BYTES]).decryptor()
        session_id = UUID(bytes=decryptor.update(raw[_HEAD_BYTES:]))
        # Of 64 guesses, 63 have another version.
        return (SessionId(session_id),) if session_id.version == _VERSION else ()

    def digest(self, secret: str) -> TokenDigest:
        # A token with an unknown label gets a digest that no token has.
        keys = self._keys.get(_FORM.decode(secret)[:_LABEL_BYTES], self._newest)
        return TokenDigest(hmac.digest(keys.digest, secret.encode(), "sha256"))

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
