"""What keeps an installation running: preparing, keys, health."""

import asyncio
import json

from tests.support.people import World
from ubr.application.actor import SYSTEM
from ubr.application.use_cases.list_logs import ListLogsCommand


async def test_preparing_again_changes_nothing(world: World) -> None:
    member = await world.user()
    keys = await world.ubr.get_public_keys()
    await world.acts()
    await asyncio.gather(*(world.ubr.prepare() for _ in range(5)))
    assert await world.ubr.get_public_keys() == keys
    assert await world.alive(member.tokens)
    assert await world.acts() == []


async def test_the_first_key_is_in_the_log(world: World) -> None:
    entries = (await world.ubr.list_logs(ListLogsCommand(), actor=SYSTEM)).items
    assert [(entry.action, entry.actor_id) for entry in entries] == [("signing_key.created", None)]
    assert entries[0].target is not None
    [key] = map(json.loads, await world.ubr.get_public_keys())
    assert (entries[0].target.type, entries[0].target.id) == ("signing_key", key["kid"])


async def test_public_keys_hold_nothing_private(world: World) -> None:
    [key] = map(json.loads, await world.ubr.get_public_keys())
    assert set(key) == {"kty", "crv", "x", "use", "alg", "kid"}
    assert (key["alg"], key["use"]) == ("EdDSA", "sig")


async def test_all_is_well_in_memory(world: World) -> None:
    await world.ubr.check_health()
