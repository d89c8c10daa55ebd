"""Termination of sessions, according to the table `SESSION_TERMINATION`."""

from __future__ import annotations

from datetime import datetime

from ubr.application.ports.unit_of_work import Transaction
from ubr.domain.accounts.email import Email
from ubr.domain.accounts.one_time_link import EVER, UNDO_LIFETIME
from ubr.domain.accounts.user import User
from ubr.domain.actor import Actor, System
from ubr.domain.sessions.termination import LINK_TERMINATION, SESSION_TERMINATION, SecurityEvent, TerminationScope


async def end_sessions(
    tx: Transaction, user: User, cause: SecurityEvent, *, actor: Actor | System | None, old: Email | None = None
) -> int:
    """End the sessions of a user that the event ends, and the user's links if it ends those.

    The user's row must be locked, so that no concurrent login is missed. `old` is the e-mail before the event, if the
    event changed it. Returns the number of sessions that ended.
    """
    reach = SESSION_TERMINATION[cause]
    spared = actor.session_id if reach is TerminationScope.OTHERS and isinstance(actor, Actor) else None
    ended = await tx.sessions.end_of(user.id, cause, tx.now, spared=spared)
    if cause in LINK_TERMINATION:
        await end_links(tx, user, changed_since=EVER if cause is SecurityEvent.TAKEN_OVER else None)
        if old is not None:
            # Mails to an e-mail find its account when they are sent: a later account would get what is queued now.
            await tx.outbox.forget_links(user.id, old, changed_since=None)
    return ended


async def end_links(tx: Transaction, user: User, *, changed_since: datetime | None) -> None:
    """End the links of a user, and the queued mails that would deliver new ones.

    Links that undo a change of e-mail end only for changes since `changed_since`, together with the reservations of
    those e-mails: a second change must not take from the owner the undo link of the first.
    """
    await tx.links.forget_of(user.id, changed_since=changed_since)
    await tx.outbox.forget_links(user.id, user.email, changed_since=changed_since)
    if changed_since is not None:
        await tx.users.release(user.id, changed_since + UNDO_LIFETIME)
