from __future__ import annotations

from dataclasses import dataclass

from ubr.application.actor import Actor
from ubr.application.authorization import authority
from ubr.application.ending import end_sessions
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.application.repeating import repeatable
from ubr.domain.errors import InvalidToken
from ubr.domain.feed import Change
from ubr.domain.policy import SecurityEvent


@dataclass(frozen=True, slots=True)
class RevokeOtherSessions:
    """End all of one's sessions but the one that asks. A log-in that is under way is decided anew."""

    unit_of_work: UnitOfWork

    @repeatable
    async def __call__(self, *, actor: Actor) -> None:
        async with self.unit_of_work.begin(actor) as tx:
            await authority(tx, actor)
            user = await tx.users.get(actor.user_id)
            if user is None:
                raise InvalidToken
            user.end_sessions()
            await tx.users.save(user)
            tx.announce(Change("user", str(user.id)))
            await end_sessions(tx, user.id, SecurityEvent.OTHERS_REVOKED, actor=actor)
            await tx.commit()
