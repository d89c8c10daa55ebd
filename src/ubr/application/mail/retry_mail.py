from __future__ import annotations

from uuid import UUID

import msgspec

from ubr.application.access.authorization import authority
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.actor import Actor, System
from ubr.domain.errors import QueuedMailNotFound
from ubr.domain.events import MailRetried
from ubr.domain.roles.permissions import EVERYTHING


class RetryMailCommand(Command, frozen=True, kw_only=True):
    mail_id: UUID


class RetryMail(msgspec.Struct, frozen=True):
    """Retry a queued or given-up mail at once, with a fresh count of attempts.

    - Requires `*`.
    """

    unit_of_work: UnitOfWork
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: RetryMailCommand, /, *, actor: Actor | System) -> None:
        """Errors: `QueuedMailNotFound`."""
        async with self.unit_of_work.begin(actor) as tx:
            (await authority(tx, actor)).require(EVERYTHING)
            queued = await tx.outbox.get(command.mail_id)
            if queued is None:
                raise QueuedMailNotFound
            await tx.outbox.save(queued.again(tx.now), was=queued)
            tx.record(MailRetried(queued_id=queued.id, kind=queued.kind.value))
            await tx.commit()
