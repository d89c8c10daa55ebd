"""What keeps an installation running: preparing, keys, health."""

import asyncio
import json

import pytest

from tests.support.people import World
from ubr.application.audit.list_logs import ListLogsCommand
from ubr.domain.actor import SYSTEM
from ubr.domain.audit.checkpoint import NoteKey


async def test_preparing_again_changes_nothing(world: World) -> None:
    member = await world.user()
    keys = await world.ubr.get_public_keys()
    await world.acts()
    await asyncio.gather(*(world.ubr.initialize() for _ in range(5)))
    assert await world.ubr.get_public_keys() == keys
    assert await world.alive(member.tokens)
    assert await world.acts() == []


@pytest.mark.parametrize("action", ["signing_key.created", "log_key.created"])
async def test_the_first_keys_are_in_the_log(world: World, action: str) -> None:
    [entry] = (await world.ubr.list_logs(ListLogsCommand(action=action), actor=SYSTEM)).items
    assert entry.actor_id is None
    assert entry.target is not None
    [signs_tokens] = map(json.loads, await world.ubr.get_public_keys())
    [signs_log] = await world.ubr.list_log_keys(actor=SYSTEM)
    expected = {"signing_key": signs_tokens["kid"], "log_key": NoteKey.parse(signs_log.key).label}
    assert entry.target.id == expected[entry.target.type]


async def test_public_keys_hold_nothing_private(world: World) -> None:
    [key] = map(json.loads, await world.ubr.get_public_keys())
    assert set(key) == {"kty", "crv", "x", "use", "alg", "kid"}
    assert (key["alg"], key["use"]) == ("EdDSA", "sig")


async def test_all_is_well_in_memory(world: World) -> None:
    await world.ubr.check_health()
