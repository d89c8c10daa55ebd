"""What a worker knows of who is logged in: answers without asking anyone, and never from before an end.

A session, user or role is read from the store once and kept. The feed says what changed since. A view is *fresh* at a
moment if its newest cycle of reading began no longer ago than the bound, and the lease that was known to be committed
before that cycle began still lasts. Whoever ends something waits until every worker that holds a lease knows of it, or
until the bound has passed: either way no fresh view acts on what was before. `docs/sessions.md` has the argument.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterator, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from ubr.application.ports.revocation import ChangeFeed, Elapsed, FeedPosition, WorkerId
from ubr.application.ports.sessions import Principal
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.errors import StoreUnavailable
from ubr.domain.ids import RoleId, SessionId
from ubr.domain.revocation.changes import Change, ChangeRecord
from ubr.domain.roles.role import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheTimes:
    """All in seconds. `bound` is how long an end may take where the short way is lost."""

    poll: float = 0.25
    bound: float = 1.0
    lease: float = 10.0
    renewal: float = 3.0
    row: float = 60.0
    """How long a row that is not renewed is waited for; much longer than a lease."""
    horizon: float = 15 * 60 + 30 + 60
    """How long anything read is kept: the longest life of an access token, clock differences, the longest unit."""
    patience: float = 1.0
    """How long a request waits for a cycle."""


@dataclass(frozen=True, slots=True)
class _Entry:
    principal: Principal
    number: int
    read_at: float


CLOCK_RATES: Final = 0.1
"""Seconds added to every wait for others: clocks that should run alike may differ by so much over the bound."""

_CAPACITY: Final = 100_000
"""Of how many sessions it is kept whose they are."""

_MAX_KNOWN: Final = 200_000
"""Of how many things it is kept that they changed."""

_GONE: Final = 10_000
"""Of how many sessions it is kept that there is no such session any more."""


class _Entries(MutableMapping[SessionId, _Entry]):
    """What is kept, the longest unused first.

    Every row of the feed is looked up here while nothing else runs: what it is about is found without a search.
    """

    def __init__(self) -> None:
        self._all: OrderedDict[SessionId, _Entry] = OrderedDict()
        self._of_user: dict[str, tuple[SessionId, ...]] = {}
        self._of_role: dict[str, dict[SessionId, None]] = {}

    def __getitem__(self, session_id: SessionId) -> _Entry:
        return self._all[session_id]

    def __setitem__(self, session_id: SessionId, entry: _Entry) -> None:
        self.pop(session_id, None)
        self._all[session_id] = entry
        user = str(entry.principal.user.id)
        self._of_user[user] = (*self._of_user.get(user, ()), session_id)
        for role in entry.principal.roles:
            self._of_role.setdefault(str(role.id), {})[session_id] = None

    def __delitem__(self, session_id: SessionId) -> None:
        principal = self._all.pop(session_id).principal
        for role in principal.roles:
            holders = self._of_role.get(str(role.id), {})
            holders.pop(session_id, None)
            if not holders:
                self._of_role.pop(str(role.id), None)
        user = str(principal.user.id)
        if others := tuple(other for other in self._of_user[user] if other != session_id):
            self._of_user[user] = others
        else:
            del self._of_user[user]

    def __iter__(self) -> Iterator[SessionId]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def clear(self) -> None:
        self._all.clear()
        self._of_user.clear()
        self._of_role.clear()

    def use(self, session_id: SessionId) -> None:
        self._all.move_to_end(session_id)

    def about(self, change: Change) -> Sequence[SessionId]:
        """The sessions whose entries rest on something."""
        if change.kind == "user":
            return self._of_user.get(change.id, ())
        with suppress(ValueError):
            id = UUID(change.id)
            if change.kind == "session":
                return [session_id for session_id in (SessionId(id),) if session_id in self._all]
            return list(self._of_role.get(str(id), ()))
        return ()


class SessionCache:
    """One for each worker."""

    def __init__(
        self,
        worker: WorkerId,
        unit_of_work: UnitOfWork,
        feed: ChangeFeed,
        elapsed: Elapsed,
        times: CacheTimes,
        *,
        capacity: int = _CAPACITY,
    ) -> None:
        self.worker = worker
        self.times = times
        self._unit_of_work = unit_of_work
        self._feed = feed
        self._elapsed = elapsed
        self._capacity = capacity
        self._entries = _Entries()
        self._roles: dict[RoleId, Role] = {}
        """Each as it was read last: what many entries hold is held once."""
        self._gone: OrderedDict[SessionId, None] = OrderedDict()
        self._known: OrderedDict[Change, tuple[int, float]] = OrderedDict()
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
        """Whose session it is, as of now or newer; None where there is no such session.

        Errors: `StoreUnavailable` where it cannot be known in time.
        """
        await self.ensure_fresh()
        if session_id in self._gone:
            return None
        entry = self._entries.get(session_id)
        if entry is not None and self._elapsed() - entry.read_at < self.times.horizon:
            self._entries.use(session_id)
            return entry.principal
        return await self.look_up(session_id)

    async def look_up(self, session_id: SessionId) -> Principal | None:
        """The same, from the store: what is read after a use case was entered is new enough for it."""
        read_at = self._elapsed()
        async with self._unit_of_work.read() as tx:
            position = await tx.feed_position()
            principal = await tx.principals.get(session_id)
        self._entries.pop(session_id, None)
        if position.epoch == self._epoch:
            if principal is None:
                self._remember_gone(session_id)
            else:
                principal = replace(principal, roles=tuple(map(self._shared, principal.roles)))
                self._keep(session_id, _Entry(principal, position.number, read_at))
        return principal

    async def ensure_fresh(self) -> None:
        """Return when the view is fresh, at once where it is.

        Errors: `StoreUnavailable` where it does not become so in time.
        """
        if self._fresh():
            return
        if self._left:
            raise StoreUnavailable
        try:
            async with asyncio.timeout(self.times.patience):
                while not self._fresh():
                    if self._left:  # meanwhile: renewing would bring its row back
                        raise StoreUnavailable
                    if not self._lease_lasts():
                        await self.renew()
                    await self.poll_feed()
        except TimeoutError:
            raise StoreUnavailable from None

    @property
    def position(self) -> FeedPosition | None:
        """Where its newest cycle found the feed; None before the first."""
        if self._epoch is None or self._cursor is None:
            return None
        return FeedPosition(epoch=self._epoch, number=self._cursor)

    async def news(self, beyond: int) -> None:
        """Return when a row of a higher number is known here, or another epoch."""
        epoch = self._epoch
        while self._newest <= beyond and self._epoch == epoch:
            await self._news.wait()

    # --- knowing -----------------------------------------------------------------------------------------------------

    def apply(self, epoch: str, rows: Sequence[ChangeRecord]) -> None:
        """Know rows from now on. What is known is only ever added to."""
        if epoch != self._epoch:
            return
        at = self._elapsed()
        for row in rows:
            # A message can be sent again and again by whoever captured it. What is known has been acted on.
            if row.number <= (self._cursor or 0) or row.number <= self._known.get(row.change, (0, 0.0))[0]:
                continue
            self._known.pop(row.change, None)
            self._known[row.change] = (row.number, at)
            if row.change.kind == "key":
                self._tell_of_keys()
            else:
                self._drop(row)
        self._forget(at)
        self._reach(max((row.number for row in rows), default=0))

    async def poll_feed(self) -> None:
        """Read what is new in the feed. One at a time; whoever comes meanwhile joins the next."""
        if (running := self._polling) is not None and not running.done():
            # It began before this call: what it brings may be too old for whoever calls.
            await asyncio.wait([running])
        if self._polling is None or self._polling.done():
            self._polling = shared(self._poll_feed())
        await asyncio.shield(self._polling)

    async def _poll_feed(self) -> None:
        began, lease = self._elapsed(), self._lease
        since = self._cursor
        if self._poll_began is not None and began - self._poll_began > self.times.horizon:
            since = None  # nothing that was kept counts any more, so no row is needed, however many there are
        read = await self._feed.read(since)
        position = read.position
        if position.epoch != self._epoch or (self._cursor is not None and position.number < self._cursor):
            self._begin(position)
            # A lease is worth what the table is worth that it stands in.
            lease = self._lease = None
        elif since is None or len(read.rows) < position.number - since:
            self._skip(position)
        self.apply(position.epoch, read.rows)
        self._reach(position.number)
        self._cursor = position.number
        self._poll_began, self._poll_lease = began, lease

    def _begin(self, position: FeedPosition) -> None:
        """Another database, or another history of this one: nothing counts that was known before."""
        # Since the answer, not since the question: that may have waited for this database to be there.
        self._epoch, self._epoch_since = position.epoch, self._elapsed()
        self._cursor = None
        self._known.clear()
        self._newest = 0
        self._skip(position)

    def _skip(self, position: FeedPosition) -> None:
        """Rows up to here are missing in what was read: nothing is kept that may rest on what was before them.

        What is known stays known: a reading may be under way.
        """
        self._entries.clear()
        self._roles.clear()
        self._gone.clear()
        self._known_from = position.number
        self._tell_of_keys()

    async def renew(self) -> None:
        """Renew the lease. It counts from the moment the renewal began, once it is known to be committed."""
        if self._renewing is None or self._renewing.done():
            self._renewing = shared(self._renew())
        await asyncio.shield(self._renewing)

    async def _renew(self) -> None:
        began, epoch = self._elapsed(), self._epoch
        await self._feed.renew(self.worker)
        if epoch == self._epoch:  # else it may stand in a database that is not there any more
            self._lease = began

    async def leave(self) -> None:
        """Answer nothing any more, whatever is still under way, and say so."""
        self._left = True
        if self._renewing is not None:
            await asyncio.wait([self._renewing])  # it would bring the row back
        try:
            await self._feed.leave(self.worker)
        finally:
            if self._polling is not None:
                await asyncio.wait([self._polling])  # whoever asked us to leave may close what it reads from

    def on_key(self, listener: Callable[[], None]) -> None:
        """Have somebody told, at once, whenever a signing key has changed or may have."""
        self._key_listeners.append(listener)

    def trusts(self, epoch: str) -> bool:
        """Whether this has been the epoch for longer than the bound: no view can rest on the one before any more.

        A worker whose lease was committed to a database that is not there any more either reads from the new one, and
        drops the lease with the epoch, or reads from none, and is not fresh once the bound has passed.
        """
        return epoch == self._epoch and self._elapsed() - self._epoch_since > self.times.bound + CLOCK_RATES

    # --- inside ------------------------------------------------------------------------------------------------------

    def _tell_of_keys(self) -> None:
        for listener in self._key_listeners:
            listener()

    def _reach(self, number: int) -> None:
        """Everything up to a number is known, or has been: wake who waits for news."""
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

    def _shared(self, role: Role) -> Role:
        """The same role, as the very object that other entries hold where it has not changed."""
        known = self._roles.get(role.id)
        if known == role:
            return known
        self._roles[role.id] = role
        return role

    def _remember_gone(self, session_id: SessionId) -> None:
        """Whoever asks for it has a token, so there was such a session: it will not come again in this history."""
        self._gone[session_id] = None
        while len(self._gone) > _GONE:
            self._gone.popitem(last=False)

    def _keep(self, session_id: SessionId, entry: _Entry) -> None:
        """Keep what was read, unless something later is known of it: a reading that crossed an end is not kept."""
        if entry.number < self._known_from:
            return
        for change in _about(entry.principal):
            number, _ = self._known.get(change, (0, 0.0))
            if number > entry.number:
                return
        self._entries[session_id] = entry
        while len(self._entries) > self._capacity:
            self._entries.popitem()

    def _drop(self, row: ChangeRecord) -> None:
        """Forget every entry that a row is about and that was read before it."""
        for session_id in self._entries.about(row.change):
            if self._entries[session_id].number < row.number:
                del self._entries[session_id]

    def _forget(self, now: float) -> None:
        """Rows are known for the horizon: nothing that was read before them is kept for longer.

        Of very many the first are forgotten sooner, and what was read before those is not kept at all.
        """
        while self._known:
            change, (number, at) = next(iter(self._known.items()))
            if now - at <= self.times.horizon:
                if len(self._known) <= _MAX_KNOWN:
                    return
                self._known_from = max(self._known_from, number)
            del self._known[change]


def shared(work: Coroutine[None, None, None]) -> asyncio.Task[None]:
    """A task of which each who waits hears how it ended. Where all have gone, nobody needs to."""
    task = asyncio.create_task(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


def _about(principal: Principal) -> set[Change]:
    """What an entry rests on."""
    return {
        Change("session", str(principal.session.id)),
        Change("user", str(principal.user.id)),
        *(Change("role", str(role.id)) for role in principal.roles),
    }
