from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from ubr.application.access.authorization import authority, forbid_outliving_of, keep_an_admin, permissions_of
from ubr.application.access.field_access import reading, writing
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.field_declarations import given
from ubr.application.kernel.fields import EmailStr, FullNameStr, example
from ubr.application.kernel.hooks import NO_HOOKS, Hooks
from ubr.application.kernel.representations import UserResult, check_revision, present_user
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.mail.queue import MailQueue
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import EndingUnitOfWork
from ubr.application.protection.password_throttle import PasswordThrottle
from ubr.application.protection.rate_limits import RateLimiter
from ubr.application.sessions.termination import end_links, end_sessions
from ubr.domain.accounts.email import Email
from ubr.domain.accounts.one_time_link import EVER
from ubr.domain.accounts.user import MAX_FULL_NAME_LENGTH, UserStatus
from ubr.domain.accounts.user_fields import NO_FIELDS, UserFields
from ubr.domain.actor import Actor, System
from ubr.domain.errors import Forbidden, UserNotFound
from ubr.domain.ids import UserId
from ubr.domain.mail.kinds import MailKind
from ubr.domain.revocation.changes import Change
from ubr.domain.roles.permissions import USERS_WRITE, forbid_escalation
from ubr.domain.sessions.termination import SecurityEvent
from ubr.domain.text import parse_text


class UserChanges(Command, frozen=True, kw_only=True):
    """An absent field stays unchanged; null clears the full name. `fields` are merged in the same way."""

    email: EmailStr | UnsetType = UNSET
    full_name: Annotated[FullNameStr | UnsetType | None, example("Ada King")] = UNSET
    status: UserStatus | UnsetType = UNSET
    fields: dict[str, Any] | UnsetType = UNSET


class UpdateUserCommand(Command, frozen=True, kw_only=True):
    """`if_match` holds the revisions that the caller accepts; None accepts any."""

    user_id: UUID
    changes: UserChanges
    if_match: tuple[str, ...] | None = None


class UpdateUser(msgspec.Struct, frozen=True):
    """Change a user.

    - Users may change their own full name, and the fields of the host that are theirs to write; all other changes, and
      other users, require `users:write`.
    - The account of a machine is not changed here: 409 `machine-account`.
    - Users cannot change their own e-mail here, whatever permissions they hold: that requires the password and a link.
    - No escalation: the e-mail, the status, and the fields that only administrators write, of a user with permissions
      that the actor lacks cannot be changed.
    - A new e-mail has to be verified: a link is mailed to it. A notice goes to the old one. The change ends all
      sessions and links of the user, and cannot be undone by a link.
    - Disabling a user ends all sessions permanently.
    - The last administrator cannot be disabled.
    - The number of changes of one's own account is limited: 429 `rate-limited` beyond.
    """

    unit_of_work: EndingUnitOfWork
    passwords: PasswordThrottle
    rate_limiter: RateLimiter
    mail_queue: MailQueue
    denials: DenialLog
    hooks: Hooks = NO_HOOKS
    user_fields: UserFields = NO_FIELDS

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: UpdateUserCommand, /, *, actor: Actor | System) -> UserResult:
        changes, user_id = command.changes, UserId(command.user_id)
        email = UNSET if changes.email is UNSET else Email.parse(changes.email)
        full_name = changes.full_name
        if isinstance(full_name, str):
            full_name = parse_text(full_name, "/full_name", longest=MAX_FULL_NAME_LENGTH)
        given_fields = given(changes.fields)
        by_admins = self.user_fields.needs_admin(given_fields)
        protected = email is not UNSET or changes.status is not UNSET or by_admins
        await self.hooks.run_before(command, actor)
        if isinstance(actor, Actor) and actor.user_id == user_id:
            await self.rate_limiter.own_change(user_id)
        async with self.unit_of_work.ending(Change("user", str(user_id)), actor=actor) as tx:
            who = await authority(tx, actor)
            own = who.is_user(user_id)
            if not own:
                who.require(USERS_WRITE)
            user = await tx.users.get(user_id)
            if user is None:
                raise UserNotFound
            user.require_person()
            if own and email not in {UNSET, user.email}:
                # The holder of a stolen access token could otherwise reset the password through the new mailbox.
                raise Forbidden("Your own e-mail changes only with your password and a link: request a change of it")
            if protected:
                who.require(USERS_WRITE)
                forbid_escalation(who.permissions, await permissions_of(tx, user))
                if not own and (email is not UNSET or changes.status is UserStatus.ACTIVE):
                    # The account could become the actor's, and outlast their own permissions.
                    await forbid_outliving_of(tx, who, user)
            view = self.user_fields.seen_by(reading(who))
            check_revision(command.if_match, (await present_user(tx, user, view)).revision)
            fields = None
            if given_fields is not None:
                fields = self.user_fields.changed(user.fields, given_fields, writing(who))
            old, active, was_lasting = user.email, user.active, user.lasting_admin
            user.update(
                email=user.email if email is UNSET else email,
                full_name=user.full_name if full_name is UNSET else full_name,
                status=user.status if changes.status is UNSET else changes.status,
                now=tx.now,
                fields=fields,
            )
            await keep_an_admin(tx, user, was_lasting=was_lasting)
            await tx.users.save(user)
            if user.email.key != old.key:
                await self.passwords.forget_failures(tx, user.email)
                await end_sessions(tx, user, SecurityEvent.EMAIL_CHANGED, actor=actor, old=old)
                await end_links(tx, user, changed_since=EVER)  # an act of an operator cannot be undone
                await self.mail_queue(tx, MailKind.EMAIL_REPLACED, old, user_id=user.id, new_email=user.email)
                await self.mail_queue(tx, MailKind.VERIFICATION, user.email, user_id=user.id)
            if active and not user.active:
                await end_sessions(tx, user, SecurityEvent.DISABLED, actor=actor)
            return await present_user(tx, user, view)
