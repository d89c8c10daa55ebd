from __future__ import annotations

from dataclasses import dataclass

from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.mail.queue import MailQueue
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.application.protection.rate_limits import RateLimiter
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
    mail_queue: MailQueue
    rate_limiter: RateLimiter
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: RequestPasswordResetCommand, /, *, actor: Actor | System | None = None) -> None:
        email = Email.parse(command.email)
        await self.rate_limiter.mail(MailKind.PASSWORD_RESET, email)
        async with self.unit_of_work.begin(actor) as tx:
            await self.mail_queue(tx, MailKind.PASSWORD_RESET, email)
            await tx.commit()
