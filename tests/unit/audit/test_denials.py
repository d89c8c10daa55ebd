"""What was not done stands in the log too: who was refused what, how often, and what was turned away unseen."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, fields
from datetime import timedelta
from inspect import Parameter, signature
from typing import Any
from uuid import UUID

import msgspec
import pytest
from dependency_injector import providers

from tests.support.people import OTHER_PASSWORD, PASSWORD, Member, World
from tests.support.values import names_of, replace
from ubr.adapters.memory import MemoryStore
from ubr.application.accounts.change_password import ChangePasswordCommand
from ubr.application.accounts.create_admin import CreateAdminCommand
from ubr.application.accounts.create_user import CreateUserCommand
from ubr.application.accounts.delete_user import DeleteUserCommand
from ubr.application.accounts.erase_user import EraseUserCommand
from ubr.application.accounts.explain_login import ExplainLoginCommand
from ubr.application.accounts.export_user import ExportUserCommand
from ubr.application.accounts.get_user import GetUserCommand
from ubr.application.accounts.get_user_by_email import GetUserByEmailCommand
from ubr.application.accounts.list_users import ListUsersCommand
from ubr.application.accounts.register_user import RegisterUserCommand
from ubr.application.accounts.request_email_change import RequestEmailChangeCommand
from ubr.application.accounts.unlock_user import UnlockUserCommand
from ubr.application.accounts.update_user import UpdateUserCommand, UserChanges
from ubr.application.app import Application, UseCases
from ubr.application.audit import denials as refusing
from ubr.application.audit.compare_checkpoint import CompareCheckpointCommand
from ubr.application.audit.denials import DenialRecorder
from ubr.application.audit.list_logs import ListLogsCommand
from ubr.application.audit.maintenance import AuditMaintenance
from ubr.application.audit.prove_log_entry import ProveLogEntryCommand
from ubr.application.audit.prune_log import PruneLogCommand
from ubr.application.audit.read_events import ReadEventsCommand
from ubr.application.audit.verify_log import VerifyLogCommand
from ubr.application.kernel.origin import Origin, calling_from
from ubr.application.kernel.representations import LogEntryResult
from ubr.application.keys.revoke_signing_key import RevokeSigningKeyCommand
from ubr.application.machines.create_machine import CreateMachineCommand
from ubr.application.machines.create_machine_key import CreateMachineKeyCommand, KeyToCreate
from ubr.application.machines.delete_machine import DeleteMachineCommand
from ubr.application.machines.get_machine import GetMachineCommand
from ubr.application.machines.list_machine_keys import ListMachineKeysCommand
from ubr.application.machines.list_machines import ListMachinesCommand
from ubr.application.machines.revoke_machine_key import RevokeMachineKeyCommand
from ubr.application.machines.rotate_machine_key import KeyRotation, RotateMachineKeyCommand
from ubr.application.machines.update_machine import MachineChanges, UpdateMachineCommand
from ubr.application.mail.list_mail import ListMailCommand
from ubr.application.mail.retry_mail import RetryMailCommand
from ubr.application.operations.acknowledge_restore import AcknowledgeRestoreCommand
from ubr.application.ports.unit_of_work import Repositories, Transaction, UnitOfWork
from ubr.application.revocation.follow_revocations import FollowRevocationsCommand
from ubr.application.revocation.stop_following_revocations import StopFollowingRevocationsCommand
from ubr.application.roles.assign_role import AssignRoleCommand
from ubr.application.roles.create_role import CreateRoleCommand
from ubr.application.roles.delete_role import DeleteRoleCommand
from ubr.application.roles.get_role import GetRoleCommand
from ubr.application.roles.list_roles import ListRolesCommand
from ubr.application.roles.list_user_roles import ListUserRolesCommand
from ubr.application.roles.unassign_role import UnassignRoleCommand
from ubr.application.roles.update_role import RoleChanges, UpdateRoleCommand
from ubr.application.sessions.list_sessions import ListSessionsCommand
from ubr.application.sessions.revoke_session import RevokeSessionCommand
from ubr.application.sessions.revoke_user_sessions import RevokeUserSessionsCommand
from ubr.bootstrap import open_environment
from ubr.bootstrap.memory import MemoryContainer
from ubr.domain.actor import SYSTEM, Actor, System
from ubr.domain.errors import (
    Forbidden,
    Invalid,
    InvalidCursor,
    InvalidToken,
    LastAdmin,
    PreconditionFailed,
    StoreUnavailable,
    TransactionConflict,
    UserNotFound,
)
from ubr.settings import Settings
from ubr.testing import TINY_HASHING, MovableClock

ORIGIN = Origin(ip="192.0.2.7", user_agent="canary-agent", request_id="req-7", request_id_given=True)
NOBODY = UUID(int=7)


@dataclass
class Here:
    """An installation, and what it counts."""

    world: World
    denials: DenialRecorder

    async def noted(self, action: str = "act.refused") -> list[LogEntryResult]:
        """The entries of a kind, oldest first."""
        return await entries_of(self.world, action)

    async def counts(self) -> list[tuple[str, str, int]]:
        """What the log says of denials: act, problem and count of each entry."""
        return [told(entry) for entry in await self.noted()]


async def entries_of(world: World, action: str) -> list[LogEntryResult]:
    command = ListLogsCommand(limit=200, action=action)
    return (await world.ubr.list_logs(command, actor=SYSTEM)).items[::-1]


def told(entry: LogEntryResult) -> tuple[str, str, int]:
    return entry.data["act"], entry.data["problem"], entry.data["count"]


@pytest.fixture
async def here() -> AsyncIterator[Here]:
    clock = MovableClock()
    async with open_environment(Settings.memory(**TINY_HASHING), clock=clock) as environment:
        yield Here(World(environment.application, clock), environment.denials)


async def refused(world: World, actor: Actor | Member) -> None:
    """Somebody is refused a list."""
    who = actor.actor if isinstance(actor, Member) else actor
    with pytest.raises(Forbidden):
        await world.ubr.list_users(ListUsersCommand(), actor=who)


# --- one refusal -----------------------------------------------------------------------------------------------------


async def test_a_refusal_is_an_entry_though_the_act_was_rolled_back(here: Here) -> None:
    world = here.world
    member = await world.user("users:write", "roles:assign")
    command = CreateUserCommand(email="new@example.org", password=PASSWORD, roles=["admin"])
    with calling_from(ORIGIN), pytest.raises(Forbidden):
        await world.ubr.create_user(command, actor=member.actor)
    [entry] = await here.noted()
    assert (entry.level, entry.message, entry.target) == ("warning", "An action was denied", None)
    assert entry.data == {"act": "create_user", "problem": "grant-exceeds-own", "count": 1}
    assert (entry.actor_id, entry.ip, entry.request_id) == (member.id, "192.0.2.7", "req-7")
    assert entry.timestamp == world.clock()
    assert await here.noted("user.created") == []
    assert (await world.register("new@example.org")).roles == ["user"], "nobody was there of that name"


async def test_it_holds_nothing_of_what_was_sent(here: Here) -> None:
    member = await here.world.user()
    with calling_from(ORIGIN), pytest.raises(Forbidden):
        await here.world.ubr.change_password(
            ChangePasswordCommand(current_password="canary of a password", new_password=OTHER_PASSWORD),
            actor=member.actor,
        )
    entries = await here.noted()
    assert list(map(told, entries)) == [("change_password", "wrong-password", 1)]
    text = msgspec.json.encode(entries).decode().lower()
    assert not re.search("canary|example.org|staple", text)


async def test_every_kind_of_denial_is_an_entry_and_nothing_else_is(here: Here) -> None:
    world, admin = here.world, await here.world.admin()
    with pytest.raises(Invalid):
        await world.ubr.list_users(ListUsersCommand(limit=0), actor=admin.actor)
    with pytest.raises(UserNotFound):
        await world.ubr.get_user(GetUserCommand(user_id=NOBODY), actor=admin.actor)
    with pytest.raises(LastAdmin):
        await world.ubr.delete_user(DeleteUserCommand(user_id=admin.id), actor=admin.actor)
    command = UpdateUserCommand(user_id=admin.id, changes=UserChanges(full_name="New"), if_match=("other",))
    with pytest.raises(PreconditionFailed):
        await world.ubr.update_user(command, actor=admin.actor)
    await world.ubr.log_out(actor=admin.actor)
    with pytest.raises(InvalidToken):
        await world.ubr.list_users(ListUsersCommand(), actor=admin.actor)
    await here.denials.settle(everything=True)
    assert sorted(await here.counts()) == [
        ("delete_user", "last-admin", 1),
        ("get_user", "user-not-found", 1),
        ("update_user", "precondition-failed", 1),
    ]


async def test_a_stranger_writes_none() -> None:
    clock = MovableClock()
    settings = Settings.memory(**TINY_HASHING, registration="closed")
    async with open_environment(settings, clock=clock) as environment:
        here = Here(World(environment.application, clock), environment.denials)
        ubr = environment.application
        command = RegisterUserCommand(email="new@example.org", password=PASSWORD)
        for stranger in ({}, {"actor": None}):
            with pytest.raises(Forbidden):
                await ubr.register_user(command, **stranger)
        await ubr.register_user(command, actor=SYSTEM)
        await environment.denials.settle(everything=True)
        assert await here.noted() == []


# --- many refusals ---------------------------------------------------------------------------------------------------


async def test_further_denials_in_a_minute_are_counted_and_written_at_its_end(here: Here) -> None:
    world, member = here.world, await here.world.user()
    for number in range(5):
        with calling_from(Origin(ip=f"192.0.2.{number}", request_id=f"req-{number}")):
            await refused(world, member)
        world.clock.move(seconds=10)
    assert await here.counts() == [("list_users", "forbidden", 1)]
    world.clock.move(seconds=9, microseconds=999_999)
    await here.denials.settle()
    assert len(await here.noted()) == 1, "the minute is not over"
    world.clock.move(microseconds=1)
    for _ in range(2):
        await here.denials.settle()
        assert await here.counts() == [("list_users", "forbidden", 1), ("list_users", "forbidden", 4)]
    first, rest = await here.noted()
    assert (first.ip, first.request_id) == ("192.0.2.0", "req-0")
    assert (rest.ip, rest.request_id) == ("192.0.2.4", "req-4"), "from where the last of them came"
    assert {first.actor_id, rest.actor_id} == {member.id}


async def test_a_flood_is_two_entries_a_minute(here: Here) -> None:
    member = await here.world.user()
    for _ in range(3):
        for _ in range(50):
            await refused(here.world, member)
        here.world.clock.move(minutes=1)
        await here.denials.settle()
    assert [count for _, _, count in await here.counts()] == [1, 49] * 3


async def test_everything_can_be_written_at_once(here: Here) -> None:
    member = await here.world.user()
    for _ in range(4):
        await refused(here.world, member)
    for _ in range(2):
        await here.denials.settle(everything=True)
        assert [count for _, _, count in await here.counts()] == [1, 3]


async def test_nothing_counted_is_nothing_written(here: Here) -> None:
    member = await here.world.user()
    await refused(here.world, member)
    here.world.clock.move(minutes=5)
    await here.denials.settle()
    await here.denials.settle(everything=True)
    assert [count for _, _, count in await here.counts()] == [1]
    assert await here.noted("requests.rejected") == []


async def test_a_new_minute_is_a_new_entry_and_counts_for_itself(here: Here) -> None:
    member = await here.world.user()
    for _ in range(3):
        await refused(here.world, member)
    here.world.clock.move(minutes=1)
    with calling_from(ORIGIN):
        await refused(here.world, member)
    firsts = [(1, None), (1, "req-7")]
    assert [(told(entry)[2], entry.request_id) for entry in await here.noted()] == firsts
    await refused(here.world, member)
    await here.denials.settle()
    assert [count for _, _, count in await here.counts()] == [1, 1, 2]
    await here.denials.settle(everything=True)
    assert [count for _, _, count in await here.counts()] == [1, 1, 2, 1]


async def test_another_act_problem_or_actor_is_its_own(here: Here) -> None:
    world, member, other = here.world, await here.world.user("users:write", "roles:assign"), await here.world.user()
    again = await world.logged_in(member.email)

    async def rise(actor: Actor) -> None:
        with pytest.raises(Forbidden):
            await world.ubr.create_user(CreateUserCommand(email="n@example.org", roles=["admin"]), actor=actor)

    for _ in range(2):
        await refused(world, member)
        await rise(member.actor)
        await rise(other.actor)
        await refused(world, other)
        await refused(world, again)
    assert Counter((entry.actor_id, *told(entry)) for entry in await here.noted()) == {
        (member.id, "list_users", "forbidden", 1): 1,  # of two sessions
        (member.id, "create_user", "grant-exceeds-own", 1): 1,
        (other.id, "create_user", "forbidden", 1): 1,
        (other.id, "list_users", "forbidden", 1): 1,
    }
    await here.denials.settle(everything=True)
    assert len(await here.noted()) == 8


async def test_a_count_is_of_a_session_if_all_denials_are(here: Here) -> None:
    world, member, other = here.world, await here.world.user(), await here.world.user()
    again = await world.logged_in(member.email)
    for who in (member, again, again, other, other, other):
        await refused(world, who)
    await here.denials.settle(everything=True)
    assert [(entry.actor_id, told(entry)[2], entry.session_id) for entry in await here.noted()] == [
        (member.id, 1, member.actor.session_id),
        (other.id, 1, other.actor.session_id),
        (member.id, 2, again.actor.session_id),
        (other.id, 2, other.actor.session_id),
    ]
    world.clock.move(minutes=1)
    for who in (member, again, member):
        await refused(world, who)
    await here.denials.settle(everything=True)
    assert [(told(entry)[2], entry.session_id) for entry in (await here.noted())[4:]] == [
        (1, member.actor.session_id),
        (2, None),
    ]


async def test_beyond_what_is_counted_each_is_an_entry(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory has an end; the log leaves none of them out."""
    monkeypatch.setattr(refusing, "_MAX_COUNT", 2)
    members = [await here.world.user() for _ in range(4)]
    for _ in range(3):
        for member in members:
            await refused(here.world, member)
    await here.denials.settle(everything=True)
    counted = Counter[UUID | None]()
    for entry in await here.noted():
        counted[entry.actor_id] += told(entry)[2]
    assert counted == {member.id: 3 for member in members}


