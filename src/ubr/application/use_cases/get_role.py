from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from ubr.application.actor import Actor, System
from ubr.application.authorization import Authorize
from ubr.application.command import Command
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.application.repeating import repeatable
from ubr.application.results import RoleResult, role_result
from ubr.domain.errors import RoleNotFound
from ubr.domain.policy import ROLES_READ
from ubr.domain.values import RoleId


class GetRoleCommand(Command, frozen=True, kw_only=True):
    role_id: UUID


@dataclass(frozen=True, slots=True)
class GetRole:
    """Read one role. Needs `roles:read`."""

    authorize: Authorize
    unit_of_work: UnitOfWork

    @repeatable
    async def __call__(self, command: GetRoleCommand, /, *, actor: Actor | System) -> RoleResult:
        (await self.authorize(actor)).require(ROLES_READ)
        async with self.unit_of_work.read() as tx:
            role = await tx.roles.get(RoleId(command.role_id))
        if role is None:
            raise RoleNotFound
        return role_result(role)
