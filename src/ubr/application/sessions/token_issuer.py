"""Issues the tokens of a session that was opened or refreshed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

import msgspec

from ubr.application.kernel.hooks import within_limit
from ubr.application.kernel.operator_policy import OperatorPolicy
from ubr.application.kernel.representations import AccessTokenResult, TokensResult, UserResult, user_result
from ubr.application.ports.keys import AccessTokens
from ubr.application.ports.revocation import FeedPosition
from ubr.application.ports.secrets import MintedToken
from ubr.application.ports.sessions import Principal, RefreshTokenMint
from ubr.application.ports.system import NewId
from ubr.domain.accounts.user_fields import MAX_CLAIMS_SIZE, NO_FIELDS, UserFields
from ubr.domain.ids import SessionId
from ubr.domain.keys.access_token import MAX_EXTRA, AccessClaims, extra_claims
from ubr.domain.revocation.changes import epoch_name
from ubr.domain.sessions.session import RefreshToken


class TokenSubject(msgspec.Struct, frozen=True, kw_only=True):
    """The user and the session that a token is for."""

    user: UserResult
    session_id: UUID
    scope: tuple[str, ...] | None
    """The permissions that the session is limited to; None for a session without limits, such as that of a person."""


TokenClaims: TypeAlias = Callable[[TokenSubject], Awaitable[Mapping[str, object]]]
"""The claims of the host for a token, each time one is issued."""


class TokenIssuer(msgspec.Struct, frozen=True):
    """Signs access tokens. No token outlives its session or a grant that it depends on."""

    access_tokens: AccessTokens
    new_id: NewId
    policy: OperatorPolicy
    token_claims: TokenClaims | None = None
    user_fields: UserFields = NO_FIELDS

    async def issue(
        self, principal: Principal, refresh_token: str, now: datetime, position: FeedPosition
    ) -> TokensResult:
        """The response to a login or a refresh, for a principal read in that unit of work.

        `position` was read before the principal: later change records may be missing from the token.
        """
        shown = user_result(UserResult, principal.user, principal.roles, now, self.user_fields.seen_by(None))
        token, expires_at = await self._signed(principal, shown, now, position)
        return TokensResult(
            access_token=token,
            expires_in=seconds_until(expires_at, now),
            refresh_token=refresh_token,
            refresh_expires_in=seconds_until(principal.session.usable_until, now),
            session_id=principal.session.id,
            user=shown,
        )

    async def access_token(self, principal: Principal, now: datetime, position: FeedPosition) -> AccessTokenResult:
        """An access token alone, as with `issue`."""
        shown = user_result(UserResult, principal.user, principal.roles, now, self.user_fields.seen_by(None))
        token, expires_at = await self._signed(principal, shown, now, position)
        return AccessTokenResult(
            access_token=token, expires_in=seconds_until(expires_at, now), session_id=principal.session.id
        )

    async def _signed(
        self, principal: Principal, shown: UserResult, now: datetime, position: FeedPosition
    ) -> tuple[str, datetime]:
        """A token, and its end.

        A session with a scope names no roles: other services may trust a name for more than the scope allows.
        """
        user, session = principal.user, principal.session
        held = [grant for grant in user.grants.values() if grant.holds_at(now)]
        ends = [grant.expires_at for grant in held if grant.expires_at is not None]
        expires_at = min(now + self.policy.access_token_lifetime, session.usable_until, *ends)
        extra = await self._extra(principal, shown) if self.token_claims is not None or self.user_fields else ""
        token = self.access_tokens.issue(
            AccessClaims(
                user_id=user.id,
                session_id=session.id,
                token_id=str(self.new_id()),
                issued_at=now,
                expires_at=expires_at,
                auth_time=session.created_at,
                version=position.number,
                epoch=epoch_name(position.epoch),
                roles=tuple(shown.roles) if session.scope is None else (),
                permissions=tuple(principal.permissions_at(now).names_to_show()),
                extra=extra,
            )
        )
        return token, expires_at

    async def _extra(self, principal: Principal, shown: UserResult) -> str:
        """The members of `ext`: fields of the user, and the claims of the host, which replace fields of their name."""
        user, session = principal.user, principal.session
        claims: dict[str, object] = {}
        most = MAX_EXTRA
        if self.user_fields.in_tokens and not user.is_machine:
            claims |= self.user_fields.claims(user.fields)
            most -= MAX_CLAIMS_SIZE  # whatever the user has now: no value of a field may stop a login
        if self.token_claims is not None:
            scope = None if session.scope is None else tuple(session.scope.split())
            subject = TokenSubject(user=shown, session_id=session.id, scope=scope)
            given = await within_limit(self.token_claims(subject))
            extra_claims(given, most=most)
            claims |= given
        return extra_claims(claims)


def unspent(token: MintedToken, session_id: SessionId, mint: RefreshTokenMint, now: datetime) -> RefreshToken:
    """A new refresh token of a session, as it is stored."""
    names_session = session_id in mint.session_ids(token.secret)  # an id of another version is not read back
    return RefreshToken(digest=token.digest, session_id=session_id, issued_at=now, names_session=names_session)


def seconds_until(end: datetime, now: datetime) -> int:
    """Whole seconds, 0 at least."""
    return max(0, int((end - now).total_seconds()))
