"""What is answered is, as JSON, what the contract says, and nothing shows a secret when it is printed."""

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from rich.pretty import pretty_repr

import ubr.application.kernel.representations
from tests.support.people import OTHER_PASSWORD, PASSWORD, World
from ubr.application.accounts.change_password import ChangePasswordCommand
from ubr.application.accounts.create_admin import CreateAdminCommand
from ubr.application.accounts.create_user import CreateUserCommand
from ubr.application.accounts.list_users import ListUsersCommand
from ubr.application.accounts.register_user import RegisterUserCommand
from ubr.application.audit.list_logs import ListLogsCommand
from ubr.application.kernel.command import Command
from ubr.application.kernel.origin import Origin, calling_from
from ubr.application.roles.create_role import CreateRoleCommand
from ubr.application.roles.get_role import GetRoleCommand
from ubr.application.roles.list_user_roles import ListUserRolesCommand
from ubr.application.sessions.list_sessions import ListSessionsCommand
from ubr.application.sessions.log_in import LogInCommand
from ubr.application.sessions.refresh_session import RefreshSessionCommand
from ubr.domain.actor import SYSTEM

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
START = "2030-01-01T00:00:00Z"


def as_json(result: object) -> Any:
    return json.loads(msgspec.json.encode(result))


async def test_a_user(world: World) -> None:
    user = as_json(await world.register("User1@example.org"))
    assert UUID7.fullmatch(user.pop("id"))
    assert user == {
        "email": "User1@example.org",
        "full_name": None,
        "status": "active",
        "email_verified": False,
        "roles": ["user"],
        "created_at": START,
        "updated_at": START,
        "kind": "person",
    }


async def test_a_role(world: World) -> None:
    command = CreateRoleCommand(name="editor", description="Edits", permissions=["users:write", "users:read"])
    role = as_json(await world.ubr.create_role(command, actor=SYSTEM))
    assert UUID7.fullmatch(role.pop("id"))
    assert role == {
        "name": "editor",
        "description": "Edits",
        "permissions": ["users:read", "users:write"],
        "built_in": False,
        "created_at": START,
        "updated_at": START,
    }


async def test_a_session(world: World) -> None:
    with calling_from(Origin(ip="192.0.2.7", user_agent="client/1.0")):
        member = await world.user()
    page = as_json(await world.ubr.list_sessions(ListSessionsCommand(user_id=member.id), actor=member.actor))
    assert page == {
        "items": [
            {
                "id": str(member.actor.session_id),
                "user_id": str(member.id),
                "kind": "tokens",
                "created_at": START,
                "last_seen_at": START,
                "expires_at": "2030-01-15T00:00:00Z",
                "ip": "192.0.2.7",
                "user_agent": "client/1.0",
                "current": True,
            }
        ],
        "next_cursor": None,
    }


async def test_a_log_entry(world: World) -> None:
    with calling_from(Origin(ip="192.0.2.7", request_id="req-1")):
        user = await world.register("user1@example.org")
    page = as_json(await world.ubr.list_logs(ListLogsCommand(limit=1), actor=SYSTEM))
    [entry] = page["items"]
    assert UUID7.fullmatch(entry.pop("id"))
    assert entry == {
        "level": "info",
        "action": "user.registered",
        "message": "A user registered",
        "timestamp": START,
        "actor_id": str(user.id),
        "target": {"type": "user", "id": str(user.id)},
        "ip": "192.0.2.7",
        "request_id": "req-1",
        "request_id_given": False,
        "session_id": None,
        "data": {},
    }
    assert isinstance(page["next_cursor"], str)


async def test_tokens(world: World) -> None:
    user = await world.register("user1@example.org")
    tokens = as_json(await world.log_in(user.email))
    assert UUID7.fullmatch(tokens.pop("session_id"))
    assert tokens.pop("access_token").count(".") == 2
    assert tokens.pop("refresh_token").startswith("ubr_rt_")
    assert tokens == {
        "token_type": "Bearer",
        "expires_in": 600,
        "refresh_expires_in": 14 * 86400,
        "user": as_json(user),
    }


async def test_a_grant(world: World) -> None:
    member = await world.user()
    page = as_json(await world.ubr.list_user_roles(ListUserRolesCommand(user_id=member.id), actor=SYSTEM))
    assert page["items"] == [{"role": "user", "granted_by": None, "granted_at": START, "expires_at": None}]


async def test_a_revision_is_not_a_field(world: World) -> None:
    member = await world.user()
    user = await world.seen(member.id)
    role = await world.role()
    assert user.revision
    assert await world.ubr.get_role(GetRoleCommand(role_id=role.id), actor=SYSTEM) == role
    for result in (user, role, await world.ubr.list_users(ListUsersCommand(), actor=SYSTEM)):
        assert b"revision" not in msgspec.json.encode(result)


COMMANDS = [
    RegisterUserCommand(email="canary@example.org", password="canary", full_name="canary"),
    LogInCommand(email="canary@example.org", password="canary"),
    RefreshSessionCommand(refresh_token="canary"),
    ChangePasswordCommand(current_password="canary", new_password="canary"),
    CreateUserCommand(email="canary@example.org", password="canary", full_name="canary"),
    CreateAdminCommand(email="canary@example.org", password="canary"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_a_printed_command_shows_no_field(command: Command) -> None:
    for shown in (repr(command), str(command), f"{command!r}", repr([command]), pretty_repr(command)):
        assert "canary" not in shown
        assert type(command).__name__ in shown


def subclasses(root: type[Command]) -> Iterator[type[Command]]:
    for child in root.__subclasses__():
        yield child
        yield from subclasses(child)


def test_no_command_prints_itself_otherwise_and_none_takes_unknown_fields() -> None:
    for kind in subclasses(Command):
        assert not {"__repr__", "__rich_repr__"} & vars(kind).keys()
        assert kind.__struct_config__.forbid_unknown_fields
        assert kind.__struct_config__.frozen


@pytest.mark.parametrize("kind", list(subclasses(Command)))
def test_nothing_can_be_slipped_into_a_body(kind: type[Command]) -> None:
    for extra in ("id", "is_admin", "password_hash", "email_verified", "actor", "granted_by", "version"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(json.dumps({extra: "x"}), type=kind)


async def test_printed_tokens_show_no_secret(world: World) -> None:
    tokens = (await world.user()).tokens
    for shown in (repr(tokens), str(tokens), repr([tokens]), repr({"tokens": tokens}), pretty_repr(tokens)):
        assert tokens.access_token not in shown
        assert tokens.refresh_token not in shown


async def test_no_printed_user_shows_a_hash(world: World) -> None:
    member = await world.user()
    page = await world.ubr.list_users(ListUsersCommand(), actor=SYSTEM)
    for shown in (repr(page), msgspec.json.encode(page).decode(), repr(await world.seen(member.id))):
        assert "argon2" not in shown
        assert PASSWORD not in shown
        assert OTHER_PASSWORD not in shown


def test_the_types_of_the_contract_are_all_there() -> None:
    fields = {
        kind.__name__: set(kind.__struct_fields__)
        for kind in vars(ubr.application.kernel.representations).values()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    }
    assert fields["Page"] == {"items", "next_cursor"}
    assert fields["TargetResult"] == {"type", "id"}
    assert "password_hash" not in set().union(*fields.values())