# --- every use case --------------------------------------------------------------------------------------------------


BARE: Application = MemoryContainer(settings=Settings.memory(**TINY_HASHING)).application()
"""Every use case, on a store that nothing was prepared in."""
NAMES = [field.name for field in fields(UseCases)]
ACTED = [name for name in NAMES if "actor" in signature(type(getattr(BARE, name)).__call__).parameters]


@dataclass
class Hall:
    """One installation for all use cases in turn: each is refused in a minute of its own."""

    here: Here
    member: Member
    other: Member

    async def refused(self) -> list[tuple[tuple[str, str, int], UUID | None]]:
        """What was noted in this minute, and of whom."""
        here = self.here
        await here.denials.settle(everything=True)
        now = here.world.clock()
        command = ListLogsCommand(action="act.refused", since=now)
        entries = (await here.world.ubr.list_logs(command, actor=SYSTEM)).items
        return [(told(entry), entry.actor_id) for entry in entries]


@pytest.fixture(scope="module")
async def hall() -> AsyncIterator[Hall]:
    clock = MovableClock()
    async with open_environment(Settings.memory(**TINY_HASHING), clock=clock) as environment:
        world = World(environment.application, clock)
        yield Hall(Here(world, environment.denials), await world.user(), await world.user())


class Denying:
    """A port, or a command, of which every part denies."""

    def __getattr__(self, name: str) -> object:
        raise Forbidden

    def __call__(self, *_: object, **__: object) -> object:
        raise Forbidden


