from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from ubr.application.access.authorization import authority
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.fields import example
from ubr.application.kernel.operator_policy import OperatorPolicy
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.machines.key_rights import add_key, end_of_new_key, machine_to_key
from ubr.application.machines.representations import (
    KeyNameStr,
    KeyScope,
    NewMachineKeyResult,
    new_machine_key_result,
)
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.machines import MachineKeyMint
from ubr.application.ports.system import NewId
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.actor import Actor, System
from ubr.domain.errors import Invalid
from ubr.domain.ids import MachineKeyId, UserId
from ubr.domain.machines.key import MAX_KEY_NAME_LENGTH, MachineKey
from ubr.domain.text import parse_moment, parse_text


class KeyToCreate(Command, frozen=True, kw_only=True):
    """`expires_at` null means the longest life that the operator allows, which may be without end."""

    name: Annotated[KeyNameStr, example("production")]
    scope: KeyScope = None
    expires_at: Annotated[datetime | None, example("2027-01-31T12:00:00Z")] = None


class CreateMachineKeyCommand(Command, frozen=True, kw_only=True):
    machine_id: UUID
    key: KeyToCreate


class CreateMachineKey(msgspec.Struct, frozen=True):
    """Create a key for a machine. This answer alone contains its text.

    - Requires `machines:write`. A machine has no right to its own keys without it.
    - No escalation: the holder of a key acts as the machine, so the actor must hold every permission that the machine
      has, for at least as long as the key lasts. A machine that logged in with a key creates none that ends later.
    - A scope limits the key to some permissions; it never adds one. Without a scope it has all of the machine's.
    - A machine has at most 20 keys that have not ended.
    """

    unit_of_work: UnitOfWork
    mint: MachineKeyMint
    new_id: NewId
    policy: OperatorPolicy
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: CreateMachineKeyCommand, /, *, actor: Actor | System) -> NewMachineKeyResult:
        wanted = command.key
        name = parse_text(wanted.name, "/name", longest=MAX_KEY_NAME_LENGTH)
        scope = None if wanted.scope is None else scope_text(self.policy, wanted.scope)
        end = None if wanted.expires_at is None else parse_moment(wanted.expires_at, "/expires_at")
        user_id, key_id = UserId(command.machine_id), MachineKeyId(self.new_id())
        minted = self.mint.mint(key_id, user_id)
        async with self.unit_of_work.begin(actor) as tx:
            who = await authority(tx, actor)
            machine = await machine_to_key(tx, who, user_id)
            expires_at = await end_of_new_key(tx, who, machine, end, policy=self.policy)
            key = MachineKey.create(
                id=key_id,
                user_id=user_id,
                name=name,
                sealed=minted.sealed,
                scope=scope,
                expires_at=expires_at,
                now=tx.now,
            )
            await add_key(tx, key)
            await tx.commit()
        return new_machine_key_result(key, minted.text)


def scope_text(policy: OperatorPolicy, names: list[str]) -> str:
    """The stored form of a scope: its names, sorted and separated by spaces. Errors: `Invalid`."""
    try:
        return " ".join(policy.permissions(names))
    except Invalid as error:
        raise Invalid.at("/scope", error.flaws[0].detail) from None
