"""Keys are made, followed, given up and sealed anew, and no good token is refused by it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

import jwt
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.support.people import PASSWORD, Member, World, new_world
from ubr.application.app import Application
from ubr.application.kernel.representations import SigningKeyResult, TokensResult
from ubr.application.keys.revoke_signing_key import RevokeSigningKeyCommand
from ubr.application.sessions.log_in import LogInCommand
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import Forbidden, NotFound, ReauthenticationRequired, Unauthenticated
from ubr.domain.keys.signing_key import NOTICE, OVERLAP

T = TypeVar("T")

LIFETIME = timedelta(minutes=10)


def kid_of(tokens: TokensResult) -> str:
    return str(jwt.get_unverified_header(tokens.access_token)["kid"])


async def listed(world: World) -> dict[str, SigningKeyResult]:
    return {key.kid: key for key in await world.ubr.list_signing_keys(actor=SYSTEM)}


async def published(world: World) -> list[str]:
    return [json.loads(text)["kid"] for text in await world.ubr.get_public_keys()]


async def rotate(world: World) -> SigningKeyResult:
    return await world.ubr.rotate_signing_key(actor=SYSTEM)


async def revoke(world: World, kid: str) -> SigningKeyResult:
    return await world.ubr.revoke_signing_key(RevokeSigningKeyCommand(kid=kid), actor=SYSTEM)


async def signing(world: World) -> str:
    return next(key.kid for key in (await listed(world)).values() if key.state == "signing")


async def acts(world: World) -> list[tuple[str, str]]:
    return [(entry.action, entry.target.id if entry.target else "") for entry in await world.acts()]


# --- the first -------------------------------------------------------------------------------------------------------


async def test_the_very_first_key_signs_at_once(world: World) -> None:
    [key] = (await listed(world)).values()
    assert (key.state, key.created_at, key.signs_from) == ("signing", world.clock(), world.clock())
    assert (key.retired_at, key.revoked_at) == (None, None)
    assert await published(world) == [key.kid]
    assert kid_of((await world.user()).tokens) == key.kid


# --- rotation --------------------------------------------------------------------------------------------------------


async def test_a_rotation_from_its_beginning_to_its_end(world: World) -> None:
    old = await signing(world)
    member = await world.user()
    await world.acts()
    new = await rotate(world)
    begins = world.clock() + NOTICE
    assert (new.state, new.signs_from, new.retired_at) == ("published", begins, None)
    assert set(await published(world)) == {new.kid, old}
    assert sorted(await acts(world)) == [("signing_key.created", new.kid), ("signing_key.rotated", old)]
    assert (await listed(world))[old].retired_at == begins + OVERLAP

    world.clock.move(seconds=NOTICE.total_seconds() - 1)
    last = await world.log_in(member.email)
    assert kid_of(last) == old
    world.clock.move(seconds=1)
    first = await world.log_in(member.email)
    assert kid_of(first) == new.kid
    assert kid_of(await world.refresh(member.tokens.refresh_token)) == new.kid
    assert [(await listed(world))[kid].state for kid in (old, new.kid)] == ["retiring", "signing"]
    assert await world.alive(last)
    world.clock.move(seconds=LIFETIME.total_seconds() - 2)
    assert await world.alive(last)
    world.clock.move(seconds=1)
    assert not await world.alive(last)
    assert await world.alive(first)

    world.clock.move(seconds=(OVERLAP - LIFETIME).total_seconds())
    assert set(await published(world)) == {new.kid, old}
    world.clock.move(seconds=1)
    assert await published(world) == [new.kid]
    assert (await listed(world))[old].state == "retired"


async def test_while_a_key_waits_no_other_is_made(world: World) -> None:
    made = {(await rotate(world)).kid}
    await world.acts()
    world.clock.move(seconds=NOTICE.total_seconds() - 1)
    made |= {key.kid for key in await asyncio.gather(*(rotate(world) for _ in range(5)))}
    assert len(made) == 1
    assert await acts(world) == []
    world.clock.move(seconds=1)
    assert (await rotate(world)).kid not in made


async def test_preparing_again_during_a_rotation_changes_nothing(world: World) -> None:
    await rotate(world)
    for _ in range(3):
        before = await listed(world)
        await world.ubr.initialize()
        after = await listed(world)
        assert before == after
        assert set(await published(world)) == set(after)
        world.clock.move(seconds=NOTICE.total_seconds() / 2)


# --- giving a key up -------------------------------------------------------------------------------------------------


async def test_without_the_key_that_signs_a_new_one_does_at_once(world: World) -> None:
    old, member = await signing(world), await world.user()
    await world.acts()
    assert await world.alive(member.tokens)
    new = await revoke(world, old)
    assert (new.state, new.signs_from) == ("signing", world.clock())
    assert sorted(await acts(world)) == [("signing_key.created", new.kid), ("signing_key.revoked", old)]
    assert not await world.alive(member.tokens)
    assert await published(world) == [new.kid]
    assert (await listed(world))[old].state == "revoked"
    # The session lives on.
    tokens = await world.refresh(member.tokens.refresh_token)
    assert kid_of(tokens) == new.kid
    assert tokens.session_id == member.tokens.session_id
    assert await world.alive(tokens)


async def test_without_the_key_that_signs_the_one_that_waits_does(world: World) -> None:
    old, waiting = await signing(world), await rotate(world)
    await world.acts()
    world.clock.move(seconds=10)
    now = await revoke(world, old)
    assert (now.kid, now.state, now.signs_from) == (waiting.kid, "signing", world.clock())
    assert await acts(world) == [("signing_key.revoked", old)]
    assert kid_of((await world.user()).tokens) == waiting.kid


async def test_without_the_key_that_waits_the_present_one_goes_on(world: World) -> None:
    old, waiting = await signing(world), await rotate(world)
    goes_on = await revoke(world, waiting.kid)
    assert (goes_on.kid, goes_on.state, goes_on.retired_at) == (old, "signing", None)
    world.clock.move(days=30)
    member = await world.user()
    assert kid_of(member.tokens) == old
    assert await world.alive(member.tokens)
    assert (await rotate(world)).state == "published"


async def test_without_a_key_that_retires_nothing_else_changes(world: World) -> None:
    old, member = await signing(world), await world.user()
    new = await rotate(world)
    world.clock.move(seconds=NOTICE.total_seconds())
    other = await world.user()
    assert (await revoke(world, old)).kid == new.kid
    assert not await world.alive(member.tokens)
    assert await world.alive(other.tokens)


async def test_a_second_time_changes_nothing(world: World) -> None:
    old = await signing(world)
    new = await revoke(world, old)
    await world.acts()
    before = await listed(world)
    assert await revoke(world, old) == new
    assert await acts(world) == []
    assert await listed(world) == before


@pytest.mark.parametrize("kid", ["", "x", "x" * 43, "é\0"])
async def test_there_must_be_such_a_key(world: World, kid: str) -> None:
    with pytest.raises(NotFound):
        await revoke(world, kid)


# --- who may ---------------------------------------------------------------------------------------------------------

ACTS: dict[str, Callable[[Application, Any], Awaitable[object]]] = {
    "list": lambda ubr, actor: ubr.list_signing_keys(actor=actor),
    "rotate": lambda ubr, actor: ubr.rotate_signing_key(actor=actor),
    "revoke": lambda ubr, actor: ubr.revoke_signing_key(RevokeSigningKeyCommand(kid="x"), actor=actor),
}


@pytest.mark.parametrize("name", ACTS)
async def test_it_requires_every_permission(world: World, name: str) -> None:
    manager = await world.user("users:write", "logs:read", "roles:write")
    await world.acts()
    with pytest.raises(Forbidden):
        await ACTS[name](world.ubr, manager.actor)
    with pytest.raises(Unauthenticated):
        await ACTS[name](world.ubr, None)
    assert await acts(world) == []


async def test_only_the_service_itself_may_rewrap(world: World) -> None:
    admin = await world.admin()
    with pytest.raises(Forbidden):
        await world.ubr.rewrap_signing_keys(actor=admin.actor)  # type: ignore[arg-type]


async def test_an_administrator_rotates_and_revokes_within_ten_minutes_of_the_login(world: World) -> None:
    admin = await world.admin()
    world.clock.move(minutes=10)
    await world.acts()
    new = await world.ubr.rotate_signing_key(actor=admin.actor)
    assert [entry.actor_id for entry in await world.acts()] == [admin.id] * 2
    world.clock.move(seconds=1)
    with pytest.raises(ReauthenticationRequired):
        await world.ubr.rotate_signing_key(actor=admin.actor)
    with pytest.raises(ReauthenticationRequired):
        await world.ubr.revoke_signing_key(RevokeSigningKeyCommand(kid=new.kid), actor=admin.actor)
    # A glance needs no login.
    assert new.kid in [key.kid for key in await world.ubr.list_signing_keys(actor=admin.actor)]


async def test_rewrapping_where_there_is_one_secret_does_nothing(world: World) -> None:
    await rotate(world)
    await world.acts()
    done = await world.ubr.rewrap_signing_keys(actor=SYSTEM)
    assert (done.keys, done.rewrapped) == (3, 0)  # the key of the log is one of them
    assert await acts(world) == []


# --- in whatever order -----------------------------------------------------------------------------------------------


class Machine(RuleBasedStateMachine):
    """At every moment the tokens that should be good are, and no others, and the key of each can be looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.opening = new_world(
            revocation_poll=timedelta(microseconds=1),
            session_idle=timedelta(days=90),
        )
        self.tokens: list[tuple[TokensResult, datetime]] = []
        self.unspent: list[str] = []
        self.revoked: set[str] = set()

    def run(self, doing: Awaitable[T]) -> T:
        async def done() -> T:
            return await doing

        return self.loop.run_until_complete(done())

    @initialize()
    def begin(self) -> None:
        self.world = self.run(self.opening.__aenter__())
        self.member: Member = self.run(self.world.user())

    def teardown(self) -> None:
        self.run(self.opening.__aexit__(None, None, None))
        self.loop.close()

    def keep(self, tokens: TokensResult) -> None:
        assert kid_of(tokens) == self.run(signing(self.world))
        self.unspent.append(tokens.refresh_token)
        self.tokens.append((tokens, self.world.clock().replace(microsecond=0) + LIFETIME))

    @rule()
    def somebody_signs_in(self) -> None:
        self.keep(self.run(self.world.ubr.log_in(LogInCommand(email=self.member.email, password=PASSWORD))))

    @rule(pick=st.integers(0, 100))
    def somebody_refreshes(self, pick: int) -> None:
        """Whatever became of the key of the token before."""
        if self.unspent:
            refresh_token = self.unspent.pop(pick % len(self.unspent))
            self.keep(self.run(self.world.refresh(refresh_token)))

    @rule()
    def the_key_is_rotated(self) -> None:
        key = self.run(rotate(self.world))
        assert key.state == "published"
        assert key.kid not in self.revoked

    @rule(pick=st.integers(0, 100))
    def a_key_is_revoked(self, pick: int) -> None:
        kids = sorted(self.run(listed(self.world)))
        self.revoked.add(kids[pick % len(kids)])
        self.run(revoke(self.world, kids[pick % len(kids)]))

    @rule(seconds=st.sampled_from([0.5, 1, 29, 300, 329.5, 330, 599.5, 600, 929, 930, 86400]))
    def time_goes_by(self, seconds: float) -> None:
        self.world.clock.move(seconds=seconds)

    @invariant()
    def tokens_are_good_until_they_expire_or_their_key_is_revoked(self) -> None:
        now = self.world.clock()
        looked_up = self.run(published(self.world))
        assert len(set(looked_up)) == len(looked_up)
        assert not set(looked_up) & self.revoked
        for tokens, end in self.tokens:
            good = now < end and kid_of(tokens) not in self.revoked
            assert self.run(self.world.alive(tokens)) == good
            if good:
                assert kid_of(tokens) in looked_up

    @invariant()
    def one_key_signs_and_it_can_be_looked_up(self) -> None:
        states = [key.state for key in self.run(listed(self.world)).values()]
        assert states.count("signing") == 1
        assert states.count("published") <= 1
        assert self.run(signing(self.world)) in self.run(published(self.world))


TestKeys = Machine.TestCase
TestKeys.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
