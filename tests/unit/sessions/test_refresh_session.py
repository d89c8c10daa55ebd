import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from tests.support.people import World, new_world
from ubr.application.accounts.delete_user import DeleteUserCommand
from ubr.application.kernel.representations import TokensResult
from ubr.application.operations.janitor import Janitor
from ubr.application.roles.assign_role import AssignRoleCommand
from ubr.application.sessions.list_sessions import ListSessionsCommand
from ubr.application.sessions.revoke_session import RevokeSessionCommand
from ubr.bootstrap import open_environment
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import InvalidToken
from ubr.domain.keys import base64url
from ubr.domain.sessions.session import RefreshToken
from ubr.settings import Settings
from ubr.testing import MovableClock
from ubr.testing.memory import TINY_HASHING


async def refused(world: World, refresh_token: str) -> bool:
    try:
        await world.refresh(refresh_token)
    except InvalidToken:
        return True
    return False


async def test_it_yields_new_tokens_of_the_same_session(world: World) -> None:
    member = await world.user()
    world.clock.move(minutes=5)
    new = await world.refresh(member.tokens.refresh_token)
    assert new.session_id == member.tokens.session_id
    assert new.refresh_token != member.tokens.refresh_token
    assert new.access_token != member.tokens.access_token
    assert (new.expires_in, new.refresh_expires_in) == (600, 14 * 86400)
    assert await world.alive(new)


@pytest.mark.parametrize(
    "token", ["", "x", "ubr_rt_", "ubr_rt_" + "A" * 43, "ubr_rt_" + "A" * 42, "é" * 50, "x" * 100_000]
)
async def test_a_text_that_is_not_our_refresh_token_is_refused(world: World, token: str) -> None:
    with pytest.raises(InvalidToken):
        await world.refresh(token)
    assert await world.acts() == []


async def test_an_access_token_is_not_a_refresh_token(world: World) -> None:
    member = await world.user()
    with pytest.raises(InvalidToken):
        await world.refresh(member.tokens.access_token)


@pytest.mark.parametrize("seconds", [0, 0.001, 5, 9.999999, 10])
async def test_within_ten_seconds_a_retry_yields_the_very_same_successor(world: World, seconds: float) -> None:
    member = await world.user()
    new = await world.refresh(member.tokens.refresh_token)
    world.clock.move(seconds=seconds)
    again = await world.refresh(member.tokens.refresh_token)
    assert again.refresh_token == new.refresh_token
    assert await world.alive(again)
    assert await world.alive(new)


@pytest.mark.parametrize("seconds", [10.000001, 11, 120])
async def test_a_later_retry_replaces_an_unused_successor(world: World, seconds: float) -> None:
    member = await world.user()
    lost = await world.refresh(member.tokens.refresh_token)
    world.clock.move(seconds=seconds)
    new = await world.refresh(member.tokens.refresh_token)
    assert new.refresh_token != lost.refresh_token
    assert (await world.refresh(member.tokens.refresh_token)).refresh_token == new.refresh_token
    world.clock.move(days=1)
    await world.refresh(new.refresh_token)


async def test_the_use_of_a_replaced_successor_ends_the_session(world: World) -> None:
    member = await world.user()
    owned = await world.refresh(member.tokens.refresh_token)
    world.clock.move(seconds=11)
    copied = await world.refresh(member.tokens.refresh_token)
    await world.acts()
    assert await refused(world, owned.refresh_token)
    assert not await world.alive(copied)
    assert await refused(world, copied.refresh_token)
    assert [entry.action for entry in await world.acts()] == ["session.token_reused", "session.revoked"]


async def test_a_later_retry_after_the_successor_was_used_ends_the_session(world: World) -> None:
    member = await world.user()
    second = await world.refresh(member.tokens.refresh_token)
    await world.refresh(second.refresh_token)
    world.clock.move(seconds=11)
    assert await refused(world, member.tokens.refresh_token)
    assert not await world.alive(second)


async def test_later_retries_prolong_no_window(world: World) -> None:
    member = await world.user()
    successors = {(await world.refresh(member.tokens.refresh_token)).refresh_token}
    for _ in range(10):
        world.clock.move(seconds=12)
        successors.add((await world.refresh(member.tokens.refresh_token)).refresh_token)
    assert len(successors) == 11
    world.clock.move(seconds=12)
    assert await refused(world, member.tokens.refresh_token)


async def test_two_hundred_later_retries_at_once_get_one_successor(world: World) -> None:
    member = await world.user()
    await world.refresh(member.tokens.refresh_token)
    world.clock.move(seconds=11)
    results = await asyncio.gather(*(world.refresh(member.tokens.refresh_token) for _ in range(200)))
    [successor] = {result.refresh_token for result in results}
    await world.refresh(successor)


