from __future__ import annotations

import msgspec

from ubr.application.access.authorization import authority
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import EndingUnitOfWork
from ubr.domain.actor import Actor
from ubr.domain.revocation.changes import Change
from ubr.domain.sessions.termination import SecurityEvent


class LogOut(msgspec.Struct, frozen=True):
    """End the current session. Its access and refresh tokens are rejected from then on."""

    unit_of_work: EndingUnitOfWork
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, *, actor: Actor) -> None:
        async with self.unit_of_work.ending(Change("session", str(actor.session_id)), actor=actor) as tx:
            await authority(tx, actor)
            session = await tx.sessions.get(actor.session_id)
            if session is not None:
                session.end(SecurityEvent.LOG_OUT, now=tx.now)
                await tx.sessions.save(session)
