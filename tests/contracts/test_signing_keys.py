"""What a store promises about signing keys."""

import asyncio

import pytest

from tests.contracts.kit import HOUR, NOON, new_key, put, race, seen
from tests.support.values import replace
from ubr.application.ports.keys import KeyDates
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.actor import SYSTEM

pytestmark = pytest.mark.anyio


async def test_there_are_none_at_first(uow: UnitOfWork) -> None:
    assert list(await seen(uow, lambda tx: tx.signing_keys.all())) == []


async def test_keys_come_back_as_they_were_newest_first(uow: UnitOfWork) -> None:
    keys = [new_key("b", created=NOON), new_key("a", created=NOON + HOUR), new_key("c", created=NOON - HOUR)]
    await put(uow, *keys)
    for unit in (uow.begin(SYSTEM), uow.read()):
        async with unit as tx:
            assert list(await tx.signing_keys.all()) == [keys[1], keys[0], keys[2]]


async def test_the_dates_of_keys_need_no_key(uow: UnitOfWork) -> None:
    revoked = replace(new_key("b", created=NOON), revoked_at=NOON + HOUR)
    await put(uow, revoked, new_key("a", created=NOON + HOUR))
    for unit in (uow.begin(SYSTEM), uow.read()):
        async with unit as tx:
            assert list(await tx.signing_keys.dates()) == [
                KeyDates("a", NOON + HOUR, None),
                KeyDates("b", NOON, NOON + HOUR),
            ]


async def test_a_key_changes(uow: UnitOfWork) -> None:
    await put(uow, key := new_key("a"), other := new_key("b", created=NOON - HOUR))
    changed = replace(
        key, private=b"anew", signs_from=NOON + HOUR, retired_at=NOON + 2 * HOUR, revoked_at=NOON + 3 * HOUR
    )
    for state in (changed, key):
        async with uow.begin(SYSTEM) as tx:
            assert {each.kid for each in await tx.signing_keys.all_to_change()} == {"a", "b"}
            await tx.signing_keys.save(state)
            await tx.commit()
        assert list(await seen(uow, lambda tx: tx.signing_keys.all())) == [state, other]


async def test_a_key_that_is_not_there_is_not_made_by_saving_it(uow: UnitOfWork) -> None:
    async with uow.begin(SYSTEM) as tx:
        await tx.signing_keys.save(new_key("a"))
        await tx.commit()
    assert list(await seen(uow, lambda tx: tx.signing_keys.all())) == []


async def test_one_of_many_units_creates_the_first_key(uow: UnitOfWork) -> None:
    """Also where there is no row that could be locked."""

    async def make(kid: str) -> bool:
        async with uow.begin(SYSTEM) as tx:
            if await tx.signing_keys.all_to_change():
                return False
            await asyncio.sleep(0)
            await tx.signing_keys.add(new_key(kid))
            await tx.commit()
            return True

    assert sorted(map(str, await race(make(f"k{number}") for number in range(5)))) == ["False"] * 4 + ["True"]


async def test_readers_of_keys_do_not_wait_for_writers(uow: UnitOfWork) -> None:
    await put(uow, key := new_key("a"))
    async with uow.begin(SYSTEM) as tx:
        await tx.signing_keys.all_to_change()
        assert list(await seen(uow, lambda tx: tx.signing_keys.all())) == [key]


async def test_a_key_that_was_rolled_back_is_not_there(uow: UnitOfWork) -> None:
    await put(uow, kept := new_key("kept"))
    async with uow.begin(SYSTEM) as tx:
        await tx.signing_keys.add(new_key("gone", created=NOON + HOUR))
        assert len(await tx.signing_keys.all()) == 2
    assert list(await seen(uow, lambda tx: tx.signing_keys.all())) == [kept]


async def test_keys_added_at_once_are_all_there(uow: UnitOfWork) -> None:
    assert await race(put(uow, new_key(f"k{number}")) for number in range(10)) == [None] * 10
    assert {key.kid for key in await seen(uow, lambda tx: tx.signing_keys.all())} == {f"k{n}" for n in range(10)}