async def test_a_later_retry_does_not_revive_an_ended_session(world: World) -> None:
    member = await world.user()
    await world.refresh(member.tokens.refresh_token)
    await world.ubr.revoke_session(RevokeSessionCommand(session_id=member.actor.session_id), actor=member.actor)
    world.clock.move(seconds=11)
    assert await refused(world, member.tokens.refresh_token)


async def test_an_operator_may_have_no_longer_window() -> None:
    async with new_world(refresh_retry_window=timedelta(seconds=10)) as world:
        member = await world.user()
        await world.refresh(member.tokens.refresh_token)
        world.clock.move(seconds=11)
        assert await refused(world, member.tokens.refresh_token)


@pytest.mark.parametrize("seconds", [120.000001, 121, 3600, 13 * 86400])
async def test_later_still_it_ends_the_session(world: World, seconds: float) -> None:
    member = await world.user()
    new = await world.refresh(member.tokens.refresh_token)
    world.clock.move(seconds=seconds)
    await world.acts()
    assert await refused(world, member.tokens.refresh_token)
    assert not await world.alive(new)
    assert await refused(world, new.refresh_token)
    reused, revoked = await world.acts()
    assert (reused.action, reused.level) == ("session.token_reused", "warning")
    assert (revoked.action, revoked.data["cause"]) == ("session.revoked", "token_reused")


async def test_a_reuse_ends_one_session_and_no_other(world: World) -> None:
    member = await world.user()
    other = await world.logged_in(member.email)
    await world.refresh(member.tokens.refresh_token)
    world.clock.move(seconds=121)
    assert await refused(world, member.tokens.refresh_token)
    assert await world.alive(other.tokens)
    await world.refresh(other.tokens.refresh_token)


async def chain(world: World, tokens: TokensResult, length: int, *, apart: float) -> list[TokensResult]:
    found = [tokens]
    for _ in range(length):
        world.clock.move(seconds=apart)
        found.append(await world.refresh(found[-1].refresh_token))
    return found


@pytest.mark.parametrize("generation", range(5))
async def test_any_older_generation_ends_the_session(world: World, generation: int) -> None:
    member = await world.user()
    tokens = await chain(world, member.tokens, 6, apart=60)
    world.clock.move(days=10)
    assert await refused(world, tokens[generation].refresh_token)
    assert await refused(world, tokens[-1].refresh_token)


@pytest.mark.parametrize("generation", range(19))
async def test_an_older_generation_is_refused_even_within_a_second(world: World, generation: int) -> None:
    member = await world.user()
    tokens = await chain(world, member.tokens, 20, apart=0.05)
    assert await refused(world, tokens[generation].refresh_token)
    assert not await world.alive(tokens[-1])


async def test_a_retry_after_the_successor_was_used_is_a_copy(world: World) -> None:
    member = await world.user()
    second = await world.refresh(member.tokens.refresh_token)
    await world.refresh(second.refresh_token)
    assert await refused(world, member.tokens.refresh_token)
    assert not await world.alive(second)


async def test_two_hundred_at_once_get_one_successor(world: World) -> None:
    member = await world.user()
    world.clock.move(days=1)
    await world.acts()
    results = await asyncio.gather(*(world.refresh(member.tokens.refresh_token) for _ in range(200)))
    assert len({result.refresh_token for result in results}) == 1
    assert [entry.action for entry in await world.acts()] == ["session.refreshed"]
    again = await asyncio.gather(*(world.refresh(results[0].refresh_token) for _ in range(5)))
    assert len({result.refresh_token for result in again}) == 1


async def test_a_client_keeps_one_working_chain_after_parallel_retries(world: World) -> None:
    member = await world.user()
    tokens = member.tokens
    for _ in range(5):
        tokens = (await asyncio.gather(*(world.refresh(tokens.refresh_token) for _ in range(5))))[-1]
        world.clock.move(minutes=10)
    await world.refresh(tokens.refresh_token)


async def test_an_ended_session_is_never_revived_by_the_window(world: World) -> None:
    member = await world.user()
    new = await world.refresh(member.tokens.refresh_token)
    revoke = RevokeSessionCommand(session_id=member.actor.session_id)
    await world.ubr.revoke_session(revoke, actor=member.actor)
    await world.acts()
    assert await refused(world, member.tokens.refresh_token)
    assert await refused(world, new.refresh_token)
    world.clock.move(seconds=11)
    assert await refused(world, member.tokens.refresh_token)
    assert await world.acts() == []


