"""The session cache of a worker: resolves sessions without a query, and never from data older than an end.

A session, user or role is read from the store once and cached. The feed reports changes. The cache is *fresh* at a
moment if its newest poll began no longer ago than the bound, and the lease known to be committed before that poll is
still valid. A use case that ends something waits until every worker with a lease has applied the change, or until the
bound has passed: either way, no fresh cache acts on the earlier state. `docs/sessions.md` has the argument.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from ubr.application.access.cached_sessions import CachedRoles, CachedSession, CachedSessions
from ubr.application.access.session_lookups import Lookup, SessionLookups
from ubr.application.kernel.home_loop import HomeLoop
from ubr.application.ports.revocation import ChangeFeed, Elapsed, FeedPosition, WorkerId
from ubr.application.ports.sessions import Principal
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.errors import StoreUnavailable
from ubr.domain.ids import SessionId
from ubr.domain.keys.access_token import HORIZON
from ubr.domain.revocation.changes import ChangeKind, ChangeRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheTimes:
    """All in seconds. `bound` is the maximum delay of an end if the fast path fails."""

    poll: float = 0.25
    bound: float = 1.0
    lease: float = 10.0
    renewal: float = 3.0
    row: float = 60.0
    """How long an unrenewed worker row is waited for; much longer than a lease."""
    horizon: float = HORIZON.total_seconds()
    """How long anything read is kept: the longest life of an access token, clock differences, the longest unit."""
    patience: float = 1.0
    """How long a request waits for a poll."""


CLOCK_RATES: Final = 0.1
"""Seconds added to every wait for other workers: over the bound, clocks may drift apart by this much."""

_LEFT: Final = "The session cache is closed, because the service is shutting down"

CAPACITY: Final = 100_000
"""Maximum number of cached sessions."""

_MAX_KNOWN: Final = 200_000
"""Maximum number of remembered changes."""

_GONE: Final = 10_000
"""Maximum number of sessions remembered as missing."""


class SessionCache:
    """The session cache; one for each worker."""

    def __init__(
        self,
        worker: WorkerId,
        unit_of_work: UnitOfWork,
        feed: ChangeFeed,
        elapsed: Elapsed,
        times: CacheTimes,
        *,
        capacity: int = CAPACITY,
        home: HomeLoop | None = None,
    ) -> None:
        self.worker = worker
        self.times = times
        self.home = home or HomeLoop()
        self._feed = feed
        self._elapsed = elapsed
        self._lookups = SessionLookups(unit_of_work, elapsed, self._receive)
        self._entries = CachedSessions(capacity, times.horizon)
        self._roles = CachedRoles()
        # Their keys are texts, which the garbage collector does not look at.
        self._gone: OrderedDict[bytes, None] = OrderedDict()
        self._known: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._key_listeners: list[Callable[[], None]] = []
        self._epoch: str | None = None
        self._epoch_since: float = elapsed()
        self._cursor: int | None = None
        self._known_from = 0
        self._left = False
        self._poll_began: float | None = None
        self._poll_lease: float | None = None
        self._lease: float | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._polling: asyncio.Task[None] | None = None
        self._newest = 0
        self._news = asyncio.Event()

    # --- asking ------------------------------------------------------------------------------------------------------

    async def principal(self, session_id: SessionId) -> Principal | None:
        """The principal of a session, current as of this call or later; None if the session is missing.

        Errors: `StoreUnavailable` if it cannot be determined in time.
        """
        await self.ensure_fresh()
        if session_id.bytes in self._gone:
            return None
        entry = self._entries.find(session_id)
        read_after = self._elapsed() - self.times.horizon
        if entry is not None and entry.read_at > read_after:
            principal = self._roles.renewed(entry, self._cursor or 0, read_after=read_after)
            if principal is not None:
                return principal
        return await self.look_up(session_id)

    async def look_up(self, session_id: SessionId) -> Principal | None:
        """Like `principal`, but from the store: data read after a use case began is new enough for it."""
        return await self._lookups(session_id)

    async def ensure_fresh(self) -> None:
        """Return when the cache is fresh; immediately if it is.

        Errors: `StoreUnavailable` if it does not become fresh in time; `WrongEventLoop`.
        """
        self.home.check()
        if self._fresh():
            return
        if self._left:
            raise StoreUnavailable(_LEFT)
        try:
            async with asyncio.timeout(self.times.patience):
                while not self._fresh():
                    if self._left:  # in the meantime: a renewal would restore the worker's row
                        raise StoreUnavailable(_LEFT)
                    if not self._lease_lasts():
                        await self.renew()
                    await self.poll_feed()
        except TimeoutError:
            raise StoreUnavailable("The session cache did not become fresh in time") from None

    @property
    def position(self) -> FeedPosition | None:
        """The position of the feed at the newest poll; None before the first."""
        if self._epoch is None or self._cursor is None:
            return None
        return FeedPosition(epoch=self._epoch, number=self._cursor)

    @property
    def size(self) -> int:
        """The number of cached sessions."""
        return len(self._entries)

    @property
    def polled_at(self) -> float | None:
        """The time on the cache's clock at which the newest completed poll began; None before the first."""
        return self._poll_began

    async def news(self, beyond: int) -> None:
        """Return when a change record with a higher number is known here, or a new epoch."""
        epoch = self._epoch
        while self._newest <= beyond and self._epoch == epoch:
            await self._news.wait()

    # --- knowing -----------------------------------------------------------------------------------------------------

    def apply(self, epoch: str, rows: Sequence[ChangeRecord]) -> None:
        """Apply change records. Known changes are never removed here."""
        if epoch != self._epoch:
            return
        at = self._elapsed()
        for row in rows:
            # A captured message can be replayed. Known records have already been applied.
            name = _name(row.change.kind, row.change.id)
            if row.number <= (self._cursor or 0) or row.number <= self._known.get(name, (0, 0.0))[0]:
                continue
            self._known.pop(name, None)
            self._known[name] = (row.number, at)
            if row.change.kind == "key":
                self._tell_of_keys()
            else:
                self._drop(row)
        self._forget(at)
        self._reach(max((row.number for row in rows), default=0))

    async def poll_feed(self) -> None:
        """Read new change records from the feed. One poll runs at a time; concurrent callers join the next one."""
        if (running := self._polling) is not None and not running.done():
            # It began before this call: its data may be too old for this caller.
            await asyncio.wait([running])
        if self._polling is None or self._polling.done():
            self._polling = shared(self._poll_feed())
        await asyncio.shield(self._polling)

    async def _poll_feed(self) -> None:
        began, lease = self._elapsed(), self._lease
        since = self._cursor
        if self._poll_began is not None and began - self._poll_began > self.times.horizon:
            since = None  # all cached entries have expired, so no change record is needed, however many there are
        read = await self._feed.read(since)
        position = read.position
        if position.epoch != self._epoch or (self._cursor is not None and position.number < self._cursor):
            self._begin(position)
            # A lease is valid only in the database that holds it.
            lease = self._lease = None
        elif since is None or len(read.rows) < position.number - since:
            self._skip(position)
        self.apply(position.epoch, read.rows)
        self._reach(position.number)
        self._cursor = position.number
        self._poll_began, self._poll_lease = began, lease

    def _begin(self, position: FeedPosition) -> None:
        """Start again with an empty cache, because the feed has a new epoch."""
        # Count from the answer: the request may have waited until this database was available.
        self._epoch, self._epoch_since = position.epoch, self._elapsed()
        self._cursor = None
        self._known.clear()
        self._newest = 0
        self._skip(position)

    def _skip(self, position: FeedPosition) -> None:
        """Drop all entries: change records up to this position were not read, so entries may be outdated.

        Known changes are kept, because a lookup may be in progress.
        """
        self._entries.clear()
        self._roles.clear()
        self._gone.clear()
        self._known_from = position.number
        self._tell_of_keys()

    async def renew(self) -> None:
        """Renew the lease. It counts from the start of the renewal, once the renewal is known to be committed."""
        if self._renewing is None or self._renewing.done():
            self._renewing = shared(self._renew())
        await asyncio.shield(self._renewing)

    async def _renew(self) -> None:
        began, epoch = self._elapsed(), self._epoch
        await self._feed.renew(self.worker)
        if epoch == self._epoch:  # otherwise the lease may be in a database that is gone
            self._lease = began

    async def leave(self) -> None:
        """Stop answering, even calls that are in progress, and remove the worker's row."""
        self._left = True
        if self._renewing is not None:
            await asyncio.wait([self._renewing])  # it would restore the row
        try:
            await self._feed.leave(self.worker)
        finally:
            if self._polling is not None:
                await asyncio.wait([self._polling])  # the caller may close the store that the poll reads from

    def on_key(self, listener: Callable[[], None]) -> None:
        """Call the listener at once whenever a signing key has changed, or may have."""
        self._key_listeners.append(listener)

    def trusts(self, epoch: str) -> bool:
        """True if the epoch has lasted longer than the bound: no session cache can depend on the previous one any more.

        A worker whose lease was committed to a database that is gone either reads from the new one, and drops the lease
        with the epoch, or reads from none, and is stale once the bound has passed.
        """
        return epoch == self._epoch and self._elapsed() - self._epoch_since > self.times.bound + CLOCK_RATES

    # --- inside ------------------------------------------------------------------------------------------------------

    def _tell_of_keys(self) -> None:
        for listener in self._key_listeners:
            listener()

    def _reach(self, number: int) -> None:
        """Everything up to this number is applied, or was before: wake the callers of `news`."""
        if number > self._newest:
            self._newest = number
            told, self._news = self._news, asyncio.Event()
            told.set()

    def _fresh(self) -> bool:
        now = self._elapsed()
        return (
            not self._left
            and self._poll_began is not None
            and self._poll_lease is not None
            and self._poll_began >= now - self.times.bound
            and self._poll_lease > now - self.times.lease
        )

    def _lease_lasts(self) -> bool:
        return self._lease is not None and self._lease > self._elapsed() - self.times.lease / 2

    def _receive(self, read: Lookup) -> Principal | None:
        """The principal that a look-up has found, after it was cached."""
        self._entries.remove(read.session_id)
        if not read.position.epoch == read.until.epoch == self._epoch:
            return read.principal
        if read.principal is None:
            self._remember_gone(read.session_id)
            return None
        return self._keep(read.principal, read.position.number, read.until.number, read.read_at)

    def _remember_gone(self, session_id: SessionId) -> None:
        """Remember a missing session.

        The caller has a token for it, so it existed, and will not return in this history.
        """
        self._gone[session_id.bytes] = None
        while len(self._gone) > _GONE:
            self._gone.popitem(last=False)

    def _keep(self, principal: Principal, number: int, until: int, read_at: float) -> Principal:
        """Cache a principal, unless a later change affects it: a read that overlapped an end is not cached."""
        if number < self._known_from:
            return principal
        if any(self._known.get(name, (0, 0.0))[0] > number for name in _about(principal)):
            return principal
        roles = self._roles.add(principal.roles, number, until, read_at)
        if roles is None:
            return principal
        principal = msgspec.structs.replace(principal, roles=roles)
        self._entries.put(
            CachedSession(
                user=principal.user,
                session=principal.session,
                roles=tuple(role.id for role in roles),
                number=number,
                until=until,
                read_at=read_at,
                principal=principal,
                edition=self._roles.edition,
            )
        )
        return principal

    def _drop(self, row: ChangeRecord) -> None:
        """Drop what a change record affects and was read before it."""
        if row.change.kind == "role":
            self._roles.drop(row.change, row.number)
        else:
            self._entries.drop(row.change, row.number)

    def _forget(self, now: float) -> None:
        """Forget changes older than the horizon: no entry read before them is kept for longer.

        Beyond `_MAX_KNOWN`, the oldest changes are forgotten sooner, and data read before those is not cached.
        """
        while self._known:
            name, (number, at) = next(iter(self._known.items()))
            if now - at <= self.times.horizon:
                if len(self._known) <= _MAX_KNOWN:
                    return
                self._known_from = max(self._known_from, number)
            del self._known[name]


def shared(work: Coroutine[None, None, None]) -> asyncio.Task[None]:
    """A task whose outcome every waiter receives. If all waiters are gone, its error is ignored."""
    task = asyncio.create_task(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


def _about(principal: Principal) -> Iterator[str]:
    """The names of the changes that a principal depends on."""
    yield _name("session", str(principal.session.id))
    yield _name("user", str(principal.user.id))
    for role in principal.roles:
        yield _name("role", str(role.id))


def _name(kind: ChangeKind, id: str) -> str:
    return f"{kind} {id}"
