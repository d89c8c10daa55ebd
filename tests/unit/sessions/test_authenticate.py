from datetime import timedelta

import pytest

from tests.support.people import World, new_world
from ubr.domain.errors import InvalidToken


async def test_it_says_whose_session_a_token_is_of(world: World) -> None:
    member = await world.user()
    actor = await world.ubr.authenticate(member.tokens.access_token)
    assert (actor.user_id, actor.session_id) == (member.tokens.user.id, member.tokens.session_id)


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "é.é.é", "x" * 100_000, ".."])
async def test_a_text_that_is_not_a_token_is_refused(world: World, token: str) -> None:
    with pytest.raises(InvalidToken):
        await world.ubr.authenticate(token)


async def test_a_token_that_was_altered_is_refused(world: World) -> None:
    token = (await world.user()).tokens.access_token
    for at in range(0, len(token), 7):
        other = "A" if token[at] != "A" else "B"
        with pytest.raises(InvalidToken):
            await world.ubr.authenticate(token[:at] + other + token[at + 1 :])
    for other in (token + "=", token + "==", token + " ", " " + token, token[:-1], token.upper()):
        with pytest.raises(InvalidToken):
            await world.ubr.authenticate(other)


async def test_a_refresh_token_is_not_an_access_token(world: World) -> None:
    with pytest.raises(InvalidToken):
        await world.ubr.authenticate((await world.user()).tokens.refresh_token)


async def test_a_token_of_another_installation_is_refused(world: World) -> None:
    async with new_world() as other:
        token = (await other.user()).tokens.access_token
    with pytest.raises(InvalidToken):
        await world.ubr.authenticate(token)


async def test_it_lives_for_ten_minutes(world: World) -> None:
    member = await world.user()
    world.clock.move(minutes=10, seconds=-1)
    assert await world.alive(member.tokens)
    world.clock.move(seconds=1)
    assert not await world.alive(member.tokens)


async def test_the_operator_decides_how_long() -> None:
    async with new_world(access_token_lifetime=timedelta(minutes=15)) as world:
        assert (await world.user()).tokens.expires_in == 900


async def test_an_older_access_token_of_the_session_stays_good_until_its_end(world: World) -> None:
    member = await world.user()
    world.clock.move(minutes=5)
    await world.refresh(member.tokens.refresh_token)
    assert await world.alive(member.tokens)