async def test_a_disabled_users_tokens_are_refused_and_stay_so(world: World) -> None:
    member = await world.user()
    new = await world.refresh(member.tokens.refresh_token)
    await world.set_status(member.id, UserStatus.DISABLED)
    for token in (member.tokens.refresh_token, new.refresh_token):
        assert await refused(world, token)
    await world.set_status(member.id, UserStatus.ACTIVE)
    for token in (member.tokens.refresh_token, new.refresh_token):
        assert await refused(world, token)
    assert not await world.alive(new)


async def test_a_deleted_users_tokens_are_unknown(world: World) -> None:
    member = await world.user()
    await world.ubr.delete_user(DeleteUserCommand(user_id=member.id), actor=SYSTEM)
    assert await refused(world, member.tokens.refresh_token)


async def test_no_token_survives_a_concurrent_refresh_and_revocation(world: World) -> None:
    for _ in range(25):
        member = await world.user()
        revoke = RevokeSessionCommand(session_id=member.actor.session_id)
        results = await asyncio.gather(
            *(world.refresh(member.tokens.refresh_token) for _ in range(3)),
            world.ubr.revoke_session(revoke, actor=member.actor),
            *(world.refresh(member.tokens.refresh_token) for _ in range(3)),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, TokensResult):
                assert not await world.alive(result)
                assert await refused(world, result.refresh_token)


# --- ends ------------------------------------------------------------------------------------------------------------


async def test_a_session_unused_for_too_long_has_ended(world: World) -> None:
    member = await world.user()
    world.clock.move(days=14, microseconds=-1)
    tokens = await world.refresh(member.tokens.refresh_token)
    world.clock.move(days=14)
    assert await refused(world, tokens.refresh_token)


async def test_a_session_in_use_ends_at_its_absolute_end(world: World) -> None:
    member = await world.user()
    tokens = member.tokens
    for _ in range(8):
        world.clock.move(days=10)
        tokens = await world.refresh(tokens.refresh_token)
    assert tokens.refresh_expires_in == 10 * 86400
    world.clock.move(days=10, seconds=-5)
    tokens = await world.refresh(tokens.refresh_token)
    assert (tokens.expires_in, tokens.refresh_expires_in) == (5, 5)
    world.clock.move(seconds=5)
    assert await refused(world, tokens.refresh_token)
    assert not await world.alive(tokens)


async def test_a_retry_does_not_outlive_the_session() -> None:
    async with new_world(session_idle=timedelta(seconds=30), session_lifetime=timedelta(seconds=30)) as world:
        member = await world.user()
        world.clock.move(seconds=25)
        await world.refresh(member.tokens.refresh_token)
        world.clock.move(seconds=5)
        assert await refused(world, member.tokens.refresh_token)


@pytest.mark.parametrize("seconds", [60, 599, 600, 3600])
async def test_no_access_token_outlives_a_grant(world: World, seconds: int) -> None:
    member = await world.user()
    end = world.clock() + timedelta(seconds=seconds)
    await world.ubr.assign_role(AssignRoleCommand(user_id=member.id, role="admin", expires_at=end), actor=SYSTEM)
    tokens = await world.refresh(member.tokens.refresh_token)
    assert tokens.expires_in == min(seconds, 600)
    assert tokens.user.roles == ["admin", "user"]
    world.clock.move(seconds=tokens.expires_in - 1)
    assert await world.alive(tokens)
    world.clock.move(seconds=1)
    assert not await world.alive(tokens)


async def test_a_grant_that_has_ended_does_not_shorten_anything(world: World) -> None:
    member = await world.user()
    end = world.clock() + timedelta(seconds=60)
    await world.ubr.assign_role(AssignRoleCommand(user_id=member.id, role="admin", expires_at=end), actor=SYSTEM)
    world.clock.move(seconds=60)
    tokens = await world.refresh(member.tokens.refresh_token)
    assert (tokens.expires_in, tokens.user.roles) == (600, ["user"])


async def test_refreshing_shows_that_a_session_is_in_use(world: World) -> None:
    member = await world.user()
    began = world.clock()
    world.clock.move(days=1)
    await world.refresh(member.tokens.refresh_token)
    [session] = (await world.ubr.list_sessions(ListSessionsCommand(user_id=member.id), actor=member.actor)).items
    assert (session.created_at, session.last_seen_at) == (began, world.clock())
    assert session.expires_at == world.clock() + timedelta(days=14)


