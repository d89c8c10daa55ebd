from __future__ import annotations

from dataclasses import dataclass

from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.retry import repeatable
from ubr.application.mail.queue import Post
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.application.protection.rate_limits import Limits
from ubr.domain.accounts.email import Email
from ubr.domain.actor import Actor, System
from ubr.domain.mail.kinds import MailKind


class RequestPasswordResetCommand(Command, frozen=True, kw_only=True):
    email: str


@dataclass(frozen=True, slots=True)
class RequestPasswordReset:
    """Ask for a link with which a forgotten password is replaced.

    - It is mailed where there is an active account with this e-mail. The answer is the same in every case.
    - It is good once and for half an hour; asking again makes the one before worthless.
    """

    unit_of_work: UnitOfWork
    post: Post
    limits: Limits
    denials: DenialLog

    @denials_recorded
    @repeatable
    async def __call__(self, command: RequestPasswordResetCommand, /, *, actor: Actor | System | None = None) -> None:
        email = Email.parse(command.email)
        await self.limits.mail(MailKind.PASSWORD_RESET, email)
        async with self.unit_of_work.begin(actor) as tx:
            await self.post(tx, MailKind.PASSWORD_RESET, email)
            await tx.commit()
