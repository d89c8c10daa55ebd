"""Issues the cookies of sessions."""

from __future__ import annotations

from datetime import datetime

import msgspec

from ubr.application.access.authorization import Authority
from ubr.application.kernel.representations import SessionCookieResult
from ubr.application.ports.secrets import MintedToken
from ubr.application.ports.sessions import SessionCookieMint
from ubr.application.ports.unit_of_work import Transaction
from ubr.domain.actor import Actor
from ubr.domain.sessions.session import Session, SessionKind


class SessionCookies(msgspec.Struct, frozen=True):
    """A session has one cookie at a time."""

    mint: SessionCookieMint

    async def replaced(self, tx: Transaction, who: Authority) -> SessionCookieResult | None:
        """Replace the cookie of the actor's session; None if it has none.

        For a change after which only this caller may go on: a copy of the earlier cookie is worthless.
        """
        if who.principal is None or who.principal.session.kind is not SessionKind.BROWSER:
            return None
        session = await tx.sessions.get(who.principal.session.id)
        if session is None:
            return None
        minted = self.mint.mint(Actor(session.user_id, session.id))
        session.replace_cookie(minted.digest)
        await tx.sessions.save(session)
        return issued(minted, session, tx.now)


def issued(minted: MintedToken, session: Session, now: datetime) -> SessionCookieResult:
    """A cookie for its browser, which keeps it until the absolute end of the session."""
    return SessionCookieResult(value=minted.secret, max_age=int((session.expires_at - now).total_seconds()))
