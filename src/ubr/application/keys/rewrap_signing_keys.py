from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ubr.application.kernel.command import Result
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.kernel.secret_check import HASHES, hash_pages
from ubr.application.ports.accounts import PasswordHasher
from ubr.application.ports.audit import DenialLog, LogSigning
from ubr.application.ports.keys import AccessTokens
from ubr.application.ports.machines import MachineKeyMint
from ubr.application.ports.unit_of_work import Transaction, UnitOfWork
from ubr.domain.accounts.passwords import PasswordHash
from ubr.domain.actor import System
from ubr.domain.audit.checkpoint import LogKey
from ubr.domain.errors import Forbidden, LogKeyLocked, SigningKeyLocked
from ubr.domain.events import LogKeyRewrapped, MachineKeysRewrapped, PasswordsRewrapped, SigningKeyRewrapped
from ubr.domain.ids import MachineKeyId, UserId
from ubr.domain.machines.key import MachineKey


class RewrapResult(Result, frozen=True, kw_only=True):
    """`keys`: all keys. `rewrapped`: those that had to be rewrapped.

    `passwords`: the password hashes that had to be rewrapped. `lost`: those that no secret decrypts; their users need
    a new password. `machine_keys` and `lost_machine_keys`: the same for the digests of the keys of machines.
    """

    keys: int
    rewrapped: int
    passwords: int = 0
    lost: int = 0
    machine_keys: int = 0
    lost_machine_keys: int = 0


class RewrapSigningKeys(msgspec.Struct, frozen=True):
    """Encrypt every private key, every password hash and every digest of a key of a machine with the newest secret.
    Afterwards the other secrets are no longer needed for them.

    - Only the service itself may.
    - This includes the log's signing keys.
    - Leaves a key unchanged if it is no longer used and no secret decrypts it, and a hash if no secret decrypts it.
    - Hashes go first, and then the digests of the keys of machines: once the other keys need only the newest secret,
      so do these.
    - Repeating it changes nothing.
    """

    unit_of_work: UnitOfWork
    access_tokens: AccessTokens
    log_signing: LogSigning
    hasher: PasswordHasher
    machine_keys: MachineKeyMint
    denials: DenialLog

    @denials_recorded
    async def __call__(self, *, actor: System) -> RewrapResult:
        """Errors: `SigningKeyLocked` if no secret decrypts a key whose tokens may be valid; `LogKeyLocked` if none
        decrypts the newest key of the log. No key is changed then.
        """
        if not isinstance(actor, System):
            raise Forbidden("Only the service itself may rewrap signing keys")
        passwords, lost = 0, 0
        async for page in hash_pages(self.unit_of_work):
            count, unread = await self._rebind(page, actor)
            passwords, lost = passwords + count, lost + unread
        rebound, unread_keys = await self._rewrap_machine_keys(actor)
        result = await self._rewrap_keys(actor)
        return msgspec.structs.replace(
            result, passwords=passwords, lost=lost, machine_keys=rebound, lost_machine_keys=unread_keys
        )

    async def _rewrap_machine_keys(self, actor: System) -> tuple[int, int]:
        """The number of digests that were encrypted again, and of those that no secret decrypts."""
        rebound, lost = 0, 0
        last: MachineKeyId | None = None
        while True:
            async with self.unit_of_work.read() as tx:
                page = await tx.machine_keys.every(last, HASHES)
            if not page:
                return rebound, lost
            last = page[-1].id
            digests = [(key, self.machine_keys.rebind(key)) for key in page]
            lost += sum(sealed is None for _, sealed in digests)
            stale = [(key, sealed) for key, sealed in digests if sealed is not None and sealed != key.sealed]
            if stale:
                rebound += await self._rebind_machine_keys(stale, actor)

    @retry_on_conflict
    async def _rebind_machine_keys(self, stale: list[tuple[MachineKey, bytes]], actor: System) -> int:
        async with self.unit_of_work.begin(actor) as tx:
            count = [await tx.machine_keys.rebind(key, sealed) for key, sealed in stale].count(True)
            if count:
                tx.record(MachineKeysRewrapped(keys=count))
            await tx.commit()
        return count

    @retry_on_conflict
    async def _rebind(self, page: list[tuple[UserId, PasswordHash]], actor: System) -> tuple[int, int]:
        """The number of hashes of a page that were encrypted again, and of those that no secret decrypts."""
        bound = [(user_id, before, self.hasher.rebind(before, user_id)) for user_id, before in page]
        lost = sum(after is None for _, _, after in bound)
        stale = [(user_id, before, after) for user_id, before, after in bound if after is not None and after != before]
        if not stale:
            return 0, lost
        async with self.unit_of_work.begin(actor) as tx:
            # A user who got another hash meanwhile got one that the newest secret encrypts.
            count = [await tx.users.rebind(*one) for one in stale].count(True)
            if count:
                tx.record(PasswordsRewrapped(users=count))
            await tx.commit()
        return count, lost

    @retry_on_conflict
    async def _rewrap_keys(self, actor: System) -> RewrapResult:
        rewrapped = 0
        async with self.unit_of_work.begin(actor) as tx:
            keys = await tx.signing_keys.all_to_change()
            for key in keys:
                try:
                    sealed = self.access_tokens.reseal(key)
                except SigningKeyLocked:
                    if key.accepted_at(tx.now):
                        raise
                    continue
                if sealed.private != key.private:
                    await tx.signing_keys.save(sealed)
                    tx.record(SigningKeyRewrapped(kid=key.kid))
                    rewrapped += 1
            log_keys = await tx.log_keys.all_to_change()
            rewrapped += await self._rewrap(tx, log_keys)
            await tx.commit()
        return RewrapResult(keys=len(keys) + len(log_keys), rewrapped=rewrapped)

    async def _rewrap(self, tx: Transaction, keys: Sequence[LogKey]) -> int:
        """The number of log keys that had to be encrypted again."""
        rewrapped = 0
        for key in keys:
            try:
                sealed = self.log_signing.reseal(key)
            except LogKeyLocked:
                if key == keys[-1]:
                    raise
                continue
            if sealed.private != key.private:
                await tx.log_keys.save(sealed)
                tx.record(LogKeyRewrapped(label=key.label, key=str(key)))
                rewrapped += 1
        return rewrapped
