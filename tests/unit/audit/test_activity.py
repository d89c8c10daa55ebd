"""The numbers of the last day."""

from datetime import timedelta

import pytest

from tests.support.people import World
from ubr.application.audit import get_activity
from ubr.domain.errors import Forbidden, InvalidCredentials

HOUR = timedelta(hours=1)


async def test_entries_are_counted_in_their_hours(world: World) -> None:
    reader = await world.user("logs:read")
    email = (await world.register()).email
    began = world.clock().replace(minute=0, second=0, microsecond=0)
    before = await world.ubr.get_activity(actor=reader.actor)
    world.clock.move(hours=2)
    for _ in range(3):
        await world.log_in(email)
    with pytest.raises(InvalidCredentials):
        await world.log_in(email, "a wrong password")
    found = await world.ubr.get_activity(actor=reader.actor)
    assert len(found.hours) == len(found.logins) == get_activity.HOURS
    assert found.hours[-1] == began + 2 * HOUR
    assert (found.logins[-1], found.failed_logins[-1]) == (3, 1)
    assert (found.logins[-2], found.logins[-3]) == (0, before.logins[-1])
    world.clock.move(hours=22)
    later = await world.ubr.get_activity(actor=reader.actor)
    assert (later.logins[0], later.hours[0]) == (0, began + HOUR)
    assert sum(later.logins) == 3


async def test_past_hours_are_read_once(world: World) -> None:
    reader = await world.user("logs:read")
    world.clock.move(hours=3)
    first = await world.ubr.get_activity(actor=reader.actor)
    past = dict(world.ubr.get_activity.past)
    assert len(past) >= 3 * (get_activity.HOURS - 2)
    await world.log_in(reader.email)
    again = await world.ubr.get_activity(actor=reader.actor)
    assert again.logins == [*first.logins[:-1], first.logins[-1] + 1]
    world.clock.move(hours=30)
    assert sum((await world.ubr.get_activity(actor=reader.actor)).logins) == 0
    assert not past.keys() & world.ubr.get_activity.past.keys()


async def test_an_hour_counts_up_to_a_bound(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = await world.user("logs:read")
    monkeypatch.setattr(get_activity, "MAX_COUNT", 2)
    for _ in range(3):
        await world.log_in(reader.email)
    assert (await world.ubr.get_activity(actor=reader.actor)).logins[-1] == 2


async def test_it_requires_the_right_to_read_the_log_and_is_no_entry_itself(world: World) -> None:
    reader, other = await world.user("logs:read"), await world.user("users:read")
    await world.acts()
    await world.ubr.get_activity(actor=reader.actor)
    assert await world.acts() == []
    with pytest.raises(Forbidden):
        await world.ubr.get_activity(actor=other.actor)


async def test_the_keys_of_the_log_are_for_readers_of_the_log(world: World) -> None:
    reader, other = await world.user("logs:read"), await world.user("users:read")
    [key] = await world.ubr.list_log_keys(actor=reader.actor)
    assert key.key.count("+") >= 2
    with pytest.raises(Forbidden):
        await world.ubr.list_log_keys(actor=other.actor)
