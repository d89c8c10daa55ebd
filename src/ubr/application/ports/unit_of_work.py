"""One use case, one unit of work, one commit."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol
from uuid import UUID

from ubr.application.ports.accounts import Links, Users
from ubr.application.ports.audit import LogKeys, LogRecords, Logs, LogTree
from ubr.application.ports.idempotency import IdempotencyStore
from ubr.application.ports.keys import SigningKeys
from ubr.application.ports.mail import Outbox
from ubr.application.ports.protection import KnownClients, PasswordAttempts
from ubr.application.ports.revocation import FeedPosition
from ubr.application.ports.roles import Roles
from ubr.application.ports.sessions import Principals, RefreshTokens, Sessions
from ubr.domain.actor import Actor, System
from ubr.domain.events import Event
from ubr.domain.revocation.changes import Change


class Transaction(Protocol):
    """What is read and written together. Leaving it without `commit` rolls everything back.

    After an error of the store, `EmailTaken` among them, a unit is good for nothing but leaving it. Things are read in
    one order, so that units wait for each other and never in a circle: user, session, refresh token; user, admin role.
    """

    @property
    def now(self) -> datetime:
        """The moment it began, by the clock of the store: the same clock for every instance of the service."""
        ...

    @property
    def users(self) -> Users: ...
    @property
    def roles(self) -> Roles: ...
    @property
    def sessions(self) -> Sessions: ...
    @property
    def refresh_tokens(self) -> RefreshTokens: ...
    @property
    def logs(self) -> Logs: ...
    @property
    def log_tree(self) -> LogTree: ...
    @property
    def log_records(self) -> LogRecords: ...
    @property
    def log_keys(self) -> LogKeys: ...
    @property
    def signing_keys(self) -> SigningKeys: ...
    @property
    def idempotency(self) -> IdempotencyStore: ...
    @property
    def principals(self) -> Principals: ...
    @property
    def links(self) -> Links: ...
    @property
    def outbox(self) -> Outbox: ...
    @property
    def password_attempts(self) -> PasswordAttempts: ...
    @property
    def known_clients(self) -> KnownClients: ...

    async def feed_position(self) -> FeedPosition:
        """Where the feed stands. What is read after this call is as new as that, or newer."""
        ...

    @property
    def commit_id(self) -> UUID | None:
        """Once committed: the key of the feed rows it wrote; None where it wrote none."""
        ...

    @property
    def must_propagate(self) -> bool:
        """Whether the answer waits until those rows are known everywhere."""
        ...

    def announce(self, change: Change, *, alone: bool = True) -> None:
        """Write a record of this change to the feed, once. With `alone` false, only if the unit writes others."""
        ...

    async def begin_epoch(self) -> None:
        """Give the feed another epoch: whatever anybody knows by it is dropped."""
        ...

    def record(self, event: Event) -> None:
        """Note what happened beside any stored thing. A stored thing's own events are noted by storing it."""
        ...

    async def commit(self) -> None:
        """Make all of it true at once, a log entry for each event included.

        Errors: `StoreUnavailable`, after which it may or may not be true.
        """
        ...


class UnitOfWork(Protocol):
    def begin(self, actor: Actor | System | None) -> AbstractAsyncContextManager[Transaction]:
        """Open a unit that may write, in the name of an actor, or of nobody yet. Nothing remote belongs inside it."""
        ...

    def read(self) -> AbstractAsyncContextManager[Transaction]:
        """Open a unit that only reads: it takes no locks and waits for nobody. It has nothing to commit."""
        ...


class EndingUnitOfWork(UnitOfWork, Protocol):
    """Units whose end other workers learn of before it is reported."""

    def ending(self, change: Change, *, actor: Actor | System | None) -> AbstractAsyncContextManager[Transaction]:
        """Open a unit that ends something, and commit it after its last line.

        It returns when no worker acts any longer on the state before it. A body that changes nothing writes nothing; it
        finds what an earlier unit ended, whose caller may have gone without waiting, and waits for that. So does a body
        that raises `NotFound`, because the target is gone, or `InvalidToken`, because the actor's session has ended.
        Any other error rolls the unit back, and nobody waits.
        """
        ...


class Store(Protocol):
    """The thing behind the units, for those who look after it."""

    async def ping(self) -> None:
        """Errors: `StoreUnavailable`."""
        ...

    async def close(self) -> None:
        """Give back every connection. A second time does nothing."""
        ...
