from __future__ import annotations

from uuid import UUID

import msgspec

from ubr.application.access.authorization import Authorize
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.machines.representations import MachineResult, machine_result
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.actor import Actor, System
from ubr.domain.errors import MachineNotFound
from ubr.domain.ids import UserId
from ubr.domain.roles.permissions import MACHINES_READ


class GetMachineCommand(Command, frozen=True, kw_only=True):
    machine_id: UUID


class GetMachine(msgspec.Struct, frozen=True):
    """Read one machine. Requires `machines:read`; a machine may read itself."""

    authorize: Authorize
    unit_of_work: UnitOfWork
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: GetMachineCommand, /, *, actor: Actor | System) -> MachineResult:
        user_id = UserId(command.machine_id)
        (await self.authorize(actor)).require_self_or(user_id, MACHINES_READ)
        async with self.unit_of_work.read() as tx:
            machine = await tx.machines.get(user_id)
            if machine is None:
                raise MachineNotFound
            return machine_result(machine, await tx.roles.many(machine.user.grants), tx.now)
