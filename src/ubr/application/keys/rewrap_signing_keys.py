from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ubr.application.kernel.command import Result
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import DenialLog, LogSigning
from ubr.application.ports.keys import AccessTokens
from ubr.application.ports.unit_of_work import Transaction, UnitOfWork
from ubr.domain.actor import System
from ubr.domain.audit.checkpoint import LogKey
from ubr.domain.errors import Forbidden, LogKeyLocked, SigningKeyLocked
from ubr.domain.events import LogKeyRewrapped, SigningKeyRewrapped


class RewrapResult(Result, frozen=True, kw_only=True):
    """`keys`: all keys. `rewrapped`: those that had to be rewrapped."""

    keys: int
    rewrapped: int


@dataclass(frozen=True, slots=True)
class RewrapSigningKeys:
    """Encrypt every private key with the newest secret. Afterwards the other secrets are no longer needed.

    - Only the service itself may.
    - This includes the log's signing keys.
    - Leaves a key unchanged if it is no longer used and no secret decrypts it.
    - Repeating it changes nothing.
    """

    unit_of_work: UnitOfWork
    access_tokens: AccessTokens
    log_signing: LogSigning
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, *, actor: System) -> RewrapResult:
        """Errors: `SigningKeyLocked` if no secret decrypts a key whose tokens may be valid; `LogKeyLocked` if none
        decrypts the newest key of the log. Nothing is changed then.
        """
        if not isinstance(actor, System):
            raise Forbidden("Only the service itself may rewrap signing keys")
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
