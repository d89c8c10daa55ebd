"""The suite of the fast path between workers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

import pytest

from ubr.application.ports.revocation import ChangeNotifier, WorkerId
from ubr.domain.revocation.changes import Change, ChangeRecord
from ubr.testing.contracts.basis import Contract

EPOCH: Final = "epoch 1"

PATIENCE: Final = 20.0
"""Seconds for a delivery on a busy machine."""

_SILENCE: Final = 0.5
"""Seconds without an acknowledgement that count as none."""


@dataclass
class Heard:
    """A worker that listens, and the change records that it got."""

    worker: WorkerId = field(default_factory=lambda: WorkerId(uuid4()))
    rows: list[tuple[str, ChangeRecord]] = field(default_factory=list)

    def __call__(self, epoch: str, rows: Sequence[ChangeRecord]) -> None:
        self.rows += [(epoch, row) for row in rows]

    def knows(self, rows: Sequence[ChangeRecord]) -> bool:
        return {(EPOCH, row) for row in rows} <= set(self.rows)


def rows(first: int, count: int = 1) -> tuple[ChangeRecord, ...]:
    """Change records about as many sessions."""
    return tuple(ChangeRecord(number, Change("session", str(uuid4()))) for number in range(first, first + count))


@asynccontextmanager
async def listening(*pairs: tuple[ChangeNotifier, Heard]) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for notifier, heard in pairs:
            await stack.enter_async_context(notifier.listen(heard.worker, heard))
        yield


async def arrives(notifier: ChangeNotifier, said: Sequence[ChangeRecord], *to: Heard) -> bool:
    """True if all acknowledge it in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            return await notifier.deliver(EPOCH, said, frozenset(heard.worker for heard in to))
    return False


async def gives_up(notifier: ChangeNotifier, said: Sequence[ChangeRecord], *to: Heard) -> None:
    """Assert that not all acknowledge it."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_SILENCE):
            assert not await notifier.deliver(EPOCH, said, frozenset(heard.worker for heard in to))


class ChangeNotifierContract(Contract):
    """The port `ChangeNotifier`. Override `connect`."""

    @pytest.fixture
    def connect(self) -> Callable[[], ChangeNotifier]:
        """Makes the notifier of one more worker of the same installation."""
        raise NotImplementedError("Override the fixture connect")

    async def test_true_is_said_when_every_worker_has_taken_the_rows(
        self, connect: Callable[[], ChangeNotifier]
    ) -> None:
        one, other, writer = connect(), connect(), connect()
        left, right, itself = Heard(), Heard(), Heard()
        async with listening((one, left), (other, right), (writer, itself)):
            for number in range(1, 40, 2):
                said = rows(number, 2)
                assert await arrives(writer, said, left, right)
                assert left.knows(said)
                assert right.knows(said)

    async def test_rows_come_in_the_order_in_which_they_were_delivered(
        self, connect: Callable[[], ChangeNotifier]
    ) -> None:
        one, writer, heard = connect(), connect(), Heard()
        async with listening((one, heard), (writer, Heard())):
            said = [rows(number)[0] for number in range(1, 50)]
            for row in said:
                assert await arrives(writer, [row], heard)
        assert list(dict.fromkeys(row for _, row in heard.rows)) == said

    async def test_a_delivery_to_no_worker_returns_at_once(self, connect: Callable[[], ChangeNotifier]) -> None:
        assert await connect().deliver(EPOCH, rows(1), frozenset())

    async def test_many_deliveries_at_once_do_not_answer_for_one_another(
        self, connect: Callable[[], ChangeNotifier]
    ) -> None:
        workers = [(connect(), Heard()) for _ in range(3)]
        async with listening(*workers):

            async def deliver(number: int) -> None:
                notifier, _ = workers[number % 3]
                others = [heard for _, heard in workers if heard is not workers[number % 3][1]]
                said = rows(3 * number, 3)
                assert await arrives(notifier, said, *others)
                assert all(heard.knows(said) for heard in others)

            await asyncio.gather(*(deliver(number) for number in range(1, 200)))

    async def test_one_that_does_not_listen_is_not_acknowledged_and_the_others_learn_all_the_same(
        self, connect: Callable[[], ChangeNotifier]
    ) -> None:
        one, writer, there, gone = connect(), connect(), Heard(), Heard()
        async with listening((one, there), (writer, Heard())):
            assert await arrives(writer, rows(1), there)
            said = rows(2)
            await gives_up(writer, said, there, gone)
            assert there.knows(said)

    async def test_one_that_no_longer_listens_gets_nothing(self, connect: Callable[[], ChangeNotifier]) -> None:
        one, writer, heard = connect(), connect(), Heard()
        async with listening((writer, Heard())):
            async with listening((one, heard)):
                assert await arrives(writer, rows(1), heard)
            before = list(heard.rows)
            await gives_up(writer, rows(2), heard)
            assert heard.rows == before

    async def test_giving_up_leaves_the_way_as_it_was(self, connect: Callable[[], ChangeNotifier]) -> None:
        one, writer, heard = connect(), connect(), Heard()
        async with listening((one, heard), (writer, Heard())):
            for number in range(1, 30):
                delivery = asyncio.create_task(writer.deliver(EPOCH, rows(number), frozenset({heard.worker})))
                await asyncio.sleep(random.uniform(0, 0.01))  # noqa: S311 - no secret
                delivery.cancel()
                await asyncio.gather(delivery, return_exceptions=True)
            assert await arrives(writer, rows(100), heard)
