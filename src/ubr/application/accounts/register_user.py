from __future__ import annotations

from typing import Annotated, Any, overload

import msgspec
from msgspec import UNSET, UnsetType

from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.field_declarations import given
from ubr.application.kernel.fields import (
    EXAMPLE_EMAIL,
    EXAMPLE_PASSWORD,
    EmailStr,
    FullNameStr,
    NewPasswordStr,
    example,
)
from ubr.application.kernel.hooks import NO_HOOKS, Hooks
from ubr.application.kernel.idempotency import Idempotency, IdempotencyKey, IdempotentCall
from ubr.application.kernel.operator_policy import OperatorPolicy
from ubr.application.kernel.representations import UserResult, present_user
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.mail.queue import MailQueue
from ubr.application.ports.accounts import CommonPasswords, GuessablePasswords, PasswordHasher
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.system import NewId
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.application.protection.password_throttle import PasswordThrottle
from ubr.application.protection.rate_limits import RateLimiter
from ubr.domain.accounts.email import Email
from ubr.domain.accounts.passwords import check_password
from ubr.domain.accounts.user import MAX_FULL_NAME_LENGTH, User
from ubr.domain.accounts.user_field import Access
from ubr.domain.accounts.user_fields import NO_FIELDS, UserFields
from ubr.domain.actor import Actor, System
from ubr.domain.errors import Invalid, RegistrationClosed
from ubr.domain.ids import UserId
from ubr.domain.mail.kinds import MailKind
from ubr.domain.text import parse_text


class RegisterUserCommand(Command, frozen=True, kw_only=True):
    email: Annotated[EmailStr, example(EXAMPLE_EMAIL)]
    password: Annotated[NewPasswordStr | UnsetType, example(EXAMPLE_PASSWORD)] = UNSET
    full_name: Annotated[FullNameStr | None, example("Ada Lovelace")] = None
    fields: dict[str, Any] | UnsetType = UNSET


class RegisterUser(msgspec.Struct, frozen=True):
    """Register an account for oneself.

    - Open to anyone while registration is open; the service itself always may.
    - The password must be long enough. It must not be a common one, the e-mail, the name or the service's name.
    - The e-mail must not belong to another account, in any spelling. A link to verify it is mailed.
    - With `verified` registration no password is accepted, and the answer is the same for every e-mail: the account
      exists only once its owner redeems the mailed link, and the full name is set after that.
    - The fields of the host are those that users write themselves; with `verified` registration, they are set later.
    - A retry with the same key within a day returns the stored answer.
    - A request with the key of another registration is refused, and counts as a registration.
    - Limited to 60 registrations an hour per client IP: 429 `rate-limited` beyond.
    """

    unit_of_work: UnitOfWork
    rate_limiter: RateLimiter
    hasher: PasswordHasher
    passwords: PasswordThrottle
    is_common: CommonPasswords
    is_guessable: GuessablePasswords
    new_id: NewId
    mail_queue: MailQueue
    policy: OperatorPolicy
    idempotency: Idempotency
    denials: DenialLog
    hooks: Hooks = NO_HOOKS
    user_fields: UserFields = NO_FIELDS

    @overload
    async def __call__(
        self, command: RegisterUserCommand, /, *, actor: System, idempotency_key: IdempotencyKey | None = None
    ) -> UserResult: ...
    @overload
    async def __call__(
        self,
        command: RegisterUserCommand,
        /,
        *,
        actor: Actor | System | None = None,
        idempotency_key: IdempotencyKey | None = None,
    ) -> UserResult | None: ...

    @denials_recorded
    @retry_on_conflict
    async def __call__(
        self,
        command: RegisterUserCommand,
        /,
        *,
        actor: Actor | System | None = None,
        idempotency_key: IdempotencyKey | None = None,
    ) -> UserResult | None:
        """The user; None if registration is decided by mail."""
        email = Email.parse(command.email)
        full_name = (
            None
            if command.full_name is None
            else parse_text(command.full_name, "/full_name", longest=MAX_FULL_NAME_LENGTH)
        )
        level = Access.HOST if isinstance(actor, System) else Access.USER
        call: IdempotentCall[UserResult | None] = self.idempotency.of(
            idempotency_key, command, actor=actor, answer=UserResult
        )
        if self.policy.registration == "verified" and not isinstance(actor, System):
            if command.password is not UNSET:
                raise Invalid.at("/password", "is not accepted here: the link in the mail sets it")
            if command.fields is not UNSET:
                raise self.user_fields.unexpected()
            async with self.rate_limiter.replaying():
                before = await call.answered()
            if before is not None:
                return None
            await self.rate_limiter.registration()
            await self.hooks.run_before(command, actor)
            # A limit of mails to this e-mail is not reported: it would reveal that others have registered with it.
            mailed = await self.rate_limiter.admits_mail(MailKind.REGISTRATION, email)
            await self._ask(call, email if mailed else None, actor)
            return None
        if command.password is UNSET:
            raise Invalid.at("/password", "is required")
        fields = self.user_fields.created(given(command.fields), level)
        password = check_password(
            command.password,
            min_length=self.policy.password_min_length,
            email=email,
            is_common=self.is_common,
            is_guessable=self.is_guessable,
            full_name=full_name,
        )
        if self.policy.registration == "closed" and not isinstance(actor, System):
            raise RegistrationClosed
        async with self.rate_limiter.replaying():
            before = await call.answered()
        if before is not None:
            return before.result
        mailed = True
        if not isinstance(actor, System):
            await self.rate_limiter.registration()
            mailed = await self.rate_limiter.may_mail(MailKind.VERIFICATION, email)
        await self.hooks.run_before(command, actor)
        new = UserId(self.new_id())
        hashed = await self.hasher.hash(password, owner=new, account=email.key)
        async with self.unit_of_work.begin(actor) as tx:
            if (before := await call.claim(tx)) is not None:
                return before.result
            user = User.register(
                id=new, email=email, full_name=full_name, password_hash=hashed, now=tx.now, fields=fields
            )
            await tx.users.add(user)
            await self.passwords.vouch(tx, user, new=True)
            if mailed:
                await self.mail_queue(tx, MailKind.VERIFICATION, email, user_id=user.id)
            result = await present_user(tx, user, self.user_fields.seen_by(level))
            await call.keep(tx, result, made=user.id)
            await tx.commit()
        return result

    async def _ask(
        self, call: IdempotentCall[UserResult | None], email: Email | None, actor: Actor | System | None
    ) -> None:
        """Queue a mail whose link finishes the registration; with None, no mail.

        No other data of the registrant is stored before the link is redeemed.
        """
        async with self.unit_of_work.begin(actor) as tx:
            if await call.claim(tx) is not None:
                return
            if email is not None:
                await self.mail_queue(tx, MailKind.REGISTRATION, email)
            await call.keep(tx, None)
            await tx.commit()
