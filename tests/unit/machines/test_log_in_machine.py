"""A key becomes an access token, whose end is known as that of a person's is."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from tests.support.machines import Machines
from tests.support.people import World, new_world
from ubr.application.accounts.list_users import ListUsersCommand
from ubr.application.kernel.origin import Origin, calling_from
from ubr.application.kernel.representations import LogEntryResult
from ubr.application.machines.delete_machine import DeleteMachineCommand
from ubr.application.machines.list_machine_keys import ListMachineKeysCommand
from ubr.application.roles.list_roles import ListRolesCommand
from ubr.application.roles.unassign_role import UnassignRoleCommand
from ubr.application.sessions.list_sessions import ListSessionsCommand
from ubr.application.sessions.revoke_user_sessions import RevokeUserSessionsCommand
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import Forbidden, InvalidClient, InvalidScope, InvalidToken, RateLimited
from ubr.domain.ids import MachineKeyId
from ubr.domain.keys import base64url
from ubr.domain.keys.access_token import read_payload
from ubr.domain.machines.key_text import key_text
from ubr.settings import Limit, LoginRateLimit, RateLimit

HOUR = timedelta(hours=1)


async def sessions_of(world: World, machine_id: UUID) -> int:
    page = await world.ubr.list_sessions(ListSessionsCommand(user_id=machine_id, limit=200), actor=SYSTEM)
    return len(page.items)


async def refusals(world: World) -> list[LogEntryResult]:
    return [entry for entry in await world.acts() if entry.action == "machine.token_refused"]


async def test_a_key_becomes_a_token_with_the_permissions_of_the_machine(world: World, machines: Machines) -> None:
    machine, key = await machines.working("users:read", "roles:read")
    token = await machines.log_in(key.client_secret, client_id=str(machine.id).upper())
    assert token.scope == "roles:read users:read"
    assert token.expires_in == 600
    actor = await world.ubr.authenticate(token.access_token)
    assert actor.user_id == machine.id
    await world.ubr.list_users(ListUsersCommand(), actor=actor)
    me = await world.ubr.get_me(actor=actor)
    assert (me.kind, me.full_name, me.email) == ("machine", machine.name, f"{machine.id}@machines.invalid")


async def test_a_thousand_logins_share_one_session_and_write_once(world: World, machines: Machines) -> None:
    machine, key = await machines.working("users:read")
    await machines.log_in(key.client_secret)
    await world.acts()
    actors = {await machines.actor(key.client_secret) for _ in range(1000)}
    assert len(actors) == 1
    assert await sessions_of(world, machine.id) == 1
    assert await world.acts() == []


async def test_the_use_of_a_key_is_noted_once_an_hour(world: World, machines: Machines) -> None:
    machine, key = await machines.working()
    noted = []
    for minutes in (0, 30, 29, 2):
        world.clock.move(minutes=minutes)
        await machines.log_in(key.client_secret)
        page = await world.ubr.list_machine_keys(ListMachineKeysCommand(machine_id=machine.id), actor=SYSTEM)
        noted.append(page.items[0].last_used_at)
    assert noted[0] == noted[1] == noted[2]
    assert noted[3] == world.clock()


async def test_a_session_in_use_outlasts_its_idle_time(machines: Machines) -> None:
    _, key = await machines.working()
    first = await machines.actor(key.client_secret)
    for _ in range(20):
        machines.world.clock.move(days=1)
        assert await machines.actor(key.client_secret) == first


async def test_a_scope_narrows_what_the_token_allows_everywhere(world: World, machines: Machines) -> None:
    machine, key = await machines.working("users:read", "roles:read")
    token = await machines.log_in(key.client_secret, "roles:read")
    assert token.scope == "roles:read"
    actor = await world.ubr.authenticate(token.access_token)
    await world.ubr.list_roles(ListRolesCommand(), actor=actor)
    with pytest.raises(Forbidden):
        await world.ubr.list_users(ListUsersCommand(), actor=actor)
    assert await world.ubr.permits(actor, "roles:read")
    assert not await world.ubr.permits(actor, "users:read")
    assert (await world.ubr.get_me(actor=actor)).permissions == ["roles:read"]
    payload = base64url.decode(token.access_token.split(".")[1].encode())
    claims = read_payload(payload, issuer="http://127.0.0.1:8000", audience="ubr")
    assert (claims.permissions, claims.roles) == (("roles:read",), ())
    # Another scope is another session: one token does not widen the other.
    whole = await machines.actor(key.client_secret)
    await world.ubr.list_users(ListUsersCommand(), actor=whole)
    with pytest.raises(Forbidden):
        await world.ubr.list_users(ListUsersCommand(), actor=actor)
    assert await sessions_of(world, machine.id) == 2


async def test_the_scope_of_a_key_limits_every_token_of_it(world: World, machines: Machines) -> None:
    machine = await machines.machine("users:read", "roles:read")
    key = await machines.key(machine.id, scope=["roles:read", "logs:read"])
    assert (await machines.log_in(key.client_secret)).scope == "roles:read"
    for wider in ("users:read", "roles:read users:read", "logs:read", "*", "ROLES", "roles:read  users:read", ""):
        with pytest.raises(InvalidScope):
            await machines.log_in(key.client_secret, wider)
    # A role that comes later is still within the scope of the key.
    await world.assign(machine.id, "admin")
    assert (await machines.log_in(key.client_secret)).scope == "logs:read roles:read"
    assert (await machines.log_in(key.client_secret, "logs:read")).scope == "logs:read"


async def test_a_key_without_a_permission_makes_a_token_without_a_scope(machines: Machines) -> None:
    machine = await machines.machine("users:read")
    for key in (await machines.key(machine.id, scope=[]), await machines.key((await machines.machine()).id)):
        token = await machines.log_in(key.client_secret)
        assert not token.scope


@pytest.mark.parametrize("case", ["malformed", "unknown_key", "wrong_secret", "other_machine"])
async def test_a_key_that_is_none_is_refused_and_the_log_says_why(world: World, machines: Machines, case: str) -> None:
    machine, key = await machines.working("users:read")
    text, client_id = {
        "malformed": (key.client_secret[:-1] + ("1" if key.client_secret.endswith("0") else "0"), None),
        "unknown_key": (key_text(MachineKeyId(uuid4()), b"1" * 32), None),
        "wrong_secret": (key_text(MachineKeyId(key.key.id), b"1" * 32), None),
        "other_machine": (key.client_secret, str(uuid4())),
    }[case]
    await world.acts()
    with pytest.raises(InvalidClient) as refused:
        await machines.log_in(text, client_id=client_id)
    assert refused.value.detail == InvalidClient.title
    [entry] = await refusals(world)
    assert entry.data["reason"] == case
    known = case in {"wrong_secret", "other_machine"}
    assert (None if entry.target is None else entry.target.id) == (str(machine.id) if known else None)
    assert await sessions_of(world, machine.id) == 0


async def test_a_revoked_key_ends_its_tokens_and_no_other(world: World, machines: Machines) -> None:
    machine, key = await machines.working("users:read")
    other = await machines.key(machine.id)
    tokens = [await machines.log_in(key.client_secret), await machines.log_in(key.client_secret, "users:read")]
    spared = await machines.log_in(other.client_secret)
    await world.acts()
    await machines.revoke(machine.id, key.key.id)
    assert [await machines.alive(token) for token in tokens] == [False, False]
    assert await machines.alive(spared)
    acts = await world.acts()
    assert [entry.action for entry in acts] == ["machine.key_revoked", "session.revoked", "session.revoked"]
    assert {entry.data["cause"] for entry in acts[1:]} == {"key_revoked"}
    with pytest.raises(InvalidClient):
        await machines.log_in(key.client_secret)
    [entry] = await refusals(world)
    assert entry.data == {"reason": "revoked", "key_id": str(key.key.id)}
    await machines.revoke(machine.id, key.key.id)
    assert await world.acts() == []


async def test_a_key_and_its_tokens_end_when_it_expires(world: World, machines: Machines) -> None:
    machine = await machines.machine()
    key = await machines.key(machine.id, expires_at=world.clock() + HOUR)
    world.clock.move(minutes=55)
    token = await machines.log_in(key.client_secret)
    assert token.expires_in == 5 * 60
    world.clock.move(minutes=5)
    assert not await machines.alive(token)
    with pytest.raises(InvalidClient):
        await machines.log_in(key.client_secret)
    assert [entry.data["reason"] for entry in await refusals(world)] == ["expired"]


async def test_a_rotated_key_works_until_the_end_of_the_overlap(world: World, machines: Machines) -> None:
    machine = await machines.machine("users:read", "roles:read")
    old = await machines.key(machine.id, scope=["users:read"])
    before = await machines.log_in(old.client_secret)
    new = await machines.rotate(machine.id, old.key.id, overlap=300)
    assert (new.key.name, new.key.scope) == (old.key.name, ["users:read"])
    assert new.client_secret != old.client_secret
    # The token from before would outlast its key by itself: it ends with it.
    assert await machines.alive(before)
    during = await machines.log_in(old.client_secret)
    assert during.expires_in == 300
    successor = await machines.log_in(new.client_secret)
    world.clock.move(seconds=300)
    assert [await machines.alive(token) for token in (before, during, successor)] == [False, False, True]
    with pytest.raises(InvalidClient):
        await machines.log_in(old.client_secret)
    await machines.log_in(new.client_secret)


async def test_a_rotation_without_an_overlap_ends_the_old_key_at_once(machines: Machines) -> None:
    machine, old = await machines.working()
    token = await machines.log_in(old.client_secret)
    new = await machines.rotate(machine.id, old.key.id, overlap=0)
    assert not await machines.alive(token)
    with pytest.raises(InvalidClient):
        await machines.log_in(old.client_secret)
    assert await machines.alive(await machines.log_in(new.client_secret))


async def test_a_disabled_machine_gets_no_token_and_loses_its_tokens(world: World, machines: Machines) -> None:
    machine, key = await machines.working()
    token = await machines.log_in(key.client_secret)
    await machines.set_status(machine.id, UserStatus.DISABLED)
    assert not await machines.alive(token)
    with pytest.raises(InvalidClient):
        await machines.log_in(key.client_secret)
    assert [entry.data["reason"] for entry in await refusals(world)] == ["disabled"]
    await machines.set_status(machine.id, UserStatus.ACTIVE)
    assert not await machines.alive(token)
    assert await machines.alive(await machines.log_in(key.client_secret))


async def test_a_deleted_machine_gets_no_token_and_loses_its_tokens(world: World, machines: Machines) -> None:
    machine, key = await machines.working()
    token = await machines.log_in(key.client_secret)
    await world.ubr.delete_machine(DeleteMachineCommand(machine_id=machine.id), actor=SYSTEM)
    assert not await machines.alive(token)
    with pytest.raises(InvalidClient):
        await machines.log_in(key.client_secret)
    assert [entry.data["reason"] for entry in await refusals(world)] == ["unknown_key"]
    again = await machines.machine(name=machine.name)
    with pytest.raises(InvalidClient):
        await machines.log_in(key.client_secret, client_id=str(again.id))


async def test_a_role_that_is_taken_away_is_gone_at_once(world: World, machines: Machines) -> None:
    machine, key = await machines.working()
    role = await world.role("users:read")
    await world.assign(machine.id, role.name)
    actor = await machines.actor(key.client_secret)
    await world.ubr.list_users(ListUsersCommand(), actor=actor)
    await world.ubr.unassign_role(UnassignRoleCommand(user_id=machine.id, role=role.name), actor=SYSTEM)
    with pytest.raises(Forbidden):
        await world.ubr.list_users(ListUsersCommand(), actor=actor)
    assert not (await machines.log_in(key.client_secret)).scope


async def test_a_revoked_session_ends_its_tokens_and_the_key_opens_another(world: World, machines: Machines) -> None:
    machine, key = await machines.working()
    token = await machines.log_in(key.client_secret)
    await world.ubr.revoke_user_sessions(RevokeUserSessionsCommand(user_id=machine.id), actor=SYSTEM)
    assert not await machines.alive(token)
    assert await machines.alive(await machines.log_in(key.client_secret))
    assert not await machines.alive(token)


async def test_a_machine_logs_out_of_one_session(world: World, machines: Machines) -> None:
    _, key = await machines.working()
    actor = await machines.actor(key.client_secret)
    await world.ubr.log_out(actor=actor)
    with pytest.raises(InvalidToken):
        await world.ubr.get_me(actor=actor)
    assert await machines.actor(key.client_secret) != actor


async def test_scopes_open_a_bounded_number_of_sessions(world: World, machines: Machines) -> None:
    machine = await machines.machine()
    await world.assign(machine.id, "admin")
    key = await machines.key(machine.id)
    names = ["users:read", "users:write", "users:delete", "roles:read", "roles:write", "logs:read"]
    for number in range(1, 2 ** len(names)):
        scope = " ".join(name for at, name in enumerate(names) if number >> at & 1)
        world.clock.move(seconds=1)
        await machines.log_in(key.client_secret, scope)
    assert await sessions_of(world, machine.id) == 50


async def test_a_key_evicts_no_session_of_another_key(world: World, machines: Machines) -> None:
    names = ["users:read", "users:write", "users:delete", "roles:read", "roles:write", "logs:read"]
    machine, key = await machines.working(*names)
    production = await machines.actor(key.client_secret)
    narrow = await machines.key(machine.id, scope=names)
    for number in range(1, 2 ** len(names)):
        scope = " ".join(name for at, name in enumerate(names) if number >> at & 1)
        world.clock.move(seconds=1)
        await machines.log_in(narrow.client_secret, scope)
    assert await sessions_of(world, machine.id) == 51
    await world.ubr.get_me(actor=production)


async def test_refused_logins_are_limited_per_client_ip_and_right_ones_per_key() -> None:
    usual = LoginRateLimit(Limit(10, HOUR), Limit(100, HOUR))
    three, two = RateLimit(Limit(3, HOUR)), RateLimit(Limit(2, HOUR))
    async with new_world(login_rate_limit=usual, machine_rate_limit=three, invalid_key_rate_limit=two) as world:
        machines = Machines(world)
        machine, key = await machines.working()
        wrong = key_text(MachineKeyId(key.key.id), b"1" * 32)
        await world.acts()
        with calling_from(Origin(ip="192.0.2.1")):
            for _ in range(2):
                with pytest.raises(InvalidClient):
                    await machines.log_in(wrong)
            for _ in range(3):
                with pytest.raises(RateLimited):
                    await machines.log_in(wrong)
            # A stranger locks nobody out, not even on the same client.
            for _ in range(3):
                await machines.log_in(key.client_secret)
            with pytest.raises(RateLimited):
                await machines.log_in(key.client_secret)
        assert len(await refusals(world)) == 2
        await machines.log_in((await machines.key(machine.id)).client_secret)
