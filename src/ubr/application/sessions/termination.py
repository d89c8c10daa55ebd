"""Ending sessions, as the table `SESSION_TERMINATION` has it."""

from __future__ import annotations

from datetime import datetime

from ubr.application.ports.unit_of_work import Transaction
from ubr.domain.accounts.one_time_link import EVER, UNDO_LIFETIME
from ubr.domain.actor import Actor, System
from ubr.domain.ids import UserId
from ubr.domain.sessions.termination import LINK_TERMINATION, SESSION_TERMINATION, SecurityEvent, TerminationScope


async def end_sessions(tx: Transaction, user_id: UserId, cause: SecurityEvent, *, actor: Actor | System | None) -> int:
    """End those of a user's sessions that the event ends, and the links that were sent to them where it ends those.

    The user's row is locked by then: no login slips between. The number of sessions that ended.
    """
    reach = SESSION_TERMINATION[cause]
    spared = actor.session_id if reach is TerminationScope.OTHERS and isinstance(actor, Actor) else None
    ending = [session for session in await tx.sessions.live_of(user_id, tx.now) if session.id != spared]
    for session in ending:
        session.end(cause, now=tx.now)
        await tx.sessions.save(session)
    if cause in LINK_TERMINATION:
        await end_links(tx, user_id, changed_since=EVER if cause is SecurityEvent.TAKEN_OVER else None)
    return len(ending)


async def end_links(tx: Transaction, user_id: UserId, *, changed_since: datetime | None) -> None:
    """End the links of a user, and the letters that would bring others like them.

    What takes back a change of e-mail ends only for changes since then, and with it what was reserved for it: whoever
    changes it again must not be able to take from the owner what the first change gave them.
    """
    await tx.links.forget_of(user_id, changed_since=changed_since)
    await tx.outbox.forget_changes(user_id, changed_since=changed_since)
    if changed_since is not None:
        await tx.users.release(user_id, changed_since + UNDO_LIFETIME)
