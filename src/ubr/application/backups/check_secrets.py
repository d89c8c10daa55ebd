"""Checks that the secrets of this process decrypt what a restored database contains."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from ubr.application.kernel.secret_check import hash_pages, in_use, locked_keys, locked_log_key
from ubr.application.ports.accounts import PasswordHasher
from ubr.application.ports.audit import LogSigning
from ubr.application.ports.keys import AccessTokens
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.errors import InvalidToken, NoSigningKey
from ubr.domain.ids import SessionId, UserId
from ubr.domain.keys.access_token import AccessClaims
from ubr.domain.keys.signing_key import SigningKey
from ubr.domain.revocation.changes import EPOCH_NAME_LENGTH

_NO_ID: Final = UUID(int=0)
_LIFETIME: Final = timedelta(minutes=1)


class CheckSecrets(msgspec.Struct, frozen=True, kw_only=True):
    """Decrypt the keys in use and look at every password hash. A login would need a password, and is not tried.

    - A signing key of the database signs a token for no user, and the signature is verified.
    - It writes nothing.
    """

    unit_of_work: UnitOfWork
    access_tokens: AccessTokens
    log_signing: LogSigning
    hasher: PasswordHasher

    async def __call__(self) -> list[str]:
        """A sentence about each finding. Errors: `StoreUnavailable`."""
        async with self.unit_of_work.read() as tx:
            keys, log_keys, now = await tx.signing_keys.all(), await tx.log_keys.all(), tx.now
        checked = [key for key in in_use(keys, now) if not key.revoked]
        found = [
            f"UBR_SECRET_KEY does not decrypt the signing key {kid}" for kid in locked_keys(self.access_tokens, checked)
        ]
        if (label := locked_log_key(self.log_signing, log_keys)) is not None:
            found.append(f"UBR_SECRET_KEY does not decrypt the key {label}, which signs the log")
        if keys and not found and not self._signs(keys, now):
            found.append("No signing key of the backup signs an access token")
        if unread := await self._unread_hashes():
            found.append(f"UBR_SECRET_KEY does not decrypt {unread} password hashes")
        return found

    def _signs(self, keys: Sequence[SigningKey], now: datetime) -> bool:
        self.access_tokens.install(keys, now)
        claims = AccessClaims(
            user_id=UserId(_NO_ID),
            session_id=SessionId(_NO_ID),
            token_id=str(_NO_ID),
            issued_at=now,
            expires_at=now + _LIFETIME,
            auth_time=now,
            version=0,
            epoch="0" * EPOCH_NAME_LENGTH,
            roles=(),
        )
        try:
            return self.access_tokens.verify(self.access_tokens.issue(claims), now).token_id == claims.token_id
        except (NoSigningKey, InvalidToken):
            return False

    async def _unread_hashes(self) -> int:
        unread = 0
        async for page in hash_pages(self.unit_of_work):
            unread += sum(self.hasher.rebind(hashed, user_id) is None for user_id, hashed in page)
        return unread
