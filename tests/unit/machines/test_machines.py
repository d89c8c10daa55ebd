"""Machines and their keys: what they are, and who may make them."""

from datetime import timedelta
from uuid import UUID, uuid4

import msgspec
import pytest

from tests.support.machines import Machines
from tests.support.people import OTHER_PASSWORD, PASSWORD, World, new_world
from ubr.application.accounts.change_password import ChangePasswordCommand
from ubr.application.accounts.create_admin import CreateAdminCommand
from ubr.application.accounts.delete_user import DeleteUserCommand
from ubr.application.accounts.erase_user import EraseUserCommand
from ubr.application.accounts.export_user import ExportUserCommand
from ubr.application.accounts.list_users import ListUsersCommand
from ubr.application.accounts.request_email_change import RequestEmailChangeCommand
from ubr.application.accounts.request_password_reset import RequestPasswordResetCommand
from ubr.application.accounts.resend_verification import ResendVerificationCommand
from ubr.application.accounts.update_user import UpdateUserCommand, UserChanges
from ubr.application.kernel.representations import MachineKeyResult
from ubr.application.machines.create_machine import CreateMachineCommand
from ubr.application.machines.create_machine_key import CreateMachineKeyCommand, KeyToCreate
from ubr.application.machines.delete_machine import DeleteMachineCommand
from ubr.application.machines.get_machine import GetMachineCommand
from ubr.application.machines.list_machine_keys import ListMachineKeysCommand
from ubr.application.machines.list_machines import ListMachinesCommand
from ubr.application.machines.update_machine import MachineChanges, UpdateMachineCommand
from ubr.application.operations.janitor import ENDED_KEYS_LAST
from ubr.application.roles.assign_role import AssignRoleCommand
from ubr.application.roles.unassign_role import UnassignRoleCommand
from ubr.bootstrap import open_environment
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import (
    Forbidden,
    GrantExceedsOwn,
    Invalid,
    InvalidCredentials,
    LastAdmin,
    MachineAccount,
    MachineKeyEnded,
    MachineKeyNotFound,
    MachineNameTaken,
    MachineNotFound,
    PreconditionFailed,
    TooManyMachineKeys,
    UserNotFound,
)
from ubr.settings import Settings
from ubr.testing import MovableClock
from ubr.testing.memory import TINY_HASHING

HOUR = timedelta(hours=1)


async def keys_of(world: World, machine_id: UUID) -> list[MachineKeyResult]:
    command = ListMachineKeysCommand(machine_id=machine_id, limit=200)
    return (await world.ubr.list_machine_keys(command, actor=SYSTEM)).items


async def test_a_machine_is_created_read_changed_and_deleted(world: World) -> None:
    ubr = world.ubr
    role = await world.role("users:read")
    command = CreateMachineCommand(name="report", description="Of the night", roles=[role.name])
    machine = await ubr.create_machine(command, actor=SYSTEM)
    assert (machine.name, machine.description, machine.status) == ("report", "Of the night", "active")
    assert machine.roles == sorted([role.name, "user"])
    assert await ubr.get_machine(GetMachineCommand(machine_id=machine.id), actor=SYSTEM) == machine
    with pytest.raises(MachineNameTaken):
        await ubr.create_machine(CreateMachineCommand(name="report"), actor=SYSTEM)
    changes = MachineChanges(description=None, status=UserStatus.DISABLED)
    stale = UpdateMachineCommand(machine_id=machine.id, changes=changes, if_match=("0",))
    with pytest.raises(PreconditionFailed):
        await ubr.update_machine(stale, actor=SYSTEM)
    current = msgspec.structs.replace(stale, if_match=(machine.revision,))
    changed = await ubr.update_machine(current, actor=SYSTEM)
    assert (changed.description, changed.status) == (None, "disabled")
    assert changed.revision != machine.revision
    with pytest.raises(PreconditionFailed):
        await ubr.delete_machine(DeleteMachineCommand(machine_id=machine.id, if_match=("0",)), actor=SYSTEM)
    await ubr.delete_machine(DeleteMachineCommand(machine_id=machine.id), actor=SYSTEM)
    with pytest.raises(MachineNotFound):
        await ubr.get_machine(GetMachineCommand(machine_id=machine.id), actor=SYSTEM)
    entries = [(entry.action, entry.target.id if entry.target else None) for entry in await world.acts()]
    assert entries == [
        ("role.created", str(role.id)),
        ("machine.created", str(machine.id)),
        ("role.assigned", str(machine.id)),
        ("machine.updated", str(machine.id)),
        ("user.disabled", str(machine.id)),
        ("user.deleted", str(machine.id)),
    ]


