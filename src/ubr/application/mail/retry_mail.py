from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.retry import repeatable
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.actor import System
from ubr.domain.errors import Forbidden, LetterNotFound
from ubr.domain.events import MailRetried


class RetryMailCommand(Command, frozen=True, kw_only=True):
    letter_id: UUID


@dataclass(frozen=True, slots=True)
class RetryMail:
    """Have a mail that waits, or was given up, tried at once, and again from the beginning.

    - Only the service itself may.
    """

    unit_of_work: UnitOfWork
    denials: DenialLog

    @denials_recorded
    @repeatable
    async def __call__(self, command: RetryMailCommand, /, *, actor: System) -> None:
        """Errors: `LetterNotFound`."""
        if not isinstance(actor, System):
            raise Forbidden("Only the service itself may retry a mail")
        async with self.unit_of_work.begin(actor) as tx:
            letter = await tx.outbox.get(command.letter_id)
            if letter is None:
                raise LetterNotFound
            await tx.outbox.save(letter.again(tx.now), was=letter)
            tx.record(MailRetried(letter_id=letter.id, kind=letter.kind.value))
            await tx.commit()
