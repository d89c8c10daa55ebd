"""The representations of machines and their keys, and the fields of their commands."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Final, TypeAlias
from uuid import UUID

from msgspec import Meta

from ubr.application.kernel.command import Result
from ubr.application.kernel.fields import NO_CONTROLS, Id, PermissionList, Timestamp, example
from ubr.application.kernel.representations import (
    NO_VIEW,
    MachineKeyResult,
    Revised,
    UserResult,
    machine_key_result,
    user_result,
)
from ubr.domain.accounts.user import UserStatus
from ubr.domain.machines.key import MAX_KEY_NAME_LENGTH, MAX_OVERLAP, MachineKey
from ubr.domain.machines.machine import MACHINE_NAME_PATTERN, Machine
from ubr.domain.roles.role import MAX_DESCRIPTION_LENGTH, Role

EXAMPLE_KEY: Final = "ubr_sk_" + "Example" * 10 + "A"

MachineNameStr: TypeAlias = Annotated[str, Meta(extra_json_schema={"pattern": f"^{MACHINE_NAME_PATTERN}$"})]
MachineDescriptionStr: TypeAlias = Annotated[
    str, Meta(extra_json_schema={"minLength": 1, "maxLength": MAX_DESCRIPTION_LENGTH, "pattern": NO_CONTROLS})
]
KeyNameStr: TypeAlias = Annotated[
    str, Meta(extra_json_schema={"minLength": 1, "maxLength": MAX_KEY_NAME_LENGTH, "pattern": NO_CONTROLS})
]
KeyScope: TypeAlias = Annotated[
    PermissionList | None,
    Meta(description="The permissions that the key is limited to; null for all of the machine's."),
    example(["users:read"]),
]
Overlap: TypeAlias = Annotated[
    int,
    Meta(
        description="Seconds for which the old key is still accepted.",
        extra_json_schema={"minimum": 0, "maximum": int(MAX_OVERLAP.total_seconds())},
        examples=[86400],
    ),
]


class MachineResult(Revised, frozen=True, kw_only=True):
    """A machine. Its id is that of its account: grants, sessions and log entries name it as they name a user."""

    id: Id
    name: Annotated[str, example("nightly-report")]
    description: Annotated[str | None, example("Sends the report of the night")]
    status: Annotated[UserStatus, example("active")]
    roles: Annotated[list[str], example(["user"])]
    created_at: Timestamp
    updated_at: Timestamp


class NewMachineKeyResult(Result, frozen=True, kw_only=True):
    """A new key. `client_secret` is its text: this answer alone contains it. `client_id` is the id of the machine."""

    key: MachineKeyResult
    client_id: Id
    client_secret: Annotated[str, example(EXAMPLE_KEY)]

    def __repr__(self) -> str:
        """Shows no field: one is a secret."""
        return "NewMachineKeyResult(…)"


def machine_result(machine: Machine, roles: Iterable[Role], now: datetime) -> MachineResult:
    """`roles` holds at least every role of the machine; roles with an ended grant are omitted."""
    shown = user_result(UserResult, machine.user, roles, now, NO_VIEW)
    result = MachineResult(
        id=machine.id,
        name=str(machine.name),
        description=machine.description,
        status=shown.status,
        roles=shown.roles,
        created_at=shown.created_at,
        updated_at=shown.updated_at,
    )
    result.__dict__["revision"] = shown.revision
    return result


def new_machine_key_result(key: MachineKey, text: str) -> NewMachineKeyResult:
    shown = machine_key_result(MachineKeyResult, key)
    return NewMachineKeyResult(key=shown, client_id=UUID(int=key.user_id.int), client_secret=text)
