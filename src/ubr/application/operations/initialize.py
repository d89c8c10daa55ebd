from __future__ import annotations

import logging
from contextlib import suppress
from typing import Final

import msgspec

from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.keys.key_ring import KeyRing
from ubr.application.ports.accounts import PasswordHasher
from ubr.application.ports.audit import LogSigning
from ubr.application.ports.keys import AccessTokens
from ubr.application.ports.unit_of_work import Transaction, UnitOfWork
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import NoSigningKey, RoleNameTaken, SigningKeyLocked
from ubr.domain.events import LogKeyCreated, SigningKeyCreated
from ubr.domain.keys.signing_key import signer
from ubr.domain.roles.role import ADMIN_ROLE_ID, built_in_roles

_LOOKED_AT: Final = 100
_AMONG: Final = 5000
"""Imported users may have no password. They are not read without an end in search of one who has."""

LOCKED_HASHES: Final = (
    "UBR_SECRET_KEY lacks a secret: it does not decrypt the password hashes of %d of the %d oldest users, who cannot "
    "log in. Add the secret, and run `ubr keys rewrap` before you remove it"
)

_log: Final = logging.getLogger("ubr.passwords")


async def locked_hashes(tx: Transaction, hasher: PasswordHasher) -> tuple[int, int]:
    """Of the oldest users, the number of those whose password hashes no secret decrypts, and of all."""
    hashes = await tx.users.hashes(None, _LOOKED_AT, among=_AMONG)
    return sum(hasher.lacks_secret(hashed) for _, hashed in hashes), len(hashes)


class Initialize(msgspec.Struct, frozen=True):
    """Prepare a store for every other use case, and load its signing keys.

    - The first process creates the built-in roles, a signing key and the log's signing key. The keys sign at once.
    - One of the secrets must decrypt every key whose tokens may be valid, and the log's newest key.
    - It creates nothing if the secrets do not decrypt the existing keys.
    - It logs an error if password hashes need a secret that this process lacks. It looks at those of the 100 oldest
      users: hashes of users who log in are encrypted again, so an old secret is needed for the others.
    - It can be run any number of times.

    Errors: `SigningKeyLocked`, `LogKeyLocked`.
    """

    unit_of_work: UnitOfWork
    access_tokens: AccessTokens
    keys: KeyRing
    log_signing: LogSigning
    hasher: PasswordHasher

    @retry_on_conflict
    async def __call__(self) -> None:
        if not await self._load():
            with suppress(RoleNameTaken):  # another process was faster, and has committed
                await self._make()
            await self._load()
        async with self.unit_of_work.read() as tx:
            lacking, users = await locked_hashes(tx, self.hasher)
        if lacking:
            _log.error(LOCKED_HASHES, lacking, users)

    async def _load(self) -> bool:
        async with self.unit_of_work.read() as tx:
            signs = signer(await tx.signing_keys.all(), tx.now) is not None
            log_keys = await tx.log_keys.all()
            if not signs or not log_keys or await tx.roles.get(ADMIN_ROLE_ID) is None:
                return False
            locked = await self.keys.read(tx)
        if locked:
            raise SigningKeyLocked(*locked)
        self.log_signing.check(log_keys[-1])
        return True

    async def check(self) -> None:
        """Check that this process can sign tokens, and sign the log.

        Errors: `NoSigningKey`, `LogKeyLocked`, `StoreUnavailable`.
        """
        await self.keys.ensure_current()
        async with self.unit_of_work.read() as tx:
            signs, log_keys = self.access_tokens.signs_at(tx.now), await tx.log_keys.all()
        if not signs:
            raise NoSigningKey
        if log_keys:
            self.log_signing.check(log_keys[-1])

    async def _make(self) -> None:
        async with self.unit_of_work.begin(SYSTEM) as tx:
            for role in built_in_roles(tx.now):
                if await tx.roles.get(role.id) is None:
                    await tx.roles.add(role)
            await self._make_key(tx)
            await self._make_log_key(tx)
            await tx.commit()

    async def _make_key(self, tx: Transaction) -> None:
        if signer(await tx.signing_keys.all_to_change(), tx.now) is not None:
            return
        for log_key in (await tx.log_keys.all())[-1:]:
            self.log_signing.check(log_key)
        key = self.access_tokens.generate(tx.now)
        tx.record(SigningKeyCreated(kid=key.kid))
        await tx.signing_keys.add(key)

    async def _make_log_key(self, tx: Transaction) -> None:
        if await tx.log_keys.all_to_change():
            return
        for signing_key in await tx.signing_keys.all():
            if signing_key.accepted_at(tx.now):
                self.access_tokens.check(signing_key)
        key = self.log_signing.generate(tx.now)
        tx.record(LogKeyCreated(label=key.label, key=str(key)))
        await tx.log_keys.add(key)
