"""Issues the tokens of a session that was opened or refreshed."""

from __future__ import annotations

from datetime import datetime

import msgspec

from ubr.application.kernel.operator_policy import OperatorPolicy
from ubr.application.kernel.representations import AccessTokenResult, TokensResult, UserResult, user_result
from ubr.application.ports.keys import AccessTokens
from ubr.application.ports.revocation import FeedPosition
from ubr.application.ports.secrets import MintedToken
from ubr.application.ports.sessions import Principal, RefreshTokenMint
from ubr.application.ports.system import NewId
from ubr.domain.accounts.user import User
from ubr.domain.ids import SessionId
from ubr.domain.keys.access_token import AccessClaims
from ubr.domain.revocation.changes import epoch_name
from ubr.domain.sessions.session import RefreshToken


class TokenIssuer(msgspec.Struct, frozen=True):
    """Signs access tokens. No token outlives its session or a grant that it depends on."""

    access_tokens: AccessTokens
    new_id: NewId
    policy: OperatorPolicy

    def issue(self, principal: Principal, refresh_token: str, now: datetime, position: FeedPosition) -> TokensResult:
        """The response to a login or a refresh, for a principal read in that unit of work.

        `position` was read before the principal: later change records may be missing from the token.
        """
        shown = user_result(principal.user, principal.roles, now)
        token, expires_at = self._signed(principal, shown, now, position)
        return TokensResult(
            access_token=token,
            expires_in=seconds_until(expires_at, now),
            refresh_token=refresh_token,
            refresh_expires_in=seconds_until(principal.session.usable_until, now),
            session_id=principal.session.id,
            user=shown,
        )

    def access_token(self, principal: Principal, now: datetime, position: FeedPosition) -> AccessTokenResult:
        """An access token alone, as with `issue`."""
        shown = user_result(principal.user, principal.roles, now)
        token, expires_at = self._signed(principal, shown, now, position)
        return AccessTokenResult(
            access_token=token, expires_in=seconds_until(expires_at, now), session_id=principal.session.id
        )

    def _signed(
        self, principal: Principal, shown: UserResult, now: datetime, position: FeedPosition
    ) -> tuple[str, datetime]:
        """A token, and its end.

        A session with a scope names no roles: other services may trust a name for more than the scope allows.
        """
        user, session = principal.user, principal.session
        expires_at = min(now + self.policy.access_token_lifetime, session.usable_until, *_ends(user, now))
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
            )
        )
        return token, expires_at


def unspent(token: MintedToken, session_id: SessionId, mint: RefreshTokenMint, now: datetime) -> RefreshToken:
    """A new refresh token of a session, as it is stored."""
    names_session = session_id in mint.session_ids(token.secret)
    return RefreshToken(digest=token.digest, session_id=session_id, issued_at=now, names_session=names_session)


def _ends(user: User, now: datetime) -> list[datetime]:
    return [grant.expires_at for grant in user.grants.values() if grant.expires_at is not None and grant.holds_at(now)]


def seconds_until(end: datetime, now: datetime) -> int:
    """Whole seconds, 0 at least."""
    return max(0, int((end - now).total_seconds()))
