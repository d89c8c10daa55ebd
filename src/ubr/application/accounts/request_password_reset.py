from __future__ import annotations

from typing import Annotated

import msgspec

from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.fields import EXAMPLE_EMAIL, EmailStr, example
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.mail.queue import MailQueue
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.application.protection.rate_limits import RateLimiter
from ubr.domain.accounts.email import Email
from ubr.domain.actor import Actor, System
from ubr.domain.mail.kinds import MailKind


class RequestPasswordResetCommand(Command, frozen=True, kw_only=True):
    email: Annotated[EmailStr, example(EXAMPLE_EMAIL)]


class RequestPasswordReset(msgspec.Struct, frozen=True):
    """Request a link to replace a forgotten password.

    - The link is mailed if there is an active account with this e-mail. The answer is the same in every case.
    - The link can be used once, within half an hour; a new request invalidates the previous link.
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
