"""The users and roles that an emulator begins with, from a file of JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from ubr.application.accounts.create_user import CreateUserCommand
from ubr.application.app import Application
from ubr.application.roles.create_role import CreateRoleCommand
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import Invalid, UbrError


class WrongState(Exception):
    """The state cannot be used. The message is a sentence for the person who wrote it."""


class EmulatedRole(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A role besides the built-in ones."""

    name: Annotated[str, msgspec.Meta(description="The name of the role.")]
    permissions: Annotated[
        tuple[str, ...], msgspec.Meta(description="Its permissions: those of the program, and built-in ones.")
    ] = ()


class EmulatedUser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user with a password. Their e-mail counts as unverified, as after a registration."""

    email: Annotated[str, msgspec.Meta(description="The e-mail that the user logs in with.")]
    password: Annotated[str, msgspec.Meta(description="The password, which has to follow the usual rules.")]
    full_name: Annotated[str | None, msgspec.Meta(description="The name of the user.")] = None
    roles: Annotated[
        tuple[str, ...], msgspec.Meta(description="Names of roles: those above, and built-in ones such as `admin`.")
    ] = ()
    fields: Annotated[
        dict[str, Any] | UnsetType, msgspec.Meta(description="The fields that UBR_USER_FIELDS_FILE declares.")
    ] = UNSET


class State(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The state of an emulator after its start and after each reset."""

    permissions: Annotated[
        tuple[str, ...], msgspec.Meta(description="The permissions of the program, as in UBR_PERMISSIONS.")
    ] = ()
    roles: tuple[EmulatedRole, ...] = ()
    users: tuple[EmulatedUser, ...] = ()


def read_state(path: Path) -> State:
    """The state in a file. Errors: `WrongState`."""
    try:
        return parse_state(path.read_bytes())
    except OSError as error:
        raise WrongState(f"Cannot read {path}: {error.strerror}.") from None
    except WrongState as error:
        raise WrongState(f"{path}: {error}") from None


def parse_state(raw: bytes) -> State:
    """The state in a text of JSON. Errors: `WrongState` with the place of the mistake."""
    try:
        return msgspec.json.decode(raw, type=State)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WrongState(f"{error}.") from None


def schema() -> dict[str, Any]:
    """The JSON schema of the file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(State)}


async def fill(ubr: Application, state: State) -> None:
    """Make the roles and users of a new application. Errors: `WrongState` naming the one that cannot be made."""
    for role in state.roles:
        await _made(
            ubr.create_role(CreateRoleCommand(name=role.name, permissions=list(role.permissions)), actor=SYSTEM),
            f"The role {role.name!r}",
        )
    for user in state.users:
        command = CreateUserCommand(
            email=user.email,
            password=user.password,
            full_name=user.full_name,
            roles=list(user.roles),
            fields=user.fields,
        )
        await _made(ubr.create_user(command, actor=SYSTEM), f"The user {user.email!r}")


async def _made(making: Any, what: str) -> None:
    try:
        await making
    except UbrError as error:
        flaws = error.flaws if isinstance(error, Invalid) else ()
        why = "; ".join(f"{flaw.pointer} {flaw.detail}" for flaw in flaws) or error.detail
        raise WrongState(f"{what} cannot be made: {why}.") from None
