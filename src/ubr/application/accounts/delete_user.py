from __future__ import annotations

from uuid import UUID

import msgspec

from ubr.application.access.authorization import Authority, authority, permissions_of
from ubr.application.access.field_access import reading
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.hooks import NO_HOOKS, Hooks
from ubr.application.kernel.representations import check_revision, present_user
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import EndingUnitOfWork, Transaction
from ubr.application.sessions.termination import end_sessions
from ubr.domain.accounts.user import REAUTHENTICATION, User
from ubr.domain.accounts.user_fields import NO_FIELDS, UserFields
from ubr.domain.actor import Actor, System
from ubr.domain.errors import LastAdmin, ReauthenticationRequired, UserNotFound
from ubr.domain.ids import UserId
from ubr.domain.revocation.changes import Change
from ubr.domain.roles.permissions import USERS_DELETE, forbid_escalation
from ubr.domain.sessions.termination import SecurityEvent


class DeleteUserCommand(Command, frozen=True, kw_only=True):
    """`if_match` holds the revisions that the caller accepts; None accepts any."""

    user_id: UUID
    if_match: tuple[str, ...] | None = None


class DeleteUser(msgspec.Struct, frozen=True):
    """Delete a user with all sessions, grants and personal data; the audit log keeps the id.

    - Users may delete themselves within 10 minutes of login; otherwise it requires `users:delete`.
    - No escalation: a user with permissions that the actor lacks cannot be deleted.
    - The last administrator cannot be deleted.
    - The account of a machine is not deleted here: 409 `machine-account`.
    """

    unit_of_work: EndingUnitOfWork
    denials: DenialLog
    hooks: Hooks = NO_HOOKS
    user_fields: UserFields = NO_FIELDS

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: DeleteUserCommand, /, *, actor: Actor | System) -> None:
        user_id = UserId(command.user_id)
        await self.hooks.run_before(command, actor)
        async with self.unit_of_work.ending(Change("user", str(user_id)), actor=actor) as tx:
            who = await authority(tx, actor)
            _may_delete(tx, who, user_id)
            user = await tx.users.get(user_id)
            if user is None:
                raise UserNotFound
            user.require_person()
            forbid_escalation(who.permissions, await permissions_of(tx, user))
            view = self.user_fields.seen_by(reading(who))
            check_revision(command.if_match, (await present_user(tx, user, view)).revision)
            await delete_account(tx, user, actor=actor)


def _may_delete(tx: Transaction, who: Authority, user_id: UserId) -> None:
    if not who.is_user(user_id) or who.permissions.allow(USERS_DELETE):
        who.require(USERS_DELETE)
    elif who.principal is not None and tx.now - who.principal.session.created_at > REAUTHENTICATION:
        raise ReauthenticationRequired


async def delete_account(tx: Transaction, user: User, *, actor: Actor | System) -> None:
    """Delete a user, whose row is locked, with everything that is stored about them outside the audit log.

    Errors: `LastAdmin`.
    """
    if user.lasting_admin and not await tx.users.another_admin_stays(user.id):
        raise LastAdmin
    await end_sessions(tx, user, SecurityEvent.DELETED, actor=actor)
    user.delete()
    await tx.users.remove(user)
    await tx.links.forget_unowned(user.email)
    await tx.outbox.forget_email(user.email, user.id)
