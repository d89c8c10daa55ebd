from __future__ import annotations

import msgspec

from ubr.application.access.authorization import Authorize
from ubr.application.ports.sessions import PresentedCookie, Principal, SessionCookieMint
from ubr.application.sessions.session_renewal import SessionRenewal
from ubr.domain.actor import Actor
from ubr.domain.errors import InvalidToken


class AuthenticateCookie(msgspec.Struct, frozen=True):
    """Authenticate the browser that has the cookie of a session.

    - The cookie must be the current one of its session: earlier ones are rejected.
    - Right now its session must not have ended, and its user must be active.
    - Counts as a use of the session: its idle end moves.

    Errors: `InvalidToken`.
    """

    authorize: Authorize
    cookies: SessionCookieMint
    renewal: SessionRenewal

    async def __call__(self, cookie: str, /) -> Actor:
        presented = self.cookies.read(cookie)
        principal = (await self.authorize(presented.actor)).principal
        if principal is None or not _current(presented, principal):
            raise InvalidToken
        await self.renewal(principal)
        return presented.actor

    async def even_if_ended(self, cookie: str, /) -> Actor:
        """The actor of a cookie whose session may have ended.

        For calls that end the session. They check the session themselves, and return only after the end has propagated
        to every worker. Errors: `InvalidToken`.
        """
        presented = self.cookies.read(cookie)
        principal = await self.authorize.session_cache.principal(presented.actor.session_id)
        if principal is not None and not _current(presented, principal):
            raise InvalidToken
        return presented.actor


def _current(presented: PresentedCookie, principal: Principal) -> bool:
    return principal.session.has_cookie(presented.digest)
