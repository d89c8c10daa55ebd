"""The keys that sign checkpoints of the log."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ubr.adapters.security.secrets import SecretKeys, Unsealable
from ubr.application.ports.system import RandomBytes
from ubr.audit_verifier.signatures import verify_signature
from ubr.domain.audit.checkpoint import LogKey
from ubr.domain.errors import LogKeyLocked

_PURPOSE: Final = "log-key"
_NAME_BYTES: Final = 8
_MAX_PLACE_LENGTH: Final = 200
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9.:/_-]+")


class Ed25519LogSigning:
    """`place` is the address of the service: names of logs begin with it, and end with random bits."""

    __slots__ = ("_opened", "_place", "_random_bytes", "_secrets")

    def __init__(self, secrets: SecretKeys, place: str, random_bytes: RandomBytes) -> None:
        self._secrets = secrets
        self._place = _NOT_IN_NAMES.sub("-", place.partition("://")[2] or place)[:_MAX_PLACE_LENGTH].strip("/")
        self._random_bytes = random_bytes
        self._opened: dict[bytes, Ed25519PrivateKey] = {}

    def generate(self, now: datetime, after: LogKey | None = None, *, anew: bool = False) -> LogKey:
        name = None if after is None or anew else after.name
        private = Ed25519PrivateKey.generate()
        public = private.public_key().public_bytes_raw()
        return LogKey(
            number=1 if after is None else after.number + 1,
            name=name or f"{self._place}/log/{self._random_bytes(_NAME_BYTES).hex()}",
            public=public,
            private=self._secrets.seal(_PURPOSE, private.private_bytes_raw(), public),
            created_at=now,
        )

    def sign(self, key: LogKey, message: bytes) -> bytes:
        return self._open(key).sign(message)

    def check(self, key: LogKey) -> None:
        self._open(key)

    def reseal(self, key: LogKey) -> LogKey:
        if self._secrets.newest_opens(_PURPOSE, key.private, key.public):
            return key
        private = self._open(key).private_bytes_raw()
        return replace(key, private=self._secrets.seal(_PURPOSE, private, key.public))

    def verify(self, public: bytes, message: bytes, signature: bytes) -> bool:
        return verify_signature(public, message, signature)

    def _open(self, key: LogKey) -> Ed25519PrivateKey:
        """The private key. Keys are kept in memory once decrypted, even if no secret decrypts them later."""
        if (known := self._opened.get(key.public)) is not None:
            return known
        try:
            private = Ed25519PrivateKey.from_private_bytes(self._secrets.open(_PURPOSE, key.private, key.public))
        except (Unsealable, ValueError):
            raise LogKeyLocked(key.label) from None
        if private.public_key().public_bytes_raw() != key.public:
            raise LogKeyLocked(key.label)
        self._opened[key.public] = private
        return private
