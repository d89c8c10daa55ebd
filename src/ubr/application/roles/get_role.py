from __future__ import annotations

from uuid import UUID

import msgspec

from ubr.application.access.authorization import Authorize
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.representations import RoleResult, role_result
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.actor import Actor, System
from ubr.domain.errors import RoleNotFound
from ubr.domain.ids import RoleId
from ubr.domain.roles.permissions import ROLES_READ


class GetRoleCommand(Command, frozen=True, kw_only=True):
    role_id: UUID


class GetRole(msgspec.Struct, frozen=True):
    """Read one role. Requires `roles:read`."""

    authorize: Authorize
    unit_of_work: UnitOfWork
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: GetRoleCommand, /, *, actor: Actor | System) -> RoleResult:
        (await self.authorize(actor)).require(ROLES_READ)
        async with self.unit_of_work.peek() as tx:
            role = await tx.roles.get(RoleId(command.role_id))
        if role is None:
            raise RoleNotFound
        return role_result(role)