@pytest.mark.parametrize("name", NAMES)
async def test_every_use_case_that_takes_an_actor_records_whom_it_denied_itself_to(hall: Hall, name: str) -> None:
    """Also where no way to be denied exists yet."""
    kind = type(getattr(BARE, name))
    parameters = signature(kind.__call__).parameters
    taken = parameters.get("actor")
    if taken is None:
        assert "denials" not in names_of(kind)
        return
    assert taken.kind is Parameter.KEYWORD_ONLY, "or it would not be seen"
    denying: dict[str, object] = {port: Denying() for port in signature(kind).parameters}
    use_case = kind(**denying | {"denials": hall.here.denials})
    command = [Denying() for each in parameters.values() if each.kind is Parameter.POSITIONAL_ONLY][1:]

    hall.here.world.clock.move(minutes=1)
    for actor in (hall.member.actor, SYSTEM, None):
        with pytest.raises(Forbidden):
            await use_case(*command, actor=actor)
    assert await hall.refused() == [((name, "forbidden", 1), hall.member.id)]


# As somebody who may nothing does each of them, to somebody else.
CALLS: dict[str, Callable[[Application, Any, UUID], Awaitable[object]]] = {
    "change_password": lambda u, a, _: u.change_password(
        ChangePasswordCommand(current_password="not the right one", new_password=OTHER_PASSWORD), actor=a
    ),
    "list_sessions": lambda u, a, id: u.list_sessions(ListSessionsCommand(user_id=id), actor=a),
    "revoke_session": lambda u, a, id: u.revoke_session(RevokeSessionCommand(session_id=id), actor=a),
    "revoke_user_sessions": lambda u, a, id: u.revoke_user_sessions(RevokeUserSessionsCommand(user_id=id), actor=a),
    "follow_revocations": lambda u, a, id: u.follow_revocations(FollowRevocationsCommand(verifier=id), actor=a),
    "stop_following_revocations": lambda u, a, id: u.stop_following_revocations(
        StopFollowingRevocationsCommand(verifier=id), actor=a
    ),
    "get_user": lambda u, a, id: u.get_user(GetUserCommand(user_id=id), actor=a),
    "list_users": lambda u, a, _: u.list_users(ListUsersCommand(), actor=a),
    "create_user": lambda u, a, _: u.create_user(CreateUserCommand(email="new@example.org"), actor=a),
    "update_user": lambda u, a, id: u.update_user(
        UpdateUserCommand(user_id=id, changes=UserChanges(full_name="New")), actor=a
    ),
    "unlock_user": lambda u, a, id: u.unlock_user(UnlockUserCommand(user_id=id), actor=a),
    "erase_user": lambda u, a, id: u.erase_user(EraseUserCommand(user_id=id), actor=a),
    "export_user": lambda u, a, id: u.export_user(ExportUserCommand(user_id=id), actor=a),
    "explain_login": lambda u, a, _: u.explain_login(ExplainLoginCommand(email="new@example.org"), actor=a),
    "get_user_by_email": lambda u, a, _: u.get_user_by_email(GetUserByEmailCommand(email="new@example.org"), actor=a),
    "delete_user": lambda u, a, id: u.delete_user(DeleteUserCommand(user_id=id), actor=a),
    "get_role": lambda u, a, id: u.get_role(GetRoleCommand(role_id=id), actor=a),
    "list_roles": lambda u, a, _: u.list_roles(ListRolesCommand(), actor=a),
    "create_role": lambda u, a, _: u.create_role(CreateRoleCommand(name="new"), actor=a),
    "update_role": lambda u, a, id: u.update_role(
        UpdateRoleCommand(role_id=id, changes=RoleChanges(name="new")), actor=a
    ),
    "delete_role": lambda u, a, id: u.delete_role(DeleteRoleCommand(role_id=id), actor=a),
    "assign_role": lambda u, a, id: u.assign_role(AssignRoleCommand(user_id=id, role="admin"), actor=a),
    "unassign_role": lambda u, a, id: u.unassign_role(UnassignRoleCommand(user_id=id, role="admin"), actor=a),
    "list_user_roles": lambda u, a, id: u.list_user_roles(ListUserRolesCommand(user_id=id), actor=a),
    "list_machines": lambda u, a, _: u.list_machines(ListMachinesCommand(), actor=a),
    "get_machine": lambda u, a, id: u.get_machine(GetMachineCommand(machine_id=id), actor=a),
    "create_machine": lambda u, a, _: u.create_machine(CreateMachineCommand(name="new"), actor=a),
    "update_machine": lambda u, a, id: u.update_machine(
        UpdateMachineCommand(machine_id=id, changes=MachineChanges(description=None)), actor=a
    ),
    "delete_machine": lambda u, a, id: u.delete_machine(DeleteMachineCommand(machine_id=id), actor=a),
    "list_machine_keys": lambda u, a, id: u.list_machine_keys(ListMachineKeysCommand(machine_id=id), actor=a),
    "create_machine_key": lambda u, a, id: u.create_machine_key(
        CreateMachineKeyCommand(machine_id=id, key=KeyToCreate(name="new")), actor=a
    ),
    "rotate_machine_key": lambda u, a, id: u.rotate_machine_key(
        RotateMachineKeyCommand(machine_id=id, key_id=id, rotation=KeyRotation()), actor=a
    ),
    "revoke_machine_key": lambda u, a, id: u.revoke_machine_key(
        RevokeMachineKeyCommand(machine_id=id, key_id=id), actor=a
    ),
    "list_logs": lambda u, a, _: u.list_logs(ListLogsCommand(), actor=a),
    "get_activity": lambda u, a, _: u.get_activity(actor=a),
    "get_checkpoint": lambda u, a, _: u.get_checkpoint(actor=a),
    "prove_log_entry": lambda u, a, id: u.prove_log_entry(ProveLogEntryCommand(entry_id=id), actor=a),
    "compare_checkpoint": lambda u, a, _: u.compare_checkpoint(CompareCheckpointCommand(checkpoint=""), actor=a),
    "verify_log": lambda u, a, _: u.verify_log(VerifyLogCommand(), actor=a),
    "read_events": lambda u, a, _: u.read_events(ReadEventsCommand(), actor=a),
    "export_log": lambda u, a, _: u.export_log(lambda line: None, actor=a),
    "prune_log": lambda u, a, _: u.prune_log(PruneLogCommand(before=MovableClock()()), actor=a),
    "list_log_keys": lambda u, a, _: u.list_log_keys(actor=a),
    "rotate_log_key": lambda u, a, _: u.rotate_log_key(actor=a),
    "inspect_installation": lambda u, a, _: u.inspect_installation(actor=a),
    "list_signing_keys": lambda u, a, _: u.list_signing_keys(actor=a),
    "rotate_signing_key": lambda u, a, _: u.rotate_signing_key(actor=a),
    "revoke_signing_key": lambda u, a, _: u.revoke_signing_key(RevokeSigningKeyCommand(kid="none"), actor=a),
    "rewrap_signing_keys": lambda u, a, _: u.rewrap_signing_keys(actor=a),
    "create_admin": lambda u, a, _: u.create_admin(
        CreateAdminCommand(email="new@example.org", password=PASSWORD), actor=a
    ),
    "request_email_change": lambda u, a, _: u.request_email_change(
        RequestEmailChangeCommand(email="new@example.org", current_password=OTHER_PASSWORD), actor=a
    ),
    "index_user_fields": lambda u, a, _: u.index_user_fields(actor=a),
    "deliver_mail": lambda u, a, _: u.deliver_mail(actor=a),
    "list_mail": lambda u, a, _: u.list_mail(ListMailCommand(), actor=a),
    "retry_mail": lambda u, a, id: u.retry_mail(RetryMailCommand(mail_id=id), actor=a),
    "acknowledge_restore": lambda u, a, _: u.acknowledge_restore(AcknowledgeRestoreCommand(), actor=a),
}
EVERYONE_MAY = {
    "log_in", "log_in_browser", "issue_access_token", "refresh_session", "log_out", "revoke_other_sessions",
    "register_user", "request_password_reset", "reset_password", "verify_email",
    "resend_verification", "undo_email_change", "get_me", "log_in_machine",
}  # fmt: skip


