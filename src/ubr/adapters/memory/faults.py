"""A store in memory that fails on demand, as a database would: for tests of programs that use ubr."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Final, Literal, TypeAlias, get_args

import msgspec

from ubr.application.ports.metrics import Load
from ubr.application.ports.unit_of_work import Repositories, Store, Transaction, UnitOfWork
from ubr.domain.actor import Actor, System
from ubr.domain.errors import StoreTooSlow, StoreUnavailable, TransactionConflict

Failure: TypeAlias = Literal["unreachable", "slow", "conflict"]
FAILURES: Final[tuple[Failure, ...]] = get_args(Failure)

_ERRORS: Final[Mapping[Failure, type[StoreUnavailable]]] = {
    "unreachable": StoreUnavailable,
    "slow": StoreTooSlow,
    "conflict": TransactionConflict,
}


class StoreFaults:
    """The failure that the store has now. One object serves all units of an application."""

    def __init__(self) -> None:
        self._failure: Failure | None = None
        self._left: int | None = None

    def begin(self, failure: Failure, times: int | None = None) -> None:
        """Fail from now on: `times` units of work, or all of them. Errors: `ValueError` for an unknown failure."""
        if failure not in FAILURES:
            raise ValueError(f"{failure!r} is not a failure: take one of {', '.join(FAILURES)}")
        self._failure, self._left = failure, times

    def end(self) -> None:
        """Work again."""
        self._failure, self._left = None, None

    @contextmanager
    def failing(self, failure: Failure, times: int | None = None) -> Iterator[None]:
        """Fail within the context. Errors: those of `begin`."""
        before = self._failure, self._left
        self.begin(failure, times)
        try:
            yield
        finally:
            self._failure, self._left = before

    def check(self) -> None:
        """Called where a database could fail. Errors: `StoreUnavailable` and its kinds."""
        if self._failure is None or self._left == 0:
            return
        if self._left is not None:
            self._left -= 1
        raise _ERRORS[self._failure]


class FaultyUnitOfWork(msgspec.Struct, frozen=True):
    """Each unit fails before it does anything, while there is a failure."""

    units: UnitOfWork
    faults: StoreFaults

    @asynccontextmanager
    async def begin(self, actor: Actor | System | None) -> AsyncIterator[Transaction]:
        self.faults.check()
        async with self.units.begin(actor) as tx:
            yield tx

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Transaction]:
        self.faults.check()
        async with self.units.read() as tx:
            yield tx

    def peek(self) -> AbstractAsyncContextManager[Repositories]:
        return self.read()

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[Repositories]:
        self.faults.check()
        async with self.units.autocommit() as repositories:
            yield repositories


class FaultyStore(msgspec.Struct, frozen=True):
    """Its health is that of the units."""

    store: Store
    faults: StoreFaults

    @property
    def connections(self) -> Mapping[str, Load]:
        return self.store.connections

    async def ping(self) -> None:
        self.faults.check()
        await self.store.ping()

    async def close(self) -> None:
        await self.store.close()
