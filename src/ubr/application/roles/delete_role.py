from __future__ import annotations

from uuid import UUID

import msgspec

from ubr.application.access.authorization import authority
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.representations import check_revision, role_revision
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import EndingUnitOfWork
from ubr.application.roles.role_names import give_up_name
from ubr.domain.actor import Actor, System
from ubr.domain.errors import RoleNotFound
from ubr.domain.ids import RoleId
from ubr.domain.revocation.changes import Change
from ubr.domain.roles.permissions import ROLES_WRITE, forbid_escalation


class DeleteRoleCommand(Command, frozen=True, kw_only=True):
    """`if_match` holds the revisions that the caller accepts; None accepts any."""

    role_id: UUID
    if_match: tuple[str, ...] | None = None


class DeleteRole(msgspec.Struct, frozen=True):
    """Delete a role. Its holders lose it at once.

    - Requires `roles:write`.
    - No escalation: it may hold only permissions that the actor holds.
    - If users hold it, this also requires `roles:assign`. For a day, so does a new role with its name.
    - A built-in role cannot be deleted.
    """

    unit_of_work: EndingUnitOfWork
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: DeleteRoleCommand, /, *, actor: Actor | System) -> None:
        async with self.unit_of_work.ending(Change("role", str(command.role_id)), actor=actor) as tx:
            who = await authority(tx, actor)
            who.require(ROLES_WRITE)
            role = await tx.roles.get(RoleId(command.role_id))
            if role is None:
                raise RoleNotFound
            forbid_escalation(who.permissions, role.permissions)
            check_revision(command.if_match, role_revision(role))
            role.delete()
            await give_up_name(tx, who, role, renamed=False)
            await tx.roles.remove(role)