def test_every_use_case_is_called_below() -> None:
    assert set(CALLS) | EVERYONE_MAY == set(ACTED)


@pytest.mark.parametrize("name", CALLS)
async def test_a_real_refusal_names_the_act(hall: Hall, name: str) -> None:
    hall.here.world.clock.move(minutes=1)
    with pytest.raises(Forbidden) as failure:
        await CALLS[name](hall.here.world.ubr, hall.member.actor, hall.other.id)
    assert await hall.refused() == [((name, failure.value.code, 1), hall.member.id)]


async def test_a_closed_registration_refuses_those_who_are_signed_in_by_name() -> None:
    clock = MovableClock()
    async with open_environment(Settings.memory(**TINY_HASHING, registration="closed"), clock=clock) as environment:
        here = Here(World(environment.application, clock), environment.denials)
        member = await here.world.user()
        with pytest.raises(Forbidden):
            await here.world.ubr.register_user(
                RegisterUserCommand(email="new@example.org", password=PASSWORD), actor=member.actor
            )
        assert await here.counts() == [("register_user", "registration-closed", 1)]


# --- what was turned away before it was known who asked --------------------------------------------------------------


async def test_requests_rejected_in_a_minute_are_one_entry_with_counts(here: Here) -> None:
    for problem, times in (("invalid-token", 3), ("invalid-input", 1), ("body-too-large", 2)):
        for _ in range(times):
            here.denials.reject(problem)
        here.world.clock.move(seconds=19)
        await here.denials.settle()
    assert await here.noted("requests.rejected") == [], "the minute is not over"
    here.world.clock.move(seconds=3)
    for _ in range(2):
        await here.denials.settle()
        [entry] = await here.noted("requests.rejected")
        assert entry.data == {"counts": {"body-too-large": 2, "invalid-input": 1, "invalid-token": 3}}
        assert (entry.level, entry.actor_id, entry.target) == ("info", None, None)
        assert (entry.ip, entry.request_id) == (None, None)


