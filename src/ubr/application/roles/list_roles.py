from __future__ import annotations

from datetime import datetime

import msgspec

from ubr.application.access.authorization import Authorize
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.fields import PageCursor, PageLimit
from ubr.application.kernel.paging import DEFAULT_LIMIT, Pager, check_limit
from ubr.application.kernel.representations import Page, RoleResult, role_result
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.actor import Actor, System
from ubr.domain.roles.permissions import ROLES_READ


class ListRolesCommand(Command, frozen=True, kw_only=True):
    limit: PageLimit = DEFAULT_LIMIT
    cursor: PageCursor = None


class ListRoles(msgspec.Struct, frozen=True):
    """List roles, oldest first. Requires `roles:read`."""

    authorize: Authorize
    unit_of_work: UnitOfWork
    pager: Pager
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: ListRolesCommand, /, *, actor: Actor | System) -> Page[RoleResult]:
        limit = check_limit(command.limit)
        bound_to = ("roles",)
        after = self.pager.after(command.cursor, bound_to, datetime.fromisoformat)
        (await self.authorize(actor)).require(ROLES_READ)
        async with self.unit_of_work.peek() as tx:
            found = await tx.roles.page(after, limit + 1)
        roles, cursor = self.pager.cut(found, limit, bound_to, lambda role: (role.created_at, role.id))
        return Page(items=[role_result(role) for role in roles], next_cursor=cursor)
