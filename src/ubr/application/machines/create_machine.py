from __future__ import annotations

from typing import Annotated

import msgspec

from ubr.application.access.authorization import authority
from ubr.application.accounts.create_user import RolesToGrant, role_names, roles_named
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.fields import example
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.machines.representations import (
    MachineDescriptionStr,
    MachineNameStr,
    MachineResult,
    machine_result,
)
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.system import NewId
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.actor import Actor, System
from ubr.domain.ids import UserId
from ubr.domain.machines.machine import Machine, MachineName
from ubr.domain.roles.permissions import MACHINES_WRITE, ROLES_ASSIGN, Permissions, forbid_escalation, union
from ubr.domain.roles.role import MAX_DESCRIPTION_LENGTH
from ubr.domain.text import parse_text


class CreateMachineCommand(Command, frozen=True, kw_only=True):
    name: Annotated[MachineNameStr, example("nightly-report")]
    description: Annotated[MachineDescriptionStr | None, example("Sends the report of the night")] = None
    roles: RolesToGrant = msgspec.field(default_factory=list)


class CreateMachine(msgspec.Struct, frozen=True):
    """Create an account for a program.

    - Requires `machines:write`, and `roles:assign` to assign roles.
    - No escalation: the assigned roles may hold only permissions that the actor holds.
    - The name of a machine is unique, and never changes.
    - The machine cannot log in before it has a key.
    """

    unit_of_work: UnitOfWork
    new_id: NewId
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: CreateMachineCommand, /, *, actor: Actor | System) -> MachineResult:
        name = MachineName.parse(command.name)
        description = (
            None
            if command.description is None
            else parse_text(command.description, "/description", longest=MAX_DESCRIPTION_LENGTH)
        )
        names = role_names(command.roles)
        async with self.unit_of_work.begin(actor) as tx:
            who = await authority(tx, actor)
            who.require(*((MACHINES_WRITE, ROLES_ASSIGN) if names else (MACHINES_WRITE,)))
            roles = await roles_named(tx, names)
            given = union(role.permissions for role in roles)
            forbid_escalation(who.permissions, given)
            if roles:
                who.forbid_outliving(given | Permissions.of([ROLES_ASSIGN]), None, tx.now)
            machine = Machine.create(id=UserId(self.new_id()), name=name, description=description, now=tx.now)
            for role in roles:
                machine.user.grant(role.id, by=who.user_id, now=tx.now)
            await tx.machines.add(machine)
            result = machine_result(machine, await tx.roles.many(machine.user.grants), tx.now)
            await tx.commit()
        return result
