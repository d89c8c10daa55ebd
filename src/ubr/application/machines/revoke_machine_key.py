from __future__ import annotations

from uuid import UUID

import msgspec

from ubr.application.access.authorization import authority
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.machines.key_rights import key_of, machine_to_key
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import EndingUnitOfWork
from ubr.domain.actor import Actor, System
from ubr.domain.ids import MachineKeyId, UserId
from ubr.domain.revocation.changes import Change
from ubr.domain.sessions.termination import SecurityEvent


class RevokeMachineKeyCommand(Command, frozen=True, kw_only=True):
    machine_id: UUID
    key_id: UUID


class RevokeMachineKey(msgspec.Struct, frozen=True):
    """Revoke a key of a machine, with the sessions that it opened. A second call does nothing.

    - Requires `machines:write`.
    - No escalation: a key of a machine with permissions that the actor lacks cannot be revoked.
    """

    unit_of_work: EndingUnitOfWork
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: RevokeMachineKeyCommand, /, *, actor: Actor | System) -> None:
        user_id = UserId(command.machine_id)
        async with self.unit_of_work.ending(Change("user", str(user_id)), actor=actor) as tx:
            who = await authority(tx, actor)
            machine = await machine_to_key(tx, who, user_id)
            key = await key_of(tx, machine, MachineKeyId(command.key_id))
            key.revoke(now=tx.now)
            await tx.machine_keys.save(key)
            await tx.sessions.end_of_key(key, SecurityEvent.KEY_REVOKED, tx.now)
