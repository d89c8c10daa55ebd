from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ubr.application.access.authorization import Authorize, authority
from ubr.application.kernel.command import Command
from ubr.application.kernel.fields import EmailStr, PasswordStr, example
from ubr.application.kernel.retry import repeatable
from ubr.application.mail.queue import Post
from ubr.application.ports.accounts import PasswordHasher
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.application.protection.password_throttle import Attempt, PasswordGuard
from ubr.application.protection.rate_limits import Limits
from ubr.domain.accounts.email import Email
from ubr.domain.accounts.passwords import bounded_password
from ubr.domain.actor import Actor
from ubr.domain.errors import Invalid, InvalidToken, WrongPassword
from ubr.domain.events import EmailChangeAsked
from ubr.domain.mail.kinds import MailKind


class RequestEmailChangeCommand(Command, frozen=True, kw_only=True):
    email: Annotated[EmailStr, example("countess@example.org")]
    current_password: PasswordStr


@dataclass(frozen=True, slots=True)
class RequestEmailChange:
    """Ask for another e-mail.

    - The current password has to be given: a stolen access token is not enough. Wrong ones are counted with those of
      log-ins: 429 `rate-limited` beyond the limit.
    - A link is mailed to the new e-mail, and a notice to the present one. Nothing changes before the link is opened.
    - Whether the new e-mail belongs to another account is told to its holder alone.
    """

    authorize: Authorize
    unit_of_work: UnitOfWork
    guard: PasswordGuard
    limits: Limits
    hasher: PasswordHasher
    post: Post

    @repeatable
    async def __call__(self, command: RequestEmailChangeCommand, /, *, actor: Actor) -> None:
        email = Email.parse(command.email)
        current = bounded_password(command.current_password, "/current_password")
        await self.authorize(actor)
        async with self.guard() as attempt:
            await self._ask(email, current, attempt, actor)

    async def _ask(self, email: Email, current: str, attempt: Attempt, actor: Actor) -> None:
        async with self.unit_of_work.read() as tx:
            user = await tx.users.get(actor.user_id)
            if user is None:
                raise InvalidToken
            await attempt.find(tx, user.email)
        if not await attempt.verify(self.hasher, current, user.password_hash):
            raise WrongPassword
        if email.key == user.email.key:
            raise Invalid.at("/email", "is the one you have")
        await self.limits.mail(MailKind.EMAIL_CHANGE, email)
        async with self.unit_of_work.begin(actor) as tx:
            await authority(tx, actor)
            locked = await tx.users.get(actor.user_id)
            if locked is None:
                raise InvalidToken
            if locked.security_version != user.security_version:
                raise WrongPassword
            tx.record(EmailChangeAsked(user_id=locked.id))
            await self.post(tx, MailKind.EMAIL_CHANGE, email, user_id=locked.id, session_id=actor.session_id)
            await self.post(tx, MailKind.EMAIL_CHANGE_ASKED, locked.email, user_id=locked.id, new_email=email)
            await attempt.passed(tx)
            await tx.commit()
