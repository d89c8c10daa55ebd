from __future__ import annotations

import msgspec

from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.representations import AccessTokenResult
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.keys.key_ring import KeyRing
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.application.protection.rate_limits import RateLimiter
from ubr.application.sessions.authenticate_cookie import AuthenticateCookie
from ubr.application.sessions.token_issuer import TokenIssuer
from ubr.domain.actor import Actor, System
from ubr.domain.errors import InvalidToken


class IssueAccessTokenCommand(Command, frozen=True, kw_only=True):
    cookie: str


class IssueAccessToken(msgspec.Struct, frozen=True):
    """Issue an access token for the session of a browser, so that a page can call other services.

    - Requires the cookie of the session: an access token is not exchanged for another one.
    - Limited to 120 tokens an hour per session: 429 `rate-limited` beyond.
    - The token ends with its session at the latest. Keep it in memory, and get another one when it has expired.
    """

    unit_of_work: UnitOfWork
    authenticate: AuthenticateCookie
    rate_limiter: RateLimiter
    keys: KeyRing
    issuer: TokenIssuer
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(
        self,
        command: IssueAccessTokenCommand,
        /,
        *,
        actor: Actor | System | None = None,  # noqa: ARG002 - the cookie says who it is
    ) -> AccessTokenResult:
        holder = await self.authenticate(command.cookie)
        await self.rate_limiter.refresh(holder.session_id)
        await self.keys.ensure_current()
        async with self.unit_of_work.read() as tx:
            position = await tx.feed_position()
            principal = await tx.principals.get(holder.session_id)
            if principal is None or not principal.live_at(tx.now):
                raise InvalidToken
            return await self.issuer.access_token(principal, tx.now, position)