async def refreshes_a_day(world: World) -> list[int]:
    """The entries about hourly refreshes, for each of three UTC days. The login is at noon of the first."""
    world.clock.move(hours=12 - world.clock().hour)
    tokens = (await world.user()).tokens
    entries = []
    for hours in (11, 24, 24):
        await world.acts()
        for _ in range(hours):
            world.clock.move(hours=1)
            tokens = await world.refresh(tokens.refresh_token)
        entries.append([entry.action for entry in await world.acts()].count("session.refreshed"))
    return entries


async def test_the_log_has_an_entry_for_a_session_and_day(world: World) -> None:
    assert await refreshes_a_day(world) == [0, 1, 1]


async def test_an_operator_may_have_an_entry_for_each_refresh() -> None:
    async with new_world(audit_refreshes="all") as world:
        assert await refreshes_a_day(world) == [11, 24, 24]


async def test_the_janitor_takes_away_no_protection() -> None:
    clock = MovableClock()
    async with open_environment(Settings.memory(**TINY_HASHING), clock=clock) as environment:
        world, janitor = World(environment.application, clock), environment.janitor
        member = await world.user()
        new = await world.refresh(member.tokens.refresh_token)
        clock.move(seconds=10)
        assert await janitor() == 0
        assert (await world.refresh(member.tokens.refresh_token)).refresh_token == new.refresh_token
        clock.move(seconds=110)
        assert await janitor() == 0
        new = await world.refresh(member.tokens.refresh_token)
        clock.move(seconds=10)
        assert await janitor() == 0
        clock.move(seconds=1)
        await janitor()
        assert await refused(world, member.tokens.refresh_token)
        assert not await world.alive(new)


@asynccontextmanager
async def tidied() -> AsyncIterator[tuple[World, Janitor]]:
    clock = MovableClock()
    async with open_environment(Settings.memory(**TINY_HASHING), clock=clock) as environment:
        yield World(environment.application, clock), environment.janitor


async def stored(world: World, tokens: list[TokensResult]) -> list[bool]:
    async with world.ubr.refresh_session.unit_of_work.read() as tx:
        digests = [world.ubr.refresh_session.mint.digest(each.refresh_token) for each in tokens]
        return [await tx.refresh_tokens.get(digest) is not None for digest in digests]


@pytest.mark.parametrize("generation", range(6))
async def test_a_token_that_the_janitor_has_forgotten_still_ends_the_session(generation: int) -> None:
    async with tidied() as (world, janitor):
        member = await world.user()
        tokens = await chain(world, member.tokens, 6, apart=60)
        world.clock.move(days=10)
        await janitor()
        assert await stored(world, tokens) == [False] * 6 + [True]
        await world.acts()
        assert await refused(world, tokens[generation].refresh_token)
        assert not await world.alive(tokens[-1])
        assert await refused(world, tokens[-1].refresh_token)
        assert [entry.action for entry in await world.acts()] == ["session.token_reused", "session.revoked"]


async def test_a_token_that_names_no_session_is_kept_and_ends_the_session() -> None:
    async with tidied() as (world, janitor):
        member = await world.user()
        old = "ubr_rt_" + base64url.encode(bytes(range(32))).decode()
        row = RefreshToken(
            digest=world.ubr.refresh_session.mint.digest(old),
            session_id=member.actor.session_id,
            issued_at=world.clock(),
        )
        async with janitor.unit_of_work.begin(SYSTEM) as tx:
            await tx.refresh_tokens.add(row)
            await tx.commit()
        new = await world.refresh(old)
        world.clock.move(days=1)
        newer = await world.refresh(new.refresh_token)
        world.clock.move(days=1)
        await janitor()
        assert await refused(world, old)
        assert not await world.alive(newer)


async def test_a_forgotten_token_of_a_deleted_session_is_unknown() -> None:
    async with tidied() as (world, janitor):
        member = await world.user()
        await world.refresh(member.tokens.refresh_token)
        world.clock.move(days=200)
        assert await janitor() == 1
        assert await refused(world, member.tokens.refresh_token)


async def test_the_janitor_deletes_what_is_past_its_absolute_end() -> None:
    clock = MovableClock()
    async with open_environment(Settings.memory(**TINY_HASHING), clock=clock) as environment:
        world, janitor = World(environment.application, clock), environment.janitor
        member = await world.user()
        await world.refresh(member.tokens.refresh_token)
        clock.move(days=89)
        fresh = await world.logged_in(member.email)
        clock.move(days=1)
        assert await janitor() == 0
        clock.move(seconds=1)
        assert await janitor() == 1
        assert await janitor() == 0
        assert await refused(world, member.tokens.refresh_token)
        await world.refresh(fresh.tokens.refresh_token)
