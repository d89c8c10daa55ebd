from __future__ import annotations

from uuid import UUID

import msgspec

from ubr.application.access.authorization import Authorize
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.paging import DEFAULT_LIMIT, Pager, check_limit
from ubr.application.kernel.representations import GrantResult, Page, grant_result
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.system import Clock
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.actor import Actor, System
from ubr.domain.errors import UserNotFound
from ubr.domain.ids import UserId
from ubr.domain.roles.permissions import USERS_READ


class ListUserRolesCommand(Command, frozen=True, kw_only=True):
    user_id: UUID
    limit: int = DEFAULT_LIMIT
    cursor: str | None = None


class ListUserRoles(msgspec.Struct, frozen=True):
    """List the roles of a user, sorted by name, with grantor, start and end of each grant.

    - Users may list their own roles; another user's require `users:read`.
    """

    authorize: Authorize
    unit_of_work: UnitOfWork
    clock: Clock
    pager: Pager
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: ListUserRolesCommand, /, *, actor: Actor | System) -> Page[GrantResult]:
        limit = check_limit(command.limit)
        user_id = UserId(command.user_id)
        bound_to = ("grants", user_id)
        after = self.pager.after(command.cursor, bound_to, str)
        who = await self.authorize(actor)
        who.require_self_or(user_id, USERS_READ)
        async with self.unit_of_work.peek() as tx:
            user = await tx.users.get(user_id)
            if user is None:
                raise UserNotFound
            roles = await tx.roles.many(user.roles_at(self.clock()))
        held = sorted((role.name, role.id) for role in roles)
        rest = [pair for pair in held if after is None or pair > (after.key, after.id)]
        page, cursor = self.pager.cut(rest, limit, bound_to, lambda pair: pair)
        grants = [(name, user.grants[role_id]) for name, role_id in page]
        return Page(
            items=[grant_result(str(name), grant) for name, grant in grants],
            next_cursor=cursor,
        )
