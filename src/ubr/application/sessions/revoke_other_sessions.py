from __future__ import annotations

import msgspec

from ubr.application.access.authorization import authority
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import EndingUnitOfWork
from ubr.application.sessions.termination import end_sessions
from ubr.domain.actor import Actor
from ubr.domain.errors import InvalidToken
from ubr.domain.revocation.changes import Change
from ubr.domain.sessions.termination import SecurityEvent


class RevokeOtherSessions(msgspec.Struct, frozen=True):
    """End all of one's sessions except the current one. A concurrent login is repeated on the changed account."""

    unit_of_work: EndingUnitOfWork
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, *, actor: Actor) -> None:
        async with self.unit_of_work.ending(Change("user", str(actor.user_id)), actor=actor) as tx:
            await authority(tx, actor)
            user = await tx.users.get(actor.user_id)
            if user is None:
                raise InvalidToken
            if await end_sessions(tx, user, SecurityEvent.OTHERS_REVOKED, actor=actor):
                user.end_sessions()
                await tx.users.save(user)
