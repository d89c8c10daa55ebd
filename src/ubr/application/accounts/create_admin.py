from __future__ import annotations

import msgspec

from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.operator_policy import OperatorPolicy
from ubr.application.kernel.representations import UserResult, present_user
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.accounts import CommonPasswords, GuessablePasswords, PasswordHasher
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.system import NewId
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.application.protection.password_throttle import PasswordThrottle
from ubr.application.sessions.termination import end_sessions
from ubr.domain.accounts.email import Email
from ubr.domain.accounts.passwords import check_password
from ubr.domain.accounts.user import User
from ubr.domain.accounts.user_field import Access
from ubr.domain.accounts.user_fields import NO_FIELDS, UserFields
from ubr.domain.actor import System
from ubr.domain.errors import EmailTaken, Forbidden, TransactionConflict, UserNotFound
from ubr.domain.ids import UserId
from ubr.domain.roles.role import ADMIN_ROLE_ID
from ubr.domain.sessions.termination import SecurityEvent


class CreateAdminCommand(Command, frozen=True, kw_only=True):
    """`first_only` does nothing if an administrator exists; `take_over` expects the e-mail of an existing user."""

    email: str
    password: str
    first_only: bool = False
    take_over: bool = False


class CreateAdmin(msgspec.Struct, frozen=True):
    """Create an administrator: the first one of an installation, or a new one for a locked-out operator.

    - Only the service itself may.
    - Rejects the e-mail of an existing account, unless `take_over` is set: the account then gets the new
      password and the role, and all its sessions end.
    - A take-over rejects the e-mail of no account: it is misspelled, or this is another database than intended.
    """

    unit_of_work: UnitOfWork
    hasher: PasswordHasher
    passwords: PasswordThrottle
    is_common: CommonPasswords
    is_guessable: GuessablePasswords
    new_id: NewId
    policy: OperatorPolicy
    denials: DenialLog
    user_fields: UserFields = NO_FIELDS

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: CreateAdminCommand, /, *, actor: System) -> UserResult | None:
        """The administrator; None if `first_only` found an existing one."""
        if not isinstance(actor, System):
            raise Forbidden("Only the service itself may create an administrator")
        email = Email.parse(command.email)
        password = check_password(
            command.password,
            min_length=self.policy.password_min_length,
            email=email,
            is_common=self.is_common,
            is_guessable=self.is_guessable,
        )
        if command.first_only and await self.exists():
            return None
        nobody = UserId(self.new_id())
        owner = await self._owner(email, nobody)
        hashed = await self.hasher.hash(password, owner=owner, account=email.key)
        async with self.unit_of_work.begin(actor) as tx:
            if command.first_only and await tx.users.another_admin_stays(nobody):
                return None
            user = await tx.users.by_email(email)
            if owner != (nobody if user is None else user.id):  # the hash is bound to another user
                raise TransactionConflict
            if user is None and command.take_over:
                raise UserNotFound
            if user is None:
                user = User.create(
                    id=nobody,
                    email=email,
                    full_name=None,
                    password_hash=hashed,
                    now=tx.now,
                    fields=self.user_fields.blank,
                )
                user.grant(ADMIN_ROLE_ID, by=None, now=tx.now)
                await tx.users.add(user)
                await self.passwords.forget_failures(tx, email)
            elif command.take_over:
                user.take_over(hashed, now=tx.now)
                await tx.users.save(user)
                await end_sessions(tx, user, SecurityEvent.TAKEN_OVER, actor=actor)
                await self.passwords.vouch(tx, user)
            else:
                raise EmailTaken
            result = await present_user(tx, user, self.user_fields.seen_by(Access.HOST))
            await tx.commit()
        return result

    async def _owner(self, email: Email, new: UserId) -> UserId:
        """The user that gets the password: the one with this e-mail, or the new one."""
        async with self.unit_of_work.read() as tx:
            user = await tx.users.by_email(email)
        return new if user is None else user.id

    async def exists(self) -> bool:
        """True if there is an active administrator with an unlimited grant."""
        async with self.unit_of_work.read() as tx:
            return await tx.users.another_admin_stays(UserId(self.new_id()))
