"""What a store promises about tries of passwords, and about the clients that people logged in from."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from tests.contracts.kit import HOUR, NOON, MovableClock, new_user, put, race, seen
from ubr.application.ports.protection import Exhausted, FailedAttempts, Quota, Reservation
from ubr.application.ports.unit_of_work import Transaction, UnitOfWork
from ubr.domain.errors import UserNotFound

pytestmark = pytest.mark.anyio

QUOTA = Quota(limit=3, per=timedelta(minutes=1))
MINUTE = timedelta(minutes=1)
A, B = b"\x00a" * 16, b"\xffb" * 16


async def take(uow: UnitOfWork, bucket: bytes = A, quota: Quota = QUOTA) -> Reservation | Exhausted:
    async with uow.begin(None) as tx:
        taken = await tx.password_attempts.take(bucket, quota)
        await tx.commit()
    return taken


async def reservation(uow: UnitOfWork, bucket: bytes = A) -> Reservation:
    taken = await take(uow, bucket)
    assert isinstance(taken, Reservation)
    return taken


async def give_back(uow: UnitOfWork, *slots: Reservation) -> None:
    async with uow.begin(None) as tx:
        for each in slots:
            await tx.password_attempts.give_back(each, passed=True)
        await tx.commit()


async def fail(uow: UnitOfWork, *slots: Reservation) -> list[int]:
    async with uow.begin(None) as tx:
        counts = [await tx.password_attempts.fail(each) for each in slots]
        await tx.commit()
    return counts


async def free(uow: UnitOfWork, bucket: bytes = A) -> int:
    """How many slots are free, found out in a unit that leaves no trace."""
    async with uow.begin(None) as tx:
        for number in range(10):
            if isinstance(await tx.password_attempts.take(bucket, QUOTA), Exhausted):
                return number
    raise AssertionError


async def test_there_are_as_many_slots_as_the_quota_has_and_each_bucket_has_its_own(uow: UnitOfWork) -> None:
    taken = [await take(uow) for _ in range(4)]
    assert taken == [Reservation(A, NOON)] * 3 + [Exhausted(wait=MINUTE, all_failed=False, passed=0)]
    assert await free(uow, B) == 3


async def test_cleared_buckets_are_as_good_as_new_and_take_nothing_back(uow: UnitOfWork) -> None:
    under_way, failed = await reservation(uow), await reservation(uow)
    await fail(uow, failed)
    await reservation(uow, B)
    async with uow.begin(None) as tx:
        await tx.password_attempts.clear({A, b"unknown" * 4})
        await tx.commit()
    assert (await free(uow), await free(uow, B)) == (3, 2)
    await give_back(uow, under_way)
    assert await free(uow) == 3


async def test_a_window_begins_with_the_first_slot_and_is_over_for_all_at_once(
    uow: UnitOfWork, clock: MovableClock
) -> None:
    await reservation(uow)
    clock.move(timedelta(seconds=59))
    await reservation(uow)
    await reservation(uow)
    clock.move(timedelta(microseconds=999_999))
    assert await take(uow) == Exhausted(wait=timedelta(microseconds=1), all_failed=False, passed=0)
    clock.move(timedelta(microseconds=1))
    assert await take(uow) == Reservation(A, NOON + MINUTE)
    assert await free(uow) == 2


async def test_a_slot_given_back_is_free_and_a_failure_never_is(uow: UnitOfWork) -> None:
    first, second, third = [await reservation(uow) for _ in range(3)]
    await fail(uow, first)
    await give_back(uow, second)
    assert await free(uow) == 1
    await reservation(uow)
    assert await take(uow) == Exhausted(wait=MINUTE, all_failed=False, passed=1)
    await fail(uow, second, third)
    assert await take(uow) == Exhausted(wait=MINUTE, all_failed=True, passed=1)
    # Neither more failures than slots nor fewer slots than failures, whatever is said twice.
    await fail(uow, third)
    await give_back(uow, third)
    assert await take(uow) == Exhausted(wait=MINUTE, all_failed=True, passed=1)


async def test_failures_are_counted_within_their_window(uow: UnitOfWork, clock: MovableClock) -> None:
    slots = [await reservation(uow) for _ in range(3)]
    await reservation(uow, B)
    assert await fail(uow, *slots) == [1, 2, 3]
    assert await fail(uow, slots[0], Reservation(b"unknown" * 4, NOON)) == [0, 0], "nothing is recorded"
    clock.move(MINUTE)
    later = await reservation(uow)
    assert await fail(uow, slots[0], later) == [0, 1]


async def test_failures_are_read_without_a_change(uow: UnitOfWork, clock: MovableClock) -> None:
    async def read(bucket: bytes = A) -> FailedAttempts | None:
        in_unit = await seen(uow, lambda tx: tx.password_attempts.failed(bucket, QUOTA))
        async with uow.peek() as tx:
            assert await tx.password_attempts.failed(bucket, QUOTA) == in_unit
        return in_unit

    assert await read() is None
    slots = [await reservation(uow) for _ in range(2)]
    assert await read() == FailedAttempts(count=0, until=NOON + MINUTE)
    await fail(uow, *slots)
    assert await read() == FailedAttempts(count=2, until=NOON + MINUTE)
    assert await read(B) is None
    assert await free(uow) == 1
    clock.move(MINUTE - timedelta(microseconds=1))
    assert await read() == FailedAttempts(count=2, until=NOON + MINUTE)
    clock.move(timedelta(microseconds=1))
    assert await read() is None, "the window is over"
    clock.move(-2 * MINUTE)
    assert await read() == FailedAttempts(count=2, until=NOON + MINUTE)
    clock.move(-timedelta(microseconds=1))
    assert await read() is None, "it dates from before the clock was set back"


async def test_a_window_without_reservations_starts_again(uow: UnitOfWork, clock: MovableClock) -> None:
    await give_back(uow, await reservation(uow))
    clock.move(timedelta(seconds=30))
    assert await take(uow) == Reservation(A, NOON + timedelta(seconds=30))


async def test_a_late_return_is_not_credited_to_the_next_window(uow: UnitOfWork, clock: MovableClock) -> None:
    late = [await reservation(uow) for _ in range(3)]
    clock.move(MINUTE)
    await reservation(uow)
    await give_back(uow, *late)
    await fail(uow, *late)
    assert await free(uow) == 2
    await give_back(uow, Reservation(B, NOON))
    assert await free(uow, B) == 3


async def test_a_clock_that_was_set_back_locks_no_user_out_for_long(uow: UnitOfWork, clock: MovableClock) -> None:
    for _ in range(3):
        await reservation(uow)
    clock.move(-timedelta(seconds=30))
    assert isinstance(await take(uow), Exhausted)
    clock.move(-timedelta(seconds=31))
    assert isinstance(await take(uow), Reservation)


async def test_a_rolled_back_attempt_is_not_counted(uow: UnitOfWork) -> None:
    async with uow.begin(None) as tx:
        for _ in range(3):
            await tx.password_attempts.take(A, QUOTA)
    assert await free(uow) == 3
    taken = await reservation(uow)
    async with uow.begin(None) as tx:
        await tx.password_attempts.give_back(taken, passed=True)
    assert await free(uow) == 2


async def test_exactly_the_quota_of_concurrent_calls_gets_a_reservation(uow: UnitOfWork) -> None:
    quota = Quota(limit=10, per=MINUTE)
    taken = await race(take(uow, A, quota) for _ in range(40))
    assert sum(isinstance(each, Reservation) for each in taken) == 10
    assert sum(isinstance(each, Exhausted) for each in taken) == 30


async def test_takers_and_givers_at_once_lose_nothing(uow: UnitOfWork) -> None:
    async def borrow() -> None:
        for _ in range(5):
            if isinstance(taken := await take(uow), Reservation):
                await give_back(uow, taken)

    await asyncio.gather(*(borrow() for _ in range(8)))
    assert await free(uow) == 3


async def test_windows_that_are_over_are_forgotten(uow: UnitOfWork, clock: MovableClock) -> None:
    for bucket in (A, B):
        await reservation(uow, bucket)
    clock.move(timedelta(seconds=1))
    kept = [await reservation(uow, b"c") for _ in range(3)]
    async with uow.begin(None) as tx:
        assert await tx.password_attempts.forget(NOON, 10) == 0
        assert [await tx.password_attempts.forget(tx.now, 1) for _ in range(3)] == [1, 1, 0]
        await tx.commit()
    assert (await free(uow), await free(uow, B), await free(uow, b"c")) == (3, 3, 0)
    await give_back(uow, kept[0])
    assert await free(uow, b"c") == 1


# --- known clients ---------------------------------------------------------------------------------------------------


async def test_a_client_is_known_to_the_account_it_signed_in_to(uow: UnitOfWork) -> None:
    one, other = new_user("one"), new_user("other")
    await put(uow, one, other)
    async with uow.begin(None) as tx:
        await tx.known_clients.see(one.id, A, NOON)
        await tx.known_clients.see(one.id, B, NOON)
        await tx.known_clients.see(one.id, A, NOON + HOUR)
        await tx.commit()
    assert await seen(uow, lambda tx: tx.known_clients.absence(one.email, A)) == -HOUR
    assert await seen(uow, lambda tx: tx.known_clients.absence(one.email, B)) == timedelta(0)
    assert await seen(uow, lambda tx: tx.known_clients.absence(other.email, A)) is None
    assert await seen(uow, lambda tx: tx.known_clients.absence(new_user("nobody").email, A)) is None


async def test_clients_go_with_their_user_and_with_time(uow: UnitOfWork) -> None:
    gone, stays = new_user("gone"), new_user("stays")
    await put(uow, gone, stays)
    async with uow.begin(None) as tx:
        for user in (gone, stays):
            await tx.known_clients.see(user.id, A, NOON)
        await tx.known_clients.see(stays.id, B, NOON - HOUR)
        await tx.users.remove(gone)
        await tx.commit()

    async def forget(tx: Transaction) -> list[int]:
        return [await tx.known_clients.forget(NOON, 1) for _ in range(2)]

    async with uow.begin(None) as tx:
        assert await forget(tx) == [1, 0]
        await tx.commit()
    await put(uow, again := new_user("gone"))
    assert await seen(uow, lambda tx: tx.known_clients.absence(again.email, A)) is None
    assert await seen(uow, lambda tx: tx.known_clients.absence(stays.email, A)) == timedelta(0)
    assert await seen(uow, lambda tx: tx.known_clients.absence(stays.email, B)) is None


async def test_a_client_of_nobody_is_refused(uow: UnitOfWork) -> None:
    async with uow.begin(None) as tx:
        with pytest.raises(UserNotFound):
            await tx.known_clients.see(new_user().id, A, NOON)
