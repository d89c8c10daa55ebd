"""A new session for a user who logged in."""

from __future__ import annotations

from typing import Final

from ubr.application.kernel.operator_policy import OperatorPolicy
from ubr.application.kernel.origin import current_origin
from ubr.application.ports.unit_of_work import Transaction
from ubr.domain.accounts.user import User
from ubr.domain.ids import SessionId, TokenDigest
from ubr.domain.sessions.session import Session

MAX_EVICTED: Final = 100
"""The sessions that one login ends at most, so that it takes no longer if a lowered maximum leaves many beyond it."""


async def new_session(
    tx: Transaction,
    user: User,
    *,
    id: SessionId,
    policy: OperatorPolicy,
    cookie_digest: TokenDigest | None = None,
) -> Session:
    """A session of the user, for the client of this request, not stored yet.

    Ends the least recently used sessions of the user that leave no room for it. The user's row must be locked.
    """
    await tx.sessions.evict(user.id, tx.now, keep=policy.sessions.per_user - 1, limit=MAX_EVICTED)
    origin = current_origin()
    return Session.open(
        id=id,
        user_id=user.id,
        limits=policy.sessions,
        ip=origin.ip,
        user_agent=origin.user_agent,
        now=tx.now,
        cookie_digest=cookie_digest,
    )
