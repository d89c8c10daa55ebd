"""Every store keeps machines, their keys and the sessions of these in the same way."""

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest

from tests.contracts.kit import HOUR, NOON, new_grant, new_role, new_session, put
from ubr.application.ports.paging import After
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.accounts.user import UserKind, UserStatus
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import MachineNameTaken, UserNotFound
from ubr.domain.ids import MachineKeyId, UserId
from ubr.domain.machines.key import MachineKey
from ubr.domain.machines.machine import Machine, MachineName
from ubr.domain.roles.role import ADMIN_ROLE_ID
from ubr.domain.sessions.session import Session
from ubr.domain.sessions.termination import SecurityEvent


def new_machine(name: str | None = None) -> Machine:
    name = name or f"m{uuid4().hex}"
    machine = Machine.create(id=UserId(uuid4()), name=MachineName(name), description=None, now=NOON)
    machine.user.grants.clear()
    return machine


def new_machine_key(
    machine: Machine,
    *,
    created: datetime = NOON,
    expires_at: datetime | None = None,
    revoked_at: datetime | None = None,
    scope: str | None = None,
) -> MachineKey:
    return MachineKey(
        id=MachineKeyId(uuid4()),
        user_id=machine.id,
        name="a key",
        sealed=b"\x00sealed\xff",
        scope=scope,
        created_at=created,
        expires_at=expires_at,
        revoked_at=revoked_at,
    )


def session_of(
    key: MachineKey,
    machine: Machine,
    scope: str | None = None,
    *,
    idle: timedelta = HOUR,
    lifetime: timedelta = 24 * HOUR,
) -> Session:
    return replace(new_session(machine.user, idle=idle, lifetime=lifetime), key_id=key.id, scope=scope)


async def store(uow: UnitOfWork, *things: Machine | MachineKey) -> None:
    async with uow.begin(SYSTEM) as tx:
        for thing in things:
            await (tx.machines.add(thing) if isinstance(thing, Machine) else tx.machine_keys.add(thing))
        await tx.commit()


async def test_a_machine_comes_back_as_it_was_stored(uow: UnitOfWork) -> None:
    role, machine = new_role(), new_machine("report")
    machine.description = "Of the night"
    await put(uow, role)
    machine.user.grants[role.id] = new_grant(role)
    await store(uow, machine)
    async with uow.begin(SYSTEM) as tx:
        found = await tx.machines.get(machine.id)
        assert found is not None
        assert (found.name, found.description, found.user.kind) == ("report", "Of the night", UserKind.MACHINE)
        assert found.user == machine.user
        found.update(description=None, status=UserStatus.DISABLED, now=NOON + HOUR)
        await tx.machines.save(found)
        await tx.commit()
    async with uow.read() as tx:
        again = await tx.machines.get(machine.id)
        assert again is not None
        assert (again.description, again.user.active, again.user.updated_at) == (None, False, NOON + HOUR)
        assert await tx.users.get(machine.id) == again.user
        assert await tx.machines.get(UserId(uuid4())) is None


async def test_a_name_belongs_to_one_machine_until_that_is_gone(uow: UnitOfWork) -> None:
    machine = new_machine("report")
    await store(uow, machine)
    with pytest.raises(MachineNameTaken):
        await store(uow, new_machine("report"))
    async with uow.begin(SYSTEM) as tx:
        found = await tx.users.get(machine.id)
        assert found is not None
        await tx.users.remove(found)
        await tx.commit()
    await store(uow, new_machine("report"))


async def test_machines_are_paged_by_name_with_their_grants(uow: UnitOfWork) -> None:
    roles = [new_role(), new_role()]
    await put(uow, *roles)
    made = [new_machine(name) for name in ("delta", "alpha", "charlie", "b-2", "b_1")]
    for machine in made:
        machine.user.grants |= {role.id: new_grant(role) for role in roles}
    made[1].user.grants.clear()
    await store(uow, *made)
    async with uow.read() as tx:
        first = await tx.machines.page(None, 2)
        rest = await tx.machines.page(After(str(first[-1].name), first[-1].id), 9)
        assert [(str(each.name), len(each.user.grants)) for each in first + rest] == [
            ("alpha", 0),
            ("b-2", 2),
            ("b_1", 2),
            ("charlie", 2),
            ("delta", 2),
        ]


