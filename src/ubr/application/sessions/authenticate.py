from __future__ import annotations

import msgspec

from ubr.application.access.authorization import Authorize
from ubr.application.keys.key_ring import KeyRing
from ubr.application.ports.keys import AccessTokens
from ubr.application.ports.system import Clock
from ubr.domain.actor import Actor
from ubr.domain.errors import InvalidToken
from ubr.domain.keys.access_token import AccessClaims


class Authenticate(msgspec.Struct, frozen=True):
    """Authenticate the holder of an access token.

    - The token must be exactly one of ours, and within its validity.
    - Right now its key must not be revoked, its session must not have ended, and its user must be active.

    Errors: `InvalidToken`.
    """

    authorize: Authorize
    access_tokens: AccessTokens
    keys: KeyRing
    clock: Clock

    async def __call__(self, token: str, /) -> Actor:
        generation = self.keys.generation
        claims = await self._claims(token)
        actor = Actor(claims.user_id, claims.session_id)
        # The use case checks the session again. But a 401 comes before a 400 for the body, and other callers, such as
        # programs that embed ubr, have no use case.
        await self.authorize.check(actor)
        await self.keys.ensure_current()
        # The session was checked recently enough. The keys may have changed since the token was verified.
        if self.keys.generation != generation or not claims.in_time(self.clock()):
            self.access_tokens.verify(token, self.clock())
        return actor

    async def even_if_ended(self, token: str, /) -> Actor:
        """The actor of a token whose session may have ended.

        For calls that end the session. They check the session themselves, and return only after the end has propagated
        to every worker. Errors: `InvalidToken`.
        """
        claims = await self._claims(token)
        await self.keys.ensure_current()
        self.access_tokens.verify(token, self.clock())
        return Actor(claims.user_id, claims.session_id)

    async def _claims(self, token: str) -> AccessClaims:
        try:
            return self.access_tokens.verify(token, self.clock())
        except InvalidToken:
            if not self.access_tokens.names_unknown_key(token):
                raise
        await self.keys.ask()
        return self.access_tokens.verify(token, self.clock())
