"""What a store promises about leases: one holder at a time, until their end."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from tests.contracts.kit import MovableClock, race
from ubr.application.ports.revocation import WorkerId
from ubr.application.ports.unit_of_work import UnitOfWork

pytestmark = pytest.mark.anyio

A, B = WorkerId(uuid4()), WorkerId(uuid4())
LASTS = timedelta(seconds=8)


async def take(uow: UnitOfWork, holder: WorkerId, name: str = "jobs") -> bool:
    async with uow.begin(None) as tx:
        taken = await tx.leases.take(name, holder, LASTS)
        await tx.commit()
    return taken


async def holder(uow: UnitOfWork, name: str = "jobs") -> WorkerId | None:
    async with uow.peek() as repositories:
        return await repositories.leases.holder(name, LASTS)


async def give_back(uow: UnitOfWork, whose: WorkerId) -> None:
    async with uow.autocommit() as repositories:
        await repositories.leases.give_back("jobs", whose)


async def test_a_lease_has_one_holder_until_its_end(uow: UnitOfWork, clock: MovableClock) -> None:
    assert await holder(uow) is None
    assert [await take(uow, A), await take(uow, B)] == [True, False]
    assert await holder(uow) == A
    clock.move(LASTS - timedelta(microseconds=1))
    assert not await take(uow, B)
    clock.move(timedelta(microseconds=1))
    assert await holder(uow) is None
    assert [await take(uow, B), await take(uow, A)] == [True, False]
    assert await holder(uow) == B


async def test_a_holder_extends_a_lease_from_now_on(uow: UnitOfWork, clock: MovableClock) -> None:
    assert await take(uow, A)
    clock.move(LASTS / 2)
    assert await take(uow, A)
    clock.move(LASTS / 2)
    assert not await take(uow, B)
    clock.move(LASTS / 2)
    assert await take(uow, B)


async def test_a_lease_that_was_given_back_is_free_at_once(uow: UnitOfWork) -> None:
    assert await take(uow, A)
    await give_back(uow, B)
    assert await holder(uow) == A
    await give_back(uow, A)
    await give_back(uow, A)
    assert await holder(uow) is None
    assert await take(uow, B)


async def test_each_name_has_a_holder_of_its_own(uow: UnitOfWork) -> None:
    assert [await take(uow, A), await take(uow, B, "others")] == [True, True]
    assert [await holder(uow), await holder(uow, "others")] == [A, B]


async def test_a_lease_from_before_the_clock_was_set_back_is_over(uow: UnitOfWork, clock: MovableClock) -> None:
    assert await take(uow, A)
    clock.move(-LASTS)
    assert not await take(uow, B)
    clock.move(timedelta(microseconds=-1))
    assert await holder(uow) is None
    assert await take(uow, B)


async def test_of_many_who_take_it_at_once_one_has_it(uow: UnitOfWork) -> None:
    everyone = [WorkerId(uuid4()) for _ in range(8)]
    taken = await race(take(uow, each) for each in everyone)
    assert (taken.count(True), taken.count(False)) == (1, 7)


async def test_a_unit_that_is_not_committed_takes_nothing(uow: UnitOfWork) -> None:
    async with uow.begin(None) as tx:
        assert await tx.leases.take("jobs", A, LASTS)
    assert await holder(uow) is None
