from __future__ import annotations

from uuid import UUID

import msgspec

from ubr.application.access.authorization import authority, permissions_of
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import EndingUnitOfWork
from ubr.application.sessions.termination import end_sessions
from ubr.domain.actor import Actor, System
from ubr.domain.errors import UserNotFound
from ubr.domain.events import NoSessionRevoked
from ubr.domain.ids import UserId
from ubr.domain.revocation.changes import Change
from ubr.domain.roles.permissions import SESSIONS_REVOKE, forbid_escalation
from ubr.domain.sessions.termination import SecurityEvent


class RevokeUserSessionsCommand(Command, frozen=True, kw_only=True):
    user_id: UUID


class RevokeUserSessions(msgspec.Struct, frozen=True):
    """End every session of a user, including the current one if it is theirs.

    - Users may end their own sessions; another user's require `sessions:revoke`.
    - No escalation: the sessions of a user with permissions that the actor lacks do not end.
    - Each call about another user's sessions is an audit log entry, also if there are none.
    """

    unit_of_work: EndingUnitOfWork
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: RevokeUserSessionsCommand, /, *, actor: Actor | System) -> None:
        user_id = UserId(command.user_id)
        async with self.unit_of_work.ending(Change("user", str(user_id)), actor=actor) as tx:
            who = await authority(tx, actor)
            who.require_self_or(user_id, SESSIONS_REVOKE)
            user = await tx.users.get(user_id)
            if user is None:
                raise UserNotFound
            own = who.is_user(user_id)
            if not own:
                forbid_escalation(who.permissions, await permissions_of(tx, user))
            if await end_sessions(tx, user, SecurityEvent.ALL_REVOKED, actor=actor):
                user.end_sessions()
                await tx.users.save(user)
            elif not own:
                tx.record(NoSessionRevoked(user_id=user.id))
