from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from ubr.application.actor import Actor, System
from ubr.application.authorization import authority
from ubr.application.command import Command
from ubr.application.ending import confirm_end
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.application.repeating import repeatable
from ubr.domain.errors import SessionNotFound
from ubr.domain.feed import Change
from ubr.domain.policy import SESSIONS_REVOKE, SecurityEvent
from ubr.domain.values import SessionId


class RevokeSessionCommand(Command, frozen=True, kw_only=True):
    session_id: UUID


@dataclass(frozen=True, slots=True)
class RevokeSession:
    """End one session.

    - One's own; another's needs `sessions:revoke`, without which it is not told whether the session exists.
    - One that has ended already is no error.
    """

    unit_of_work: UnitOfWork

    @repeatable
    async def __call__(self, command: RevokeSessionCommand, /, *, actor: Actor | System) -> None:
        async with self.unit_of_work.begin(actor) as tx:
            who = await authority(tx, actor)
            session = await tx.sessions.get(SessionId(command.session_id))
            if session is None or not who.is_user(session.user_id):
                who.require(SESSIONS_REVOKE)
            if session is None:
                await confirm_end(tx, Change("session", str(command.session_id)))
                raise SessionNotFound
            tx.announce(Change("session", str(session.id)))
            session.end(SecurityEvent.REVOKED, now=tx.now)
            await tx.sessions.save(session)
            await tx.commit()
