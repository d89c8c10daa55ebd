from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import msgspec

from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.fields import EXAMPLE_EMAIL, EmailStr, PasswordStr, example
from ubr.application.kernel.hooks import NO_HOOKS, Hooks
from ubr.application.kernel.representations import BrowserLoginResult, BrowserSessionResult, present_user
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import EndingUnitOfWork
from ubr.application.protection.password_throttle import PasswordThrottle
from ubr.application.sessions.authenticate_cookie import AuthenticateCookie
from ubr.application.sessions.browser_sessions import BrowserSessions
from ubr.application.sessions.token_issuer import seconds_until
from ubr.domain.accounts.email import Email
from ubr.domain.accounts.passwords import bounded_password
from ubr.domain.accounts.user_fields import NO_FIELDS, UserFields
from ubr.domain.actor import Actor, System
from ubr.domain.errors import InvalidToken
from ubr.domain.revocation.changes import Change
from ubr.domain.sessions.termination import SecurityEvent


class LogInBrowserCommand(Command, frozen=True, kw_only=True):
    """`cookie` is the one that the browser had before, if any: its session ends."""

    email: Annotated[EmailStr, example(EXAMPLE_EMAIL)]
    password: PasswordStr
    cookie: str | None = None


class LogInBrowser(msgspec.Struct, frozen=True):
    """Log in a browser and open a session with a cookie, which scripts cannot read.

    - The rules and the limits are those of `POST /api/auth/login`.
    - The cookie is always a new one. A value that the browser had before never becomes valid, and the session that it
      belongs to ends.
    """

    unit_of_work: EndingUnitOfWork
    passwords: PasswordThrottle
    authenticate: AuthenticateCookie
    sessions: BrowserSessions
    denials: DenialLog
    hooks: Hooks = NO_HOOKS
    user_fields: UserFields = NO_FIELDS

    @denials_recorded
    @retry_on_conflict
    async def __call__(
        self, command: LogInBrowserCommand, /, *, actor: Actor | System | None = None
    ) -> BrowserLoginResult:
        email = Email.parse(command.email)
        password = bounded_password(command.password)
        await self.hooks.run_before(command, actor)
        async with self.passwords.checked(email, password) as attempt:
            if command.cookie is not None:
                await self._end(command.cookie)
            async with self.unit_of_work.begin(actor) as tx:
                user = await attempt.user_in(tx)
                session, cookie = await self.sessions.open(tx, user)
                shown = BrowserSessionResult(
                    session_id=session.id,
                    expires_in=seconds_until(session.usable_until, tx.now),
                    user=await present_user(tx, user, self.user_fields.seen_by(None)),
                )
                await attempt.passed(tx, logged_in=True)
                await tx.commit()
        return BrowserLoginResult(session=shown, cookie=cookie)

    async def _end(self, cookie: str) -> None:
        """End the session that the browser leaves. A cookie without one is none to end."""
        with suppress(InvalidToken):
            left = await self.authenticate(cookie)
            async with self.unit_of_work.ending(Change("session", str(left.session_id)), actor=left) as tx:
                session = await tx.sessions.get(left.session_id)
                if session is not None:
                    session.end(SecurityEvent.LOG_OUT, now=tx.now)
                    await tx.sessions.save(session)
