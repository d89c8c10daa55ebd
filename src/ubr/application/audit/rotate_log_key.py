from __future__ import annotations

from dataclasses import dataclass
from functools import partial

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
    """`key` is the text that verifiers take."""

    key: str


@dataclass(frozen=True, slots=True)
class RotateLogKey:
    """Make a new key that signs the log in place of the present one.

    - Only the service itself may.
    - It is an entry of the log, and the first checkpoint over that is signed by both: whoever trusts the one can trust
      the other. Later ones are signed by the new one alone.
    - A present key that no secret opens is refused, unless it is said that its secret is lost: it cannot vouch for the
      new one, so whoever verifies has to be given that.
    """

    unit_of_work: UnitOfWork
    signing: LogSigning
    sequencer: Sequencer
    denials: DenialLog

    @denials_recorded
    async def __call__(self, *, actor: System, lost_secret: bool = False) -> LogKeyResult:
        """The new key. Errors: `SecretMismatch`; `LogDamaged` where the log is not what was signed."""
        if not isinstance(actor, System):
            raise Forbidden("Only the service itself may rotate the key of the log")
        key = await self._rotate(actor, lost_secret=lost_secret)
        await self.sequencer(wait=True)
        return LogKeyResult(key=key)

    @retry_on_conflict
    async def _rotate(self, actor: System, *, lost_secret: bool) -> str:
        async with self.unit_of_work.begin(actor) as tx:
            keys = await tx.log_keys.all_to_change()
            if not lost_secret:
                # A key that the service cannot open must not be named in the log: it would stand still for ever.
                require_one_open(*(partial(self.signing.check, key) for key in keys[-1:]))
            new = self.signing.generate(tx.now, keys[-1] if keys else None)
            await tx.log_keys.add(new)
            tx.record(LogKeyRotated(label=new.label, key=str(new), before=str(keys[-1]) if keys else ""))
            await tx.commit()
        return str(new)
