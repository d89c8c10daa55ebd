"""Sessions, their refresh tokens, and principals. A row read in a writing unit stays locked until the unit ends."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from ubr.domain.roles.permissions import Permissions, read_scope, union

if TYPE_CHECKING:
    from ubr.application.ports.paging import After
    from ubr.application.ports.secrets import MintedToken
    from ubr.domain.accounts.user import User
    from ubr.domain.actor import Actor
    from ubr.domain.ids import SessionId, TokenDigest, UserId
    from ubr.domain.machines.key import MachineKey
    from ubr.domain.roles.role import Role
    from ubr.domain.sessions.session import RefreshToken, Session
    from ubr.domain.sessions.termination import SecurityEvent


class ForgottenSessions(msgspec.Struct, frozen=True):
    """One batch of deleted sessions.

    `more` is True if others may be left; the next batch then starts at the absolute end `reached`.
    """

    sessions: int
    more: bool
    reached: datetime | None


class Sessions(Protocol):
    async def get(self, session_id: SessionId) -> Session | None:
        """The session, ended or not; None if missing."""
        ...

    async def page(self, user_id: UserId, now: datetime, after: After[datetime] | None, limit: int) -> list[Session]:
        """At most `limit` live sessions of a user after `after`, newest first; never locked."""
        ...

    async def count(self, user_id: UserId, now: datetime) -> int:
        """The number of live sessions of a user."""
        ...

    async def add(self, session: Session) -> None:
        """Store a new session."""
        ...

    async def open(self, session: Session, token: RefreshToken) -> None:
        """Store a new session with its first refresh token."""
        ...

    async def save(self, session: Session) -> None:
        """Store the new state of a session read in this unit."""
        ...

    async def end_of(
        self, user_id: UserId, cause: SecurityEvent, now: datetime, *, spared: SessionId | None = None
    ) -> int:
        """End all live sessions of a user but the spared one, and record the end of each. Returns the number ended.

        It reads no session, however many there are. The row of the user must be locked, so that none is added
        meanwhile.
        """
        ...

    async def of_key(self, key: MachineKey, scope: str | None, now: datetime) -> SessionId | None:
        """The newest live session that a key opened with exactly this scope; None without one. Takes no locks."""
        ...

    async def end_of_key(self, key: MachineKey, cause: SecurityEvent, now: datetime) -> int:
        """End all live sessions of a key, and record the end of each. Returns the number ended.

        The row of the user must be locked, so that none is added meanwhile.
        """
        ...

    async def shorten(self, key: MachineKey, until: datetime, now: datetime) -> None:
        """Move the end of all live sessions of a key to this moment, if it is later. Nothing is recorded or announced.

        The row of the user must be locked, so that none is added meanwhile.
        """
        ...

    async def evict(self, user_id: UserId, now: datetime, *, keep: int, limit: int) -> int:
        """End live sessions of a user but the `keep` most recently used ones: at most `limit`, the least recent first.

        Records the end of each with the cause `EVICTED`. Returns the number ended.
        """
        ...

    async def evict_of_key(self, key: MachineKey, now: datetime, *, keep: int, limit: int) -> int:
        """The same for the live sessions of one key: those of other keys stay."""
        ...

    async def end_any(self, now: datetime, limit: int, *, after: SessionId | None = None) -> list[SessionId]:
        """End at most `limit` live sessions of any user, in the order of their ids, from the first one after `after`.

        Returns their ids, in that order; none if no session is left. Nothing is recorded or announced: the caller that
        ends them all does both.
        """
        ...

    async def forget(
        self, expired_before: datetime, limit: int, *, reached: datetime | None = None
    ) -> ForgottenSessions:
        """Delete sessions whose absolute end is before this, oldest first, with their refresh tokens.

        One call deletes at most `limit` sessions and `TOKENS_EACH` times as many tokens; a session with more tokens
        is deleted by a later call, with the last of them. `reached` is that of the previous batch: earlier sessions
        are passed over, so that no batch reads again what the batches before have deleted. No event is recorded,
        because the sessions had already expired.
        """
        ...


TOKENS_EACH: Final = 4
"""The number of refresh tokens that one call of `Sessions.forget` deletes for each session of its limit."""


class RefreshTokens(Protocol):
    async def add(self, token: RefreshToken) -> None:
        """Store an unspent token."""
        ...

    async def spend(self, digest: TokenDigest, *, successor: bytes | None, now: datetime) -> SessionId | None:
        """Spend an unspent token atomically, and store its encrypted successor with it; None if it gets none.

        Returns the session if this call spent the token; None if it is missing, or was spent before. Of any
        number of concurrent calls, one gets the session.
        """
        ...

    async def get(self, digest: TokenDigest) -> RefreshToken | None:
        """The token, spent or not; None if missing, or spent and forgotten."""
        ...

    async def reseal(self, digest: TokenDigest, *, successor: bytes) -> None:
        """Replace the encrypted successor of a spent token. A missing or unspent token is left as it is."""
        ...

    async def forget_successors(self, spent_before: datetime, limit: int) -> int:
        """Forget the encrypted successors of at most `limit` tokens spent before this. Returns their number.

        A token that names its session is deleted with its successor. Others are kept until the session is deleted.
        """
        ...


class RefreshTokenMint(Protocol):
    """Refresh tokens: 96 random bits each, and the session. The store holds only a digest that needs a secret."""

    def mint(self, session_id: SessionId) -> MintedToken:
        """A new token that names its session."""
        ...

    def session_ids(self, secret: str) -> tuple[SessionId, ...]:
        """The session that the token names. The caller checks that it exists: a guess may name one that does not.

        Empty for a token that was minted with a secret that is no longer known. Errors: `InvalidToken` if the text
        cannot be a refresh token.
        """
        ...

    def digest(self, secret: str) -> TokenDigest:
        """The digest that a token is stored under. Errors: `InvalidToken` if the text cannot be a refresh token."""
        ...

    def seal(self, successor: str, under: str) -> bytes:
        """Encrypt a token so that only the holder of the other token can decrypt it."""
        ...

    def unseal(self, sealed: bytes, under: str) -> str:
        """The token, decrypted. Errors: `InvalidToken`."""
        ...


class PresentedCookie(msgspec.Struct, frozen=True):
    """A cookie that this installation made: the session that it was made for, and its digest."""

    actor: Actor
    digest: TokenDigest


class SessionCookieMint(Protocol):
    """The values of session cookies: 256 random bits each, and the session. The store holds only a digest."""

    def mint(self, actor: Actor) -> MintedToken:
        """A new value that names the session. Only this installation can make one."""
        ...

    def read(self, value: str) -> PresentedCookie:
        """The session of a value, which may have ended or have another cookie by now; reads no store.

        Errors: `InvalidToken` if this installation did not make the value, or made it with a forgotten secret.
        """
        ...

    def key(self, value: str) -> bytes:
        """A key of 32 bytes that only this installation computes, and only from this value.

        It encrypts what the browser keeps for its session. With another secret of the installation it is another key.
        """
        ...


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """A user in a session, with the roles of all grants, ended ones included. Validity depends on the moment."""

    user: User
    session: Session
    roles: tuple[Role, ...]

    def with_session(self, session: Session) -> Principal:
        """A copy with the current session."""
        return msgspec.structs.replace(self, session=session)

    def live_at(self, now: datetime) -> bool:
        return self.user.active and self.session.live_at(now)

    def lapsed_at(self, now: datetime) -> bool:
        """True if it is beyond an end that may have moved since it was read: no change record is written for that."""
        return self.session.ended_at is None and not self.session.live_at(now)

    def permissions_at(self, now: datetime) -> Permissions:
        """The permissions of the roles in force, within the scope of the session."""
        grants = self.user.grants
        held = [
            role.permissions
            for role in self.roles
            if (grant := grants.get(role.id)) is not None and grant.holds_at(now)
        ]
        whole = held[0] if len(held) == 1 else union(held)
        return whole if self.session.scope is None else whole.within(read_scope(self.session.scope))

    def holds_until(self, needed: Permissions, now: datetime) -> datetime | None:
        """The moment at which the first of these permissions ends; None if all are held without an end."""
        grants = [(self.user.grants.get(role.id), role.permissions) for role in self.roles]
        held = [(grant.expires_at, allowed) for grant, allowed in grants if grant is not None and grant.holds_at(now)]
        ends = []
        for permission in needed:
            own = [end for end, allowed in held if allowed.allow(permission)]
            lasting = [end for end in own if end is not None]
            if own and len(lasting) == len(own):
                ends.append(max(lasting))
        return min(ends, default=None)


class Principals(Protocol):
    async def get(self, session_id: SessionId) -> Principal | None:
        """The session's user, session and roles, as they are now; None if the session is missing. Takes no locks."""
        ...

    async def many(self, session_ids: Collection[SessionId]) -> dict[SessionId, Principal]:
        """The principals of the existing ones of these sessions, all as of one moment. Takes no locks."""
        ...
