from __future__ import annotations

from dataclasses import dataclass

from ubr.application.actor import Actor
from ubr.application.authorization import authority
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.application.repeating import repeatable
from ubr.domain.policy import SecurityEvent


@dataclass(frozen=True, slots=True)
class LogOut:
    """End the session that asks. Its access and refresh tokens are refused from then on."""

    unit_of_work: UnitOfWork

    @repeatable
    async def __call__(self, *, actor: Actor) -> None:
        async with self.unit_of_work.begin(actor) as tx:
            await authority(tx, actor)
            session = await tx.sessions.get(actor.session_id)
            if session is not None:
                session.end(SecurityEvent.LOG_OUT, now=tx.now)
                await tx.sessions.save(session)
            await tx.commit()
