"""Sessions, their refresh tokens, and who is logged in. What one reads in a writing unit is locked until it ends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from ubr.application.ports.paging import After
from ubr.application.ports.secrets import MintedToken
from ubr.domain.accounts.user import User
from ubr.domain.ids import SessionId, TokenDigest, UserId
from ubr.domain.roles.permissions import Permissions, union
from ubr.domain.roles.role import Role
from ubr.domain.sessions.session import RefreshToken, Session


class Sessions(Protocol):
    async def get(self, session_id: SessionId) -> Session | None:
        """The session, ended or not; None where there is none."""
        ...

    async def live_of(self, user_id: UserId, now: datetime) -> list[Session]:
        """All sessions of a user that have not ended, oldest first."""
        ...

    async def page(self, user_id: UserId, now: datetime, after: After[datetime] | None, limit: int) -> list[Session]:
        """At most `limit` of a user's sessions that have not ended, newest first, behind `after`; never locked."""
        ...

    async def add(self, session: Session) -> None:
        """Store a new session."""
        ...

    async def save(self, session: Session) -> None:
        """Store the new state of a session that was read here."""
        ...

    async def end_any(self, now: datetime, limit: int) -> int:
        """End at most `limit` sessions that have not ended, whosever they are. The number ended.

        Nothing is recorded and nothing announced: that is for whoever ends them all.
        """
        ...

    async def forget(self, expired_before: datetime, limit: int) -> int:
        """Delete at most `limit` sessions whose absolute end lies before this, with their refresh tokens.

        The number deleted. Nothing is recorded: they had ended by themselves.
        """
        ...


class RefreshTokens(Protocol):
    async def add(self, token: RefreshToken) -> None:
        """Store a token that is good."""
        ...

    async def spend(self, digest: TokenDigest, *, successor: bytes, now: datetime) -> SessionId | None:
        """Spend a token that is good, in one step, and keep its sealed successor with it.

        Its session, where this call spent it; None where there is no such token or it was spent before. However many
        try at once, one gets the session.
        """
        ...

    async def get(self, digest: TokenDigest) -> RefreshToken | None:
        """The token, spent or not, of any generation; None where there is none."""
        ...

    async def forget(self, expired_before: datetime, limit: int) -> int:
        """Delete at most `limit` tokens of sessions whose absolute end lies before this. The number deleted."""
        ...

    async def forget_successors(self, spent_before: datetime, limit: int) -> int:
        """Erase the sealed successors of at most `limit` tokens spent before this. The number erased."""
        ...


class RefreshTokenMint(Protocol):
    """Refresh tokens: 256 random bits each, known to the store by their SHA-256 digest alone."""

    def mint(self) -> MintedToken:
        """A token nobody has seen."""
        ...

    def digest(self, secret: str) -> TokenDigest:
        """Under what a token is stored. Errors: `InvalidToken` for what cannot be one."""
        ...

    def seal(self, successor: str, under: str) -> bytes:
        """Encrypt a token so that only the holder of the other one can open it."""
        ...

    def unseal(self, sealed: bytes, under: str) -> str:
        """The token that was sealed. Errors: `InvalidToken`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A user in a session, with every role they were given. Whether it counts depends on the moment."""

    user: User
    session: Session
    roles: tuple[Role, ...]

    def with_session(self, session: Session) -> Principal:
        """The same, with the session as it is now."""
        return replace(self, session=session)

    def live_at(self, now: datetime) -> bool:
        return self.user.active and self.session.live_at(now)

    def permissions_at(self, now: datetime) -> Permissions:
        held = self.user.roles_at(now)
        return union(role.permissions for role in self.roles if role.id in held)


class Principals(Protocol):
    async def get(self, session_id: SessionId) -> Principal | None:
        """Whose session it is, with user and roles, as they are now; None where there is no such session. No locks."""
        ...
