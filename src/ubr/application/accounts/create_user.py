from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from ubr.application.access.authorization import Authorize, authority
from ubr.application.access.field_access import administrating, reading
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.field_declarations import given as given_fields
from ubr.application.kernel.fields import EXAMPLE_PASSWORD, EmailStr, FullNameStr, NewPasswordStr, RoleNameStr, example
from ubr.application.kernel.hooks import NO_HOOKS, Hooks
from ubr.application.kernel.idempotency import Idempotency, IdempotencyKey
from ubr.application.kernel.operator_policy import OperatorPolicy
from ubr.application.kernel.representations import UserResult, present_user
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.mail.queue import MailQueue
from ubr.application.ports.accounts import CommonPasswords, GuessablePasswords, PasswordHasher
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.system import NewId
from ubr.application.ports.unit_of_work import Transaction, UnitOfWork
from ubr.application.protection.password_throttle import PasswordThrottle
from ubr.domain.accounts.email import Email
from ubr.domain.accounts.passwords import check_password
from ubr.domain.accounts.user import MAX_FULL_NAME_LENGTH, User
from ubr.domain.accounts.user_fields import NO_FIELDS, UserFields
from ubr.domain.actor import Actor, System
from ubr.domain.errors import Invalid
from ubr.domain.ids import UserId
from ubr.domain.mail.kinds import MailKind
from ubr.domain.roles.grant import MAX_ROLES
from ubr.domain.roles.permissions import ROLES_ASSIGN, USERS_WRITE, Permissions, forbid_escalation, union
from ubr.domain.roles.role import Role, RoleName
from ubr.domain.text import parse_text

RolesToGrant: TypeAlias = Annotated[
    list[RoleNameStr], msgspec.Meta(extra_json_schema={"maxItems": MAX_ROLES}, examples=[["editor"]])
]


class CreateUserCommand(Command, frozen=True, kw_only=True):
    email: Annotated[EmailStr, example("grace@example.org")]
    password: Annotated[NewPasswordStr | None, example(EXAMPLE_PASSWORD)] = None
    full_name: FullNameStr | None = None
    roles: RolesToGrant = msgspec.field(default_factory=list)
    fields: dict[str, Any] | UnsetType = UNSET


class CreateUser(msgspec.Struct, frozen=True):
    """Create an account for another person.

    - Requires `users:write`, and `roles:assign` to assign roles.
    - No escalation: the assigned roles may hold only permissions that the actor holds.
    - Without a password, a link to set one is mailed; login is impossible until then.
    - A retry with the same key within a day returns the stored answer, if the actor still has the permission.
    """

    authorize: Authorize
    unit_of_work: UnitOfWork
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

    @denials_recorded
    @retry_on_conflict
    async def __call__(
        self, command: CreateUserCommand, /, *, actor: Actor | System, idempotency_key: IdempotencyKey | None = None
    ) -> UserResult:
        email = Email.parse(command.email)
        full_name = (
            None
            if command.full_name is None
            else parse_text(command.full_name, "/full_name", longest=MAX_FULL_NAME_LENGTH)
        )
        password = (
            None
            if command.password is None
            else check_password(
                command.password,
                min_length=self.policy.password_min_length,
                email=email,
                is_common=self.is_common,
                is_guessable=self.is_guessable,
                full_name=full_name,
            )
        )
        fields = self.user_fields.created(given_fields(command.fields), administrating(actor))
        names = role_names(command.roles)
        needed = (USERS_WRITE, ROLES_ASSIGN) if names else (USERS_WRITE,)
        await self.hooks.run_before(command, actor)
        call = self.idempotency.of(idempotency_key, command, actor=actor, answer=UserResult)
        if password is not None:
            # Checked before the password is hashed, because hashing is expensive.
            (await self.authorize(actor)).require(*needed)
            if (before := await call.answered()) is not None:
                return before.result
        new, hashed = UserId(self.new_id()), None
        if password is not None:
            hashed = await self.hasher.hash(password, owner=new, account=email.key)
        async with self.unit_of_work.begin(actor) as tx:
            who = await authority(tx, actor)
            who.require(*needed)
            if (before := await call.claim(tx)) is not None:
                return before.result
            roles = await roles_named(tx, names)
            given = union(role.permissions for role in roles)
            forbid_escalation(who.permissions, given)
            if roles:
                who.forbid_outliving(given | Permissions.of([ROLES_ASSIGN]), None, tx.now)
            user = User.create(
                id=new, email=email, full_name=full_name, password_hash=hashed, now=tx.now, fields=fields
            )
            for role in roles:
                user.grant(role.id, by=who.user_id, now=tx.now)
            await tx.users.add(user)
            await self.passwords.forget_failures(tx, email)
            if hashed is None:
                await self.mail_queue(tx, MailKind.INVITATION, email, user_id=user.id)
            result = await present_user(tx, user, self.user_fields.seen_by(reading(who)))
            await call.keep(tx, result, made=user.id)
            await tx.commit()
        return result


def role_names(raw: list[str]) -> dict[RoleName, int]:
    """Each role once, with the index of its first mention. Each is looked up later, so their number is limited.

    Errors: `Invalid`.
    """
    names: dict[RoleName, int] = {}
    for at, name in enumerate(raw):
        names.setdefault(RoleName.parse(name, f"/roles/{at}"), at)
    if len(names) > MAX_ROLES:
        raise Invalid.at("/roles", f"must name at most {MAX_ROLES} roles")
    return names


async def roles_named(tx: Transaction, names: dict[RoleName, int]) -> list[Role]:
    """The roles of a new account. Errors: `Invalid` for an unknown one."""
    roles = []
    for name, at in names.items():
        role = await tx.roles.by_name(name)
        if role is None:
            raise Invalid.at(f"/roles/{at}", "names an unknown role")
        roles.append(role)
    return roles
