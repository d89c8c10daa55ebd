from __future__ import annotations

from uuid import UUID

import msgspec

from ubr.application.access.authorization import authority, permissions_of
from ubr.application.accounts.delete_user import delete_account
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.representations import check_revision
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.machines.representations import machine_result
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import EndingUnitOfWork
from ubr.domain.actor import Actor, System
from ubr.domain.errors import MachineNotFound
from ubr.domain.ids import UserId
from ubr.domain.revocation.changes import Change
from ubr.domain.roles.permissions import MACHINES_WRITE, forbid_escalation


class DeleteMachineCommand(Command, frozen=True, kw_only=True):
    """`if_match` holds the revisions that the caller accepts; None accepts any."""

    machine_id: UUID
    if_match: tuple[str, ...] | None = None


class DeleteMachine(msgspec.Struct, frozen=True):
    """Delete a machine with all its keys, sessions and grants; the audit log keeps the id.

    - Requires `machines:write`.
    - No escalation: a machine with permissions that the actor lacks cannot be deleted.
    """

    unit_of_work: EndingUnitOfWork
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: DeleteMachineCommand, /, *, actor: Actor | System) -> None:
        user_id = UserId(command.machine_id)
        async with self.unit_of_work.ending(Change("user", str(user_id)), actor=actor) as tx:
            who = await authority(tx, actor)
            who.require(MACHINES_WRITE)
            machine = await tx.machines.get(user_id)
            if machine is None:
                raise MachineNotFound
            forbid_escalation(who.permissions, await permissions_of(tx, machine.user))
            roles = await tx.roles.many(machine.user.grants)
            check_revision(command.if_match, machine_result(machine, roles, tx.now).revision)
            await delete_account(tx, machine.user, actor=actor)
