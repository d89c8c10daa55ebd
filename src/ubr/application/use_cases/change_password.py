from __future__ import annotations

from dataclasses import dataclass

from ubr.application.actor import Actor
from ubr.application.authorization import Authorize, authority
from ubr.application.command import Command
from ubr.application.ending import end_sessions
from ubr.application.guarding import Attempt, PasswordGuard
from ubr.application.ports.security import CommonPasswords, PasswordHasher
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.application.repeating import repeatable
from ubr.application.rules import Rules
from ubr.domain.errors import InvalidToken, WrongPassword
from ubr.domain.policy import SecurityEvent, bounded_password, check_password


class ChangePasswordCommand(Command, frozen=True, kw_only=True):
    current_password: str
    new_password: str


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
