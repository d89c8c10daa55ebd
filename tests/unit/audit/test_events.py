"""Events for the program that embeds ubr: the entries of the audit log, in order and completely."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from tests.support.people import World
from ubr import SYSTEM, CreateRoleCommand, DeleteRoleCommand, PruneLogCommand, ReadEventsCommand, errors, events
from ubr.testing import in_memory


async def all_of(world: World, after: str | None = None, *actions: str, limit: int = 100) -> list[events.EventResult]:
    found, more = [], True
    while more:
        command = ReadEventsCommand(after=after, actions=list(actions), limit=limit)
        page = await world.ubr.read_events(command, actor=SYSTEM)
        found += page.items
        after, more = page.position, page.more
    return found


async def test_events_are_the_entries_in_order_and_each_once(world: World) -> None:
    for name in ("a", "b", "c"):
        await world.register(f"{name}@example.org")
    for limit in (1, 2, 100):
        found = await all_of(world, limit=limit)
        assert [each.entry.action for each in found if each.entry.action.startswith("user.")] == ["user.registered"] * 3
        assert len({each.position for each in found}) == len(found) == len({each.entry.id for each in found})


async def test_reading_goes_on_after_a_position(world: World) -> None:
    await world.register("a@example.org")
    first = await all_of(world)
    assert await all_of(world, first[-1].position) == []
    await world.register("b@example.org")
    assert [each.entry.action for each in await all_of(world, first[-1].position)] == ["user.registered"]
    assert await all_of(world, first[0].position) == (await all_of(world))[1:]


async def test_actions_select_events_and_the_position_moves_past_the_others(world: World) -> None:
    await world.register("a@example.org")
    await world.ubr.create_role(CreateRoleCommand(name="editor"), actor=SYSTEM)
    found = await all_of(world, None, "role.created", limit=1)
    assert [each.entry.data["name"] for each in found] == ["editor"]
    page = await world.ubr.read_events(ReadEventsCommand(actions=["role.deleted"]), actor=SYSTEM)
    assert (page.items, page.more) == ([], False)
    assert page.position == found[-1].position


@pytest.mark.parametrize("after", ["", "1", "1.0", "x.00000000000000000000000000000000", "-1." + "0" * 32])
async def test_a_text_that_is_no_position_is_refused(world: World, after: str) -> None:
    with pytest.raises(errors.Invalid):
        await all_of(world, after)


async def test_an_unknown_action_is_refused(world: World) -> None:
    with pytest.raises(errors.Invalid):
        await all_of(world, None, "role.created", "role.invented")


async def test_a_position_of_another_log_is_refused(world: World) -> None:
    await world.register("a@example.org")
    position = (await all_of(world))[-1].position
    async with in_memory() as (other, clock):
        there = World(other, clock)
        for name in ("a", "b"):
            await there.register(f"{name}@example.org")
        with pytest.raises(errors.EventsMissing):
            await all_of(there, position)


async def test_a_position_before_pruned_events_is_refused_and_one_after_them_is_not(world: World) -> None:
    await world.register("a@example.org")
    before = await all_of(world)
    world.clock.move(days=400)
    await world.register("b@example.org")
    late = await all_of(world, before[-1].position)
    await world.ubr.prune_log(PruneLogCommand(before=world.clock() - timedelta(days=100)), actor=SYSTEM)
    with pytest.raises(errors.EventsMissing):
        await all_of(world, before[0].position)
    assert (await all_of(world, before[-1].position))[: len(late)] == late
    assert (await all_of(world))[: len(late)] == late


async def test_only_the_service_reads_events(world: World) -> None:
    user = await world.user()
    with pytest.raises(errors.Forbidden):
        await world.ubr.read_events(ReadEventsCommand(), actor=user.actor)  # type: ignore[arg-type]


async def test_following_gives_what_there_is_and_then_each_new_event(world: World) -> None:
    async def changes() -> None:
        await asyncio.sleep(0)
        role = await world.ubr.create_role(CreateRoleCommand(name="second"), actor=SYSTEM)
        await world.ubr.delete_role(DeleteRoleCommand(role_id=role.id), actor=SYSTEM)

    await world.ubr.create_role(CreateRoleCommand(name="first"), actor=SYSTEM)
    changing = asyncio.create_task(changes())
    seen = []
    async for event in events.follow(world.ubr, actions=("role.created", "role.deleted"), pause=0):
        seen.append((event.entry.action, event.entry.data["name"]))
        if len(seen) == 3:
            break
    assert seen == [("role.created", "first"), ("role.created", "second"), ("role.deleted", "second")]
    await changing


async def test_following_ends_when_it_is_cancelled(world: World) -> None:
    async def follow() -> None:
        async for _ in events.follow(world.ubr):
            pass

    following = asyncio.create_task(follow())
    for _ in range(20):
        await asyncio.sleep(0)
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
