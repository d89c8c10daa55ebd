from __future__ import annotations

from dataclasses import dataclass

from ubr.application.actor import Actor, System
from ubr.application.command import Command
from ubr.application.limiting import Limits
from ubr.application.ports.security import CommonPasswords, PasswordHasher
from ubr.application.ports.system import NewId
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.application.repeating import repeatable
from ubr.application.results import UserResult, present_user
from ubr.application.rules import Rules
from ubr.domain.errors import RegistrationClosed
from ubr.domain.policy import check_password
from ubr.domain.user import User
from ubr.domain.values import FULL_NAME_LENGTH, Email, UserId, parse_text


class RegisterUserCommand(Command, frozen=True, kw_only=True):
    email: str
    password: str
    full_name: str | None = None


@dataclass(frozen=True, slots=True)
class RegisterUser:
    """Make an account of one's own.

    - Anyone may, where registration is open; the service itself always may.
    - The password has to be long enough, and neither a common one nor the e-mail, the name or the service's name.
    - A client IP may do so 60 times an hour: 429 `rate-limited` beyond.
    - The e-mail must not belong to another account, however it is spelled.
    """

    unit_of_work: UnitOfWork
    limits: Limits
    hasher: PasswordHasher
    is_common: CommonPasswords
    new_id: NewId
    rules: Rules

    @repeatable
    async def __call__(self, command: RegisterUserCommand, /, *, actor: Actor | System | None = None) -> UserResult:
        email = Email.parse(command.email)
        full_name = (
            None if command.full_name is None else parse_text(command.full_name, "/full_name", longest=FULL_NAME_LENGTH)
        )
        password = check_password(
            command.password,
            min_length=self.rules.password_min_length,
            email=email,
            is_common=self.is_common,
            full_name=full_name,
        )
        if not isinstance(actor, System):
            if self.rules.registration == "closed":
                raise RegistrationClosed
            await self.limits.registration()
        hashed = await self.hasher.hash(password)
        async with self.unit_of_work.begin(actor) as tx:
            user = User.register(
                id=UserId(self.new_id()), email=email, full_name=full_name, password_hash=hashed, now=tx.now
            )
            await tx.users.add(user)
            result = await present_user(tx, user)
            await tx.commit()
        return result