async def test_a_page_goes_on_after_a_machine_that_is_gone(uow: UnitOfWork) -> None:
    gone, successor = sorted([new_machine("alpha"), new_machine("alpha")], key=lambda machine: machine.id)
    await store(uow, gone, new_machine("bravo"))
    async with uow.begin(SYSTEM) as tx:
        user = await tx.users.get(gone.id)
        assert user is not None
        await tx.users.remove(user)
        await tx.commit()
    await store(uow, successor)
    async with uow.read() as tx:
        found = await tx.machines.page(After("alpha", gone.id), 9)
        assert [each.name for each in found] == ["alpha", "bravo"], "one that took the name is another machine"
        found = await tx.machines.page(After("alpha", successor.id), 9)
        assert [each.name for each in found] == ["bravo"]


async def test_a_machine_is_no_other_administrator(uow: UnitOfWork) -> None:
    role, machine = new_role("admin", "*", id=ADMIN_ROLE_ID), new_machine()
    await put(uow, role)
    machine.user.grants[role.id] = new_grant(role)
    await store(uow, machine)
    async with uow.begin(SYSTEM) as tx:
        assert not await tx.users.another_admin_stays(UserId(uuid4()))


async def test_a_key_comes_back_as_it_was_stored(uow: UnitOfWork) -> None:
    machine = new_machine()
    key = new_machine_key(machine, expires_at=NOON + HOUR, scope="users:read")
    await store(uow, machine, key)
    async with uow.begin(SYSTEM) as tx:
        assert await tx.machine_keys.get(MachineKeyId(uuid4())) is None
        found = await tx.machine_keys.get(key.id)
        assert found == key
        found.use(now=NOON)
        found.revoke(now=NOON)
        found.sealed = b"another"
        await tx.machine_keys.save(found)
        await tx.commit()
    async with uow.read() as tx:
        assert await tx.machine_keys.get(key.id) == replace(key, revoked_at=NOON, last_used_at=NOON)


async def test_a_key_needs_its_machine_and_goes_with_it(uow: UnitOfWork) -> None:
    machine = new_machine()
    key = new_machine_key(machine)
    with pytest.raises(UserNotFound):
        await store(uow, key)
    await store(uow, machine, key)
    async with uow.begin(SYSTEM) as tx:
        await tx.users.remove(machine.user)
        await tx.commit()
    async with uow.read() as tx:
        assert await tx.machine_keys.get(key.id) is None


async def test_keys_are_paged_newest_first(uow: UnitOfWork) -> None:
    machine, other = new_machine(), new_machine()
    keys = [new_machine_key(machine, created=NOON + n * HOUR) for n in range(4)]
    await store(uow, machine, other, *keys, new_machine_key(other))
    async with uow.read() as tx:
        first = await tx.machine_keys.page(machine.id, None, 3)
        rest = await tx.machine_keys.page(machine.id, After(first[-1].created_at, first[-1].id), 3)
        assert first + rest == keys[::-1]


async def test_only_keys_that_are_accepted_count(uow: UnitOfWork) -> None:
    machine, other = new_machine(), new_machine()
    counted = [new_machine_key(machine), new_machine_key(machine, expires_at=NOON + HOUR)]
    ended = [new_machine_key(machine, expires_at=NOON), new_machine_key(machine, revoked_at=NOON)]
    await store(uow, machine, other, *counted, *ended, new_machine_key(other))
    async with uow.read() as tx:
        assert await tx.machine_keys.count(machine.id, NOON) == len(counted)


async def test_ended_keys_are_forgotten(uow: UnitOfWork) -> None:
    machine = new_machine()
    kept = [
        new_machine_key(machine),
        new_machine_key(machine, expires_at=NOON),
        new_machine_key(machine, revoked_at=NOON),
    ]
    gone = [new_machine_key(machine, expires_at=NOON - HOUR), new_machine_key(machine, revoked_at=NOON - HOUR)]
    await store(uow, machine, *kept, *gone)
    async with uow.begin(SYSTEM) as tx:
        assert [await tx.machine_keys.forget(NOON, 1) for _ in range(3)] == [1, 1, 0]
        await tx.commit()
    async with uow.read() as tx:
        assert {key.id for key in await tx.machine_keys.page(machine.id, None, 9)} == {key.id for key in kept}


