"""Transactions of the program that embeds ubr, in which use cases work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from ubr.application.ports.protection import RateLimitStore
    from ubr.application.ports.unit_of_work import UnitOfWork


class WrongConnection(RuntimeError):
    """A connection of the host cannot carry a use case, and nothing was done. It is a bug of the host, so it is not a
    `UbrError`.
    """


class NotCommitted(RuntimeError):
    """The host's transaction is not committed. It is a bug of the host, so it is not a `UbrError`."""


class HostTransaction(Struct, frozen=True, kw_only=True):
    """The units within a transaction of the host."""

    unit_of_work: UnitOfWork
    """Each unit has its effect with the commit of the host: `commit` ends only the unit. A unit without a commit leaves
    no trace, and the transaction can go on. One unit at a time.
    Errors: `WrongConnection`; `TransactionConflict`, not `repeatable`, because only the host can repeat its work.
    """
    rate_limit_store: RateLimitStore | None = None
    """Counts in the host's transaction, if that keeps every other writer waiting; None if calls are counted apart."""


class Hosting(Protocol):
    def within(self, connection: object) -> HostTransaction:
        """The transaction of a connection. The connection is looked at when a unit begins.

        Errors: `WrongConnection` for an object other than a connection to this kind of store.
        """
        ...
