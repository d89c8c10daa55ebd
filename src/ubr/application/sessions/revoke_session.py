from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from ubr.application.access.authorization import authority
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import EndingUnitOfWork
from ubr.domain.actor import Actor, System
from ubr.domain.errors import SessionNotFound
from ubr.domain.ids import SessionId
from ubr.domain.revocation.changes import Change
from ubr.domain.roles.permissions import SESSIONS_REVOKE
from ubr.domain.sessions.termination import SecurityEvent


class RevokeSessionCommand(Command, frozen=True, kw_only=True):
    session_id: UUID


@dataclass(frozen=True, slots=True)
class RevokeSession:
    """End one session.

    - Users may end their own sessions; another user's require `sessions:revoke`. Without it the answer does not
      reveal whether the session exists.
    - A session that has already ended is not an error.
    """

    unit_of_work: EndingUnitOfWork
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: RevokeSessionCommand, /, *, actor: Actor | System) -> None:
        async with self.unit_of_work.ending(Change("session", str(command.session_id)), actor=actor) as tx:
            who = await authority(tx, actor)
            session = await tx.sessions.get(SessionId(command.session_id))
            if session is None or not who.is_user(session.user_id):
                who.require(SESSIONS_REVOKE)
            if session is None:
                raise SessionNotFound
            session.end(SecurityEvent.REVOKED, now=tx.now)
            await tx.sessions.save(session)
