"""Spans for the parts of a request that take most of its time: units of work, and the hashing of passwords."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import TypeVar

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Tracer

from ubr.application.ports.accounts import PasswordHasher
from ubr.application.ports.unit_of_work import Repositories, Transaction, UnitOfWork
from ubr.domain.accounts.passwords import PasswordHash
from ubr.domain.actor import Actor, System
from ubr.domain.ids import UserId

_T = TypeVar("_T")


@contextmanager
def _span(tracer: Tracer, name: str, **attributes: str) -> Iterator[None]:
    """A span within that of a request. Background jobs have none."""
    if not trace.get_current_span().is_recording():
        yield
        return
    with tracer.start_as_current_span(
        name, attributes=attributes, record_exception=False, set_status_on_exception=False
    ):
        yield


class TracedUnitOfWork:
    """Units whose time is a span, with the wait for a connection."""

    def __init__(self, inner: UnitOfWork, provider: TracerProvider, system: str) -> None:
        """`system` is the name of the database system, as the semantic conventions spell it."""
        self._inner = inner
        self._tracer = provider.get_tracer("ubr")
        self._system = system

    def begin(self, actor: Actor | System | None) -> AbstractAsyncContextManager[Transaction]:
        return self._traced("begin", self._inner.begin(actor))

    def read(self) -> AbstractAsyncContextManager[Transaction]:
        return self._traced("read", self._inner.read())

    def peek(self) -> AbstractAsyncContextManager[Repositories]:
        return self._traced("peek", self._inner.peek())

    def autocommit(self) -> AbstractAsyncContextManager[Repositories]:
        return self._traced("autocommit", self._inner.autocommit())

    @asynccontextmanager
    async def _traced(self, kind: str, unit: AbstractAsyncContextManager[_T]) -> AsyncIterator[_T]:
        with _span(self._tracer, f"unit of work, {kind}", **{"db.system.name": self._system}):
            async with unit as opened:
                yield opened


class TracedPasswordHasher:
    """A hasher whose time is a span, with the wait before it."""

    def __init__(self, inner: PasswordHasher, provider: TracerProvider) -> None:
        self._inner = inner
        self._tracer = provider.get_tracer("ubr")

    async def hash(self, password: str, *, owner: UserId, account: str = "") -> PasswordHash:
        with _span(self._tracer, "hash password"):
            return await self._inner.hash(password, owner=owner, account=account)

    async def verify(
        self, password: str, against: PasswordHash | None, *, owner: UserId | None, account: str = ""
    ) -> bool:
        with _span(self._tracer, "verify password"):
            return await self._inner.verify(password, against, owner=owner, account=account)

    def outdated(self, hashed: PasswordHash, owner: UserId) -> bool:
        return self._inner.outdated(hashed, owner)

    def rebind(self, hashed: PasswordHash, owner: UserId) -> PasswordHash | None:
        return self._inner.rebind(hashed, owner)

    def lacks_secret(self, hashed: PasswordHash) -> bool:
        return self._inner.lacks_secret(hashed)