async def test_requests_rejected_in_another_minute_are_another_entry(here: Here) -> None:
    for problem in ("invalid-token", "invalid-input"):
        here.denials.reject(problem)
        here.world.clock.move(minutes=1)
    here.denials.reject("invalid-token")
    here.denials.reject("invalid-token")
    await here.denials.settle()
    expected = [{"invalid-token": 1}, {"invalid-input": 1}]
    assert [entry.data["counts"] for entry in await here.noted("requests.rejected")] == expected
    for _ in range(2):
        await here.denials.settle(everything=True)
        found = [entry.data["counts"] for entry in await here.noted("requests.rejected")]
        assert found == [*expected, {"invalid-token": 2}]


# --- where the store is out of reach ---------------------------------------------------------------------------------


@dataclass
class Flaky:
    """Units of work, of which so many cannot be begun."""

    inner: UnitOfWork
    failures: int = 0
    error: type[StoreUnavailable] = StoreUnavailable

    def begin(self, actor: Actor | System | None) -> AbstractAsyncContextManager[Transaction]:
        if self.failures:
            self.failures -= 1
            raise self.error
        return self.inner.begin(actor)

    def read(self) -> AbstractAsyncContextManager[Transaction]:
        return self.inner.read()

    def peek(self) -> AbstractAsyncContextManager[Repositories]:
        return self.inner.peek()

    def autocommit(self) -> AbstractAsyncContextManager[Repositories]:
        return self.inner.autocommit()


