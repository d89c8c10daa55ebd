"""The installation's secret keys: key derivation, signing and encryption (`seal`)."""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ubr.application.ports.system import RandomBytes

SECRET_BYTES: Final = 32
"""Minimum length of a secret."""

KEY_BYTES: Final = 32
"""Length of every derived key: AES-256, and a full key for HMAC-SHA256 (RFC 2104, 3)."""

_SEALED_VERSION: Final = b"\x01"
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_PURPOSES_KEPT: Final = 64


class Unsealable(Exception):
    """The encrypted data is damaged, or was encrypted under another key or for another purpose."""


class SecretKeys:
    """A list of secrets, newest first. The first one signs and encrypts; all of them verify and decrypt.

    Each purpose has its own keys (HKDF-SHA256, RFC 5869), so that data made for one is invalid for another. A purpose
    is a constant of the code, never input.
    """

    __slots__ = ("_derived", "_random_bytes", "_secrets")

    def __init__(self, secrets: Sequence[bytes], *, random_bytes: RandomBytes = os.urandom) -> None:
        """Errors: `ValueError` if there is no secret, or one is too short."""
        if not secrets:
            raise ValueError("There must be at least one secret key")
        if any(len(secret) < SECRET_BYTES for secret in secrets):
            raise ValueError(f"Each secret key must have at least {SECRET_BYTES} bytes")
        self._secrets = tuple(bytes(secret) for secret in secrets)
        self._random_bytes = random_bytes
        self._derived: dict[str, tuple[bytes, ...]] = {}

    def __repr__(self) -> str:
        return f"SecretKeys({len(self._secrets)})"

    def derive(self, purpose: str) -> tuple[bytes, ...]:
        """The keys for a purpose, newest first."""
        keys = self._derived.get(purpose)
        if keys is None:
            keys = tuple(derive_key(secret, b"ubr " + purpose.encode()) for secret in self._secrets)
            if len(self._derived) < _PURPOSES_KEPT:
                self._derived[purpose] = keys
        return keys

    def seal(self, purpose: str, content: bytes, associated: bytes) -> bytes:
        """Encrypt under the newest key. Decryption requires the same purpose and associated data."""
        return seal(self.derive(purpose)[0], content, associated, self._random_bytes)

    def open(self, purpose: str, sealed: bytes, associated: bytes) -> bytes:
        """Errors: `Unsealable`."""
        for key in self.derive(purpose):
            try:
                return unseal(key, sealed, associated)
            except Unsealable:
                continue
        raise Unsealable

    def newest_opens(self, purpose: str, sealed: bytes, associated: bytes) -> bool:
        """True if the newest key decrypts the data, so that the other keys are not needed for it."""
        try:
            unseal(self.derive(purpose)[0], sealed, associated)
        except Unsealable:
            return False
        return True


class HmacSigner:
    """HMAC-SHA256 (RFC 2104)."""

    __slots__ = ("_secrets",)

    def __init__(self, secrets: SecretKeys) -> None:
        self._secrets = secrets

    def sign(self, purpose: str, message: bytes) -> bytes:
        return hmac.digest(self._secrets.derive(_mac(purpose))[0], message, "sha256")

    def verify(self, purpose: str, message: bytes, tag: bytes) -> bool:
        keys = self._secrets.derive(_mac(purpose))
        return any(hmac.compare_digest(hmac.digest(key, message, "sha256"), tag) for key in keys)


def _mac(purpose: str) -> str:
    """The derivation name of a MAC key: signing and encryption can share a purpose, but never a key."""
    return "hmac " + purpose


def derive_key(secret: bytes, info: bytes) -> bytes:
    """32 bytes by HKDF-SHA256 (RFC 5869). No salt: the secret is uniformly random or a long random text (3.1)."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(secret)


def seal(key: bytes, content: bytes, associated: bytes, random_bytes: RandomBytes) -> bytes:
    """AES-256-GCM (NIST SP 800-38D): a version byte, a random nonce of 96 bits, the ciphertext, its tag.

    One key may encrypt 2^32 times (8.3), far more than ubr ever does.
    """
    nonce = random_bytes(_NONCE_BYTES)
    return _SEALED_VERSION + nonce + AESGCM(key).encrypt(nonce, content, _SEALED_VERSION + associated)


def unseal(key: bytes, sealed: bytes, associated: bytes) -> bytes:
    """Errors: `Unsealable`."""
    start = len(_SEALED_VERSION)
    nonce, ciphertext = sealed[start : start + _NONCE_BYTES], sealed[start + _NONCE_BYTES :]
    if sealed[:start] != _SEALED_VERSION or len(ciphertext) < _TAG_BYTES:
        raise Unsealable
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, _SEALED_VERSION + associated)
    except InvalidTag:
        raise Unsealable from None
