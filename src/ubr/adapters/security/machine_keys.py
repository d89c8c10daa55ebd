"""Keys of machines: their texts, and the encrypted digests that are stored."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
from typing import Final

from ubr.adapters.security.secrets import SecretKeys, Unsealable
from ubr.application.ports.machines import MintedMachineKey
from ubr.application.ports.system import RandomBytes
from ubr.domain.ids import MachineKeyId, UserId
from ubr.domain.machines.key import MachineKey
from ubr.domain.machines.key_text import SECRET_BYTES, key_text

PURPOSE: Final = "machine-key"

_log: Final = logging.getLogger("ubr.machines")


class SealedMachineKeys:
    """SHA-256 of the whole text, encrypted with the newest secret for one key of one machine.

    Encryption, unlike a secret within the digest, can be renewed without the key: keys outlast secrets.
    """

    def __init__(self, secrets: SecretKeys, random_bytes: RandomBytes = os.urandom) -> None:
        self._secrets = secrets
        self._random_bytes = random_bytes
        self._nobodys = secrets.seal(PURPOSE, bytes(hashlib.sha256().digest_size), b"")

    def mint(self, key_id: MachineKeyId, user_id: UserId) -> MintedMachineKey:
        text = key_text(key_id, self._random_bytes(SECRET_BYTES))
        return MintedMachineKey(text, self._secrets.seal(PURPOSE, _digest(text), _names(key_id, user_id)))

    def matches(self, text: str, key: MachineKey | None) -> bool:
        sealed, names = (self._nobodys, b"") if key is None else (key.sealed, _names(key.id, key.user_id))
        try:
            stored = self._secrets.open(PURPOSE, sealed, names)
        except Unsealable:
            stored = b""
            _log.error(
                "No secret in UBR_SECRET_KEY reads the digest of a key of machine %s, or it was copied or changed: "
                "that key is refused",
                None if key is None else key.user_id,
            )
        return hmac.compare_digest(stored, _digest(text)) and key is not None

    def rebind(self, key: MachineKey) -> bytes | None:
        names = _names(key.id, key.user_id)
        if self._secrets.newest_opens(PURPOSE, key.sealed, names):
            return key.sealed
        try:
            digest = self._secrets.open(PURPOSE, key.sealed, names)
        except Unsealable:
            return None
        return self._secrets.seal(PURPOSE, digest, names)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _names(key_id: MachineKeyId, user_id: UserId) -> bytes:
    return key_id.bytes + user_id.bytes
