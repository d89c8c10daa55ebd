"""Opens the sessions of browsers."""

from __future__ import annotations

from datetime import datetime

import msgspec

from ubr.application.access.authorization import Authority
from ubr.application.kernel.operator_policy import OperatorPolicy
from ubr.application.kernel.representations import SessionCookieResult
from ubr.application.ports.secrets import MintedToken
from ubr.application.ports.sessions import SessionCookieMint
from ubr.application.ports.system import NewId
from ubr.application.ports.unit_of_work import Transaction
from ubr.application.sessions.new_session import new_session
from ubr.domain.accounts.user import User
from ubr.domain.actor import Actor
from ubr.domain.ids import SessionId
from ubr.domain.sessions.session import Session, SessionKind


class BrowserSessions(msgspec.Struct, frozen=True):
    """A session has one cookie, which is never replaced: a browser that needs another one gets another session."""

    mint: SessionCookieMint
    new_id: NewId
    policy: OperatorPolicy

    async def open(self, tx: Transaction, user: User) -> tuple[Session, SessionCookieResult]:
        """A new session, stored, and the cookie for its browser. The user's row must be locked."""
        session_id = SessionId(self.new_id())
        minted = self.mint.mint(Actor(user.id, session_id))
        session = await new_session(tx, user, id=session_id, policy=self.policy, cookie_digest=minted.digest)
        await tx.sessions.add(session)
        return session, _issued(minted, session, tx.now)


def has_browser(who: Authority) -> bool:
    """True if the actor's session is that of a browser."""
    return who.principal is not None and who.principal.session.kind is SessionKind.BROWSER


def _issued(minted: MintedToken, session: Session, now: datetime) -> SessionCookieResult:
    """A cookie for its browser, which keeps it until the absolute end of the session."""
    return SessionCookieResult(value=minted.secret, max_age=int((session.expires_at - now).total_seconds()))
