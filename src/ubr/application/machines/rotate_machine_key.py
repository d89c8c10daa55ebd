from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final
from uuid import UUID

import msgspec

from ubr.application.access.authorization import authority
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.fields import example
from ubr.application.kernel.operator_policy import OperatorPolicy
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.machines.key_rights import add_key, end_of_new_key, key_of, machine_to_key
from ubr.application.machines.representations import NewMachineKeyResult, Overlap, new_machine_key_result
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.machines import MachineKeyMint
from ubr.application.ports.system import NewId
from ubr.application.ports.unit_of_work import EndingUnitOfWork
from ubr.domain.actor import Actor, System
from ubr.domain.errors import Invalid
from ubr.domain.ids import MachineKeyId, UserId
from ubr.domain.machines.key import MAX_OVERLAP, MachineKey
from ubr.domain.revocation.changes import Change
from ubr.domain.text import parse_moment

DEFAULT_OVERLAP: Final = 86_400
"""A day, in seconds."""


class KeyRotation(Command, frozen=True, kw_only=True):
    """`expires_at` is the end of the new key; null means the longest life that the operator allows."""

    overlap: Overlap = DEFAULT_OVERLAP
    expires_at: Annotated[datetime | None, example("2027-01-31T12:00:00Z")] = None


class RotateMachineKeyCommand(Command, frozen=True, kw_only=True):
    machine_id: UUID
    key_id: UUID
    rotation: KeyRotation


class RotateMachineKey(msgspec.Struct, frozen=True):
    """Create a key with the name and the scope of another one, which ends after the overlap.

    - The requirements are those of creating a key.
    - The old key is accepted for `overlap` seconds more, a day by default, 30 days at most; with 0 it ends at once.
    - Access tokens of the old key end with it too. Verifiers refuse its earlier tokens at once, and the machine logs in
      again.
    - A key that has ended cannot be rotated.
    """

    unit_of_work: EndingUnitOfWork
    mint: MachineKeyMint
    new_id: NewId
    policy: OperatorPolicy
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: RotateMachineKeyCommand, /, *, actor: Actor | System) -> NewMachineKeyResult:
        overlap = timedelta(seconds=_checked(command.rotation.overlap))
        raw = command.rotation.expires_at
        end = None if raw is None else parse_moment(raw, "/expires_at")
        user_id, key_id = UserId(command.machine_id), MachineKeyId(self.new_id())
        minted = self.mint.mint(key_id, user_id)
        async with self.unit_of_work.ending(Change("user", str(user_id)), actor=actor) as tx:
            who = await authority(tx, actor)
            machine = await machine_to_key(tx, who, user_id)
            expires_at = await end_of_new_key(tx, who, machine, end, policy=self.policy)
            old = await key_of(tx, machine, MachineKeyId(command.key_id))
            until = old.rotate(key_id, ends_at=tx.now + overlap, now=tx.now)
            await tx.machine_keys.save(old)
            await tx.sessions.shorten(old, until, tx.now)
            key = MachineKey.create(
                id=key_id,
                user_id=user_id,
                name=old.name,
                sealed=minted.sealed,
                scope=old.scope,
                expires_at=expires_at,
                now=tx.now,
            )
            await add_key(tx, key)
        return new_machine_key_result(key, minted.text)


def _checked(overlap: int) -> int:
    if not 0 <= overlap <= MAX_OVERLAP.total_seconds():
        raise Invalid.at("/overlap", f"must be between 0 and {int(MAX_OVERLAP.total_seconds())} seconds")
    return overlap
