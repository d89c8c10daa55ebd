from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.fields import EXAMPLE_PASSWORD, LinkTokenStr, NewPasswordStr, example
from ubr.application.kernel.operator_policy import OperatorPolicy
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.mail.queue import MailQueue
from ubr.application.ports.accounts import CommonPasswords, GuessablePasswords, LinkTokenMint, PasswordHasher
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.system import NewId
from ubr.application.ports.unit_of_work import EndingUnitOfWork, Transaction
from ubr.application.protection.password_throttle import PasswordThrottle
from ubr.application.protection.rate_limits import RateLimiter
from ubr.application.sessions.termination import end_sessions
from ubr.domain.accounts.one_time_link import UNDO_LIFETIME, LinkKind, OneTimeLink
from ubr.domain.accounts.passwords import bounded_password, check_password
from ubr.domain.accounts.user import User
from ubr.domain.accounts.user_fields import NO_FIELDS, UserFields
from ubr.domain.actor import Actor, System
from ubr.domain.errors import Invalid, InvalidLink, RegistrationClosed
from ubr.domain.ids import UserId
from ubr.domain.mail.kinds import MailKind
from ubr.domain.revocation.changes import Change
from ubr.domain.sessions.termination import SecurityEvent


class VerifyEmailCommand(Command, frozen=True, kw_only=True):
    token: LinkTokenStr
    password: Annotated[NewPasswordStr | UnsetType, example(EXAMPLE_PASSWORD)] = UNSET


