"""Values of a wrong type in a command are the caller's mistake, and every store says the same of it."""

from __future__ import annotations

import importlib
import pkgutil
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from msgspec import UNSET

import ubr.application
from ubr import (
    Actor,
    AssignRoleCommand,
    CreateRoleCommand,
    DeleteUserCommand,
    GetUserCommand,
    ListLogsCommand,
    ListUsersCommand,
    LogInCommand,
    RoleChanges,
    UpdateRoleCommand,
    UserChanges,
)
from ubr.application.kernel.command import Command, fields_of
from ubr.domain.accounts.user import UserStatus
from ubr.domain.errors import Invalid
from ubr.domain.ids import SessionId, UserId

ID = UUID("01926e5c-7b0e-7f3a-9c55-0d2f6f1c8a10")
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def all_commands() -> list[type[Command]]:
    for found in pkgutil.walk_packages(ubr.application.__path__, "ubr.application."):
        importlib.import_module(found.name)

    def below(command: type[Command]) -> list[type[Command]]:
        return [each for sub in command.__subclasses__() for each in (sub, *below(sub))]

    return [command for command in below(Command) if command.__module__.startswith("ubr.")]


class Foreign:
    """A value of a type that no command has."""


@pytest.mark.parametrize("command", all_commands(), ids=lambda command: command.__name__)
def test_every_field_of_every_command_refuses_a_foreign_value(command: type[Command]) -> None:
    for name, fits, _ in fields_of(command):
        assert not fits(Foreign()), name
    with pytest.raises(Invalid, match="not Foreign"):
        command(**dict.fromkeys(command.__struct_fields__, Foreign()))


@pytest.mark.parametrize(
    ("command", "values", "detail"),
    [
        (GetUserCommand, {"user_id": str(ID)}, "user_id must be UUID, not str"),
        (DeleteUserCommand, {"user_id": ID, "if_match": "1"}, "if_match must be a list of str or None, not str"),
        (LogInCommand, {"email": b"a@example.org", "password": "x"}, "email must be str, not bytes"),
        (LogInCommand, {"email": "a@example.org", "password": None}, "password must be str, not NoneType"),
        (ListUsersCommand, {"limit": True}, "limit must be int, not bool"),
        (ListUsersCommand, {"limit": "5"}, "limit must be int, not str"),
        (ListUsersCommand, {"sort": "name"}, None),
        (ListLogsCommand, {"since": "2030-01-01"}, "since must be datetime or None, not str"),
        (ListLogsCommand, {"actor_id": str(ID)}, "actor_id must be UUID or None, not str"),
        (CreateRoleCommand, {"name": "x", "permissions": "users:read"}, "permissions must be a list of str, not str"),
        (CreateRoleCommand, {"name": "x", "permissions": [1]}, "permissions must be a list of str, not list"),
        (UpdateRoleCommand, {"role_id": ID, "changes": {"name": "x"}}, "changes must be RoleChanges, not dict"),
        (UserChanges, {"status": "gone"}, "status must be UserStatus, not str"),
    ],
)
def test_a_value_of_another_type_is_invalid(command: type[Command], values: dict[str, Any], detail: str | None) -> None:
    with pytest.raises(Invalid) as caught:
        command(**values)
    [flaw] = caught.value.flaws
    if detail is not None:
        assert f"{flaw.pointer[1:]} {flaw.detail}" == detail


def test_good_values_are_taken() -> None:
    assert UserChanges().full_name is UNSET
    assert UserChanges(full_name=None, status=UserStatus.DISABLED).full_name is None
    assert AssignRoleCommand(user_id=UserId(ID), role="x", expires_at=NOON).expires_at == NOON
    assert CreateRoleCommand(name="x", permissions=["users:read"]).permissions == ["users:read"]
    assert UpdateRoleCommand(role_id=ID, changes=RoleChanges(description=None), if_match=("1",)).if_match == ("1",)
    assert ListLogsCommand(level="info", since=NOON).level == "info"


def test_an_actor_has_ids() -> None:
    with pytest.raises(Invalid, match="must be UUID, not str"):
        Actor(str(ID), SessionId(ID))  # type: ignore[arg-type]
    with pytest.raises(Invalid, match="must be UUID, not NoneType"):
        Actor(UserId(ID), None)  # type: ignore[arg-type]
