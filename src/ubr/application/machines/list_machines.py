from __future__ import annotations

import msgspec

from ubr.application.access.authorization import Authorize
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.fields import PageCursor, PageLimit
from ubr.application.kernel.paging import DEFAULT_LIMIT, Pager, check_limit
from ubr.application.kernel.representations import Page
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.machines.representations import MachineResult, machine_result
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.actor import Actor, System
from ubr.domain.roles.permissions import MACHINES_READ


class ListMachinesCommand(Command, frozen=True, kw_only=True):
    limit: PageLimit = DEFAULT_LIMIT
    cursor: PageCursor = None


class ListMachines(msgspec.Struct, frozen=True):
    """List machines, by name. Requires `machines:read`."""

    authorize: Authorize
    unit_of_work: UnitOfWork
    pager: Pager
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: ListMachinesCommand, /, *, actor: Actor | System) -> Page[MachineResult]:
        limit = check_limit(command.limit)
        bound_to = ("machines",)
        after = self.pager.after(command.cursor, bound_to, str)
        (await self.authorize(actor)).require(MACHINES_READ)
        async with self.unit_of_work.read() as tx:
            found = await tx.machines.page(after, limit + 1)
            machines, cursor = self.pager.cut(found, limit, bound_to, lambda machine: (machine.name, machine.id))
            roles = await tx.roles.many({role_id for machine in machines for role_id in machine.user.grants})
            items = [machine_result(machine, roles, tx.now) for machine in machines]
        return Page(items=items, next_cursor=cursor)