async def test_a_digest_is_replaced_once(uow: UnitOfWork) -> None:
    machine = new_machine()
    keys = sorted((new_machine_key(machine) for _ in range(5)), key=lambda key: key.id)
    await store(uow, machine, *keys)
    async with uow.begin(SYSTEM) as tx:
        first = await tx.machine_keys.every(None, 2)
        assert first + await tx.machine_keys.every(first[-1].id, 9) == keys
        assert await tx.machine_keys.rebind(keys[0], b"anew")
        assert not await tx.machine_keys.rebind(keys[0], b"again")
        await tx.commit()
    async with uow.read() as tx:
        assert await tx.machine_keys.get(keys[0].id) == replace(keys[0], sealed=b"anew")


async def test_a_session_of_a_key_is_found_by_its_scope(uow: UnitOfWork) -> None:
    machine = new_machine()
    key, other = new_machine_key(machine), new_machine_key(machine)
    await store(uow, machine, key, other)
    narrow = session_of(key, machine, "users:read")
    old, whole = session_of(key, machine), replace(session_of(key, machine), created_at=NOON + HOUR / 2)
    ended = replace(session_of(key, machine, "ended"), ended_at=NOON)
    await put(uow, old, whole, narrow, ended, session_of(other, machine, "others"), new_session(machine.user))
    async with uow.read() as tx:
        assert await tx.sessions.of_key(key, None, NOON) == whole.id
        assert await tx.sessions.of_key(key, "users:read", NOON) == narrow.id
        assert await tx.sessions.of_key(key, "users:read", NOON + HOUR) is None
        for scope in ("", "ended", "others"):
            assert await tx.sessions.of_key(key, scope, NOON) is None
        assert await tx.sessions.get(narrow.id) == narrow
        principal = await tx.principals.get(narrow.id)
        assert principal is not None
        assert (principal.session, principal.user) == (narrow, machine.user)


async def live(uow: UnitOfWork, user_id: UserId, now: datetime) -> set[UUID]:
    async with uow.read() as tx:
        return {session.id for session in await tx.sessions.page(user_id, now, None, 99)}


async def test_the_sessions_of_a_key_end_and_no_others(uow: UnitOfWork) -> None:
    machine = new_machine()
    key, other = new_machine_key(machine), new_machine_key(machine)
    await store(uow, machine, key, other)
    its = [session_of(key, machine), session_of(key, machine, "users:read")]
    spared = [session_of(other, machine), new_session(machine.user)]
    await put(uow, *its, *spared)
    async with uow.begin(SYSTEM) as tx:
        assert await tx.sessions.end_of_key(key, SecurityEvent.KEY_REVOKED, NOON) == len(its)
        assert await tx.sessions.end_of_key(key, SecurityEvent.KEY_REVOKED, NOON) == 0
        await tx.commit()
        assert tx.must_propagate
    assert await live(uow, machine.id, NOON) == {session.id for session in spared}


async def test_the_sessions_of_a_key_beyond_the_most_recently_used_ones_are_evicted_and_no_others(
    uow: UnitOfWork,
) -> None:
    machine = new_machine()
    key, other = new_machine_key(machine), new_machine_key(machine)
    await store(uow, machine, key, other)
    its = [replace(session_of(key, machine, f"{at}"), last_seen_at=NOON - at * HOUR / 60) for at in range(5)]
    spared = [
        replace(each, last_seen_at=NOON - HOUR / 2) for each in (session_of(other, machine), new_session(machine.user))
    ]
    await put(uow, *its, *spared)
    for keep, limit, ended, left in ((5, 9, 0, 5), (2, 1, 1, 4), (2, 9, 2, 2)):
        async with uow.begin(SYSTEM) as tx:
            assert await tx.sessions.evict_of_key(key, NOON, keep=keep, limit=limit) == ended
            await tx.commit()
            assert not tx.must_propagate
        assert await live(uow, machine.id, NOON) == {session.id for session in (*its[:left], *spared)}


async def test_the_sessions_of_a_key_get_an_earlier_end_and_never_a_later_one(uow: UnitOfWork) -> None:
    machine = new_machine()
    key, other = new_machine_key(machine), new_machine_key(machine)
    await store(uow, machine, key, other)
    long, short = session_of(key, machine, idle=3 * HOUR), session_of(key, machine, lifetime=HOUR / 2)
    others = session_of(other, machine)
    await put(uow, long, short, others)
    async with uow.begin(SYSTEM) as tx:
        await tx.sessions.shorten(key, NOON + HOUR, NOON)
        await tx.commit()
    async with uow.read() as tx:
        assert await tx.sessions.get(long.id) == replace(long, expires_at=NOON + HOUR, idle_expires_at=NOON + HOUR)
        assert await tx.sessions.get(short.id) == short
        assert await tx.sessions.get(others.id) == others
