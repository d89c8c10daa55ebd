from __future__ import annotations

from dataclasses import dataclass

from ubr.application.access.authorization import Authorize, authority
from ubr.application.kernel.command import Command
from ubr.application.kernel.fields import NewPasswordStr, PasswordStr
from ubr.application.kernel.operator_policy import Rules
from ubr.application.kernel.retry import repeatable
from ubr.application.ports.accounts import CommonPasswords, PasswordHasher
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.application.protection.password_throttle import Attempt, PasswordGuard
from ubr.application.sessions.termination import end_sessions
from ubr.domain.accounts.passwords import bounded_password, check_password
from ubr.domain.actor import Actor
from ubr.domain.errors import InvalidToken, WrongPassword
from ubr.domain.sessions.termination import SecurityEvent


class ChangePasswordCommand(Command, frozen=True, kw_only=True):
    current_password: PasswordStr
    new_password: NewPasswordStr


@dataclass(frozen=True, slots=True)
class ChangePassword:
    """Change one's own password.

    - The current one has to be given: a stolen access token is not enough.
    - Wrong ones are counted with those of log-ins: 429 `rate-limited` beyond the limit.
    - The new one has to meet the policy.
    - Every other session of the user ends; the one that asks stays.
    """

    authorize: Authorize
    unit_of_work: UnitOfWork
    guard: PasswordGuard
    hasher: PasswordHasher
    is_common: CommonPasswords
    rules: Rules

    @repeatable
    async def __call__(self, command: ChangePasswordCommand, /, *, actor: Actor) -> None:
        current = bounded_password(command.current_password, "/current_password")
        await self.authorize(actor)
        async with self.guard() as attempt:
            await self._change(command, current, attempt, actor)

    async def _change(self, command: ChangePasswordCommand, current: str, attempt: Attempt, actor: Actor) -> None:
        async with self.unit_of_work.read() as tx:
            user = await tx.users.get(actor.user_id)
            if user is None:
                raise InvalidToken
            await attempt.find(tx, user.email)
        new = check_password(
            command.new_password,
            min_length=self.rules.password_min_length,
            email=user.email,
            is_common=self.is_common,
            full_name=user.full_name,
            pointer="/new_password",
        )
        if not await attempt.verify(self.hasher, current, user.password_hash):
            raise WrongPassword
        hashed = await self.hasher.hash(new)
        async with self.unit_of_work.begin(actor) as tx:
            await authority(tx, actor)
            locked = await tx.users.get(actor.user_id)
            if locked is None:
                raise InvalidToken
            # The hash alone also changes when a log-in brings it up to today's cost.
            if locked.password_hash != user.password_hash and locked.security_version != user.security_version:
                raise WrongPassword
            locked.change_password(hashed, now=tx.now)
            await tx.users.save(locked)
            await end_sessions(tx, locked.id, SecurityEvent.PASSWORD_CHANGED, actor=actor)
            await attempt.passed(tx)
            await tx.commit()
