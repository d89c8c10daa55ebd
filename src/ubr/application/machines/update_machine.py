from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from ubr.application.access.authorization import authority, forbid_outliving_of, permissions_of
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.fields import example
from ubr.application.kernel.representations import check_revision
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.machines.representations import MachineDescriptionStr, MachineResult, machine_result
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import EndingUnitOfWork
from ubr.application.sessions.termination import end_sessions
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import Actor, System
from ubr.domain.errors import MachineNotFound
from ubr.domain.ids import UserId
from ubr.domain.revocation.changes import Change
from ubr.domain.roles.permissions import MACHINES_WRITE, forbid_escalation
from ubr.domain.roles.role import MAX_DESCRIPTION_LENGTH
from ubr.domain.sessions.termination import SecurityEvent
from ubr.domain.text import parse_text


class MachineChanges(Command, frozen=True, kw_only=True):
    """An absent field stays unchanged; null clears the description."""

    description: Annotated[MachineDescriptionStr | UnsetType | None, example("Sends the report of the night")] = UNSET
    status: UserStatus | UnsetType = UNSET


class UpdateMachineCommand(Command, frozen=True, kw_only=True):
    """`if_match` holds the revisions that the caller accepts; None accepts any."""

    machine_id: UUID
    changes: MachineChanges
    if_match: tuple[str, ...] | None = None


class UpdateMachine(msgspec.Struct, frozen=True):
    """Change the description of a machine, disable it, or enable it.

    - Requires `machines:write`.
    - No escalation: the status of a machine with permissions that the actor lacks cannot be changed.
    - Disabling a machine ends all its sessions. Its keys are refused, and accepted again once it is enabled.
    """

    unit_of_work: EndingUnitOfWork
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: UpdateMachineCommand, /, *, actor: Actor | System) -> MachineResult:
        changes, user_id = command.changes, UserId(command.machine_id)
        description = changes.description
        if isinstance(description, str):
            description = parse_text(description, "/description", longest=MAX_DESCRIPTION_LENGTH)
        async with self.unit_of_work.ending(Change("user", str(user_id)), actor=actor) as tx:
            who = await authority(tx, actor)
            who.require(MACHINES_WRITE)
            machine = await tx.machines.get(user_id)
            if machine is None:
                raise MachineNotFound
            if changes.status is not UNSET:
                forbid_escalation(who.permissions, await permissions_of(tx, machine.user))
                if changes.status is UserStatus.ACTIVE:
                    await forbid_outliving_of(tx, who, machine.user)
            roles = await tx.roles.many(machine.user.grants)
            check_revision(command.if_match, machine_result(machine, roles, tx.now).revision)
            active = machine.user.active
            machine.update(
                description=machine.description if description is UNSET else description,
                status=machine.user.status if changes.status is UNSET else changes.status,
                now=tx.now,
            )
            await tx.machines.save(machine)
            if active and not machine.user.active:
                await end_sessions(tx, machine.user, SecurityEvent.DISABLED, actor=actor)
            return machine_result(machine, roles, tx.now)
