from __future__ import annotations

from functools import partial

import msgspec

from ubr.application.audit.sequencer import Sequencer
from ubr.application.kernel.command import Result
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.kernel.secret_check import require_one_open
from ubr.application.ports.audit import DenialLog, LogSigning
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.actor import System
from ubr.domain.errors import Forbidden
from ubr.domain.events import LogKeyRotated


class LogKeyResult(Result, frozen=True, kw_only=True):
    """`key` is the public key in the text form for verifiers."""

    key: str


class RotateLogKey(msgspec.Struct, frozen=True):
    """Replace the log's signing key with a new one.

    - Only the service itself may.
    - The rotation is an audit log entry, and both keys sign the first checkpoint that covers it: a verifier that
      trusts one key can trust the other. Only the new key signs later checkpoints.
    - If no secret decrypts the current key, the rotation is refused unless `lost_secret` is set: the old key cannot
      sign then, and verifiers have to be given the new key.
    """

    unit_of_work: UnitOfWork
    signing: LogSigning
    sequencer: Sequencer
    denials: DenialLog

    @denials_recorded
    async def __call__(self, *, actor: System, lost_secret: bool = False) -> LogKeyResult:
        """The new key. Errors: `SecretMismatch`; `LogDamaged` if the log does not match its signatures."""
        if not isinstance(actor, System):
            raise Forbidden("Only the service itself may rotate the log's signing key")
        key = await self._rotate(actor, lost_secret=lost_secret)
        await self.sequencer(wait=True)
        return LogKeyResult(key=key)

    @retry_on_conflict
    async def _rotate(self, actor: System, *, lost_secret: bool) -> str:
        async with self.unit_of_work.begin(actor) as tx:
            keys = await tx.log_keys.all_to_change()
            if not lost_secret:
                # The log must not name a key that the service cannot decrypt: no entry could be signed after it.
                require_one_open(*(partial(self.signing.check, key) for key in keys[-1:]))
            new = self.signing.generate(tx.now, keys[-1] if keys else None)
            await tx.log_keys.add(new)
            tx.record(LogKeyRotated(label=new.label, key=str(new), before=str(keys[-1]) if keys else ""))
            await tx.commit()
        return str(new)
