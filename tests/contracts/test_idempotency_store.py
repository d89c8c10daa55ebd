"""What a store promises about answers that are kept for calls with a key."""

import asyncio
import secrets
from datetime import datetime

import pytest

from tests.contracts.kit import HOUR, NOON, MovableClock, new_user, put, race, seen, something_happened
from tests.support.values import replace
from ubr.application.ports.audit import LogFilter
from ubr.application.ports.idempotency import IdempotencyRecord
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.accounts.user import User
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import TransactionConflict

pytestmark = pytest.mark.anyio

DAY = 24 * HOUR


def new_replay(
    *, actor: User | None = None, made: User | None = None, digest: bytes | None = None, until: datetime = NOON + DAY
) -> IdempotencyRecord:
    return IdempotencyRecord(
        digest=digest or secrets.token_bytes(32),
        fingerprint=secrets.token_bytes(32),
        actor_id=None if actor is None else actor.id,
        user_id=None if made is None else made.id,
        result=b'{"id": "\xc3\xa9"}',
        expires_at=until,
    )


async def do(uow: UnitOfWork, replay: IdempotencyRecord) -> IdempotencyRecord | None:
    """Take its digest and keep it, unless somebody was answered before."""
    async with uow.begin(SYSTEM) as tx:
        before = await tx.idempotency.claim(replay.digest, tx.now)
        if before is None:
            await tx.idempotency.keep(replay)
            tx.record(something_happened())
            await tx.commit()
        return before


async def found(uow: UnitOfWork, replay: IdempotencyRecord) -> IdempotencyRecord | None:
    return await seen(uow, lambda tx: tx.idempotency.find(replay.digest, tx.now))


async def test_what_nobody_has_done_is_not_found_and_can_be_taken(uow: UnitOfWork) -> None:
    replay = new_replay()
    assert await found(uow, replay) is None
    async with uow.begin(SYSTEM) as tx:
        assert await tx.idempotency.find(replay.digest, tx.now) is None
        assert await tx.idempotency.claim(replay.digest, tx.now) is None


async def test_an_answer_comes_back_as_it_was_to_all_who_come_later(uow: UnitOfWork) -> None:
    actor, made = new_user(), new_user()
    await put(uow, actor, made)
    replay = new_replay(actor=actor, made=made)
    assert await do(uow, replay) is None
    assert await found(uow, replay) == replay
    for _ in range(2):
        assert await do(uow, new_replay(digest=replay.digest)) == replay
    assert await found(uow, replay) == replay
    assert await do(uow, new_replay()) is None


async def test_a_roll_back_leaves_it_to_the_next(uow: UnitOfWork) -> None:
    replay = new_replay()
    async with uow.begin(SYSTEM) as tx:
        assert await tx.idempotency.claim(replay.digest, tx.now) is None
        await tx.idempotency.keep(replay)
    assert await found(uow, replay) is None
    second = new_replay(digest=replay.digest)
    assert await do(uow, second) is None
    assert await found(uow, second) == second


async def test_what_was_taken_and_not_answered_is_as_if_it_had_not_been(uow: UnitOfWork) -> None:
    replay = new_replay()
    async with uow.begin(SYSTEM) as tx:
        await tx.idempotency.claim(replay.digest, tx.now)
        await tx.commit()
    assert await found(uow, replay) is None
    assert await do(uow, replay) is None
    assert await found(uow, replay) == replay


async def test_an_expired_record_is_replaced(uow: UnitOfWork, clock: MovableClock) -> None:
    first = new_replay(until=NOON + DAY)
    await do(uow, first)
    clock.move(DAY - HOUR / 3600)
    assert await do(uow, new_replay(digest=first.digest)) == first
    clock.move(HOUR / 3600)
    assert await found(uow, first) is None
    second = new_replay(digest=first.digest, until=clock.now + DAY)
    assert await do(uow, second) is None
    assert await found(uow, second) == second


@pytest.mark.parametrize("who", ["the actor", "who was made"])
async def test_it_goes_with_the_actor_and_with_who_was_made(uow: UnitOfWork, who: str) -> None:
    actor, made = new_user(), new_user()
    await put(uow, actor, made)
    replay, other = new_replay(actor=actor, made=made), new_replay()
    await do(uow, replay)
    await do(uow, other)
    async with uow.begin(SYSTEM) as tx:
        await tx.users.remove(actor if who == "the actor" else made)
        await tx.commit()
    assert await found(uow, replay) is None
    assert await found(uow, other) == other
    assert await do(uow, new_replay(digest=replay.digest)) is None


@pytest.mark.parametrize("who", ["the actor", "who was made"])
async def test_nothing_is_kept_for_who_is_gone(uow: UnitOfWork, who: str) -> None:
    gone = new_user()
    replay = new_replay(actor=gone) if who == "the actor" else new_replay(made=gone)
    with pytest.raises(TransactionConflict):
        await do(uow, replay)
    assert await found(uow, replay) is None


async def test_expired_records_are_deleted_in_batches(uow: UnitOfWork) -> None:
    kept, *old = new_replay(until=NOON), *(new_replay(until=NOON - HOUR) for _ in range(3))
    for replay in (kept, *old):
        await do(uow, replay)
    for expected in (2, 1, 0):
        async with uow.begin(SYSTEM) as tx:
            assert await tx.idempotency.forget(NOON, 2) == expected
            await tx.commit()
    before = NOON - 2 * HOUR
    async with uow.read() as tx:
        assert [await tx.idempotency.find(replay.digest, before) for replay in (kept, *old)] == [kept, None, None, None]