class VerifyEmail(msgspec.Struct, frozen=True):
    """Verify an e-mail with the link that was mailed to it.

    - For a registration, this sets the password and creates the account.
    - For the unverified e-mail of an existing account, this requires the account's password. Another password that
      meets the policy transfers the account to the holder of the mailbox: it becomes the new password, and all data
      of the first registrant is removed.
    - For a change of e-mail, this sets the new e-mail and accepts no password. The user's other sessions end. Another
      account with that e-mail, if it was never verified and has no roles, is deleted: its registrant never proved the
      mailbox. The old e-mail, if it was verified, gets a notice and can undo the change for a day; no other account can
      take it until then.
    - The link can be used once. It stays valid if the password is rejected.
    """

    unit_of_work: EndingUnitOfWork
    tokens: LinkTokenMint
    rate_limiter: RateLimiter
    hasher: PasswordHasher
    passwords: PasswordThrottle
    is_common: CommonPasswords
    is_guessable: GuessablePasswords
    new_id: NewId
    mail_queue: MailQueue
    policy: OperatorPolicy
    denials: DenialLog
    user_fields: UserFields = NO_FIELDS

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: VerifyEmailCommand, /, *, actor: Actor | System | None = None) -> None:
        async with self.rate_limiter.redeeming():
            async with self.unit_of_work.read() as tx:
                link = await tx.links.get(self.tokens.digest(command.token))
                if link is None or not link.live_at(tx.now):
                    raise InvalidLink
            match link.kind:
                case LinkKind.REGISTRATION:
                    await self._register(link, _given(command.password), actor)
                case LinkKind.VERIFICATION:
                    await self._verify(link, _given(command.password), actor)
                case LinkKind.EMAIL_CHANGE:
                    if command.password is not UNSET:
                        raise Invalid.at("/password", "is not accepted for a change of e-mail")
                    await self._change_email(link)
                case _:
                    raise InvalidLink

    async def _register(self, link: OneTimeLink, raw: str, actor: Actor | System | None) -> None:
        if self.policy.registration == "closed":
            raise RegistrationClosed
        password, new = self._checked(raw, link, link.full_name), UserId(self.new_id())
        hashed = await self.hasher.hash(password, owner=new, account=link.email.key)
        async with self.unit_of_work.begin(actor) as tx:
            if await tx.links.redeem(link.digest, tx.now) is None:
                raise InvalidLink
            user = User.register_verified(
                id=new,
                email=link.email,
                full_name=link.full_name,
                password_hash=hashed,
                now=tx.now,
                fields=self.user_fields.blank,
            )
            await tx.users.add(user)
            await self.passwords.vouch(tx, user)
            await tx.commit()

    async def _verify(self, link: OneTimeLink, raw: str, actor: Actor | System | None) -> None:
        password = bounded_password(raw)
        async with self.unit_of_work.read() as tx:
            user = await tx.users.get(_owner(link))
        if user is None:
            raise InvalidLink
        # Does not protect the account, which belongs to the holder of the link, but limits the expensive hashing.
        status = await self.rate_limiter.password_attempt()
        known = await self.hasher.verify(password, user.password_hash, owner=user.id, account=link.email.key)
        hashed = None
        if not known:
            password = self._checked(raw, link, user.full_name)
            hashed = await self.hasher.hash(password, owner=user.id, account=link.email.key)
        async with self.unit_of_work.ending(Change("user", str(user.id)), actor=actor) as tx:
            current = await tx.users.get(user.id)
            if current is None or not current.active or current.email_verified:
                raise InvalidLink
            if current.security_version != user.security_version or await tx.links.redeem(link.digest, tx.now) is None:
                raise InvalidLink
            if hashed is None:
                current.verify_email(now=tx.now)
            else:
                current.reset_password(hashed, now=tx.now, claimed_fields=self.user_fields.claimed(current.fields))
                await end_sessions(tx, current, SecurityEvent.CLAIMED, actor=None)
            await tx.users.save(current)
            await self.passwords.vouch(tx, current)
        await self.rate_limiter.give_back(status)

    async def _change_email(self, link: OneTimeLink) -> None:
        user_id = _owner(link)
        # It acts as the session that asked for the change, which goes on: the link may be opened without a session.
        asked = None if link.session_id is None else Actor(user_id, link.session_id)
        async with self.unit_of_work.ending(Change("user", str(user_id)), actor=asked) as tx:
            user = await tx.users.get(user_id)
            if user is None or not user.active or await tx.links.redeem(link.digest, tx.now) is None:
                raise InvalidLink
            await _remove_squatter(tx, link, asked)
            old, was_verified = user.email, user.email_verified
            user.change_email(link.email, now=tx.now)
            await tx.users.save(user)
            await self.passwords.forget_failures(tx, user.email)
            await end_sessions(tx, user, SecurityEvent.EMAIL_CHANGED, actor=asked, old=old)
            if was_verified:
                # An unverified e-mail may belong to a stranger, who must not get the account.
                await tx.users.reserve(old, user.id, tx.now + UNDO_LIFETIME)
                await self.mail_queue(tx, MailKind.EMAIL_CHANGED, old, user_id=user.id, new_email=user.email)

    def _checked(self, raw: str, link: OneTimeLink, full_name: str | None) -> str:
        return check_password(
            raw,
            min_length=self.policy.password_min_length,
            email=link.email,
            is_common=self.is_common,
            is_guessable=self.is_guessable,
            full_name=full_name,
        )


def _given(password: str | UnsetType) -> str:
    if password is UNSET:
        raise Invalid.at("/password", "is required")
    return password


async def _remove_squatter(tx: Transaction, link: OneTimeLink, asked: Actor | None) -> None:
    """Delete the account of a person who registered with the e-mail of the link and never verified it.

    The link, which the mailbox received, proves it for another user.
    """
    other = await tx.users.by_email(link.email)
    if other is None or other.id == link.user_id or not other.gives_way:
        return
    await end_sessions(tx, other, SecurityEvent.DELETED, actor=asked)
    other.delete()
    await tx.users.remove(other)
    await tx.outbox.forget_email(other.email, other.id)


def _owner(link: OneTimeLink) -> UserId:
    if link.user_id is None:
        raise InvalidLink
    return link.user_id