@dataclass
class Weak(Here):
    """The refusals alone are written to a store that can be out of reach."""

    units: Flaky
    store: MemoryStore
    maintenance: AuditMaintenance

    async def sum(self) -> int:
        return sum(count for _, _, count in await self.counts())


@pytest.fixture
async def weak() -> Weak:
    container, clock = MemoryContainer(settings=Settings.memory(**TINY_HASHING)), MovableClock()
    container.clock.override(providers.Object(clock))
    units = Flaky(container.unit_of_work())
    denials = DenialRecorder(unit_of_work=units, clock=clock)
    container.services.override(providers.Object(replace(container.services(), denials=denials)))
    ubr = container.application()
    await ubr.initialize()
    maintenance = container.services().audit_maintenance
    return Weak(World(ubr, clock), denials, units, container.store(), maintenance)


async def test_whoever_is_refused_is_told_so_whatever_becomes_of_the_entry(weak: Weak) -> None:
    member = await weak.world.user()
    weak.units.failures = 3
    await refused(weak.world, member)
    assert await weak.noted() == []
    for _ in range(3):
        await refused(weak.world, member)
    weak.units.failures = 0
    weak.world.clock.move(minutes=1)
    await weak.denials.settle()
    assert await weak.counts() == [("list_users", "forbidden", 4)]


