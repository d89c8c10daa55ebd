from __future__ import annotations

from typing import Annotated

import msgspec

from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.fields import EXAMPLE_EMAIL, EmailStr, PasswordStr, example
from ubr.application.kernel.hooks import NO_HOOKS, Hooks
from ubr.application.kernel.operator_policy import OperatorPolicy
from ubr.application.kernel.representations import TokensResult
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.keys.key_ring import KeyRing
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.sessions import Principal, RefreshTokenMint
from ubr.application.ports.system import NewId
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.application.protection.password_throttle import PasswordThrottle
from ubr.application.sessions.new_session import new_session
from ubr.application.sessions.token_issuer import TokenIssuer, unspent
from ubr.domain.accounts.email import Email
from ubr.domain.accounts.passwords import bounded_password
from ubr.domain.actor import Actor, System
from ubr.domain.ids import SessionId


class LogInCommand(Command, frozen=True, kw_only=True):
    email: Annotated[EmailStr, example(EXAMPLE_EMAIL)]
    password: PasswordStr


class LogIn(msgspec.Struct, frozen=True):
    """Log in and open a session.

    - An unknown e-mail, a wrong password and a disabled user get the same answer in the same time.
    - The number of wrong passwords per account and per client IP is limited: 429 `rate-limited` beyond.
    - The number of logins per account and per client IP is limited too: 429 `rate-limited` beyond.
    - If the account's security state changes during the login, the login is repeated on the changed account.
    - Replaces a password hash that has a lower cost than the current setting.
    - If the user exceeds the maximum number of sessions, the least recently used one ends. If the maximum was lowered,
      one login ends at most 100 of the sessions beyond it.
    """

    unit_of_work: UnitOfWork
    passwords: PasswordThrottle
    keys: KeyRing
    mint: RefreshTokenMint
    issuer: TokenIssuer
    new_id: NewId
    policy: OperatorPolicy
    denials: DenialLog
    hooks: Hooks = NO_HOOKS

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: LogInCommand, /, *, actor: Actor | System | None = None) -> TokensResult:
        email = Email.parse(command.email)
        password = bounded_password(command.password)
        await self.hooks.run_before(command, actor)
        async with self.passwords.checked(email, password) as attempt:
            await self.keys.ensure_current()  # before the unit, because it may read on another connection
            async with self.unit_of_work.begin(actor) as tx:
                position = await tx.feed_position()  # before the user: the token may lack later changes
                user = await attempt.user_in(tx)
                session = await new_session(tx, user, id=SessionId(self.new_id()), policy=self.policy)
                token = self.mint.mint(session.id)
                await tx.sessions.open(session, unspent(token, session.id, self.mint, tx.now))
                roles = await tx.roles.many(user.roles_at(tx.now))
                principal = Principal(user=user, session=session, roles=tuple(roles))
                tokens = await self.issuer.issue(principal, token.secret, tx.now, position)
                await attempt.passed(tx, logged_in=True)
                await tx.commit()
        return tokens
