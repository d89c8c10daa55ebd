from __future__ import annotations

import msgspec

from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.fields import LinkTokenStr, NewPasswordStr
from ubr.application.kernel.operator_policy import OperatorPolicy
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.accounts import CommonPasswords, GuessablePasswords, LinkTokenMint, PasswordHasher
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import EndingUnitOfWork
from ubr.application.protection.password_throttle import PasswordThrottle
from ubr.application.protection.rate_limits import RateLimiter
from ubr.application.sessions.termination import end_sessions
from ubr.domain.accounts.one_time_link import LinkKind
from ubr.domain.accounts.passwords import check_password
from ubr.domain.accounts.user_fields import NO_FIELDS, UserFields
from ubr.domain.actor import Actor, System
from ubr.domain.errors import InvalidLink
from ubr.domain.revocation.changes import Change
from ubr.domain.sessions.termination import SecurityEvent


class ResetPasswordCommand(Command, frozen=True, kw_only=True):
    token: LinkTokenStr
    new_password: NewPasswordStr


class ResetPassword(msgspec.Struct, frozen=True):
    """Set a new password with a mailed link.

    - The link can be used once, as long as the account is unchanged since the mail was sent. It stays valid if the
      password does not meet the policy.
    - Ends every session of the user. The e-mail counts as verified.
    - If the e-mail was never verified, all data of the first registrant is removed from the account.
    """

    unit_of_work: EndingUnitOfWork
    tokens: LinkTokenMint
    rate_limiter: RateLimiter
    hasher: PasswordHasher
    passwords: PasswordThrottle
    is_common: CommonPasswords
    is_guessable: GuessablePasswords
    policy: OperatorPolicy
    denials: DenialLog
    user_fields: UserFields = NO_FIELDS

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: ResetPasswordCommand, /, *, actor: Actor | System | None = None) -> None:
        async with self.rate_limiter.redeeming():
            await self._reset(command, actor)

    async def _reset(self, command: ResetPasswordCommand, actor: Actor | System | None) -> None:
        digest = self.tokens.digest(command.token)
        async with self.unit_of_work.read() as tx:
            link = await tx.links.get(digest)
            if link is None or link.kind is not LinkKind.PASSWORD_RESET or not link.live_at(tx.now):
                raise InvalidLink
            user = None if link.user_id is None else await tx.users.get(link.user_id)
        if user is None:
            raise InvalidLink
        password = check_password(
            command.new_password,
            min_length=self.policy.password_min_length,
            email=user.email,
            is_common=self.is_common,
            is_guessable=self.is_guessable,
            full_name=user.full_name,
            pointer="/new_password",
        )
        hashed = await self.hasher.hash(password, owner=user.id, account=user.email.key)
        async with self.unit_of_work.ending(Change("user", str(user.id)), actor=actor) as tx:
            user = await tx.users.get(user.id)  # before its link: a unit that ends the links has locked the user too
            if user is None or not user.active or await tx.links.redeem(digest, tx.now) is None:
                raise InvalidLink
            claimed = not user.email_verified
            user.reset_password(hashed, now=tx.now, claimed_fields=self.user_fields.claimed(user.fields))
            await tx.users.save(user)
            cause = SecurityEvent.CLAIMED if claimed else SecurityEvent.PASSWORD_RESET
            await end_sessions(tx, user, cause, actor=None)
            await self.passwords.vouch(tx, user)
