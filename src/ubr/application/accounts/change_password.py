from __future__ import annotations

import msgspec

from ubr.application.access.authorization import Authorize, authority
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.fields import NewPasswordStr, PasswordStr
from ubr.application.kernel.operator_policy import OperatorPolicy
from ubr.application.kernel.representations import SessionCookieResult
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.accounts import CommonPasswords, GuessablePasswords, PasswordHasher
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import EndingUnitOfWork
from ubr.application.protection.password_throttle import PasswordThrottle
from ubr.application.sessions.browser_sessions import BrowserSessions, has_browser
from ubr.application.sessions.termination import end_sessions
from ubr.domain.accounts.passwords import bounded_password, check_password
from ubr.domain.actor import Actor
from ubr.domain.revocation.changes import Change
from ubr.domain.sessions.termination import SecurityEvent


class ChangePasswordCommand(Command, frozen=True, kw_only=True):
    current_password: PasswordStr
    new_password: NewPasswordStr


class ChangePassword(msgspec.Struct, frozen=True):
    """Change one's own password.

    - Requires the current password: a stolen access token is not enough.
    - Wrong passwords count together with failed logins: 429 `rate-limited` beyond the limit.
    - The number of changes of one's own account is limited too.
    - The new password must meet the policy.
    - Ends every other session of the user; the current session continues. If it has a cookie, it ends too, and its
      browser gets the cookie of a new session: copies of the earlier cookie, and tokens that it was exchanged for, are
      worthless.
    """

    authorize: Authorize
    unit_of_work: EndingUnitOfWork
    passwords: PasswordThrottle
    hasher: PasswordHasher
    is_common: CommonPasswords
    is_guessable: GuessablePasswords
    browser_sessions: BrowserSessions
    policy: OperatorPolicy
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: ChangePasswordCommand, /, *, actor: Actor) -> SessionCookieResult | None:
        """Returns the cookie of the new session if the current one was that of a browser."""
        current = bounded_password(command.current_password, "/current_password")
        known = (await self.authorize(actor)).user
        known.require_person()
        new = check_password(
            command.new_password,
            min_length=self.policy.password_min_length,
            email=known.email,
            is_common=self.is_common,
            is_guessable=self.is_guessable,
            full_name=known.full_name,
            pointer="/new_password",
        )
        async with self.passwords.confirmed(actor.user_id, current) as attempt:
            await self.passwords.rate_limiter.own_change(actor.user_id, confirmed=True)
            hashed = await self.hasher.hash(new, owner=actor.user_id, account=attempt.user.email.key)
            async with self.unit_of_work.ending(Change("user", str(actor.user_id)), actor=actor) as tx:
                who = await authority(tx, actor)
                user = await attempt.user_in(tx)
                user.change_password(hashed, now=tx.now)
                await tx.users.save(user)
                cookie = None
                if has_browser(who):
                    await end_sessions(tx, user, SecurityEvent.PASSWORD_CHANGED, actor=None)
                    _, cookie = await self.browser_sessions.open(tx, user)
                else:
                    await end_sessions(tx, user, SecurityEvent.PASSWORD_CHANGED, actor=actor)
                await attempt.passed(tx)
        return cookie
