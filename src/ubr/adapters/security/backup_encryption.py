"""Encryption of backups: AES-256-GCM in chunks, by the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár, 2015).

A file is a header, and chunks of 256 KiB of content, each with its tag of 16 bytes. The header is a fixed text, and a
random key of this file, encrypted with a key derived from the secret and bound to the place of the file. The nonce of a
chunk is its number in eleven bytes, and one byte that is 1 for the last chunk, and 0 for any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ubr.adapters.security.secrets import KEY_BYTES, HmacSigner, SecretKeys, Unsealable
from ubr.application.ports.backups import BackupFailed
from ubr.application.ports.system import RandomBytes

CHUNK: Final = 256 * 1024
TAG: Final = 16
MAGIC: Final = b"ubr backup 1\n"
HEADER: Final = len(MAGIC) + 1 + 12 + KEY_BYTES + TAG
"""Bytes of the header: the fixed text, and the sealed key with its version, nonce and tag."""
_COUNTER_BYTES: Final = 11
_FILE_KEY: Final = "key of a backup file"
_MANIFEST: Final = "manifest of a backup"
_LABEL: Final = "label of backups"
_LABEL_BYTES: Final = 6


class _SealedManifest(msgspec.Struct, frozen=True, kw_only=True):
    """The manifest as it was written, the label of the key, and the HMAC-SHA256 over its bytes."""

    manifest: msgspec.Raw
    key: str
    mac: str


def _encoded(sealed: _SealedManifest) -> bytes:
    return msgspec.json.encode(sealed) + b"\n"


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(_COUNTER_BYTES, "big") + (b"\x01" if last else b"\x00")


class ChunkedEncryption:
    """Encrypts one file. It holds less than one chunk beside the content of a call."""

    def __init__(self, keys: SecretKeys, place: str, random_bytes: RandomBytes) -> None:
        key = random_bytes(KEY_BYTES)
        self._header = MAGIC + keys.seal(_FILE_KEY, key, MAGIC + place.encode())
        self._cipher = AESGCM(key)
        self._number = 0
        self._rest = bytearray()

    def begin(self) -> bytes:
        return self._header

    def update(self, plain: bytes) -> bytes:
        self._rest += plain
        done = bytearray()
        while len(self._rest) > CHUNK:  # the last chunk, which may be full, is left to the end
            done += self._chunk(bytes(self._rest[:CHUNK]), last=False)
            del self._rest[:CHUNK]
        return bytes(done)

    def end(self) -> bytes:
        return self._chunk(bytes(self._rest), last=True)

    def _chunk(self, plain: bytes, *, last: bool) -> bytes:
        sealed = self._cipher.encrypt(_nonce(self._number, last=last), plain, None)
        self._number += 1
        return sealed


class ChunkedBackupCipher:
    """The cipher for the keys of backups. They derive other keys than those of the service from the same secret."""

    def __init__(self, keys: SecretKeys, random_bytes: RandomBytes) -> None:
        self._keys = keys
        self._signer = HmacSigner(keys)
        self._random_bytes = random_bytes
        self._labels = tuple(key[:_LABEL_BYTES].hex() for key in keys.derive(_LABEL))

    def encrypt(self, place: str) -> ChunkedEncryption:
        return ChunkedEncryption(self._keys, place, self._random_bytes)

    def decrypt(self, place: str, encrypted: IO[bytes]) -> Iterator[bytes]:
        header = encrypted.read(HEADER)
        if header[: len(MAGIC)] != MAGIC:
            raise BackupFailed("is not an encrypted file of a backup, or its beginning was changed")
        try:
            key = self._keys.open(_FILE_KEY, header[len(MAGIC) :], MAGIC + place.encode())
        except Unsealable:
            raise BackupFailed(
                "cannot be decrypted: its beginning was changed, it belongs to another backup, or UBR_BACKUP_KEY is "
                "another key"
            ) from None
        cipher, number, chunk = AESGCM(key), 0, encrypted.read(CHUNK + TAG)
        while True:
            following = encrypted.read(CHUNK + TAG)
            try:
                plain = cipher.decrypt(_nonce(number, last=not following), chunk, None)
            except InvalidTag:
                raise BackupFailed(
                    f"was changed, cut or extended: the part from byte {HEADER + number * (CHUNK + TAG)} on is not "
                    "what was written"
                ) from None
            yield plain
            if not following:
                return
            number, chunk = number + 1, following

    def seal_manifest(self, content: bytes) -> bytes:
        mac = self._signer.sign(_MANIFEST, content).hex()
        sealed = _SealedManifest(manifest=msgspec.Raw(content), key=self._labels[0], mac=mac)
        return _encoded(sealed)

    def open_manifest(self, sealed: bytes) -> bytes:
        try:
            found = msgspec.json.decode(sealed, type=_SealedManifest)
            mac = bytes.fromhex(found.mac)
        except ValueError:  # of msgspec as well
            raise BackupFailed("The manifest is damaged") from None
        content = bytes(found.manifest)
        if self._signer.verify(_MANIFEST, content, mac):
            # Also the bytes that are not part of the authenticated content are those that were written.
            if found.key not in self._labels or found.mac != mac.hex() or _encoded(found) != sealed:
                raise BackupFailed("The manifest was changed")
            return content
        if found.key not in self._labels:
            raise BackupFailed("This backup was made with another key: UBR_BACKUP_KEY does not contain it")
        raise BackupFailed("The manifest was changed")
