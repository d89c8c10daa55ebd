"""What a verifier acknowledges to one worker releases the one that waits: with Redis any, without it the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest

from ubr.adapters.redis import Envelope, RedisChangeNotifier, RedisClient
from ubr.adapters.security.secrets import HmacSigner, SecretKeys
from ubr.application.ports.revocation import ChangeNotifier, WorkerId
from ubr.application.revocation.propagation import PollingOnly
from ubr.domain.revocation.changes import Change, ChangeRecord

EPOCH = "epoch 1"
PATIENCE = 20.0

Workers = tuple[ChangeNotifier, ChangeNotifier]
"""The one that writes, and the one that the verifier speaks to."""


def new_id() -> WorkerId:
    return WorkerId(uuid4())


def rows(*numbers: int) -> tuple[ChangeRecord, ...]:
    return tuple(ChangeRecord(number, Change("session", str(uuid4()))) for number in numbers)


def nothing(epoch: str, said: Sequence[ChangeRecord]) -> None:
    """A view."""


@pytest.fixture(params=["redis", "without"])
async def workers(request: pytest.FixtureRequest, redis_prefix: str) -> AsyncIterator[Workers]:
    if request.param == "without":
        alone = PollingOnly()
        yield alone, alone
        return
    url, name_space = request.getfixturevalue("redis_url"), f"{redis_prefix}{uuid4().hex}:"
    async with AsyncExitStack() as stack:

        async def worker() -> tuple[ChangeNotifier, WorkerId]:
            link = RedisClient(url, name_space=name_space, deadline=30)
            stack.push_async_callback(link.close)
            notifier, id = RedisChangeNotifier(link, Envelope(HmacSigner(SecretKeys([b"k" * 32])))), new_id()
            await stack.enter_async_context(notifier.listen(id, nothing))
            return notifier, id

        (writer, own), (other, its) = await worker(), await worker()
        async with asyncio.timeout(PATIENCE):  # until both listen
            await writer.deliver(EPOCH, rows(1), frozenset({own, its}))
        yield writer, other


async def delivered(writer: ChangeNotifier, said: Sequence[ChangeRecord], *to: WorkerId) -> bool:
    async with asyncio.timeout(PATIENCE):
        return await writer.deliver(EPOCH, said, frozenset(to))


async def still_waits(task: asyncio.Task[bool]) -> bool:
    done, _ = await asyncio.wait([task], timeout=0.5)
    return not done


@pytest.mark.parametrize("known_before", [True, False])
async def test_it_counts_whether_it_comes_before_or_after(workers: Workers, known_before: bool) -> None:
    writer, other = workers
    verifier = new_id()
    if known_before:
        await other.acknowledge(verifier, EPOCH, 1)
    for number in range(2, 20, 2):
        said = rows(number, number + 1)
        if number % 4:
            await other.acknowledge(verifier, EPOCH, number + 1)
            assert await delivered(writer, said, verifier)
        else:
            delivery = asyncio.create_task(delivered(writer, said, verifier))
            await asyncio.sleep(0.02)
            assert not delivery.done()
            await other.acknowledge(verifier, EPOCH, number + 1)
            assert await delivery


async def test_a_delivery_ends_without_being_asked_for_again(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ubr.adapters.redis.change_notifier._AGAIN", 2 * PATIENCE)
    writer, other = workers
    verifier = new_id()
    await other.acknowledge(verifier, EPOCH, 1)
    for number in range(2, 12):
        delivery = asyncio.create_task(delivered(writer, rows(number), verifier))
        await asyncio.sleep(0.02)
        await other.acknowledge(verifier, EPOCH, number)
        assert await delivery


@pytest.mark.parametrize("said", [(EPOCH, 6), ("epoch 2", 7), ("", 7)])
async def test_what_is_less_does_not_count(workers: Workers, said: tuple[str, int]) -> None:
    writer, other = workers
    verifier, another = new_id(), new_id()
    delivery = asyncio.create_task(delivered(writer, rows(6, 7), verifier))
    await other.acknowledge(verifier, *said)
    await other.acknowledge(another, EPOCH, 7)
    assert await still_waits(delivery)
    await other.acknowledge(verifier, EPOCH, 7)
    assert await delivery


async def test_all_are_waited_for(workers: Workers) -> None:
    writer, other = workers
    verifiers = [new_id() for _ in range(3)]
    delivery = asyncio.create_task(delivered(writer, rows(5), *verifiers))
    for verifier in verifiers:
        assert not delivery.done()
        await other.acknowledge(verifier, EPOCH, 9)
    assert await delivery


async def test_the_memory_for_acknowledgements_is_bounded(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    for home in ("ubr.adapters.redis.change_notifier._VERIFIERS", "ubr.application.revocation.propagation._REMEMBERED"):
        monkeypatch.setattr(home, 3)
    writer, other = workers
    verifiers = [new_id() for _ in range(5)]
    for verifier in verifiers:
        await other.acknowledge(verifier, EPOCH, 9)
    for verifier in verifiers[2:]:
        assert await delivered(writer, rows(9), verifier)
    delivery = asyncio.create_task(delivered(writer, rows(9), verifiers[0]))
    assert await still_waits(delivery)
    await other.acknowledge(verifiers[0], EPOCH, 9)
    assert await delivery
