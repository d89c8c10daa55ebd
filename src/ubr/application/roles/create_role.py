from __future__ import annotations

from typing import Annotated

import msgspec

from ubr.application.access.authorization import authority
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.fields import PermissionList, RoleDescriptionStr, RoleNameStr, example
from ubr.application.kernel.idempotency import Idempotency, IdempotencyKey
from ubr.application.kernel.operator_policy import OperatorPolicy
from ubr.application.kernel.representations import RoleResult, role_result
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.system import NewId
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.application.roles.role_names import take_name
from ubr.domain.actor import Actor, System
from ubr.domain.ids import RoleId
from ubr.domain.roles.permissions import ROLES_WRITE, forbid_escalation
from ubr.domain.roles.role import MAX_DESCRIPTION_LENGTH, Role, RoleName
from ubr.domain.text import parse_text


class CreateRoleCommand(Command, frozen=True, kw_only=True):
    name: Annotated[RoleNameStr, example("editor")]
    description: Annotated[RoleDescriptionStr | None, example("May edit notes")] = None
    permissions: Annotated[PermissionList, example(["users:read"])] = msgspec.field(default_factory=list)


class CreateRole(msgspec.Struct, frozen=True):
    """Create a role.

    - Requires `roles:write`.
    - No escalation: it may hold only permissions that the actor holds.
    - For a day, a name that another role gave up also requires `roles:assign`.
    - A retry with the same key within a day returns the stored answer, if the actor still has the permission.
    """

    unit_of_work: UnitOfWork
    new_id: NewId
    policy: OperatorPolicy
    idempotency: Idempotency
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(
        self, command: CreateRoleCommand, /, *, actor: Actor | System, idempotency_key: IdempotencyKey | None = None
    ) -> RoleResult:
        name = RoleName.parse(command.name)
        description = (
            None
            if command.description is None
            else parse_text(command.description, "/description", longest=MAX_DESCRIPTION_LENGTH)
        )
        permissions = self.policy.permissions(command.permissions)
        call = self.idempotency.of(idempotency_key, command, actor=actor, answer=RoleResult)
        async with self.unit_of_work.begin(actor) as tx:
            who = await authority(tx, actor)
            who.require(ROLES_WRITE)
            if (before := await call.claim(tx)) is not None:
                return before.result
            forbid_escalation(who.permissions, permissions)
            who.forbid_outliving(permissions, None, tx.now)
            role = Role.create(
                id=RoleId(self.new_id()), name=name, description=description, permissions=permissions, now=tx.now
            )
            await tx.roles.add(role)
            await take_name(tx, who, role)
            result = role_result(role)
            await call.keep(tx, result)
            await tx.commit()
        return result
