from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NoReturn

import msgspec

from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.fields import RefreshTokenStr
from ubr.application.kernel.operator_policy import OperatorPolicy
from ubr.application.kernel.representations import TokensResult
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.keys.key_ring import KeyRing
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.secrets import MintedToken
from ubr.application.ports.sessions import Principal, RefreshTokenMint
from ubr.application.ports.unit_of_work import EndingUnitOfWork, Transaction
from ubr.application.protection.rate_limits import RateLimiter
from ubr.application.sessions.token_issuer import TokenIssuer, unspent
from ubr.domain.actor import Actor, System
from ubr.domain.errors import InvalidToken
from ubr.domain.ids import SessionId, TokenDigest
from ubr.domain.revocation.changes import Change
from ubr.domain.sessions.session import RETRY_WINDOW, RefreshToken
from ubr.domain.sessions.termination import SecurityEvent


class RefreshSessionCommand(Command, frozen=True, kw_only=True):
    refresh_token: RefreshTokenStr


class RefreshSession(msgspec.Struct, frozen=True):
    """Exchange a refresh token for new tokens.

    - A refresh token can be used once. Any number of concurrent requests with it get one successor.
    - Within 10 seconds, the same token returns the same successor: the answer may have been lost.
    - Later, but within `UBR_REFRESH_RETRY_WINDOW` and while that successor is unused, it returns a new successor. The
      earlier successor then counts as spent: if it is used after all, a copy exists, and the session ends.
    - Later still, or once the successor was used, the token counts as stolen: the session ends.
    - An ended session cannot be refreshed.
    - The audit log gets an entry for the first refresh of a UTC day, or for each (`UBR_AUDIT_REFRESHES`).
    - Limited to 120 refreshes an hour per session, and to 100 invalid tokens a minute per client IP: 429 `rate-limited`
      beyond. A rejected token is not spent.
    """

    unit_of_work: EndingUnitOfWork
    rate_limiter: RateLimiter
    keys: KeyRing
    mint: RefreshTokenMint
    issuer: TokenIssuer
    policy: OperatorPolicy
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: RefreshSessionCommand, /, *, actor: Actor | System | None = None) -> TokensResult:
        try:
            return await self._refresh(command, actor)
        except InvalidToken:
            await self.rate_limiter.bad_refresh()
            raise

    async def _refresh(self, command: RefreshSessionCommand, actor: Actor | System | None) -> TokensResult:
        digest = self.mint.digest(command.refresh_token)
        async with self.unit_of_work.peek() as tx:
            token = await tx.refresh_tokens.get(digest)
        if token is None or token.spent_at is not None:
            return await self._again(digest, command.refresh_token, actor)
        await self.rate_limiter.refresh(token.session_id)
        successor = self.mint.mint(token.session_id)
        sealed = self.mint.seal(successor.secret, command.refresh_token)
        await self.keys.ensure_current()
        async with self.unit_of_work.begin(actor) as tx:
            session_id = await tx.refresh_tokens.spend(digest, successor=sealed, now=tx.now)
            if session_id is not None:
                return await self._exchange(tx, session_id, successor)
        return await self._again(digest, command.refresh_token, actor)

    async def _exchange(self, tx: Transaction, session_id: SessionId, successor: MintedToken) -> TokensResult:
        """Lock the session before reading its user, so that a concurrent end comes either wholly before or wholly
        after.
        """
        position = await tx.feed_position()
        session = await tx.sessions.get(session_id)
        if session is None:
            raise InvalidToken
        principal = await _live(tx, session_id)
        session.refresh(limits=self.policy.sessions, now=tx.now, log_all=self.policy.log_all_refreshes)
        await tx.sessions.save(session)
        await tx.refresh_tokens.add(unspent(successor, session_id, self.mint, tx.now))
        tokens = await self.issuer.issue(principal.with_session(session), successor.secret, tx.now, position)
        await tx.commit()
        return tokens

    async def _again(self, digest: TokenDigest, secret: str, actor: Actor | System | None) -> TokensResult:
        """Handle a token that could not be spent: a retry, a copy, or an unknown token.

        A retry within 10 seconds changes nothing, so it only reads, and concurrent retries do not wait.
        """
        async with self.unit_of_work.read() as tx:
            spent = await tx.refresh_tokens.get(digest)
            if spent is not None and spent.spent_at is None:
                raise InvalidToken
            session_id = await self._named_session(tx, secret) if spent is None else spent.session_id
            unused = None if spent is None else await self._unused_successor(tx, spent, secret)
            if unused is not None and unused.repeatable_at(tx.now):
                return await self._repeat(tx, unused)
            now = tx.now
        if spent is not None and unused is not None and self._replaceable(spent, now):
            await self.rate_limiter.refresh(session_id)
            tokens = await self._replace(digest, secret, actor)
            if tokens is not None:
                return tokens
        return await self._end(session_id, actor)

    def _replaceable(self, spent: RefreshToken, now: datetime) -> bool:
        return spent.spent_at is not None and now - spent.spent_at <= self.policy.refresh_retry_window

    async def _named_session(self, tx: Transaction, secret: str) -> SessionId:
        """The session of a token that was spent and forgotten. Errors: `InvalidToken` for a guess."""
        for session_id in self.mint.session_ids(secret):
            if await tx.sessions.get(session_id) is not None:
                return session_id
        raise InvalidToken

    async def _end(self, session_id: SessionId, actor: Actor | System | None) -> NoReturn:
        """End the session of a token that counts as stolen."""
        async with self.unit_of_work.ending(Change("session", str(session_id)), actor=actor) as tx:
            session = await tx.sessions.get(session_id)
            if session is not None:
                session.end(SecurityEvent.TOKEN_REUSED, now=tx.now)
                await tx.sessions.save(session)
        raise InvalidToken

    async def _replace(self, digest: TokenDigest, secret: str, actor: Actor | System | None) -> TokensResult | None:
        """Replace the unused successor of a spent token; None if it was used meanwhile.

        Only the caller knows the new successor. If the old one arrived after all, the next use of it ends the session.
        """
        async with self.unit_of_work.begin(actor) as tx:
            spent = await tx.refresh_tokens.get(digest)
            unused = None if spent is None else await self._unused_successor(tx, spent, secret)
            if unused is None:
                return None
            if unused.repeatable_at(tx.now):  # a concurrent retry replaced it
                return await self._repeat(tx, unused)
            successor = self.mint.mint(unused.token.session_id)
            await tx.refresh_tokens.spend(unused.token.digest, successor=None, now=tx.now)
            await tx.refresh_tokens.reseal(digest, successor=self.mint.seal(successor.secret, secret))
            return await self._exchange(tx, unused.token.session_id, successor)

    async def _unused_successor(self, tx: Transaction, spent: RefreshToken, secret: str) -> UnusedSuccessor | None:
        """None if the token is of an older generation, or was spent so long ago that its successor was erased."""
        if spent.successor is None:
            return None
        successor = self.mint.unseal(spent.successor, secret)
        token = await tx.refresh_tokens.get(self.mint.digest(successor))
        return None if token is None or token.spent_at is not None else UnusedSuccessor(successor, token)

    async def _repeat(self, tx: Transaction, unused: UnusedSuccessor) -> TokensResult:
        position = await tx.feed_position()
        principal = await _live(tx, unused.token.session_id)
        return await self.issuer.issue(principal, unused.secret, tx.now, position)


@dataclass(frozen=True, slots=True)
class UnusedSuccessor:
    """The newest token of a session, for a caller who has the token before it."""

    secret: str = field(repr=False)
    token: RefreshToken

    def repeatable_at(self, now: datetime) -> bool:
        return now - self.token.issued_at <= RETRY_WINDOW


async def _live(tx: Transaction, session_id: SessionId) -> Principal:
    principal = await tx.principals.get(session_id)
    if principal is None or not principal.live_at(tx.now):
        raise InvalidToken
    return principal
