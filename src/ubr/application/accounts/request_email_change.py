from __future__ import annotations

from typing import Annotated

import msgspec

from ubr.application.access.authorization import Authorize, authority
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.fields import EmailStr, PasswordStr, example
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.mail.queue import MailQueue
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.application.protection.password_throttle import PasswordThrottle
from ubr.application.protection.rate_limits import RateLimiter
from ubr.domain.accounts.email import Email
from ubr.domain.accounts.passwords import bounded_password
from ubr.domain.actor import Actor
from ubr.domain.errors import Invalid
from ubr.domain.events import EmailChangeAsked
from ubr.domain.mail.kinds import MailKind


class RequestEmailChangeCommand(Command, frozen=True, kw_only=True):
    email: Annotated[EmailStr, example("countess@example.org")]
    current_password: PasswordStr


class RequestEmailChange(msgspec.Struct, frozen=True):
    """Request a change of one's e-mail.

    - Requires the current password: a stolen access token is not enough. Wrong passwords count together with failed
      logins: 429 `rate-limited` beyond the limit.
    - A link is mailed to the new e-mail, and a notice to the current one if that is verified. Nothing changes until the
      link is redeemed.
    - Limited to 5 requests an hour for each account, old e-mail and new e-mail: 429 `rate-limited` beyond.
    - Only the holder of the new e-mail learns that it belongs to another account.
    """

    authorize: Authorize
    unit_of_work: UnitOfWork
    passwords: PasswordThrottle
    rate_limiter: RateLimiter
    mail_queue: MailQueue
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: RequestEmailChangeCommand, /, *, actor: Actor) -> None:
        email = Email.parse(command.email)
        current = bounded_password(command.current_password, "/current_password")
        (await self.authorize(actor)).user.require_person()
        async with self.passwords.confirmed(actor.user_id, current) as attempt:
            if email.key == attempt.user.email.key:
                raise Invalid.at("/email", "must differ from the current e-mail")
            await self.rate_limiter.own_change(actor.user_id, confirmed=True)
            await self.rate_limiter.email_change(attempt.user, email)
            async with self.unit_of_work.begin(actor) as tx:
                await authority(tx, actor)
                user = await attempt.user_in(tx)
                tx.record(EmailChangeAsked(user_id=user.id))
                await self.mail_queue(tx, MailKind.EMAIL_CHANGE, email, user_id=user.id, session_id=actor.session_id)
                if user.email_verified:
                    # An unverified e-mail may belong to a stranger, who did not ask for mails.
                    await self.mail_queue(tx, MailKind.EMAIL_CHANGE_ASKED, user.email, user_id=user.id, new_email=email)
                await attempt.passed(tx)
                await tx.commit()