async def test_a_count_is_kept_for_as_long_as_it_cannot_be_written(weak: Weak) -> None:
    members = [await weak.world.user() for _ in range(3)]
    for member in members:
        for _ in range(3):
            await refused(weak.world, member)
    weak.denials.reject("invalid-token")
    weak.world.clock.move(minutes=1)
    weak.units.failures = 5
    for _ in range(5):
        with pytest.raises(StoreUnavailable):
            await weak.denials.settle()
        weak.denials.reject("invalid-token")
    assert await weak.sum() == 3
    await weak.denials.settle(everything=True)
    assert await weak.sum() == 9
    assert [entry.data["counts"] for entry in await weak.noted("requests.rejected")] == [
        {"invalid-token": 1},
        {"invalid-token": 5},
    ]


async def test_rejections_are_kept_where_only_they_cannot_be_written(weak: Weak) -> None:
    weak.denials.reject("invalid-token")
    weak.units.failures = 1
    with pytest.raises(StoreUnavailable):
        await weak.denials.settle(everything=True)
    weak.denials.reject("invalid-token")
    await weak.denials.settle(everything=True)
    assert [entry.data["counts"] for entry in await weak.noted("requests.rejected")] == [{"invalid-token": 2}]


async def test_no_refusal_is_lost_where_a_minute_ends_while_the_store_is_out_of_reach(weak: Weak) -> None:
    member = await weak.world.user()
    for _ in range(3):
        await refused(weak.world, member)
    for _ in range(2):
        weak.world.clock.move(minutes=1)
        weak.units.failures = 1
        await refused(weak.world, member)
    weak.units.failures = 0
    await weak.denials.settle(everything=True)
    assert await weak.sum() == 5


async def test_no_refusal_is_lost_where_many_come_while_the_store_is_slow(weak: Weak) -> None:
    """The first of a minute waits for the count of the one before it; others need not wait for that."""
    member = await weak.world.user()
    for _ in range(3):
        await refused(weak.world, member)
    weak.world.clock.move(minutes=1)
    async with asyncio.TaskGroup() as group, weak.store.writing:
        for _ in range(4):
            group.create_task(refused(weak.world, member))
        for _ in range(20):  # until each of them has been counted or waits
            await asyncio.sleep(0)
    weak.world.clock.move(minutes=1)
    await weak.denials.settle(everything=True)
    assert await weak.sum() == 7


async def test_requests_rejected_while_the_counts_are_written_count_next_time(weak: Weak) -> None:
    weak.denials.reject("invalid-token")
    async with asyncio.TaskGroup() as group, weak.store.writing:
        group.create_task(weak.denials.settle(everything=True))
        await asyncio.sleep(0)
        weak.denials.reject("invalid-token")
        weak.denials.reject("invalid-input")
    await weak.denials.settle(everything=True)
    assert [entry.data["counts"] for entry in await weak.noted("requests.rejected")] == [
        {"invalid-token": 1},
        {"invalid-input": 1, "invalid-token": 1},
    ]


@pytest.mark.parametrize("rejected", [False, True])
async def test_nothing_is_lost_where_the_writing_is_broken_off(weak: Weak, rejected: bool) -> None:
    """As by a process that is told to end: it writes everything once more then."""
    member = await weak.world.user()
    for _ in range(1 if rejected else 3):
        await refused(weak.world, member)
    weak.denials.reject("invalid-token")
    weak.world.clock.move(minutes=1)
    async with weak.store.writing:
        writing = asyncio.create_task(weak.denials.settle())
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait([writing])
    await weak.denials.settle(everything=True)
    assert await weak.sum() == (1 if rejected else 3)
    assert [entry.data["counts"] for entry in await weak.noted("requests.rejected")] == [{"invalid-token": 1}]


async def test_a_conflict_at_the_end_of_a_process_loses_no_count(weak: Weak) -> None:
    member = await weak.world.user()
    for _ in range(3):
        await refused(weak.world, member)
    weak.denials.reject("invalid-token")
    weak.units.failures, weak.units.error = 2, TransactionConflict
    await weak.denials.settle(everything=True)
    assert await weak.sum() == 3
    assert [entry.data["counts"] for entry in await weak.noted("requests.rejected")] == [{"invalid-token": 1}]
    assert weak.denials.unwritten == (0, 0)


async def test_counts_that_a_process_cannot_write_at_its_end_are_in_its_log(
    weak: Weak, caplog: pytest.LogCaptureFixture
) -> None:
    member = await weak.world.user()
    maintenance = replace(weak.maintenance, denials=weak.denials)
    async with maintenance.counting():
        for _ in range(3):
            await refused(weak.world, member)
        for _ in range(4):
            weak.denials.reject("invalid-token")
        weak.units.failures = 1
    assert caplog.messages == [
        "2 counted denials and 4 rejected requests are not in the audit log: The database is unreachable"
    ]


# --- who read the log ------------------------------------------------------------------------------------------------


