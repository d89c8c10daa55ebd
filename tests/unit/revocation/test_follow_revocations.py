"""What a verifier is told, that it is waited for, and that holding its call costs nobody anything."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Hashable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from msgspec import UNSET

from tests.support.feeds import PassedOn
from tests.support.people import Member, World, new_world
from tests.support.values import replace
from ubr.adapters.memory import MemoryChangeFeed
from ubr.application.accounts.list_users import ListUsersCommand
from ubr.application.kernel.representations import TokensResult
from ubr.application.ports.revocation import WorkerId
from ubr.application.revocation.follow_revocations import FollowRevocationsCommand, RevocationsResult
from ubr.application.revocation.stop_following_revocations import StopFollowingRevocationsCommand
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import Invalid, RateLimited
from ubr.settings import Limit, LoginRateLimit, RateLimit
from ubr.testing.memory import TINY_HASHING

SHORT, LONG = 0.2, 30.0
"""The bound for tests that wait until it is over, and for those in which nobody has to."""
ME = UUID("01926e5c-7b0e-4f3a-9c55-0d2f6f1c8a10")


def bound(seconds: float) -> dict[str, Any]:
    return {"revocation_bound": timedelta(seconds=seconds), "revocation_poll": timedelta(seconds=seconds / 4)}


@pytest.fixture
async def short() -> AsyncIterator[World]:
    async with new_world(**bound(SHORT)) as made:
        yield made


@pytest.fixture
async def long() -> AsyncIterator[World]:
    async with new_world(**bound(LONG)) as made:
        yield made


async def follow(world: World, told: RevocationsResult | None = None, *, actor: Any = SYSTEM, **more: Any) -> Any:
    """The first call, or the one after an answer."""
    if told is not None:
        more = {"since": told.number, "epoch": told.epoch, **more}
    return await world.ubr.follow_revocations(FollowRevocationsCommand(verifier=ME, **more), actor=actor)


def feed_of(world: World) -> MemoryChangeFeed:
    feed = world.ubr.follow_revocations.feed
    assert isinstance(feed, MemoryChangeFeed)
    return feed


async def test_first_it_is_told_where_the_feed_stands(world: World) -> None:
    member = await world.user()
    await world.ubr.log_out(actor=member.actor)
    told = await follow(world)
    assert (told.number, told.rows, told.fresh_for_ms) == (len(feed_of(world).store.feed), [], 1000)
    assert (await follow(world, told)).rows == []


async def test_then_what_came_after(short: World) -> None:
    told = await follow(short)
    member = await short.user("users:read")
    await asyncio.gather(short.ubr.log_out(actor=member.actor), follow(short, told, wait=300))
    after = await follow(short, told)
    assert [row.number for row in after.rows] == list(range(told.number + 1, after.number + 1))
    assert (after.rows[-1].kind, after.rows[-1].id) == ("session", str(member.actor.session_id))
    assert {(row.kind, row.id) for row in after.rows} >= {("user", str(member.id))}


@pytest.mark.parametrize("epoch", [None, "0123456789abcdef"])
async def test_the_epoch_decides_whether_a_number_means_anything(short: World, epoch: str | None) -> None:
    told = await follow(short)
    await short.user("users:read")
    after = await follow(short, told, epoch=epoch)
    assert after.epoch == told.epoch
    assert bool(after.rows) == (epoch is None)


async def test_an_answer_repeats_the_nonce_of_its_question_and_has_none_without(world: World) -> None:
    told = await follow(world)
    assert told.nonce is UNSET
    assert b"nonce" not in msgspec.json.encode(told)
    for nonce in ("a", "A-_9" * 16):
        assert (await follow(world, told, nonce=nonce)).nonce == nonce
        assert (await follow(world, nonce=nonce)).nonce == nonce
    for wrong in ("", "a" * 65, "a b", "é", "a\n"):
        with pytest.raises(Invalid) as failure:
            await follow(world, told, nonce=wrong)
        assert [flaw.pointer for flaw in failure.value.flaws] == ["/nonce"]


@pytest.mark.parametrize("wrong", [{"since": -1}, {"since": 2**63}, {"wait": -1}, {"wait": 301}], ids=str)
async def test_numbers_have_bounds(world: World, wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        await follow(world, **wrong)


# --- holding ---------------------------------------------------------------------------------------------------------


async def test_it_is_held_while_there_is_nothing_and_no_longer(world: World) -> None:
    told = await follow(world)
    began = time.monotonic()
    await follow(world, told, wait=200)
    assert time.monotonic() - began > 0.19
    took = 0.3
    for _ in range(20):  # on a machine that is busy otherwise, time may pass by itself
        member = await world.user()
        told = await follow(world)
        began = time.monotonic()
        held = asyncio.create_task(follow(world, told, wait=300))
        await asyncio.sleep(0.02)
        ending = asyncio.create_task(seconds(world.ubr.log_out(actor=member.actor)))
        assert len((await held).rows) == 1
        took = time.monotonic() - began
        await follow(world, await held)
        await ending
        if took < 0.29:
            break
    assert took < 0.29


async def test_a_call_that_is_held_holds_no_connection(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'ubr.db'}"
    async with new_world(**TINY_HASHING, database_url=url, migrate="auto", pool_size=1) as world:
        told = await follow(world)
        done = 10
        for _ in range(20):  # on a machine that is busy otherwise, time may pass by itself
            held = [asyncio.create_task(follow(world, told, wait=300)) for _ in range(10)]
            await asyncio.sleep(0.05)
            await world.ubr.list_users(ListUsersCommand(), actor=SYSTEM)
            done = sum(task.done() for task in held)
            await asyncio.gather(*held)
            if done == 0:
                break
        assert done == 0


# --- being waited for ------------------------------------------------------------------------------------------------


async def seconds(ending: Any) -> float:
    began = time.monotonic()
    await ending
    return time.monotonic() - began


async def test_an_end_waits_for_it_until_it_acknowledges(long: World) -> None:
    one, other = await long.user(), await long.user()
    assert await seconds(long.ubr.log_out(actor=one.actor)) < LONG
    told = await follow(long)
    ending = asyncio.create_task(seconds(long.ubr.log_out(actor=other.actor)))
    await asyncio.sleep(0.1)
    after = await follow(long, told)
    assert len(after.rows) == 1
    await asyncio.sleep(0.1)
    assert not ending.done(), "that it was told is not that it knows"
    await follow(long, after)
    assert 0.15 <= await ending < LONG  # a sleep may end a little early


async def test_an_end_waits_for_the_bound_where_it_does_not(short: World) -> None:
    member = await short.user()
    await follow(short)
    assert SHORT <= await seconds(short.ubr.log_out(actor=member.actor)) < LONG


@pytest.mark.parametrize("forged", ["another epoch", "no epoch", "somebody else's"])
async def test_an_invalid_acknowledgement_is_ignored(short: World, forged: str) -> None:
    member, stranger = await short.user(), await short.user("revocations:read")
    told = await follow(short)
    ending = asyncio.create_task(seconds(short.ubr.log_out(actor=member.actor)))
    await asyncio.sleep(0.05)
    if forged == "somebody else's":
        await follow(short, told, since=told.number + 1, actor=stranger.actor)
    else:
        epoch = None if forged == "no epoch" else "0123456789abcdef"
        await follow(short, since=told.number + 1, epoch=epoch)
    assert await ending >= SHORT


async def test_units_do_not_wait_for_a_verifier_that_has_left(long: World) -> None:
    member = await long.user()
    await follow(long)
    for _ in range(2):
        await long.ubr.stop_following_revocations(StopFollowingRevocationsCommand(verifier=ME), actor=SYSTEM)
    assert await seconds(long.ubr.log_out(actor=member.actor)) < LONG


async def test_a_caller_cannot_remove_the_verifier_of_another_user(short: World) -> None:
    one, other, member = await short.user("revocations:read"), await short.user("revocations:read"), await short.user()
    await follow(short, actor=one.actor)
    await short.ubr.stop_following_revocations(StopFollowingRevocationsCommand(verifier=ME), actor=other.actor)
    assert await seconds(short.ubr.log_out(actor=member.actor)) >= SHORT


# --- how many --------------------------------------------------------------------------------------------------------


async def registered(world: World, verifier: UUID, member: Member) -> bool:
    try:
        await world.ubr.follow_revocations(FollowRevocationsCommand(verifier=verifier), actor=member.actor)
    except RateLimited:
        return False
    return True


async def test_a_user_has_so_many_verifiers_and_each_is_an_entry() -> None:
    async with new_world(verifiers_per_user=3) as world:
        one, other = await world.user("revocations:read"), await world.user("revocations:read")
        await world.acts()
        ids = [uuid4() for _ in range(4)]
        for _ in range(2):
            assert [await registered(world, verifier, one) for verifier in ids] == [True] * 3 + [False]
        assert await registered(world, ids[3], other)
        entries = await world.acts()
        assert [(e.action, e.actor_id, e.data["verifier_id"]) for e in entries] == [
            *[("verifier.registered", one.id, str(verifier)) for verifier in ids[:3]],
            ("verifier.registered", other.id, str(ids[3])),
        ]
        assert len(feed_of(world).store.workers) == 1 + 4
        stop = StopFollowingRevocationsCommand(verifier=ids[0])
        await world.ubr.stop_following_revocations(stop, actor=one.actor)
        assert await registered(world, ids[3], one)


class Late(PassedOn):
    """A feed whose answers about the workers come after the next questions."""

    async def workers(self) -> Mapping[WorkerId, Hashable]:
        found = await super().workers()
        await asyncio.sleep(0)
        return found


async def test_of_many_verifiers_at_once_no_more_stay() -> None:
    async with new_world(verifiers_per_user=3) as world:
        member = await world.user("revocations:read")
        use_case = replace(world.ubr.follow_revocations, feed=Late(feed_of(world)))
        calls = (use_case(FollowRevocationsCommand(verifier=uuid4()), actor=member.actor) for _ in range(30))
        said = await asyncio.gather(*calls, return_exceptions=True)
        refused = [one for one in said if isinstance(one, RateLimited)]
        assert len(said) - len(refused) <= 3
        assert len(feed_of(world).store.workers) == 1 + len(said) - len(refused)


async def test_a_worker_that_does_not_know_a_registered_verifier_records_nothing(world: World) -> None:
    member = await world.user("revocations:read")
    assert await registered(world, ME, member)
    await world.acts()
    another = replace(world.ubr.follow_revocations)  # as another worker: it has renewed no lease
    await another(FollowRevocationsCommand(verifier=ME), actor=member.actor)
    assert await world.acts() == []


async def test_a_verifier_that_was_removed_is_counted_anew() -> None:
    async with new_world(verifiers_per_user=1) as world:
        now = 0.0
        use_case = replace(world.ubr.follow_revocations, elapsed=lambda: now)
        member, ids = await world.user("revocations:read"), [uuid4(), uuid4()]
        await use_case(FollowRevocationsCommand(verifier=ids[0]), actor=member.actor)
        stop = StopFollowingRevocationsCommand(verifier=ids[0])
        await world.ubr.stop_following_revocations(stop, actor=member.actor)
        await use_case(FollowRevocationsCommand(verifier=ids[1]), actor=member.actor)
        now = 3.0
        with pytest.raises(RateLimited):
            await use_case(FollowRevocationsCommand(verifier=ids[0]), actor=member.actor)


async def test_registrations_have_a_quota() -> None:
    hour = timedelta(hours=1)
    limits = {
        "login_rate_limit": LoginRateLimit(Limit(9, hour), None),
        "verifier_rate_limit": RateLimit(Limit(2, hour)),
    }
    async with new_world(**limits) as world:
        member = await world.user("revocations:read")
        for _ in range(2):
            verifier = uuid4()
            assert await registered(world, verifier, member)
            stop = StopFollowingRevocationsCommand(verifier=verifier)
            await world.ubr.stop_following_revocations(stop, actor=member.actor)
        assert not await registered(world, uuid4(), member)


# --- the lease -------------------------------------------------------------------------------------------------------


class Watched(PassedOn):
    """A feed whose renewals are seen, and after which something may happen."""

    def __init__(self, inner: MemoryChangeFeed, restored_after: int | None = None) -> None:
        super().__init__(inner)
        self.renewals: list[WorkerId] = []
        self._store = inner.store
        self._restored_after = restored_after

    async def renew(self, worker: WorkerId) -> None:
        self.renewals.append(worker)
        await super().renew(worker)
        if len(self.renewals) == self._restored_after:
            self._store.workers.clear()
            self._store.epoch = "restored"


async def test_a_lease_is_renewed_every_few_seconds(world: World) -> None:
    now = 0.0
    watched = Watched(feed_of(world))
    use_case = replace(world.ubr.follow_revocations, feed=watched, elapsed=lambda: now)
    command = FollowRevocationsCommand(verifier=ME)
    for now in (0.0, 1.0, 2.9, 3.0, 3.1, 6.0):  # noqa: B007 - it is the clock
        await use_case(command, actor=SYSTEM)
    assert len(watched.renewals) == 3
    await use_case(FollowRevocationsCommand(verifier=uuid4()), actor=SYSTEM)
    assert len(watched.renewals) == 4


async def test_an_answer_rests_on_a_lease_in_the_database_it_was_read_from(world: World) -> None:
    told = await follow(world)
    feed = feed_of(world)
    watched = Watched(feed, restored_after=1)
    use_case = replace(world.ubr.follow_revocations, feed=watched)
    command = FollowRevocationsCommand(verifier=ME, since=told.number, epoch=told.epoch)
    after = await use_case(command, actor=SYSTEM)
    assert after.epoch != told.epoch
    assert after.rows == []
    assert ME in feed.store.workers


async def test_a_token_says_where_the_feed_stood_before_it_was_made(world: World) -> None:
    member = await world.user()
    before = await follow(world)

    def version(tokens: TokensResult) -> tuple[int, str]:
        claims = world.ubr.authenticate.access_tokens.verify(tokens.access_token, world.clock())
        return claims.version, claims.epoch

    assert version(await world.log_in(member.email)) == (before.number, before.epoch)
    refreshed = await world.refresh(member.tokens.refresh_token)
    assert version(refreshed) == (before.number, before.epoch)
    assert version(await world.refresh(member.tokens.refresh_token)) == (before.number, before.epoch), "a retry"
    await world.ubr.stop_following_revocations(StopFollowingRevocationsCommand(verifier=ME), actor=SYSTEM)
    await world.assign(member.id, (await world.role("users:read")).name)
    assert version(await world.refresh(refreshed.refresh_token)) == (before.number + 1, before.epoch)
