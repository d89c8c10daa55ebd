from __future__ import annotations

from uuid import UUID

import msgspec

from ubr.application.access.authorization import authority, permissions_of
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import EndingUnitOfWork
from ubr.domain.actor import Actor, System
from ubr.domain.errors import SessionNotFound
from ubr.domain.events import NoSessionRevoked
from ubr.domain.ids import SessionId
from ubr.domain.revocation.changes import Change
from ubr.domain.roles.permissions import SESSIONS_REVOKE, forbid_escalation
from ubr.domain.sessions.termination import SecurityEvent


class RevokeSessionCommand(Command, frozen=True, kw_only=True):
    session_id: UUID


class RevokeSession(msgspec.Struct, frozen=True):
    """End one session.

    - Users may end their own sessions; another user's require `sessions:revoke`. Without it the answer does not
      reveal whether the session exists.
    - No escalation: the sessions of a user with permissions that the actor lacks do not end.
    - A session that has already ended is not an error.
    - Each call about another user's session is an audit log entry, also if the session had already ended.
    """

    unit_of_work: EndingUnitOfWork
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: RevokeSessionCommand, /, *, actor: Actor | System) -> None:
        session_id = SessionId(command.session_id)
        async with self.unit_of_work.ending(Change("session", str(session_id)), actor=actor) as tx:
            who = await authority(tx, actor)
            found = await tx.principals.get(session_id)
            own = found is not None and who.is_user(found.user.id)
            if not own:
                who.require(SESSIONS_REVOKE)
            # Its user is locked before it, and not granted more while the actor's permissions are compared.
            user = None if found is None else await tx.users.get(found.user.id)
            if user is None:
                raise SessionNotFound
            if not own:
                forbid_escalation(who.permissions, await permissions_of(tx, user))
            session = await tx.sessions.get(session_id)
            if session is None:
                raise SessionNotFound
            if not own and session.ended_at is not None:
                tx.record(NoSessionRevoked(user_id=user.id))
            session.end(SecurityEvent.REVOKED, now=tx.now)
            await tx.sessions.save(session)