async def read(world: World, reader: Member, **filters: Any) -> LogEntryResult:
    """The entry that says that a page was read."""
    await world.ubr.list_logs(ListLogsCommand(**filters), actor=reader.actor)
    entries = [entry for entry in await entries_of(world, "log.read") if entry.actor_id == reader.id]
    return entries[-1]


@pytest.fixture
async def reader(world: World) -> Member:
    return await world.user("logs:read")


async def test_reading_the_log_is_an_entry_with_the_filters(world: World, reader: Member) -> None:
    since, until = world.clock() - timedelta(days=1), world.clock() + timedelta(days=1)
    with calling_from(ORIGIN):
        await world.ubr.list_logs(ListLogsCommand(), actor=reader.actor)
    entry = [entry for entry in await entries_of(world, "log.read") if entry.actor_id == reader.id][-1]
    assert (entry.level, entry.message, entry.target) == ("info", "Audit log entries were read", None)
    assert (entry.ip, entry.request_id) == ("192.0.2.7", "req-7")
    assert entry.data["filters"] == {}
    everything = {
        "level": "info",
        "action": "role.assigned",
        "actor_id": reader.id,
        "target_id": str(reader.id),
        "since": since,
        "until": until,
    }
    assert (await read(world, reader, **everything)).data == {
        "filters": {
            "level": "info",
            "action": "role.assigned",
            "actor_id": str(reader.id),
            "target_id": str(reader.id),
            "since": since.isoformat(),
            "until": until.isoformat(),
        },
        "entries": 0,
    }
    assert (await read(world, reader, action="role.created")).data == {
        "filters": {"action": "role.created"},
        "entries": 1,
    }


async def test_each_page_is_an_entry_and_none_is_on_its_own_page(world: World, reader: Member) -> None:
    before = len(await entries_of(world, "log.read"))
    cursor, sizes = None, []
    while True:
        page = await world.ubr.list_logs(ListLogsCommand(limit=4, cursor=cursor), actor=reader.actor)
        sizes.append(len(page.items))
        if cursor is None:
            assert not [entry for entry in page.items if (entry.action, entry.actor_id) == ("log.read", reader.id)]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert len(sizes) > 1
    told = [entry for entry in (await entries_of(world, "log.read"))[before:] if entry.actor_id == reader.id]
    assert [entry.data["entries"] for entry in told] == sizes


@pytest.mark.parametrize(
    ("filters", "recorded"),
    [
        ({"action": "canary.text"}, {"action": "?"}),
        ({"action": "role.created "}, {"action": "?"}),
        ({"action": ""}, {"action": "?"}),
        ({"target_id": "canary@example.org"}, {"target_id": "?"}),
        ({"target_id": ""}, {"target_id": "?"}),
        ({"target_id": f"{NOBODY} canary"}, {"target_id": "?"}),
        ({"target_id": f"{NOBODY}\n"}, {"target_id": "?"}),
        ({"target_id": str(NOBODY)}, {"target_id": str(NOBODY)}),
        ({"request_id": "canary"}, {"request_id": "?"}),
        ({"request_id": f"{NOBODY.hex}\n"}, {"request_id": "?"}),
        ({"request_id": NOBODY.hex}, {"request_id": NOBODY.hex}),
        (
            {"action": "canary", "target_id": "canary", "level": "info"},
            {"action": "?", "target_id": "?", "level": "info"},
        ),
    ],
)
async def test_freely_typed_filters_are_not_stored(
    world: World, reader: Member, filters: dict[str, str], recorded: dict[str, str]
) -> None:
    entry = await read(world, reader, **filters)
    assert entry.data == {"filters": recorded, "entries": 0}


async def test_a_request_id_that_is_in_the_log_is_kept(world: World, reader: Member) -> None:
    with calling_from(ORIGIN):
        await world.register("somebody@example.org")
    entry = await read(world, reader, request_id="req-7")
    assert entry.data == {"filters": {"request_id": "req-7"}, "entries": 1}


async def test_the_service_itself_stands_in_it_as_well(world: World) -> None:
    before = len(await entries_of(world, "log.read"))
    await world.ubr.list_logs(ListLogsCommand(action="role.created"), actor=SYSTEM)
    own = (await entries_of(world, "log.read"))[before + 1]
    assert (own.actor_id, own.data) == (None, {"filters": {"action": "role.created"}, "entries": 0})


async def test_whoever_was_not_let_read_has_read_nothing(world: World, reader: Member) -> None:
    plain = await world.user()
    with pytest.raises(Forbidden):
        await world.ubr.list_logs(ListLogsCommand(), actor=plain.actor)
    for wrong in (ListLogsCommand(limit=0), ListLogsCommand(cursor="canary")):
        with pytest.raises((Invalid, InvalidCursor)):
            await world.ubr.list_logs(wrong, actor=reader.actor)
    assert {entry.actor_id for entry in await entries_of(world, "log.read")} <= {None}
