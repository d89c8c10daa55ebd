"""Units of work: one use case, one unit, one commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

if TYPE_CHECKING:
    from ubr.application.ports.accounts import Links, Users
    from ubr.application.ports.audit import LogKeys, LogRecords, Logs, LogTree
    from ubr.application.ports.idempotency import IdempotencyStore
    from ubr.application.ports.keys import SigningKeys
    from ubr.application.ports.leases import Leases
    from ubr.application.ports.machines import MachineKeys, Machines
    from ubr.application.ports.mail import Outbox
    from ubr.application.ports.metrics import Load
    from ubr.application.ports.personal_data import PersonalData
    from ubr.application.ports.protection import KnownClients, PasswordAttempts
    from ubr.application.ports.revocation import FeedPosition
    from ubr.application.ports.roles import Roles
    from ubr.application.ports.sessions import Principals, RefreshTokens, Sessions
    from ubr.domain.actor import Actor, System
    from ubr.domain.events import Event
    from ubr.domain.revocation.changes import Change


class Repositories(Protocol):
    """Everything that is stored."""

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
    @property
    def leases(self) -> Leases: ...
    @property
    def machines(self) -> Machines: ...
    @property
    def machine_keys(self) -> MachineKeys: ...
    @property
    def personal_data(self) -> PersonalData: ...

    async def feed_position(self) -> FeedPosition:
        """The current position of the feed. Data read after this call is at least as new."""
        ...


class Transaction(Repositories, Protocol):
    """Reads and writes that commit together. Leaving it without `commit` rolls everything back.

    After an error of the store, including `EmailTaken`, the unit can only be left. To prevent deadlocks, rows are read
    in a fixed order: user, session, refresh token; user, admin role.
    """

    @property
    def now(self) -> datetime:
        """The time at which it began, by the clock of the store, which all instances of the service share."""
        ...

    @property
    def commit_id(self) -> UUID | None:
        """After the commit: the key of the change records it wrote; None if it wrote none."""
        ...

    @property
    def committed(self) -> Sequence[Event]:
        """After the commit: its events."""
        ...

    @property
    def must_propagate(self) -> bool:
        """True if the answer waits until those change records are known everywhere."""
        ...

    def announce(self, change: Change, *, alone: bool = True) -> None:
        """Write a record of this change to the feed, once. With `alone` false, only if the unit writes others."""
        ...

    async def begin_epoch(self) -> None:
        """Start a new epoch of the feed: every session cache built on the old epoch is dropped."""
        ...

    def record(self, event: Event) -> None:
        """Record an event that belongs to no aggregate. Storing an aggregate records its own events."""
        ...

    async def commit(self) -> None:
        """Commit all changes atomically, with a log entry for each event.

        Errors: `StoreUnavailable`, after which the outcome is unknown.
        """
        ...


class UnitOfWork(Protocol):
    def begin(self, actor: Actor | System | None) -> AbstractAsyncContextManager[Transaction]:
        """Open a unit that may write, for an actor; None if the actor is not known yet. Make no remote calls inside.

        After a commit, leaving it may wait until other workers know of the changes, and may run the hooks of the host.
        """
        ...

    def read(self) -> AbstractAsyncContextManager[Transaction]:
        """Open a read-only unit: it takes no locks and never waits. It needs no commit."""
        ...

    def peek(self) -> AbstractAsyncContextManager[Repositories]:
        """Read without a unit: each query sees what is committed at that moment, and costs no message besides it.

        For one query, or for several that need not agree. All of them reach the same server.
        """
        ...

    def autocommit(self) -> AbstractAsyncContextManager[Repositories]:
        """Write one statement that commits itself, and costs no message besides it.

        Nothing is recorded or announced. An error after the statement may leave its change.
        """
        ...


class EndingUnitOfWork(UnitOfWork, Protocol):
    """Units that return only after other workers know of the end."""

    def ending(self, change: Change, *, actor: Actor | System | None) -> AbstractAsyncContextManager[Transaction]:
        """Open a unit that ends something, and commit it after its last line.

        It returns when no worker acts on the earlier state any more. A body that changes nothing writes nothing, and
        waits for the earlier change, because its caller may have left without waiting. The unit waits likewise if the
        body raises `NotFound` (the target is gone) or `InvalidToken` (the actor's session has ended). Any other error
        rolls the unit back without a wait.
        """
        ...


class Store(Protocol):
    """The store behind the units, for health checks and shutdown."""

    @property
    def connections(self) -> Mapping[str, Load]:
        """The load of each pool of connections, by name: `requests`, `background`. Empty for a store without pools."""
        ...

    async def ping(self) -> None:
        """Errors: `StoreUnavailable`."""
        ...

    async def close(self) -> None:
        """Return every connection. A second call does nothing."""
        ...