async def test_machines_are_listed_by_name_in_pages(world: World, machines: Machines) -> None:
    for name in ("charlie", "alpha", "bravo"):
        await machines.machine("users:read", name=name)
    found, cursor = [], None
    while True:
        page = await world.ubr.list_machines(ListMachinesCommand(limit=2, cursor=cursor), actor=SYSTEM)
        found += [(machine.name, len(machine.roles)) for machine in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == [("alpha", 2), ("bravo", 2), ("charlie", 2)]


@pytest.mark.parametrize("name", ["", "Report", "1st", "a" * 51, "a b", "ä"])
async def test_a_name_of_another_form_is_refused(world: World, name: str) -> None:
    with pytest.raises(Invalid):
        await world.ubr.create_machine(CreateMachineCommand(name=name), actor=SYSTEM)


async def test_the_account_of_a_machine_is_a_user_that_says_what_it_is(world: World, machines: Machines) -> None:
    machine = await machines.machine()
    person = await world.register()
    page = await world.ubr.list_users(ListUsersCommand(q="machine"), actor=SYSTEM)
    assert [(user.id, user.kind) for user in page.items] == [(machine.id, "machine")]
    assert (await world.seen(person.id)).kind == "person"
    with pytest.raises(MachineNotFound):
        await world.ubr.get_machine(GetMachineCommand(machine_id=person.id), actor=SYSTEM)


async def test_a_machine_is_not_changed_as_a_person_is(world: World, machines: Machines) -> None:
    """With an e-mail of its own, whoever may change users could set its password."""
    ubr = world.ubr
    machine, key = await machines.working("users:write")
    email = (await world.seen(machine.id)).email
    for changes in (
        UserChanges(email="thief@example.org"),
        UserChanges(full_name="x"),
        UserChanges(status=UserStatus.DISABLED),
    ):
        with pytest.raises(MachineAccount):
            await ubr.update_user(UpdateUserCommand(user_id=machine.id, changes=changes), actor=SYSTEM)
    with pytest.raises(MachineAccount):
        await ubr.delete_user(DeleteUserCommand(user_id=machine.id), actor=SYSTEM)
    with pytest.raises(MachineAccount):
        await ubr.erase_user(EraseUserCommand(user_id=machine.id), actor=SYSTEM)
    with pytest.raises(MachineAccount):
        await ubr.create_admin(CreateAdminCommand(email=email, password=PASSWORD, take_over=True), actor=SYSTEM)
    actor = await machines.actor(key.client_secret)
    new_password = ChangePasswordCommand(current_password=PASSWORD, new_password=OTHER_PASSWORD)
    with pytest.raises(MachineAccount):
        await ubr.change_password(new_password, actor=actor)
    new_email = RequestEmailChangeCommand(email="thief@example.org", current_password=PASSWORD)
    with pytest.raises(MachineAccount):
        await ubr.request_email_change(new_email, actor=actor)
    with pytest.raises(InvalidCredentials):
        await world.log_in(email, key.client_secret)
    await ubr.request_password_reset(RequestPasswordResetCommand(email=email))
    await ubr.resend_verification(ResendVerificationCommand(email=email))
    assert await world.mails() == []


async def test_a_machine_exports_its_own_data_only_with_the_permissions_to(world: World, machines: Machines) -> None:
    _, key = await machines.working()
    actor = await machines.actor(key.client_secret)
    with pytest.raises(Forbidden):
        await world.ubr.export_user(ExportUserCommand(user_id=actor.user_id), actor=actor)


async def test_a_machine_does_not_count_as_the_last_administrator(world: World, machines: Machines) -> None:
    admin = await world.admin()
    machine = await machines.machine()
    await world.assign(machine.id, "admin")
    with pytest.raises(LastAdmin):
        await world.ubr.unassign_role(UnassignRoleCommand(user_id=admin.id, role="admin"), actor=SYSTEM)
    await world.ubr.delete_machine(DeleteMachineCommand(machine_id=machine.id), actor=SYSTEM)


# --- rights ----------------------------------------------------------------------------------------------------------


async def test_each_act_takes_its_permission(world: World, machines: Machines) -> None:
    machine, key = await machines.working()
    reader, writer, nobody = await world.user("machines:read"), await world.user("machines:write"), await world.user()
    ubr = world.ubr
    one, its_keys = GetMachineCommand(machine_id=machine.id), ListMachineKeysCommand(machine_id=machine.id)
    for actor in (nobody.actor, writer.actor):
        with pytest.raises(Forbidden):
            await ubr.get_machine(one, actor=actor)
        with pytest.raises(Forbidden):
            await ubr.list_machines(ListMachinesCommand(), actor=actor)
        with pytest.raises(Forbidden):
            await ubr.list_machine_keys(its_keys, actor=actor)
    await ubr.get_machine(one, actor=reader.actor)
    await ubr.list_machines(ListMachinesCommand(), actor=reader.actor)
    assert [each.id for each in (await ubr.list_machine_keys(its_keys, actor=reader.actor)).items] == [key.key.id]
    itself = await machines.actor(key.client_secret)
    await ubr.get_machine(one, actor=itself)
    await ubr.list_machine_keys(its_keys, actor=itself)
    for actor in (nobody.actor, reader.actor, itself):
        with pytest.raises(Forbidden):
            await machines.machine(actor=actor)
        with pytest.raises(Forbidden):
            await machines.set_status(machine.id, UserStatus.DISABLED, actor=actor)
        with pytest.raises(Forbidden):
            await machines.key(machine.id, actor=actor)
        with pytest.raises(Forbidden):
            await machines.rotate(machine.id, key.key.id, actor=actor)
        with pytest.raises(Forbidden):
            await machines.revoke(machine.id, key.key.id, actor=actor)
        with pytest.raises(Forbidden):
            await ubr.delete_machine(DeleteMachineCommand(machine_id=machine.id), actor=actor)
    made = await machines.machine(name="made", actor=writer.actor)
    with_a_role = CreateMachineCommand(name="other", roles=["user"])
    with pytest.raises(Forbidden):
        await ubr.create_machine(with_a_role, actor=writer.actor)
    await machines.key(made.id, actor=writer.actor)


async def test_nobody_acts_upon_a_machine_that_holds_more(world: World, machines: Machines) -> None:
    """Whoever has a key acts as the machine, so a key for a mightier one would be a way to rise."""
    machine, key = await machines.working("logs:read")
    lower = await world.user("machines:write", "roles:assign", "users:read")
    mighty = await world.role("logs:read")
    acts = (
        lambda: machines.key(machine.id, actor=lower.actor),
        lambda: machines.key(machine.id, scope=["users:read"], actor=lower.actor),
        lambda: machines.rotate(machine.id, key.key.id, actor=lower.actor),
        lambda: machines.revoke(machine.id, key.key.id, actor=lower.actor),
        lambda: machines.set_status(machine.id, UserStatus.DISABLED, actor=lower.actor),
        lambda: world.ubr.delete_machine(DeleteMachineCommand(machine_id=machine.id), actor=lower.actor),
        lambda: world.ubr.create_machine(CreateMachineCommand(name="mightier", roles=[mighty.name]), actor=lower.actor),
    )
    await world.acts()
    for act in acts:
        with pytest.raises(GrantExceedsOwn):
            await act()
    assert await world.acts() == []
    assert len(await keys_of(world, machine.id)) == 1


async def test_a_scoped_token_makes_no_wider_key_for_its_own_machine(world: World, machines: Machines) -> None:
    machine = await machines.machine("machines:write", "logs:read")
    narrow = await machines.key(machine.id, scope=["machines:write"])
    actor = await machines.actor(narrow.client_secret)
    with pytest.raises(GrantExceedsOwn):
        await machines.key(machine.id, actor=actor)
    with pytest.raises(GrantExceedsOwn):
        await machines.rotate(machine.id, narrow.key.id, actor=actor)
    whole = await machines.actor((await machines.key(machine.id)).client_secret)
    await machines.key(machine.id, actor=whole)


async def test_a_key_with_an_end_makes_none_that_outlasts_it(world: World, machines: Machines) -> None:
    machine = await machines.machine("machines:write")
    short = await machines.key(machine.id, expires_at=world.clock() + HOUR)
    actor = await machines.actor(short.client_secret)
    for end in (None, world.clock() + 2 * HOUR):
        with pytest.raises(GrantExceedsOwn):
            await machines.key(machine.id, expires_at=end, actor=actor)
    with pytest.raises(GrantExceedsOwn):
        await machines.rotate(machine.id, short.key.id, actor=actor)
    await machines.key(machine.id, expires_at=world.clock() + HOUR, actor=actor)


async def test_a_right_with_an_end_gives_no_key_without_one(world: World, machines: Machines) -> None:
    machine = await machines.machine("logs:read")
    role = await world.role("machines:write", "logs:read")
    user = await world.user()
    end = world.clock() + HOUR
    await world.ubr.assign_role(AssignRoleCommand(user_id=user.id, role=role.name, expires_at=end), actor=SYSTEM)
    with pytest.raises(GrantExceedsOwn):
        await machines.key(machine.id, actor=user.actor)
    await machines.key(machine.id, expires_at=end, actor=user.actor)


# --- keys ------------------------------------------------------------------------------------------------------------


async def test_a_key_is_shown_once_and_listed_without_its_text(world: World, machines: Machines) -> None:
    machine, key = await machines.working()
    assert key.client_id == machine.id
    assert key.client_secret not in repr(key)
    listed = await keys_of(world, machine.id)
    assert listed == [key.key]
    shown = msgspec.json.encode(listed).decode() + repr(await world.acts())
    assert key.client_secret[30:] not in shown


async def test_keys_are_listed_newest_first_in_pages(world: World, machines: Machines) -> None:
    machine = await machines.machine()
    made = []
    for _ in range(5):
        world.clock.move(seconds=1)
        made.append((await machines.key(machine.id)).key.id)
    found, cursor = [], None
    while True:
        command = ListMachineKeysCommand(machine_id=machine.id, limit=2, cursor=cursor)
        page = await world.ubr.list_machine_keys(command, actor=SYSTEM)
        found += [key.id for key in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == made[::-1]


async def test_a_machine_has_a_bounded_number_of_keys(world: World, machines: Machines) -> None:
    machine = await machines.machine()
    keys = [await machines.key(machine.id) for _ in range(20)]
    with pytest.raises(TooManyMachineKeys):
        await machines.key(machine.id)
    with pytest.raises(TooManyMachineKeys):
        await machines.rotate(machine.id, keys[0].key.id)
    assert await machines.alive(await machines.log_in(keys[0].client_secret))
    await machines.rotate(machine.id, keys[0].key.id, overlap=0)
    await machines.revoke(machine.id, keys[1].key.id)
    await machines.key(machine.id)


async def test_a_key_belongs_to_its_machine(machines: Machines) -> None:
    machine, _ = await machines.working()
    _, others = await machines.working()
    for key_id in (others.key.id, uuid4()):
        with pytest.raises(MachineKeyNotFound):
            await machines.rotate(machine.id, key_id)
        with pytest.raises(MachineKeyNotFound):
            await machines.revoke(machine.id, key_id)
    assert await machines.alive(await machines.log_in(others.client_secret))


async def test_a_person_has_no_keys(world: World, machines: Machines) -> None:
    person = await world.register()
    with pytest.raises(MachineNotFound):
        await machines.key(person.id)
    with pytest.raises(UserNotFound):
        await machines.key(uuid4())


async def test_a_key_that_has_ended_cannot_be_rotated(machines: Machines) -> None:
    machine, key = await machines.working()
    await machines.revoke(machine.id, key.key.id)
    with pytest.raises(MachineKeyEnded):
        await machines.rotate(machine.id, key.key.id)


@pytest.mark.parametrize("overlap", [-1, 30 * 86_400 + 1])
async def test_an_overlap_out_of_range_is_refused(machines: Machines, overlap: int) -> None:
    machine, key = await machines.working()
    with pytest.raises(Invalid):
        await machines.rotate(machine.id, key.key.id, overlap)


@pytest.mark.parametrize(
    "key",
    [
        KeyToCreate(name=""),
        KeyToCreate(name="a" * 101),
        KeyToCreate(name="a key", scope=["users"]),
        KeyToCreate(name="a key", scope=["others:read"]),
        KeyToCreate(name="a key", scope=["users:read"] * 201 + [f"a{n}:b" for n in range(201)]),
    ],
    ids=["no-name", "long-name", "malformed", "unknown", "too-many"],
)
async def test_a_key_with_bad_fields_is_refused(world: World, machines: Machines, key: KeyToCreate) -> None:
    machine = await machines.machine()
    with pytest.raises(Invalid):
        await world.ubr.create_machine_key(CreateMachineKeyCommand(machine_id=machine.id, key=key), actor=SYSTEM)


async def test_the_operator_bounds_the_life_of_a_key() -> None:
    async with new_world(machine_key_max_lifetime=HOUR) as world:
        machines = Machines(world)
        machine = await machines.machine()
        latest = world.clock() + HOUR
        assert (await machines.key(machine.id)).key.expires_at == latest
        assert (await machines.key(machine.id, expires_at=latest)).key.expires_at == latest
        for end in (latest + timedelta(seconds=1), world.clock() + timedelta(seconds=59)):
            with pytest.raises(Invalid):
                await machines.key(machine.id, expires_at=end)


async def test_a_key_is_forgotten_a_month_after_its_end() -> None:
    clock = MovableClock()
    async with open_environment(Settings.memory(**TINY_HASHING), clock=clock) as environment:
        world = World(environment.application, clock)
        machines = Machines(world)
        machine, revoked = await machines.working()
        lasting = await machines.key(machine.id)
        expiring = await machines.key(machine.id, expires_at=clock() + HOUR)
        await machines.revoke(machine.id, revoked.key.id)
        clock.move(days=ENDED_KEYS_LAST.days, minutes=1)
        await environment.janitor()
        assert {key.id for key in await keys_of(world, machine.id)} == {lasting.key.id, expiring.key.id}
        clock.move(hours=1)
        await environment.janitor()
        assert [key.id for key in await keys_of(world, machine.id)] == [lasting.key.id]
