"""Ending sessions, as the table `policy.ENDS` has it."""

from __future__ import annotations

from ubr.application.actor import Actor, System
from ubr.application.ports.unit_of_work import Transaction
from ubr.domain.feed import Change
from ubr.domain.policy import ENDS, ENDS_LINKS, Reach, SecurityEvent
from ubr.domain.values import UserId


async def end_sessions(tx: Transaction, user_id: UserId, cause: SecurityEvent, *, actor: Actor | System | None) -> None:
    """End those of a user's sessions that the event ends, and the links that were sent to them where it ends those.

    The user's row is locked by then: no log-in slips between.
    """
    reach = ENDS[cause]
    spared = actor.session_id if reach is Reach.OTHERS and isinstance(actor, Actor) else None
    for session in await tx.sessions.live_of(user_id, tx.now):
        if session.id != spared:
            session.end(cause, now=tx.now)
            await tx.sessions.save(session)
    if cause in ENDS_LINKS:
        await tx.links.forget_of(user_id, undoing=cause is SecurityEvent.EMAIL_CHANGE_UNDONE)


async def confirm_end(tx: Transaction, change: Change) -> None:
    """Say as the last act of a unit that something has ended, here or before: the unit ends when all know of it.

    Whoever ended it before may have gone without waiting for that, and without an answer.
    """
    tx.announce(change)
    await tx.commit()
