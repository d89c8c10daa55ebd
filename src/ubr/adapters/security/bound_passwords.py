"""Password hashes that are bound to their user and to the installation's secret."""

from __future__ import annotations

import logging
import re
from typing import Final

from ubr.adapters.security.secrets import SecretKeys, Unsealable
from ubr.application.ports.accounts import SlowHasher
from ubr.domain.accounts.passwords import PasswordHash
from ubr.domain.ids import UserId
from ubr.domain.keys import base64url

PURPOSE: Final = "password-hash"

_FORM: Final = re.compile(r"\$ubr\$v=1\$([A-Za-z0-9_-]{8})\$([A-Za-z0-9_-]{1,1024})")
_LABEL_BYTES: Final = 6

_log: Final = logging.getLogger("ubr.passwords")


class BoundPasswordHasher:
    """Encrypts each hash with the newest secret, for one user: `$ubr$v=1$<label of the secret>$<encrypted hash>`.

    A hash that was copied to another user, or made without the secret, matches no password. Guessing needs the secret
    beside the database. Encryption, unlike a secret within the hash, can be renewed without the password.

    A hash from before is not encrypted; it verifies, and is outdated.
    """

    def __init__(self, hasher: SlowHasher, secrets: SecretKeys) -> None:
        self._hasher = hasher
        self._secrets = secrets
        self._labels = tuple(
            base64url.encode(key[:_LABEL_BYTES]).decode() for key in secrets.derive("label of password-hash")
        )
        self._missed: set[str] = set()

    async def hash(self, password: str, *, owner: UserId, account: str = "") -> PasswordHash:
        return self._bind(await self._hasher.hash(password, account=account), owner)

    async def verify(
        self, password: str, against: PasswordHash | None, *, owner: UserId | None, account: str = ""
    ) -> bool:
        opened = None if against is None or owner is None else self._open(against, owner)
        return await self._hasher.verify(password, opened, account=account)

    def outdated(self, hashed: PasswordHash, owner: UserId) -> bool:
        opened = self._open(hashed, owner)
        return opened is None or self._label(hashed) != self._labels[0] or self._hasher.outdated(opened)

    def rebind(self, hashed: PasswordHash, owner: UserId) -> PasswordHash | None:
        if self._label(hashed) == self._labels[0]:
            return hashed
        opened = self._open(hashed, owner)
        return None if opened is None else self._bind(opened, owner)

    def lacks_secret(self, hashed: PasswordHash) -> bool:
        label = self._label(hashed)
        return label is not None and label not in self._labels

    def _bind(self, plain: PasswordHash, owner: UserId) -> PasswordHash:
        sealed = self._secrets.seal(PURPOSE, plain.encoded.encode(), owner.bytes)
        return PasswordHash(f"$ubr$v=1${self._labels[0]}${base64url.encode(sealed).decode()}")

    def _label(self, hashed: PasswordHash) -> str | None:
        match = _FORM.fullmatch(hashed.encoded)
        return None if match is None else match[1]

    def _open(self, hashed: PasswordHash, owner: UserId) -> PasswordHash | None:
        """The plain hash; None if no secret decrypts it for this user."""
        match = _FORM.fullmatch(hashed.encoded)
        if match is None:
            return hashed
        try:
            sealed = base64url.decode(match[2].encode())
            return PasswordHash(self._secrets.open(PURPOSE, sealed, owner.bytes).decode())
        except (Unsealable, ValueError):
            self._tell(match[1], owner)
            return None

    def _tell(self, label: str, owner: UserId) -> None:
        """Log each missing secret once, and each hash that a known secret does not decrypt."""
        if label in self._labels:
            _log.error("The password hash of user %s was copied or changed: no password matches it", owner)
        elif label not in self._missed:
            self._missed.add(label)
            _log.error("UBR_SECRET_KEY lacks a secret that password hashes need: their users cannot log in")
