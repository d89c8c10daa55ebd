"""Keeps the session of a browser alive while it is used."""

from __future__ import annotations

from contextlib import suppress

from ubr.application.access.session_cache import SessionCache
from ubr.application.kernel.operator_policy import OperatorPolicy
from ubr.application.ports.sessions import Principal
from ubr.application.ports.system import Clock
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.errors import StoreUnavailable
from ubr.domain.ids import SessionId
from ubr.domain.sessions.session import Session


class SessionRenewal:
    """Moves the idle end of a session with a cookie, as a refresh does for a session with tokens.

    It is coarse: a session in use is written once per `SessionLimits.renewal_interval`, whatever the number of its
    requests and of workers. If the store is unreachable, the request goes on, and a later one renews the session.
    """

    def __init__(
        self, unit_of_work: UnitOfWork, session_cache: SessionCache, clock: Clock, policy: OperatorPolicy
    ) -> None:
        self._unit_of_work = unit_of_work
        self._session_cache = session_cache
        self._clock = clock
        self._policy = policy
        self._running: set[SessionId] = set()

    async def __call__(self, principal: Principal) -> None:
        """The session of this principal, as it is cached here, is used now."""
        session_id = principal.session.id
        if not self._due(principal.session) or session_id in self._running:
            return
        self._running.add(session_id)
        try:
            with suppress(StoreUnavailable):
                await self._renew(session_id)
        finally:
            self._running.discard(session_id)

    async def _renew(self, session_id: SessionId) -> None:
        known = await self._session_cache.look_up(session_id)
        if known is None or not self._due(known.session):
            return  # another worker has renewed it
        async with self._unit_of_work.begin(None) as tx:
            session = await tx.sessions.get(session_id)
            if session is None or not session.live_at(tx.now) or not self._due(session):
                return
            session.refresh(limits=self._policy.sessions, now=tx.now, log_all=self._policy.log_all_refreshes)
            await tx.sessions.save(session)
            await tx.commit()
        await self._session_cache.look_up(session_id)

    def _due(self, session: Session) -> bool:
        return session.due_for_renewal(limits=self._policy.sessions, now=self._clock())