async def test_one_of_many_concurrent_calls_runs_and_the_others_get_its_answer(uow: UnitOfWork) -> None:
    replays = [new_replay(digest=bytes(32)) for _ in range(20)]
    outcomes = await race(do(uow, replay) for replay in replays)
    [winner] = [replay for replay, before in zip(replays, outcomes, strict=True) if before is None]
    assert outcomes.count(winner) == 19
    assert len(await seen(uow, lambda tx: tx.logs.page(LogFilter(), None, 100))) == 1


async def test_a_waiting_call_runs_if_the_first_is_rolled_back(uow: UnitOfWork) -> None:
    first, second = new_replay(), new_replay()
    taken = asyncio.Event()

    async def fail() -> None:
        async with uow.begin(SYSTEM) as tx:
            await tx.idempotency.claim(first.digest, tx.now)
            await tx.idempotency.keep(first)
            taken.set()
            await asyncio.sleep(0.05)  # Whoever waits by now is waiting for this unit, or will not be waiting at all.

    async def follow() -> IdempotencyRecord | None:
        await taken.wait()
        return await do(uow, new_replay(digest=first.digest))

    assert await race([fail(), follow(), do(uow, second)]) == [None, None, None]
    assert await found(uow, first) not in {None, first}


async def test_taking_over_deleting_and_removing_at_once_end_well(uow: UnitOfWork, clock: MovableClock) -> None:
    """What was taken over is not deleted for having expired before, and nobody waits in a circle."""

    async def tidy() -> str:
        async with uow.begin(SYSTEM) as tx:
            await tx.idempotency.forget(tx.now, 5)
            await tx.commit()
            return "tidied"

    async def remove(user: User) -> str:
        async with uow.begin(SYSTEM) as tx:
            await tx.users.remove(user)
            await tx.commit()
            return "removed"

    for _ in range(2):
        actor, made = new_user(created=clock.now), new_user(created=clock.now)
        await put(uow, actor, made)
        old = [new_replay(actor=actor, made=made, until=clock.now + HOUR) for _ in range(10)]
        for replay in old:
            await do(uow, replay)
        clock.move(2 * HOUR)
        fresh = [new_replay(digest=replay.digest, until=clock.now + DAY) for replay in old]
        outcomes = await race([*(do(uow, replay) for replay in fresh[:5]), tidy(), remove(made), tidy()])
        outcomes += await race(do(uow, replay) for replay in fresh[5:])
        assert set(outcomes) <= {None, "tidied", "removed"}, outcomes
        assert [await found(uow, replay) for replay in fresh] == fresh


async def test_the_actor_who_is_removed_meanwhile_leaves_no_answer(uow: UnitOfWork) -> None:
    for _ in range(2):
        actor = new_user()
        await put(uow, actor)
        replay = new_replay(actor=actor, made=None)

        async def remove(user: User = actor) -> IdempotencyRecord | None:
            async with uow.begin(SYSTEM) as tx:
                await tx.users.remove(user)
                await tx.commit()
                return None

        outcomes = await race([do(uow, replay), remove()])
        assert all(outcome is None or isinstance(outcome, TransactionConflict) for outcome in outcomes), outcomes
        assert await found(uow, replay) is None


async def test_other_requests_are_counted_until_the_result_is_erased(uow: UnitOfWork) -> None:
    made = new_user()
    await put(uow, made)
    replay, other = new_replay(made=made), new_replay()
    await do(uow, replay)
    await do(uow, other)

    async def mismatched(digest: bytes) -> int:
        async with uow.begin(SYSTEM) as tx:
            count = await tx.idempotency.mismatched(digest, 3)
            await tx.commit()
            return count

    assert [await mismatched(replay.digest) for _ in range(2)] == [1, 2]
    assert await found(uow, replay) == replace(replay, mismatches=2)
    assert [await mismatched(replay.digest) for _ in range(2)] == [3, 0]
    erased = replace(replay, mismatches=3, fingerprint=b"", result=b"")
    assert await found(uow, replay) == erased
    assert await do(uow, new_replay(digest=replay.digest)) == erased, "it stays claimed"
    assert await mismatched(secrets.token_bytes(32)) == 0
    assert await found(uow, other) == other

    # A later call with the digest begins anew.
    async with uow.begin(SYSTEM) as tx:
        assert await tx.idempotency.claim(replay.digest, replay.expires_at) is None
        await tx.idempotency.keep(replace(replay, expires_at=replay.expires_at + DAY))
        await tx.commit()
    assert await mismatched(replay.digest) == 1


async def test_a_result_found_in_a_writing_unit_is_locked(uow: UnitOfWork) -> None:
    replay = new_replay()
    await do(uow, replay)
    counts = []

    async def count() -> None:
        async with uow.begin(SYSTEM) as tx:
            result = await tx.idempotency.find(replay.digest, tx.now)
            assert result is not None
            await asyncio.sleep(0.01)  # all others come to wait: in the database, where nobody can tell
            counts.append((result.mismatches, await tx.idempotency.mismatched(replay.digest, 9)))
            await tx.commit()

    await asyncio.gather(*(count() for _ in range(4)))
    assert counts == [(0, 1), (1, 2), (2, 3), (3, 4)]
