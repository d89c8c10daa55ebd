"""An inspection reads the state of keys, audit log, administrators and outbox, whatever is wrong with them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from dependency_injector import providers

from tests.support.machines import Machines
from tests.support.people import World, give_up
from ubr.adapters.memory import MemoryStore
from ubr.application.accounts.create_user import CreateUserCommand
from ubr.application.app import Application
from ubr.application.operations.inspect_installation import InspectionResult
from ubr.bootstrap.memory import MemoryContainer
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import Forbidden
from ubr.settings import Settings
from ubr.testing import TINY_HASHING, MovableClock


def application(store: MemoryStore, clock: MovableClock, secret: bytes) -> Application:
    """A process over these rows, that has not initialized them."""
    made = MemoryContainer(settings=Settings.memory(**TINY_HASHING, secret_keys=(secret,)))
    made.clock.override(providers.Object(clock))
    made.store.override(providers.Object(store))
    return made.application()


async def inspected(world: World) -> InspectionResult:
    return await world.ubr.inspect_installation(actor=SYSTEM)


async def test_an_empty_store() -> None:
    state = await application(MemoryStore(), MovableClock(), b"r" * 32).inspect_installation(actor=SYSTEM)
    assert (state.prepared, state.administrator) == (False, False)
    assert (state.keys.signing, state.keys.locked) == (None, [])
    assert (state.log.keys, state.log.size, state.log.damage) == (0, None, None)
    assert (state.locked_passwords, state.passwords) == (0, 0)


async def test_a_prepared_store(world: World) -> None:
    state = await inspected(world)
    [key] = await world.ubr.list_signing_keys(actor=SYSTEM)
    assert state.prepared
    assert (state.keys.signing, state.keys.since, state.keys.locked) == (key.kid, key.signs_from, [])
    assert (state.log.keys, state.log.locked, state.log.damage) == (1, None, None)
    assert not state.administrator
    await world.admin()
    state = await inspected(world)
    assert state.administrator
    assert (state.locked_passwords, state.passwords) == (0, 1)


async def test_another_secret_decrypts_nothing() -> None:
    store, clock = MemoryStore(), MovableClock()
    first = application(store, clock, b"r" * 32)
    await first.initialize()
    await World(first, clock).admin()
    state = await application(store, clock, b"w" * 32).inspect_installation(actor=SYSTEM)
    [key] = await first.list_signing_keys(actor=SYSTEM)
    [log_key] = await first.list_log_keys(actor=SYSTEM)
    assert state.keys.locked == [key.kid]
    assert state.log.locked is not None
    assert log_key.key.startswith(state.log.locked)
    assert (state.locked_passwords, state.passwords) == (1, 1)
    assert state.prepared
    assert state.administrator


async def test_keys_of_machines_are_reviewed(world: World) -> None:
    machines = Machines(world)
    good = await machines.machine(name="good")
    await machines.key(good.id, expires_at=world.clock() + timedelta(days=200))
    keys = (await inspected(world)).machine_keys
    assert (keys.accepted, keys.lasting, keys.unused, keys.ending) == (1, [], [], [])
    forever, soon, rotated = [await machines.machine(name=name) for name in ("forever", "soon", "rotated")]
    lasting = await machines.key(forever.id)
    ending = await machines.key(soon.id, expires_at=world.clock() + timedelta(days=101))
    old = await machines.key(rotated.id, expires_at=world.clock() + timedelta(days=101))
    ended = await machines.key(soon.id, expires_at=world.clock() + timedelta(days=50))
    revoked = await machines.key(forever.id)
    await machines.revoke(forever.id, revoked.key.id)
    world.clock.move(days=89)
    for key in (ending, old):
        await machines.log_in(key.client_secret)
    await machines.rotate(rotated.id, old.key.id)
    world.clock.move(days=1)
    assert not (await inspected(world)).machine_keys.unused
    world.clock.move(seconds=1)
    keys = (await inspected(world)).machine_keys
    assert {key.machine for key in keys.lasting} == {"forever", "rotated"}
    assert {key.machine for key in keys.unused} == {"good", "forever"}
    assert [(key.machine, key.id) for key in keys.ending] == [("soon", ending.key.id)]
    assert lasting.key.id in {key.id for key in keys.lasting}
    assert ended.key.id not in {key.id for key in keys.unused}


async def test_entries_wait_until_they_are_signed(world: World) -> None:
    await world.ubr.get_checkpoint(actor=SYSTEM)
    signed = (await inspected(world)).log
    assert (signed.waiting, signed.waiting_since) == (0, None)
    then = world.clock()
    await world.register()
    world.clock.move(minutes=5)
    state = await inspected(world)
    assert state.log.waiting > 0
    assert state.log.waiting_since == then
    assert state.now - then == timedelta(minutes=5)
    assert state.log.size == signed.size


async def test_mails_are_counted(world: World) -> None:
    await world.ubr.create_user(CreateUserCommand(email="waiting@example.org"), actor=SYSTEM)
    since = world.clock()
    world.clock.move(minutes=1)
    await world.ubr.create_user(CreateUserCommand(email="dead@example.org"), actor=SYSTEM)
    await give_up(world.ubr, "dead@example.org")
    outbox = (await inspected(world)).outbox
    assert (outbox.waiting, outbox.due_since, outbox.given_up) == (1, since, 1)


async def test_a_mail_that_waits_for_its_next_attempt_is_not_due(world: World) -> None:
    await world.ubr.create_user(CreateUserCommand(email="waiting@example.org"), actor=SYSTEM)
    async with world.ubr.deliver_mail.unit_of_work.begin(SYSTEM) as tx:
        [queued] = await tx.outbox.page(None, 9)
        assert await tx.outbox.save(queued.failed("the server answered 451", for_good=False, now=tx.now), was=queued)
        await tx.commit()
    outbox = (await inspected(world)).outbox
    assert (outbox.waiting, outbox.due_since) == (1, None)


async def test_it_requires_every_permission(world: World) -> None:
    admin, manager = await world.admin(), await world.user("users:write", "logs:read")
    assert (await world.ubr.inspect_installation(actor=admin.actor)).prepared
    with pytest.raises(Forbidden):
        await world.ubr.inspect_installation(actor=manager.actor)
